"""
Finds the meaning of libcurl's errors.

Tables of codes and texts decide; if they are not enough, ``Trouble`` does.
"""

import errno
import math
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pycurl

from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.model import Failure, Reason
from monitor.options import show_duration
from monitor.outbound import PROXY_LOGIN, Proxy, split_address
from monitor.probes.family import is_address
from monitor.probes.libcurl.certificates import alternative_names
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.times import MICROSECONDS, Asked, Times
from monitor.probes.libcurl.told import Told
from monitor.probes.resolve import Resolver, timed_out
from monitor.probes.shortage import SHORTAGE_TEXTS, SHORTAGES, check_look_ups, check_ports

OUT_OF_MEMORY = "libcurl lacks memory or file descriptors"

# libcurl error codes that pycurl does not name
_E_HTTP2_STREAM = 92
_E_HTTP3 = 95
_E_QUIC_CONNECT = 96
_E_PROXY = 97
_E_SSL_CLIENTCERT = 98
_E_UNRECOVERABLE_POLL = 99
_E_TOO_LARGE = 100

_MOST_NAMES = 3
_LONGEST_NAME = 100
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
    79: "an issuer in its chain is not an authority (CA:TRUE is missing)",
}
_OPENSSL_VERDICT = re.compile(r"^SSL certificate (problem: |OpenSSL verify result: )")
_ALERT_EXPIRED = "SSL certificate verification failed"
"""
libcurl's text for the alert certificate_expired, which a server sends about our certificate. Its
code is the same as for a refusal of the server's certificate, which OpenSSL has accepted.
"""
# OpenSSL's texts, about its own errors and about the alerts that it receives
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
_NO_LOGIN = re.compile(r"No authentication method was acceptable|rejected by the SOCKS5 server")
_CONNECT_STATUS = re.compile(r"CONNECT tunnel failed, response (\d+)")
_SOCKS5_REPLY = re.compile(r"SOCKS5 connection to (\S+?)\.? \((\d+)\)")
_SOCKS5_REPLIES = {  # RFC 1928, 6
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}
_AMOUNT = re.compile(r"\d+( out of \d+)? bytes received")


@dataclass(frozen=True, slots=True)
class _Row:
    """The meaning of libcurl's codes and texts; ``message`` may name peer and text."""

    codes: frozenset[int]
    pattern: re.Pattern[str]
    reason: Reason
    message: str


def _row(codes: set[int], pattern: str, reason: Reason, message: str) -> _Row:
    return _Row(frozenset(codes), re.compile(pattern), reason, message)


# The most specific first: the first row whose code and pattern fit decides
_ROWS = (
    _row(
        {pycurl.E_HTTP2, *_READING},  # the frame or the end may come first
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
            pycurl.E_BAD_CONTENT_ENCODING,  # Transfer-Encoding: libcurl decodes no other
            pycurl.E_URL_MALFORMAT,
        },
        "",
        Reason.PROTOCOL_ERROR,
        "{peer} does not keep to HTTP: {text}",
    ),
)


