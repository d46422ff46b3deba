"""
Takes the calls of sites that report themselves: our own addresses, and those of three other tools.

A caller has only its token. An unknown token gets the same answer as any path that does not exist,
and is looked up by a keyed digest, so neither the answer nor its time tells how close a guess was.
Only the body of a known caller is read.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import Headers, QueryParams
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.clock import Clock
from monitor.mailbox import LARGEST_BODY, Call, Mailbox, Reporter
from monitor.units import Bytes, Seconds
from monitor.web.answers import SAFE_HEADERS, sentence
from monitor.web.intake import RETRY_LATER

_OURS = ("/push/", "/ping/")  # the second is Healthchecks'
_KUMA = "/api/push/"
_GATUS = re.compile(r"/api/v1/endpoints/([^/]+)/external")
_METHODS = ("GET", "HEAD", "POST", "PUT")
_GATUS_METHODS = ("POST",)
_DRAINED: Bytes = 1024 * 1024
"""The rest is not read; an answer before the end of a body costs the caller the connection."""
_LONGEST_MESSAGE = 300
_LONGEST_RUN = 100
_WORST_EXIT = 255
_LONGEST_RUN_TIME: Seconds = 366 * 86400.0
_GATUS_MARKS = str.maketrans(dict.fromkeys(" /_,.#+&", "-"))
_GO_DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+")
_GO_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_GO_UNITS: Mapping[str, Seconds] = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?")


@dataclass(slots=True)
class _Directory:
    """Who may call, by digest; rebuilt when the list of sites changes."""

    of: Sequence[Reporter] = ()
    by_token: dict[bytes, Reporter] = field(default_factory=dict)
    by_key: dict[bytes, Reporter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _CallContent:
    """
    The content of a request.

    Attributes:
        up: None if it says only that a run began, or if it says nothing to record.
        begins: Whether a run begins.
    """

    up: bool | None
    begins: bool = False
    message: str = ""
    exit_status: int | None = None
    run_time: Seconds | None = None


@dataclass(frozen=True, slots=True)
class _ReadCall:
    """
    A call that has been read.

    Attributes:
        answer: The reply to the caller once the call is recorded.
        run: The caller's number of the run; empty if it gives none.
    """

    reporter: Reporter
    said: _CallContent
    answer: Response
    run: str = ""


class PushCalls:
    """
    An ASGI application that handles these calls and passes every other request on.

    Args:
        reporters: Which sites may call now; the same object as long as nothing changes.
        on_call: Called with the name of each site that reported; must not wait.
        stopping: Whether the monitor is stopping and no longer records calls.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        mailbox: Mailbox,
        reporters: Callable[[], Sequence[Reporter]],
        on_call: Callable[[str], None],
        stopping: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._app = app
        self._mailbox = mailbox
        self._reporters = reporters
        self._on_call = on_call
        self._stopping = stopping
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._directory = _Directory()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_call(scope["path"]):
            await self._app(scope, receive, send)
            return
        answer = self._understand(scope)
        if isinstance(answer, _ReadCall):
            answer = self._take(answer, await _beginning(receive))
        await (answer or self._app)(scope, receive, send)

    def _understand(self, scope: Scope) -> _ReadCall | Response | None:
        """Return the call, or the answer to a bad one; None if the path is not one for calls."""
        path, query = scope["path"], QueryParams(scope["query_string"])
        gatus = _GATUS.fullmatch(path)
        methods = _GATUS_METHODS if gatus else _METHODS
        if scope["method"] not in methods:
            allowed = {**SAFE_HEADERS, "Allow": ", ".join(methods)}
            return sentence(f"Call this address by {' or '.join(methods)}.", 405, allowed)
        if gatus:
            return self._as_gatus(gatus[1], Headers(scope=scope), query)
        if path.startswith(_KUMA):
            return self._as_kuma(path.removeprefix(_KUMA), query)
        rest = path.removeprefix("/").partition("/")[2]
        found = self._by_path(rest)
        said = _own_words(found[1], query) if found else None
        if found is None or said is None:
            return None
        ok = sentence("OK", 200, SAFE_HEADERS)
        return _ReadCall(found[0], said, ok, query.get("rid", "")[:_LONGEST_RUN])

    # ------------------------------------------------------------ the formats

    def _as_kuma(self, token: str, query: QueryParams) -> _ReadCall | Response:
        """Read a call of Uptime Kuma's push monitors; the answers are those its clients know."""
        reporter = self._directory_now().by_token.get(self._digest(token))
        if reporter is None:
            text = "Monitor not found or not active."
            return JSONResponse({"ok": False, "msg": text}, 404, SAFE_HEADERS)
        said = _CallContent(
            up=(query.get("status") or "up") == "up",  # scripts fill it from a variable
            message=_line(query.get("msg", "")),
            run_time=_bounded(_number(query.get("ping", "")), 1e-3),
        )
        return _ReadCall(reporter, said, JSONResponse({"ok": True}, 200, SAFE_HEADERS))

    def _as_gatus(self, key: str, headers: Headers, query: QueryParams) -> _ReadCall | Response:
        """Read a call of Gatus' external endpoints; an unknown key looks like a wrong token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        reporter = None
        if scheme.lower() == "bearer":
            digest = self._digest(f"{key.lower()}\0{token.strip()}")
            reporter = self._directory_now().by_key.get(digest)
        if reporter is None:
            return sentence("The token is missing or wrong.", 401, SAFE_HEADERS)
        success = query.get("success", "")
        if success not in ("true", "false"):
            return sentence("success must be true or false.", 400, SAFE_HEADERS)
        written = query.get("duration", "")
        if written and not _GO_DURATION.fullmatch(written):
            return sentence("duration must be a time such as 10s or 1m30s.", 400, SAFE_HEADERS)
        seconds = sum(float(one[1]) * _GO_UNITS[one[2]] for one in _GO_PART.finditer(written))
        said = _CallContent(
            up=success == "true",
            message=_line(query.get("error", "")),
            run_time=_bounded(seconds if written else None),
        )
        return _ReadCall(reporter, said, Response(b"", 200, SAFE_HEADERS))

    def _by_path(self, rest: str) -> tuple[Reporter, str] | None:
        """Return the owner of the token that a path begins with, and the rest of the path."""
        by_token = self._directory_now().by_token
        parts = rest.split("/")
        for count in (1, 2):
            reporter = by_token.get(self._digest("/".join(parts[:count])))
            if reporter is not None:
                return reporter, "/".join(parts[count:])
        return None

    # ------------------------------------------------------------ shared by all formats

    def _take(self, heard: _ReadCall, body: bytes) -> Response:
        """Record the call, and return the answer to it."""
        reporter, said = heard.reporter, heard.said
        if reporter.elsewhere is not None:
            text = f"This site is checked by {reporter.elsewhere}; call that daemon."
            return sentence(text, 421, SAFE_HEADERS)
        if self._stopping():
            text = "The monitor is stopping; try again in a moment."
            return sentence(text, 503, {**SAFE_HEADERS, **RETRY_LATER})
        now = self._clock.time()
        if said.begins:
            self._mailbox.start(reporter.name, heard.run, now)
        if said.up is None:
            return heard.answer
        call = Call(
            time=now,
            up=said.up,
            message=said.message,
            exit_status=said.exit_status,
            run_time=said.run_time,
            body=body,
        )
        if not self._mailbox.put(reporter.name, call, heard.run):
            text = "More calls of this site wait than are read; try again in a moment."
            return sentence(text, 429, {**SAFE_HEADERS, **RETRY_LATER})
        self._on_call(reporter.name)
        return heard.answer

    def _directory_now(self) -> _Directory:
        reporters = self._reporters()
        if reporters is not self._directory.of:
            keys = {f"{_gatus_key(one)}\0{one.token}": one for one in reporters}
            self._directory = _Directory(
                reporters,
                {self._digest(one.token): one for one in reporters},
                {self._digest(key): one for key, one in keys.items()},
            )
            self._mailbox.keep({one.name for one in reporters})
        return self._directory

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(errors="replace"), "sha256")


def is_call(path: str) -> bool:
    """Return whether sites call this path; they need no login besides their token."""
    return path.startswith((*_OURS, _KUMA)) or _GATUS.fullmatch(path) is not None


async def _beginning(receive: Receive) -> bytes:
    """Return the part of a body that is kept; read the rest, so the caller gets its answer."""
    kept, read = b"", 0
    while read < _DRAINED:
        message = await receive()
        piece = message.get("body", b"")
        read += len(piece)
        kept += piece[: LARGEST_BODY - len(kept)]
        if not message.get("more_body", False):
            break
    return kept


def _own_words(rest: str, query: QueryParams) -> _CallContent | None:
    """Return what the path after a token says; None if it is unknown."""
    message = _line(query.get("msg", ""))
    match rest:
        case "":
            return _CallContent(up=True, message=message)
        case "start":
            return _CallContent(up=None, begins=True)
        case "fail":
            return _CallContent(up=False, message=message)
        case "log":
            return _CallContent(up=None)
    if rest.isascii() and rest.isdigit() and len(rest) <= len(str(_WORST_EXIT)):
        status = int(rest)
        if status <= _WORST_EXIT:
            return _CallContent(up=status == 0, message=message, exit_status=status)
    return None


def _gatus_key(reporter: Reporter) -> str:
    """Return the key that Gatus derives from group and name for its addresses."""
    parts = (reporter.group, reporter.name)
    return "_".join(part.lower().strip().translate(_GATUS_MARKS) for part in parts)


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_MESSAGE]


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _bounded(value: float | None, unit: Seconds = 1.0) -> Seconds | None:
    return None if value is None else min(value * unit, _LONGEST_RUN_TIME)
