"""Calls of sites that report themselves, over real sockets: which are accepted or refused."""

import socket
from collections.abc import Iterator

import pytest
import requests

from monitor.mailbox import LARGEST_BODY, Mailbox, Reporter
from monitor.web.answers import sentence
from monitor.web.push import PushCalls, is_call
from monitor.web.server import WebServer
from tests.fakes import FakeClock
from tests.waiting import PATIENCE

TOKEN = "0123456789abcdef"
SLUG = "key-of-a-project/backup"
GATUS = "0123456789gatus0"
REPORTERS = (
    Reporter(name="job", group="", token=TOKEN),
    Reporter(name="slug", group="", token=SLUG),
    Reporter(name="Nightly Backup", group="Core/DB", token=GATUS),
    Reporter(name="far", group="", token="token-of-elsewhere", elsewhere="shard 2/2"),
)


class Desk:
    """A server that takes calls, and the results it recorded."""

    def __init__(self) -> None:
        self.clock = FakeClock(time=1000.0)
        self.mailbox = Mailbox()
        self.reporters = REPORTERS
        self.called: list[str] = []
        self.is_stopping = False

    def app(self, inner):
        return PushCalls(
            inner,
            mailbox=self.mailbox,
            reporters=lambda: self.reporters,
            on_call=self.called.append,
            stopping=lambda: self.is_stopping,
            clock=self.clock,
        )

    def last(self, name: str):
        return self.mailbox.look(name, self.clock.time(), 60.0).last


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def url(desk) -> Iterator[str]:
    server = WebServer(desk.app(sentence("There is nothing here.", 404)), ["127.0.0.1:0"])
    server.start()
    yield f"http://{server.addresses[0]}"
    server.stop()


BEARER = {"Authorization": f"Bearer {GATUS}"}
KEY = "/api/v1/endpoints/core-db_nightly-backup/external"


@pytest.mark.parametrize(
    ("method", "path", "headers", "site", "said"),
    [
        ("GET", f"/push/{TOKEN}", {}, "job", {"up": True}),
        ("HEAD", f"/push/{TOKEN}", {}, "job", {"up": True}),
        ("PUT", f"/push/{TOKEN}?msg=all%20well", {}, "job", {"up": True, "message": "all well"}),
        ("POST", f"/push/{TOKEN}/fail?msg=no", {}, "job", {"up": False, "message": "no"}),
        ("POST", f"/push/{TOKEN}/0", {}, "job", {"up": True, "exit_status": 0}),
        ("POST", f"/ping/{TOKEN}/255", {}, "job", {"up": False, "exit_status": 255}),
        ("GET", f"/ping/{SLUG}", {}, "slug", {"up": True}),
        ("GET", f"/ping/{SLUG}/fail?rid=1", {}, "slug", {"up": False}),
        ("GET", f"/api/push/{TOKEN}", {}, "job", {"up": True}),
        ("GET", f"/api/push/{TOKEN}?status=&msg=&ping=", {}, "job", {"up": True}),
        ("GET", f"/api/push/{TOKEN}?status=UP", {}, "job", {"up": False}),
        (
            "GET",
            f"/api/push/{TOKEN}?status=down&msg=no%0Adisk&ping=1500",
            {},
            "job",
            {"up": False, "message": "no disk", "run_time": 1.5},
        ),
        (
            "POST",
            f"{KEY}?success=false&error=timeout&duration=1m2.5s",
            BEARER,
            "Nightly Backup",
            {"up": False, "message": "timeout", "run_time": 62.5},
        ),
        ("POST", f"{KEY}?success=true", BEARER, "Nightly Backup", {"up": True}),
    ],
)
def test_what_callers_say_is_understood(desk, url, method, path, headers, site, said):
    """Our own addresses are understood, and those of Healthchecks, Uptime Kuma and Gatus."""
    assert requests.request(method, url + path, headers=headers, timeout=10).status_code == 200
    assert desk.called == [site]
    call = desk.last(site)
    assert {key: getattr(call, key) for key in said} == said
    assert call.time == 1000.0


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/push/0123456789abcdeX", {}, 404),
        ("GET", "/push/", {}, 404),
        ("GET", f"/push/{TOKEN}/256", {}, 404),
        ("GET", f"/push/{TOKEN}/stop", {}, 404),
        ("GET", f"/push/{TOKEN}/fail/now", {}, 404),
        ("DELETE", f"/push/{TOKEN}", {}, 405),
        ("GET", f"{KEY}?success=true", BEARER, 405),
        ("PUT", f"{KEY}?success=true", BEARER, 405),
        ("GET", "/push/token-of-elsewhere", {}, 421),
        ("GET", "/api/push/0123456789abcdeX", {}, 404),
        ("POST", f"{KEY}?success=true", {}, 401),
        ("POST", f"{KEY}?success=true", {"Authorization": "Bearer 0123456789gatusX"}, 401),
        ("POST", KEY.replace("nightly", "daily") + "?success=true", BEARER, 401),
        ("POST", KEY, BEARER, 400),
        ("POST", f"{KEY}?success=true&duration=long", BEARER, 400),
    ],
)
def test_what_is_not_understood_changes_nothing(desk, url, method, path, headers, status):
    """Wrong tokens, addresses or methods change nothing; a token never opens another site's key."""
    answer = requests.request(method, url + path, headers=headers, timeout=10)
    assert answer.status_code == status
    assert desk.called == []
    assert TOKEN not in answer.text


