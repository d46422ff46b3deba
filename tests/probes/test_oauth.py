"""Tokens without a socket: the request, which answers are tokens, and how long they are used."""

import base64
import json
import threading
from urllib.parse import parse_qsl

import pytest
import requests
import responses
from responses import RequestsMock

from monitor.clock import Deadline
from monitor.model import Failure, Reason
from monitor.probes.oauth import Grant, OAuth2Options, Tokens
from tests.fakes import FakeClock
from tests.waiting import PATIENCE

URL = "https://id.example/token"


@pytest.fixture
def server():
    with RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


class Client:
    """One client of the token server, with a clock moved by hand."""

    def __init__(self, **more) -> None:
        fields = {"client_id": "me", "client_secret": "shh-shh", **more}
        self.options = OAuth2Options(token_url=URL, **fields)
        self.clock = FakeClock()
        self.tokens = Tokens()
        self.session = requests.Session()

    def get(self, options: OAuth2Options | None = None) -> Grant | Failure:
        deadline = Deadline.after(5.0, self.clock)
        return self.tokens.get(options or self.options, deadline, self.send)

    def grant(self, options: OAuth2Options | None = None) -> Grant:
        found = self.get(options)
        assert isinstance(found, Grant), found
        return found

    def send(self, request: requests.Request) -> requests.Response:
        # As the probe's own session, which leaves redirects to the caller
        prepared = self.session.prepare_request(request)
        return self.session.send(prepared, allow_redirects=False)


def token(text: str = "abc", **fields: object) -> dict[str, object]:
    return {"access_token": text, **fields}


@pytest.mark.parametrize(
    ("more", "form"),
    [
        ({}, [("grant_type", "client_credentials")]),
        ({"scopes": ("a", "b")}, [("grant_type", "client_credentials"), ("scope", "a b")]),
        (
            {"params": (("audience", "api of mine"), ("resource", "ü&="))},
            [
                ("grant_type", "client_credentials"),
                ("audience", "api of mine"),
                ("resource", "ü&="),
            ],
        ),
        (
            {"params": (("grant_type", "password"), ("password", "p&w-secret"))},
            [("grant_type", "password"), ("password", "p&w-secret")],
        ),
    ],
    ids=["plain", "scopes", "parameters", "another grant"],
)
def test_what_is_asked_for(server, more, form):
    """The request is a POST (RFC 6749, 4.4.2) with the client's name and secret in a header."""
    server.post(URL, json=token())
    client = Client(**more)
    assert client.get() == Grant("abc", ("abc",), fresh=True)
    (call,) = server.calls
    assert parse_qsl(call.request.body) == form
    assert call.request.headers["Accept"] == "application/json"
    login = base64.b64encode(b"me:shh-shh").decode()
    assert call.request.headers["Authorization"] == f"Basic {login}"


@pytest.mark.parametrize(
    ("client_id", "client_secret"), [("mé", "pässwörd"), ("a b", "100%"), ("id", "pa:ss")]
)
def test_names_and_secrets_of_any_letters(server, client_id, client_secret):
    """They are sent as UTF-8, and the encoded form counts as a secret."""
    server.post(URL, json=token())
    client = Client(client_id=client_id, client_secret=client_secret)
    assert isinstance(client.get(), Grant)
    sent = server.calls[0].request.headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == f"{client_id}:{client_secret}"
    assert sent in client.options.sent_secrets()


