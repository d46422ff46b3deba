"""Requests that are not checks: how they are sent, and what they return."""

import pytest

from monitor.clock import Deadline, SystemClock
from monitor.model import Failure, Reason
from monitor.outbound import OutgoingRequest, Reply
from monitor.probes.client import Client
from tests.probes.servers import answer, read_request, stay_silent


def call(url: str, timeout: float = 5.0, **values) -> Reply | Failure:
    return Client()(OutgoingRequest(url=url, **values), Deadline.after(timeout, SystemClock()))


def test_without_a_body_the_url_is_asked_for(serve):
    """A GET with the monitor's name returns the status, headers in lower case and the body."""
    server = serve(answer(b"pong", "201 Created", [("X-Id", "7"), ("X-Id", "8")]))
    reply = call(server.url("/ping"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.headers["x-id"]) == (201, b"pong", "7, 8")
    assert server.requests[0].startswith(b"GET /ping HTTP/1.1\r\n")
    assert b"\r\nUser-Agent: website-monitor/" in server.requests[0]


def test_a_login_in_the_url_is_sent_as_basic_authentication(serve):
    """The login is sent as Basic authentication and is removed from the requested address."""
    server = serve(answer())
    call(server.url("/").replace("//", "//user:p%40ss@"), body=b"{}")
    call(server.url("/x?off=9%&q=%20").replace("//", "//token@"))
    assert server.requests[0].startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic dXNlcjpwQHNz\r\n" in server.requests[0]
    assert server.requests[1].startswith(b"GET /x?off=9%25&q=%20 HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic dG9rZW46\r\n" in server.requests[1]


def test_no_environment_and_no_netrc_are_asked(serve, monkeypatch, tmp_path):
    """A proxy or login from the environment or .netrc is not used for messages."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server = serve(answer())
    assert isinstance(call(server.url()), Reply)
    assert b"Authorization" not in server.requests[0]


def test_as_much_of_a_body_is_read_as_was_asked_for(serve):
    """The client does not wait for more of the body than it was asked to read."""
    server = serve(
        [*answer(b"x" * 1000)[:1], b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000, stay_silent]
    )
    reply = call(server.url(), max_body=100)
    assert isinstance(reply, Reply)
    assert reply.body == b"x" * 100


@pytest.mark.parametrize("url", ["http://", "http:///sec-ret", "http://a b.example/sec-ret"])
def test_a_url_that_cannot_be_requested_is_a_failure(url):
    """The error does not quote the URL, which may hold a secret."""
    failure = call(url)
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.PROTOCOL_ERROR
    assert "sec-ret" not in failure.message


def test_an_answer_without_an_end_of_its_head_is_a_failure(serve):
    """An answer whose head is incomplete is a failure."""
    failure = call(serve([read_request, b"HTTP/1.1 200 OK\r\nX: y\r\n"]).url())
    assert isinstance(failure, Failure)
    assert failure.reason is Reason.CONNECTION_LOST
