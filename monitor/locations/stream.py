"""The stream that keeps reports: creates it, and shows its state."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from monitor.clock import Clock
from monitor.errors import StartupError
from monitor.locations import subjects
from monitor.locations.access import ACK_TIMEOUT, CONNECT_TIMEOUT, NatsAccess, sentence_of
from monitor.locations.place_link import BEAT
from monitor.locations.subjects import STREAM
from monitor.locations.wire import WireError, unpack_beat
from monitor.options import show_size
from monitor.places import Sender, SignOfLife
from monitor.units import Bytes, Seconds

_NO_ROOM = frozenset((10002, 10023, 10028, 10047))
"""JetStream's codes for a full account, resources, memory, storage (server/errors.json)."""
_KEPT: Seconds = 86_400.0
_DUPLICATES: Seconds = 600.0
"""How long the stream recognises a message that is delivered twice."""


async def _with_client(access: NatsAccess, do: Callable[[Client], Awaitable[Any]]) -> Any:
    # Without a limit, the client tries for minutes if nobody listens
    client = await asyncio.wait_for(
        nats.connect(
            **access.options(),
            name="monitor locations",
            inbox_prefix="_INBOX.hub",
            connect_timeout=CONNECT_TIMEOUT,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            error_cb=_ignore,
        ),
        2 * CONNECT_TIMEOUT,
    )
    try:
        return await do(client)
    finally:
        await client.close()


async def _ignore(_: Exception) -> None:
    pass


def _ask(access: NatsAccess, do: Callable[[Client], Awaitable[Any]]) -> Any:
    """
    Do something over a separate connection.

    Raises:
        StartupError: The servers cannot be reached, or refuse it.
    """
    try:
        return asyncio.run(_with_client(access, do))
    except (TimeoutError, NatsError, OSError) as error:
        raise StartupError(f"NATS: {sentence_of(error)}") from error


def set_up(access: NatsAccess, size: Bytes) -> str:
    """
    Create or update the stream; return what was done.

    Raises:
        StartupError: The servers cannot be reached, or refuse it.
    """
    wanted = StreamConfig(
        name=STREAM,
        description="What places report of the sites that they check",
        subjects=[subjects.reports(subjects.ANY, subjects.ANY)],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=size,
        max_age=_KEPT,
        duplicate_window=_DUPLICATES,
    )

    async def do(client: Client) -> str:
        stream = client.jetstream(timeout=ACK_TIMEOUT)
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
    Create or change the stream.

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
        last: The last message that it was sent, by its number in the whole stream.
        waiting: Messages of the partition after that one.
    """

    partition: int
    last: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLook:
    """
    The state of the stream.

    Attributes:
        beats: The last sign of life of each daemon while looking, with its skew.
        readings: For each hub, by partition; None if we may not ask for them.
    """

    messages: int
    size: Bytes
    last: int
    beats: tuple[tuple[SignOfLife, Seconds], ...]
    readings: tuple[Reading, ...] | None


def look(access: NatsAccess, clock: Clock) -> StreamLook:
    """
    Return the stream's state, and who sends a sign of life in a little over one interval.

    Raises:
        StartupError: The servers cannot be reached, or refuse it.
    """

    async def do(client: Client) -> StreamLook:
        heard: dict[Sender, tuple[SignOfLife, Seconds]] = {}

        async def listen(message: Msg) -> None:
            with suppress(WireError):
                beat = unpack_beat(message.data, subjects.location_of(message.subject))
                heard[beat.sender] = beat, beat.sent - clock.time()

        await client.subscribe(subjects.beats(subjects.ANY), cb=listen)
        stream = client.jetstream(timeout=ACK_TIMEOUT)
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
        partition = subjects.partition_of(one.config.filter_subject or "")
        # A killed hub leaves a consumer without a listener for a minute
        if partition is not None and one.push_bound:
            last = one.delivered.stream_seq if one.delivered else 0
            found.append(Reading(partition=partition, last=last, waiting=one.num_pending or 0))
    return tuple(sorted(found, key=lambda one: (one.partition, -one.last)))
