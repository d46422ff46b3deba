"""How punctual checks are: with many sites, at the highest rate, and when most sites hang."""

import time
from collections.abc import Iterator

from monitor.model import Seconds
from tests.bench.figures import Figure
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab
from tests.bench.scrape import Scrape, lag_between

_TAIL = 0.99
_LATE: Seconds = 0.1
_TRY: Seconds = 10.0
_DONE = 0.98  # of the checks that were due: some are under way at either end


def most_checks(lab: Lab) -> Iterator[Figure]:
    """Find the highest rate by short tries, rising; then see which one lasts."""
    steps = lab.effort.steps
    said = []
    reached = 0
    for number, rate in enumerate(steps):
        why_not = _obstacle(lab, rate, min(_TRY, lab.effort.sustain))
        said.append(f"{rate}/s {why_not or 'held'}")
        if why_not:
            break
        reached = number + 1
    held = 0
    for rate in reversed(steps[:reached]):
        why_not = _obstacle(lab, rate, lab.effort.sustain)
        said.append(f"{rate}/s for {lab.effort.sustain:g} s: {why_not or 'held'}")
        if not why_not:
            held = rate
            break
    yield Figure(name="sustained", value=held, unit="/s", detail="; ".join(said[-3:]))


def _obstacle(lab: Lab, rate: int, window: Seconds) -> str:
    """Return why a daemon of its own does not keep up with a rate; empty where it does."""
    fleet = Fleet(count=rate * lab.effort.interval, url=lab.url, interval=lab.effort.interval)
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        before = Scrape(daemon)
        time.sleep(window)
        after = Scrape(daemon)
    skipped = after.total("monitor_checks_skipped_total") - before.total(
        "monitor_checks_skipped_total"
    )
    if skipped:
        return f"skipped {skipped:.0f}"
    lag = lag_between(before, after, _TAIL)
    if lag > _LATE:
        return f"lag p99 above {_LATE * 1000:.0f} ms, up to {lag * 1000:.0f}"
    done = after.total("monitor_checks_total") - before.total("monitor_checks_total")
    due = fleet.due_between(before.began, after.began)
    if done < due * _DONE:
        return f"did {done:.0f} of {due} checks"
    return ""
