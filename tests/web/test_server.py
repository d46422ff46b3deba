"""The server over real loopback sockets: addresses, TLS, users, slow clients, the stop."""

import asyncio
import base64
import gc
import itertools
import os
import resource
import socket
import ssl
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from monitor.errors import StartupError
from monitor.web.app import create_app
from monitor.web.server import Limits, WebServer
from monitor.web.web_config import HttpServerConfig, TlsServerConfig, WebConfig
from tests.resources import open_files
from tests.waiting import PATIENCE, until
from tests.web import states

"""Seconds after which a test gives up; nothing here takes one of them."""

ASK = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"


def app(**given):
    settings: dict[str, Any] = {
        "board": states.board(states.up("a/b")),
        "scrape": lambda *_: ("text/plain", iter([b"up 1\n"])),
        "reload": lambda: None,
        "config_text": lambda: "",
        "version": "1",
    }
    return create_app(**(settings | given))


@contextmanager
def serving(application=None, listen=("127.0.0.1:0",), config=None, **limits):
    server = WebServer(application or app(), listen, config, Limits(**limits))
    server.start()
    try:
        yield server
    finally:
        server.stop(0.2)


def connect(server, number=0, context=None, name="localhost", source=""):
    host, _, port = server.addresses[number].rpartition(":")
    sock = socket.create_connection((host.strip("[]"), int(port)), PATIENCE, (source, 0))
    return context.wrap_socket(sock, server_hostname=name) if context else sock


def read_answer(sock):
    """Return status and text of one answer, and leave the connection open."""
    with sock.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        size = 0
        while line := stream.readline().strip():
            name, _, value = line.partition(b": ")
            if name.lower() == b"content-length":
                size = int(value)
        return status, stream.read(size).decode()


def ask(server, path="/-/healthy", number=0, context=None, headers="", source=""):
    """Return status and full text of one answer, over a new connection."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
    with closing(connect(server, number, context, source=source)) as sock:
        sock.sendall(request.encode())
        return read_all(sock)


def read_all(sock):
    found = b""
    while piece := sock.recv(65536):
        found += piece
    head, _, text = found.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode().lower(), text.decode()


def ends(sock):
    """Return whether the server ends the connection without an answer."""
    try:
        return sock.recv(65536) == b""
    except ConnectionError:
        return True


def send_again_and_again(sock, data, pause=0.0):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        sock.sendall(data)
        time.sleep(pause)


# ---------------------------------------------------------------- addresses


def test_two_addresses():
    """One application answers on every address that it listens on."""
    with serving(listen=("127.0.0.1:0", "127.0.0.2:0")) as server:
        assert [one.rpartition(":")[0] for one in server.addresses] == ["127.0.0.1", "127.0.0.2"]
        assert ask(server, number=0)[2] == "Healthy\n"
        assert ask(server, number=1)[2] == "Healthy\n"


def test_every_address():
    """A port without a host is served over IPv4 and, if the system has it, over IPv6."""
    with serving(listen=(":0",)) as server:
        port = int(server.addresses[0].rpartition(":")[2])
        hosts = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]
        for host in hosts:
            with closing(socket.create_connection((host, port), timeout=PATIENCE)) as sock:
                sock.sendall(ASK)
                assert read_answer(sock) == (200, "Healthy\n")


def has_ipv6():
    try:
        with closing(socket.socket(socket.AF_INET6)) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_address():
    """IPv6 addresses are written and shown in brackets."""
    with serving(listen=("[::1]:0",)) as server:
        assert server.addresses[0].startswith("[::1]:")
        assert ask(server)[2] == "Healthy\n"


def test_a_name_of_this_machine():
    """The server listens on a host name as it does on an address."""
    with serving(listen=("localhost:0",)) as server:
        assert ask(server)[2] == "Healthy\n"


def test_a_port_in_use():
    """A port in use gets one sentence, and the ports opened before it are closed again."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        taken = other.getsockname()[1]
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            first = free.getsockname()[1]
        server = WebServer(app(), [f"127.0.0.1:{first}", f"127.0.0.1:{taken}"])

        with pytest.raises(StartupError) as caught:
            server.start()

    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{taken}: address already in use; "
        "stop what is listening there, or choose another with --listen"
    )
    socket.create_server(("127.0.0.1", first)).close()
    server.stop()


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("10115", "cannot listen on '10115': write HOST:PORT, [IPV6]:PORT, :PORT for every"),
        ("::1:80", "cannot listen on '::1:80': write HOST:PORT"),
        ("127.0.0.1:99999", "cannot listen on '127.0.0.1:99999': write HOST:PORT"),
        ("127.0.0.1:http", "cannot listen on '127.0.0.1:http': write HOST:PORT"),
        (f"{'a' * 64}:80", f"cannot listen on '{'a' * 64}:80': write HOST:PORT"),
        ("\udcff:80", r"cannot listen on '\udcff:80': write HOST:PORT"),
        ("192.0.2.1:10115", "192.0.2.1 is not an address of this machine"),
        ("[not-one]:10115", "not-one does not resolve to an address of this machine"),
    ],
)
def test_addresses_that_are_none(listen, sentence):
    """An address that cannot be listened on gets one sentence that says what would be right."""
    with pytest.raises(StartupError) as caught:
        WebServer(app(), [listen]).start()

    assert sentence in str(caught.value)


