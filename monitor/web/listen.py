"""The addresses that ``--listen`` names; light, because ``monitor healthcheck`` reads them too."""

import os
import re
from typing import NamedTuple

from monitor.errors import StartupError
from monitor.grammar import LARGEST_PORT, LONGEST_SOCKET

_HOST_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})", re.ASCII)
_UNIX = "unix:"


class Listen(NamedTuple):
    """
    A place to listen on.

    Attributes:
        host: Empty for every address of the machine.
        port: 0 picks a free one.
        path: Of a Unix socket, which has neither host nor port; otherwise empty.
    """

    host: str = ""
    port: int = 0
    path: str = ""


def parse_listen(text: str) -> Listen:
    """
    Read HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH; the host ``*`` means every address.

    Raises:
        StartupError: The text has another form.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        if not 0 < len(os.fsencode(path)) <= LONGEST_SOCKET or "\0" in path:
            raise StartupError(
                f"cannot listen on {text!r}: write {_UNIX}PATH with a path of 1 to "
                f"{LONGEST_SOCKET} bytes"
            )
        return Listen(path=path)
    found = _HOST_PORT.fullmatch(text)
    host = (found["six"] or found["host"]) if found else ""
    if found is None or int(found["port"]) > LARGEST_PORT or not _may_be_a_name(host):
        raise StartupError(
            f"cannot listen on {text!r}: write HOST:PORT, [IPV6]:PORT, :PORT for every address, "
            f"or {_UNIX}PATH for a Unix socket"
        )
    return Listen("" if host == "*" else host, int(found["port"]))


def _may_be_a_name(host: str) -> bool:
    try:
        host.encode("idna")  # a look-up does this too, and would raise the same error
    except UnicodeError:
        return False
    return True
