"""What a probe saw, before it is judged: phases, failures and answers."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import TypeAlias

from monitor.records import statically_frozen
from monitor.units import Bytes, Seconds, Timestamp


class Reason(StrEnum):
    """Why a check is down; the closed list, in the order of a transaction."""

    DNS_NOT_FOUND = "dns_not_found"
    DNS_ERROR = "dns_error"
    DNS_TIMEOUT = "dns_timeout"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_UNREACHABLE = "connect_unreachable"
    CONNECT_RESET = "connect_reset"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_EXPIRED = "tls_expired"
    TLS_NOT_YET_VALID = "tls_not_yet_valid"
    TLS_WRONG_HOST = "tls_wrong_host"
    TLS_UNTRUSTED = "tls_untrusted"
    TLS_CLIENT_CERTIFICATE = "tls_client_certificate"
    TLS_PROTOCOL = "tls_protocol"
    TLS_TIMEOUT = "tls_timeout"
    PROXY_ERROR = "proxy_error"
    PROTOCOL_ERROR = "protocol_error"
    READ_TIMEOUT = "read_timeout"
    CONNECTION_LOST = "connection_lost"
    REDIRECT_LIMIT = "redirect_limit"
    REDIRECT_UNSAFE = "redirect_unsafe"
    BODY_TOO_LARGE = "body_too_large"
    DECODE_ERROR = "decode_error"
    STATUS = "status"
    HEADER = "header"
    BODY = "body"
    JSON = "json"
    LATENCY = "latency"
    CERTIFICATE = "certificate"
    HTTP_VERSION = "http_version"
    TLS = "tls"
    TLS_VERSION = "tls_version"
    REDIRECTS = "redirects"
    EXPRESSION = "expression"
    TCP_DIALOGUE = "tcp_dialogue"
    DNS_RCODE = "dns_rcode"
    DNS_ANSWER = "dns_answer"
    ICMP_LOSS = "icmp_loss"
    ICMP_TIMEOUT = "icmp_timeout"
    OVERDUE = "overdue"
    REPORTED = "reported"
    ANALYSIS_TIMEOUT = "analysis_timeout"
    ANALYSIS_CRASH = "analysis_crash"


class Phase(StrEnum):
    """The parts of a check's time; each protocol has some of them."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    PROCESSING = "processing"
    TRANSFER = "transfer"
    REQUEST = "request"  # DNS
    SETUP = "setup"  # ICMP
    RTT = "rtt"  # ICMP
    CHECK = "check"  # gRPC


@statically_frozen(frozen=True, slots=True)
class Failure:
    """
    Why there is no complete answer.

    Attributes:
        message: One clause for people that names the value, without a full stop:
            ``connection to 192.0.2.1:443 refused``.
    """

    reason: Reason
    message: str


@statically_frozen(frozen=True, slots=True, kw_only=True)
class TlsSession:
    """
    What the handshake showed, whether or not it succeeded.

    Attributes:
        version: ``TLS 1.3`` …; None when no handshake was completed.
        version: ``TLS 1.3`` …; None if no handshake was completed.
        cipher: IANA's name; None if unknown.
        chain: The certificates that the server sent, leaf first, as PEM.
        verified: Whether the chain and the name were accepted; None if the site turned
            verification off.
        verdict: OpenSSL's code for why the chain was refused (X509_V_ERR_…); 0 if it was not.
        authorities: The file of authorities that it was verified against; None if it was not.
        stamp: Changes when that file does; None if the probe does not know it.
        client: The client certificate that we could have shown, with its intermediates, as PEM.
        legacy: Whether old renegotiation and weak keys were allowed.
        server_name: The name that was requested and that the certificate must cover; None if it is
            the URL's host.
    """

    version: str | None = None
    cipher: str | None = None
    chain: tuple[str, ...] = ()
    verified: bool | None = None
    verdict: int = 0
    authorities: str | None = None
    stamp: tuple[int, ...] | None = None
    client: tuple[str, ...] = ()
    legacy: bool = False
    server_name: str | None = None


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Hop:
    """
    One redirect that was followed.

    Attributes:
        url: Where the answer came from, as it may be shown.
        status: The status of the answer that redirected.
        tls: The handshake of that connection; None on plain HTTP.
    """

    url: str
    status: int
    address: str | None = None
    tls: TlsSession | None = None


@statically_frozen(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """
    The final answer of an HTTP(S) check.

    Attributes:
        version: ``1.0``, ``1.1``, ``2`` or ``3``.
        headers: In the order they came, names as sent.
        body: The first ``max_body`` decoded bytes, or fewer if nothing reads the body.
        body_size: Decoded bytes that arrived before the transfer ended or was cut.
        truncated: Whether the body was longer than the part that was fetched.
        content_length: As the server sent it; -1 if it did not.
        codings: The content codings that the body still has, with the server's names: unknown ones,
            or all of them if none was requested.
        url: Where the answer came from, as it may be shown.
        redirects: The hops before this answer.
    """

    status: int
    version: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    body_size: Bytes = 0
    truncated: bool = False
    content_length: int = -1
    codings: tuple[str, ...] = ()
    url: str = ""
    redirects: tuple[Hop, ...] = ()

    def header(self, name: str) -> tuple[str, ...]:
        """Return every value of one header; names do not depend on case."""
        name = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == name)


