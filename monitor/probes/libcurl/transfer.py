"""
One libcurl transfer: made for a route under a deadline, and what it received.

There is one interface, ``Transfer``, with two implementations. A ``CallbackTransfer`` passes data
to Python functions as it arrives; each of them can end the transfer. A ``SilentTransfer`` was made
by libcurl alone (see ``silent``), and passes on everything when it is over.

Times come from libcurl's own timers, never from a clock around a call, which would include waiting
for the interpreter's lock.
"""

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from sys import intern
from typing import Any, Protocol

import pycurl

from monitor.clock import Deadline
from monitor.model import Failure, Phase, Reason, Seconds, TlsSession
from monitor.outbound import split_address
from monitor.probes.family import is_address
from monitor.probes.guard import forbidden
from monitor.probes.libcurl.certificates import alternative_names, own_certificates
from monitor.probes.libcurl.errors import DISTRUST, Trouble, code_and_text, unwelcome
from monitor.probes.libcurl.options import set_option
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.silent import LARGEST_BODY, SilentCurl
from monitor.probes.libcurl.times import MICROSECONDS, Asked, Times, phases, read_times
from monitor.probes.libcurl.told import Told
from monitor.probes.libcurl.trust import Context
from monitor.probes.resolve import Resolver
from monitor.probes.zone import zone_index

_VOID = {*DISTRUST, Reason.PROXY_ERROR}
"""Nothing counts that came over a connection that may be anyone's."""


class Sink(Protocol):
    """Receives an answer; each method but ``cut`` may return Transfer.stop() to end it."""

    def take_header(self, line: bytes) -> int | None:
        """Take one line before the body, with its line end; this includes blank lines."""

    def take_headers(self, lines: bytes) -> int | None:
        """Take all lines before the body at once."""

    def take_body(self, chunk: bytes) -> int | None:
        """Take some bytes of the body."""

    def cut(self) -> None:
        """Note that more of the body arrived than is passed on."""


