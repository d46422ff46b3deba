"""
Python's search for garbage cycles, in small steps that the loop takes, because it is often idle.

Left to itself, Python searches once some thousand more objects were created than freed. Here about
as many are freed as are created, because a site's new result replaces an old one. Python therefore
searched once in ten seconds, through everything created since: with 400 checks a second that
stopped all threads for 90 ms. Searching the few hundred newest objects takes a tenth of one ms.

Checks leave no cycles behind, and a request to our own web server leaves a cycle of seven objects,
so there is little to find, and cycles that were missed while young can wait.
"""

import gc
from collections.abc import Callable
from typing import TypeAlias

from monitor.clock import Clock
from monitor.model import Seconds

YOUNG, ALL = 0, 2
"""Python's generations: objects created since the last search, and all objects."""

_YOUNG_EVERY: Seconds = 0.05
_ALL_EVERY: Seconds = 900.0
_SHARE = 1 / 10_000
"""The share of time for searching through everything: 0.1 s with ten thousand sites."""
_RUNAWAY = 200_000
"""Python searches by itself after this many more objects were created than freed."""

Search: TypeAlias = Callable[[int], object]
"""Searches one generation and the younger ones."""


class Garbage:
    """
    The mutable state is the time of the next search; it belongs to the main thread.

    Nothing is searched while somebody has called gc.disable(), as a reload does: the objects that
    it creates contain no cycles, and would all be young.
    """

    def __init__(self, clock: Clock, search: Search = gc.collect) -> None:
        self._clock = clock
        self._search = search
        self._young_at = clock.monotonic()
        self._all_at = clock.monotonic() + _ALL_EVERY

    def take_over(self) -> None:
        """Keep Python from searching by itself, unless steps stop coming."""
        gc.set_threshold(_RUNAWAY)

    def forget(self) -> None:
        """Search everything once, and exclude all objects that exist now, because they stay."""
        self._search(ALL)
        gc.freeze()

    def step(self) -> None:
        """Search through new objects if it is time; call this often."""
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
