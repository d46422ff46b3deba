"""The TLS probe over real loopback sockets: handshakes, STARTTLS by protocol, dialogues."""

import ssl
import time
from functools import partial
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from monitor.clock import Deadline, SystemClock
from monitor.errors import ConfigError, ProbeError
from monitor.model import Phase, Reason
from monitor.probes import tls
from tests.narrowing import known
from tests.probes.servers import drip, repeat, reset, stay_silent
from tests.probes.talk import LINE, all_ended, observe, running, site_of, take, talk, wait_for_end
from tests.waiting import free_port

SHORT = "400ms"
HANDSHAKE = [Phase.RESOLVE, Phase.CONNECT, Phase.TLS]


@pytest.fixture
def look(handles, authority):
    """Return a function that checks a TLS server once; its keywords are the site's keys."""

    def run(server, host="localhost", **keys):
        return observe(handles, authority, f"tls://{host}:{server.port}", **keys)

    return run


# ---------------------------------------------------------------- handshakes


def test_up_is_a_verified_handshake(serve, look, authority):
    """An up site reports what was agreed, the chain, and the duration of the handshake."""
    seen = look(serve([stay_silent], tls=authority.context()))
    assert seen.failure is None
    assert (seen.tls.version, seen.tls.verified, len(seen.tls.chain)) == ("TLS 1.3", True, 1)
    assert seen.tls.cipher.startswith("TLS_")
    assert list(seen.phases) == HANDSHAKE
    assert seen.answer is not None


@pytest.mark.parametrize(
    ("method", "host", "reason"),
    [
        ("expired", "localhost", Reason.TLS_EXPIRED),
        ("not_yet_valid", "localhost", Reason.TLS_NOT_YET_VALID),
        ("context", "127.0.0.2", Reason.TLS_WRONG_HOST),
        ("self_signed", "localhost", Reason.TLS_UNTRUSTED),
        ("unknown_issuer", "localhost", Reason.TLS_UNTRUSTED),
        ("without_intermediate", "localhost", Reason.TLS_UNTRUSTED),
    ],
)
@pytest.mark.parametrize("starttls", [None, "pop3"])
def test_a_bad_certificate_has_its_reason_and_is_handed_over(
    serve, look, authority, method, host, reason, starttls
):
    """At once or after STARTTLS, a bad certificate has its exact reason and keeps its chain."""
    context = getattr(authority, method)()
    if starttls:
        server = serve(talk(b"+OK\r\n", LINE, b"+OK\r\n", context), host="0.0.0.0")
    else:
        server = serve([stay_silent], tls=context, host="0.0.0.0")
    seen = look(server, host, tls={"starttls": starttls} if starttls else {})
    assert seen.failure.reason is reason
    assert (seen.tls.verified, len(seen.tls.chain)) == (False, 1)
    assert list(seen.phases)[:3] == HANDSHAKE


def test_without_verification_anyone_may_answer(serve, look, authority):
    """With verify: false a bad certificate is accepted, and trust is not reported."""
    seen = look(serve([stay_silent], tls=authority.expired()), tls={"verify": False})
    assert seen.failure is None
    assert (seen.tls.verified, len(seen.tls.chain)) == (None, 1)


def test_the_handshake_offers_no_http(serve, look, authority):
    """The probe's ALPN does not offer HTTP to a server that picks a protocol by it."""
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen = []
    server = serve(
        [lambda connection: chosen.append(connection.sock.selected_alpn_protocol()), b"hi\n"],
        tls=context,
    )
    assert look(server, tcp={"dialogue": [{"expect": "hi"}]}).failure is None
    assert chosen == [None]


@pytest.mark.parametrize(
    ("script", "reason", "part"),
    [
        ([stay_silent], Reason.TLS_TIMEOUT, "no TLS handshake with 127.0.0.1:"),
        ([b"220 plain\r\n", stay_silent], Reason.TLS_PROTOCOL, "does not speak TLS"),
        ([0.05, reset], Reason.CONNECT_RESET, "reset the connection"),
    ],
    ids=["stalls", "speaks plain text", "resets"],
)
def test_a_port_without_tls(serve, look, script, reason, part):
    """Each obstacle to the handshake has its reason, and there is no answer."""
    seen = look(serve(script), timeout=SHORT)
    assert (seen.failure.reason, part in seen.failure.message) == (reason, True), seen.failure
    assert (seen.answer, seen.tls) == (None, None)