def test_names_are_decoded_once():
    """%252F in a path is the name %2F, not a slash."""
    board = states.board(states.up("%2F"))
    with serving(app(board=board)) as server:
        assert ask(server, "/api/v1/sites/%252F")[0] == 200
        assert ask(server, "/api/v1/sites/%2F")[0] == 404
        assert ask(server, "/api/v1/sites/%FF%00")[0] == 404


# asyncio's half-made loop complains that nobody has closed it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_file_descriptors():
    """If the event loop gets no descriptor, the start fails with a sentence and is undone."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    hoard = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with suppress(OSError):
            while True:
                hoard.append(os.dup(0))
        os.close(hoard.pop())
        with pytest.raises(StartupError, match=r"the web server cannot run: .*Too many open files"):
            WebServer(app(), ["127.0.0.1:0"]).start()
        gc.collect()
    finally:
        for one in hoard:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def certificate(authority, tmp_path):
    """Return a function that (re)writes the server's certificate and returns its options."""

    def write(issuer=authority, **settings):
        cert = issuer.issue_cert("localhost")
        paths: dict[str, Any] = {
            "cert_file": tmp_path / "cert.pem",
            "key_file": tmp_path / "key.pem",
        }
        replace(paths["key_file"], cert.private_key_pem.bytes())
        replace(paths["cert_file"], b"".join(one.bytes() for one in cert.cert_chain_pems))
        files: dict[str, Any] = {key: str(path) for key, path in paths.items()}
        return TlsServerConfig(**files, **settings)

    return write


def replace(path, content):
    """Write as certificate managers do: put a new file in the old one's place."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


@pytest.fixture
def trusting():
    """Return a function that makes a client's context from authorities and a client certificate."""

    def make(*authorities, shown=None, newest=None):
        context = ssl.create_default_context()
        for one in authorities:
            one.configure_trust(context)
        if shown:
            shown.configure_cert(context)
        if newest:
            context.maximum_version = newest
        return context

    return make


def test_tls(authority, certificate, trusting):
    """With a certificate every answer comes over TLS, and plain requests get no answer."""
    with serving(config=WebConfig(tls_server_config=certificate())) as server:
        assert ask(server, context=trusting(authority))[2] == "Healthy\n"
        with closing(connect(server)) as sock:
            sock.sendall(ASK)
            assert b"200" not in sock.recv(65536)


def test_a_renewed_certificate(certificate, trusting):
    """The next client gets the renewed certificate without a reload."""
    old, new = trustme.CA(), trustme.CA()
    with serving(config=WebConfig(tls_server_config=certificate(old))) as server:
        assert ask(server, context=trusting(old))[0] == 200
        certificate(new)

        assert ask(server, context=trusting(new))[0] == 200


def test_a_broken_renewal(authority, certificate, trusting, caplog):
    """While the new files are broken the old certificate stays, and the log says why, once."""
    config = certificate()
    with serving(config=WebConfig(tls_server_config=config)) as server:
        replace(Path(config.cert_file), b"nonsense")

        assert ask(server, context=trusting(authority))[0] == 200
        assert ask(server, context=trusting(authority))[0] == 200

    events = [one.getMessage() for one in caplog.records]
    assert events.count("web_certificate_kept") == 1


