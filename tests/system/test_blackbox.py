"""The monitor as blackbox_exporter: both make the same probes, and a real Prometheus asks us."""

import base64
import hashlib
import itertools
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system.processes import fetch
from tests.waiting import free_port, until

pytestmark = pytest.mark.real

SHIPPED = Path("/etc/prometheus/blackbox.yml")
DOCS = Path(__file__).parents[2] / "docs" / "blackbox.md"

MORE_MODULES = """
  http_follow_none: {{prober: http, http: {{follow_redirects: false, valid_status_codes: [302]}}}}
  http_ca: {{prober: http, http: {{tls_config: {{ca_file: {ca}}}}}}}
  http_any_certificate: {{prober: http, http: {{tls_config: {{insecure_skip_verify: true}}}}}}
  http_not_ssl: {{prober: http, http: {{fail_if_ssl: true, tls_config: {{ca_file: {ca}}}}}}}
  http_ssl: {{prober: http, http: {{fail_if_not_ssl: true}}}}
  http_body: {{prober: http, http: {{fail_if_body_matches_regexp: [maintenance]}}}}
  http_header:
    prober: http
    http:
      fail_if_header_matches: [{{header: X-Absent, regexp: x, allow_missing: true}}]
      fail_if_header_not_matches: [{{header: Server, regexp: nginx}}]
  http_header_missing:
    {{prober: http, http: {{fail_if_header_not_matches: [{{header: X-Absent, regexp: x}}]}}}}
  http_version: {{prober: http, http: {{valid_http_versions: ["HTTP/2.0"]}}}}
  http_gzip: {{prober: http, http: {{compression: gzip}}}}
  tls_connect: {{prober: tcp, tcp: {{tls: true, tls_config: {{ca_file: {ca}}}}}}}
  tls_any: {{prober: tcp, tcp: {{tls: true, tls_config: {{insecure_skip_verify: true}}}}}}
  smtp_starttls:
    prober: tcp
    tcp:
      tls_config: {{ca_file: {ca}}}
      query_response:
        - expect: "^220 "
        - send: "EHLO prober\\r"
        - expect: "^250 STARTTLS"
        - send: "STARTTLS\\r"
        - expect: "^220"
        - starttls: true
        - send: "QUIT\\r"
        - expect: "^221"
  dns_a: {{prober: dns, dns: {{query_name: shop.example.org, query_type: A}}}}
  dns_tcp: {{prober: dns, dns: {{query_name: shop.example.org, transport_protocol: tcp}}}}
  dns_soa: {{prober: dns, dns: {{query_name: example.org, query_type: SOA}}}}
  dns_missing: {{prober: dns, dns: {{query_name: nobody.example.org, query_type: A}}}}
  dns_missing_is_good:
    prober: dns
    dns: {{query_name: nobody.example.org, query_type: A, valid_rcodes: [NXDOMAIN]}}
  dns_right:
    prober: dns
    dns:
      query_name: shop.example.org
      query_type: A
      validate_answer_rrs:
        fail_if_not_matches_regexp: ["org\\\\.\\t.*\\tIN\\tA\\t192\\\\.0\\\\.2\\\\.7$"]
        fail_if_none_matches_regexp: ["192.0.2.7", "192.0.2.8"]
  dns_wrong:
    prober: dns
    dns:
      query_name: shop.example.org
      query_type: A
      validate_answer_rrs: {{fail_if_matches_regexp: ["192.0.2.7"]}}
"""

