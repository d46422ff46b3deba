"""
A handle of libcurl that receives an answer without entering Python; see ``SilentTransfer``.

A callback waits for the interpreter, and the transfer waits with it: while another thread computes,
an answer of one packet seems milliseconds longer than it was. Here libcurl itself writes headers,
body and its verbose text to streams of the C library (CURLOPT_WRITEDATA, CURLOPT_HEADERDATA and
CURLOPT_STDERR, each without a function), and Python reads them after the transfer. pycurl cannot
set a stream; ``binding`` can.
"""

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_char, c_char_p, c_int, c_long, c_longlong, c_void_p
from itertools import chain
from typing import Any

import pycurl

from monitor.errors import ProbeError
from monitor.model import Bytes
from monitor.probes.libcurl.binding import Library
from monitor.probes.libcurl.errors import OUT_OF_MEMORY
from monitor.probes.libcurl.options import ERROR_BUFFER, NUMBERS, Options

LARGEST_BODY: Bytes = 1024**2
"""If a body is longer, only its beginning is taken, and the transfer ends."""

_HEADERS: Bytes = 512 * 1024  # more than libcurl accepts
_TOLD: Bytes = 64 * 1024
_AHEAD: Bytes = 4 * 1024  # a stream is rewound only this far on: each call costs
_KEPT: Bytes = 64 * 1024  # memory that an idle handle may go on holding, for each stream
_ERROR: Bytes = 256  # CURL_ERROR_SIZE
_UNBUFFERED = 2  # _IONBF

_TEXT = b"* "  # marks libcurl's own words; headers have other marks

# The type of an information, in its number
_INFO_TYPE = 0xF00000
_INFO_STRING, _INFO_LONG, _INFO_OFFSET = 0x100000, 0x200000, 0x600000


class _List(ctypes.Structure):
    """struct curl_slist."""


_List._fields_ = [("data", c_char_p), ("next", POINTER(_List))]


class _CertInfo(ctypes.Structure):
    """struct curl_certinfo."""

    _fields_ = (("count", c_int), ("certificates", POINTER(POINTER(_List))))


class _Stream:
    """A ``FILE *`` that holds *size* bytes in memory, and takes little more."""

    def __init__(self, library: Library, size: Bytes) -> None:
        size += _AHEAD
        self._library = library
        self._size = size
        self._start = 0  # of what take() has not returned yet
        try:
            # Memory of its own, so that the pages of a large answer can be given back
            self._memory = mmap.mmap(-1, size)
        except OSError as error:
            raise ProbeError(OUT_OF_MEMORY) from error
        start = ctypes.addressof(c_char.from_buffer(self._memory))
        self.file = self._library.open(start, size, b"w")
        if not self.file:
            raise ProbeError(OUT_OF_MEMORY)
        self._library.buffer(self.file, None, _UNBUFFERED, 0)

    @property
    def is_full(self) -> bool:
        # The C library may keep the last byte for a zero of its own
        return int(self._library.tell(self.file)) >= self._size - 1

    def take(self) -> bytes:
        """Return what was written since the last call."""
        start, end = self._start, int(self._library.tell(self.file))
        written = self._memory[start:end]
        self._start = end
        if end > _AHEAD:
            self._library.rewind(self.file)
            self._start = 0
        if end > _KEPT:
            self._memory.madvise(mmap.MADV_DONTNEED)
        return written

    def close(self) -> None:
        self._library.close(self.file)


