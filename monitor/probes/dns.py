"""
The DNS probe: one question to one server over UDP, TCP, TLS or HTTPS, and its answer as text.

dnspython creates and parses the messages, but this module does the waiting, because dnspython's own
queries wait on the wall clock. It parses records one by one: dnspython's reader for whole messages
needs 19 s of CPU for the worst 64 KiB that a hostile server can send, many names of 255 bytes.
"""

import errno
import re
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire
from dns.rdtypes.ANY.SOA import SOA
from requests import Request

from monitor import __version__
from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import (
    Bytes,
    DnsAnswer,
    Failure,
    HttpAnswer,
    Observation,
    Phase,
    Reason,
    Seconds,
    Site,
    TlsSession,
)
from monitor.options import show_count, show_duration
from monitor.outbound import NetworkOptions, Proxy, TlsOptions, join_address, split_address
from monitor.probes.datagrams import (
    ANCILLARY_SPACE,
    request_stamps,
    round_trip,
)
from monitor.probes.dns_options import DnsOptions, parse_class, parse_type
from monitor.probes.family import ip_choice, ip_version
from monitor.probes.guard import refusal
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.route import Route
from monitor.probes.records import exporter_text
from monitor.probes.resolve import Resolver
from monitor.probes.shortage import SHORTAGES, lack
from monitor.probes.stream import Broken, Connection
from monitor.probes.transport import CurlAdapter, Exchange, ExchangeFailed, Order, RequestSettings
from monitor.probes.zone import escaped, host_of, socket_address

_PORT = 53
_PORTS = {"tls": 853, "https": 443}
_CONNECTING = (Phase.RESOLVE, Phase.CONNECT, Phase.TLS)
_LARGEST_MESSAGE: Bytes = 65_535
_MOST_TEXT: Bytes = 512 * 1024
"""The limit of all records of a reply as text; 64 KiB of honest records stay far below."""

# dnspython looks for a module for each type and class it meets, and remembers the missing ones
_TYPES = frozenset(map(int, dns.rdatatype.RdataType))
_CLASSES = frozenset(map(int, (dns.rdataclass.IN, dns.rdataclass.CH, dns.rdataclass.HS)))

_LENGTH = struct.Struct("!H")
_DATAGRAM: Bytes = 1232
"""The default of resolvers since DNS flag day 2020; it avoids fragmentation."""
_FLAGS = (dns.flags.AA, dns.flags.TC, dns.flags.RA, dns.flags.AD)
_WITHOUT_EDNS = ("FORMERR", "NOTIMP")
"""The answers of servers older than EDNS (RFC 6891, 7)."""
_MESSAGE = "application/dns-message"
_LONGEST_WORDS = 200
_EXTENDED_ERRORS = {int(one): one.name.replace("_", " ").title() for one in dns.edns.EDECode}
_OK = 200


@dataclass(frozen=True, slots=True)
class _Address:
    """The parts of a ``dns://`` URL; None for missing ones."""

    server: str
    port: int | None
    name: dns.name.Name
    type: str | None
    class_: str | None


def _parse_url(url: str) -> _Address:
    """
    Take ``dns://SERVER[:PORT]/NAME?type=TYPE&class=CLASS`` apart (RFC 4501).

    A ``;`` may replace the ``&``.

    Raises:
        ValueError: There is no name, or a part that means nothing here.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.fragment:
        raise ValueError("has a user or a fragment, which mean nothing to DNS")
    text = unquote(parts.path[1:])
    if not text:
        raise ValueError("has no name to ask for; write dns://192.0.2.53/example.com?type=A")
    try:
        name = dns.name.from_text(text)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise ValueError(f"asks for {text!r}, which is not a domain name: {error}") from None
    asked: dict[str, str] = {}
    for pair in filter(None, re.split("[&;]", parts.query)):
        key, _, value = pair.partition("=")
        if key.lower() not in ("type", "class"):
            raise ValueError(f"has {key!r} after the question mark; only type and class go there")
        if key.lower() in asked:
            raise ValueError(f"says {key} twice")
        asked[key.lower()] = unquote(value)
    return _Address(
        server=host_of(parts),
        port=parts.port,
        name=name,
        type=parse_type(asked["type"]) if "type" in asked else None,
        class_=parse_class(asked["class"]) if "class" in asked else None,
    )


def check_url(url: str) -> None:
    """
    Accept the URLs that _parse_url accepts.

    Raises:
        ValueError: There is no name, or a part that means nothing here.
    """
    _parse_url(url)


class DnsProbe:
    """
    Asks one question within the deadline.

    Each datagram is sent once, because a lost datagram is one of the faults to find. Replies to
    other questions are ignored until the deadline, because anyone may send datagrams. A silent
    server is a ``read_timeout``, because ``dns_timeout`` is about looking up the server's own name.
    """

    def __init__(self, handles: Handles | None = None, resolver: Resolver | None = None) -> None:
        self._handles = handles or Handles()
        self._resolver = resolver or Resolver()

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Ask the site's question.

        Raises:
            ProbeError: The system has no resources left or no such source address.
        """
        clock = deadline.clock
        time, begin = clock.time(), clock.monotonic()
        check = _DnsCheck(site, deadline, self._handles, self._resolver)
        answer, failure = None, None
        try:
            answer = check.run()
        except Broken as failed:
            failure = failed.failure
        return Observation(
            time=time,
            duration=clock.monotonic() - begin,
            phases=check.phases,
            address=check.address,
            failure=failure,
            answer=answer,
            tls=check.tls,
        )


