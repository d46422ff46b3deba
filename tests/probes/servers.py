"""
Scripted servers on loopback, for answers that no honest server gives.

A script is a list of steps that each connection goes through: bytes are sent, numbers are seconds
to wait, functions are called with the connection. Servers end with their test; nothing waits
beyond it.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

_LONGEST_WAIT = 30.0


class Connection:
    """One accepted connection, as the steps of a script see it."""

    def __init__(self, sock: socket.socket, server: "ScriptedServer") -> None:
        self.sock = sock
        self.server = server

    def wait(self, seconds: float = _LONGEST_WAIT) -> None:
        """Wait at most until the server is closed."""
        self.server.closing.wait(seconds)


Step: TypeAlias = bytes | float | Callable[[Connection], None]


def read_request(connection: Connection) -> None:
    """Read one request with its body and append it to the server's ``requests``."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.sock.recv(65536)
        if not piece:
            return
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value):
                body += connection.sock.recv(65536)
    connection.server.requests.append(head + b"\r\n\r\n" + body)


def stay_silent(connection: Connection) -> None:
    """Read whatever comes and answer nothing until the client disconnects or the test ends."""
    # close() of the server shuts the socket down, which ends recv like a client's close
    while connection.sock.recv(65536):
        pass


def reset(connection: Connection) -> None:
    """Break the connection off with a TCP reset."""
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # detach: SSLSocket.close() alone would leave the linger to the garbage collector
    socket.close(connection.sock.detach())


def drip(data: bytes, every: float = 0.05) -> Callable[[Connection], None]:
    """Send the bytes one at a time, over and over."""

    def step(connection: Connection) -> None:
        while not connection.server.closing.wait(every):
            for byte in data:
                connection.sock.sendall(bytes([byte]))
                if connection.server.closing.wait(every):
                    return

    return step


def repeat(data: bytes, times: int | None = None) -> Callable[[Connection], None]:
    """Send the same bytes forever, or a given number of times, as fast as the client reads."""

    def step(connection: Connection) -> None:
        sent = 0
        while (times is None or sent < times) and not connection.server.closing.is_set():
            connection.sock.sendall(data)
            sent += 1

    return step


def answer(
    body: bytes = b"ok", status: str = "200 OK", headers: Sequence[tuple[str, str]] = ()
) -> list[Step]:
    """Return the script of a plain, correct answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    return [read_request, head.encode() + body]


class ScriptedServer:
    """
    Listens on a loopback address and runs a script for each connection.

    Attributes:
        requests: What read_request read, in order.
        port: The port on which it listens.
        peers: The address each connection came from.
    """

    def __init__(
        self,
        script: Sequence[Step] | Callable[[int], Sequence[Step]],
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.requests: list[bytes] = []
        self.peers: list[str] = []
        self.closing = threading.Event()
        self._script = script
        self._tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._open: set[Connection] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def scheme(self) -> str:
        return "https" if self._tls else "http"

    def url(self, path: str = "/", host: str | None = None) -> str:
        host = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{self.scheme}://{host}:{self.port}{path}"

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            connection = Connection(sock, self)
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number))
            number += 1
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: Connection, number: int) -> None:
        script = self._script(number) if callable(self._script) else self._script
        sock = connection.sock
        # Whatever the client does to the connection is the test's business, not an error here
        with contextlib.suppress(OSError, ValueError):
            if self._tls:
                sock.settimeout(5)
                sock = connection.sock = self._tls.wrap_socket(sock, server_side=True)
            for step in script:
                if isinstance(step, bytes):
                    sock.sendall(step)
                elif callable(step):
                    step(connection)
                else:
                    connection.wait(step)
        with contextlib.suppress(OSError, ValueError):
            sock.shutdown(socket.SHUT_WR)
        sock.close()
        self._open.discard(connection)

    def close(self) -> None:
        self.closing.set()
        # shutdown wakes accept(); close alone does not
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                # SSLSocket's own would take the session from the thread that reads
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
