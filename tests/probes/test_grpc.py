"""The gRPC probe against a real gRPC server on loopback, and against servers that are not gRPC."""

import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from monitor.clock import SystemClock
from monitor.errors import ProbeError
from monitor.model import GrpcAnswer, Observation, Phase, Reason, Site
from monitor.probes.grpc import (
    GrpcNetworkOptions,
    GrpcOptions,
    GrpcProbe,
    GrpcTlsOptions,
    check_url,
)
from monitor.probes.observe import Observer
from tests.probes.servers import ScriptedServer, drip, repeat, reset, stay_silent
from tests.probes.talk import site_of
from tests.resources import native_threads, open_files
from tests.waiting import until

SHORT = 0.5  # the timeout of checks that must run into it
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty SETTINGS frame: how an HTTP/2 server begins
NOT_FOUND = b"\0\0\1\1\5\0\0\0\1\x8d"  # headers of stream 1, and its end: status 404
SERVING = b"\x08\x01"

Reply = Callable[[bytes, grpc.ServicerContext], bytes | None]


class HealthServer(grpc.GenericRpcHandler):
    """
    A real server of the health service.

    Attributes:
        requests: The bytes of each request.
        metadata: The metadata of each request.
    """

    def __init__(self, reply: Reply, credentials: grpc.ServerCredentials | None, host: str) -> None:
        self.requests: list[bytes] = []
        self.metadata: list[list[tuple[str, str | bytes]]] = []
        self.closing = threading.Event()
        self._reply = reply
        self._threads = ThreadPoolExecutor(2)
        self._server = grpc.server(self._threads)
        self._server.add_generic_rpc_handlers((self,))
        self.port: int = (
            self._server.add_secure_port(f"{host}:0", credentials)
            if credentials
            else self._server.add_insecure_port(f"{host}:0")
        )
        self.scheme = "grpcs" if credentials else "grpc"
        self._server.start()

    def url(self, path: str = "", host: str = "localhost") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def service(
        self, call: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes | None] | None":
        """Handle the one method that exists."""
        if call.method != "/grpc.health.v1.Health/Check":
            return None

        def check(request: bytes, context: grpc.ServicerContext) -> bytes | None:
            self.requests.append(request)
            self.metadata.append([(key, value) for key, value in call.invocation_metadata])
            return self._reply(request, context)

        return grpc.unary_unary_rpc_method_handler(check)

    def close(self) -> None:
        self.closing.set()
        self._server.stop(None).wait()
        self._threads.shutdown()


def serving(_: bytes, __: grpc.ServicerContext) -> bytes:
    return SERVING


def saying(reply: bytes) -> Reply:
    return lambda _, __: reply


@pytest.fixture
def health() -> Iterator[Callable[..., HealthServer]]:
    """Return a function that starts a HealthServer; all end with the test."""
    servers: list[HealthServer] = []

    def start(
        reply: Reply = serving,
        credentials: grpc.ServerCredentials | None = None,
        host: str = "127.0.0.1",
    ) -> HealthServer:
        servers.append(HealthServer(reply, credentials, host))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Certificates:
    """Server credentials of an authority of our own."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)
        client = self._ca.issue_cert("monitor@example.org")
        self.client_file = str(folder / "client.pem")
        client.private_key_and_cert_chain_pem.write_to_path(self.client_file)

    def credentials(
        self, *names: str, client: bool = False, **validity: Any
    ) -> grpc.ServerCredentials:
        issued = self._ca.issue_cert(*(names or ("localhost", "127.0.0.1", "::1")), **validity)
        pair = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()
        return grpc.ssl_server_credentials(
            [pair],
            root_certificates=self._ca.cert_pem.bytes() if client else None,
            require_client_auth=client,
        )

    def context(self) -> ssl.SSLContext:
        """Return a server's context that does not offer HTTP/2."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("localhost").configure_cert(context)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def check(handles, certificates) -> Callable[..., Observation]:
    """Return a function that makes one check; its keywords are GrpcOptions and the sections."""
    probe = GrpcProbe(handles)
    observe = Observer({"grpc": probe, "grpcs": probe}, SystemClock())

    def run(
        url: str,
        *,
        tls: GrpcTlsOptions | None = None,
        network: GrpcNetworkOptions | None = None,
        timeout: float = 5.0,
        **options: Any,
    ) -> Observation:
        sections = (
            GrpcOptions(**options),
            tls or GrpcTlsOptions(ca_file=certificates.file),
            network or GrpcNetworkOptions(ip="4"),
        )
        scheme = url.partition(":")[0]
        return observe(
            Site(name="site", url=url, target=url, scheme=scheme, timeout=timeout, options=sections)
        )

    return run


