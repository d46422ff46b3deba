"""How the HTTP probe treats broken, slow and hostile servers; real sockets, loopback."""

import base64
import gzip
import os
import socket
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brotli
import pytest

from monitor.errors import ProbeError
from monitor.model import HttpAnswer, Phase, Reason
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions
from tests.probes.servers import (
    Connection,
    answer,
    drip,
    read_request,
    repeat,
    reset,
    stay_silent,
)
from tests.resources import native_threads, no_descriptor_left, open_files
from tests.waiting import until

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
ROWS = b"".join(b"row %d of a report\n" % number for number in range(500))


def coded(codings: str, body: bytes) -> bytes:
    """Return an answer in one chunk with these codings in its headers, one line for each."""
    lines = "".join(f"Content-Encoding: {coding}\r\n" for coding in codings.split(", "))
    head = HEAD + lines.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


SHORT = 0.6  # the timeout of checks that must run into it

# name: script, reason, part of the message
BROKEN = {
    "closes at once": ([read_request], "connection_lost", "without an answer"),
    "resets after the request": ([read_request, reset], "connect_reset", "reset the connection"),
    "resets in mid-body": (
        [read_request, HEAD + b"Content-Length: 9\r\n\r\nok", 0.05, reset],
        "connection_lost",
        "lost the connection",
    ),
    "closes in mid-body": (
        [read_request, HEAD + b"Content-Length: 9\r\n\r\nok"],
        "connection_lost",
        "7 bytes missing",
    ),
    "closes in mid-headers": (
        [read_request, HEAD + b"Content-Le"],
        "connection_lost",
        "in the middle of its headers",
    ),
    "speaks HTTP/0.9": ([read_request, b"<html>hello</html>\r\n"], "protocol_error", "HTTP/0.9"),
    "sends binary noise": (
        [read_request, bytes(range(256)) * 20],
        "protocol_error",
        "does not keep to HTTP",
    ),
    "has no status": ([read_request, b"HTTP/1.1 abc\r\n\r\n"], "protocol_error", ""),
    "has a tab in its status line": (
        [read_request, b"HTTP/1.1\t200 200 OK\r\nContent-Length: 0\r\n\r\n"],
        "protocol_error",
        "the status line from 127.0.0.1:",
    ),
    "has a contradictory length": (
        [read_request, HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"],
        "protocol_error",
        "",
    ),
    "has a negative length": (
        [read_request, HEAD + b"Content-Length: -2\r\n\r\nok"],
        "protocol_error",
        "",
    ),
    "packs what only a transfer may": (
        [read_request, HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
        "protocol_error",
        "Unsolicited Transfer-Encoding (gzip)",
    ),
    "frames by a coding that is none": (
        [read_request, HEAD + b"Transfer-Encoding: utf-8\r\n\r\nok"],
        "protocol_error",
        "Transfer-Encoding",
    ),
    "breaks its chunks": ([read_request, CHUNKED + b"xyz\r\nhello\r\n"], "protocol_error", ""),
    "cuts its chunks off": ([read_request, CHUNKED + b"ff\r\nhello"], "connection_lost", ""),
    "sends no gzip as gzip": ([read_request, GZIP + b"hello" * 9], "decode_error", "decompress"),
    "cuts its gzip off": (
        [read_request, GZIP + gzip.compress(bytes(range(256)) * 9)[:-100]],
        "decode_error",
        "ends too early",
    ),
    "cuts its gzip off in chunks": (
        [read_request, coded("gzip", gzip.compress(ROWS)[:700])],
        "decode_error",
        "ends too early",
    ),
    "cuts the second member of its gzip off": (
        [read_request, coded("gzip", gzip.compress(b"hello") + gzip.compress(ROWS)[:700])],
        "decode_error",
        "ends too early",
    ),
    "cuts the inner one of two codings off": (
        [read_request, coded("deflate, gzip", gzip.compress(zlib.compress(ROWS)[:-9]))],
        "decode_error",
        "ends too early",
    ),
    "cuts its deflate off": (
        [read_request, coded("deflate", zlib.compress(ROWS)[:700])],
        "decode_error",
        "ends too early",
    ),
    "cuts its bare deflate off": (
        [read_request, coded("deflate", zlib.compress(ROWS, wbits=-15)[:700])],
        "decode_error",
        "ends too early",
    ),
    "cuts its brotli off": (
        [read_request, coded("br", brotli.compress(ROWS)[:-9])],
        "decode_error",
        "ends too early",
    ),
    "damages its gzip": (
        [read_request, coded("gzip", gzip.compress(ROWS)[:-8] + bytes(8))],
        "decode_error",
        "incorrect data check",
    ),
    "sends a 10 MB header": (
        [read_request, HEAD + b"X: ", repeat(b"x" * 65536, 160)],
        "protocol_error",
        "",
    ),
    "never ends its headers": (
        [read_request, HEAD, repeat(b"X-Header: value\r\n")],
        "protocol_error",
        "headers from 127.0.0.1:",
    ),
    "answers 1xx for ever": (
        [read_request, repeat(b"HTTP/1.1 100 Continue\r\n\r\n")],
        "protocol_error",
        "headers from 127.0.0.1:",
    ),
}

# name: script, reason, part of the message; each takes all of its short timeout
SLOW = {
    "accepts and is silent": ([stay_silent], "read_timeout", "no answer from 127.0.0.1:"),
    "drips its headers": (
        [read_request, HEAD, drip(b"X-Header: value\r\n")],
        "read_timeout",
        "was not complete within 600ms",
    ),
    "drips its body": (
        [read_request, HEAD + b"Content-Length: 9999\r\n\r\n", drip(b"x")],
        "read_timeout",
        "was not complete within 600ms",
    ),
    "stops in mid-body": (
        [read_request, HEAD + b"Content-Length: 9999\r\n\r\nhello", stay_silent],
        "read_timeout",
        "5 out of 9999 bytes received",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_has_an_exact_reason(serve, check, name):
    """Each way of breaking HTTP has its own reason, and the message names the peer."""
    script, reason, part = BROKEN[name]
    seen = check(serve(script).url())
    assert seen.failure is not None
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure


@pytest.mark.parametrize("name", SLOW)
def test_the_deadline_holds_against_slow_servers(serve, check, name):
    """However slowly a server sends, the check ends at its timeout and says how far it got."""
    script, reason, part = SLOW[name]
    seen = check(serve(script).url(), timeout=SHORT)
    assert seen.failure is not None
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure
    assert SHORT * 0.9 < seen.duration < SHORT + 5


def test_phases_add_up_to_the_duration(serve, check):
    """The phases of a plain check add up to its whole time, without a TLS phase."""
    seen = check(serve([read_request, 0.2, *answer()[1:]]).url())
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.PROCESSING, Phase.TRANSFER]
    assert sum(seen.phases.values()) == pytest.approx(seen.duration, abs=1e-5)
    assert seen.phases[Phase.PROCESSING] >= 0.19
    assert seen.address == "127.0.0.1"
    assert seen.tls is None


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_later_has_the_same_reason(serve, watch, name):
    """A site that breaks after a good answer, when libcurl reports less, has the same reason."""
    script, reason, part = BROKEN[name]
    check = watch(serve(lambda number: script if number else answer()).url())
    assert check().failure is None
    seen = check()
    assert seen.failure.reason == reason
    assert part in seen.failure.message
    assert seen.address == "127.0.0.1"


def test_a_site_that_goes_away_is_refused_in_the_same_words(serve, watch):
    """After a good answer too, the message names the address that was tried."""
    server = serve(answer())
    check = watch(server.url())
    assert check().failure is None
    server.close()
    seen = check()
    assert seen.failure.message == f"connection to 127.0.0.1:{server.port} refused"
    assert seen.address == "127.0.0.1"
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT]


def test_a_site_that_refuses_is_asked_once(serve, watch):
    """After a good answer too, a check does not retry: a success would hide the first failure."""
    servers = [serve(answer()) for _ in range(30)]
    checks = [watch(server.url()) for server in servers]
    assert [check().failure for check in checks] == [None] * len(checks)
    for server in servers:
        server.close()
    before = _refused_connections()
    seen = [check() for check in checks]
    assert {one.failure.reason for one in seen} == {Reason.CONNECT_REFUSED}
    # Other programs of the machine may be refused meanwhile; twice for each would be 60
    assert 30 <= _refused_connections() - before < 45


def _refused_connections() -> int:
    """Return the kernel's count of failed connection attempts on this machine."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if "Tcp:" in line
    )
    return int(values[names.index("AttemptFails")])


def test_a_shortage_of_ours_is_told_from_a_site_that_went_away(serve, watch):
    """After a good answer too, running out of descriptors is the monitor's own error."""
    check = watch(serve([*answer(), Connection.wait]).url())
    assert [check().failure for _ in range(2)] == [None, None]
    with (
        no_descriptor_left(),
        pytest.raises(ProbeError, match="cannot open a connection: Too many open files"),
    ):
        check()
    assert check().failure is None


def test_a_slow_body_is_transfer_time(serve, check):
    """The time between the first byte and the last is the transfer."""
    script = [read_request, HEAD + b"Content-Length: 2\r\n\r\no", 0.2, b"k"]
    seen = check(serve(script).url())
    assert seen.phases[Phase.TRANSFER] >= 0.19 > seen.phases[Phase.PROCESSING]


def test_phases_are_summed_over_redirects(serve, check):
    """The phases of a redirect are added to those of the final answer."""
    final = serve([read_request, 0.1, *answer()[1:]])
    first = serve([read_request, 0.1, *_redirect(final.url())[1:]])
    seen = check(first.url())
    assert seen.phases[Phase.PROCESSING] >= 0.19
    assert sum(seen.phases.values()) == pytest.approx(seen.duration, abs=1e-5)


def test_the_phase_that_failed_lasts_until_the_failure(check):
    """A refused connection has no phase after connect."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen = check(f"http://127.0.0.1:{port}/")
    assert seen.failure.reason is Reason.CONNECT_REFUSED
    assert seen.failure.message == f"connection to 127.0.0.1:{port} refused"
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT]
    assert seen.address == "127.0.0.1"


def test_a_full_listen_queue_is_a_connect_timeout(check):
    """A host that no longer answers a SYN times out while connecting."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        try:
            seen = check(f"http://127.0.0.1:{port}/", timeout=SHORT)
        finally:
            for filler in fillers:
                filler.close()
    assert seen.failure.reason is Reason.CONNECT_TIMEOUT
    assert seen.failure.message == f"no connection to 127.0.0.1:{port} within 600ms"


def test_an_unreachable_address_is_named(check):
    """An address without a route is unreachable, and the message has the system's text."""
    seen = check("http://255.255.255.255/")
    assert seen.failure.reason is Reason.CONNECT_UNREACHABLE
    assert "255.255.255.255:80 is unreachable: " in seen.failure.message


def test_a_thousand_headers_are_an_answer(serve, check):
    """As many headers as an honest server might send are kept in order, repeated ones too."""
    headers = [("Set-Cookie", f"n{number}=v") for number in range(1000)]
    seen = check(serve(answer(headers=headers)).url())
    assert seen.failure is None
    assert len(seen.answer.header("set-cookie")) == 1000


def test_only_the_final_headers_count(serve, check):
    """Interim answers and trailers add no headers to the answer."""
    script = [
        read_request,
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nA: 1\r\n\r\n2\r\nok\r\n0\r\nTrailer: 2\r\n\r\n",
    ]
    seen = check(serve(script).url())
    assert seen.failure is None
    assert seen.answer.headers == (("Transfer-Encoding", "chunked"), ("A", "1"))


# ---------------------------------------------------------------- bodies


def test_the_body_is_cut_at_max_body(serve, check):
    """An endless body is read up to max_body; a check that reads it or sets max_body fails."""
    url = serve([read_request, HEAD + b"\r\n", repeat(b"x" * 65536)]).url()
    seen = check(url)
    assert seen.failure is None
    assert (seen.answer.body_size, seen.answer.truncated) == (1024 * 1024, True)
    assert len(seen.answer.body) == 1024

    read = check(url, reads_body=True)
    assert read.failure.reason is Reason.BODY_TOO_LARGE
    assert read.failure.message == "the body is longer than 1MiB"
    assert len(read.answer.body) == 1024 * 1024

    limited = check(url, http=HttpOptions(max_body=2000))
    assert limited.failure.reason is Reason.BODY_TOO_LARGE
    assert limited.failure.message == "the body is longer than 2000B"
    assert limited.answer.body_size == 2000


def test_a_body_of_exactly_max_body_is_complete(serve, check):
    """A body of exactly max_body is complete."""
    seen = check(serve(answer(b"x" * 2000)).url(), http=HttpOptions(max_body=2000))
    assert seen.failure is None
    assert (seen.answer.body_size, seen.answer.truncated) == (2000, False)


def test_a_gzip_bomb_is_cut_after_decoding(serve, check):
    """The limit applies to the unpacked size of the body."""
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(64 * 1024 * 1024)) + packer.flush()
    headers = [("Content-Encoding", "gzip")]
    seen = check(serve(answer(bomb, headers=headers)).url(), reads_body=True)
    assert seen.failure.reason is Reason.BODY_TOO_LARGE
    assert len(seen.answer.body) == 1024 * 1024
    assert seen.answer.content_length == len(bomb)


def test_a_compressed_body_is_decoded(serve, check):
    """Bodies are requested and read compressed, unless the site's options forbid it."""
    packed = gzip.compress(b"hello")
    server = serve(answer(packed, headers=[("Content-Encoding", "gzip")]))
    assert check(server.url(), reads_body=True).answer.body == b"hello"
    plain = check(server.url(), reads_body=True, http=HttpOptions(compression=False))
    assert plain.answer.body == packed
    # One brotli block that is not compressed (RFC 7932, 9.2)
    brotli = serve(answer(b"\x0b\x02\x80hello\x03", headers=[("Content-Encoding", "br")]))
    assert check(brotli.url(), reads_body=True).answer.body == b"hello"
    assert b"Accept-Encoding: gzip, deflate, br\r\n" in server.requests[0]
    assert b"Accept-Encoding" not in server.requests[1]


PACKED = {
    "several members": ("gzip", gzip.compress(ROWS[:99]) + gzip.compress(ROWS[99:])),
    "members and a line break": (
        "gzip",
        gzip.compress(ROWS[:9]) + gzip.compress(ROWS[9:]) + b"\r\n",
    ),
    "a zero after the end": ("gzip", gzip.compress(ROWS) + b"\0"),
    "bytes after the end": ("gzip", gzip.compress(ROWS) + b"garbage"),
    "an older name": ("x-gzip", gzip.compress(ROWS)),
    "a name in capitals": ("GZIP", gzip.compress(ROWS)),
    "two codings in two lines": ("gzip, gzip", gzip.compress(gzip.compress(ROWS))),
    "two codings in one line": ("deflate,br", brotli.compress(zlib.compress(ROWS))),
    "identity beside gzip": ("gzip, identity", gzip.compress(ROWS)),
    "deflate": ("deflate", zlib.compress(ROWS)),
    "deflate without its wrapper": ("deflate", zlib.compress(ROWS, wbits=-15)),
    "deflate and a line break": ("deflate", zlib.compress(ROWS) + b"\n"),
    "brotli": ("br", brotli.compress(ROWS)),
    "brotli and a line break": ("br", brotli.compress(ROWS) + b"\r\n"),
    "brotli and another stream": ("br", brotli.compress(ROWS) * 2),
    "a character set": ("UTF-8", ROWS),
    "a storage label": ("aws-chunked", ROWS),
    "a storage label beneath gzip": ("aws-chunked, gzip", gzip.compress(ROWS)),
}


@pytest.mark.parametrize("ends", ["length", "chunked", "close"])
@pytest.mark.parametrize("name", PACKED)
def test_a_packed_body_is_read_as_other_clients_read_it(serve, watch, name, ends):
    """Every framing is read the same, by the first check and by repeated ones."""
    codings, packed = PACKED[name]
    lines = "".join(f"Content-Encoding: {coding}\r\n" for coding in codings.split(", "))
    head = HEAD + lines.encode()
    whole = {
        "length": head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed,
        "chunked": coded(codings, packed),
        "close": head + b"Connection: close\r\n\r\n" + packed,
    }[ends]
    check = watch(serve([read_request, whole]).url(), reads_body=True)
    for _ in range(3):
        seen = check()
        assert seen.failure is None
        assert seen.answer.body == ROWS


@pytest.mark.parametrize("body", [b"x" * 500_000, os.urandom(50_000), b""], ids=len)
def test_the_end_of_a_long_brotli_is_found(serve, watch, body):
    """However the data arrives, nothing unpacked before the end is lost or returned twice."""
    packed = brotli.compress(body)
    head = HEAD + b"Content-Encoding: br\r\nContent-Length: %d\r\n\r\n" % (len(packed) + 9)
    check = watch(serve([read_request, head + packed, 0.05, b"\0" * 9]).url(), reads_body=True)
    together = watch(serve([read_request, head + packed + b"\0" * 9]).url(), reads_body=True)
    for seen in (check(), check(), together(), together()):
        assert seen.failure is None
        assert seen.answer.body == body


def test_a_range_is_asked_for_as_it_is(serve, check):
    """A request with a Range asks for no packing, as in Go: a part could not be unpacked."""
    server = serve(answer(ROWS[:9], "206 Partial Content"))
    seen = check(server.url(), http=HttpOptions(headers={"range": "bytes=0-8"}), reads_body=True)
    assert seen.answer.body == ROWS[:9]
    assert b"accept-encoding" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "200 OK")]
)
def test_a_coding_of_no_body_is_no_damage(serve, watch, method, status):
    """An answer without a body has no compressed stream that could be incomplete."""
    head = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n".encode()
    check = watch(serve([read_request, head]).url(), http=HttpOptions(method=method))
    for _ in range(3):
        seen = check()
        assert seen.failure is None
        assert seen.answer.body_size == 0


