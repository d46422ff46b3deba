"""
The results of one transaction as bytes, in columns, so that a site is found without a loop. Pure.

All sites' results of one second are in one row of the store, and so in many rows until they are
packed site by site. To find one site, a reader searches the column of sites, which takes
microseconds for thousands of results.
"""

import json
import math
import sys
from array import array
from collections.abc import Callable, Iterator

from monitor.history.rollup import UP, Microseconds, Outcome
from monitor.history.uptime import Milliseconds
from monitor.model import Timestamp

SLOTS = 900
"""A site's results are packed once in this many seconds: each second, the sites of one slot."""

_HEAD = 4
LONGEST: Microseconds = 2**32 - 1
"""A little more than an hour; no check takes this long."""


class Gathered:
    """Results of many sites, in order of arrival; 17 bytes each."""

    def __init__(self) -> None:
        self.sites = array("I")
        self.times = array("q")
        self.durations = array("I")
        self.outcomes = array("B")
        self._texts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.sites)

    def add(self, site: int, time: Milliseconds, duration: Microseconds, outcome: str) -> None:
        """Add a result; raises OverflowError if one byte cannot number the outcomes."""
        kind = self._texts.setdefault(outcome, len(self._texts))
        self.outcomes.append(kind)
        self.sites.append(site)
        self.times.append(time)
        self.durations.append(min(LONGEST, duration))

    def renumbered(self, number_of: Callable[[int], int]) -> "Gathered":
        """Return the same results with other site numbers."""
        other = Gathered()
        other.sites = array("I", map(number_of, self.sites))
        other.times, other.durations, other.outcomes = self.times, self.durations, self.outcomes
        other._texts = self._texts
        return other

    def take_oldest(self, count: int) -> "Gathered":
        """Return the results that were added first, and keep all others."""
        taken = Gathered()
        taken.sites, taken.times = self.sites[:count], self.times[:count]
        taken.durations, taken.outcomes = self.durations[:count], self.outcomes[:count]
        taken._texts = self._texts
        self.drop_oldest(count)
        return taken

    def drop_oldest(self, count: int) -> None:
        for column in self._columns:
            del column[:count]

    @property
    def texts(self) -> list[str]:
        """The outcomes that rows() numbers."""
        return list(self._texts)

    def rows(self) -> Iterator[tuple[int, Milliseconds, Microseconds, int]]:
        """Return site, time, duration and the number of the outcome of each result."""
        return zip(self.sites, self.times, self.durations, self.outcomes, strict=True)

    def of_site(self, site: int) -> Iterator[Outcome]:
        texts = list(self._texts)
        at = -1
        for _ in range(self.sites.count(site)):
            at = self.sites.index(site, at + 1)
            yield Outcome(self.times[at], self.durations[at], texts[self.outcomes[at]])

    def to_bytes(self) -> bytes:
        texts = json.dumps(list(self._texts)).encode()
        return b"".join(
            (
                len(self).to_bytes(_HEAD, "little"),
                *(_little(column).tobytes() for column in self._columns),
                texts,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Gathered":
        """Return the object that to_bytes() packed; raises ValueError for other bytes."""
        found = cls()
        count = int.from_bytes(data[:_HEAD], "little")
        at = _HEAD
        for column in found._columns:
            size = count * column.itemsize
            column.frombytes(data[at : at + size])
            if sys.byteorder == "big":
                column.byteswap()
            at += size
        texts = json.loads(data[at:])
        found._texts = {text: number for number, text in enumerate(texts)}
        if len(found.outcomes) != count or max(found.outcomes, default=-1) >= len(texts):
            raise ValueError("a row of the journal is cut off")
        return found

    @property
    def _columns(self) -> "tuple[array[int], ...]":
        return self.sites, self.times, self.durations, self.outcomes


def _little(column: "array[int]") -> "array[int]":
    if sys.byteorder == "little":
        return column
    column = column[:]
    column.byteswap()
    return column


def outcome_of(up: bool | None, reason: str | None) -> str:
    """Return the outcome of a check in its stored form."""
    if up is None:
        return "?"
    return UP if up else reason or "down"


def milliseconds(time: Timestamp) -> Milliseconds:
    """Return a moment in whole milliseconds, truncated as in reports; doing it again is safe."""
    return math.floor(time * 1000 + 0.001)
