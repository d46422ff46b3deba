"""
What happens to results as they age, as SQL; each function takes part in a transaction.

Results are packed site by site, rolled up into steps of five minutes, hours and days, and dropped;
spans are summed up day by day. Everything is done for several sites at once, because a statement
costs as much as its work for one of them. As this computes longer than anything else the writer
does, each function calls ``breathe`` wherever it may pause.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Delete, Select, Table, bindparam, delete, func, select, update

from monitor.history import schema
from monitor.history.breath import Breathe
from monitor.history.days import BLOCK, pack_days, total, unpack_days
from monitor.history.ledger import in_parts, upsert
from monitor.history.rollup import (
    DAILY,
    FIVE_MINUTES,
    HOURLY,
    Level,
    Outcome,
    Rollup,
    coarser,
    pack_results,
    pack_rollups,
    roll_up,
    unpack_results,
    unpack_rollups,
)
from monitor.history.uptime import DAY, HOUR, Milliseconds, Stretch, Sums, compose, tally
from monitor.past import Condition

_AT_ONCE = 2
"""Sites whose rollups of a day are read at once: 48 rows."""
_SUMMED_AT_ONCE = 64


def _nothing() -> None:
    pass


# ---------------------------------------------------------------- results


def pack(
    connection: Connection,
    seq: int,
    results: Mapping[int, Sequence[Outcome]],
    breathe: Breathe = _nothing,
) -> int:
    """
    Keep sites' results in rows of their own, none of which reaches from one hour into the next.

    Returns:
        How many rows were written.
    """
    rows = []
    for site, some in results.items():
        hours: dict[int, list[Outcome]] = {}
        for one in some:
            hours.setdefault(one.time // HOUR, []).append(one)
        for own in hours.values():
            begin = min(one.time for one in own)
            data = pack_results(begin, own)
            rows.append({"site": site, "begin": begin, "seq": seq, "data": data})
        breathe()
    return upsert(connection, schema.results, rows)


def roll_up_hours(
    connection: Connection, since: Mapping[int, int], until: int, breathe: Breathe = _nothing
) -> int:
    """
    Count the results of sites by five minutes, in hours that are over; again where that was done.

    Args:
        since: The first hour of each site.
        until: The first hour that is not over.

    Returns:
        How many rows were written.
    """
    values = {
        "sites": list(since),
        "begin": min(since.values()) * HOUR,
        "end": until * HOUR,
    }
    packed = connection.execute(_results_of(), values).all()
    breathe()
    rows = []
    for site, own in groupby(packed, itemgetter(0)):
        results: list[Outcome] = []
        for _, begin, data in own:
            if begin >= since[site] * HOUR:
                results += unpack_results(begin, bytes(data))
        breathe()
        rows += _rows_of_rollups(site, FIVE_MINUTES, roll_up(results, FIVE_MINUTES.step))
        breathe()
    upsert(connection, schema.rollups, rows)
    breathe()
    connection.execute(_done_until("hours_until"), {"sites": list(since), "until": until})
    return len(rows)


@cache
def _results_of() -> "Select[Any]":
    table = schema.results
    return (
        select(table.c.site, table.c.begin, table.c.data)
        .where(
            table.c.site.in_(bindparam("sites", expanding=True)),
            table.c.begin >= bindparam("begin"),
            table.c.begin < bindparam("end"),
        )
        .order_by(table.c.site, table.c.begin)
    )


@cache
def _done_until(column: str) -> Any:
    """Record in a column of sites the first hour, or day, that is not done yet."""
    table = schema.sites
    return (
        update(table)
        .where(table.c.id.in_(bindparam("sites", expanding=True)))
        .values({column: bindparam("until")})
    )


# ---------------------------------------------------------------- rollups


def roll_up_days(
    connection: Connection, since: Mapping[int, int], until: int, breathe: Breathe = _nothing
) -> int:
    """
    Count sites' checks by hours and by days that are over.

    Args:
        since: The first day of each site.
        until: The first day that is not over.

    Returns:
        How many rows were written.
    """
    written = 0
    for part in in_parts(list(since), _AT_ONCE):
        hours: dict[int, dict[int, Rollup]] = defaultdict(lambda: defaultdict(Rollup))
        first = min(since[site] for site in part)
        values = _window_of(part, FIVE_MINUTES, first * DAY, until * DAY)
        for site, block, data in connection.execute(_rollups_of(), values).all():
            if block * FIVE_MINUTES.block >= since[site] * DAY:
                for number, one in unpack_rollups(
                    first_of(FIVE_MINUTES, block), bytes(data)
                ).items():
                    hours[site][number // (HOURLY.step // FIVE_MINUTES.step)].merge(one)
                breathe()
        rows = []
        for site, its in hours.items():
            rows += _rows_of_rollups(site, HOURLY, its)
            breathe()
            # A row of days is not complete for a month, so those that it has are written once more
            begin = since[site] * DAY // DAILY.block * DAILY.block
            days = rollups_of(connection, site, DAILY, begin, until * DAY)
            breathe()
            days |= coarser(its, DAILY.step // HOURLY.step)
            breathe()
            rows += _rows_of_rollups(site, DAILY, days)
            breathe()
        written += upsert(connection, schema.rollups, rows)
        breathe()
    return written


def rollups_of(
    connection: Connection, site: int, level: Level, begin: Milliseconds, end: Milliseconds
) -> dict[int, Rollup]:
    """Return the rollups of a window, those that overlap its begin included, by their numbers."""
    found: dict[int, Rollup] = {}
    if begin < end:
        first, last = begin // level.step, (end - 1) // level.step
        values = _window_of([site], level, begin, end)
        for _, block, data in connection.execute(_rollups_of(), values):
            some = unpack_rollups(first_of(level, block), bytes(data))
            found |= {number: one for number, one in some.items() if first <= number <= last}
    return found


def write_rollups(
    connection: Connection, site: int, level: Level, rollups: Mapping[int, Rollup]
) -> None:
    """Write whole blocks of rollups, in the places of those that there are."""
    upsert(connection, schema.rollups, _rows_of_rollups(site, level, rollups))


def first_of(level: Level, block: int) -> int:
    """Return the number of a block's first step."""
    return block * level.block // level.step


