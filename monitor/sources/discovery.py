"""
The state of all sources: last good lists, what vanished, what cannot be read.

Each source has a thread that looks and waits in turn; one more thread removes entries that have
been gone long enough, and writes the data folder.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from threading import Condition, Thread
from types import MappingProxyType
from typing import Protocol, cast

from monitor.clock import Clock
from monitor.discovered import ListedSite, Source, SourceContents
from monitor.logs import fields
from monitor.sources.memory import LastGoodLists, Lists
from monitor.sources.ports import Look, Opener, UnreadableError, WatchedSource, World
from monitor.units import Seconds, Timestamp

_log = logging.getLogger(__name__)

_WHOLE = ""
_PAUSE: Seconds = 1.0
"""The time between two writes of the data folder, however much changes."""
_MOST_REMARKS = 100


class SourceMeters(Protocol):
    """Counts the work of sources."""

    def discovery_failed(self, source: str) -> None:
        """Count a source, or a part of it, that could not be read."""

    def discovery_read(self, source: str, entries: int, time: Timestamp) -> None:
        """Set how many entries a source lists, after it has been read."""

    def discovery_forgot(self, source: str) -> None:
        """Take back all series of a source that is no longer declared."""


@dataclass(slots=True, eq=False)
class _Tracked:
    """
    One source; its mutable state is guarded by the condition of Discovery.

    Attributes:
        parts: The last good list of each part.
        unread: Why a part could not be read the last time.
        gone: What vanished, by identity, and when to remove it.
        refused: Whether the last list was longer than the limit.
    """

    source: Source
    reader: WatchedSource
    parts: Mapping[str, tuple[ListedSite, ...]]
    unread: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    gone: dict[str, tuple[ListedSite, Seconds]] = field(default_factory=dict)
    refused: bool = False
    closed: bool = False

    def found(self) -> SourceContents:
        present = [entry for part in self.parts.values() for entry in part]
        missing = [
            f"{part}: cannot be read: {reason}" if part and part not in reason else reason
            for part, reason in self.unread.items()
        ]
        return SourceContents(
            tuple(present),
            tuple(entry for entry, _ in self.gone.values()),
            (*missing, *self.remarks),
        )


class Discovery:
    """
    Watches the declared sources, and calls back when what they list has changed.

    Args:
        on_change: Called in the thread of any source.
        memory: Keeps the last good lists.
        open_reader: Creates the reader of a source.
        working: A context for long computations, so that other threads get their turn.
    """

    def __init__(
        self,
        world: World,
        on_change: Callable[[], None],
        *,
        clock: Clock,
        meters: SourceMeters,
        memory: LastGoodLists,
        open_reader: Callable[[Source, World], WatchedSource] | None = None,
        working: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._world = world
        self._on_change = on_change
        self._clock = clock
        self._meters = meters
        self._memory = memory
        self._open = open_reader or _open
        self._working = working
        # Guards everything below; notified when the housekeeper has something to do
        self._changed = Condition()
        self._tracked: dict[str, _Tracked] = {}
        self._remembered: Lists | None = None
        self._found: Mapping[str, SourceContents] = MappingProxyType({})
        self._unsaved = False
        self._stopped = False
        self._housekeeper: Thread | None = None

    def use(self, sources: Iterable[Source]) -> None:
        """Watch these sources from now on, and no others; unchanged ones are not disturbed."""
        wanted = {source.name: source for source in sources}
        with self._changed:
            if self._remembered is None:
                self._remembered = self._memory.load()
            for name, tracked in list(self._tracked.items()):
                if wanted.get(name) != tracked.source:
                    tracked.closed = True
                    tracked.reader.close()
                if name not in wanted:
                    del self._tracked[name]
                    self._meters.discovery_forgot(name)
                    self._unsaved = True
            started = []
            for name, source in wanted.items():
                before = self._tracked.get(name)
                if before is None or before.source != source:
                    started.append(self._track(source, before))
            # In the order of the list: if two sources name the same site, the first one has it
            self._tracked = {name: self._tracked[name] for name in wanted}
            self._publish()
            self._changed.notify_all()
            if self._housekeeper is None:
                self._housekeeper = Thread(target=self._keep_house, name="discovery", daemon=True)
                self._housekeeper.start()
        for tracked in started:
            name = f"discover-{tracked.source.name}"
            Thread(target=self._watch, args=(tracked,), name=name, daemon=True).start()

    def found(self) -> Mapping[str, SourceContents]:
        """Return what is known about each source, in the order of declaration."""
        return self._found

    def stop(self) -> None:
        """Stop watching, and write what is not written yet."""
        with self._changed:
            self._stopped = True
            for tracked in self._tracked.values():
                tracked.closed = True
                tracked.reader.close()
            self._changed.notify_all()
            housekeeper = self._housekeeper
        if housekeeper is not None:
            housekeeper.join(_PAUSE)

    # -- under the lock

    def _track(self, source: Source, before: _Tracked | None) -> _Tracked:
        parts: Mapping[str, tuple[ListedSite, ...]] = {}
        if before is not None and before.source.kind == source.kind:
            parts = before.parts
        elif self._remembered:
            parts = self._remembered.get((source.name, source.kind), {})
        tracked = _Tracked(source, self._open(source, self._world), parts)
        self._tracked[source.name] = tracked
        return tracked

    def _publish(self) -> None:
        self._found = MappingProxyType(
            {name: tracked.found() for name, tracked in self._tracked.items()}
        )

    def _take(self, tracked: _Tracked, look: Look) -> None:
        source = tracked.source
        unread: dict[str, str] = {}
        parts: dict[str, tuple[ListedSite, ...]] = {}
        for part, brought in look.parts.items():
            if not isinstance(brought, UnreadableError):
                parts[part] = brought
                continue
            unread[part] = str(brought)
            if part == _WHOLE:
                parts.update(tracked.parts)
            elif part in tracked.parts:
                parts[part] = tracked.parts[part]
        count = sum(map(len, parts.values()))
        # The kept list of an unread part was below the limit when it was read
        tracked.refused = count > source.limit
        if tracked.refused:
            unread[_WHOLE] = (
                f"lists {count} sites and its limit is {source.limit}; raise limit if that is meant"
            )
            parts = dict(tracked.parts)
        self._tell(tracked, unread, look.remarks)
        if not unread:
            self._meters.discovery_read(source.name, count, self._clock.time())
        self._let_go(tracked, parts)
        if parts != tracked.parts:
            self._unsaved = True
        tracked.parts, tracked.unread = parts, unread
        tracked.remarks = look.remarks[:_MOST_REMARKS]

    def _let_go(self, tracked: _Tracked, parts: Mapping[str, tuple[ListedSite, ...]]) -> None:
        """Keep what is no longer listed for a while, and forget what is listed again."""
        if parts is tracked.parts:
            return
        now = {entry.identity for part in parts.values() for entry in part if not entry.problem}
        until = self._clock.monotonic() + tracked.source.gone
        for part in tracked.parts.values():
            for entry in part:
                if entry.identity not in now and not entry.problem:
                    tracked.gone[entry.identity] = entry, until
        for identity in now.intersection(tracked.gone):
            del tracked.gone[identity]

    def _tell(self, tracked: _Tracked, unread: Mapping[str, str], remarks: tuple[str, ...]) -> None:
        name = tracked.source.name
        for part, reason in unread.items():
            self._meters.discovery_failed(name)
            if tracked.unread.get(part) != reason:
                _log.warning("discovery_failed", extra=fields(source=name, detail=reason))
        if tracked.unread and not unread:
            _log.info("discovery_works", extra=fields(source=name))
        for remark in remarks[:_MOST_REMARKS]:
            if remark not in tracked.remarks:
                _log.info("discovery_left_out", extra=fields(source=name, detail=remark))

    # -- in the thread of a source

    def _watch(self, tracked: _Tracked) -> None:
        while not tracked.closed:
            try:
                with self._working():
                    look = tracked.reader.look()
            except UnreadableError as error:
                look = Look({_WHOLE: error}, tracked.remarks)
            except Exception:
                _log.exception("discovery_fault", extra=fields(source=tracked.source.name))
                look = Look({_WHOLE: UnreadableError("internal error; see the log")})
            with self._working():
                self._took(tracked, look)
            tracked.reader.wait()

    def _took(self, tracked: _Tracked, look: Look | None) -> None:
        with self._changed:
            if tracked.closed:
                return
            if look is None and tracked.refused:  # nothing has changed, so it is still too long
                self._meters.discovery_failed(tracked.source.name)
                return
            if look is None:
                look = Look(dict(tracked.parts), tracked.remarks)
            before = self._found.get(tracked.source.name)
            self._take(tracked, look)
            self._publish()
            changed = self._found.get(tracked.source.name) != before
            self._changed.notify_all()
        if changed:
            self._on_change()

    # -- the housekeeper

    def _keep_house(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(self._until_due())
                stopped = self._stopped
                expired = self._expire()
                lists = self._lists() if self._unsaved else None
                self._unsaved = False
            if lists is not None:
                with self._working():
                    self._memory.save(lists)
            if expired:
                self._on_change()
            if stopped:
                return
            if lists is not None:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped, _PAUSE)

    def _until_due(self) -> Seconds | None:
        if self._unsaved or self._stopped:
            return 0
        ends = [end for one in self._tracked.values() for _, end in one.gone.values()]
        return max(0.0, min(ends) - self._clock.monotonic()) if ends else None

    def _expire(self) -> bool:
        now = self._clock.monotonic()
        expired = False
        for tracked in self._tracked.values():
            over = [identity for identity, (_, end) in tracked.gone.items() if end <= now]
            for identity in over:
                del tracked.gone[identity]
            expired = expired or bool(over)
        if expired:
            self._publish()
        return expired

    def _lists(self) -> Lists:
        return {
            (one.source.name, one.source.kind): dict(one.parts) for one in self._tracked.values()
        }


def look_once(sources: Iterable[Source], world: World) -> Iterator[tuple[str, SourceContents]]:
    """Yield what each source lists now, one after another, for commands that check once."""
    for source in sources:
        reader = _open(source, world)
        try:
            look = reader.look()
        except UnreadableError as error:
            look = Look({_WHOLE: error})
        finally:
            reader.close()
        entries: list[ListedSite] = []
        remarks = list(look.remarks) if look else []
        for brought in look.parts.values() if look else ():
            if isinstance(brought, UnreadableError):
                remarks.append(str(brought))
            else:
                entries += brought
        if len(entries) > source.limit:
            remarks.append(f"lists {len(entries)} sites and its limit is {source.limit}")
            entries = []
        yield source.name, SourceContents(tuple(entries), remarks=tuple(remarks))


def _open(source: Source, world: World) -> WatchedSource:
    opener = cast("Opener", import_module(f"monitor.sources.{source.kind}").open_source)
    return opener(source, world)
