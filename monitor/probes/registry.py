"""The one table of probes: a URL's scheme, the probe behind it, and the keys that configure it."""

from collections.abc import Mapping

from monitor.model import ProbeKind
from monitor.probes import http
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.options import NetworkOptions, TlsOptions

_HTTP = ProbeKind(
    protocol="http",
    build=HttpProbe,
    sections={"http": HttpOptions, "tls": TlsOptions, "network": NetworkOptions},
    check_url=http.check_url,
)

PROBES: Mapping[str, ProbeKind] = {
    "http": _HTTP,
    "https": _HTTP,
}