def test_a_coding_that_nobody_knows_is_told(serve, check):
    """A body in an unknown coding stays as it came, and the answer lists the codings left on it."""
    server = serve([read_request, coded("gzip, aws-chunked", b"as it came")])
    seen = check(server.url(), reads_body=True)
    assert seen.failure is None
    assert seen.answer.body == b"as it came"
    assert seen.answer.codings == ("gzip", "aws-chunked")


def test_more_than_five_codings_are_not_undone(serve, check):
    """A header that names gzip a thousand times costs no more than one with five."""
    body = ROWS
    for _ in range(6):
        body = gzip.compress(body)
    seen = check(serve([read_request, coded(", ".join(["gzip"] * 6), body)]).url(), reads_body=True)
    assert seen.answer.body == gzip.compress(ROWS)
    assert seen.answer.codings == ("gzip",)


def test_a_long_body_that_packs_badly_is_cut_not_broken(serve, watch):
    """If more packed bytes come than the check reads, the body is truncated, not broken."""
    noise = os.urandom(1024 * 1024 + 100)
    stored = gzip.compress(noise, compresslevel=0)
    headers = [("Content-Encoding", "gzip")]
    check = watch(serve(lambda n: answer(stored, headers=headers) if n else answer()).url())
    assert check().failure is None
    seen = check()
    assert seen.failure is None
    assert seen.answer.truncated


