"""
One connection by libcurl: a handle, its options, its phases, and what its errors mean.

Every probe over TCP or TLS goes through here. ``Handles.lend`` gives a ``Transfer`` whose handle is
set up for one route and one deadline; the probe adds what its protocol needs with ``setopt``, calls
``perform``, and reads phases, address and handshake. Times come from libcurl's own timers, never
from a clock around a call: the interpreter's lock would be in them.
"""

import errno
import math
import os
import re
import socket
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import pycurl
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import Failure, Phase, Reason, Seconds, TlsSession
from monitor.options import show_duration
from monitor.probes.ciphers import iana_name
from monitor.probes.family import ip_choice, is_address, misfit
from monitor.probes.guard import GuardedNetwork, forbidden
from monitor.probes.libcurl.silent import (
    OLD_RENEGOTIATION,
    OUT_OF_MEMORY,
    Options,
    SilentCurl,
    set_option,
)
from monitor.probes.options import NetworkOptions, TlsOptions, join_address, split_address
from monitor.probes.resolve import Resolver, timed_out
from monitor.probes.shortage import SHORTAGE_TEXTS, SHORTAGES, check_look_ups, check_ports
from monitor.probes.zone import zone_index

# Options and error codes of libcurl that pycurl has no names for
_QUIC_NOT_SENT = b"sendmsg() returned -1 (errno "
_QUICK_EXIT = 322
_E_HTTP2_STREAM = 92
_E_HTTP3 = 95
_E_QUIC_CONNECT = 96
_E_PROXY = 97
_E_SSL_CLIENTCERT = 98
_E_UNRECOVERABLE_POLL = 99
_E_TOO_LARGE = 100

MICROSECONDS = 1_000_000
PROXY_LOGIN = 407
_IDLE: Seconds = 60.0
_LOOK: Seconds = 1.0
"""So long nobody looks for idle handles again where there was none."""
_NEVER = 2**31 - 1  # milliseconds
_SAN = re.compile(r"(?:^|, )(?:DNS|IP Address):([^,\s]+)")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\n?")
_MOST_OWN_CERTIFICATES = 10
_MOST_NAMES = 3
_LONGEST_NAME = 100
_TLS_VERSIONS = {
    "1.0": (pycurl.SSLVERSION_TLSv1_0, pycurl.SSLVERSION_MAX_TLSv1_0),
    "1.1": (pycurl.SSLVERSION_TLSv1_1, pycurl.SSLVERSION_MAX_TLSv1_1),
    "1.2": (pycurl.SSLVERSION_TLSv1_2, pycurl.SSLVERSION_MAX_TLSv1_2),
    "1.3": (pycurl.SSLVERSION_TLSv1_3, pycurl.SSLVERSION_MAX_TLSv1_3),
}
_IP = {"auto": pycurl.IPRESOLVE_WHATEVER, "4": pycurl.IPRESOLVE_V4, "6": pycurl.IPRESOLVE_V6}

# Where distributions keep the bundle of the authorities they trust
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)


@cache
def trust_store() -> str:
    """Return the PEM file of the authorities the system trusts, or certifi's where it has none."""
    # Not .cafile: that one follows SSL_CERT_FILE, and the environment is to have no effect
    for path in (ssl.get_default_verify_paths().openssl_cafile, *_BUNDLES):
        if Path(path).is_file():
            return path
    return DEFAULT_CA_BUNDLE_PATH


@lru_cache(maxsize=4096)
def shared(options: Options) -> Options:
    """Return the one object for all equal options: a hundred thousand sites have a few."""
    return options


