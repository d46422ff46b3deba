"""A scrape of the daemon: received as fast as it comes, parsed when there is time."""

import math
import re
import socket
import time
from collections.abc import Mapping
from functools import cached_property

from monitor.model import Seconds
from tests.bench.wire import text_of

AS_PROMETHEUS = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}
_PATIENCE: Seconds = 60.0
_PIECE = 1024**2


class Scrape:
    """
    One answer of ``/metrics`` from the daemon at a URL.

    It is read from the bare socket and parsed later: on a machine of two cores, a client that
    parses keeps the daemon waiting.

    Attributes:
        began: Time by the wall clock, as is ``ended``.
        size: Bytes on the wire.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        wanted = {"Host": host, "Connection": "close", **(headers or {})}
        lines = ["GET /metrics HTTP/1.1", *(f"{name}: {value}" for name, value in wanted.items())]
        self.began = time.time()
        with socket.create_connection((host, int(port)), timeout=_PATIENCE) as client:
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            self._pieces = list(iter(lambda: client.recv(_PIECE), b""))
        self.ended = time.time()
        self.size = sum(map(len, self._pieces))

    @property
    def took(self) -> Seconds:
        return self.ended - self.began

    def count(self, series: str) -> int:
        """Return how many samples a series has."""
        return self.text.count(f"\n{series}{{")

    @cached_property
    def text(self) -> str:
        """
        The text of the answer.

        Raises:
            BenchError: The answer is cut short or is not a success.
        """
        return text_of(b"".join(self._pieces))

    def by_site(self, series: str, label: str = "") -> dict[str, float]:
        """Return the values of a series that each site has only once, or once per label."""
        pattern = rf'^{series}{{site="([^"]*)".*{re.escape(label)}.*}} (\S+)$'
        return {name: float(value) for name, value in re.findall(pattern, self.text, re.MULTILINE)}

    def total(self, series: str) -> float:
        """Return the sum of a series over all its labels; 0 if it does not exist."""
        pattern = rf"^{series}(?:{{.*}})? (\S+)$"
        return math.fsum(map(float, re.findall(pattern, self.text, re.MULTILINE)))

    def by_label(self, series: str) -> dict[str, float]:
        """Return the values of one of the daemon's own series, by its only label."""
        pattern = rf'^{series}{{\w+="([^"]*)"}} (\S+)$'
        return {
            label: float(value) for label, value in re.findall(pattern, self.text, re.MULTILINE)
        }

    def histogram(self, name: str) -> dict[float, float]:
        """Return the cumulative counts of one of the daemon's own histograms, by upper bound."""
        buckets = self.by_label(f"{name}_bucket")
        return {float(bound): count for bound, count in buckets.items()}


def lag_between(before: Scrape, after: Scrape, share: float) -> Seconds:
    """
    Return the lag that this share of the checks in between did not exceed.

    It is the upper edge of a bucket of the histogram, which tells no more within the bucket.
    """
    first = before.histogram("monitor_schedule_lag_seconds")
    last = after.histogram("monitor_schedule_lag_seconds")
    counts = {bound: count - first[bound] for bound, count in last.items()}
    wanted = counts[math.inf] * share
    return next(bound for bound, count in sorted(counts.items()) if count >= wanted)
