"""IPv6 zones in every probe; test_icmp.py also pings a link-local address."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import dns.message
import dns.rrset
import grpc
import pytest

from monitor.clock import Deadline, SystemClock
from monitor.errors import ProbeError
from monitor.model import GrpcAnswer
from monitor.probes.icmp import IcmpProbe, ping_obstacle
from monitor.probes.zone import host_of, socket_address, zone_of
from tests.narrowing import answer_of
from tests.probes.servers import answer
from tests.probes.talk import observe, site_of


@pytest.fixture(params=["::1%lo", "::1%25lo", "::1%1", "::1%01"])
def zoned(request) -> str:
    """Return an address of this machine with its zone, as a URL may have it."""
    zone: str = request.param
    return zone


@pytest.fixture
def any_address(serve) -> Iterator[int]:
    """Return a port on which HTTP and DNS over UDP are answered at every IPv6 address."""
    server = serve(answer(b"ok"), host="::")
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.bind(("::", server.port))
    thread = threading.Thread(target=_answer_questions, args=(sock,))
    thread.start()
    yield server.port
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stop:
        stop.sendto(b"", ("::1", server.port))
    thread.join()
    sock.close()


def _answer_questions(sock: socket.socket) -> None:
    while True:
        wire, peer = sock.recvfrom(4096)
        if not wire:
            return
        reply = dns.message.make_response(dns.message.from_wire(wire))
        name = reply.question[0].name
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
        sock.sendto(reply.to_wire(), peer)


URLS = {
    "tcp": "tcp://[{host}]:{port}",
    "http": "http://[{host}]:{port}/",
    "dns": "dns://[{host}]:{port}/a.example",
    "ws": "ws://[{host}]:{port}/",
}


@pytest.mark.parametrize("scheme", URLS)
def test_a_zone_leads_through_its_interface(handles, authority, any_address, zoned, scheme):
    """By name or number, after % or %25, each probe reaches the address."""
    url = URLS[scheme].format(host=zoned, port=any_address)
    seen = observe(handles, authority, url)
    assert seen.failure is None
    assert seen.answer is not None


def test_connect_to_may_have_a_zone(handles, authority, any_address, zoned):
    """connect_to may name an interface too."""
    network = {"connect_to": f"[{zoned.replace('%25', '%')}]:{any_address}"}
    seen = observe(handles, authority, "http://a.example/", network=network)
    assert seen.failure is None


@pytest.mark.skipif(ping_obstacle() is not None, reason=ping_obstacle() or "")
def test_ping_takes_a_zone(zoned):
    """A ping leaves through the interface of its zone."""
    site = site_of(f"icmp://[{zoned}]", icmp={"count": 1})
    assert IcmpProbe()(site, Deadline.after(5, SystemClock())).failure is None


def test_grpc_takes_a_zone(handles, authority, zoned):
    """grpcio gets the zone, which libcurl does not report, and never a zone as a name."""
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("[::]:0")
        server.start()
        try:
            seen = observe(handles, authority, f"grpc://[{zoned}]:{port}")
        finally:
            server.stop(None).wait()
    # The server has no health service, and says so: it was reached
    assert answer_of(seen, GrpcAnswer).status_code == grpc.StatusCode.UNIMPLEMENTED.value[0]


ALL_URLS = {
    **URLS,
    "tls": "tls://[{host}]:{port}",
    "https": "https://[{host}]:{port}/",
    "wss": "wss://[{host}]:{port}/",
    "grpc": "grpc://[{host}]:{port}",
}


@pytest.mark.parametrize("scheme", ALL_URLS)
def test_a_missing_interface_is_told(handles, authority, scheme):
    """If the interface is missing, every probe stops and says nothing about the site."""
    url = ALL_URLS[scheme].format(host="fe80::1%none0", port=9)
    told = "this machine has no network interface none0, which fe80::1%none0 names"
    with pytest.raises(ProbeError, match=told):
        observe(handles, authority, url)


@pytest.mark.skipif(ping_obstacle() is not None, reason=ping_obstacle() or "")
def test_ping_tells_a_missing_interface():
    """A ping reports the missing interface too."""
    site = site_of("icmp://[fe80::1%none0]")
    with pytest.raises(ProbeError, match="no network interface none0"):
        IcmpProbe()(site, Deadline.after(5, SystemClock()))


@pytest.mark.parametrize(
    "keys",
    [
        {"network": {"connect_to": "[fe80::1%none0]:80"}},
        {"http": {"proxy": "http://[fe80::1%none0]:3128"}},
        {"http": {"proxy": "socks5://[fe80::1%25none0]:1080"}},
    ],
)
def test_a_missing_interface_on_the_way_is_told(handles, authority, keys):
    """A proxy or connect_to with a missing interface is reported the same way."""
    with pytest.raises(ProbeError, match="no network interface none0"):
        observe(handles, authority, "http://a.example/", **keys)


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("fe80::1%eth0", "eth0"),
        ("fe80::1%25eth0", "eth0"),
        ("fe80::1%ac1", "ac1"),
        ("fe80::1%25", "25"),
        ("fe80::1%252", "2"),
        ("fe80::1", ""),
    ],
)
def test_how_a_zone_is_written(written, zone):
    """%25 means % (RFC 6874), and the text after % is never decoded as a byte."""
    assert zone_of(written) == zone
    assert host_of(urlsplit(f"icmp://[{written}]")) == f"fe80::1{zone and '%'}{zone}"


def test_a_socket_gets_the_number_of_the_interface():
    """The kernel identifies interfaces by number."""
    number = socket.if_nametoindex("lo")
    assert socket_address("::1%lo", 53) == ("::1", 53, 0, number)
    assert socket_address("::1", 53) == ("::1", 53, 0, 0)
    assert socket_address("192.0.2.1", 53) == ("192.0.2.1", 53)
