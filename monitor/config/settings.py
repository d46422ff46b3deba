"""
Daemon-wide settings: the top-level keys of the configuration except ``sites``.

Every daemon-wide default is here and nowhere else.
"""

import math
import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any

from monitor.config.cores import count_cores
from monitor.config.pages import AnnouncementKeys, PageKeys
from monitor.config.places import LocationsSettings
from monitor.grammar import check_authority
from monitor.notify import NotifyOptions
from monitor.options import Duration, Parsed, Secret, duration, option, period, size, whole
from monitor.units import Bytes, Seconds

_LEAST_MEMORY: Bytes = 128 * 1024**2
_LARGEST_MEMORY: Bytes = 1024**4
_SHORTEST_TIMEOUT: Seconds = 0.1
_MANY_THREADS = 32_768
"""The default limit of a Linux system."""
_MANY_WORKERS = 256
"""More would run out of descriptors, and no machine has that many cores yet."""
_MOST_WORKERS = 4
"""The default: each takes some 10 MB, and a container on a large node may have little memory and no
limit on cores. Four judge more than one engine can check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    probe_threads: Annotated[int, whole(1, _MANY_THREADS)] = option(
        2048,
        doc="How many checks may run at once; threads are started as they are needed. At most half"
        " of them serve sites that did not answer the last time.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    workers: Annotated[int, whole(1, _MANY_WORKERS)] = option(
        factory=lambda: min(count_cores(), _MOST_WORKERS),
        doc="How many processes analyse answers at most; the first starts with the daemon, each"
        " further one when answers wait; one without work for 90 s ends. By default one per core"
        " that the daemon may use, within its container's limit, and at most 4.",
    )
    timeout: Annotated[Seconds, duration(_SHORTEST_TIMEOUT)] = option(
        10.0, doc="How long one batch may take before its worker is replaced."
    )
    memory: Annotated[Bytes, size(_LEAST_MEMORY, _LARGEST_MEMORY)] = option(
        1024**3,
        doc="Memory that each process may allocate; a process that still holds three eighths of it"
        " after a batch is replaced.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    duration_buckets: tuple[float, ...] = option(
        (0.1, 0.5, 1.0, 5.0, 10.0),
        doc="Upper bounds in seconds of monitor_check_duration_seconds; the largest timeout of all "
        "sites is appended if it is above the last.",
    )

    def __post_init__(self) -> None:
        bounds = self.duration_buckets
        if not all(math.isfinite(bound) and bound > 0 for bound in bounds):
            raise ValueError("duration_buckets must be positive numbers of seconds")
        if list(bounds) != sorted(set(bounds)):
            raise ValueError("duration_buckets must rise from one to the next")


_DAY: Seconds = 86400.0
_SHORTEST_RAW: Seconds = 3600.0
_SHORTEST: Seconds = _DAY
_LEAST_SIZE: Bytes = 16 * 1024**2
_STORE = re.compile(r"postgres(?:ql)?://(?:[^/\s]*@)?([^/\s@]*)/[^/\s?]+(?:\?\S*)?")
_MOST_RESULTS = 10_000
_MOST_FAILURES = 1_000
_Fine = Annotated[Seconds, period(_SHORTEST_RAW)]
_Coarse = Annotated[Seconds, period(_SHORTEST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySettings:
    results: Annotated[int, whole(1, _MOST_RESULTS)] = option(
        20, doc="How many of a site's last results its page and the API show."
    )
    failures: Annotated[int, whole(1, _MOST_FAILURES)] = option(
        5, doc="How many of a site's last failures are kept with evidence."
    )
    store: Secret | None = option(
        None,
        doc="URL of a PostgreSQL database, postgresql://USER:PASSWORD@HOST/DATABASE, instead of the"
        " SQLite file in the data folder.",
    )
    raw: _Fine = option(7 * _DAY, doc="How long single results are kept.")
    five_minutes: _Coarse = option(
        35 * _DAY, doc="How long counts and latencies of each 5 minutes are kept."
    )
    hourly: _Coarse = option(400 * _DAY, doc="The same for each hour.")
    daily: _Coarse = option(math.inf, doc="The same for each day.")
    removed: Annotated[Seconds, period(0.0)] = option(
        30 * _DAY, doc="How long the data of a site is kept after it has left the list."
    )
    max_size: Annotated[Bytes, size(_LEAST_SIZE)] = option(
        2 * 1024**3,
        doc="The largest size of the SQLite file; the oldest and finest data is deleted first,"
        " spans never.",
    )

    def __post_init__(self) -> None:
        if self.store is None:
            return
        match = _STORE.fullmatch(self.store)
        if match is None:
            raise ValueError(
                "store must be a URL such as postgresql://HOST/DATABASE, with or without a login"
            )
        if match[1]:  # without a host it is a local socket
            try:
                check_authority(match[1])
            except ValueError as error:
                raise ValueError(f"store {error}") from None


_HOST_GLOB = re.compile(r"[A-Za-z0-9_*?.-]+")


def _allowed(value: Any) -> str:
    """
    Return a host glob, a network or an address unchanged.

    Raises:
        ValueError: It has another form.
    """
    text = value if isinstance(value, str) else ""
    try:
        ip_network(text, strict=False)
    except ValueError:
        if not _HOST_GLOB.fullmatch(text) or text.replace(".", "").isdecimal():
            raise ValueError(
                f"{value!r} is neither a host glob such as *.example.com nor a network such as "
                "10.0.0.0/8"
            ) from None
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEndpointSettings:
    enabled: bool = option(False, doc="Whether /probe checks targets that are named in its query.")
    allow: tuple[Annotated[str, Parsed(_allowed, {"type": "string", "minLength": 1})], ...] = (
        option(
            (),
            doc="Which targets: host globs, and the networks (CIDR) in which addresses must lie.",
        )
    )
    concurrent: Annotated[int, whole(1, _MANY_THREADS)] = option(
        16, doc="How many such checks may be under way at once."
    )

    def __post_init__(self) -> None:
        if self.enabled and not self.allow:
            raise ValueError(
                "allow is empty, so no target is allowed; list host globs and networks"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    engine: EngineSettings = option(EngineSettings(), doc="The threads that check sites.")
    analysis: AnalysisSettings = option(
        factory=AnalysisSettings, doc="The processes that judge answers."
    )
    metrics: MetricsSettings = option(MetricsSettings(), doc="What is exported to Prometheus.")
    history: HistorySettings = option(HistorySettings(), doc="What is kept about each site.")
    notify: NotifyOptions = option(NotifyOptions(), doc="Who gets messages about outages.")
    probe_endpoint: ProbeEndpointSettings = option(
        ProbeEndpointSettings(),
        doc="Checks of targets that are not in the list, as blackbox_exporter makes them.",
    )
    locations: LocationsSettings | None = option(
        None, doc="Several places that check the same list, and the hub that joins them."
    )
    pages: tuple[PageKeys, ...] = option((), doc="Status pages for customers.")
    announcements: tuple[AnnouncementKeys, ...] = option(
        (), doc="Texts for the readers of status pages."
    )
    shutdown_grace: Duration = option(
        10.0, doc="How long a stop waits for running checks before it cuts them off."
    )

    def bucket_bounds(self, largest_timeout: Seconds) -> tuple[float, ...]:
        """Return the histogram's bounds, the last at or above the largest timeout."""
        bounds = self.metrics.duration_buckets
        if not bounds or bounds[-1] < largest_timeout:
            return (*bounds, largest_timeout)
        return bounds