class _Truncated(Exception):  # noqa: N818  never leaves this file
    """The answer did not fit into a datagram."""


class _DnsCheck:
    """One check, for one thread. The attributes hold what was seen so far."""

    def __init__(
        self, site: Site, deadline: Deadline, handles: Handles, resolver: Resolver
    ) -> None:
        self._site = site
        self._deadline = deadline
        self._handles = handles
        self._resolver = resolver
        self._options = site.section(DnsOptions)
        self._network = site.section(NetworkOptions)
        address = _parse_url(site.url)
        self._name = address.server
        self._port = address.port or _PORTS.get(self._options.transport, _PORT)
        type_ = address.type or self._options.type
        class_ = address.class_ or self._options.class_
        self._ask_about = (address.name, type_, class_, self._options)
        self._question = _Question(*self._ask_about, edns=self._options.edns)
        self.phases: dict[Phase, Seconds] = {}
        self.address: str | None = None
        self.tls: TlsSession | None = None

    def run(self) -> DnsAnswer:
        """
        Ask over the site's transport.

        Raises:
            Broken: There is no answer.
        """
        answer = self._ask()
        if self._options.edns and answer.edns_size is None and answer.rcode in _WITHOUT_EDNS:
            self._question = _Question(*self._ask_about, edns=False)
            return self._ask()
        return answer

    def _ask(self) -> DnsAnswer:
        if self._options.transport == "https":
            return self._ask_https()
        if self._options.transport != "udp":
            return self._ask_stream(self._name, self._port, self._network)
        host, port = self._name, self._port
        if self._network.connect_to:
            host, port = split_address(self._network.connect_to)
        address = self._resolve(host)
        try:
            return self._ask_datagram(address, port)
        except _Truncated:
            return self._ask_again(address, port)

    def _ask_again(self, address: str, port: int) -> DnsAnswer:
        network = NetworkOptions(source_address=self._network.source_address)
        try:
            return replace(self._ask_stream(address, port, network), truncated=True)
        except Broken as broken:
            reason, message = broken.failure.reason, broken.failure.message
            raise Broken(reason, f"the reply over UDP was truncated, and over TCP {message}") from (
                broken
            )

    def _resolve(self, host: str) -> str:
        clock = self._deadline.clock
        begin = clock.monotonic()
        found = self._resolver.resolve(host, self._deadline, ip_choice(self._network))
        self._took(Phase.RESOLVE, clock.monotonic() - begin)
        if isinstance(found, Failure):
            raise Broken(found.reason, found.message)
        refused = refusal(self._network, host, found)
        if refused:
            raise Broken(refused.reason, refused.message)
        self.address = found
        return found

    def _took(self, phase: Phase, seconds: Seconds) -> None:
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def _silent(self, peer: str, ignored: int = 0) -> Broken:
        message = f"no reply from {peer} within {show_duration(self._deadline.timeout)}"
        if ignored:
            message += f"; {show_count(ignored, 'datagram')} did not answer our question"
        return Broken(Reason.READ_TIMEOUT, message)

    # ------------------------------------------------------------ UDP

    def _ask_datagram(self, address: str, port: int) -> DnsAnswer:
        peer = join_address(address, port)
        clock = self._deadline.clock
        begin = clock.monotonic()
        family = socket.AF_INET if ip_version(address) == 4 else socket.AF_INET6  # noqa: PLR2004  IPv4
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                request_stamps(sock)
                self._connect(sock, address, port)
                self._took(Phase.CONNECT, clock.monotonic() - begin)
                return self._exchange(sock, peer)
        except OSError as error:
            raise _datagram_failed(error, peer) from error

    def _connect(self, sock: socket.socket, address: str, port: int) -> None:
        """Fix the peer, so the kernel drops datagrams from others and reports a closed port."""
        source = self._network.source_address
        if source:
            try:
                sock.bind((source, 0))
            except OSError as error:
                message = f"cannot send from {source}: {error.strerror}"
                raise ProbeError(message) from error
        sock.connect(socket_address(address, port))

    def _exchange(self, sock: socket.socket, peer: str) -> DnsAnswer:
        clock = self._deadline.clock
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        begin, sent = clock.monotonic(), clock.time()
        took, ignored = None, 0
        try:
            sock.send(self._question.wire)
            while poll.poll(self._deadline.remaining() * 1000) and not self._deadline.passed():
                wire, ancillary, _, _ = sock.recvmsg(_LARGEST_MESSAGE, ANCILLARY_SPACE)
                took = round_trip(ancillary, sent, clock.monotonic() - begin)
                answer = self._read(wire, peer)
                if answer:
                    return answer
                ignored += 1
            took = None
            raise self._silent(peer, ignored)
        finally:
            self._took(Phase.REQUEST, clock.monotonic() - begin if took is None else took)

    def _read(self, wire: bytes, peer: str, *, over_stream: bool = False) -> DnsAnswer | None:
        """
        Return the answer in a message; None if it does not answer our question.

        Raises:
            Broken: It answers the question, and is malformed.
            _Truncated: It answers the question, and is truncated.
        """
        try:
            return self._question.read(wire, over_stream=over_stream)
        except (dns.exception.DNSException, ValueError) as error:
            message = f"{peer} sent a malformed reply: {str(error).rstrip('.')}"
            raise Broken(Reason.PROTOCOL_ERROR, message) from error

    # ------------------------------------------------------------ TCP and TLS

    def _ask_stream(self, host: str, port: int, network: NetworkOptions) -> DnsAnswer:
        secure = self._options.transport == "tls"
        tls = self._site.section(TlsOptions) if secure else TlsOptions()
        route = Route(
            scheme="https" if secure else "http", host=host, port=port, tls=tls, network=network
        )
        with Connection(self._handles, route, self._deadline) as connection:
            try:
                connection.open()
            finally:
                self.address = connection.address or self.address
                self.tls = connection.tls
                for phase in _CONNECTING:
                    if phase in connection.phases:
                        self._took(phase, connection.phases[phase])
            return self._converse(connection, route.peer)

    def _converse(self, connection: Connection, peer: str) -> DnsAnswer:
        clock = self._deadline.clock
        begin = clock.monotonic()
        try:
            connection.send_bytes(_LENGTH.pack(len(self._question.wire)) + self._question.wire)
            (length,) = _LENGTH.unpack(connection.receive(_LENGTH.size))
            wire = connection.receive(length)
        except TimeoutError:
            raise self._silent(peer) from None
        except EOFError:
            message = f"{peer} closed the connection before its reply was complete"
            raise Broken(Reason.CONNECTION_LOST, message) from None
        finally:
            self._took(Phase.REQUEST, clock.monotonic() - begin)
        return self._read_only(wire, peer)

    def _read_only(self, wire: bytes, peer: str) -> DnsAnswer:
        """Return the answer from a message that is the only one."""
        answer = self._read(wire, peer, over_stream=True)
        if not answer:
            raise Broken(Reason.PROTOCOL_ERROR, f"{peer} did not answer the question it was asked")
        return answer

    # ------------------------------------------------------------ HTTPS

    def _ask_https(self) -> DnsAnswer:
        """RFC 8484, by POST, so that the answer is fresh and not from a cache."""
        url = f"https://{escaped(join_address(self._name, self._port))}{self._options.path}"
        settings = RequestSettings(
            tls=self._site.section(TlsOptions),
            network=self._network,
            proxy=Proxy.parse(self._options.proxy) if self._options.proxy else None,
            origin=(self._name, self._port),
            max_body=_LARGEST_MESSAGE,
            keep_body=_LARGEST_MESSAGE,
        )
        headers = {
            "Content-Type": _MESSAGE,
            "Accept": _MESSAGE,
            "User-Agent": f"website-monitor/{__version__}",
        }
        request = Request("POST", url, headers=headers, data=self._question.wire).prepare()
        adapter = CurlAdapter(self._handles, settings, self._deadline)
        order = Order.of(request, settings)
        try:
            exchange = adapter.exchange(order)
        except ExchangeFailed as failed:
            raise Broken(failed.failure.reason, failed.failure.message) from failed
        finally:
            if adapter.exchanges:
                self._note(adapter.exchanges[-1])
        return self._read_only(_message_of(exchange.answer, order.route.peer), order.route.peer)

    def _note(self, exchange: Exchange) -> None:
        self.address, self.tls = exchange.address, exchange.tls
        for phase, seconds in exchange.phases.items():
            self._took(phase if phase in _CONNECTING else Phase.REQUEST, seconds)


