"""
libcurl behind requests: an adapter that sends one prepared request and limits what comes back.

``requests`` prepares, authenticates, keeps cookies and knows the rules of redirects; libcurl
transfers. An adapter serves one check: it knows that check's deadline and remembers each exchange.
"""

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pycurl
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.exceptions import RequestException

from monitor.clock import Deadline
from monitor.model import Bytes, Failure, HttpAnswer, Phase, Reason, Seconds, TlsSession
from monitor.outbound import PROXY_LOGIN, NetworkOptions, Proxy, TlsOptions, join_address
from monitor.probes.answer import (
    FIRST_FINAL,
    NOTHING,
    SWITCHING,
    Head,
    ends,
    is_redirect,
    list_elements,
    make_answer,
    parse_head,
)
from monitor.probes.coding import ACCEPTED, Unpacker, UnpackError
from monitor.probes.libcurl.handles import Handles, SilentHandle
from monitor.probes.libcurl.options import SUPPRESS_CONNECT_HEADERS, Options, shared
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.transfer import Transfer
from monitor.probes.zone import escaped
from monitor.secrecy import without_credentials

_PORTS = {"http": 80, "https": 443}
_MOST_HEADER_BYTES: Bytes = 300 * 1024
_MOST_HEADERS = 2000
_BLANK_LINE = 3  # at most, in bytes
_END_OF_BLOCK = re.compile(rb"\n\r{0,2}\n")
_LEAST_BUFFER: Bytes = 1024  # for receiving; libcurl accepts no less, and takes 16 times as much
_SECONDS = re.compile("-?[0-9]{1,18}")
_MOST_COOKIES = 100  # that one answer may set; reading one takes all threads 0.1 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """
    One request, and its outcome.

    Attributes:
        answer: The final answer, with as much of its body as the settings keep; the status is 0 if
            no final status line came.
        ends_open: Whether only the end of the connection ends the body, over TLS, and came without
            the close_notify that proves it (RFC 9112, 9.8).
        head_only: Whether the transfer was ended after the headers, because the body has no end or
            is not wanted.
        address: The IP address that was connected to, or tried last.
    """

    answer: HttpAnswer
    ends_open: bool
    head_only: bool
    address: str | None
    duration: Seconds
    phases: Mapping[Phase, Seconds]
    tls: TlsSession | None

    @property
    def is_redirect(self) -> bool:
        """Whether the answer is a redirect."""
        return is_redirect(self.answer.status, self.answer.headers)


class ExchangeFailed(RequestException):
    """There is no complete answer; the adapter's last exchange has what was received."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettings:
    """
    What the requests of one check have in common.

    Attributes:
        origin: The host and port to which ``tls.server_name`` and ``network.connect_to`` apply.
        version: ``auto``, ``1.1``, ``2`` or ``3``.
        max_body: Decoded bytes after which an answer is truncated.
        keep_body: How many of these are kept.
        follow_redirects: Whether the body of a redirect is ignored.
        reads_body: Whether anything needs the body; if not, the check does not wait for a stream
            without an end.
        head_only: Whether the transfer ends after the headers.
    """

    tls: TlsOptions
    network: NetworkOptions
    proxy: Proxy | None = None
    origin: tuple[str, int] | None = None
    version: str = "auto"
    compression: bool = True
    max_body: Bytes
    keep_body: Bytes
    follow_redirects: bool = False
    reads_body: bool = True
    head_only: bool = False

    def route(self, url: str) -> Route:
        """
        Return the route to a prepared URL.

        Raises:
            ValueError: It has no host, or its port is not a port number.
        """
        scheme, host, port = origin_of(url)
        pinned = self.origin == (host, port)
        return Route(scheme, host, port, self.tls, self.network, self.proxy, pinned)


def origin_of(url: str) -> tuple[str, str, int]:
    """
    Return scheme, host (an IPv6 address without brackets) and port.

    Raises:
        ValueError: It has no host, or its port is not a port number.
    """
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    if not host:
        raise ValueError(f"{url!r} has no host")
    if port is None:
        port = _PORTS[parts.scheme]
    if not port:
        raise ValueError(f"{url!r} has the port 0")
    return parts.scheme, host, port


