"""Builds an HTTP answer from the bytes that libcurl received, for both kinds of transfer."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import pycurl

from monitor.model import Bytes, HttpAnswer
from monitor.probes.libcurl.times import Asked

Headers: TypeAlias = tuple[tuple[str, str], ...]
Head: TypeAlias = tuple[str, int, Headers]
"""Version, status and headers of an answer."""

NOTHING: Head = ("", 0, ())
"""If no final status line came."""

# RFC 9112, 4, and as libcurl writes it for HTTP/2 and 3
_STATUS_LINE = re.compile(rb"HTTP/(1\.[01]|2|3) ([0-9]{3})(?: .*)?", re.DOTALL)
REDIRECTS = {301, 302, 303, 307, 308}
FIRST_FINAL = 200  # the first final status; RFC 9110, 15
SWITCHING = 101  # then the connection speaks another protocol, so it is also final
_ENDLESS = {"text/event-stream", "multipart/x-mixed-replace"}
_ENDLESS_KINDS = ("audio/", "video/")
_FOLD = re.compile(rb"\r{0,2}\n[ \t]+")
_SHORT_LINE: Bytes = 256


def parse_head(block: bytes) -> Head | None:
    """
    Return the content of a block of lines: a status line, and the headers below it.

    Args:
        block: Up to the blank line, with or without the end of the last line.

    Returns:
        None if RFC 9112 does not allow the status line, though libcurl may.
    """
    line, _, fields = block.partition(b"\n")
    parsed = _usual_status(line) if len(line) <= _SHORT_LINE else _status(line)
    if parsed is None:
        return None
    version, status = parsed
    if b"\n " in fields or b"\n\t" in fields:
        fields = _FOLD.sub(b" ", fields)  # RFC 9112, 5.2
    lines = fields.removesuffix(b"\n").split(b"\n") if fields else ()
    return (
        version,
        status,
        tuple([_usual_field(line) if len(line) <= _SHORT_LINE else _field(line) for line in lines]),
    )


def make_answer(
    head: Head,
    body: bytes,
    size: Bytes,
    url: str,
    curl: Asked,
    *,
    truncated: bool = False,
    codings: tuple[str, ...] = (),
) -> HttpAnswer:
    """
    Return the record of an answer.

    Args:
        body: The part of it that is kept, decoded.
        size: The size of all of the body that came, decoded.
        url: Where it came from, as it may be shown.
        curl: The handle that received it.
        truncated, codings: As in HttpAnswer.
    """
    version, status, headers = head
    return HttpAnswer(
        status=status,
        version=version,
        headers=headers,
        body=body,
        body_size=size,
        truncated=truncated,
        content_length=curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T),
        codings=codings,
        url=url,
    )


def is_redirect(status: int, headers: Sequence[tuple[str, str]]) -> bool:
    """Return whether a status with these headers is a redirect."""
    # curl, Go and browsers do not follow an empty Location
    return status in REDIRECTS and any(
        value for name, value in headers if name.lower() == "location"
    )


def list_elements(headers: Sequence[tuple[str, str]], wanted: str) -> list[str]:
    """
    Return the elements of a list header, by its name in lower case.

    However many lines it came in, it is one list (RFC 9110, 5.3).
    """
    values = [value for name, value in headers if name.lower() == wanted]
    return [one.strip() for value in values for one in value.split(",")]


def ends(headers: Sequence[tuple[str, str]]) -> bool:
    """
    Return whether the body will end.

    Server-sent events, camera pictures and radio streams continue until the client disconnects.
    """
    values = {name.lower(): value for name, value in headers}
    if "content-length" in values:
        return True
    kind = values.get("content-type", "").partition(";")[0].strip().lower()
    return not (kind in _ENDLESS or kind.startswith(_ENDLESS_KINDS) or "icy-name" in values)


def _status(line: bytes) -> tuple[str, int] | None:
    match = _STATUS_LINE.fullmatch(line.rstrip(b"\r"))  # libcurl accepts a tab as the blank
    return (match[1].decode(), int(match[2])) if match else None


_usual_status = lru_cache(maxsize=256)(_status)


def _field(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.rstrip(), value.strip()


_usual_field = lru_cache(maxsize=4096)(_field)
"""Most lines are the same for many sites and checks, so their parsed form is shared."""
