"""
Everything that is written into the store, as SQL; each function takes part in a transaction.

The writer's thread calls these, on the one connection that writes.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    Connection,
    Delete,
    Executable,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from monitor.history import schema
from monitor.history.journal import Gathered
from monitor.history.rollup import (
    Outcome,
    unpack_results,
)
from monitor.history.tracks import Row
from monitor.history.uptime import Milliseconds
from monitor.model import Bytes
from monitor.past import Condition, Owed

_MANY = 500
"""Names or numbers in one question: databases bound how many there may be."""

_Item = TypeVar("_Item")


class Listed(NamedTuple):
    """
    A site as the store has it.

    Attributes:
        last_seen: When the daemon that wrote about it last was seen.
    """

    id: int
    name: str
    group: str
    identity: bytes
    run: int
    removed: Milliseconds | None
    days_until: int
    hours_until: int
    last_seen: Milliseconds
    seat: str


def in_parts(items: Sequence[_Item], size: int = _MANY) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def salt(connection: Connection) -> bytes:
    """Return the salt that makes this store's identities meaningless elsewhere."""
    name = "salt"
    found = connection.scalar(select(schema.facts.c.value).where(schema.facts.c.name == name))
    if found is None:
        found = os.urandom(16)
        connection.execute(insert(schema.facts).values(name=name, value=found))
    return bytes(found)


def write_positions(connection: Connection, seat: str, positions: Mapping[int, int]) -> None:
    """Write how far a daemon has read each partition of a stream."""
    value = json.dumps(dict(positions)).encode()
    upsert(connection, schema.facts, [{"name": _positions_of(seat), "value": value}])


def positions(connection: Connection, seat: str) -> dict[int, int]:
    """Return what write_positions() wrote; empty before that."""
    name = _positions_of(seat)
    found = connection.scalar(select(schema.facts.c.value).where(schema.facts.c.name == name))
    if found is None:
        return {}
    return {int(partition): sequence for partition, sequence in json.loads(bytes(found)).items()}


def _positions_of(seat: str) -> str:
    return f"positions of {seat}"


# ---------------------------------------------------------------- runs and sites


def begin_run(connection: Connection, seat: str, now: Milliseconds, version: str) -> int:
    run: int | None = connection.scalar(
        insert(schema.runs)
        .values(seat=seat, began=now, last_seen=now, version=version)
        .returning(schema.runs.c.id)
    )
    assert run is not None  # noqa: S101  what returning() is for
    return run


def is_known(connection: Connection, run: int) -> bool:
    """Return whether the store is still the one in which the run began."""
    return connection.scalar(select(schema.runs.c.id).where(schema.runs.c.id == run)) is not None


_SEE = (
    update(schema.runs)
    .where(schema.runs.c.id == bindparam("run"))
    .values(last_seen=bindparam("now"))
)


def see(connection: Connection, run: int, now: Milliseconds) -> None:
    """Record that the daemon is alive."""
    connection.execute(_SEE, {"run": run, "now": now})


def listed(connection: Connection, names: Sequence[str]) -> dict[str, Listed]:
    found = {}
    for part in in_parts(names):
        rows = connection.execute(
            select(
                schema.sites.c.id,
                schema.sites.c.name,
                schema.sites.c.grp,
                schema.sites.c.identity,
                schema.sites.c.run,
                schema.sites.c.removed,
                schema.sites.c.days_until,
                schema.sites.c.hours_until,
                schema.runs.c.last_seen,
                schema.runs.c.seat,
            )
            .join(schema.runs, schema.runs.c.id == schema.sites.c.run)
            .where(schema.sites.c.name.in_(part))
        ).all()  # all at once: row by row takes five times as long
        found.update({row.name: Listed._make(row) for row in rows})
    return found


def rename(connection: Connection, old: str, new: str) -> bool:
    """
    Keep a site's memory under another name.

    Returns:
        Whether that happened; it does not if a site of that name is listed and has its own memory.
    """
    sites = schema.sites
    connection.execute(delete(sites).where(sites.c.name == new, sites.c.removed.is_not(None)))
    if connection.scalar(select(sites.c.id).where(sites.c.name == new)) is not None:
        return False
    done = connection.execute(update(sites).where(sites.c.name == old).values(name=new))
    return done.rowcount > 0


def add_sites(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(schema.sites), list(rows))


def take_sites(connection: Connection, run: int | None, ids: Sequence[int]) -> None:
    """Assign unchanged sites to another run."""
    for part in in_parts(ids):
        connection.execute(
            update(schema.sites).where(schema.sites.c.id.in_(part)).values(run=run, removed=None)
        )