@dataclass(frozen=True, slots=True)
class Proxy:
    """
    A proxy, its credentials apart.

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
    def refusal(self) -> str:
        """What its status 407 means, as a clause."""
        what = "wants a login" if self.username is None else "does not accept the login in its URL"
        return f"it {what} (status {PROXY_LOGIN})"

    @classmethod
    def parse(cls, text: str) -> "Proxy":
        """
        Return the proxy of ``http://user:password@proxy.internal:3128``.

        Raises:
            ValueError: The scheme is no proxy's, or there is no host.
        """
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https", "socks4", "socks4a", "socks5", "socks5h"):
            raise ValueError("proxy must be an http, https, socks4, socks5 or socks5h URL")
        if not parts.hostname:
            raise ValueError("proxy has no host")
        address = parts.netloc.rpartition("@")[2]
        username = unquote(parts.username) if parts.username is not None else None
        password = unquote(parts.password) if parts.password is not None else None
        return cls(f"{parts.scheme}://{address}", username, password)


@dataclass(frozen=True)
class Route:
    """
    Where to connect, and how; what follows from that is worked out once for each record.

    Attributes:
        scheme: ``http`` for a plain connection, ``https`` for TLS.
        host: The name or address, an IPv6 one without brackets.
        pinned: Whether ``tls.server_name`` and ``network.connect_to`` hold here: they are about the
            site's own host, not about one it redirects to.
    """

    scheme: str
    host: str
    port: int
    tls: TlsOptions
    network: NetworkOptions
    proxy: Proxy | None = None
    pinned: bool = True

    @cached_property
    def peer(self) -> str:
        """The address that is connected to, for messages."""
        return join_address(*self.destination)

    @cached_property
    def destination(self) -> tuple[str, int]:
        if self.pinned and self.network.connect_to:
            return split_address(self.network.connect_to)
        return self.host, self.port

    @property
    def contact(self) -> str:
        """The host whose address is looked up and connected to: the proxy's, where there is one."""
        return self.proxy.host if self.proxy else self.destination[0]

    @property
    def name(self) -> str:
        """What the certificate must cover."""
        return (self.pinned and self.tls.server_name) or self.host

    @property
    def is_tunnelled(self) -> bool:
        """Whether an HTTP proxy is asked, by CONNECT, for a connection to the site."""
        if self.proxy is None or not self.proxy.speaks_http:
            return False
        return self.scheme == "https" or self._is_redirected

    @property
    def _is_redirected(self) -> bool:
        """Whether the connection leads elsewhere than the URL; libcurl needs a tunnel for that."""
        return self.pinned and bool(self.network.connect_to or self.tls.server_name)

    @cached_property
    def trust(self) -> str | None:
        """The file of authorities, None where none are needed."""
        secure = self.scheme == "https" or (self.proxy and self.proxy.url.startswith("https:"))
        return (self.tls.ca_file or trust_store()) if secure and self.tls.verify else None

    @cached_property
    def misfit(self) -> Failure | None:
        """Why its address cannot be reached by the IP version asked for, None where it can."""
        # libcurl chooses among the addresses of names alone
        return misfit(self.contact, ip_choice(self.network))

    @property
    def is_guarded(self) -> bool:
        """Whether each address must be asked about before it is connected to."""
        return isinstance(self.network, GuardedNetwork)

    @cached_property
    def is_plain(self) -> bool:
        """Whether an address and no name is connected to, itself and without TLS."""
        special = self.trust or self.proxy or self.scheme == "https"
        return not special and is_address(self.contact)

    @cached_property
    def options(self) -> Options:
        """What is set on a handle for this route, whatever is sent over it."""
        options: list[tuple[int, Any]] = [
            (_QUICK_EXIT, 1),  # or closing waits for the thread of a resolver that hangs
            (pycurl.NOSIGNAL, 1),
            (pycurl.FRESH_CONNECT, 1),
            (pycurl.FORBID_REUSE, 1),
            (pycurl.DNS_CACHE_TIMEOUT, 0),
            (pycurl.IPRESOLVE, _IP[self.network.ip]),
            # Empty is not unset: unset, libcurl asks the environment
            (pycurl.PROXY, self.proxy.url if self.proxy else ""),
            (pycurl.NOPROXY, ""),
            (pycurl.CONNECTTIMEOUT_MS, _NEVER),  # or libcurl's own limit holds beside the deadline
            # A plain one has little to tell, and telling takes a tenth of such a transfer
            (pycurl.VERBOSE, not self.is_plain),
        ]
        if self.proxy and self.proxy.username is not None:
            options.append((pycurl.PROXYUSERNAME, self.proxy.username))
            options.append((pycurl.PROXYPASSWORD, self.proxy.password or ""))
        if self.network.source_address:
            options.append((pycurl.INTERFACE, f"host!{self.network.source_address}"))
        if self._is_redirected:
            there = join_address(*self.destination)
            place = f"{join_address(self.name, self.port)}:{there}"
            options.append((pycurl.CONNECT_TO, (place.encode(),)))
        if self.scheme == "https" or self.trust:
            options += _tls_options(self)
        # Credentials of a proxy may hold any character; pycurl's own encoding is ASCII
        return shared(
            tuple(
                (option, value.encode() if isinstance(value, str) else value)
                for option, value in options
            )
        )


Times: TypeAlias = tuple[int, int, int, int, int]
"""When name, connection, TLS, first byte and end came, in microseconds from the start; what never
came is 0."""
_PHASES = (Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING, Phase.TRANSFER)


def read_times(curl: Any, route: Route, *, answered: bool = True) -> Times:
    """Return the times of a handle's last transfer; without an answer there was no first byte."""
    getinfo = curl.getinfo
    return (
        getinfo(pycurl.NAMELOOKUP_TIME_T),
        getinfo(pycurl.CONNECT_TIME_T),
        getinfo(pycurl.APPCONNECT_TIME_T) if route.scheme == "https" else 0,
        getinfo(pycurl.STARTTRANSFER_TIME_T) if answered else 0,
        getinfo(pycurl.TOTAL_TIME_T),
    )


def phases(times: Times, route: Route, *, failed: bool = False) -> Mapping[Phase, Seconds]:
    """Return how long each phase took that was reached; see Transfer.phases()."""
    found: dict[Phase, Seconds] = {}
    begin = 0
    for phase, mark in zip(_PHASES, times, strict=True):
        if mark:
            found[phase] = (mark - begin) / MICROSECONDS if mark > begin else 0.0
            begin = mark
        elif phase is not Phase.TLS or route.scheme == "https":
            if failed:  # else a connection alone was wanted
                found[phase] = max(0, times[-1] - begin) / MICROSECONDS
            break
    return found


