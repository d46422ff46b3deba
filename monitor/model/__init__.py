"""
The vocabulary: what is checked, what was seen, what that means.

Every record is frozen (those of each check for the type checker, see records.py), compares by value
and pickles, because these are all that threads and processes hand each other. Times are seconds and
sizes bytes; whatever has another unit says so in its name. ``None`` is "no data", never 0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, time
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from monitor.records import record

if TYPE_CHECKING:
    from monitor.clock import Deadline

Seconds: TypeAlias = float
Timestamp: TypeAlias = float
"""Seconds since 1970 in UTC, by the wall clock."""
Bytes: TypeAlias = int

_Section = TypeVar("_Section")


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


class Status(StrEnum):
    """What a site is said to be."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"
    MAINTENANCE = "maintenance"


# ---------------------------------------------------------------- what the admin listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """
    Consecutive results required to change the confirmed state.

    Attributes:
        failures: From up to down; at least 1.
        successes: From down to up; at least 1.
        retry_interval: How often a site is checked while a failure awaits confirmation, and after
            an error of the monitor's own.
    """

    failures: int = 1
    successes: int = 1
    retry_interval: Seconds = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringWindow:
    """
    Maintenance on some days of every week.

    Attributes:
        days: On which it begins; 0 is Monday.
        start: By a clock in the zone, as ``end`` is.
        end: At or before ``start``, it is the next day's.
    """

    days: frozenset[int] = frozenset(range(7))
    start: time
    end: time
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleWindow:
    """
    Maintenance that happens once.

    Attributes:
        start: By a clock in the zone, as ``end`` is; neither has a zone of its own.
        end: After ``start``.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo


Window: TypeAlias = RecurringWindow | SingleWindow


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Site:
    """
    One site of the list, decoded and complete.

    Attributes:
        name: Unique over all files.
        was: Its name until now, whose memory it carries on.
        url: What is asked for, credentials included; never shown.
        target: The URL as it may be shown: no credentials, no substituted secret.
        scheme: The URL's, in lower case; picks the probe.
        labels: The admin's own, in the order of the file.
        interval: From one check's slot to the next.
        timeout: The one deadline over everything a check does.
        options: One record per section of the probe (HttpOptions, TlsOptions, …).
        expect: What must hold, as (key of EXPECTATIONS, decoded value), in the table's order.
        extract: What is taken out of answers to be shown, by the row of that key in READINGS.
        watch: What of answers is compared with the one before, by the row of that key.
        reads_body: Whether one of these looks at the body, so that more than the evidence of it
            is worth keeping.
        maintenance: When the site's state is not to be taken at its word.
        connectivity: Whether its failures count only while the monitor's own connection stands.
        secrets: Every value that must never be shown, in every form that it is met in, longest
            first; see redact().
    """

    name: str
    was: str = ""
    url: str = field(repr=False)
    target: str
    scheme: str
    group: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    interval: Seconds = 60.0
    timeout: Seconds = 10.0
    options: tuple[object, ...] = field(default=(), repr=False)
    expect: tuple[tuple[str, Any], ...] = ()
    extract: Any = None
    watch: Any = None
    reads_body: bool = False
    confirm: Confirm = Confirm()
    maintenance: tuple[Window, ...] = ()
    connectivity: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)

    # Not as a dataclass would have them: options hold mappings, which have no hash, and what a site
    # needs at each check is kept by the site, so that it is compared with itself

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Site) and _all_of_site(self) == _all_of_site(other)

    def section(self, record: type[_Section]) -> _Section:
        """
        Return this site's options of one section.

        Raises:
            LookupError: The site's scheme has no such section.
        """
        for options in self.options:
            if isinstance(options, record):
                return options
        raise LookupError(f"{self.scheme} sites have no {record.__name__}")

    def redact(self, text: str) -> str:
        """Return the text without any of this site's secrets."""
        return redact(text, self.secrets)

    def with_secrets(self, more: tuple[str, ...]) -> "Site":
        """Return the site with more secrets, which a check of it was given."""
        return replace(self, secrets=longest_first((*more, *self.secrets))) if more else self