def take_other_sites(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Do the same for sites that changed: ``number``, ``run``, ``grp``, ``identity`` of each."""
    if rows:
        connection.execute(
            update(schema.sites)
            .where(schema.sites.c.id == bindparam("number"))
            .values(
                run=bindparam("run"),
                grp=bindparam("grp"),
                identity=bindparam("identity"),
                removed=None,
            ),
            list(rows),
        )


def close_spans(connection: Connection, ids: Sequence[int]) -> None:
    """End what lasts of sites at the moment when their daemon was seen last."""
    if not ids:
        return
    spans, wanted = schema.spans, set(ids)
    lasting = connection.execute(
        select(spans.c.site, spans.c.track, spans.c.begin, schema.runs.c.last_seen)
        .join(schema.sites, schema.sites.c.id == spans.c.site)
        .join(schema.runs, schema.runs.c.id == schema.sites.c.run)
        .where(spans.c.condition.in_([str(one) for one in Condition]), spans.c.end.is_(None))
    )
    ended, none = [], []  # where the clock was set back, the daemon was seen last before it began
    for site, track, begin, last_seen in lasting:
        if site in wanted:
            key = {"of": site, "on": track, "at": begin}
            if last_seen > begin:
                ended.append({**key, "until": last_seen})
            else:
                none.append(key)
    if ended:
        connection.execute(_which(update(spans)).values(end=bindparam("until")), ended)
    if none:
        connection.execute(_which(delete(spans)), none)


_Changing = TypeVar("_Changing", Update, Delete)


def _which(statement: _Changing) -> _Changing:
    """Have a statement change the span of a site, a track and a begin."""
    spans = schema.spans
    return statement.where(
        spans.c.site == bindparam("of"),
        spans.c.track == bindparam("on"),
        spans.c.begin == bindparam("at"),
    )


def told_until(connection: Connection, since: Milliseconds) -> dict[tuple[int, int], Milliseconds]:
    """Return by site and track where the last of the spans ends that end after a moment."""
    spans = schema.spans
    rows = connection.execute(
        select(spans.c.site, spans.c.track, func.max(spans.c.end))
        .where(spans.c.condition.in_([str(one) for one in Condition]), spans.c.end > since)
        .group_by(spans.c.site, spans.c.track)
    )
    return {(site, track): end for site, track, end in rows}


def remove_absent(connection: Connection, seat: str, run: int, now: Milliseconds) -> None:
    """Record which sites of an earlier run in the same seat have left the list."""
    earlier = select(schema.runs.c.id).where(schema.runs.c.seat == seat, schema.runs.c.id != run)
    gone = (schema.sites.c.run.in_(earlier), schema.sites.c.removed.is_(None))
    ids = connection.scalars(select(schema.sites.c.id).where(*gone)).all()
    close_spans(connection, ids)
    for part in in_parts(ids):
        connection.execute(
            update(schema.sites).where(schema.sites.c.id.in_(part)).values(removed=now)
        )


def mark_removed(connection: Connection, ids: Sequence[int], now: Milliseconds) -> None:
    for part in in_parts(ids):
        connection.execute(
            update(schema.sites).where(schema.sites.c.id.in_(part)).values(removed=now)
        )


def forget_removed(connection: Connection, before: Milliseconds, most: int) -> int:
    """Drop a few of the sites that left the list before a moment, with all their data."""
    abandoned = select(schema.runs.c.id).where(schema.runs.c.last_seen < before)
    ids = connection.scalars(
        select(schema.sites.c.id)
        .where(or_(schema.sites.c.removed < before, schema.sites.c.run.in_(abandoned)))
        .limit(most)
    ).all()
    if ids:
        connection.execute(delete(schema.sites).where(schema.sites.c.id.in_(ids)))
    return len(ids)


# ---------------------------------------------------------------- what the engine knows


def write_states(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
    return upsert(connection, schema.states, rows)


def write_failures(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep failures with their evidence: ``site``, ``time``, ``data``, ``oldest`` of each."""
    if not rows:
        return
    upsert(
        connection,
        schema.failures,
        [{key: row[key] for key in ("site", "time", "data")} for row in rows],
    )
    connection.execute(
        delete(schema.failures).where(
            schema.failures.c.site == bindparam("of"),
            schema.failures.c.time < bindparam("oldest"),
        ),
        [{"of": row["site"], "oldest": row["oldest"]} for row in rows],
    )


def states_of(connection: Connection, ids: Sequence[int]) -> dict[int, Any]:
    return {
        row.site: row
        for part in in_parts(ids)
        for row in connection.execute(
            select(schema.states).where(schema.states.c.site.in_(part))
        ).all()
    }


def failures_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[bytes]]:
    """Return the evidence of sites' last failures, the newest first."""
    found: dict[int, list[bytes]] = defaultdict(list)
    for part in in_parts(ids):
        for row in connection.execute(
            select(schema.failures.c.site, schema.failures.c.data)
            .where(schema.failures.c.site.in_(part))
            .order_by(schema.failures.c.time.desc())
        ):
            found[row.site].append(bytes(row.data))
    return found


