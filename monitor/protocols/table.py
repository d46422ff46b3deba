"""The one list of protocols: their schemes, phases, and whether they can use TLS. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.model import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """
    One protocol, as expectations, series and lists name it.

    Attributes:
        schemes: The URL schemes, each with the shipped module that ``/probe`` uses for such a
            target if the request names none; empty if ``/probe`` cannot check such a target.
        phases: The phases that its checks can have, in the order of a transaction.
    """

    name: str
    schemes: Mapping[str, str]
    phases: tuple[Phase, ...]

    @property
    def can_use_tls(self) -> bool:
        return Phase.TLS in self.phases

    @property
    def reports_itself(self) -> bool:
        """Whether its sites report themselves instead of being checked."""
        return not any(self.schemes.values())


_STREAM = (Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING, Phase.TRANSFER)
_ALL = (
    Protocol(name="http", schemes={"http": "http_2xx", "https": "http_2xx"}, phases=_STREAM),
    Protocol(
        name="icmp",
        schemes={"icmp": "icmp"},
        phases=(Phase.RESOLVE, Phase.SETUP, Phase.RTT),
    ),
    Protocol(
        name="dns",
        schemes={"dns": "dns"},
        phases=(Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.REQUEST),
    ),
    Protocol(
        name="grpc",
        schemes={"grpc": "grpc_plain", "grpcs": "grpc"},
        phases=(Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.CHECK),
    ),
    Protocol(name="tcp", schemes={"tcp": "tcp_connect"}, phases=_STREAM),
    Protocol(name="tls", schemes={"tls": "tls"}, phases=_STREAM),
    Protocol(name="ws", schemes={"ws": "websocket", "wss": "websocket"}, phases=_STREAM),
    Protocol(name="push", schemes={"push": ""}, phases=()),
)

PROTOCOLS: Mapping[str, Protocol] = {one.name: one for one in _ALL}
"""By name, in the order in which lists show them."""

SCHEMES: Mapping[str, Protocol] = {scheme: one for one in _ALL for scheme in one.schemes}
"""By URL scheme."""

EVERY = frozenset(PROTOCOLS)
OVER_TLS = frozenset(one.name for one in _ALL if one.can_use_tls)
"""Those whose checks can have a certificate and a version of TLS."""


def only(*names: str) -> frozenset[str]:
    """
    Return these protocols.

    Raises:
        LookupError: There is no such protocol.
    """
    return frozenset(PROTOCOLS[name].name for name in names)
