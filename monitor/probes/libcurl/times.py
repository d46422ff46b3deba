"""When the steps of a transfer happened, by libcurl's own timers, and how long its phases took."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import pycurl

from monitor.model import Phase, Seconds
from monitor.probes.libcurl.route import Route

MICROSECONDS = 1_000_000


class Asked(Protocol):
    """A handle whose transfer is over: pycurl's or a silent one."""

    def getinfo(self, info: int, /) -> Any: ...


Times: TypeAlias = tuple[int, int, int, int, int]
"""When name, connection, TLS, first byte and end came, in microseconds from the start; 0 for a step
that never happened."""
_TIMES: Mapping[str, tuple[int, ...]] = {
    "http": (
        pycurl.NAMELOOKUP_TIME_T,
        pycurl.CONNECT_TIME_T,
        pycurl.STARTTRANSFER_TIME_T,
        pycurl.TOTAL_TIME_T,
    ),
    "https": (
        pycurl.NAMELOOKUP_TIME_T,
        pycurl.CONNECT_TIME_T,
        pycurl.APPCONNECT_TIME_T,  # over plain HTTP this would be the proxy's
        pycurl.STARTTRANSFER_TIME_T,
        pycurl.TOTAL_TIME_T,
    ),
}
"""The getinfo() codes of the times, by the route's scheme."""
_PHASES = (Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING, Phase.TRANSFER)


def read_times(curl: Asked, route: Route, *, answered: bool = True) -> Times:
    """Return the times of a handle's last transfer; without an answer, there was no first byte."""
    resolved, connected, *handshake, first, end = map(curl.getinfo, _TIMES[route.scheme])
    return resolved, connected, handshake[0] if handshake else 0, first if answered else 0, end


def phases(times: Times, route: Route, *, failed: bool = False) -> Mapping[Phase, Seconds]:
    """Return how long each phase took that was reached; see Transfer.phases()."""
    found: dict[Phase, Seconds] = {}
    begin = 0
    for phase, mark in zip(_PHASES, times, strict=True):
        if mark:
            found[phase] = (mark - begin) / MICROSECONDS if mark > begin else 0.0
            begin = mark
        elif phase is not Phase.TLS or route.scheme == "https":
            if failed:  # otherwise only a connection was wanted
                found[phase] = max(0, times[-1] - begin) / MICROSECONDS
            break
    return found
