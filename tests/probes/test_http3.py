"""HTTP/3 against a server of its own, over QUIC on loopback."""

import asyncio
import gzip
import threading
from typing import Any

import pytest
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

from monitor.model import Phase, Reason
from monitor.outbound import TlsOptions
from monitor.probes.http import HttpOptions
from tests.probes.certificates import issue, weak_key

ROWS = b"".join(b"row %d of a report\n" % number for number in range(500))
MEMBERS = gzip.compress(ROWS[:99]) + gzip.compress(ROWS[99:])
PACKED = {
    b"/members": ([b"gzip"], MEMBERS),
    b"/lines": ([b"gzip", b"gzip"], gzip.compress(MEMBERS) + b"\0"),
    b"/label": ([b"UTF-8"], ROWS),
    b"/cut": ([b"gzip"], MEMBERS[:-9]),
}


class _Hello(QuicConnectionProtocol):
    """Answers with a few words, or with the entry of PACKED for the path."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._http = None

    def quic_event_received(self, event):
        self._http = self._http or H3Connection(self._quic)
        for one in self._http.handle_event(event):
            if isinstance(one, HeadersReceived):
                path = dict(one.headers)[b":path"]
                codings, body = PACKED.get(path, ([], b"hello over QUIC"))
                head = [(b":status", b"200"), (b"x-peer", b"h3")]
                head += [(b"content-encoding", coding) for coding in codings]
                self._http.send_headers(one.stream_id, head)
                self._http.send_data(one.stream_id, body, end_stream=True)
        self.transmit()


@pytest.fixture
def http3(authority):
    """Serve on a UDP port; yields a function from a certificate's names to the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers = []

    def start(*names: str, files: tuple[str, ...] | None = None) -> str:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
        configuration.load_cert_chain(*(files or authority.server_files(*names)))
        begun = serve("127.0.0.1", 0, configuration=configuration, create_protocol=_Hello)
        server = asyncio.run_coroutine_threadsafe(begun, loop).result(timeout=30)
        servers.append(server)
        transport: Any = server._transport
        port = transport.get_extra_info("sockname")[1]
        return f"https://127.0.0.1:{port}/"

    yield start

    async def end():
        for server in servers:
            server.close()
        await asyncio.sleep(0.1)  # transports close in their next turn

    asyncio.run_coroutine_threadsafe(end(), loop).result(timeout=30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_an_answer_over_http3(check, http3, authority):
    """Version, body, phases and certificate are those of the QUIC connection."""
    url = http3("127.0.0.1")
    seen = check(url, http=HttpOptions(version="3"), tls=TlsOptions(ca_file=authority.file))
    assert seen.failure is None
    assert (seen.answer.version, seen.answer.body) == ("3", b"hello over QUIC")
    assert seen.answer.header("x-peer") == ("h3",)
    assert set(seen.phases) >= {Phase.CONNECT, Phase.TLS, Phase.PROCESSING}
    assert seen.tls.version == "TLS 1.3"
    assert seen.tls.verified


@pytest.mark.parametrize("path", ["members", "lines", "label", "cut"])
def test_packed_bodies_over_http3(watch, http3, authority, path):
    """Packed bodies are read as over TCP, by the first check and by repeated ones."""
    url = http3("127.0.0.1") + path
    tls = TlsOptions(ca_file=authority.file)
    check = watch(url, http=HttpOptions(version="3"), tls=tls, reads_body=True)
    for _ in range(3):
        seen = check()
        if path == "cut":
            assert seen.failure.reason is Reason.DECODE_ERROR
        else:
            assert seen.failure is None
            assert seen.answer.body == ROWS


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("shop.example.org", True, Reason.TLS_WRONG_HOST),
        ("127.0.0.1", False, Reason.TLS_UNTRUSTED),
    ],
)
def test_a_bad_certificate_over_http3(check, http3, authority, name, trusted, reason):
    """A bad certificate is refused for the same reason as over TCP, and its chain is kept."""
    tls = TlsOptions(ca_file=authority.file if trusted else None)
    seen = check(http3(name), http=HttpOptions(version="3"), tls=tls)
    assert seen.failure.reason is reason
    assert seen.tls.verified is False
    assert seen.tls.chain


def test_nobody_at_the_port_over_http3(check):
    """If nothing listens, the reason says so and is not a timeout."""
    seen = check("https://127.0.0.1:9/", http=HttpOptions(version="3"))
    assert seen.failure.reason is Reason.CONNECT_REFUSED


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("weak", [False, True])
def test_names_and_keys_over_http3(check, http3, tmp_path, weak, legacy):
    """A common name covers no host, and tls.legacy accepts a weak key, as over TCP."""
    own = issue("localhost", "localhost", key=weak_key()) if weak else issue("localhost")
    paths = tmp_path / "server.pem", tmp_path / "key.pem"
    paths[1].write_bytes(own.private())
    url = http3(files=(own.file(paths[0]), str(paths[1]))).replace("127.0.0.1", "localhost")
    tls = TlsOptions(ca_file=str(paths[0]), legacy=legacy)
    seen = check(url, http=HttpOptions(version="3"), tls=tls)
    accepted = weak and legacy
    assert seen.tls.verified is accepted
    if not accepted:
        assert seen.failure.reason is (Reason.TLS_UNTRUSTED if weak else Reason.TLS_WRONG_HOST)
