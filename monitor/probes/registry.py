"""The one table of probes: a URL's scheme, the probe behind it, and the keys that configure it."""

from collections.abc import Mapping
from functools import partial

from monitor.model import ProbeKind
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes import dns, grpc, http, icmp, push, tcp, ws
from monitor.probes.dns import DnsOptions, DnsProbe
from monitor.probes.family import check_addresses
from monitor.probes.grpc import GrpcNetworkOptions, GrpcOptions, GrpcProbe, GrpcTlsOptions
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.icmp import IcmpOptions, IcmpProbe
from monitor.probes.push import PushOptions, PushProbe
from monitor.probes.tcp import TcpOptions, TcpProbe
from monitor.probes.tls import TlsDialogueOptions, TlsProbe, TlsProbeOptions
from monitor.probes.ws import WsOptions, WsProbe
from monitor.protocols.table import PROTOCOLS

_KINDS = (
    ProbeKind(
        protocol="http",
        build=HttpProbe,
        sections={"http": HttpOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=http.check_url,
        check_site=http.check_site,
    ),
    ProbeKind(
        protocol="icmp",
        build=IcmpProbe,
        sections={"icmp": IcmpOptions, "network": NetworkOptions},
        check_url=icmp.check_url,
        check_site=check_addresses,
        obstacle=icmp.forbidden,
    ),
    ProbeKind(
        protocol="dns",
        build=DnsProbe,
        sections={"dns": DnsOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=dns.check_url,
        check_site=partial(check_addresses, proxied="dns"),
    ),
    ProbeKind(
        protocol="grpc",
        build=GrpcProbe,
        sections={"grpc": GrpcOptions, "tls": GrpcTlsOptions, "network": GrpcNetworkOptions},
        check_url=grpc.check_url,
        check_site=check_addresses,
    ),
    ProbeKind(
        protocol="tcp",
        build=TcpProbe,
        sections={"tcp": TcpOptions, "tls": TlsOptions, "network": NetworkOptions},
        check_url=tcp.check_url,
        check_site=check_addresses,
    ),
    ProbeKind(
        protocol="tls",
        build=TlsProbe,
        sections={"tcp": TlsDialogueOptions, "tls": TlsProbeOptions, "network": NetworkOptions},
        check_url=tcp.check_url,
        check_site=check_addresses,
    ),
    ProbeKind(
        protocol="ws",
        build=WsProbe,
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
