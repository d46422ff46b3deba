"""The TCP probe over real loopback sockets: connecting, dialogues, STARTTLS, hostile peers."""

import os
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from monitor.clock import Deadline, SystemClock
from monitor.errors import ConfigError, ProbeError
from monitor.model import Phase, Reason, TcpAnswer
from monitor.probes import tcp
from tests.narrowing import answer_of, known
from tests.probes.servers import drip, repeat, reset, stay_silent
from tests.probes.talk import LINE, all_ended, observe, running, site_of, take, talk, wait_for_end
from tests.resources import no_descriptor_left
from tests.waiting import free_port

SHORT = "400ms"


@pytest.fixture
def look(handles, authority):
    """Return a function that checks a TCP server once; ``steps`` are its dialogue."""

    def run(server, *steps, **keys):
        url = f"tcp://localhost:{server.port}"
        return observe(handles, authority, url, tcp={"dialogue": steps}, **keys)

    return run


# ---------------------------------------------------------------- connecting


def test_a_connection_is_enough(serve, look):
    """Without a dialogue, a site is up once the connection is open, timed by phase."""
    seen = look(serve([stay_silent]))
    assert seen.failure is None
    assert seen.address == "127.0.0.1"
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT]
    assert seen.duration == sum(seen.phases.values()) > 0
    assert (seen.answer.captures, seen.answer.received) == ((), b"")
    assert seen.tls is None


def test_ipv6_works(serve, handles, authority):
    """An IPv6 address is written in brackets, as in any URL."""
    server = serve([stay_silent], host="::1")
    seen = observe(handles, authority, f"tcp://[::1]:{server.port}")
    assert (seen.failure, seen.address) == (None, "::1")


def test_nobody_listens(handles, authority):
    """A closed port is refused, and there is no answer."""
    port = free_port()
    seen = observe(handles, authority, f"tcp://127.0.0.1:{port}")
    assert known(seen.failure).reason is Reason.CONNECT_REFUSED
    assert known(seen.failure).message == f"connection to 127.0.0.1:{port} refused"
    assert seen.answer is None


