"""
Functions of libcurl that pycurl does not offer, bound by ctypes to the libcurl that it has loaded.

Each of the two bindings is optional. Without ``LIBRARY`` every transfer is made through callbacks
of pycurl; without ``LEGACY`` only ``tls.legacy`` is impossible. A function is missing where pycurl
was built with libcurl's symbols hidden, or the C library lacks it.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_longlong, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any, TypeAlias

import pycurl

_Function: TypeAlias = Callable[..., Any]

_FILE: str = getattr(pycurl, "_pycurl", pycurl).__file__ or ""
_MISSING = (OSError, AttributeError)  # of ctypes: there is no such file, or no such function in it
_OP_LEGACY_SERVER_CONNECT = 1 << 2  # SSL_OP_… of OpenSSL


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """
    What a SilentCurl calls: functions of libcurl, and streams of the C library.

    libcurl's setopt and getinfo are variadic in the last argument. They are called here by fixed
    prototypes, one for each type, which the calling conventions of Linux on x86-64 and aarch64
    allow.
    """

    init: _Function
    perform: _Function
    reset: _Function
    cleanup: _Function
    append: _Function
    free_all: _Function
    set_long: _Function
    set_offset: _Function
    set_text: _Function
    set_pointer: _Function
    getinfo: _Function
    open: _Function
    buffer: _Function
    tell: _Function
    rewind: _Function
    close: _Function


def bind(file: str = _FILE) -> Library | None:
    """
    Return the functions that a SilentCurl needs, None where one of them is missing.

    Args:
        file: The shared object that holds libcurl, or is linked with it.
    """
    kept = ctypes.PYFUNCTYPE  # keeps the interpreter: only perform waits for anything
    try:
        curl, libc = ctypes.PyDLL(file), ctypes.PyDLL(None)
        set_long, set_offset, set_text, set_pointer = (
            kept(c_int, c_void_p, c_int, kind)(("curl_easy_setopt", curl))
            for kind in (c_long, c_longlong, c_char_p, c_void_p)
        )
        return Library(
            init=kept(c_void_p)(("curl_easy_init", curl)),
            perform=ctypes.CFUNCTYPE(c_int, c_void_p)(("curl_easy_perform", ctypes.CDLL(file))),
            reset=kept(None, c_void_p)(("curl_easy_reset", curl)),
            cleanup=kept(None, c_void_p)(("curl_easy_cleanup", curl)),
            append=kept(c_void_p, c_void_p, c_char_p)(("curl_slist_append", curl)),
            free_all=kept(None, c_void_p)(("curl_slist_free_all", curl)),
            set_long=set_long,
            set_offset=set_offset,
            set_text=set_text,
            set_pointer=set_pointer,
            getinfo=kept(c_int, c_void_p, c_int, c_void_p)(("curl_easy_getinfo", curl)),
            open=kept(c_void_p, c_void_p, c_size_t, c_char_p)(("fmemopen", libc)),
            buffer=kept(c_int, c_void_p, c_void_p, c_int, c_size_t)(("setvbuf", libc)),
            tell=kept(c_long, c_void_p)(("ftell", libc)),
            rewind=kept(None, c_void_p)(("rewind", libc)),
            close=kept(c_int, c_void_p)(("fclose", libc)),
        )
    except _MISSING:
        return None


@dataclass(frozen=True, slots=True)
class Legacy:
    """
    What ``tls.legacy`` needs.

    Attributes:
        address: Of a C function that lets a TLS context talk to servers older than RFC 5746.
        set_pointer: curl_easy_setopt() for an address.
        function: What lies at the address; it lives as long as this.
    """

    address: int
    set_pointer: _Function
    function: object


def bind_legacy(file: str = _FILE) -> Legacy | None:
    """Return what ``tls.legacy`` needs, None where a function of libcurl or OpenSSL is missing."""
    kept = ctypes.PYFUNCTYPE
    try:
        library = ctypes.PyDLL(file)
        set_options = kept(c_uint64, c_void_p, c_uint64)(("SSL_CTX_set_options", library))
        set_level = kept(None, c_void_p, c_int)(("SSL_CTX_set_security_level", library))
        set_pointer = kept(c_int, c_void_p, c_int, c_void_p)(("curl_easy_setopt", library))
    except _MISSING:
        return None

    def allow(_curl: int, context: int, _data: int) -> int:
        set_options(context, _OP_LEGACY_SERVER_CONNECT)
        set_level(context, 0)  # over QUIC libcurl sets no list of ciphers that could do it
        return 0

    function = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)(allow)
    return Legacy(ctypes.cast(function, c_void_p).value or 0, set_pointer, function)


LIBRARY = bind()
LEGACY = bind_legacy()