def test_versions_are_limited(serve, look, authority):
    """A server below min_version is refused."""
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = serve([stay_silent], tls=context)
    assert look(server, tls={"min_version": "1.3"}).failure.reason is Reason.TLS_PROTOCOL
    assert look(server, tls={"min_version": "1.2"}).tls.version == "TLS 1.2"


def test_a_client_certificate_shows_in_a_dialogue(serve, look, authority):
    """In TLS 1.3 a server refuses us after the handshake, so reading reports that and why."""
    context = authority.demand_client(authority.context())
    server = serve([b"hi\n", 0.2], tls=context)
    dialogue = {"dialogue": [{"expect": "hi"}]}
    assert look(server, tcp=dialogue).failure.reason is Reason.TLS_CLIENT_CERTIFICATE
    cert, key = authority.client_files()
    assert look(server, tcp=dialogue, tls={"cert_file": cert, "key_file": key}).failure is None
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert look(server).failure.reason is Reason.TLS_CLIENT_CERTIFICATE


def test_a_broken_client_certificate_is_our_own_fault(serve, handles, authority, tmp_path):
    """A client certificate that breaks after the list was read says nothing about the site."""
    server = serve([stay_silent], tls=authority.context())
    ours = tmp_path / "ours.pem"
    ours.write_text("".join(Path(path).read_text() for path in authority.client_files()))
    site = site_of(
        f"tls://localhost:{server.port}",
        tls={"ca_file": authority.file, "cert_file": str(ours)},
    )
    ours.write_text(Path(authority.file).read_text())
    with pytest.raises(ProbeError, match="private key"):
        tls.TlsProbe(handles)(site, Deadline.after(5, SystemClock()))


# ---------------------------------------------------------------- dialogues


def test_a_dialogue_follows_the_handshake(serve, look, authority):
    """The steps of the tcp section run under TLS."""
    server = serve(talk(b"* OK IMAP4rev1 ready\r\n", LINE, b"a OK\r\n"), tls=authority.context())
    steps = [{"expect": r"^\* OK (?P<version>\w+)"}, {"send": "a LOGOUT"}, {"expect": "^a OK"}]
    seen = look(server, tcp={"dialogue": steps})
    assert seen.failure is None
    assert seen.answer.captures == (("version", "IMAP4rev1"),)
    assert server.requests == [b"a LOGOUT\r\n"]
    assert list(seen.phases) == [*HANDSHAKE, Phase.PROCESSING]


def test_what_tls_holds_back_is_read(serve, look, authority):
    """Lines already decrypted inside TLS, where poll does not see them, are found."""
    lines = b"".join(b"line %d\r\n" % number for number in range(20_000))
    server = serve(talk(lines, stay_silent), tls=authority.context())
    assert look(server, tcp={"dialogue": [{"expect": "^line 19999$"}]}).failure is None


GOT = 'expected "OK", got '
BROKEN_DIALOGUES = {
    "silent after": (talk(b"BYE\n", stay_silent), SHORT, Reason.TCP_DIALOGUE, GOT + '"BYE"'),
    "closes after": (talk(b"BYE\n"), "5s", Reason.TCP_DIALOGUE, GOT + '"BYE"'),
    "silent": (talk(stay_silent), SHORT, Reason.READ_TIMEOUT, "no answer from 127.0.0.1:"),
    "closes": (talk(), "5s", Reason.CONNECTION_LOST, "127.0.0.1:"),
    "resets": (talk(0.05, reset), "5s", Reason.CONNECTION_LOST, "127.0.0.1:"),
    "drips": (talk(drip(b"x")), SHORT, Reason.TCP_DIALOGUE, GOT + '"x'),
    "floods": (talk(repeat(b"x" * 4096)), "5s", Reason.TCP_DIALOGUE, GOT + "a line longer than"),
}


