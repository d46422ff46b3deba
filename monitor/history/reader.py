"""
The queries of pages, API, badges and reports; in any thread, each over its own connection.

A window is put together from three parts: the whole days that are summed up, which are two rows per
site whatever the window's length; the rest of the day in which it begins; and what comes after the
last summed-up day. Only the latter two need spans, and the second one rarely: if a day was good
from beginning to end, so is any part of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    bindparam,
    func,
    or_,
    select,
    union_all,
)

from monitor.clock import Clock
from monitor.history import schema
from monitor.history.coarsening import rollups_of
from monitor.history.days import BLOCK, RECORD, before_day, of_day, pack_days, unpack_days
from monitor.history.journal import SLOTS, Gathered, milliseconds
from monitor.history.rollup import (
    FIVE_MINUTES,
    LEVELS,
    UNKNOWN,
    UP,
    Level,
    Outcome,
    Rollup,
    unpack_results,
)
from monitor.history.store import require_current, told
from monitor.history.uptime import (
    DAY,
    HOUR,
    SECOND,
    Milliseconds,
    Stretch,
    Sums,
    compose,
    outages,
    tally,
    with_gaps,
)
from monitor.model import Past, Reason, Seconds, Timestamp
from monitor.past import Condition, Day, LatencyPoint, Span, Uptime

_ALL = 500
"""If more sites than this are requested, all are read, and the others are left out."""
_FEW = 20
"""For this many sites, reading all their spans is faster than reading everyone's outages."""
_ALIVE: Milliseconds = 20_000
"""A daemon seen this recently is running, so its sites' open spans last until now."""

_EVER: Milliseconds = 2**52

_CONDITIONS = {str(one): one for one in Condition}
_REASONS = {str(one): one for one in Reason}


class _Site(NamedTuple):
    """
    A requested site.

    Attributes:
        days_until: The first day that is not summed up yet.
        hours_until: The first hour that is not rolled up yet.
        until: Up to when its condition is known; nothing lasts beyond.
        observed: Whether it is still being observed.
    """

    id: int
    name: str
    seat: str
    days_until: int
    hours_until: int
    until: Milliseconds
    observed: bool


class Listing(NamedTuple):
    """A remembered site, for commands that have no list."""

    name: str
    group: str
    removed: Timestamp | None


