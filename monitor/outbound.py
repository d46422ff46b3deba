"""
Settings of outgoing connections, with the same names everywhere: TLS, proxies, logins, headers.

Checks get them from their site's sections, receivers of messages from their options.
"""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias
from urllib.parse import unquote, urlsplit

from monitor.clock import Deadline
from monitor.grammar import LARGEST_PORT, TOKEN, check_url, is_host
from monitor.model import Failure
from monitor.options import FilePath, Parsed, Secret, option
from monitor.secrecy import basic_credentials
from monitor.units import Bytes

_TOKEN = re.compile(TOKEN)
PROXY_LOGIN = 407


def parse_address(text: Any) -> str:
    """
    Return ``HOST:PORT`` unchanged if it can be split.

    Raises:
        ValueError: There is no host, no port, or an IPv6 address without brackets.
    """
    split_address(text if isinstance(text, str) else "")
    return str(text)


def split_address(text: str) -> tuple[str, int]:
    """
    Return host and port of ``db.internal:5432`` or ``[2001:db8::1]:443``; no brackets remain.

    Raises:
        ValueError: There is no host, no port, or an IPv6 address without brackets.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    good = is_host(bare) and (":" in bare) is (bare != host)
    if not good or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{text!r} is not HOST:PORT, such as 192.0.2.1:8443 or [2001:db8::1]:443")
    if not 0 < int(port) <= LARGEST_PORT:
        raise ValueError(f"port {port} of {text!r} is not between 1 and {LARGEST_PORT}")
    return bare, int(port)


def join_address(host: str, port: int) -> str:
    """Return ``HOST:PORT``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def one_of(*texts: str) -> Parsed:
    """
    Accept one of these texts; if one is a number, YAML's number is accepted too.

    ``version: 1.1`` and ``ip: 4`` are numbers in YAML and names here.
    """
    numbers = [float(text) for text in texts if _is_number(text)]

    def parse(value: Any) -> str:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        for text in texts:
            if value == text or (number and _is_number(text) and float(text) == value):
                return text
        raise ValueError(f"{value!r} is not one of {', '.join(texts)}")

    return Parsed(parse, {"enum": [*texts, *numbers]})


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _parse_ip(value: Any) -> str:
    try:
        return str(ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


Address = Annotated[str, Parsed(parse_address, {"type": "string", "pattern": r"^.+:\d+$"})]
"""``HOST:PORT``, an IPv6 address in brackets."""
IpAddress = Annotated[str, Parsed(_parse_ip, {"type": "string"})]
IpChoice = Annotated[str, one_of("auto", "4", "6")]
TlsVersion = Annotated[str, one_of("1.0", "1.1", "1.2", "1.3")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    offers_legacy: ClassVar[bool] = True
    verify: bool = option(
        True,
        doc="Whether the certificate and its name must be valid; without it, anyone may answer.",
    )
    ca_file: FilePath | None = option(
        None, doc="PEM file of the authorities to trust, instead of the system's."
    )
    server_name: str | None = option(
        None, doc="The name to ask for (SNI) and to find in the certificate, instead of the URL's."
    )
    cert_file: FilePath | None = option(
        None, doc="PEM file of the client certificate, with its intermediates."
    )
    key_file: FilePath | None = option(
        None, doc="PEM file of the client certificate's key; by default it is in cert_file."
    )
    min_version: TlsVersion | None = option(
        None, doc="The lowest TLS version that is accepted: 1.0, 1.1, 1.2 or 1.3."
    )
    max_version: TlsVersion | None = option(
        None, doc="The highest TLS version that is offered: 1.0, 1.1, 1.2 or 1.3."
    )
    legacy: bool = option(
        False,
        doc="Whether an old device may do what OpenSSL refuses by default: renegotiate insecurely"
        " (RFC 5746), use weak keys, signatures and parameters; TLS below 1.2 needs it, too.",
    )

    def __post_init__(self) -> None:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file beside it")
        if self.min_version and self.max_version and self.min_version > self.max_version:
            raise ValueError(
                f"min_version {self.min_version} is above max_version {self.max_version}"
            )
        if self.max_version and self.max_version < "1.2" and not self.legacy:
            raise ValueError(f"max_version {self.max_version} needs legacy: true beside it")
        if self.server_name is not None and not _is_name(self.server_name):
            raise ValueError(f"server_name {self.server_name!r} is not a host name")

    def check_files(self) -> None:
        """
        Return if its files hold authorities, and a certificate with its key.

        Raises:
            ValueError: One does not; the sentence names its key.
        """
        if self.ca_file:
            _check_authorities(self.ca_file, _stamp(self.ca_file))
        if self.cert_file:
            key = self.key_file or self.cert_file
            _check_pair(self.cert_file, key, _stamp(self.cert_file), _stamp(key))


_Stamp: TypeAlias = tuple[int, int, int]


def _stamp(path: str) -> _Stamp:
    """Return a value that changes when the file does."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return status.st_ctime_ns, status.st_size, status.st_ino


# A hundred thousand sites share a few such files. Errors are not cached; they end the load anyway
@lru_cache(maxsize=1024)
def _check_authorities(path: str, _of: _Stamp) -> None:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise ValueError(f"ca_file {path} holds no certificate in PEM form") from error


@lru_cache(maxsize=1024)
def _check_pair(cert: str, key: str, _of: _Stamp, _of_key: _Stamp) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    encrypted = False

    def refuse() -> bytes:
        nonlocal encrypted
        encrypted = True
        return b""

    try:
        # Weak keys are for the server to refuse, or for tls.legacy to allow
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(cert, key, password=refuse)
    except (OSError, ValueError) as error:
        name = "key_file" if key != cert else "cert_file"
        if encrypted:
            message = f"{name} {key} holds an encrypted key; write it without a password"
        elif getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            message = f"{name} {key} holds the key of another certificate than that of {cert}"
        elif "-----BEGIN CERTIFICATE-----" not in _text(cert):
            message = f"cert_file {cert} holds no certificate in PEM form"
        elif "PRIVATE KEY-----" not in _text(key):
            message = f"{name} {key} holds no private key in PEM form"
            if key == cert:
                message += "; name the file that does by key_file"
        else:
            message = f"cert_file {cert} and its key cannot be used: they are damaged"
        raise ValueError(message) from error


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    ip: IpChoice = option(
        "auto", doc="The IP version to connect with: auto, 4 or 6; auto takes what answers first."
    )
    connect_to: Address | None = option(
        None, doc="HOST:PORT to reach instead of the URL's, which stays the name in Host and SNI."
    )
    source_address: IpAddress | None = option(None, doc="The address of this machine to send from.")

    def __post_init__(self) -> None:
        if self.source_address and self.ip != "auto":
            version = str(ip_address(self.source_address).version)
            if version != self.ip:
                raise ValueError(f"source_address {self.source_address} is not IPv{self.ip}")


def login_in(url: str) -> tuple[bytes, bytes] | None:
    """
    Return user and password of a URL, decoded, in UTF-8; None if it has none.

    requests drops a user without a password, which is how some services expect a token
    (``https://TOKEN@api.example.com/``), and cannot send anything beyond Latin-1.
    """
    parts = urlsplit(url)
    if not (parts.username or parts.password):
        return None
    return unquote(parts.username or "").encode(), unquote(parts.password or "").encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    username: str = option(doc="The user's name.")
    password: Secret = option(doc="The user's password.")

    def sent_secrets(self) -> tuple[str, ...]:
        return basic_credentials(self.username, self.password)


def check_header(name: str, value: str) -> None:
    """
    Accept a header that can be sent.

    Raises:
        ValueError: It cannot; the message does not quote its value.
    """
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header's name")
    if any(char in value for char in "\r\n\0") or value != value.strip():
        raise ValueError(f"{name} must be one line without blanks around it")


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    A proxy, with its credentials separate.

    Attributes:
        url: Scheme, host and port.
    """

    url: str
    username: str | None = None
    password: str | None = None

    @property
    def peer(self) -> str:
        """Host and port, for messages."""
        return self.url.partition("://")[2]

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def speaks_http(self) -> bool:
        return self.url.startswith("http")

    @property
    def login_trouble(self) -> str:
        """Why it refuses, if a login is missing or wrong, as a clause."""
        if self.username is None:
            return "it wants a login"
        return "it does not accept the login in its URL"

    @property
    def refusal(self) -> str:
        """The meaning of its status 407, as a clause."""
        return f"{self.login_trouble} (status {PROXY_LOGIN})"

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """
        Return the proxy of ``http://user:password@proxy.internal:3128``.

        Raises:
            ValueError: The scheme is not that of a proxy, or host or port is impossible.
        """
        schemes = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
        try:
            parts = check_url(text, schemes, "an http, https, socks4, socks5 or socks5h URL")
        except ValueError as error:
            raise ValueError(f"proxy {error}") from None
        address = parts.netloc.rpartition("@")[2]
        username = unquote(parts.username) if parts.username is not None else None
        password = unquote(parts.password) if parts.password is not None else None
        return cls(f"{parts.scheme}://{address}", username, password)


def _is_name(text: str) -> bool:
    allowed: Callable[[str], bool] = lambda char: char.isalnum() or char in "-_.:"  # noqa: E731  a predicate
    return bool(text) and all(map(allowed, text))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRequest:
    """
    A request that is not a check: a message to a receiver.

    Attributes:
        url: http or https; a login in it is sent as basic authentication.
        headers: By name; without a User-Agent, the monitor's own is sent.
        body: The body to POST; None to GET the URL.
        proxy: Its URL.
        max_body: Decoded bytes of the answer that are read; the rest is not waited for.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    tls: TlsOptions = TlsOptions()
    proxy: str | None = None
    max_body: Bytes = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    An answer, whatever its status; a redirect is not followed.

    Attributes:
        headers: By name in lower case.
        body: As much as arrived and was read.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


Caller: TypeAlias = Callable[[OutgoingRequest, Deadline], Reply | Failure]
"""Sends a request and returns its answer, or why there is none, within the deadline."""