@pytest.mark.parametrize("name", BROKEN_DIALOGUES)
def test_a_dialogue_under_tls_fails_as_any(serve, look, authority, name):
    """Failures under TLS have the same reasons as without, and the handshake is still reported."""
    script, timeout, reason, message = BROKEN_DIALOGUES[name]
    server = serve(script, tls=authority.context())
    begin = time.monotonic()
    seen = look(server, tcp={"dialogue": [{"expect": "OK"}]}, timeout=timeout)
    assert time.monotonic() - begin < 20
    assert (seen.failure.reason, seen.failure.message[: len(message)]) == (reason, message)
    assert seen.tls.verified is True
    assert seen.answer is not None


def test_connections_do_not_outlive_their_check(serve, look, authority):
    """Each check closes its connection, with and without a dialogue."""
    quiet = serve(talk(wait_for_end), tls=authority.context())
    server = serve(talk(b"hi\n", wait_for_end), tls=authority.context())
    look(quiet)
    look(server, tcp={"dialogue": [{"expect": "hi"}]})
    assert all_ended(quiet, 1)
    assert all_ended(server, 1)


# ---------------------------------------------------------------- STARTTLS by protocol

# What each server says, up to where it expects the handshake
XMPP_FEATURES = (
    b"<?xml version='1.0'?><stream:stream from='localhost' version='1.0' xmlns='jabber:client'>"
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
    b"</stream:features>"
)
LDAP_REQUEST = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"


def ldap_answer(code: int, text: bytes = b"") -> bytes:
    body = b"\x0a\x01" + bytes([code]) + b"\x04\x00\x04" + bytes([len(text)]) + text
    message = b"\x02\x01\x01\x78" + bytes([len(body)]) + body
    return b"\x30" + bytes([len(message)]) + message


def long_ldap_answer(code: int) -> bytes:
    """As Active Directory writes it: every length has four bytes."""
    body = b"\x0a\x01" + bytes([code]) + b"\x04\x84\0\0\0\0\x04\x84\0\0\0\0"
    message = b"\x02\x01\x01\x78\x84" + len(body).to_bytes(4, "big") + body
    return b"\x30\x84" + len(message).to_bytes(4, "big") + message


def take_xml(*ends):
    """Read until these bytes end what came, and append it to the server's ``requests``."""

    def turn(connection):
        data = b""
        while not data.endswith(ends):
            data += connection.sock.recv(1)
        connection.server.requests.append(data)

    return turn


AGREE = {
    "smtp": (
        b"220-mail.example.org\r\n220 ESMTP\r\n",
        LINE,
        b"250-mail.example.org\r\n250-SIZE 1000\r\n250 STARTTLS\r\n",
        LINE,
        b"220 2.0.0 Ready to start TLS\r\n",
    ),
    "imap": (b"* OK ready\r\n", LINE, b"* OK still here\r\na1 OK Begin TLS\r\n"),
    "pop3": (b"+OK ready\r\n", LINE, b"+OK Begin TLS\r\n"),
    "ftp": (b"220-Welcome\r\n 12 users\r\n220 ready\r\n", LINE, b"234 Proceed\r\n"),
    "xmpp": (
        take_xml(b"streams'>"),
        XMPP_FEATURES,
        take_xml(b"/>"),
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ),
    "postgres": (take(8), b"S"),
    "ldap": (take(31), ldap_answer(0)),
}
REQUESTS = {
    "smtp": [b"EHLO [127.0.0.1]\r\n", b"STARTTLS\r\n"],
    "imap": [b"a1 STARTTLS\r\n"],
    "pop3": [b"STLS\r\n"],
    "ftp": [b"AUTH TLS\r\n"],
    "postgres": [bytes.fromhex("0000000804d2162f")],
    "ldap": [LDAP_REQUEST],
}


def test_every_protocol_of_the_option_has_its_opening():
    """The names that the option allows are the keys of the table."""
    choice = get_type_hints(tls.TlsProbeOptions)["starttls"]
    names = {name for part in get_args(choice) for name in get_args(part)}
    assert names == set(AGREE) == set(tls._OPENINGS)


