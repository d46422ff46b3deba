"""The addresses that ``--listen`` names; light, because ``monitor healthcheck`` reads them too."""

import re
from typing import NamedTuple

from monitor.errors import StartupError

_HOST_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})", re.ASCII)
_LARGEST_PORT = 65535


class Listen(NamedTuple):
    """A host, which is empty for every address of the machine, and a port; 0 picks a free one."""

    host: str
    port: int


def parse_listen(text: str) -> Listen:
    """
    Read HOST:PORT, [IPV6]:PORT or :PORT.

    Raises:
        StartupError: It is none of these.
    """
    found = _HOST_PORT.fullmatch(text)
    if found is None or int(found["port"]) > _LARGEST_PORT:
        raise StartupError(
            f"cannot listen on {text!r}: write HOST:PORT, [IPV6]:PORT, or :PORT for every address"
        )
    return Listen(found["six"] or found["host"], int(found["port"]))
