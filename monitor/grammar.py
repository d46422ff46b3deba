"""Syntax that protocols define, for every place that checks a value against it."""

import re
from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

from monitor.units import Bytes

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  not a password
"""The pattern of an HTTP token, such as a method or a header name (RFC 9110, 5.6.2)."""

LARGEST_PORT = 65535
"""For TCP and UDP; port 0 cannot be connected to."""

LONGEST_SOCKET: Bytes = 107
"""The longest path of a Unix socket: sun_path in struct sockaddr_un without the final zero."""

_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_HOST = 253
_PORT = f"has a wrong port; write a number from 1 to {LARGEST_PORT}"
_HOST = "has a wrong host; write a name or an IP address, an IPv6 address in brackets"


def escape_percents(url: str) -> str:
    """
    Return a URL in which each ``%`` that begins no escape is escaped itself (RFC 3986, 2.4).

    Otherwise requests escapes every ``%``, even those of valid escapes beside it, and so requests
    another page: ``?off=100%&q=a%20b`` would become ``?off=100%25&q=a%2520b``.
    """
    return _LONE_PERCENT.sub("%25", url)


def is_port(text: str) -> bool:
    """Return whether a text is a port number that can be connected to."""
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) <= LARGEST_PORT


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address without brackets."""
    return _is_address(text, IPv6Address)


def is_host(text: str) -> bool:
    """
    Return whether a text is a DNS name or an IP address.

    An IPv6 address has no brackets, and may have a zone (RFC 4007); a name may contain letters of
    all languages, which the resolver translates (RFC 5891).
    """
    if ":" in text:
        return is_ipv6(text.partition("%")[0])
    labels = text.removesuffix(".").split(".")
    if labels[-1].isdigit():
        return _is_address(text, IPv4Address)
    return len(text) <= _LONGEST_HOST and all(map(_is_label, labels))


def check_authority(text: str) -> None:
    """
    Accept ``HOST`` or ``HOST:PORT``, an IPv6 address in brackets.

    Raises:
        ValueError: It cannot be connected to; the clause says why, and quotes nothing.
    """
    host, colon, port = text, "", ""
    if not text.endswith("]"):
        host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not is_host(bare) or (":" in bare) is not (bare != host):
        raise ValueError(_HOST)
    if colon and not is_port(port):
        raise ValueError(_PORT)


def check_url(text: str, schemes: Collection[str], what: str) -> SplitResult:
    """
    Return the parts of a URL that can be connected to.

    Args:
        what: What it must be, with an example, for the message.

    Raises:
        ValueError: It cannot; the clause says why, and quotes nothing, because any part of a URL
            may be a secret.
    """
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets, or characters that look like others
        raise ValueError(_HOST) from None
    if parts.scheme not in schemes or not parts.netloc or not text.isprintable() or " " in text:
        raise ValueError(f"must be {what}")
    check_authority(parts.netloc.rpartition("@")[2])
    return parts


def header_text(value: str) -> str:
    """
    Return the meaning of a header's value that was read byte by byte, as Latin-1.

    Servers send UTF-8 today, and RFC 9110 (5.5) leaves what is not ASCII open.
    """
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _is_label(text: str) -> bool:
    if text.isascii():
        return _LABEL.fullmatch(text) is not None
    return all(char.isalnum() or char in "-_" for char in text)


def _is_address(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True
