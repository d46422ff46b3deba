"""
uvicorn in its own thread, with limits so that neither slow nor many clients can block it.

uvicorn has no time limit for an unfinished request, for a TLS handshake or for a client that does
not read, and it counts connections only after their first request. Here every connection counts
from the moment it is accepted, and each of its waits has a limit. When there are too many, the one
that has waited longest makes room for the new one.
"""

import asyncio
import errno
import logging
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from monitor.errors import StartupError
from monitor.logs import fields
from monitor.model import Bytes, Seconds
from monitor.web.access import Access
from monitor.web.answers import SAFE_HEADERS
from monitor.web.doors import Listener, listen_on
from monitor.web.tls import ServerTls
from monitor.web.web_config import WebConfig

log = logging.getLogger(__name__)

LONGEST_HEAD: Bytes = 64 * 1024
"""The limit of a request's head, from its first line to the empty one."""
_REFUSALS = {
    400: (b"Bad Request", "This is not an HTTP/1.1 request."),
    431: (
        b"Request Header Fields Too Large",
        f"The head of this request is longer than {LONGEST_HEAD} bytes.",
    ),
}
_TICK: Seconds = 1.0  # how long a Date header stays valid
_FAREWELL: Seconds = 1.0  # for close_notify, and for interrupted requests to notice
_NO_LINGER = struct.pack("ii", 1, 0)  # struct linger: on, no second
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Limits for one client, and for all together; the times are in seconds.

    Attributes:
        connections: At the same time, handshakes included; each takes a descriptor from the probes.
        request: From the accepted connection, or a request's first byte, to the end of its head.
        answer: From the end of the head to the last byte of the answer; more than the 2 minutes
            that a check by ``/probe`` may take.
        stall: Until a client that reads slowly takes the next piece of an answer.
        idle: From an answer to the next request on the same connection; longer than the usual
            scrape interval, so that Prometheus needs no handshake for each scrape.
    """

    connections: int = 256
    request: Seconds = 10.0
    answer: Seconds = 130.0
    stall: Seconds = 10.0
    idle: Seconds = 75.0


class WebServer:
    """
    Serves one application on some addresses until it is stopped.

    Args:
        listen: Each HOST:PORT, [IPV6]:PORT, :PORT for every address of the machine, or unix:PATH;
            port 0 picks a free one.
        web_config: TLS, users and headers; without it, plain HTTP for everyone.
        is_free: Whether a decoded path needs no log-in.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: Sequence[str],
        web_config: WebConfig | None = None,
        limits: Limits | None = None,
        is_free: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._listen = listen
        self._config = web_config or WebConfig()
        self._access = Access(app, self._config, is_free=is_free)
        self._server = _Server(self._access, limits or Limits())
        self._listeners: tuple[Listener, ...] = ()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """The address of every socket, with its real port; empty before the start."""
        return tuple(one.address for one in self._listeners)

    def start(self) -> None:
        """
        Listen, and return once requests are answered.

        Raises:
            StartupError: An address or the certificate cannot be used, or the event loop cannot be
                created; nothing is left open.
        """
        self.reconfigure(self._config)
        listeners = listen_on(self._listen)
        sockets = [one.socket for one in listeners]
        # A daemon thread, so that no client can keep the process from ending
        thread = threading.Thread(target=self._run, args=(sockets,), name="web", daemon=True)
        thread.start()
        self._server.settled.wait()
        if not self._server.started:
            for one in listeners:
                one.close()
            raise StartupError(f"the web server cannot run: {self._failure}")
        self._listeners = listeners
        self._thread = thread

    def reconfigure(self, web_config: WebConfig | None) -> None:
        """
        Use this configuration for connections and requests from now on; any thread may call it.

        Raises:
            StartupError: The certificate cannot be used; the previous configuration stays.
        """
        config = web_config or WebConfig()
        tls = config.tls_server_config
        self._server.tls = ServerTls(tls) if tls else None
        self._access.config = config

    def stop(self, timeout: Seconds = 2.0) -> None:
        """Accept no more connections, finish running answers, and cut the rest at the timeout."""
        if self._thread is not None:
            for listener in self._listeners:
                listener.remove()
            self._server.leave(timeout)
            self._thread.join(timeout + 2 * _FAREWELL)

    def _run(self, sockets: list[socket.socket]) -> None:
        try:
            self._server.run(sockets)
        except Exception as error:
            self._failure = error
            if self._server.started:
                log.exception("web_thread_failed")
        finally:
            self._server.settled.set()


