"""The pages for people: prepares states for the templates."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from monitor.board import BoardEntry
from monitor.clock import Clock
from monitor.model import Past, Result, Seconds, SiteState, Status, Timestamp
from monitor.naming import cached_natural_key
from monitor.notify import ChannelState
from monitor.past import Span
from monitor.report import result_json
from monitor.web.charts import DayBars, bars_of, day_bars, harmed_days, latency_chart
from monitor.web.evidence import evidence
from monitor.web.recall import DAY, DAYS, Recall
from monitor.web.render import ORDER, encoded, renderer, security_policy
from monitor.web.words import show_span, show_time, show_uptime

_ROWS = 250
"""Rows on one page. Nobody reads more, and 10,000 rows would slow a browser down."""
_REFRESH: Seconds = 30
_UPTIME_WINDOWS = (
    ("24 hours", DAY),
    ("7 days", 7 * DAY),
    ("30 days", 30 * DAY),
    ("90 days", 90 * DAY),
    ("1 year", 365 * DAY),
)
_LATENCY_WINDOWS = (
    ("24 hours", DAY, 300.0),
    ("30 days", 30 * DAY, 2 * 3600.0),
    ("1 year", 365 * DAY, DAY),
)
"""The charts on a site's page: a name, a window, and the step of the points."""
_MOST_OUTAGES = 50
_RANK = {status: rank for rank, status in enumerate(ORDER)}

_FACTS = {
    "Address": "address",
    "Status": "status",
    "HTTP version": "http_version",
    "Body bytes": "body_bytes",
    "TLS": "tls_version",
    "Cipher": "tls_cipher",
    "Response code": "rcode",
    "Answers": "answers",
    "Serial": "serial",
    "Loss": "loss",
    "gRPC status": "grpc_status_code",
    "Health": "serving_status",
    "Content": "content_sha256",
}
"""The parts of report.result_json that the site page shows, by label."""

