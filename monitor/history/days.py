"""
Sums of whole UTC days, 32 of them in a row of the store. Pure.

A row begins with the sums of all days before it. So what a window of any length consists of is the
difference of two rows, and 90 days of a site are four rows.
"""

import struct
from collections.abc import Iterable

from monitor.history.uptime import Sums

BLOCK = 32
"""Days in a row."""

_DAY = struct.Struct("<4IHB")
RECORD = _DAY.size
_MOST_OUTAGES = 2**16 - 1


def pack_days(days: Iterable[Sums]) -> bytes:
    """Return the days of a block, from its first day on, without gaps; 19 bytes each."""
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


def unpack_days(data: bytes) -> list[Sums]:
    """
    Return what pack_days was given.

    Raises:
        ValueError: These bytes are not its.
    """
    if len(data) % _DAY.size or len(data) > BLOCK * _DAY.size:
        raise ValueError("a row of days is cut off")
    return [
        Sums(up, down, maintenance, unknown, begun, bool(flags & 1), bool(flags & 2))
        for up, down, maintenance, unknown, begun, flags in _DAY.iter_unpack(data)
    ]


def at_day(before: Sums, data: bytes, day: int) -> tuple[Sums, Sums]:
    """
    Return the sums of all days before one, and of that day, as far as it is summed up.

    Args:
        before: The sums of all days before the block.
        day: Counted from the block's first.
    """
    earlier = list(_DAY.iter_unpack(data[: day * RECORD]))
    if earlier:
        up, down, maintenance, unknown, begun, flags = zip(*earlier, strict=True)
        before = Sums(
            before.up + sum(up),
            before.down + sum(down),
            before.maintenance + sum(maintenance),
            before.unknown + sum(unknown),
            before.begun + sum(begun),
            was_down=bool(flags[-1] & 2),
        )
    its = unpack_days(data[day * RECORD : (day + 1) * RECORD])
    return before, its[0] if its else Sums(was_down=before.was_down)


def total(before: Sums, days: Iterable[Sums]) -> Sums:
    """Return the sums of all days before a block and these of it."""
    return at_day(before, pack_days(days), BLOCK)[0]