GUESSES = (
    "guess",
    TOKEN[:-1],
    f"{TOKEN}0",
    TOKEN.upper(),
    "%00",
    "%ff%fe",
    "..%2f..%2fetc",
    "a" * 8000,
    "/",
    f"{TOKEN[:-1]}/fail",
    "key-of-a-project/other",
    f"guess?{TOKEN}",
)


@pytest.mark.parametrize(
    ("requests_of", "status"),
    [
        ([("GET", "/elsewhere", {}), *(("GET", f"/push/{one}", {}) for one in GUESSES)], 404),
        ([("POST", "/elsewhere", {}), *(("POST", f"/ping/{one}", {}) for one in GUESSES)], 404),
        ([("GET", f"/api/push/{one}", {}) for one in GUESSES], 404),
        (
            [
                ("POST", f"{KEY}?success=true", {}),
                ("POST", f"{KEY}?success=true", {"Authorization": f"Basic {GATUS}"}),
                ("POST", f"{KEY}?success=true", {"Authorization": f"Bearer {TOKEN}"}),
                ("POST", f"{KEY}?success=true", {"Authorization": "Bearer "}),
                ("POST", f"{KEY}?success=maybe", {"Authorization": "Bearer \xff"}),
                ("POST", KEY.replace("nightly", "daily"), BEARER),
                ("POST", KEY.replace("core-db_nightly-backup", "%ff"), BEARER),
            ],
            401,
        ),
    ],
    ids=["ours", "Healthchecks", "Uptime Kuma", "Gatus"],
)
def test_no_answer_tells_how_near_a_guess_came(desk, url, requests_of, status):
    """A near guess gets the status, headers and body of a missing path, or of any wrong log-in."""
    answers = [
        requests.request(method, url + path, headers=headers, timeout=10)
        for method, path, headers in requests_of
    ]
    for one in answers:
        one.headers.pop("Date")
    told = {(one.status_code, tuple(sorted(one.headers.items())), one.content) for one in answers}
    assert len(told) == 1
    assert {one.status_code for one in answers} == {status}
    assert desk.called == []


@pytest.mark.parametrize("path", ["/push/guess", "/api/push/guess", f"{KEY}?success=true"])
def test_a_strangers_body_is_not_waited_for(url, path):
    """A stranger's body is not read, however long or slow it is."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) in (b"HTTP/1.1 404", b"HTTP/1.1 401")


def test_a_body_that_comes_slowly_is_one_call(desk, url):
    """A body that comes in the smallest pieces is one call, recorded when the body is complete."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(f"POST /push/{TOKEN}/1 HTTP/1.1\r\nHost: x\r\n".encode())
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        for char in b"no space":
            assert desk.called == []
            connection.sendall(b"1\r\n%c\r\n" % char)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert desk.called == ["job"]
    assert desk.last("job").body == b"no space"


def test_a_run_has_a_beginning(desk, url):
    """The time from /start to the next call is the run time; /log does not end a run."""
    for path in ("/start", "/log", ""):
        assert requests.get(f"{url}/push/{TOKEN}{path}", timeout=10).status_code == 200
        desk.clock.advance(7.0)
    assert desk.called == ["job"]
    assert desk.last("job").run_time == 14.0


@pytest.mark.parametrize("size", [0, LARGEST_BODY, LARGEST_BODY + 1, 300_000])
def test_the_beginning_of_a_body_is_evidence(desk, url, size):
    """At most 10 KiB of a body is kept, and the caller is answered however much it sent."""
    body = bytes(range(256)) * (size // 256 + 1)
    answer = requests.post(f"{url}/push/{TOKEN}/1", data=body[:size], timeout=10)
    assert answer.status_code == 200
    assert desk.last("job").body == body[: min(size, LARGEST_BODY)]


def test_calls_that_cannot_be_noted_are_refused_with_a_time_to_try_again(desk, url):
    """Calls get a time to try again while the monitor stops, or while 100 of the site wait."""
    desk.is_stopping = True
    stopping = requests.get(f"{url}/push/{TOKEN}", timeout=10)
    desk.is_stopping = False
    answers = [requests.get(f"{url}/push/{TOKEN}", timeout=10) for _ in range(101)]
    assert [one.status_code for one in answers] == [200] * 100 + [429]
    assert stopping.status_code == 503
    assert stopping.headers["Retry-After"] == answers[-1].headers["Retry-After"] == "5"


def test_a_new_list_takes_effect_with_the_next_call(desk, url):
    """After a reload a replaced token opens nothing, and the new token works."""
    desk.reporters = (Reporter(name="job", group="", token="another-token-of-it"),)
    assert requests.get(f"{url}/push/{TOKEN}", timeout=10).status_code == 404
    assert requests.get(f"{url}/push/another-token-of-it", timeout=10).status_code == 200


@pytest.mark.parametrize("path", ["/pushy", "/api/v1/sites", "/api/v1/endpoints/a/b/external", "/"])
def test_other_paths_are_not_calls(path):
    """Paths that are not calls keep their log-in."""
    assert not is_call(path)
