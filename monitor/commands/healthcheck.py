"""
``monitor healthcheck``: whether the daemon of this machine lives, for a container's engine.

It runs every few seconds beside the daemon, within its limits: bare sockets, and nothing loaded
that a daemon needs.
"""

import socket
import sys
from collections.abc import Mapping

import click

from monitor.commands import UNHEALTHY
from monitor.commands.options import listen_option
from monitor.web.listen import Listen, parse_listen

_PATIENCE = 3.0
"""Seconds for each step; an engine's own limit, after which nobody says why, is longer."""
_REQUEST = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LONGEST_LINE = 1024
_LOOPBACK: Mapping[str, str] = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  who listens on all addresses listens on this one
_WANTS_CERTIFICATE = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"}
"""What OpenSSL calls the alerts of RFC 8446, 6.2, and of RFC 5246, 7.2.2."""


@click.command()
@listen_option
def healthcheck(listen: tuple[str, ...]) -> None:
    """
    Ask the daemon on this machine whether it lives; only the exit status tells.

    Takes --listen as run does; of several addresses the first is asked.
    """
    problem = _problem(parse_listen(listen[0]))
    if problem is not None:
        click.echo(f"monitor: the daemon on {listen[0]} is not healthy: {problem}", err=True)
        sys.exit(UNHEALTHY)


def _problem(address: Listen) -> str | None:
    """Return why the daemon does not count as healthy; None when it does."""
    try:
        line = _ask(address)
        if not line.startswith(b"HTTP/"):
            line = _ask_over_tls(address)
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
    """Return the first line of the answer; empty when the daemon speaks TLS, and hangs up."""
    with _connect(address) as sock:
        try:
            return _first_line(sock)
        except ConnectionError:
            return b""


def _ask_over_tls(address: Listen) -> bytes:
    import ssl  # noqa: PLC0415  a third of the memory, where most daemons do not need it

    # It is the daemon of this machine that we talk to, whatever name its certificate is for and
    # whoever signed it; nothing secret is sent, and nothing but a status is believed
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connect(address) as sock, context.wrap_socket(sock) as secured:
            return _first_line(secured)
    except ssl.SSLError as error:
        if error.reason in _WANTS_CERTIFICATE:
            # Its clients have one and we do not; that it says so shows that it lives
            return b"HTTP/1.1 200"
        raise


def _first_line(sock: socket.socket) -> bytes:
    sock.sendall(_REQUEST)
    with sock.makefile("rb") as answer:
        return answer.readline(_LONGEST_LINE)
