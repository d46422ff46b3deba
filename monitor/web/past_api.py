"""
The past for programs: uptime, latency, results and outages as JSON; tables also as CSV.

Threads beside the event loop query the history. If it cannot answer, the status is 503, because an
empty answer would look like "no outages".
"""

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from monitor.board import StatusBoard
from monitor.clock import Clock
from monitor.errors import HistoryError
from monitor.model import Seconds, Timestamp
from monitor.options import parse_duration
from monitor.past import History, Uptime
from monitor.report import csv_lines, moment
from monitor.web.answers import streamed

_WINDOWS = "24h,7d,30d,90d,365d"
_MOST_WINDOWS = 20
_DAY: Seconds = 86400.0
_FAR: Timestamp = 32_503_680_000.0
"""The year 3000."""
_POINTS = 200
_MOST_POINTS = 11_000
"""The same limit as in Prometheus."""
_STEPS: tuple[Seconds, ...] = (60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
_RESULTS = 100
_MOST_RESULTS = 10_000
_UNIX = re.compile(r"\d{1,11}(\.\d+)?")
_COUNT = re.compile(r"[1-9]\d{0,8}")
_CURSOR = re.compile(r"\d{1,14}")

_Answer = TypeVar("_Answer")


class PastApi:
    """The endpoints; those about one site get a name that has already been looked up."""

    def __init__(self, board: StatusBoard, history: History | None, clock: Clock) -> None:
        self._board = board
        self._history = history
        self._clock = clock

    async def uptime_of(self, request: Request, name: str) -> Response:
        """Answer with a site's uptime in several windows that end now."""
        _require_known(request, "windows")
        now = self._clock.time()
        texts = request.query_params.get("windows", _WINDOWS).split(",")
        if len(texts) > _MOST_WINDOWS:
            raise HTTPException(400, f"windows may be {_MOST_WINDOWS} at most")
        windows = {text: _duration("windows", text) for text in texts}

        def ask(history: History) -> dict[str, Any]:
            return {
                text: uptime_json(history.uptime([name], now - window, now).get(name), window)
                for text, window in windows.items()
            }

        answer = {"site": name, "to": moment(now), "windows": await self._ask(ask)}
        return streamed(request, "application/json", iter([json.dumps(answer).encode()]))

    async def uptime(self, request: Request) -> Response:
        """Answer with the uptime of each site in one window."""
        _require_known(request, *_WINDOW, *_MANY)
        begin, end = self._window(request, 30 * _DAY)
        sites = self._sites(request)
        found = await self._ask(lambda history: history.uptime([*sites], begin, end))
        rows = (
            {
                "site": name,
                "group": group or None,
                **uptime_json(found.get(name), end - begin),
            }
            for name, group in sites.items()
        )
        return _rows(request, "sites", begin, end, rows, ("site", "group", *_UPTIME))

    async def outages(self, request: Request) -> Response:
        """Answer with the outages that overlap a window, newest first."""
        _require_known(request, *_WINDOW, *_MANY)
        begin, end = self._window(request, 90 * _DAY)
        sites = self._sites(request)
        found = await self._ask(lambda history: history.outages([*sites], begin, end))
        rows = (
            {
                "site": one.site,
                "group": sites[one.site] or None,
                "begin": moment(one.begin),
                "end": None if one.end is None else moment(one.end),
                "seconds": round((end if one.end is None else one.end) - one.begin, 3),
                "reason": one.reason,
                "message": one.message or None,
            }
            for one in found
        )
        return _rows(request, "outages", begin, end, rows, _OUTAGE)

    async def latency_of(self, request: Request, name: str) -> Response:
        """Answer with a site's latency, point by point."""
        _require_known(request, *_WINDOW, "step", "format")
        begin, end = self._window(request, _DAY)
        if "step" in request.query_params:
            step = _duration("step", request.query_params["step"])
        else:
            fitting = (one for one in _STEPS if (end - begin) / one <= _POINTS)
            step = next(fitting, _STEPS[-1])
        if (end - begin) / step > _MOST_POINTS:
            raise HTTPException(400, f"there may be {_MOST_POINTS} points at most; widen the step")
        found = await self._ask(lambda history: history.latency(name, begin, end, step))
        rows = (
            {
                "time": moment(one.begin),
                "count": one.count,
                "p50_seconds": one.p50,
                "p95_seconds": one.p95,
                "p99_seconds": one.p99,
                "max_seconds": one.max,
            }
            for one in found
        )
        return _rows(request, "points", begin, end, rows, _POINT, site=name, step_seconds=step)

    async def results_of(self, request: Request, name: str) -> Response:
        """Answer with a site's results, newest first; ``next`` is the cursor to earlier ones."""
        _require_known(request, *_WINDOW, "limit", "cursor", "format")
        begin, end = self._window(request, 7 * _DAY)
        limit = request.query_params.get("limit", str(_RESULTS))
        if not _COUNT.fullmatch(limit) or int(limit) > _MOST_RESULTS:
            raise HTTPException(400, f"limit must be a number from 1 to {_MOST_RESULTS}")
        cursor = request.query_params.get("cursor")
        if cursor is not None:
            if not _CURSOR.fullmatch(cursor):
                raise HTTPException(400, "cursor must be what an answer had as next")
            end = min(end, int(cursor) / 1000)
        count = int(limit)
        found = await self._ask(lambda history: history.results(name, begin, end, count))
        rows = (
            {
                "time": moment(one.time),
                "up": one.up,
                "duration_seconds": one.duration,
                "reason": one.reason,
            }
            for one in found
        )
        more = str(round(found[-1].time * 1000)) if len(found) == count else None
        return _rows(request, "results", begin, end, rows, _RESULT, site=name, next=more)

    async def _ask(self, question: Callable[[History], _Answer]) -> _Answer:
        history = self._history
        if history is None:
            raise HTTPException(503, "this monitor keeps no history: it was started with no data")
        try:
            return await asyncio.to_thread(question, history)
        except HistoryError as error:
            raise HTTPException(503, str(error)) from error

    def _sites(self, request: Request) -> dict[str, str]:
        """Return the group of each site that a query is about, by name, in the list's order."""
        query = request.query_params
        states = [entry.state for entry in self._board.entries()]
        found = {one.site.name: one.site.group for one in states}
        if "site" in query:
            wanted = query.getlist("site")
            for name in wanted:
                if name not in found:
                    raise HTTPException(404, f"no site {name[:200]!r} is listed")
            found = {name: found[name] for name in wanted}
        if "group" in query:
            groups = set(query.getlist("group"))
            found = {name: group for name, group in found.items() if group in groups}
        return found

    def _window(self, request: Request, usual: Seconds) -> tuple[Timestamp, Timestamp]:
        query = request.query_params
        now = self._clock.time()
        end = _moment("to", query["to"]) if "to" in query else now
        if "from" in query:
            if "window" in query:
                raise HTTPException(400, "say either from or window")
            begin = _moment("from", query["from"])
        else:
            begin = end - (_duration("window", query["window"]) if "window" in query else usual)
        if begin >= end:
            raise HTTPException(400, "from must be earlier than to")
        return begin, end


_WINDOW = ("from", "to", "window")
_MANY = ("site", "group", "format")
_REPEATED = ("site", "group")


def _require_known(request: Request, *known: str) -> None:
    """Refuse an unknown parameter; a misspelt one would otherwise be ignored silently."""
    query = request.query_params
    for name in query:
        if name not in known:
            raise HTTPException(
                400, f"unknown parameter {name[:200]!r}; known here are {', '.join(sorted(known))}"
            )
        if name not in _REPEATED and len(query.getlist(name)) > 1:
            raise HTTPException(400, f"{name} may be given once only")


_UPTIME = ("uptime", "coverage", "up_seconds", "down_seconds", "outages")
_OUTAGE = ("site", "group", "begin", "end", "seconds", "reason", "message")
_POINT = ("time", "count", "p50_seconds", "p95_seconds", "p99_seconds", "max_seconds")
_RESULT = ("time", "up", "duration_seconds", "reason")


def uptime_json(uptime: Uptime | None, window: Seconds) -> dict[str, Any]:
    """Return the JSON form of an uptime; without any observation it is null, never 1."""
    known = uptime or Uptime(window=window, up=0, down=0)
    return {
        "uptime": known.ratio,
        "coverage": known.coverage,
        "up_seconds": known.up,
        "down_seconds": known.down,
        "outages": known.outages,
    }


def _rows(
    request: Request,
    what: str,
    begin: Timestamp,
    end: Timestamp,
    rows: Iterable[dict[str, Any]],
    columns: Sequence[str],
    **more: Any,
) -> Response:
    """Return rows as JSON, or as CSV if the query asks for it."""
    form = request.query_params.get("format", "json")
    if form == "csv":
        lines = (line.encode(errors="replace") for line in csv_lines(columns, rows))
        return streamed(request, "text/csv; charset=utf-8", lines)
    if form != "json":
        raise HTTPException(400, "format must be json or csv")
    head = {**more, "from": moment(begin), "to": moment(end)}
    return streamed(request, "application/json", _json(head, what, rows))


def _json(head: dict[str, Any], what: str, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    yield f"{json.dumps(head)[:-1]}, {json.dumps(what)}: [".encode()
    for number, row in enumerate(rows):
        yield (", " if number else "").encode() + json.dumps(row).encode()
    yield b"]}"


def _duration(name: str, text: str) -> Seconds:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise HTTPException(400, f"{name}: {error}") from error
    if not 0 < seconds < math.inf or seconds > 100 * 366 * _DAY:
        raise HTTPException(400, f"{name} must be more than 0s and at most a hundred years")
    return seconds


def _moment(name: str, text: str) -> Timestamp:
    """Return the Unix seconds of ISO 8601, in UTC unless it says otherwise, or of a number."""
    if _UNIX.fullmatch(text):
        return _in_range(name, float(text))
    try:
        # An unescaped plus arrives as a space
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise HTTPException(
            400, f"{name} must be a time such as 2026-11-01T00:00:00Z, or Unix seconds"
        ) from error
    return _in_range(name, (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _in_range(name: str, time: Timestamp) -> Timestamp:
    if not 0 <= time < _FAR:
        raise HTTPException(400, f"{name} must lie between the years 1970 and 3000")
    return time
