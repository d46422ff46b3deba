"""Every reason of the closed list, from `monitor check` over real sockets, with its message."""

import json
import re
import socket
import subprocess
import sys
import textwrap
import threading

import dns.message
import dns.rcode
import pytest

from monitor.model import Reason
from tests.probes.conftest import Authority
from tests.probes.servers import ScriptedServer, answer, read_request, reset, stay_silent

GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
LENGTH_9 = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
JSON = answer(b'{"queue": 12}', headers=[("Content-Type", "application/json"), ("X-Id", "7")])

# These need another system: a resolver and hosts that tests can control
ELSEWHERE = {"dns_error", "dns_timeout", "icmp_loss", "icmp_timeout"}
# No answer that the analysis survives can cause these: tests/engine/test_pools.py tests them
WORKERS = {"analysis_timeout", "analysis_crash"}
# These come without asking a peer: tests/probes/test_push.py tests them
CALLS = {"overdue", "reported"}


@pytest.fixture
def serve():
    servers = []

    def start(script, **values) -> ScriptedServer:
        server = ScriptedServer(script, **values)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def name_server():
    """A DNS server that knows one name only, which has no address; yields its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        sock.settimeout(0.1)
        over = threading.Event()

        def reply():
            while not over.is_set():
                try:
                    data, peer = sock.recvfrom(4096)
                except TimeoutError:
                    continue
                query = dns.message.from_wire(data)
                found = dns.message.make_response(query)
                if query.question[0].name.to_text() != "empty.test.":
                    found.set_rcode(dns.rcode.NXDOMAIN)
                sock.sendto(found.to_wire(), peer)

        thread = threading.Thread(target=reply)
        thread.start()
        yield sock.getsockname()[1]
        over.set()
        thread.join()


@pytest.fixture
def full_queue():
    """A port whose listen queue is full, so that connections are neither accepted nor refused."""
    fillers = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
            fillers.append(filler)
        yield sock.getsockname()[1]
    for filler in fillers:
        filler.close()


def check(tmp_path, lines: str, wrapper: list[str] | None = None) -> dict[str, tuple[str, str]]:
    """Return reason and message of each listed site, by name."""
    path = tmp_path / "sites.yaml"
    path.write_text(lines)
    command = [*(wrapper or []), sys.executable, "-m", "monitor", "check", "--json"]
    done = subprocess.run(
        [*command, "--config", path], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stderr
    results = json.loads(done.stdout)["results"]
    return {one["site"]: (one["reason"], one["message"]) for one in results}


def test_every_reason_has_its_sentence(serve, tmp_path, name_server, full_queue):
    """Each site has exactly the expected reason, and a message that names what broke the rule."""
    ca = Authority(tmp_path)
    well = serve(answer()).url()
    secure = serve(answer(), tls=ca.context()).url()
    plain = serve(JSON).url()
    smtp = serve([b"554 no service\r\n", stay_silent])
    sites = {
        "dns_not_found": ("http://nothing.invalid/", "", "the name nothing.invalid does not exist"),
        "connect_refused": ("http://127.0.0.1:1/", "", "connection to 127.0.0.1:1 refused"),
        "connect_unreachable": ("http://255.255.255.255/", "", "255.255.255.255:80 is unreachable"),
        "connect_reset": (serve([read_request, reset]).url(), "", "reset the connection"),
        "connect_timeout": (f"http://127.0.0.1:{full_queue}/", "", "within 800ms"),
        "tls_expired": (serve(answer(), tls=ca.expired()).url(), "", "expired on "),
        "tls_not_yet_valid": (serve(answer(), tls=ca.not_yet_valid()).url(), "", "valid"),
        "tls_wrong_host": (
            serve(answer(), tls=ca.context("*.example.com")).url(),
            "",
            "certificate for *.example.com does not cover 127.0.0.1",
        ),
        "tls_untrusted": (
            serve(answer(), tls=ca.unknown_issuer()).url(host="localhost"),
            "",
            "which is not trusted; does the server send its intermediates",
        ),
        "tls_client_certificate": (
            serve(answer(), tls=ca.demand_client(ca.context())).url(),
            "",
            "wants a client certificate",
        ),
        "tls_protocol": (
            serve([b"220 hello\r\n", stay_silent]).url().replace("http:", "https:"),
            "",
            "does not speak TLS",
        ),
        "tls_timeout": (
            serve([stay_silent]).url().replace("http:", "https:"),
            "",
            "no TLS handshake",
        ),
        "proxy_error": (well, 'http: {proxy: "http://127.0.0.1:1"}', "127.0.0.1:1"),
        "protocol_error": (serve([read_request, b"what?\r\n"]).url(), "", "HTTP"),
        "read_timeout": (serve([stay_silent]).url(), "", "no answer from 127.0.0.1"),
        "connection_lost": (serve([read_request, LENGTH_9]).url(), "", "7 bytes missing"),
        "redirect_limit": (
            serve(answer(status="302 Found", headers=[("Location", "/")])).url(),
            "http: {max_redirects: 2}",
            "more than 2 redirects",
        ),
        "redirect_unsafe": (
            serve(answer(status="302 Found", headers=[("Location", "file:///etc/passwd")])).url(),
            "",
            "redirect to 'file:///etc/passwd'",
        ),
        "body_too_large": (
            serve(answer(b"x" * 2000)).url(),
            "http: {max_body: 1KiB}",
            "longer than 1KiB",
        ),
        "decode_error": (serve([read_request, GZIP + b"no gzip" * 9]).url(), "", "decompress"),
        "status": (
            serve(answer(status="503 Service Unavailable")).url(),
            "",
            "status 503 is not in 2xx",
        ),
        "header": (plain, "expect: {header: {x-id: '^8$'}}", 'header x-id "7" does not match'),
        "body": (well, "expect: {body: {contains: welcome}}", 'body "ok" does not contain'),
        "json": (plain, "expect: {json: {$.queue: {lt: 10}}}", "json $.queue 12 is not below 10"),
        "latency": (
            serve([read_request, 0.3, *answer()[1:]]).url(),
            "expect: {latency: 100ms}",
            "is over 100ms",
        ),
        "certificate": (secure, "expect: {certificate: {issuer: Nobody}}", "issuer"),
        "http_version": (well, "expect: {http_version: 2}", "HTTP version 1.1 is not 2"),
        "tls": (well, "expect: {tls: true}", "did not come over TLS"),
        "tls_version": (secure, "expect: {tls_version: '1.2'}", "TLS version 1.3 is not 1.2"),
        "redirects": (well, "expect: {redirects: 1}", "redirects 0 is not 1"),
        "expression": (
            plain,
            "expect: {that: json.queue < 10}",
            "json.queue < 10 is false (json.queue is 12)",
        ),
        "tcp_dialogue": (
            f"tcp://127.0.0.1:{smtp.port}",
            "tcp: {dialogue: [{expect: '^220'}]}",
            "554 no service",
        ),
        "dns_rcode": (f"dns://127.0.0.1:{name_server}/nothing.test", "", "rcode NXDOMAIN"),
        "dns_answer": (f"dns://127.0.0.1:{name_server}/empty.test", "", "answer count 0"),
    }
    assert {*sites, *ELSEWHERE, *WORKERS, *CALLS} == set(Reason)
    lines = [f"defaults: {{timeout: 800ms, tls: {{ca_file: {ca.file}}}}}", "sites:"]
    lines += [
        f"  - {{name: {name}, url: '{url}'{', ' + options if options else ''}}}"
        for name, (url, options, _) in sites.items()
    ]
    found = check(tmp_path, "\n".join(lines) + "\n")
    assert {name: reason for name, (reason, _) in found.items()} == {name: name for name in sites}
    for name, (_, _, part) in sites.items():
        assert part in found[name][1], name


# A separate system: a name server, a neighbour that never answers, echo that ends half-way
_SYSTEM = """
    mount --bind "$1" /etc/resolv.conf
    ip link set lo up
    ip link add name near type veth peer name far
    ip address add 192.0.2.1/24 dev near
    ip link set near up
    ip link set far up
    ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev near
    "$2" "$3" &
    helper=$!
    shift 3
    "$@" && status=0 || status=$?
    kill $helper
    exit $status
