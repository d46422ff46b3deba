"""What the test process holds, probes and servers included: counted, and limited."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_files() -> int:
    """Return how many descriptors are open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def native_threads() -> int:
    """Return the number of threads, including those that libraries start."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """
    Keep anything from being opened for as long as the block lasts.

    What is closed meanwhile frees its descriptor, so a test's servers must not end then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as sock:
        lowest = sock.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
