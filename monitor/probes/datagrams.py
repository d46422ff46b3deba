"""What the probes over datagrams share: when exactly a reply arrived."""

import socket
import struct
from collections.abc import Iterable

from monitor.model import Bytes, Seconds, Timestamp

# From asm-generic/socket.h; the socket module has no name for it
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")

ANCILLARY_SPACE: Bytes = 512
"""What recvmsg needs for everything that we ask the kernel to send along."""


def request_stamps(sock: socket.socket) -> None:
    """Have the kernel note when each datagram arrives."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def round_trip(
    ancillary: Iterable[tuple[int, int, bytes]], sent: Timestamp, at_most: Seconds
) -> Seconds:
    """
    Return how long a reply took, from what recvmsg brought with it.

    Our clock is read when the thread gets its turn, which with many threads is milliseconds late;
    the kernel's stamp is exact. It is by the wall clock, so it holds only where it fits into the
    time that has passed on the monotonic clock: nobody may have set the wall clock in between.

    Args:
        sent: When the request left, by the wall clock.
        at_most: The time since then on the monotonic clock.
    """
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            stamped: Seconds = seconds - sent + nanoseconds / 1e9
            return stamped if 0 <= stamped <= at_most else at_most
    return at_most