# ---------------------------------------------------------------- spans


def write_spans(connection: Connection, rows: Iterable[tuple[int, Row]]) -> None:
    """Write spans in the places of those with the same site, track and begin."""
    gone: list[dict[str, Any]] = []
    upsert(connection, schema.spans, _lasting(rows, gone))
    if gone:
        connection.execute(_which(delete(schema.spans)), gone)


def _lasting(
    rows: Iterable[tuple[int, Row]], gone: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the spans that there are; note those that are to go."""
    for site, row in rows:
        if row.end is not None and row.end <= row.begin:
            gone.append({"of": site, "on": row.track, "at": row.begin})
        else:
            yield {
                "site": site,
                "track": row.track,
                "begin": row.begin,
                "end": row.end,
                "condition": str(row.condition),
                "reason": row.reason,
                "message": row.message,
            }


def spans_since(connection: Connection, since: Mapping[int, Milliseconds]) -> dict[int, list[Row]]:
    """Return the spans of the state of sites that ended after a moment, in order."""
    found: dict[int, list[Row]] = {}
    for part in in_parts(list(since)):
        least = min(since[site] for site in part)
        for row in connection.execute(
            select(schema.spans)
            .where(
                schema.spans.c.site.in_(part),
                schema.spans.c.track == schema.STATE_TRACK,
                schema.spans.c.end > least,
            )
            .order_by(schema.spans.c.site, schema.spans.c.begin)
        ):
            if row.end > since[row.site]:
                found.setdefault(row.site, []).append(
                    Row(
                        row.track,
                        row.begin,
                        row.end,
                        Condition(row.condition),
                        row.reason,
                        row.message,
                    )
                )
    return found


def states_around(
    connection: Connection, site: int, begin: Milliseconds, end: Milliseconds
) -> list[Row]:
    """Return the spans of a site's state that overlap a window, with one before and one after."""
    spans = schema.spans
    own = (spans.c.site == site, spans.c.track == schema.STATE_TRACK)
    first = select(func.max(spans.c.begin)).where(*own, spans.c.begin < begin).scalar_subquery()
    last = select(func.min(spans.c.begin)).where(*own, spans.c.begin >= end).scalar_subquery()
    return [
        Row(row.track, row.begin, row.end, Condition(row.condition), row.reason, row.message)
        for row in connection.execute(
            select(spans)
            .where(
                *own,
                spans.c.begin >= func.coalesce(first, begin),
                spans.c.begin <= func.coalesce(last, end),
            )
            .order_by(spans.c.begin)
        ).all()
    ]


# ---------------------------------------------------------------- results


_ENTER = insert(schema.journal).returning(schema.journal.c.seq)


def write_journal(connection: Connection, seat: str, gathered: Gathered) -> int:
    """Write the results of a transaction, and return the number of their row."""
    row = {"seat": seat, "data": gathered.to_bytes()}
    seq: int | None = connection.scalar(_ENTER, row)
    assert seq is not None  # noqa: S101  what returning() is for
    return seq


def journal_of(connection: Connection, seat: str) -> list[tuple[int, Gathered]]:
    """Return the results that a seat's daemon had not packed yet."""
    rows = connection.execute(
        select(schema.journal.c.seq, schema.journal.c.data)
        .where(schema.journal.c.seat == seat)
        .order_by(schema.journal.c.seq)
    )
    return [(row.seq, Gathered.from_bytes(bytes(row.data))) for row in rows]


def last_of_journal(connection: Connection, seat: str) -> int:
    """Return the number of a seat's last row in the journal; 0 if it has none."""
    last = connection.scalar(
        select(func.max(schema.journal.c.seq)).where(schema.journal.c.seat == seat)
    )
    return last or 0


def orphaned_seats(connection: Connection, alive_since: Milliseconds) -> list[str]:
    """Return the seats with results to pack whose daemons have not been seen since then."""
    alive = select(schema.runs.c.seat).where(schema.runs.c.last_seen >= alive_since)
    seats = select(schema.journal.c.seat).distinct().where(schema.journal.c.seat.not_in(alive))
    return list(connection.scalars(seats))


_DROP = delete(schema.journal).where(
    schema.journal.c.seat == bindparam("of"), schema.journal.c.seq <= bindparam("up_to")
)


def drop_journal(connection: Connection, seat: str, up_to: int) -> None:
    connection.execute(_DROP, {"of": seat, "up_to": up_to})


def packed_slots(connection: Connection, seat: str) -> dict[int, int]:
    """Return up to which row of the journal the sites of each slot are packed."""
    rows = connection.execute(
        select(schema.packed.c.slot, schema.packed.c.seq).where(schema.packed.c.seat == seat)
    )
    return {row.slot: row.seq for row in rows}


def note_packed(connection: Connection, seat: str, slot: int, seq: int) -> None:
    upsert(connection, schema.packed, [{"seat": seat, "slot": slot, "seq": seq}])


def present(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Return those of these sites that still exist."""
    return {
        found
        for part in in_parts(ids)
        for found in connection.scalars(
            select(schema.sites.c.id).where(schema.sites.c.id.in_(part))
        )
    }


def last_results(
    connection: Connection, ids: Sequence[int], count: int
) -> dict[int, list[Outcome]]:
    """Return some of each site's last packed results, the oldest first."""
    table, other, listed = schema.results, schema.results.alias(), schema.sites
    last_but_one = (
        select(other.c.begin)
        .where(other.c.site == listed.c.id)
        .order_by(other.c.begin.desc())
        .limit(1)
        .offset(1)
        .correlate(listed)
        .scalar_subquery()
    )
    found: dict[int, list[Outcome]] = {}
    for part in in_parts(ids):
        rows = connection.execute(
            select(table.c.site, table.c.begin, table.c.data)
            .select_from(listed)
            .join(
                table,
                (table.c.site == listed.c.id) & (table.c.begin >= func.coalesce(last_but_one, 0)),
            )
            .where(listed.c.id.in_(part))
            .order_by(table.c.site, table.c.begin.desc())
        ).all()
        for site, begin, data in rows:
            later = found.get(site, [])
            if len(later) < count:
                found[site] = [*unpack_results(begin, bytes(data)), *later]
    return found


# ---------------------------------------------------------------- the outbox


def write_outbox(
    connection: Connection, seat: str, rows: Mapping[tuple[str, str], bytes | None]
) -> None:
    """Write rows by kind and key, replacing earlier ones; None deletes a row."""
    gone = [{"of": kind, "at": key} for (kind, key), data in rows.items() if data is None]
    if gone:
        connection.execute(
            delete(schema.outbox).where(
                schema.outbox.c.kind == bindparam("of"), schema.outbox.c.key == bindparam("at")
            ),
            gone,
        )
    upsert(
        connection,
        schema.outbox,
        [
            {"kind": kind, "key": key, "seat": seat, "data": data}
            for (kind, key), data in rows.items()
            if data is not None
        ],
    )


def read_outbox(connection: Connection) -> list[Owed]:
    rows = connection.execute(select(schema.outbox))
    return [Owed(row.kind, row.key, row.seat, bytes(row.data)) for row in rows]


# ---------------------------------------------------------------- the database itself


def size(connection: Connection) -> tuple[Bytes, Bytes]:
    """Return the size of the store, and how much of it is in use."""
    if connection.dialect.name == "postgresql":
        whole = int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
        return whole, whole
    page, pages, free = (
        int(connection.scalar(text(f"PRAGMA {name}")) or 0)
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page * pages, page * (pages - free)


def give_back(connection: Connection, pages: int) -> None:
    """Let an SQLite file shrink by some of its unused pages."""
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  it is connected
        cursor = driver.cursor()
        for _ in range(pages):
            # Python 3.11 runs only the first step of a statement without columns: one page
            cursor.execute("PRAGMA incremental_vacuum(1)")
        cursor.close()


def upsert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> int:
    """
    Write rows, each replacing the one with the same key, and return how many.

    A part at a time: those of 10,000 sites at a start would take 20 MB, made all at once.
    """
    statement = _upsert_of(table, connection.dialect.name)
    rows = iter(rows)
    written = 0
    while part := list(islice(rows, _MANY)):
        connection.execute(statement, part)
        written += len(part)
    return written


@cache
def _upsert_of(table: Table, dialect: str) -> Executable:
    # Made once, as are all statements of every second: that takes longer than to execute them.
    # Loaded by name, since PostgreSQL's dialect takes 3 MB
    statement = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    keys = [column.name for column in table.primary_key]
    made: Executable = statement.on_conflict_do_update(
        index_elements=keys,
        set_={
            column.name: statement.excluded[column.name]
            for column in table.columns
            if column.name not in keys
        },
    )
    return made
