"""
Python's search for cycles of garbage, in small steps; for the loop, which is often idle.

Left to itself, Python searches once some thousand more objects were made than freed. Here as many
are freed as are made, because a site's new result takes the place of an old one. So it searched
once in ten seconds, and through everything made since: with 400 checks a second that took 90 ms,
with all threads at a standstill. The few hundred that were just made take a tenth of one.

Checks leave no cycles behind, and a request to our own web server leaves one of seven objects, so
there is little to find, and what was missed while it was young can wait.
"""

import gc
from collections.abc import Callable
from typing import TypeAlias

from monitor.clock import Clock
from monitor.model import Seconds

YOUNG, ALL = 0, 2
"""Python's generations: what was made since the last search, and everything."""

_YOUNG_EVERY: Seconds = 0.05
_ALL_EVERY: Seconds = 900.0
_SHARE = 1 / 10_000
"""Of the time that searching through everything may take: 0.1 s with ten thousand sites."""
_RUNAWAY = 200_000
"""More objects made than freed between two steps, after which Python searches by itself."""

Search: TypeAlias = Callable[[int], object]
"""Searches one generation and the younger ones."""


class Garbage:
    """
    The mutable state is when it is searched next; the main thread's.

    Searching is left out while somebody has called gc.disable(), as a reload does: what it reads
    holds no cycles, and would all be young.
    """

    def __init__(self, clock: Clock, search: Search = gc.collect) -> None:
        self._clock = clock
        self._search = search
        self._young_at = clock.monotonic()
        self._all_at = clock.monotonic() + _ALL_EVERY

    def take_over(self) -> None:
        """Keep Python from searching by itself, but for the case that no step comes."""
        gc.set_threshold(_RUNAWAY)

    def forget(self) -> None:
        """Search everything, and never again through what is there now and stays."""
        self._search(ALL)
        gc.freeze()

    def step(self) -> None:
        """Search through what is new, if it is time; to be called often."""
        now = self._clock.monotonic()
        if now < self._young_at or not gc.isenabled():
            return
        self._young_at = now + _YOUNG_EVERY
        if now < self._all_at:
            self._search(YOUNG)
            return
        self._search(ALL)
        end = self._clock.monotonic()
        self._all_at = end + max(_ALL_EVERY, (end - now) / _SHARE)
