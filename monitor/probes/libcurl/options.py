"""What is set on a handle of libcurl, and the options that pycurl does not offer by itself."""

from functools import lru_cache
from typing import Any, TypeAlias

import pycurl

from monitor.probes.libcurl.binding import CONTEXTS, handle_of

# Options of libcurl that pycurl has no names for
QUICK_EXIT = 322
SUPPRESS_CONNECT_HEADERS = 265
CA_CACHE_TIMEOUT = 321
SSL_CONTEXT_FUNCTION = 20_108
SSL_CONTEXT_DATA = 10_109

NUMBERS = 10_000
"""Below it an option's value is a number."""

Options: TypeAlias = tuple[tuple[int, Any], ...]
"""Options and their values, in the order in which they are set; each value is hashable."""


@lru_cache(maxsize=4096)
def shared(options: Options) -> Options:
    """Return one object for all equal options: a hundred thousand sites have a few."""
    return options


def set_option(curl: pycurl.Curl, option: int, value: Any) -> None:
    """
    Set an option on a handle of pycurl, also one whose value is an address.

    Raises:
        pycurl.error: libcurl does not take the option.
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