@pytest.mark.parametrize("broken", ["cert_file", "key_file"])
def test_a_certificate_that_is_none(certificate, tmp_path, broken):
    """Files that are not a certificate get one sentence at the start, and no port is opened."""
    paths = {"cert_file": certificate().cert_file, "key_file": certificate().key_file}
    (tmp_path / "nonsense.pem").write_text("nonsense")
    config = TlsServerConfig(**(paths | {broken: str(tmp_path / "nonsense.pem")}))
    server = WebServer(app(), ["127.0.0.1:0"], WebConfig(tls_server_config=config))

    with pytest.raises(StartupError, match="are not a certificate and its unencrypted key"):
        server.start()

    assert server.addresses == ()


def test_client_certificates(authority, certificate, trusting, tmp_path):
    """Only clients with a certificate of the right authority and name get an answer."""
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    config = certificate(
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(tmp_path / "ca.pem"),
        client_allowed_sans=("prometheus.example",),
    )

    def answered(shown):
        try:
            return ask(server, context=trusting(authority, shown=shown))[0] == 200
        except (OSError, IndexError):
            return False

    with serving(config=WebConfig(tls_server_config=config)) as server:
        assert answered(authority.issue_cert("prometheus.example"))
        assert not answered(authority.issue_cert("other.example"))
        assert not answered(trustme.CA().issue_cert("prometheus.example"))
        assert not answered(None)


def test_tls_settings(authority, certificate, trusting):
    """The server offers the TLS versions and cipher suites of the configuration."""
    suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    config = certificate(max_version="TLS12", cipher_suites=(suite,))
    with serving(config=WebConfig(tls_server_config=config)) as server:
        with closing(connect(server, context=trusting(authority))) as sock:
            assert sock.version() == "TLSv1.2"
            assert sock.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        server.reconfigure(WebConfig(tls_server_config=certificate(min_version="TLS13")))
        with pytest.raises(ssl.SSLError):
            connect(server, context=trusting(authority, newest=ssl.TLSVersion.TLSv1_2))


# ---------------------------------------------------------------- users


def hashed(password):
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def basic(user, password):
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Authorization: Basic {token}\r\n"


@pytest.fixture(scope="module")
def guarded():
    users = {"alice": hashed("wonder:land"), "böb": hashed("x" * 72)}
    with serving(config=WebConfig(basic_auth_users=users)) as server:
        yield server


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (basic("alice", "wonder:land"), 200),
        (basic("alice", "wonder:land").replace("Basic", "bAsIc"), 200),
        (basic("böb", "x" * 80), 200),
        (basic("alice", "wrong"), 401),
        (basic("alice", ""), 401),
        (basic("mallory", "wonder:land"), 401),
        (basic("", ""), 401),
        ("", 401),
        ("Authorization: Basic\r\n", 401),
        ("Authorization: Basic !!!\r\n", 401),
        ("Authorization: Basic YWxpY2U=\r\n", 401),
        ("Authorization: Basic /////w==\r\n", 401),
        ("Authorization: Bearer abc\r\n", 401),
    ],
)
def test_basic_authentication(guarded, headers, status):
    """Only the right password opens the metrics."""
    found, head, text = ask(guarded, "/metrics", headers=headers)

    assert found == status
    assert ("up 1" in text) is (status == 200)
    assert ('www-authenticate: basic realm="website-monitor"' in head) is (status == 401)


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/sites", "/config", "/nothing", "//-/healthy", "/-/healthy/", "/-/reload"]
)
def test_basic_authentication_covers_everything(guarded, path):
    """Every path needs a password, whether it exists or not."""
    assert ask(guarded, path)[0] == 401


def test_health_needs_no_password(guarded):
    """The health endpoints need no password, so that a container's supervisor can use them."""
    assert ask(guarded, "/-/healthy")[0] == 200
    assert ask(guarded, "/-/ready")[0] == 503


def test_a_changed_password():
    """After a password change the old one is refused, whether it was remembered or not."""
    config = WebConfig(basic_auth_users={"alice": hashed("old")})
    with serving(config=config) as server:
        assert ask(server, "/metrics", headers=basic("alice", "old"))[0] == 200
        server.reconfigure(WebConfig(basic_auth_users={"alice": hashed("new")}))

        assert ask(server, "/metrics", headers=basic("alice", "old"))[0] == 401
        assert ask(server, "/metrics", headers=basic("alice", "new"))[0] == 200
        server.reconfigure(None)
        assert ask(server, "/metrics")[0] == 200


