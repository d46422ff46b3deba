"""Builds answers: plain sentences, and long texts in short pieces."""

import asyncio
import hashlib
import os
import re
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from monitor.accept import wishes
from monitor.model import Bytes

SAFE_HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Site names stand in our paths and need not reach the sites' own servers
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers that let a browser only display an answer."""

_PIECE: Bytes = 32 * 1024
_LARGEST_PIECE: Bytes = 128 * 1024
"""A connection holds about two of these for a client that does not read; larger saves nothing."""
_GZIP_LEVEL = 1  # three times as fast as zlib's usual 6, and metrics shrink to a tenth all the same
_GZIP_FORMAT = 31  # zlib's code for the gzip container with the largest window
_VARY = "Accept, Accept-Encoding"
_TAG = re.compile(r'"[^"]*"')


def sentence(
    text: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> PlainTextResponse:
    """Return an answer of one line for a person."""
    return PlainTextResponse(text + "\n", status, headers)


def streamed(
    request: Request,
    content_type: str,
    pieces: Iterable[bytes],
) -> Response:
    """
    Return a long answer that is made while it is sent, with gzip if the client wants it.

    Other requests get their turn between the pieces, so each piece should take little time.
    """
    headers = {"Content-Type": content_type, "Vary": _VARY}
    packed = wants_gzip(request.headers.getlist("accept-encoding"))
    if packed:
        headers["Content-Encoding"] = "gzip"
    if request.method == "HEAD":
        return StreamingResponse(_in_turns(()), headers=headers)
    writes = in_writes(_gzipped(pieces) if packed else pieces)
    return StreamingResponse(_in_turns(writes), headers=headers)


def whole(pieces: Iterable[bytes]) -> bytes:
    """Join the pieces of a page, in a thread beside the event loop, and let others run between."""
    joined = []
    for piece in gathered(pieces):
        joined.append(piece)
        os.sched_yield()
    return b"".join(joined)


def tag_of(text: bytes) -> str:
    """
    Return a weak entity tag (RFC 9110, 8.8.3): the same for the same text.

    Weak, because the answer may be packed, and may leave out what makes no difference.
    """
    return f'W/"{hashlib.blake2b(text, digest_size=12).hexdigest()}"'


def tagged(
    request: Request,
    content_type: str,
    body: bytes,
    *,
    tag: str,
    headers: Mapping[str, str],
) -> Response:
    """Return the answer, or 304 to a client whose copy has this tag (RFC 9110, 13.1.2)."""
    known = ",".join(request.headers.getlist("if-none-match"))
    if known.strip() == "*" or tag.removeprefix("W/") in _TAG.findall(known):
        return Response(status_code=304, headers={**headers, "ETag": tag, "Vary": _VARY})
    pieces = (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
    answer = streamed(request, content_type, pieces)
    answer.headers.update({**headers, "ETag": tag})
    return answer


def wants_gzip(accept_encoding: Iterable[str]) -> bool:
    """
    Return whether these Accept-Encoding headers (RFC 9110, 12.5.3) prefer gzip to plain text.

        gzip, deflate       yes        gzip;q=0            no
        *                   yes        gzip;q=0, *         no
        identity            no         gzip;q=0.5, identity;q=1   no
                                       gzip;q=0.5, *              no
    """
    qualities = {wish.name: wish.quality for wish in wishes(accept_encoding)}
    other = qualities.get("*", 0.0)
    gzip = qualities.get("gzip", qualities.get("x-gzip", other))
    return gzip > 0 and gzip >= qualities.get("identity", other)


def in_writes(pieces: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """Yield pieces that are each worth a write: small ones joined, large ones cut."""
    for text in gathered(pieces):
        if len(text) <= _LARGEST_PIECE:
            yield text
        else:
            view = memoryview(text)
            for start in range(0, len(view), _LARGEST_PIECE):
                yield view[start : start + _LARGEST_PIECE]


def gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces until they are worth the work."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    yield b"".join(waiting)


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    for piece in gathered(pieces):
        yield packer.compress(piece)
        os.sched_yield()
    yield packer.flush()


async def _in_turns(pieces: Iterable[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    for piece in pieces:
        yield piece
        # A write that the socket accepts at once does not suspend, so other requests get their
        # turn here, as do checks whose answers wait for this processor
        os.sched_yield()
        await asyncio.sleep(0)