_all_of_site = attrgetter(*(one.name for one in fields(Site)))

_SHORTEST_SECRET = 4


def longest_first(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return secrets in the order in which they are masked: one may be a part of another."""
    return tuple(sorted(set(secrets), key=lambda secret: (-len(secret), secret)))


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """
    Return the text with each secret replaced by ``<secret>``.

    Free text is searched for secrets of at least 4 characters: shorter ones would tear holes into
    every message. Where a short one stood in the configuration itself, it is masked by its place.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET and secret in text:
            text = text.replace(secret, "<secret>")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChange:
    """The difference between two site lists; a site in none of them goes on undisturbed."""

    added: tuple[Site, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Site, ...] = ()


# ---------------------------------------------------------------- what was seen


@record(frozen=True, slots=True)
class Failure:
    """
    Why there is no complete answer.

    Attributes:
        message: One clause for people that names the value, without a full stop:
            ``connection to 192.0.2.1:443 refused``.
    """

    reason: Reason
    message: str


@record(frozen=True, slots=True, kw_only=True)
class TlsSession:
    """
    What the handshake showed, whether or not it succeeded.

    Attributes:
        version: ``TLS 1.3`` …; None when no handshake was completed.
        cipher: IANA's name; None when unknown.
        chain: The certificates the server sent, leaf first, as PEM.
        verified: Whether the chain and the name were accepted; None when the site turned
            verification off.
        verdict: OpenSSL's number of why the chain was refused (X509_V_ERR_…); 0 where it was not.
        authorities: The file of those by whom it was verified; None where it was not.
        client: Our own certificate that was at hand, with its intermediates, as PEM.
        legacy: Whether old renegotiation and weak keys were allowed.
        server_name: The name that was asked for and that the certificate must cover; None where
            it is the URL's host.
    """

    version: str | None = None
    cipher: str | None = None
    chain: tuple[str, ...] = ()
    verified: bool | None = None
    verdict: int = 0
    authorities: str | None = None
    client: tuple[str, ...] = ()
    legacy: bool = False
    server_name: str | None = None


@record(frozen=True, slots=True, kw_only=True)
class Hop:
    """
    One redirect that was followed.

    Attributes:
        url: Where the answer came from, as it may be shown.
        status: That answer's.
        tls: That connection's; None on plain HTTP.
    """

    url: str
    status: int
    address: str | None = None
    tls: TlsSession | None = None


@record(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """
    The final answer of an HTTP(S) check.

    Attributes:
        version: ``1.0``, ``1.1``, ``2`` or ``3``.
        headers: In the order they came, names as sent.
        body: The first ``max_body`` decoded bytes, or fewer where nothing reads the body.
        body_size: Decoded bytes that arrived before the transfer ended or was cut.
        truncated: Whether the body was longer than what was fetched of it.
        content_length: As the server said; -1 when it did not.
        codings: The content codings that the body still has, as the server names them: unknown
            ones, or any where none was asked for.
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


@record(frozen=True, slots=True, kw_only=True)
class TcpAnswer:
    """
    A connection (TCP or TLS) that stood, and what the dialogue brought.

    Attributes:
        captures: Named groups of the dialogue's ``expect`` lines.
        received: The last bytes that came, for evidence.
        bytes_differ: Whether what failed was a step that expected bytes, not a pattern.
    """

    captures: tuple[tuple[str, str], ...] = ()
    received: bytes = b""
    bytes_differ: bool = False


@record(frozen=True, slots=True, kw_only=True)
class DnsAnswer:
    """
    A DNS reply; each record as its presentation text (``example.com. 300 IN A 192.0.2.1``).

    Attributes:
        rcode: ``NOERROR``, ``NXDOMAIN``, …; with EDNS also those above 15.
        flags: Which of ``AA``, ``TC``, ``RA``, ``AD`` the reply has, in this order.
        additional: Without EDNS' pseudo record OPT.
        serial: The SOA record's, when one was asked for.
        truncated: Whether the reply over UDP was, so that this one came over TCP.
        edns_size: The largest datagram the server takes; None where it did not speak EDNS.
        nsid: The server's own identifier, as text or else in hexadecimal.
        extended_errors: What it says beside the rcode (RFC 8914): ``7 Signature Expired``.
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


@record(frozen=True, slots=True, kw_only=True)
class IcmpAnswer:
    """
    What came of the echo requests.

    Attributes:
        round_trips: Seconds of each answered packet, in order.
        hop_limit: TTL or hop limit of the last reply.
        altered: How many replies brought back another payload than was sent.
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


@record(frozen=True, slots=True, kw_only=True)
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


@record(frozen=True, slots=True, kw_only=True)
class GrpcAnswer:
    """
    What the health service said.

    Attributes:
        status_code: gRPC's, 0 for OK.
        serving_status: ``SERVING``, ``NOT_SERVING``, …; None when the call failed.
    """

    status_code: int
    serving_status: str | None = None


Answer: TypeAlias = HttpAnswer | TcpAnswer | DnsAnswer | IcmpAnswer | WebSocketAnswer | GrpcAnswer


@record(frozen=True, slots=True, kw_only=True)
class Observation:
    """
    What one probe saw; it judges nothing.

    Attributes:
        time: When the check started.
        duration: The whole check, by the transport's timers where it has any.
        phases: In the order of the transaction; one that was not reached is missing.
        address: The IP address that was contacted last.
        failure: Why there is no complete answer; None when there is one.
        answer: What came, possibly incomplete where ``failure`` is set.
        tls: The final connection's handshake; None on plain connections.
        secrets: What must not be shown of it beside the site's own secrets, in every form.
        redirects: How many were followed, also where the last one led to no answer.
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


# ---------------------------------------------------------------- what that means


@record(frozen=True, slots=True)
class Verdict:
    """
    Up, or down for exactly one reason.

    Attributes:
        reason: None when up.
        message: Why, for people, with the value that broke the rule; empty when up.
    """

    up: bool
    reason: Reason | None = None
    message: str = ""

    @classmethod
    def down(cls, failure: Failure) -> "Verdict":
        return cls(up=False, reason=failure.reason, message=failure.message)


UP = Verdict(up=True)


@record(frozen=True, slots=True, kw_only=True)
class Certificate:
    """
    One certificate of a chain, decoded; names as in RFC 4514 text.

    Attributes:
        names: Subject alternative names: DNS names and IP addresses. An address that stands there
            as a DNS name, and so covers nothing, is ``DNS:192.0.2.1``.
        serial: Lower-case hexadecimal.
        fingerprint: SHA-256, lower-case hexadecimal.
        constrained: Whether it limits the names that may be issued for beneath it.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: str
    not_before: Timestamp
    not_after: Timestamp
    fingerprint: str
    constrained: bool = False

    @property
    def lifetime(self) -> Seconds:
        return self.not_after - self.not_before


@record(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What a worker process needs to judge one observation.

    Attributes:
        reference: The SHA-256 of what was watched when it was seen last; None before.
        site: Its name, for the log.
        secrets: The site's and the check's, so that no message quotes one: once a value is cut or
            escaped for a message, a secret in it can no longer be recognised.
    """

    observation: Observation
    expect: tuple[tuple[str, Any], ...] = ()
    extract: Any = None
    watch: Any = None
    reference: str | None = None
    url: str = ""
    site: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


@record(frozen=True, slots=True, kw_only=True)
class Extracted:
    """
    One value out of an answer.

    Attributes:
        value: A number or, for a label, a short text; None when there is none.
        why: Why there is none, as a clause.
    """

    name: str
    value: float | str | None = None
    why: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Content:
    """
    What was watched.

    Attributes:
        sha256: Lower-case hexadecimal; None when it was not to be had.
        why: Why it was not, as a clause.
    """

    sha256: str | None = None
    why: str = ""


@record(frozen=True, slots=True, kw_only=True)
class Analysis:
    """
    What analysing an observation brought.

    Attributes:
        chain: The final connection's certificates, leaf first.
        hop_chains: The same of each redirect, in order.
        validity: From when to when the certificate is valid that ends first of the chain that was
            trusted (of what the server sent, where nothing was); None without any.
        client: Our own certificate that was at hand for the final connection.
        broken: The key of every expectation that does not hold, not only of the first; ``watch``
            among them.
        extracted: In the order of the site's ``extract``.
        content: Of what the site watches; None where it watches nothing, and of an answer that is
            not as expected.
    """

    verdict: Verdict
    chain: tuple[Certificate, ...] = ()
    hop_chains: tuple[tuple[Certificate, ...], ...] = ()
    validity: tuple[Timestamp, Timestamp] | None = None
    client: Certificate | None = None
    broken: tuple[str, ...] = ()
    extracted: tuple[Extracted, ...] = ()
    content: Content | None = None


@record(frozen=True, slots=True, kw_only=True)
class Result:
    """
    One finished check, without the bodies: secrets masked, fit to be shown and kept.

    Attributes:
        error: The monitor's own fault, as a sentence; such a check says nothing about the site.
        excerpt: The beginning of the body, kept of failures only.
    """

    site: str
    url: str
    observation: Observation
    analysis: Analysis | None = None
    error: str | None = None
    excerpt: str | None = None

    @property
    def up(self) -> bool | None:
        """None when the monitor could not look or judge."""
        return self.analysis.verdict.up if self.analysis else None


@record(frozen=True, slots=True, kw_only=True)
class Past:
    """
    What is remembered of an earlier check: little, because there are many.

    Attributes:
        up: None when the monitor could not look or judge.
    """

    time: Timestamp
    duration: Seconds
    up: bool | None
    reason: Reason | None = None


_NONE: Mapping[Any, int] = MappingProxyType({})


def _none() -> Mapping[Any, int]:
    """Return the one empty mapping: most sites have nothing to count."""
    return _NONE


@record(frozen=True, slots=True, kw_only=True)
class Counters:
    """
    What is counted of a site since it entered the list.

    Attributes:
        checks: Finished checks, up or down.
        failures: Of these the ones that were down, by reason.
        errors: Checks the monitor itself spoilt; not among ``checks``.
        skipped: Slots that were not run, by cause.
        durations: One count per bucket of ``monitor_check_duration_seconds``, not cumulative; the
            last is what exceeded every bound.
        duration_sum: Of the same checks.
    """

    checks: int = 0
    failures: Mapping[Reason, int] = field(default_factory=_none)
    errors: int = 0
    skipped: Mapping[str, int] = field(default_factory=_none)
    durations: tuple[int, ...] = ()
    duration_sum: Seconds = 0.0


@record(frozen=True, slots=True, kw_only=True)
class SiteState:
    """
    Everything that is known of a site; replaced, never changed.

    Attributes:
        status: The confirmed state; unknown until a first result confirms one.
        since: When ``status`` was taken on.
        streak: How many results in a row said the same as the last one that said anything.
        streak_since: When the first of these was; None before there is one.
        said: What they said, up or not; None before there is one.
        turns: A bit for each of the last finished checks, the latest lowest: whether it said
            another thing than the one before.
        flapping: Whether so many of these did that ``status`` alone would mislead.
        maintenance: Whether one of the site's windows is open.
        content: The SHA-256 of what is watched when it was seen last.
        content_changed: When it was first seen to be another than before; None while it was not.
        last: The last check of this life of the daemon, errors included; of a site that was left
            down, its last failure.
        finished: Likewise the last check that said something of the site; what gauges show.
        recent: The last checks, newest first.
        failures: The last results that were down, newest first, with their evidence.
    """

    site: Site
    status: Status = Status.UNKNOWN
    since: Timestamp
    streak: int = 0
    streak_since: Timestamp | None = None
    said: bool | None = None
    turns: int = 0
    flapping: bool = False
    maintenance: bool = False
    content: str | None = None
    content_changed: Timestamp | None = None
    last: Result | None = None
    finished: Result | None = None
    recent: tuple[Past, ...] = ()
    failures: tuple[Result, ...] = ()
    counters: Counters = Counters()

    @property
    def shown(self) -> Status:
        """What people are told: maintenance before all, unknown while the monitor fails to look."""
        if self.maintenance:
            return Status.MAINTENANCE
        if self.last and self.last.error is not None:
            return Status.UNKNOWN
        return self.status


@record(frozen=True, slots=True, kw_only=True)
class Transition:
    """A change of the confirmed state; becomes one log line."""

    before: Status
    after: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    What is under way.

    Attributes:
        threads: How many checks may be under way at once.
        busy: How many are.
        slow: Of these, those of sites that hung the last time.
        waiting: Checks that wait for a thread.
        waiting_slow: Checks of sites that hung the last time; they wait in a line of their own.
        batches: Batches that wait for a worker process.
    """

    threads: int = 0
    busy: int = 0
    slow: int = 0
    waiting: int = 0
    waiting_slow: int = 0
    batches: int = 0

    @property
    def well(self) -> int:
        """Checks under way of sites that did not hang the last time."""
        return self.busy - self.slow

    @property
    def idle(self) -> int:
        return self.threads - self.busy


# ---------------------------------------------------------------- the rows of the tables


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeKind:
    """
    One row of the probes' table.

    Attributes:
        protocol: What expectations are made for; ``https`` and ``http`` share one.
        build: Makes the probe, once for the life of the daemon.
        sections: The site's keys that hold its options, with the record each is decoded into.
        check_url: Raises ValueError, with what is wrong, for a URL this probe can not use.
        check_site: Raises OptionError for options that cannot work with the URL or each other.
        obstacle: Says why the system does not let this probe work, and which setting to change;
            None when it does.
    """

    protocol: str
    build: Callable[[], "Probe"]
    sections: Mapping[str, type]
    check_url: Callable[[str], None] | None = None
    check_site: Callable[[Site], None] | None = None
    obstacle: Callable[[], str | None] | None = None


Probe: TypeAlias = Callable[[Site, "Deadline"], Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationKind:
    """
    One row of the expectations' table.

    Attributes:
        shape: The type its value is decoded into (see options.py); what ``check`` is given.
        reason: The failure's, when it does not hold.
        check: ``(value, seen) -> why it does not hold``, or None.
        protocols: Those it makes sense for.
        defaults: What holds, by protocol, where the site says nothing.
        reads_body: Whether it needs the whole body.
        reads_body_when: Of a row that reads the body, which values really do; see needs_body().
        check_protocol: ``(value, protocol)``; raises ValueError, with what is wrong, for a value
            that makes no sense for one of the protocols, and so is ignored where it is a default;
            TypeError for one that is a mistake there too.
        doc: One sentence for the schema and the reference.
    """

    shape: Any
    reason: Reason
    check: Callable[[Any, Any], str | None]
    protocols: frozenset[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reads_body: bool = False
    reads_body_when: Callable[[Any], bool] | None = None
    check_protocol: Callable[[Any, str], None] | None = None
    doc: str

    def needs_body(self, value: Any) -> bool:
        """Return whether the whole body is needed to check this value."""
        return self.reads_body and (self.reads_body_when is None or self.reads_body_when(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingKind:
    """
    One row of the table of what is taken out of answers; its key is a site's.

    Attributes:
        shape: The type its value is decoded into (see options.py).
        protocols: Those it makes sense for.
        needs_body: Whether the whole body is needed for this value.
        doc: One sentence for the schema and the reference.
    """

    shape: Any
    protocols: frozenset[str]
    needs_body: Callable[[Any], bool]
    doc: str