class Transfer:
    """
    One use of a curl handle: set up for a route, performed, read.

    Attributes:
        curl: The handle; set what the protocol needs before perform(). A SilentCurl where the
            transfer was made by one.
        reusable: Whether the handle may serve again. A probe that keeps its connection open
            (CONNECT_ONLY without FORBID_REUSE) must call hang_up() or set this to False: only
            closing the handle closes that connection otherwise.
        asked_for_certificate: Whether the server was seen to want one of ours.
        lacks_close_notify: Whether the peer ended the connection without saying so over TLS.
    """

    # What most transfers leave as it is
    reusable = True
    lacks_close_notify = False
    _is_over = False
    _stopped = False
    _failed = False
    _tells = True
    _tried = ""
    _shortage = ""
    _forbidden: str | None = None
    _opened: tuple[socket.socket, ...] = ()
    asked_for_certificate = False
    _tls_words = ""
    _quic_errno = 0
    _suite: tuple[str, str] | None = None
    _times = (0, 0, 0, 0, 0)

    def __init__(
        self,
        curl: "_Curl",
        route: Route,
        deadline: Deadline,
        resolver: Resolver,
    ) -> None:
        """
        Take a handle on which the route's options are set already.

        Args:
            curl: A SilentCurl has made its transfer already; perform() tells how that ended.
        """
        self.curl: Any = curl  # pycurl has no types
        self._route = route
        self._deadline = deadline
        self._resolver = resolver
        if isinstance(curl, SilentCurl):
            self._is_over = True
            if route.is_plain:
                self._tells = False
                self._tried = route.peer
            return
        curl.setopt(pycurl.TIMEOUT_MS, deadline.milliseconds())
        curl.setopt(pycurl.VERBOSE, 1)
        curl.setopt(pycurl.DEBUGFUNCTION, self._note)
        if route.is_guarded:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_if_allowed)

    def _open_if_allowed(self, _purpose: int, to: Any) -> socket.socket | int:
        """Return a socket for an address that libcurl is about to connect to, if it may."""
        bad: int = pycurl.SOCKET_BAD
        self._forbidden = forbidden(self._route.network, self._route.contact, to.addr[0])
        if self._forbidden:
            return bad
        try:
            opened = socket.socket(to.family, to.socktype, to.protocol)
        except OSError as error:
            self._shortage = os.strerror(error.errno or 0)
            return bad
        self._opened = (*self._opened, opened)  # pycurl duplicates it
        return opened

    def _note(self, kind: int, line: bytes) -> None:
        """Keep what libcurl tells in its verbose text alone: the address tried, the suite, …"""
        if kind != pycurl.INFOTYPE_TEXT:
            return
        if line.startswith(b"  Trying "):
            # A link-local address is followed by its zone: "[fe80::1]:80 scope_id=2..."
            self._tried = line[9:-4].decode("ascii", "replace").partition(" ")[0]
        elif line.startswith(b"failed to open socket: "):
            self._shortage = line[23:-1].decode("ascii", "replace")
        elif line.startswith(b"TLS") and b"(IN), TLS handshake, Request CERT" in line:
            self.asked_for_certificate = True
        elif line.startswith(b"SSL: "):  # of a failure over QUIC, the error itself says less
            self._tls_words = line[5:-1].decode("ascii", "replace")
        elif line.startswith(_QUIC_NOT_SENT):
            self._quic_errno = int(line[len(_QUIC_NOT_SENT) :].partition(b")")[0])
        elif line.startswith(b"SSL connection using "):
            version, _, rest = line[21:].decode("ascii", "replace").partition(" / ")
            self._suite = (version, rest.partition(" / ")[0].strip())

    def perform(self) -> Failure | None:
        """
        Run the handle until the transfer ends, a callback stops it, or the deadline passes.

        Raises:
            ProbeError: The monitor's system, not the site, is at fault.
            pycurl.error: libcurl reports what it never should; a bug.
        """
        if self._route.misfit:
            self._failed = True
            return self._route.misfit
        zone_index(self._route.contact)
        try:
            self._run()
        except pycurl.error as error:
            if not self._stopped:
                if not self._tells and self._lacked_socket(error.args[0]):
                    return self._repeat_aloud()
                self._failed = True
                self._times = self._read_times()
                failure = self._failure(*error.args)
                return failure if failure.reason in DISTRUST else self._nameless() or failure
        finally:
            for one in self._opened:
                one.close()
        self._times = self._read_times()
        return self._nameless()

    def _nameless(self) -> Failure | None:
        """Return the failure of a certificate that libcurl took for its common name alone."""
        if self._route.scheme != "https" or not self._route.tls.verify or not self._times[2]:
            return None
        chain = self._certificates
        if not chain or _alternative_names(chain[0]):
            return None
        # RFC 9525, 2: it does not count, and nobody but libcurl and gRPC looks at it any more
        message = f"certificate of {self._route.name} has no subject alternative name"
        return Failure(Reason.TLS_WRONG_HOST, message)

    def _lacked_socket(self, code: int) -> bool:
        # Else the error of the system is that of the connection, and the verdict on the site
        return code == pycurl.E_COULDNT_CONNECT and not self.curl.getinfo(pycurl.OS_ERRNO)

    def _repeat_aloud(self) -> Failure | None:
        # Only what libcurl tells shows what we are short of; the site was not asked yet
        self._tells = True
        self.curl.setopt(pycurl.VERBOSE, 1)
        self.curl.setopt(pycurl.TIMEOUT_MS, self._deadline.milliseconds())
        try:
            return self.perform()
        finally:
            self.curl.setopt(pycurl.VERBOSE, 0)

    def _run(self) -> None:
        try:
            if self._is_over:
                self._is_over = False
                self.curl.outcome()
            else:
                self.curl.perform()
        finally:
            if self._tells and isinstance(self.curl, SilentCurl):
                for line in self.curl.told():
                    self._note(pycurl.INFOTYPE_TEXT, line)

    def stop(self) -> int:
        """Return what a callback returns in turn, to end the transfer without a failure."""
        self._stopped = True
        return -1

    def hang_up(self) -> None:
        """
        Close the connection that CONNECT_ONLY keeps open; nothing can be read of the handle then.

        The handle stays, with the authorities it has loaded.
        """
        # libcurl has no call for this. But a handle that was received from is tied to its
        # connection, and lets it go before the next transfer, even one that has no URL.
        with suppress(BlockingIOError, pycurl.error):
            self.curl.recv(1)
        self.curl.reset()
        with suppress(pycurl.error):
            self.curl.perform()

    def failure(self, error: pycurl.error) -> Failure:
        """
        Return what an error of the handle's own ``send`` or ``recv`` means.

        Raises:
            ProbeError, pycurl.error: As perform().
        """
        return self._failure(*error.args)

    def _read_times(self) -> Times:
        # On an early failure libcurl sets the timers that were not reached to the end
        answered = not self._failed or bool(self.curl.getinfo(pycurl.HEADER_SIZE))
        return read_times(self.curl, self._route, answered=answered)

    @property
    def duration(self) -> Seconds:
        return self._times[-1] / MICROSECONDS

    def phases(self) -> Mapping[Phase, Seconds]:
        """
        Return how long each phase took that was reached.

        The one in which a transfer failed lasts until the failure, so that the phases always add up
        to what was waited for; ``processing`` runs from the ready connection to the first byte.
        """
        return phases(self._times, self._route, failed=self._failed)

    @property
    def address(self) -> str | None:
        """The IP address that was connected to, or tried last."""
        connected: str = self.curl.getinfo(pycurl.PRIMARY_IP)
        if connected or not self._tried:
            return connected or None
        return split_address(self._tried)[0]

    def tls(self, failure: Failure | None) -> TlsSession | None:
        """Return what the handshake showed, None when it showed nothing."""
        if self._route.scheme != "https":
            return None
        tls = self._route.tls
        chain = tuple(one["Cert"] for one in self._certificates if "Cert" in one)
        unwelcome = failure is not None and failure.reason is Reason.TLS_CLIENT_CERTIFICATE
        if not (chain or self._suite or unwelcome):
            return None
        version, cipher = self._suite or (None, None)
        verified, verdict = None, 0
        if tls.verify:
            if failure and failure.reason in DISTRUST:
                verified = False
                verdict = self.curl.getinfo(pycurl.SSL_VERIFYRESULT)
            elif self._suite:
                verified = True
        return TlsSession(
            version=_tls_version(version) if version else None,
            cipher=iana_name(cipher) if cipher else None,
            chain=chain,
            verified=verified,
            verdict=verdict,
            authorities=self._route.trust if verified else None,
            client=_own_certificates(tls.cert_file) if tls.cert_file else (),
            legacy=tls.legacy,
            server_name=self._route.name if self._route.name != self._route.host else None,
        )

    @cached_property
    def _certificates(self) -> list[dict[str, str]]:
        """What the server sent; to be asked for only once the transfer is over."""
        return [dict(one) for one in self.curl.getinfo(pycurl.INFO_CERTINFO)]

    # ------------------------------------------------------------ what an error means

    def _failure(self, code: int, text: str) -> Failure:
        system = self.curl.getinfo(pycurl.OS_ERRNO) or self._quic_errno
        text = _OPENSSL_PREFIX.sub("", text).removesuffix(", errno 0")
        connected = self._times[1] > 0
        if code in _OUR_FAULT:
            raise ProbeError(_OUR_FAULT[code].format(text=text, route=self._route))
        self._check_shortages(code, text, system)
        if not connected and self._forbidden:
            unsafe = Reason.CONNECT_UNREACHABLE if self._route.pinned else Reason.REDIRECT_UNSAFE
            return Failure(unsafe, self._forbidden)
        if self._route.proxy and self._is_proxys(code, text):
            return self._proxy_failure(code, text, self._route.proxy)
        if not connected and code in _CONNECTING:
            return self._unconnected(text, system)
        self.lacks_close_notify = code == pycurl.E_RECV_ERROR and _UNANNOUNCED_END in text
        return self._by_code(code, text) or self._by_table(code, text)

    def _check_shortages(self, code: int, text: str, system: int) -> None:
        """Raise ProbeError if this machine lacks something, whoever would be blamed otherwise."""
        connected = self._times[1] > 0
        if not connected and self._shortage in SHORTAGE_TEXTS:
            raise ProbeError(f"cannot open a connection: {self._shortage}")
        if system in (errno.ENOBUFS, errno.ENOMEM) or (system in SHORTAGES and not connected):
            raise ProbeError(f"the connection to {self._peer} failed: {os.strerror(system)}")
        if _NO_MEMORY.search(text):
            raise ProbeError(OUT_OF_MEMORY)
        if not connected and self._tried:
            check_ports(system, split_address(self._tried)[0], self._tried)
        if code == pycurl.E_COULDNT_RESOLVE_PROXY and self._route.proxy:
            check_look_ups(self._route.proxy.host)

    def _by_code(self, code: int, text: str) -> Failure | None:
        """Return the failure of a code whose meaning needs more than its text."""
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return self._timeout(text)
        if code == pycurl.E_COULDNT_RESOLVE_HOST:
            host = self._route.destination[0]
            return self._resolver.why_not(host, self._deadline, self._route.network.ip)
        if code == pycurl.E_PEER_FAILED_VERIFICATION:
            ours = text == _ALERT_EXPIRED or not self._route.tls.verify
            return self.unwelcome("it has expired") if ours else self._distrust(text)
        if code in _READING and not self._times[3] and self._was_asked_for_certificate():
            # Whatever broke the connection off (RFC 8446 leaves the alert to the server)
            return self.unwelcome(text)
        reset = code in _READING and _RESET.search(text) and not self._times[3]
        message = f"{self._peer} reset the connection"
        return Failure(Reason.CONNECT_RESET, message) if reset else None

    def unwelcome(self, why: str) -> Failure:
        """Return the failure of a server that goes on with a client certificate it likes alone."""
        ours = self._route.tls.cert_file
        what = "did not accept our client certificate" if ours else "wants a client certificate"
        return Failure(Reason.TLS_CLIENT_CERTIFICATE, f"{self._peer} {what}: {why}")

    def _was_asked_for_certificate(self) -> bool:
        """Return whether the server wants one of ours, if need be by another handshake alone."""
        if isinstance(self.curl, SilentCurl) and self._times[1] and self._route.scheme == "https":
            # Messages of the handshake are told to callbacks only; see ossl_trace() of libcurl
            loud = pycurl.Curl()
            options = (
                (pycurl.URL, self.curl.getinfo(pycurl.EFFECTIVE_URL)),
                (pycurl.CONNECT_ONLY, 1),
                (pycurl.TIMEOUT_MS, self._deadline.milliseconds()),
                (pycurl.DEBUGFUNCTION, self._note),
            )
            for option, value in (*self._route.options, *options):
                set_option(loud, option, value)
            with suppress(pycurl.error):
                loud.perform()
            loud.close()
        return self.asked_for_certificate

    def _by_table(self, code: int, text: str) -> Failure:
        text += self._hint(text)
        for row in _ROWS:
            if code in row.codes and row.pattern.search(text):
                return Failure(row.reason, row.message.format(peer=self._peer, text=text))
        raise pycurl.error(code, text)

    def _hint(self, text: str) -> str:
        """Return the option that lets pass what is refused as too old or too weak, as a clause."""
        tls = self._route.tls
        oldest = (tls.legacy and tls.min_version == "1.0") or not tls.offers_legacy
        if _TOO_OLD.search(text) and not oldest:
            return '; tls.legacy: true with tls.min_version: "1.0" offers older versions'
        if tls.legacy or not tls.offers_legacy:
            return ""
        if _NOTHING_IN_COMMON.search(text):
            return "; for an old device, try tls.legacy: true"
        return "; tls.legacy: true lets it pass" if _TOO_WEAK.search(text) else ""

    @property
    def _peer(self) -> str:
        return self._tried or self._route.peer

    def _timeout(self, text: str) -> Failure:
        resolved, connected, secured, first_byte, _ = self._times
        limit = show_duration(self._deadline.timeout)
        if not resolved and not is_address(self._route.destination[0]):
            self.reusable = False  # its resolver thread still waits
            return timed_out(self._route.destination[0], self._deadline)
        if not connected:
            return Failure(Reason.CONNECT_TIMEOUT, f"no connection to {self._peer} within {limit}")
        after = f"connected after {show_duration(connected / MICROSECONDS)}"
        if self._route.scheme == "https" and not secured:
            message = f"no TLS handshake with {self._peer} within {limit} ({after})"
            return Failure(Reason.TLS_TIMEOUT, message)
        if not first_byte:
            message = f"no answer from {self._peer} within {limit} ({after})"
            return Failure(Reason.READ_TIMEOUT, message)
        got = _AMOUNT.search(text)
        what = f"the answer from {self._peer} was not complete within {limit}"
        begun = f"first byte after {show_duration(first_byte / MICROSECONDS)}"
        message = f"{what} ({begun}{f', {got[0]}' if got else ''})"
        return Failure(Reason.READ_TIMEOUT, message)

    def _unconnected(self, text: str, system: int) -> Failure:
        if system == errno.ECONNREFUSED:
            return Failure(Reason.CONNECT_REFUSED, f"connection to {self._peer} refused")
        if system == errno.ECONNRESET:
            return Failure(Reason.CONNECT_RESET, f"{self._peer} reset the connection")
        if system == errno.ETIMEDOUT:
            return Failure(Reason.CONNECT_TIMEOUT, f"{self._peer} did not answer")
        why = os.strerror(system) if system else text
        return Failure(Reason.CONNECT_UNREACHABLE, f"{self._peer} is unreachable: {why}")

    def _distrust(self, text: str) -> Failure:
        result = self.curl.getinfo(pycurl.SSL_VERIFYRESULT)
        chain = self._certificates
        leaf = chain[0] if chain else {}
        name = self._route.name
        if result == _X509_EXPIRED:
            day = _date(chain, "Expire date", before=self._deadline.clock.time())
            return Failure(Reason.TLS_EXPIRED, f"a certificate of {name} has expired{day}")
        if result == _X509_NOT_YET_VALID:
            day = _date(chain, "Start date", after=self._deadline.clock.time())
            return Failure(Reason.TLS_NOT_YET_VALID, f"a certificate of {name} is not valid{day}")
        if _WRONG_NAME.search(text) or _WRONG_NAME.search(self._tls_words):
            message = f"certificate for {_names(leaf)} does not cover {name}"
            return Failure(Reason.TLS_WRONG_HOST, message)
        text = _OPENSSL_VERDICT.sub("", text)
        why = _UNTRUSTED.get(result, text) + self._hint(text)
        message = f"certificate of {name} is not trusted: {why}"
        return Failure(Reason.TLS_UNTRUSTED, message)

    def _is_proxys(self, code: int, text: str) -> bool:
        """Return whether the proxy, not the site behind it, is what failed."""
        if code in (pycurl.E_COULDNT_RESOLVE_PROXY, _E_PROXY) or "CONNECT" in text:
            return True
        if code == pycurl.E_COULDNT_RESOLVE_HOST:
            return False
        if not self._times[1] or self.curl.getinfo(pycurl.PROXY_SSL_VERIFYRESULT):
            return True
        return self._route.is_tunnelled and not self.curl.getinfo(pycurl.HTTP_CONNECTCODE)

    def _proxy_failure(self, code: int, text: str, proxy: Proxy) -> Failure:
        if code == pycurl.E_OPERATION_TIMEDOUT:
            text = f"no answer within {show_duration(self._deadline.timeout)}"
            # A resolver thread may still wait for the proxy's name
            self.reusable = bool(self._times[0])
            if not self.reusable and not is_address(proxy.host):
                check_look_ups(proxy.host)
        elif self.curl.getinfo(pycurl.HTTP_CONNECTCODE) == PROXY_LOGIN:
            text = proxy.refusal
        return Failure(Reason.PROXY_ERROR, f"proxy {proxy.peer}: {text}")