class Reader:
    """
    What is remembered: ``past.History``, and queries that only commands need.

    Each query raises HistoryError if the store cannot be read.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def close(self) -> None:
        self._engine.dispose()

    # ------------------------------------------------------------ availability

    def uptime(self, sites: Sequence[str], begin: Timestamp, end: Timestamp) -> dict[str, Uptime]:
        first, last = milliseconds(begin), milliseconds(end)
        with self._reading() as connection:
            some = self._sites(connection, sites)
            sums = _Windows(connection, some, first, last).sums()
        return {one.name: sums[one.id].uptime(max(0, last - first)) for one in some}

    def days(self, sites: Sequence[str], *, days: int, now: Timestamp) -> dict[str, list[Day]]:
        """Return the last *days* UTC days of each site, oldest first; today is the last."""
        moment = milliseconds(now)
        today = moment // DAY
        first = today - days + 1
        with self._reading() as connection:
            some = self._sites(connection, sites)
            return _Calendar(first, moment).days(connection, some)

    def outages(self, sites: Sequence[str], begin: Timestamp, end: Timestamp) -> list[Span]:
        """Return the outages that overlap the window, newest first, each in full length."""
        first, last = milliseconds(begin), milliseconds(end)
        found: list[Span] = []
        with self._reading() as connection:
            some = self._sites(connection, sites)
            down = _ever_down(connection, some, first, last)
            some = [one for one in some if one.id in down]
            since = min((down[one.id] for one in some), default=first)
            spans = _composed(connection, some, _told_from_good, since, _EVER)
        for site in some:
            for one in outages(spans.get(site.id, ())):
                if one.begin < last and one.end > first:
                    lasts = site.observed and one.end == site.until
                    found.append(_span(site.name, one, lasts=lasts))
        found.sort(key=lambda span: span.begin, reverse=True)
        return found

    def spans(self, sites: Sequence[str], begin: Timestamp, end: Timestamp) -> Iterator[Span]:
        """
        Yield the conditions of sites, each period cut to the window, by site and time.

        From the first moment at which a site was observed, there is no gap between them.
        """
        first, last = milliseconds(begin), milliseconds(end)
        with self._reading() as connection:
            for site in self._sites(connection, sites):
                found = _composed(connection, [site], _told_from, first, last).get(site.id)
                if found:
                    for one in with_gaps(found, max(first, found[0].begin), last):
                        yield _span(site.name, one, lasts=False)

    # ------------------------------------------------------------ latency and results

    def latency(
        self, site: str, begin: Timestamp, end: Timestamp, step: Seconds
    ) -> list[LatencyPoint]:
        """
        Return points from *begin* on, *step* apart, without those that have no check that was up.

        They come from the coarsest rollup whose steps fit, or from results below five minutes.
        """
        first, last, width = milliseconds(begin), milliseconds(end), milliseconds(step)
        points: dict[int, Rollup] = {}
        with self._reading() as connection:
            for one in self._sites(connection, [site]) if width > 0 else ():
                points = _rolled_up(connection, one, first, last, width)
        return [
            LatencyPoint(
                begin=(first + number * width) / SECOND,
                count=one.up,
                p50=_seconds(one.quantile(0.5)),
                p95=_seconds(one.quantile(0.95)),
                p99=_seconds(one.quantile(0.99)),
                max=_seconds(one.most),
            )
            for number, one in sorted(points.items())
            if one.up
        ]

    def results(
        self, site: str, begin: Timestamp, end: Timestamp, limit: int | None = None
    ) -> list[Past]:
        """Return the last results of a window, newest first."""
        first, last = milliseconds(begin), milliseconds(end)
        found: list[Outcome] = []
        with self._reading() as connection:
            for one in self._sites(connection, [site]):
                for part in _newest_first(connection, one, first, last):
                    found += part
                    if limit is not None and len(found) >= limit:
                        break
        found.sort(reverse=True)
        return [_past(one) for one in found[:limit]]

    def rollups(self, site: str, level: Level) -> list[tuple[Timestamp, Rollup]]:
        """Return all rollups of one kind, in order; the last ones may not be over yet."""
        with self._reading() as connection:
            return [
                (number * level.step / SECOND, rollup)
                for one in self._sites(connection, [site])
                for number, rollup in sorted(
                    _rolled_up(connection, one, 0, _EVER, level.step).items()
                )
            ]

    def listing(self) -> list[Listing]:
        """Return every remembered site, including those that left the list."""
        with self._reading() as connection:
            rows = connection.execute(
                select(schema.sites.c.name, schema.sites.c.grp, schema.sites.c.removed)
            )
            return [
                Listing(row.name, row.grp, None if row.removed is None else row.removed / SECOND)
                for row in rows
            ]

    # ------------------------------------------------------------ shared parts

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with told("the history cannot be read"), self._engine.connect() as connection:
            require_current(connection)
            yield connection

    def _sites(self, connection: Connection, names: Sequence[str]) -> list[_Site]:
        """Return the remembered ones of these sites, in the given order."""
        now = milliseconds(self._clock.time())
        few = len(names) <= _ALL
        rows = connection.execute(_listed(few=few), {"names": list(names)} if few else {}).all()
        found = {}
        for id_, name, days_until, hours_until, removed, seat, last_seen in rows:
            alive = removed is None and now - last_seen < _ALIVE
            until = now if alive else last_seen if removed is None else min(removed, last_seen)
            found[name] = _Site(id_, name, seat, days_until, hours_until, until, alive)
        return [found[name] for name in names if name in found]


@cache
def _listed(*, few: bool) -> "Select[Any]":
    table, runs = schema.sites, schema.runs
    question = select(
        table.c.id,
        table.c.name,
        table.c.days_until,
        table.c.hours_until,
        table.c.removed,
        runs.c.seat,
        runs.c.last_seen,
    ).join(runs, runs.c.id == table.c.run)
    if not few:
        return question
    return question.where(table.c.name.in_(bindparam("names", expanding=True)))


# ---------------------------------------------------------------- windows


class _Windows:
    """The sums of a window, for many sites at once."""

    def __init__(
        self,
        connection: Connection,
        sites: Sequence[_Site],
        begin: Milliseconds,
        end: Milliseconds,
    ) -> None:
        self._connection = connection
        self._sites = sites
        self._begin = begin
        self._end = end
        self._day = begin // DAY
        self._first = -(-begin // DAY)
        self._days = _SummedUp(connection, sites, (self._day, end // DAY))

    def sums(self) -> dict[int, Sums]:
        """Return them by site."""
        found: dict[int, Sums] = {}
        by_spans: list[_Site] = []
        mixed: list[_Site] = []
        tails: list[tuple[_Site, Milliseconds]] = []
        length = self._first * DAY - self._begin
        for site in self._sites:
            last = min(self._end // DAY, site.days_until)
            middle = edge = None
            if last > self._first:
                begin = self._days.before(site, self._day)
                if length:
                    day = self._days.of(site, self._day)
                    edge = _part_of(day, length)
                    begin = begin.then(day)
                middle = _between(begin, self._days.before(site, last))
            if middle is None:  # only spans show whether an outage continues
                by_spans.append(site)
                continue
            tails.append((site, last * DAY))
            found[site.id] = edge.then(middle) if edge else middle
            if length and not edge:
                mixed.append(site)
        for site, part in self._by_spans(mixed, self._first * DAY):
            found[site.id] = part.then(found[site.id])
        self._add_tails(found, tails)
        found.update((site.id, sums) for site, sums in self._by_spans(by_spans, self._end))
        return found

    def _by_spans(self, sites: Sequence[_Site], end: Milliseconds) -> Iterator[tuple[_Site, Sums]]:
        """Yield the sums from the window's begin to an end."""
        spans = _conditions(self._connection, sites, self._day * DAY, end)
        for site in sites:
            known = self._days.before(site, self._day).was_down
            own = _from(spans.get(site.id, ()), self._day * DAY)
            yield site, tally(own, self._begin, end, was_down=known)

    def _add_tails(
        self, found: dict[int, Sums], tails: Sequence[tuple[_Site, Milliseconds]]
    ) -> None:
        """Add the sums after the last whole day of each site."""
        since = min((begin for _, begin in tails), default=self._end)
        if since >= self._end:
            return
        spans = _conditions(self._connection, [site for site, _ in tails], since, self._end)
        for site, begin in tails:
            so_far = found[site.id]
            own = spans.get(site.id, ())
            rest = tally(own, begin, self._end, was_down=so_far.was_down)
            found[site.id] = so_far.then(rest)


