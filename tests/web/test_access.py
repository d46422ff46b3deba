"""Who is let in, with a stand-in for bcrypt; with the real one over sockets in test_server.py."""

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
    """A client, and the list of what was compared."""
    compared = []

    def check(password, expected):
        compared.append((password, expected.decode()))
        return password == b"right"

    async def hello(_):
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", hello)])
    return TestClient(Access(app, WebConfig(basic_auth_users=HASHES), check)), compared


def test_unknown_users_take_as_long_as_known_ones(door):
    """Each unknown name is compared, always with the same hash; whose it is can not be foreseen."""
    client, compared = door
    names = [f"user-{number}" for number in range(40)]
    for name in names * 2:
        assert client.get("/", auth=(name, "right")).status_code == 401

    used = [expected for _, expected in compared]
    assert used[:40] == used[40:]
    assert set(used) == set(HASHES.values())


def test_what_proved_right_is_not_compared_again(door):
    """What was right is remembered, for as many users as there are; what was wrong is not."""
    client, compared = door
    for _ in range(3):
        assert client.get("/", auth=("alice", "right")).status_code == 200
        assert client.get("/", auth=("bob", "right")).status_code == 200
        assert client.get("/", auth=("alice", "wrong")).status_code == 401

    assert sorted(password for password, _ in compared) == [b"right"] * 2 + [b"wrong"] * 3


def test_what_is_free_of_the_log_in():
    """The paths that the application calls free, exactly as they were asked for, and no others."""

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