def _message_of(reply: HttpAnswer, peer: str) -> bytes:
    """
    Return the message in an answer over HTTPS.

    Raises:
        Broken: It contains none.
    """
    if reply.status != _OK:
        message = f"{peer} answered DNS over HTTPS with status {reply.status}"
        raise Broken(Reason.STATUS, message)
    types = (value for name, value in reply.headers if name.lower() == "content-type")
    kind = next(types, "no Content-Type").partition(";")[0].strip()
    if kind.lower() != _MESSAGE:
        message = f"{peer} answered with {kind[:_LONGEST_WORDS]}, not with {_MESSAGE}"
        raise Broken(Reason.PROTOCOL_ERROR, message)
    if reply.truncated:
        message = f"{peer} answered with more than the {_LARGEST_MESSAGE} bytes of a DNS message"
        raise Broken(Reason.PROTOCOL_ERROR, message)
    return reply.body


def _datagram_failed(error: OSError, peer: str) -> Exception:
    """Return the exception for a datagram that could not be sent, or came back."""
    if error.errno in SHORTAGES:
        return ProbeError(f"no datagram could be sent: {lack(error)}")
    if error.errno == errno.ECONNREFUSED:
        message = f"nothing listens at {peer} (port unreachable)"
        return Broken(Reason.CONNECT_REFUSED, message)
    return Broken(Reason.CONNECT_UNREACHABLE, f"{peer} is unreachable: {error.strerror}")