class SilentCurl:
    """
    Like a ``pycurl.Curl``, but it collects what comes; for one thread at a time.

    Only options that are numbers (of the type long), texts as bytes, lists of those, addresses, or
    None for what libcurl has by default and is not wanted can be set: no callbacks of Python's.

    Attributes:
        headers: Those of the last transfer, as they came.
        body: The part of a body that came, at most a little more than LARGEST_BODY.
        words: What libcurl told of it with VERBOSE, with the marks of its lines.

    Raises:
        ProbeError: There is no memory for it.
    """

    _curl: int | None = None
    _code = 0
    headers = b""
    body = b""
    words = b""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._error = ctypes.create_string_buffer(_ERROR)
        self._long, self._offset, self._pointer = c_long(), c_longlong(), c_void_p()
        self._text = c_char_p()
        self._at_long = ctypes.byref(self._long)
        self._at_offset = ctypes.byref(self._offset)
        self._at_pointer = ctypes.byref(self._pointer)
        self._at_text = ctypes.byref(self._text)
        self._lists: dict[int, int] = {}
        self._numbers: dict[int, int] = {}
        self._options: tuple[Options, ...] = ()
        self._headers, self._body = _Stream(library, _HEADERS), _Stream(library, LARGEST_BODY + 2)
        self._told = _Stream(library, _TOLD)
        self._curl = library.init()
        if not self._curl:
            raise ProbeError(OUT_OF_MEMORY)
        self._attach()

    def _attach(self) -> None:
        self._library.set_pointer(self._curl, ERROR_BUFFER, ctypes.addressof(self._error))
        self._library.set_pointer(self._curl, pycurl.WRITEHEADER, self._headers.file)
        self._library.set_pointer(self._curl, pycurl.WRITEDATA, self._body.file)
        self._library.set_pointer(self._curl, pycurl.STDERR, self._told.file)

    def set_up(self, *options: Options) -> None:
        """
        Set these options and no others.

        Most transfers ask for what the one before asked for, and nothing is done for them.

        Raises:
            pycurl.error: libcurl does not take one.
        """
        if self._options == options:  # mostly the same objects, so it takes no time
            return
        self._library.reset(self._curl)
        self._forget_lists()
        self._numbers.clear()
        self._attach()
        for option, value in chain.from_iterable(options):
            self.setopt(option, value)
        self._options = options

    def setopt(self, option: int, value: Any) -> None:
        """
        Set an option, as pycurl does.

        Raises:
            pycurl.error: libcurl does not take it.
        """
        if option < NUMBERS:
            if self._numbers.get(option) == value:
                return  # a time that is left, mostly
            self._numbers[option] = value
            code = self._library.set_long(self._curl, option, value)
        elif option == pycurl.POSTFIELDS:
            code = self._library.set_offset(self._curl, pycurl.POSTFIELDSIZE_LARGE, len(value))
            code = code or self._library.set_text(self._curl, pycurl.COPYPOSTFIELDS, value)
        elif isinstance(value, bytes):
            code = self._library.set_text(self._curl, option, value)
        elif value is None or isinstance(value, int):
            code = self._library.set_pointer(self._curl, option, value)
        else:
            code = self._library.set_pointer(self._curl, option, self._list(option, value))
        if code:
            raise pycurl.error(code, f"option {option} cannot be set")

    def _list(self, option: int, texts: tuple[bytes, ...]) -> int | None:
        """Return a list for libcurl, which reads it as long as the option is set."""
        first: int | None = None
        for text in texts:
            first = self._library.append(first, text)
        self._library.free_all(self._lists.pop(option, None))
        if first:
            self._lists[option] = first
        return first

    def getinfo(self, info: int) -> Any:
        """Return an information, as pycurl does."""
        kind = info & _INFO_TYPE
        if kind == _INFO_OFFSET:
            return self.offsets((info,))[0]
        if kind == _INFO_LONG:
            self._library.getinfo(self._curl, info, self._at_long)
            return self._long.value
        if kind == _INFO_STRING:
            self._library.getinfo(self._curl, info, self._at_text)
            return (self._text.value or b"").decode()
        self._library.getinfo(self._curl, info, self._at_pointer)
        return _certificates(self._pointer.value)

    def offsets(self, infos: Sequence[int]) -> list[int]:
        """Return several times or sizes: what libcurl gives as numbers of the type curl_off_t."""
        get, curl, at, found = self._library.getinfo, self._curl, self._at_offset, self._offset
        numbers = []
        for info in infos:
            get(curl, info, at)
            numbers.append(found.value)
        return numbers

    def chain(self) -> tuple[str, ...]:
        """Return what OPT_CERTINFO had libcurl keep of a chain in PEM alone, the leaf first."""
        self._library.getinfo(self._curl, pycurl.INFO_CERTINFO, self._at_pointer)
        found = self._pointer.value
        if not found:
            return ()
        info = _CertInfo.from_address(found)
        return tuple(map(_pem, info.certificates[: info.count]))

    def run(self) -> None:
        """Make the transfer, until it ends or more has come than is taken."""
        self._code = self._library.perform(self._curl)
        if self._code == pycurl.E_WRITE_ERROR and (self._body.is_full or self._headers.is_full):
            self._code = 0
        self.headers, self.body = self._headers.take(), self._body.take()
        if self._numbers.get(pycurl.VERBOSE):
            self.words = self._told.take()

    def outcome(self) -> None:
        """
        Return if the last transfer succeeded.

        Raises:
            pycurl.error: As of pycurl.
        """
        if self._code:
            raise pycurl.error(self._code, self._error.value.decode("utf-8", "replace"))

    def perform(self) -> None:
        """
        Make the transfer, and tell how it ended.

        Raises:
            pycurl.error: As of pycurl.
        """
        self.run()
        self.outcome()

    @property
    def succeeded(self) -> bool:
        return not self._code

    def told(self) -> Iterator[bytes]:
        """Yield the lines that libcurl told with VERBOSE, each with its end."""
        for line in self.words.splitlines(keepends=True):
            if line.startswith(_TEXT):
                yield line[len(_TEXT) :]

    def forget(self) -> None:
        """Drop the answer and the verbose text."""
        self.headers = self.body = self.words = b""

    def close(self) -> None:
        """Free everything; the handle cannot be used afterwards."""
        if self._curl:
            self._library.cleanup(self._curl)
            self._curl = None
            self._forget_lists()
            for stream in (self._headers, self._body, self._told):
                stream.close()

    def _forget_lists(self) -> None:
        for one in self._lists.values():
            self._library.free_all(one)
        self._lists.clear()

    __del__ = close


def _certificates(found: int | None) -> list[list[tuple[str, str]]]:
    """Return what OPT_CERTINFO had libcurl keep of a chain, the leaf first."""
    if not found:
        return []
    info = _CertInfo.from_address(found)
    return [list(_pairs(certificate)) for certificate in info.certificates[: info.count]]


def _pairs(entry: Any) -> Iterator[tuple[str, str]]:
    while entry:
        name, _, value = entry.contents.data.decode("utf-8", "replace").partition(":")
        yield name, value
        entry = entry.contents.next


def _pem(entry: Any) -> str:
    while following := entry.contents.next:
        entry = following
    name, _, value = entry.contents.data.partition(b":")  # libcurl puts it behind all else
    return value.decode("utf-8", "replace") if name == b"Cert" else ""