@dataclass(slots=True, kw_only=True)
class Trouble:
    """
    A failed transfer, and what is needed to explain it.

    Attributes:
        certificates: The certificates that the server sent, the leaf first, as libcurl shows them.
        forbidden: Why an address may not be connected to; None if every address was allowed.
        is_asked_for_certificate: Returns whether the server wants one of ours; this may take
            another handshake.
        lacks_close_notify: Whether the peer ended the connection without close_notify; known
            once failure() has returned.
    """

    route: Route
    deadline: Deadline
    resolver: Resolver
    curl: Asked
    times: Times
    told: Told
    certificates: list[dict[str, str]]
    forbidden: str | None
    is_asked_for_certificate: Callable[[], bool]
    lacks_close_notify: bool = False

    def failure(self, code: int, text: str) -> Failure:
        """
        Return the meaning of a libcurl error.

        Args:
            text: libcurl's message.

        Raises:
            ProbeError: The monitor's system, not the site, is at fault.
            pycurl.error: An error that libcurl should never report; a bug.
        """
        system = self.curl.getinfo(pycurl.OS_ERRNO) or self.told.quic_errno
        text = _OPENSSL_PREFIX.sub("", text).removesuffix(", errno 0")
        connected = self.times[1] > 0
        if code in _OUR_FAULT:
            raise ProbeError(_OUR_FAULT[code].format(text=text, route=self.route))
        self._check_shortages(code, text, system)
        if not connected and self.forbidden:
            unsafe = Reason.CONNECT_UNREACHABLE if self.route.pinned else Reason.REDIRECT_UNSAFE
            return Failure(unsafe, self.forbidden)
        if self.route.proxy and self._is_proxys(code, text):
            return self._proxy_failure(code, text, self.route.proxy)
        if not connected and code in _CONNECTING:
            return self._unconnected(text, system)
        self.lacks_close_notify = code == pycurl.E_RECV_ERROR and _UNANNOUNCED_END in text
        return self._by_code(code, text) or self._by_table(code, text)

    def _check_shortages(self, code: int, text: str, system: int) -> None:
        """Raise ProbeError if this machine lacks something, before another cause is blamed."""
        connected = self.times[1] > 0
        if not connected and self.told.shortage in SHORTAGE_TEXTS:
            raise ProbeError(f"cannot open a connection: {self.told.shortage}")
        if system in (errno.ENOBUFS, errno.ENOMEM) or (system in SHORTAGES and not connected):
            raise ProbeError(f"the connection to {self._peer} failed: {os.strerror(system)}")
        if _NO_MEMORY.search(text):
            raise ProbeError(OUT_OF_MEMORY)
        if not connected and self.told.tried:
            check_ports(system, split_address(self.told.tried)[0], self.told.tried)
        if code == pycurl.E_COULDNT_RESOLVE_PROXY and self.route.proxy:
            check_look_ups(self.route.proxy.host)

    def _by_code(self, code: int, text: str) -> Failure | None:
        """Return the failure of a code whose meaning needs more than its text."""
        if code == pycurl.E_OPERATION_TIMEDOUT:
            return self._timeout(text)
        if code == pycurl.E_COULDNT_RESOLVE_HOST:
            host = self.route.destination[0]
            return self.resolver.why_not(host, self.deadline, self.route.network.ip)
        if code == pycurl.E_PEER_FAILED_VERIFICATION:
            ours = text == _ALERT_EXPIRED or not self.route.tls.verify
            return self._unwelcome("it has expired") if ours else self._distrust(text)
        if code in _READING and not self.times[3] and self.is_asked_for_certificate():
            # However the connection was broken off (RFC 8446 leaves the alert to the server)
            return self._unwelcome(text)
        reset = code in _READING and _RESET.search(text) and not self.times[3]
        message = f"{self._peer} reset the connection"
        return Failure(Reason.CONNECT_RESET, message) if reset else None

    def _unwelcome(self, why: str) -> Failure:
        return unwelcome(self.route, self._peer, why)

    def _by_table(self, code: int, text: str) -> Failure:
        text += self._hint(text)
        for row in _ROWS:
            if code in row.codes and row.pattern.search(text):
                return Failure(row.reason, row.message.format(peer=self._peer, text=text))
        raise pycurl.error(code, text)

    def _hint(self, text: str) -> str:
        """Return, as a clause, the option that allows what is refused as too old or too weak."""
        tls = self.route.tls
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
        if self.told.has_tunnel and self.route.proxy:
            return f"{self.route.peer} through proxy {self.route.proxy.peer}"
        return self.told.tried or self.route.peer

    def _timeout(self, text: str) -> Failure:
        resolved, connected, secured, first_byte, _ = self.times
        limit = show_duration(self.deadline.timeout)
        if not resolved and not is_address(self.route.destination[0]):
            return timed_out(self.route.destination[0], self.deadline)
        if not connected:
            return Failure(Reason.CONNECT_TIMEOUT, f"no connection to {self._peer} within {limit}")
        after = f"connected after {show_duration(connected / MICROSECONDS)}"
        if self.route.scheme == "https" and not secured:
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
        chain = self.certificates
        leaf = chain[0] if chain else {}
        name = self.route.name
        if result == _X509_EXPIRED:
            day = _date(chain, "Expire date", before=self.deadline.clock.time())
            return Failure(Reason.TLS_EXPIRED, f"a certificate of {name} has expired{day}")
        if result == _X509_NOT_YET_VALID:
            day = _date(chain, "Start date", after=self.deadline.clock.time())
            return Failure(Reason.TLS_NOT_YET_VALID, f"a certificate of {name} is not valid{day}")
        if _WRONG_NAME.search(text) or _WRONG_NAME.search(self.told.tls_words):
            message = f"certificate for {_names(leaf)} does not cover {name}"
            return Failure(Reason.TLS_WRONG_HOST, message)
        text = _OPENSSL_VERDICT.sub("", text)
        why = _UNTRUSTED.get(result, text) + self._hint(text)
        message = f"certificate of {name} is not trusted: {why}"
        return Failure(Reason.TLS_UNTRUSTED, message)

    def _is_proxys(self, code: int, text: str) -> bool:
        """Return whether the proxy failed, not the site behind it."""
        if code in (pycurl.E_COULDNT_RESOLVE_PROXY, _E_PROXY) or "CONNECT" in text:
            return True
        if code == pycurl.E_COULDNT_RESOLVE_HOST:
            return False
        if not self.times[1] or self.curl.getinfo(pycurl.PROXY_SSL_VERIFYRESULT):
            return True
        return self.route.has_middleman and not self.told.has_tunnel

    def _proxy_failure(self, code: int, text: str, proxy: Proxy) -> Failure:
        if code == pycurl.E_OPERATION_TIMEDOUT:
            text = f"no answer within {show_duration(self.deadline.timeout)}"
            if not self.times[0] and not is_address(proxy.host):
                check_look_ups(proxy.host)
        elif self.curl.getinfo(pycurl.HTTP_CONNECTCODE) == PROXY_LOGIN:
            text = proxy.refusal
        elif _NO_LOGIN.search(text):
            text = proxy.login_trouble
        elif found := _CONNECT_STATUS.search(text):
            text = f"it answers CONNECT with status {found[1]}"
        elif found := _SOCKS5_REPLY.search(text):
            why = _SOCKS5_REPLIES.get(int(found[2]), "unknown")
            text = f"it cannot connect to {found[1]}: {why} (SOCKS5 reply {found[2]})"
        return Failure(Reason.PROXY_ERROR, f"proxy {proxy.peer}: {text}")


