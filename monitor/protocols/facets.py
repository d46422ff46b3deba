"""Finds the facet for an answer; the type checker reports a kind of answer without one."""

from typing import Any, assert_never

from monitor.model import (
    Answer,
    DnsAnswer,
    GrpcAnswer,
    HttpAnswer,
    IcmpAnswer,
    PushAnswer,
    TcpAnswer,
    WebSocketAnswer,
)
from monitor.protocols.dns import DNS
from monitor.protocols.facet import Facet
from monitor.protocols.grpc import GRPC
from monitor.protocols.http import HTTP
from monitor.protocols.icmp import ICMP
from monitor.protocols.push import PUSH
from monitor.protocols.tcp import TCP
from monitor.protocols.ws import WEBSOCKET

FACETS: tuple[Facet[Any], ...] = (HTTP, WEBSOCKET, DNS, ICMP, TCP, GRPC, PUSH)
"""In the order in which the JSON form has their keys."""


def facet_of(answer: Answer) -> Facet[Any]:  # noqa: PLR0911  a case, a kind
    """Return all views of this kind of answer."""
    match answer:
        case HttpAnswer():
            return HTTP
        case WebSocketAnswer():
            return WEBSOCKET
        case DnsAnswer():
            return DNS
        case IcmpAnswer():
            return ICMP
        case TcpAnswer():
            return TCP
        case GrpcAnswer():
            return GRPC
        case PushAnswer():
            return PUSH
        case _:
            assert_never(answer)
