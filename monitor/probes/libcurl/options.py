"""What is set on a handle of libcurl, and the options that pycurl does not offer by itself."""

import ctypes
from functools import lru_cache
from typing import Any, TypeAlias

import pycurl

from monitor.errors import ProbeError
from monitor.probes.libcurl.binding import LEGACY, Legacy

# Options of libcurl that pycurl has no names for
ERROR_BUFFER = 10_010
QUICK_EXIT = 322
SUPPRESS_CONNECT_HEADERS = 265
_SSL_CONTEXT_FUNCTION = 20_108

NUMBERS = 10_000
"""Below it an option's value is a number."""
_FUNCTIONS = 20_000
"""From here on an option's value may be a function."""
_MAGIC = 0xC0DEDBAD  # what a handle of libcurl begins with

Options: TypeAlias = tuple[tuple[int, Any], ...]
"""Options and their values, in the order in which they are set; each value is hashable."""

OLD_RENEGOTIATION: tuple[int, int] = (_SSL_CONTEXT_FUNCTION, LEGACY.address if LEGACY else 0)
"""The option that lets a handshake continue with a server older than RFC 5746."""


@lru_cache(maxsize=4096)
def shared(options: Options) -> Options:
    """Return one object for all equal options: a hundred thousand sites have a few."""
    return options


def set_option(
    curl: pycurl.Curl, option: int, value: Any, *, legacy: Legacy | None = LEGACY
) -> None:
    """
    Set an option on a handle of pycurl, also one whose value is a C function.

    Raises:
        ProbeError: This pycurl does not let us set a C function.
        pycurl.error: libcurl does not take the option.
    """
    if option < _FUNCTIONS or not isinstance(value, int):
        curl.setopt(option, value)
        return
    # pycurl does not give its handle to anyone. It lies behind the list of weak references, and
    # libcurl begins each of its handles with a fixed number.
    place = id(curl) + type(curl).__weakrefoffset__ + ctypes.sizeof(ctypes.c_void_p)
    handle = ctypes.c_void_p.from_address(place).value
    known = handle and ctypes.c_uint32.from_address(handle).value == _MAGIC
    if legacy is None or not known:
        raise ProbeError("tls.legacy is not possible with this version of pycurl")
    code = legacy.set_pointer(handle, option, value)
    if code:
        raise pycurl.error(code, f"option {option} cannot be set")