_Curl: TypeAlias = pycurl.Curl | SilentCurl
_Kind: TypeAlias = tuple[str | None, bool]
"""What handles are stacked by: the file of authorities, and whether they are silent."""


@dataclass(slots=True, eq=False)
class Handle:
    """
    A handle that was lent, or lies idle.

    Attributes:
        stamp: Of the file of authorities that it has loaded.
        since: When it was given back, on the monotonic clock.
    """

    curl: Any  # pycurl has no types
    kind: _Kind
    stamp: int
    since: Seconds = 0.0


class Handles:
    """
    Idle curl handles, the last used on top; used from many threads at once.

    libcurl keeps the authorities it has loaded (0.8 MB, 5 ms) with the handle that loaded them, so
    handles are stacked by the file of authorities. When one is given back, one that has lain idle
    for a minute is closed, in whatever stack: what a burst of checks or a former configuration
    needed goes as the checks go on. The mutable state is the stacks and when they are looked
    through, guarded by ``_lock``.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self.resolver = resolver or Resolver()
        self._lock = threading.Lock()
        self._stacks: defaultdict[_Kind, deque[Handle]] = defaultdict(deque)
        self._look_at: Seconds = 0.0

    def lend(
        self,
        route: Route,
        deadline: Deadline,
        options: Options = (),
        *,
        performed: Handle | None = None,
    ) -> "_Loan":
        """
        Return the context of one transfer, for which a handle is given that is set up for it.

        Args:
            options: What else is to be set.
            performed: A silent handle that has made this transfer, to be read as any other.

        Raises:
            ProbeError: On entering: the file of authorities is gone, or there is no memory for a
                handle.
        """
        return _Loan(self, route, deadline, options, performed)

    def take(self, route: Route, *, silent: bool) -> Handle:
        """
        Return a handle that is idle, or new, for whoever gives it back or closes it.

        Raises:
            ProbeError: The file of authorities is gone, or there is no memory for a handle.
        """
        kind = route.trust, silent
        stamp = _stamp(route.trust) if route.trust else 0
        while idle := self._pop_newest(kind):
            if idle.stamp == stamp:
                return idle
            idle.curl.close()  # has loaded what the file held before
        return Handle(SilentCurl() if silent else pycurl.Curl(), kind, stamp)

    def give_back(self, handle: Handle, now: Seconds) -> None:
        """Take a handle in as idle, without what its last transfer left in it."""
        if isinstance(handle.curl, SilentCurl):
            handle.curl.forget()
        else:
            handle.curl.reset()
        handle.since = now
        with self._lock:
            self._stacks[handle.kind].append(handle)
            old = self._pop_old(now) if now >= self._look_at else None
        if old:
            old.curl.close()

    def close(self) -> None:
        """Close the handles that lie idle."""
        with self._lock:
            stacks = tuple(self._stacks.values())
            self._stacks.clear()
        for stack in stacks:
            for idle in stack:
                idle.curl.close()

    def _pop_newest(self, kind: _Kind) -> Handle | None:
        with self._lock:
            stack = self._stacks.get(kind)
            return stack.pop() if stack else None

    def _pop_old(self, now: Seconds) -> Handle | None:
        """Return what lies lowest in a stack, if nobody needed it for long."""
        for kind, stack in tuple(self._stacks.items()):
            if not stack:
                del self._stacks[kind]
            elif stack[0].since <= now - _IDLE:
                return stack.popleft()
        self._look_at = now + _LOOK
        return None


class _Loan:
    """A handle on its way; what ``with`` names is its Transfer."""

    __slots__ = ("_deadline", "_handle", "_handles", "_options", "_performed", "_route", "_use")

    def __init__(
        self,
        handles: Handles,
        route: Route,
        deadline: Deadline,
        options: Options,
        performed: Handle | None,
    ) -> None:
        self._handles = handles
        self._route = route
        self._deadline = deadline
        self._options = options
        self._performed = performed

    def __enter__(self) -> Transfer:
        self._handle = self._performed or self._handles.take(self._route, silent=False)
        try:
            self._use = self._set_up(self._handle.curl)
        except BaseException:
            self._handle.curl.close()
            raise
        return self._use

    def _set_up(self, curl: Any) -> Transfer:
        if not self._performed:
            for option, value in (*self._route.options, *self._options):
                set_option(curl, option, value)
            curl.setopt(pycurl.WRITEFUNCTION, _ignore)
        return Transfer(curl, self._route, self._deadline, self._handles.resolver)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None or not self._use.reusable:
            self._handle.curl.close()
            return
        self._handles.give_back(self._handle, self._deadline.clock.monotonic())


def _stamp(path: str) -> int:
    """Return what changes when the file does."""
    try:
        # An older file put in its place has an older mtime; what counts is when it came there
        return Path(path).stat().st_ctime_ns
    except OSError as error:
        raise ProbeError(f"cannot read the authorities in {path}: {error.strerror}") from error


def _ignore(_: bytes) -> None:
    """Take what nobody reads; libcurl would write it to standard output."""


def _tls_options(route: Route) -> list[tuple[int, Any]]:
    tls = route.tls
    options: list[tuple[int, Any]] = [
        (pycurl.SSL_VERIFYPEER, tls.verify),
        (pycurl.SSL_VERIFYHOST, 2 if tls.verify else 0),
        (pycurl.PROXY_SSL_VERIFYPEER, tls.verify),
        (pycurl.PROXY_SSL_VERIFYHOST, 2 if tls.verify else 0),
        (pycurl.OPT_CERTINFO, 1),
        (pycurl.SSL_SESSIONID_CACHE, 0),  # each check makes a full handshake
    ]
    if route.trust:
        options += [(pycurl.CAINFO, route.trust), (pycurl.PROXY_CAINFO, route.trust)]
    if tls.cert_file:
        options += [(pycurl.SSLCERT, tls.cert_file), (pycurl.SSLKEY, tls.key_file or tls.cert_file)]
    if tls.min_version or tls.max_version:
        lowest = tls.min_version or ("1.0" if (tls.max_version or "") < "1.2" else "1.2")
        highest = _TLS_VERSIONS[tls.max_version][1] if tls.max_version else 0
        options.append((pycurl.SSLVERSION, _TLS_VERSIONS[lowest][0] | highest))
    if tls.legacy:
        # Signatures of TLS below 1.2 are at level 0, too
        weak = "DEFAULT:@SECLEVEL=0"
        options += [(pycurl.SSL_CIPHER_LIST, weak), (pycurl.PROXY_SSL_CIPHER_LIST, weak)]
        options.append(OLD_RENEGOTIATION)
    return options


def _tls_version(name: str) -> str:
    """Return ``TLS 1.3`` for OpenSSL's ``TLSv1.3``, ``TLS 1.0`` for its ``TLSv1``."""
    number = name.removeprefix("TLSv")
    return f"TLS {number if '.' in number else number + '.0'}"


