"""
Pictures of the past as SVG paths: bars of days, curves of latency. Pure; templates draw them.

A run of equal days is one dashed path, so that 5,000 sites that were up for 90 days do not cost
450,000 rectangles.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from monitor.model import Seconds, Timestamp
from monitor.past import Day, LatencyPoint, Span, Uptime
from monitor.web.words import show_day, show_ratio, show_span, show_time

NINES: Sequence[float] = (0.999, 0.99, 0.95)
"""The uptimes that separate good from fair, fair from poor, and poor from bad."""

DAY_WIDTH = 4
DAY_HEIGHT = 20
_HARM = (5, 10, 15, DAY_HEIGHT)
"""How much of a day's bar is coloured as down, by the limits in NINES."""

SCALE = 1000
"""Both axes of a curve run from 0 to this; the page stretches the drawing to fit."""
_STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBars:
    """
    One bar a day, oldest first; each text is an SVG path, empty if there are no such days.

    Attributes:
        up: Days with an observation, dashed.
        down: The days with downtime, as stripes; the uptime of the day determines the height.
        maintenance: Days with nothing but maintenance, dashed.
        unseen: Days without an observation, dashed.
        uptime: Of all days together.
        summary: The same information in words.
    """

    width: int
    up: str
    down: str
    maintenance: str
    unseen: str
    uptime: Uptime
    summary: str

    @property
    def svg(self) -> Markup:
        """The picture with a name for screen readers; empty if there are no days."""
        if not self.width:
            return Markup()
        kinds = ("unseen", "maintenance", "up", "down")
        paths = "".join(f'<path class="{kind}" d="{getattr(self, kind)}"/>' for kind in kinds)
        return Markup(  # noqa: S704  numbers and words of our own
            f'<svg class="days" viewBox="0 0 {self.width} {DAY_HEIGHT}" width="{self.width}" '
            f'height="{DAY_HEIGHT}" preserveAspectRatio="none" role="img" '
            f'aria-label="{self.summary}">{paths}</svg>'
        )


def bars_of(days: Mapping[str, Sequence[Day]]) -> Callable[[str], DayBars]:
    """
    Return a function from a site's name to its bars; a site without days has bars of no width.

    Sites with the same days are drawn once; most sites without downtime have the same days, because
    a history returns one object for equal days.
    """
    drawn: dict[tuple[int, ...], DayBars] = {}

    def bars(site: str) -> DayBars:
        found = days.get(site, ())
        key = tuple(map(id, found))
        if key not in drawn:
            drawn[key] = day_bars(found)
        return drawn[key]

    return bars


def day_bars(days: Sequence[Day]) -> DayBars:
    """Return the bars of a site's days."""
    lines: dict[str, list[str]] = {"up": [], "maintenance": [], "unseen": []}
    stripes: list[str] = []
    kind_before, begun = "", 0
    window = up = down = 0.0
    outages = 0
    # As few steps as possible: a status page of 500 sites goes through here 45,000 times
    for place, day in enumerate(days):
        seen = day.uptime
        day_up, day_down = seen.up, seen.down
        window += seen.window
        if day_down > 0:
            kind = "up"
            up += day_up
            down += day_down
            outages += seen.outages
            ratio = day_up / (day_up + day_down)
            height = _HARM[sum(ratio < limit for limit in NINES)]
            stripes.append(f"M{place * DAY_WIDTH + 1.5:g} {DAY_HEIGHT}v-{height}")
        elif day_up > 0:
            kind = "up"
            up += day_up
        else:
            kind = "maintenance" if day.maintenance > 0 else "unseen"
        if kind is not kind_before:
            if kind_before:
                lines[kind_before].append(_dashes(begun, place))
            kind_before, begun = kind, place
    if kind_before:
        lines[kind_before].append(_dashes(begun, len(days)))
    uptime = Uptime(window=window, up=up, down=down, outages=outages)
    return DayBars(
        width=len(days) * DAY_WIDTH,
        up="".join(lines["up"]),
        down="".join(stripes),
        maintenance="".join(lines["maintenance"]),
        unseen="".join(lines["unseen"]),
        uptime=uptime,
        summary=_summary(len(days), len(stripes), uptime),
    )


def _dashes(first: int, end: int) -> str:
    return f"M{first * DAY_WIDTH} {DAY_HEIGHT // 2}h{(end - first) * DAY_WIDTH - 1}"


def _summary(days: int, harmed: int, uptime: Uptime) -> str:
    if uptime.ratio is None:
        return f"last {days} days: nothing was observed"
    if not harmed:
        return f"last {days} days: no downtime observed"
    return f"last {days} days: downtime on {harmed} of them, {show_span(uptime.down)} in all"


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmedDay:
    """A day that had downtime, in words."""

    day: str
    uptime: str
    down: str


