"""How tests wait for something in another thread or process, and for how long at most."""

import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 60.0
"""Seconds until something that must happen counts as not happening; generous, machines are slow."""

_PAUSE = 0.02

Answer = TypeVar("Answer")


def until(check: Callable[[], Answer], what: str = "what the test waits for") -> Answer:
    """Return the first true result of a check, and repeat a check that ends in an OSError."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            answer = check()
        except OSError:
            pass
        else:
            if answer:
                return answer
        assert time.monotonic() < give_up, f"{what} did not happen"
        time.sleep(_PAUSE)


def free_port() -> int:
    """
    Return a port of this machine that nobody listens on.

    It is below the ports that systems assign, so no other program gets it meanwhile.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311  the choice need not be secret
        with socket.socket() as sock:
            try:
                sock.bind(("", port))
            except OSError:
                continue
            return port
