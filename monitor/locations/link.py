"""
The way between places and hub: NATS with JetStream, in a thread with an event loop of its own.

Nothing else knows NATS. What comes in is handed to functions that the daemon passes; they are
called in this thread, and put events into the inbox. Subjects:

    monitor.reports.PARTITION.LOCATION   what a place has settled; kept by the stream
    monitor.places.LOCATION              a sign of life of each daemon, every few seconds; not kept
    monitor.questions.LOCATION           a place asks the others to check sites now; not kept

The partition stands first, so that a hub subscribes to its own; the location last, so that a place
may be permitted to publish ``monitor.reports.*.fra`` and nothing else.
"""

import asyncio
import logging
import os
import re
import ssl
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from monitor.clock import Clock
from monitor.errors import StartupError
from monitor.locations.spool import Spool, Waiting
from monitor.locations.wire import (
    WireError,
    pack_batch,
    pack_beat,
    pack_question,
    pack_report,
    pack_reports,
    unpack_batch,
    unpack_beat,
    unpack_question,
)
from monitor.logs import fields
from monitor.options import show_size
from monitor.places import Position, Report, ReportBatch, Sender, SignOfLife
from monitor.units import Bytes, Seconds, Timestamp

_log = logging.getLogger(__name__)

STREAM = "MONITOR_REPORTS"
LOCATION = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What a location may be called: one token of a subject."""

BEAT: Seconds = 5.0
"""From one sign of life to the next."""
_QUIET: Seconds = 1.0
"""How long a report may wait that changes nothing."""
_ACK: Seconds = 5.0
_PAUSE: Seconds = 1.0
_CONNECT = 5
_RECONNECT = 1
_PING = 10
"""Seconds; NATS' client takes whole ones."""
_FAREWELL: Seconds = 3.0
_IN_MESSAGE = 400
"""Reports at most; with messages of 300 characters that is some 300 kB, below NATS' 1 MiB."""
_AT_ONCE = 32
"""Messages that are on their way at a time when a spool is emptied."""
_NO_ROOM = frozenset((10002, 10023, 10028, 10047))
"""JetStream's codes: of the account, of resources, of memory, of storage (server/errors.json)."""
_OF_PARTITION = re.compile(r"monitor\.reports\.([0-9]+)\.\*")
_KEPT: Seconds = 86_400.0
_DUPLICATES: Seconds = 600.0
"""How long the stream recognises a message that is delivered twice."""
_IDLE: Seconds = 15.0
_MOST_WAITING = 2000
"""Messages that wait for the hub's main thread; reading pauses beyond that."""
_BREATH: Seconds = 0.02
_FORGOTTEN: Seconds = 900.0
"""After so long without a sign of life, a place's share of the slots goes to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAccess:
    """How to reach the servers and who we are; see ``locations.nats`` in the reference."""

    servers: tuple[str, ...]
    credentials: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def options(self) -> dict[str, Any]:
        """
        Return the client's options.

        Raises:
            StartupError: A file of certificates cannot be used.
        """
        found: dict[str, Any] = {
            "user_credentials": self.credentials,
            "user": self.user,
            "password": self.password,
            "token": self.token,
        }
        secured = any(one.startswith(("tls:", "wss:")) for one in self.servers)
        if secured or self.ca_file or self.cert_file:
            found["tls"] = self._context()
        return {"servers": list(self.servers), **{k: v for k, v in found.items() if v is not None}}

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file and self.key_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise StartupError(
                f"the certificates for NATS cannot be used: {error.strerror or error}"
            ) from error
        return context


class _Link:
    """
    A connection that is made again for as long as the daemon runs, in a thread of its own.

    Args:
        name: Shown by the servers among their connections.
        inbox: The prefix of subjects for answers; permissions are given by it.
    """

    def __init__(self, access: NatsAccess, *, name: str, inbox: str, clock: Clock) -> None:
        self._options = access.options()
        self._name = name
        self._inbox = inbox
        self._clock = clock
        self._thread = Thread(target=self._run, name="locations", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._lost = asyncio.Event()  # the connection
        self._back = asyncio.Event()
        self._told: set[str] = set()  # since the connection was lost
        self.connected = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Deliver what can be delivered soon, and end."""
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_FAREWELL * 3)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            with suppress(Exception):
                _cancel_all(self._loop)
            self._loop.close()

    async def _live(self) -> None:
        background = [asyncio.ensure_future(one) for one in self._always()]
        while not self._stop.is_set():
            closed = asyncio.Event()
            client = await self._connect(closed)
            if client is not None:
                await self._session(client, closed)
            if not self._stop.is_set():
                await _within(self._stop.wait(), _PAUSE)
        for one in background:
            one.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self._farewell()

    async def _connect(self, closed: asyncio.Event) -> Client | None:
        client = Client()

        async def lost() -> None:
            self._set_connected(False)

        async def back() -> None:
            self._set_connected(True)

        async def over() -> None:
            closed.set()

        async def failed(error: Exception) -> None:
            self._tell(error)

        attempt = asyncio.ensure_future(
            client.connect(
                **self._options,
                name=self._name,
                inbox_prefix=self._inbox,
                connect_timeout=_CONNECT,
                reconnect_time_wait=_RECONNECT,
                max_reconnect_attempts=-1,
                ping_interval=_PING,
                max_outstanding_pings=2,
                # What is published while cut off is spooled by us, never by the client
                pending_size=0,
                disconnected_cb=lost,
                reconnected_cb=back,
                closed_cb=over,
                error_cb=failed,
            )
        )
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({attempt, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not attempt.done():
            attempt.cancel()
        try:
            await attempt
        except asyncio.CancelledError:
            return None
        except Exception as error:
            self._tell(error)
            return None
        self._set_connected(True)
        return client

    async def _session(self, client: Client, closed: asyncio.Event) -> None:
        tasks = [asyncio.ensure_future(one) for one in self._while_connected(client)]
        ends = [asyncio.ensure_future(closed.wait()), asyncio.ensure_future(self._stop.wait())]
        try:
            done, _ = await asyncio.wait({*tasks, *ends}, return_when=asyncio.FIRST_COMPLETED)
            for task in done.intersection(tasks):
                if error := task.exception():
                    self._tell(error)
            await self._before_closing()
        finally:
            for task in (*tasks, *ends):
                task.cancel()
            await asyncio.gather(*tasks, *ends, return_exceptions=True)
            self._set_connected(False)
            with suppress(Exception):
                await asyncio.wait_for(client.close(), _FAREWELL)

    def _set_connected(self, connected: bool) -> None:
        if connected is self.connected:
            return
        self.connected = connected
        if connected:
            self._lost.clear()
            self._back.set()
            self._told.clear()
            _log.info("locations_connected")
        else:
            self._lost.set()
            if not self._stop.is_set():
                _log.warning("locations_cut_off")

    def _tell(self, error: BaseException) -> None:
        """Say once what is wrong until the connection stands again, even if answers alternate."""
        detail = _sentence(error)
        if detail not in self._told:
            self._told.add(detail)
            _log.warning("locations_failed", extra=fields(detail=detail))

    # What the two ends differ in

    def _always(self) -> Iterable[Awaitable[None]]:
        return ()

    def _while_connected(self, client: Client) -> Iterable[Awaitable[None]]:
        raise NotImplementedError

    async def _before_closing(self) -> None:
        pass

    async def _farewell(self) -> None:
        pass


class PlaceLink(_Link):
    """
    A place's end: reports go out, questions come in.

    Args:
        partition_of: Which partition a site belongs to.
        beat: What this daemon tells of itself; the link adds what waits.
        on_question: Told of sites that other places ask about.
        on_places: Told of this place's position among the live places, and of their number.
    """

    def __init__(
        self,
        access: NatsAccess,
        *,
        sender: Sender,
        spool: tuple[Path | None, Bytes],
        partition_of: Callable[[str], int],
        beat: Callable[[], SignOfLife],
        on_question: Callable[[tuple[str, ...]], None],
        on_places: Callable[[int, int], None],
        clock: Clock,
    ) -> None:
        super().__init__(
            access,
            name=f"monitor {sender.location} {sender.part}",
            inbox=f"_INBOX.{sender.location}",
            clock=clock,
        )
        self._sender = sender
        self._spool = Spool(*spool)
        self._partition_of = partition_of
        self._beat = beat
        self._on_question = on_question
        self._on_places = on_places

        self._fresh: deque[Report] = deque()
        self._questions: deque[str] = deque()
        self._news = asyncio.Event()
        self._delivering = asyncio.Lock()
        self._client: Client | None = None
        self._run_id = os.urandom(6).hex()
        self._number = 0
        self._places: dict[str, Seconds] = {}
        self._told_places: tuple[int, int] | None = None

    def report(self, report: Report, *, news: bool, ask: bool) -> None:
        """
        Send a report; any thread, never waits.

        Args:
            news: Whether it changes anything, and leaves at once.
            ask: Whether other places are to check the site now.
        """
        self._fresh.append(report)
        if ask:
            self._questions.append(report.site)
        if news:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._news.set)

    @property
    def waiting(self) -> int:
        """How many reports could not be delivered yet."""
        return self._spool.reports

    @property
    def dropped(self) -> int:
        """How many reports were lost because too many waited."""
        return self._spool.dropped

    def _always(self) -> Iterable[Awaitable[None]]:
        return (self._pump(),)

    async def _pump(self) -> None:
        """Gather what was reported and deliver it, or have it wait in the spool."""
        while True:
            await _within(self._news.wait(), _QUIET)
            self._news.clear()
            await self._ask()
            await self._deliver()

    async def _ask(self) -> None:
        if not self._questions:
            return
        sites = tuple(dict.fromkeys(self._questions))
        self._questions.clear()
        if self._client is not None and self.connected:
            with suppress(NatsError, OSError):  # a question that is lost is asked by nobody
                subject = f"monitor.questions.{self._sender.location}"
                for start in range(0, len(sites), _IN_MESSAGE):
                    await self._client.publish(
                        subject, pack_question(sites[start : start + _IN_MESSAGE])
                    )

    async def _deliver(self) -> None:
        async with self._delivering:
            fresh = self._gathered()
            try:
                await self._deliver_all(fresh)
            except BaseException:
                self._spool.put(fresh)  # what did arrive is recognised by its number
                raise

    async def _deliver_all(self, fresh: list[Waiting]) -> None:
        if fresh and (self._spool or not self.connected):
            self._spool.put(fresh)
            fresh.clear()
        while self._spool and self.connected:
            first = self._spool.first(_AT_ONCE)
            left = await self._publish(first)
            self._spool.delivered([one for one in first if one not in left])
            if left:
                return
        if fresh:
            left = await self._publish(fresh)
            fresh.clear()
            self._spool.put(left)

    def _gathered(self) -> list[Waiting]:
        """Return what was reported since the last time, as messages by partition."""
        parts: dict[int, list[str]] = {}
        for _ in range(len(self._fresh)):
            report = self._fresh.popleft()
            parts.setdefault(self._partition_of(report.site), []).append(pack_report(report))
        messages = []
        for partition, packed in parts.items():
            for start in range(0, len(packed), _IN_MESSAGE):
                some = packed[start : start + _IN_MESSAGE]
                self._number += 1
                messages.append(
                    Waiting(
                        f"{self._run_id}-{self._number}", partition, len(some), pack_reports(some)
                    )
                )
        return messages

    async def _publish(self, messages: list[Waiting]) -> list[Waiting]:
        """Return the messages that did not arrive."""
        client = self._client
        if client is None or not self.connected:
            return messages
        stream = client.jetstream(timeout=_ACK)
        sent = [asyncio.ensure_future(self._publish_one(stream, one)) for one in messages]
        lost: asyncio.Future[Any] = asyncio.ensure_future(self._lost.wait())
        # Whatever a lost connection has not answered will not be answered over the next one
        everything: asyncio.Future[Any] = asyncio.ensure_future(
            asyncio.gather(*sent, return_exceptions=True)
        )
        try:
            await asyncio.wait({everything, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*sent, lost):
                task.cancel()
        arrived = await everything
        left = [one for one, outcome in zip(messages, arrived, strict=True) if outcome is not None]
        errors = [one for one in arrived if isinstance(one, Exception)]
        if errors:
            self._tell(errors[0])
        return left

    async def _publish_one(self, stream: JetStreamContext, one: Waiting) -> None:
        location, part = self._sender.location, self._sender.part
        await stream.publish(
            f"monitor.reports.{one.partition}.{location}",
            pack_batch(part, one.id, self._clock.time(), one.reports),
            headers={"Nats-Msg-Id": one.id},
        )

    def _while_connected(self, client: Client) -> Iterable[Awaitable[None]]:
        self._client = client
        return (self._talk(client),)

    async def _talk(self, client: Client) -> None:
        """Listen to the other places, and tell that we live."""

        async def asked(message: Msg) -> None:
            if not message.subject.endswith(f".{self._sender.location}"):
                with suppress(WireError):
                    self._on_question(unpack_question(message.data))

        async def heard(message: Msg) -> None:
            self._places[message.subject.rpartition(".")[2]] = self._clock.monotonic()

        await client.subscribe("monitor.questions.*", cb=asked)
        await client.subscribe("monitor.places.*", cb=heard)
        beats = 0
        self._back.clear()
        while True:
            if self.connected:
                with suppress(NatsError, OSError):
                    beat = self._beat()
                    await client.publish(f"monitor.places.{self._sender.location}", pack_beat(beat))
                beats += 1
                if beats > 2:  # by then each of the others has beaten once  # noqa: PLR2004
                    self._look_at_places()
            # At once after a time without a connection: a silent place has no vote
            await _within(self._back.wait(), BEAT)
            self._back.clear()

    def _look_at_places(self) -> None:
        now = self._clock.monotonic()
        alive = sorted(name for name, at in self._places.items() if now - at < _FORGOTTEN)
        own = self._sender.location
        if own not in alive:
            return
        found = (alive.index(own), len(alive))
        if found != self._told_places:
            self._told_places = found
            self._on_places(*found)

    async def _before_closing(self) -> None:
        if self._stop.is_set() and self.connected:
            await _within(self._deliver(), _FAREWELL)
        self._client = None

    async def _farewell(self) -> None:
        self._spool.put(self._gathered())
        self._spool.close()


class HubLink(_Link):
    """
    The hub's end: reports and signs of life come in.

    Args:
        partitions: Those that this hub joins.
        positions: Returns how far each was read in an earlier life; asked at the start.
        replay: How far back to read again, to know what each place said last.
        on_reports: Told of each batch, where it stands in the stream, and whether it was applied
            in an earlier life.
        on_beat: Told of each sign of life, and when it came.
        on_not_understood: Told of each message that is not understood.
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
        self._applied: dict[int, int] = {}  # in an earlier life
        self._read: dict[int, int] = {}  # in this one
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
            location = message.subject.rpartition(".")[2]
            try:
                beat = unpack_beat(message.data, location)
            except WireError:
                self._on_not_understood()
            else:
                self._on_beat(beat, self._clock.time())

        await client.subscribe("monitor.places.*", cb=heard)
        await self._stop.wait()

    async def _follow(self, client: Client, partition: int) -> None:
        """Read one partition, again from where it stopped whenever its consumer may be gone."""
        while True:
            if self.connected:
                stream = client.jetstream(timeout=_ACK)
                reading = asyncio.ensure_future(self._read_partition(stream, partition))
                await self._until_lost(reading)
                if not reading.cancelled() and (error := reading.exception()):
                    self._tell(error)
            await asyncio.sleep(_PAUSE)

    async def _until_lost(self, reading: "asyncio.Future[None]") -> None:
        # A server that was started again has forgotten the consumer, and says nothing of it
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
                    return  # something is missing: read again from the last that came
                expected += 1
                self._take(message, partition, sequence.stream)
        finally:
            with suppress(Exception):
                await subscription.unsubscribe()

    async def _subscribe(self, stream: JetStreamContext, partition: int) -> Any:
        subject = f"monitor.reports.{partition}.*"
        applied = self._applied.get(partition, 0)
        read = self._read.get(partition)
        last = (await stream.stream_info(STREAM)).state.last_seq
        if read is None and 0 < applied <= last:
            read = min(applied, await self._before_replay(stream, subject))
        if read is not None and read <= last:
            return await _push(
                stream,
                subject,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=read + 1,
            )
        # The first life, or another stream than before: all that it holds is news
        self._applied.pop(partition, None)
        return await _push(stream, subject, deliver_policy=DeliverPolicy.ALL)

    async def _before_replay(self, stream: JetStreamContext, subject: str) -> int:
        """Return the message after which the time begins that is read again."""
        since = datetime.now(UTC) - timedelta(seconds=self._replay)
        subscription = await _push(
            stream,
            subject,
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=since.isoformat(),
        )
        try:
            first: int = (await subscription.next_msg(timeout=_ACK)).metadata.sequence.stream
        except TimeoutError:
            return sys.maxsize  # nothing came in that time
        finally:
            await subscription.unsubscribe()
        return first - 1

    def _take(self, message: Msg, partition: int, sequence: int) -> None:
        self._read[partition] = sequence
        location = message.subject.rpartition(".")[2]
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
        stream=STREAM,
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


# ---------------------------------------------------------------- setup and a look from outside


async def _with_client(access: NatsAccess, do: Callable[[Client], Awaitable[Any]]) -> Any:
    # Without a bound the client goes on for minutes where nobody listens
    client = await asyncio.wait_for(
        nats.connect(
            **access.options(),
            name="monitor locations",
            inbox_prefix="_INBOX.hub",
            connect_timeout=_CONNECT,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=_ignore,
        ),
        2 * _CONNECT,
    )
    try:
        return await do(client)
    finally:
        await client.close()


async def _ignore(_: Exception) -> None:
    pass


def _ask(access: NatsAccess, do: Callable[[Client], Awaitable[Any]]) -> Any:
    """
    Do something over a connection of its own.

    Raises:
        StartupError: The servers cannot be reached, or refuse it.
    """
    try:
        return asyncio.run(_with_client(access, do))
    except (TimeoutError, NatsError, OSError) as error:
        raise StartupError(f"NATS: {_sentence(error)}") from error


def set_up(access: NatsAccess, size: Bytes) -> str:
    """
    Make the stream, or bring it to what it should be; return what was done.

    Raises:
        StartupError: The servers cannot be reached, or refuse it.
    """
    wanted = StreamConfig(
        name=STREAM,
        description="What places report of the sites that they check",
        subjects=["monitor.reports.*.*"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=size,
        max_age=_KEPT,
        duplicate_window=_DUPLICATES,
    )

    async def do(client: Client) -> str:
        stream = client.jetstream(timeout=_ACK)
        try:
            found = (await stream.stream_info(STREAM)).config
        except NotFoundError:
            await _with_room(stream.add_stream(wanted), size)
            return "made"
        same = all(
            getattr(found, name) == getattr(wanted, name)
            for name in ("subjects", "max_bytes", "max_age", "duplicate_window")
        )
        if same:
            return "as it should be"
        wanted.num_replicas = found.num_replicas
        await _with_room(stream.update_stream(wanted), size)
        return "changed"

    done: str = _ask(access, do)
    return done


async def _with_room(change: Awaitable[Any], size: Bytes) -> None:
    """
    Make or change the stream.

    Raises:
        StartupError: JetStream has no room for it.
    """
    try:
        await change
    except APIError as error:
        if error.err_code not in _NO_ROOM:
            raise
        raise StartupError(
            f"NATS has no room for a stream of {show_size(size)}, as locations.stream says"
            f" ({error.description}); set locations.stream to less, or give the servers more:"
            " max_file_store in nats-server.conf, or the limits of the account"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    How far a hub has read a partition.

    Attributes:
        last: The last message that it was sent, of the whole stream's.
        waiting: Messages of the partition behind that.
    """

    partition: int
    last: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLook:
    """
    How the stream stands.

    Attributes:
        beats: The last sign of life of each daemon within the time of the look, with its skew.
        readings: Of each hub, by partition; None where we may not ask for them.
    """

    messages: int
    size: Bytes
    last: int
    beats: tuple[tuple[SignOfLife, Seconds], ...]
    readings: tuple[Reading, ...] | None


def look(access: NatsAccess, clock: Clock) -> StreamLook:
    """
    Return how the stream stands, and who gives a sign of life within a little more than a beat.

    Raises:
        StartupError: The servers cannot be reached, or refuse it.
    """

    async def do(client: Client) -> StreamLook:
        heard: dict[Sender, tuple[SignOfLife, Seconds]] = {}

        async def listen(message: Msg) -> None:
            with suppress(WireError):
                beat = unpack_beat(message.data, message.subject.rpartition(".")[2])
                heard[beat.sender] = beat, beat.sent - clock.time()

        await client.subscribe("monitor.places.*", cb=listen)
        stream = client.jetstream(timeout=_ACK)
        try:
            state = (await stream.stream_info(STREAM)).state
        except NotFoundError:
            raise StartupError(
                "NATS has no stream for reports; make it with: monitor locations setup"
            ) from None
        readings, _ = await asyncio.gather(_readings(stream), asyncio.sleep(BEAT * 1.2))
        return StreamLook(
            messages=state.messages,
            size=state.bytes,
            last=state.last_seq,
            beats=tuple(heard[sender] for sender in sorted(heard)),
            readings=readings,
        )

    found: StreamLook = _ask(access, do)
    return found


async def _readings(stream: JetStreamContext) -> tuple[Reading, ...] | None:
    try:
        consumers = await stream.consumers_info(STREAM)
    except TimeoutError:  # so the servers refuse it
        return None
    found = []
    for one in consumers:
        subject = _OF_PARTITION.fullmatch(one.config.filter_subject or "")
        # One that nobody listens to is what a hub that was killed leaves for a minute
        if subject is not None and one.push_bound:
            last = one.delivered.stream_seq if one.delivered else 0
            found.append(
                Reading(partition=int(subject[1]), last=last, waiting=one.num_pending or 0)
            )
    return tuple(sorted(found, key=lambda one: (one.partition, -one.last)))


# ---------------------------------------------------------------- small things


async def _within(what: Awaitable[Any], seconds: Seconds) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(what, seconds)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _sentence(error: BaseException) -> str:
    """Return what is wrong, in words for the person who looks after the servers."""
    if isinstance(error, NoStreamResponseError | NotFoundError):
        return f"there is no stream {STREAM}; make it with: monitor locations setup"
    if isinstance(error, asyncio.TimeoutError | NatsError) and "timeout" in str(error).lower():
        return "the servers do not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