def sent_url(url: str) -> str:
    """Return the URL without user, password and fragment: what goes over the wire."""
    return without_credentials(url).partition("#")[0]


@dataclass(frozen=True, slots=True)
class Order:
    """
    A prepared request in libcurl's form; computed once, it may be sent any number of times.

    Attributes:
        url: Without credentials and fragment.
        sent: The same URL as passed to libcurl, see ``tls.server_name``.
        options: Options to set on a handle in addition to those of the route.
    """

    url: str
    sent: bytes
    route: Route
    options: Options

    @classmethod
    def of(cls, request: PreparedRequest, settings: RequestSettings) -> "Order":
        """
        Return the order for a request under these settings.

        Raises:
            ValueError: Its URL has no host, or its port is not a port number.
        """
        url = sent_url(request.url or "")
        route = settings.route(url)
        sent, options = _request_options(request, url, route, settings)
        return cls(url, sent.encode(), route, shared(tuple(options)))


class CurlAdapter(BaseAdapter):
    """
    Sends one check's requests, each over a new connection, under one deadline.

    Attributes:
        exchanges: Every request that was sent, those of authentication included, in order.
    """

    def __init__(
        self,
        handles: Handles,
        settings: RequestSettings,
        deadline: Deadline,
        *,
        expects_answer: bool = True,
    ) -> None:
        """
        Begin without an exchange.

        Args:
            expects_answer: Whether an answer is likely; if not, a waiting transfer takes less
                memory, but reads its body in smaller pieces if an answer comes after all.
        """
        super().__init__()
        self.exchanges: list[Exchange] = []
        self._handles = handles
        self._settings = settings
        self._deadline = deadline
        self._buffer: Options = () if expects_answer else ((pycurl.BUFFERSIZE, _LEAST_BUFFER),)

    def send(self, request: PreparedRequest, *_args: Any, **_kwargs: Any) -> Response:
        """
        Send it and return the answer with its body.

        The other arguments of requests (timeout, verify, proxies) are ignored: the site's settings
        decide.

        Raises:
            ExchangeFailed: There is no complete answer.
            ProbeError: The monitor's system is at fault.
        """
        return self.response(request, self.exchange(Order.of(request, self._settings)).answer)

    def exchange(self, order: Order, performed: SilentHandle | None = None) -> Exchange:
        """
        Send an order; like send(), without what a session needs.

        Args:
            performed: A silent handle that has already sent it.

        Raises:
            ExchangeFailed, ProbeError: As in send().
        """
        with self._transfer(order, performed) as transfer:
            intake = _Intake(transfer, self._settings)
            failure = intake.run() or intake.failure(order.route.peer)
            failure = failure or _refusal_by_proxy(intake.status, order.route)
            exchange = Exchange(
                answer=intake.answer(order.url),
                ends_open=intake.ends_open,
                head_only=intake.head_only,
                address=transfer.address,
                duration=transfer.duration,
                phases=transfer.phases(),
                tls=transfer.tls(failure),
            )
        self.exchanges.append(exchange)
        if failure:
            raise ExchangeFailed(failure)
        return exchange

    def _transfer(
        self, order: Order, performed: SilentHandle | None
    ) -> AbstractContextManager[Transfer]:
        if performed:
            return self._handles.resume(performed, order.route, self._deadline)
        options = (*order.options, *self._buffer, (pycurl.URL, order.sent))
        return self._handles.lend(order.route, self._deadline, options)

    def response(self, request: PreparedRequest, answer: HttpAnswer) -> Response:
        """Return an answer in the form that a session needs."""
        response = Response()
        response.status_code = answer.status
        response.url = answer.url
        response.request = request
        for name, value in _joined(answer.headers).items():
            response.headers[name] = value
        response.raw = _Raw(answer.headers, urlsplit(answer.url).hostname or "")
        # Digest authentication sends the request again through it
        response.connection = self  # type: ignore[assignment]  # any adapter will do
        response._content = answer.body  # noqa: SLF001  as requests' own adapters do
        response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001  no stream to read
        return response

    def close(self) -> None:
        """Do nothing: handles belong to their lender."""


