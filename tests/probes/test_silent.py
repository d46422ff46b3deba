"""Silent transfers return exactly what libcurl hands to callbacks; real sockets, loopback."""

import ctypes
import select
import ssl
import subprocess
import sys
import threading

import pycurl
import pytest
from requests import Request

from monitor.clock import Deadline, SystemClock
from monitor.model import Observation, Phase, Reason
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions
from monitor.probes.libcurl.binding import LIBRARY
from monitor.probes.libcurl.silent import LARGEST_BODY, SilentCurl
from monitor.probes.repeat import repeat
from monitor.probes.transport import CurlAdapter, ExchangeFailed, Order, RequestSettings
from tests.narrowing import known
from tests.probes.servers import answer, read_request
from tests.resources import open_files


@pytest.fixture
def twice(watch):
    """Return a function that checks a site by callbacks, then silently if the answer was plain."""

    def run(url, **sections) -> list[Observation]:
        check = watch(url, **sections)
        return [check() for _ in range(2)]

    return run


# Answers once it is told to, and tells when the client has hung up
SERVER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for _ in range(2):
    client = listener.accept()[0]
    client.recv(65536)
    os.write(1, b"asked")
    sys.stdin.buffer.raw.read(1)
    client.sendall(b"HTTP/1.1 200 OK\\r\\nX: y\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    client.recv(1)
    os.write(1, b"ended")
"""


def test_a_transfer_ends_while_another_thread_has_the_interpreter(twice):
    """A silent transfer needs no Python from the first packet to the end of the connection."""
    libc = ctypes.PyDLL(None)  # which keeps the interpreter during a call
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as server:
        url = f"http://127.0.0.1:{int(known(server.stdout).readline())}/"
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(twice(url, timeout=30.0)))
        thread.start()
        assert known(server.stdout).read(5) == b"asked"
        known(server.stdin).write(b".")
        assert known(server.stdout).read(5) == b"ended"
        assert known(server.stdout).read(5) == b"asked"
        told = (ctypes.c_int * 2)(known(server.stdout).fileno(), select.POLLIN)
        libc.write(known(server.stdin).fileno(), b".", 1)
        ended = libc.poll(told, 1, 10_000)
        thread.join()
    assert ended == 1
    assert [one.answer.body for one in seen] == [b"ok", b"ok"]


def _exchanged(handles, authority, url, *, silent):
    """Return everything that one request shows, except for its times."""
    settings = RequestSettings(
        tls=TlsOptions(ca_file=authority.file),
        network=NetworkOptions(),
        max_body=LARGEST_BODY,
        keep_body=LARGEST_BODY,
    )
    deadline = Deadline.after(5.0, SystemClock())
    adapter = CurlAdapter(handles, settings, deadline)
    order = Order.of(Request("GET", url).prepare(), settings)
    failure = None
    try:
        adapter.exchange(order, repeat(order, deadline, handles) if silent else None)
    except ExchangeFailed as error:
        failure = error.failure
    seen = adapter.exchanges[0]
    answer = seen.answer
    return (
        failure,
        answer.status,
        answer.headers,
        answer.body,
        seen.tls,
        seen.address,
        list(seen.phases),
    )


@pytest.mark.parametrize(
    "kind", ["context", "expired", "not_yet_valid", "self_signed", "without_intermediate"]
)
def test_a_handshake_shows_the_same(serve, handles, authority, kind):
    """Silent transfers report the same version, cipher, chain and verdict as callbacks."""
    server = serve(answer(), tls=getattr(authority, kind)(), host="0.0.0.0")
    aloud, silently = (
        _exchanged(handles, authority, server.url(host="localhost"), silent=silent)
        for silent in (False, True)
    )
    assert aloud[4] is not None
    assert silently == aloud


def test_a_request_is_sent_byte_for_byte_the_same(serve, twice):
    """Method, headers, a body with a zero byte and connect_to are the same in both."""
    server = serve(answer())
    http = HttpOptions(
        method="PATCH", headers={"X-One": "1", "X-None": ""}, body="a\0b", user_agent="me"
    )
    elsewhere = NetworkOptions(connect_to=f"127.0.0.1:{server.port}")
    twice("http://a.example:81/x?y#z", http=http, network=elsewhere)
    first, second = server.requests
    assert first == second
    assert second.endswith(b"\r\n\r\na\0b")


@pytest.mark.parametrize("size", [0, 1, 70_000, LARGEST_BODY, LARGEST_BODY + 1, 3 * LARGEST_BODY])
def test_a_body_of_any_size_is_taken_in_the_same(serve, twice, size):
    """The body, its size and whether it was cut are the same in both."""
    first, second = twice(serve(answer(b"\0x" * (size // 2) + b"\0" * (size % 2))).url())
    assert first.failure is second.failure is None
    assert second.answer.body_size == min(size, LARGEST_BODY)
    for name in ("body", "body_size", "truncated", "content_length", "headers"):
        assert getattr(first.answer, name) == getattr(second.answer, name)


@pytest.mark.parametrize(
    ("head", "headers"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\t d\r\nE: f\r\n\r\n", (("A", "b c d"), ("E", "f"))),
        (b"HTTP/1.1 200 OK\nA: b\nC:d\n\n", (("A", "b"), ("C", "d"))),
        (b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nC: d\r\n\r\n", (("C", "d"),)),
        (b"HTTP/1.0 200\r\n\r\n", ()),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 5000 + b"\r\n\r\n", (("A", "x" * 5000),)),
    ],
    ids=["folded", "line feeds alone", "early hints", "none", "a long one"],
)
def test_headers_of_any_form_are_taken_in_the_same(serve, handles, authority, head, headers):
    """Headers are the same whether they arrive line by line or all at once at the end."""
    url = serve([read_request, head + b"body"]).url()
    aloud, silently = (
        _exchanged(handles, authority, url, silent=silent) for silent in (False, True)
    )
    assert silently == aloud
    assert aloud[1:4] == (200, headers, b"body")


def test_nothing_is_left_of_the_answer_before(serve, handles, authority):
    """A small answer after a large one on the same handle has only its own body."""
    with_large = serve(answer(b"x" * 500_000)).url()
    small = serve(answer(b"small")).url()
    _exchanged(handles, authority, with_large, silent=True)
    assert _exchanged(handles, authority, small, silent=True)[3] == b"small"


def test_a_redirect_is_followed_though_its_body_came(serve, twice):
    """A site that answered well before may now redirect, whatever body it sends along."""
    target = serve(answer(b"there")).url()
    redirect = [
        read_request,
        f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 9\r\n\r\nmov".encode(),
    ]
    server = serve(lambda number: redirect if number else answer(b"here"))
    first, second = twice(server.url())
    assert (first.answer.body, second.answer.body) == (b"here", b"there")
    assert [hop.status for hop in second.answer.redirects] == [302]
    assert list(second.phases)[-1] is Phase.TRANSFER


def test_an_option_that_cannot_be_set_is_an_error():
    """An option that cannot be set raises, as with pycurl, and is never silently left out."""
    curl = SilentCurl(known(LIBRARY))
    with pytest.raises(pycurl.error, match="option 19999 cannot be set"):
        curl.setopt(19_999, 1)
    with pytest.raises(pycurl.error):
        curl.set_up(((pycurl.SSLVERSION, 99),))
    curl.close()
    curl.close()


def test_a_closed_handle_leaves_no_descriptor(serve):
    """Closing a handle closes the descriptors that libcurl waits with."""
    url = serve(answer()).url().encode()
    before = open_files()
    for _ in range(20):
        curl = SilentCurl(known(LIBRARY))
        curl.set_up(((pycurl.URL, url),))
        curl.perform()
        assert curl.body
        curl.close()
    assert open_files() < before + 20  # the server may be in the last ones


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_site_that_begins_to_want_a_client_certificate_says_so(
    serve, handles, authority, version
):
    """The reason is right however the server ends the connection, even for a silent handle."""
    context = authority.demand_client(authority.context())
    context.minimum_version = context.maximum_version = version
    server = serve(answer(), tls=context)
    failure = _exchanged(handles, authority, server.url(), silent=True)[0]
    assert failure.reason is Reason.TLS_CLIENT_CERTIFICATE
    assert server.requests == []


def test_answers_one_after_the_other_are_each_themselves(serve, handles, authority):
    """Each answer is its own, wherever in its reused memory the handle writes it."""
    for number in range(16):
        body = bytes([number]) * 700
        assert _exchanged(handles, authority, serve(answer(body)).url(), silent=True)[3] == body