def test_a_full_queue_is_a_connect_timeout(handles, authority):
    """A server whose queue is full and accepts nothing costs the whole deadline."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
            seen = observe(handles, authority, url, timeout=SHORT)
    assert known(seen.failure).reason is Reason.CONNECT_TIMEOUT
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT]
    assert seen.phases[Phase.CONNECT] >= 0.3


def test_the_network_section_holds(serve, handles, authority):
    """connect_to and source_address apply to TCP as to every probe."""
    # It greets, so that it has seen its client once the check is over
    server = serve([b"hello\r\n", stay_silent])
    network = {"connect_to": f"127.0.0.1:{server.port}", "source_address": "127.0.0.7"}
    tcp = {"dialogue": [{"expect": "hello"}]}
    seen = observe(handles, authority, "tcp://db.example.org:5432", tcp=tcp, network=network)
    assert seen.failure is None
    assert server.peers == ["127.0.0.7"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("tcp://db.internal", "a tcp URL needs a host and a port: tcp://db.internal:5432"),
        ("tcp://:5432", "a tcp URL needs a host and a port: tcp://db.internal:5432"),
        ("tcp://db:5432/path", "a tcp URL is only host and port: tcp://db.internal:5432"),
        ("tls://db:5432?x=y", "a tls URL is only host and port: tls://db.internal:5432"),
        ("tcp://me@db:5432", "a tcp URL is only host and port: tcp://db.internal:5432"),
    ],
)
def test_a_url_is_host_and_port(url, message):
    """Anything else in the URL is an error, because it would be ignored."""
    with pytest.raises(ValueError, match="URL") as error:
        tcp.check_url(url)
    assert str(error.value) == message


# ---------------------------------------------------------------- the dialogue


def test_a_line_is_sent_with_crlf(serve, look):
    """A text gets CRLF unless it ends in a line feed; bytes are sent as they are."""
    server = serve(talk(LINE, LINE, take(3), b"ok\r\n"))
    seen = look(
        server, {"send": "one"}, {"send": "two\n"}, {"send_bytes": "00 ff 0a"}, {"expect": "ok"}
    )
    assert seen.failure is None
    assert server.requests == [b"one\r\n", b"two\n", b"\x00\xff\n"]


def test_lines_are_read_until_one_matches(serve, look):
    """Lines that do not match are skipped, whatever ends them and however they are split."""
    server = serve(talk(b"* hello\n* wor", 0.05, b"ld\r\n220 rea", 0.05, b"dy\r\n", LINE))
    seen = look(server, {"expect": "^220 ready$"}, {"send": "quit"})
    assert seen.failure is None
    assert seen.answer.received == b"* hello\n* world\r\n220 ready\r\n"
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.PROCESSING]
    assert seen.phases[Phase.PROCESSING] >= 0.05


def test_lines_that_came_together_serve_one_expect_after_the_other(serve, look):
    """Bytes read after a match are left for the next step."""
    server = serve(talk(b"a\nb\nc\n"))
    assert look(server, {"expect": "^a"}, {"expect": "^b"}, {"expect": "^c"}).failure is None
    assert look(server, {"expect": "^b"}, {"expect": "^a"}).failure is not None


def test_the_last_line_needs_no_end(serve, look):
    """Text without a line end just before the connection closes is a line too."""
    assert look(serve(talk(b"hello\nbye")), {"expect": "^bye$"}).failure is None


def test_groups_are_sent_back(serve, look):
    """Later sends use an expect's groups by number or name; named groups are captured."""
    server = serve(talk(b"PING :4711 x\r\n", LINE, LINE, b"end\n"))
    seen = look(
        server,
        {"expect": r"^PING :(?P<token>\d+) (x)(y)?"},
        {"send": r"PONG \1 \g<token> \2\3 \0"},
        {"send": r"\\1 is no reference, \Seen is none"},
        {"expect": "end"},
    )
    assert seen.failure is None
    assert seen.answer.captures == (("token", "4711"),)
    assert server.requests[0] == b"PONG 4711 4711 x PING :4711 x\r\n"
    assert server.requests[1] == rb"\1 is no reference, \Seen is none" + b"\r\n"


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("café OK".encode(), "^caf. OK$"),
        ("café OK".encode(), "^café OK$"),
        ("naïve".encode(), r"^na\x{EF}ve$"),
        (b"caf\xe9 OK", "^caf. OK$"),  # Latin-1: no character of UTF-8, and counts as one
        (b"\xff\xfd\x18", r"^\xff\xfd"),
        (b"v \xff\xff!", "^v ..!$"),
    ],
)
def test_a_pattern_is_about_characters(serve, look, line, pattern):
    """A pattern matches characters, as in http and blackbox_exporter, and non-text bytes too."""
    assert look(serve(talk(line + b"\r\n")), {"expect": pattern}).failure is None


def test_what_is_sent_back_is_what_came(serve, look):
    """A group's bytes are sent back unchanged, even if they are not text."""
    server = serve(talk(b"id \xc3\xa9\xff.\n", LINE, b"ok\n"))
    seen = look(server, {"expect": r"^id (.*)\."}, {"send": r"\1"}, {"expect": "ok"})
    assert seen.failure is None
    assert server.requests[0] == b"\xc3\xa9\xff\r\n"


def test_the_next_line_must_fit(serve, look):
    """expect_next skips no earlier line and does not wait until the timeout."""
    server = serve(talk(b"* hello\r\n220 ready\r\n", stay_silent))
    seen = look(server, {"expect_next": "^220 "})
    assert seen.failure.message == 'expected "^220 ", got "* hello"'
    server = serve(talk(b"* hello\r\n220 ready\r\n"))
    assert look(server, {"expect_next": "hello"}, {"expect_next": "^220 "}).failure is None