# ---------------------------------------------------------------- the table of errors

_X509_NOT_YET_VALID = 9
_X509_EXPIRED = 10
_WRONG_NAME = re.compile(r"subject name|common name")  # libcurl's own check, not OpenSSL's
_OPENSSL_PREFIX = re.compile(r"^.*error:[0-9A-F]+:[^:]*:[^:]*:")
_UNTRUSTED = {
    18: "it is self-signed",
    19: "its chain ends in an authority that is not trusted",
    20: "its issuer is not known",
    21: "its issuer is not known",
    25: "its chain is longer than one of its authorities allows",
    26: "it is not meant for servers (extended key usage)",
    66: "its key is too weak",
    67: "the key of an authority in its chain is too weak",
    68: "a signature in its chain uses a digest that is too weak",
    79: "an issuer in its chain is no authority (CA:TRUE is missing)",
}
_OPENSSL_VERDICT = re.compile(r"^SSL certificate (problem: |OpenSSL verify result: )")
_ALERT_EXPIRED = "SSL certificate verification failed"
"""
What libcurl says of the alert certificate_expired, which a server sends of our certificate: it has
the same code as a refusal of the server's certificate, but OpenSSL's verdict is that this is fine.
"""
# Words of OpenSSL, about itself and about the alerts that it is sent
_TOO_WEAK = re.compile(
    "unsafe legacy renegotiation|key too small|too weak|legacy sigalg|wrong signature type"
)
_TOO_OLD = re.compile("alert protocol version|unsupported protocol")
_NOTHING_IN_COMMON = re.compile("alert (?:handshake failure|insufficient security)")
DISTRUST = {
    Reason.TLS_EXPIRED,
    Reason.TLS_NOT_YET_VALID,
    Reason.TLS_WRONG_HOST,
    Reason.TLS_UNTRUSTED,
}

