"""The DNS probe against scripted name servers on loopback, and against a real unbound."""

import contextlib
import os
import socket
import struct
import threading
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.dnssectypes
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from monitor.clock import SystemClock
from monitor.errors import ProbeError
from monitor.model import DnsAnswer, Observation, Phase, Reason, Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.dns import DnsProbe, check_url
from monitor.probes.dns_options import DnsOptions
from monitor.probes.libcurl.handles import Handles
from monitor.probes.observe import Observer
from monitor.probes.resolve import Resolver
from tests.probes.servers import Connection, drip, read_request, reset, stay_silent
from tests.probes.talk import running, site_of
from tests.resources import open_files
from tests.waiting import free_port, until

SHORT = 0.5  # the timeout of checks that must run into it
NAME = "shop.example.org."
RECORD = f"{NAME} 300 IN A 192.0.2.7"
SOA = f"{NAME} 300 IN SOA ns.example.org. admin.example.org. 2024010101 1 2 3 4"

Replies = list[bytes]
Script = Callable[[bytes], Replies]


class DatagramServer:
    """
    Answers each datagram with what a script makes of it.

    Attributes:
        queries: The datagrams received.
        peers: The address that each came from.
    """

    def __init__(self, script: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        self.queries: list[dns.message.Message] = []
        self.peers: list[tuple[str, int]] = []
        self._script = script
        self._sock = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        self._sock.bind((host, port))
        self.address = f"[{host}]" if ":" in host else host
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def url(self, question: str = f"{NAME}?type=A", host: str = "") -> str:
        return f"dns://{host or self.address}:{self.port}/{question}"

    def _serve(self) -> None:
        while True:
            query, peer = self._sock.recvfrom(65535)
            if not query:
                return
            self.queries.append(dns.message.from_wire(query))
            self.peers.append(peer[:2])
            for reply in self._script(query):
                self._sock.sendto(reply, peer)

    def close(self) -> None:
        with socket.socket(self._sock.family, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self._sock.getsockname())
        self._thread.join()
        self._sock.close()


def respond(
    query: bytes,
    *records: str,
    rcode: str = "NOERROR",
    flags: int = 0,
    options: list[dns.edns.Option] | None = None,
) -> bytes:
    """Return an honest server's reply to a query; it has EDNS if there are options."""
    reply = dns.message.make_response(dns.message.from_wire(query))
    reply.use_edns(False if options is None else 0, payload=1400, options=options)
    reply.set_rcode(dns.rcode.from_text(rcode))
    reply.flags |= flags
    for record in records:
        name, ttl, class_, type_, data = record.split(maxsplit=4)
        reply.answer.append(dns.rrset.from_text(name, int(ttl), class_, type_, data))
    return reply.to_wire()


def answering(*records: str, **options: typing.Any) -> Script:
    return lambda query: [respond(query, *records, **options)]


def silent(_: bytes) -> Replies:
    return []


def over_stream(script: Script) -> Callable[[Connection], None]:
    """Return the step of a ScriptedServer that answers one query over TCP or TLS."""

    def step(connection: Connection) -> None:
        for reply in script(read_query(connection)):
            connection.sock.sendall(struct.pack("!H", len(reply)) + reply)

    return step


def read_query(connection: Connection) -> bytes:
    with connection.sock.makefile("rb") as stream:
        length = int.from_bytes(stream.read(2))
        return stream.read(length)


@pytest.fixture
def name_server() -> Iterator[Callable[..., DatagramServer]]:
    """Return a function that starts a DatagramServer; all end with the test."""
    with contextlib.ExitStack() as stack:

        def start(script: Script, **options: typing.Any) -> DatagramServer:
            server = DatagramServer(script, **options)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def ask(handles: Handles, authority) -> Callable[..., Observation]:
    """Return a function that makes one check; its keywords are DnsOptions and the sections."""

    def run(
        url: str,
        *,
        tls: TlsOptions | None = None,
        network: NetworkOptions | None = None,
        timeout: float = 5.0,
        resolver: Resolver | None = None,
        **options: typing.Any,
    ) -> Observation:
        sections = (
            DnsOptions(**options),
            tls or TlsOptions(ca_file=authority.file),
            network or NetworkOptions(),
        )
        site = Site(
            name="site", url=url, target=url, scheme="dns", timeout=timeout, options=sections
        )
        return Observer({"dns": DnsProbe(handles, resolver)}, SystemClock())(site)

    return run


def reason(seen: Observation) -> Reason | None:
    return seen.failure.reason if seen.failure else None


# ---------------------------------------------------------------- UDP


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answer_over_udp(ask, name_server, host):
    """Each record is one line of text, and all three phases are reported."""
    server = name_server(answering(RECORD, f"{NAME} 300 IN A 192.0.2.8"), host=host)
    seen = ask(server.url())
    assert seen.failure is None
    assert seen.answer == DnsAnswer(rcode="NOERROR", answer=(RECORD, f"{NAME} 300 IN A 192.0.2.8"))
    assert (seen.address, list(seen.phases)) == (
        host,
        [Phase.RESOLVE, Phase.CONNECT, Phase.REQUEST],
    )
    assert seen.tls is None


def test_server_by_name(ask, name_server):
    """The name server's own name is looked up first."""
    server = name_server(answering(RECORD))
    assert ask(server.url(host="localhost"), network=NetworkOptions(ip="4")).address == "127.0.0.1"


def test_server_name_that_does_not_exist(ask):
    """A server whose name is unknown is dns_not_found, not an answer."""

    def unknown(*_: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    seen = ask("dns://ns.example.org/example.org", resolver=Resolver(getaddrinfo=unknown))
    assert reason(seen) is Reason.DNS_NOT_FOUND
    assert list(seen.phases) == [Phase.RESOLVE]


def test_serial(ask, name_server):
    """A query for the SOA record returns its serial."""
    answer = ask(name_server(answering(SOA)).url(f"{NAME}?type=SOA")).answer
    assert (answer.serial, answer.answer) == (2024010101, (SOA,))


def test_no_serial_without_question(ask, name_server):
    """An SOA record that the query did not ask for sets no serial."""
    assert ask(name_server(answering(SOA)).url(f"{NAME}?type=ANY")).answer.serial is None


def test_authority_and_additional(ask, name_server):
    """Answer, authority and additional sections are kept apart."""

    def referral(query: bytes) -> Replies:
        reply = dns.message.from_wire(respond(query))
        reply.authority.append(dns.rrset.from_text(NAME, 60, "IN", "NS", "ns.example.org."))
        reply.additional.append(dns.rrset.from_text("ns.example.org.", 60, "IN", "A", "192.0.2.5"))
        return [reply.to_wire()]

    answer = ask(name_server(referral).url()).answer
    assert answer == DnsAnswer(
        rcode="NOERROR",
        authority=(f"{NAME} 60 IN NS ns.example.org.",),
        additional=("ns.example.org. 60 IN A 192.0.2.5",),
    )


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_rcode_is_an_answer(ask, name_server, rcode):
    """Any rcode is an answer; expectations judge it elsewhere."""
    seen = ask(name_server(answering(rcode=rcode)).url())
    assert (seen.failure, seen.answer) == (None, DnsAnswer(rcode=rcode))


def test_url_wins_over_options(ask, name_server):
    """The type and class in the URL are used, whatever the options say."""
    server = name_server(answering())
    ask(server.url("version.bind?type=txt;class=ch"), type="MX", class_="IN")
    assert server.queries[0].question[0].to_text() == "version.bind. CH TXT"


def test_options_where_the_url_is_silent(ask, name_server):
    """If the URL gives no type or class, the options do; they also set recursion."""
    server = name_server(answering())
    ask(server.url("example.org"), type="MX", recursion=False)
    query = server.queries[0]
    assert query.question[0].to_text() == "example.org. IN MX"
    assert not query.flags & dns.flags.RD


def test_source_address(ask, name_server):
    """The query is sent from the configured source address."""
    server = name_server(answering(RECORD))
    ask(server.url(), network=NetworkOptions(source_address="127.0.0.9"))
    assert server.peers[0][0] == "127.0.0.9"


def test_source_address_of_another_machine(ask, name_server):
    """A source address that this machine does not have is the monitor's fault, not the site's."""
    server = name_server(answering(RECORD))
    with pytest.raises(ProbeError, match=r"cannot send from 192\.0\.2\.1"):
        ask(server.url(), network=NetworkOptions(source_address="192.0.2.1"))


def test_connect_to(ask, name_server):
    """The query goes to connect_to, and the URL's server is not looked up."""
    server = name_server(answering(RECORD))
    network = NetworkOptions(connect_to=f"127.0.0.1:{server.port}")
    assert ask(f"dns://ns.invalid/{NAME}", network=network).answer.answer == (RECORD,)


def test_closed_port(ask):
    """A closed port is connect_refused at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    seen = ask(f"dns://127.0.0.1:{port}/{NAME}")
    assert reason(seen) is Reason.CONNECT_REFUSED
    assert Phase.REQUEST in seen.phases


def test_silence(ask, name_server):
    """A silent server is a read_timeout at the site's own deadline."""
    seen = ask(name_server(silent).url(), timeout=SHORT)
    assert reason(seen) is Reason.READ_TIMEOUT
    assert seen.failure.message.endswith("within 500ms")
    # The deadline is that of the whole check, of which looking for the server took a little
    assert SHORT * 0.9 < seen.duration < 20 * SHORT


def _wrong_id(query: bytes) -> bytes:
    return bytes([query[0] ^ 1]) + respond(query, "shop.example.org. 1 IN A 192.0.2.66")[1:]


def _wrong_question(query: bytes) -> bytes:
    other = dns.message.make_query("evil.example.org", "A")
    other.id = dns.message.from_wire(query).id
    return respond(other.to_wire(), "evil.example.org. 1 IN A 192.0.2.66")


FORGED = {
    "another id": _wrong_id,
    "another question": _wrong_question,
    "noise": lambda _: os.urandom(40),
    "nothing": lambda _: b"",
    "the question itself": lambda query: query,
    "two questions": lambda query: query[:4] + b"\0\2" + query[6:] + query[12:],
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_forged_replies_are_ignored(ask, name_server, forge):
    """A datagram that does not answer our query is ignored; the next one may answer it."""
    server = name_server(lambda query: [forge(query), respond(query, RECORD)])
    assert ask(server.url()).answer.answer == (RECORD,)


def test_forged_replies_alone(ask, name_server):
    """If only forged replies come, the message says how many were ignored."""
    server = name_server(lambda query: [_wrong_id(query), _wrong_question(query)])
    seen = ask(server.url(), timeout=SHORT)
    assert reason(seen) is Reason.READ_TIMEOUT
    assert seen.failure.message.endswith("; 2 datagrams did not answer our question")


def test_reply_from_elsewhere_is_ignored(ask, name_server):
    """A reply from another sender is ignored, even with the right id and question."""
    sent = threading.Event()

    def from_elsewhere(query: bytes) -> Replies:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(respond(query, RECORD), server.peers[-1])
        sent.set()
        return []

    server = name_server(from_elsewhere)
    seen = ask(server.url(), timeout=SHORT)
    assert sent.is_set()
    assert reason(seen) is Reason.READ_TIMEOUT


MALFORMED = {
    "cut off": lambda wire: wire[:-3],
    "with a tail": lambda wire: wire + b"tail",
    "with a count too high": lambda wire: wire[:7] + b"\7" + wire[8:],
    "only an id": lambda wire: wire[:2],
    "with a name that points at itself": lambda wire: (
        wire[:12] + wire[12:].replace(b"\xc0\x0c", b"\xc0\xff")
    ),
}


@pytest.mark.parametrize("spoil", MALFORMED.values(), ids=MALFORMED)
def test_malformed_reply(ask, name_server, spoil):
    """A reply to our query that cannot be read is a protocol_error."""
    server = name_server(lambda query: [spoil(respond(query, RECORD))])
    assert reason(ask(server.url(), timeout=SHORT)) is Reason.PROTOCOL_ERROR


def test_unknown_types_and_classes_are_text(ask, name_server):
    """Records of unknown types are shown in the form of RFC 3597."""

    def strange(query: bytes) -> Replies:
        reply = bytearray(respond(query))
        reply[7] = 1
        return [bytes(reply) + b"\0" + struct.pack("!2HIH", 65280, 77, 5, 2) + b"\1\2"]

    answer = ask(name_server(strange).url()).answer.answer
    assert answer == (r". 5 CLASS77 TYPE65280 \# 2 0102",)


# ---------------------------------------------------------------- TCP


@pytest.fixture
def truncating(name_server, serve):
    """Return a function from a TCP script to a server that truncates every datagram."""

    def start(script):
        tcp = serve(script)
        return name_server(answering(flags=dns.flags.TC), port=tcp.port)

    return start


def test_truncated_reply_is_asked_again_over_tcp(ask, truncating):
    """An answer that does not fit into a datagram is fetched over TCP."""
    server = truncating([over_stream(answering(RECORD))])
    seen = ask(server.url())
    assert (seen.failure, seen.answer.answer) == (None, (RECORD,))
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.REQUEST]


def test_truncated_in_mid_record(ask, name_server, serve):
    """A truncated reply may end anywhere, even within a record."""
    tcp = serve([over_stream(answering(RECORD))])
    server = name_server(
        lambda query: [respond(query, RECORD, flags=dns.flags.TC)[:-3]], port=tcp.port
    )
    assert ask(server.url()).answer.answer == (RECORD,)


def test_truncated_without_tcp(ask, name_server):
    """A server that truncates and has no TCP is down, and the message says both."""
    server = name_server(answering(flags=dns.flags.TC))
    seen = ask(server.url())
    assert reason(seen) is Reason.CONNECT_REFUSED
    assert seen.failure.message == (
        "the reply over UDP was truncated, and over TCP "
        f"connection to 127.0.0.1:{server.port} refused"
    )


def test_truncated_and_silent_over_tcp(ask, truncating):
    """If the server does not answer over TCP, it is down, and the message says both."""
    seen = ask(truncating([stay_silent]).url(), timeout=SHORT)
    assert reason(seen) is Reason.READ_TIMEOUT
    assert seen.failure.message.startswith("the reply over UDP was truncated, and over TCP no")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_truncated_over_tcp_is_an_answer(ask, truncating, transport):
    """Over TCP a truncated reply is final: its flag is reported and its records are judged."""
    server = truncating([over_stream(answering(RECORD, flags=dns.flags.TC))])
    seen = ask(server.url(), transport=transport)
    assert seen.failure is None
    assert (seen.answer.flags, seen.answer.answer) == (("TC",), (RECORD,))
    assert seen.answer.truncated is (transport == "udp")


# ---------------------------------------------------------------- EDNS and flags


def test_asks_as_resolvers_do(ask, name_server):
    """The query has EDNS with a buffer of 1232 bytes, and nothing else unless configured."""
    server = name_server(answering(RECORD, options=[]))
    assert ask(server.url()).answer.edns_size == 1400
    query = server.queries[0]
    assert (query.edns, query.payload, query.ednsflags, query.options) == (0, 1232, 0, ())


def test_edns_can_be_left_out(ask, name_server):
    """With EDNS turned off, the query is a plain one of 1987."""
    server = name_server(answering(RECORD))
    assert ask(server.url(), edns=False).answer.edns_size is None
    assert server.queries[0].edns == -1


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP"])
def test_a_server_older_than_edns_is_asked_again(ask, name_server, rcode):
    """A server that refuses EDNS (RFC 6891, 7) is asked without it; the time of both counts."""

    def old(query: bytes) -> Replies:
        if dns.message.from_wire(query).edns >= 0:
            return [query[:2] + respond(query, rcode=rcode)[2:4] + bytes(8)]  # the header alone
        return [respond(query, RECORD)]

    server = name_server(old)
    assert ask(server.url()).answer.answer == (RECORD,)
    assert [query.edns for query in server.queries] == [0, -1]


def test_a_refusal_of_the_question_itself_stays_one(ask, name_server):
    """A server that speaks EDNS refuses the query itself, so it is asked only once."""
    server = name_server(answering(rcode="FORMERR", options=[]))
    assert ask(server.url()).answer.rcode == "FORMERR"
    assert len(server.queries) == 1


def test_signatures_are_asked_for(ask, name_server):
    """dns.dnssec sets the DO bit."""
    server = name_server(answering(RECORD, options=[]))
    ask(server.url(), dnssec=True)
    assert server.queries[0].ednsflags == dns.flags.DO


def test_flags_are_told(ask, name_server):
    """The AA, RA and AD flags of the reply are reported; the flags of the query are not."""
    flags = dns.flags.AA | dns.flags.RA | dns.flags.AD | dns.flags.CD
    assert ask(name_server(answering(RECORD, flags=flags)).url()).answer.flags == ("AA", "RA", "AD")
    assert ask(name_server(answering(RECORD)).url()).answer.flags == ()


@pytest.mark.parametrize(("sent", "told"), [(b"fra-3", "fra-3"), (b"\0\xff", "00ff"), (b"", None)])
def test_the_instance_is_told(ask, name_server, sent, told):
    """NSID is requested with an empty option, and shown as text if it is text."""
    option = dns.edns.GenericOption(dns.edns.OptionType.NSID, sent)
    server = name_server(answering(RECORD, options=[option]))
    answer = ask(server.url(), nsid=True).answer
    assert (answer.nsid, answer.additional) == (told, ())
    (asked,) = server.queries[0].options
    assert (asked.otype, asked.to_wire()) == (dns.edns.OptionType.NSID, b"")


def test_extended_errors_and_rcodes_are_told(ask, name_server):
    """Extended errors (RFC 8914), known or not, and rcodes above 15 are reported."""
    options: list[dns.edns.Option] = [
        dns.edns.EDEOption(dns.edns.EDECode.SIGNATURE_EXPIRED, "since May"),
        dns.edns.GenericOption(dns.edns.OptionType.EDE, b"\xff\xfe"),
        dns.edns.GenericOption(dns.edns.OptionType.EDE, b"\x00"),
    ]
    answer = ask(name_server(answering(rcode="BADCOOKIE", options=options)).url()).answer
    assert answer.rcode == "BADCOOKIE"
    assert answer.extended_errors == ("7 Signature Expired: since May", "65534")


def test_options_in_the_wrong_place_are_malformed(ask, name_server):
    """OPT must be in the additional section, and its content must fit its length."""
    record = b"\0" + struct.pack("!2HIH", dns.rdatatype.OPT, 1232, 0, 0)
    cut = b"\0" + struct.pack("!2HIH", dns.rdatatype.OPT, 1232, 0, 4) + struct.pack("!2H", 3, 9)

    def misplaced(query: bytes) -> Replies:
        reply = bytearray(respond(query))
        reply[7] = 1
        return [bytes(reply) + record]

    def torn(query: bytes) -> Replies:
        reply = bytearray(respond(query))
        reply[11] = 1
        return [bytes(reply) + cut]

    for script in (misplaced, torn):
        assert reason(ask(name_server(script).url())) is Reason.PROTOCOL_ERROR


# ---------------------------------------------------------------- HTTPS


def over_https(script: Script, status: str = "200 OK", kind: str = "application/dns-message"):
    """Return the steps of a server that answers one query over HTTP/1.1, as RFC 8484 requires."""

    def step(connection: Connection) -> None:
        read_request(connection)
        if not connection.server.requests:
            return  # the client went away after the handshake
        body = b"".join(script(connection.server.requests[-1].partition(b"\r\n\r\n")[2]))
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sock.sendall(head.encode() + body)

    return [step]


def test_answer_over_https(ask, serve, authority):
    """The query is posted with id 0, and the certificate is verified and kept."""
    server = serve(over_https(answering(RECORD, options=[])), tls=authority.context())
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="https", path="/ask?it")
    assert (seen.failure, seen.answer.answer) == (None, (RECORD,))
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.REQUEST]
    assert (seen.tls.verified, len(seen.tls.chain)) == (True, 1)
    assert seen.address == "127.0.0.1"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /ask?it HTTP/1.1\r\n")
    headers = head.lower()
    assert b"content-type: application/dns-message" in headers
    assert b"accept: application/dns-message" in headers
    assert b"user-agent: website-monitor/" in headers
    query = dns.message.from_wire(body)
    assert (query.id, query.payload) == (0, 1232)


