"""
The format of blackbox_exporter's module files, as records; every key, default and rule of it.

A key that has no equivalent here is read all the same: blackbox.py says what becomes of it. Paths
are texts: whether the files are there matters where the modules are used, not where they are
imported.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from monitor.model import Bytes, Seconds
from monitor.options import Parsed, Regex, Secret, parse_duration

_LARGEST_TTL = 255


def _exclude(record: object, *names: str) -> None:
    given = [name for name in names if getattr(record, name) is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} exclude each other")


def _accepts(header: str, coding: str) -> bool:
    """Return whether an Accept-Encoding header has a coding or ``*``, and not with ``q=0``."""
    for part in header.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() in (coding, "*"):
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", quality)
    return False


def _duration(value: Any) -> Seconds:
    if value == 0:
        return 0.0
    match = re.fullmatch(r"(\d+)y", value) if isinstance(value, str) else None
    return int(match[1]) * 365 * 86400.0 if match else parse_duration(value)


_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def _base2_size(value: Any) -> Bytes:
    match = re.fullmatch(r"(\d+)(?:([KMGT]?)i?B)?", str(value))
    if not match or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a size such as 10MB, which here is 10MiB")
    factor: Bytes = 1024 ** _POWERS[match[2] or ""]
    return int(match[1]) * factor


_Duration = Annotated[Seconds, Parsed(_duration, {})]
_Size = Annotated[Bytes, Parsed(_base2_size, {})]
_Ip: TypeAlias = Literal["ip4", "ip6"]
_TlsVersion: TypeAlias = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    insecure_skip_verify: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    min_version: _TlsVersion | None = None
    max_version: _TlsVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    username: str | None = None
    username_file: str | None = None
    password: Secret | None = None
    password_file: str | None = None

    def __post_init__(self) -> None:
        _exclude(self, "username", "username_file")
        _exclude(self, "password", "password_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    type: str = "Bearer"
    credentials: Secret | None = None
    credentials_file: str | None = None

    def __post_init__(self) -> None:
        _exclude(self, "credentials", "credentials_file")
        if self.credentials is None and self.credentials_file is None:
            raise ValueError("needs credentials or credentials_file")
        if self.type.lower() == "basic":
            raise ValueError("type can not be basic; write basic_auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    client_id: str
    client_secret: Secret | None = None
    client_secret_file: str | None = None
    scopes: tuple[str, ...] = ()
    token_url: str
    endpoint_params: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _exclude(self, "client_secret", "client_secret_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHeader:
    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    header: str
    regexp: Regex
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if not self.header:
            raise ValueError("header must be set for HTTP header matchers")
        if not self.regexp:
            raise ValueError("regexp must be set for HTTP header matchers")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpClient:
    """What an ``http`` and a ``websocket`` module's ``http_config`` have in common."""

    http_headers: Mapping[str, HttpHeader] = field(default_factory=dict)
    follow_redirects: bool = True
    tls_config: TlsConfig = TlsConfig()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    proxy_url: str | None = None
    no_proxy: str | None = None
    proxy_from_environment: bool = False
    proxy_connect_header: Mapping[str, tuple[Secret, ...]] = field(default_factory=dict)
    oauth2: OAuth2 | None = None
    enable_http2: bool = True

    def __post_init__(self) -> None:
        _exclude(self, "basic_auth", "authorization", "oauth2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(HttpClient):
    valid_status_codes: tuple[int, ...] = ()
    valid_http_versions: tuple[str, ...] = ()
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body_size_limit: _Size = 0
    compression: Literal["", "gzip", "br", "deflate", "identity"] = ""
    no_follow_redirects: bool | None = None
    fail_if_ssl: bool = False
    fail_if_not_ssl: bool = False
    fail_if_body_json_matches_cel: str | None = None
    fail_if_body_json_not_matches_cel: str | None = None
    fail_if_body_matches_regexp: tuple[Regex, ...] = ()
    fail_if_body_not_matches_regexp: tuple[Regex, ...] = ()
    fail_if_header_matches: tuple[HeaderMatch, ...] = ()
    fail_if_header_not_matches: tuple[HeaderMatch, ...] = ()
    skip_resolve_phase_with_proxy: bool = False
    enable_http3: bool = False
    preferred_ip_protocol: _Ip = "ip6"
    ip_protocol_fallback: bool = True
    body: str | None = None
    body_file: str | None = None

    def __post_init__(self) -> None:
        HttpClient.__post_init__(self)
        _exclude(self, "body", "body_file")
        if self.enable_http3 and self.enable_http2:
            raise ValueError("enable_http3 needs enable_http2: false beside it")
        if "HTTP/3.0" in self.valid_http_versions and not self.enable_http3:
            raise ValueError("valid_http_versions can have HTTP/3.0 only with enable_http3: true")
        wanted = [v for name, v in self.headers.items() if name.lower() == "accept-encoding"]
        if self.compression and wanted and not _accepts(wanted[0], self.compression):
            raise ValueError(
                f"compression {self.compression} is not among what the header Accept-Encoding asks "
                f"for, {wanted[0]}"
            )
        if self.fail_if_ssl and self.fail_if_not_ssl:
            raise ValueError("fail_if_ssl and fail_if_not_ssl together let nothing pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResponse:
    expect: Regex | None = None
    expect_bytes: str = ""
    labels: tuple[Label, ...] = ()
    send: str = ""
    starttls: bool = False

    def __post_init__(self) -> None:
        if self.expect is not None and self.expect_bytes:
            raise ValueError("expect and expect_bytes exclude each other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    preferred_ip_protocol: _Ip = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str | None = None
    query_response: tuple[QueryResponse, ...] = ()
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unix:
    query_response: tuple[QueryResponse, ...] = ()
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMatch:
    fail_if_matches_regexp: tuple[Regex, ...] = ()
    fail_if_all_match_regexp: tuple[Regex, ...] = ()
    fail_if_not_matches_regexp: tuple[Regex, ...] = ()
    fail_if_none_matches_regexp: tuple[Regex, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    preferred_ip_protocol: _Ip = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str | None = None
    transport_protocol: Literal["udp", "tcp"] = "udp"
    dns_over_tls: bool = False
    tls_config: TlsConfig = TlsConfig()
    query_name: str = ""
    query_type: str = "ANY"
    query_class: str = "IN"
    recursion_desired: bool = True
    valid_rcodes: tuple[str, ...] = ()
    validate_answer_rrs: RecordMatch = RecordMatch()
    validate_authority_rrs: RecordMatch = RecordMatch()
    validate_additional_rrs: RecordMatch = RecordMatch()

    def __post_init__(self) -> None:
        if not self.query_name:
            raise ValueError("query_name must be set for a DNS module")
        if self.dns_over_tls and self.transport_protocol != "tcp":
            raise ValueError("dns_over_tls needs transport_protocol: tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Icmp:
    preferred_ip_protocol: _Ip = "ip6"
    ip_protocol_fallback: bool = True
    source_ip_address: str | None = None
    dont_fragment: bool = False
    payload_size: int = 0
    ttl: int = 0

    def __post_init__(self) -> None:
        if self.ttl < 0:
            raise ValueError("ttl can not be negative")
        if self.ttl > _LARGEST_TTL:
            raise ValueError(f"ttl can not exceed {_LARGEST_TTL}")
        if self.payload_size < 0:
            raise ValueError("payload_size can not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpc:
    service: str = ""
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tls: bool = False
    tls_config: TlsConfig = TlsConfig()
    preferred_ip_protocol: _Ip = "ip6"
    ip_protocol_fallback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocket:
    http_config: HttpClient = HttpClient()
    headers: Mapping[str, str] = field(default_factory=dict)
    query_response: tuple[QueryResponse, ...] = ()
    preferred_ip_protocol: _Ip = "ip6"
    ip_protocol_fallback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackboxModule:
    prober: Literal["http", "tcp", "dns", "icmp", "grpc", "unix", "websocket"]
    timeout: _Duration = 0.0
    http: Http = Http()
    tcp: Tcp = Tcp()
    unix: Unix = Unix()
    dns: Dns | None = None
    icmp: Icmp = Icmp()
    grpc: Grpc = Grpc()
    websocket: WebSocket = WebSocket()

    def __post_init__(self) -> None:
        if self.prober == "dns" and self.dns is None:
            raise ValueError("dns with its query_name must be set for the prober dns")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackboxFile:
    modules: Mapping[str, BlackboxModule] = field(default_factory=dict)
