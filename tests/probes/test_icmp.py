"""The ICMP probe: real packets on loopback, and in a network namespace if a router is needed."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from icmplib import ICMPv4Socket
from icmplib.exceptions import SocketPermissionError

from monitor.clock import Deadline, SystemClock
from monitor.errors import ProbeError
from monitor.model import Failure, IcmpAnswer, Observation, Phase, Reason, Result, Site
from monitor.outbound import NetworkOptions
from monitor.probes.icmp import IcmpOptions, IcmpProbe, check_url, ping_obstacle
from monitor.probes.resolve import Resolver
from monitor.report import result_json
from tests.narrowing import answer_of, known
from tests.probes.talk import site_of
from tests.resources import open_files

SHORT = 0.5  # the timeout of checks that must run into it

needs_permission = pytest.mark.skipif(ping_obstacle() is not None, reason=ping_obstacle() or "")


def ping(
    host: str,
    *,
    probe: IcmpProbe | None = None,
    network: NetworkOptions | None = None,
    timeout: float = 5.0,
    **options: Any,
) -> Observation:
    """Check once; the keywords are IcmpOptions, with an interval that suits tests."""
    url = f"icmp://{host}"
    sections = (IcmpOptions(**{"interval": 0.01, **options}), network or NetworkOptions())
    site = Site(name="site", url=url, target=url, scheme="icmp", timeout=timeout, options=sections)
    return (probe or IcmpProbe())(site, Deadline.after(timeout, SystemClock()))


class Lossy(ICMPv4Socket):  # type: ignore[misc]  # icmplib ships no types
    """Loses the packets whose numbers are in ``lost``."""

    lost: frozenset[int] = frozenset()

    def send(self, request):
        if request.sequence not in self.lost:
            super().send(request)


def losing(*lost: int) -> IcmpProbe:
    return IcmpProbe(sockets={4: type("Losing", (Lossy,), {"lost": frozenset(lost)})})


def refused(*, privileged: bool, **_: object) -> ICMPv4Socket:
    """Stand in for a socket that the system does not permit."""
    raise SocketPermissionError(privileged)


# ---------------------------------------------------------------- packets that come back


@needs_permission
@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("127.1.2.3", "127.1.2.3")]
)
def test_ping(host, address):
    """Every packet is answered and timed, over IPv4 and IPv6."""
    seen = ping(host)
    assert seen.failure is None
    answer = answer_of(seen, IcmpAnswer)
    assert (answer.sent, answer.received, answer.loss) == (3, 3, 0)
    assert all(0 < trip < 5 for trip in answer.round_trips)
    assert answer.hop_limit == 64
    assert seen.address == address
    assert list(seen.phases) == [Phase.RESOLVE, Phase.SETUP, Phase.RTT]
    assert seen.phases[Phase.RTT] == pytest.approx(sum(answer.round_trips) / 3)


@needs_permission
def test_name():
    """A name is looked up in the required IP version."""
    assert ping("localhost", network=NetworkOptions(ip="4")).address == "127.0.0.1"


@needs_permission
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@pytest.mark.parametrize("size", [0, 1, 1472, 20_000])
def test_sizes(host, size):
    """Payloads of any size come back, in fragments if necessary."""
    assert ping(host, size=size, count=1).failure is None


@needs_permission
def test_source_address():
    """Packets leave from the configured source address."""
    network = NetworkOptions(source_address="127.0.0.9")
    assert answer_of(ping("127.0.0.1", network=network), IcmpAnswer).received == 3


@needs_permission
def test_source_address_of_another_machine():
    """A source address that this machine does not have is the monitor's fault, not the site's."""
    with pytest.raises(ProbeError, match=r"192\.0\.2\.1 is not an address of this machine"):
        ping("127.0.0.1", network=NetworkOptions(source_address="192.0.2.1"))


@needs_permission
def test_connect_to():
    """connect_to names the host to ping instead, and its port is ignored."""
    seen = ping("gateway.invalid", network=NetworkOptions(connect_to="127.0.0.1:1"))
    assert seen.address == "127.0.0.1"


@needs_permission
def test_many_threads_do_not_mix_their_replies():
    """Each of many simultaneous checks gets only its own replies, one for each packet."""
    hosts = [f"127.0.1.{number}" if number % 2 else "[::1]" for number in range(40)]
    with ThreadPoolExecutor(len(hosts)) as threads:
        seen = list(threads.map(lambda host: ping(host, count=5), hosts))
    assert [one.failure for one in seen] == [None] * len(hosts)
    assert [answer_of(one, IcmpAnswer).received for one in seen] == [5] * len(hosts)


@contextmanager
def answering(source: str, change: Callable[[bytes], bytes]) -> Iterator[IcmpProbe]:
    """Return a probe whose requests are answered from an address, with a changed payload."""
    try:
        forger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    except PermissionError:
        pytest.skip("forging replies takes CAP_NET_RAW")

    class Answering(ICMPv4Socket):  # type: ignore[misc]  # icmplib ships no types
        def send(self, request):
            payload = change(request.payload)
            packet = bytearray(self._create_packet(request.id, request.sequence, payload))
            packet[:4] = bytes(4)  # a reply, not a request
            packet[2:4] = self._checksum(bytes(packet)).to_bytes(2)
            forger.sendto(packet, ("127.0.0.1", 0))

    with forger:
        forger.bind((source, 0))
        yield IcmpProbe(sockets={4: Answering})


@needs_permission
def test_foreign_replies_are_ignored():
    """A reply from another address that does not have our payload is ignored."""
    with answering("127.0.0.2", lambda payload: payload[:-1] + b"x") as probe:
        seen = ping("127.0.0.1", probe=probe, timeout=SHORT)
    assert seen.failure == Failure(Reason.ICMP_TIMEOUT, "no reply from 127.0.0.1 within 500ms")


@needs_permission
@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda sent: sent[:20], "cut to 20 of 56 bytes"),
        (lambda sent: sent[:0], "cut to 0 of 56 bytes"),
        (lambda sent: sent + b"more", "longer than the 56 bytes sent"),
        (lambda sent: bytes(len(sent)), "other bytes than those sent"),
        (lambda sent: bytes(len(sent) - 46), "other bytes than those sent, 10 instead of 56 bytes"),
        (lambda sent: sent, None),
    ],
)
def test_an_altered_echo_is_a_reply(change, difference):
    """A target that cuts or changes the echoed payload is up, and the JSON shows the change."""
    with answering("127.0.0.1", change) as probe:
        seen = ping("127.0.0.1", probe=probe, timeout=SHORT)
    assert seen.failure is None
    answer = answer_of(seen, IcmpAnswer)
    assert answer.received == 3
    assert (answer.altered, answer.difference) == (3 if difference else 0, difference)
    told = result_json(Result(site="site", url="icmp://127.0.0.1", observation=seen))
    assert told["altered_replies"] == answer.altered
    assert told["reply_difference"] == difference


@needs_permission
def test_nothing_is_left_behind():
    """After many checks no file descriptor and no thread is left open."""
    files, threads = open_files(), set(threading.enumerate())  # other tests' may still end
    for _ in range(50):
        ping("127.0.0.1", count=1)
        ping("127.0.0.1", count=1, probe=losing(0), timeout=0.01)
    assert open_files() <= files
    assert set(threading.enumerate()) <= threads


# ---------------------------------------------------------------- packets that do not


@needs_permission
def test_lost_packets():
    """Lost packets are counted, and by default a single one fails the check."""
    seen = ping("127.0.0.1", probe=losing(1, 3), count=5, timeout=SHORT)
    assert seen.failure == Failure(Reason.ICMP_LOSS, "2 of 5 packets lost")
    answer = answer_of(seen, IcmpAnswer)
    assert (answer.sent, answer.received) == (5, 3)


@needs_permission
@pytest.mark.parametrize(("max_loss", "up"), [(0.4, True), (0.39, False)])
def test_tolerated_loss(max_loss, up):
    """A loss of exactly max_loss is accepted, a larger one is not."""
    seen = ping("127.0.0.1", probe=losing(0, 4), count=5, max_loss=max_loss, timeout=SHORT)
    assert (seen.failure is None) is up


@needs_permission
def test_silence():
    """No reply at all is an icmp_timeout without a mean, whatever loss is tolerated."""
    seen = ping("127.0.0.1", probe=losing(0, 1, 2), max_loss=0.9, timeout=SHORT)
    assert seen.failure == Failure(Reason.ICMP_TIMEOUT, "no reply from 127.0.0.1 within 500ms")
    assert seen.answer == IcmpAnswer(sent=3, received=0)
    assert Phase.RTT not in seen.phases
    assert seen.duration < 20 * SHORT


@needs_permission
def test_packets_fit_into_the_timeout():
    """An interval too long for the timeout is shortened, so that every packet is sent."""
    answer = answer_of(ping("127.0.0.1", count=10, interval=60, timeout=1), IcmpAnswer)
    assert answer.sent == 10
    assert answer.received > 1  # on a busy machine the last reply may be read too late


def test_unknown_name():
    """A name without an address is a failed look-up, not a lost packet."""

    def unknown(*_: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    seen = ping("gateway.example", probe=IcmpProbe(Resolver(getaddrinfo=unknown)))
    assert (known(seen.failure).reason, seen.answer) == (Reason.DNS_NOT_FOUND, None)
    assert list(seen.phases) == [Phase.RESOLVE]


# ---------------------------------------------------------------- what the system forbids


def test_forbidden():
    """If the system forbids it, one sentence says which setting to change; no site is down."""
    probe = IcmpProbe(sockets={4: refused})
    with pytest.raises(ProbeError, match=r"net\.ipv4\.ping_group_range.*CAP_NET_RAW"):
        ping("127.0.0.1", probe=probe)


def test_forbidden_at_start():
    """The same sentence appears before the first check."""
    assert "net.ipv4.ping_group_range" in known(ping_obstacle({4: refused}))


def test_raw_sockets_are_the_second_choice():
    """An unprivileged socket is tried before a raw one."""
    tried = []

    def refusing(*, privileged: bool, **_: object) -> ICMPv4Socket:
        tried.append(privileged)
        return refused(privileged=privileged)

    ping_obstacle({4: refusing})
    assert tried == [False, True]


# ---------------------------------------------------------------- in a network of our own

_IN_NAMESPACE = """
import sys
from tests.probes.test_icmp import ping_obstacle, ping

