"""
``monitor healthcheck``: whether this machine's daemon is alive, for a container's engine.

It runs every few seconds beside the daemon, within its limits: bare sockets, and nothing loaded
that only a daemon needs.
"""

import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

import click

from monitor.commands import UNHEALTHY
from monitor.commands.options import listen_option
from monitor.errors import StartupError
from monitor.web.listen import Listen, parse_listen

_PATIENCE = 3.0
"""Seconds for each step; shorter than the engine's own limit, which would give no reason."""
_REQUEST = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LONGEST_LINE = 1024
_LOOPBACK: Mapping[str, str] = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  who listens on all addresses listens on this one
_HANDSHAKE = b"\x16"
"""The first byte of TLS handshake messages (RFC 8446, 5.1); a refusal begins with another."""


@click.command()
@listen_option
def healthcheck(listen: tuple[str, ...]) -> None:
    """
    Ask the daemon on this machine whether it is alive, and exit with 0 or 1.

    Takes --listen as run does, and uses the first of several addresses.
    """
    problem = _problem(listen[0])
    if problem is not None:
        click.echo(f"monitor: the daemon on {listen[0]} is not healthy: {problem}", err=True)
        sys.exit(UNHEALTHY)


def _problem(listen: str) -> str | None:
    """Return why the daemon does not count as healthy; None if it does."""
    try:
        address = parse_listen(listen)
        line = _ask(address)
        if not line.startswith(b"HTTP/"):
            return None if _speaks_tls(address) else "what listens there is another program"
    except StartupError as error:
        return str(error)
    except TimeoutError:
        return f"it did not answer within {_PATIENCE:g}s"
    except OSError as error:
        return error.strerror or str(error)
    if line.split()[1:2] != [b"200"]:
        return f"it answered {line.decode(errors='replace').strip()!r}"
    return None


def _connect(address: Listen) -> socket.socket:
    if address.path:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_PATIENCE)
        try:
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    host = _LOOPBACK.get(address.host, address.host)
    return socket.create_connection((host, address.port), _PATIENCE)


def _ask(address: Listen) -> bytes:
    """Return the first line of the answer; empty if the daemon speaks TLS and hangs up."""
    with _connect(address) as sock:
        try:
            return _first_line(sock)
        except ConnectionError:
            return b""


def _speaks_tls(address: Listen) -> bool:
    """
    Return whether a handshake begins.

    This proves as much as an answer, because the same loop gives it. A daemon that requires
    client certificates would send no more anyway.
    """
    import ssl  # noqa: PLC0415  a third of the memory, and most daemons do not need it

    # This stops at the daemon's first message, so there is nothing to verify
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    with _connect(address) as sock:
        sock.sendall(sent.read())
        return sock.recv(1) == _HANDSHAKE


def _first_line(sock: socket.socket) -> bytes:
    sock.sendall(_REQUEST)
    with sock.makefile("rb") as answer:
        return answer.readline(_LONGEST_LINE)