def _part_of(day: Sums, length: Milliseconds) -> Sums | None:
    """Return the sums of the end of a day; None if only spans can tell."""
    if day.up == DAY:
        return Sums(length)
    if day.down == DAY:
        return Sums(0, length, continued=True, was_down=True)
    return None


def _between(begin: Sums, end: Sums) -> Sums | None:
    """Return the sums of whole days; None if an outage may continue into them."""
    down = end.down - begin.down
    if down and begin.was_down:
        return None
    return Sums(
        end.up - begin.up,
        down,
        end.maintenance - begin.maintenance,
        end.unknown - begin.unknown,
        end.begun - begin.begun,
        False,  # by position, because by name it takes twice as long
        end.was_down,
    )


class _SummedUp:
    """The rows of the store with these days of sites, or else the last ones before them."""

    def __init__(self, connection: Connection, sites: Sequence[_Site], days: Iterable[int]) -> None:
        blocks = {_block_of(site, day) for site in sites for day in days}
        rows = _ask(connection, _rows_of_days, sites, blocks=list(blocks))
        self._rows = {(row[0], row[1]): row for row in rows}

    def before(self, site: _Site, day: int) -> Sums:
        """Return the sums of all days before a day."""
        block = _block_of(site, day)
        row = self._rows.get((site.id, block))
        return before_day(row[2:8], bytes(row[8]), day - block * BLOCK) if row else _NOTHING

    def of(self, site: _Site, day: int) -> Sums:
        """Return the sums of a day, as far as it is summed up."""
        block = _block_of(site, day)
        row = self._rows.get((site.id, block))
        return of_day(bytes(row[8]), day - block * BLOCK) if row else _NOTHING