_STROKE = 4  # the strip's units from one result to the next
_TALLEST = 16
_SHORTEST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The last results as bars, oldest first; each text is an SVG path."""

    width: int
    up: str
    down: str
    error: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """One site of the status page, ready to be shown."""

    state: Status
    name: str
    target: str
    since: Timestamp
    span: str
    duration: str
    reason: str
    message: str
    flapping: bool
    strip: Strip
    days: DayBars


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """
    Sites with a heading.

    Attributes:
        size: Sites in the whole group; ``down`` counts it too. The page may show only a part.
        rows: Created while the page is written.
    """

    name: str
    size: int
    down: int
    rows: Iterator[SiteRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelView:
    """A receiver of messages in words."""

    name: str
    kind: str
    failing: bool
    waiting: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A down span in words; ``end`` is None while it lasts."""

    begin: Timestamp
    end: Timestamp | None
    length: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One phase of the waterfall; offset and width in percent of the whole check."""

    phase: str
    offset: float
    width: float
    duration: str


class Pages:
    """
    Makes the pages in pieces; queries the history first, so it must not run on the event loop.

    Attributes:
        security_policy: The Content-Security-Policy that the pages need to look right.
    """

    def __init__(self, version: str, clock: Clock, recall: Recall) -> None:
        self._clock = clock
        self._recall = recall
        self._version = version
        self.security_policy = security_policy()

    def status(
        self,
        entries: Sequence[BoardEntry],
        *,
        state: Status | None = None,
        search: str = "",
        refresh: bool = False,
        page: int = 1,
        channels: Sequence[ChannelState] = (),
    ) -> Iterator[bytes]:
        """
        Return the status page.

        Args:
            state: Show only sites in this state.
            search: Show only sites with this in their name, target, group or labels.
            refresh: Whether the page reloads itself now and then.
            page: Number of the page, from 1; a number above the last means the last.
            channels: The receivers of messages, and what waits for them.
        """
        states = [entry.state for entry in entries]
        counts = Counter(one.shown for one in states)
        shown = [one for one in states if state in (None, one.shown) and _matches(one, search)]
        now = self._clock.time()
        pages = max(1, math.ceil(len(shown) / _ROWS))
        page = min(page, pages)

        def here(**changes: str) -> str:
            """Return a link to this page with other filters."""
            query = {
                "state": state or "",
                "q": search,
                "refresh": f"{_REFRESH:.0f}" if refresh else "",
                **changes,
            }
            return "./?" + urlencode({key: value for key, value in query.items() if value})

        return encoded(
            renderer().template("status.html"),
            version=self._version,
            root="./",
            now=now,
            counts=counts,
            total=len(states),
            shown=len(shown),
            groups=self._groups(shown, page, now),
            page=page,
            pages=pages,
            state=state,
            search=search,
            refresh=f"{_REFRESH:.0f}" if refresh else None,
            offered=f"{_REFRESH:.0f}",
            here=here,
            channels=[_channel(one, now) for one in channels],
            worst=next((one for one in ORDER if counts[one]), Status.UNKNOWN),
        )

    def _groups(self, states: Iterable[SiteState], page: int, now: Timestamp) -> list[Group]:
        """Return the groups, or parts of them, on one page; those with a site down come first."""
        first, end = (page - 1) * _ROWS, page * _ROWS
        found: list[tuple[str, list[SiteState], list[SiteState]]] = []
        begun = 0
        for name, group in _ordered(states):
            if first < begun + len(group) and begun < end:
                # Two stable sorts: one sort by pairs would hold the GIL, and stop probes, longer
                group.sort(key=lambda one: cached_natural_key(one.site.name))
                group.sort(key=lambda one: _RANK[one.shown])
                found.append((name, group, group[max(0, first - begun) : end - begun]))
            begun += len(group)
        bars = bars_of(
            self._recall.days([one.site.name for *_, rows in found for one in rows], now)
        )
        return [
            Group(
                name=name,
                size=len(group),
                down=sum(one.shown is Status.DOWN for one in group),
                rows=(_row(one, now, bars(one.site.name)) for one in rows),
            )
            for name, group, rows in found
        ]

    def site(self, state: SiteState, *, root: str) -> Iterator[bytes]:
        """
        Return a site's page.

        Args:
            root: The relative path from that page to the status page.
        """
        now = self._clock.time()
        last = state.finished
        chain = last.analysis.chain if last and last.analysis else ()
        name = state.site.name
        days = self._recall.days([name], now).get(name, ())
        outages = self._recall.outages([name], now - 365 * DAY, now)
        recent = [one for one in outages if one.end is None or one.end > now - DAYS * DAY]
        return encoded(
            renderer().template("site.html"),
            version=self._version,
            root=root,
            now=now,
            site=state.site,
            state=state,
            worst=state.shown,
            row=_row(state, now, day_bars(days)),
            uptimes=[
                (title, show_uptime(self._recall.uptime([name], now - window, now).get(name)))
                for title, window in _UPTIME_WINDOWS
            ],
            harmed=harmed_days(days),
            charts=[
                latency_chart(
                    title,
                    self._recall.latency(name, now - window, now, step),
                    outages,
                    begin=now - window,
                    end=now,
                    step=step,
                )
                for title, window, step in _LATENCY_WINDOWS
            ],
            outages=[_outage(one, now) for one in recent[:_MOST_OUTAGES]],
            more_outages=max(0, len(recent) - _MOST_OUTAGES),
            last=last,
            facts=_facts(last) if last else {},
            extracted=last.analysis.extracted if last and last.analysis else (),
            bars=_waterfall(last) if last else [],
            certificate=chain[0] if chain else None,
            days_left=(chain[0].not_after - now) / 86400 if chain else None,
            failures=[(one, evidence(one)) for one in state.failures],
        )


def _ordered(states: Iterable[SiteState]) -> Iterator[tuple[str, list[SiteState]]]:
    """Yield the groups: those with a site down first, then by name, the one without a name last."""
    members: dict[str, list[SiteState]] = {}
    for state in states:
        members.setdefault(state.site.group, []).append(state)
    worst = {name: min(_RANK[one.shown] for one in group) for name, group in members.items()}
    for name in sorted(members, key=lambda one: (worst[one], not one, cached_natural_key(one))):
        yield name, members[name]


def _channel(state: ChannelState, now: Timestamp) -> ChannelView:
    waiting = f"{state.waiting:,}" if state.waiting else "nothing"
    if state.oldest is not None:
        waiting += f", for {show_span(now - state.oldest)}"
    answer = state.answer
    if answer and state.answered is not None:
        answer = f"{answer} ({show_span(now - state.answered)} ago)"
    return ChannelView(
        name=state.channel,
        kind=state.kind,
        failing=state.failing_since is not None,
        waiting=waiting,
        answer=answer or "no message was sent yet",
    )


def _outage(span: Span, now: Timestamp) -> Outage:
    return Outage(
        begin=span.begin,
        end=span.end,
        length=show_span((now if span.end is None else span.end) - span.begin),
        reason=span.reason or "",
        message=span.message,
    )


def _row(state: SiteState, now: Timestamp, days: DayBars) -> SiteRow:
    last = state.last
    reason, message = _why(last)
    if state.because:
        message = f"because {state.because} is down; {message}"
    return SiteRow(
        state=state.shown,
        name=state.site.name,
        target=state.site.target,
        since=state.since,
        span=show_span(now - state.since),
        duration=show_time(last.observation.duration if last else None),
        reason=reason,
        message=message,
        flapping=state.flapping,
        strip=_strip(state.recent),
        days=days,
    )


def _why(last: Result | None) -> tuple[str, str]:
    """Return the reason and the message of a check that was not up; both empty if it was up."""
    if last is None:
        return "", "not checked yet"
    if last.analysis is None:
        return "", f"the monitor could not tell: {last.error}"
    verdict = last.analysis.verdict
    return verdict.reason or "", verdict.message


def _strip(recent: Sequence[Past]) -> Strip:
    slowest = max((one.duration for one in recent), default=0.0) or 1.0
    paths: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for place, result in enumerate(reversed(recent)):
        share = result.duration / slowest
        height = max(_SHORTEST, round(_TALLEST * share))
        paths[result.up].append(f"M{place * _STROKE + 2} {_TALLEST}v-{height}")
    checked, up = len(recent) - len(paths[None]), len(paths[True])
    return Strip(
        width=len(recent) * _STROKE,
        up="".join(paths[True]),
        down="".join(paths[False]),
        error="".join(paths[None]),
        summary=f"{up} of the last {checked} checks were up" if checked else "no checks yet",
    )


def _waterfall(result: Result) -> list[Bar]:
    seen = result.observation
    whole = max(seen.duration, sum(seen.phases.values())) or 1.0
    bars = []
    offset = 0.0
    for phase, seconds in seen.phases.items():
        share = 100 * seconds / whole
        bars.append(Bar(phase=phase, offset=offset, width=share, duration=show_time(seconds)))
        offset += share
    return bars


def _facts(result: Result) -> dict[str, str]:
    """Return what a check saw, as labels and short texts."""
    form = result_json(result)
    facts = {label: form[key] for label, key in _FACTS.items()}
    return {
        label: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for label, value in facts.items()
        if value is not None
    }


def _matches(state: SiteState, search: str) -> bool:
    if not search:
        return True
    site = state.site
    texts = (site.name, site.target, site.group, *(value for _, value in site.labels))
    return any(search.casefold() in text.casefold() for text in texts)
