"""The WebSocket probe over real loopback sockets: upgrades, dialogues, hostile peers."""

import base64
import hashlib
import json
import struct
import time

import pytest

from monitor.errors import ConfigError
from monitor.model import Phase, Reason
from monitor.probes import ws
from tests.narrowing import known
from tests.probes.servers import (
    answer,
    drip,
    read_request,
    repeat,
    reset,
    stay_silent,
)
from tests.probes.talk import all_ended, observe, site_of, wait_for_end
from tests.waiting import until

SHORT = "400ms"
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


@pytest.fixture
def look(handles, authority):
    """Return a function that checks a WebSocket server once; ``steps`` are its dialogue."""

    def run(server, *steps, path="/", scheme=None, **keys):
        keys["ws"] = {**keys.get("ws", {}), "dialogue": steps}
        scheme = scheme or server.scheme.replace("http", "ws")
        url = f"{scheme}://localhost:{server.port}{path}"
        return observe(handles, authority, url, **keys)

    return run


def frame(data: bytes, kind: int = TEXT, *, final: bool = True) -> bytes:
    """Return a server's frame."""
    head = bytes([kind | (0x80 if final else 0)])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    return head + b"\x7e" + struct.pack("!H", len(data)) + data


def read_frame(connection) -> tuple[int, bytes]:
    """Read a client's frame and return its kind and payload; keep both as a request."""
    take = _reader(connection)
    first, second = take(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", take(2))
    mask, data = take(4), take(size)
    payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    connection.server.requests.append(bytes([first & 0x0F]) + payload)
    return first & 0x0F, payload


def _reader(connection):
    def take(size):
        data = b""
        while len(data) < size:
            piece = connection.sock.recv(size - len(data))
            if not piece:
                raise OSError("the client went away")
            data += piece
        return data

    return take


def header(request: bytes, name: str) -> str | None:
    """Return the value of a request's header."""
    for line in request.decode().split("\r\n"):
        key, _, value = line.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


SWITCH = ("Upgrade: websocket", "Connection: Upgrade")


def upgrade(*headers: str, accept: str | None = None, after: bytes = b"", switch=SWITCH):
    """Read a request and switch protocols, with frames after the answer."""

    def step(connection):
        read_request(connection)
        if not connection.server.requests:
            return  # the client went away after the handshake
        key = header(connection.server.requests[-1], "Sec-WebSocket-Key")
        guid = f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        digest = hashlib.sha1(guid.encode()).digest()  # noqa: S324  as RFC 6455 says
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            *switch,
            f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}",
            *headers,
            "",
            "",
        ]
        connection.sock.sendall("\r\n".join(lines).encode() + after)

    return step


# ---------------------------------------------------------------- the upgrade


def test_an_upgrade_is_enough(serve, look):
    """Without a dialogue the answer to the upgrade is the answer, and the probe sends a close."""
    server = serve([upgrade("X-Node: seven"), read_frame])
    seen = look(server, path="/chat?room=1")
    assert seen.failure is None
    assert (seen.answer.status, seen.answer.upgraded) == (101, True)
    assert ("X-Node", "seven") in seen.answer.headers
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.PROCESSING]
    assert seen.duration == sum(seen.phases.values())
    assert (seen.address, seen.tls) == ("127.0.0.1", None)
    request = server.requests[0]
    assert request.startswith(b"GET /chat?room=1 HTTP/1.1\r\n")
    assert header(request, "Host") == f"localhost:{server.port}"
    assert known(header(request, "User-Agent")).startswith("website-monitor/")
    assert header(request, "Sec-WebSocket-Version") == "13"
    assert len(base64.b64decode(known(header(request, "Sec-WebSocket-Key")))) == 16
    until(lambda: len(server.requests) > 1, "the goodbye")
    assert server.requests[1] == bytes([CLOSE]) + struct.pack("!H", 1000)


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        ((), "Upgrade: websocket"),
        (("Upgrade: websocket",), "Connection: upgrade"),
        (("Connection: Upgrade",), "Upgrade: websocket"),
        (("Upgrade: h2c", "Connection: Upgrade"), "Upgrade: websocket"),
        (("Upgrade: websocket", "Connection: keep-alive"), "Connection: upgrade"),
    ],
)
def test_an_upgrade_says_what_it_upgrades_to(serve, look, lines, missing):
    """101 without Upgrade and Connection is not an upgrade to WebSocket (RFC 6455, 4.1)."""
    server = serve([upgrade(switch=lines), wait_for_end])
    seen = look(server)
    assert seen.failure.reason is Reason.PROTOCOL_ERROR
    message = f"127.0.0.1:{server.port} answered 101 without the header {missing}"
    assert seen.failure.message.replace("localhost", "127.0.0.1") == message


