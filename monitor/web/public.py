"""What a status page shows its readers; made from states, the past and the configuration."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from monitor.board import StatusBoard
from monitor.clock import Clock
from monitor.model import Seconds, SiteState, Status, Timestamp, Window
from monitor.naming import cached_natural_key
from monitor.statuspage import Announcement, Published, StatusPage
from monitor.web.charts import DayBars, bars_of
from monitor.web.incidents import Incident, incidents, token
from monitor.web.recall import DAY, DAYS, Recall
from monitor.web.words import show_span

Planned: TypeAlias = Callable[
    [tuple[Window, ...], Timestamp], Sequence[tuple[Timestamp, Timestamp]]
]
"""Takes windows and a moment; returns begin and end of each one's current or next opening."""

MOST_INCIDENTS = 50
"""The limit on a page, in its feed and its API."""
_FIRST_LOOK: Seconds = 6 * DAY
"""If this period has enough incidents for the page, nothing older is read."""
_FURTHEST_BACK: Seconds = 10 * 365 * DAY
_MAJOR = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """
    One site as the readers see it.

    Attributes:
        id: The same on every page, forever; a renamed site keeps it through ``was``.
        latency: The median of its last checks that were up; None if the page must not show it.
    """

    id: str
    name: str
    state: Status
    since: Timestamp
    days: DayBars
    latency: Seconds | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Sites under one heading; the name is empty for sites without a heading."""

    name: str
    components: tuple[Component, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A window that is open now or opens next, and its sites."""

    begin: Timestamp
    end: Timestamp
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """
    The current content of a page.

    Attributes:
        incidents: Incidents of the last 90 days, and older ones that still last, newest first;
            at most MOST_INCIDENTS.
        maintenance: Maintenance under way or planned, the next first.
        announcements: Announcements made so far, newest first.
    """

    page: StatusPage
    now: Timestamp
    sections: tuple[Section, ...]
    incidents: tuple[Incident, ...]
    maintenance: tuple[Maintenance, ...]
    announcements: tuple[Announcement, ...]

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(one for section in self.sections for one in section.components)

    @property
    def counts(self) -> Counter[Status]:
        return Counter(one.state for one in self.components)

    def is_current(self, announcement: Announcement) -> bool:
        return announcement.end is None or announcement.end > self.now

    def impact(self, down: int) -> str:
        """Return Statuspage's word for how bad it is that this many components are down."""
        total = len(self.components)
        if not down:
            return "none"
        if down >= total:
            return "critical"
        return "major" if down >= _MAJOR * total else "minor"


class PublicView:
    """Makes the views; asks the history, so it must not run on the event loop."""

    def __init__(self, board: StatusBoard, recall: Recall, planned: Planned, clock: Clock) -> None:
        self._board = board
        self._recall = recall
        self._planned = planned
        self._clock = clock

    def of(self, page: StatusPage, published: Published) -> View:
        now = self._clock.time()
        states = [one.state for one in self._board.entries() if page.shows(one.state.site)]
        states.sort(key=lambda one: cached_natural_key(one.site.name))
        names = [one.site.name for one in states]
        return View(
            page=page,
            now=now,
            sections=self._sections(page, states, now),
            incidents=tuple(self._incidents(names, now)),
            maintenance=self._maintenance(states, now),
            announcements=tuple(
                sorted(
                    (one for one in published.announcements if _is_told(one, page, now)),
                    key=lambda one: -one.begin,
                )
            ),
        )

    def _sections(
        self, page: StatusPage, states: Iterable[SiteState], now: Timestamp
    ) -> tuple[Section, ...]:
        headed: dict[str, list[SiteState]] = {}
        for state in states:
            headed.setdefault(page.heading(state.site), []).append(state)
        names = [one.site.name for group in headed.values() for one in group]
        bars = bars_of(self._recall.days(names, now))
        return tuple(
            Section(
                name=name,
                components=tuple(
                    Component(
                        id=token("component", one.site.was or one.site.name),
                        name=one.site.name,
                        state=one.shown,
                        since=one.since,
                        days=bars(one.site.name),
                        latency=_latency(one) if page.latency else None,
                    )
                    for one in headed[name]
                ),
            )
            for name in sorted(headed, key=lambda one: (not one, cached_natural_key(one)))
        )

    def _incidents(self, names: Sequence[str], now: Timestamp) -> list[Incident]:
        """
        Return the newest MOST_INCIDENTS of the last 90 days, and older ones that still last.

        An incident that begins within the period that was read is complete. One that was already
        running at the start of that period may have begun earlier, with another site.
        """
        back = _FIRST_LOOK
        while True:
            begin = now - back
            found = incidents(self._recall.outages(names, begin, now))
            whole = [one for one in found if one.begin > begin]
            lasts = any(one.end is None for one in found[len(whole) :])
            enough = len(whole) >= MOST_INCIDENTS or back >= DAYS * DAY
            if back >= _FURTHEST_BACK or (enough and not lasts):
                break
            back = back * 2 if enough else min(back * 4, DAYS * DAY)
        since = now - DAYS * DAY
        shown = [one for one in found if one.end is None or one.begin > max(begin, since)]
        return shown[:MOST_INCIDENTS]

    def _maintenance(self, states: Iterable[SiteState], now: Timestamp) -> tuple[Maintenance, ...]:
        alike: dict[tuple[Window, ...], list[str]] = {}
        for state in states:
            if state.site.maintenance:
                alike.setdefault(state.site.maintenance, []).append(state.site.name)
        found: dict[tuple[Timestamp, Timestamp], list[str]] = {}
        for windows, names in alike.items():
            for stretch in self._planned(windows, now):
                found.setdefault(stretch, []).extend(names)
        return tuple(
            Maintenance(begin=begin, end=end, sites=tuple(sorted(names, key=cached_natural_key)))
            for (begin, end), names in sorted(found.items())
        )


def describe(incident: Incident) -> str:
    """Return an incident in one line: ``shop and 2 others were down for 12 min``."""
    others = len(incident.sites) - 1
    who = incident.sites[0]
    if others:
        who += f" and {others} {'other' if others == 1 else 'others'}"
    if incident.end is None:
        return f"{who} {'are' if others else 'is'} down"
    length = show_span(incident.end - incident.begin)
    return f"{who} {'were' if others else 'was'} down for {length}"


def _is_told(one: Announcement, page: StatusPage, now: Timestamp) -> bool:
    if one.pages and page.path not in one.pages:
        return False
    return one.begin <= now and (one.end is None or one.end > now - DAYS * DAY)


def _latency(state: SiteState) -> Seconds | None:
    durations = [one.duration for one in state.recent if one.up]
    return median(durations) if durations else None
