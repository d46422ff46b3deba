"""The sockets that the web server listens on: TCP and Unix."""

import errno
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from monitor.errors import StartupError
from monitor.model import Seconds
from monitor.web.listen import parse_listen

SOCKET_MODE = 0o660
"""Mode of a Unix socket's file: connecting needs write permission; owner and group have it."""

_BACKLOG = 128
_KNOCK: Seconds = 1.0
_PATIENCE: Seconds = 2.0
"""How long a folder may stay locked; a daemon holds the lock only to create its socket."""
_GLANCE: Seconds = 0.01
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@dataclass(frozen=True, slots=True)
class Listener:
    """
    A listening, non-blocking socket.

    Attributes:
        address: HOST:PORT with the real port, or unix:PATH.
        remove: Removes the file that a closed socket would leave behind.
    """

    socket: socket.socket
    address: str
    remove: Callable[[], None]

    def close(self) -> None:
        # The file goes first, so that no client finds the file of a closed socket
        self.remove()
        self.socket.close()


def listen_on(addresses: Sequence[str]) -> tuple[Listener, ...]:
    """
    Listen on every address.

    Args:
        addresses: Each as parse_listen reads it.

    Raises:
        StartupError: An address cannot be used; nothing is left open.
    """
    with ExitStack() as opened:
        listeners = []
        for text in addresses:
            host, port, path = parse_listen(text)
            for listener in _unix(text, Path(path)) if path else _tcp(text, host, port):
                opened.callback(listener.close)
                listeners.append(listener)
        opened.pop_all()
    return tuple(listeners)


# ---------------------------------------------------------------- TCP


def _tcp(text: str, host: str, port: int) -> Iterator[Listener]:
    try:
        for sock in _bound(host, port):
            sock.setblocking(False)
            # Every connection inherits it. asyncio sets it by itself, but not on sockets created
            # like these, and then each answer on a kept connection waits 40 ms for an
            # acknowledgement
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Listener(sock, _shown(sock), remove=lambda: None)
    except socket.gaierror as error:
        raise StartupError(
            f"cannot listen on {text}: {host} does not resolve to an address of this machine"
        ) from error
    except OSError as error:
        advice = {
            errno.EADDRINUSE: "; stop what is listening there, or choose another with --listen",
            errno.EACCES: "; ports below 1024 are privileged, choose another with --listen",
            errno.EADDRNOTAVAIL: f"; {host} is not an address of this machine",
        }
        raise _refusal(text, error, advice.get(error.errno or 0, "")) from error


def _bound(host: str, port: int) -> Iterator[socket.socket]:
    if not host:
        yield _every_address(port)
        return
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # localhost is two addresses; where IPv6 is switched off, only one of them works
    refused: OSError | None = None
    bound = 0
    for family, address in dict.fromkeys((one[0], one[4]) for one in found):
        try:
            sock = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise
            refused = error
        else:
            bound += 1
            yield sock
    if not bound and refused:
        raise refused


def _every_address(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise
    return socket.create_server(("", port), backlog=_BACKLOG)


def _shown(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ---------------------------------------------------------------- Unix sockets


def _unix(text: str, path: Path) -> Iterator[Listener]:
    sock = socket.socket(socket.AF_UNIX)
    try:
        with _alone_in(path.parent):
            _clear(path, text)
            sock.bind(str(path))
            # No client can connect before listen(), so none connects under the wrong permissions
            path.chmod(SOCKET_MODE)
            sock.listen(_BACKLOG)
        sock.setblocking(False)
        ours = _identity(path)
    except StartupError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        advice = {
            errno.ENOENT: f"; make the folder {path.parent} first",
            errno.EACCES: f"; {path.parent} and the files in it must be writable for this user",
            errno.EADDRINUSE: "; another program is starting there",
            errno.EAGAIN: f"; another program has locked {path.parent}",
        }
        raise _refusal(text, error, advice.get(error.errno or 0, "")) from error

    def remove() -> None:
        # By now the file may belong to a daemon that replaced this one
        with suppress(OSError):
            if _identity(path) == ours:
                path.unlink()

    yield Listener(sock, text, remove)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """
    Keep other daemons from creating sockets in the folder until the block ends.

    A socket that does not listen yet looks like that of a dead daemon, so another daemon would
    remove it. The lock is on the folder itself, so no lock file is left behind.

    Raises:
        BlockingIOError: The folder stays locked for too long.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        give_up = time.monotonic() + _PATIENCE
        while True:
            try:
                flock(handle, LOCK_EX | LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(_GLANCE)
        yield
    finally:
        os.close(handle)


def _clear(path: Path, text: str) -> None:
    """
    Remove the socket file that a daemon left when it died.

    Raises:
        StartupError: A process listens there, or it is not a socket.
        OSError: It cannot be examined or removed.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartupError(
            f"cannot listen on {text}: {path} exists and is not a socket; remove it, or choose "
            "another with --listen"
        )
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_KNOCK)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except (BlockingIOError, TimeoutError):
            pass  # its queue is full, so a process listens
    raise StartupError(
        f"cannot listen on {text}: another program listens there; stop it, or choose another"
        " with --listen"
    )


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _refusal(text: str, error: OSError, advice: str) -> StartupError:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return StartupError(f"cannot listen on {text}: {reason}{advice}")
