"""Who may ask: basic authentication, and the headers of the web configuration."""

import asyncio
import base64
import hmac
import secrets
from collections.abc import Callable, Mapping

from bcrypt import checkpw
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.options import Secret
from monitor.web.answers import SAFE_HEADERS, sentence
from monitor.web.intake import RETRY_LATER, Places, address_of
from monitor.web.web_config import WebConfig

_OPEN_PATHS = frozenset({"/-/healthy", "/-/ready"})
_CHALLENGE = {**SAFE_HEADERS, "WWW-Authenticate": 'Basic realm="website-monitor", charset="UTF-8"'}
_MOST_WAITING = 32
_MOST_WAITING_OF_ONE = 4
_BCRYPT_MAX = 72


class Access:
    """
    An ASGI application that passes requests on to another one if the web configuration admits them.

    bcrypt takes at least 50 ms on purpose, so passwords are compared one at a time, in a thread
    beside the event loop, and correct ones are remembered. A pause follows each wrong one, so that
    guessing costs at most a third of a core. One address gets few of the places in the queue, so
    that clients from other addresses get their turn soon.

    The mutable state is ``config``, which any thread may replace as a whole, and two things that
    belong to the event loop: the digests of correct credentials, and the queue.

    Args:
        is_free: Whether a decoded path needs no log-in; the health endpoints never do.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: WebConfig,
        check: Callable[[bytes, bytes], bool] = checkpw,
        is_free: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.config = config
        self._is_free = is_free
        self._check = check
        self._app = app
        self._key = secrets.token_bytes(32)
        self._proved: set[bytes] = set()
        self._turn = asyncio.Semaphore(1)
        self._waiting = Places(_MOST_WAITING, of_one=_MOST_WAITING_OF_ONE)
        self._comparisons: dict[bytes, asyncio.Future[bool]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        config = self.config
        refusal = None
        if config.basic_auth_users and not self._is_open(scope["path"]):
            header = Headers(scope=scope).get("authorization")
            refusal = await self._refusal(header, config.basic_auth_users, address_of(scope))
        await (refusal or self._app)(scope, receive, _with_headers(send, config))

    def _is_open(self, path: str) -> bool:
        return path in _OPEN_PATHS or self._is_free(path)

    async def _refusal(
        self, header: str | None, users: Mapping[str, Secret], address: str
    ) -> Response | None:
        """Return the answer that refuses a request, or None if it is admitted."""
        credentials = _decoded(header)
        if credentials is None:
            return sentence("This monitor asks for a user name and a password.", 401, _CHALLENGE)
        user, password = credentials
        expected = (users.get(user) or self._substitute(user, users)).encode()
        # The hash is part of what is remembered: a new password makes the old one worthless.
        # The digest is keyed, so that the time of the look-up says nothing about the password
        digest = self._digest(b"\0".join((user.encode(), expected, password)))
        if digest in self._proved:
            return None
        # Requests with the same credentials share one comparison
        comparison = self._comparisons.get(digest)
        if comparison is not None:
            same = await comparison
        elif self._waiting.free_for(address):
            with self._waiting.take(address):
                comparison = asyncio.ensure_future(self._compare(password, expected))
                self._comparisons[digest] = comparison
                comparison.add_done_callback(lambda _: self._comparisons.pop(digest))
                same = await comparison
        else:
            text = "Too many passwords are being checked; try again in a moment."
            return sentence(text, 503, {**SAFE_HEADERS, **RETRY_LATER})
        if not same or user not in users:
            return sentence("The user name or the password is wrong.", 401, _CHALLENGE)
        if len(self._proved) >= len(users):
            self._proved.clear()  # some belong to former passwords
        self._proved.add(digest)
        return None

    def _substitute(self, user: str, users: Mapping[str, Secret]) -> Secret:
        """
        Return the hash that an unknown user's password is compared with.

        A name always gets the same user's hash. Hashes may differ in cost, so the time of the
        comparison does not show which names exist.
        """
        number = int.from_bytes(self._digest(user.encode()))
        return list(users.values())[number % len(users)]

    def _digest(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, "sha256")

    async def _compare(self, password: bytes, expected: bytes) -> bool:
        loop = asyncio.get_running_loop()
        async with self._turn:
            begun = loop.time()
            same = await asyncio.to_thread(self._check, password, expected)
            if not same:
                await asyncio.sleep(2 * (loop.time() - begun))
        return same


def _decoded(header: str | None) -> tuple[str, bytes] | None:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        # bcrypt has never used more than 72 bytes; the library refuses longer passwords
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
