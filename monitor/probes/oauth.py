"""
OAuth 2.0 client credentials (RFC 6749, 4.4): fetches a token once and uses it until it expires.

All checks that name the same client share its token; one check at a time fetches it, under that
check's deadline, and the time does not count in the check's phases.
"""

import json
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from requests import Request, Response

from monitor.clock import Deadline
from monitor.grammar import check_url, escape_percents
from monitor.model import Failure, Reason, Seconds
from monitor.options import Parsed, Secret, option, show_duration
from monitor.secrecy import basic_credentials, every_form

# A token is replaced this long before it expires, so that it does not expire in transit
_MARGIN: Seconds = 30.0
# How long a token is used if its server does not say when it expires
_UNKNOWN_LIFE: Seconds = 300.0
_MOST_TOKENS = 10_000


_GRANT_TYPE = "grant_type"


def _parse_params(value: Any) -> tuple[tuple[str, str], ...]:
    """Return names with values, hashable; raises ValueError for anything but texts by name."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} is not a mapping of parameters, as in {{audience: api}}")
    for name, one in value.items():
        if not isinstance(one, str):
            raise ValueError(f"{name} must be text; put it in quotes")
    return tuple((str(name), str(one)) for name, one in value.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Options:
    token_url: str = option(doc="Where the token is fetched, an http or https URL.")
    client_id: str = option(doc="The client's name.")
    client_secret: Secret = option(doc="The client's secret.")
    scopes: tuple[str, ...] = option((), doc="What the token is to allow.")
    params: Annotated[
        tuple[tuple[str, str], ...],
        Parsed(_parse_params, {"type": "object", "additionalProperties": {"type": "string"}}),
    ] = option(
        (),
        doc="More parameters of the request for a token, by name, such as audience; grant_type "
        "takes the place of client_credentials.",
    )

    def __post_init__(self) -> None:
        try:
            check_url(self.token_url, ("http", "https"), "an http or https URL")
        except ValueError as error:
            raise ValueError(f"token_url {error}") from None
        for name, _ in self.params:
            if name == "scope" and self.scopes:
                raise ValueError("params has a scope, and scopes is written beside it")

    def sent_secrets(self) -> tuple[str, ...]:
        # The parameters are not known here, and some servers take passwords there
        return (
            *basic_credentials(self.client_id, self.client_secret),
            *(value for name, value in self.params if name != _GRANT_TYPE),
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """
    A token that a check may use.

    Attributes:
        forms: All forms of it that must never be shown.
        fresh: Whether this check has just fetched it.
    """

    token: str
    forms: tuple[str, ...]
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    forms: tuple[str, ...]
    ends: Seconds


class _Client:
    """The mutable state is the token, guarded by ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token: _Token | None = None


class Tokens:
    """
    The tokens of all clients; used by many threads at once.

    The mutable state is the table of clients, guarded by ``_lock``, and that of each client.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[OAuth2Options, _Client] = {}

    def get(
        self, options: OAuth2Options, deadline: Deadline, send: Callable[[Request], Response]
    ) -> Grant | Failure:
        """
        Return a token that has not expired, fetched with ``send`` if there is none yet.

        If a token server answers, but not with a token, the failure is a ``protocol_error`` that
        names it; if it does not answer, the failure has the transport's reason.
        """
        client = self._client(options)
        if not client.lock.acquire(timeout=deadline.remaining()):
            waited = show_duration(deadline.timeout)
            message = f"another check waits for a token from {options.token_url} since {waited}"
            return Failure(Reason.READ_TIMEOUT, message)
        try:
            now = deadline.clock.monotonic()
            if client.token and client.token.ends > now:
                return Grant(client.token.text, client.token.forms, fresh=False)
            token = _read(send(_request(options)), options, now)
            if isinstance(token, Failure):
                return token
            client.token = token
            return Grant(token.text, token.forms, fresh=True)
        finally:
            client.lock.release()

    def drop(self, options: OAuth2Options, text: str) -> None:
        """Forget a token that was refused, unless it has been replaced since."""
        client = self._client(options)
        token = client.token
        if token and token.text == text:
            client.token = None

    def _client(self, options: OAuth2Options) -> _Client:
        with self._lock:
            if options not in self._clients and len(self._clients) >= _MOST_TOKENS:
                # The oldest, or reloads with changed secrets would fill the table
                del self._clients[next(iter(self._clients))]
            return self._clients.setdefault(options, _Client())


def _request(options: OAuth2Options) -> Request:
    form = {_GRANT_TYPE: "client_credentials"}
    if options.scopes:
        form["scope"] = " ".join(options.scopes)
    form.update(options.params)
    client = (options.client_id.encode(), options.client_secret.encode())
    return Request(
        "POST",
        escape_percents(options.token_url),
        headers={"Accept": "application/json"},
        data=form,
        auth=client,
    )


def _read(response: Response, options: OAuth2Options, now: Seconds) -> _Token | Failure:
    where = f"token server {options.token_url}"
    if response.status_code != 200:  # noqa: PLR2004  RFC 6749, 5.1: the only status of success
        message = f"{where} answered with status {response.status_code}"
        return Failure(Reason.PROTOCOL_ERROR, message)
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        answer = None
    text = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not text.isprintable() or not text:
        return Failure(Reason.PROTOCOL_ERROR, f"{where} answered without an access_token")
    return _Token(text, every_form((text,)), now + _life(answer.get("expires_in")))


def _life(expires_in: object) -> Seconds:
    try:
        life = float(expires_in)  # type: ignore[arg-type]  # some servers send a text
    except (TypeError, ValueError, OverflowError):
        return _UNKNOWN_LIFE
    if not math.isfinite(life):
        return _UNKNOWN_LIFE
    # A short-lived token is used for at least half its life
    return max(life - _MARGIN, life / 2)
