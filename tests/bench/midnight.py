"""
How punctual and how true checks are while the history does its heaviest work.

When an hour or a day is over, the writer rolls up and sums up the sites slot by slot, drops what
is too old, and returns free pages to the file system. Here all of it is due at once, as it is in
the first quarter of an hour after midnight.
"""

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import delete, insert, select, update

from monitor.history import schema
from monitor.history.rollup import (
    FIVE_MINUTES,
    UP,
    Outcome,
    Rollup,
    pack_results,
    pack_rollups,
)
from monitor.history.store import FILE, connect, store_url
from monitor.history.uptime import DAY, HOUR, Milliseconds
from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError, Figure, percentile, ratio
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab
from tests.bench.scrape import Scrape
from tests.bench.year import remember_a_year
from tests.system.processes import Daemon

_DELAY: Seconds = 0.05
_TAIL = 0.99
_WINDOW: Seconds = 75.0
"""Once a minute the writer looks for pages to return."""
_MOST_WINDOWS = 3
_LATE: Milliseconds = 600_000
"""The writer waits this long after the end of an hour before it treats the hour as over."""
_PER_HOUR = 4
"""Rows of results per hour: a site's results are packed every quarter of an hour."""
_TOO_OLD: Milliseconds = 30 * DAY
_OLD_ROWS = 8
_LEAST = 100
"""The least of each kind of work in a window: the writer returns 200 pages at a time."""
_FREE = 0.3
"""The free share of the file, so that there are pages to return; the writer keeps a tenth."""


@dataclass(frozen=True, slots=True)
class _Store:
    """
    What has been done in a store.

    Attributes:
        rolled_up: Sites whose last hour is rolled up; ``summed_up`` is the same for the day.
        old: Rows of results that are older than what is kept.
        pages: Pages of the file.
    """

    rolled_up: int
    summed_up: int
    old: int
    pages: int