print(ping_obstacle())
for host, options in {cases!r}:
    try:
        seen = ping(host, timeout=2, **options)
        print(seen.failure.reason if seen.failure else "up", seen.failure and seen.failure.message)
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def in_namespace(real):
    """
    Return a function that runs a shell script and then pings, in a network namespace of its own.

    It returns the result of ping_obstacle() there, and one line for each ping.
    """
    unshare, _ = real("unshare"), real("ip")
    alone = [unshare, "--net"] if os.geteuid() == 0 else [unshare, "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace")

    def run(script: str, *cases: tuple[str, dict[str, object]], python: str = "") -> list[str]:
        code = _IN_NAMESPACE.format(cases=cases)
        script = f'ip link set lo up\n{textwrap.dedent(script)}\n{python} "$0" -c "$1"'
        done = subprocess.run(
            [*alone, "sh", "-ec", script, sys.executable, code],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            timeout=60,
            check=False,
        )
        assert not done.returncode, done.stderr
        return done.stdout.splitlines()

    return run


ALLOW = "sysctl -qw net.ipv4.ping_group_range='0 2147483647'"
FORBID = "sysctl -qw net.ipv4.ping_group_range='1 0'"


@pytest.mark.real
def test_without_privileges(in_namespace):
    """If ping_group_range allows it, no capability is needed."""
    lines = in_namespace(
        ALLOW, ("127.0.0.1", {}), ("[::1]", {}), python="setpriv --bounding-set=-net_raw"
    )
    assert lines == ["None", "up None", "up None"]


