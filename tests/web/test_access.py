"""Who may log in, with a stand-in for bcrypt; test_server.py uses the real one over sockets."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from monitor.web.access import Access
from monitor.web.web_config import WebConfig

HASHES = {"alice": "$2b$10$" + "a" * 53, "bob": "$2b$12$" + "b" * 53}


@pytest.fixture
def door():
    """Return an access check, and the list of the comparisons it made."""
    compared = []

    def check(password, expected):
        compared.append((password, expected.decode()))
        return password == b"right"

    async def hello(_):
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", hello)])
    return TestClient(Access(app, WebConfig(basic_auth_users=HASHES), check)), compared


def test_unknown_users_take_as_long_as_known_ones(door):
    """An unknown name is compared with the same user's hash each time, one nobody can predict."""
    client, compared = door
    names = [f"user-{number}" for number in range(40)]
    for name in names * 2:
        assert client.get("/", auth=(name, "right")).status_code == 401

    used = [expected for _, expected in compared]
    assert used[:40] == used[40:]
    assert set(used) == set(HASHES.values())


def test_what_proved_right_is_not_compared_again(door):
    """Correct passwords are remembered, one for each user; wrong ones are not."""
    client, compared = door
    for _ in range(3):
        assert client.get("/", auth=("alice", "right")).status_code == 200
        assert client.get("/", auth=("bob", "right")).status_code == 200
        assert client.get("/", auth=("alice", "wrong")).status_code == 401

    assert sorted(password for password, _ in compared) == [b"right"] * 2 + [b"wrong"] * 3


def test_what_is_free_of_the_log_in():
    """Exactly the paths that the application declares free need no log-in, and no others."""

    async def hello(scope, receive, send):
        await PlainTextResponse(scope["path"])(scope, receive, send)

    config = WebConfig(basic_auth_users=HASHES)
    client = TestClient(Access(hello, config, is_free={"/status", "/a b"}.__contains__))

    for path, status in (
        ("/status", 200),
        ("/status?x=1", 200),
        ("/a%20b", 200),
        ("/status/", 401),
        ("/status/../config", 401),
        ("/config", 401),
        ("//status", 401),
    ):
        assert client.get(path).status_code == status, path
