"""
The format of blackbox_exporter's module files as records, with every key, default and rule.

The records accept and refuse the same files as its own ``--config.check``; the rules come from its
config/config.go and from prometheus/common. A key without an equivalent here is read too; reader.py
decides what becomes of it. Paths are texts: the files must exist where the modules are used, not
where they are imported.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from monitor.config.blackbox.go_yaml import Kind, kind_of, parse_bool, parse_int
from monitor.options import Parsed, Regex, Secret
from monitor.units import Bytes, Seconds

_LARGEST_TTL = 255


def _exclude(record: object, *names: str) -> None:
    """Refuse more than one of these keys; as in Go, an empty text counts as not written."""
    given = [name for name in names if getattr(record, name) not in (None, "")]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} cannot be used together")


def _accepts(header: str, coding: str) -> bool:
    """
    Return whether an Accept-Encoding header asks for a coding.

    Codings are sorted by quality, equal ones as written. The first that is this coding or ``*``
    decides, and must have a quality above 0.
    """
    codings: list[tuple[float, str]] = []
    for part in header.split(","):
        name, semicolon, quality = part.rpartition(";")
        codings.append((_quality(quality), name.strip()) if semicolon else (1.0, part.strip()))
    codings.sort(key=lambda one: -one[0])
    return next((quality > 0 for quality, name in codings if name in (coding, "*")), False)


def _quality(text: str) -> float:
    try:
        return round(float(text.strip().removeprefix("q=")), 3)
    except ValueError:
        return 0.0


_NANOSECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3}
_DURATION_UNITS: Mapping[str, Seconds] = {**_NANOSECONDS, "s": 1, "m": 60, "h": 3600}
_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_DURATION = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|[smh])")
_SIGN = re.compile(r"[-+]?")


def _duration(value: Any) -> Seconds:
    """Return the seconds of a Go duration (time.ParseDuration); 0 and less mean no limit."""
    text = value if isinstance(value, str) else ""
    sign = "-" if text.startswith("-") else ""
    bare = _SIGN.sub("", text, count=1)
    parts = _DURATION.findall(bare)
    # Go accepts 0 as a duration only in quotes; without them it is a YAML number
    zero = bare == "0" and kind_of(value) is Kind.TEXT
    if not zero and (not parts or "".join(map("".join, parts)) != bare):
        units = ", ".join(unit for unit in _DURATION_UNITS if unit.isascii())
        raise ValueError(f"{value!r} is not a duration such as 5s or 1m30s; units: {units}")
    seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
    return 0.0 if sign else float(seconds)


def _bytes(value: Any) -> str:
    """Return a text that may contain surrogate escapes (see GoScalar), which pydantic rejects."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return str(value)


_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SIZE = re.compile(rf"({_NUMBER})([KMGTPE]?)(i?)B")
_LARGEST_SIZE: Bytes = 2**63 - 1


def _base2_size(value: Any) -> Bytes:
    """Return the bytes of a size for units.ParseBase2Bytes; less than 0 means no limit."""
    text = value if isinstance(value, str) else ""
    sign = "-" if text.startswith("-") else ""
    bare = _SIGN.sub("", text, count=1)
    parts = _SIZE.findall(bare)
    # One size cannot mix the two kinds of units: 1MiB512KiB or 1MB512KB, not 1MiB512KB
    kinds = {binary for _, power, binary in parts if power}
    whole = "".join(f"{number}{power}{binary}B" for number, power, binary in parts) == bare
    strange = ("", "i") in {(power, binary) for _, power, binary in parts}  # a unit iB
    if bare != "0" and (not parts or not whole or len(kinds) > 1 or strange):
        raise ValueError(f"{value!r} is not a size such as 10MB, which is 10MiB there")
    size = int(sum(float(number) * 1024.0 ** _POWERS[power] for number, power, _ in parts))
    if size > _LARGEST_SIZE:
        raise ValueError(f"{value!r} is too large; the largest is {_LARGEST_SIZE}B")
    return _LARGEST_SIZE if sign and size else size


_Duration = Annotated[Seconds, Parsed(_duration, {})]
_Size = Annotated[Bytes, Parsed(_base2_size, {})]
_Flag = Annotated[bool, Parsed(parse_bool, {})]
_Int = Annotated[int, Parsed(parse_int, {})]
_Bytes = Annotated[str, Parsed(_bytes, {})]
_Anything = Annotated[Any, Parsed(lambda value: value, {})]
_TLS_VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")


def _tls_version(value: Any) -> str:
    if value not in _TLS_VERSIONS:
        raise ValueError(f"must be one of {', '.join(_TLS_VERSIONS)}, not {str(value)!r}")
    return str(value)