def test_guessing_keeps_nobody_out():
    """While many clients guess passwords, known users and the health check are answered."""
    slow = bcrypt.hashpw(b"right", bcrypt.gensalt(9)).decode()
    with serving(config=WebConfig(basic_auth_users={"alice": slow})) as server:
        assert ask(server, "/metrics", headers=basic("alice", "right"))[0] == 200
        statuses = []

        def guess(number):
            statuses.append(ask(server, "/metrics", headers=basic("alice", f"g{number}"))[0])

        guessers = [threading.Thread(target=guess, args=(number,)) for number in range(60)]
        for one in guessers:
            one.start()
        assert ask(server, "/metrics", headers=basic("alice", "right"))[0] == 200
        assert ask(server, "/-/healthy")[0] == 200
        for one in guessers:
            one.join()

    assert len(statuses) == 60
    assert set(statuses) <= {401, 503}


def test_guessing_leaves_others_a_turn():
    """While one address guesses passwords, a new user from another address is let in."""
    slow = bcrypt.hashpw(b"right", bcrypt.gensalt(8)).decode()
    over = threading.Event()
    with serving(config=WebConfig(basic_auth_users={"alice": slow})) as server:

        def guess(number):
            while not over.is_set():
                ask(server, "/metrics", headers=basic("alice", f"{number} {time.monotonic()}"))

        guessers = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
        for one in guessers:
            one.start()
        until(lambda: ask(server, "/metrics", headers=basic("alice", "wrong"))[0] == 503)
        headers = basic("alice", "right")
        status = ask(server, "/metrics", headers=headers, source="127.0.0.2")[0]
        over.set()
        for one in guessers:
            one.join()

    assert status == 200


def test_one_password_many_times_at_once():
    """A user who opens many connections at once, as Prometheus may at start, is let in on all."""
    slow = bcrypt.hashpw(b"right", bcrypt.gensalt(9)).decode()
    statuses = []
    with serving(config=WebConfig(basic_auth_users={"alice": slow})) as server:

        def scrape():
            statuses.append(ask(server, "/metrics", headers=basic("alice", "right"))[0])

        scrapers = [threading.Thread(target=scrape) for _ in range(15)]
        for one in scrapers:
            one.start()
        for one in scrapers:
            one.join()

    assert statuses == [200] * 15


def test_headers_of_the_configuration():
    """Configured headers replace ours, and an empty one removes ours."""
    headers = {"Strict-Transport-Security": "max-age=60", "X-Frame-Options": ""}
    config = WebConfig(http_server_config=HttpServerConfig(headers=headers))
    with serving(config=config) as server:
        head = ask(server)[1]

    assert "strict-transport-security: max-age=60" in head
    assert "x-frame-options" not in head
    assert "x-content-type-options: nosniff" in head


# ---------------------------------------------------------------- clients that are slow, or many


def test_one_connection_serves_many_requests():
    """A connection serves further requests, pipelined ones included."""
    with serving() as server, closing(connect(server)) as sock:
        for _ in range(3):
            sock.sendall(ASK)
            assert read_answer(sock) == (200, "Healthy\n")
        sock.sendall(ASK * 2 + ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert read_all(sock)[2].count("Healthy") == 3


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", ASK + b"GET /"], ids=["none", "half", "next"]
)
def test_a_request_that_never_ends(sent):
    """A client that does not send a whole request is dropped, even after earlier requests."""
    with serving(request=0.2) as server, closing(connect(server)) as sock:
        sock.sendall(sent)
        if sent.startswith(ASK):
            assert read_answer(sock)[0] == 200
        assert ends(sock)


def test_dripping_buys_no_time():
    """Single bytes do not extend the time that a request may take."""
    with (
        serving(request=0.5) as server,
        closing(connect(server)) as sock,
        pytest.raises(ConnectionError),
    ):
        send_again_and_again(sock, b"X", pause=0.02)