def harmed_days(days: Sequence[Day]) -> list[HarmedDay]:
    """Return the days that had downtime, newest first."""
    return [
        HarmedDay(
            day=show_day(day.begin),
            uptime=show_ratio(day.uptime.ratio),
            down=show_span(day.uptime.down),
        )
        for day in reversed(days)
        if day.uptime.ratio is not None and day.uptime.down > 0
    ]


# ---------------------------------------------------------------- latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line of the grid: its distance from the left or the top in percent, and its label."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """
    Curves of p50 and p99 over a window; paths on a square of SCALE units.

    Attributes:
        outages: A path of bands.
    """

    title: str
    p50: str
    p99: str
    outages: str
    times: list[Mark]
    durations: list[Mark]
    summary: str


def latency_chart(
    title: str,
    points: Sequence[LatencyPoint],
    outages: Iterable[Span],
    *,
    begin: Timestamp,
    end: Timestamp,
    step: Seconds,
) -> Latency:
    """Return the chart of a window; one without any points says so in its summary."""
    seen = [point for point in points if point.count and point.p50 is not None]
    tallest = max((point.p99 or point.p50 or 0.0 for point in seen), default=0.0)
    top, marks = _durations(tallest)
    return Latency(
        title=title,
        p50=_curve(((one.begin, one.p50) for one in seen), begin, end, step, top),
        p99=_curve(((one.begin, one.p99) for one in seen), begin, end, step, top),
        outages=_bands(outages, begin, end),
        times=list(_times(begin, end)),
        durations=marks,
        summary=_latency_summary(seen),
    )


def _curve(
    points: Iterable[tuple[Timestamp, Seconds | None]],
    begin: Timestamp,
    end: Timestamp,
    step: Seconds,
    top: Seconds,
) -> str:
    parts = []
    before: Timestamp | None = None
    for moment, value in points:
        if value is None:
            continue
        x = round((min(max(moment + step / 2, begin), end) - begin) / (end - begin) * SCALE)
        y = round(SCALE * (1 - value / top))
        # Points are not joined across a gap; a single point is a line of no length with round ends
        goes_on = before is not None and moment - before < 1.5 * step
        parts.append(f"{'L' if goes_on else 'M'}{x} {y}{'' if goes_on else 'h0'}")
        before = moment
    return "".join(parts)


def _bands(outages: Iterable[Span], begin: Timestamp, end: Timestamp) -> str:
    """Return the outages as bands at least a unit wide; those that would touch are one."""
    edges = sorted(
        (
            int((max(one.begin, begin) - begin) / (end - begin) * SCALE),
            int((min(one.end if one.end is not None else end, end) - begin) / (end - begin) * SCALE)
            + 1,
        )
        for one in outages
        if one.begin < end and (one.end is None or one.end > begin)
    )
    joined: list[list[int]] = []
    for left, right in edges:
        if joined and left <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], right)
        else:
            joined.append([left, right])
    return "".join(f"M{left} 0H{right}V{SCALE}H{left}z" for left, right in joined)


def _durations(tallest: Seconds) -> tuple[Seconds, list[Mark]]:
    """Return the top of the axis, a round number above all values, and three marks on it."""
    tallest = max(tallest, 1e-4)
    exponent = 1e-4
    while exponent * 10 < tallest:
        exponent *= 10
    top = next((exponent * step for step in _STEPS if exponent * step >= tallest), exponent * 10)
    marks = [Mark(at=100 * (1 - share), text=show_time(top * share)) for share in (1, 0.5)]
    return top, [*marks, Mark(at=100, text="0")]


def _times(begin: Timestamp, end: Timestamp) -> Iterator[Mark]:
    form = "%H:%M" if end - begin <= 2 * 86400 else "%d %b" if end - begin < 120 * 86400 else "%b"
    for quarter in range(1, 4):
        moment = begin + (end - begin) * quarter / 4
        text = datetime.fromtimestamp(moment, UTC).strftime(form)
        yield Mark(at=25 * quarter, text=text)


def _latency_summary(seen: Sequence[LatencyPoint]) -> str:
    if not seen:
        return "no check that was up is remembered"
    medians = [point.p50 for point in seen if point.p50 is not None]
    slow = max((point.p99 for point in seen if point.p99 is not None), default=None)
    text = f"p50 from {show_time(min(medians))} to {show_time(max(medians))}"
    return f"{text}, p99 up to {show_time(slow)}" if slow is not None else text