CASES = [
    ("http_2xx", "http/"),
    ("http_2xx", "plain/"),
    ("http_2xx", "http/500"),
    ("http_2xx", "http/one"),
    ("http_2xx", "http/loop"),
    ("http_2xx", "closed"),
    ("http_2xx", "http://no-such-name.invalid/"),
    ("http_2xx", "https/"),
    ("http_2xx", "expired/"),
    ("http_2xx", "banner"),
    ("http_post_2xx", "http/"),
    ("http_post_2xx", "http/500"),
    ("http_follow_none", "http/one"),
    ("http_follow_none", "http/"),
    ("http_ca", "https/"),
    ("http_ca", "expired/"),
    ("http_ca", "https/one"),
    ("http_any_certificate", "https/"),
    ("http_any_certificate", "expired/"),
    ("http_not_ssl", "https/"),
    ("http_not_ssl", "http/"),
    ("http_ssl", "http/"),
    ("http_body", "http/maintenance"),
    ("http_body", "http/"),
    ("http_body", "http/500"),
    ("http_header", "http/"),
    ("http_header_missing", "http/"),
    ("http_version", "http/"),
    ("http_gzip", "http/"),
    ("tcp_connect", "plain"),
    ("tcp_connect", "closed"),
    ("tls_connect", "tls"),
    ("tls_connect", "expired-tls"),
    ("tls_connect", "plain"),
    ("tls_any", "expired-tls"),
    ("pop3s_banner", "tls"),
    ("ssh_banner", "banner"),
    ("ssh_banner", "smtp"),
    ("ssh_banner", "closed"),
    ("smtp_starttls", "smtp"),
    ("smtp_starttls", "banner"),
    ("irc_banner", "irc"),
    ("irc_banner", "banner"),
    ("icmp", "127.0.0.1"),
    ("icmp_ttl5", "127.0.0.1"),
    ("dns_a", "dns"),
    ("dns_a", "closed"),
    ("dns_tcp", "dns"),
    ("dns_tcp", "closed"),
    ("dns_soa", "dns"),
    ("dns_missing", "dns"),
    ("dns_missing_is_good", "dns"),
    ("dns_right", "dns"),
    ("dns_wrong", "dns"),
    ("grpc_plain", "closed"),
    ("grpc_plain", "plain"),
    ("grpc", "closed"),
    ("grpc", "tls"),
]

MODULES_SINCE = {
    "0.28": """
  http_json: {prober: http, http: {fail_if_body_json_not_matches_cel: "body.n + 1.0 == 3.0"}}
  http_json_bad: {prober: http, http: {fail_if_body_json_matches_cel: "body.n > 1"}}
  http_limit: {prober: http, http: {body_size_limit: 3B}}
  http_limit_body:
    prober: http
    http: {body_size_limit: 3B, fail_if_body_not_matches_regexp: [n]}
  tcp_bytes: {prober: tcp, tcp: {query_response: [{expect_bytes: SSH}]}}
  tcp_bytes_bad: {prober: tcp, tcp: {query_response: [{expect_bytes: HTTP}]}}
  tcp_binary:
    prober: tcp
    tcp: {query_response: [{send: !!binary Tk9CT0RZ/w==}, {send: "QUIT"}, {expect: "^221"}]}
  tcp_utf8: {prober: tcp, tcp: {query_response: [{expect: "^caf. OK$"}]}}
  tcp_refused: {prober: tcp, tcp: {query_response: [{expect: "^250 "}]}}
  dns_all:
    prober: dns
    dns:
      query_name: shop.example.org
      query_type: A
      validate_answer_rrs: {fail_if_all_match_regexp: ["192"]}
      validate_authority_rrs: {fail_if_all_match_regexp: ["nothing"]}
""",
    "main": """
  ws: {prober: websocket}
  ws_talk:
    prober: websocket
    websocket:
      headers: {X-Word: {values: [hello]}}
      query_response: [{expect: "^(h.*o)$", send: "${1} you"}, {expect: "hello you"}]
  ws_next: {prober: websocket, websocket: {query_response: [{expect: "not the first"}]}}
""",
}
CASES_SINCE = {
    "0.28": [
        ("http_json", "json"),
        ("http_json_bad", "json"),
        ("http_json", "http/"),
        ("http_2xx", "away"),
        ("http_limit", "json"),
        ("http_limit_body", "json"),
        ("tcp_bytes", "banner"),
        ("tcp_bytes_bad", "banner"),
        ("tcp_binary", "smtp"),
        ("tcp_utf8", "cafe"),
        ("tcp_refused", "refuses"),
        ("dns_all", "dns"),
    ],
    "main": [
        ("ws", "ws"),
        ("ws", "no-ws"),
        ("ws_talk", "ws"),
        ("ws_next", "ws"),
    ],
}

# ---------------------------------------------------------------- what is probed


