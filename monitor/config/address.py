"""Parses a site's URL, checks it against the rules, and masks it for display."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

import idna

from monitor.config.messages import listed
from monitor.config.nodes import Scalar
from monitor.grammar import LARGEST_PORT, is_host, is_ipv6, is_port
from monitor.model import ProbeKind
from monitor.options import unknown
from monitor.protocols.table import SCHEMES
from monitor.secrecy import credentials

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BEFORE_NAME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/*")
"""What precedes a name in a URL without a host, because nothing connects there."""
_TO_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#]*@)?")
_PORT = re.compile(r"(?:\[[^\[\]]*\]|[^:/?#\[\]]*):(\d{1,5})(?=[/?#]|$)")
_WEB_PORTS: Mapping[str, str] = {
    **dict.fromkeys(("80", "3000", "5000", "8000", "8008", "8080", "8081"), "http"),
    **dict.fromkeys(("443", "8443", "9443"), "https"),
}
"""The usual protocol of each port; any other port may have anything that accepts connections."""


@dataclass(frozen=True, slots=True)
class SiteUrl:
    """
    A URL that can be checked.

    Attributes:
        url: With credentials; scheme in lower case, host in ASCII.
        target: Without credentials, and with ``<secret>`` for substituted parts.
        secrets: User and password, as written, decoded and as they are sent.
    """

    url: str
    target: str
    scheme: str
    secrets: tuple[str, ...]

    @property
    def name(self) -> str:
        """The target without scheme and trailing slash."""
        rest = self.target.partition(":")[2].removeprefix("//")
        return rest.removesuffix("/") or self.target


def parse_site_url(node: Scalar, probes: Mapping[str, ProbeKind]) -> SiteUrl:
    """
    Return the address that a scalar holds.

    Raises:
        ValueError: The URL cannot be checked; the message shows no credentials and no substituted
            parts.
    """
    written = node.text
    shown = node.substitution.shown if node.substitution else written
    # If the URL may hold a secret, any part of it may be part of the secret
    quote = _Quote(hidden=shown != written or "@" in written)
    if (called := _of_caller(written, shown, probes)) is not None:
        _check_by_probe(called, probes[called.scheme], quote)
        return called
    scheme, rest = _split_scheme(written, probes, quote)
    try:
        split = urlsplit(f"{scheme}://{rest}")
        host = split.hostname or ""
    except ValueError as error:  # bad brackets, or characters that look like others
        raise ValueError(f"the host in{quote(written) or ' it'} is not valid") from error
    _check_port(split.netloc, quote)
    ascii_host = _ascii_host(host, quote)
    url = _with_host(f"{scheme}://{rest}", split.netloc, host, ascii_host)
    target = _TO_AUTHORITY.sub(lambda match: match[1].lower(), shown, count=1)
    if target == url:
        target = url  # one object, because there are many
    address = SiteUrl(url, target, scheme, tuple(dict.fromkeys(credentials(written))))
    _check_by_probe(address, probes[scheme], quote)
    return address


def _of_caller(written: str, shown: str, probes: Mapping[str, ProbeKind]) -> SiteUrl | None:
    """Return the address of a site that reports itself, a scheme and a name; None for others."""
    match = _BEFORE_NAME.match(written)
    scheme = match[1].lower() if match else ""
    protocol = SCHEMES.get(scheme)
    if match is None or protocol is None or not protocol.reports_itself or scheme not in probes:
        return None
    if not written.isprintable():
        return None
    named = shown.partition(":")[2].lstrip("/")
    return SiteUrl(f"{scheme}:{written[match.end() :]}", f"{scheme}:{named}", scheme, ())


@dataclass(frozen=True, slots=True)
class _Quote:
    """Quotes a part of the URL in a message, unless secrets may be in it."""

    hidden: bool

    def __call__(self, part: str) -> str:
        return "" if self.hidden else f" {part!r}"


def _split_scheme(written: str, probes: Mapping[str, ProbeKind], quote: _Quote) -> tuple[str, str]:
    if not written.isprintable() or " " in written:
        raise ValueError("holds a space or a control character; write %20 for a space")
    match = _SCHEME.match(written)
    if not match:
        bare = re.sub(r"^(?:[A-Za-z]+:)?/+", "", written)
        example = "https://example.com" if quote.hidden or not bare else _guess(bare, probes)
        raise ValueError(f"has no scheme; write {example}")
    scheme = match[1].lower()
    if scheme not in probes:
        if quote.hidden:
            raise ValueError(f"unknown scheme; choose from {', '.join(probes)}")
        raise ValueError(unknown(f"scheme {scheme!r}", scheme, probes))
    return scheme, written[match.end() :]


def _guess(bare: str, probes: Mapping[str, ProbeKind]) -> str:
    """Return the URL that was probably meant if the scheme is missing, judged by the port."""
    if readings := _in_brackets(bare):
        bare = readings[-1]
    found = _PORT.match(bare)
    scheme = _WEB_PORTS.get(found[1], "tcp") if found else "https"
    return f"{scheme if scheme in probes else 'https'}://{bare}"


def _in_brackets(written: str) -> tuple[str, ...]:
    """
    Return what an IPv6 address without brackets may mean: an address, or an address and a port.

        ::1              [::1]
        2001:db8::1:53   [2001:db8::1:53], [2001:db8::1]:53
        shop:443         nothing
    """
    before, _, port = written.rpartition(":")
    readings = [f"[{written}]"] if is_ipv6(written) else []
    if is_port(port) and is_ipv6(before):
        readings.append(f"[{before}]:{port}")
    return tuple(readings)


def _check_port(netloc: str, quote: _Quote) -> None:
    _, _, host_and_port = netloc.rpartition("@")
    after = host_and_port.rpartition("]")[2]
    if ":" not in after:
        return
    if readings := _in_brackets(host_and_port):
        shown = f"; write {listed(readings, 'or')}" if not quote.hidden else ""
        raise ValueError(f"an IPv6 address must stand in brackets{shown}")
    port = after.partition(":")[2]
    if not is_port(port):
        raise ValueError(f"the port{quote(port)} must be a number from 1 to {LARGEST_PORT}")


def _ascii_host(host: str, quote: _Quote) -> str:
    if not host:
        raise ValueError("has no host; write https://example.com")
    if ":" in host:
        return _ipv6(host, quote)
    try:
        ascii_host = host if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"the host{quote(host)} is not a valid international name") from error
    if not is_host(ascii_host):
        numbers = ascii_host.removesuffix(".").rpartition(".")[2].isdigit()
        what = "not an IPv4 address" if numbers else "neither a valid name nor an IP address"
        raise ValueError(f"the host{quote(host)} is {what}")
    return ascii_host


def _ipv6(host: str, quote: _Quote) -> str:
    try:
        IPv6Address(host)
    except AddressValueError as error:
        raise ValueError(f"the host{quote(host)} is not an IPv6 address") from error
    return host


def _with_host(url: str, netloc: str, host: str, ascii_host: str) -> str:
    if host == ascii_host:
        return url
    before, at, after = netloc.rpartition("@")
    _, colon, port = after.partition(":")  # without a colon in the host it is not an IPv6 address
    start, end = url.index("://") + 3, url.index("://") + 3 + len(netloc)
    return f"{url[:start]}{before}{at}{ascii_host}{colon}{port}{url[end:]}"


def _check_by_probe(address: SiteUrl, kind: ProbeKind, quote: _Quote) -> None:
    if kind.check_url is None:
        return
    try:
        kind.check_url(address.url)
    except ValueError as error:
        if not quote.hidden:
            raise
        # Its message may quote anything, so it gets the masked URL
        try:
            kind.check_url(address.target)
        except ValueError as shown:
            raise shown from None
        raise ValueError(f"is not a URL that {address.scheme} checks can use") from error