class _Intake:
    """
    The sink of an exchange: takes the answer in, and stops at the limits.

    Attributes:
        ends_open, head_only: As in Exchange.
    """

    # The defaults are on the class, because most exchanges change none of them
    ends_open = False
    head_only = False
    _head: Head = NOTHING
    _codings: tuple[str, ...] = ()
    _body_size = 0
    _truncated = False
    _header_lines = 0
    _header_bytes = 0
    _flooded = False
    _malformed = False
    _kept_size = 0
    _unpacker: Unpacker | None = None
    _damage = ""

    def __init__(self, transfer: Transfer, settings: RequestSettings) -> None:
        self._transfer = transfer
        self._settings = settings
        self._lines: list[bytes] = []
        self._kept: list[bytes] = []

    def run(self) -> Failure | None:
        """
        Perform the transfer.

        Returns:
            As Transfer.receive(); None if the end of the connection is the end of the body.

        Raises:
            ProbeError: As in Transfer.receive().
        """
        failure = self._transfer.receive(self)
        if failure and self._transfer.lacks_close_notify and self._ends_with_the_connection():
            self.ends_open = True
            return None
        if failure and failure.reason is Reason.READ_TIMEOUT and self._may_be_endless():
            hint = "; if it has no end, http.read: head does without it"
            return Failure(failure.reason, failure.message + hint)
        return failure

    def answer(self, url: str) -> HttpAnswer:
        """Return what was received from this URL, once the transfer is over."""
        return make_answer(
            self._head,
            b"".join(self._kept),
            self._body_size,
            url,
            self._transfer.curl,
            truncated=self._truncated,
            codings=self._codings,
        )

    @property
    def status(self) -> int:
        """The status of the final answer; 0 until it arrives."""
        return self._head[1]

    def _may_be_endless(self) -> bool:
        """Return whether the transfer waited for a body of unknown length that nothing reads."""
        _, status, headers = self._head
        sized = any(name.lower() == "content-length" for name, _ in headers)
        return status > 0 and not (self._settings.reads_body or sized)

    def _ends_with_the_connection(self) -> bool:
        """Return whether only the end of the connection ends the body (RFC 9112, 6.3)."""
        version, status, headers = self._head
        names = {name.lower() for name, _ in headers}
        framed = names & {"content-length", "transfer-encoding"}
        return status > 0 and version in ("1.0", "1.1") and not framed

    def take_header(self, line: bytes) -> int | None:
        self._lines.append(line)
        self._header_lines += 1
        self._header_bytes += len(line)
        if self._header_bytes > _MOST_HEADER_BYTES or self._header_lines > _MOST_HEADERS:
            self._flooded = True
            return self._transfer.stop()
        # Most lines are only kept here: time spent in a callback makes the transfer look slow
        if len(line) > _BLANK_LINE or line.rstrip(b"\r\n"):
            return None
        block = b"".join(self._lines[:-1])
        self._lines.clear()
        return self._take_block(block)

    def take_headers(self, headers: bytes) -> int | None:
        if len(headers) > _MOST_HEADER_BYTES or headers.count(b"\n") > _MOST_HEADERS:
            self._flooded = True
            return self._transfer.stop()
        *blocks, _ = _END_OF_BLOCK.split(headers)
        for block in blocks:
            enough = self._take_block(block)
            if enough is not None:
                return enough
        return None

    def _take_block(self, block: bytes) -> int | None:
        """Take the lines up to a blank one, with or without the end of the last line."""
        if self.status:
            return None  # fields after the answer's own headers are trailers
        head = parse_head(block)
        if head is None:
            self._malformed = True
            return self._transfer.stop()
        _, status, headers = head
        if status < FIRST_FINAL and status != SWITCHING:
            return None  # another block follows
        self._head = head
        if status == SWITCHING or (
            self._settings.follow_redirects and is_redirect(status, headers)
        ):
            return self._transfer.stop()  # what follows is another protocol's, or not wanted
        if self._settings.head_only or not (self._settings.reads_body or ends(headers)):
            self.head_only = True
            return self._transfer.stop()
        listed = list_elements(headers, "content-encoding")
        codings = [one for one in listed if one.lower() not in ("", "identity")]
        if codings and self._settings.compression:
            self._unpacker = Unpacker(codings)
            codings = list(self._unpacker.left)
        self._codings = tuple(codings)
        return None

    def cut(self) -> None:
        self._truncated = True

    def take_body(self, chunk: bytes) -> int | None:
        if self._unpacker is None:
            return self._take_unpacked(chunk)
        try:
            for piece in self._unpacker.feed(chunk):
                enough = self._take_unpacked(piece)
                if enough is not None:
                    return enough
        except UnpackError as error:
            self._damage = str(error)
            return self._transfer.stop()
        return None

    def _take_unpacked(self, chunk: bytes) -> int | None:
        settings = self._settings
        room = settings.max_body - self._body_size
        if len(chunk) > room:
            chunk = chunk[:room]
            self._truncated = True
        self._body_size += len(chunk)
        if self._kept_size < settings.keep_body:
            part = chunk[: settings.keep_body - self._kept_size]
            self._kept.append(part)
            self._kept_size += len(part)
        return self._transfer.stop() if self._truncated else None

    def failure(self, peer: str) -> Failure | None:
        """Return the failures that libcurl does not detect, once it has found nothing wrong."""
        if self._flooded:
            limit = f"{_MOST_HEADER_BYTES // 1024}KiB or {_MOST_HEADERS} lines"
            return Failure(Reason.PROTOCOL_ERROR, f"more than {limit} of headers from {peer}")
        if self._malformed:
            return Failure(Reason.PROTOCOL_ERROR, f"the status line from {peer} is malformed")
        if not self.status:
            message = f"{peer} closed the connection in the middle of its headers"
            return Failure(Reason.CONNECTION_LOST, message)
        damage = self._damage or self._lacks_end()
        if damage:
            message = f"the body from {peer} cannot be decompressed: {damage}"
            return Failure(Reason.DECODE_ERROR, message)
        return None

    def _lacks_end(self) -> str:
        """Return what a compressed body lacks that was received whole; empty otherwise."""
        if self._unpacker is None or self._truncated:
            return ""
        try:
            self._unpacker.end()
        except UnpackError as error:
            return str(error)
        return ""


