"""
Functions of libcurl that pycurl does not offer, bound by ctypes to the libcurl that it has loaded.

Each of the two bindings is optional. Without ``LIBRARY`` every transfer uses pycurl's callbacks;
without ``CONTEXTS`` each handle loads the authorities itself, and ``tls.legacy`` is impossible. A
function is missing if pycurl was built with libcurl's symbols hidden or for another TLS library
than OpenSSL 3, or if the C library lacks it.
"""

import ctypes
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_size_t, c_uint64, c_ulong, c_void_p
from dataclasses import dataclass
from typing import Any, TypeAlias

import pycurl

_Function: TypeAlias = Callable[..., Any]

_FILE: str = getattr(pycurl, "_pycurl", pycurl).__file__ or ""
_MISSING = (OSError, AttributeError)  # raised by ctypes: no such file, or no such function in it
_OP_LEGACY_SERVER_CONNECT = 1 << 2  # SSL_OP_… of OpenSSL
_CTRL_MODE, _MODE_RELEASE_BUFFERS = 33, 0x10  # SSL_CTRL_… and SSL_MODE_… of OpenSSL
_MAGIC = 0xC0DEDBAD  # the first bytes of a libcurl handle


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """
    What a SilentCurl calls besides pycurl: two functions of libcurl, and streams of the C library.

    libcurl's setopt and getinfo are variadic in the last argument. Here they are called through
    fixed prototypes with an address in that place, which the calling conventions of Linux on x86-64
    and aarch64 allow.
    """

    set_pointer: _Function
    getinfo: _Function
    open: _Function
    buffer: _Function
    tell: _Function
    rewind: _Function
    close: _Function


def bind(file: str = _FILE) -> Library | None:
    """
    Return the functions that a SilentCurl needs; None if one of them is missing.

    Args:
        file: The shared object that contains libcurl, or is linked with it.
    """
    kept = ctypes.PYFUNCTYPE  # keeps the interpreter, because none of them waits
    try:
        curl, libc = ctypes.PyDLL(file), ctypes.PyDLL(None)
        library = Library(
            set_pointer=kept(c_int, c_void_p, c_int, c_void_p)(("curl_easy_setopt", curl)),
            getinfo=kept(c_int, c_void_p, c_int, c_void_p)(("curl_easy_getinfo", curl)),
            open=kept(c_void_p, c_void_p, c_size_t, c_char_p)(("fmemopen", libc)),
            buffer=kept(c_int, c_void_p, c_void_p, c_int, c_size_t)(("setvbuf", libc)),
            tell=kept(c_long, c_void_p)(("ftell", libc)),
            rewind=kept(None, c_void_p)(("rewind", libc)),
            close=kept(c_int, c_void_p)(("fclose", libc)),
        )
    except _MISSING:
        return None
    return library if _is_handle_known() else None


