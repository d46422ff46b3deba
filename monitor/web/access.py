"""Who may ask: basic authentication, and the headers of the web configuration."""

import asyncio
import base64
import hmac
import secrets

import bcrypt
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.web.answers import SAFE_HEADERS, sentence
from monitor.web.web_config import WebConfig

_OPEN_PATHS = frozenset({"/-/healthy", "/-/ready"})
_CHALLENGE = {**SAFE_HEADERS, "WWW-Authenticate": 'Basic realm="website-monitor", charset="UTF-8"'}
_MOST_WAITING = 32
_BCRYPT_MAX = 72


class Access:
    """
    An ASGI application that lets through to another one whoever the web configuration admits.

    bcrypt costs 50 ms and more on purpose, so one password at a time is compared, in a thread
    beside the event loop, and those that proved right are remembered.

    The mutable state is ``config``, which any thread may replace as a whole, and what belongs to
    the event loop: the digests of the credentials that proved right, and how many wait.
    """

    def __init__(self, app: ASGIApp, config: WebConfig) -> None:
        self.config = config
        self._app = app
        self._key = secrets.token_bytes(32)
        self._proved: set[bytes] = set()
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        config = self.config
        refusal = None
        if config.basic_auth_users and scope["path"] not in _OPEN_PATHS:
            refusal = await self._refusal(Headers(scope=scope).get("authorization"), config)
        await (refusal or self._app)(scope, receive, _with_headers(send, config))

    async def _refusal(self, header: str | None, config: WebConfig) -> Response | None:
        """Return the answer to somebody who may not come in, or None."""
        credentials = _decoded(header)
        if credentials is None:
            return sentence("This monitor asks for a user name and a password.", 401, _CHALLENGE)
        user, password = credentials
        users = config.basic_auth_users
        # An unknown user is compared with somebody's hash too, so that time tells nobody apart
        known = users.get(user)
        expected = (known or next(iter(users.values()))).encode()
        # The hash is part of what is remembered: a new password makes the old one worthless.
        # Keyed, so that how long the look-up takes says nothing about the password
        digest = hmac.digest(self._key, b"\0".join((user.encode(), expected, password)), "sha256")
        if digest in self._proved:
            return None
        if self._waiting >= _MOST_WAITING:
            return sentence(
                "Too many passwords are being checked; try again in a moment.",
                503,
                {**SAFE_HEADERS, "Retry-After": "5"},
            )
        self._waiting += 1
        try:
            async with self._turn:
                same = await asyncio.to_thread(bcrypt.checkpw, password, expected)
        finally:
            self._waiting -= 1
        if known is None or not same:
            return sentence("The user name or the password is wrong.", 401, _CHALLENGE)
        if len(self._proved) >= len(users):
            self._proved.clear()  # what is left of former passwords
        self._proved.add(digest)
        return None


def _decoded(header: str | None) -> tuple[str, bytes] | None:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        # bcrypt has never looked at more than 72 bytes; the library wants that said
        return (user.decode(), password[:_BCRYPT_MAX]) if colon else None
    except ValueError:  # neither base64 nor UTF-8
        return None


def _with_headers(send: Send, config: WebConfig) -> Send:
    replaced = config.http_server_config.headers
    if not replaced:
        return send

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for name, value in replaced.items():
                if value:
                    headers[name] = value
                else:
                    del headers[name]
        await send(message)

    return wrapped