@pytest.mark.real
def test_without_permission(in_namespace):
    """If nothing allows it, the sentence appears at the start and for the site."""
    sentence, error = in_namespace(
        FORBID, ("127.0.0.1", {}), python="setpriv --bounding-set=-net_raw"
    )
    assert "net.ipv4.ping_group_range" in sentence
    assert error == f"ProbeError {sentence}"


@pytest.mark.real
@pytest.mark.parametrize("sockets", [ALLOW, FORBID], ids=["unprivileged", "raw"])
def test_link_local_addresses(in_namespace, sockets):
    """A link-local address is reached only through the interface that it names."""
    lines = in_namespace(
        f"""
        {sockets}
        ip link add name near type veth peer name far
        ip address add fe80::5/64 dev near nodad
        ip link set near up
        ip link set far up
        """,
        ("[fe80::5%near]", {}),
        ("[fe80::5%25near]", {}),
        ("[fe80::5%absent]", {}),
    )
    assert lines[1:3] == ["up None"] * 2
    assert lines[3].startswith("ProbeError this machine has no network interface absent")


@pytest.mark.real
@pytest.mark.parametrize("sockets", [ALLOW, FORBID], ids=["unprivileged", "raw"])
def test_unreachable(in_namespace, sockets):
    """A missing route, a silent neighbour and too large a packet each say so, on both sockets."""
    lines = in_namespace(
        f"""
        {sockets}
        ip link add name near type veth peer name far
        ip address add 10.9.0.1/24 dev near
        ip link set near up
        ip link set far up
        sysctl -qw net.ipv4.neigh.near.mcast_solicit=1 net.ipv4.neigh.near.retrans_time_ms=50
        ip route add prohibit 10.8.0.0/24
        """,
        ("192.0.2.1", {}),
        ("10.8.0.1", {}),
        ("10.9.0.7", {}),
        ("10.9.0.7", {"size": 5000, "dont_fragment": True}),
        ("[2001:db8::1]", {}),
    )
    assert lines[1:] == [
        "connect_unreachable 192.0.2.1 cannot be reached: Network is unreachable",
        "connect_unreachable 10.8.0.1 cannot be reached: Permission denied",
        "connect_unreachable destination host unreachable, according to 10.9.0.1",
        "connect_unreachable 10.9.0.7 cannot be reached: Message too long",
        "connect_unreachable 2001:db8::1 cannot be reached: Network is unreachable",
    ]


