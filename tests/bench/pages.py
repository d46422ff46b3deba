"""How long pages of sites with a year's history take while checks run 80 times a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.request import urlopen

from monitor.model import Seconds
from tests.bench.figures import BenchError, Figure, milliseconds
from tests.bench.fleet import Fleet, site_list
from tests.bench.lab import Lab
from tests.bench.year import remember_a_year
from tests.system.processes import Daemon

_RATE = 80
_GROUPS = 10
_WITH_LATENCY = 20
_PATIENCE: Seconds = 60.0
_STALE: Seconds = 6.0
"""A status page older than this is made again for the next request."""
_PAGE = """
pages:
  - {path: /status, title: Status, groups: [g3], show: [latency], public: true}
"""


def cold(lab: Lab) -> Iterator[Figure]:
    """Measure complete answers, none of which was cached."""
    count = lab.effort.sites // 2 // _GROUPS
    interval = max(1, count * _GROUPS // _RATE)
    fleets = [
        Fleet(
            count=count,
            url=lab.url,
            interval=interval,
            options=f"group: g{number}",
            prefix=f"g{number}",
        )
        for number in range(_GROUPS)
    ]
    data = lab.new_folder()
    names = fleets[3].names[:_WITH_LATENCY]
    with _daemon(lab, fleets, data) as daemon:
        lab.until_all_checked(daemon, *fleets)
        daemon.stop()  # so that what it knows is written
    remember_a_year(data, names)
    taken: dict[str, list[Seconds]] = {"/": [], "/sites/NAME": [], "/status": [], "/api": []}
    site = cycle(names)
    with _daemon(lab, fleets, data) as daemon:
        lab.until_all_checked(daemon, *fleets)
        for _ in range(lab.effort.rounds):
            time.sleep(_STALE)
            taken["/"].append(_took(f"{daemon.url}/", "downtime on"))
            taken["/sites/NAME"].append(_took(f"{daemon.url}/sites/{next(site)}", "p50 from"))
            taken["/status"].append(_took(f"{daemon.url}/status", "downtime on"))
            taken["/api"].append(_took(f"{daemon.url}/api/v1/uptime?window=365d", '"outages": 8'))
    yield milliseconds(f"/ of {count * _GROUPS:,} sites", taken["/"])
    yield milliseconds("/sites/NAME", taken["/sites/NAME"])
    yield milliseconds(f"/status of {count:,} sites", taken["/status"])
    yield milliseconds(f"uptime of {count * _GROUPS:,} sites over 365 d", taken["/api"])


@contextmanager
def _daemon(lab: Lab, fleets: list[Fleet], data: Path) -> Iterator[Daemon]:
    daemon = Daemon(lab.new_folder(), site_list(*fleets) + _PAGE, MONITOR_DATA=str(data))
    try:
        yield daemon
    finally:
        daemon.kill()


def _took(url: str, wanted: str) -> Seconds:
    """
    Return how long an answer took up to its last byte.

    Raises:
        BenchError: The page shows nothing of the past.
    """
    began = time.monotonic()
    with urlopen(url, timeout=_PATIENCE) as answer:
        body = answer.read()
    took = time.monotonic() - began
    if wanted not in body.decode():
        raise BenchError(f"{url} shows nothing of the past")
    return took
