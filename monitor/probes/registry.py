"""The one table of probes: a URL's scheme, the probe behind it, and the keys that configure it."""

from collections.abc import Callable, Mapping
from functools import partial

from monitor.clock import Deadline
from monitor.mailbox import Mailbox
from monitor.model import Observation, Probe, ProbeKind, Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes import grpc, http, icmp, push, tcp, ws
from monitor.probes.dns_options import DnsOptions
from monitor.probes.family import check_addresses
from monitor.probes.grpc import GrpcNetworkOptions, GrpcOptions, GrpcProbe, GrpcTlsOptions
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.icmp import IcmpOptions, IcmpProbe
from monitor.probes.libcurl.handles import Handles
from monitor.probes.push import PushOptions, PushProbe
from monitor.probes.tcp import TcpOptions, TcpProbe
from monitor.probes.tls import TlsDialogueOptions, TlsProbe, TlsProbeOptions
from monitor.probes.ws import WsOptions, WsProbe
from monitor.protocols.table import PROTOCOLS


def _asking(probe: Callable[[], Probe]) -> Callable[[Mailbox], Probe]:
    """Return a function that builds a probe that contacts the site, and so needs no mailbox."""
    return lambda _: probe()


def _check_dns_url(url: str) -> None:
    from monitor.probes.dns import check_url  # noqa: PLC0415  the docstring of dns_options says why

    check_url(url)


class _DnsProbe:
    """The DNS probe, loaded at its first check; the list of a daemon that has DNS sites did it."""

    def __init__(self, handles: Handles | None = None) -> None:
        self._handles = handles
        self._probe: Probe | None = None

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        probe = self._probe
        if probe is None:
            from monitor.probes.dns import DnsProbe  # noqa: PLC0415  as above

            probe = self._probe = DnsProbe(self._handles)
        return probe(site, deadline)


_KINDS = (
    ProbeKind(
        protocol="http",
        build=_asking(HttpProbe),
        sections={"http": HttpOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=http.check_url,
        check_site=http.check_site,
    ),
    ProbeKind(
        protocol="icmp",
        build=_asking(IcmpProbe),
        sections={"icmp": IcmpOptions, "network": NetworkOptions},
        check_url=icmp.check_url,
        check_site=check_addresses,
        obstacle=icmp.ping_obstacle,
    ),
    ProbeKind(
        protocol="dns",
        build=_asking(_DnsProbe),
        sections={"dns": DnsOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=_check_dns_url,
        check_site=partial(check_addresses, proxied="dns"),
    ),
    ProbeKind(
        protocol="grpc",
        build=_asking(GrpcProbe),
        sections={"grpc": GrpcOptions, "tls": GrpcTlsOptions, "network": GrpcNetworkOptions},
        check_url=grpc.check_url,
        check_site=check_addresses,
    ),
    ProbeKind(
        protocol="tcp",
        build=_asking(TcpProbe),
        sections={"tcp": TcpOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=tcp.check_url,
        check_site=check_addresses,
    ),
    ProbeKind(
        protocol="tls",
        build=_asking(TlsProbe),
        sections={"tcp": TlsDialogueOptions, "tls": TlsProbeOptions, "network": NetworkOptions},
        check_url=tcp.check_url,
        check_site=check_addresses,
    ),
    ProbeKind(
        protocol="ws",
        build=_asking(WsProbe),
        sections={"ws": WsOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=ws.check_url,
        check_site=ws.check_site,
    ),
    ProbeKind(
        protocol="push",
        build=PushProbe,
        sections={"push": PushOptions},
        check_url=push.check_url,
        own=push.own_token,
    ),
)

PROBES: Mapping[str, ProbeKind] = {
    scheme: kind for kind in _KINDS for scheme in PROTOCOLS[kind.protocol].schemes
}
"""By the schemes of the protocol (protocols/table.py)."""


def build_probes(mailbox: Mailbox) -> dict[str, Probe]:
    """Return the probes by scheme; the schemes of a protocol share one."""
    built = {kind.protocol: kind.build(mailbox) for kind in _KINDS}
    return {scheme: built[kind.protocol] for scheme, kind in PROBES.items()}