_TlsVersion = Annotated[str, Parsed(_tls_version, {})]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    insecure_skip_verify: _Flag = False
    ca: str | None = None
    ca_file: str | None = None
    ca_ref: str | None = None
    cert: str | None = None
    cert_file: str | None = None
    cert_ref: str | None = None
    key: Secret | None = None
    key_file: str | None = None
    key_ref: str | None = None
    server_name: str | None = None
    min_version: _TlsVersion | None = None
    max_version: _TlsVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    username: str | None = None
    username_file: str | None = None
    username_ref: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    password_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    type: str = "Bearer"
    credentials: Secret | None = None
    credentials_file: str | None = None
    credentials_ref: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    client_id: str = ""
    client_secret: Secret | None = None
    client_secret_file: str | None = None
    client_secret_ref: str | None = None
    client_certificate_key_id: str | None = None
    client_certificate_key: Secret | None = None
    client_certificate_key_file: str | None = None
    client_certificate_key_ref: str | None = None
    grant_type: str | None = None
    signature_algorithm: str | None = None
    iss: str | None = None
    audience: str | None = None
    claims: Mapping[str, _Anything] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    token_url: str = ""
    endpoint_params: Mapping[str, str] = field(default_factory=dict)
    tls_config: TlsConfig = TlsConfig()
    proxy_url: str | None = None
    no_proxy: str | None = None
    proxy_from_environment: _Flag = False
    proxy_connect_header: Mapping[str, tuple[Secret, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHeader:
    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    header: str = ""
    regexp: Regex = ""
    allow_missing: _Flag = False

    def __post_init__(self) -> None:
        if not self.header:
            raise ValueError("header must be set for HTTP header matchers")
        if not self.regexp:
            raise ValueError("regexp must be set for HTTP header matchers")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpClient:
    """The keys that an ``http`` module shares with a ``websocket`` module's ``http_config``."""

    http_headers: Mapping[str, HttpHeader] = field(default_factory=dict)
    follow_redirects: _Flag = True
    tls_config: TlsConfig = TlsConfig()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: Secret | None = None
    bearer_token_file: str | None = None
    proxy_url: str | None = None
    no_proxy: str | None = None
    proxy_from_environment: _Flag = False
    proxy_connect_header: Mapping[str, tuple[Secret, ...]] = field(default_factory=dict)
    oauth2: OAuth2 | None = None
    enable_http2: _Flag = True

    def __post_init__(self) -> None:
        _exclude(self, "basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file")
        _check_logins(self)
        _check_proxy(self)
        for name in self.http_headers:
            if name.title() in _RESERVED:
                raise ValueError(f"http_headers cannot set {name.title()}")


_RESERVED = frozenset(
    {
        "Authorization",
        "Host",
        "Content-Encoding",
        "Content-Length",
        "Content-Type",
        "User-Agent",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Www-Authenticate",
        "Accept-Encoding",
        "X-Prometheus-Remote-Write-Version",
        "X-Prometheus-Remote-Read-Version",
        "X-Prometheus-Scrape-Timeout-Seconds",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    }
)


def _check_logins(client: HttpClient) -> None:
    if basic := client.basic_auth:
        _exclude(basic, "username", "username_file", "username_ref")
        _exclude(basic, "password", "password_file", "password_ref")
    if login := client.authorization:
        _exclude(login, "credentials", "credentials_file", "credentials_ref")
        if login.type.strip().lower() == "basic":
            raise ValueError("authorization cannot have the type basic; write basic_auth")
    if grant := client.oauth2:
        for name in ("client_id", "token_url"):
            if not getattr(grant, name):
                raise ValueError(f"oauth2 needs {name}")
        _exclude(grant, "client_secret", "client_secret_file", "client_secret_ref")
        _check_proxy(grant)
        _check_pair(grant.tls_config)
    _check_pair(client.tls_config)


def _check_pair(tls: TlsConfig) -> None:
    certificate, key = ("cert", "cert_file", "cert_ref"), ("key", "key_file", "key_ref")
    for names in (("ca", "ca_file", "ca_ref"), certificate, key):
        _exclude(tls, *names)
    if any(getattr(tls, name) for name in certificate) != any(getattr(tls, name) for name in key):
        raise ValueError("tls_config needs cert_file and key_file, or neither")


def _check_proxy(record: HttpClient | OAuth2) -> None:
    if record.proxy_connect_header and not (record.proxy_url or record.proxy_from_environment):
        raise ValueError("proxy_connect_header needs proxy_url or proxy_from_environment")
    if record.proxy_from_environment and record.proxy_url:
        raise ValueError("proxy_from_environment and proxy_url cannot be used together")
    if record.proxy_from_environment and record.no_proxy:
        raise ValueError("proxy_from_environment and no_proxy cannot be used together")
    if record.no_proxy and record.proxy_url is None:
        raise ValueError("no_proxy needs proxy_url beside it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(HttpClient):
    valid_status_codes: tuple[_Int, ...] = ()
    valid_http_versions: tuple[str, ...] = ()
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body_size_limit: _Size = 0
    compression: str = ""
    no_follow_redirects: _Flag | None = None
    fail_if_ssl: _Flag = False
    fail_if_not_ssl: _Flag = False
    fail_if_body_json_matches_cel: str | None = None
    fail_if_body_json_not_matches_cel: str | None = None
    fail_if_body_matches_regexp: tuple[Regex, ...] = ()
    fail_if_body_not_matches_regexp: tuple[Regex, ...] = ()
    fail_if_header_matches: tuple[HeaderMatch, ...] = ()
    fail_if_header_not_matches: tuple[HeaderMatch, ...] = ()
    # Without effect: with a proxy, we never resolve the name
    skip_resolve_phase_with_proxy: _Flag = False
    enable_http3: _Flag = False
    preferred_ip_protocol: str = ""
    ip_protocol_fallback: _Flag = True
    body: str | None = None
    body_file: str | None = None

    def __post_init__(self) -> None:
        HttpClient.__post_init__(self)
        _exclude(self, "body", "body_file")
        if self.enable_http3 and self.enable_http2:
            raise ValueError("enable_http3 needs enable_http2: false beside it")
        if "HTTP/3.0" in self.valid_http_versions and not self.enable_http3:
            raise ValueError("valid_http_versions can have HTTP/3.0 only with enable_http3: true")
        if self.enable_http3 and {"HTTP/1.1", "HTTP/2.0"}.intersection(self.valid_http_versions):
            raise ValueError("valid_http_versions can have only HTTP/3.0 with enable_http3: true")
        for name, wanted in self.headers.items():
            if name.lower() != "accept-encoding" or not wanted or not self.compression:
                continue
            if not _accepts(wanted, self.compression):
                raise ValueError(
                    f"compression {self.compression} is not among what the header Accept-Encoding "
                    f"asks for, {wanted}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    name: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResponse:
    expect: Regex | None = None
    expect_bytes: _Bytes = ""
    labels: tuple[Label, ...] = ()
    send: _Bytes = ""
    starttls: _Flag = False

    def __post_init__(self) -> None:
        if self.expect is not None and self.expect_bytes:
            raise ValueError("expect and expect_bytes cannot be used together")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    preferred_ip_protocol: str = ""
    ip_protocol_fallback: _Flag = True
    source_ip_address: str | None = None
    query_response: tuple[QueryResponse, ...] = ()
    tls: _Flag = False
    tls_config: TlsConfig = TlsConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unix:
    query_response: tuple[QueryResponse, ...] = ()
    tls: _Flag = False
    tls_config: TlsConfig = TlsConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMatch:
    fail_if_matches_regexp: tuple[Regex, ...] = ()
    fail_if_all_match_regexp: tuple[Regex, ...] = ()
    fail_if_not_matches_regexp: tuple[Regex, ...] = ()
    fail_if_none_matches_regexp: tuple[Regex, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    preferred_ip_protocol: str = ""
    ip_protocol_fallback: _Flag = True
    source_ip_address: str | None = None
    transport_protocol: str = ""
    dns_over_tls: _Flag = False
    tls_config: TlsConfig = TlsConfig()
    query_name: str = ""
    query_type: str = ""
    query_class: str = ""
    recursion_desired: _Flag = True
    valid_rcodes: tuple[str, ...] | None = None
    validate_answer_rrs: RecordMatch = RecordMatch()
    validate_authority_rrs: RecordMatch = RecordMatch()
    validate_additional_rrs: RecordMatch = RecordMatch()

    def __post_init__(self) -> None:
        if not self.query_name:
            raise ValueError("query_name must be set for a DNS module")


@dataclass(frozen=True, slots=True, kw_only=True)
class Icmp:
    preferred_ip_protocol: str = ""
    ip_protocol_fallback: _Flag = True
    source_ip_address: str | None = None
    dont_fragment: _Flag = False
    payload_size: _Int = 0
    ttl: _Int | None = None

    def __post_init__(self) -> None:
        if self.ttl is not None and self.ttl < 0:
            raise ValueError("ttl cannot be negative")
        if self.ttl is not None and self.ttl > _LARGEST_TTL:
            raise ValueError(f"ttl cannot exceed {_LARGEST_TTL}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpc:
    service: str = ""
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tls: _Flag = False
    tls_config: TlsConfig = TlsConfig()
    preferred_ip_protocol: str = ""
    ip_protocol_fallback: _Flag = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocket:
    http_config: HttpClient = HttpClient()
    headers: Mapping[str, HttpHeader] = field(default_factory=dict)
    query_response: tuple[QueryResponse, ...] = ()
    preferred_ip_protocol: str = ""
    ip_protocol_fallback: _Flag = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackboxModule:
    prober: str = ""
    timeout: _Duration = 0.0
    http: Http = Http()
    tcp: Tcp = Tcp()
    unix: Unix = Unix()
    dns: Dns | None = None
    icmp: Icmp = Icmp()
    grpc: Grpc = Grpc()
    websocket: WebSocket = WebSocket()


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackboxFile:
    modules: Mapping[str, BlackboxModule] = field(default_factory=dict)
