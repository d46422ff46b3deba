"""
The thread that writes: everything the engine reports is stored in one transaction a second.

The engine passes frozen records with one put and never waits. A change of state is written at once,
so that a killed process has told nothing that it will not know after a restart. While the store
cannot be used, checks and states continue; waiting records are limited, results are dropped first,
and everything is written once the store works again.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import blake2b
from queue import Empty, SimpleQueue
from struct import Struct
from threading import Event, Thread
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from monitor.clock import Clock
from monitor.errors import MonitorError
from monitor.history import coarsening, ledger
from monitor.history.aging import Aging, Keep
from monitor.history.breath import Breath
from monitor.history.evidence import pack_evidence, unpack_evidence
from monitor.history.journal import SLOTS, Gathered, milliseconds, outcome_of
from monitor.history.kept import KeptSite
from monitor.history.rollup import UNKNOWN, UP, Outcome
from monitor.history.schema import MAINTENANCE_TRACK, STATE_TRACK
from monitor.history.store import migrate, sentence
from monitor.history.tracks import Row, Tracks, filled, latest
from monitor.history.uptime import DAY, HOUR, Milliseconds
from monitor.logs import fields
from monitor.model import Bytes, Past, Reason, Result, Seconds, Site, SiteState, Status, Timestamp
from monitor.past import Noted, Owed, Remembered, Span

_log = logging.getLogger(__name__)

_PERIOD: Seconds = 1.0
"""The time between transactions if no state changes."""
_PAUSE: Seconds = 0.05
"""The least time between transactions, so that the changes of a thousand sites share a few."""
_BACKOFF: tuple[Seconds, ...] = (1.0, 2.0, 5.0)
"""The pauses before further attempts if the store cannot be used."""
_ABSENT: Seconds = 30.0
"""A wait that takes this much longer means that the process, or the machine, stood still."""
_MOST_WAITING = 200_000
"""Records in the queue; beyond that, results that change no state are dropped."""
_MOST_RESULTS = 500_000
"""Results that wait for an unusable store: about 9 MB, one hour of 8,000 checks a minute."""
_TAKEN_AT_ONCE = 8
"""Records to take from the queue before the thread may pause."""
_MOST_SLOTS = 8
_BACK_WITHIN: Milliseconds = 86_400_000
"""After a start without them, sites go on where they stopped if a source lists them this soon."""
_BEFORE: Milliseconds = 600_000
"""Results of sites that are entered are from so long before at most."""
_LOOK: Seconds = 60.0
"""How often the store's size is looked at."""
_HEARTBEAT: Milliseconds = 5000
_ORPHANED: Milliseconds = 60_000

_WAITING = Struct("<qIB")


