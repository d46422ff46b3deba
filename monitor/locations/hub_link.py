"""A hub's connection: receives reports and signs of life, and applies each report once."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from monitor.clock import Clock
from monitor.locations import subjects
from monitor.locations.access import ACK_TIMEOUT, NatsAccess
from monitor.locations.link import PAUSE, NatsLink
from monitor.locations.wire import WireError, unpack_batch, unpack_beat
from monitor.logs import fields
from monitor.places import Position, ReportBatch, SignOfLife
from monitor.units import Seconds, Timestamp

_log = logging.getLogger(__name__)

_IDLE: Seconds = 15.0
"""After this long without a message, ask the server whether it still knows the consumer."""
_MOST_WAITING = 2000
"""Messages that wait for the hub's main thread; reading pauses beyond that."""
_BREATH: Seconds = 0.02


class HubLink(NatsLink):
    """
    The hub's end: receives reports and signs of life.

    Args:
        partitions: The partitions that this hub reads.
        positions: Returns how far each was read before a restart; called at the start.
        replay: How far back to read again, to learn what each place said last.
        on_reports: Called with each batch, its position in the stream, and whether it was applied
            before a restart.
        on_beat: Called with each sign of life, and when it arrived.
        on_not_understood: Called for each message that cannot be understood.
        backlog: How many events wait for the main thread.
    """

    def __init__(
        self,
        access: NatsAccess,
        *,
        partitions: Iterable[int],
        positions: Callable[[], Mapping[int, int]],
        replay: Seconds,
        on_reports: Callable[[ReportBatch, Position, bool], None],
        on_beat: Callable[[SignOfLife, Timestamp], None],
        on_not_understood: Callable[[], None],
        backlog: Callable[[], int],
        clock: Clock,
    ) -> None:
        super().__init__(access, name="monitor hub", inbox="_INBOX.hub", clock=clock)
        self._partitions = tuple(partitions)
        self._positions = positions
        self._applied: dict[int, int] = {}  # before a restart
        self._read: dict[int, int] = {}  # since the start
        self._replay = replay
        self._on_reports = on_reports
        self._on_beat = on_beat
        self._on_not_understood = on_not_understood
        self._backlog = backlog

    def start(self) -> None:
        self._applied = dict(self._positions())
        super().start()

    def _while_connected(self, client: Client) -> Iterable[Awaitable[None]]:
        return (self._listen(client), *(self._follow(client, one) for one in self._partitions))

    async def _listen(self, client: Client) -> None:
        async def heard(message: Msg) -> None:
            location = subjects.location_of(message.subject)
            try:
                beat = unpack_beat(message.data, location)
            except WireError:
                self._on_not_understood()
            else:
                self._on_beat(beat, self._clock.time())

        await client.subscribe(subjects.beats(subjects.ANY), cb=heard)
        await self._stop.wait()

    async def _follow(self, client: Client, partition: int) -> None:
        """Read one partition; if its consumer may be gone, start again from the last position."""
        while True:
            if self.connected:
                stream = client.jetstream(timeout=ACK_TIMEOUT)
                reading = asyncio.ensure_future(self._read_partition(stream, partition))
                await self._until_lost(reading)
                if not reading.cancelled() and (error := reading.exception()):
                    self._warn_once(error)
            await asyncio.sleep(PAUSE)

    async def _until_lost(self, reading: "asyncio.Future[None]") -> None:
        # A restarted server has forgotten the consumer, and does not report that
        lost: asyncio.Future[Any] = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({reading, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            reading.cancel()
            await asyncio.wait({reading})

    async def _read_partition(self, stream: JetStreamContext, partition: int) -> None:
        subscription = await self._subscribe(stream, partition)
        expected = 1
        try:
            while True:
                while self._backlog() > _MOST_WAITING:  # noqa: ASYNC110  another thread works it off
                    await asyncio.sleep(_BREATH)
                try:
                    message = await subscription.next_msg(timeout=_IDLE)
                except TimeoutError:
                    await subscription.consumer_info()  # NotFoundError if the server forgot it
                    continue
                sequence = message.metadata.sequence
                if sequence.consumer != expected:
                    return  # something is missing: read again from the last message that came
                expected += 1
                self._take(message, partition, sequence.stream)
        finally:
            with suppress(Exception):
                await subscription.unsubscribe()

    async def _subscribe(self, stream: JetStreamContext, partition: int) -> Any:
        subject = subjects.reports(partition, subjects.ANY)
        applied = self._applied.get(partition, 0)
        read = self._read.get(partition)
        last = (await stream.stream_info(subjects.STREAM)).state.last_seq
        if read is None and 0 < applied <= last:
            read = min(applied, await self._before_replay(stream, subject))
        if read is not None and read <= last:
            return await _push(
                stream,
                subject,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=read + 1,
            )
        # The first start, or another stream than before: everything in it is new
        self._applied.pop(partition, None)
        return await _push(stream, subject, deliver_policy=DeliverPolicy.ALL)

    async def _before_replay(self, stream: JetStreamContext, subject: str) -> int:
        """Return the last message before the time that is read again."""
        since = datetime.now(UTC) - timedelta(seconds=self._replay)
        subscription = await _push(
            stream,
            subject,
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=since.isoformat(),
        )
        try:
            first: int = (await subscription.next_msg(timeout=ACK_TIMEOUT)).metadata.sequence.stream
        except TimeoutError:
            return sys.maxsize  # nothing came in that time
        finally:
            await subscription.unsubscribe()
        return first - 1

    def _take(self, message: Msg, partition: int, sequence: int) -> None:
        self._read[partition] = sequence
        location = subjects.location_of(message.subject)
        try:
            batch = unpack_batch(message.data, location, message.metadata.timestamp.timestamp())
        except WireError as error:
            self._on_not_understood()
            _log.debug("report_not_understood", extra=fields(location=location, detail=str(error)))
            return
        applied = sequence <= self._applied.get(partition, 0)
        self._on_reports(batch, Position(partition, sequence), applied)


async def _push(stream: JetStreamContext, subject: str, **where: Any) -> Any:
    return await stream.subscribe(
        subject,
        stream=subjects.STREAM,
        config=ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=60.0,
            **where,
        ),
        manual_ack=True,
        flow_control=True,
        idle_heartbeat=_IDLE / 3,
    )