"""
_HELPER = """
    import pathlib
    import socket
    import threading
    import time

    import dns.message
    import dns.rcode

    def answer_names():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.53", 53))
        while True:
            data, peer = sock.recvfrom(4096)
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            if "broken" in query.question[0].name.to_text():
                reply.set_rcode(dns.rcode.SERVFAIL)
                sock.sendto(reply.to_wire(), peer)

    threading.Thread(target=answer_names, daemon=True).start()
    while True:
        lines = pathlib.Path("/proc/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("Icmp:"))
        if int(dict(zip(names[1:], values[1:]))["InEchos"]) >= 2:
            break
        time.sleep(0.01)
    pathlib.Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("1")
    time.sleep(20)
"""


@pytest.mark.real
def test_the_reasons_of_another_system(real, tmp_path):
    """A failing or silent resolver and lost packets have their reasons, in a separate network."""
    real("ip")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "helper.py").write_text(textwrap.dedent(_HELPER))
    wrapper = [
        *(real("unshare"), "--net", "--mount", "sh", "-ec", _SYSTEM, "-"),
        *map(str, (tmp_path / "resolv.conf", sys.executable, tmp_path / "helper.py")),
    ]
    allowed = subprocess.run(
        [real("unshare"), "--net", "--mount", "true"], capture_output=True, check=False
    )
    if allowed.returncode:
        pytest.skip(f"this system gives no network of its own: {allowed.stderr.decode().strip()}")
    found = check(
        tmp_path,
        """
        defaults: {timeout: 2s}
        sites:
          - {name: dns_error, url: "http://broken.test/"}
          - {name: dns_timeout, url: "http://silent.test/"}
          - {name: icmp_loss, url: "icmp://127.0.0.1", icmp: {count: 4, interval: 300ms}}
          - {name: icmp_timeout, url: "icmp://192.0.2.2"}
        """,
        wrapper,
    )
    assert {name: reason for name, (reason, _) in found.items()} == {
        name: name for name in ELSEWHERE
    }
    assert "silent.test" in found["dns_timeout"][1]
    assert "broken.test" in found["dns_error"][1]
    assert re.search(r"[1-3] of 4 packets lost", found["icmp_loss"][1])