class Wish(ctypes.Structure):
    """
    What the TLS contexts of one handle should get; CURLOPT_SSL_CTX_DATA points to it.

    Attributes:
        authorities: Address of the store whose certificates are trusted; None if there is none.
        legacy: Whether to talk to servers older than RFC 5746.
        lasting: Whether libcurl should keep the certificates for the handle's next connections.
        kept: Whether libcurl has kept them.
    """

    _fields_ = (
        ("authorities", c_void_p),
        ("legacy", c_int),
        ("lasting", c_int),
        ("kept", c_int),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """
    Functions that give TLS contexts what no libcurl option gives them.

    Attributes:
        address: Address of a C function for CURLOPT_SSL_CTX_FUNCTION, which grants a Wish.
        function: The function at that address; it lives as long as this.
        set_pointer: curl_easy_setopt() for an address.
        new, free: Create and free a store of certificates, an X509_STORE.
        load: Adds the certificates of a PEM file to a store; returns 0 if it cannot.
        first: Returns one certificate of a store as DER, or nothing if it is empty.
        clear_errors: Clears OpenSSL's errors from the calling thread's last failure.
    """

    address: int
    function: object
    set_pointer: _Function
    new: _Function
    free: _Function
    load: _Function
    first: Callable[[int], bytes]
    clear_errors: _Function


def bind_contexts(file: str = _FILE) -> Contexts | None:
    """
    Return the functions for TLS contexts; None if libcurl, OpenSSL 3 or pycurl lacks one of them.

    Args:
        file: As in bind().
    """
    kept = ctypes.PYFUNCTYPE
    try:
        library = ctypes.PyDLL(file)
        set_options = kept(c_uint64, c_void_p, c_uint64)(("SSL_CTX_set_options", library))
        set_level = kept(None, c_void_p, c_int)(("SSL_CTX_set_security_level", library))
        control = kept(c_long, c_void_p, c_int, c_long, c_void_p)(("SSL_CTX_ctrl", library))
        store_of = kept(c_void_p, c_void_p)(("SSL_CTX_get_cert_store", library))
        lend_store = kept(None, c_void_p, c_void_p)(("SSL_CTX_set1_cert_store", library))
        parameters = kept(c_void_p, c_void_p)(("X509_STORE_get0_param", library))
        flags_of = kept(c_ulong, c_void_p)(("X509_VERIFY_PARAM_get_flags", library))
        set_flags = kept(c_int, c_void_p, c_ulong)(("X509_STORE_set_flags", library))
        objects = kept(c_void_p, c_void_p)(("X509_STORE_get0_objects", library))
        count = kept(c_int, c_void_p)(("OPENSSL_sk_num", library))
        value = kept(c_void_p, c_void_p, c_int)(("OPENSSL_sk_value", library))
        certificate = kept(c_void_p, c_void_p)(("X509_OBJECT_get0_X509", library))
        add = kept(c_int, c_void_p, c_void_p)(("X509_STORE_add_cert", library))
        encode = kept(c_int, c_void_p, c_void_p)(("i2d_X509", library))
        functions = {
            "set_pointer": kept(c_int, c_void_p, c_int, c_void_p)(("curl_easy_setopt", library)),
            "new": kept(c_void_p)(("X509_STORE_new", library)),
            "free": kept(None, c_void_p)(("X509_STORE_free", library)),
            # Reading takes milliseconds, so the interpreter is released
            "load": ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p)(
                ("X509_STORE_load_file", ctypes.CDLL(file))
            ),
            "clear_errors": kept(None)(("ERR_clear_error", library)),
        }
    except _MISSING:
        return None
    if not _is_handle_known():
        return None

    def first(store: int) -> bytes:
        trusted = objects(store)
        one = certificate(value(trusted, 0)) if count(trusted) else None
        if not one:
            return b""
        encoded = ctypes.create_string_buffer(encode(one, None))
        encode(one, ctypes.byref(c_void_p(ctypes.addressof(encoded))))
        return encoded.raw

    def grant(_curl: int, context: int, data: int) -> int:
        wish = Wish.from_address(data)
        control(context, _CTRL_MODE, _MODE_RELEASE_BUFFERS, None)  # saves 33 KB while idle
        if wish.legacy:
            set_options(context, _OP_LEGACY_SERVER_CONNECT)
            set_level(context, 0)  # over QUIC libcurl sets no cipher list that could do this
        if not wish.authorities:
            return 0
        store = store_of(context)
        if not wish.lasting:
            set_flags(wish.authorities, flags_of(parameters(store)))  # libcurl's: how to verify
            lend_store(context, wish.authorities)
            return 0
        trusted = objects(wish.authorities)
        number = count(trusted)
        wish.kept = count(objects(store)) >= number
        for index in range(0 if wish.kept else number):
            one = certificate(value(trusted, index))  # None for a list of revoked certificates
            if one and not add(store, one):
                return pycurl.E_OUT_OF_MEMORY
        return 0

    function = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)(grant)
    address = ctypes.cast(function, c_void_p).value or 0
    return Contexts(address=address, function=function, first=first, **functions)


def handle_of(curl: pycurl.Curl) -> int | None:
    """Return the address of the libcurl handle inside a pycurl handle; None if not found."""
    # pycurl does not reveal its handle. It is stored after the list of weak references, and every
    # libcurl handle begins with a fixed number.
    place = id(curl) + type(curl).__weakrefoffset__ + ctypes.sizeof(c_void_p)
    handle = c_void_p.from_address(place).value
    known = handle and ctypes.c_uint32.from_address(handle).value == _MAGIC
    return handle if known else None


def _is_handle_known() -> bool:
    curl = pycurl.Curl()
    try:
        return handle_of(curl) is not None
    finally:
        curl.close()


LIBRARY = bind()
CONTEXTS = bind_contexts()
