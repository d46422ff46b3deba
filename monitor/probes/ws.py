"""The WebSocket probe: the upgrade, and a dialogue in messages; libcurl does frames and pings."""

import base64
import hashlib
import math
import re
import secrets
import select
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import pycurl

from monitor import __version__
from monitor.clock import Deadline
from monitor.grammar import TOKEN
from monitor.model import (
    Bytes,
    Failure,
    Observation,
    Phase,
    Reason,
    Seconds,
    Site,
    WebSocketAnswer,
)
from monitor.options import Secret, option, show_duration
from monitor.outbound import (
    Credentials,
    NetworkOptions,
    Proxy,
    TlsOptions,
    join_address,
    login_in,
)
from monitor.probes.answer import FIRST_FINAL, SWITCHING, list_elements
from monitor.probes.dialogue import Dialogue, Step, check_steps, evidence
from monitor.probes.family import check_addresses
from monitor.probes.http import check_login, check_request, logins, sent_user_agent
from monitor.probes.libcurl.errors import code_and_text
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.options import SUPPRESS_CONNECT_HEADERS
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.transfer import CallbackTransfer, Transfer
from monitor.probes.stream import (
    KEPT,
    MOST_RECEIVED,
    TOO_MUCH,
    Broken,
    Flooded,
    is_end,
    lost,
    peer_of,
    wait_for,
)
from monitor.probes.transport import header_lines
from monitor.probes.zone import escaped

_PORTS = {"ws": 80, "wss": 443}
_MOST_HEADER_BYTES: Bytes = 64 * 1024
_PIECE: Bytes = 16 * 1024
_NORMAL_CLOSURE = 1000
_TOKEN = re.compile(TOKEN)
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class WsOptions:
    headers: Mapping[str, str] = option(
        factory=dict, doc="Headers to send with the upgrade, by name."
    )
    subprotocols: tuple[str, ...] = option(
        (), doc="Subprotocols to offer, the preferred one first."
    )
    basic_auth: Credentials | None = option(None, doc="Log in by basic authentication.")
    bearer_token: Secret | None = option(None, doc="Log in by this token.")
    proxy: Secret | None = option(
        None, doc="URL of a proxy: http, https, socks4, socks5 or socks5h; may hold credentials."
    )
    user_agent: str = option(f"website-monitor/{__version__}", doc="The User-Agent header.")
    dialogue: tuple[Step, ...] = option(
        (), doc="What is sent and expected after the upgrade, one message after the other."
    )

    def __post_init__(self) -> None:
        check_request(self)
        for name in self.headers:
            if name.lower().startswith("sec-websocket-"):
                raise ValueError(f"headers may not set {name}; subprotocols is a key of its own")
        for name in self.subprotocols:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"subprotocols: {name!r} is not a subprotocol's name")
        check_steps(self.dialogue)