def _window_of(
    sites: Sequence[int], level: Level, begin: Milliseconds, end: Milliseconds
) -> dict[str, Any]:
    return {
        "sites": list(sites),
        "level": level.number,
        "first": begin // level.block,
        "last": (end - 1) // level.block,
    }


@cache
def _rollups_of() -> "Select[Any]":
    table = schema.rollups
    return select(table.c.site, table.c.block, table.c.data).where(
        table.c.site.in_(bindparam("sites", expanding=True)),
        table.c.level == bindparam("level"),
        table.c.block >= bindparam("first"),
        table.c.block <= bindparam("last"),
    )


def _rows_of_rollups(
    site: int, level: Level, rollups: Mapping[int, Rollup]
) -> list[dict[str, Any]]:
    blocks: dict[int, dict[int, Rollup]] = {}
    for number, rollup in rollups.items():
        blocks.setdefault(number * level.step // level.block, {})[number] = rollup
    return [
        {
            "site": site,
            "level": level.number,
            "block": block,
            "data": pack_rollups(first_of(level, block), some),
        }
        for block, some in blocks.items()
    ]


# ---------------------------------------------------------------- sums of days


def sum_up_days(
    connection: Connection, since: Mapping[int, int], today: int, breathe: Breathe = _nothing
) -> None:
    """
    Write the sums of sites' days that are over.

    Args:
        since: The first day of each site that is to be summed up.
        today: The first day that is not over.
    """
    for part in in_parts(list(since), _SUMMED_AT_ONCE):
        first = min(since[site] for site in part)
        for block in range(first // BLOCK, -(-today // BLOCK)):
            begin, end = block * BLOCK, (block + 1) * BLOCK
            some = {site: max(since[site], begin) for site in part if since[site] < end}
            _sum_up_block(connection, some, block, min(today, end), breathe)
        connection.execute(_done_until("days_until"), {"sites": list(part), "until": today})
        breathe()


def _sum_up_block(
    connection: Connection, since: Mapping[int, int], block: int, until: int, breathe: Breathe
) -> None:
    """Write the sums of days that are in one block."""
    sites = list(since)
    at = {"sites": sites, "block": block}
    earlier = {row.site: row for row in connection.execute(_days_before(), at).all()}
    breathe()
    written = {row.site: row.data for row in connection.execute(_days_of(), at).all()}
    breathe()
    spans = _composed(connection, sites, min(since.values()) * DAY, until * DAY, breathe)
    rows = []
    for site, first in since.items():
        row = earlier.get(site)
        before = total(_sums_before(row), unpack_days(bytes(row.data))) if row else Sums()
        offset = first - block * BLOCK
        known = unpack_days(bytes(written[site]))[:offset] if site in written else []
        was_down = known[-1].was_down if known else before.was_down
        known += [Sums(was_down=was_down)] * (offset - len(known))
        for day in range(first, until):
            sums = tally(
                (one for one in spans.get(site, ()) if one.end > day * DAY),
                day * DAY,
                (day + 1) * DAY,
                was_down=was_down,
            )
            known.append(sums)
            was_down = sums.was_down
        rows.append(
            {
                "site": site,
                "block": block,
                "up": before.up,
                "down": before.down,
                "maintenance": before.maintenance,
                "unknown": before.unknown,
                "begun": before.begun,
                "was_down": before.was_down,
                "data": pack_days(known),
            }
        )
        breathe()
    upsert(connection, schema.days, rows)
    breathe()


def _composed(
    connection: Connection,
    sites: Sequence[int],
    begin: Milliseconds,
    end: Milliseconds,
    breathe: Breathe,
) -> dict[int, list[Stretch]]:
    """Return by site the composed spans that overlap a window."""
    tracks: dict[int, dict[int, list[Stretch]]] = {}
    for track in (schema.STATE_TRACK, schema.MAINTENANCE_TRACK):
        found = tracks[track] = defaultdict(list)
        values = {"sites": list(sites), "track": track, "since": begin, "until": end}
        for row in connection.execute(_spans_of(), values).all():
            until = end if row.end is None else row.end
            if until > begin:
                found[row.site].append(
                    Stretch(row.begin, until, Condition(row.condition), row.reason, row.message)
                )
        breathe()
    maintenance = tracks[schema.MAINTENANCE_TRACK]
    return {
        site: compose(states, maintenance.get(site, ()))
        for site, states in tracks[schema.STATE_TRACK].items()
    }


def sum_up_again(connection: Connection, since: Mapping[int, int]) -> None:
    """Note the day from which on each site's days are to be summed up once more."""
    if since:
        connection.execute(
            update(schema.sites)
            .where(schema.sites.c.id == bindparam("number"))
            .values(days_until=bindparam("day")),
            [{"number": site, "day": day} for site, day in since.items()],
        )


def _sums_before(row: Any) -> Sums:
    """Return the sums of all days before a block, as its row has them."""
    return Sums(row.up, row.down, row.maintenance, row.unknown, row.begun, was_down=row.was_down)


@cache
def _days_before() -> "Select[Any]":
    """Of each site, the last row before a block."""
    table, other, listed = schema.days, schema.days.alias(), schema.sites
    last = (
        select(func.max(other.c.block))
        .where(other.c.site == listed.c.id, other.c.block < bindparam("block"))
        .correlate(listed)
        .scalar_subquery()
    )
    return (
        select(table)
        .select_from(listed)
        .join(table, (table.c.site == listed.c.id) & (table.c.block == last))
        .where(listed.c.id.in_(bindparam("sites", expanding=True)))
    )


@cache
def _days_of() -> "Select[Any]":
    table = schema.days
    return select(table.c.site, table.c.data).where(
        table.c.site.in_(bindparam("sites", expanding=True)), table.c.block == bindparam("block")
    )


@cache
def _spans_of() -> "Select[Any]":
    """Of each site the spans of a track that overlap a window, and perhaps one before it."""
    table, other, listed = schema.spans, schema.spans.alias(), schema.sites
    first = (
        select(func.max(other.c.begin))
        .where(
            other.c.site == listed.c.id,
            other.c.track == bindparam("track"),
            other.c.begin <= bindparam("since"),
        )
        .correlate(listed)
        .scalar_subquery()
    )
    return (
        select(table)
        .select_from(listed)
        .join(
            table,
            (table.c.site == listed.c.id)
            & (table.c.track == bindparam("track"))
            & (table.c.begin >= func.coalesce(first, bindparam("since")))
            & (table.c.begin < bindparam("until")),
        )
        .where(listed.c.id.in_(bindparam("sites", expanding=True)))
        .order_by(table.c.site, table.c.begin)
    )


# ---------------------------------------------------------------- what is too old


def trim(
    connection: Connection,
    ids: Collection[int],
    raw: Milliseconds | None,
    levels: Mapping[Level, Milliseconds | None],
    breathe: Breathe = _nothing,
) -> None:
    """Drop what of sites is older than these moments; None keeps everything."""
    if not ids:
        return
    if raw is not None:
        connection.execute(_too_old(schema.results), {"sites": list(ids), "moment": raw})
        breathe()
    for level, moment in levels.items():
        if moment is not None:
            connection.execute(
                _too_old(schema.rollups),
                {"sites": list(ids), "level": level.number, "block": moment // level.block},
            )
            breathe()


@cache
def _too_old(table: Table) -> Delete:
    statement = delete(table).where(table.c.site.in_(bindparam("sites", expanding=True)))
    if table is schema.results:
        return statement.where(table.c.begin < bindparam("moment"))
    return statement.where(table.c.level == bindparam("level"), table.c.block < bindparam("block"))