_OUR_FAULT = {
    pycurl.E_OUT_OF_MEMORY: OUT_OF_MEMORY,
    pycurl.E_FAILED_INIT: "libcurl cannot start: {text}",
    pycurl.E_NOT_BUILT_IN: "this libcurl cannot do that: {text}",
    pycurl.E_INTERFACE_FAILED: "cannot send from {route.network.source_address}: {text}",
    pycurl.E_SSL_CACERT_BADFILE: "cannot read the authorities in {route.trust}: {text}",
    pycurl.E_BAD_FUNCTION_ARGUMENT: "libcurl refuses the site's options: {text}",
    pycurl.E_SSL_CERTPROBLEM: "cannot use the client certificate {route.tls.cert_file}: {text}",
    pycurl.E_SSL_ENGINE_INITFAILED: "OpenSSL cannot start: {text}",
    _E_UNRECOVERABLE_POLL: "the system cannot wait for sockets: {text}",
}
_NO_MEMORY = re.compile("malloc failure")  # OpenSSL's

_READING = {
    pycurl.E_SSL_CONNECT_ERROR,
    pycurl.E_SEND_ERROR,
    pycurl.E_RECV_ERROR,
    pycurl.E_GOT_NOTHING,
    _E_SSL_CLIENTCERT,
}
_CONNECTING = {pycurl.E_COULDNT_CONNECT, _E_QUIC_CONNECT, *_READING}
_UNANNOUNCED_END = "unexpected eof while reading"
_RESET = re.compile(r"reset by peer|Broken pipe|errno (104|32)\b")
_AMOUNT = re.compile(r"\d+( out of \d+)? bytes received")


