"""
Results packed into few bytes, and counted by 5 minutes, 1 hour and 1 day. Pure.

Latencies are counted in buckets whose bounds grow by a constant factor, so the counts of any
periods can be added, and a quantile is off by at most 2 %: with the factor g = (1 + 0.02) / (1 -
0.02), bucket i holds durations in (g^(i-1), g^i] microseconds, and its value is the point from
which both bounds are equally far in relative terms. (Masson, Rim and Lee, "DDSketch: A Fast and
Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", PVLDB 12, 2019.)

Rows are packed as whole numbers of variable length (LEB128): seven bits per byte, lowest first. A
result of a site that is up takes about six bytes, and a bucket with few durations one. Rollups are
written once, when their period is over, and deflated, which halves them.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from monitor.history.uptime import DAY, HOUR, Milliseconds

Microseconds: TypeAlias = int

RELATIVE_ERROR = 0.02

_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)

_WINDOW = -12  # raw deflate with a window of 4 KiB, more than most blocks have
_STEPS, _COUNTS = 8, 32
"""A byte holds the step from a bucket to the next, below 8, and its count, from 1 to 31."""

UP = ""
"""The outcome of a check that was up; one that was down has its reason."""
UNKNOWN = "?"
"""The outcome of a check that failed because of the monitor itself."""


class Level(NamedTuple):
    """
    One kind of rollup.

    Attributes:
        name: The name in the configuration.
        step: The time that one entry covers.
        block: The time that one row of the store covers.
    """

    number: int
    name: str
    step: Milliseconds
    block: Milliseconds


FIVE_MINUTES = Level(1, "five_minutes", 300_000, HOUR)
HOURLY = Level(2, "hourly", HOUR, DAY)
DAILY = Level(3, "daily", DAY, 32 * DAY)
LEVELS = (FIVE_MINUTES, HOURLY, DAILY)


class Outcome(NamedTuple):
    """One result, in the short form that is kept for days."""

    time: Milliseconds
    duration: Microseconds
    outcome: str


@dataclass(slots=True)
class Rollup:
    """
    The counts of many results.

    Attributes:
        least: Of the durations of checks that were up, as are ``most`` and ``buckets``.
        buckets: How many durations are in each bucket.
    """

    up: int = 0
    down: int = 0
    unknown: int = 0
    least: Microseconds = 0
    most: Microseconds = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, duration: Microseconds, outcome: str) -> None:
        if outcome == UNKNOWN:
            self.unknown += 1
        elif outcome != UP:
            self.down += 1
        else:
            self.least = min(self.least, duration) if self.up else duration
            self.most = max(self.most, duration)
            self.up += 1
            bucket = bucket_of(duration)
            self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: "Rollup") -> None:
        if other.up:
            if not self.up or other.least < self.least:
                self.least = other.least
            self.most = max(self.most, other.most)
        self.up += other.up
        self.down += other.down
        self.unknown += other.unknown
        buckets = self.buckets
        known = buckets.get
        for bucket, count in other.buckets.items():
            buckets[bucket] = known(bucket, 0) + count

    def quantile(self, share: float) -> Microseconds | None:
        """
        Return the duration that this share of the checks that were up did not exceed.

        None without any; otherwise at most 2 % off the value of that rank.
        """
        if not self.up:
            return None
        rank = share * (self.up - 1)
        seen = 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen > rank:
                return min(max(_value_of(bucket), self.least), self.most)
        return self.most


def bucket_of(duration: Microseconds) -> int:
    return math.ceil(math.log(duration) / _LOG_GAMMA) if duration > 1 else 0


def _value_of(bucket: int) -> Microseconds:
    return round(2 * _GAMMA**bucket / (_GAMMA + 1))


def roll_up(results: Iterable[Outcome], step: Milliseconds) -> dict[int, Rollup]:
    """Return the rollups of results, by the number of the step in which each began."""
    found: dict[int, Rollup] = {}
    for time, duration, outcome in results:
        number = time // step
        rollup = found.get(number)
        if rollup is None:
            rollup = found[number] = Rollup()
        rollup.add(duration, outcome)
    return found


def coarser(rollups: Mapping[int, Rollup], factor: int) -> dict[int, Rollup]:
    """Return rollups of steps that are *factor* times as long."""
    found: dict[int, Rollup] = {}
    for number, rollup in rollups.items():
        found.setdefault(number // factor, Rollup()).merge(rollup)
    return found


# ---------------------------------------------------------------- bytes


def pack_results(begin: Milliseconds, results: Iterable[Outcome]) -> bytes:
    """
    Return results as bytes, each by its distance from the previous one, the first from *begin*.

    The distance is signed, because clocks may be set back. Its lowest bit says whether an outcome
    follows.
    """
    out = bytearray()
    before = begin
    for time, duration, outcome in results:
        distance = time - before
        before = time
        signed = distance << 1 if distance >= 0 else (-distance << 1) - 1
        _put(out, signed << 1 | (outcome != UP))
        _put(out, duration)
        if outcome != UP:
            text = outcome.encode()
            _put(out, len(text))
            out += text
    return bytes(out)


def unpack_results(begin: Milliseconds, data: bytes) -> Iterator[Outcome]:
    """
    Yield the results that pack_results was given.

    Raises:
        ValueError: These bytes are not from pack_results.
    """
    at = 0
    time = begin
    while at < len(data):
        head, at = _take(data, at)
        signed = head >> 1
        time += -((signed + 1) >> 1) if signed & 1 else signed >> 1
        duration, at = _take(data, at)
        outcome = UP
        if head & 1:
            length, at = _take(data, at)
            outcome = data[at : at + length].decode()
            at += length
            if at > len(data):
                raise ValueError("packed results end within an outcome")
        yield Outcome(time, duration, outcome)


def pack_rollups(first: int, rollups: Mapping[int, Rollup]) -> bytes:
    """Return the rollups of one block as bytes; *first* is the number of its first step."""
    out = bytearray()
    for number, rollup in sorted(rollups.items()):
        for value in (number - first, rollup.up, rollup.down, rollup.unknown):
            _put(out, value)
        if rollup.up:
            _put(out, rollup.least)
            _put(out, rollup.most - rollup.least)
            _put(out, len(rollup.buckets))
            before = 0
            for bucket, count in sorted(rollup.buckets.items()):
                step = bucket - before
                before = bucket
                if step < _STEPS and count < _COUNTS:
                    out.append(count * _STEPS + step)
                else:
                    out.append(0)
                    _put(out, step)
                    _put(out, count)
    return zlib.compress(out, level=6, wbits=_WINDOW)


def unpack_rollups(first: int, data: bytes) -> dict[int, Rollup]:
    """
    Return the rollups that pack_rollups was given.

    Raises:
        ValueError: These bytes are not from pack_rollups.
    """
    try:
        data = zlib.decompress(data, wbits=_WINDOW)
    except zlib.error as error:
        raise ValueError(f"packed rollups cannot be inflated: {error}") from error
    found: dict[int, Rollup] = {}
    at = 0
    while at < len(data):
        (number, up, down, unknown), at = _take_four(data, at)
        rollup = found[first + number] = Rollup(up, down, unknown)
        if up:
            rollup.least, at = _take(data, at)
            spread, at = _take(data, at)
            rollup.most = rollup.least + spread
            kinds, at = _take(data, at)
            at = _take_buckets(data, at, kinds, rollup.buckets)
    return found


def _take_buckets(data: bytes, at: int, kinds: int, buckets: dict[int, int]) -> int:
    """Read this many buckets, and return where they end."""
    if at + kinds > len(data):
        raise ValueError("packed rollups end within their buckets")
    bucket = 0
    for _ in range(kinds):
        byte = data[at]
        at += 1
        if byte:
            bucket += byte % _STEPS
            buckets[bucket] = byte // _STEPS
        else:
            step, at = _take(data, at)
            count, at = _take(data, at)
            bucket += step
            buckets[bucket] = count
    return at


def _put(out: bytearray, value: int) -> None:
    while value > 127:  # noqa: PLR2004  what seven bits hold
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _take_four(data: bytes, at: int) -> tuple[Sequence[int], int]:
    four = data[at : at + 4]
    if four.isascii() and len(four) == 4:  # noqa: PLR2004  a byte each
        return four, at + 4
    numbers = []
    for _ in range(4):
        number, at = _take(data, at)
        numbers.append(number)
    return numbers, at


def _take(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004  the last of a number
                return value, at
            shift += 7
    except IndexError:
        raise ValueError("packed numbers end within one") from None
