"""
The metrics of a hub about the places that report to it; on the daemon's own registry.

The hub's main thread calls these, the web thread collects.
"""

from functools import partial

from prometheus_client import Counter, Gauge, Histogram

from monitor.metrics.internal import Internal
from monitor.places import Standing
from monitor.units import Seconds

_REPORT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 60.0)


class PlaceMeters:
    """
    Most families have a series for each location that has ever reported.

    Args:
        internal: The daemon's own metrics, which these join.
    """

    def __init__(self, internal: Internal) -> None:
        registry = internal.registry
        self.sites = internal.sites
        self.engine_restarted = internal.engine_restarted

        gauge = partial(Gauge, labelnames=("location",), registry=registry)
        counter = partial(Counter, labelnames=("location",), registry=registry)

        self._up = gauge("monitor_location_up", "Whether every daemon of a location is heard")
        self._last_seen = gauge(
            "monitor_location_last_seen_timestamp_seconds",
            "When the last sign of life of a location came, in unixtime",
        )
        self._skew = gauge(
            "monitor_location_clock_skew_seconds",
            "How far the clock of a location is ahead of the hub's",
        )
        self._list_differs = gauge(
            "monitor_location_list_differs",
            "Whether a location checks another site list than the hub has",
        )
        self._waiting = gauge(
            "monitor_location_reports_waiting", "Reports that a location could not deliver yet"
        )
        self._dropped = gauge(
            "monitor_location_reports_dropped",
            "Reports that a location lost since its start because too many waited",
        )
        self._reports = counter(
            "monitor_hub_reports_total", "Reports that were applied, by location"
        )
        self._late = counter(
            "monitor_hub_reports_late_total",
            "Reports that came too late to have a vote; they are in the history",
        )
        self._unlisted = counter(
            "monitor_hub_reports_unlisted_total", "Reports of sites that are not in the hub's list"
        )
        self._not_understood = Counter(
            "monitor_hub_messages_not_understood_total",
            "Messages of places that were left because they are not understood",
            registry=registry,
        )
        self._delay = Histogram(
            "monitor_hub_report_seconds",
            "How long reports took from the server to the verdict",
            buckets=_REPORT_BUCKETS,
            registry=registry,
        )

    def reports(self, location: str, count: int, delay: Seconds) -> None:
        """Count a message with *count* reports, applied *delay* after the server received it."""
        self._reports.labels(location).inc(count)
        self._delay.observe(delay)

    def late(self, location: str) -> None:
        """Count a report that came too late to have a vote."""
        self._late.labels(location).inc()

    def unlisted(self, location: str) -> None:
        """Count a report about a site that is not listed."""
        self._unlisted.labels(location).inc()

    def not_understood(self) -> None:
        """Count a message that could not be read and was skipped."""
        self._not_understood.inc()

    def location(self, standing: Standing) -> None:
        """Set the state of a location."""
        name = standing.location
        self._up.labels(name).set(standing.up)
        self._last_seen.labels(name).set(standing.last_seen)
        self._skew.labels(name).set(standing.skew)
        self._list_differs.labels(name).set(standing.list_differs)
        self._waiting.labels(name).set(standing.waiting)
        self._dropped.labels(name).set(standing.dropped)