class _Question:
    """
    The question of a check.

    Attributes:
        wire: The message to send.
    """

    def __init__(
        self, name: dns.name.Name, type_: str, class_: str, options: DnsOptions, *, edns: bool
    ) -> None:
        self._written = exporter_text if options.records == "blackbox_exporter" else _spaced
        asked: list[dns.edns.Option] = []
        if options.nsid:
            asked.append(dns.edns.GenericOption(dns.edns.OptionType.NSID, b""))
        self._message = dns.message.make_query(
            name,
            type_,
            class_,
            use_edns=0 if edns else False,
            want_dnssec=edns and options.dnssec,
            payload=_DATAGRAM if edns else None,
            options=asked if edns else None,
            id=0 if options.transport == "https" else None,  # for caches (RFC 8484, 4.1)
        )
        self._type = type_
        if not options.recursion:
            self._message.flags &= ~dns.flags.RD
        self.wire = self._message.to_wire()

    def read(self, wire: bytes, *, over_stream: bool = False) -> DnsAnswer | None:
        """
        Return the content of a message; None if it does not answer this question.

        Raises:
            dns.exception.DNSException, ValueError: It has our id, but cannot be read.
            _Truncated: It came in a datagram, and says that it is incomplete.
        """
        if wire[:2] != self.wire[:2]:
            return None
        parser = dns.wire.Parser(wire)
        _, flags, questions, *counts = parser.get_struct("!6H")
        if questions > 1:
            return None
        # Only the question: see the top of this file
        if not self._message.is_response(dns.message.from_wire(wire, question_only=True)):
            return None
        if flags & dns.flags.TC and not over_stream:
            raise _Truncated
        for _ in range(questions):
            dns.name.from_wire_parser(parser)
            parser.get_struct("!2H")
        records = _Records(parser, self._written)
        answer, authority = map(records.section, counts[:2])
        additional = records.section(counts[2], may_hold_options=True)
        if parser.remaining():
            raise ValueError("bytes follow its last record")
        return DnsAnswer(
            rcode=dns.rcode.to_text(dns.rcode.from_flags(flags, records.edns_flags)),
            flags=tuple(str(flag.name) for flag in _FLAGS if flags & flag),
            answer=answer,
            authority=authority,
            additional=additional,
            serial=records.serial if self._type == "SOA" and answer else None,
            edns_size=records.edns_size,
            nsid=records.nsid,
            extended_errors=tuple(records.extended_errors),
        )