BROKEN_HTTPS = {
    "not found": (over_https(silent, "404 Not Found"), Reason.STATUS, "with status 404"),
    "a redirect": (over_https(silent, "302 Found"), Reason.STATUS, "with status 302"),
    "a page": (
        over_https(answering(RECORD), kind="text/html; charset=utf-8"),
        Reason.PROTOCOL_ERROR,
        "answered with text/html, not with application/dns-message",
    ),
    "nothing": (over_https(silent), Reason.PROTOCOL_ERROR, "did not answer the question"),
    "garbage": (
        over_https(lambda query: [respond(query, RECORD)[:-2]]),
        Reason.PROTOCOL_ERROR,
        "malformed reply",
    ),
    "another question's": (
        over_https(lambda query: [_wrong_question(query)]),
        Reason.PROTOCOL_ERROR,
        "did not answer the question",
    ),
    "too much": (
        over_https(lambda query: [respond(query, RECORD) + bytes(70_000)]),
        Reason.PROTOCOL_ERROR,
        "more than the 65535 bytes",
    ),
    "silence": ([stay_silent], Reason.READ_TIMEOUT, "no answer"),
    "closing": ([read_request], Reason.CONNECTION_LOST, "127.0.0.1:"),
}


@pytest.mark.parametrize(("script", "expected", "part"), BROKEN_HTTPS.values(), ids=BROKEN_HTTPS)
def test_broken_https(ask, serve, authority, script, expected, part):
    """Anything over HTTPS that is not a DNS answer fails with its own reason."""
    server = serve(script, tls=authority.context())
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="https", timeout=1)
    assert (reason(seen), part in seen.failure.message) == (expected, True), seen.failure