@pytest.mark.real
@pytest.mark.parametrize("sockets", [ALLOW, FORBID], ids=["unprivileged", "raw"])
def test_errors_from_a_router(in_namespace, sockets):
    """The error that a router returns instead of a reply is the reason, over IPv4 and IPv6."""
    lines = in_namespace(
        f"""
        {sockets}
        unshare --net sleep 20 &
        router=$!
        trap "kill $router" EXIT
        until [ "$(readlink /proc/$router/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
        ip link add name near type veth peer name far netns $router
        ip address add 10.9.0.1/24 dev near
        ip address add fd09::1/64 dev near nodad
        ip link set near up
        nsenter --net --target $router sh -ec '
            sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            sysctl -qw net.ipv4.icmp_ratemask=0
            ip address add 10.9.0.2/24 dev far
            ip address add fd09::2/64 dev far nodad
            ip link set far up
            ip route add prohibit 10.8.0.0/24
            ip route add 10.7.0.0/24 via 10.9.0.1
            ip -6 route add prohibit fd08::/64
            ip -6 route add fd07::/64 via fd09::1
        '
        ip route add default via 10.9.0.2
        ip -6 route add default via fd09::2
        """,
        ("10.9.0.2", {}),
        ("10.8.0.1", {}),
        ("10.7.0.1", {"ttl": 1}),
        ("[fd09::2]", {}),
        ("[fd08::1]", {}),
        ("[fd07::1]", {"ttl": 1}),
    )
    prohibited = "communication with destination administratively prohibited"
    assert lines[1:] == [
        "up None",
        "connect_unreachable packet filtered, according to 10.9.0.2",
        "connect_unreachable time to live exceeded, according to 10.9.0.2",
        "up None",
        f"connect_unreachable {prohibited}, according to fd09::2",
        "connect_unreachable hop limit exceeded, according to fd09::2",
    ]


# ---------------------------------------------------------------- what admins write


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("icmp://", "has no host"),
        ("icmp://192.0.2.1:80", "has a port, 80, but ICMP has none"),
        ("icmp://192.0.2.1/path", "has more than a host"),
        ("icmp://user@192.0.2.1", "has more than a host"),
        ("icmp://192.0.2.1?count=3", "has more than a host"),
    ],
)
def test_bad_urls(url, message):
    """A URL may have only a host."""
    with pytest.raises(ValueError, match=message):
        check_url(url)


@pytest.mark.parametrize("url", ["icmp://192.0.2.1", "icmp://[2001:db8::1]", "icmp://gw.example/"])
def test_good_urls(url):
    """Names and addresses are accepted."""
    assert site_of(url).url == url


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": 20}, "20 % is 0.2"),
        ({"max_loss": 1}, "max_loss 1 is not from 0 to below 1"),
    ],
)
def test_bad_options(options, message):
    """Options outside their bounds are refused, and the message gives the bounds."""
    with pytest.raises(ValueError, match=message):
        IcmpOptions(**options)
