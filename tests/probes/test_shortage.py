"""A resource this machine lacks is the monitor's own error in every probe: ports and threads."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.waiting import free_port

_ROOT = Path(__file__).parents[2]


def _lines(code: str, *before: str) -> list[str]:
    """Run a program and return the lines that it prints."""
    done = subprocess.run(
        [*before, sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        timeout=120,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


_LOOK = """
    import socket, sys
    from monitor.clock import SystemClock
    from monitor.errors import ProbeError
    from monitor.mailbox import Mailbox
    from monitor.probes.observe import Observer
    from monitor.probes.registry import PROBES
    from tests.probes.talk import site_of

    def look(url, **keys):
        site = site_of(url, **{"timeout": "2s", **keys})
        try:
            probe = PROBES[site.scheme].build(Mailbox())
            seen = Observer({site.scheme: probe}, SystemClock())(site)
            print(url, seen.failure.reason if seen.failure else "up", flush=True)
        except ProbeError as error:
            print(error, flush=True)
"""


@pytest.fixture
def with_few_ports(real):
    """Return a function that runs a program in a network namespace with two local ports."""
    unshare, _ = real("unshare"), real("ip")
    alone = [unshare, "--net"] if os.geteuid() == 0 else [unshare, "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network namespace")
    setting = "sysctl -qw net.ipv4.ip_local_port_range='50000 50001'"
    script = f'ip link set lo up; {setting}; exec "$@"'
    return lambda code: _lines(_LOOK + code, *alone, "sh", "-ec", script, "sh")


@pytest.mark.real
def test_no_local_port_is_left_for_connections(with_few_ports):
    """Every TCP probe reports it, directly and through proxies; a refusal remains a refusal."""
    lines = with_few_ports(
        """
    listening = socket.create_server(("127.0.0.1", 21820))
    held = []
    try:
        while True:
            held.append(socket.create_connection(("127.0.0.1", 21820)))
    except OSError:
        pass
    peer = "127.0.0.1:21820"
    for scheme in ("http", "https", "tcp", "tls", "ws", "wss", "grpc"):
        look(f"{scheme}://{peer}")
    for transport in ("tcp", "tls"):
        look(f"dns://{peer}/a.example", dns={"transport": transport})
    look("http://localhost:21820/")
    for proxy in ("http", "socks4", "socks5h"):
        look("https://a.example/", http={"proxy": f"{proxy}://{peer}"})
    look("ws://a.example/", ws={"proxy": f"http://{peer}"})
    look("http://127.0.0.1:21821/")
    look("http://[2001:db8::1]:80/")
    """
    )
    told = "no local port is left for a connection to 127.0.0.1:21820"
    assert {line.partition(";")[0] for line in lines[:-2]} == {told}
    assert lines[-2:] == [
        "http://127.0.0.1:21821/ connect_refused",
        "http://[2001:db8::1]:80/ connect_unreachable",
    ]


@pytest.mark.real
def test_no_local_port_is_left_for_datagrams(with_few_ports):
    """A UDP query reports it, and so does every look-up of a name, a proxy's included."""
    lines = with_few_ports(
        """
    held = []
    try:
        while True:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            held.append(sock)
    except OSError:
        pass
    look("dns://127.0.0.1:53/a.example")
    for url in ("http://a.example/", "tcp://a.example:80", "icmp://a.example"):
        look(url)
    look("dns://a.example/b.example")
    look("http://b.example/", http={"proxy": "http://a.example:3128"})
    """
    )
    assert lines[0] == "no datagram could be sent: no local port is left"
    assert set(lines[1:]) == {"cannot look up a.example: no local port is left"}


def test_no_thread_can_be_started():
    """libcurl waits for a look-up that never started; the message says why there was no answer."""
    port = free_port()
    lines = _lines(
        _LOOK
        + f"""
    import os, resource
    import monitor.probes.dns, monitor.probes.icmp
    look("http://127.0.0.1:{port}/")  # whatever is imported late
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if os.geteuid() == 0:
        os.setuid(65534)  # root is not limited
    for url in ("http://a.example/", "tcp://a.example:80", "dns://a.example/b.example"):
        look(url, timeout="300ms")
    look("http://b.example/", timeout="300ms", http={{"proxy": "http://a.example:3128"}})
    """
    )
    assert set(lines[1:]) == {"cannot look up a.example: no thread can be started"}
