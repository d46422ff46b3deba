"""
The ICMP probe: echo requests to one host, over IPv4 or IPv6 (Linux).

icmplib opens the sockets and sends. This module reads the replies: icmplib's ``receive`` waits on
the wall clock, for one packet at a time, and never reads the kernel's error queue, where
"destination unreachable" arrives for an unprivileged socket.
"""

import ctypes
import os
import select
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from icmplib import (
    ICMPReply,
    ICMPRequest,
    ICMPv4Socket,
    ICMPv6Socket,
)
from icmplib.exceptions import (
    ICMPError,
    ICMPSocketError,
    SocketAddressError,
    SocketPermissionError,
)
from icmplib.utils import unique_identifier

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import (
    Bytes,
    Failure,
    IcmpAnswer,
    Observation,
    Phase,
    Reason,
    Seconds,
    Site,
    Timestamp,
)
from monitor.options import Duration, option, show_duration, size, whole
from monitor.outbound import NetworkOptions, split_address
from monitor.probes.datagrams import (
    ANCILLARY_SPACE,
    request_stamps,
    round_trip,
)
from monitor.probes.family import ip_choice, ip_version
from monitor.probes.guard import refusal
from monitor.probes.resolve import Resolver
from monitor.probes.shortage import SHORTAGES
from monitor.probes.zone import host_of, socket_address, zone_index

_MOST_PACKETS = 100
_LARGEST_PAYLOAD: Bytes = 65_507  # the room in an IPv4 packet of 65,535 bytes
_LARGEST_TTL = 255
_Payload = Annotated[Bytes, size(0, _LARGEST_PAYLOAD)]


@dataclass(frozen=True, slots=True)
class _Kernel:
    """
    Linux' constants for one IP version; the socket module has few of them.

    Attributes:
        header_length: The instruction of a socket filter that loads the header length into X.
        offender: Offset and length of the address in an error.
    """

    level: int
    receive_errors: int
    receive_hop_limit: int
    hop_limit: int
    discover_mtu: int
    header_length: tuple[int, int, int, int]
    echo_reply: int
    error_origin: int
    offender: tuple[int, int]


# From linux/in.h, in6.h, icmp.h, icmpv6.h and errqueue.h
_KERNEL = {
    4: _Kernel(
        level=socket.IPPROTO_IP,
        receive_errors=11,
        receive_hop_limit=12,
        hop_limit=socket.IP_TTL,
        discover_mtu=10,
        header_length=(0xB1, 0, 0, 0),  # X = 4 * (packet[0] & 15)
        echo_reply=0,
        error_origin=2,
        offender=(20, 4),
    ),
    6: _Kernel(
        level=socket.IPPROTO_IPV6,
        receive_errors=25,
        receive_hop_limit=socket.IPV6_RECVHOPLIMIT,
        hop_limit=socket.IPV6_HOPLIMIT,
        discover_mtu=23,
        header_length=(0x01, 0, 0, 0),  # X = 0: raw IPv6 sockets get no IP header
        echo_reply=129,
        error_origin=3,
        offender=(24, 16),
    ),
}
_ATTACH_FILTER = 26
_PMTUDISC_DO = 2
_EXTENDED_ERROR = struct.Struct("=IBBB")  # errno, origin, type, code; more follows
_INT = struct.Struct("@i")
_HEADER: Bytes = 8
_LARGEST_IP_HEADER: Bytes = 60

_FORBIDDEN = (
    "this system forbids ICMP: let net.ipv4.ping_group_range cover the group of this process "
    "(sysctl -w net.ipv4.ping_group_range='0 2147483647'), or give it CAP_NET_RAW"
)