def test_the_headers_of_an_upgrade_are_lists(serve, look):
    """Case does not matter, Connection may have more values, and several lines form one list."""
    lines = ("upgrade: WebSocket", "connection: keep-alive", "Connection: x, uPGRADE")
    assert look(serve([upgrade(switch=lines), read_frame])).failure is None


def test_an_extension_that_was_not_offered_is_refused(serve, look):
    """Frames of an unknown extension could not be read (RFC 6455, 4.1), so the check fails."""
    server = serve([upgrade("Sec-WebSocket-Extensions: permessage-deflate"), wait_for_end])
    seen = look(server)
    assert seen.failure.reason is Reason.PROTOCOL_ERROR
    assert "extension 'permessage-deflate', which was not offered" in seen.failure.message


def test_every_check_has_a_key_of_its_own(serve, look):
    """The key is a nonce, so every check sends a new one."""
    server = serve([upgrade()])
    look(server)
    look(server)
    keys = {header(request, "Sec-WebSocket-Key") for request in server.requests}
    assert len(keys) == 2


@pytest.mark.parametrize("status", ["200 OK", "301 Moved", "403 Forbidden", "500 Oops"])
def test_another_status_is_an_answer(serve, look, status):
    """A server that does not upgrade has answered, and expect.status judges that."""
    headers = [("Location", "/elsewhere"), ("X-Why", "because")]
    seen = look(serve(answer(b"no", status, headers)), {"expect": "never asked for"})
    assert seen.failure is None
    assert (seen.answer.status, seen.answer.upgraded) == (int(status[:3]), False)
    assert ("X-Why", "because") in seen.answer.headers


def test_informational_answers_come_before_the_final_one(serve, look):
    """A 1xx answer other than 101 is not the final answer."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    seen = look(serve([read_request, early, b"HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\n"]))
    assert (seen.answer.status, seen.answer.headers) == (404, (("X-A", "b"),))


def test_headers_and_logins_are_sent(serve, look):
    """The upgrade sends headers, subprotocols and credentials of either kind."""
    server = serve([upgrade("Sec-WebSocket-Protocol: mqtt")])
    options = {
        "headers": {"Origin": "https://example.org", "X-Empty": ""},
        "subprotocols": ["graphql-ws", "mqtt"],
        "basic_auth": {"username": "me", "password": "sésame"},
        "user_agent": "probe/1",
    }
    assert look(server, ws=options).failure is None
    request = server.requests[0]
    assert header(request, "Origin") == "https://example.org"
    assert b"X-Empty:\r\n" in request
    assert header(request, "Sec-WebSocket-Protocol") == "graphql-ws, mqtt"
    assert (
        header(request, "Authorization")
        == "Basic " + base64.b64encode("me:sésame".encode()).decode()
    )
    assert header(request, "User-Agent") == "probe/1"
    assert header(request, "Accept") is None
    look(server, ws={"bearer_token": "t0ken"})
    assert header(server.requests[1], "Authorization") == "Bearer t0ken"


def test_credentials_of_the_url_log_in(serve, handles, authority):
    """The URL's user and password are sent as basic authentication."""
    server = serve([upgrade()])
    observe(handles, authority, f"ws://me:p%40ss@127.0.0.1:{server.port}/")
    authorization = header(server.requests[0], "Authorization")
    assert base64.b64decode(known(authorization).removeprefix("Basic ")) == b"me:p@ss"
    assert header(server.requests[0], "Host") == f"127.0.0.1:{server.port}"


def test_a_proxy_is_asked_for_a_tunnel(serve, look):
    """With a proxy, the upgrade goes through a tunnel."""

    def tunnel(connection):
        read_request(connection)
        connection.sock.sendall(b"HTTP/1.1 200 Go on\r\n\r\n")

    proxy = serve([tunnel, upgrade(after=frame(b"hi"))])
    url = f"http://me:sesame@127.0.0.1:{proxy.port}"
    server = serve([])
    seen = look(server, {"expect": "^hi$"}, ws={"proxy": url})
    assert seen.failure is None, seen.failure
    assert proxy.requests[0].startswith(f"CONNECT localhost:{server.port} ".encode())
    assert header(proxy.requests[0], "Proxy-Authorization") is not None
    assert proxy.requests[1].startswith(b"GET / ")
    assert header(proxy.requests[1], "Proxy-Authorization") is None