@pytest.mark.parametrize("protocol", AGREE)
def test_tls_is_asked_for_as_the_protocol_wants_it(serve, look, authority, protocol):
    """The opening leads to a handshake on the same connection, and a dialogue may follow."""
    server = serve(talk(*AGREE[protocol], authority.context(), b"secure\n", stay_silent))
    seen = look(server, tls={"starttls": protocol}, tcp={"dialogue": [{"expect": "^secure$"}]})
    assert seen.failure is None
    assert seen.tls.verified is True
    assert list(seen.phases) == [*HANDSHAKE, Phase.PROCESSING]
    assert len(server.peers) == 1
    if protocol in REQUESTS:
        assert server.requests == REQUESTS[protocol]


def test_xmpp_is_asked_for_the_certificates_name(serve, look, authority):
    """An XMPP domain is often hosted elsewhere, so server_name is the domain in the opening."""
    context = authority.context("example.org")
    server = serve(talk(*AGREE["xmpp"], context, stay_silent))
    seen = look(server, tls={"starttls": "xmpp", "server_name": "example.org"})
    assert seen.failure is None
    assert b" to='example.org' " in server.requests[0]


@pytest.mark.parametrize(
    ("protocol", "turns"),
    [
        ("ldap", (take(31), long_ldap_answer(0))),
        ("xmpp", (*AGREE["xmpp"][:3], b"<proceed xmlns='x'></proceed>")),
        ("smtp", (b"220\r\n", LINE, b"250\r\n", LINE, b"220\r\n")),
    ],
    ids=["long LDAP lengths", "a closing tag", "bare codes"],
)
def test_other_ways_to_agree(serve, look, authority, protocol, turns):
    """Other valid ways to agree on TLS are understood."""
    server = serve(talk(*turns, authority.context(), stay_silent))
    assert look(server, tls={"starttls": protocol}).failure is None


def test_an_ipv6_client_says_so_to_smtp(serve, look, authority):
    """SMTP gets our address as a literal instead of a name."""
    server = serve(talk(*AGREE["smtp"], authority.context(), stay_silent), host="::1")
    assert look(server, "[::1]", tls={"starttls": "smtp"}).failure is None
    assert server.requests[0] == b"EHLO [IPv6:::1]\r\n"


REFUSE = {
    "smtp not now": ("smtp", (b"554 no service\r\n", stay_silent), '"554 no service"'),
    "smtp no EHLO": (
        "smtp",
        (b"220 hi\r\n", LINE, b"502-what\r\n502 unknown\r\n", stay_silent),
        '"502 unknown"',
    ),
    "smtp no STARTTLS": (
        "smtp",
        (*AGREE["smtp"][:4], b"454 4.7.0 TLS not available\r\n", stay_silent),
        '"454 4.7.0 TLS not available"',
    ),
    "imap": ("imap", (b"* OK\r\n", LINE, b"a1 BAD what?\r\n", stay_silent), '"a1 BAD what?"'),
    "imap bye": ("imap", (b"* BYE full\r\n",), '"* BYE full"'),
    "imap logged in": ("imap", (b"* PREAUTH hi\r\n", stay_silent), '"* PREAUTH hi"'),
    "pop3": ("pop3", (b"+OK\r\n", LINE, b"-ERR no TLS\r\n", stay_silent), '"-ERR no TLS"'),
    "ftp": ("ftp", (b"220 hi\r\n", LINE, b"530 log in first\r\n"), '"530 log in first"'),
    "xmpp no feature": (
        "xmpp",
        (take_xml(b"streams'>"), b"<stream:stream><stream:features></stream:features>"),
        '"no starttls among its features"',
    ),
    "xmpp error": (
        "xmpp",
        (take_xml(b"streams'>"), b"<stream:stream><stream:error><host-unknown/></stream:error>"),
        '"<stream:error><host-unknown/>"',
    ),
    "xmpp failure": (
        "xmpp",
        (*AGREE["xmpp"][:3], b"<failure xmlns='x'/>"),
        "\"<failure xmlns='x'/>\"",
    ),
    "postgres": ("postgres", (take(8), b"N", stay_silent), '"N"'),
    "ldap": ("ldap", (take(31), ldap_answer(2, b"unsupported")), '"result 2 unsupported"'),
    "ldap of another kind": ("ldap", (take(31), b"\x30\x03abc"), '"abc"'),
    "no ldap at all": ("ldap", (take(31), b"HTTP/1.1 400 Bad Request\r\n"), '"HTTP/1.1 400'),
    "an ldap message without end": ("ldap", (take(31), b"\x30\x84\x7f\xff\xff\xffxx"), '"0\\x84'),
    "not smtp": ("smtp", (b"SSH-2.0-OpenSSH_9.2\r\n", stay_silent), '"SSH-2.0-OpenSSH_9.2"'),
    "half a line": ("pop3", (b"+O", stay_silent), '"+O"'),
    "a flood": ("smtp", (repeat(b"x" * 4096),), "a line longer than 64KiB"),
}


