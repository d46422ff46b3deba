"""What each kind of source provides, and what it gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol, TypeAlias

from monitor.discovered import ListedSite, Source
from monitor.units import Seconds

ReadYaml: TypeAlias = Callable[[bytes, str], Any]
"""
Turns a YAML text, with its name for messages, into plain data, with limits on depth and expansion.

Raises ValueError with each mistake and its place.
"""


class UnreadableError(Exception):
    """A source, or a part of it, cannot be read; one sentence that shows no secret."""


@dataclass(frozen=True, slots=True)
class Look:
    """
    The outcome of one look at a source.

    Attributes:
        parts: The entries of each part that can be read by itself (a file, a kind of resource), or
            why it cannot be read; a part that is no longer named has no entries.
        remarks: What was skipped on purpose, each with its reason.
    """

    parts: Mapping[str, "tuple[ListedSite, ...] | UnreadableError"]
    remarks: tuple[str, ...] = ()


class WatchedSource(Protocol):
    """A source that is being watched; look and wait run in the source's own thread."""

    def look(self) -> Look | None:
        """
        Return what the source lists now; None if nothing has changed since the last look.

        Raises:
            UnreadableError: Nothing of it can be read.
        """

    def wait(self) -> None:
        """Return when another look is due, or soon after close()."""

    def close(self) -> None:
        """End the running look or wait; for any thread."""


@dataclass(frozen=True, slots=True)
class World:
    """
    What sources get from outside.

    Attributes:
        environ: Where a pod finds its API server.
    """

    read_yaml: ReadYaml
    environ: Mapping[str, str] = field(default_factory=dict)


class Opener(Protocol):
    """The function ``open_source`` of each kind's module."""

    def __call__(self, source: Source, world: World) -> WatchedSource: ...


class Paced:
    """The base of a source that is looked at again after a while."""

    def __init__(self, refresh: Seconds) -> None:
        self._refresh = refresh
        self._over = Event()

    def wait(self) -> None:
        self._over.wait(self._refresh)

    def close(self) -> None:
        self._over.set()