class HistoryMeters(Protocol):
    """Counts the history's work; called in its thread."""

    def history_written(self, rows: int, seconds: Seconds) -> None: ...
    def history_failed(self) -> None: ...
    def history_dropped(self, results: int) -> None: ...
    def history_persistent(self, persistent: bool) -> None: ...
    def history_size(self, size: Bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class _Left:
    names: tuple[str, ...]
    time: Timestamp


@dataclass(frozen=True, slots=True)
class _Renamed:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _Recall:
    sites: tuple[Site, ...]
    reply: "Future[Mapping[str, Remembered]]"


@dataclass(frozen=True, slots=True)
class _Keep:
    rows: Mapping[tuple[str, str], bytes | None]
    reply: "Future[bool]"


@dataclass(frozen=True, slots=True)
class _ReadOutbox:
    reply: "Future[list[Owed]]"


@dataclass(frozen=True, slots=True)
class _Late:
    site: Site
    past: Past


@dataclass(frozen=True, slots=True)
class _Mended:
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Position:
    partition: int
    sequence: int


@dataclass(frozen=True, slots=True)
class _Positions:
    reply: "Future[Mapping[int, int]]"


_Item: TypeAlias = (
    Noted
    | _Left
    | _Renamed
    | _Recall
    | _Keep
    | _ReadOutbox
    | _Late
    | _Mended
    | _Position
    | _Positions
)


@dataclass(slots=True)
class _Mend:
    """
    The conditions of a site, as they became known later.

    Attributes:
        written: What the current transaction makes of it.
    """

    kept: KeptSite
    wanted: list[Row]
    written: list[Row] = field(default_factory=list)


class Writer:
    """
    The mutable state below belongs to the writer's thread; other threads use the queue.

    Args:
        open_store: Returns the engine for the store; raises HistoryError if it is not available.
        seat: The name of this daemon among those that share the store: its shard.
        results: How many of a site's last results are read back.
    """

    def __init__(
        self,
        open_store: Callable[[], Engine],
        *,
        seat: str,
        version: str,
        clock: Clock,
        meters: HistoryMeters,
        keep: Keep,
        results: int,
    ) -> None:
        self._open_store = open_store
        self._seat = seat
        self._version = version
        self._clock = clock
        self._meters = meters
        self._results = results

        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._wake = Event()
        self._stopping = False
        self._thread = Thread(target=self._run, name="history", daemon=True)

        self._engine: Engine | None = None
        self._run_id: int | None = None
        self._opened = False
        self._salt = b""
        self._persistent: bool | None = None
        self._failures = 0
        self._retry_at = self._flush_at = self._look_at = 0.0
        self._kept: dict[str, KeptSite] = {}
        self._slots: dict[int, list[KeptSite]] = {}
        self._packed: dict[int, int] = {}
        self._seq = self._sent = 0  # the last row of the journal; results in the last transaction
        self._slot = 0
        self._slot_at: Seconds | None = None
        self._kinds: dict[str, int] = {UP: 0}

        self._number = self._dropped = 0
        self._by_number: dict[int, KeptSite] = {}
        self._leftover: dict[int, dict[int, bytearray]] = {}  # for sites not entered yet, by slot
        self._entered: list[KeptSite] = []  # in the current transaction
        self._last_seen: Milliseconds = 0
        self._breathe = Breath()
        self._aging = Aging(keep, self._breathe)
        self._awake = (0.0, math.inf)  # at the last wait's end, and by how much that clock leads

        # What the next transaction writes
        self._gathered = Gathered()
        self._rows: dict[int, dict[tuple[int, Milliseconds], Row]] = {}
        self._dirty: dict[int, KeptSite] = {}
        self._evidence: dict[int, tuple[KeptSite, SiteState]] = {}
        self._mends: list[_Mend] = []
        self._unlisted: dict[int, KeptSite] = {}
        self._gone: list[tuple[KeptSite, Milliseconds]] = []
        self._left: dict[str, Tracks] = {}  # of the same
        self._renames: list[tuple[str, str]] = []
        self._recalls: list[_Recall] = []
        self._outbox: dict[tuple[str, str], bytes | None] = {}
        self._keeps: list[Future[bool]] = []
        self._readers: list[Future[list[Owed]]] = []
        self._positions: dict[int, int] = {}
        self._began: Milliseconds | None = None  # when the sites of the start were entered
        self._moved = False  # whether these differ from what is written
        self._asked: list[_Positions] = []
        self._on_loss: Callable[[], None] | None = None

    # ------------------------------------------------------------ any thread

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: Seconds) -> None:
        """Write everything and end; the store may take this long."""
        self._stopping = True
        self._wake.set()
        self._thread.join(patience)

    @property
    def persistent(self) -> bool:
        """Whether the last transaction succeeded; False before the first."""
        return self._persistent is True

    def noted(self, state: SiteState, time: Timestamp, *, checked: bool) -> None:
        """Record a state; never waits."""
        news = not checked or state.streak == 1 or state.since == time
        if not news and self._queue.qsize() > _MOST_WAITING:
            self._meters.history_dropped(1)
            return
        self._queue.put(Noted(state, time, checked))
        if news:
            self._wake.set()

    def left(self, names: Iterable[str], time: Timestamp) -> None:
        """Record that sites have left the list."""
        self._queue.put(_Left(tuple(names), time))

    def renamed(self, old: str, new: str) -> None:
        self._queue.put(_Renamed(old, new))

    def recall(self, sites: Sequence[Site], patience: Seconds) -> Mapping[str, Remembered]:
        """
        Return what is remembered about sites that are still the same, by name; waits for it.

        Empty if the store cannot be used, or not in time.
        """
        try:
            return self.ask(sites).result(patience)
        except TimeoutError:
            _log.warning("history_not_read", extra=fields(detail="the store does not answer"))
            return {}

    def ask(self, sites: Sequence[Site]) -> "Future[Mapping[str, Remembered]]":
        """Have the data for recall() looked up, without waiting for it."""
        reply: Future[Mapping[str, Remembered]] = Future()
        self._queue.put(_Recall(tuple(sites), reply))
        self._wake.set()
        return reply

    def keep(self, rows: Mapping[tuple[str, str], bytes | None]) -> "Future[bool]":
        """
        Have rows of the outbox written at once, after everything reported so far.

        Args:
            rows: By kind and key; None is a row to delete.

        Returns:
            Whether they are in the store; if it cannot be used now, they follow later.
        """
        reply: Future[bool] = Future()
        self._queue.put(_Keep(rows, reply))
        self._wake.set()
        return reply

    def on_loss(self, call: Callable[[], None]) -> None:
        """
        Have a function called whenever stored rows of the outbox may be lost.

        This happens when the store has been replaced, for example because its file was removed. The
        function is called in the writer's thread, and must not wait.
        """
        self._on_loss = call

    def owed(self) -> "Future[list[Owed]]":
        """Have all rows of the outbox read; empty if the store cannot be used now."""
        reply: Future[list[Owed]] = Future()
        self._queue.put(_ReadOutbox(reply))
        self._wake.set()
        return reply

    def late(self, site: Site, past: Past) -> None:
        """Record a result that changes no state, because it came too late for that."""
        if self._queue.qsize() > _MOST_WAITING:
            self._meters.history_dropped(1)
            return
        self._queue.put(_Late(site, past))

    def mended(self, spans: Sequence[Span]) -> None:
        """
        Record the conditions of one site at a time when nobody could tell.

        Time that was reported as up or down stays unchanged.

        Args:
            spans: In order, up or down, and ended.
        """
        self._queue.put(_Mended(tuple(spans)))

    def position(self, partition: int, sequence: int) -> None:
        """
        Record how far a stream has been read.

        It is written with what was noted before it, in the same transaction.
        """
        self._queue.put(_Position(partition, sequence))

    def positions(self, patience: Seconds) -> Mapping[int, int]:
        """Return how far this daemon had read each partition before its restart; waits for it."""
        reply: Future[Mapping[int, int]] = Future()
        self._queue.put(_Positions(reply))
        self._wake.set()
        try:
            return reply.result(patience)
        except TimeoutError:
            return {}

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            self._turn(stopping=stopping)
            if stopping:
                break
            self._wait()
        self._answer_nothing()
        if self._engine is not None:
            self._engine.dispose()

    def _wait(self) -> None:
        self._clock.sleep(_PAUSE)
        before, wait = self._clock.time(), max(0.0, self._flush_at - self._clock.monotonic())
        self._wake.wait(min(wait, _PERIOD))
        now, (awake, led) = self._clock.time(), self._awake
        lead = now - self._clock.monotonic()
        if now - before > wait + _ABSENT:
            self._on_absence(milliseconds(before))
        elif lead - led > _ABSENT:  # set ahead, or asleep, while a transaction was under way
            self._on_absence(milliseconds(awake))
        self._awake = (now, lead)

    def _turn(self, *, stopping: bool = False) -> None:
        self._wake.clear()
        self._drain()
        now = self._clock.monotonic()
        self._flush_at = now + _PERIOD
        if now < self._retry_at and not stopping:
            for keep in self._keeps:
                keep.set_result(False)
            self._keeps.clear()
            return
        try:
            self._write(stopping=stopping)
        except (IntegrityError, DataError) as error:
            self._on_fault()
            self._on_trouble(error)
        except (MonitorError, OSError, DBAPIError) as error:
            self._on_trouble(error)
        except Exception as error:
            self._on_fault()
            self._on_trouble(error)
        else:
            self._failures = 0
            if self._persistent is False:
                _log.info("history_persistent")
            self._say_persistent(persistent=True)

    def _on_trouble(self, error: Exception) -> None:
        """Continue from memory, and try again soon; log it once."""
        self._meters.history_failed()
        self._retry_at = self._clock.monotonic() + _BACKOFF[min(self._failures, 2)]
        self._failures += 1
        if self._persistent is not False:
            _log.warning("history_not_persistent", extra=fields(detail=sentence(error)))
        self._say_persistent(persistent=False)
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        for kept in self._entered:  # their transaction did not happen
            self._slots[(kept.id or 0) % SLOTS].remove(kept)
            kept.id = None
            self._unlisted[kept.number] = kept
        self._entered.clear()
        self._answer_nothing()
        surplus = len(self._gathered) - _MOST_RESULTS
        if surplus > 0:
            self._gathered.drop_oldest(surplus)
            self._sent = max(0, self._sent - surplus)
            self._meters.history_dropped(surplus)

    def _answer_nothing(self) -> None:
        """End all waits for a store that cannot be used."""
        for recall in self._recalls:
            recall.reply.set_result({})
        for keep in self._keeps:
            keep.set_result(False)
        for reader in self._readers:
            reader.set_result([])
        for asked in self._asked:
            asked.reply.set_result({})
        for waiting in (self._recalls, self._keeps, self._readers, self._asked):
            waiting.clear()

    def _on_fault(self) -> None:
        """Drop what cannot be written because of a bug, so that the rest can be written."""
        _log.exception("history_fault")
        self._meters.history_failed()
        self._meters.history_dropped(len(self._gathered))
        self._answer_nothing()
        self._forget_written()
        self._run_id = None  # so that everything is entered again

    def _say_persistent(self, *, persistent: bool) -> None:
        if persistent is not self._persistent:
            self._persistent = persistent
            self._meters.history_persistent(persistent)

    # ------------------------------------------------------------ what was reported

    def _drain(self) -> None:
        taken = 0
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            match item:
                case Noted():
                    self._on_noted(item)
                case _Left():
                    self._on_left(item)
                case _Renamed():
                    self._on_renamed(item)
                case _Recall():
                    self._recalls.append(item)
                case _Keep():
                    self._outbox.update(item.rows)
                    self._keeps.append(item.reply)
                case _ReadOutbox():
                    self._readers.append(item.reply)
                case _Late() | _Mended() | _Position():
                    self._on_hub(item)
                case _Positions():
                    self._asked.append(item)
            taken += 1
            if taken % _TAKEN_AT_ONCE == 0:
                self._breathe()

    def _on_noted(self, noted: Noted) -> None:
        state = noted.state
        at = milliseconds(noted.time)
        kept = self._kept.get(state.site.name) or self._new(state.site)
        if state.site is not kept.site:
            kept.site, kept.identity = state.site, None
            self._unlisted[kept.number] = kept
        rows: list[Row] = []
        if noted.checked:
            last = state.recent[0]
            duration = max(0, round(last.duration * 1e6))
            self._gathered.add(kept.number, at, duration, outcome_of(last.up, last.reason))
            rows = kept.tracks.on_result(state, at)
            kept.as_of = max(at, kept.as_of)
            if state.failures and last.up is False:
                self._keep_evidence(kept, state)
        rows += kept.tracks.on_maintenance(is_open=state.maintenance, at=at)
        turned = kept.status is not state.status or kept.content != state.content
        if rows:
            was_down = kept.status is Status.DOWN
            first = state.streak_since if state.status is Status.DOWN and not was_down else None
            since = at if first is None else min(at, milliseconds(first))
            self._write_later(kept, rows, since)
        if turned or state.streak <= 1:
            self._dirty[kept.number] = kept
        kept.state, kept.status, kept.content = state, state.status, state.content

    def _new(self, site: Site) -> KeptSite:
        self._number += 1
        kept = self._kept[site.name] = KeptSite(self._number, site)
        if (left := self._left.get(site.name)) is not None:
            kept.tracks.closed, kept.tracks.window_closed = left.closed, left.window_closed
        self._by_number[kept.number] = kept
        self._unlisted[kept.number] = kept
        return kept

    def _write_later(self, kept: KeptSite, rows: Iterable[Row], since: Milliseconds) -> None:
        """Have spans written that change nothing of the time before *since*."""
        self._rows.setdefault(kept.number, {}).update(latest(rows))
        kept.days_until = min(kept.days_until, since // DAY)

    def _keep_evidence(self, kept: KeptSite, state: SiteState) -> None:
        """Keep a failure's evidence where it is another than the one before."""
        result = state.last
        if result is None or result.up is not False:
            return
        verdict = result.analysis.verdict if result.analysis else None
        told = (verdict.reason, verdict.message) if verdict else None
        if state.streak == 1 or told != kept.told or state.since == result.observation.time:
            kept.told = told
            self._evidence[kept.number] = (kept, state)

    def _on_hub(self, item: _Late | _Mended | _Position) -> None:
        """Record what only a hub has."""
        match item:
            case _Position():
                self._positions[item.partition] = item.sequence
                self._moved = True
            case _Late():
                self._on_late(item)
            case _Mended():
                self._on_mended(item)

    def _on_mended(self, mended: _Mended) -> None:
        kept = self._kept.get(mended.spans[0].site)
        if kept is not None:
            rows = [
                Row(
                    STATE_TRACK,
                    milliseconds(one.begin),
                    None if one.end is None else milliseconds(one.end),
                    one.condition,
                    one.reason,
                    one.message,
                )
                for one in mended.spans
            ]
            self._mends.append(_Mend(kept, rows))

    def _on_late(self, late: _Late) -> None:
        kept = self._kept.get(late.site.name) or self._new(late.site)
        past = late.past
        self._gathered.add(
            kept.number,
            milliseconds(past.time),
            max(0, round(past.duration * 1e6)),
            outcome_of(past.up, past.reason),
        )

    def _on_left(self, left: _Left) -> None:
        at = milliseconds(left.time)
        for name in left.names:
            kept = self._kept.pop(name, None)
            if kept is not None:
                if rows := kept.tracks.on_gap(at):
                    self._write_later(kept, rows, at)
                kept.gone = True
                self._left[name] = kept.tracks
                self._gone.append((kept, at))

    def _on_renamed(self, renamed: _Renamed) -> None:
        kept = self._kept.pop(renamed.old, None)
        if kept is not None:
            self._kept[renamed.new] = kept
            self._renames.append((renamed.old, renamed.new))

    def _on_absence(self, since: Milliseconds) -> None:
        """Say that nobody looked since a moment: the machine slept, or its clock was set ahead."""
        for kept in self._kept.values():
            if rows := kept.tracks.on_gap(since):
                self._write_later(kept, rows, since)

    # ------------------------------------------------------------ the transaction

    def _write(self, *, stopping: bool) -> None:
        began = self._clock.monotonic()
        engine = self._engine or self._open()
        now = milliseconds(self._clock.time())
        slots = self._due_slots()
        rows = self._sent = len(self._gathered)
        if not stopping and not self._has_something(slots, now):
            return
        with engine.begin() as connection:
            assert self._run_id is not None  # noqa: S101  _open() gives one
            for old, new in self._renames:
                ledger.rename(connection, old, new)
            remembered = [
                (recall, self._look_up(connection, recall.sites, now)) for recall in self._recalls
            ]
            self._list_sites(connection, now)
            rows += self._write_news(connection)
            rows += self._mend(connection)
            # Spans before days are summed up, and what is packed before the next row of the journal
            rows += sum([self._pack(connection, slot, now) for slot in slots])
            seq = self._write_journal(connection)
            self._drop_journal(connection)
            ledger.write_outbox(connection, self._seat, self._outbox)
            owed = ledger.read_outbox(connection) if self._readers else []
            if self._moved:
                ledger.write_positions(connection, self._seat, self._positions)
            read = ledger.positions(connection, self._seat) if self._asked else {}
            ledger.see(connection, self._run_id, now)
        for keep in self._keeps:
            keep.set_result(True)
        for reader in self._readers:
            reader.set_result(owed)
        self._after_commit(slots, now)
        self._moved = False
        for asked in self._asked:
            asked.reply.set_result(read)
        self._asked.clear()
        self._seq = seq
        self._last_seen = now
        for recall, found in remembered:
            recall.reply.set_result(found)
        self._meters.history_written(rows, self._clock.monotonic() - began)
        if not stopping:  # the next run does it as well
            self._age(engine, now)
        if began >= self._look_at:  # apart: what goes wrong in it costs nothing that was noted
            self._look_at = began + _LOOK
            with engine.begin() as connection:
                self._look(connection, now)

    def _has_something(self, slots: Sequence[int], now: Milliseconds) -> bool:
        return bool(
            self._gathered
            or self._rows
            or self._dirty
            or self._evidence
            or self._mends
            or self._gone
            or self._renames
            or self._recalls
            or self._keeps
            or self._readers
            or self._outbox
            or self._unlisted
            or self._moved
            or self._asked
            or slots
            or self._aging.is_due
            or now - self._last_seen >= _HEARTBEAT
        )

    def _open(self) -> Engine:
        engine = self._open_store()
        try:
            with engine.begin() as connection:
                migrate(connection)
            with engine.begin() as connection:
                now = milliseconds(self._clock.time())
                self._salt = ledger.salt(connection)
                run = self._run_id
                is_another = run is None or not ledger.is_known(connection, run)
                if is_another:
                    run = ledger.begin_run(connection, self._seat, now, self._version)
                    self._forget_numbers()
                    self._read_journal(connection)
                else:
                    self._catch_up(connection)
            self._run_id = run
        except BaseException:
            engine.dispose()
            raise
        self._engine = engine
        if is_another and self._opened and self._on_loss is not None:
            self._on_loss()
        self._opened = True
        return engine

    def _catch_up(self, connection: Connection) -> None:
        """
        Forget what the last transaction wrote, where only the answer to its commit was lost.

        Everything else that it wrote may be written again; a result would be counted twice.
        """
        for slot, seq in ledger.packed_slots(connection, self._seat).items():
            if seq > self._packed.get(slot, 0):
                self._on_packed(slot, seq)
        last = ledger.last_of_journal(connection, self._seat)
        if last > self._seq:
            self._let_wait(self._gathered.take_oldest(self._sent))
            self._seq = last
        self._sent = 0

    def _forget_numbers(self) -> None:
        """Have all sites entered into a store that is another than the one before."""
        self._slots.clear()
        self._aging.clear()
        self._dropped = 0
        self._moved = bool(self._positions)
        for kept in self._by_number.values():
            kept.id = kept.identity = None
            kept.waiting.clear()
            self._unlisted[kept.number] = kept

    def _list_sites(self, connection: Connection, now: Milliseconds) -> None:
        """Enter sites that the store does not have, or has otherwise."""
        if not self._unlisted:
            return
        some = {kept.site.name: kept for kept in self._unlisted.values() if not kept.gone}
        known = self._known_or_renamed(connection, some)
        self._enter(connection, some, known, now)

    def _known_or_renamed(
        self, connection: Connection, some: Mapping[str, KeptSite]
    ) -> dict[str, ledger.Listed]:
        former: dict[str, str] = {
            kept.site.was: name for name, kept in some.items() if kept.site.was
        }
        known = ledger.listed(connection, [*some, *former])
        for old, new in former.items():
            if old in known and old not in self._kept and ledger.rename(connection, old, new):
                known[new] = known.pop(old)._replace(name=new)
        return {name: one for name, one in known.items() if name in some}

    def _enter(
        self,
        connection: Connection,
        some: Mapping[str, KeptSite],
        known: dict[str, ledger.Listed],
        now: Milliseconds,
    ) -> None:
        run = self._run_id
        self._close(connection, some, known, now)
        ledger.close_spans(connection, [one.id for one in known.values() if one.run != run])
        same, other, added = [], [], []
        for name, kept in some.items():
            own, identity = known.get(name), self._identity(kept)
            values = {"run": run, "grp": kept.site.group, "identity": identity}
            if own is None:
                until = {"days_until": now // DAY, "hours_until": now // HOUR}
                added.append({"name": name, **until, **values})
            elif own.identity == identity and own.group == kept.site.group:
                same.append(own.id)
            else:
                other.append({"number": own.id, **values})
        ledger.take_sites(connection, run, same)
        ledger.take_other_sites(connection, other)
        ledger.add_sites(connection, added)
        known |= ledger.listed(connection, [name for name in some if name not in known])
        for name, kept in some.items():
            kept.days_until = min(kept.days_until, known[name].days_until)
            kept.summed_up = known[name].days_until
            kept.hours_until = known[name].hours_until
            if kept.id is None:
                kept.id = known[name].id
                self._unlisted.pop(kept.number, None)
                self._slots.setdefault(kept.id % SLOTS, []).append(kept)
                self._entered.append(kept)
                kept.waiting += self._leftover.get(kept.id % SLOTS, {}).pop(kept.id, b"")
                for row in (kept.tracks.state, kept.tracks.window):
                    if row is not None:  # the store that it was written into may be another
                        self._write_later(kept, [row], row.begin)
                if kept.state is not None:
                    self._dirty[kept.number] = kept

    def _close(
        self,
        connection: Connection,
        some: Mapping[str, KeptSite],
        known: Mapping[str, ledger.Listed],
        now: Milliseconds,
    ) -> None:
        """Let nothing of sites begin before the end of what is written of them."""
        if not known:
            return
        since = min(now, *(one.last_seen for one in known.values())) - _BEFORE
        told = ledger.told_until(connection, since)
        for name, own in known.items():
            tracks = some[name].tracks
            seen = own.last_seen if own.run != self._run_id else 0
            tracks.closed = max(tracks.closed, seen, told.get((own.id, STATE_TRACK), 0))
            tracks.window_closed = max(
                tracks.window_closed, seen, told.get((own.id, MAINTENANCE_TRACK), 0)
            )

    def _identity(self, kept: KeptSite) -> bytes:
        """Return what tells whether a site is the same, without what it says of the site."""
        if kept.identity is None:
            whole = kept.site.identity.encode(errors="replace")
            kept.identity = blake2b(whole, digest_size=16, key=self._salt).digest()
        return kept.identity

    def _write_news(self, connection: Connection) -> int:
        """Write what the engine noted since the last transaction."""
        ledger.write_spans(
            connection,
            (
                (kept_id, row)
                for number, rows in self._rows.items()
                if (kept_id := self._by_number[number].id) is not None
                for row in rows.values()
            ),
        )
        again = {
            kept.id: kept.days_until
            for number in self._rows
            if (kept := self._by_number[number]).id is not None and kept.days_until < kept.summed_up
        }
        coarsening.sum_up_again(connection, again)
        # A site that left before it was entered has no number in the store
        entered = [kept for kept in self._dirty.values() if kept.state and kept.id is not None]
        states = ledger.write_states(connection, map(self._state_row, entered))
        evidence = [
            {
                "site": kept.id,
                "time": milliseconds(failure.observation.time),
                "data": pack_evidence(failure),
                "oldest": milliseconds(state.failures[-1].observation.time),
            }
            for kept, state in self._evidence.values()
            if kept.id is not None
            for failure in state.failures[:1]
        ]
        ledger.write_failures(connection, evidence)
        for kept, at in self._gone:
            if kept.id is not None and kept.site.name not in self._kept:  # it may be back
                ledger.mark_removed(connection, [kept.id], at)
        return len(self._rows) + states + len(evidence)

    def _mend(self, connection: Connection) -> int:
        """Fill what the store does not know of the past with what is known by now."""
        written = 0
        for mend in self._mends:
            kept, wanted = mend.kept, mend.wanted
            if kept.id is None or kept.gone:
                continue
            begin, end = wanted[0].begin, wanted[-1].end or wanted[-1].begin
            rows = filled(ledger.states_around(connection, kept.id, begin, end), wanted)
            ledger.write_spans(connection, [(kept.id, row) for row in rows])
            mend.written = rows
            kept.days_until = min(kept.days_until, begin // DAY)
            if kept.days_until < kept.summed_up:
                coarsening.sum_up_again(connection, {kept.id: kept.days_until})
            written += len(rows)
        return written

    def _write_journal(self, connection: Connection) -> int:
        """Return the number of the journal's last row."""
        if not len(self._gathered):
            return self._seq
        entry = self._gathered.renumbered(lambda number: self._by_number[number].id or 0)
        return ledger.write_journal(connection, self._seat, entry)

    def _state_row(self, kept: KeptSite) -> dict[str, Any]:
        state = kept.state
        assert state is not None  # noqa: S101  callers see to it
        return {
            "site": kept.id,
            "as_of": kept.as_of,
            "status": str(state.status),
            "since": milliseconds(state.since),
            "streak": state.streak,
            "streak_since": _maybe_milliseconds(state.streak_since),
            "said": state.said,
            "turns": state.turns,
            "flapping": state.flapping,
            "content": state.content,
            "content_changed": _maybe_milliseconds(state.content_changed),
        }

    def _after_commit(self, slots: Sequence[int], now: Milliseconds) -> None:
        for mend in self._mends:
            mend.kept.tracks.on_filled(mend.written)
        for slot in slots:
            self._on_packed(slot, self._seq)
            members = self._slots.get(slot, [])
            self._aging.take(members, now)
            for gone in [kept for kept in members if kept.gone]:
                members.remove(gone)
                self._by_number.pop(gone.number, None)
            if not members:
                self._slots.pop(slot, None)
        self._let_wait(self._gathered)
        self._forget_written()
        self._entered.clear()

    def _on_packed(self, slot: int, seq: int) -> None:
        self._packed[slot] = seq
        self._leftover.pop(slot, None)
        for kept in self._slots.get(slot, []):
            kept.waiting.clear()

    def _let_wait(self, written: Gathered) -> None:
        """Have results that stand in the journal wait for the turn of their site's slot."""
        for number, packed in self._to_wait(written):
            if (its := self._by_number.get(number)) is not None:
                its.waiting += packed

    def _forget_written(self) -> None:
        self._gathered = Gathered()
        self._rows.clear()
        self._dirty.clear()
        self._evidence.clear()
        self._mends.clear()
        self._unlisted.clear()
        self._gone.clear()
        self._left.clear()
        self._renames.clear()
        self._recalls.clear()
        self._outbox.clear()
        self._keeps.clear()
        self._readers.clear()

    # ------------------------------------------------------------ packing, a slot at a time

    def _due_slots(self) -> list[int]:
        """Return the slots whose turn it is, of those that have sites."""
        now = self._clock.monotonic()
        if self._slot_at is None:
            self._slot_at = now + _PERIOD
        due: list[int] = []
        while self._slot_at <= now and len(due) < _MOST_SLOTS:
            if self._slot in self._slots or self._slot in self._leftover:
                due.append(self._slot)
            self._slot = (self._slot + 1) % SLOTS
            self._slot_at += _PERIOD
        return due

    def _pack(self, connection: Connection, slot: int, now: Milliseconds) -> int:
        """Pack what waits of a slot's sites."""
        members = {kept.id: kept for kept in self._slots.get(slot, []) if kept.id is not None}
        waiting = {site: self._waiting_of(kept) for site, kept in members.items() if kept.waiting}
        left = self._leftover.get(slot, {})  # by sites that are not listed any more
        waiting |= {
            site: self._outcomes(left[site]) for site in ledger.present(connection, [*left])
        }
        rows = coarsening.pack(connection, self._seq, waiting, self._breathe)
        ledger.write_states(
            connection,
            [self._state_row(kept) for kept in members.values() if kept.state and not kept.gone],
        )
        ledger.note_packed(connection, self._seat, slot, self._seq)
        for site, some in waiting.items():
            if site in members:
                self._aging.count_again(members[site], min(one.time for one in some), now)
        return rows

    def _waiting_of(self, kept: KeptSite) -> list[Outcome]:
        return self._outcomes(kept.waiting)

    def _to_wait(self, gathered: Gathered) -> Iterator[tuple[int, bytes]]:
        """Yield the site's number of each result, and the bytes in which the result waits."""
        kinds = [self._kinds.setdefault(text, len(self._kinds)) for text in gathered.texts]
        for site, time, duration, kind in gathered.rows():
            yield site, _WAITING.pack(time, duration, kinds[kind])

    def _outcomes(self, waiting: bytearray) -> list[Outcome]:
        texts = list(self._kinds)
        return [
            Outcome(time, duration, texts[kind])
            for time, duration, kind in _WAITING.iter_unpack(waiting)
        ]

    def _drop_journal(self, connection: Connection) -> None:
        """Drop the rows of the journal whose results are all packed."""
        slots = {*self._slots, *self._leftover}
        if slots:
            up_to = min(self._packed.get(slot, 0) for slot in slots)
            if up_to > self._dropped:
                ledger.drop_journal(connection, self._seat, up_to)
                self._dropped = up_to

    def _age(self, engine: Engine, now: Milliseconds) -> None:
        """Roll up what is over, some sites at a time, until there is something else to write."""
        while self._aging.is_due:
            began = self._clock.monotonic()
            rows = self._aging.step(engine, now)
            ended = self._clock.monotonic()
            self._meters.history_written(rows, ended - began)
            if self._wake.is_set() or ended >= self._flush_at:
                return

    def _look(self, connection: Connection, now: Milliseconds) -> None:
        listed = [one for one in self._by_number.values() if one.id is not None]
        self._meters.history_size(self._aging.look(connection, listed, now))
        for seat in ledger.orphaned_seats(connection, now - _ORPHANED):
            self._adopt(connection, seat)

    def _adopt(self, connection: Connection, seat: str) -> None:
        """Pack what the daemon of a seat that is no more left in the journal."""
        last, waiting = self._unpacked(connection, seat)
        present = ledger.present(connection, list(waiting))
        coarsening.pack(
            connection,
            last,
            {site: self._outcomes(waiting[site]) for site in present},
            self._breathe,
        )
        ledger.drop_journal(connection, seat, last)

    def _unpacked(self, connection: Connection, seat: str) -> tuple[int, dict[int, bytearray]]:
        """Return the last row of a seat's journal, and by site what of it was not packed."""
        packed = ledger.packed_slots(connection, seat)
        waiting: dict[int, bytearray] = {}
        last = 0
        for seq, gathered in ledger.journal_of(connection, seat):
            last = seq
            for site, result in self._to_wait(gathered):
                if seq > packed.get(site % SLOTS, 0):
                    waiting.setdefault(site, bytearray()).extend(result)
        return last, waiting

    # ------------------------------------------------------------ reading back

    def _look_up(
        self, connection: Connection, sites: Sequence[Site], now: Milliseconds
    ) -> dict[str, Remembered]:
        """Enter sites that are new to the list, and return what is remembered of the same ones."""
        some = {site.name: self._kept.get(site.name) or self._new(site) for site in sites}
        known = self._known_or_renamed(connection, some)
        same = {
            one.id: name
            for name, one in known.items()
            if self._is_back(one, now) and one.identity == self._identity(some[name])
        }
        self._enter(connection, some, known, now)
        assert self._run_id is not None  # noqa: S101  _open() gives one
        ledger.remove_absent(connection, self._seat, self._run_id, now)
        self._began = now if self._began is None else self._began
        states = ledger.states_of(connection, list(same))
        failures = ledger.failures_of(connection, list(states))
        last = ledger.last_results(connection, list(states), self._results)
        found = {}
        for number, row in states.items():
            kept = some[same[number]]
            past = [*last.get(number, ()), *self._waiting_of(kept)]
            kept.as_of = row.as_of
            kept.status = kept.tracks.status = Status(row.status)
            kept.content = row.content
            found[kept.site.name] = self._remembered(row, past, failures.get(number, ()))
        in_doubt = {
            row.site: row.streak_since
            for row in states.values()
            if row.said is False and row.status != Status.DOWN and row.streak_since is not None
        }
        for number, rows in ledger.spans_since(connection, in_doubt).items():
            some[same[number]].tracks.in_doubt = rows
        return found

    def _is_back(self, listed: ledger.Listed, now: Milliseconds) -> bool:
        """Tell whether a site never left, or is listed by a source only after the start."""
        if listed.removed is None:
            return True
        return listed.removed == self._began and now - listed.removed <= _BACK_WITHIN

    def _read_journal(self, connection: Connection) -> None:
        """Take over what this daemon had not packed before its restart."""
        self._packed = ledger.packed_slots(connection, self._seat)
        last, waiting = self._unpacked(connection, self._seat)
        self._leftover = {}
        for site, some in waiting.items():
            self._leftover.setdefault(site % SLOTS, {})[site] = some
        self._seq = max(self._seq, last)

    def _remembered(
        self, row: Any, past: Sequence[Outcome], failures: Sequence[bytes]
    ) -> Remembered:
        repeats = sum(1 for one in past if one.time > row.as_of and one.outcome != UNKNOWN)
        return Remembered(
            status=Status(row.status),
            since=row.since / 1000,
            streak=row.streak,
            streak_since=None if row.streak_since is None else row.streak_since / 1000,
            said=row.said,
            turns=row.turns,
            repeats=repeats,
            flapping=row.flapping,
            content=row.content,
            content_changed=None if row.content_changed is None else row.content_changed / 1000,
            recent=tuple(map(_past, reversed(past[-self._results :]))),
            failures=tuple(_readable(failures)),
        )


def _past(one: Outcome) -> Past:
    up = {UP: True, UNKNOWN: None}.get(one.outcome, False)
    reason = Reason(one.outcome) if up is False and one.outcome in set(Reason) else None
    return Past(time=one.time / 1000, duration=one.duration / 1e6, up=up, reason=reason)


def _readable(failures: Iterable[bytes]) -> Iterable[Result]:
    for data in failures:
        try:
            yield unpack_evidence(data)
        except ValueError as error:
            _log.debug("evidence_not_read", extra=fields(detail=str(error)))


def _maybe_milliseconds(time: Timestamp | None) -> Milliseconds | None:
    return None if time is None else milliseconds(time)