class Transfer(ABC):
    """
    One use of a handle: set up for a route, performed, read.

    Attributes:
        curl: The handle.
        reusable: Whether the handle may be used again. A probe that keeps its connection open
            (CONNECT_ONLY without FORBID_REUSE) must call hang_up() or set this to False: otherwise
            only closing the handle closes that connection.
        lacks_close_notify: Whether the peer ended the connection over TLS without close_notify.
    """

    # The defaults are on the class, because most transfers change none of them
    reusable = True
    lacks_close_notify = False
    _stopped = False
    _failed = False
    _forbidden: str | None = None
    _times: Times = (0, 0, 0, 0, 0)

    curl: Asked

    def __init__(
        self, route: Route, deadline: Deadline, resolver: Resolver, context: Context
    ) -> None:
        self._route = route
        self._deadline = deadline
        self._resolver = resolver
        self._context = context
        self._told = Told()

    # ------------------------------------------------------------ what the two implementations do
    # differently

    @abstractmethod
    def receive(self, sink: Sink) -> Failure | None:
        """
        Perform the transfer, and pass what arrives to the sink.

        Returns:
            The result of perform(); None if the sink already has all it wants.

        Raises:
            ProbeError, pycurl.error: As perform().
        """

    @abstractmethod
    def _run(self) -> None:
        """Make the transfer, and raise pycurl.error if it failed."""

    @abstractmethod
    def _is_asked_for_certificate(self) -> bool:
        """Return whether the server wants one of ours."""

    # ------------------------------------------------------------ making it

    def perform(self) -> Failure | None:
        """
        Make the transfer, until it ends, a callback stops it, or the deadline passes.

        Raises:
            ProbeError: The monitor's system, not the site, is at fault.
            pycurl.error: An error that libcurl should never report; a bug.
        """
        if self._route.misfit:
            self._failed = True
            return self._route.misfit
        zone_index(self._route.contact)
        try:
            self._run()
        except pycurl.error as error:
            if not self._stopped:
                self._failed = True
                self._times = self._read_times()
                failure = self.failure(error)
                return failure if failure.reason in DISTRUST else self._nameless() or failure
        self._times = self._read_times()
        return self._nameless()

    def stop(self) -> int:
        """Return the value that a callback must return to end the transfer without a failure."""
        self._stopped = True
        return -1

    def failure(self, error: pycurl.error) -> Failure:
        """
        Return the meaning of an error of the transfer, or of the handle's ``send`` or ``recv``.

        Raises:
            ProbeError, pycurl.error: As perform().
        """
        code, text = code_and_text(error)
        if code == pycurl.E_OPERATION_TIMEDOUT and not self._times[0]:
            # A resolver thread may still be waiting for the name
            self.reusable = is_address(self._route.contact)
        trouble = Trouble(
            route=self._route,
            deadline=self._deadline,
            resolver=self._resolver,
            curl=self.curl,
            times=self._times,
            told=self._told,
            certificates=self._certificates,
            forbidden=self._forbidden,
            is_asked_for_certificate=self._is_asked_for_certificate,
        )
        failure = trouble.failure(code, text)
        self.lacks_close_notify = trouble.lacks_close_notify
        return failure

    def _nameless(self) -> Failure | None:
        """Return the failure of a certificate that libcurl accepted only for its common name."""
        if self._told.proxy_is_nameless and self._route.proxy and self._route.tls.verify:
            message = (
                f"proxy {self._route.proxy.peer}: its certificate has no subject alternative name, "
                "and the common name does not count (RFC 9525)"
            )
            return Failure(Reason.PROXY_ERROR, message)
        if self._route.scheme != "https" or not self._route.tls.verify or not self._times[2]:
            return None
        chain = self._certificates
        if not chain or alternative_names(chain[0]):
            return None
        # RFC 9525, 2: it does not count, and only libcurl and gRPC still accept it
        message = f"certificate of {self._route.name} has no subject alternative name"
        return Failure(Reason.TLS_WRONG_HOST, message)

    # ------------------------------------------------------------ what was seen

    def _read_times(self) -> Times:
        # After an early failure libcurl sets the timers of steps that were not reached to the end
        answered = not self._failed or bool(self.curl.getinfo(pycurl.HEADER_SIZE))
        return read_times(self.curl, self._route, answered=answered)

    @property
    def duration(self) -> Seconds:
        return self._times[-1] / MICROSECONDS

    def phases(self) -> Mapping[Phase, Seconds]:
        """
        Return how long each phase took that was reached.

        The phase in which a transfer failed lasts until the failure, so the phases always add up to
        the whole wait; ``processing`` runs from the ready connection to the first byte.
        """
        return phases(self._times, self._route, failed=self._failed)

    @property
    def address(self) -> str | None:
        """The IP address that was connected to, or tried last."""
        connected: str = self.curl.getinfo(pycurl.PRIMARY_IP)
        if connected or not self._told.tried:
            return connected or None
        return split_address(self._told.tried)[0]

    @property
    def asked_for_certificate(self) -> bool:
        """Whether the server asked for one of our certificates."""
        return self._told.asked_for_certificate

    def unwelcome(self, why: str) -> Failure:
        """Return the failure of a server that accepts only clients with a certificate it trusts."""
        return unwelcome(self._route, self._told.tried or self._route.peer, why)

    def tls(self, failure: Failure | None) -> TlsSession | None:
        """Return what the handshake showed; None if it showed nothing."""
        reason = failure.reason if failure else None
        # libcurl keeps the certificates of the last handshake
        is_proxys = self._told.is_at_proxy and reason not in DISTRUST
        if self._route.scheme != "https" or is_proxys or reason is Reason.PROXY_ERROR:
            return None
        tls = self._route.tls
        suite = self._told.suite
        # Interned, because the same intermediates come with the chains of many sites
        chain = tuple(intern(one["Cert"]) for one in self._certificates if "Cert" in one)
        refused = reason is Reason.TLS_CLIENT_CERTIFICATE
        if not (chain or suite or refused):
            return None
        version, cipher = suite or (None, None)
        verified, verdict = None, 0
        if tls.verify:
            if reason in DISTRUST:
                verified = False
                verdict = self.curl.getinfo(pycurl.SSL_VERIFYRESULT)
            elif suite:
                verified = True
        trust = self._context.trust if verified else None
        return TlsSession(
            version=version,
            cipher=cipher,
            chain=chain,
            verified=verified,
            verdict=verdict,
            authorities=trust.path if trust else None,
            stamp=trust.stamp if trust else None,
            client=own_certificates(tls.cert_file) if tls.cert_file else (),
            legacy=tls.legacy,
            server_name=self._route.name if self._route.name != self._route.host else None,
        )

    @cached_property
    def _certificates(self) -> list[dict[str, str]]:
        """The certificates that the server sent; known once the transfer is over."""
        return [dict(one) for one in self.curl.getinfo(pycurl.INFO_CERTINFO)]


