"""
The gRPC probe: the standard health service, grpc.health.v1.Health/Check.

Each check makes two connections. libcurl makes the first one and only connects: this gives the
exact times, the exact reason of a failure and the certificates, which grpcio does not show. Then
grpcio connects to the same address and makes the call; this connect is part of the phase ``check``,
as in blackbox_exporter. grpcio is an optional extra: this module imports it only if it is needed.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import unquote, urlsplit

import pycurl

from monitor import __version__
from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import Bytes, Failure, GrpcAnswer, Observation, Phase, Reason, Site
from monitor.options import Parsed, option, show_duration
from monitor.outbound import NetworkOptions, TlsOptions, join_address
from monitor.probes.family import ip_version
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.route import Route
from monitor.probes.shortage import SHORTAGE_TEXTS
from monitor.probes.zone import escaped, zone_of

_METHOD = "/grpc.health.v1.Health/Check"
_SERVING_STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_CONNECTING: tuple[Phase, ...] = (Phase.RESOLVE, Phase.CONNECT, Phase.TLS)
_LARGEST_ANSWER: Bytes = 4096
_MISSING = (
    "needs grpcio; install website-monitor[grpc], or build the image with --build-arg GRPC=yes"
)
_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")


def _parse_values(value: Any) -> tuple[str, ...]:
    """Return one text or several; raises ValueError for anything else."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) for one in values):
        raise ValueError(f"{value!r} is not a text or a list of texts; put it in quotes")
    return tuple(map(str, values))