_Socket: TypeAlias = Any  # ICMPv4Socket | ICMPv6Socket; icmplib ships no types
_SOCKETS: Mapping[int, Callable[..., _Socket]] = {4: ICMPv4Socket, 6: ICMPv6Socket}


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpOptions:
    count: Annotated[int, whole(1, _MOST_PACKETS)] = option(3, doc="Echo requests per check.")
    interval: Duration = option(
        0.2, doc="From one request to the next; shorter where they would not fit into the timeout."
    )
    size: _Payload = option(56, doc="Payload of each request.")
    ttl: Annotated[int, whole(1, _LARGEST_TTL)] = option(
        64, doc="TTL or hop limit of each request."
    )
    max_loss: float = option(
        0.0, doc="The share of packets that may be lost, from 0 to below 1: 0.2 is one of five."
    )
    dont_fragment: bool = option(
        False, doc="Forbid fragmentation: a packet larger than the path's MTU is lost."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.max_loss < 1:
            raise ValueError(f"max_loss {self.max_loss} is not from 0 to below 1; 20 % is 0.2")


def check_url(url: str) -> None:
    """
    Accept ``icmp://HOST``.

    Raises:
        ValueError: There is no host, or more than a host.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("has no host; write icmp://192.0.2.1")
    if parts.port is not None:
        raise ValueError(f"has a port, {parts.port}, but ICMP has none")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("has more than a host; write icmp://192.0.2.1")


def ping_obstacle(sockets: Mapping[int, Callable[..., _Socket]] = _SOCKETS) -> str | None:
    """Return a sentence naming the setting that forbids pinging; None if pinging is allowed."""
    try:
        _open(sockets[4], None).close()
    except SocketPermissionError:
        return _FORBIDDEN
    except ICMPSocketError:  # no IPv4 or no file descriptor left: no setting would help
        return None
    return None


def _open(make: Callable[..., _Socket], source: str | None) -> _Socket:
    """
    Open a socket without privileges, or else a raw one.

    Raises:
        SocketPermissionError: Neither is allowed.
    """
    try:
        return make(address=source, privileged=False)
    except SocketPermissionError:
        return make(address=source, privileged=True)


class IcmpProbe:
    """
    Sends echo requests and waits for their replies, all within the deadline.

    Args:
        sockets: Functions that open a socket, by IP version; called with ``address``,
            ``privileged``.
    """

    def __init__(
        self,
        resolver: Resolver | None = None,
        sockets: Mapping[int, Callable[..., _Socket]] = _SOCKETS,
    ) -> None:
        self._resolver = resolver or Resolver()
        self._sockets = sockets

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Ping the site's host.

        Raises:
            ProbeError: The system forbids it, lacks the source address, or has no resources left.
        """
        clock = deadline.clock
        time, begin = clock.time(), clock.monotonic()
        network = site.section(NetworkOptions)
        host = _host(site, network)
        found = self._resolver.resolve(host, deadline, ip_choice(network))
        resolved = clock.monotonic()
        if isinstance(found, str):
            found = refusal(network, host, found) or found
        phases = {Phase.RESOLVE: resolved - begin}
        if isinstance(found, Failure):
            return Observation(
                time=time, duration=phases[Phase.RESOLVE], phases=phases, failure=found
            )
        answer, failure = None, None
        try:
            with self._socket(found, network.source_address) as icmp:
                echo = _Echo(icmp, found, site.section(IcmpOptions), deadline)
                echo.run()
            answer, failure = echo.answer(), echo.failure()
            phases[Phase.SETUP] = echo.first_sent - resolved
            if answer.round_trips:
                phases[Phase.RTT] = sum(answer.round_trips) / len(answer.round_trips)
        except _Unreachable as error:
            failure = Failure(Reason.CONNECT_UNREACHABLE, str(error))
        return Observation(
            time=time,
            duration=clock.monotonic() - begin,
            phases=phases,
            address=found,
            failure=failure,
            answer=answer,
        )

    def _socket(self, address: str, source: str | None) -> _Socket:
        version = ip_version(address)
        try:
            return _open(self._sockets[version], source)
        except SocketPermissionError:
            raise ProbeError(_FORBIDDEN) from None
        except SocketAddressError:
            raise ProbeError(f"source_address {source} is not an address of this machine") from None
        except ICMPSocketError as error:
            raise _not_sent(error, address) from error


def _host(site: Site, network: NetworkOptions) -> str:
    if network.connect_to:
        return split_address(network.connect_to)[0]  # there is no port to reach
    return host_of(urlsplit(site.url))


class _Unreachable(Exception):  # noqa: N818  never leaves this file
    """A packet cannot be sent."""


def _not_sent(error: ICMPSocketError, address: str) -> Exception:
    """
    Return the exception for a socket that could not be opened or used.

    icmplib keeps the cause only as the context of its error.
    """
    cause = error.__context__
    if isinstance(cause, OSError) and cause.errno in SHORTAGES:
        return ProbeError(f"no packet could be sent: {cause.strerror}")
    said = cause.strerror if isinstance(cause, OSError) else str(error)
    return _Unreachable(f"{address} cannot be reached: {said}")


class _Echo:
    """
    One check's packets on one socket, for one thread.

    Attributes:
        first_sent: When the first request left.
    """

    def __init__(
        self, icmp: _Socket, address: str, options: IcmpOptions, deadline: Deadline
    ) -> None:
        self._icmp = icmp
        self._sock: socket.socket = icmp.sock
        self._version = ip_version(address)
        self._kernel = _KERNEL[self._version]
        self._address = address
        bare, index = address.partition("%")[0], zone_index(address)
        self._peer = ip_address(bare)
        # icmplib uses getaddrinfo, which knows interface names only for link-local addresses
        self._destination = f"{bare}%{index}" if index else bare
        self._options = options
        self._deadline = deadline
        self._payload = os.urandom(options.size)  # a packet with these bytes is a reply to ours
        self._id = unique_identifier()  # on an unprivileged socket the kernel inserts its own
        # Sequence → when it left: on the monotonic clock, before the call, and on the wall clock,
        # as icmplib recorded it right before the packet left
        self._pending: dict[int, tuple[Seconds, Timestamp]] = {}
        self._sent = 0
        self._round_trips: dict[int, Seconds] = {}
        self._differences: list[str] = []
        self._errors: list[str] = []
        self._hop_limit: int | None = None
        self.first_sent: Seconds = 0.0
        self._set_up()

    def _set_up(self) -> None:
        """Ask the kernel for arrival times, hop limits and ICMP errors, but only our own."""
        sock = self._sock
        request_stamps(sock)
        kernel = self._kernel
        sock.setsockopt(kernel.level, kernel.receive_errors, 1)
        sock.setsockopt(kernel.level, kernel.receive_hop_limit, 1)
        if self._options.dont_fragment:
            sock.setsockopt(kernel.level, kernel.discover_mtu, _PMTUDISC_DO)
        if self._icmp.is_privileged:
            self._hear_own_replies_only()
        try:
            # This also keeps out ICMP errors for packets to other hosts
            sock.connect(socket_address(self._address, 0))
        except OSError as error:
            if error.errno in SHORTAGES:
                raise ProbeError(f"no packet could be sent: {error.strerror}") from error
            raise _Unreachable(f"{self._address} cannot be reached: {error.strerror}") from error

    def _hear_own_replies_only(self) -> None:
        """
        Filter what a raw socket receives, which would be all ICMP traffic of the machine.

        Without the filter, each packet wakes the threads of all running ICMP checks, and with
        hundreds of them the sockets overflow, so that answered packets count as lost.
        """
        # Classic BPF, as in linux/filter.h: code, steps to skip if true and if false, operand
        program = [
            self._kernel.header_length,
            (0x50, 0, 0, 0),  # A = packet[X]: the type
            (0x15, 0, 3, self._kernel.echo_reply),  # equal?
            (0x48, 0, 0, 4),  # A = packet[X + 4 : X + 6]: the id
            (0x15, 0, 1, self._id),  # equal?
            (0x06, 0, 0, 0xFFFFFFFF),  # take all of it
            (0x06, 0, 0, 0),  # take nothing
        ]
        code = ctypes.create_string_buffer(
            b"".join(struct.pack("=HBBI", *step) for step in program)
        )
        self._sock.setsockopt(
            socket.SOL_SOCKET,
            _ATTACH_FILTER,
            struct.pack("@HP", len(program), ctypes.addressof(code)),
        )

    def run(self) -> None:
        """
        Send every request at its time and wait until each is answered, or the deadline passes.

        If 100 packets, 200 ms apart, have only 10 s left, they leave every 100 ms.

        Raises:
            ProbeError: The system has no resources left.
        """
        clock, count = self._deadline.clock, self._options.count
        spacing = min(self._options.interval, self._deadline.remaining() / count)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        begin = clock.monotonic()
        while self._sent < count or self._pending:
            now = clock.monotonic()
            due = begin + self._sent * spacing if self._sent < count else self._deadline.at
            if self._sent < count and now >= due:
                self._send()
                continue
            if now >= self._deadline.at:
                return
            # One message per turn, so that requests leave on time and the deadline holds
            for _, event in poll.poll((due - now) * 1000):
                if event & select.POLLERR:
                    self._read_error()
                if event & select.POLLIN:
                    self._read_reply()

    def _send(self) -> None:
        sequence = self._sent
        request = ICMPRequest(
            self._destination,
            self._id,
            sequence,
            payload=self._payload,
            payload_size=len(self._payload),
            ttl=self._options.ttl,
        )
        now = self._deadline.clock.monotonic()
        self._sent += 1
        try:
            self._icmp.send(request)
        except ICMPSocketError as error:
            problem = _not_sent(error, self._address)
            if isinstance(problem, ProbeError):
                raise problem from error
            self._errors.append(str(problem))
        else:
            self._id = request.id
            self._pending[sequence] = (now, request.time)
        if not sequence:
            self.first_sent = self._deadline.clock.monotonic()

    def _read_reply(self) -> None:
        try:
            packet, ancillary, _, source = self._sock.recvmsg(
                _LARGEST_IP_HEADER + _HEADER + self._options.size + 1,  # to notice longer packets
                ANCILLARY_SPACE,
                socket.MSG_DONTWAIT,
            )
        except OSError:  # nothing there after all, or an error that is in the queue
            return
        now = self._deadline.clock.monotonic()
        if self._version == 4 and self._icmp.is_privileged:  # noqa: PLR2004  IPv4
            packet = packet[(packet[0] & 15) * 4 :]  # raw IPv4 sockets also get the IP header
        if len(packet) < _HEADER or packet[0] != self._kernel.echo_reply:
            return
        identifier, sequence = struct.unpack_from("!HH", packet, 4)
        if identifier != self._id or sequence not in self._pending:  # not ours, or a duplicate
            return
        difference = _difference(self._payload, packet[_HEADER:])
        if difference:
            # Routers truncate echoes, and some fill them with bytes of their own; but then only the
            # address tells whose reply it is
            if ip_address(source[0].partition("%")[0]) != self._peer:
                return
            self._differences.append(difference)
        left, left_by_wall_clock = self._pending.pop(sequence)
        self._round_trips[sequence] = round_trip(ancillary, left_by_wall_clock, now - left)
        for level, kind, value in ancillary:
            if (level, kind) == (self._kernel.level, self._kernel.hop_limit):
                (self._hop_limit,) = _INT.unpack(value)

    def _read_error(self) -> None:
        try:
            packet, ancillary, _, _ = self._sock.recvmsg(
                _HEADER, ANCILLARY_SPACE, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            # An error that was not queued; clear it, or poll would report it forever
            self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            return
        if len(packet) < _HEADER:
            return
        identifier, sequence = struct.unpack_from("!HH", packet, 4)
        if identifier != self._id or sequence not in self._pending:  # another socket's packet
            return
        for level, kind, value in ancillary:
            if (level, kind) == (self._kernel.level, self._kernel.receive_errors):
                del self._pending[sequence]
                self._errors.append(self._explain(value, identifier, sequence))
                return

    def _explain(self, error: bytes, identifier: int, sequence: int) -> str:
        """Return the meaning of an error queue's entry: ``destination host unreachable, …``."""
        number, origin, kind, code = _EXTENDED_ERROR.unpack_from(error)
        if origin != self._kernel.error_origin:  # this machine's own
            return f"{self._address} cannot be reached: {os.strerror(number)}"
        offset, length = self._kernel.offender
        source = str(ip_address(error[offset : offset + length]))
        reply = ICMPReply(source, self._version, identifier, sequence, kind, code, 0, 0)
        try:
            reply.raise_for_status()
        except ICMPError as said:
            text = str(said)
            return f"{text[0].lower()}{text[1:]}, according to {source}"
        raise AssertionError("the error queue holds no echo replies")

    def answer(self) -> IcmpAnswer:
        return IcmpAnswer(
            sent=self._sent,
            received=len(self._round_trips),
            round_trips=tuple(trip for _, trip in sorted(self._round_trips.items())),
            hop_limit=self._hop_limit,
            altered=len(self._differences),
            difference=self._differences[-1] if self._differences else None,
        )

    def failure(self) -> Failure | None:
        """Return why too few packets were answered; None if enough were."""
        if not self._round_trips:
            if self._errors:
                return Failure(Reason.CONNECT_UNREACHABLE, self._errors[-1])
            timeout = show_duration(self._deadline.timeout)
            return Failure(Reason.ICMP_TIMEOUT, f"no reply from {self._address} within {timeout}")
        lost = self._sent - len(self._round_trips)
        if lost - self._options.max_loss * self._sent > 1e-9:  # noqa: PLR2004  rounding of floats
            message = f"{lost} of {self._sent} packets lost"
            if self._errors:
                message += f" ({self._errors[-1]})"
            return Failure(Reason.ICMP_LOSS, message)
        return None


def _difference(sent: bytes, came: bytes) -> str | None:
    """Return how the payload of a reply differs from the request's; None if it does not."""
    if came == sent:
        return None
    if sent.startswith(came):
        return f"cut to {len(came)} of {len(sent)} bytes"
    if came.startswith(sent):
        return f"longer than the {len(sent)} bytes sent"
    size = "" if len(came) == len(sent) else f", {len(came)} instead of {len(sent)} bytes"
    return f"other bytes than those sent{size}"
