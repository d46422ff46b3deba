"""One GET with a size limit and one deadline for all of it, for sources."""

from collections.abc import Mapping
from dataclasses import dataclass

import requests
from requests import Response, Session
from requests.auth import HTTPBasicAuth

from monitor.clock import Clock
from monitor.grammar import escape_percents
from monitor.outbound import login_in
from monitor.secrecy import hide_credentials
from monitor.sources.ports import UnreadableError
from monitor.units import Bytes, Seconds

_CHUNK: Bytes = 64 * 1024
_UNCHANGED = 304
_GOOD = range(200, 300)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer; the body is None if nothing has changed."""

    body: bytes | None
    headers: Mapping[str, str]


def fetch(
    session: Session,
    url: str,
    *,
    headers: Mapping[str, str | bytes],
    timeout: Seconds,
    largest: Bytes,
    clock: Clock,
    verify: str | bool = True,
    redirects: bool = False,
) -> Fetched:
    """
    Return the answer.

    Args:
        redirects: Whether to follow them; headers that are secret would go there too.

    Raises:
        UnreadableError: There is none in time, it is too large, or its status is not a success.
    """
    until = clock.monotonic() + timeout
    # A small compressed answer could decompress to any size
    sent = {"Accept-Encoding": "identity", "User-Agent": "website-monitor", **headers}
    login = login_in(url)
    try:
        with session.get(
            escape_percents(url),
            auth=HTTPBasicAuth(*login) if login else None,
            headers=sent,
            timeout=timeout,
            stream=True,
            verify=verify,
            allow_redirects=redirects,
        ) as answer:
            if answer.status_code == _UNCHANGED:
                return Fetched(None, answer.headers)
            if answer.status_code not in _GOOD:
                raise UnreadableError(f"{shown(url)} answers with status {answer.status_code}")
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise UnreadableError(f"{shown(url)} packs its answer, which was not asked for")
            return Fetched(_body(answer, url, until, largest, clock), answer.headers)
    except requests.RequestException as error:
        raise UnreadableError(f"{shown(url)} cannot be read: {why(error)}") from None


def shown(url: str) -> str:
    """Return the URL without login and query, because either may contain a token."""
    return hide_credentials(url.partition("?")[0])


def why(error: requests.RequestException) -> str:
    """Return the cause in a few words, without the URL."""
    match error:
        case requests.exceptions.ConnectTimeout() | requests.exceptions.ReadTimeout():
            return "no answer in time"
        case requests.exceptions.SSLError():
            return f"TLS: {_innermost(error)}"
        case requests.exceptions.ConnectionError():
            return _innermost(error)
        case _:
            return type(error).__name__


def _innermost(error: BaseException) -> str:
    """Return the system's own words, which urllib3 wraps several times, each time with the URL."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException) and seen.args:
            inner = seen.args[-1]
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror.lower()
    return type(seen).__name__


def _body(answer: Response, url: str, until: Seconds, largest: Bytes, clock: Clock) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := _part(answer, url):
        size += len(part)
        parts.append(part)
        if size > largest:
            raise UnreadableError(f"{shown(url)} is larger than {largest // 1024**2}MiB")
        if clock.monotonic() > until:
            raise UnreadableError(f"{shown(url)} did not end in time")
    wanted = answer.headers.get("Content-Length", "")
    if wanted.isdecimal() and int(wanted) != size:
        raise UnreadableError(f"{shown(url)} broke off after {size} of {wanted} bytes")
    return b"".join(parts)


def _part(answer: Response, url: str) -> bytes:
    try:
        # read1 returns with what has arrived; read would let a slow server hold us
        part: bytes = answer.raw.read1(_CHUNK)
    except Exception as error:  # urllib3's own, which requests translates only in its iterators
        raise UnreadableError(f"{shown(url)} broke off: {type(error).__name__}") from None
    return part
