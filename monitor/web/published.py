"""
Status pages with their feeds and API, and badges: which exist, who may see them, their answers.

A stranger gets the same answer for a page that is not public as for one that does not exist.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.board import StatusBoard
from monitor.clock import Clock
from monitor.model import Seconds, SiteState, Status, Timestamp
from monitor.options import show_minute
from monitor.past import History, LatencyPoint
from monitor.statuspage import Announcement, Published, StatusPage
from monitor.web.answers import sentence, tag_of, tagged, whole
from monitor.web.badges import (
    WINDOWS,
    Badge,
    BadgeAsked,
    as_shields,
    as_svg,
    asked_by,
    latency_badge,
    status_badge,
    uptime_badge,
)
from monitor.web.fresh import Fresh
from monitor.web.incidents import Incident, urn
from monitor.web.public import Planned, PublicView, View, describe
from monitor.web.recall import Recall
from monitor.web.render import ORDER, encoded, renderer, security_policy
from monitor.web.status_api import (
    NAMES,
    StatusApi,
    announcement_id,
    incident_id,
    maintenance_id,
    turned,
)

_PAGE_GOOD_FOR: Seconds = 5.0
_BADGE_GOOD_FOR: Seconds = 60.0
_MOST_PAGES = 64
_MOST_BADGES = 4096
_SHIELDS_GOOD_FOR: Seconds = 300.0  # the shortest time that Shields accepts
_METHODS = ("GET", "HEAD")
_NOTHING = "There is nothing here."


@dataclass(frozen=True, slots=True)
class _PageAsked:
    """
    The page, and its part, that a path names.

    Attributes:
        part: Empty for the page itself, ``/`` for the page with a slash too many, otherwise the
            path below the page.
    """

    page: StatusPage
    part: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    time: Timestamp
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """An incident, an announcement or maintenance, ready to be shown."""

    id: str
    urn: str = ""
    title: str = ""
    text: str = ""
    begin: Timestamp
    end: Timestamp | None
    updated: Timestamp = 0.0
    turns: tuple[_Turn, ...] = ()
    sites: tuple[str, ...] = ()
    begun: bool = True


@dataclass(frozen=True, slots=True)
class _MadePage:
    """A rendered page: its view, for the feed and the API, and its HTML, ready to be sent."""

    view: View
    html: bytes


class StatusPages:
    """
    Answers requests for status pages and badges; belongs to one event loop.

    Args:
        published: What is published now.
        planned: When windows are open, now or next.
    """

    def __init__(
        self,
        *,
        board: StatusBoard,
        published: Callable[[], Published],
        planned: Planned,
        history: History | None,
        clock: Clock,
    ) -> None:
        self._board = board
        self._published = published
        self._clock = clock
        self._recall = Recall(history)
        self._view = PublicView(board, self._recall, planned, clock)
        self._pages = Fresh(_PAGE_GOOD_FOR, _MOST_PAGES)
        self._badges = Fresh(_BADGE_GOOD_FOR, _MOST_BADGES)
        self._policy = security_policy()

    async def answer(self, request: Request, *, to_strangers: bool) -> Response | None:
        """
        Return the answer; None if nothing exists at this path.

        Args:
            to_strangers: Whether to answer only for what is public.
        """
        path = request.scope["path"]
        asked = self._asked(path)
        if asked is None or (to_strangers and not self.is_public(path)):
            return None
        if request.method not in _METHODS:
            allow = {"Allow": ", ".join(_METHODS)}
            return sentence(
                f"This endpoint requires a {' or '.join(_METHODS)} request.", 405, allow
            )
        if isinstance(asked, BadgeAsked):
            return await self._badge(request, asked)
        return await self._page(request, asked)

    def is_public(self, path: str) -> bool:
        """Return whether a path needs no log-in; any thread may ask."""
        asked = self._asked(path)
        if isinstance(asked, _PageAsked):
            return asked.page.public
        return asked is not None and self._is_shown(asked.site)

    def _asked(self, path: str) -> _PageAsked | BadgeAsked | None:
        for page in self._published().pages:
            if path == page.path:
                return _PageAsked(page, "")
            if path == page.path + "/":
                return _PageAsked(page, "/")
            below = path.removeprefix(page.path + "/")
            if below != path and _is_part(below):
                return _PageAsked(page, below)
        badge = asked_by(path)
        return badge if badge is not None and self._board.get(badge.site) else None

    def _is_shown(self, name: str) -> bool:
        """Return whether a site is on a public page."""
        entry = self._board.get(name)
        if entry is None:
            return False
        return any(page.public and page.shows(entry.state.site) for page in self._published().pages)

    # ------------------------------------------------------------ pages

    async def _page(self, request: Request, asked: _PageAsked) -> Response:
        page = asked.page
        if asked.part == "/":
            place = "../" + page.path.rpartition("/")[2]
            return Response(status_code=308, headers={"Location": place})
        published = self._published()
        made = await self._pages.get(
            (page, published.announcements), partial(self._make, page, published)
        )
        headers = {"Content-Security-Policy": self._policy}
        if page.public:
            headers["Cache-Control"] = f"public, max-age={_PAGE_GOOD_FOR:.0f}"
        if not asked.part:
            # The footer says when the page was made; including it would always change the tag
            tag = tag_of(made.html.rpartition(b"<footer>")[0])
            return tagged(request, "text/html; charset=utf-8", made.html, tag=tag, headers=headers)
        if page.public:
            headers |= {
                "Access-Control-Allow-Origin": "*",
                "Cross-Origin-Resource-Policy": "cross-origin",
            }
        url = page.url or _url_of(request, page)
        if asked.part == "feed.atom":
            content_type, body = "application/atom+xml; charset=utf-8", self._atom(made.view, url)
        else:
            name = asked.part.removeprefix("api/v2/").removesuffix(".json")
            content_type = "application/json"
            body = json.dumps(StatusApi(made.view, url).answer(name)).encode()
        return tagged(request, content_type, body, tag=tag_of(body), headers=headers)

    def _make(self, page: StatusPage, published: Published) -> _MadePage:
        view = self._view.of(page, published)
        happened = [_incident_item(view, one) for one in view.incidents]
        told = [_announcement_item(view, one) for one in view.announcements]
        past = [one for one in (*happened, *told) if one.end is not None and one.end <= view.now]
        counts = view.counts
        pieces = encoded(
            renderer().template("public.html"),
            view=view,
            here=page.path.rpartition("/")[2],
            headline=_headline(view),
            worst=next((one for one in ORDER if counts[one]), Status.UNKNOWN),
            current=[one for one in told if one.end is None or one.end > view.now],
            ongoing=[one for one in happened if one.end is None],
            maintenance=[
                _Item(
                    id=maintenance_id(view, one),
                    begin=one.begin,
                    end=one.end,
                    sites=one.sites,
                    begun=one.begin <= view.now,
                )
                for one in view.maintenance
            ],
            past=sorted(past, key=lambda one: -one.begin),
            observed=any(one.days.uptime.ratio is not None for one in view.components),
        )
        return _MadePage(view, whole(pieces))

    def _atom(self, view: View, url: str) -> bytes:
        entries = [_incident_item(view, one) for one in view.incidents]
        entries += [_announcement_item(view, one) for one in view.announcements]
        entries.sort(key=lambda one: -one.updated)
        pieces = encoded(
            renderer().template("feed.atom"),
            id=urn("page", view.page.path),
            title=view.page.title,
            url=url,
            updated=entries[0].updated if entries else 0.0,
            entries=entries,
        )
        return whole(pieces)

    # ------------------------------------------------------------ badges

    async def _badge(self, request: Request, asked: BadgeAsked) -> Response:
        entry = self._board.get(asked.site)
        assert entry is not None  # noqa: S101  _asked has looked
        badge = await self._badge_of(entry.state, asked)
        headers = {}
        if self._is_shown(asked.site):
            headers = {
                "Access-Control-Allow-Origin": "*",
                "Cache-Control": f"public, max-age={_BADGE_GOOD_FOR:.0f}",
                "Cross-Origin-Resource-Policy": "cross-origin",
            }
        if asked.form == "json":
            content_type = "application/json"
            body = json.dumps(as_shields(badge, good_for=_SHIELDS_GOOD_FOR)).encode()
        else:
            content_type, body = "image/svg+xml", as_svg(badge).encode(errors="replace")
        return tagged(request, content_type, body, tag=tag_of(body), headers=headers)

    async def _badge_of(self, state: SiteState, asked: BadgeAsked) -> Badge:
        if asked.kind == "status":
            return status_badge(state)
        make = self._uptime_badge if asked.kind == "uptime" else self._latency_badge
        key = (asked.site, asked.kind, asked.window)
        return await self._badges.get(key, partial(make, asked.site, asked.window))

    def _uptime_badge(self, site: str, window: str) -> Badge:
        now = self._clock.time()
        found = self._recall.uptime([site], now - WINDOWS[window], now)
        return uptime_badge(window, found.get(site))

    def _latency_badge(self, site: str, window: str) -> Badge:
        now, length = self._clock.time(), WINDOWS[window]
        points = self._recall.latency(site, now - length, now, length)
        # Steps may lie on a grid, so the window may overlap two of them
        return latency_badge(window, max(points, key=_count, default=None))


class Visitors:
    """An ASGI application that answers for status pages and badges; another answers the rest."""

    def __init__(self, app: ASGIApp, pages: StatusPages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = None
        if scope["type"] == "http":
            answer = await self._pages.answer(Request(scope, receive), to_strangers=False)
        await (answer or self._app)(scope, receive, send)


class Strangers:
    """An ASGI application that serves only what is public; everything else does not exist."""

    def __init__(self, pages: StatusPages) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._pages.answer(Request(scope, receive), to_strangers=True)
        await (answer or sentence(_NOTHING, 404))(scope, receive, send)


def _is_part(below: str) -> bool:
    if below == "feed.atom":
        return True
    name = below.removeprefix("api/v2/")
    return name != below and name.removesuffix(".json") in NAMES


def _url_of(request: Request, page: StatusPage) -> str:
    """Return the URL that the reader used for the page."""
    host = request.headers.get("host")
    return f"{request.scope['scheme']}://{host}{page.path}" if host else page.path


def _count(point: LatencyPoint) -> int:
    return point.count


def _incident_item(view: View, incident: Incident) -> _Item:
    turns = tuple(_Turn(time=one.time, text=turned(one)) for one in incident.turns)
    return _Item(
        id=incident_id(view, incident),
        urn=urn("incident", view.page.path, int(incident.begin)),
        title=describe(incident),
        text="\n".join(f"{show_minute(one.time)}: {one.text}" for one in turns),
        begin=incident.begin,
        end=incident.end,
        updated=incident.updated,
        turns=turns,
    )


def _announcement_item(view: View, one: Announcement) -> _Item:
    over = one.end is not None and one.end <= view.now
    return _Item(
        id=announcement_id(view, one),
        urn=urn("announcement", view.page.path, int(one.begin)),
        title=one.title,
        text=one.text,
        begin=one.begin,
        end=one.end,
        updated=one.end if over and one.end is not None else one.begin,
    )


def _headline(view: View) -> str:
    counts: Mapping[Status, int] = view.counts
    total = len(view.components)
    down = counts[Status.DOWN]
    if not total:
        return "No services yet"
    if down == total:
        return "The service is down" if total == 1 else f"All {total:,} services are down"
    if down:
        return f"{down:,} of {total:,} services {'is' if down == 1 else 'are'} down"
    if counts[Status.MAINTENANCE]:
        return "Maintenance is under way"
    if counts[Status.UNKNOWN]:
        return "Some services could not be checked"
    return "The service is up" if total == 1 else f"All {total:,} services are up"
