"""
A connection that libcurl makes and keeps open: bytes both ways, one deadline, limited memory.

It may begin as plain TCP and continue under TLS, as with STARTTLS.
"""

import math
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace, TracebackType
from typing import Self

import pycurl

from monitor.clock import Deadline
from monitor.model import Bytes, Failure, Phase, Reason, Seconds, TlsSession
from monitor.outbound import NetworkOptions, join_address
from monitor.probes.libcurl.errors import code_and_text
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.transfer import CallbackTransfer, Transfer
from monitor.probes.zone import escaped

MOST_RECEIVED: Bytes = 1024 * 1024
"""The most that one check receives from a peer that never stops sending."""
TOO_MUCH = f"more than {MOST_RECEIVED // 1024**2}MiB"
KEPT: Bytes = 4096
"""How many of the last bytes received are kept as evidence."""

_LONGEST_LINE: Bytes = 64 * 1024
_PIECE: Bytes = 16 * 1024


class Broken(Exception):  # noqa: N818  an end, caught by every probe that starts a conversation
    """The conversation cannot continue; carries the failure."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(reason, message)


class Flooded(Exception):  # noqa: N818  an end, as TimeoutError and EOFError are
    """More arrived than is accepted; the text says what: ``a line longer than 64KiB``."""


class Paused(Exception):  # noqa: N818  what a prompt looks like, not an error
    """
    A line has begun, but nothing has followed for a while.

    Attributes:
        text: The part that has arrived.
        take: Accepts it as it is; the time spent waiting for more then counts in no phase.
    """

    def __init__(self, text: bytes, take: Callable[[], None]) -> None:
        super().__init__(text)
        self.text = text
        self.take = take


class Connection:
    """
    One check's connection; lives in one thread, between ``with`` and its end.

    Receiving raises TimeoutError once the deadline has passed, EOFError once the peer has closed
    the connection, and Flooded: only the caller knows what it waited for.

    Attributes:
        phases: Resolve, connect and TLS by libcurl's timers, and those requested with ``timed``.
        address: The IP address that was connected to, or tried last.
        tls: What the handshake showed; None before a handshake.
        received: The last bytes that arrived.
    """

    def __init__(self, handles: Handles, route: Route, deadline: Deadline) -> None:
        self._handles = handles
        self._route = route
        self._deadline = deadline
        self._stack = ExitStack()
        self._transfer: CallbackTransfer | None = None
        self._buffer = bytearray()
        self._total = 0
        self._ended = False
        self._paused_at: Bytes = 0
        self._idle: Seconds = 0.0
        self.phases: dict[Phase, Seconds] = {}
        self.address: str | None = None
        self.tls: TlsSession | None = None
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    # ------------------------------------------------------------ connecting

    def open(self) -> None:
        """
        Connect, with TLS if the route says so.

        Raises:
            Broken: There is no connection, or it cannot be trusted.
            ProbeError: The monitor's system is at fault.
        """
        transfer = self._stack.enter_context(self._handles.lend(self._route, self._deadline))
        failure = self._connect(transfer, self._route)
        self.address = transfer.address
        self.phases.update(transfer.phases())
        if failure:
            raise Broken(failure.reason, failure.message)

    def upgrade(self) -> None:
        """
        Continue under TLS, over the same connection.

        Raises:
            Broken: The handshake failed, or its beginning could be forged.
            ProbeError: The monitor's system is at fault.
        """
        if self._buffer:
            # Someone between us and the peer could have inserted it (CVE-2011-0411)
            message = f"{self.peer} went on in plain text after it had agreed to TLS"
            raise Broken(Reason.TLS_PROTOCOL, message)
        descriptor = self._curl.getinfo(pycurl.ACTIVESOCKET)
        route = replace(self._route, scheme="https", network=NetworkOptions(connect_to=self.peer))
        transfer = self._stack.enter_context(self._handles.lend(route, self._deadline))
        # pycurl duplicates the descriptor that it is given, so that each handle closes its own
        plain = SimpleNamespace(fileno=lambda: descriptor)
        transfer.curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda _purpose, _address: plain)
        transfer.curl.setopt(
            pycurl.SOCKOPTFUNCTION, lambda _socket, _purpose: pycurl.SOCKOPT_ALREADY_CONNECTED
        )
        failure = self._connect(transfer, route)
        self.phases[Phase.TLS] = transfer.phases().get(Phase.TLS, 0.0)
        if failure:
            raise _broken(failure)

    def _connect(self, transfer: CallbackTransfer, route: Route) -> Failure | None:
        for option, value in (
            (pycurl.URL, f"{route.scheme}://{escaped(join_address(route.name, route.port))}/"),
            (pycurl.CONNECT_ONLY, 1),
            (pycurl.FORBID_REUSE, 0),
            (pycurl.SSL_ENABLE_ALPN, 0),  # it would offer HTTP
        ):
            transfer.curl.setopt(option, value)
        failure = transfer.perform()
        self.tls = transfer.tls(failure)
        # The connection is also open if libcurl accepted the certificate and we do not
        self._stack.callback(transfer.hang_up)
        if failure is None:
            self._transfer = transfer
        return failure

    @property
    def _standing(self) -> CallbackTransfer:
        if self._transfer is None:
            raise RuntimeError("there is no connection")
        return self._transfer

    @property
    def _curl(self) -> pycurl.Curl:
        return self._standing.curl

    @property
    def stood(self) -> bool:
        """Whether there was ever a connection."""
        return self._transfer is not None

    @property
    def peer(self) -> str:
        """Address and port that were connected to."""
        return peer_of(self._curl)

    @property
    def local_address(self) -> str:
        """Our own IP address in the peer's network."""
        address: str = self._curl.getinfo(pycurl.LOCAL_IP)
        return address

    @contextmanager
    def timed(self, phase: Phase) -> Iterator[None]:
        """Count the time of the block as this phase, except a TLS handshake and idle pauses."""
        clock = self._deadline.clock
        begin, before = clock.monotonic(), self.phases.get(Phase.TLS, 0.0) + self._idle
        try:
            yield
        finally:
            others = self.phases.get(Phase.TLS, 0.0) + self._idle - before
            self.phases[phase] = max(0.0, clock.monotonic() - begin - others)

    # ------------------------------------------------------------ bytes both ways

    def send_text(self, text: bytes) -> None:
        """
        Send a line; CRLF is added unless it already ends in a line feed.

        Raises:
            TimeoutError, Broken: As in send_bytes().
        """
        self.send_bytes(text if text.endswith(b"\n") else text + b"\r\n")

    def send_bytes(self, data: bytes) -> None:
        """
        Send all of it.

        Raises:
            TimeoutError: The deadline has passed.
            Broken: The connection is lost.
        """
        while data:
            try:
                data = data[self._curl.send(data) :]
            except BlockingIOError:
                wait_for(select.POLLOUT, self._curl, self._deadline)
            except pycurl.error as error:
                raise self._lost(error) from error

    def receive_text(self, *, patience: Seconds = math.inf) -> bytes:
        """
        Return the next line without its end; at the end of the connection also an unfinished one.

        Args:
            patience: The longest time to wait for the rest of a line that has begun.

        Raises:
            Paused: The rest did not arrive; raised once for each amount that has arrived.
            TimeoutError, EOFError, Flooded: There is no line.
            Broken: The connection is lost.
        """
        try:
            return self.receive_until(b"\n", patience=patience)[:-1].removesuffix(b"\r")
        except EOFError:
            if not self._buffer:
                raise
            return self._take(len(self._buffer))

    def receive_until(self, end: bytes, *, patience: Seconds = math.inf) -> bytes:
        """
        Return what arrives up to and including a byte.

        Raises:
            Paused: As in receive_text().
            TimeoutError, EOFError, Flooded: It does not arrive.
            Broken: The connection is lost.
        """
        begin = 0
        while (found := self._buffer.find(end, begin)) < 0:
            begin = len(self._buffer)
            if begin > _LONGEST_LINE:
                raise Flooded(f"a line longer than {_LONGEST_LINE // 1024}KiB")
            self._fill(patience)
        return self._take(found + 1)

    def receive_bytes(self, wanted: bytes, /) -> bytes:
        """
        Return the next bytes, as many as are wanted, or fewer if they already differ.

        Raises:
            TimeoutError, EOFError, Flooded: They do not arrive.
            Broken: The connection is lost.
        """
        while len(self._buffer) < len(wanted) and wanted.startswith(self._buffer):
            self._fill()
        return self._take(len(wanted))

    def receive(self, size: Bytes) -> bytes:
        """
        Return exactly this many bytes.

        Raises:
            TimeoutError, EOFError, Flooded, Broken: As in receive_bytes().
        """
        while len(self._buffer) < size:
            self._fill()
        return self._take(size)

    def unread(self) -> bytes:
        """Return the incomplete text that has arrived but was not returned yet."""
        return bytes(self._buffer)

    def _take(self, size: Bytes) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._paused_at = 0
        return taken

    def _fill(self, patience: Seconds = math.inf) -> None:
        """Take what has arrived, or wait for more."""
        if self._ended:
            raise EOFError
        while not (data := self._receive()):
            self._wait(patience)
        self._total += len(data)
        if self._total > MOST_RECEIVED:
            raise Flooded(TOO_MUCH)
        self._buffer += data
        self.received = (self.received + data)[-KEPT:]

    def _wait(self, patience: Seconds) -> None:
        size = len(self._buffer)
        if size in (0, self._paused_at) or patience == math.inf:
            wait_for(select.POLLIN, self._curl, self._deadline)
            return
        clock = self._deadline.clock
        begin = clock.monotonic()
        if _poll(select.POLLIN, self._curl, min(patience, self._deadline.remaining())):
            return
        waited = clock.monotonic() - begin
        self._paused_at = size

        def take() -> None:
            self._idle += waited
            self._take(size)

        raise Paused(bytes(self._buffer), take)

    def _receive(self) -> bytes:
        """Return available bytes, or nothing; TLS may hold bytes that poll cannot see."""
        if self._deadline.passed():
            raise TimeoutError
        try:
            data: bytes = self._curl.recv(_PIECE)
        except BlockingIOError:
            return b""
        except pycurl.error as error:
            if not is_end(error):
                raise self._lost(error) from error
            data = b""
        if not data:
            self._ended = True
            raise EOFError
        return data

    def _lost(self, error: pycurl.error) -> Broken:
        return lost(self._standing, error)


