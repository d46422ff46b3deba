"""
The past for pages and badges, queried in threads beside the event loop: the store may be far away.

Without a history, or while it fails, pages show no past, and never 100 % instead.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from monitor.logs import fields
from monitor.model import Seconds, Timestamp
from monitor.past import Day, History, LatencyPoint, Span, Uptime

log = logging.getLogger(__name__)

DAY: Seconds = 86400.0
DAYS = 90
"""How far back bars, outages and incidents go."""

_MOST_KEPT = 2000
_SAID_FOR: Seconds = 300.0
"""How long the same failure is not logged again; one page asks for the past many times."""
_GOOD_FOR: Seconds = 600.0
"""How long days before today are kept; late results from other places may correct them."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Past:
    """The days before the current one."""

    asked: Timestamp
    days: Sequence[Day]

    def holds(self, now: Timestamp) -> bool:
        return now // DAY == self.asked // DAY and 0 <= now - self.asked < _GOOD_FOR


class Recall:
    """
    Queries the history, and returns nothing if the history does not answer.

    The mutable state is the earlier days of the sites that were requested last, which rarely
    change, and the failure that was logged last. Two threads that fetch the same days do no harm.
    """

    def __init__(self, history: History | None) -> None:
        self._history = history
        self._past: dict[str, _Past] = {}
        self._said: dict[str, Seconds] = {}

    def days(self, sites: Sequence[str], now: Timestamp) -> Mapping[str, Sequence[Day]]:
        """Return the last 90 UTC days of each site, today the last; sites may be missing."""
        known = {site: past for site in sites if (past := self._past.get(site)) and past.holds(now)}
        others = [site for site in sites if site not in known]
        found: dict[str, Sequence[Day]] = {}
        if others:
            found.update(self._days(others, DAYS, now))
            for site, days in found.items():
                self._past.pop(site, None)
                self._past[site] = _Past(now, days[:-1])
            for site in list(self._past)[:-_MOST_KEPT]:
                self._past.pop(site, None)
        if known:
            today = self._days(list(known), 1, now)
            found.update((site, [*known[site].days, *days]) for site, days in today.items())
        return found

    def _days(self, sites: Sequence[str], days: int, now: Timestamp) -> Mapping[str, list[Day]]:
        nothing: Mapping[str, list[Day]] = {}
        return self._ask(lambda history: history.days(sites, days=days, now=now), nothing)

    def uptime(
        self, sites: Sequence[str], begin: Timestamp, end: Timestamp
    ) -> Mapping[str, Uptime]:
        return self._ask(lambda history: history.uptime(sites, begin, end), {})

    def outages(self, sites: Sequence[str], begin: Timestamp, end: Timestamp) -> Sequence[Span]:
        return self._ask(lambda history: history.outages(sites, begin, end), ())

    def latency(
        self, site: str, begin: Timestamp, end: Timestamp, step: Seconds
    ) -> Sequence[LatencyPoint]:
        return self._ask(lambda history: history.latency(site, begin, end, step), ())

    def _ask(self, question: Callable[[History], _Answer], nothing: _Answer) -> _Answer:
        if self._history is None:
            return nothing
        try:
            return question(self._history)
        except Exception as error:
            # Pages still show the present when the store fails
            self._say(f"{type(error).__name__}: {error}")
            return nothing

    def _say(self, detail: str) -> None:
        now = time.monotonic()
        said = self._said.get(detail)
        if said is None or now - said >= _SAID_FOR:
            # Other details are forgotten, so that details that always differ do not fill the memory
            self._said = {detail: now}
            log.warning("history_not_read", extra=fields(detail=detail))