def upkeep(lab: Lab) -> Iterator[Figure]:
    """
    Measure a daemon whose upkeep is due beside a peer that has none, in the same windows.

    Other load on the machine then affects both. Checks that a scrape of either daemon overlapped do
    not count.

    Raises:
        BenchError: Rollups, sums, deletions or the return of pages did not run meanwhile.
    """
    fleet = Fleet(
        count=lab.effort.sites,
        url=lab.delay_server(_DELAY).url,
        interval=max(1, lab.effort.sites // lab.effort.true_rate),
    )
    due = _made_due(lab, fleet)
    lags: tuple[list[Seconds], list[Seconds]] = ([], [])
    errors: tuple[list[Seconds], list[Seconds]] = ([], [])
    checks: list[int] = []
    with (
        lab.daemon(fleet, MONITOR_DATA=str(due.folder)) as ours,
        lab.peer(fleet) as theirs,
    ):
        for daemon in (ours, theirs):
            lab.until_all_checked(daemon, fleet)
        before = due.state()
        for _ in range(min(_MOST_WINDOWS, lab.effort.rounds)):
            for side, seen in enumerate(_seen((ours, theirs), fleet)):
                lags[side].append(percentile([one.lag for one in seen], _TAIL))
                errors[side].append(percentile([one.error for one in seen], _TAIL))
                checks.append(len(seen))
        done = _require_work(before, due.state())
    peer = lab.other_build.name if lab.other_build else "without"
    for name, (mine, other) in (("lag p99", lags), ("truth p99", errors)):
        figure = ratio(name, mine, other, peer)
        yield Figure(
            name=name,
            value=figure.value,
            unit=figure.unit,
            detail=f"{figure.detail}; at least {min(checks):,} checks a window; {done}",
            samples=figure.samples,
        )


@dataclass(frozen=True, slots=True)
class _Due:
    """A data folder whose hour ``hour`` must be rolled up and whose day ``day`` summed up."""

    folder: Path
    hour: int
    day: int
    old: Milliseconds

    def state(self) -> _Store:
        file = self.folder / FILE
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:

            def number(question: str, *values: int) -> int:
                found = connection.execute(question, values).fetchone()[0]
                assert isinstance(found, int)
                return found

            return _Store(
                number("SELECT count(*) FROM sites WHERE hours_until > ?", self.hour),
                number("SELECT count(*) FROM sites WHERE days_until > ?", self.day),
                number("SELECT count(*) FROM results WHERE begin < ?", self.old),
                number("PRAGMA page_count"),
            )


def _made_due(lab: Lab, fleet: Fleet) -> _Due:
    folder = lab.new_folder()
    with lab.daemon(fleet, MONITOR_DATA=str(folder)) as daemon:
        lab.until_all_checked(daemon, fleet)
        daemon.stop()  # so that what it knows is written
    remember_a_year(folder, ())
    now = int(time.time() * 1000) - _LATE
    due = _Due(folder, now // HOUR - 1, now // DAY - 1, now - _TOO_OLD + DAY)
    chosen = random.Random(3)  # noqa: S311  durations, no secrets
    begin = due.hour * HOUR
    length = HOUR // _PER_HOUR
    quarter = pack_results(0, _outcomes(chosen, length, fleet.interval))
    hour = _packed_hour(chosen, fleet.interval)
    moments = [
        *(begin + number * length for number in range(_PER_HOUR)),
        *(now - _TOO_OLD + number * length for number in range(_OLD_ROWS)),
    ]
    engine = connect(store_url(None, folder), writes=True)
    with engine.begin() as connection:
        for site in connection.scalars(select(schema.sites.c.id)).all():
            connection.execute(
                insert(schema.results),
                [{"site": site, "begin": at, "seq": 0, "data": quarter} for at in moments],
            )
            connection.execute(
                insert(schema.rollups).prefix_with("OR IGNORE"),
                [
                    {"site": site, "level": FIVE_MINUTES.number, "block": block, "data": hour}
                    for block in range(due.day * DAY // HOUR, (due.day + 1) * DAY // HOUR)
                ],
            )
        connection.execute(
            update(schema.sites).values(hours_until=due.hour, days_until=due.day),
        )
    with engine.begin() as connection:
        spare = b"\0" * int((folder / FILE).stat().st_size * _FREE)
        connection.execute(insert(schema.facts).values(name="spare", value=spare))
    with engine.begin() as connection:
        connection.execute(delete(schema.facts).where(schema.facts.c.name == "spare"))
    engine.dispose()
    return due


def _outcomes(chosen: random.Random, length: Milliseconds, interval: int) -> Iterator[Outcome]:
    for at in range(0, length, interval * 1000):
        yield Outcome(at, int(chosen.lognormvariate(11.7, 0.3)), UP)


def _packed_hour(chosen: random.Random, interval: int) -> bytes:
    """Return an hour in steps of five minutes; every hour uses the same bytes."""
    rollups: dict[int, Rollup] = {}
    for number in range(HOUR // FIVE_MINUTES.step):
        rollups[number] = Rollup()
        for one in _outcomes(chosen, FIVE_MINUTES.step, interval):
            rollups[number].add(one.duration, one.outcome)
    return pack_rollups(0, rollups)


class _Check(NamedTuple):
    """How late a check began, and how much longer than true its duration was."""

    lag: Seconds
    error: Seconds


def _seen(daemons: Sequence[Daemon], fleet: Fleet) -> list[list[_Check]]:
    """Return the checks of each daemon in one window."""
    scrapes = [[Scrape(daemon.url)] for daemon in daemons]
    until = time.monotonic() + _WINDOW
    while time.monotonic() < until:
        time.sleep(fleet.interval)
        for its, daemon in zip(scrapes, daemons, strict=True):
            its.append(Scrape(daemon.url))
    begin = max(its[0].ended for its in scrapes)
    busy = [(one.began, one.ended) for its in scrapes for one in its]
    return [
        [check for scrape in its[1:] for check in _checks(scrape, fleet, begin, busy)]
        for its in scrapes
    ]


def _checks(
    scrape: Scrape, fleet: Fleet, since: Timestamp, busy: Sequence[tuple[Timestamp, Timestamp]]
) -> list[_Check]:
    """Return the last checks of all sites, except those that a busy period overlapped."""
    durations = scrape.by_site("probe_duration_seconds")
    if scrape.total("probe_success") != fleet.count:
        raise BenchError("not every check succeeded")
    found = []
    for name, started in scrape.by_site("monitor_last_check_timestamp_seconds").items():
        lag = fleet.lag(name, started)
        begin, end = started - lag, started + durations[name]
        if begin >= since and not any(began < end and begin < ended for began, ended in busy):
            found.append(_Check(lag, durations[name] - _DELAY))
    if not found:
        raise BenchError("no check began and ended between two scrapes")
    return found


def _require_work(before: _Store, after: _Store) -> str:
    """Return what was done in between, or raise BenchError if something was not done."""
    done = {
        "sites rolled up": after.rolled_up - before.rolled_up,
        "sites summed up": after.summed_up - before.summed_up,
        "old rows dropped": before.old - after.old,
        "pages returned": before.pages - after.pages,
    }
    for name, count in done.items():
        if count < _LEAST:
            raise BenchError(f"{name}: only {count} in the window, so nothing was measured")
    return ", ".join(f"{count:,} {name}" for name, count in done.items())