def reason(seen: Observation) -> Reason | None:
    return seen.failure.reason if seen.failure else None


# ---------------------------------------------------------------- answers


def test_serving(check, health):
    """A healthy server is reported as SERVING, with all phases."""
    seen = check(health().url())
    assert (seen.failure, seen.answer) == (
        None,
        GrpcAnswer(status_code=0, serving_status="SERVING"),
    )
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.CHECK]
    assert (seen.address, seen.tls) == ("127.0.0.1", None)


STATUSES = {
    "absent": (b"", "UNKNOWN"),
    "unknown": (b"\x08\x00", "UNKNOWN"),
    "not serving": (b"\x08\x02", "NOT_SERVING"),
    "service unknown": (b"\x08\x03", "SERVICE_UNKNOWN"),
    "said twice, the last counts": (b"\x08\x01\x08\x02", "NOT_SERVING"),
    "among fields of the future": (
        b"\x12\x03abc" + b"\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x30\xff\x01" + SERVING,
        "SERVING",
    ),
}


@pytest.mark.parametrize(("message", "status"), STATUSES.values(), ids=STATUSES)
def test_serving_statuses(check, health, message, status):
    """Any status is an answer; expectations judge it elsewhere."""
    seen = check(health(saying(message)).url())
    assert (seen.failure, seen.answer.serving_status) == (None, status)


NO_STATUS = {
    "a number without a name": (b"\x08\x07", "7 is not a serving status"),
    "a huge number": (b"\x08" + b"\xff" * 9 + b"\x01", "is not a serving status"),
    "a number without an end": (b"\x08" + b"\xff" * 20, "it is cut off"),
    "text": (b"\x0a\x02OK", "its first field is not a number"),
    "a field that is cut off": (b"\x12\x7fabc", "it is cut off"),
    "a field of no type": (b"\x0f", "it is not protobuf"),
}


@pytest.mark.parametrize(("message", "why"), NO_STATUS.values(), ids=NO_STATUS)
def test_answers_that_are_no_status(check, health, message, why):
    """Bytes that are not a health status are a protocol_error."""
    seen = check(health(saying(message)).url())
    assert reason(seen) is Reason.PROTOCOL_ERROR
    assert seen.failure.message.endswith(why)


def test_answer_too_long(check, health):
    """An answer of a megabyte is refused without being read."""
    assert reason(check(health(saying(bytes(1 << 20))).url())) is Reason.PROTOCOL_ERROR


def test_error_status(check, health):
    """A gRPC error is reported with its name, number and the server's message."""

    def unknown(_: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")

    seen = check(health(unknown).url())
    assert (reason(seen), seen.failure.message) == (
        Reason.STATUS,
        "gRPC status NOT_FOUND: unknown service",
    )
    assert seen.answer == GrpcAnswer(status_code=5)


def test_servers_words_do_not_pass_for_ours(check, health):
    """A proxy that reports its own failure gives a status, not a failure of our connection."""

    def proxy(_: bytes, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAVAILABLE, "upstream: Connection refused")

    assert reason(check(health(proxy).url())) is Reason.STATUS


@pytest.mark.parametrize(
    ("path", "option", "request_"),
    [
        ("", "", b""),
        ("/shop.Cart", "", b"\x0a\x09shop.Cart"),
        ("", "shop.Cart", b"\x0a\x09shop.Cart"),
        ("/shop.Cart", "other", b"\x0a\x09shop.Cart"),
        ("/" + "s" * 300, "", b"\x0a\xac\x02" + b"s" * 300),
    ],
)
def test_service(check, health, path, option, request_):
    """The service is the URL's path, or the option if the URL has no path."""
    server = health()
    check(server.url(path), service=option)
    assert server.requests == [request_]


def test_metadata(check, health):
    """Metadata is sent, and a key with several values is sent several times."""
    server = health()
    check(server.url(), metadata={"authorization": ("Bearer xyz",), "x-tier": ("gold", "new")})
    sent = [(key, value) for key, value in server.metadata[0] if key in ("authorization", "x-tier")]
    assert sent == [("authorization", "Bearer xyz"), ("x-tier", "gold"), ("x-tier", "new")]


def test_ipv6(check, health):
    """The probe reaches a server over IPv6."""
    seen = check(health(host="[::1]").url(host="[::1]"), network=GrpcNetworkOptions())
    assert (seen.failure, seen.address) == (None, "::1")


def test_connect_to(check, health):
    """Both connections go to connect_to."""
    network = GrpcNetworkOptions(connect_to=f"127.0.0.1:{health().port}")
    assert check("grpc://shop.invalid:1", network=network).failure is None


def test_proxies_of_the_environment_have_no_effect(check, health, monkeypatch):
    """The probe ignores proxies in the environment, which grpcio alone would use."""
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert check(health().url()).failure is None


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("host", ["localhost", "localhost.", "127.0.0.1"])
def test_tls(check, health, certificates, host):
    """Over TLS the certificates are reported, and the server's name or address is verified."""
    seen = check(health(credentials=certificates.credentials()).url(host=host))
    assert (seen.failure, seen.answer.serving_status) == (None, "SERVING")
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.CHECK]
    assert (seen.tls.verified, len(seen.tls.chain)) == (True, 1)