class _Server(uvicorn.Server):
    """
    uvicorn's server, but accepting connections itself.

    The mutable state is ``tls``, which any thread may replace as a whole, what ``leave`` sets, and
    the connections, which belong to the event loop.

    Attributes:
        settled: Set once connections are accepted, or never will be.
        grace: How long a stop waits for running answers.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                # h11 on every machine, because it lets us set the limit of a request's head
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="off",
                interface="asgi3",
                workers=1,
                log_config=None,
                # Otherwise it warns about each bad request of each port scanner
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=3600,  # ours is limits.idle
            )
        )
        self.limits = limits
        self.tls: ServerTls | None = None
        self.settled = threading.Event()
        self.grace: Seconds = 0.0
        self.present: set[_Connection] = set()
        self._doors: list[asyncio.Task[None]] = []

    def leave(self, grace: Seconds) -> None:
        """Ask the server to end soon; any thread may call this once the server has started."""
        self.grace = grace
        self.should_exit = True
        with suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        # uvicorn's own loop wakes ten times a second to see whether to end
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        self._doors = [asyncio.create_task(self._admit(sock)) for sock in sockets or []]
        self.started = True
        self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        # 1. Stop accepting first, so that a client that tries again finds another replica. A
        # listener that is accepting a connection finishes that and ends by itself; the others only
        # wait.
        self.should_exit = True
        for door, sock in zip(self._doors, sockets or [], strict=True):
            if loop.remove_reader(sock):
                door.cancel()
        await asyncio.gather(*self._doors, return_exceptions=True)
        for sock in sockets or []:
            sock.close()
        # 2. Finish the answers to running requests; close all other connections.
        for connection in tuple(self.present):
            connection.leave()
        await self._empty_by(loop.time() + self.grace)
        # 3. Cut the rest when their time is over. Cutting a connection also ends its request.
        for connection in tuple(self.present):
            connection.drop()
        await self._empty_by(loop.time() + _FAREWELL)

    async def _empty_by(self, end: Seconds) -> None:
        loop = asyncio.get_running_loop()
        while (self.present or self.server_state.tasks) and loop.time() < end:  # noqa: ASYNC110  one of them is uvicorn's
            await asyncio.sleep(0.02)

    async def _admit(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while not self.should_exit:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:
                # Any other error means that the client has gone already
                if error.errno in _EXHAUSTED:
                    log.warning("web_accept_failed", extra=fields(detail=str(error)))
                    await asyncio.sleep(1)
                continue
            if len(self.present) >= self.limits.connections:
                min(self.present, key=_Connection.usefulness).drop()
            connection = _Connection(self)
            self.present.add(connection)
            connection.handshake = loop.create_task(self._receive(connection, sock))
            # Let other tasks run, however many clients wait, and let the handshake begin: once it
            # has begun, it always closes its socket
            await asyncio.sleep(0)

    async def _receive(self, connection: "_Connection", sock: socket.socket) -> None:
        context = self.tls.context() if self.tls else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=context,
                ssl_shutdown_timeout=_FAREWELL if context else None,
            )
        except OSError as error:
            log.debug("web_handshake_failed", extra=fields(detail=str(error)))
        finally:
            if connection.transport is None:
                connection.forget()


class _Wait(Enum):
    """What a connection is waiting for."""

    REQUEST = "request"
    ANSWER = "answer"
    IDLE = "idle"


class _Requests(h11.Connection):
    """
    h11's side of a connection with an exact bound on the head of a request.

    h11 counts only incomplete data, so a head in large pieces could be twice as long.

    Attributes:
        refusal: The status that the last bad request is answered with.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, LONGEST_HEAD)
        self.refusal = 400

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        before = len(self.trailing_data[0]) if self.their_state is h11.IDLE else 0
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                self._check_head(before - len(self.trailing_data[0]))
        except h11.RemoteProtocolError as error:
            self.refusal = error.error_status_hint
            raise
        return event

    def _check_head(self, size: Bytes) -> None:
        if size > LONGEST_HEAD:
            raise h11.RemoteProtocolError("the head is too long", error_status_hint=431)