def test_https_distrusts_as_tls_does(ask, serve, authority):
    """A certificate for another name is refused before the query is sent."""
    server = serve(over_https(answering(RECORD)), tls=authority.context("other.example"))
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="https")
    assert reason(seen) is Reason.TLS_WRONG_HOST
    assert server.requests == []


def test_https_goes_where_the_options_say(ask, serve, authority):
    """connect_to, tls.server_name and the proxy apply, and Host is the URL's."""
    server = serve(over_https(answering(RECORD)), tls=authority.context("dns.example"))
    there = f"127.0.0.1:{server.port}"
    tls = TlsOptions(ca_file=authority.file, server_name="dns.example")
    network = NetworkOptions(connect_to=there)
    seen = ask(f"dns://ns.example/{NAME}", transport="https", tls=tls, network=network)
    assert seen.answer.answer == (RECORD,)
    assert b"\r\nHost: ns.example" in server.requests[0]
    refused = serve([read_request, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"])
    proxy = f"http://me:sesame@127.0.0.1:{refused.port}"
    seen = ask(f"dns://ns.example/{NAME}", transport="https", proxy=proxy)
    assert reason(seen) is Reason.PROXY_ERROR
    assert refused.requests[0].startswith(b"CONNECT ns.example:443 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edns": False, "dnssec": True}, "dnssec is asked for by EDNS; leave out edns: false"),
        ({"edns": False, "nsid": True}, "nsid is asked for by EDNS; leave out edns: false"),
        ({"proxy": "http://proxy:1"}, "proxy does not go with transport udp; https has it"),
        ({"transport": "https", "proxy": "ftp://proxy:1"}, "proxy must be an http, https,"),
        ({"transport": "https", "path": "dns-query"}, "path 'dns-query' is not a path"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    """Options that contradict each other are refused when the list is read."""
    with pytest.raises(ValueError, match=message.replace("?", "\\?")):
        DnsOptions(**options)


BROKEN_STREAMS = {
    "silence": ([stay_silent], Reason.READ_TIMEOUT),
    "a dripping reply": ([drip(b"\xff")], Reason.READ_TIMEOUT),
    "closing at once": ([read_query], Reason.CONNECTION_LOST),
    "closing in mid-reply": ([read_query, b"\0\x40abc"], Reason.CONNECTION_LOST),
    "a reset": ([read_query, reset], Reason.CONNECTION_LOST),
    "an HTTP answer": ([read_query, b"HTTP/1.1 400 Bad Request\r\n" * 2000], Reason.PROTOCOL_ERROR),
    "another question's answer": (
        [over_stream(lambda query: [_wrong_question(query)])],
        Reason.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize(("script", "expected"), BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
def test_broken_streams(ask, serve, script, expected):
    """Whatever a server does over TCP, the reason is exact and the check ends by its deadline."""
    server = serve(script)
    seen = ask(f"dns://127.0.0.1:{server.port}/{NAME}", transport="tcp", timeout=SHORT)
    assert reason(seen) is expected
    assert seen.duration < 20 * SHORT


# ---------------------------------------------------------------- TLS


def test_answer_over_tls(ask, serve, authority):
    """DNS over TLS verifies the server and keeps its certificates."""
    server = serve([over_stream(answering(RECORD))], tls=authority.context())
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="tls")
    assert (seen.failure, seen.answer.answer) == (None, (RECORD,))
    assert list(seen.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.REQUEST]
    assert (seen.tls.verified, len(seen.tls.chain)) == (True, 1)


DISTRUSTED = {
    "expired": (lambda authority: authority.expired(), Reason.TLS_EXPIRED),
    "wrong host": (lambda authority: authority.context("other.example"), Reason.TLS_WRONG_HOST),
    "unknown issuer": (lambda authority: authority.unknown_issuer(), Reason.TLS_UNTRUSTED),
}


@pytest.mark.parametrize(("context", "expected"), DISTRUSTED.values(), ids=DISTRUSTED)
def test_distrusted_server(ask, serve, authority, context, expected):
    """A refused certificate is still reported, and no query is sent."""
    asked: list[bytes] = []
    server = serve([lambda c: asked.append(read_query(c))], tls=context(authority))
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="tls")
    assert reason(seen) is expected
    assert (seen.tls.verified, len(seen.tls.chain)) == (False, 1)
    assert not any(asked)


def test_server_name(ask, serve, authority):
    """tls.server_name is the name that the certificate must cover."""
    server = serve([over_stream(answering(RECORD))], tls=authority.context("dns.example"))
    tls = TlsOptions(ca_file=authority.file, server_name="dns.example")
    seen = ask(f"dns://127.0.0.1:{server.port}/{NAME}", transport="tls", tls=tls)
    assert seen.answer.answer == (RECORD,)


def test_server_that_wants_a_client_certificate(ask, serve, authority):
    """In TLS 1.3 the refusal comes with the first bytes, and the reason is the same."""
    context = authority.demand_client(authority.context())
    server = serve([over_stream(answering(RECORD))], tls=context)
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="tls")
    assert reason(seen) is Reason.TLS_CLIENT_CERTIFICATE


def test_handshake_that_stalls(ask, serve):
    """A server that accepts and says nothing is a tls_timeout."""
    server = serve([stay_silent])
    seen = ask(f"dns://localhost:{server.port}/{NAME}", transport="tls", timeout=SHORT)
    assert reason(seen) is Reason.TLS_TIMEOUT


# ---------------------------------------------------------------- the hostile world


def test_longest_names_cost_little(ask, serve):
    """A reply of 64 KiB that expands to 2 MB of names is refused without expanding it."""
    name = dns.name.from_text("a." * 126)

    def bomb(query: bytes) -> Replies:
        record = b"\xc0\x0c" + struct.pack("!2HIH", dns.rdatatype.NS, 1, 1, 2) + b"\xc0\x0c"
        count = (65_535 - len(query)) // len(record)
        return [
            query[:2] + struct.pack("!5H", 0x8180, 1, count, 0, 0) + query[12:] + record * count
        ]

    server = serve([over_stream(bomb)])
    begin = time.process_time()
    seen = ask(f"dns://127.0.0.1:{server.port}/{name}", transport="tcp")
    assert reason(seen) is Reason.PROTOCOL_ERROR
    assert "longer than" in seen.failure.message
    assert time.process_time() - begin < 5  # 0.3 s here; 19 s with dnspython's own reader


def test_nothing_is_left_behind(ask, name_server, serve):
    """After many checks, good and bad, no file descriptor or thread is left open."""
    good, bad = name_server(answering(RECORD)), serve([read_query])
    stream = serve([over_stream(answering(RECORD)), read_query])  # until it is closed
    before = open_files()
    for _ in range(50):
        ask(good.url())
        for port in (bad.port, stream.port):
            ask(f"dns://127.0.0.1:{port}/{NAME}", transport="tcp")
    until(lambda: all(one.name != "look-up" for one in threading.enumerate()), "the threads' end")
    # The other side keeps its last connections until it is closed itself
    until(lambda: open_files() <= before + 3, "the end of the connections")


# ---------------------------------------------------------------- what admins write


BAD_URLS = {
    "dns://192.0.2.53": "has no name to ask for",
    "dns://192.0.2.53/?type=A": "has no name to ask for",
    "dns://192.0.2.53/a..b": "not a domain name",
    "dns://192.0.2.53/example.org?typ=A": "has 'typ' after the question mark",
    "dns://192.0.2.53/example.org?type=A&type=MX": "says type twice",
    "dns://192.0.2.53/example.org?type=QQ": "'QQ' is not a DNS record type",
    "dns://192.0.2.53/example.org?type=AXFR": "AXFR is not a record type that can be asked for",
    "dns://192.0.2.53/example.org?class=XX": "'XX' is not a DNS class",
    "dns://user@192.0.2.53/example.org": "has a user or a fragment",
}


@pytest.mark.parametrize(("url", "message"), BAD_URLS.items())
def test_bad_urls(url, message):
    """A URL that cannot be queried is refused with the reason."""
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "dns://192.0.2.53/example.org",
        "dns://[2001:db8::53]:5353/example.org.?type=mx&class=in",
        "dns://ns.example.org/.?TYPE=NS",
        "dns://ns.example.org/0%2F25.2.0.192.in-addr.arpa?type=PTR",
        "dns://ns.example.org/example.org?type=TYPE65",
    ],
)
def test_good_urls(url):
    """Names with or without a final dot, the root, escapes and numbered types are accepted."""
    assert site_of(url).url == url


