"""Histories for page tests: one that a test fills by hand, and one invented but consistent."""

from collections.abc import Mapping
from typing import Any

from monitor.model import Past
from monitor.past import Condition, Day, Span, Uptime

DAY = 86400.0


class FakeHistory:
    """
    Answers from spans that a test wrote down; what no span covers was not observed.

    Attributes:
        asked: The names of the questions, in the order they came.
    """

    def __init__(self, *spans: Span, latency: Mapping[str, Any] | None = None):
        self.spans = list(spans)
        self.points = latency or {}
        self.past: dict[str, list[Past]] = {}
        self.asked: list[str] = []

    def uptime(self, sites, begin, end):
        self.asked.append("uptime")
        return {site: self._uptime(site, begin, end) for site in sites if self._knows(site)}

    def days(self, sites, *, days, now):
        self.asked.append("days")
        today = now // DAY * DAY
        begins = [today - DAY * ago for ago in reversed(range(days))]
        return {
            site: [
                Day(
                    begin=begin,
                    uptime=self._uptime(site, begin, min(begin + DAY, now)),
                    maintenance=self._seconds(site, Condition.MAINTENANCE, begin, begin + DAY),
                )
                for begin in begins
            ]
            for site in sites
            if self._knows(site)
        }

    def outages(self, sites, begin, end):
        self.asked.append("outages")
        found = [
            one
            for one in self.spans
            if one.condition is Condition.DOWN
            and one.site in sites
            and one.begin < end
            and (one.end is None or one.end > begin)
        ]
        return sorted(found, key=lambda one: one.begin, reverse=True)

    def latency(self, site, begin, end, step):  # noqa: ARG002  the points are given as they are
        self.asked.append("latency")
        return [one for one in self.points.get(site, ()) if begin <= one.begin < end]

    def results(self, site, begin, end, limit=None):
        self.asked.append("results")
        found = [one for one in self.past.get(site, ()) if begin <= one.time < end]
        return sorted(found, key=lambda one: one.time, reverse=True)[:limit]

    def _knows(self, site):
        return any(one.site == site for one in self.spans)

    def _uptime(self, site, begin, end):
        return Uptime(
            window=end - begin,
            up=self._seconds(site, Condition.UP, begin, end),
            down=self._seconds(site, Condition.DOWN, begin, end),
            outages=len(self.outages([site], begin, end)),
        )

    def _seconds(self, site, condition, begin, end):
        return sum(
            max(0.0, min(end if one.end is None else one.end, end) - max(one.begin, begin))
            for one in self.spans
            if one.site == site and one.condition is condition
        )


def span(site, begin, end, condition=Condition.UP, reason=None, message=""):
    return Span(
        site=site, condition=condition, begin=begin, end=end, reason=reason, message=message
    )


def down(site, begin, end, reason="status", message="status 503 is not in 2xx"):
    return span(site, begin, end, Condition.DOWN, reason, message)