@statically_frozen(frozen=True, slots=True, kw_only=True)
class TcpAnswer:
    """
    A connection (TCP or TLS) that was established, and the outcome of the dialogue.

    Attributes:
        captures: Named groups of the dialogue's ``expect`` lines.
        received: The last bytes that were received, as evidence.
        bytes_differ: Whether the step that failed expected bytes, not a pattern.
    """

    captures: tuple[tuple[str, str], ...] = ()
    received: bytes = b""
    bytes_differ: bool = False


@statically_frozen(frozen=True, slots=True, kw_only=True)
class DnsAnswer:
    """
    A DNS reply; each record as its presentation text (``example.com. 300 IN A 192.0.2.1``).

    Attributes:
        rcode: ``NOERROR``, ``NXDOMAIN``, …; with EDNS also those above 15.
        flags: Which of ``AA``, ``TC``, ``RA``, ``AD`` the reply has, in this order.
        additional: Without EDNS' pseudo-record OPT.
        serial: The SOA record's, if one was requested.
        truncated: Whether the UDP reply was truncated, so that this one came over TCP.
        edns_size: The largest datagram the server takes; None if it did not use EDNS.
        nsid: The server's own identifier, as text or otherwise in hexadecimal.
        extended_errors: Errors in addition to the rcode (RFC 8914): ``7 Signature Expired``.
    """

    rcode: str
    flags: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    serial: int | None = None
    truncated: bool = False
    edns_size: Bytes | None = None
    nsid: str | None = None
    extended_errors: tuple[str, ...] = ()


@statically_frozen(frozen=True, slots=True, kw_only=True)
class IcmpAnswer:
    """
    The outcome of the echo requests.

    Attributes:
        round_trips: Seconds of each answered packet, in order.
        hop_limit: TTL or hop limit of the last reply.
        altered: How many replies returned another payload than was sent.
        difference: How the last of these differed: ``cut to 64 of 100 bytes``.
    """

    sent: int
    received: int
    round_trips: tuple[Seconds, ...] = ()
    hop_limit: int | None = None
    altered: int = 0
    difference: str | None = None

    @property
    def loss(self) -> float:
        """From 0 to 1."""
        return 1 - self.received / self.sent if self.sent else 1.0


@statically_frozen(frozen=True, slots=True, kw_only=True)
class WebSocketAnswer:
    """
    The answer to the upgrade, and the last message.

    Attributes:
        upgraded: Whether the server switched protocols.
    """

    status: int
    upgraded: bool
    headers: tuple[tuple[str, str], ...] = ()
    received: bytes = b""


@statically_frozen(frozen=True, slots=True, kw_only=True)
class GrpcAnswer:
    """
    What the health service said.

    Attributes:
        status_code: gRPC's, 0 for OK.
        serving_status: ``SERVING``, ``NOT_SERVING``, …; None if the call failed.
    """

    status_code: int
    serving_status: str | None = None


@statically_frozen(frozen=True, slots=True, kw_only=True)
class PushAnswer:
    """
    What a site reported about itself.

    Attributes:
        called: When the call came.
        message: What the caller said, as a clause; may be empty.
        exit_status: The job's, from 0 to 255; None if the caller gave none.
        body: The first 10 KiB of what the caller sent.
    """

    called: Timestamp
    message: str = ""
    exit_status: int | None = None
    body: bytes = field(default=b"", repr=False)


Answer: TypeAlias = (
    HttpAnswer | TcpAnswer | DnsAnswer | IcmpAnswer | WebSocketAnswer | GrpcAnswer | PushAnswer
)


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Observation:
    """
    What one probe saw, without a judgement.

    Attributes:
        time: When the check started.
        duration: The whole check, by the transport's timers if it has any.
        phases: In the order of the transaction; phases that were not reached are missing.
        address: The IP address that was contacted last.
        failure: Why there is no complete answer; None if there is one.
        answer: The answer; may be incomplete if ``failure`` is set.
        tls: The final connection's handshake; None on plain connections.
        secrets: What must not be shown, in every form, besides the site's own secrets.
        redirects: How many were followed, even if the last one led to no answer.
    """

    time: Timestamp
    duration: Seconds
    phases: Mapping[Phase, Seconds] = field(default_factory=dict)
    address: str | None = None
    failure: Failure | None = None
    answer: Answer | None = None
    tls: TlsSession | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    redirects: int = 0