@dataclass(frozen=True, slots=True)
class _Row:
    """Which of libcurl's codes and texts mean what; the message may name peer and text."""

    codes: frozenset[int]
    pattern: re.Pattern[str]
    reason: Reason
    message: str


def _row(codes: set[int], pattern: str, reason: Reason, message: str) -> _Row:
    return _Row(frozenset(codes), re.compile(pattern), reason, message)


# The most specific first: the first row whose code and pattern fit decides
_ROWS = (
    _row(
        {pycurl.E_HTTP2, *_READING},  # whichever comes first, the frame or the end
        r"expected SETTINGS|does not support HTTP/2",
        Reason.HTTP_VERSION,
        "{peer} does not speak HTTP/2: {text}",
    ),
    _row(
        {pycurl.E_SSL_CONNECT_ERROR},
        r"wrong version number|packet length too long|http request|record layer failure",
        Reason.TLS_PROTOCOL,
        "{peer} does not speak TLS: {text}",
    ),
    _row(
        {pycurl.E_SSL_CONNECT_ERROR},
        r"unexpected eof|SSL_ERROR_SYSCALL",
        Reason.TLS_PROTOCOL,
        "{peer} closed the connection during the TLS handshake",
    ),
    _row(
        {pycurl.E_SSL_CONNECT_ERROR, pycurl.E_SSL_CIPHER, pycurl.E_SSL_INVALIDCERTSTATUS},
        "",
        Reason.TLS_PROTOCOL,
        "no TLS handshake with {peer}: {text}",
    ),
    _row(
        {pycurl.E_GOT_NOTHING},
        "",
        Reason.CONNECTION_LOST,
        "{peer} closed the connection without an answer",
    ),
    _row(
        {pycurl.E_PARTIAL_FILE, pycurl.E_SEND_ERROR, pycurl.E_SEND_FAIL_REWIND},
        "",
        Reason.CONNECTION_LOST,
        "{peer} closed the connection before the end: {text}",
    ),
    _row(
        {pycurl.E_RECV_ERROR},
        r"chunk|[Hh]eader|[Tt]ransfer|[Ii]llegal|[Ii]nvalid|[Mm]alformed|[Uu]nsupported",
        Reason.PROTOCOL_ERROR,
        "{peer} does not keep to HTTP: {text}",
    ),
    _row(
        {pycurl.E_RECV_ERROR},
        "",
        Reason.CONNECTION_LOST,
        "lost the connection to {peer}: {text}",
    ),
    _row(
        {
            pycurl.E_UNSUPPORTED_PROTOCOL,  # HTTP/0.9
            pycurl.E_FTP_WEIRD_SERVER_REPLY,  # no HTTP at all
            pycurl.E_HTTP2,
            _E_HTTP2_STREAM,
            _E_HTTP3,
            _E_QUIC_CONNECT,
            _E_TOO_LARGE,
            pycurl.E_URL_MALFORMAT,
        },
        "",
        Reason.PROTOCOL_ERROR,
        "{peer} does not keep to HTTP: {text}",
    ),
)


