"""Badges: a site's state, uptime or latency as a small SVG, or in the format that Shields reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from monitor.model import Seconds, SiteState, Status
from monitor.past import LatencyPoint, Uptime
from monitor.web.charts import NINES
from monitor.web.recall import DAY
from monitor.web.words import NO_DATA, show_time, show_uptime

WINDOWS: Mapping[str, Seconds] = {
    "24h": DAY,
    "7d": 7 * DAY,
    "30d": 30 * DAY,
    "90d": 90 * DAY,
    "365d": 365 * DAY,
}

_PATH = re.compile(
    r"/badges/(?P<site>.+)/(?:(?P<status>status)|(?P<kind>uptime|latency)/(?P<window>[0-9]+[hd]))"
    r"\.(?P<form>svg|json)",
    re.DOTALL,
)

_GREY = "#5d636c"
COLOURS: Mapping[Status, str] = {
    Status.UP: "#1f7a48",
    Status.DOWN: "#b3261e",
    Status.MAINTENANCE: "#2f62b0",
    Status.UNKNOWN: _GREY,
}
"""Dark enough for white letters (WCAG 2.2, 1.4.3)."""
_BY_NINES = ("#1f7a48", "#5a6f12", "#9a5b00", "#b3261e")
_LATENCY = "#2f62b0"

_LETTER = 6.6
_NARROW = frozenset(" .,:;!|'iljtfr()[]I/-")
_PADDING = 6
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class BadgeAsked:
    """
    The badge that a path names.

    Attributes:
        kind: ``status``, ``uptime`` or ``latency``.
        window: One of WINDOWS; empty for ``status``.
        form: ``svg`` or ``json``.
    """

    site: str
    kind: str
    window: str
    form: str


@dataclass(frozen=True, slots=True)
class Badge:
    label: str
    message: str
    colour: str


def asked_by(path: str) -> BadgeAsked | None:
    """Return the badge that a decoded path names; None if the path is not that of a badge."""
    found = _PATH.fullmatch(path)
    if found is None or (found["window"] or "24h") not in WINDOWS:
        return None
    kind = found["status"] or found["kind"]
    return BadgeAsked(found["site"], kind, found["window"] or "", found["form"])


def status_badge(state: SiteState) -> Badge:
    name = state.site.name
    label = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
    return Badge(label, str(state.shown), COLOURS[state.shown])


def uptime_badge(window: str, uptime: Uptime | None) -> Badge:
    """Return a badge with the uptime and its coverage; the uptime determines the colour."""
    ratio = uptime.ratio if uptime else None
    if ratio is None:
        return Badge(f"uptime {window}", NO_DATA, _GREY)
    colour = _BY_NINES[sum(ratio < limit for limit in NINES)]
    return Badge(f"uptime {window}", show_uptime(uptime), colour)


def latency_badge(window: str, point: LatencyPoint | None) -> Badge:
    if point is None or point.p50 is None:
        return Badge(f"latency {window}", NO_DATA, _GREY)
    message = f"p50 {show_time(point.p50)}"
    if point.p99 is not None:
        message += f", p99 {show_time(point.p99)}"
    return Badge(f"latency {window}", message, _LATENCY)


def as_shields(badge: Badge, *, good_for: Seconds) -> dict[str, Any]:
    """Return the badge in the format of https://shields.io/badges/endpoint-badge."""
    return {
        "schemaVersion": 1,
        "label": badge.label,
        "message": badge.message,
        "color": badge.colour,
        "cacheSeconds": int(good_for),
    }


def as_svg(badge: Badge) -> str:
    """Return the badge as a picture with a text for screen readers."""
    left, right = _width(badge.label), _width(badge.message)
    whole = left + right
    title = escape(f"{badge.label}: {badge.message}")
    texts = "".join(
        f'<text x="{start + _PADDING}" y="14" textLength="{width - 2 * _PADDING}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        for start, width, text in ((0, left, badge.label), (left, right, badge.message))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" '
        f'aria-label="{title}"><title>{title}</title><clipPath id="r"><rect width="{whole}" '
        f'height="20" rx="3"/></clipPath><g clip-path="url(#r)"><rect width="{left}" height="20" '
        f'fill="#3b4048"/><rect x="{left}" width="{right}" height="20" fill="{badge.colour}"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g>'
        "</svg>"
    )


def _width(text: str) -> int:
    # There is no font to measure: the text is stretched to an estimated width
    return round(sum(_LETTER / 2 if one in _NARROW else _LETTER for one in text)) + 2 * _PADDING
