"""Decides on a request before any endpoint sees it: its size, and how many may run at a time."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from monitor.model import Bytes
from monitor.web.answers import sentence

LARGEST_BODY: Bytes = 64 * 1024
"""No endpoint reads a body, but there are clients that send an empty form or object."""

RETRY_LATER: Mapping[str, str] = {"Retry-After": "5"}

_ABSOLUTE = re.compile(rb"https?://[^/?#]*(.*)", re.IGNORECASE | re.DOTALL)


class Intake:
    """An ASGI application that passes requests on in origin form, and refuses large bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # h11 has checked that it is a number of at most 20 digits
        if int(Headers(scope=scope).get("content-length", "0")) > LARGEST_BODY:
            limit = f"limit {LARGEST_BODY} bytes"
            text = f"The request body is too large ({limit}); no endpoint reads a body."
            await sentence(text, 413, {"Connection": "close"})(scope, receive, send)
            return
        await self._app(_in_origin_form(scope), receive, send)


class Places:
    """
    Limits how many requests run at a time, in all and from one address; for the event loop.

    One address gets only a part of the places, so that a slow or busy client leaves room for
    others.
    """

    def __init__(self, most: int, *, of_one: int) -> None:
        self._most = most
        self._of_one = of_one
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    def free_for(self, address: str) -> bool:
        return self.taken < self._most and self._taken[address] < self._of_one

    @contextmanager
    def take(self, address: str) -> Iterator[None]:
        """Hold a place until the block ends."""
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


class AtMost:
    """
    An ASGI application that answers a limited number of requests at a time, and others with 503.

    A request counts until the last byte of its answer is sent. One address gets half of the places.
    """

    def __init__(self, app: ASGIApp, most: int, on_refused: Callable[[], None]) -> None:
        self._app = app
        self._on_refused = on_refused
        self._places = Places(most, of_one=max(1, most // 2))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = address_of(scope)
        if self._places.free_for(address):
            with self._places.take(address):
                await self._app(scope, receive, send)
            return
        self._on_refused()
        text = f"{self._places.taken} such requests are being answered; try again in a moment."
        await sentence(text, 503, RETRY_LATER)(scope, receive, send)


def address_of(scope: Scope) -> str:
    """Return the client's IP address; clients of a Unix socket all share one value."""
    client = scope.get("client")
    return client[0] if client else ""


def _in_origin_form(scope: Scope) -> Scope:
    """Remove the authority from a target in absolute form, which RFC 9112, 3.2.2, allows."""
    found = _ABSOLUTE.fullmatch(scope["raw_path"])
    if found is None:
        return scope
    raw_path = found[1] or b"/"
    return {**scope, "raw_path": raw_path, "path": unquote(raw_path.decode())}
