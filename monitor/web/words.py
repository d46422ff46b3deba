"""Writes durations, moments, spans and shares for people."""

import math
from datetime import UTC, datetime

from monitor.model import Seconds, Timestamp
from monitor.past import Uptime
from monitor.report import moment

NO_DATA = "\N{EN DASH}"
_SPANS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_LEAST_COVERAGE = 0.001


def show_time(seconds: Seconds | None) -> str:
    """Return the duration for people: ``0.8 ms``, ``123 ms``; an empty text for None."""
    if seconds is None:
        return ""
    if seconds < 0.01:  # noqa: PLR2004  below it, whole milliseconds say too little
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def show_moment(time: Timestamp) -> str:
    """Return ``2026-11-22 11:20:01 UTC``."""
    return moment(time)[:19].replace("T", " ") + " UTC"


def show_day(time: Timestamp) -> str:
    """Return the UTC day: ``2026-11-22``."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")


def show_span(seconds: Seconds) -> str:
    """Return a span by its two largest units: ``45 s``, ``12 min 5 s``, ``3 h 12 min``."""
    left = max(0, round(seconds))
    parts = []
    for unit, size in _SPANS:
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    shown = [pair for pair in parts[first : first + 2] if pair[0]] or [parts[-1]]
    return " ".join(f"{count} {unit}" for count, unit in shown)


def show_uptime(uptime: Uptime | None) -> str:
    """
    Return the uptime with its coverage; NO_DATA if nothing was observed.

        99.982 % of 97.2 % observed        100 % of 100 % observed
    """
    ratio = uptime.ratio if uptime else None
    if uptime is None or ratio is None:
        return NO_DATA
    return f"{show_ratio(ratio)} of {show_coverage(uptime.coverage)} observed"


def show_ratio(ratio: float) -> str:
    """Return a share to three decimals, never rounded up, so that only 1 reads as 100 %."""
    return f"{_cut(ratio, 3):.3f} %" if ratio < 1 else "100 %"


def show_coverage(coverage: float) -> str:
    """Return how much was observed, to one decimal and never rounded up."""
    if coverage < _LEAST_COVERAGE:
        return "less than 0.1 %"
    cut = _cut(coverage, 1)
    return "100 %" if cut >= 100 else f"{cut:.1f} %"  # noqa: PLR2004  percent


def _cut(share: float, decimals: int) -> float:
    # A millionth of the last digit compensates for rounding errors of summed floats
    scale = 10.0**decimals
    return math.floor(share * 100 * scale + 1e-6) / scale