@pytest.mark.parametrize(
    ("key", "written", "message"),
    [
        ("type", "IXFR", "IXFR is not a record type that can be asked for"),
        ("type", 1, "1 is not a DNS record type"),
        ("class_", "NONE", "NONE is not a class that can be asked for"),
        ("class_", True, "True is not a DNS class"),
    ],
)
def test_bad_options(key, written, message):
    """Types and classes that cannot be queried are refused."""
    parsed = typing.get_type_hints(DnsOptions, include_extras=True)[key].__metadata__[0]
    with pytest.raises(ValueError, match=message):
        parsed.parse(written)


# ---------------------------------------------------------------- a real server


@dataclass(frozen=True)
class Ports:
    """The ports on which unbound listens, one per transport."""

    plain: int
    tls: int
    https: int


@pytest.fixture
def unbound(real, tmp_path, authority) -> Iterator[Ports]:
    """Start unbound with its own zone, and a signed one whose signatures it checks."""
    program = real("unbound")
    ports = Ports(*(free_port() for _ in range(3)))
    key = _sign(tmp_path / "signed.zone")
    texts = "".join(
        f"  local-data: 'big.example.org. 60 IN TXT {'x' * 200}{n}'\n" for n in range(9)
    )
    certificate, private = authority.server_files("localhost")
    (tmp_path / "unbound.conf").write_text(
        f"server:\n"
        f'  directory: "{tmp_path}"\n  username: ""\n  chroot: ""\n  pidfile: ""\n'
        f"  do-daemonize: no\n  use-syslog: no\n"
        f"  interface: 127.0.0.1@{ports.plain}\n"
        f"  interface: 127.0.0.1@{ports.tls}\n  tls-port: {ports.tls}\n"
        f"  interface: 127.0.0.1@{ports.https}\n  https-port: {ports.https}\n"
        f'  tls-service-key: "{private}"\n  tls-service-pem: "{certificate}"\n'
        f'  nsid: "ascii_fra-3"\n  ede: yes\n'
        f'  local-zone: "example.org." static\n  local-data: "{RECORD}"\n'
        f'  local-data: "example.org. 300 IN SOA ns.example.org. a.example.org. 7 1 2 3 4"\n'
        f"{texts}"
        f'  module-config: "validator iterator"\n  trust-anchor: "{key}"\n'
        f'auth-zone:\n  name: "signed.example."\n  zonefile: "{tmp_path}/signed.zone"\n'
        f"  for-downstream: no\n  for-upstream: yes\n"
    )
    with running(tmp_path, ports.plain, program, "-c", "unbound.conf"):
        yield ports