def check_url(url: str) -> None:
    """
    Accept ``ws://HOST[:PORT][/PATH]``.

    Raises:
        ValueError: There is no host, or a fragment.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(f"a {parts.scheme} URL needs a host: {parts.scheme}://example.com/chat")
    if parts.fragment:
        raise ValueError(f"a {parts.scheme} URL has no fragment; write %23 for #")


def check_site(site: Site) -> None:
    """
    Accept a site whose options can work with its URL and with each other.

    Raises:
        OptionError: Each check would fail, or ignore one of two logins.
    """
    check_addresses(site, proxied="ws")
    options = site.section(WsOptions)
    check_login(site, "ws", logins(options, options.headers))


class WsProbe:
    """Upgrades to WebSocket, and goes through the site's dialogue; one object for all threads."""

    def __init__(self, handles: Handles | None = None) -> None:
        self._handles = handles or Handles()

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Request the upgrade and talk. Any final HTTP answer is an answer, with its status.

        Raises:
            ProbeError: The monitor's system is at fault.
        """
        started = deadline.clock.time()
        options, parts = site.section(WsOptions), urlsplit(site.url)
        route = _route(site, options, parts)
        with self._handles.lend(route, deadline) as transfer:
            upgrade = _Upgrade(transfer, options, parts, route, deadline)
            failure = transfer.perform() or upgrade.failure()
            phases = _phases(transfer)
            tls, address = transfer.tls(failure), transfer.address
            messages = _Messages(transfer, deadline)
            if upgrade.switched:
                if failure is None:
                    failure = _talk(messages, site, deadline, phases)
                messages.close()
                transfer.hang_up()
        answer = None
        if upgrade.complete:
            answer = WebSocketAnswer(
                status=upgrade.status,
                upgraded=upgrade.switched,
                headers=tuple(upgrade.headers),
                received=evidence(messages.last, site),
            )
        return Observation(
            time=started,
            duration=sum(phases.values()),
            phases=phases,
            address=address,
            failure=failure,
            answer=answer,
            tls=tls,
        )


def _route(site: Site, options: WsOptions, parts: SplitResult) -> Route:
    return Route(
        scheme="https" if parts.scheme == "wss" else "http",
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        tls=site.section(TlsOptions),
        network=site.section(NetworkOptions),
        proxy=Proxy.parse(options.proxy) if options.proxy else None,
    )


def _phases(transfer: Transfer) -> dict[Phase, Seconds]:
    """Return its phases, and the wait for an answer that did not come."""
    phases = dict(transfer.phases())
    # libcurl's is for the answer's head; ours, like blackbox_exporter's, is for messages
    phases.pop(Phase.TRANSFER, None)
    waited = transfer.duration - sum(phases.values())
    if Phase.PROCESSING not in phases and waited > 0:
        phases[Phase.PROCESSING] = waited
    return phases


def _talk(
    messages: "_Messages", site: Site, deadline: Deadline, phases: dict[Phase, Seconds]
) -> Failure | None:
    steps = site.section(WsOptions).dialogue
    if not steps:
        return None
    clock = deadline.clock
    dialogue = Dialogue(messages, site, deadline)
    begin = clock.monotonic()
    try:
        for step in steps:
            dialogue.take(step)
    except Broken as broken:
        return broken.failure
    finally:
        phases[Phase.TRANSFER] = phases.get(Phase.TRANSFER, 0.0) + clock.monotonic() - begin
    return None


class _Upgrade:
    """
    The request, and the head of its answer.

    Attributes:
        complete: Whether all headers of a final answer are there.
        status: The status of that answer.
        headers: In the order they came, names as sent.
    """

    def __init__(
        self,
        transfer: CallbackTransfer,
        options: WsOptions,
        parts: SplitResult,
        route: Route,
        deadline: Deadline,
    ) -> None:
        self._transfer = transfer
        self._deadline = deadline
        self._peer = route.peer
        self._offered = options.subprotocols
        self._key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._size = 0
        self._flooded = False
        self._asked = False
        self._expired = False
        self.complete = False
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        address = parts.netloc.rpartition("@")[2]
        own = {"Host": address, "Sec-WebSocket-Key": self._key}
        if options.subprotocols:
            own["Sec-WebSocket-Protocol"] = ", ".join(options.subprotocols)
        login = _authorization(options, urlunsplit(parts))
        if login:
            own["Authorization"] = login
        given = {name.lower() for name in options.headers}
        headers = {name: value for name, value in own.items() if name.lower() not in given}
        # The name to verify replaces the host in the URL; the host is in its header
        there = parts._replace(netloc=escaped(join_address(route.name, route.port)))
        settings: list[tuple[int, Any]] = [
            (pycurl.URL, urlunsplit(there)),
            (pycurl.PATH_AS_IS, 1),
            (pycurl.CONNECT_ONLY, 2),  # up to the end of the upgrade
            (pycurl.FORBID_REUSE, 0),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.HTTP09_ALLOWED, 0),
            (SUPPRESS_CONNECT_HEADERS, 1),
            (pycurl.USERAGENT, sent_user_agent(options.headers, options.user_agent)),
            (pycurl.HTTPHEADER, header_lines(headers | dict(options.headers))),
            (pycurl.HEADERFUNCTION, self._take),
            # With CONNECT_ONLY, libcurl's own timeout ends once it is connected. It still wakes
            # libcurl, which then calls _go_on: certainly not before the deadline has passed
            (pycurl.TIMEOUT_MS, math.ceil(deadline.remaining() * 1000) + 1),
            (pycurl.PREREQFUNCTION, self._connected),
            (pycurl.NOPROGRESS, 0),
            # Otherwise libcurl waits for a peer that sends pings and does not accept the answers
            (pycurl.WS_OPTIONS, pycurl.WS_NOAUTOPONG),
            (pycurl.XFERINFOFUNCTION, self._go_on),
        ]
        for name, value in settings:
            transfer.curl.setopt(name, value)

    @property
    def switched(self) -> bool:
        return self.complete and self.status == SWITCHING

    def _connected(self, *_addresses: object) -> int:
        self._asked = True
        return 0  # continue

    def _go_on(self, *_amounts: object) -> int:
        if not self._asked or not self._deadline.passed():
            return 0
        self._expired = True
        return self._transfer.stop()

    def _take(self, line: bytes) -> int | None:
        self._size += len(line)
        if self._size > _MOST_HEADER_BYTES:
            self._flooded = True
            return self._transfer.stop()
        text = line.decode("latin-1").rstrip("\r\n")
        if text.startswith("HTTP/"):
            self.headers.clear()
            code = text.partition(" ")[2][:3]
            self.status = int(code) if code.isascii() and code.isdecimal() else 0
        elif text:
            name, _, value = text.partition(":")
            self.headers.append((name.rstrip(), value.strip()))
        else:
            self.complete = self.status == SWITCHING or self.status >= FIRST_FINAL
            if self.complete and not self.switched:
                return self._transfer.stop()  # an answer for us, an error for libcurl
        return None

    def failure(self) -> Failure | None:
        """Return the failures that libcurl does not detect, once it has found nothing wrong."""
        if self._flooded:
            limit = f"{_MOST_HEADER_BYTES // 1024}KiB"
            message = f"more than {limit} of headers from {self._peer}"
            return Failure(Reason.PROTOCOL_ERROR, message)
        if self._expired:
            limit = show_duration(self._deadline.timeout)
            message = f"no answer to the upgrade from {self._peer} within {limit}"
            return Failure(Reason.READ_TIMEOUT, message)
        if not self.complete:
            message = f"{self._peer} closed the connection before it answered the upgrade"
            return Failure(Reason.CONNECTION_LOST, message)
        return self._breach() if self.switched else None

    def _breach(self) -> Failure | None:
        """Return what a client must not accept from a server that switched (RFC 6455, 4.1)."""
        for name, token in (("Upgrade", "websocket"), ("Connection", "upgrade")):
            listed = list_elements(self.headers, name.lower())
            if token not in [one.lower() for one in listed]:
                message = f"{self._peer} answered 101 without the header {name}: {token}"
                return Failure(Reason.PROTOCOL_ERROR, message)
        digest = hashlib.sha1((self._key + _GUID).encode()).digest()  # noqa: S324  as the RFC says
        if self._header("sec-websocket-accept") != base64.b64encode(digest).decode():
            message = f"{self._peer} accepted the upgrade with a wrong Sec-WebSocket-Accept"
            return Failure(Reason.PROTOCOL_ERROR, message)
        chosen = self._header("sec-websocket-protocol")
        if chosen is not None and chosen not in self._offered:
            message = f"{self._peer} chose subprotocol {chosen[:100]!r}, which was not offered"
            return Failure(Reason.PROTOCOL_ERROR, message)
        if extensions := self._header("sec-websocket-extensions"):
            message = f"{self._peer} uses extension {extensions[:100]!r}, which was not offered"
            return Failure(Reason.PROTOCOL_ERROR, message)
        return None

    def _header(self, name: str) -> str | None:
        values = (value for key, value in self.headers if key.lower() == name)
        return next(values, None)


def _authorization(options: WsOptions, url: str) -> str | None:
    if options.bearer_token is not None:
        return f"Bearer {options.bearer_token}"
    login = login_in(url)
    if options.basic_auth:
        login = options.basic_auth.username.encode(), options.basic_auth.password.encode()
    return "Basic " + base64.b64encode(b":".join(login)).decode() if login else None


class _Messages:
    """
    Messages over an upgraded connection, with one deadline and limited memory; a Peer.

    Attributes:
        last: The end of the last message that arrived.
    """

    def __init__(self, transfer: CallbackTransfer, deadline: Deadline) -> None:
        self._transfer = transfer
        self._curl = transfer.curl
        self._deadline = deadline
        self._message = bytearray()
        self._ping = bytearray()
        self._total = 0
        self.last = b""

    @property
    def peer(self) -> str:
        return peer_of(self._curl)

    def send_text(self, text: bytes) -> None:
        self._send(text, pycurl.WS_TEXT)

    def send_bytes(self, data: bytes) -> None:
        self._send(data, pycurl.WS_BINARY)

    def receive_bytes(self, _wanted: bytes, /) -> bytes:
        """Return the next message, whatever is expected."""
        return self.receive_text()

    def receive_text(self, *, patience: Seconds = math.inf) -> bytes:  # noqa: ARG002  a message has an end
        """Return the next message, of text or bytes, put together from its fragments."""
        while True:
            data, frame = self._receive()
            if frame.flags & pycurl.WS_CLOSE:
                raise EOFError(*_why_closed(data))
            if frame.flags & pycurl.WS_PING:
                self._ping += data
                if not frame.bytesleft:
                    self._send(bytes(self._ping), pycurl.WS_PONG)
                    self._ping.clear()
                continue
            if frame.flags & pycurl.WS_PONG:
                continue
            self._message += data
            self.last = bytes(self._message[-KEPT:])
            if not frame.bytesleft and not frame.flags & pycurl.WS_CONT:
                message = bytes(self._message)
                self._message.clear()
                return message

    def unread(self) -> bytes:
        return bytes(self._message)

    def close(self) -> None:
        """Send a close frame, as far as the connection accepts it at once."""
        with suppress(pycurl.error, BlockingIOError):
            self._curl.ws_close(_NORMAL_CLOSURE)

    def _send(self, data: bytes, kind: int) -> None:
        while True:
            try:
                data = data[self._curl.ws_send(data, kind) :]
            except BlockingIOError:
                wait_for(select.POLLOUT, self._curl, self._deadline)
                continue
            except pycurl.error as error:
                raise self._lost(error) from error
            if not data:
                return

    def _receive(self) -> tuple[bytes, Any]:
        """Return the next piece of a frame, and libcurl's information about that frame."""
        while True:
            if self._deadline.passed():
                raise TimeoutError
            try:
                data, frame = self._curl.ws_recv(_PIECE)
            except BlockingIOError:
                wait_for(select.POLLIN, self._curl, self._deadline)
                continue
            except pycurl.error as error:
                if is_end(error):
                    raise EOFError from error
                raise self._lost(error) from error
            self._total += len(data)
            if self._total > MOST_RECEIVED:
                raise Flooded(TOO_MUCH)
            return data, frame

    def _lost(self, error: pycurl.error) -> Broken:
        text = code_and_text(error)[1]
        if text.startswith("[WS] "):
            message = f"{self.peer} does not keep to WebSocket: {text[5:]}"
            return Broken(Reason.PROTOCOL_ERROR, message)
        return lost(self._transfer, error)


def _why_closed(payload: bytes) -> tuple[str, ...]:
    """Return the code and reason of a close frame, if it has them."""
    if len(payload) < 2:  # noqa: PLR2004  the code alone
        return ()
    reason = payload[2:].decode(errors="replace")
    return (f"{int.from_bytes(payload[:2], 'big')} {reason}".strip(),)
