"""Answers over HTTP/1.1 as they came over the wire, parsed when there is time."""

import gzip
import re

from tests.bench.figures import BenchError

_END_OF_HEAD = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def is_complete(raw: bytes) -> bool:
    """Return whether an answer is complete; it has a length or comes in chunks."""
    end = raw.find(_END_OF_HEAD)
    if end < 0:
        return False
    length = _LENGTH.search(raw, 0, end + 2)
    if length is None:
        return raw.endswith(_LAST_CHUNK)
    return len(raw) >= end + len(_END_OF_HEAD) + int(length[1])


def text_of(raw: bytes) -> str:
    """
    Return the text of a complete answer.

    Raises:
        BenchError: The answer is cut short or is not a success.
    """
    if not raw.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"answered with {raw[:1000]!r}")
    if not is_complete(raw):
        raise BenchError("an answer was cut short")
    head, _, body = raw.partition(_END_OF_HEAD)
    content = body if _LENGTH.search(head + b"\r\n") else _without_chunks(body)
    packed = b"\r\ncontent-encoding: gzip" in head.lower()
    return (gzip.decompress(content) if packed else content).decode()


def _without_chunks(body: bytes) -> bytes:
    """Return the content of a chunked body (RFC 9112, 7.1)."""
    content: list[bytes] = []
    begin = 0
    while True:
        end = body.index(b"\r\n", begin)
        size = int(body[begin:end], 16)
        if size == 0:
            return b"".join(content)
        begin = end + 2
        content.append(body[begin : begin + size])
        begin += size + 2
