"""
Zones of link-local addresses: ``fe80::1`` is reached through an interface, ``fe80::1%eth0``.

Sockets need the interface's number beside the address. libcurl looks the name up by itself, but
continues without a zone if the interface does not exist.
"""

import re
import socket
from contextlib import suppress
from typing import TypeAlias
from urllib.parse import SplitResult

from monitor.errors import ProbeError

_ZONED = re.compile(r"(\[[^%\]]*)%([^\]]*)(\].*)")

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]


def host_of(parts: SplitResult) -> str:
    """Return a URL's host; the zone may be written ``%25eth0`` (RFC 6874) or ``%eth0``."""
    host = parts.hostname or ""
    address, mark, _ = host.partition("%")
    return address + mark + zone_of(host)


def zone_of(host: str) -> str:
    """Return the interface in an address, by name or number; empty if it names none."""
    # Not unquoted as a whole: "%ac1" would be a byte. %25 alone is interface 25
    zone = host.partition("%")[2]
    return zone.removeprefix("25") or zone


def escaped(authority: str) -> str:
    """
    Return ``HOST:PORT`` as it is written in a URL: the zone after ``%25`` (RFC 6874).

    libcurl also accepts a bare ``%``, but an interface whose name begins with two hexadecimal
    digits, such as Calico's ``cali12``, then looks like a byte to it.
    """
    zoned = _ZONED.fullmatch(authority)
    if zoned is None:
        return authority
    return f"{zoned[1]}%25{zoned[2].removeprefix('25') or zoned[2]}{zoned[3]}"


def zone_index(host: str) -> int:
    """
    Return the number of the interface in an address; 0 if it names none.

    Raises:
        ProbeError: This machine has no such interface.
    """
    zone = zone_of(host)
    if not zone:
        return 0
    with suppress(OSError):
        return socket.if_nametoindex(zone)
    with suppress(OSError, OverflowError, ValueError):
        socket.if_indextoname(int(zone))
        return int(zone)
    written = f"{host.partition('%')[0]}%{zone}"
    raise ProbeError(
        f"this machine has no network interface {zone}, which {written} names;"
        " the command ip link lists those it has"
    )


def socket_address(address: str, port: int) -> SocketAddress:
    """
    Return the argument of a socket's ``connect`` for an address with or without a zone.

    Raises:
        ProbeError: This machine has no such interface.
    """
    bare = address.partition("%")[0]
    return (bare, port, 0, zone_index(address)) if ":" in bare else (bare, port)
