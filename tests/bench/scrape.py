"""A scrape of the daemon: taken as fast as it comes, read when there is time."""

import gzip
import math
import re
import time
from collections.abc import Mapping
from functools import cached_property
from http.client import HTTPConnection

from monitor.model import Seconds
from tests.system.processes import Daemon

AS_PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}
_PATIENCE: Seconds = 60.0


class Scrape:
    """
    One answer of ``/metrics``.

    Attributes:
        began: By the wall clock; so is ended.
    """

    def __init__(self, daemon: Daemon, headers: Mapping[str, str] | None = None) -> None:
        place = daemon.url.removeprefix("http://")
        connection = HTTPConnection(place, timeout=_PATIENCE)
        try:
            self.began = time.time()
            connection.request("GET", "/metrics", headers=dict(headers or {}))
            answer = connection.getresponse()
            self._content = answer.read()
            self.ended = time.time()
            self._packed = answer.headers["Content-Encoding"] == "gzip"
        finally:
            connection.close()

    @property
    def took(self) -> Seconds:
        return self.ended - self.began

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(self._content)

    def count(self, series: str) -> int:
        """Return how many samples a series has, without reading them."""
        return self._plain.count(f"\n{series}{{".encode())

    @property
    def _plain(self) -> bytes:
        return gzip.decompress(self._content) if self._packed else self._content

    @cached_property
    def text(self) -> str:
        return self._plain.decode()

    def by_site(self, series: str) -> dict[str, float]:
        """Return the values of a series that each site has once."""
        pattern = rf'^{series}{{site="([^"]*)".*}} (\S+)$'
        return {name: float(value) for name, value in re.findall(pattern, self.text, re.MULTILINE)}

    def total(self, series: str) -> float:
        """Return the sum of a series over all its labels; 0 where it is not there."""
        pattern = rf"^{series}(?:{{.*}})? (\S+)$"
        return math.fsum(map(float, re.findall(pattern, self.text, re.MULTILINE)))

    def value(self, series: str) -> float:
        """Return the value of one series, its labels as they are written."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.text, re.MULTILINE)
        assert found, f"/metrics has no {series}"
        return float(found[1])

    def histogram(self, name: str) -> dict[float, float]:
        """Return the cumulative counts of a histogram of the daemon's own, by upper bound."""
        pattern = rf'^{name}_bucket{{le="(\S+)"}} (\S+)$'
        found = re.findall(pattern, self.text, re.MULTILINE)
        return {float(bound): float(count) for bound, count in found}


def lag_between(before: Scrape, after: Scrape, share: float) -> Seconds:
    """
    Return a bound that so large a share of the checks in between did not start later than.

    It is the upper edge of one of the histogram's buckets: what lies within is not known.
    """
    first = before.histogram("monitor_schedule_lag_seconds")
    last = after.histogram("monitor_schedule_lag_seconds")
    counts = {bound: count - first[bound] for bound, count in last.items()}
    wanted = counts[math.inf] * share
    return next(bound for bound, count in sorted(counts.items()) if count >= wanted)