_Values = Annotated[
    tuple[str, ...],
    Parsed(
        _parse_values,
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    service: str = option(
        "", doc="The service to ask about; empty is the server as a whole. The URL's path wins."
    )
    metadata: Mapping[str, _Values] = option(
        factory=dict,
        doc="Metadata to send, by key in lower case: what HTTP calls headers. A list is sent as "
        "several.",
    )

    def __post_init__(self) -> None:
        for key, values in self.metadata.items():
            if not _METADATA_KEY.fullmatch(key) or key.startswith("grpc-"):
                raise ValueError(
                    f"metadata {key!r} is not a key: lower-case letters, digits, '_', '.' and '-', "
                    "and grpc- is reserved"
                )
            if key.endswith("-bin"):
                raise ValueError(f"metadata {key!r} would be binary, which YAML text is not")
            if not all(value.isascii() and value.isprintable() for value in values):
                raise ValueError(f"metadata {key!r} is not printable ASCII")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTlsOptions(TlsOptions):
    """The TLS options that grpcio supports."""

    offers_legacy: ClassVar[bool] = False

    def __post_init__(self) -> None:
        TlsOptions.__post_init__(self)
        if not self.verify:
            raise ValueError("verify: false is not possible with gRPC; name a ca_file instead")
        if self.min_version or self.max_version:
            raise ValueError("min_version and max_version are not possible with gRPC")
        if self.legacy:
            raise ValueError("legacy is not possible with gRPC")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcNetworkOptions(NetworkOptions):
    """The network options that grpcio supports."""

    def __post_init__(self) -> None:
        NetworkOptions.__post_init__(self)
        if self.source_address:
            raise ValueError("source_address is not possible with gRPC")


def check_url(url: str) -> None:
    """
    Accept ``grpc://HOST:PORT[/SERVICE]``.

    Raises:
        ValueError: There is no port, a part that means nothing here, or grpcio is not installed.
    """
    parts = urlsplit(url)
    if parts.port is None:
        raise ValueError(f"has no port; write {parts.scheme}://{parts.hostname}:50051")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has a user, query or fragment, which mean nothing to gRPC")
    if not _installed():
        raise ValueError(_MISSING)


@cache
def _installed() -> bool:
    return find_spec("grpc") is not None


@cache
def _prepare_grpcio() -> None:
    # grpcio's core writes failures to standard error; our observation already has them
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import grpc  # noqa: F401, PLC0415  an optional extra, 20 MB and 0.2 s
    except ImportError as error:
        raise ProbeError(f"gRPC {_MISSING}") from error


class GrpcProbe:
    """Asks the health service once, within the deadline."""

    def __init__(self, handles: Handles | None = None) -> None:
        self._handles = handles or Handles()

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Connect, then make the call.

        Raises:
            ProbeError: grpcio is missing, a file of the site is gone, or the system has reached a
                limit.
        """
        clock = deadline.clock
        time, begin = clock.time(), clock.monotonic()
        route = _route(site)
        answer: GrpcAnswer | None = None
        with self._handles.lend(route, deadline) as transfer:
            for name, value in (
                (pycurl.URL, f"{route.scheme}://{escaped(join_address(route.name, route.port))}/"),
                (pycurl.CONNECT_ONLY, 1),
                (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),  # a gRPC server wants it
            ):
                transfer.curl.setopt(name, value)
            failure = transfer.perform()
            address, reached = transfer.address, transfer.phases()
            phases = {phase: reached[phase] for phase in _CONNECTING if phase in reached}
            if not failure and address:
                asked = clock.monotonic()
                answer, failure = _call(site, route, address, deadline)
                phases[Phase.CHECK] = clock.monotonic() - asked
                if failure and failure.reason in _BROKEN and transfer.asked_for_certificate:
                    failure = transfer.unwelcome(failure.message)
            tls = transfer.tls(failure)
        return Observation(
            time=time,
            duration=clock.monotonic() - begin,
            phases=phases,
            address=address,
            failure=failure,
            answer=answer,
            tls=tls,
        )


def _route(site: Site) -> Route:
    parts = urlsplit(site.url)
    return Route(
        scheme="https" if site.scheme == "grpcs" else "http",
        host=parts.hostname or "",
        port=parts.port or 0,  # check_url requires one
        tls=site.section(TlsOptions) if site.scheme == "grpcs" else TlsOptions(),
        network=site.section(NetworkOptions),
    )


def _call(
    site: Site, route: Route, address: str, deadline: Deadline
) -> tuple[GrpcAnswer | None, Failure | None]:
    """
    Make the call on a new channel.

    Raises:
        ProbeError: grpcio is missing, or the system has reached a limit.
    """
    _prepare_grpcio()
    import grpc  # noqa: PLC0415  as above

    options = site.section(GrpcOptions)
    service = unquote(urlsplit(site.url).path.strip("/")) or options.service
    host, port = route.destination
    zone = zone_of(host)
    if zone and "%" not in address:  # libcurl does not report it
        address = f"{address}%25{zone}"  # a target is a URI
    target = f"ipv{ip_version(address)}:{join_address(address, port)}"
    channel_options = [
        # A zone means nothing to the peer (RFC 6874, 1)
        ("grpc.default_authority", join_address(route.name.partition("%")[0], route.port)),
        ("grpc.primary_user_agent", f"website-monitor/{__version__}"),
        ("grpc.use_local_subchannel_pool", 1),  # or channels to an address share a connection
        ("grpc.enable_http_proxy", 0),  # ignore the environment's
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", _LARGEST_ANSWER),
    ]
    if route.scheme == "https":
        # Without the dot that ends a full name (RFC 6066, 3)
        name = route.name.removesuffix(".")
        channel_options.append(("grpc.ssl_target_name_override", name))
        credentials = grpc.ssl_channel_credentials(*_read_credentials(route))
        channel = grpc.secure_channel(target, credentials, channel_options)
    else:
        channel = grpc.insecure_channel(target, channel_options)
    with channel:
        try:
            ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
            message = ask(
                _request(service),
                timeout=deadline.remaining(),
                metadata=tuple(
                    (key, value) for key, values in options.metadata.items() for value in values
                ),
            )
        except grpc.RpcError as error:
            name, (number, _) = error.code().name, error.code().value
            failure = _failure(name, error.details() or "", route.peer, deadline)
            return GrpcAnswer(status_code=number), failure
    try:
        return GrpcAnswer(status_code=0, serving_status=_serving_status(message)), None
    except ValueError as error:
        failure = Failure(Reason.PROTOCOL_ERROR, f"{route.peer} sent no health status: {error}")
        return GrpcAnswer(status_code=0), failure


def _read_credentials(route: Route) -> tuple[bytes, bytes | None, bytes | None]:
    """Return the authorities, our private key and our certificate chain, as PEM."""
    tls = route.tls
    try:
        authorities = Path(route.trust or "").read_bytes()
        if not tls.cert_file:
            return authorities, None, None
        key = Path(tls.key_file or tls.cert_file).read_bytes()
        return authorities, key, Path(tls.cert_file).read_bytes()
    except OSError as error:
        raise ProbeError(f"cannot read {error.filename}: {error.strerror}") from error


# ---------------------------------------------------------------- what grpcio's errors mean


@dataclass(frozen=True, slots=True)
class _ErrorRow:
    """The meaning of grpcio's own messages; ``message`` may name peer and text."""

    pattern: re.Pattern[str]
    reason: Reason
    message: str


_BROKEN = {Reason.CONNECTION_LOST, Reason.TLS_PROTOCOL}
"""The reasons that a server causes if it does not accept our certificate."""
_NO_CONNECTION = "failed to connect to all addresses"
_UNCONNECTED = f"^{_NO_CONNECTION}.*"
# libcurl has just connected to the same address, so there is a source address
_LACKS = (*SHORTAGE_TEXTS, os.strerror(errno.EADDRNOTAVAIL))

# The most specific first. Details written by the server hardly ever begin like these
_ROWS = (
    _ErrorRow(
        re.compile(_UNCONNECTED + "Connection refused"),
        Reason.CONNECT_REFUSED,
        "connection to {peer} refused",
    ),
    _ErrorRow(
        re.compile(_UNCONNECTED + "([Uu]nreachable|No route to host)"),
        Reason.CONNECT_UNREACHABLE,
        "{peer} is unreachable: {text}",
    ),
    _ErrorRow(
        re.compile(_UNCONNECTED + "missing selected ALPN"),
        Reason.PROTOCOL_ERROR,
        "{peer} does not offer HTTP/2",
    ),
    _ErrorRow(
        re.compile(_UNCONNECTED + "(CERTIFICATE_VERIFY_FAILED|[Vv]erification)"),
        Reason.TLS_UNTRUSTED,
        "grpcio does not trust the certificate of {peer}: {text}",
    ),
    _ErrorRow(
        re.compile(_UNCONNECTED + "[Hh]andshake failed"),
        Reason.TLS_PROTOCOL,
        "no TLS handshake with {peer}: {text}",
    ),
    _ErrorRow(
        re.compile(_UNCONNECTED + "(HTTP/2|http1|[Pp]rotocol)"),
        Reason.PROTOCOL_ERROR,
        "{peer} does not speak gRPC: {text}",
    ),
    _ErrorRow(
        re.compile(r"^(Stream removed \()?(Received http2 header with status|CLIENT: )"),
        Reason.PROTOCOL_ERROR,
        "{peer} does not speak gRPC: {text}",
    ),
    _ErrorRow(
        re.compile(
            _UNCONNECTED + "|^(Socket closed|Stream removed|.*GOAWAY|.*recvmsg|Connection reset)"
        ),
        Reason.CONNECTION_LOST,
        "lost the connection to {peer}: {text}",
    ),
)
_WRAPPED = re.compile(
    r"^failed to connect to all addresses; last error: \w+: (?:ipv\d:\S+: )?(.*)$"
    r"|^Stream removed \((.*)\)$",
    re.DOTALL,
)


def _failure(code: str, details: str, peer: str, deadline: Deadline) -> Failure:
    """
    Return the failure that a call's status means: grpcio's own error, or the server's answer.

    Raises:
        ProbeError: The monitor's system has reached a limit.
    """
    if code == "DEADLINE_EXCEEDED" and deadline.passed():
        limit = show_duration(deadline.timeout)
        return Failure(Reason.READ_TIMEOUT, f"no answer from {peer} within {limit}")
    if details.startswith(_NO_CONNECTION):
        lack = next((text for text in _LACKS if details.endswith(text)), None)
        if lack:
            raise ProbeError(f"gRPC cannot connect: {lack}")
    for row in _ROWS:
        if row.pattern.search(details):
            wrapped = _WRAPPED.match(details)
            text = (wrapped[1] or wrapped[2]) if wrapped else details
            return Failure(row.reason, row.message.format(peer=peer, text=text))
    return Failure(Reason.STATUS, f"gRPC status {code}{f': {details}' if details else ''}")


# ---------------------------------------------------------------- two messages of protobuf


def _request(service: str) -> bytes:
    """Return HealthCheckRequest(service=…): field 1, a string."""
    text = service.encode()
    return b"\x0a" + _varint(len(text)) + text if text else b""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004  seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _serving_status(message: bytes) -> str:
    """
    Return the name of HealthCheckResponse.status: field 1, an enumeration; 0 if it is absent.

    Raises:
        ValueError: These bytes are not such a message, or the number has no name.
    """
    status = 0
    for field, value in _fields(message):
        if field == 1:
            if not isinstance(value, int):
                raise ValueError("its first field is not a number")
            status = value
    if status >= len(_SERVING_STATUSES):
        raise ValueError(f"{status} is not a serving status")
    return _SERVING_STATUSES[status]


_WIDTHS = {1: 8, 5: 4}
"""Wire types of fixed width, in bytes."""


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """
    Yield number and value of each field, unknown ones included: newer servers may send more.

    Raises:
        ValueError: These bytes are not a protobuf message.
    """
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _read_varint(message, position)
            yield key >> 3, value
            continue
        if kind == 2:  # noqa: PLR2004  length-delimited
            width, position = _read_varint(message, position)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise ValueError("it is not protobuf")
        if position + width > len(message):
            raise ValueError("it is cut off")
        yield key >> 3, message[position : position + width]
        position += width


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, position
    raise ValueError("it is cut off")
