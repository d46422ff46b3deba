"""The web endpoints as a Starlette application; runs in the web thread and reads only the board."""

import asyncio
import functools
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.board import BoardEntry, StatusBoard
from monitor.clock import Clock, SystemClock
from monitor.logs import fields
from monitor.model import Seconds, Status
from monitor.notify import ChannelState, WaitingMessages
from monitor.past import History
from monitor.report import channel_json, site_detail_json, site_json
from monitor.web.answers import SAFE_HEADERS, sentence, streamed, tag_of, tagged, whole
from monitor.web.evidence import evidence
from monitor.web.intake import AtMost, Intake
from monitor.web.pages import Pages
from monitor.web.past_api import PastApi
from monitor.web.probe import Live, ProbeQuery, Refused, debug_text
from monitor.web.published import StatusPages, Strangers, Visitors
from monitor.web.recall import Recall

log = logging.getLogger(__name__)

Exposition: TypeAlias = tuple[str, Iterator[bytes]]
"""A content type and the text in pieces."""

Before: TypeAlias = Callable[[ASGIApp], ASGIApp]
"""Wraps an application in another one."""

_RELOAD_PATIENCE: Seconds = 50.0
_SCRAPE_TIMEOUT = "x-prometheus-scrape-timeout-seconds"
_LONGEST_ECHO = 200
_PAGE_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def create_app(
    *,
    board: StatusBoard,
    scrape: Callable[[str, Sequence[str]], Exposition],
    reload: Callable[[], Future[tuple[str, ...]]],
    config_text: Callable[[], str],
    version: str,
    probe_site: Callable[[str, str], Exposition] | None = None,
    live: Live | None = None,
    elsewhere: Callable[[str], str | None] = lambda _: None,
    clock: Clock | None = None,
    history: History | None = None,
    status_pages: StatusPages | None = None,
    outbox: WaitingMessages | None = None,
    calls: Before | None = None,
    scrapes: int = 40,
    on_scrape_refused: Callable[[], None] = lambda: None,
) -> Starlette:
    """
    Return the application.

    Args:
        scrape: ``(accept, sites)`` to the exposition of these sites, or of everything without any;
            raises LookupError with the name of a site that is not listed.
        reload: Asks the main thread to read the configuration again; the future brings the
            problems, and is empty when the new configuration runs.
        config_text: The running configuration as YAML, secrets masked; called in a thread of its
            own.
        version: The monitor's, for the pages.
        probe_site: ``(accept, name)`` to the exposition of one site's last result; raises
            LookupError if it is missing. Without it, ``/probe`` does not exist.
        live: Checks targets that are not listed; without it ``/probe`` shows only listed sites.
        elsewhere: Returns which daemon has a site that this one does not; None if none has it.
        history: Source of everything about the past; without it pages show dashes.
        outbox: Source of the receivers and the messages that wait for them.
        status_pages: Answers for status pages and badges, if any are configured.
        calls: Wraps an application so that sites can report themselves.
        scrapes: Limit of concurrent scrapes of ``/metrics``; other exporters have this default too.
        on_scrape_refused: Called in the web thread for each scrape above that limit.
    """
    clock = clock or SystemClock()
    endpoints = _Endpoints(
        board,
        scrape,
        reload,
        config_text,
        Pages(version, clock, Recall(history)),
        live,
        elsewhere,
        outbox,
        clock,
    )
    past = PastApi(board, history, clock)
    routes = [
        Route("/", endpoints.status_page),
        Route("/sites/{name:name}", endpoints.site_page),
        Route(
            "/metrics",
            endpoints.metrics,
            middleware=[Middleware(AtMost, most=scrapes, on_refused=on_scrape_refused)],
        ),
        Route("/sd", endpoints.discovery),
        Route("/logs", endpoints.logs),
        Route("/config", endpoints.config),
        Route("/api/v1/sites", endpoints.api_sites),
        *(
            Route(f"/api/v1/sites/{{name:name}}/{what}", endpoints.of_site(what, answer))
            for what, answer in (
                ("uptime", past.uptime_of),
                ("latency", past.latency_of),
                ("results", past.results_of),
            )
        ),
        Route("/api/v1/sites/{name:name}", endpoints.api_site),
        Route("/api/v1/uptime", past.uptime),
        Route("/api/v1/outages", past.outages),
        Route("/api/v1/receivers", endpoints.api_receivers),
        Route("/-/healthy", endpoints.healthy),
        Route("/-/ready", endpoints.ready),
        Route("/-/reload", endpoints.reload, methods=["POST"]),
        Route("/-/notify/retry", endpoints.retry, methods=["POST"]),
    ]
    if probe_site is not None:
        routes.append(Route("/probe", functools.partial(endpoints.probe, probe_site)))
    middleware = [Middleware(_EveryAnswer)]
    if calls is not None:
        middleware.append(Middleware(calls))
    middleware.append(Middleware(Intake))
    if status_pages is not None:
        middleware.append(Middleware(Visitors, pages=status_pages))
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={HTTPException: _http_error},
    )
    # A site's name may end in a slash, and a redirect would give one site two addresses
    app.router.redirect_slashes = False
    return app


