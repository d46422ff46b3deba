"""
What the history costs: bytes of a result, the writer's time for it, and questions about a year.

    python -m tests.bench.history_cost [SITES] [DAYS]
    python -m tests.bench.history_cost kept

First two hours of results of 200 sites are written by the writer as the daemon does it. Then a
store is filled with summed-up days, spans and hourly rollups of SITES sites (5,000) and DAYS days
(365), and asked what pages and the API ask, each question by a reader of its own that has read
nothing yet.

``kept`` writes 44 days of ten sites as the daemon does, and prints what a site takes: after 37 days
results and five minutes are as many as there ever are, and what grows from then on are hours, days
and spans. It takes some minutes.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from monitor.clock import SystemClock
from monitor.history import schema
from monitor.history.days import BLOCK, pack_days, total
from monitor.history.reader import Reader
from monitor.history.rollup import HOURLY, UP, Rollup, pack_rollups
from monitor.history.store import connect, migrate, store_url
from monitor.history.uptime import DAY, Sums
from monitor.model import Bytes, Seconds
from tests.builders import site, up_result
from tests.history.lives import World

_SITES = 200
_INTERVAL = 60
_DAY_SECONDS = 86400.0
_OUTAGES = 12


@dataclass(frozen=True, slots=True)
class Written:
    """What results take, with every index, and the time the writer needs for each."""

    results: int
    size: Bytes
    seconds: Seconds


def written(folder: Path, sites: int = _SITES, minutes: int = 120) -> Written:
    """Write results as the daemon does, one transaction per second, and measure the file."""
    world = World(folder, None, time=1_800_000_000.0)
    listed = [site(f"site-{number}", interval=60.0) for number in range(sites)]
    world.start(*listed)
    chosen = random.Random(1)  # noqa: S311  durations, no secrets
    results = 0
    spent = 0.0
    for _ in range(minutes):
        for second in range(_INTERVAL):
            for one in listed[second::_INTERVAL]:
                duration = chosen.lognormvariate(-2.5, 0.3)
                world.enter(up_result(one, time=world.clock.time(), duration=duration))
                results += 1
            world.clock.advance(1)
            begun = time.process_time()
            world.turn()
            spent += time.process_time() - begun
    world.stop()
    world.close()
    return Written(results, (folder / "history.db").stat().st_size, spent)


def kept(folder: Path, sites: int = 10) -> Iterator[tuple[int, Bytes]]:
    """Yield what a site takes after some days, including indexes and half-empty pages."""
    world = World(folder, None, time=1_800_000_000.0)
    listed = [site(f"site-{number}", interval=60.0) for number in range(sites)]
    world.start(*listed)
    chosen = random.Random(1)  # noqa: S311  durations, no secrets
    for day in range(1, 45):
        for _ in range(24 * 60):
            for one in listed:
                duration = chosen.lognormvariate(-2.5, 0.3)
                world.enter(up_result(one, time=world.clock.time(), duration=duration))
            world.pass_time(_INTERVAL)
        if day in (7, 37, 44):
            yield day, world.told.size // sites
    world.close()


def filled(folder: Path, sites: int, days: int) -> float:
    """
    Make a store with a past, and return the end of that past.

    A site has an outage of some minutes each month, and the monitor restarts each week.
    """
    now = int(time.time() * 1000)
    today = now // DAY
    first = today - days
    chosen = random.Random(2)  # noqa: S311  outages, no secrets
    engine = connect(store_url(None, folder), writes=True)
    with engine.begin() as connection:
        migrate(connection)
    with engine.begin() as connection:
        run = connection.scalar(
            insert(schema.runs)
            .values(seat="1/1", began=first * DAY, last_seen=now, version="1")
            .returning(schema.runs.c.id)
        )
        connection.execute(
            insert(schema.sites),
            [
                {
                    "name": f"site-{number}",
                    "grp": f"group-{number % 20}",
                    "identity": b"",
                    "run": run,
                    "days_until": today,
                    "hours_until": today * 24,
                }
                for number in range(sites)
            ],
        )
    hours = pack_rollups(0, dict(enumerate(_hours(chosen))))
    for start in range(1, sites + 1, 100):
        with engine.begin() as connection:
            for id_ in range(start, min(start + 100, sites + 1)):
                _fill_site(connection, chosen, id_, first, today, hours)
    engine.dispose()
    return now / 1000


def _hours(chosen: random.Random) -> Iterator[Rollup]:
    for _ in range(24):
        hour = Rollup()
        for _ in range(60):
            hour.add(int(1e6 * chosen.lognormvariate(-2.5, 0.3)), UP)
        yield hour


def _fill_site(connection, chosen, id_, first, today, hours) -> None:
    down = {chosen.randrange(first, today) for _ in range(_OUTAGES)}
    sums = [
        Sums(up=DAY - 300_000, down=300_000, begun=1) if day in down else Sums(up=DAY)
        for day in range(first, today)
    ]
    before = Sums()
    rows = []
    for block in range(first // BLOCK, (today - 1) // BLOCK + 1):
        begin = max(first, block * BLOCK)
        part = [Sums()] * (begin - block * BLOCK)
        part += sums[begin - first : (block + 1) * BLOCK - first]
        rows.append(
            {
                "site": id_,
                "block": block,
                "up": before.up,
                "down": before.down,
                "maintenance": 0,
                "unknown": 0,
                "begun": before.begun,
                "was_down": False,
                "data": pack_days(part),
            }
        )
        before = total(before, part)
    connection.execute(insert(schema.days), rows)
    spans = []
    at = first * DAY
    for day in sorted(down):
        begin = day * DAY + 36_000_000
        spans.append(_span(id_, at, begin, "up"))
        spans.append(_span(id_, begin, begin + 300_000, "down"))
        at = begin + 300_000
    spans.append(_span(id_, at, None, "up"))
    connection.execute(insert(schema.spans), spans)
    connection.execute(
        insert(schema.rollups),
        [
            {"site": id_, "level": HOURLY.number, "block": day, "data": hours}
            for day in range(first, today)
        ],
    )


def _span(site, begin, end, condition) -> dict[str, Any]:
    reason = "status" if condition == "down" else None
    message = "status 503 is not in 2xx" if reason else ""
    return {
        "site": site,
        "track": 0,
        "begin": begin,
        "end": end,
        "condition": condition,
        "reason": reason,
        "message": message,
    }


def asked(folder: Path, sites: int, now: float) -> Iterator[tuple[str, Seconds]]:
    """Yield how long each question takes the first time it is asked."""
    names = [f"site-{number}" for number in range(sites)]

    def timed(question: Callable[[Reader], object]) -> Seconds:
        reader = Reader(connect(store_url(None, folder), writes=False), SystemClock())
        begun = time.perf_counter()
        question(reader)
        spent = time.perf_counter() - begun
        reader.close()
        return spent

    year, days = 365 * _DAY_SECONDS, 90 * _DAY_SECONDS
    yield "uptime of all, 365 d", timed(lambda past: past.uptime(names, now - year, now))
    yield "days of 250, 90 d", timed(lambda past: past.days(names[:250], days=90, now=now))
    yield "days of 500, 90 d", timed(lambda past: past.days(names[:500], days=90, now=now))
    yield "uptime of 500, 90 d", timed(lambda past: past.uptime(names[:500], now - days, now))
    yield "outages of 500, 90 d", timed(lambda past: past.outages(names[:500], now - days, now))
    yield (
        "latency of one, 1 y",
        timed(lambda past: past.latency(names[0], now - year, now, _DAY_SECONDS)),
    )
    yield (
        "latency of one, 30 d",
        timed(lambda past: past.latency(names[0], now - 30 * _DAY_SECONDS, now, 3600)),
    )


def main(arguments: list[str]) -> None:
    if arguments == ["kept"]:
        with tempfile.TemporaryDirectory() as folder:
            for day, size in kept(Path(folder)):
                print(f"{size / 1000:.0f} kB a site after {day} days, a check every minute")
        return
    sites = int(arguments[0]) if arguments else 5000
    days = int(arguments[1]) if len(arguments) > 1 else 365
    with tempfile.TemporaryDirectory() as folder:
        found = written(Path(folder))
        print(f"{found.size / found.results:.1f} bytes a result with its rollups and indexes")
        print(f"{found.seconds / found.results * 1e6:.1f} µs of the writer a result")
    with tempfile.TemporaryDirectory() as folder:
        now = filled(Path(folder), sites, days)
        size = (Path(folder) / "history.db").stat().st_size
        print(f"{size / 2**20:.0f} MiB: {sites} sites, {days} days of sums, spans, hours")
        for question, seconds in asked(Path(folder), sites, now):
            print(f"{seconds * 1000:6.0f} ms  {question}")


if __name__ == "__main__":
    main(sys.argv[1:])
