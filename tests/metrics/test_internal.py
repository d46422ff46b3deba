"""The daemon's own metrics, on a registry of the test's own."""

import platform

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from monitor.metrics.internal import Internal
from monitor.model import Load


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture(autouse=True)
def internal(registry):
    return Internal(version="1.2.3", libcurl="8.23.0", registry=registry)


def test_versions(registry):
    """Labels show the build."""
    labels = {"version": "1.2.3", "python": platform.python_version(), "libcurl": "8.23.0"}
    assert registry.get_sample_value("monitor_build_info", labels) == 1


@pytest.mark.parametrize("shard", [(1, 1), (2, 5)])
def test_which_part_of_the_sites(shard):
    """Labels show the shard, even if there is only one."""
    registry = CollectorRegistry()
    Internal(version="1", libcurl="8", shard=shard, registry=registry)
    labels = {"shard": str(shard[0]), "shards": str(shard[1])}
    assert registry.get_sample_value("monitor_shard_info", labels) == 1
    assert registry.get_sample_value("monitor_shards") == shard[1]


@pytest.mark.parametrize(
    ("call", "samples"),
    [
        (lambda meters: meters.started(0.02), {"monitor_schedule_lag_seconds_sum": 0.02}),
        (lambda meters: meters.started(0.02), {"monitor_schedule_lag_seconds_count": 1}),
        (lambda meters: meters.analysed(0.5, 3), {"monitor_analysis_seconds_sum": 0.5}),
        (lambda meters: meters.analysed(0.5, 3), {"monitor_analysis_answers_total": 3}),
        (lambda meters: meters.judged_at_once(), {"monitor_analysis_answers_total": 1}),
        (lambda meters: meters.analysis_restarted(), {"monitor_analysis_restarts_total": 1}),
        (
            lambda meters: meters.load_from(lambda: Load(batches=7)),
            {"monitor_analysis_queued_batches": 7},
        ),
        (lambda meters: meters.engine_restarted(), {"monitor_engine_restarts_total": 1}),
        (lambda meters: meters.sites(42), {"monitor_sites": 42}),
        (lambda meters: meters.scraped(0.25), {"monitor_scrape_duration_seconds_sum": 0.25}),
        (lambda meters: meters.scrape_refused(), {"monitor_scrapes_refused_total": 1}),
        (lambda meters: meters.log_line_dropped(), {"monitor_log_lines_dropped_total": 1}),
    ],
    ids=lambda value: "" if callable(value) else next(iter(value)),
)
def test_what_the_daemon_tells(internal, registry, call, samples):
    """Each call appears in its series."""
    call(internal)
    for name, value in samples.items():
        assert registry.get_sample_value(name) == value


def test_threads_by_what_they_do(internal, registry):
    """Each thread is in one state, so the states add up to all threads."""
    internal.load_from(lambda: Load(threads=10, busy=5, slow=3))
    threads = {
        state: registry.get_sample_value("monitor_probe_threads", {"state": state})
        for state in ("busy", "slow", "idle")
    }
    assert threads == {"busy": 2, "slow": 3, "idle": 5}


def test_checks_that_wait_for_a_thread(internal, registry):
    """Each queue has its own series."""
    internal.load_from(lambda: Load(waiting=4, waiting_slow=90))
    lines = {
        line: registry.get_sample_value("monitor_checks_waiting", {"line": line})
        for line in ("healthy", "slow")
    }
    assert lines == {"healthy": 4, "slow": 90}


def test_a_failed_reload_keeps_the_time_of_the_last_good_one(internal, registry):
    """One gauge shows that something is wrong, the other since when."""
    internal.reloaded(ok=True, time=1000.0)
    internal.reloaded(ok=False, time=2000.0)
    name = "monitor_config_last_reload_success"
    assert registry.get_sample_value(f"{name}ful") == 0
    assert registry.get_sample_value(f"{name}_timestamp_seconds") == 1000


@pytest.mark.parametrize(
    "name",
    [
        "monitor_build_info",
        "monitor_config_last_reload_successful",
        "monitor_config_last_reload_success_timestamp_seconds",
        "monitor_sites",
        "monitor_schedule_lag_seconds_bucket",
        "monitor_probe_threads",
        "monitor_checks_waiting",
        "monitor_analysis_seconds_bucket",
        "monitor_analysis_restarts_total",
        "monitor_engine_restarts_total",
        "monitor_scrape_duration_seconds_bucket",
        "monitor_scrapes_refused_total",
        "monitor_log_lines_dropped_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "python_info",
        "python_gc_collections_total",
    ],
)
def test_what_is_promised_is_there_from_the_start(internal, name):
    """A series that appears with the first event hides that event from rate()."""
    families = parse_text(internal.exposition(openmetrics=False).decode())
    assert name in {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_no_created_series(internal, openmetrics):
    """Counters have no second series with the time at which they were created."""
    internal.started(0.1)
    assert "_created" not in internal.exposition(openmetrics=openmetrics).decode()


def test_openmetrics_ends(internal):
    """Its text is the end of the whole exposition."""
    shown = internal.exposition(openmetrics=True).decode()
    assert shown.endswith("# EOF\n")
    assert {family.name for family in parse_openmetrics(shown)} >= {
        "monitor_build",
        "process_max_fds",
    }


def test_a_registry_of_its_own():
    """Two daemons in one process share no metrics."""
    first, second = CollectorRegistry(), CollectorRegistry()
    Internal(version="1", libcurl="8", registry=first).sites(1)
    Internal(version="1", libcurl="8", registry=second).sites(2)
    assert first.get_sample_value("monitor_sites") == 1


def test_the_connection_is_shown_while_it_is_known(internal, registry):
    """The gauge appears with the first answer and disappears once no target is asked any more."""
    assert registry.get_sample_value("monitor_connectivity_up") is None
    for up in (True, False, True):
        internal.connectivity(up)
        assert registry.get_sample_value("monitor_connectivity_up") == up
    for _ in range(2):
        internal.connectivity(None)
        assert registry.get_sample_value("monitor_connectivity_up") is None
