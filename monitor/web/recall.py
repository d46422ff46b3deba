"""
What pages and badges ask of the past; in threads beside the event loop, since it may be far away.

Without a history, or while it fails, there is nothing to show, and nothing is shown as 100 %.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from monitor.logs import fields
from monitor.model import Seconds, Timestamp
from monitor.past import Day, History, LatencyPoint, Span, Uptime

log = logging.getLogger(__name__)

DAY: Seconds = 86400.0
DAYS = 90
"""How far back bars, outages and incidents go."""

_Answer = TypeVar("_Answer")


class Recall:
    """Asks the history, and answers with nothing where it does not."""

    def __init__(self, history: History | None) -> None:
        self._history = history

    def days(self, sites: Sequence[str], now: Timestamp) -> Mapping[str, Sequence[Day]]:
        """Return the last 90 UTC days of each site, today the last; sites may be missing."""
        return self._ask(lambda history: history.days(sites, days=DAYS, now=now), {})

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
            # The present goes on being shown, whatever has become of the store
            log.warning("history_not_read", extra=fields(detail=f"{type(error).__name__}: {error}"))
            return nothing
