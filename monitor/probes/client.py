"""
Sends requests that are not checks with the transport of checks: libcurl, one deadline, one limit.

So a receiver of messages supports TLS, proxies and logins as sites do, and can no more hold up its
sender than a site can hold up its check.
"""

from collections.abc import Iterable, Iterator

from requests import Request, Session
from requests.exceptions import RequestException

from monitor import __version__
from monitor.clock import Deadline
from monitor.grammar import escape_percents
from monitor.model import Failure, Reason
from monitor.outbound import NetworkOptions, OutgoingRequest, Proxy, Reply, login_in
from monitor.probes.libcurl.handles import Handles
from monitor.probes.transport import CurlAdapter, ExchangeFailed, RequestSettings, origin_of


class Client:
    """Sends requests; one object for all threads."""

    def __init__(self, handles: Handles | None = None) -> None:
        self._handles = handles or Handles()

    def __call__(self, call: OutgoingRequest, deadline: Deadline) -> Reply | Failure:
        """
        Send one request over a new connection; follow no redirect.

        If the request cannot even be written, the reason of the failure is ``protocol_error``.

        Raises:
            ProbeError: The monitor's system is at fault.
        """
        try:
            _, host, port = origin_of(call.url)
        except ValueError:
            return Failure(Reason.PROTOCOL_ERROR, "the URL has no host")
        settings = RequestSettings(
            tls=call.tls,
            network=NetworkOptions(),
            proxy=Proxy.parse(call.proxy) if call.proxy else None,
            origin=(host, port),
            max_body=call.max_body,
            keep_body=call.max_body,
        )
        adapter = CurlAdapter(self._handles, settings, deadline)
        with Session() as session:
            session.trust_env = False
            session.headers.clear()
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            method = "GET" if call.body is None else "POST"
            headers = {"User-Agent": f"website-monitor/{__version__}", **call.headers}
            try:
                request = session.prepare_request(
                    Request(
                        method,
                        escape_percents(call.url),
                        headers=headers,
                        data=call.body,
                        auth=login_in(call.url),
                    )
                )
                response = session.send(request, allow_redirects=False)
            except ExchangeFailed as error:
                last = adapter.exchanges[-1].answer
                if not last.status:
                    return error.failure
                # The head says what the server decided, however the body ends
                return Reply(status=last.status, headers=dict(_lower(last.headers)), body=last.body)
            except RequestException:
                # The library's own message would quote the URL with its secrets
                return Failure(Reason.PROTOCOL_ERROR, "the URL cannot be requested")
        return Reply(
            status=response.status_code,
            headers=dict(_lower(response.headers.items())),
            body=response.content,
        )


def _lower(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in headers)
