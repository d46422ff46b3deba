"""
A check that repeats the last one of its site: one request, one plain answer.

Nearly every check of an HTTP site is of this kind, so it takes the shortest path: a silent handle
makes the transfer, and the answer is read in one go. ``transport`` reads the same handle if
anything is less plain than last time: a failure, a redirect, other certificates. No request is sent
twice, and over TLS each check makes and verifies a handshake of its own.
"""

import pycurl

from monitor.clock import Deadline
from monitor.model import Bytes, HttpAnswer, Observation, Timestamp, TlsSession
from monitor.outbound import PROXY_LOGIN
from monitor.probes.libcurl.handles import Handles, SilentHandle
from monitor.probes.libcurl.route import Route
from monitor.probes.libcurl.silent import LARGEST_BODY, SilentCurl
from monitor.probes.libcurl.times import MICROSECONDS, TIMES, as_times, phases
from monitor.probes.libcurl.told import AGREED, agreed
from monitor.probes.transport import (
    FIRST_FINAL,
    REDIRECTS,
    Exchange,
    Order,
    RequestSettings,
    parse_fields,
    parse_status_line,
)

_END_OF_HEADERS = b"\r\n\r\n"
_MOST_HEADER_BYTES: Bytes = 16 * 1024
_NOT_PLAIN = {*REDIRECTS, PROXY_LOGIN}
_FIGURES = {scheme: (*times, pycurl.CONTENT_LENGTH_DOWNLOAD_T) for scheme, times in TIMES.items()}


def may_repeat(exchange: Exchange, order: Order, settings: RequestSettings) -> bool:
    """
    Return whether the next check can be made by a silent handle, if it goes as this exchange did.

    A silent handle waits for the body of a redirect and for a body without an end, receives a long
    body as a whole, and cannot check an address before connecting to it.
    """
    ended = not (exchange.is_redirect or exchange.head_only or exchange.answer.truncated)
    plain = ended and exchange.answer.status >= FIRST_FINAL
    return plain and settings.max_body <= LARGEST_BODY and not order.route.is_guarded


def repeat(order: Order, deadline: Deadline, handles: Handles) -> SilentHandle:
    """
    Send a request once more, and return the handle, to be read and given back.

    Raises:
        ProbeError, RuntimeError: As of Handles.take_silent().
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
    curl: SilentCurl,
    order: Order,
    settings: RequestSettings,
    started: Timestamp,
    last: TlsSession | None,
) -> Observation | None:
    """
    Return the observation if everything in it is plain, else None.

    Args:
        last: What the handshake of the site's last check showed.
    """
    if not curl.succeeded:
        return None
    if order.route.uses_tls and not (last and _is_as_before(curl, order.route, last)):
        return None
    *found, content_length = map(curl.getinfo, _FIGURES[order.route.scheme])
    answer = _answer(curl, order, settings, content_length)
    if answer is None:
        return None
    times = as_times(found)
    return Observation(
        time=started,
        duration=times[-1] / MICROSECONDS,
        phases=phases(times, order.route),
        address=curl.getinfo(pycurl.PRIMARY_IP) or None,
        answer=answer,
        tls=last,
    )


def _is_as_before(curl: SilentCurl, route: Route, last: TlsSession) -> bool:
    """Return whether a handshake, which succeeded, shows nothing that the last one did not."""
    if route.proxy or route.tls.cert_file:
        return False  # there is more to a session than chain and suite
    begin = curl.words.find(AGREED)
    line = curl.words[begin : curl.words.find(b"\n", begin)]
    return begin >= 0 and agreed(line) == (last.version, last.cipher) and curl.chain() == last.chain


def _answer(
    curl: SilentCurl, order: Order, settings: RequestSettings, content_length: int
) -> HttpAnswer | None:
    block, end, more = curl.headers.partition(_END_OF_HEADERS)
    if more or not end or len(block) > _MOST_HEADER_BYTES or len(curl.body) > settings.max_body:
        return None
    if b"content-encoding" in block.lower():
        return None  # transport unpacks it, or finds that only a header's value has these words
    status_line, _, fields = block.partition(b"\n")
    parsed = parse_status_line(status_line)
    if parsed is None:
        return None
    version, status = parsed
    if status < FIRST_FINAL or status in _NOT_PLAIN or settings.version not in ("auto", version):
        return None
    return HttpAnswer(
        status=status,
        version=version,
        headers=parse_fields(fields),
        body=curl.body[: settings.keep_body],
        body_size=len(curl.body),
        content_length=content_length,
        url=order.url,
    )
