"""Conversations for scripted servers, and checks by the probes that take part in them."""

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from monitor.clock import SystemClock
from monitor.config.keys import Tables
from monitor.config.load import load_text
from monitor.mailbox import Mailbox
from monitor.model import Observation, Site
from monitor.probes.libcurl.handles import Handles
from monitor.probes.observe import Observer
from monitor.probes.registry import PROBES
from tests.probes.servers import Connection, ScriptedServer, Step

Turn: TypeAlias = Step | ssl.SSLContext | None

LINE = None
"""The turn in which a line is taken and kept in the server's ``requests``."""


def take(size: int) -> Callable[[Connection], None]:
    """Read this many bytes and append them to the server's ``requests``."""

    def turn(connection: Connection) -> None:
        data = b""
        while len(data) < size:
            piece = connection.sock.recv(size - len(data))
            if not piece:
                break
            data += piece
        connection.server.requests.append(data)

    return turn


def talk(*turns: Turn) -> list[Step]:
    """
    Return the script of a conversation; a TLS context puts the connection under TLS.

    Once its last turn is over the connection is closed.
    """

    def step(connection: Connection) -> None:
        with ExitStack() as stack:
            for turn in turns:
                if isinstance(turn, bytes):
                    connection.sock.sendall(turn)
                elif isinstance(turn, ssl.SSLContext):
                    connection.sock.settimeout(5)
                    secured = turn.wrap_socket(connection.sock, server_side=True)
                    connection.sock = stack.enter_context(secured)
                elif turn is None:
                    _take_line(connection)
                elif callable(turn):
                    turn(connection)
                else:
                    connection.wait(turn)

    return [step]


def _take_line(connection: Connection) -> None:
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.sock.recv(1)
        if not piece:
            break
        line += piece
    connection.server.requests.append(line)


_END = b"the client has closed the connection"


def wait_for_end(connection: Connection) -> None:
    """Read until the client closes the connection, and record that it has."""
    with suppress(ConnectionResetError):  # it closed before it had read all
        while connection.sock.recv(65536):
            pass
    connection.server.requests.append(_END)


def all_ended(server: ScriptedServer, count: int) -> bool:
    """Return whether this many connections of a server that uses wait_for_end were closed."""
    limit = time.monotonic() + 5
    while server.requests.count(_END) < count and time.monotonic() < limit:
        time.sleep(0.01)
    return server.requests.count(_END) == count


def site_of(url: str, environ: Mapping[str, str] | None = None, **keys: Any) -> Site:
    """
    Return the site of these keys, decoded as the daemon does it.

    Raises:
        ConfigError: The keys are wrong.
    """
    text = json.dumps({"sites": [{"url": url, **keys}]})  # JSON is YAML
    (site,) = load_text(text, Tables(PROBES, {}), environ or {}).sites
    return site


def observe(handles: Handles, authority: Any, url: str, **keys: Any) -> Observation:
    """Check a site with these keys once; the site trusts the test's authority."""
    keys["tls"] = {"ca_file": authority.file, **keys.get("tls", {})}
    site = site_of(url, **{"timeout": "5s", **keys})
    # What the row builds has handles of its own, which no test could close
    built: Any = PROBES[site.scheme].build(Mailbox())
    probe = type(built)(handles)
    return Observer({site.scheme: probe}, SystemClock())(site)


@contextmanager
def running(folder: Path, port: int, *command: str) -> Iterator[None]:
    """Run another program's server in a folder, and return once its port is open."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_for(port, process, folder / "log")
            yield
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < limit:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