def test_a_proxy_is_told_the_sites_user_agent(serve, look):
    """CONNECT sends the same user agent as the upgrade, even if a site's header sets it."""
    proxy = serve([read_request, b"HTTP/1.1 407 Login\r\n\r\n"])
    ws = {"proxy": f"http://127.0.0.1:{proxy.port}", "headers": {"user-agent": "acme/1"}}
    seen = look(serve(upgrade()), ws=ws)
    assert seen.failure.reason is Reason.PROXY_ERROR
    assert seen.failure.message.endswith(": it wants a login (status 407)")
    assert header(proxy.requests[0], "User-Agent") == "acme/1"


def test_wss_is_verified(serve, look, authority):
    """The TLS handshake is verified and reported; a bad certificate has its reason."""
    seen = look(serve([upgrade(after=frame(b"hi"))], tls=authority.context()), {"expect": "hi"})
    assert seen.failure is None
    assert (seen.tls.verified, len(seen.tls.chain)) == (True, 1)
    assert list(seen.phases) == [
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.TLS,
        Phase.PROCESSING,
        Phase.TRANSFER,
    ]
    stalled = look(serve([stay_silent]), scheme="wss", timeout=SHORT)
    assert stalled.failure.reason is Reason.TLS_TIMEOUT
    bad = look(serve([upgrade()], tls=authority.expired()))
    assert bad.failure.reason is Reason.TLS_EXPIRED
    assert (bad.tls.verified, len(bad.tls.chain), bad.answer) == (False, 1, None)


def test_server_name_and_connect_to_hold(serve, handles, authority):
    """The certificate must cover server_name, and Host stays the URL's."""
    server = serve([upgrade()], tls=authority.context("inner.example.org"))
    seen = observe(
        handles,
        authority,
        "wss://chat.example.org/x",
        tls={"server_name": "inner.example.org"},
        network={"connect_to": f"127.0.0.1:{server.port}"},
    )
    assert seen.failure is None
    assert header(server.requests[0], "Host") == "chat.example.org"