def code_and_text(error: pycurl.error) -> tuple[int, str]:
    """
    Return libcurl's number and message of an error.

    Raises:
        pycurl.error: The error is pycurl's own; a bug.
    """
    match error.args:
        case (int(code), str(text)):
            return code, text
    raise error


def unwelcome(route: Route, peer: str, why: str) -> Failure:
    """Return the failure of a server that accepts only clients with a certificate it trusts."""
    what = (
        "did not accept our client certificate"
        if route.tls.cert_file
        else "wants a client certificate"
    )
    return Failure(Reason.TLS_CLIENT_CERTIFICATE, f"{peer} {what}: {why}")


def _date(
    chain: list[dict[str, str]],
    key: str,
    *,
    before: float = -math.inf,
    after: float = math.inf,
) -> str:
    """Return the date of the first certificate invalid because of it, as a clause; or nothing."""
    for certificate in chain:
        try:
            moment = ssl.cert_time_to_seconds(certificate[key])
        except (KeyError, ValueError):
            continue
        if moment < before or moment > after:
            day = datetime.fromtimestamp(moment, UTC).date()
            return f" on {day}" if key == "Expire date" else f" before {day}"
    return ""


def _names(leaf: Mapping[str, str]) -> str:
    names = alternative_names(leaf)
    shown = ", ".join(map(_short, names[:_MOST_NAMES])) or "no name"
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