def test_captures_are_text_and_short(serve, look):
    """A capture becomes a label, so it is cut, and bytes that are not UTF-8 are replaced."""
    seen = look(serve(talk(b"v=" + b"\xff" * 1000 + b"\n")), {"expect": "^v=(?P<v>.*)"})
    assert seen.answer.captures == (("v", "\ufffd" * 256),)


@pytest.mark.parametrize(
    ("steps", "script", "reason", "message"),
    [
        (
            [{"expect": "^220"}],
            talk(b"hello\r\n", stay_silent),
            Reason.TCP_DIALOGUE,
            'expected "^220", got "hello", and nothing that matches within 400ms',
        ),
        (
            [{"expect": "^220"}],
            talk(b"hello\r\n"),
            Reason.TCP_DIALOGUE,
            'expected "^220", got "hello", then the connection was closed',
        ),
        (
            [{"expect": "^220 ready"}],
            talk(b"220 rea", stay_silent),
            Reason.TCP_DIALOGUE,
            'expected "^220 ready", got "220 rea", and nothing that matches within 400ms',
        ),
        (
            [{"expect": "^220"}],
            [stay_silent],
            Reason.READ_TIMEOUT,
            'no answer from 127.0.0.1:{port} within 400ms (expected "^220")',
        ),
        (
            [{"expect": "^220"}],
            [],
            Reason.CONNECTION_LOST,
            '127.0.0.1:{port} closed the connection before "^220" came',
        ),
        (
            [{"send": "x"}, {"expect": "^220"}],
            talk(LINE, reset),
            Reason.CONNECTION_LOST,
            "127.0.0.1:{port} reset the connection",
        ),
        (
            [{"expect_bytes": "53"}],
            talk(b"N", stay_silent),
            Reason.TCP_DIALOGUE,
            'expected bytes 53, got "N"',
        ),
        (
            [{"expect_bytes": "00 01 02"}],
            talk(b"\x00\x02", stay_silent),
            Reason.TCP_DIALOGUE,
            r'expected bytes 00 01 02, got "\x00\x02"',
        ),
        (
            [{"expect_bytes": "00 01 02"}],
            talk(b"\x00", stay_silent),
            Reason.TCP_DIALOGUE,
            r'expected bytes 00 01 02, got "\x00", and nothing that matches within 400ms',
        ),
        (
            [{"expect_bytes": "00 01"}],
            [stay_silent],
            Reason.READ_TIMEOUT,
            "no answer from 127.0.0.1:{port} within 400ms (expected bytes 00 01)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_dialogue_that_fails_says_what_came_instead(serve, look, steps, script, reason, message):
    """The message and the evidence have what was expected and the last text that came."""
    server = serve(script)
    seen = look(server, *steps, timeout=SHORT)
    assert seen.failure.reason is reason
    assert seen.failure.message == message.format(port=server.port)
    assert seen.answer is not None
    assert seen.answer.bytes_differ == ("expect_bytes" in steps[-1])
    assert Phase.PROCESSING in seen.phases


@pytest.mark.parametrize(
    ("pattern", "came"),
    [
        ("login: $", b"Welcome\r\nlogin: "),
        (r"8\.0\.\d+", b"J\0\0\0\n8.0.36\0rest"),
        (r"^J\x00{3}\n8", b"J\0\0\0\n8.0.36\0rest"),
        (r"^\x00\n\n$", b"\0\n\n"),
        ("^READY$", b"READY\r"),
        ("^READY$", b"booting\rREADY\rwait"),
        ("^READY$", b"booting\rREADY\rwait\n"),
        ("^\\xff\\xfd", b"\xff\xfd\x18\xff\xfd"),
    ],
)
@pytest.mark.parametrize("end", ["stays open", "closes"])
def test_what_has_come_needs_no_line_end(serve, look, pattern, came, end):
    """A prompt, non-text bytes and lines that end in a lone CR match as they are."""
    then = stay_silent if end == "stays open" else b""
    assert look(serve(talk(came, then)), {"expect": pattern}, timeout="2s").failure is None


def test_prompts_are_answered_and_waiting_for_more_does_not_count(serve, look):
    """The dialogue continues after a prompt, and the pause that reveals it is not latency."""
    server = serve(talk(b"login: ", LINE, 0.05, b"Password: ", LINE, b"\r\n$ ", stay_silent))
    begin = time.monotonic()
    seen = look(
        server,
        {"expect": "^login: $"},
        {"send": "me\n"},
        {"expect": "^Password: $"},
        {"send": "secret\n"},
        {"expect": r"\$ $"},
    )
    assert seen.failure is None
    assert server.requests == [b"me\n", b"secret\n"]
    assert time.monotonic() - begin - seen.duration >= 3 * 0.5


def test_a_prompt_serves_one_expect(serve, look):
    """A prompt that matched is used up: the next step waits for something else."""
    seen = look(
        serve(talk(b"> ", stay_silent)), {"expect": "^> $"}, {"expect": "^> $"}, timeout=SHORT
    )
    assert seen.failure.reason is Reason.READ_TIMEOUT


def test_a_line_in_pieces_is_not_taken_for_a_prompt(serve, look):
    """A pattern that matches the start of a line waits for its rest, so captures are complete."""
    server = serve(talk(b"220 mail", 0.1, b".example.com\r\n", stay_silent))
    seen = look(server, {"expect": "^220 (?P<host>.*)"})
    assert seen.answer.captures == (("host", "mail.example.com"),)


@pytest.mark.parametrize(
    ("pattern", "came", "quoted"),
    [
        ("^220 ", b"554 go away\r\n", "554 go away"),
        ("^220 ", b"554-go\r\n554 away\r\n", "554 away"),
        ("^(220|230) ", b"421 busy\r\n", "421 busy"),
        (r"(?i)^2\d\d[ -].*ready", b"530 no\r\n", "530 no"),
        ("^[23]", b"450 later\n", "450 later"),
        (r"^\+OK", b"-ERR locked\r\n", "-ERR locked"),
        (r"^\* OK", b"* BYE full\r\n", "* BYE full"),
        ("^a1 OK", b"* CAPABILITY X\r\na1 NO wrong\r\n", "a1 NO wrong"),
    ],
)
def test_a_refusal_ends_the_check(serve, look, pattern, came, quoted):
    """The check ends at a reply that rules out the expected one, without waiting (30 s here)."""
    seen = look(serve(talk(came, stay_silent)), {"expect": pattern}, timeout="30s")
    assert seen.failure.reason is Reason.TCP_DIALOGUE
    assert seen.failure.message == f'expected "{pattern}", got "{quoted}", which is a refusal'
    assert seen.duration < 20


@pytest.mark.parametrize(
    ("pattern", "came"),
    [
        ("^354 ", b"250 one\r\n250 two\r\n354 go\r\n"),
        ("^220 ", b"554-not the end\r\n220 ok\r\n"),
        ("ready", b"554 x\r\nready\r\n"),
        ("^554 ", b"554 as expected\r\n"),
        ("^a2 OK", b"a1 NO first\r\na2 OK second\r\n"),
        ("^250 ", b"5544 is no code\r\n250 ok\r\n"),
        ("^a2 OK", b"* BYE logging out\r\na2 OK LOGOUT completed\r\n"),
    ],
)
def test_what_is_no_refusal_is_skipped(serve, look, pattern, came):
    """Other replies, continued ones, and lines for patterns without a code are skipped."""
    assert look(serve(talk(came, stay_silent)), {"expect": pattern}).failure is None


def test_a_refusal_of_what_nobody_asks_about_is_skipped(serve, look):
    """Of two requests in a row, the first may be refused if the second succeeds."""
    script = talk(b"220 hi\r\n", LINE, LINE, b"502 no VRFY\r\n221 bye\r\n", stay_silent)
    steps = ({"expect": "^220 "}, {"send": "VRFY x"}, {"send": "QUIT"}, {"expect": "^221 "})
    assert look(serve(script), *steps).failure is None
    again = ({"send": "NOOP"}, {"expect": "^250 "})
    script = [*talk(b"220 hi\r\n", LINE, b"250 ok\r\n", LINE, b"421 full\r\n"), stay_silent]
    seen = look(serve(script), {"expect": "^220 "}, *again, *again, timeout="30s")
    assert seen.failure.message == 'expected "^250 ", got "421 full", which is a refusal'


def test_bytes_are_expected_one_after_the_other(serve, look):
    """expect_bytes takes as many bytes as it names and leaves the rest for the next step."""
    server = serve(talk(b"\x00\x01\x02rest\n"))
    seen = look(server, {"expect_bytes": "00 01"}, {"expect_bytes": "02"}, {"expect": "^rest$"})
    assert seen.failure is None


def test_a_secret_is_never_quoted(serve, look):
    """If a peer sends our password back, neither messages nor the evidence contain it."""
    server = serve(talk(LINE, b"-ERR no hunter2-hunter2 here\r\n"))
    keys = {"environ": {"PASS": "hunter2-hunter2"}}
    seen = look(server, {"send": "AUTH ${PASS}"}, {"expect": "^[+]OK"}, **keys)
    assert server.requests == [b"AUTH hunter2-hunter2\r\n"]
    assert (
        seen.failure.message == 'expected "^[+]OK", got "-ERR no <secret> here", which is a refusal'
    )
    assert seen.answer.received == b"-ERR no <secret> here\r\n"


def test_what_a_peer_says_is_quoted_printable_and_short(serve, look):
    """A message has no control characters and at most a line of the peer's text."""
    server = serve(talk(b"\x1b[31m\xff" + "é".encode() + b"x" * 500 + b"\n"))
    seen = look(server, {"expect": "^220"})
    head = r'expected "^220", got "\x1b[31m\xff' + "é"
    assert seen.failure.message.startswith(head + "xxx")
    assert seen.failure.message.endswith('x…", then the connection was closed')
    assert len(seen.failure.message) < 180


# ---------------------------------------------------------------- TLS in mid-connection


def test_starttls_goes_on_under_tls(serve, look, authority):
    """After starttls the same connection is encrypted and verified, and reports its handshake."""
    server = serve(
        talk(b"220 hi\r\n", LINE, b"220 go\r\n", authority.context(), LINE, b"250 ok\r\n")
    )
    seen = look(
        server,
        {"expect": "^220 (?P<greeting>.*)"},
        {"send": "STARTTLS"},
        {"expect": "^220"},
        {"starttls": True},
        {"send": r"EHLO \g<greeting>"},
        {"expect": "^250"},
    )
    assert seen.failure is None
    assert server.requests == [b"STARTTLS\r\n", b"EHLO hi\r\n"]
    assert len(server.peers) == 1
    assert (seen.tls.version, seen.tls.verified, len(seen.tls.chain)) == ("TLS 1.3", True, 1)
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING]
    assert seen.answer.received.endswith(b"250 ok\r\n")


def test_starttls_verifies_and_keeps_the_chain(serve, look, authority):
    """An untrusted certificate has its exact reason, and its chain is still kept."""
    seen = look(serve(talk(b"go\n", authority.expired())), {"expect": "go"}, {"starttls": True})
    assert seen.failure.reason is Reason.TLS_EXPIRED
    assert seen.failure.message == "a certificate of localhost has expired on 2020-01-02"
    assert seen.tls.verified is False
    assert len(seen.tls.chain) == 1
    assert seen.answer.received == b"go\n"


def test_starttls_from_a_source_address_and_to_another_name(serve, look, authority):
    """The network and tls options apply after starttls as before it."""
    names = []
    context = authority.context("mail.example.org")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = serve(talk(b"go\n", context, b"hi\n"))
    seen = look(
        server,
        {"expect": "go"},
        {"starttls": True},
        {"expect": "hi"},
        tls={"server_name": "mail.example.org"},
        network={"source_address": "127.0.0.8"},
    )
    assert seen.failure is None
    assert (names, server.peers) == (["mail.example.org"], ["127.0.0.8"])
    assert seen.tls.server_name == "mail.example.org"


def end_sending(connection):
    """Close our sending side of the connection, and wait."""
    connection.sock.shutdown(socket.SHUT_WR)
    connection.wait()


@pytest.mark.parametrize(
    ("script", "reason", "part"),
    [
        (talk(b"go\nforged\n", stay_silent), Reason.TLS_PROTOCOL, "went on in plain text after"),
        (talk(b"go\n", 0.05, b"plain\n" * 9), Reason.TLS_PROTOCOL, "does not speak TLS"),
        (talk(b"go\n", stay_silent), Reason.TLS_TIMEOUT, "no TLS handshake with 127.0.0.1:"),
        (talk(b"go\n", end_sending), Reason.TLS_PROTOCOL, "during the TLS handshake"),
        (talk(b"go\n", 0.05, reset), Reason.CONNECTION_LOST, "reset the connection"),
    ],
    ids=["forged plain text", "plain text", "stalls", "closes", "resets"],
)
def test_starttls_that_leads_nowhere(serve, look, script, reason, part):
    """Each obstacle to the handshake has its reason, and nothing more is sent in plain text."""
    seen = look(serve(script), {"expect": "go"}, {"starttls": True}, timeout=SHORT)
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure


# ---------------------------------------------------------------- hostile peers

FLOOD = b"spam\n" * 4096
HOSTILE = {
    "drips": (talk(drip(b"x", every=0.02)), 'expected "^220", got "xx'),
    "drips lines": (talk(drip(b"x\n", every=0.02)), 'expected "^220", got "x"'),
    "a line without end": (talk(repeat(b"x" * 4096)), 'expected "^220", got a line longer than'),
    "lines without end": (talk(repeat(FLOOD)), 'expected "^220", got more than 1MiB'),
    "noise": (talk(bytes(range(256)) * 4, stay_silent), 'expected "^220", got "\\x0b'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_peer_costs_no_more_than_the_deadline(serve, look, name):
    """However much or little is sent, time and memory are bounded."""
    script, message = HOSTILE[name]
    server = serve(script)
    begin = time.monotonic()
    seen = look(server, {"expect": "^220"}, timeout="10s" if "end" in name else SHORT)
    assert time.monotonic() - begin < 20
    assert seen.failure.reason is Reason.TCP_DIALOGUE
    assert seen.failure.message.startswith(message)
    assert len(seen.answer.received) <= 1024


def test_a_peer_that_takes_nothing_holds_us_for_the_deadline(look):
    """If the peer does not read, sending ends at the deadline too."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        peer = SimpleNamespace(port=listener.getsockname()[1])
        seen = look(peer, {"send": "x" * 10_000_000}, timeout=SHORT)
    assert seen.failure.reason is Reason.READ_TIMEOUT
    assert "did not take what was sent to it within 400ms" in seen.failure.message


def test_no_file_descriptor_is_our_own_fault(handles):
    """If the monitor has no file descriptor left, the check says nothing about the site."""
    site = site_of(f"tcp://127.0.0.1:{free_port()}")
    probe = tcp.TcpProbe(handles)
    seen = probe(site, Deadline.after(5, SystemClock()))
    assert known(seen.failure).reason is Reason.CONNECT_REFUSED
    with no_descriptor_left(), pytest.raises(ProbeError):
        probe(site, Deadline.after(5, SystemClock()))


def test_connections_do_not_outlive_their_check(serve, look, authority):
    """Each check closes its connection, with and without TLS, good or bad."""
    plain = serve(talk(b"hi\n", wait_for_end))
    secure = serve(talk(b"hi\n", authority.context(), b"there\n", wait_for_end))
    quiet = serve(talk(wait_for_end))
    look(quiet)
    look(plain, {"expect": "hi"})
    look(plain, {"expect": "bye"}, timeout=SHORT)
    look(secure, {"expect": "hi"}, {"starttls": True}, {"expect": "there"})
    look(secure, {"expect": "hi"}, {"starttls": True}, {"expect": "bye"}, timeout=SHORT)
    assert all_ended(quiet, 1)
    assert all_ended(plain, 2)
    assert all_ended(secure, 2)


# ---------------------------------------------------------------- the options


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [{"send": "a", "expect": "b"}],
            "exactly one of send, send_bytes, expect, expect_next, expect_bytes",
        ),
        ([{}], "exactly one of send, send_bytes, expect, expect_next, expect_bytes, starttls"),
        ([{"starttls": False}], "exactly one of"),
        ([{"expect": "("}], "is not an RE2 pattern"),
        ([{"send_bytes": "0"}], 'is not bytes in hexadecimal; write "00 00 00 08", in quotes'),
        ([{"send_bytes": 53}], "is not bytes in hexadecimal"),
        ([{"expect_bytes": ""}], "is not bytes in hexadecimal"),
        ([{"send": r"\1"}], r"refers to \1, a group that no earlier expect has"),
        ([{"expect": "(a)"}, {"send": r"\2"}], r"a literal \2 is written \\2"),
        ([{"expect": "(?P<a>b)"}, {"send": r"\g<b>"}], r"refers to \g<b>, a group"),
        ([{"starttls": True}, {"starttls": True}], "has a second starttls"),
        ([{"sned": "a"}], "did you mean 'send'"),
    ],
)
def test_a_wrong_dialogue_is_a_configuration_error(steps, message):
    """A mistake in a dialogue is reported when the configuration is read."""
    with pytest.raises(ConfigError) as error:
        site_of("tcp://localhost:25", tcp={"dialogue": steps})
    assert message in str(error.value)


# ---------------------------------------------------------------- real peers


@pytest.mark.real
def test_redis_answers_ping(real, handles, authority, tmp_path):
    """Redis with a password is down for a bare PING, and up once the check logs in."""
    port = free_port()
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--requirepass", "sesame")
    ask = partial(observe, handles, authority, f"tcp://127.0.0.1:{port}", timeout="1s")
    ping = [{"send": "PING"}, {"expect": r"^\+PONG"}]
    login = [{"send": "AUTH ${PASS}"}, {"expect": r"^\+OK"}]
    with running(tmp_path, port, real("redis-server"), *options):
        seen = ask(tcp={"dialogue": ping})
        good = ask(tcp={"dialogue": [*login, *ping]}, environ={"PASS": "sesame"})
    assert known(seen.failure).reason is Reason.TCP_DIALOGUE
    said = "-NOAUTH Authentication required."
    assert known(seen.failure).message == rf'expected "^\+PONG", got "{said}", which is a refusal'
    assert good.failure is None


@pytest.mark.real
def test_sshd_shows_its_banner(real, handles, authority, tmp_path):
    """A check of sshd's banner passes, and one that expects another version fails."""
    port = free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as its service does
    key, config = tmp_path / "host_key", tmp_path / "sshd_config"
    subprocess.run([real("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {key}\nPidFile none\nUsePAM no\n"
    )
    good = [{"expect": r"^SSH-2\.0-(?P<software>[^ ]+)"}, {"send": "SSH-2.0-monitor"}]
    ask = partial(observe, handles, authority, f"tcp://127.0.0.1:{port}", timeout="1s")
    with running(tmp_path, port, real("sshd"), "-D", "-e", "-f", str(config)):
        seen = ask(tcp={"dialogue": good})
        other = ask(tcp={"dialogue": [{"expect": "^SSH-1"}]})
    assert seen.failure is None
    assert answer_of(seen, TcpAnswer).captures[0][1].startswith("OpenSSH_")
    assert known(other.failure).message.startswith('expected "^SSH-1", got "SSH-2.0-OpenSSH_')
