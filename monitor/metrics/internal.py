"""
The daemon's metrics about itself, made with prometheus_client on a separate registry.

The engine (main thread) calls the small methods, each of which costs about a microsecond; the web
thread collects.
"""

import platform
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from monitor.model import Bytes, Load, Seconds, Timestamp
from monitor.notify import ChannelState

_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
_ANALYSIS_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
_HISTORY_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
_SCRAPE_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


_OUTCOMES = ("delivered", "retried", "refused", "expired", "dropped")


class _OldestNotifications(Collector):
    """Reports at each collection how long messages have waited."""

    def __init__(self) -> None:
        self.channels: Callable[[], Sequence[ChannelState]] = tuple

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "monitor_notifications_oldest_seconds",
            "How long the oldest message that waits for a receiver has; 0 while none does",
            labels=("receiver",),
        )
        now = time.time()
        for one in self.channels():
            age = max(0.0, now - one.oldest) if one.oldest is not None else 0.0
            family.add_metric([one.channel], age)
        yield family


class _Lags(Collector):
    """
    The histogram of lags, to which every check adds one observation.

    prometheus_client's own histogram takes ten times as long, because it allows several threads.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_LAG_BUCKETS) + 1)
        self._sum = 0.0

    def add(self, lag: Seconds) -> None:
        self._counts[bisect_left(_LAG_BUCKETS, lag)] += 1
        self._sum += lag

    def collect(self) -> Iterable[Metric]:
        bounds = (*map(str, _LAG_BUCKETS), "+Inf")
        yield HistogramMetricFamily(
            "monitor_schedule_lag_seconds",
            "How late checks started after their slot in the schedule",
            buckets=list(zip(bounds, accumulate(self._counts), strict=True)),
            sum_value=self._sum,
        )


class Internal:
    """
    The daemon's own metrics.

    Args:
        version: The version of this program.
        libcurl: The version of libcurl; a parameter, because only probes know it.
        shard: The number of this daemon's shard, and the number of shards; 1 and 1 if the sites
            are not divided.
        registry: The registry of these metrics; by default a new one, never the library's.

    Attributes:
        registry: Where other modules register metrics of the daemon.
    """

    def __init__(
        self,
        *,
        version: str,
        libcurl: str,
        shard: tuple[int, int] = (1, 1),
        registry: CollectorRegistry | None = None,
    ) -> None:
        # They add a gauge for each counter and histogram, which none of our queries needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        registry = registry or CollectorRegistry()
        self.registry = registry
        Info("monitor_build", "Versions that this daemon is made of", registry=registry).info(
            {"version": version, "python": platform.python_version(), "libcurl": libcurl}
        )
        Info("monitor_shard", "Which part of the sites is checked here", registry=registry).info(
            {"shard": str(shard[0]), "shards": str(shard[1])}
        )
        Gauge("monitor_shards", "Into how many parts the sites are divided", registry=registry).set(
            shard[1]
        )
        self._reload_successful = Gauge(
            "monitor_config_last_reload_successful",
            "Whether the last attempt to read the configuration succeeded",
            registry=registry,
        )
        self._reload_time = Gauge(
            "monitor_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read successfully, in unixtime",
            registry=registry,
        )
        self._sites = Gauge("monitor_sites", "Sites in the list", registry=registry)
        self._connectivity = Gauge(
            "monitor_connectivity_up",
            "Whether any connectivity target answers; absent without targets and until it is known",
            registry=None,
        )
        self._shows_connectivity = False
        self._lags = _Lags()
        registry.register(self._lags)
        threads = Gauge(
            "monitor_probe_threads",
            "Threads that carry out checks, by what they do",
            ("state",),
            registry=registry,
        )
        self._load: Callable[[], Load] = Load
        threads.labels("busy").set_function(lambda: self._load().well)
        threads.labels("slow").set_function(lambda: self._load().slow)
        threads.labels("idle").set_function(lambda: self._load().idle)
        waiting = Gauge(
            "monitor_checks_waiting",
            "Checks that are due and wait for a thread, by queue",
            ("line",),
            registry=registry,
        )
        waiting.labels("healthy").set_function(lambda: self._load().waiting)
        waiting.labels("slow").set_function(lambda: self._load().waiting_slow)
        self._analysis = Histogram(
            "monitor_analysis_seconds",
            "How long a batch of answers took from its submission to its verdicts",
            buckets=_ANALYSIS_BUCKETS,
            registry=registry,
        )
        self._analysed = Counter(
            "monitor_analysis_answers_total", "Answers that were judged", registry=registry
        )
        Gauge(
            "monitor_analysis_queued_batches",
            "Batches of answers that wait for a worker process",
            registry=registry,
        ).set_function(lambda: self._load().batches)
        self._analysis_restarts = Counter(
            "monitor_analysis_restarts_total",
            "Worker processes of the analysis that had to be replaced",
            registry=registry,
        )
        self._engine_restarts = Counter(
            "monitor_engine_restarts_total",
            "Steps of the engine that a bug cut short; the engine continued",
            registry=registry,
        )
        self._scrape = Histogram(
            "monitor_scrape_duration_seconds",
            "How long complete scrapes of all sites took",
            buckets=_SCRAPE_BUCKETS,
            registry=registry,
        )
        self._scrapes_refused = Counter(
            "monitor_scrapes_refused_total",
            "Scrapes refused because too many were in progress",
            registry=registry,
        )
        self._log_lines_dropped = Counter(
            "monitor_log_lines_dropped_total",
            "Lines of the log that were lost because nobody read it fast enough",
            registry=registry,
        )
        self._history_persistent = Gauge(
            "monitor_history_persistent",
            "Whether what is remembered is written to the store; 0 while it is kept in memory only",
            registry=registry,
        )
        self._history_rows = Counter(
            "monitor_history_rows_written_total",
            "Results, spans, states and rollups that were written to the store",
            registry=registry,
        )
        self._history_seconds = Histogram(
            "monitor_history_seconds",
            "How long a transaction of the history took",
            buckets=_HISTORY_BUCKETS,
            registry=registry,
        )
        self._history_errors = Counter(
            "monitor_history_write_errors_total",
            "Transactions of the history that failed; what they were to write waits",
            registry=registry,
        )
        self._history_dropped = Counter(
            "monitor_history_results_dropped_total",
            "Results that were not written because the store was away for too long",
            registry=registry,
        )
        self._history_size = Gauge(
            "monitor_history_size_bytes", "Size of the store", registry=registry
        )
        self._discovery_errors = Counter(
            "monitor_discovery_errors_total",
            "Looks at a source of sites that failed, and entries that became no site",
            ("source",),
            registry=registry,
        )
        self._discovery_entries = Gauge(
            "monitor_discovery_entries",
            "Sites that a source listed when all of it was last read",
            ("source",),
            registry=registry,
        )
        self._discovery_time = Gauge(
            "monitor_discovery_last_success_timestamp_seconds",
            "When all of a source was last read, in unixtime",
            ("source",),
            registry=registry,
        )
        self._notifications = Counter(
            "monitor_notifications_total",
            "Attempts to deliver a message, by receiver and by outcome; and messages that"
            " were dropped with their receiver",
            ("receiver", "outcome"),
            registry=registry,
        )
        self._oldest_notifications = _OldestNotifications()
        registry.register(self._oldest_notifications)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def started(self, lag: Seconds) -> None:
        """Count a check that started this long after its slot."""
        self._lags.add(lag)

    def load_from(self, load: Callable[[], Load]) -> None:
        """Use this function to read the current load at each collection, in the web thread."""
        self._load = load

    def analysed(self, seconds: Seconds, jobs: int) -> None:
        """Count a batch of this many answers that was judged."""
        self._analysis.observe(seconds)
        self._analysed.inc(jobs)

    def judged_at_once(self) -> None:
        """Count an answer that needed no worker."""
        self._analysed.inc()

    def analysis_restarted(self) -> None:
        """Count a worker process that was replaced."""
        self._analysis_restarts.inc()

    def engine_restarted(self) -> None:
        """Count a fault of the daemon that the engine survived."""
        self._engine_restarts.inc()

    def sites(self, count: int) -> None:
        """Set the number of sites."""
        self._sites.set(count)

    def connectivity(self, up: bool | None) -> None:
        """Set whether the monitor's own connection works; None if that is not known."""
        known = self._shows_connectivity
        if up is not None:
            self._connectivity.set(up)
        if up is not None and not known:
            self.registry.register(self._connectivity)
        elif up is None and known:
            self.registry.unregister(self._connectivity)
        self._shows_connectivity = up is not None

    def reloaded(self, ok: bool, time: Timestamp) -> None:
        """Record an attempt to read the configuration, the first one included."""
        self._reload_successful.set(ok)
        if ok:
            self._reload_time.set(time)

    def scraped(self, seconds: Seconds) -> None:
        """Count a scrape of all sites."""
        self._scrape.observe(seconds)

    def scrape_refused(self) -> None:
        """Count a scrape that was refused because too many ran."""
        self._scrapes_refused.inc()

    def log_line_dropped(self) -> None:
        """Count a line of the log that was lost."""
        self._log_lines_dropped.inc()

    def history_written(self, rows: int, seconds: Seconds) -> None:
        """Count a transaction of the history, and the rows that it wrote."""
        self._history_rows.inc(rows)
        self._history_seconds.observe(seconds)

    def history_failed(self) -> None:
        """Count a transaction of the history that failed."""
        self._history_errors.inc()

    def history_dropped(self, results: int) -> None:
        """Count results that the history lost."""
        self._history_dropped.inc(results)

    def history_persistent(self, persistent: bool) -> None:
        """Set whether the store can be used."""
        self._history_persistent.set(persistent)

    def history_size(self, size: Bytes) -> None:
        """Set the size of the store."""
        self._history_size.set(size)

    def discovery_failed(self, source: str, count: int = 1) -> None:
        """Count failed reads of a source, or entries that could not become sites."""
        self._discovery_errors.labels(source).inc(count)

    def discovery_read(self, source: str, entries: int, time: Timestamp) -> None:
        """Set how many entries a source lists, after it has been read."""
        self._discovery_errors.labels(source)
        self._discovery_entries.labels(source).set(entries)
        self._discovery_time.labels(source).set(time)

    def discovery_forgot(self, source: str) -> None:
        """Take back all series of a source that is no longer declared."""
        for family in (self._discovery_errors, self._discovery_entries, self._discovery_time):
            with suppress(KeyError):
                family.remove(source)

    def notifications_from(self, channels: Callable[[], Sequence[ChannelState]]) -> None:
        """Use this function to read the waiting messages at each collection, in the web thread."""
        self._oldest_notifications.channels = channels

    def channels(self, names: Iterable[str]) -> None:
        """Create the series of every outcome for each channel, before the first outcome."""
        for name in names:
            for outcome in _OUTCOMES:
                self._notifications.labels(name, outcome)

    def notified(self, receiver: str, outcome: str) -> None:
        """Count an attempt to deliver a message."""
        self._notifications.labels(receiver, outcome).inc()

    def exposition(self, *, openmetrics: bool) -> bytes:
        """Return these metrics as text; OpenMetrics includes the end of the exposition."""
        encode, _ = choose_encoder(CONTENT_TYPE_LATEST if openmetrics else "")
        return encode(self.registry)
