"""What a row measures: figures, the goals they are compared with, and how both are written."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.model import Seconds


class BenchError(Exception):
    """A measurement is not what it should be; the message says how it differs."""


@dataclass(frozen=True, slots=True)
class Goal:
    """
    The goal of a figure.

    Attributes:
        sense: ``under``, ``at most`` or ``at least``.
        limit: The limit in the unit of the figure.
    """

    sense: str
    limit: float

    def met(self, value: float) -> bool:
        match self.sense:
            case "under":
                return value < self.limit
            case "at most":
                return value <= self.limit
            case _:
                return value >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One number that a row measured.

    Attributes:
        name: Unique within its row; picks the goal.
        unit: Written after the number; ``x`` is a ratio.
        detail: How the number is made up, for people.
        samples: The measurements of each round, in the units that the names give.
    """

    name: str
    value: float
    unit: str
    detail: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value at this share of the sorted values: 0.99 of 100 values is the largest."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def ratio(
    name: str,
    ours: Sequence[Seconds],
    theirs: Sequence[Seconds],
    peer: str = "blackbox_exporter",
) -> Figure:
    """Return the ratio of our median to a peer's; both are durations."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return Figure(
        name=name,
        value=mine / other,
        unit="x",
        detail=f"{mine * 1000:.3f} ms, {peer} {other * 1000:.3f} ms",
        samples={"ours_seconds": list(ours), "peer_seconds": list(theirs)},
    )


def milliseconds(name: str, seconds: Sequence[Seconds], detail: str = "") -> Figure:
    """Return the median of durations in milliseconds."""
    return Figure(
        name=name,
        value=statistics.median(seconds) * 1000,
        unit="ms",
        detail=detail or _spread(seconds),
        samples={"seconds": list(seconds)},
    )


def _spread(seconds: Sequence[Seconds]) -> str:
    if len(seconds) == 1:
        return ""
    return f"median of {len(seconds)}, {min(seconds) * 1000:.3g} to {max(seconds) * 1000:.3g} ms"
