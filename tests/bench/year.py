"""
A year of the past, written into a store that a daemon has made and left.

Its spans and sums of days are those of sites that were down eight times in the year. A rollup of
every five minutes, hour and day takes 0.4 MB a site, so only some have them: a question about a
site's latency reads its own alone.
"""

import random
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select

from monitor.history import schema
from monitor.history.days import BLOCK, pack_days, total
from monitor.history.rollup import DAILY, FIVE_MINUTES, HOURLY, UP, Rollup, pack_rollups
from monitor.history.store import connect, store_url
from monitor.history.uptime import DAY, Milliseconds, Sums
from monitor.past import Condition

_DAYS = 365
_OUTAGES = 8
_LENGTHS: tuple[Milliseconds, ...] = (45_000, 130_000, 420_000, 1_300_000)
_KEPT = ((FIVE_MINUTES, 35), (HOURLY, _DAYS), (DAILY, _DAYS))
_CHECKS = 12
"""Checks in a rollup; more would only add to the same buckets."""
_MANY = 20_000


def remember_a_year(folder: Path, with_latency: Collection[str]) -> None:
    """
    Give every site of a store a past; its daemon must not be running.

    Args:
        folder: The data folder.
        with_latency: The sites that have rollups.
    """
    today = int(time.time() * 1000) // DAY
    engine = connect(store_url(None, folder), writes=True)
    with engine.begin() as connection:
        spans: list[dict[str, Any]] = []
        days: list[dict[str, Any]] = []
        for site, name, known_from in _sites(connection):
            chance = random.Random(name)  # noqa: S311  a past, and the same each time
            outages = {
                today - ago: (chance.randrange(3_600_000, 80_000_000), chance.choice(_LENGTHS))
                for ago in chance.sample(range(1, _DAYS), _OUTAGES)
            }
            spans += _spans(site, (today - _DAYS) * DAY, outages, known_from)
            lengths = {day: length for day, (_, length) in outages.items()}
            days += _days(site, today - _DAYS, today, lengths)
            if name in with_latency:
                _insert(connection, schema.rollups, list(_rollups(site, chance)))
        _insert(connection, schema.spans, spans)
        _insert(connection, schema.days, days)
    engine.dispose()


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _MANY):
        connection.execute(insert(table), rows[start : start + _MANY])


def _sites(connection: Connection) -> list[tuple[int, str, Milliseconds]]:
    """Return each site's number and name, and since when the store has known it."""
    sites, spans = schema.sites, schema.spans
    question = (
        select(sites.c.id, sites.c.name, func.min(spans.c.begin))
        .join(spans, spans.c.site == sites.c.id)
        .group_by(sites.c.id, sites.c.name)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(question).all()]


def _spans(
    site: int,
    begin: Milliseconds,
    outages: dict[int, tuple[Milliseconds, Milliseconds]],
    end: Milliseconds,
) -> Iterator[dict[str, Any]]:
    def row(start: Milliseconds, stop: Milliseconds, condition: Condition) -> dict[str, Any]:
        down = condition is Condition.DOWN
        return {
            "site": site,
            "track": schema.STATE_TRACK,
            "begin": start,
            "end": stop,
            "condition": str(condition),
            "reason": "status" if down else None,
            "message": "status 503 is not in 2xx" if down else "",
        }

    at = begin
    for day, (moment, length) in sorted(outages.items()):
        start = day * DAY + moment
        yield row(at, start, Condition.UP)
        at = start + length
        yield row(start, at, Condition.DOWN)
    yield row(at, end, Condition.UP)


def _days(site: int, first: int, today: int, down: dict[int, int]) -> Iterator[dict[str, Any]]:
    before = Sums()
    for block in range(first // BLOCK, today // BLOCK + 1):
        sums = [
            Sums(up=DAY - down.get(day, 0), down=down.get(day, 0), begun=int(day in down))
            if day >= first
            else Sums()
            for day in range(block * BLOCK, min((block + 1) * BLOCK, today))
        ]
        if sums:
            yield {
                "site": site,
                "block": block,
                "up": before.up,
                "down": before.down,
                "maintenance": before.maintenance,
                "unknown": before.unknown,
                "begun": before.begun,
                "was_down": before.was_down,
                "data": pack_days(sums),
            }
        before = total(before, sums)


def _rollups(site: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    # What the daemon has rolled up of its own minutes lies in the blocks of today
    until = int(time.time() * 1000) // DAY * DAY
    for level, days in _KEPT:
        steps = level.block // level.step
        for block in range((until - days * DAY) // level.block, until // level.block):
            rollups: dict[int, Rollup] = {}
            for number in range(block * steps, (block + 1) * steps):
                rollups[number] = Rollup()
                for _ in range(_CHECKS):
                    rollups[number].add(int(chance.lognormvariate(11.7, 0.3)), UP)
            yield {
                "site": site,
                "level": level.number,
                "block": block,
                "data": pack_rollups(block * steps, rollups),
            }
