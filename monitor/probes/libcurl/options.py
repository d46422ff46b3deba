"""Options of libcurl handles, including those that pycurl does not offer."""

from functools import lru_cache
from typing import Any, TypeAlias

import pycurl

from monitor.probes.libcurl.binding import CONTEXTS, handle_of

# libcurl options that pycurl does not name
QUICK_EXIT = 322
SUPPRESS_CONNECT_HEADERS = 265
CA_CACHE_TIMEOUT = 321
SSL_CONTEXT_FUNCTION = 20_108
SSL_CONTEXT_DATA = 10_109

NUMBERS = 10_000
"""The values of options below this code are numbers."""

Options: TypeAlias = tuple[tuple[int, Any], ...]
"""Options and their values, in the order in which they are set; each value is hashable."""


@lru_cache(maxsize=4096)
def shared(options: Options) -> Options:
    """Return one object for all equal options: a hundred thousand sites share a few."""
    return options


def set_option(curl: pycurl.Curl, option: int, value: Any) -> None:
    """
    Set an option on a pycurl handle, including options whose value is an address.

    Raises:
        pycurl.error: libcurl rejects the option.
    """
    if option < NUMBERS or not isinstance(value, int):
        curl.setopt(option, value)
        return
    handle = handle_of(curl)
    if CONTEXTS is None or handle is None:
        raise RuntimeError("no address can be set with this version of pycurl")
    code = CONTEXTS.set_pointer(handle, option, value)
    if code:
        raise pycurl.error(code, f"option {option} cannot be set")
