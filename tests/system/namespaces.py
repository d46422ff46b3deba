"""
Linux network namespaces that act as separate machines, joined by virtual cables; needs root.

A namespace exists only as long as a descriptor of it or a process in it, so nothing is left behind
however a test ends.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.system.processes import Daemon, fetch

_LIBC = ctypes.CDLL(None, use_errno=True)
_NETWORK = 0x40000000  # CLONE_NEWNET, sched.h

Made = TypeVar("Made")


def refusal() -> str:
    """Return why this system offers no network namespaces; empty if it does."""
    try:
        with Namespace("10.77.9.1") as one, Namespace("10.77.9.2") as other:
            one.plug_into(other, "try")
    except OSError as error:
        return error.strerror or str(error)
    return ""


class Namespace:
    """
    A machine with nothing but loopback, until it is plugged into another.

    Args:
        address: Of its interfaces; the last byte tells machines apart.

    Raises:
        OSError: The system does not allow it.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        # A thread moves alone; the rest of the process stays where it is
        self._thread = ThreadPoolExecutor(max_workers=1)
        try:
            self._descriptor = self._thread.submit(_own_network).result()
        except BaseException:
            self._thread.shutdown()
            raise
        self.file = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        self.wrapper = ("nsenter", f"--net={self.file}")
        """What a command begins with that is to run there."""
        self.ip("link", "set", "lo", "up")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._thread.shutdown()
        with suppress(OSError):
            os.close(self._descriptor)

    def inside(self, do: Callable[[], Made]) -> Made:
        """Call a function in a thread of that machine; sockets that it makes belong there."""
        return self._thread.submit(do).result()

    def ip(self, *arguments: str | Path) -> None:
        """
        Call ``ip`` in that machine.

        Raises:
            OSError: The system does not allow it.
        """
        done = subprocess.run(
            [*self.wrapper, "ip", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise OSError(done.stderr.strip())

    def plug_into(self, switch: "Namespace", cable: str, network: str = "10.77.0") -> None:
        """Connect a cable to the switch's bridge of the same name, made if needed."""
        try:
            switch.ip("link", "show", cable)
        except OSError:
            switch.ip("link", "add", cable, "type", "bridge")
            switch.ip("address", "add", f"{network}.1/24", "dev", cable)
            switch.ip("link", "set", cable, "up")
        far = f"{cable}{self.address.rpartition('.')[2]}"
        peer = ("peer", "name", far, "netns", switch.file)
        self.ip("link", "add", cable, "type", "veth", *peer)
        host = self.address.rpartition(".")[2]
        self.ip("address", "add", f"{network}.{host}/24", "dev", cable)
        self.ip("link", "set", cable, "up")
        switch.ip("link", "set", far, "master", cable, "up")


def _own_network() -> int:
    if _LIBC.unshare(_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


class Apart(Daemon):
    """A daemon in its own namespace; requests to it are made from there."""

    def __init__(self, namespace: Namespace, folder: Path, sites: str, **options: Any) -> None:
        self._namespace = namespace
        super().__init__(folder, sites, wrapper=namespace.wrapper, **options)

    def get(self, path: str) -> tuple[int, str]:
        found: tuple[int, str] = self._namespace.inside(lambda: fetch(self.url + path))
        return found