def _sign(path: Path) -> str:
    """Write the signed zone signed.example; the signature of one record is another record's."""
    private = ed25519.Ed25519PrivateKey.generate()
    key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssectypes.Algorithm.ED25519, flags=257)
    text = "@ 60 IN SOA ns a 1 2 3 4 5\n@ 60 IN NS ns\n"
    text += "ns 60 IN A 192.0.2.5\ngood 60 IN A 192.0.2.6\nbad 60 IN A 192.0.2.7\n"
    zone = dns.zone.from_text(text, "signed.example.", relativize=False)
    with zone.writer() as writer:
        dns.dnssec.sign_zone(zone, writer, keys=[(private, key)], lifetime=86400)
    signed = zone.to_text(relativize=False).replace("192.0.2.7", "192.0.2.77")
    path.write_text(signed)
    return f"signed.example. 60 IN DNSKEY {key.to_text()}"


@pytest.mark.real
def test_unbound(ask, unbound):
    """A real server's answers, negative answers, truncation and TCP are understood."""
    server = f"dns://127.0.0.1:{unbound.plain}"
    assert ask(f"{server}/{NAME}").answer.answer == (RECORD,)
    assert ask(f"{server}/{NAME}", transport="tcp").answer.answer == (RECORD,)
    assert ask(f"{server}/{NAME}", edns=False).answer.edns_size is None
    assert ask(f"{server}/example.org?type=SOA").answer.serial == 7
    assert ask(f"{server}/nobody.example.org").answer.rcode == "NXDOMAIN"
    big = ask(f"{server}/big.example.org?type=TXT").answer
    assert (len(big.answer), big.truncated) == (9, True)