class Talker:
    """A server of lines: sends its greeting, then answers each line by its first word."""

    def __init__(self, greeting: str, answers: dict[str, str], context=None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._greeting = greeting
        self._answers = answers
        self._context = context
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        try:
            with sock:
                sock.sendall(self._greeting.encode())
                if not self._answers:
                    sock.shutdown(socket.SHUT_WR)
                self._answer_lines(sock)
        except OSError:
            pass

    def _answer_lines(self, sock: socket.socket) -> None:
        line = b""
        while byte := sock.recv(1):
            line += byte
            if byte == b"\n":
                word = line.decode(errors="replace").split()[0] if line.split() else ""
                if answer := self._answers.get(word):
                    sock.sendall(answer.encode())
                if word == "STARTTLS" and self._context:
                    with self._context.wrap_socket(sock, server_side=True) as secure:
                        self._answer_lines(secure)
                    return
                line = b""

    def close(self) -> None:
        self._listener.close()


_AWAY = (
    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"
    "Connection: close\r\n\r\n"
)
_JSON = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n"
    'Connection: close\r\n\r\n{"n": 2}'
)


@pytest.fixture
def websocket() -> Iterator[int]:
    """A WebSocket server: sends the text of the header X-Word, then returns each message."""

    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_talk_messages, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def _talk_messages(sock: socket.socket) -> None:
    sock.settimeout(10)
    with suppress(OSError), sock:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += sock.recv(4096)
        headers = dict(re.findall(r"(?m)^([\w-]+): (.*)\r$", request.decode()))
        named = {name.lower(): value for name, value in headers.items()}
        key = named["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        digest = base64.b64encode(
            hashlib.sha1(key.encode(), usedforsecurity=False).digest()
        ).decode()
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + digest.encode() + b"\r\n\r\n"
        )
        message = named.get("x-word", "hello").encode()
        while True:
            sock.sendall(bytes([0x81, len(message)]) + message)
            head = sock.recv(6)  # of a short message: two bytes, and the four bytes of its mask
            if len(head) < 6 or head[0] != 0x81:
                return
            masked = sock.recv(head[1] & 0x7F)
            message = bytes(byte ^ head[2 + at % 4] for at, byte in enumerate(masked))


@pytest.fixture
def talkers(ca) -> Iterator[dict[str, int]]:
    """Servers of SSH, SMTP and IRC that say as much as the modules need."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    started = {
        "banner": Talker("SSH-2.0-OpenSSH_9.2p1-Debian\r\n", {}),
        "smtp": Talker(
            "220 mail.test ESMTP\r\n",
            {
                "EHLO": "250-mail.test\r\n250 STARTTLS\r\n",
                "STARTTLS": "220 go ahead\r\n",
                "QUIT": "221 bye\r\n",
            },
            context,
        ),
        "irc": Talker("", {"USER": "PING :42\r\n", "PONG": ":irc.test 001 prober :hello\r\n"}),
        "json": Talker("", {"GET": _JSON}),
        "away": Talker("", {"GET": _AWAY}),
        "cafe": Talker("café OK\r\n", {}),
        "refuses": Talker("554 go away\r\n", {}),
    }
    yield {name: talker.port for name, talker in started.items()}
    for talker in started.values():
        talker.close()


@pytest.fixture
def unbound(real, tmp_path) -> Iterator[int]:
    folder = tmp_path / "unbound"
    folder.mkdir()
    port = free_port()
    (folder / "unbound.conf").write_text(
        f"server:\n"
        f'  directory: "{folder}"\n  username: ""\n  chroot: ""\n  pidfile: ""\n'
        f"  do-daemonize: no\n  use-syslog: no\n  interface: 127.0.0.1@{port}\n"
        f'  local-zone: "example.org." static\n'
        f'  local-data: "shop.example.org. 300 IN A 192.0.2.7"\n'
        f'  local-data: "example.org. 300 IN SOA ns.example.org. a.example.org. 7 1 2 3 4"\n'
    )
    process = subprocess.Popen(
        [real("unbound"), "-c", "unbound.conf"], cwd=folder, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: _connects(port), "unbound's start")
        yield port
    finally:
        process.terminate()
        process.wait()


def _connects(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


PROGRAMS = {
    "0.23": "prometheus-blackbox-exporter",
    "0.28": "blackbox_exporter",
    "main": "blackbox_exporter-main",
}
"""By version: Debian's, and what tests/system/build-exporter makes."""


@pytest.fixture(params=PROGRAMS)
def version(request) -> str:
    """Return the version of blackbox_exporter that is installed."""
    program = PROGRAMS[request.param]
    if request.param != "0.23" and shutil.which(program) is None:
        pytest.skip(f"{program} is not on the PATH; tests/system/build-exporter makes it")
    return str(request.param)


