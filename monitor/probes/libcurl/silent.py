"""
A libcurl handle that receives an answer without entering Python; see ``SilentTransfer``.

A callback waits for the interpreter, and the transfer waits with it: while another thread computes,
an answer of one packet seems to take milliseconds longer. Here libcurl itself writes headers, body
and its verbose text to streams of the C library (CURLOPT_WRITEDATA, CURLOPT_HEADERDATA and
CURLOPT_STDERR, each without a function), and Python reads them after the transfer. pycurl cannot
set a stream; ``binding`` can. pycurl does all the rest: a call through ctypes takes three times as
long, and touches more memory, which is out of the caches after each wait.
"""

import ctypes
import mmap
from collections.abc import Iterator
from ctypes import POINTER, c_char, c_char_p, c_int, c_void_p
from itertools import chain
from typing import Any

import pycurl

from monitor.errors import ProbeError
from monitor.model import Bytes
from monitor.probes.libcurl.binding import Library, handle_of
from monitor.probes.libcurl.errors import OUT_OF_MEMORY
from monitor.probes.libcurl.options import NUMBERS, Options

LARGEST_BODY: Bytes = 1024**2
"""If a body is longer, only its beginning is taken, and the transfer ends."""

_HEADERS: Bytes = 512 * 1024  # more than libcurl accepts
_TOLD: Bytes = 64 * 1024
_AHEAD: Bytes = 4 * 1024  # a stream is rewound only after this much, because each call costs
_KEPT: Bytes = 64 * 1024  # memory that an idle handle may keep for each stream
_UNBUFFERED = 2  # _IONBF

_TEXT = b"* "  # marks libcurl's own text; headers have other marks


class _List(ctypes.Structure):
    """struct curl_slist."""


_List._fields_ = [("data", c_char_p), ("next", POINTER(_List))]


class _CertInfo(ctypes.Structure):
    """struct curl_certinfo."""

    _fields_ = (("count", c_int), ("certificates", POINTER(POINTER(_List))))


class _Stream:
    """A ``FILE *`` with *size* bytes of memory, which accepts little more."""

    def __init__(self, library: Library, size: Bytes) -> None:
        size += _AHEAD
        self._library = library
        self._size = size
        self._start = 0  # of the bytes that take() has not returned yet
        try:
            # Separate memory, so that the pages of a large answer can be returned
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
        # The C library may reserve the last byte for a terminating zero
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
    Like a ``pycurl.Curl``, but it collects what it receives; for one thread at a time.

    No option can be a Python callback.

    Attributes:
        headers: Those of the last transfer, as received.
        body: The part of the body that was received, at most a little more than LARGEST_BODY.
        words: libcurl's VERBOSE text about it, with the marks of its lines.

    Raises:
        ProbeError: There is no memory for it.
    """

    _curl: pycurl.Curl | None = None
    _error: tuple[Any, ...] = ()  # the arguments of pycurl.error if the last transfer failed
    _tells = False
    headers = b""
    body = b""
    words = b""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._options: tuple[Options, ...] = ()
        self._headers, self._body = _Stream(library, _HEADERS), _Stream(library, LARGEST_BODY + 2)
        self._told = _Stream(library, _TOLD)
        try:
            curl = self._curl = pycurl.Curl()
        except pycurl.error as error:
            raise ProbeError(OUT_OF_MEMORY) from error
        self._handle = handle_of(curl)
        self._setopt, self._perform, self.getinfo = curl.setopt, curl.perform, curl.getinfo
        self._attach()

    def _attach(self) -> None:
        self._library.set_pointer(self._handle, pycurl.WRITEHEADER, self._headers.file)
        self._library.set_pointer(self._handle, pycurl.WRITEDATA, self._body.file)
        self._library.set_pointer(self._handle, pycurl.STDERR, self._told.file)

    def set_up(self, *options: Options) -> None:
        """
        Set these options and no others.

        Most transfers have the same options as the one before, and cost nothing here.

        Raises:
            pycurl.error: libcurl does not take one.
        """
        if self._options == options:  # mostly the same objects, so comparing takes no time
            return
        assert self._curl is not None  # noqa: S101  it is open
        self._options = ()
        self._tells = False
        self._curl.reset()
        self._attach()
        for option, value in chain.from_iterable(options):
            self.setopt(option, value)
        self._options = options

    def setopt(self, option: int, value: Any) -> None:
        """
        Set an option as pycurl does, including options whose value is an address.

        Raises:
            pycurl.error: libcurl rejects it.
        """
        if option < NUMBERS:
            self._setopt(option, value)
            if option == pycurl.VERBOSE:
                self._tells = bool(value)
        elif isinstance(value, int):
            code = self._library.set_pointer(self._handle, option, value)
            if code:
                raise pycurl.error(code, f"option {option} cannot be set")
        else:
            self._setopt(option, value)

    def chain(self) -> tuple[str, ...]:
        """Return the chain that libcurl kept because of OPT_CERTINFO, as PEM, the leaf first."""
        found = c_void_p()
        self._library.getinfo(self._handle, pycurl.INFO_CERTINFO, ctypes.byref(found))
        if not found.value:
            return ()
        info = _CertInfo.from_address(found.value)
        return tuple(map(_pem, info.certificates[: info.count]))

    def run(self) -> None:
        """Make the transfer, until it ends or more arrives than is accepted."""
        self._error = ()
        try:
            self._perform()
        except pycurl.error as error:
            full = self._body.is_full or self._headers.is_full
            if error.args[0] != pycurl.E_WRITE_ERROR or not full:
                self._error = error.args
        self.headers, self.body = self._headers.take(), self._body.take()
        if self._tells:
            self.words = self._told.take()

    def outcome(self) -> None:
        """
        Return if the last transfer succeeded.

        Raises:
            pycurl.error: As raised by pycurl.
        """
        if self._error:
            raise pycurl.error(*self._error)

    def perform(self) -> None:
        """
        Make the transfer, and report how it ended.

        Raises:
            pycurl.error: As raised by pycurl.
        """
        self.run()
        self.outcome()

    @property
    def succeeded(self) -> bool:
        return not self._error

    def told(self) -> Iterator[bytes]:
        """Yield the lines of libcurl's VERBOSE text, each with its line end."""
        for line in self.words.splitlines(keepends=True):
            if line.startswith(_TEXT):
                yield line[len(_TEXT) :]

    def forget(self) -> None:
        """Drop the answer and the verbose text."""
        self.headers = self.body = self.words = b""

    def close(self) -> None:
        """Free everything; the handle cannot be used afterwards."""
        if self._curl is not None:
            self._curl.close()
            self._curl = None
            for stream in (self._headers, self._body, self._told):
                stream.close()

    __del__ = close


def _pem(entry: Any) -> str:
    while following := entry.contents.next:
        entry = following
    name, _, value = entry.contents.data.partition(b":")  # libcurl puts it last
    return value.decode("utf-8", "replace") if name == b"Cert" else ""
