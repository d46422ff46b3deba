"""A place's connection: sends reports, keeps them until they arrive, and receives questions."""

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from monitor.clock import Clock
from monitor.locations import subjects
from monitor.locations.access import ACK_TIMEOUT, NatsAccess
from monitor.locations.link import FAREWELL, NatsLink, within
from monitor.locations.spool import Spool, Waiting
from monitor.locations.wire import (
    WireError,
    pack_batch,
    pack_beat,
    pack_question,
    pack_report,
    pack_reports,
    unpack_question,
)
from monitor.places import Report, Sender, SignOfLife
from monitor.units import Bytes, Seconds

BEAT: Seconds = 5.0
"""The interval between signs of life."""
_QUIET: Seconds = 1.0
"""How long a report that changes nothing may wait."""
_IN_MESSAGE = 400
"""The most reports; with messages of 300 characters about 300 kB, below NATS' 1 MiB."""
_AT_ONCE = 32
"""The most messages in flight while a spool is emptied."""
_FORGOTTEN: Seconds = 900.0
"""After this long without a sign of life, a place's share of the slots goes to the others."""


class PlaceLink(NatsLink):
    """
    The place's end: sends reports, and receives questions.

    Args:
        partition_of: Returns the partition of a site.
        beat: What this daemon reports about itself; the link adds the waiting reports.
        on_question: Called with the sites that other places ask about.
        on_places: Called with this place's number among the live places, and how many there are.
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
        Send a report; any thread may call this, and it never waits.

        Args:
            news: Whether the report changes anything and must leave at once.
            ask: Whether other places should check the site now.
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
        """Collect reports and deliver them, or keep them in the spool."""
        while True:
            await within(self._news.wait(), _QUIET)
            self._news.clear()
            await self._ask()
            await self._deliver()

    async def _ask(self) -> None:
        if not self._questions:
            return
        sites = tuple(dict.fromkeys(self._questions))
        self._questions.clear()
        if self._client is not None and self.connected:
            with suppress(NatsError, OSError):  # a lost question is not asked again
                subject = subjects.questions(self._sender.location)
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
                self._spool.put(fresh)  # the server recognises by its number what did arrive
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
        """Return the reports since the last call, as messages by partition."""
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
        stream = client.jetstream(timeout=ACK_TIMEOUT)
        sent = [asyncio.ensure_future(self._publish_one(stream, one)) for one in messages]
        lost: asyncio.Future[Any] = asyncio.ensure_future(self._lost.wait())
        # What a lost connection has not answered will not be answered over the next one
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
            self._warn_once(errors[0])
        return left

    async def _publish_one(self, stream: JetStreamContext, one: Waiting) -> None:
        location, part = self._sender.location, self._sender.part
        await stream.publish(
            subjects.reports(one.partition, location),
            pack_batch(part, one.id, self._clock.time(), one.reports),
            headers={"Nats-Msg-Id": one.id},
        )

    def _while_connected(self, client: Client) -> Iterable[Awaitable[None]]:
        self._client = client
        return (self._talk(client),)

    async def _talk(self, client: Client) -> None:
        """Listen to the other places, and send signs of life."""

        async def asked(message: Msg) -> None:
            if subjects.location_of(message.subject) != self._sender.location:
                with suppress(WireError):
                    self._on_question(unpack_question(message.data))

        async def heard(message: Msg) -> None:
            self._places[subjects.location_of(message.subject)] = self._clock.monotonic()

        await client.subscribe(subjects.questions(subjects.ANY), cb=asked)
        await client.subscribe(subjects.beats(subjects.ANY), cb=heard)
        beats = 0
        self._back.clear()
        while True:
            if self.connected:
                with suppress(NatsError, OSError):
                    beat = self._beat()
                    await client.publish(subjects.beats(self._sender.location), pack_beat(beat))
                beats += 1
                if beats > 2:  # noqa: PLR2004  by then each of the others has sent one
                    self._look_at_places()
            # At once after a lost connection, because a silent place has no vote
            await within(self._back.wait(), BEAT)
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
            await within(self._deliver(), FAREWELL)
        self._client = None

    async def _farewell(self) -> None:
        self._spool.put(self._gathered())
        self._spool.close()