class _Connection(H11Protocol):
    """
    uvicorn's connection with a limit for each of its waits.

    Attributes:
        handshake: The task that turns the accepted socket into a connection.
    """

    handshake: asyncio.Task[None]
    conn: _Requests

    def __init__(self, server: _Server) -> None:
        super().__init__(server.config, server.server_state, {})
        self.conn = _Requests()
        self._server = server
        self._stalled: asyncio.TimerHandle | None = None
        self._limits = {
            _Wait.REQUEST: server.limits.request,
            _Wait.ANSWER: server.limits.answer,
            _Wait.IDLE: server.limits.idle,
        }
        self._wait_for(_Wait.REQUEST)

    def usefulness(self) -> tuple[bool, Seconds]:
        """Return the sort key of who makes room for new connections, the lowest first."""
        return self._wait is _Wait.ANSWER, self._since

    def leave(self) -> None:
        """Close now, or after the running answer."""
        if self._wait is _Wait.ANSWER:
            self.shutdown()
        else:
            self.drop()

    def drop(self) -> None:
        """Close now, and make room at once."""
        self.forget()
        if self.transport is None:
            self.handshake.cancel()
        else:
            self.transport.abort()

    def reset(self) -> None:
        """Close now, and make the kernel drop what the client has not read."""
        with suppress(OSError):  # it is gone
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.drop()

    def forget(self) -> None:
        self._alarm.cancel()
        if self._stalled is not None:
            self._stalled.cancel()
        self._server.present.discard(self)

    def _wait_for(self, wait: _Wait) -> None:
        self._wait = wait
        self._since = self.loop.time()
        self._alarm = self.loop.call_later(self._limits[wait], self.drop)

    def _now_waiting(self) -> _Wait:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            return _Wait.ANSWER
        # Nobody reads the rest of an answered request, so it gets the time limit of a request
        more = self.conn.trailing_data[0] or self.conn.their_state is h11.SEND_BODY
        return _Wait.REQUEST if more else _Wait.IDLE

    # ------------------------------------------------------------ called by asyncio and uvicorn

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio knows less
        super().connection_made(transport)
        tls = self._server.tls
        if tls and not tls.admits(transport.get_extra_info("peercert")):
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.forget()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The limit runs from a request's first byte: sending more bytes does not extend it
        wait = self._now_waiting()
        if wait is not self._wait:
            self._alarm.cancel()
            self._wait_for(wait)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._server.limits.stall, self.reset)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  ours says what is wrong
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.drop()  # the bad bytes are in a request's body, and its answer has begun
            return
        if self._now_waiting() is _Wait.ANSWER:
            self.cycle.disconnected = True  # the application's answer would come too late
        status = self.conn.refusal if self.conn.refusal in _REFUSALS else 400
        reason, text = _REFUSALS[status]
        headers = {**SAFE_HEADERS, "Content-Type": "text/plain", "Connection": "close"}
        for event in (
            h11.Response(status_code=status, reason=reason, headers=list(headers.items())),
            h11.Data(data=text.encode() + b"\n"),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._alarm.cancel()
        self._wait_for(self._now_waiting())
