"""
Imports another monitor's past into a store to which no daemon writes at that time.

Data that the store has about a site itself is never changed: the import ends where that begins. So
a second import adds nothing.
"""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, Engine, func, select

from monitor.history import coarsening, ledger, schema
from monitor.history.journal import milliseconds, outcome_of
from monitor.history.rollup import (
    DAILY,
    FIVE_MINUTES,
    HOURLY,
    Level,
    Outcome,
    Rollup,
    bucket_of,
    coarser,
    roll_up,
)
from monitor.history.store import migrate, told
from monitor.history.tracks import Row
from monitor.history.uptime import DAY, Milliseconds
from monitor.past import Condition, Counted, Inherited, Span
from monitor.units import Timestamp

_SEAT = "import"
_HOUR: Milliseconds = 3_600_000
_MICROSECONDS = 1e6
_TRACKS = {Condition.MAINTENANCE: schema.MAINTENANCE_TRACK}


def inherit(
    engine: Engine, sites: Mapping[str, Inherited], now: Timestamp, version: str
) -> dict[str, Inherited]:
    """
    Write the imported past of sites, by their names in our list.

    Returns:
        What was written of each site: the part before the store's own first moment of the site.

    Raises:
        HistoryError: The store cannot be used.
    """
    at = milliseconds(now)
    with told("the history cannot be written"), engine.begin() as connection:
        migrate(connection)
        run = ledger.begin_run(connection, _SEAT, at, version)
        return {name: _inherit(connection, name, one, run, at) for name, one in sites.items()}


def _inherit(
    connection: Connection, name: str, whole: Inherited, run: int, now: Milliseconds
) -> Inherited:
    known = ledger.listed(connection, [name]).get(name)
    if known is None:
        until = {"days_until": now // DAY, "hours_until": now // _HOUR}
        values = {"name": name, "run": run, "grp": whole.group, "identity": b"", **until}
        ledger.add_sites(connection, [values])
        known = ledger.listed(connection, [name])[name]
        end = now
    else:
        end = _own_begin(connection, known.id, now)
    some = _before(whole, end / 1000)
    rows = [row for span in some.spans for row in _rows(span)]
    ledger.write_spans(connection, [(known.id, row) for row in rows])
    outcomes = [
        Outcome(
            milliseconds(one.time),
            max(0, round(one.duration * _MICROSECONDS)),
            outcome_of(one.up, one.reason),
        )
        for one in some.results
    ]
    if outcomes:
        coarsening.pack(connection, 0, {known.id: outcomes})
    _write_rollups(connection, known, outcomes, some.counts)
    first = min((row.begin // DAY for row in rows), default=known.days_until)
    if first < known.days_until:
        coarsening.sum_up_days(connection, {known.id: first}, known.days_until)
    return some


def _own_begin(connection: Connection, site: int, now: Milliseconds) -> Milliseconds:
    """Return the first moment for which the store itself has data about a site."""
    firsts = [
        connection.scalar(select(func.min(table.c.begin)).where(table.c.site == site))
        for table in (schema.spans, schema.results)
    ]
    return min([one for one in firsts if one is not None], default=now)


def _before(whole: Inherited, end: Timestamp) -> Inherited:
    spans = tuple(
        replace(span, end=min(span.end or end, end)) for span in whole.spans if span.begin < end
    )
    return replace(
        whole,
        spans=spans,
        results=tuple(one for one in whole.results if one.time < end),
        counts=tuple(one for one in whole.counts if one.begin + one.length <= end),
    )


def _rows(span: Span) -> list[Row]:
    """Return a span as rows; the state during maintenance is unknown."""
    begin, end = milliseconds(span.begin), milliseconds(span.end or span.begin)
    if span.condition in _TRACKS:
        return [
            Row(schema.STATE_TRACK, begin, end, Condition.UNKNOWN),
            Row(schema.MAINTENANCE_TRACK, begin, end, span.condition),
        ]
    return [Row(schema.STATE_TRACK, begin, end, span.condition, span.reason, span.message)]


def _write_rollups(
    connection: Connection,
    known: ledger.Listed,
    outcomes: list[Outcome],
    counts: tuple[Counted, ...],
) -> None:
    """Write rollups of steps that are over; steps that the store already has stay unchanged."""
    fine = roll_up(outcomes, FIVE_MINUTES.step)
    hours = coarser(fine, HOURLY.step // FIVE_MINUTES.step)
    for one in counts:
        if one.length * 1000 == HOURLY.step:
            _put(hours, milliseconds(one.begin) // HOURLY.step, _rolled(one))
    days = coarser(hours, DAILY.step // HOURLY.step)
    for one in counts:
        if one.length * 1000 == DAILY.step:
            _put(days, milliseconds(one.begin) // DAILY.step, _rolled(one))
    for level, rollups, until in (
        (FIVE_MINUTES, fine, known.hours_until * _HOUR),
        (HOURLY, hours, known.days_until * DAY),
        (DAILY, days, known.days_until * DAY),
    ):
        over = {n: one for n, one in rollups.items() if (n + 1) * level.step <= until}
        _add(connection, known.id, level, over)


def _put(rollups: dict[int, Rollup], number: int, other: Rollup) -> None:
    """Keep the one with more checks, because both are about the same time."""
    known = rollups.get(number)
    if known is None or known.up + known.down < other.up + other.down:
        rollups[number] = other


def _add(connection: Connection, site: int, level: Level, rollups: Mapping[int, Rollup]) -> None:
    if not rollups:
        return
    begin = min(rollups) * level.step // level.block * level.block
    end = (max(rollups) * level.step // level.block + 1) * level.block
    ours = coarsening.rollups_of(connection, site, level, begin, end)
    coarsening.write_rollups(connection, site, level, {**rollups, **ours})


def _rolled(one: Counted) -> Rollup:
    """Return counts as a rollup whose checks all took the mean duration."""
    if not one.up:
        return Rollup(down=one.down)
    mean = max(0, round(one.mean * _MICROSECONDS))
    least = round(one.least * _MICROSECONDS) if one.least > 0 else mean
    most = round(one.most * _MICROSECONDS) if one.most > 0 else mean
    buckets = {bucket_of(mean): one.up}
    return Rollup(
        up=one.up, down=one.down, least=min(least, mean), most=max(most, mean), buckets=buckets
    )