def _block_of(site: _Site, day: int) -> int:
    """Return the row of a day; rows follow each other without a gap, up to the last one."""
    return min(day, site.days_until - 1) // BLOCK


@cache
def _rows_of_days() -> "Select[Any]":
    table, listed = schema.days, schema.sites
    return (
        select(
            table.c.site,
            table.c.block,
            table.c.up,
            table.c.down,
            table.c.maintenance,
            table.c.unknown,
            table.c.begun,
            table.c.was_down,
            table.c.data,
        )
        .select_from(listed)
        .join(table, table.c.site == listed.c.id)
        .where(table.c.block.in_(bindparam("blocks", expanding=True)))
    )


def _ends_down(block: int, data: bytes, day: int) -> bool:
    """Return whether the last day before this one, in a row that has one, was down."""
    end = min(len(data), (day - block * BLOCK) * RECORD)
    return end > 0 and unpack_days(data[end - RECORD : end])[0].was_down


@cache
def _blocks_from() -> "Select[Any]":
    table, listed = schema.days, schema.sites
    return (
        select(table.c.site, table.c.block, table.c.data)
        .select_from(listed)
        .join(table, table.c.site == listed.c.id)
        .where(table.c.block >= bindparam("block"))
    )


_NOTHING = Sums()
_GOOD = Sums(up=DAY)
_GOOD_RECORD = pack_days([_GOOD])