def _refusal_by_proxy(status: int, route: Route) -> Failure | None:
    """Return the failure of a proxy's 407, which no site sends (RFC 9110, 15.5.8)."""
    proxy = route.proxy
    # A proxy sees nothing of a site behind a tunnel
    if not proxy or status != PROXY_LOGIN or route.is_tunnelled or not proxy.speaks_http:
        return None
    return Failure(Reason.PROXY_ERROR, f"proxy {proxy.peer}: {proxy.refusal}")


def _request_options(
    request: PreparedRequest, url: str, route: Route, settings: RequestSettings
) -> tuple[str, list[tuple[int, Any]]]:
    """Return the URL for libcurl and the other options."""
    method = request.method or "GET"
    headers = dict(request.headers.items())
    parts = urlsplit(url)
    authority = escaped(parts.netloc)
    if route.pinned and settings.tls.server_name:
        # The name to verify replaces the host in the URL, and the host moves to its header
        if "Host" not in request.headers:
            headers["Host"] = parts.netloc
        authority = join_address(route.name, route.port)
    url = urlunsplit(parts._replace(netloc=authority))
    # libcurl computes the length of the body; requests only writes the name in this case
    headers.pop("Content-Length", None)
    body = request.body.encode() if isinstance(request.body, str) else request.body
    options: list[tuple[int, Any]] = [
        (pycurl.PATH_AS_IS, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
        (pycurl.HTTP09_ALLOWED, 0),
        (SUPPRESS_CONNECT_HEADERS, 1),
        (pycurl.HTTP_VERSION, _wanted_version(settings.version, route.scheme)),
    ]
    # A part of a compressed body cannot be decompressed, so ranges are requested uncompressed
    if settings.compression and not request.headers.keys() & {"accept-encoding", "range"}:
        headers["Accept-Encoding"] = ACCEPTED
    if route.is_tunnelled:
        # CONNECT has none of the request's headers, and would show the libraries' names
        options.append((pycurl.USERAGENT, request.headers.get("User-Agent", "").encode()))
    if body or method in ("POST", "PUT", "PATCH"):
        options.append((pycurl.POSTFIELDS, body or b""))
    if method == "HEAD":
        options.append((pycurl.NOBODY, 1))
    elif method != "GET" or body:
        options.append((pycurl.CUSTOMREQUEST, method.encode()))
    options.append((pycurl.HTTPHEADER, tuple(header_lines(headers))))
    return url, options


def header_lines(headers: Mapping[str, Any]) -> list[bytes]:
    """Return the headers in libcurl's form, without those that it would add by itself."""
    unwanted = {"accept", "content-type", "expect"}
    lines = []
    for name, value in headers.items():
        text = value if isinstance(value, bytes) else value.encode()
        # For libcurl, "Name;" sends a header without a value and "Name:" removes it
        lines.append(name.encode() + (b": " + text if text else b";"))
        unwanted.discard(name.lower())
    lines += [name.encode() + b":" for name in unwanted]
    return lines


def _wanted_version(version: str, scheme: str) -> int:
    wanted: int = {
        "auto": pycurl.CURL_HTTP_VERSION_2TLS,
        "1.1": pycurl.CURL_HTTP_VERSION_1_1,
        "2": pycurl.CURL_HTTP_VERSION_2TLS
        if scheme == "https"
        else pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE,
        "3": pycurl.CURL_HTTP_VERSION_3ONLY,
    }[version]
    return wanted


class _Raw:
    """What requests expects below a response: it reads cookies from it, and closes it."""

    def __init__(self, headers: tuple[tuple[str, str], ...], host: str) -> None:
        cookies = [value for name, value in headers if name.lower() == "set-cookie"]
        kept = [_readable_cookie(cookie, host) for cookie in cookies[:_MOST_COOKIES]]
        self._original_response = _Cookies(kept) if kept else None

    def close(self) -> None:
        """Do nothing: the connection is closed already."""


def _readable_cookie(cookie: str, host: str) -> str:
    """
    Return a cookie with those attributes that http.cookiejar reads as browsers do.

    http.cookiejar rejects a whole cookie for an attribute that browsers ignore or do not know (RFC
    6265, 5.2): a Max-Age that is not a number, a Version, an empty Domain. And from a host without
    a dot (an intranet's, Compose's, localhost) it accepts no Domain at all, whereas browsers keep
    such a cookie for this host alone (5.3, step 5).
    """
    first, *attributes = cookie.split(";")
    return ";".join([first, *(one for one in attributes if _is_readable(one, host))])


def _is_readable(attribute: str, host: str) -> bool:
    name, _, value = (part.strip() for part in attribute.partition("="))
    match name.lower():
        case "domain":
            domain = value.lower().removeprefix(".")
            return bool(domain) and (domain != host or "." in host)
        case "max-age":
            return _SECONDS.fullmatch(value) is not None
        case "path":
            return value.startswith("/")
        case "expires":
            return bool(value)
        case known:
            return known in ("secure", "httponly")


class _Cookies:
    """Stands in for the http.client message from which http.cookiejar takes cookies."""

    def __init__(self, cookies: list[str]) -> None:
        self._cookies = cookies

    @property
    def msg(self) -> "_Cookies":
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return self._cookies if name == "Set-Cookie" else default


def _joined(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """
    Return the headers by lower-case name, repeated ones as a list (RFC 9110, 5.3).

    The first of several Locations that is not empty is followed, as in curl.
    """
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key == "location":
            joined[key] = joined.get(key) or value
        elif key in joined:
            joined[key] += f", {value}"
        else:
            joined[key] = value
    return joined
