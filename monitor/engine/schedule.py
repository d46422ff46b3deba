"""
Who is due when: a grid without drift for each site, on the monotonic clock. Pure.

A site's slots are at ``phase + k * interval`` of the wall clock as it was when the schedule was
created; the phase is a hash of the site's name. So slots are spread evenly, a restart causes no
burst, and each site keeps its slot over restarts. Some examples:

    interval 10s, hash 0.25: slots at :02.5, :12.5, :22.5 … of every minute
    interval 1h,  hash 0.50: slots at half past every hour

If a site that enters the list would wait longer than a minute for its slot, it gets one extra check
within that minute, at the same hash of it, because people who add a site want to see it checked.
"""

import heapq
from dataclasses import dataclass
from hashlib import blake2b

from monitor.model import Seconds
from monitor.records import statically_frozen

_FIRST_CHECK_WITHIN: Seconds = 60.0
_FASTER = 10
"""Checks that other places request are limited to this many times our own rate …"""
_AT_LEAST = 10.0
"""… but this many per second are always allowed."""


@statically_frozen(frozen=True, slots=True)
class Due:
    """
    One slot that has come.

    Attributes:
        at: The time of the slot, on the monotonic clock.
        missed: How many earlier slots passed without anyone looking.
        extra: Whether this is a check outside the site's grid; see check_early().
    """

    name: str
    at: Seconds
    missed: int = 0
    extra: bool = False


@dataclass(slots=True)
class _Slots:
    phase: Seconds
    interval: Seconds
    next: Seconds
    extra: Seconds | None = None
    asked: Seconds | None = None


class Schedule:
    """
    The mutable state is the table of sites and a heap of (moment, name); it is the engine's.

    The heap may hold moments that no longer apply (a site left, an extra check was dropped); the
    table shows that, and they are skipped.

    Attributes:
        rate: Slots per second, for all sites together.
    """

    def __init__(self, wall_minus_monotonic: Seconds) -> None:
        self._wall_minus_monotonic = wall_minus_monotonic
        self._sites: dict[str, _Slots] = {}
        self._heap: list[tuple[Seconds, str]] = []
        self._shift = 0.0
        self._asked_until: Seconds = 0.0  # when the next check for other places may start
        self.rate = 0.0

    def add(self, name: str, interval: Seconds, now: Seconds) -> None:
        """Give the site its slots, the first after *now*; a listed site starts over."""
        self.remove(name)
        share = _share(name)
        phase = (share + self._shift) * interval - self._wall_minus_monotonic
        slots = _Slots(phase, interval, _next_slot(phase, interval, now))
        self._sites[name] = slots
        self.rate += 1 / interval
        self._push(slots.next, name)
        first = now + share * _FIRST_CHECK_WITHIN
        if slots.next - now > _FIRST_CHECK_WITHIN:
            self.check_early(name, first)

    def shift(self, share: float, now: Seconds) -> None:
        """
        Move all slots by a share of each site's interval, counted from the hash of its name.

        So several monitors with the same list check a site in turn: with a share of 1/3, the second
        of three checks it a third of an interval after the first. What was due by *now* stays due.
        """
        self._shift = share
        for name, slots in self._sites.items():
            if slots.next <= now:
                continue
            phase = (_share(name) + share) * slots.interval - self._wall_minus_monotonic
            slots.phase, slots.next = phase, _next_slot(phase, slots.interval, now)
            self._push(slots.next, name)

    def remove(self, name: str) -> None:
        slots = self._sites.pop(name, None)
        if slots is not None:
            self.rate -= 1 / slots.interval

    def check_early(self, name: str, at: Seconds) -> None:
        """Check the site once more at *at*, unless its own slot comes first."""
        slots = self._sites.get(name)
        if slots and at < slots.next and (slots.extra is None or at < slots.extra):
            slots.extra = at
            self._push(at, name)

    def check_for_another(self, name: str, now: Seconds) -> None:
        """
        Check the site soon because another place asks: once per interval, however many ask.

        So other places at most double our work. If they ask about many sites, as in an outage of
        all, the checks are spread over a tenth of the interval.
        """
        slots = self._sites.get(name)
        if slots is None or (slots.asked is not None and now - slots.asked < slots.interval):
            return
        slots.asked = now
        at = max(now, self._asked_until)
        self._asked_until = at + 1 / max(_AT_LEAST, _FASTER * self.rate)
        self.check_early(name, at)

    def next_due(self) -> Seconds | None:
        """Return when to look next; None if no site is listed."""
        while self._heap and not self._is_meant(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: Seconds) -> list[Due]:
        """
        Return the sites due at *now*, the longest waiting first.

        Every returned site is already scheduled for its next slot.
        """
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if not self._is_meant(at, name):
                continue
            slots = self._sites[name]
            slots.extra = None
            if at < slots.next:
                due.append(Due(name, at, extra=True))
                continue
            following = _next_slot(slots.phase, slots.interval, now)
            steps = round((following - at) / slots.interval)
            latest = following - slots.interval
            due.append(Due(name, latest, missed=steps - 1))
            slots.next = following
            self._push(following, name)
        return due

    def _is_meant(self, at: Seconds, name: str) -> bool:
        slots = self._sites.get(name)
        return slots is not None and at in (slots.next, slots.extra)

    def _push(self, at: Seconds, name: str) -> None:
        heapq.heappush(self._heap, (at, name))


def _share(name: str) -> float:
    """Return a number from 0 up to 1 that depends only on the name, the same in every process."""
    digest = blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _next_slot(phase: Seconds, interval: Seconds, now: Seconds) -> Seconds:
    """Return the first moment of the grid that lies after *now*."""
    steps = (now - phase) // interval + 1
    slot = phase + steps * interval
    # Rounding may put the product at, not after, now
    return slot if slot > now else phase + (steps + 1) * interval
