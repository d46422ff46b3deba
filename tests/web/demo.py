"""
A made-up installation for the browser's tests and the docs' pictures: its sites and their past.

Everything is computed from the sites' names, so that each run shows the same.
"""

import random
from dataclasses import replace
from datetime import time
from zoneinfo import ZoneInfo

from monitor.board import StatusBoard
from monitor.model import Past, RecurringWindow
from monitor.past import Condition, LatencyPoint, Span
from monitor.statuspage import Announcement, Published, StatusPage
from tests.narrowing import known
from tests.web import states
from tests.web.past import DAY, FakeHistory, span

NOW = 1_796_040_000.0
"""2026-11-30 12:00 UTC."""

PUBLISHED = Published(
    pages=(
        StatusPage(
            path="/status",
            title="Example status",
            groups=frozenset({"storefront", "platform"}),
            public=True,
            latency=True,
        ),
    ),
    announcements=(
        Announcement(
            begin=NOW - 2 * DAY,
            end=NOW + 5 * DAY,
            title="A new search",
            text="On Tuesday we switch to the new search.\nNothing changes for your bookmarks.",
        ),
    ),
)
_NIGHT = RecurringWindow(
    days=frozenset({1}), start=time(22), end=time(23, 30), zone=ZoneInfo("UTC")
)

_SITES = (
    ("shop", "storefront", 0.118, 400),
    ("checkout", "storefront", 0.204, 400),
    ("search", "storefront", 0.061, 400),
    ("images-2", "storefront", 0.033, 60),
    ("images-10", "storefront", 0.035, 21),
    ("api", "platform", 0.042, 400),
    ("login", "platform", 0.083, 400),
    ("webhooks", "platform", 0.075, 130),
    ("status mail", "", 0.012, 400),
)


def board() -> StatusBoard:
    """Return the states: one site is down, one in maintenance, one that nobody could check."""
    return states.board(*(_state(name, group, latency) for name, group, latency, _ in _SITES))


def history() -> FakeHistory:
    """Return the history of the sites: outages, a weekly maintenance window, gaps."""
    found: list[Span] = []
    points = {}
    for name, _, latency, days in _SITES:
        found += _spans(name, NOW - days * DAY)
        points[name] = _Curve(latency, name)
    return _History(*found, latency=points)


class _History(FakeHistory):
    def latency(self, site, begin, end, step):
        known = min(one.begin for one in self.spans if one.site == site)
        first = (begin // step + 1) * step
        count = int((end - first) // step)
        moments = (first + step * number for number in range(count))
        return [
            self.points[site].at(moment, step)
            for moment in moments
            if moment >= known and self._seconds(site, Condition.UP, moment, moment + step)
        ]


class _Curve:
    """Latency: higher by day than by night, with occasional spikes."""

    def __init__(self, median, name):
        self._median = median
        self._name = name

    def at(self, begin, step):
        chance = random.Random(f"{self._name} {begin} {step}")  # noqa: S311  a picture
        hour = begin % DAY / 3600
        busy = 1 + 0.25 * max(0.0, 1 - abs(hour - 14) / 8) if step < DAY else 1.1
        p50 = self._median * busy * chance.uniform(0.95, 1.05)
        p99 = p50 * chance.uniform(1.6, 2.2) * (2.5 if chance.random() > 0.985 else 1)
        return LatencyPoint(
            begin=begin, count=int(step / 30), p50=p50, p95=p50 * 1.4, p99=p99, max=p99 * 1.5
        )


def _spans(name, begin):
    """Yield spans without overlap from a moment on, the last one open."""
    chance = random.Random(name)  # noqa: S311  a picture
    now, last = begin, NOW - 0.9 * DAY
    while True:
        up_for = chance.expovariate(1 / (17 * DAY)) + DAY / 2
        if now + up_for > last:
            break
        yield span(name, now, now + up_for)
        now += up_for
        length = chance.choice((45.0, 130.0, 420.0, 1300.0, 5200.0))
        kind = chance.choices(
            (Condition.DOWN, Condition.MAINTENANCE, Condition.UNOBSERVED), (6, 2, 1)
        )[0]
        if kind is Condition.DOWN:
            yield Span(
                site=name,
                condition=kind,
                begin=now,
                end=now + length,
                reason=chance.choice(("status", "connect_timeout", "tls")),
                message="",
            )
        else:
            yield span(name, now, now + length * 8, kind)
            length *= 8
        now += length
    if name == "checkout":
        yield span(name, now, NOW - 11_520)
        yield Span(
            site=name,
            condition=Condition.DOWN,
            begin=NOW - 11_520,
            reason="status",
            message="status 503 is not in 2xx",
        )
    elif name == "webhooks":
        yield span(name, now, NOW - 1800)
        yield span(name, NOW - 1800, None, Condition.MAINTENANCE)
    else:
        yield span(name, now, None)


def _state(name, group, latency):
    # Each site's own durations, so that the strips of the last checks differ
    chance = random.Random(name)  # noqa: S311  a picture
    host = name.replace(" ", "-")
    where = {"group": group, "target": f"https://{host}.example.com/"}
    if name in ("search", "api"):
        where["maintenance"] = (_NIGHT,)
    state = states.down(name, **where) if name == "checkout" else states.up(name, **where)
    recent = tuple(
        Past(
            time=NOW - 12 - 60 * number,
            duration=latency * chance.uniform(0.8, 1.5),
            up=not (name == "checkout" and number < 12),
        )
        for number in range(20)
    )
    last = known(state.last)
    seen = replace(
        last.observation,
        time=NOW - 12,
        duration=latency,
        phases={phase: share * latency / 0.123 for phase, share in states.PHASES.items()},
    )
    last = replace(last, observation=seen)
    since = NOW - (11_520 if name == "checkout" else 3.3 * DAY)
    failures = (last,) if name == "checkout" else ()
    return replace(
        state,
        since=since,
        last=last,
        finished=last,
        recent=recent,
        failures=failures,
        maintenance=name == "webhooks",
    )
