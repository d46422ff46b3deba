"""
Notifies the service manager, with the protocol of sd_notify(3).

systemd listens on the datagram socket that ``NOTIFY_SOCKET`` names; without it, nothing is sent.
The protocol is a few lines of text, shorter than an explanation of a library for it.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Event, Lock, Thread

from monitor.logs import fields
from monitor.units import Seconds

_log = logging.getLogger(__name__)

_REGULARLY: Seconds = 10.0
_PATIENCE: Seconds = 1.0
"""How long a message may wait for a service manager that does not read."""


class ServiceManager:
    """
    The service manager that started the daemon and watches it; its methods are for any thread.

    A message that cannot be delivered is logged and does no further harm. The mutable state is the
    socket, gone once the last message is sent; ``_lock`` guards it and the order of messages.

    Args:
        environ: Where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._socket = _connect(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog = _watchdog(environ)
        self._lock = Lock()
        self._over = Event()

    def ready(self) -> None:
        """Report that everything runs: at the start, and after a reload, successful or not."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Report that a reload has begun; ready() must follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the daemon stops; nothing is sent after that."""
        self._tell("STOPPING=1", "STATUS=stopping", last=True)
        self._over.set()

    def watch(self, ask: "Callable[[], Future[None]]", status: Callable[[], str]) -> None:
        """
        From now on, regularly send the status, and the sign of life that a watchdog expects.

        Args:
            ask: Asks the main thread for a sign of life. While its future has no result, nothing is
                sent, so the watchdog ends a daemon whose loop is stuck.
            status: Returns one line for people; called in a separate thread.
        """
        if self._socket is not None:
            Thread(target=self._watch, args=(ask, status), name="notify", daemon=True).start()

    def _watch(self, ask: "Callable[[], Future[None]]", status: Callable[[], str]) -> None:
        beat = () if self._watchdog is None else ("WATCHDOG=1",)
        # Twice per watchdog period, as its manual advises
        pause = _REGULARLY if self._watchdog is None else min(self._watchdog / 2, _REGULARLY)
        while not self._over.is_set():
            ask().result()
            self._tell(*beat, f"STATUS={status()}")
            self._over.wait(pause)

    def _tell(self, *lines: str, last: bool = False) -> None:
        with self._lock:
            if self._socket is None:
                return
            try:
                self._socket.send("\n".join(lines).encode())
            except OSError as error:
                _log.warning("notify_failed", extra=fields(said=lines[0], detail=_reason(error)))
            if last:
                self._socket.close()
                self._socket = None


def _connect(address: str) -> socket.socket | None:
    """Return a socket that is connected to the listener there; None if nothing listens."""
    if not address:
        return None
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    connected.settimeout(_PATIENCE)
    try:
        # @ stands for the zero byte with which abstract addresses begin
        connected.connect(f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError as error:
        connected.close()
        _log.warning("notify_failed", extra=fields(socket=address, detail=_reason(error)))
        return None
    return connected


def _watchdog(environ: Mapping[str, str]) -> Seconds | None:
    """Return how long we may be silent; None if there is no watchdog."""
    period = environ.get("WATCHDOG_USEC", "")
    ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(period) / 1_000_000 if ours and period.isdecimal() and int(period) else None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