@pytest.mark.parametrize("name", REFUSE)
def test_a_server_that_will_not_have_tls_is_quoted(serve, look, name):
    """A refusal fails at once if the server sends one, and the message quotes it."""
    protocol, turns, words = REFUSE[name]
    server = serve(talk(*turns))
    waits = name in ("not smtp", "half a line")
    seen = look(server, tls={"starttls": protocol}, timeout=SHORT if waits else "5s")
    expected = f"127.0.0.1:{server.port} did not agree to TLS ({protocol}): it said {words}"
    assert seen.failure.reason is Reason.TLS_PROTOCOL, seen.failure
    assert seen.failure.message.startswith(expected)
    assert seen.tls is None
    assert seen.answer is not None
    assert waits or seen.duration < 4.5


@pytest.mark.parametrize("protocol", AGREE)
def test_a_server_that_says_nothing(serve, look, protocol):
    """Silence ends at the deadline, and a closed connection at once."""
    silent = look(serve([stay_silent]), tls={"starttls": protocol}, timeout="200ms")
    assert silent.failure.reason is Reason.READ_TIMEOUT
    assert f"within 200ms (asked for TLS by {protocol})" in silent.failure.message
    closed = look(serve(talk(0.02)), tls={"starttls": protocol}, timeout="1s")
    assert closed.failure.reason is Reason.CONNECTION_LOST, closed.failure


def test_a_forged_beginning_is_not_taken_for_the_servers(serve, look, authority):
    """Plain text after the agreement, which anyone could have inserted, ends the check."""
    turns = (b"+OK\r\n", LINE, b"+OK go\r\n+OK forged\r\n", authority.context())
    seen = look(serve(talk(*turns)), tls={"starttls": "pop3"})
    assert seen.failure.reason is Reason.TLS_PROTOCOL
    assert "went on in plain text after it had agreed to TLS" in seen.failure.message


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tls": {"starttls": "smpt"}}, "must be smtp, imap, pop3, ftp, xmpp, postgres or ldap"),
        ({"tcp": {"dialogue": [{"starttls": True}]}}, "starttls"),
        ({"tcp": {"dialogue": [{"send": r"\1"}]}}, "refers to"),
    ],
)
def test_wrong_options_are_configuration_errors(keys, message):
    """Unknown protocols, a starttls step under TLS and a missing group are refused."""
    with pytest.raises(ConfigError) as error:
        site_of("tls://localhost:993", **keys)
    assert message in str(error.value)


def test_starttls_is_an_option_of_tls_sites_only():
    """https sites have the tls section without starttls."""
    with pytest.raises(ConfigError, match="starttls"):
        site_of("https://localhost", tls={"starttls": "smtp"})


# ---------------------------------------------------------------- real peers


@pytest.mark.real
def test_redis_under_tls(real, handles, authority, tmp_path):
    """A real redis-server answers under TLS; without its authority it is not trusted."""
    port = free_port()
    cert, key = authority.server_files("localhost")
    options = ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key]
    options += ["--tls-ca-cert-file", authority.file, "--tls-auth-clients", "no"]
    options += ["--bind", "127.0.0.1", "--port", "0", "--save", ""]
    ask = partial(observe, handles, authority, f"tls://localhost:{port}")
    with running(tmp_path, port, real("redis-server"), *options):
        seen = ask(tcp={"dialogue": [{"send": "PING"}, {"expect": r"^\+PONG"}]})
        untrusted = ask(tls={"ca_file": "/etc/ssl/certs/ca-certificates.crt"})
    assert seen.failure is None
    assert known(seen.tls).verified is True
    assert known(untrusted.failure).reason is Reason.TLS_UNTRUSTED