@pytest.fixture
def modules(tmp_path, ca, version):
    """Return the shipped example, and additional modules for what it lacks."""
    if not SHIPPED.exists():
        pytest.skip(f"{SHIPPED} is not there")
    path = tmp_path / "blackbox.yml"
    text = SHIPPED.read_text().rstrip() + "\n" + MORE_MODULES.format(ca=ca.path)
    for since in ("0.28", "main"):
        if version >= since:  # "main" counts as higher than any number
            text += MODULES_SINCE[since]
    path.write_text(text)
    return path


@pytest.fixture
def exporter(real, tmp_path, modules, version) -> Iterator[str]:
    """Start blackbox_exporter; yields its URL."""
    port = free_port()
    with (tmp_path / "exporter.log").open("w") as log:
        process = subprocess.Popen(
            [
                real(PROGRAMS[version]),
                f"--config.file={modules}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: fetch(f"{url}/-/healthy"), "the exporter's start")
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def targets(nginx, talkers, unbound, websocket) -> dict[str, str]:
    """Return the targets that CASES names, by the first word of each."""
    here = "127.0.0.1"
    return {
        "http": f"http://{here}:{nginx.port}",
        "https": f"https://{here}:{nginx.tls_port}",
        "expired": f"https://{here}:{nginx.expired_port}",
        "plain": f"{here}:{nginx.port}",
        "tls": f"{here}:{nginx.tls_port}",
        "expired-tls": f"{here}:{nginx.expired_port}",
        "closed": f"{here}:{free_port()}",
        "ws": f"ws://{here}:{websocket}",
        "no-ws": f"ws://{here}:{nginx.port}",
        "dns": f"{here}:{unbound}",
        **{name: f"{here}:{port}" for name, port in talkers.items()},
    }


# ---------------------------------------------------------------- how they are compared


def probed(url: str, module: str, target: str) -> dict[str, float]:
    """Return every sample by name and labels, without empty labels, which Prometheus ignores."""
    status, text = fetch(
        f"{url}/probe?module={module}&target={quote(target, safe='')}",
        headers={"X-Prometheus-Scrape-Timeout-Seconds": "4"},
    )
    assert status == 200, text
    return {
        sample.name + _labels(sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _labels(labels: dict[str, str]) -> str:
    pairs = [f"{name}={labels[name]}" for name in sorted(labels) if labels[name]]
    return f"{{{','.join(pair for pair in pairs if not pair.startswith('serialnumber='))}}}"


@dataclass(frozen=True)
class Meant:
    """A difference that docs/blackbox.md explains: version, globs for module, target, series."""

    version: str
    module: str
    target: str
    series: str

    def fits(self, module: str, target: str, series: str) -> bool:
        return (
            fnmatchcase(module, self.module)
            and fnmatchcase(target, self.target)
            and fnmatchcase(series, self.series)
        )


def documented() -> list[Meant]:
    table = DOCS.read_text().split("<!-- differences -->")[1].split("<!-- /differences -->")[0]
    rows = [line.split("|")[1:5] for line in table.splitlines() if line.startswith("| `")]
    return [
        Meant(*globs)
        for row in rows
        for globs in itertools.product(*(re.findall("`(.+?)`", cell) for cell in row))
    ]


def differences(ours: dict[str, float], theirs: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Yield each series that only one of them has, or whose value differs for more than timing."""
    for name in sorted({*ours, *theirs}):
        series = name.partition("{")[0]
        timed = series.endswith("_seconds") and not series.endswith("_timestamp_seconds")
        mine, its = ours.get(name), theirs.get(name)
        if mine is None or its is None or (mine != its and not timed):
            yield series, f"{name}: {mine}, there {its}"


def test_both_see_the_same(start, exporter, modules, targets, version):
    """Both give the same success, series, labels and values, except for documented differences."""
    daemon = start(
        f"blackbox_modules: {modules}\n"
        "probe_endpoint: {enabled: true, allow: [127.0.0.0/8, no-such-name.invalid]}\n"
    )
    meant = [one for one in documented() if one.version == version]
    used = set()
    unexpected = []
    cases = [
        *CASES,
        *(case for since in CASES_SINCE if version >= since for case in CASES_SINCE[since]),
    ]
    for module, target in cases:
        word, slash, path = target.partition("/")
        address = targets.get(word, word) + slash + path
        ours = probed(daemon.url, module, address)
        theirs = probed(exporter, module, address)
        for series, text in differences(ours, theirs):
            fitting = {one for one in meant if one.fits(module, target, series)}
            used |= fitting
            if not fitting:
                unexpected.append(f"{module} {target}: {text}")
    assert not unexpected, "\n".join(unexpected)
    assert {(one.module, one.series) for one in meant} == {(one.module, one.series) for one in used}


def test_prometheus_discovers_each_site(nginx, start, prometheus):
    """With only /sd as its configuration, Prometheus has each site as a target and an instance."""
    good, bad = f"http://127.0.0.1:{nginx.port}/", f"http://127.0.0.1:{nginx.port}/500"
    daemon = start(f"""
defaults: {{interval: 500ms, timeout: 400ms}}
sites:
  - {{name: good, url: "{good}", group: web, labels: {{team: a}}}}
  - {{name: bad, url: "{bad}"}}
""")
    server = prometheus(
        daemon, [{"job_name": "sites", "http_sd_configs": [{"url": f"{daemon.url}/sd"}]}]
    )

    def told():
        found = {one["metric"]["instance"]: one for one in server.query("probe_success")}
        return found if len(found) == 2 else None

    found = until(told, "Prometheus' scraping both")
    assert {name: one["value"][1] for name, one in found.items()} == {good: "1", bad: "0"}
    labels = found[good]["metric"]
    assert (labels["job"], labels["site"], labels["group"], labels["team"]) == (
        *("sites", "good"),
        *("web", "a"),
    )
    assert {one["metric"]["instance"] for one in server.query("up == 1")} == {good, bad}


def test_prometheus_asks_for_targets(nginx, start, prometheus):
    """A scrape configuration for blackbox_exporter works once its address is replaced by ours."""
    daemon = start("probe_endpoint: {enabled: true, allow: [127.0.0.1]}")
    target = f"http://127.0.0.1:{nginx.port}/"
    server = prometheus(
        daemon,
        [
            {
                "job_name": "blackbox",
                "metrics_path": "/probe",
                "params": {"module": ["http_2xx"]},
                "static_configs": [{"targets": [target]}],
                "relabel_configs": [
                    {"source_labels": ["__address__"], "target_label": "__param_target"},
                    {"source_labels": ["__param_target"], "target_label": "instance"},
                    {
                        "target_label": "__address__",
                        "replacement": daemon.url.removeprefix("http://"),
                    },
                ],
            }
        ],
    )
    (found,) = until(lambda: server.query("probe_success"), "a scrape")
    assert (found["metric"]["instance"], found["value"][1]) == (target, "1")
    (timeout,) = server.query("probe_timeout_seconds")
    assert timeout["value"][1] == "0.5"  # the scrape interval, and so the timeout, is one second


def test_it_does_not_reach_inside(nginx, start):
    """No target, redirect or name outside the list is reached, and no connection is made to it."""
    daemon = start("probe_endpoint: {enabled: true, allow: [127.0.0.1, localhost, '*.test']}")

    def asked(target: str, module: str = "http_2xx"):
        query = f"target={quote(target, safe='')}&module={module}&debug=true"
        return daemon.get(f"/probe?{query}")

    with socket.create_server(("127.0.0.2", 0)) as inside:
        there = f"127.0.0.2:{inside.getsockname()[1]}"
        for target, module in (
            (f"http://{there}/", "http_2xx"),
            (there, "tcp_connect"),
            (f"http://me@{there}/", "http_2xx"),
            (f"http://[::ffff:127.0.0.2]:{there.rpartition(':')[2]}/", "http_2xx"),
            ("http://example.com/", "http_2xx"),
            ("127.0.0.2", "icmp"),
        ):
            status, text = asked(target, module)
            assert (status, text.splitlines()[-1].endswith("by probe_endpoint.allow")) == (
                403,
                True,
            )
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://{there}/\r\nContent-Length: 0\r\n\r\n"
        away = Talker("", {"GET": answer})
        status, text = asked(f"http://127.0.0.1:{away.port}/")
        away.close()
        assert status == 200
        assert "\nprobe_success 0\n" in text
        assert "reason=redirect_unsafe" in text
        inside.settimeout(0.1)
        with pytest.raises(TimeoutError):
            inside.accept()

    status, text = asked(f"http://localhost:{nginx.port}/")
    assert (status, "\nprobe_success 1\n" in text) == (200, True)
    assert daemon.stop() == 0