def test_an_upgrade_is_a_final_answer(serve, check):
    """101 is the final answer: a server that switches protocol sends no HTTP after it."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
    headers = {"Connection": "Upgrade", "Upgrade": "chat"}
    server = serve([read_request, b"HTTP/1.1 103 Early Hints\r\n\r\n", head + b"\0\1", stay_silent])
    seen = check(server.url(), http=HttpOptions(headers=headers))
    assert seen.failure is None
    assert seen.answer.status == 101


OPEN_ENDED = {
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>ok</html>",
    "HTTP/1.1": HEAD + b"Connection: close\r\n\r\n<html>ok</html>",
}


@pytest.mark.parametrize("name", OPEN_ENDED)
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_that_ends_without_saying_so(serve, watch, authority, name, version):
    """Old devices end a body by closing: the site is up unless something reads the body."""
    server = serve([read_request, OPEN_ENDED[name]], tls=authority.context())
    url = server.url(host="localhost")
    tls = TlsOptions(ca_file=authority.file, max_version=version)
    unread = watch(url, tls=tls)
    for _ in range(3):
        seen = unread()
        assert seen.failure is None
        assert seen.answer.body_size == len("<html>ok</html>")
        assert seen.tls.verified
    read = watch(url, tls=tls, reads_body=True)
    for _ in range(2):
        failure = read().failure
        assert failure.reason is Reason.CONNECTION_LOST
        assert "without TLS's close_notify, so the 15 bytes" in failure.message
    lenient = HttpOptions(require_close_notify=False)
    seen = watch(url, tls=tls, http=lenient, reads_body=True)()
    assert (seen.failure, seen.answer.body) == (None, b"<html>ok</html>")


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 99\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n9\r\nok"]
)
def test_a_framed_body_must_be_whole_over_tls(serve, check, authority, rest):
    """If the head gives the body's length or framing, an early close is a failure."""
    server = serve([read_request, HEAD + rest], tls=authority.context())
    seen = check(server.url(host="localhost"), http=HttpOptions(require_close_notify=False))
    assert seen.failure.reason is Reason.CONNECTION_LOST