@pytest.mark.parametrize(
    ("expires_in", "life"),
    [
        (3600, 3570),
        (40, 20),
        (60, 30),
        (61, 31),
        (1, 0.5),
        (0, 0),
        (-5, 0),
        ("3600", 3570),
        ("1e3", 970),
        (3600.5, 3570.5),
        (None, 300),
        ("soon", 300),
        ([], 300),
        ({}, 300),
        (1e400, 300),
        ("nan", 300),
        (10**400, 300),
    ],
)
def test_how_long_a_token_is_used(server, expires_in, life):
    """A token is used until 30 s before its end, half a short life, or 5 min if none is given."""
    server.post(URL, body=json.dumps(token(expires_in=expires_in)).replace("Infinity", "1e400"))
    client = Client()
    assert client.grant().fresh
    if life:
        client.clock.advance(life - 0.001)
        assert not client.grant().fresh
        client.clock.advance(0.002)
    assert client.grant().fresh
    assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ({"status": 503}, "answered with status 503"),
        ({"status": 400, "json": {"error": "invalid_client"}}, "answered with status 400"),
        ({"status": 201, "json": token()}, "answered with status 201"),
        ({"status": 204}, "answered with status 204"),
        ({"status": 302, "headers": {"Location": "/"}}, "answered with status 302"),
        ({"body": "<html>"}, "answered without an access_token"),
        ({"body": ""}, "answered without an access_token"),
        ({"body": b"\xff\xfe\x00"}, "answered without an access_token"),
        ({"body": "[" * 60_000}, "answered without an access_token"),
        ({"json": ["abc"]}, "answered without an access_token"),
        ({"json": {}}, "answered without an access_token"),
        ({"json": token("")}, "answered without an access_token"),
        ({"json": {"access_token": 5}}, "answered without an access_token"),
        ({"json": {"access_token": None}}, "answered without an access_token"),
        ({"json": {"token": "abc"}}, "answered without an access_token"),
        ({"json": token("a\r\nX: 1")}, "answered without an access_token"),
        ({"json": token("a\0b")}, "answered without an access_token"),
    ],
)
def test_what_is_no_token(server, answer, part):
    """The failure names the token server, and nothing is cached."""
    server.post(URL, **answer)
    client = Client()
    failure = client.get()
    assert failure == Failure(Reason.PROTOCOL_ERROR, f"token server {URL} {part}")
    server.replace(responses.POST, URL, json=token())
    assert client.get() == Grant("abc", ("abc",), fresh=True)


def test_a_token_is_each_clients_own(server):
    """A different secret, scope or parameter is a different client; equal clients share a token."""
    client = Client()
    others = [
        OAuth2Options(token_url=URL, client_id="me", client_secret="other"),
        OAuth2Options(token_url=URL, client_id="me", client_secret="shh-shh", scopes=("a",)),
        OAuth2Options(token_url=URL, client_id="me", client_secret="shh-shh", params=(("a", "b"),)),
    ]
    for number, _ in enumerate([client.options, *others]):
        server.post(URL, json=token(f"t{number}"))
    found = [client.grant(options).token for options in [client.options, *others]]
    assert found == ["t0", "t1", "t2", "t3"]
    same = OAuth2Options(token_url=URL, client_id="me", client_secret="shh-shh")
    assert client.get(same) == Grant("t0", ("t0",), fresh=False)


def test_a_refused_token_is_dropped_once(server):
    """A token that another check has replaced meanwhile is kept."""
    for number in range(2):
        server.post(URL, json=token(f"t{number}"))
    client = Client()
    assert client.grant().token == "t0"
    client.tokens.drop(client.options, "t0")
    assert client.get() == Grant("t1", ("t1",), fresh=True)
    client.tokens.drop(client.options, "t0")
    assert client.get() == Grant("t1", ("t1",), fresh=False)


def test_a_transport_error_is_passed_on(server):
    """The transport's error is passed on as it is, and the next check tries again."""
    server.post(URL, body=requests.ConnectionError("refused"))
    client = Client()
    with pytest.raises(requests.ConnectionError):
        client.get()
    server.replace(responses.POST, URL, json=token())
    assert client.grant().fresh


def test_threads_that_need_one_token_fetch_it_once(server):
    """One thread fetches the token, and the others wait for it."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(_):
        asked.set()
        assert go_on.wait(PATIENCE)
        return 200, {}, '{"access_token": "abc"}'

    server.add_callback(responses.POST, URL, slow)
    client = Client()
    found: list[Grant] = []
    threads = [threading.Thread(target=lambda: found.append(client.grant())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert asked.wait(PATIENCE)
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(grant.fresh for grant in found) == [False] * 7 + [True]
    assert len(server.calls) == 1


def test_the_wait_for_another_checks_token_ends_with_the_deadline(server):
    """A check that runs out of time says what it waited for."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(_):
        asked.set()
        assert go_on.wait(PATIENCE)
        return 200, {}, '{"access_token": "abc"}'

    server.add_callback(responses.POST, URL, slow)
    client = Client()
    first = threading.Thread(target=client.get)
    first.start()
    try:
        assert asked.wait(PATIENCE)
        late = Deadline(at=client.clock.monotonic(), timeout=5.0, clock=client.clock)
        assert client.tokens.get(client.options, late, client.send) == Failure(
            Reason.READ_TIMEOUT, f"another check waits for a token from {URL} since 5s"
        )
    finally:
        go_on.set()
        first.join(PATIENCE)
