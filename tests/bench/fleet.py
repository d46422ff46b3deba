"""Any number of sites, and when each of them is due."""

import math
from dataclasses import dataclass
from functools import cached_property

from monitor.engine.schedule import Schedule
from monitor.model import Seconds, Timestamp

_BACKWARDS: Seconds = 0.005
"""How far a check may start before its slot: the daemon's slots lie on the monotonic clock, and the
wall clock, in which starts are reported, may run a little differently."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """
    A number of sites at one URL, all with the same interval.

    Attributes:
        options: More keys of every site, as YAML's flow style has them: ``timeout: 10s``. NAME in
            them stands for the site's name.
        prefix: The start of their names.
    """

    count: int
    url: str
    interval: int
    options: str = ""
    prefix: str = "site"

    @property
    def rate(self) -> float:
        """Checks per second."""
        return self.count / self.interval

    @cached_property
    def names(self) -> list[str]:
        return [f"{self.prefix}-{number}" for number in range(self.count)]

    @cached_property
    def phases(self) -> dict[str, Seconds]:
        """When each site is due within its interval, which begins at multiples of its length."""
        schedule = Schedule(wall_minus_monotonic=0)
        for name in self.names:
            schedule.add(name, self.interval, now=0)
        return {due.name: due.at % self.interval for due in schedule.pop_due(self.interval)}

    def due_between(self, begin: Timestamp, end: Timestamp) -> int:
        """Return how many slots lie in a period."""
        return sum(
            math.floor((end - phase) / self.interval) - math.floor((begin - phase) / self.interval)
            for phase in self.phases.values()
        )

    def lag(self, name: str, started: Timestamp) -> Seconds:
        """Return how long after its slot a site's check started; less than its interval."""
        late = (started - self.phases[name] + _BACKWARDS) % self.interval
        return max(0.0, late - _BACKWARDS)

    def entries(self) -> str:
        """Return the sites as items of a YAML list."""
        options = f", {self.options}" if self.options else ""
        return "".join(
            f"  - {{name: {name}, url: '{self.url}', interval: {self.interval}s"
            f"{options.replace('NAME', name)}}}\n"
            for name in self.names
        )


def site_list(*fleets: Fleet) -> str:
    """Return a site list as the daemon reads it."""
    return "sites:\n" + "".join(fleet.entries() for fleet in fleets)