STREAMS = {
    "events": b"Content-Type: text/event-stream; charset=utf-8\r\n",
    "a camera": b"Content-Type: multipart/x-mixed-replace;boundary=x\r\n",
    "radio": b"Content-Type: Audio/MPEG\r\n",
    "radio without a type": b"icy-name: Example FM\r\n",
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_up_once_its_head_is_there(serve, watch, name):
    """If nothing reads the body, the check does not wait for the end of an endless stream."""
    script = [read_request, HEAD + STREAMS[name] + b"\r\n", drip(b": ping\n\n")]
    check = watch(serve(script).url(), timeout=5)
    for _ in range(3):
        seen = check()
        assert seen.failure is None
        assert seen.answer.status == 200
        assert seen.duration < 4


def test_a_stream_that_something_reads_is_waited_for(serve, check):
    """An expectation on the body needs all of it, so the check ends at its timeout."""
    script = [read_request, HEAD + STREAMS["events"] + b"\r\n", drip(b": ping\n\n")]
    seen = check(serve(script).url(), timeout=SHORT, reads_body=True)
    assert seen.failure.reason is Reason.READ_TIMEOUT


@pytest.mark.parametrize("tls", [False, True])
def test_a_body_without_an_end_is_told_how_to_do_without_it(serve, watch, authority, tls):
    """If nothing reads a body without a length, the timeout suggests http.read: head."""
    head = HEAD + b"Content-Type: application/x-ndjson\r\n"
    endless = [read_request, head + b"\r\n", drip(b"{}\n")]
    sized = [read_request, head + b"Content-Length: 999\r\n\r\n", drip(b"{}\n")]
    hint = "; if it has no end, http.read: head does without it"
    for script, reads, told in ((endless, False, True), (endless, True, False), (sized, 0, False)):
        server = serve(
            lambda number, script=script: script if number else answer(),
            tls=authority.context() if tls else None,
        )
        look = watch(server.url(host="localhost"), timeout=SHORT, reads_body=bool(reads))
        look()  # so that the next check goes as one that repeats
        for _ in range(2):
            failure = look().failure
            assert failure.reason is Reason.READ_TIMEOUT
            assert failure.message.endswith(hint) == told


def test_the_head_alone_is_read_on_demand(serve, watch):
    """With http.read: head the check waits for no body, whatever its type."""
    script = [read_request, HEAD + b"Content-Type: text/plain\r\n\r\n", drip(b"tick\n")]
    check = watch(serve(script).url(), timeout=5, http=HttpOptions(read="head"))
    for _ in range(3):
        seen = check()
        assert seen.failure is None
        assert (seen.answer.status, seen.answer.body) == (200, b"")


def test_a_partial_answer_is_kept_with_its_failure(serve, check):
    """Status and headers that came before the failure are kept as evidence."""
    seen = check(serve([read_request, HEAD + b"Content-Length: 9\r\n\r\nok"]).url())
    assert seen.failure.reason is Reason.CONNECTION_LOST
    assert isinstance(seen.answer, HttpAnswer)
    assert (seen.answer.status, seen.answer.body, seen.answer.content_length) == (200, b"ok", 9)


def _redirect(location: str, status: str = "302 Found"):
    return answer(b"", status, [("Location", location)])


# ---------------------------------------------------------------- what is left behind


def test_hostile_checks_leave_nothing_behind(serve, check, handles, authority):
    """After hundreds of checks that failed in every way, files and threads are as before."""
    scripts = {name: BROKEN[name][0] for name in BROKEN if "1xx" not in name}
    urls = [serve(script).url() for script in scripts.values()]
    urls += [serve([stay_silent]).url(), serve([reset], tls=authority.context()).url()]
    urls += [serve([stay_silent]).url().replace("http:", "https:"), "http://nothing.invalid/"]
    urls += [serve(answer(), tls=authority.expired()).url(), serve(answer()).url()]
    before = open_files(), native_threads()
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda url: check(url, timeout=0.2), urls * (300 // len(urls) + 1)))
    handles.close()
    # The servers close their side a moment after the client
    until(
        lambda: open_files() <= before[0] and native_threads() <= before[1],
        "the end of all connections",
    )
    assert {one.failure is None for one in seen} == {True, False}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_lack_of_files_is_our_own_fault(serve, check, host):
    """When no file descriptor is left, no site is reported as down."""
    url = serve([*answer(), Connection.wait]).url(host=host)
    assert check(url).failure is None
    with no_descriptor_left(), pytest.raises(ProbeError):
        check(url)


def test_a_drip_of_memory_is_bounded(serve, check):
    """Endless headers and bodies use no more memory than their limits."""
    servers = [
        serve([read_request, HEAD, repeat(b"X-Header: value\r\n")]),
        serve([read_request, HEAD + b"\r\n", repeat(b"x" * 65536)]),
    ]
    tracemalloc.start()
    try:
        for server in servers:
            check(server.url(), reads_body=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_an_address_of_the_other_ip_version_is_not_asked(serve, check):
    """If IPv6 is required, an IPv4 address is unreachable and nothing is sent to it."""
    server = serve(answer())
    seen = check(server.url(), network=NetworkOptions(ip="6"))
    assert seen.failure.reason is Reason.CONNECT_UNREACHABLE
    assert seen.failure.message == "127.0.0.1 is not an IPv6 address"
    assert server.requests == []


def test_a_proxys_credentials_may_hold_any_character(serve, check):
    """The credentials are sent as UTF-8."""
    proxy = serve(answer())
    seen = check("http://a.test/", http=HttpOptions(proxy=proxy.url().replace("//", "//a:wörd@")))
    assert seen.failure is None
    assert base64.b64encode("a:wörd".encode()) in proxy.requests[0]