def test_a_head_without_end():
    """A request's head has a maximum size; a larger one is refused and not kept."""
    with serving() as server, closing(connect(server)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            send_again_and_again(sock, b"x" * 10_000)


def test_an_idle_connection():
    """A connection that sends no further request is closed after a while."""
    with serving(idle=0.2) as server, closing(connect(server)) as sock:
        sock.sendall(ASK)
        assert read_answer(sock)[0] == 200
        assert ends(sock)


def test_a_handshake_that_never_ends(certificate):
    """A client that connects to the TLS port and sends nothing is dropped as any other is."""
    config = WebConfig(tls_server_config=certificate())
    with serving(config=config, request=0.2) as server, closing(connect(server)) as sock:
        assert ends(sock)


def endless():
    """Return an application whose answer never ends, and the event that it was cancelled."""
    given_up = threading.Event()

    async def answer(_):
        async def pieces():
            try:
                while True:
                    yield b"x" * 100_000
                    await asyncio.sleep(0)
            finally:
                given_up.set()

        return StreamingResponse(pieces())

    return Starlette(routes=[Route("/", answer), Route("/-/healthy", healthy)]), given_up


async def healthy(_):
    return PlainTextResponse("Healthy\n")


def test_a_client_that_does_not_read():
    """An answer that the client does not read is cancelled."""
    application, given_up = endless()
    with serving(application, answer=0.3) as server, closing(connect(server)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        assert given_up.wait(PATIENCE)


def test_a_client_that_reads_a_byte_at_a_time():
    """A client must take the next piece within the limit, so reading a byte at a time fails."""
    application, given_up = endless()
    with serving(application, stall=0.5) as server, closing(connect(server)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + PATIENCE
        while not given_up.wait(0.02):
            with suppress(ConnectionError):  # the connection was dropped just before this
                sock.recv(1)
            assert time.monotonic() < end, "it was never given up"


def test_a_client_that_reads_on():
    """A client that keeps reading is never cut off, however long the whole answer takes."""
    application, given_up = endless()
    with serving(application, stall=0.5) as server, closing(connect(server)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert sock.recv(1_000_000)
        assert not given_up.is_set()


def test_slow_scrapes_leave_room():
    """Slow scrapes delay no others; one address gets half the places, for a limited time."""
    refused = []

    def scrape(_, sites):
        return "text/plain", iter([b"up 1\n"]) if sites else itertools.repeat(b"x" * 100_000)

    application = app(scrape=scrape, scrapes=4, on_scrape_refused=lambda: refused.append(1))
    with ExitStack() as opened, serving(application, stall=2.0) as server:
        for _ in range(2):
            slow = opened.enter_context(closing(connect(server)))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert slow.recv(1000)

        status, head, text = ask(server, "/metrics?site=a")
        assert (status, text) == (
            503,
            "2 such requests are being answered; try again in a moment.\n",
        )
        assert "retry-after: 5" in head
        assert refused == [1]
        assert ask(server, "/metrics?site=a", source="127.0.0.2")[0] == 200
        assert ask(server)[0] == 200
        until(lambda: ask(server, "/metrics?site=a")[0] == 200)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_many_slow_clients(authority, certificate, trusting, tls):
    """However many connections wait, their number is bounded and the next client is answered."""
    config = WebConfig(tls_server_config=certificate()) if tls else None
    context = trusting(authority) if tls else None
    with serving(config=config, connections=8) as server:
        loris = [connect(server) for _ in range(40)]
        for sock in loris:
            with suppress(ConnectionError):  # the server has already made room
                sock.sendall(b"\x16" if tls else b"GET / HT")

        assert ask(server, context=context)[2] == "Healthy\n"
        dropped = sum(ends(sock) for sock in loris[:30])

        for sock in loris:
            sock.close()
    assert dropped == 30


def test_who_is_being_answered_stays():
    """The server drops connections that wait, and never one that is being answered."""
    application, given_up = endless()
    with serving(application, connections=4) as server, closing(connect(server)) as reader:
        reader.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        reader.recv(1000)
        loris = [connect(server) for _ in range(20)]
        assert ask(server)[2] == "Healthy\n"

        assert not given_up.is_set()
        assert len(reader.recv(1000)) > 0
        for sock in loris:
            sock.close()


@pytest.mark.parametrize("noise", [b"\x00\xff" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02"])
def test_noise(noise, caplog):
    """Input that is not HTTP is refused, and port scanners do not fill the log."""
    with serving(request=0.3) as server:
        with closing(connect(server)) as sock:
            sock.sendall(noise)
            assert b" 200 " not in sock.recv(65536)
        assert ask(server)[0] == 200
    assert not caplog.records


@pytest.fixture(scope="module")
def open_server():
    with serving() as server:
        yield server


@pytest.mark.parametrize("sent", [b"ZZ\r\n", b"5\r\nhelloXX\r\n", b"F" * 30 + b"\r\n"])
@pytest.mark.parametrize("answered", [False, True], ids=["before the answer", "after the answer"])
@pytest.mark.parametrize("path", ["/-/healthy", "/metrics"])
def test_noise_for_a_body(open_server, sent, answered, path, caplog):
    """A malformed body ends the connection, and writes nothing to the log."""
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with closing(connect(open_server)) as sock:
        sock.sendall(head if answered else head + sent)
        found = sock.recv(65536)
        if answered:
            sock.sendall(sent)
        with suppress(ConnectionError):
            while piece := sock.recv(65536):
                found += piece
    assert ask(open_server)[0] == 200
    assert found.startswith(b"HTTP/1.1 200" if answered else b"HTTP/1.1 400")
    assert b"x-content-type-options: nosniff" in found.lower()
    assert not caplog.records


def test_a_large_body():
    """A request that announces a large body is refused on every path."""
    head = "Content-Length: 100000\r\n"
    with serving() as server:
        status, found, text = ask(server, "/metrics", headers=head)

    assert (status, "connection: close" in found) == (413, True)
    assert text == "The request body is too large (limit 65536 bytes); no endpoint reads a body.\n"


def test_a_body_without_end():
    """After the answer, the server reads the rest of a request only for a limited time."""
    head = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(request=0.3) as server, closing(connect(server)) as sock:
        sock.sendall(head)
        assert read_answer(sock)[0] == 200
        with pytest.raises(ConnectionError):
            send_again_and_again(sock, b"5\r\nhello\r\n", pause=0.01)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET http://x:1/-/healthy HTTP/1.1\r\nHost: x", 200),
        (b"GET HTTPS://x/sites/a%2Fb?y HTTP/1.1\r\nHost: x", 200),
        (b"GET http://x HTTP/1.1\r\nHost: x", 200),
        (b"GET http://x/metrics/http://x/-/healthy HTTP/1.1\r\nHost: x", 404),
        (b"GET ftp://x/metrics HTTP/1.1\r\nHost: x", 404),
        (b"GET http://[::1/metrics HTTP/1.1\r\nHost: [::1", 200),
        (b"GET metrics HTTP/1.1\r\nHost: x", 404),
        (b"GET ?x HTTP/1.1\r\nHost: x", 404),
        (b"GET //x/metrics HTTP/1.1\r\nHost: x", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: x", 404),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x", 404),
        (b"OPTIONS /metrics HTTP/1.1\r\nHost: x", 405),
        (b"BREW /metrics HTTP/1.1\r\nHost: x", 405),
        (b"get /metrics HTTP/1.1\r\nHost: x", 405),
        (b"HEAD /-/reload HTTP/1.1\r\nHost: x", 405),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1", 200),
        (b"GET /metrics HTTP/1.0", 200),
        (b"GET /metrics HTTP/1.1", 400),
        (b"GET /metrics", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: x", 404),
        (b"GET /sites/%ED%A0%80%00 HTTP/1.1\r\nHost: x", 404),
        (b"GET /logs?site=%FF%00 HTTP/1.1\r\nHost: x", 404),
        (b"GET /?q=%ED%A0%80%00%FF&state=up HTTP/1.1\r\nHost: x", 200),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x", 404),
        (b"GET /sites/../../../../etc/passwd HTTP/1.1\r\nHost: x", 404),
        (b"GET /metrics?" + b"a=b&" * 15_000 + b" HTTP/1.1\r\nHost: x", 200),
        (b"GET /?q=" + b"x" * 60_000 + b" HTTP/1.1\r\nHost: x", 200),
        (b"GET /nothing HTTP/1.1\r\nHost: [::1@:99999999/ \xff", 404),
        (b"GET /sd HTTP/1.1\r\nHost: \xff[", 200),
        (b"GET /sd HTTP/1.1\r\nHost:", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade", 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " + b"a/b;q=x," * 5000, 200),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30, 400),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else str(value),
)
def test_odd_requests(open_server, request_, status, caplog):
    """No odd request causes a traceback or a 500: the answer is the client's fault, or success."""
    with closing(connect(open_server)) as sock:
        sock.sendall(request_ + b"\r\n\r\n")
        stream = sock.makefile("rb")
        assert int(stream.readline().split()[1]) == status
        head = b"".join(iter(stream.readline, b"\r\n")).lower()
        assert b"\nx-content-type-options: nosniff" in b"\n" + head
        assert (b"\nallow: " in b"\n" + head) is (status == 405)
    assert not caplog.records


def head_of(size: int) -> bytes:
    """Return a request whose head has this many bytes."""
    start, end = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nX-Long: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize(
    "piece", [1 << 20, 65_536, 65_535, 40_000, 4096], ids=lambda size: f"pieces of {size}"
)
@pytest.mark.parametrize("before", [b"", ASK], ids=["alone", "pipelined"])
def test_a_head_has_64_kib_at_most(open_server, piece, before):
    """The limit is exact to the byte, however the head is cut, and also for a second request."""
    for size, status in ((65_536, 200), (65_537, 431), (120_000, 431)):
        with closing(connect(open_server)) as sock:
            sent = before + head_of(size)
            # The connection may be cut before the whole refused head is sent
            with suppress(ConnectionError):
                for start in range(0, len(sent), piece):
                    sock.sendall(sent[start : start + piece])
            stream = sock.makefile("rb")
            if before:
                assert stream.readline().split()[1] == b"200"
                (length,) = [
                    int(line.partition(b":")[2])
                    for line in iter(stream.readline, b"\r\n")
                    if line.lower().startswith(b"content-length:")
                ]
                stream.read(length)
            with suppress(ConnectionResetError):  # while the rest is read, which nobody needs
                assert int(stream.readline().split()[1]) == status


# ---------------------------------------------------------------- the stop


def test_stop_lets_idle_clients_go():
    """A stop does not wait for connections that send no request."""
    with serving() as server, closing(connect(server)) as sock:
        sock.sendall(ASK)
        read_answer(sock)
        started = time.monotonic()
        server.stop(PATIENCE)

        assert time.monotonic() - started < PATIENCE / 2
        assert ends(sock)
        with pytest.raises(ConnectionError):
            connect(server)


def test_stop_finishes_answers():
    """Clients that asked before the stop are answered, and no new client is accepted."""
    asked, go_on = threading.Event(), threading.Event()

    def text():
        asked.set()
        assert go_on.wait(PATIENCE)
        return "the end\n"

    with serving(app(config_text=text)) as server, closing(connect(server)) as sock:
        sock.sendall(b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(PATIENCE)
        stopping = threading.Thread(target=server.stop, args=(PATIENCE,))
        stopping.start()
        until(lambda: refused(server))
        go_on.set()

        assert "the end" in read_all(sock)[2]
        stopping.join(PATIENCE)
        assert not stopping.is_alive()


def refused(server):
    try:
        connect(server).close()
    except ConnectionError:
        return True
    return False


def test_stop_cuts_off_what_is_left(caplog):
    """A client that does not read its answer cannot delay the stop."""
    application, given_up = endless()
    with serving(application) as server, closing(connect(server)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.recv(1000)
        server.stop(0.1)

        assert given_up.is_set()
    assert not caplog.records


def test_stop_before_the_start():
    """Stopping a server that never started, or stopping it twice, does nothing."""
    before = set(threading.enumerate())  # servers of other tests may be on their way out
    server = WebServer(app(), ["127.0.0.1:0"])
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert all(thread.name != "web" for thread in set(threading.enumerate()) - before)


def test_half_an_answer_is_never_whole():
    """A bug in the middle of an answer ends the connection without marking the answer complete."""

    def breaks(*_):
        def pieces():
            yield b"x" * 100_000
            raise RuntimeError("in the middle")

        return "text/plain", pieces()

    with serving(app(scrape=breaks)) as server, closing(connect(server)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: identity\r\n\r\n")
        status, head, text = read_all(sock)

    assert status == 200
    assert "transfer-encoding: chunked" in head
    assert not text.endswith("0\r\n\r\n")


def test_threads_and_descriptors_are_given_back():
    """A stopped server leaves no thread and no descriptor behind."""
    descriptors = open_files()
    threads = set(threading.enumerate())  # servers of other tests may be on their way out
    for _ in range(3):
        with serving() as server:
            ask(server, "/")

    assert set(threading.enumerate()) <= threads
    assert open_files() <= descriptors
