"""Addresses of the wrong IP version are a mistake in the list, and refused at /probe."""

from dataclasses import replace

import pytest

from monitor.clock import Deadline, SystemClock
from monitor.errors import ConfigError
from monitor.model import Reason
from monitor.outbound import NetworkOptions
from monitor.probes.icmp import IcmpProbe, ping_obstacle
from monitor.probes.resolve import Resolver
from tests.narrowing import known
from tests.probes.talk import site_of

IS_V4 = "leads to an IPv4 address, but network.ip asks for IPv6"
IS_V6 = "leads to an IPv6 address, but network.ip asks for IPv4"
LINK_LOCAL = "has a link-local address; name the interface to it, as in [fe80::1%eth0]"

MISTAKES = {
    "icmp": ({"url": "icmp://127.0.0.1", "network": {"ip": 6}}, "url", IS_V4),
    "dns": ({"url": "dns://[::1]/a.example", "network": {"ip": 4}}, "url", IS_V6),
    "http": ({"url": "http://[::1]", "network": {"ip": 4}}, "url", IS_V6),
    "https": ({"url": "https://127.0.0.1", "network": {"ip": 6}}, "url", IS_V4),
    "tcp": ({"url": "tcp://127.0.0.1:1", "network": {"ip": 6}}, "url", IS_V4),
    "tls": ({"url": "tls://127.0.0.1:1", "network": {"ip": 6}}, "url", IS_V4),
    "ws": ({"url": "ws://127.0.0.1", "network": {"ip": 6}}, "url", IS_V4),
    "grpc": ({"url": "grpc://127.0.0.1:1", "network": {"ip": 6}}, "url", IS_V4),
    "connect_to": (
        {"url": "http://a.example", "network": {"ip": 6, "connect_to": "127.0.0.1:1"}},
        "network.connect_to",
        IS_V4,
    ),
    "proxy": (
        {"url": "http://a.example", "network": {"ip": 4}, "http": {"proxy": "socks5://[::1]:1"}},
        "http.proxy",
        IS_V6,
    ),
    "proxy of ws": (
        {"url": "ws://a.example", "network": {"ip": 4}, "ws": {"proxy": "http://[::1]:1"}},
        "ws.proxy",
        IS_V6,
    ),
    "token server": (
        {
            "url": "http://a.example",
            "network": {"ip": 6},
            "http": {
                "oauth2": {
                    "token_url": "http://127.0.0.1/token",
                    "client_id": "me",
                    "client_secret": "sesame",
                }
            },
        },
        "http.oauth2.token_url",
        IS_V4,
    ),
    "proxy of dns": (
        {
            "url": "dns://[::1]/a.example",
            "network": {"ip": 6},
            "dns": {"transport": "https", "proxy": "http://127.0.0.1:1"},
        },
        "dns.proxy",
        IS_V4,
    ),
    "source_address": (
        {"url": "tcp://[::1]:1", "network": {"source_address": "127.0.0.1"}},
        "url",
        "leads to an IPv6 address, but network.source_address asks for IPv4",
    ),
    "link-local": ({"url": "http://[fe80::1]/"}, "url", LINK_LOCAL),
    "link-local connect_to": (
        {"url": "icmp://a.example", "network": {"connect_to": "[fe80::1]:1"}},
        "network.connect_to",
        LINK_LOCAL,
    ),
}


@pytest.mark.parametrize(("site", "place", "message"), MISTAKES.values(), ids=MISTAKES)
def test_an_address_that_cannot_be_reached_is_a_mistake(load, site, place, message):
    """The error points at the address and says which option rules it out."""
    with pytest.raises(ConfigError) as error:
        load(site)
    assert f"sites[0].{place}: {message}" in str(error.value)


def test_defaults_and_connectivity_are_held_against_addresses_too(load):
    """An IP version in defaults applies as well; connectivity targets have no options."""
    with pytest.raises(ConfigError) as error:
        load(
            {"url": "icmp://127.0.0.1"},
            defaults={"network": {"ip": 6}},
            connectivity=["tcp://[fe80::1]:53"],
        )
    assert f"sites[0].url: {IS_V4}" in str(error.value)
    assert f"connectivity[0]: {LINK_LOCAL}" in str(error.value)


@pytest.mark.parametrize(
    "site",
    [
        {"url": "icmp://[::1]", "network": {"ip": 6}},
        {"url": "http://a.example", "network": {"ip": 6}},
        {"url": "http://127.0.0.1", "network": {"ip": 6, "connect_to": "[::1]:1"}},
        {"url": "http://127.0.0.1", "network": {"ip": 6}, "http": {"proxy": "http://[::1]:1"}},
        {"url": "tcp://[fe80::1%eth0]:1"},
        {"url": "tcp://169.254.1.1:1"},
    ],
)
def test_what_can_be_reached_is_no_mistake(load, site):
    """Only the host that is connected to first counts, and names are left to the look-up."""
    assert load(site).sites


@pytest.mark.skipif(ping_obstacle() is not None, reason=ping_obstacle() or "")
def test_a_target_of_the_other_version_fails():
    """A /probe target is not in a list, so its check is down, as with blackbox_exporter."""
    site = site_of("icmp://127.0.0.1")
    network = NetworkOptions(ip="6")
    options = tuple(network if isinstance(one, NetworkOptions) else one for one in site.options)
    seen = IcmpProbe()(replace(site, options=options), Deadline.after(1, SystemClock()))
    assert known(seen.failure).reason is Reason.CONNECT_UNREACHABLE
    assert known(seen.failure).message == "127.0.0.1 is not an IPv6 address"
    deadline = Deadline.after(1, SystemClock())
    assert Resolver().resolve("127.0.0.1", deadline, "4") == "127.0.0.1"
