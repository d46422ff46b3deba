"""
Sums of whole UTC days, 32 of them in one row of the store. Pure.

A row begins with the sums of all days before it. So the sums of a window of any length are the
difference of two rows, and 90 days of a site are four rows.
"""

import struct
from collections.abc import Iterable

from monitor.history.uptime import DAY, Sums

BLOCK = 32
"""Days in a row."""

_FORM = "4IHB"
_FIELDS = 6
_DAY = struct.Struct("<" + _FORM)
_ROWS = [struct.Struct("<" + _FORM * days) for days in range(BLOCK + 1)]
RECORD = _DAY.size
_MOST_OUTAGES = 2**16 - 1


def pack_days(days: Iterable[Sums]) -> bytes:
    """Return the packed days of a block, from its first day on, without gaps; 19 bytes each."""
    return b"".join(
        _DAY.pack(
            day.up,
            day.down,
            day.maintenance,
            day.unknown,
            min(day.begun, _MOST_OUTAGES),
            day.continued | day.was_down << 1,
        )
        for day in days
    )


_GOOD = [pack_days([Sums(up=DAY)] * days) for days in range(BLOCK + 1)]


def unpack_days(data: bytes) -> list[Sums]:
    """
    Return the days that pack_days was given.

    Raises:
        ValueError: These bytes are not from pack_days.
    """
    if len(data) % _DAY.size or len(data) > BLOCK * _DAY.size:
        raise ValueError("a row of days is cut off")
    return [
        Sums(up, down, maintenance, unknown, begun, bool(flags & 1), bool(flags & 2))
        for up, down, maintenance, unknown, begun, flags in _DAY.iter_unpack(data)
    ]


def before_day(before: tuple[int, int, int, int, int, bool], data: bytes, day: int) -> Sums:
    """
    Return the sums of all days before a day, as far as they are summed up.

    Args:
        before: Of all days before the block: up, down, maintenance, unknown, outages that began,
            and whether the last observation was down.
        day: Counted from the first day of the block.
    """
    up, down, maintenance, unknown, begun, was_down = before
    count = min(day, len(data) // RECORD)
    known = data[: count * RECORD]
    if count and known == _GOOD[count]:
        # By position, because by name it takes twice as long; most days are of this kind
        return Sums(up + count * DAY, down, maintenance, unknown, begun)
    numbers = _ROWS[count].unpack(known)
    return Sums(
        up + sum(numbers[0::_FIELDS]),
        down + sum(numbers[1::_FIELDS]),
        maintenance + sum(numbers[2::_FIELDS]),
        unknown + sum(numbers[3::_FIELDS]),
        begun + sum(numbers[4::_FIELDS]),
        was_down=bool(numbers[-1] & 2 if count else was_down),
    )


def of_day(data: bytes, day: int) -> Sums:
    """Return the sums of a block's day; empty sums if it is not summed up."""
    its = unpack_days(data[day * RECORD : (day + 1) * RECORD])
    return its[0] if its else Sums()


def total(before: Sums, days: Iterable[Sums]) -> Sums:
    """Return the sums of all days before a block plus these days of it."""
    return before_day((*before[:5], before.was_down), pack_days(days), BLOCK)