@pytest.mark.parametrize(
    ("script", "reason", "part"),
    [
        ([upgrade(accept="AAAA")], Reason.PROTOCOL_ERROR, "a wrong Sec-WebSocket-Accept"),
        (
            [upgrade("Sec-WebSocket-Protocol: soap")],
            Reason.PROTOCOL_ERROR,
            "chose subprotocol 'soap', which was not offered",
        ),
        ([read_request, b"SSH-2.0-OpenSSH\r\n"], Reason.PROTOCOL_ERROR, "does not keep to HTTP"),
        ([read_request], Reason.CONNECTION_LOST, "before it answered the upgrade"),
        (
            [read_request, b"HTTP/1.1 101 Switching\r\nUpgr"],
            Reason.CONNECTION_LOST,
            "before it answered the upgrade",
        ),
        ([read_request, stay_silent], Reason.READ_TIMEOUT, "no answer to the upgrade from"),
        (
            [read_request, b"HTTP/1.1 101 OK\r\n", drip(b"X: y\r\n", every=0.02)],
            Reason.READ_TIMEOUT,
            "no answer to the upgrade from",
        ),
        (
            [read_request, b"HTTP/1.1 101 OK\r\n", repeat(b"X: " + b"y" * 4000 + b"\r\n")],
            Reason.PROTOCOL_ERROR,
            "more than 64KiB of headers",
        ),
        (
            [read_request, repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n")],
            Reason.PROTOCOL_ERROR,
            "more than 64KiB of headers",
        ),
    ],
    ids=[
        "wrong accept",
        "wrong subprotocol",
        "no HTTP",
        "closes",
        "closes in its headers",
        "silent",
        "drips",
        "header flood",
        "1xx flood",
    ],
)
def test_an_upgrade_that_fails(serve, look, script, reason, part):
    """Anything that is not an HTTP answer has its reason."""
    begin = time.monotonic()
    seen = look(serve(script), timeout=SHORT if reason is Reason.READ_TIMEOUT else "5s")
    assert time.monotonic() - begin < 20
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure


# ---------------------------------------------------------------- the dialogue


def test_messages_are_sent_and_expected(serve, look):
    """Text is sent as it is, groups are sent back, and messages that do not match are skipped."""
    server = serve(
        [
            upgrade(after=frame(b"welcome") + frame(b'{"id": "4711"}')),
            read_frame,
            frame(b"other") + frame(b"done\nreally"),
            read_frame,
        ]
    )
    seen = look(
        server,
        {"expect": r'"id": "(?P<id>\d+)"'},
        {"send": r'{"subscribe": "\g<id>"}'},
        {"expect": "really$"},
    )
    assert seen.failure is None
    assert server.requests[1] == bytes([TEXT]) + b'{"subscribe": "4711"}'
    assert seen.answer.received == b"done\nreally"


def test_the_next_message_must_fit(serve, look):
    """expect_next matches only the next message, and its groups can be sent back."""
    server = serve([upgrade(after=frame(b"noise") + frame(b"hello 7")), read_frame])
    seen = look(server, {"expect_next": "^hello"}, timeout="2s")
    assert seen.failure.message == 'expected "^hello", got "noise"'
    server = serve([upgrade(after=frame(b"hello 7")), read_frame, frame(b"bye 7")])
    seen = look(
        server, {"expect_next": r"^hello (\d)"}, {"send": r"\1"}, {"expect_next": "^bye 7$"}
    )
    assert seen.failure is None


def test_bytes_are_whole_messages(serve, look):
    """send_bytes sends a binary message; expect_bytes must match all of the next one."""
    server = serve([upgrade(), read_frame, frame(b"\x20\x02\0\0", BINARY) + frame(b"\0\1\2")])
    connect, accepted = {"send_bytes": "10 00"}, {"expect_bytes": "20 02 00 00"}
    seen = look(server, connect, accepted, {"expect_bytes": "00 01"})
    assert seen.failure.reason is Reason.TCP_DIALOGUE
    assert seen.failure.message == r'expected bytes 00 01, got "\x00\x01\x02"'
    assert server.requests[1] == bytes([BINARY, 0x10, 0])


def test_fragments_make_one_message_and_pings_are_answered(serve, look):
    """Fragments are joined, and a ping between them is answered."""
    frames = [
        frame(b"he", final=False),
        frame(b"are you there", PING),
        frame(b"l" * 300, CONTINUATION, final=False),
        frame(b"o", CONTINUATION),
    ]
    server = serve([upgrade(after=b"".join(frames)), read_frame, frame(b"bye")])
    seen = look(server, {"expect": "^hel{300}o$"}, {"expect": "bye"})
    assert seen.failure is None
    assert server.requests[1] == bytes([PONG]) + b"are you there"


def test_an_empty_message_is_a_message(serve, look):
    """A message without a payload can be sent and expected."""
    server = serve([upgrade(), read_frame, frame(b"")])
    assert look(server, {"send": ""}, {"expect": "^$"}).failure is None
    assert server.requests[1] == bytes([TEXT])


def test_a_long_message_is_sent_whole(serve, look):
    """A message larger than the socket's buffer is sent in pieces."""
    text = "x" * 60_000
    server = serve([upgrade(), 0.1, read_frame, frame(b"ok")])
    assert look(server, {"send": text}, {"expect": "ok"}).failure is None
    assert server.requests[1] == bytes([TEXT]) + text.encode()


@pytest.mark.parametrize(
    ("frames", "reason", "part"),
    [
        (frame(b"no"), Reason.TCP_DIALOGUE, 'expected "^ok$", got "no"'),
        (b"", Reason.READ_TIMEOUT, 'within 400ms (expected "^ok$")'),
        (
            frame(struct.pack("!H", 1008) + b"go away", CLOSE),
            Reason.CONNECTION_LOST,
            'closed the connection before "^ok$" came: 1008 go away',
        ),
        (frame(b"", CLOSE), Reason.CONNECTION_LOST, 'before "^ok$" came'),
        (frame(b"half", final=False), Reason.TCP_DIALOGUE, 'got "half"'),
        (b"\xff\xff\xff", Reason.PROTOCOL_ERROR, "does not keep to WebSocket: invalid reserved"),
        (b"\x81\x85masked123", Reason.PROTOCOL_ERROR, "does not keep to WebSocket: "),
    ],
    ids=["another", "none", "close", "bare close", "half", "noise", "masked"],
)
def test_a_dialogue_that_fails(serve, look, frames, reason, part):
    """The upgrade remains the answer, and the failure says what came instead."""
    seen = look(serve([upgrade(after=frames), stay_silent]), {"expect": "^ok$"}, timeout=SHORT)
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure
    assert (seen.answer.status, seen.answer.upgraded) == (101, True)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [((), Reason.CONNECTION_LOST), ((0.05, reset), Reason.CONNECTION_LOST)],
    ids=["closes", "resets"],
)
@pytest.mark.parametrize("secure", [False, True])
def test_a_connection_that_ends(serve, look, authority, ending, reason, secure):
    """With or without TLS, a connection that ends too early is connection_lost."""
    server = serve([upgrade(), *ending], tls=authority.context() if secure else None)
    seen = look(server, {"expect": "ok"})
    assert seen.failure.reason is reason, seen.failure


