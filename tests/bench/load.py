"""How punctual checks are: with many sites, and at the highest rate."""

import statistics
import time
from collections.abc import Iterator

from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError, Figure, milliseconds, percentile
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab
from tests.bench.scrape import Scrape, lag_between

_TAIL = 0.99
_LATE: Seconds = 0.1
_DONE = 0.98  # of the checks that were due: some are under way at either end


def punctuality(lab: Lab) -> Iterator[Figure]:
    """Measure how late checks of many sites start."""
    fleet = Fleet(count=lab.effort.sites, url=lab.url, interval=lab.effort.many_interval)
    bounds: list[Seconds] = []
    seen: list[Seconds] = []
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        before = Scrape(daemon.url)
        for _ in range(lab.effort.rounds):
            time.sleep(lab.effort.sustain)
            after = Scrape(daemon.url)
            bounds.append(lag_between(before, after, _TAIL))
            seen.append(percentile(last_lags(fleet, after, before.ended, after.began), _TAIL))
            before = after
    exact = statistics.median(seen) * 1000
    yield milliseconds(
        "p99", bounds, f"a bucket's upper edge; from slot to start, check by check: {exact:.2f} ms"
    )


def last_lags(fleet: Fleet, scrape: Scrape, begin: Timestamp, end: Timestamp) -> list[Seconds]:
    """Return how late the checks started that were due then and are the last of their sites."""
    started = scrape.by_site("monitor_last_check_timestamp_seconds")
    lags = [(moment, fleet.lag(name, moment)) for name, moment in started.items()]
    found = [lag for moment, lag in lags if begin <= moment - lag < end]
    if not found:
        raise BenchError("no check was due in the time that was looked at")
    return found


def most_checks(lab: Lab) -> Iterator[Figure]:
    """Find the highest rate that lasts, step by step, with a new daemon for each step."""
    lasting = 0
    why_not = ""
    for rate in lab.effort.steps:
        why_not = _obstacle(lab, rate)
        if why_not:
            why_not = f"{rate:,}/s {why_not}"
            break
        lasting = rate
    yield Figure(name="sustained", value=lasting, unit="/s", detail=why_not)


def _obstacle(lab: Lab, rate: int) -> str:
    """Return why a new daemon does not keep up with a rate, or an empty text if it does."""
    fleet = Fleet(count=rate * lab.effort.interval, url=lab.url, interval=lab.effort.interval)
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        before = Scrape(daemon.url)
        time.sleep(lab.effort.sustain)
        after = Scrape(daemon.url)
    skipped, done = (
        after.total(series) - before.total(series)
        for series in ("monitor_checks_skipped_total", "monitor_checks_total")
    )
    if skipped:
        return f"skipped {skipped:.0f}"
    lag = lag_between(before, after, _TAIL)
    if lag > _LATE:
        return f"lag p99 above {_LATE * 1000:.0f} ms, up to {lag * 1000:.0f}"
    due = fleet.due_between(before.began, after.began)
    if done < due * _DONE:
        return f"did {done:.0f} of {due} checks"
    return ""
