"""
Content codings: decompresses a body as it arrives (RFC 9110, 8.4); used only by ``transport``.

libcurl could do it, but it rejects a gzip with several members or with bytes after its end, does
not notice a stream that is cut off, and fails on a header without any coding. This module
decompresses the same bodies as browsers and Go.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import brotli

from monitor.model import Bytes

ACCEPTED = "gzip, deflate, br"
"""The Accept-Encoding of a request."""

_PIECE: Bytes = 64 * 1024
"""Bytes decompressed at a time, so a bomb stays compressed once the caller has enough."""
_MOST = 5  # codings that are decoded; a hostile header may have thousands
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"  # how each member of a gzip begins; RFC 1952, 2.3.1


class UnpackError(Exception):
    """The body does not have the format of its coding; the message is a clause about it."""


class _Coding(Protocol):
    """One coding: takes compressed bytes as they arrive, and yields the decompressed ones."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def is_complete(self) -> bool:
        """Return whether the stream has ended, or never began."""


class Unpacker:
    """
    Decodes the codings of one body, the outermost first.

    Attributes:
        undone: The known codings, in the order in which they are decoded.
        left: The codings that are not decoded, as the header names them: the first unknown one and
            all below it. The body keeps them; servers put character sets and storage labels into
            this header.
    """

    def __init__(self, codings: Sequence[str]) -> None:
        """
        Take the codings in the order in which they were applied, which is the header's order.

        Args:
            codings: The elements of all Content-Encoding lines, without ``identity``.
        """
        left = list(codings)
        undone: list[str] = []
        while left and left[-1].lower() in _KNOWN and len(undone) < _MOST:
            undone.append(left.pop())
        self.undone = tuple(undone)
        self.left = tuple(left)
        self._codings = [_KNOWN[coding.lower()]() for coding in undone]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Decompress the next bytes, and yield pieces of at most 64 KiB.

        Raises:
            UnpackError: The stream is damaged, or has another format.
        """
        return self._through(self._codings, data)

    def end(self) -> None:
        """
        Accept the end of the body.

        Raises:
            UnpackError: A stream lacks its end.
        """
        if not all(coding.is_complete() for coding in self._codings):
            raise UnpackError("it ends too early")

    def _through(self, codings: Sequence[_Coding], data: bytes) -> Iterator[bytes]:
        if not codings:
            yield data
            return
        first, *rest = codings
        for piece in first.feed(data):
            yield from self._through(rest, piece)


class _Inflate:
    """The common part of gzip and deflate: one zlib stream, and the bytes after it."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._held = b""  # the beginning of a stream, until it can be recognised
        self._began = False
        self._ignores = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._held + data
        self._held = b""
        while data and not self._ignores:
            if self._stream is None:
                if len(data) < len(_MAGIC):
                    self._held = data
                    return
                self._stream = self._begin(data)
                if self._stream is None:
                    self._ignores = True
                    return
                self._began = True
            piece = self._inflate(self._stream, data)
            data = self._stream.unconsumed_tail
            if piece:
                yield piece
            while len(piece) == _PIECE and not data and not self._stream.eof:
                piece = self._inflate(self._stream, b"")  # the rest of the previous piece
                if piece:
                    yield piece
            if self._stream.eof:
                data = self._stream.unused_data
                self._stream = None

    def is_complete(self) -> bool:
        # A single byte after the end of a gzip does not begin another member
        return self._stream is None and (self._began or not self._held)

    def _begin(self, data: bytes) -> "zlib._Decompress | None":
        """Return the stream that begins with these bytes, at least two; None to ignore the rest."""
        raise NotImplementedError

    def _inflate(self, stream: "zlib._Decompress", data: bytes) -> bytes:
        try:
            return stream.decompress(data, _PIECE)
        except zlib.error as error:
            # The rest is zlib's own clause, such as "incorrect header check"
            raise UnpackError(str(error).rpartition(": ")[2]) from error


class _Gzip(_Inflate):
    """
    RFC 1952: members, one after another.

    Bytes after the last one are ignored, as by gzip itself, Go and browsers: PHP pages and CGI
    scripts end with a line break.
    """

    def _begin(self, data: bytes) -> "zlib._Decompress | None":
        if self._began and not data.startswith(_MAGIC):
            return None
        return zlib.decompressobj(_GZIP)


class _Deflate(_Inflate):
    """RFC 1950, or the bare stream of RFC 1951 that some servers send under that name."""

    def _begin(self, data: bytes) -> "zlib._Decompress | None":
        if self._began:
            return None
        method, check = data[0] & 0x0F, int.from_bytes(data[:2], "big") % 31
        wrapped = method == 8 and not check  # noqa: PLR2004  RFC 1950, 2.2
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)


class _Brotli:
    """
    RFC 7932; anything after its end is ignored, as by browsers.

    The library raises an error for such bytes, and keeps what it decompressed of the bytes before
    them. So the compressed bytes are kept, up to a limit, to find the end of the stream again.
    """

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self._began = False
        self._ended = False
        self._taken = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._began = self._began or bool(data)
        for start in range(0, len(data), _BROTLI_STEP):
            if self._ended:
                return
            yield from self._take(data[start : start + _BROTLI_STEP])

    def _take(self, packed: bytes) -> Iterator[bytes]:
        given = 0
        try:
            for piece in _brotli_pieces(self._stream, packed):
                given += len(piece)
                yield piece
            self._ended = bool(self._stream.is_finished())
        except brotli.error as error:
            if len(self._taken) > _BROTLI_KEPT:
                raise UnpackError(_NO_BROTLI) from error
            yield from self._up_to_the_end(packed, given)
        if len(self._taken) <= _BROTLI_KEPT:
            self._taken += packed

    def _up_to_the_end(self, packed: bytes, given: Bytes) -> Iterator[bytes]:
        """Yield what these bytes decompress to, without the part already given; end the stream."""
        self._stream = stream = brotli.Decompressor()
        for _ in _brotli_pieces(stream, bytes(self._taken)):
            pass
        try:
            for byte in packed:
                for piece in _brotli_pieces(stream, bytes([byte])):
                    yield piece[given:]
                    given = max(0, given - len(piece))
                if stream.is_finished():
                    self._ended = True
                    return
        except brotli.error as error:
            raise UnpackError(_NO_BROTLI) from error

    def is_complete(self) -> bool:
        return self._ended or not self._began


_BROTLI_STEP: Bytes = 4 * 1024
_BROTLI_KEPT: Bytes = 1024 * 1024
_NO_BROTLI = "it is not a brotli stream"


def _brotli_pieces(stream: brotli.Decompressor, packed: bytes) -> Iterator[bytes]:
    piece = stream.process(packed, output_buffer_limit=_PIECE)
    # It accepts all input and may still have output, whatever it says about more data
    while piece or not stream.can_accept_more_data():
        yield piece
        piece = stream.process(b"", output_buffer_limit=_PIECE)


_KNOWN: dict[str, Callable[[], _Coding]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
    "br": _Brotli,
}