HOSTILE = {
    "endless messages": repeat(frame(b"spam " * 100)),
    "empty messages": repeat(frame(b"") * 100),
    "pings": repeat(frame(b"x" * 100, PING) * 100),
    "an endless message": repeat(frame(b"x" * 1000, CONTINUATION, final=False)),
    "a frame of a terabyte": repeat(b"x" * 4096),
    "drips": drip(frame(b"spam"), every=0.01),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_peer_costs_no_more_than_the_deadline(serve, look, name):
    """However much or little is sent, time and memory are bounded."""
    first = {
        "an endless message": frame(b"x", final=False),
        "a frame of a terabyte": b"\x81\x7f" + struct.pack("!Q", 1 << 40),
    }
    server = serve([upgrade(after=first.get(name, b"")), HOSTILE[name]])
    begin = time.monotonic()
    seen = look(server, {"expect": "ok"}, timeout=SHORT)
    assert time.monotonic() - begin < 10
    assert seen.failure.reason in (Reason.TCP_DIALOGUE, Reason.READ_TIMEOUT)
    assert len(seen.answer.received) <= 1024


def test_a_secret_is_never_quoted(serve, look):
    """If a peer sends our password back, neither messages nor the evidence contain it."""
    server = serve([upgrade(), read_frame, frame(b"no hunter2-hunter2 here"), stay_silent])
    login = {"send": "${PASS}"}
    keys = {"environ": {"PASS": "hunter2-hunter2"}, "timeout": SHORT}
    seen = look(server, login, {"expect": "^ok$"}, **keys)
    assert (
        seen.failure.message
        == 'expected "^ok$", got "no <secret> here", and nothing that matches within 400ms'
    )
    assert seen.answer.received == b"no <secret> here"


def test_connections_do_not_outlive_their_check(serve, look, authority):
    """Each check closes its connection, with and without a dialogue, good or bad."""
    server = serve([upgrade(after=frame(b"hi")), wait_for_end], tls=authority.context())
    look(server)
    look(server, {"expect": "hi"})
    look(server, {"expect": "ho"}, timeout=SHORT)
    late = serve([read_request, wait_for_end])
    look(late, timeout=SHORT)
    assert all_ended(server, 3)
    assert all_ended(late, 1)


def test_a_short_deadline_is_kept_in_the_upgrade(serve, look):
    """A deadline between two turns of libcurl still ends the wait."""
    seen = look(serve([read_request, stay_silent]), timeout="30ms")
    assert seen.failure.reason is Reason.READ_TIMEOUT
    assert seen.duration < 0.4


# ---------------------------------------------------------------- the options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headers": {"Sec-WebSocket-Key": "x"}}, "may not set Sec-WebSocket-Key"),
        ({"headers": {"a b": "x"}}, "is not a header's name"),
        ({"headers": {"A": "x\ny"}}, "must be one line"),
        ({"subprotocols": ["a, b"]}, "'a, b' is not a subprotocol's name"),
        (
            {"bearer_token": "x", "headers": {"authorization": "y"}},
            "bearer_token and authorization cannot be used together",
        ),
        ({"proxy": "ftp://x"}, "proxy must be an http"),
        ({"dialogue": [{"send": r"\1"}]}, "refers to"),
        ({"dialogue": [{"starttls": True}]}, "starttls"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:20],
)
def test_wrong_options_are_configuration_errors(options, message):
    """A mistake in the options is reported when the configuration is read."""
    with pytest.raises(ConfigError) as error:
        site_of("ws://localhost/", ws=options)
    assert message in str(error.value)


def test_a_url_has_a_host_and_no_fragment():
    """A URL must have a host and no fragment (RFC 6455)."""
    with pytest.raises(ValueError, match="needs a host: wss:"):
        ws.check_url("wss:///chat")
    with pytest.raises(ValueError, match="no fragment"):
        ws.check_url("ws://example.com/#top")
