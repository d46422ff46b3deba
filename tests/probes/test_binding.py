"""Where libcurl's own functions cannot be bound, pycurl's callbacks make every transfer."""

import pycurl
import pytest

from monitor.clock import Deadline, SystemClock
from monitor.errors import ProbeError
from monitor.model import Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.libcurl.binding import LEGACY, LIBRARY, bind, bind_legacy
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.options import OLD_RENEGOTIATION, set_option
from tests.probes.servers import answer

_WITHOUT = ["libm.so.6", "/nonexistent/libcurl.so"]
"""A library that lacks the functions, and a file that does not exist."""


def test_the_libcurl_of_pycurl_is_bound():
    """With the pycurl that is installed nothing is missing, so the other tests here differ."""
    assert LIBRARY is not None
    assert LEGACY is not None


@pytest.mark.parametrize("file", _WITHOUT)
def test_a_missing_function_is_no_error(file):
    """The binding says that it is not there, and raises nothing when it is imported."""
    assert bind(file) is None
    assert bind_legacy(file) is None


@pytest.mark.parametrize("tls", [False, True])
def test_every_check_is_made_by_callbacks_instead(serve, authority, tls):
    """Plain answers, of which all but the first would come silently, are seen as they are."""
    server = serve(answer(b"hello"), tls=authority.context() if tls else None)
    site = Site(
        name="site",
        url=server.url(),
        target=server.url(),
        scheme="https" if tls else "http",
        timeout=5.0,
        options=(HttpOptions(), TlsOptions(ca_file=authority.file), NetworkOptions()),
    )
    handles = Handles(library=bind(_WITHOUT[0]))
    probe = HttpProbe(handles)
    seen = [probe(site, Deadline.after(5.0, SystemClock())) for _ in range(3)]
    handles.close()
    assert [one.failure for one in seen] == [None] * 3
    assert {one.answer for one in seen} == {seen[0].answer}
    assert seen[0].answer.body_size == 5
    assert len(server.requests) == 3


def test_legacy_without_its_functions_is_said_to_be_impossible():
    """The check is an error of the monitor's, not a verdict on the site."""
    curl = pycurl.Curl()
    with pytest.raises(
        ProbeError, match=r"tls\.legacy is not possible with this version of pycurl"
    ):
        set_option(curl, *OLD_RENEGOTIATION, legacy=None)
    set_option(curl, *OLD_RENEGOTIATION)
    curl.close()