@pytest.mark.real
def test_unbound_over_tls_and_https(ask, unbound):
    """The same answer comes over TLS and over HTTPS, for which unbound speaks only HTTP/2."""
    for transport, port in (("tls", unbound.tls), ("https", unbound.https)):
        seen = ask(f"dns://localhost:{port}/{NAME}", transport=transport)
        assert (seen.failure, seen.answer.answer) == (None, (RECORD,))
        assert seen.tls.verified
        big = ask(f"dns://localhost:{port}/big.example.org?type=TXT", transport=transport).answer
        assert (len(big.answer), big.truncated) == (9, False)
    seen = ask(f"dns://localhost:{unbound.https}/{NAME}", transport="https", path="/elsewhere")
    assert reason(seen) is Reason.STATUS
    assert "with status 404" in seen.failure.message


@pytest.mark.real
def test_unbound_checks_signatures(ask, unbound):
    """Good signatures set AD and are returned if requested; bad ones give SERVFAIL."""
    server = f"dns://127.0.0.1:{unbound.plain}"
    good = ask(f"{server}/good.signed.example", dnssec=True, nsid=True).answer
    assert good.flags == ("RA", "AD")
    assert [record.split()[3] for record in good.answer] == ["A", "RRSIG"]
    assert good.nsid == "fra-3"
    assert good.edns_size == 1232
    bad = ask(f"{server}/bad.signed.example", dnssec=True).answer
    assert bad.rcode == "SERVFAIL"
    assert bad.flags == ("RA",)
    assert any("Bogus" in error or "Signature" in error for error in bad.extended_errors), bad
