"""
A check that repeats the last one of its site: one request, one plain answer.

Nearly every check of an HTTP site is of this kind, so it takes the shortest path: a silent handle
makes the transfer, and the answer is read in one go. If anything is less plain than last time (a
failure, a redirect, other certificates), ``transport`` reads the same handle. No request is sent
twice, and over TLS each check makes and verifies a new handshake.
"""

import pycurl

from monitor.clock import Deadline
from monitor.model import Bytes, Observation, Timestamp, TlsSession
from monitor.outbound import PROXY_LOGIN
from monitor.probes.answer import FIRST_FINAL, REDIRECTS, Head, make_answer, parse_head
from monitor.probes.libcurl.handles import Handles, SilentHandle
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.silent import LARGEST_BODY, SilentCurl
from monitor.probes.libcurl.times import MICROSECONDS, phases, read_times
from monitor.probes.libcurl.told import AGREED, agreed
from monitor.probes.transport import Exchange, Order, RequestSettings

_END_OF_HEADERS = b"\r\n\r\n"
_MOST_HEADER_BYTES: Bytes = 16 * 1024
_NOT_PLAIN = {*REDIRECTS, PROXY_LOGIN}


def may_repeat(exchange: Exchange, order: Order, settings: RequestSettings) -> bool:
    """
    Return whether a silent handle can make the next check, if it goes like this exchange.

    A silent handle waits for the body of a redirect and for a body without an end, receives a long
    body as a whole, and cannot check an address before it connects.
    """
    ended = not (exchange.is_redirect or exchange.head_only or exchange.answer.truncated)
    plain = ended and exchange.answer.status >= FIRST_FINAL
    return plain and settings.max_body <= LARGEST_BODY and not order.route.is_guarded


def repeat(order: Order, deadline: Deadline, handles: Handles) -> SilentHandle:
    """
    Send a request once more, and return the handle, to be read and given back.

    Raises:
        ProbeError, RuntimeError: As in Handles.take_silent().
    """
    route = order.route
    handle = handles.take_silent(route)
    curl = handle.curl
    try:
        given = handle.context.options(legacy=route.is_legacy, silent=True)
        curl.set_up(route.options, given, order.options)
        curl.setopt(pycurl.TIMEOUT_MS, deadline.milliseconds())
        curl.setopt(pycurl.URL, order.sent)
        curl.run()
    except BaseException:
        curl.close()
        raise
    return handle


def read(
    handle: SilentHandle,
    order: Order,
    settings: RequestSettings,
    started: Timestamp,
    last: TlsSession | None,
) -> Observation | None:
    """
    Return the observation if everything in it is plain, otherwise None.

    Args:
        last: What the handshake of the site's last check showed.
    """
    curl = handle.curl
    if not curl.succeeded:
        return None
    if order.route.uses_tls and not (last and _is_as_before(handle, order.route, last)):
        return None
    head = _plain_head(curl, settings)
    if head is None:
        return None
    times = read_times(curl, order.route)
    return Observation(
        time=started,
        duration=times[-1] / MICROSECONDS,
        phases=phases(times, order.route),
        address=curl.getinfo(pycurl.PRIMARY_IP) or None,
        answer=make_answer(head, curl.body[: settings.keep_body], len(curl.body), order.url, curl),
        tls=last,
    )


def _is_as_before(handle: SilentHandle, route: Route, last: TlsSession) -> bool:
    """Return whether a successful handshake shows nothing new compared with the last one."""
    curl, trust = handle.curl, handle.context.trust
    if route.proxy or route.tls.cert_file:
        return False  # there is more to a session than chain and suite
    if trust is not None and trust.stamp != last.stamp:
        return False  # the same certificates may be trusted through another authority now
    begin = curl.words.find(AGREED)
    line = curl.words[begin : curl.words.find(b"\n", begin)]
    return begin >= 0 and agreed(line) == (last.version, last.cipher) and curl.chain() == last.chain


def _plain_head(curl: SilentCurl, settings: RequestSettings) -> Head | None:
    block, end, more = curl.headers.partition(_END_OF_HEADERS)
    if more or not end or len(block) > _MOST_HEADER_BYTES or len(curl.body) > settings.max_body:
        return None
    if b"content-encoding" in block.lower():
        return None  # transport decompresses it, or finds these words only in a header's value
    head = parse_head(block)
    if head is None:
        return None
    version, status, _ = head
    if status < FIRST_FINAL or status in _NOT_PLAIN or settings.version not in ("auto", version):
        return None
    return head