def _spaced(name: dns.name.Name, ttl: int, data: dns.rdata.Rdata) -> str:
    """Return a record as in a zone file, with one space between fields."""
    kind = f"{dns.rdataclass.to_text(data.rdclass)} {dns.rdatatype.to_text(data.rdtype)}"
    return f"{name} {ttl} {kind} {data.to_text()}"


class _Records:
    """
    Reads records as text, up to a safe limit.

    Attributes:
        serial: The serial of the first SOA record.
        edns_size, edns_flags, nsid, extended_errors: The content of the OPT record, if any.
    """

    def __init__(
        self,
        parser: dns.wire.Parser,
        written: Callable[[dns.name.Name, int, dns.rdata.Rdata], str],
    ) -> None:
        self._parser = parser
        self._written = written
        self._left = _MOST_TEXT
        self.serial: int | None = None
        self.edns_size: Bytes | None = None
        self.edns_flags = 0
        self.nsid: str | None = None
        self.extended_errors: list[str] = []

    def section(self, count: int, *, may_hold_options: bool = False) -> tuple[str, ...]:
        """
        Return the next records, one text each, without the pseudo record OPT.

        Raises:
            dns.exception.DNSException: A record is malformed.
            ValueError: All records together are too long, or OPT is in the wrong section.
        """
        found = tuple(filter(None, [self._record() for _ in range(count)]))
        if self.edns_size is not None and not may_hold_options:
            raise ValueError("it has OPT outside of the additional section")
        return found

    def _record(self) -> str:
        """Return a record's text; empty for OPT (RFC 6891, 6.1.1)."""
        parser = self._parser
        name = dns.name.from_wire_parser(parser)
        type_, class_, ttl, length = parser.get_struct("!2HIH")
        if type_ == dns.rdatatype.OPT:
            self.edns_size, self.edns_flags = class_, ttl
            with parser.restrict_to(length):
                self._read_options()
            return ""
        rdtype = dns.rdatatype.RdataType.make(type_)
        rdclass = dns.rdataclass.RdataClass.make(class_)
        with parser.restrict_to(length):
            data: dns.rdata.Rdata
            if type_ in _TYPES and class_ in _CLASSES:
                data = dns.rdata.from_wire_parser(rdclass, rdtype, parser)
            else:
                data = dns.rdata.GenericRdata(rdclass, rdtype, parser.get_remaining())
        if self.serial is None and isinstance(data, SOA):
            self.serial = data.serial
        text = self._written(name, ttl, data)
        self._spend(len(text))
        return text

    def _spend(self, size: Bytes) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError(f"its records are longer than {_MOST_TEXT} characters")

    def _read_options(self) -> None:
        parser = self._parser
        while parser.remaining():
            code, length = parser.get_struct("!2H")
            data = parser.get_bytes(length)
            if code == dns.edns.OptionType.NSID and data:
                text = data[:_LONGEST_WORDS].decode("latin-1")
                readable = text.isascii() and text.isprintable()
                self.nsid = text if readable else data[:_LONGEST_WORDS].hex()
            elif code == dns.edns.OptionType.EDE and length >= _LENGTH.size:
                self.extended_errors.append(_extended_error(data))
                self._spend(_LONGEST_WORDS)


def _extended_error(data: bytes) -> str:
    """Return number, name and words of an extended error: ``7 Signature Expired: …``."""
    (code,) = _LENGTH.unpack_from(data)
    name = _EXTENDED_ERRORS.get(code, "")
    words = data[_LENGTH.size :].decode(errors="replace").rstrip("\0")[:_LONGEST_WORDS]
    return f"{code} {name}".rstrip() + (f": {words}" if words else "")