def test_server_name(check, health, certificates):
    """Both connections request and verify the name in tls.server_name."""
    server = health(credentials=certificates.credentials("shop.example"))
    tls = GrpcTlsOptions(ca_file=certificates.file, server_name="shop.example")
    assert check(server.url(host="127.0.0.1"), tls=tls).failure is None


def test_client_certificate(check, health, certificates):
    """Both connections present the client certificate."""
    server = health(credentials=certificates.credentials(client=True))
    tls = GrpcTlsOptions(ca_file=certificates.file, cert_file=certificates.client_file)
    assert check(server.url(), tls=tls).failure is None


def test_expired(check, health, certificates):
    """An expired certificate is the reason and is still reported, and no call is made."""
    server = health(
        credentials=certificates.credentials(
            not_before=datetime(2019, 1, 1, tzinfo=UTC),
            not_after=datetime(2020, 1, 1, tzinfo=UTC),
        )
    )
    seen = check(server.url())
    assert reason(seen) is Reason.TLS_EXPIRED
    assert (seen.tls.verified, len(seen.tls.chain)) == (False, 1)
    assert (seen.answer, server.requests) == (None, [])


def test_wrong_host(check, health, certificates):
    """A certificate for another name is tls_wrong_host."""
    server = health(credentials=certificates.credentials("other.example"))
    assert reason(check(server.url())) is Reason.TLS_WRONG_HOST


def test_untrusted(check, health, certificates):
    """Without the site's own authority, the system's authorities decide."""
    server = health(credentials=certificates.credentials())
    assert reason(check(server.url(), tls=GrpcTlsOptions())) is Reason.TLS_UNTRUSTED


def test_no_http2(check, serve, certificates):
    """A TLS server that does not offer HTTP/2 fails, because gRPC needs it."""
    server = serve([stay_silent], tls=certificates.context())
    seen = check(f"grpcs://localhost:{server.port}")
    assert (reason(seen), seen.failure.message) == (
        Reason.PROTOCOL_ERROR,
        f"localhost:{server.port} does not offer HTTP/2",
    )


def test_a_full_name_is_asked_for_without_its_dot(check, serve, certificates):
    """No handshake has the final dot of a fully qualified name in SNI (RFC 6066, 3)."""
    names: list[str | None] = []
    context = certificates.context()
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = serve([stay_silent], tls=context)
    check(f"grpcs://localhost.:{server.port}")
    assert set(names) == {"localhost"}


def test_authorities_that_are_gone(check, health, certificates, tmp_path):
    """A CA file that disappears after the configuration was read is the monitor's fault."""
    server = health(credentials=certificates.credentials())
    with pytest.raises(ProbeError, match=r"gone\.pem"):
        check(server.url(), tls=GrpcTlsOptions(ca_file=str(tmp_path / "gone.pem")))


# ---------------------------------------------------------------- servers without gRPC


def test_refused(check, serve):
    """A closed port is connect_refused, and no call is made."""
    server: ScriptedServer = serve([])
    server.close()
    seen = check(f"grpc://127.0.0.1:{server.port}")
    assert reason(seen) is Reason.CONNECT_REFUSED
    assert (seen.answer, list(seen.phases)) == (None, [Phase.RESOLVE, Phase.CONNECT])


