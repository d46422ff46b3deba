"""Which hosts a stranger's check may contact: every address is checked against the list."""

import socket
from dataclasses import replace

import pytest

from monitor.clock import SystemClock
from monitor.model import Reason, Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.dns import DnsProbe
from monitor.probes.dns_options import DnsOptions
from monitor.probes.grpc import GrpcOptions, GrpcProbe
from monitor.probes.guard import Guard, GuardedNetwork
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.icmp import IcmpOptions, IcmpProbe
from monitor.probes.oauth import OAuth2Options
from monitor.probes.observe import Observer
from monitor.probes.resolve import Resolver
from monitor.probes.tcp import TcpOptions, TcpProbe
from monitor.probes.tls import TlsDialogueOptions, TlsProbe, TlsProbeOptions
from monitor.probes.ws import WsOptions, WsProbe
from tests.narrowing import known
from tests.probes.servers import answer

ALLOWED = Guard.of(("*.example.com", "localhost", "127.0.0.1", "10.0.0.0/8", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("shop.example.com", None),
        ("SHOP.example.com.", None),
        ("shop.example.com", "93.184.216.34"),
        ("shop.example.com", "2606:4700::1111"),
        ("shop.example.com", "10.1.2.3"),
        ("localhost", "127.0.0.1"),
        ("localhost", "::ffff:127.0.0.1"),
        ("127.0.0.1", None),
        ("10.255.255.255", "10.255.255.255"),
        ("2001:db8::1", None),
        ("::ffff:10.0.0.1", None),
    ],
)
def test_what_is_allowed(host, address):
    """An allowed name may lead to a listed or public address; a listed address is allowed."""
    assert ALLOWED.why_not(host, address) is None


@pytest.mark.parametrize(
    ("host", "address", "why"),
    [
        ("example.com", None, "the name example.com is not one of those allowed"),
        ("shop.example.com.evil", None, "the name shop.example.com.evil is not one of"),
        ("127.0.0.2", None, "127.0.0.2 is in none of the networks allowed"),
        ("93.184.216.34", None, "93.184.216.34 is in none of"),
        ("::1", None, "::1 is in none of"),
        ("::ffff:127.0.0.2", None, "::ffff:127.0.0.2 is in none of"),
        ("localhost", "::1", "localhost leads to ::1, which is in none of the networks allowed"),
    ],
)
def test_what_is_not(host, address, why):
    """The reason names the host and the address it leads to."""
    assert known(ALLOWED.why_not(host, address)).startswith(why)


def test_a_network_may_be_written_by_any_of_its_addresses():
    """10.1.2.3/8 means the network 10.0.0.0/8, not a host name."""
    guard = Guard.of(("10.1.2.3/8",))
    assert (guard.names, guard.why_not("10.255.0.1")) == ((), None)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "169.254.169.254", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%lo", "fd00::1", "ff02::1"),
        *("::ffff:192.168.1.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::", "::7f00:1"),
    ],
)
def test_a_name_leads_nowhere_inside(address):
    """Without a network in the list, a name in any spelling may lead only to public addresses."""
    assert Guard.of(("*",)).why_not("shop.example.com", address)


def guarded(site: Site, *allowed: str) -> Site:
    options = tuple(
        GuardedNetwork.around(one, Guard.of(allowed)) if isinstance(one, NetworkOptions) else one
        for one in site.options
    )
    return replace(site, options=options)


def site_of(url: str, *options: object, network: NetworkOptions | None = None) -> Site:
    return Site(
        name="probe",
        url=url,
        target=url,
        scheme=url.partition(":")[0],
        timeout=5.0,
        options=(*options, network or NetworkOptions()),
    )


def run(probe, site, *allowed):
    observer = Observer({site.scheme: probe}, SystemClock())
    return observer(guarded(site, *allowed))


@pytest.fixture
def listener():
    """Return a listening socket that must not get a connection."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.accept()


def local(*_):
    """Stand in for a resolver that an attacker controls: every name leads to an inside address."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))]


