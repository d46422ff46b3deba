"""The pages for people: what the templates need, worked out of the states."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from monitor.board import Entry
from monitor.clock import Clock
from monitor.model import Past, Result, Seconds, SiteState, Status, Timestamp
from monitor.options import show_duration
from monitor.report import moment, result_json
from monitor.web.evidence import evidence

_REFRESH: Seconds = 30
_ORDER = (Status.DOWN, Status.UNKNOWN, Status.MAINTENANCE, Status.UP)
_RANK = {status: rank for rank, status in enumerate(_ORDER)}
_SPANS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_COLOURS = {
    Status.DOWN: "#c62828",
    Status.UNKNOWN: "#8a8f98",
    Status.MAINTENANCE: "#3569b8",
    Status.UP: "#2e8b57",
}

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
"""What the site page shows of report.result_json, by its labels."""

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
class Row:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Sites with a heading; the rows are made while the page is written."""

    name: str
    size: int
    down: int
    rows: Iterator[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One phase of the waterfall; offset and width in percent of the whole check."""

    phase: str
    offset: float
    width: float
    duration: str


class Pages:
    """
    Makes the pages, in pieces.

    Attributes:
        security_policy: The Content-Security-Policy under which they look as they should.
    """

    def __init__(self, version: str, clock: Clock) -> None:
        self._clock = clock
        loader = PackageLoader("monitor.web")
        environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        style = loader.get_source(environment, "style.css")[0]
        environment.globals |= {
            "version": version,
            "style": Markup(style),  # noqa: S704  our own file
            "states": _ORDER,
            "icon": _icon,
        }
        environment.filters.update(
            moment=moment,
            utc=show_moment,
            duration=show_time,
            setting=show_duration,
            in_path=_in_path,
            web_link=_web_link,
        )
        self._status = environment.get_template("status.html")
        self._site = environment.get_template("site.html")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.security_policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )

    def status(
        self,
        entries: Sequence[Entry],
        *,
        state: Status | None = None,
        search: str = "",
        refresh: bool = True,
    ) -> Iterator[bytes]:
        """
        Return the status page.

        Args:
            state: Show only sites in this state.
            search: Show only sites with this in their name, target, group or labels.
            refresh: Whether the page has itself loaded again now and then.
        """
        states = [entry.state for entry in entries]
        counts = Counter(one.shown for one in states)
        shown = [one for one in states if state in (None, one.shown) and _matches(one, search)]
        now = self._clock.time()

        def here(**changes: str) -> str:
            """Return a link to this page with other filters."""
            query = {
                "state": state or "",
                "q": search,
                "refresh": "" if refresh else "0",
                **changes,
            }
            return "./?" + urlencode({key: value for key, value in query.items() if value})

        return _encoded(
            self._status,
            root="./",
            now=now,
            counts=counts,
            total=len(states),
            shown=len(shown),
            groups=_groups(shown, now),
            state=state,
            search=search,
            refresh=_REFRESH if refresh else None,
            here=here,
            worst=next((one for one in _ORDER if counts[one]), Status.UNKNOWN),
        )

    def site(self, state: SiteState, *, root: str) -> Iterator[bytes]:
        """
        Return a site's page.

        Args:
            root: The relative way from that page to the status page.
        """
        now = self._clock.time()
        last = state.finished
        chain = last.analysis.chain if last and last.analysis else ()
        return _encoded(
            self._site,
            root=root,
            now=now,
            site=state.site,
            state=state,
            worst=state.shown,
            row=_row(state, now),
            span=show_span(now - state.since),
            last=last,
            facts=_facts(last) if last else {},
            extracted=last.analysis.extracted if last and last.analysis else (),
            bars=_waterfall(last) if last else [],
            certificate=chain[0] if chain else None,
            days_left=(chain[0].not_after - now) / 86400 if chain else None,
            failures=[(one, evidence(one)) for one in state.failures],
        )


def show_time(seconds: Seconds | None) -> str:
    """Return the duration as people read it: ``0.8 ms``, ``123 ms``; nothing for none."""
    if seconds is None:
        return ""
    if seconds < 0.01:  # noqa: PLR2004  below it, whole milliseconds say too little
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def show_moment(time: Timestamp) -> str:
    """Return ``2026-11-22 11:20:01 UTC``."""
    return moment(time)[:19].replace("T", " ") + " UTC"


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


def _groups(states: Iterable[SiteState], now: Timestamp) -> list[Group]:
    """Return the groups, those with something down first, and so the sites within each."""
    members: dict[str, list[SiteState]] = {}
    for state in states:
        members.setdefault(state.site.group, []).append(state)
    for group in members.values():
        # Two stable sorts: one by pairs would hold the GIL, and so the probes, three times as long
        group.sort(key=lambda one: one.site.name.casefold())
        group.sort(key=lambda one: _RANK[one.shown])
    ordered = sorted(
        members.items(), key=lambda item: (_RANK[item[1][0].shown], item[0].casefold())
    )
    return [
        Group(
            name=name,
            size=len(group),
            down=sum(one.shown is Status.DOWN for one in group),
            rows=(_row(one, now) for one in group),
        )
        for name, group in ordered
    ]


def _row(state: SiteState, now: Timestamp) -> Row:
    last = state.last
    reason, message = _why(last)
    return Row(
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
    )


def _why(last: Result | None) -> tuple[str, str]:
    """Return the reason and the message of a check that was not up; nothing of one that was."""
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
    """Return what the last check saw, as labels and short texts."""
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


def _in_path(name: str) -> str:
    """Return the name as one segment of a path: its slashes are no separators."""
    return quote(name, safe="", errors="replace")


def _web_link(target: str) -> str | None:
    """Return the target where a browser can follow it."""
    return target if target.lower().startswith(("http://", "https://")) else None


def _icon(worst: Status) -> str:
    """Return the browser tab's picture: a dot in the worst state's colour."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<circle cx="8" cy="8" r="7" fill="{_COLOURS[worst]}"/></svg>'
    )
    return "data:image/svg+xml," + quote(svg)


def _encoded(template: Template, **context: Any) -> Iterator[bytes]:
    for text in template.generate(context):
        yield text.encode(errors="replace")