def _date(
    chain: list[dict[str, str]],
    key: str,
    *,
    before: float = -math.inf,
    after: float = math.inf,
) -> str:
    """Return the date of the first certificate that it makes invalid, as a clause; else nothing."""
    for certificate in chain:
        try:
            moment = ssl.cert_time_to_seconds(certificate[key])
        except (KeyError, ValueError):
            continue
        if moment < before or moment > after:
            day = datetime.fromtimestamp(moment, UTC).date()
            return f" on {day}" if key == "Expire date" else f" before {day}"
    return ""


def _alternative_names(leaf: Mapping[str, str]) -> list[str]:
    """Return the host names and addresses that a certificate stands for."""
    return _SAN.findall(leaf.get("X509v3 Subject Alternative Name", ""))


def _names(leaf: Mapping[str, str]) -> str:
    names = _alternative_names(leaf)
    shown = ", ".join(map(_short, names[:_MOST_NAMES])) or "no name"
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _own_certificates(path: str) -> tuple[str, ...]:
    """Return the certificates of a PEM file, and never the key that it may hold as well."""
    try:
        return _certificates_in(path, _stamp(path))
    except ProbeError:
        return ()


@lru_cache(maxsize=256)
def _certificates_in(path: str, _stamp: int) -> tuple[str, ...]:
    try:
        text = Path(path).read_text("ascii", "replace").replace("\r\n", "\n")
    except OSError:
        return ()
    return tuple(_PEM.findall(text)[:_MOST_OWN_CERTIFICATES])


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