def create_public_app(status_pages: StatusPages) -> ASGIApp:
    """Return the application of ``--listen-public``: public pages, their feeds and badges."""
    return _EveryAnswer(Intake(Strangers(status_pages)))


class _Name(PathConvertor):
    """A site's name in a path: slashes, and unlike Starlette's ``path`` line ends too."""

    regex = "(?s:.*)"


register_url_convertor("name", _Name())


class _Endpoints:
    def __init__(
        self,
        board: StatusBoard,
        scrape: Callable[[str, Sequence[str]], Exposition],
        reload: Callable[[], Future[tuple[str, ...]]],
        config_text: Callable[[], str],
        pages: Pages,
        live: Live | None,
        elsewhere: Callable[[str], str | None],
        outbox: WaitingMessages | None,
        clock: Clock,
    ) -> None:
        self._board = board
        self._scrape = scrape
        self._reload = reload
        self._config_text = config_text
        self._pages = pages
        self._live = live
        self._elsewhere = elsewhere
        self._outbox = outbox
        self._clock = clock

    # ------------------------------------------------------------ for Prometheus

    async def metrics(self, request: Request) -> Response:
        sites = request.query_params.getlist("site")
        try:
            content_type, pieces = self._scrape(_accept(request), sites)
        except LookupError as error:
            raise self._no_such_site(str(error.args[0])) from error
        return streamed(request, content_type, pieces)

    async def probe(
        self, probe_site: Callable[[str, str], Exposition], request: Request
    ) -> Response:
        if self._live is not None and "site" not in request.query_params:
            return await self._probe_target(self._live, request)
        name = _named_site(request)
        if "target" in request.query_params:
            raise HTTPException(400, "say either site or target: a listed site has its own")
        try:
            content_type, pieces = probe_site(_accept(request), name)
        except LookupError as error:
            if self._board.get(name) is None:
                raise self._no_such_site(name) from error
            raise HTTPException(503, "no check of this site has finished yet") from error
        return streamed(request, content_type, pieces)

    async def _probe_target(self, live: Live, request: Request) -> Response:
        query = ProbeQuery(
            target=_first(request, "target"),
            module=_first(request, "module"),
            hostname=_first(request, "hostname"),
            scrape_timeout=request.headers.get(_SCRAPE_TIMEOUT),
        )
        try:
            check = live.start(query)
        except Refused as refused:
            raise HTTPException(refused.status, refused.text) from refused
        # wait() does not cancel the future: the check continues if the client disconnects
        await asyncio.wait([asyncio.wrap_future(check.reply)], timeout=check.patience)
        if check.reply.cancelled():
            raise HTTPException(503, "the monitor is stopping and starts no more checks")
        if not check.reply.done():
            check.reply.cancel()
            raise HTTPException(503, "no thread was free for this check in time")
        result = check.reply.result()
        if result.error is not None:
            raise HTTPException(500, f"the monitor could not check: {result.error}")
        debug = _first(request, "debug") == "true"
        content_type, text = live.expose(check.site, result, "" if debug else _accept(request))
        if debug:
            content_type, text = "text/plain; charset=utf-8", debug_text(check, result, text)
        return streamed(request, content_type, iter([text]))

    async def discovery(self, request: Request) -> Response:
        entries = self._board.entries()
        place, scheme = request.headers.get("host", ""), request.url.scheme
        if not place:
            raise HTTPException(400, "the request has no Host header, from which targets are made")
        pieces = _targets_json(iter(entries), place, scheme)
        return streamed(request, "application/json", pieces)

    # ------------------------------------------------------------ for people

    async def status_page(self, request: Request) -> Response:
        query = request.query_params
        state = query.get("state") or None
        if state is not None and state not in set(Status):
            raise HTTPException(400, f"state must be one of {', '.join(Status)}")
        number = query.get("page", "1")
        if not _PAGE_NUMBER.fullmatch(number):
            raise HTTPException(400, "page must be a number of at least 1")
        make = functools.partial(
            self._pages.status,
            self._board.entries(),
            state=Status(state) if state else None,
            search=query.get("q", "").strip(),
            refresh=query.get("refresh", "0") not in ("", "0"),
            page=int(number),
            channels=self._channels(),
        )
        return await self._page(request, make)

    async def site_page(self, request: Request) -> Response:
        # Relative links work behind a proxy that serves us under a path of its own
        root = "../" * (request.scope["raw_path"].count(b"/") - 1)
        make = functools.partial(self._pages.site, self._entry(request).state, root=root)
        return await self._page(request, make)

    async def _page(self, request: Request, make: Callable[[], Iterator[bytes]]) -> Response:
        body = await asyncio.to_thread(lambda: whole(make()))
        # The footer says when the page was made; the tag omits it, or the tag would always change
        return tagged(
            request,
            "text/html; charset=utf-8",
            body,
            tag=tag_of(body.rpartition(b"<footer>")[0]),
            headers={"Content-Security-Policy": self._pages.security_policy},
        )

    async def logs(self, request: Request) -> Response:
        name = _named_site(request)
        entry = self._board.get(name)
        if entry is None:
            raise self._no_such_site(name)
        failures = entry.state.failures
        if not failures:
            return sentence("No failure of this site is remembered.")
        return streamed(
            request,
            "text/plain; charset=utf-8",
            ((evidence(one) + "\n").encode(errors="replace") for one in failures),
        )

    async def config(self, request: Request) -> Response:
        text = await asyncio.to_thread(self._config_text)
        lines = text.splitlines(keepends=True)
        return streamed(
            request, "text/plain; charset=utf-8", (line.encode(errors="replace") for line in lines)
        )

    # ------------------------------------------------------------ for programs

    async def api_sites(self, request: Request) -> Response:
        entries = self._board.entries()
        return streamed(request, "application/json", _sites_json(iter(entries)))

    async def api_site(self, request: Request) -> Response:
        text = json.dumps(site_detail_json(self._entry(request).state))
        return streamed(request, "application/json", iter([text.encode()]))

    async def api_receivers(self, request: Request) -> Response:
        now = self._clock.time()
        rows = [channel_json(one, now) for one in self._channels()]
        text = json.dumps({"receivers": rows})
        return streamed(request, "application/json", iter([text.encode()]))

    def _channels(self) -> Sequence[ChannelState]:
        return self._outbox.channels() if self._outbox is not None else ()

    def of_site(
        self, what: str, answer: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint below a site; a listed site wins if its name ends like the path."""

        async def endpoint(request: Request) -> Response:
            name = request.path_params["name"]
            whole = f"{name}/{what}"
            if self._board.get(whole) is not None:
                request.path_params["name"] = whole
                return await self.api_site(request)
            return await answer(request, self._entry(request).state.site.name)

        return endpoint

    # ------------------------------------------------------------ for operators of the monitor

    async def healthy(self, _: Request) -> Response:
        return sentence("Healthy")

    async def ready(self, _: Request) -> Response:
        reason = self._board.unready()
        return sentence("Ready") if reason is None else sentence(f"Not ready: {reason}", 503)

    async def reload(self, request: Request) -> Response:
        _refuse_other_sites(request)
        future = self._reload()
        # wait() does not cancel the future: the reload continues if the client disconnects
        await asyncio.wait([asyncio.wrap_future(future)], timeout=_RELOAD_PATIENCE)
        if future.cancelled():
            return sentence("The monitor is stopping and no longer reloads.", 503)
        if not future.done():
            return sentence("The reload is still under way; the log will say how it ends.", 503)
        problems = future.result()
        return sentence("\n".join(problems), 400) if problems else sentence("reloaded")

    async def retry(self, request: Request) -> Response:
        _refuse_other_sites(request)
        receiver = request.query_params.get("receiver")
        is_listed = self._outbox.retry(receiver) if self._outbox else receiver is None
        if not is_listed:
            known = ", ".join(dict.fromkeys(one.receiver for one in self._channels())) or "none"
            text = f"no receiver {_short(receiver or '')!r} is listed; there are: {known}"
            raise HTTPException(404, text)
        return sentence("What waits is tried again now.")

    def _entry(self, request: Request) -> BoardEntry:
        name = request.path_params["name"]
        entry = self._board.get(name)
        if entry is None:
            raise self._no_such_site(name)
        return entry

    def _no_such_site(self, name: str) -> HTTPException:
        where = self._elsewhere(name)
        if where is not None:
            return HTTPException(404, f"site {_short(name)!r} is not checked here, but by {where}")
        lists = "/api/v1/sites lists them all"
        return HTTPException(404, f"no site {_short(name)!r} is listed; {lists}")


def _refuse_other_sites(request: Request) -> None:
    """
    Refuse a request that a page of another site makes a browser send with the operator's login.

    Browsers say so in Sec-Fetch-Site, older ones only in Origin; curl sends neither.
    """
    fetched = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if fetched is None and origin is not None:
        host = request.headers.get("host", "")
        fetched = "same-origin" if origin.rpartition("://")[2] == host else "cross-site"
    if fetched not in {None, "none", "same-origin"}:
        raise HTTPException(403, "A page of another site sent this request; send it by curl.")


def _sites_json(entries: Iterator[BoardEntry]) -> Iterator[bytes]:
    # Site by site: one json.dumps over 10,000 sites would hold the GIL, and so stop every probe's
    # thread, for 0.1 s or more
    yield b'{"sites": ['
    for number, entry in enumerate(entries):
        yield (", " if number else "").encode() + json.dumps(site_json(entry.state)).encode()
    yield b"]}"


def _targets_json(entries: Iterator[BoardEntry], place: str, scheme: str) -> Iterator[bytes]:
    """
    Yield the target groups of Prometheus' HTTP service discovery, a group for each site.

    The target of each group is this monitor, at the address of the request, with the site's last
    result; ``instance`` is the target of the site, as with blackbox_exporter.
    """
    yield b"["
    for number, entry in enumerate(entries):
        site = entry.state.site
        labels = {
            **dict(site.labels),
            "site": site.name,
            **({"group": site.group} if site.group else {}),
            "instance": site.target,
            "__scheme__": scheme,
            "__metrics_path__": "/probe",
            "__param_site": site.name,
        }
        group = json.dumps({"targets": [place], "labels": labels})
        yield (", " if number else "").encode() + group.encode()
    yield b"]"


def _accept(request: Request) -> str:
    return ", ".join(request.headers.getlist("accept"))


def _first(request: Request, parameter: str) -> str | None:
    """Return a parameter; of several, the first, as blackbox_exporter takes it."""
    return next(iter(request.query_params.getlist(parameter)), None)


def _named_site(request: Request) -> str:
    name = request.query_params.get("site")
    if name is None:
        raise HTTPException(400, f"say which site: {request.url.path}?site=NAME")
    return name


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "…"


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  it is registered for these
    text = error.detail
    headers = dict(error.headers or {})
    if "Allow" in headers:
        methods = " or ".join(sorted(headers["Allow"].split(", ")))
        text = f"This endpoint requires a {methods} request."
    elif text == "Not Found":  # Starlette's own: no route
        text = f"there is nothing at {_short(request.scope['path'])!r}; / is the status page"
    return _error(request.url.path, text, error.status_code, headers)


def _error(path: str, text: str, status: int, headers: dict[str, str] | None = None) -> Response:
    if path.startswith("/api/"):
        return Response(json.dumps({"error": text}), status, headers, media_type="application/json")
    return sentence(text, status, headers)


class _EveryAnswer:
    """Gives every answer the protecting headers, and no client a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *_missing(present)]
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception:
            if started:
                raise  # uvicorn logs it and cuts the connection: the client sees half an answer
            log.exception("web_request_failed", extra=fields(path=_short(scope["path"])))
            answer = _error(scope["path"], "The monitor failed to answer; its log says why.", 500)
            await answer(scope, receive, guarded)


def _missing(present: set[bytes]) -> list[tuple[bytes, bytes]]:
    safe = ((name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items())
    return [(name, value) for name, value in safe if name not in present]