@pytest.mark.parametrize(
    ("scheme", "probe", "options"),
    [
        ("http", HttpProbe, (HttpOptions(), TlsOptions())),
        ("https", HttpProbe, (HttpOptions(), TlsOptions())),
        ("https", HttpProbe, (HttpOptions(version="3"), TlsOptions(verify=False))),
        ("tcp", TcpProbe, (TcpOptions(), TlsOptions())),
        ("tls", TlsProbe, (TlsDialogueOptions(), TlsProbeOptions())),
        ("tls", TlsProbe, (TlsDialogueOptions(), TlsProbeOptions(starttls="smtp"))),
        ("ws", WsProbe, (WsOptions(), TlsOptions())),
        ("grpc", GrpcProbe, (GrpcOptions(), TlsOptions())),
    ],
)
def test_a_name_that_leads_to_a_forbidden_address(listener, scheme, probe, options):
    """The check fails, its message has the address, and no connection is made."""
    site = site_of(f"{scheme}://localhost:{listener.getsockname()[1]}", *options)
    seen = run(probe(), site, "localhost", "127.0.0.2")
    assert seen.failure is not None
    assert seen.failure.reason is Reason.CONNECT_UNREACHABLE
    assert seen.failure.message.startswith("localhost leads to ")
    assert seen.failure.message.endswith("which is in none of the networks allowed")


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_name_server_at_a_forbidden_address(transport):
    """No datagram is sent and no connection is made."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"dns://localhost:{sock.getsockname()[1]}/a.test"
        site = site_of(url, DnsOptions(transport=transport), TlsOptions())
        seen = run(DnsProbe(), site, "localhost")
        assert seen.failure.reason is Reason.CONNECT_UNREACHABLE
        assert "leads to" in seen.failure.message
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def test_a_host_to_ping_at_a_forbidden_address():
    """No packet is sent, and no socket is opened."""

    def no_socket(**_):
        pytest.fail("a socket was opened")

    probe = IcmpProbe(Resolver(getaddrinfo=local), {4: no_socket, 6: no_socket})
    seen = run(probe, site_of("icmp://shop.example.com", IcmpOptions()), "*.example.com")
    assert seen.failure.message == (
        "shop.example.com leads to 127.0.0.1, which is in none of the networks allowed"
    )


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "other.test"])
def test_a_redirect_to_where_it_may_not_lead(serve, listener, host):
    """redirect_unsafe comes before any connection or even look-up."""
    place = f"http://{host}:{listener.getsockname()[1]}/"
    server = serve(answer(b"", "302 Found", [("Location", place)]))
    site = site_of(server.url(host="127.0.0.1"), HttpOptions(), TlsOptions())
    seen = run(HttpProbe(), site, "127.0.0.1")
    assert seen.failure.reason is Reason.REDIRECT_UNSAFE
    assert host in seen.failure.message


def test_a_redirect_to_a_name_that_leads_inside(serve, listener):
    """redirect_unsafe also covers an allowed name that leads to a forbidden address."""
    place = f"http://localhost:{listener.getsockname()[1]}/"
    server = serve(answer(b"", "302 Found", [("Location", place)]), host="127.0.0.2")
    site = site_of(server.url(), HttpOptions(), TlsOptions())
    seen = run(HttpProbe(), site, "127.0.0.2", "localhost")
    assert seen.failure.reason is Reason.REDIRECT_UNSAFE
    assert seen.failure.message.startswith("localhost leads to ")


def test_an_allowed_address_is_reached(serve):
    """Redirects to allowed addresses are followed, through the socket that we open for libcurl."""
    server = serve(answer(b"fine"))
    site = site_of(server.url(host="localhost"), HttpOptions(), TlsOptions())
    seen = run(HttpProbe(), site, "localhost", "127.0.0.0/8")
    assert seen.failure is None
    assert seen.answer.status == 200
    assert seen.address == "127.0.0.1"


@pytest.mark.parametrize("key", ["proxy", "connect_to", "oauth2"])
def test_what_a_module_contacts_besides_is_held_too(listener, key):
    """A proxy, connect_to or token server cannot be used to get around the list."""
    there = f"127.0.0.2:{listener.getsockname()[1]}"
    network = NetworkOptions(connect_to=there if key == "connect_to" else None)
    client = OAuth2Options(token_url=f"http://{there}/", client_id="me", client_secret="s")
    options = HttpOptions(
        proxy=f"http://{there}" if key == "proxy" else None,
        oauth2=client if key == "oauth2" else None,
    )
    site = site_of("http://127.0.0.1/", options, TlsOptions(), network=network)
    seen = run(HttpProbe(), site, "127.0.0.1")
    assert "127.0.0.2 is in none of the networks allowed" in seen.failure.message