def peer_of(curl: pycurl.Curl) -> str:
    """Return the address and port that a handle is connected to."""
    port: int = curl.getinfo(pycurl.PRIMARY_PORT)
    return join_address(curl.getinfo(pycurl.PRIMARY_IP), port)


def wait_for(event: int, curl: pycurl.Curl, deadline: Deadline) -> None:
    """
    Wait until a handle's connection can be read from or written to.

    Args:
        event: ``select.POLLIN`` or ``select.POLLOUT``.

    Raises:
        TimeoutError: The deadline has passed.
    """
    if not _poll(event, curl, deadline.remaining()):
        raise TimeoutError


def _poll(event: int, curl: pycurl.Curl, at_most: Seconds) -> bool:
    poll = select.poll()
    poll.register(curl.getinfo(pycurl.ACTIVESOCKET), event)
    return bool(poll.poll(at_most * 1000))


def is_end(error: pycurl.error) -> bool:
    """Return whether the peer closed the connection; many do so without close_notify."""
    code, text = code_and_text(error)
    return code == pycurl.E_GOT_NOTHING or "unexpected eof" in text


def lost(transfer: Transfer, error: pycurl.error) -> Broken:
    """
    Return what an error of an established connection means.

    Raises:
        ProbeError, pycurl.error: As in Transfer.failure().
    """
    return _broken(transfer.failure(error))


def _broken(failure: Failure) -> Broken:
    # libcurl reports a reset as a failed connect here, although the connection was established
    reset = failure.reason is Reason.CONNECT_RESET
    return Broken(Reason.CONNECTION_LOST if reset else failure.reason, failure.message)
