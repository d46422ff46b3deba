"""Finds the exact time at which a reply arrived, for all probes over datagrams."""

import socket
import struct
from collections.abc import Iterable

from monitor.model import Bytes, Seconds, Timestamp

# From asm-generic/socket.h; the socket module has no name for it
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")

ANCILLARY_SPACE: Bytes = 512
"""The space that recvmsg needs for all ancillary data that we request from the kernel."""


def request_stamps(sock: socket.socket) -> None:
    """Make the kernel record when each datagram arrives."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def round_trip(
    ancillary: Iterable[tuple[int, int, bytes]], sent: Timestamp, at_most: Seconds
) -> Seconds:
    """
    Return how long a reply took, from the ancillary data of recvmsg.

    A thread reads the clock only when it gets its turn, with many threads milliseconds late; the
    kernel's stamp is exact. The stamp is from the wall clock, which may have been set in between,
    so it counts only if it fits into the time that has passed on the monotonic clock.

    Args:
        sent: When the request left, on the wall clock.
        at_most: The time since then on the monotonic clock.
    """
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            stamped: Seconds = seconds - sent + nanoseconds / 1e9
            return stamped if 0 <= stamped <= at_most else at_most
    return at_most
