"""
Detects when this machine itself runs out of a resource: descriptors, memory, local ports, threads.

A shortage says nothing about a site, so code that meets one raises ProbeError.
"""

import errno
import os
import socket
import threading

from monitor.errors import ProbeError
from monitor.probes.zone import socket_address

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN})
"""Errors of a socket that is opened, connected or sent from. EAGAIN: no port for datagrams."""
SHORTAGE_TEXTS = frozenset(map(os.strerror, SHORTAGES - {errno.EAGAIN}))
"""The messages of those errors that opening a socket may raise."""

_NO_PORT_LEFT = "no local port is left"


def lack(error: OSError) -> str:
    """Return the resource that an error of a datagram socket says is missing."""
    ports = error.errno in (errno.EAGAIN, errno.EADDRINUSE)
    return _NO_PORT_LEFT if ports else os.strerror(error.errno or 0)


def check_ports(number: int, address: str, peer: str) -> None:
    """
    Find why a connection got EADDRNOTAVAIL: no local port was left, or no source address.

    Linux reports the latter if this machine has no address of that IP version.

    Raises:
        ProbeError: No local port was left.
    """
    if number == errno.EADDRNOTAVAIL and _has_address_for(address):
        raise ProbeError(
            f"no local port is left for a connection to {peer}; see net.ipv4.ip_local_port_range"
        )


def _has_address_for(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(socket_address(address, 9))  # nothing is sent
    except OSError as error:
        return error.errno in SHORTAGES  # the datagram ports are used up as well
    return True


def check_look_ups(host: str) -> None:
    """
    Check that this machine can make look-ups, after one that failed or did not end.

    getaddrinfo and libcurl's threads report a shortage as if a server had not answered.

    Raises:
        ProbeError: It cannot make look-ups.
    """
    try:
        threading.Thread(target=_end_at_once, name="look-up", daemon=True).start()
    except RuntimeError as error:
        raise ProbeError(f"cannot look up {host}: no thread can be started") from error
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", 0))
    except OSError as error:
        raise ProbeError(f"cannot look up {host}: {lack(error)}") from error


def _end_at_once() -> None:
    """Do nothing."""