class CallbackTransfer(Transfer):
    """
    A transfer that passes data on as it arrives.

    Attributes:
        curl: The handle; set what the protocol needs before perform().
    """

    curl: pycurl.Curl
    _opened: tuple[socket.socket, ...] = ()

    def __init__(
        self,
        curl: pycurl.Curl,
        route: Route,
        deadline: Deadline,
        resolver: Resolver,
        context: Context,
    ) -> None:
        """Take a handle on which the route's options are already set."""
        super().__init__(route, deadline, resolver, context)
        self.curl = curl
        curl.setopt(pycurl.TIMEOUT_MS, deadline.milliseconds())
        curl.setopt(pycurl.VERBOSE, 1)
        curl.setopt(pycurl.DEBUGFUNCTION, self._told.note)
        if route.is_guarded:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_if_allowed)

    def receive(self, sink: Sink) -> Failure | None:
        self.curl.setopt(pycurl.HEADERFUNCTION, sink.take_header)
        self.curl.setopt(pycurl.WRITEFUNCTION, sink.take_body)
        return self.perform()

    def hang_up(self) -> None:
        """
        Close the connection that CONNECT_ONLY keeps open; nothing can be read from the handle then.

        The handle stays, with the authorities that it has loaded.
        """
        # libcurl has no call for this. But a handle that has received data is tied to its
        # connection, and releases it before the next transfer, even before one that has no URL.
        with suppress(BlockingIOError, pycurl.error):
            self.curl.recv(1)
        self.curl.reset()
        with suppress(pycurl.error):
            self.curl.perform()

    def _run(self) -> None:
        try:
            self.curl.perform()
        finally:
            for one in self._opened:
                one.close()

    def _open_if_allowed(self, _purpose: int, to: Any) -> socket.socket | int:
        """Return a socket for an address that libcurl is about to connect to, if it may."""
        refused: int = pycurl.SOCKET_BAD
        self._forbidden = forbidden(self._route.network, self._route.contact, to.addr[0])
        if self._forbidden:
            return refused
        try:
            opened = socket.socket(to.family, to.socktype, to.protocol)
        except OSError as error:
            self._told.shortage = os.strerror(error.errno or 0)
            return refused
        self._opened = (*self._opened, opened)  # pycurl duplicates it
        return opened

    def _is_asked_for_certificate(self) -> bool:
        return self._told.asked_for_certificate


class SilentTransfer(Transfer):
    """A transfer that a silent handle has already made; perform() says how it ended."""

    curl: SilentCurl
    _tells = True
    """Whether libcurl was told to write its verbose text."""

    def __init__(
        self,
        curl: SilentCurl,
        route: Route,
        deadline: Deadline,
        resolver: Resolver,
        context: Context,
    ) -> None:
        super().__init__(route, deadline, resolver, context)
        self.curl = curl
        if route.is_plain:
            self._tells = False
            self._told.tried = route.peer

    def receive(self, sink: Sink) -> Failure | None:
        failure = self.perform()
        enough = sink.take_headers(self.curl.headers) or sink.take_body(self.curl.body)
        if enough and not (failure and failure.reason in _VOID):
            failure = None
        if len(self.curl.body) > LARGEST_BODY:
            sink.cut()
        return failure

    def _run(self) -> None:
        try:
            self._finish()
        finally:
            if self._tells:
                for line in self.curl.told():
                    self._told.take(line)

    def _finish(self) -> None:
        try:
            self.curl.outcome()
        except pycurl.error as error:
            if self._tells or not self._lacked_socket(error):
                raise
            self._try_again()

    def _lacked_socket(self, error: pycurl.error) -> bool:
        # Otherwise the system's error is that of the connection, and says how the site is
        refused = error.args[0] == pycurl.E_COULDNT_CONNECT
        return refused and not self.curl.getinfo(pycurl.OS_ERRNO)

    def _try_again(self) -> None:
        # Only the verbose text shows which resource is exhausted; the site was not contacted yet
        self._tells = True
        self.curl.setopt(pycurl.VERBOSE, 1)
        self.curl.setopt(pycurl.TIMEOUT_MS, self._deadline.milliseconds())
        try:
            self.curl.perform()
        finally:
            self.curl.setopt(pycurl.VERBOSE, 0)

    def _is_asked_for_certificate(self) -> bool:
        if self._times[1] and self._route.scheme == "https":
            self._shake_hands_again()
        return self._told.asked_for_certificate

    def _shake_hands_again(self) -> None:
        """
        Make one more handshake with a server that broke off, and send no request.

        libcurl reports handshake messages only to callbacks; see its ossl_trace().
        """
        curl = pycurl.Curl()
        context = self._context.again()
        options = (
            *self._route.options,
            *context.options(legacy=self._route.is_legacy),
            (pycurl.URL, self.curl.getinfo(pycurl.EFFECTIVE_URL)),
            (pycurl.CONNECT_ONLY, 1),
            (pycurl.TIMEOUT_MS, self._deadline.milliseconds()),
            (pycurl.DEBUGFUNCTION, self._told.note),
        )
        try:
            for option, value in options:
                set_option(curl, option, value)
            with suppress(pycurl.error):
                curl.perform()
        finally:
            curl.close()