class _Calendar:
    """Days as they are shown; most sites share theirs, so these are created once."""

    def __init__(self, first: int, now: Milliseconds) -> None:
        self._first = first
        self._now = now
        self._made: dict[tuple[int, bytes | Sums], Day] = {}
        self._blocks: dict[tuple[int, bytes], list[Day]] = {}
        self._good = [self._day(day, _GOOD) for day in range(first, now // DAY + 1)]

    def days(self, connection: Connection, sites: Sequence[_Site]) -> dict[str, list[Day]]:
        today = self._now // DAY
        nothing = [self._day(day, Sums()) for day in range(self._first, today + 1)]
        found = {site.id: list(nothing) for site in sites}
        rows = _ask(connection, _blocks_from, sites, block=self._first // BLOCK)
        latest: dict[int, tuple[int, bytes]] = {}
        for site, block, packed in rows:
            row = found.get(site)
            if row is not None:
                data = bytes(packed)
                at = max(block * BLOCK, self._first) - self._first
                part = self._block(block, data)
                row[at : at + len(part)] = part
                if data:
                    latest[site] = max(latest.get(site, (0, b"")), (block, data))
        self._add_recent(connection, sites, found, latest, today)
        return {site.name: found[site.id] for site in sites}

    def _add_recent(
        self,
        connection: Connection,
        sites: Sequence[_Site],
        found: Mapping[int, list[Day]],
        latest: Mapping[int, tuple[int, bytes]],
        today: int,
    ) -> None:
        """
        Add the days that are not summed up yet.

        Args:
            latest: The last row in the store for the sites that have one.
        """
        since = max(min((site.days_until for site in sites), default=today), self._first)
        others = [
            site for site in sites if site.id not in latest or latest[site.id][0] * BLOCK >= since
        ]
        summed_up = _SummedUp(connection, others, (since,))
        down = {site.id for site in others if summed_up.before(site, since).was_down}
        down |= {id_ for id_, row in latest.items() if _ends_down(*row, since)}
        spans = _conditions(connection, sites, since * DAY, self._now)
        for site in sites:
            was_down = site.id in down
            own = list(_from(spans.get(site.id, ()), since * DAY))
            for day in range(since, today + 1):
                end = min((day + 1) * DAY, self._now)
                its = (one for one in own if one.end > day * DAY)
                sums = tally(its, day * DAY, end, was_down=was_down)
                was_down = sums.was_down
                if day >= site.days_until:
                    found[site.id][day - self._first] = self._day(day, sums)

    def _block(self, block: int, data: bytes) -> list[Day]:
        """Return the days to show from a row of the store, from the first day to show."""
        made = self._blocks.get((block, data))
        if made is None:
            begin = block * BLOCK
            made = self._blocks[block, data] = []
            end = min(begin + len(data) // RECORD, self._first + len(self._good))
            for day in range(max(begin, self._first), end):
                record = data[(day - begin) * RECORD : (day - begin + 1) * RECORD]
                if record == _GOOD_RECORD:
                    made.append(self._good[day - self._first])
                else:
                    made.append(self._recorded(day, record))
        return made

    def _recorded(self, day: int, record: bytes) -> Day:
        made = self._made.get((day, record))
        if made is None:
            made = self._made[day, record] = self._day(day, unpack_days(bytes(record))[0])
        return made

    def _day(self, day: int, sums: Sums) -> Day:
        made = self._made.get((day, sums))
        if made is None:
            passed = min(DAY, self._now - day * DAY)
            made = self._made[day, sums] = Day(
                begin=day * DAY / SECOND,
                uptime=sums.uptime(passed),
                maintenance=sums.maintenance / SECOND,
            )
        return made


# ---------------------------------------------------------------- spans


def _conditions(
    connection: Connection, sites: Sequence[_Site], begin: Milliseconds, end: Milliseconds
) -> dict[int, list[Stretch]]:
    """Return the composed spans of sites without reasons; earlier ones may be among them."""
    few = len(sites) <= _ALL
    return _composed(connection, sites, _spans_from if few else _spans_of_all, begin, end)


def _composed(
    connection: Connection,
    sites: Sequence[_Site],
    question: "Callable[[], Select[Any]]",
    begin: Milliseconds,
    end: Milliseconds,
) -> dict[int, list[Stretch]]:
    """Run a query for each of the sites' two tracks, and return the composed spans."""
    if not sites:
        return {}
    until = {site.id: site.until for site in sites}
    states: dict[int, list[Stretch]] = defaultdict(list)
    windows: dict[int, list[Stretch]] = defaultdict(list)
    for track, found in ((schema.STATE_TRACK, states), (schema.MAINTENANCE_TRACK, windows)):
        rows = _ask(connection, question, sites, track=track, begin=begin, end=end)
        for site, start, stop, condition, *cause in rows:
            known = until.get(site)
            if known is None or start is None:  # not requested, or without spans
                continue
            if stop is None:
                stop = known  # noqa: PLW2901  it is still open
            if stop > start:
                found[site].append(Stretch(start, stop, _CONDITIONS[condition], *cause))
    return {site: compose(some, windows.get(site, ())) for site, some in states.items()}


@cache
def _spans_from() -> "Select[Any]":
    """Select a track's spans, from the one that contains a moment to those before an end."""
    return _spans_since(schema.spans.alias(), ())


@cache
def _told_from() -> "Select[Any]":
    """Select the same spans, with reason and message."""
    return _spans_from().add_columns(schema.spans.c.reason, schema.spans.c.message)


@cache
def _told_from_good() -> "Select[Any]":
    """Select the same, from the last span before that moment that was not down."""
    earlier = schema.spans.alias()
    question = _spans_since(earlier, (earlier.c.condition != str(Condition.DOWN),))
    return question.add_columns(schema.spans.c.reason, schema.spans.c.message)


def _spans_since(earlier: FromClause, conditions: Sequence[ColumnElement[bool]]) -> "Select[Any]":
    table, listed = schema.spans, schema.sites
    first = (
        select(earlier.c.begin)
        .where(
            earlier.c.site == listed.c.id,
            earlier.c.track == bindparam("track"),
            earlier.c.begin <= bindparam("begin"),
            *conditions,
        )
        .order_by(earlier.c.begin.desc())
        .limit(1)
        .correlate(listed)
        .scalar_subquery()
    )
    return (
        select(listed.c.id, table.c.begin, table.c.end, table.c.condition)
        .select_from(listed)
        .join(
            table,
            (table.c.site == listed.c.id)
            & (table.c.track == bindparam("track"))
            & (table.c.begin >= func.coalesce(first, 0))
            & (table.c.begin < bindparam("end")),
            isouter=True,  # otherwise SQLite reads all spans and looks up the site of each
        )
        .order_by(listed.c.id, table.c.begin)
    )


@cache
def _spans_of_all() -> "Select[Any]":
    """Select a track's spans in a window, for every site; an index has all columns."""
    table = schema.spans
    columns = table.c.site, table.c.begin, table.c.end, table.c.condition
    some = (
        table.c.condition.in_([str(one) for one in Condition]),
        table.c.track == bindparam("track"),
        table.c.begin < bindparam("end"),
    )
    found = union_all(
        select(*columns).where(*some, table.c.end > bindparam("begin")),
        select(*columns).where(*some, table.c.end.is_(None)),
    ).subquery()
    return select(found).order_by(found.c.site, found.c.begin)


def _from(spans: Sequence[Stretch], begin: Milliseconds) -> Iterator[Stretch]:
    """Yield the parts after a moment, when what came before is already known."""
    for one in spans:
        if one.end > begin:
            yield one.within(begin, one.end)


def _ever_down(
    connection: Connection, sites: Sequence[_Site], begin: Milliseconds, end: Milliseconds
) -> dict[int, Milliseconds]:
    """
    Return the sites that were down in a window, each with the start of its outage.

    If more than a few are requested, others may be among them.
    """
    values: dict[str, Any] = {"begin": begin, "end": end}
    if len(sites) > _FEW:
        return {row[0]: row[1] for row in connection.execute(_down_of_all(), values).all()}
    values["sites"] = [site.id for site in sites]
    return {row[0]: row[1] for row in connection.execute(_down_of_some(), values).all()}


@cache
def _down_of_some() -> "Select[Any]":
    table = schema.spans
    return (
        select(table.c.site, func.min(table.c.begin))
        .where(
            table.c.site.in_(bindparam("sites", expanding=True)),
            table.c.condition == str(Condition.DOWN),
            table.c.begin < bindparam("end"),
            or_(table.c.end > bindparam("begin"), table.c.end.is_(None)),
        )
        .group_by(table.c.site)
    )


@cache
def _down_of_all() -> "Select[Any]":
    # SQLite uses the index for only one of two alternatives: it would read years of spans for the
    # outages of a week
    table = schema.spans
    down = table.c.condition == str(Condition.DOWN)
    found = union_all(
        select(table.c.site, table.c.begin).where(down, table.c.end > bindparam("begin")),
        select(table.c.site, table.c.begin).where(down, table.c.end.is_(None)),
    ).subquery()
    return (
        select(found.c.site, func.min(found.c.begin))
        .where(found.c.begin < bindparam("end"))
        .group_by(found.c.site)
    )


def _ask(
    connection: Connection,
    question: "Callable[[], Select[Any]]",
    sites: Sequence[_Site],
    **values: Any,
) -> Sequence[Any]:
    """
    Return the result of a query about sites, or about all of them if they are many.

    Building a query takes SQLAlchemy longer than running it, so each is built once.
    """
    few = len(sites) <= _ALL
    if few:
        values["sites"] = [site.id for site in sites]
    return connection.execute(_narrowed(question, few=few), values).all()


@cache
def _narrowed(question: "Callable[[], Select[Any]]", *, few: bool) -> "Select[Any]":
    if not few:
        return question()
    return question().where(schema.sites.c.id.in_(bindparam("sites", expanding=True)))


# ---------------------------------------------------------------- results


def _rolled_up(
    connection: Connection,
    site: _Site,
    begin: Milliseconds,
    end: Milliseconds,
    width: Milliseconds,
) -> dict[int, Rollup]:
    """
    Return the checks of a window in steps of *width*, by their numbers from its begin on.

    They come from the coarsest rollups that fit, and from finer ones and results for the rest.
    """
    found: dict[int, Rollup] = defaultdict(Rollup)
    since = begin
    fitting = [level for level in LEVELS if level.step <= width]
    for level in dict.fromkeys((*fitting[-1:], *fitting[:1])):
        over = site.hours_until * HOUR if level is FIVE_MINUTES else site.days_until * DAY
        for number, rollup in rollups_of(connection, site.id, level, since, min(end, over)).items():
            found[max(0, number * level.step - begin) // width].merge(rollup)
        since = max(since, over)
    for part in _newest_first(connection, site, since, end):
        for time, duration, outcome in part:
            found[(time - begin) // width].add(duration, outcome)
    return found


def _newest_first(
    connection: Connection, site: _Site, begin: Milliseconds, end: Milliseconds
) -> Iterator[list[Outcome]]:
    yield [one for one in _waiting(connection, site) if begin <= one.time < end]
    yield from _packed(connection, site, begin, end)


def _packed(
    connection: Connection, site: _Site, begin: Milliseconds, end: Milliseconds
) -> Iterator[list[Outcome]]:
    """Yield the results of a window in lists that were stored together, the latest first."""
    table = schema.results
    rows = connection.execute(
        select(table.c.begin, table.c.data)
        .where(
            table.c.site == site.id,
            table.c.begin >= begin // HOUR * HOUR,  # a row is within one hour
            table.c.begin < end,
        )
        .order_by(table.c.begin.desc())
    )
    for start, data in rows:
        yield [one for one in unpack_results(start, bytes(data)) if begin <= one.time < end]


def _waiting(connection: Connection, site: _Site) -> list[Outcome]:
    """Return a site's results that are still in the journal and not packed."""
    table, packed = schema.journal, schema.packed
    done = connection.scalar(
        select(packed.c.seq).where(packed.c.seat == site.seat, packed.c.slot == site.id % SLOTS)
    )
    rows = connection.execute(
        select(table.c.data)
        .where(table.c.seat == site.seat, table.c.seq > (done or 0))
        .order_by(table.c.seq)
    )
    return [one for (data,) in rows for one in Gathered.from_bytes(bytes(data)).of_site(site.id)]


def _span(site: str, one: Stretch, *, lasts: bool) -> Span:
    return Span(
        site=site,
        condition=one.condition,
        begin=one.begin / SECOND,
        end=None if lasts else one.end / SECOND,
        reason=one.reason,
        message=one.message,
    )


def _past(one: Outcome) -> Past:
    up = {UP: True, UNKNOWN: None}.get(one.outcome, False)
    return Past(
        time=one.time / SECOND,
        duration=one.duration / 1e6,
        up=up,
        reason=_REASONS.get(one.outcome),
    )


def _seconds(duration: int | None) -> Seconds | None:
    return None if duration is None else duration / 1e6
