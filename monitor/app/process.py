"""Handles signals and ends the process; part of the composition root."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


def on_stop(do: Callable[[], None]) -> dict[signal.Signals, Callable[[], None]]:
    return dict.fromkeys((signal.SIGTERM, signal.SIGINT), do)


@contextmanager
def handled_signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """
    Have each signal handled as long as the block lasts; the block may replace the handlers.

    A handler runs between any two instructions of the main thread, which may hold a lock. Putting a
    note into a SimpleQueue (the inbox or the reloader's) is safe there, and so is ending the
    process before anything has begun. After the block the process is about to end and reports the
    outcome, so a signal that arrives then is ignored.
    """

    def handle(number: int, _: FrameType | None) -> None:
        handlers[signal.Signals(number)]()

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)


def leave(code: int) -> NoReturn:
    """
    End the process now, whatever its threads are doing.

    sys.exit would wait for pool threads that are still in a check, long after the grace period;
    this is the only exit that does not wait.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