BROKEN = {
    "silence": ([stay_silent], Reason.READ_TIMEOUT),
    "HTTP/2 and then silence": ([SETTINGS, stay_silent], Reason.READ_TIMEOUT),
    "a dripping server": ([drip(SETTINGS)], Reason.READ_TIMEOUT),
    "endless SETTINGS": ([repeat(SETTINGS * 100)], Reason.READ_TIMEOUT),
    "HTTP/1.1": ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], Reason.PROTOCOL_ERROR),
    "HTTP/2 that knows no gRPC": ([SETTINGS, 0.1, NOT_FOUND, stay_silent], Reason.PROTOCOL_ERROR),
    "noise": ([b"garbage\r\n" * 20], Reason.PROTOCOL_ERROR),
    "closing": ([], Reason.CONNECTION_LOST),
    "a reset": ([0.05, reset], Reason.CONNECTION_LOST),
    "HTTP/2 and then closing": ([SETTINGS, 0.05], Reason.CONNECTION_LOST),
}


@pytest.mark.parametrize(("script", "expected"), BROKEN.values(), ids=BROKEN)
def test_broken_servers(check, serve, script, expected):
    """Whatever a server does, the reason is exact and the check ends by its deadline."""
    seen = check(f"grpc://127.0.0.1:{serve(script).port}", timeout=SHORT)
    assert reason(seen) is expected
    assert seen.duration < 20 * SHORT


def test_slow_server(check, health):
    """A server that answers too slowly is a read_timeout, with gRPC's own code."""

    def slow(_: bytes, __: grpc.ServicerContext) -> bytes:
        server.closing.wait(30)
        return SERVING

    server = health(slow)
    seen = check(server.url(), timeout=SHORT)
    assert (reason(seen), seen.answer) == (Reason.READ_TIMEOUT, GrpcAnswer(status_code=4))
    assert seen.failure.message.endswith("within 500ms")


def test_nothing_is_left_behind(check, health, serve):
    """After 200 checks, good and bad, no thread, connection or file descriptor is left open."""
    good, bad = health(), serve([])

    def rounds(count: int) -> None:
        for _ in range(count):
            check(good.url())
            check(f"grpc://127.0.0.1:{bad.port}")

    rounds(20)  # the threads that grpcio keeps for all its channels
    before = native_threads(), open_files()
    rounds(100)
    until(
        lambda: native_threads() <= before[0] + 4 and open_files() <= before[1] + 8,
        "the end of all connections",  # the servers' side ends a moment later
    )


# ---------------------------------------------------------------- what admins write


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("grpc://shop.example", "has no port; write grpc://shop.example:50051"),
        ("grpcs://user@shop.example:1", "has a user, query or fragment"),
        ("grpc://shop.example:1/s?x=1", "has a user, query or fragment"),
    ],
)
def test_bad_urls(url, message):
    """A URL without a port, or with more than a service in its path, is refused."""
    with pytest.raises(ValueError, match=message):
        check_url(url)


def test_good_urls():
    """Host and port are enough; the path is the service."""
    for url in ("grpc://shop.example:50051", "grpcs://[2001:db8::1]:443/shop.Cart"):
        assert site_of(url).url == url


def test_without_grpcio():
    """Without the extra, a gRPC site is refused with the extra's name, and the rest works."""
    code = """
import sys
sys.modules["grpc"] = None
from monitor.mailbox import Mailbox
from monitor.probes.registry import PROBES, build_probes
build_probes(Mailbox())
try:
    PROBES["grpc"].check_url("grpc://shop.example:50051")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cure = "install website-monitor[grpc], or build the image with --build-arg GRPC=yes"
    assert done.stdout == f"needs grpcio; {cure}\n"


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [
        (GrpcOptions, {"metadata": {"X-Tier": "gold"}}, "metadata 'X-Tier' is not a key"),
        (GrpcOptions, {"metadata": {"grpc-x": "1"}}, "grpc- is reserved"),
        (GrpcOptions, {"metadata": {"key-bin": "1"}}, "would be binary"),
        (GrpcOptions, {"metadata": {"key": "ü"}}, "is not printable ASCII"),
        (GrpcTlsOptions, {"verify": False}, "name a ca_file instead"),
        (GrpcTlsOptions, {"min_version": "1.3"}, "not possible with gRPC"),
        (GrpcTlsOptions, {"key_file": "key.pem"}, "key_file needs cert_file"),
        (GrpcNetworkOptions, {"source_address": "127.0.0.1"}, "not possible with gRPC"),
    ],
)
def test_bad_options(record, options, message):
    """Options that gRPC or grpcio cannot support are refused when the list is read."""
    with pytest.raises(ValueError, match=message):
        record(**options)
