"""How commands that check sites print and exit."""

import sys
from typing import NoReturn

from rich.console import Console

from monitor.app.process import leave

_UNBOUNDED = 10_000


def console() -> Console:
    # In a file or a pipe, no line is truncated to a terminal's width
    width = None if sys.stdout.isatty() else _UNBOUNDED
    return Console(highlight=False, width=width)


def exit_after(code: int, drained: bool) -> NoReturn:
    sys.stdout.flush()  # a full disk is noticed here, while it can still be reported
    if not drained:
        leave(code)
    sys.exit(code)
