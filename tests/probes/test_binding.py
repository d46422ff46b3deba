"""The libcurl and OpenSSL functions that are bound, and checks when they cannot be bound."""

import ctypes
from ctypes import c_int, c_long, c_void_p
from pathlib import Path

import pycurl
import pytest
import trustme

from monitor.clock import Deadline, SystemClock
from monitor.errors import ProbeError
from monitor.model import HttpAnswer, Reason, Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.libcurl.binding import (
    CONTEXTS,
    LIBRARY,
    Wish,
    bind,
    bind_contexts,
)
from monitor.probes.libcurl.handles import Handles
from tests.narrowing import answer_of, known
from tests.probes.servers import answer

_WITHOUT = ["libm.so.6", "/nonexistent/libcurl.so"]
"""A library that lacks the functions, and a file that does not exist."""


def test_the_libcurl_of_pycurl_is_bound():
    """The installed pycurl offers every bound function, so the fallback tests here do differ."""
    assert LIBRARY is not None
    assert CONTEXTS is not None


@pytest.mark.parametrize("lasting", [False, True])
def test_a_tls_context_gets_its_settings(authority, lasting):
    """
    A context releases its buffers while nothing comes, and trusts the authorities.

    Contexts share one store of them, unless libcurl has to keep them for later connections.
    """
    library = ctypes.PyDLL(pycurl._pycurl.__file__)
    method = ctypes.PYFUNCTYPE(c_void_p)(("TLS_client_method", library))
    new = ctypes.PYFUNCTYPE(c_void_p, c_void_p)(("SSL_CTX_new", library))
    free = ctypes.PYFUNCTYPE(None, c_void_p)(("SSL_CTX_free", library))
    control = ctypes.PYFUNCTYPE(c_long, c_void_p, c_int, c_long, c_void_p)(
        ("SSL_CTX_ctrl", library)
    )
    store_of = ctypes.PYFUNCTYPE(c_void_p, c_void_p)(("SSL_CTX_get_cert_store", library))
    contexts = known(CONTEXTS)
    store = contexts.new()
    assert contexts.load(store, authority.file.encode())
    context = new(method())
    wish = Wish(store, lasting=lasting)
    granted = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)(contexts.address)
    assert granted(None, context, ctypes.addressof(wish)) == 0
    assert control(context, 33, 0, None) & 0x10  # SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS
    assert (store_of(context) == store) is not lasting
    assert contexts.first(store_of(context)) == contexts.first(store)
    free(context)
    contexts.free(store)


@pytest.mark.parametrize("file", _WITHOUT)
def test_a_missing_function_is_no_error(file):
    """Without the functions, the import raises nothing and the binding says what is missing."""
    assert bind(file) is None
    assert bind_contexts(file) is None


@pytest.mark.parametrize("tls", [False, True])
def test_every_check_is_made_by_callbacks_instead(serve, authority, tls):
    """Without the bound functions, callbacks take in every plain answer with the same result."""
    server = serve(answer(b"hello"), tls=authority.context() if tls else None)
    site = _site(server.url(), TlsOptions(ca_file=authority.file))
    handles = Handles(library=bind(_WITHOUT[0]))
    probe = HttpProbe(handles)
    seen = [probe(site, Deadline.after(5.0, SystemClock())) for _ in range(3)]
    handles.close()
    assert [one.failure for one in seen] == [None] * 3
    assert {one.answer for one in seen} == {seen[0].answer}
    assert answer_of(seen[0], HttpAnswer).body_size == 5
    assert len(server.requests) == 3


def test_authorities_without_the_functions_are_read_by_libcurl(serve, authority, tmp_path):
    """libcurl verifies with tls.ca_file, and reads the file again once it has changed."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    server = serve(answer(), tls=authority.context())
    probe = HttpProbe(Handles(contexts=bind_contexts(_WITHOUT[0])))
    site = _site(server.url(), TlsOptions(ca_file=str(file)))
    seen = probe(site, Deadline.after(5.0, SystemClock()))
    assert known(seen.failure).reason is Reason.TLS_UNTRUSTED
    file.write_bytes(Path(authority.file).read_bytes())
    assert known(probe(site, Deadline.after(5.0, SystemClock())).tls).verified


def test_legacy_without_its_functions_is_said_to_be_impossible(authority):
    """The check ends in an error of the monitor, not in a verdict on the site."""
    probe = HttpProbe(Handles(contexts=None))
    site = _site("https://127.0.0.1:1/", TlsOptions(ca_file=authority.file, legacy=True))
    with pytest.raises(
        ProbeError, match=r"tls\.legacy is not possible with this version of pycurl"
    ):
        probe(site, Deadline.after(5.0, SystemClock()))


def _site(url: str, tls: TlsOptions) -> Site:
    return Site(
        name="site",
        url=url,
        target=url,
        scheme=url.partition(":")[0],
        timeout=5.0,
        options=(HttpOptions(), tls, NetworkOptions()),
    )
