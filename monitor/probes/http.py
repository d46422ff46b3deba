"""HTTP and HTTPS: one request and its redirects, in one thread, under one deadline."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import urljoin, urlsplit
from weakref import WeakKeyDictionary

from requests import PreparedRequest, Request, Response, Session
from requests.adapters import BaseAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.cookies import RequestsCookieJar
from requests.hooks import default_hooks

from monitor import __version__
from monitor.clock import Deadline
from monitor.errors import ProbeError
from monitor.grammar import TOKEN, escape_percents, header_text
from monitor.model import (
    Bytes,
    Failure,
    Hop,
    Observation,
    Phase,
    Reason,
    Seconds,
    Site,
    Timestamp,
    TlsSession,
)
from monitor.options import FilePath, OptionError, Secret, Size, option, show_size, whole
from monitor.outbound import (
    Credentials,
    NetworkOptions,
    Proxy,
    TlsOptions,
    check_header,
    login_in,
    one_of,
)
from monitor.probes.digest import DigestAuth
from monitor.probes.family import check_addresses
from monitor.probes.guard import forbidden
from monitor.probes.libcurl.handles import Handles, SilentHandle
from monitor.probes.oauth import Grant, OAuth2Options, Tokens
from monitor.probes.repeat import may_repeat, read, repeat
from monitor.probes.transport import (
    CurlAdapter,
    Exchange,
    ExchangeFailed,
    Order,
    RequestSettings,
    origin_of,
    sent_url,
)

_DEFAULT_MAX_BODY: Bytes = 1024 * 1024
_EVIDENCE: Bytes = 1024
_TOKEN_BODY: Bytes = 64 * 1024
_LONGEST_PLACE = 200
_MOVED = 301
_UNAUTHORIZED = 401
_OF_ONE_HOST = DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
"""A cookie without a Domain goes only to the host that set it (RFC 6265, 5.3)."""
_TOKEN = re.compile(TOKEN)
_MOST_REDIRECTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    method: str = option("GET", doc="The request's method.")
    headers: Mapping[str, str] = option(factory=dict, doc="Headers to send, by name.")
    body: str | None = option(None, doc="The request's body, as UTF-8.")
    body_file: FilePath | None = option(None, doc="File that holds the request's body.")
    basic_auth: Credentials | None = option(None, doc="Log in by basic authentication.")
    digest_auth: Credentials | None = option(
        None,
        doc="Log in by digest authentication (RFC 7616): of several challenges the first that is "
        "known is answered.",
    )
    bearer_token: Secret | None = option(None, doc="Log in by this token.")
    oauth2: OAuth2Options | None = option(
        None, doc="Log in by a token that is fetched with client credentials."
    )
    follow_redirects: bool = option(True, doc="Whether redirects are followed.")
    max_redirects: Annotated[int, whole(0, _MOST_REDIRECTS)] = option(
        10, doc="How many redirects are followed before the check fails."
    )
    version: Annotated[str, one_of("auto", "1.1", "2", "3")] = option(
        "auto", doc="The HTTP version to demand: auto accepts what is negotiated; 1.1, 2 or 3."
    )
    compression: bool = option(True, doc="Whether to ask for gzip, deflate and brotli.")
    proxy: Secret | None = option(
        None, doc="URL of a proxy: http, https, socks4, socks5 or socks5h; may hold credentials."
    )
    max_body: Size | None = option(
        None,
        doc="Decoded bytes after which a body is cut, 1MiB by default; where it is set, a longer "
        "body fails.",
    )
    read: Annotated[str, one_of("all", "head")] = option(
        "all",
        doc="How much of an answer is read: all of it, or its head alone, for a body that never "
        "ends.",
    )
    require_close_notify: bool = option(
        True,
        doc="Whether TLS must confirm by close_notify that a body is complete, if only the end of "
        "the connection ends it and something reads it.",
    )
    user_agent: str = option(f"website-monitor/{__version__}", doc="The User-Agent header.")

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise ValueError(f"method {self.method!r} is not an HTTP method")
        check_request(self)
        if self.body is not None and self.body_file is not None:
            raise ValueError("body and body_file cannot be used together")


class RequestOptions(Protocol):
    """The options that every probe has which sends an HTTP request."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def user_agent(self) -> str: ...
    @property
    def bearer_token(self) -> str | None: ...
    @property
    def proxy(self) -> str | None: ...


def check_request(options: RequestOptions) -> None:
    """
    Accept headers, a login and a proxy that can be sent and used.

    Raises:
        ValueError: They cannot, or there are two logins.
    """
    for name, value in {"User-Agent": options.user_agent, **options.headers}.items():
        check_header(name, value)
    given = logins(options, options.headers)
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} cannot be used together")
    if options.bearer_token is not None:
        check_header("bearer_token", options.bearer_token)
    if options.proxy is not None:
        Proxy.parse(options.proxy)


_AUTHENTICATIONS = ("basic_auth", "digest_auth", "bearer_token", "oauth2")


def logins(options: object, headers: Mapping[str, str]) -> list[str]:
    """Return the names of the options and headers that hold a login."""
    given = [name for name in _AUTHENTICATIONS if getattr(options, name, None) is not None]
    return given + [name for name in headers if name.lower() == "authorization"]


def sent_user_agent(headers: Mapping[str, str], user_agent: str) -> str:
    """Return the User-Agent of a site's requests, taken from its own header if it has one."""
    return next(
        (value for name, value in headers.items() if name.lower() == "user-agent"), user_agent
    )


def check_url(url: str) -> None:
    """
    Accept a URL that can be requested.

    Raises:
        ValueError: The URL is wrong; the message says why, without credentials.
    """
    try:
        _, host, _ = origin_of(url)
        PreparedRequest().prepare_url(escape_percents(url), None)
    except ValueError as error:
        # The library's own message would quote the URL with its credentials
        raise ValueError(
            "url has no host, or one that cannot be; such as https://a.example/"
        ) from error
    if not host.strip("."):
        raise ValueError("url has no host; such as https://a.example/")


def check_site(site: Site) -> None:
    """
    Accept a site whose options can work with its URL and with each other.

    Raises:
        OptionError: Every check would fail, or every check would pass, whatever the site answers.
    """
    check_addresses(site, proxied="http")
    options = site.section(HttpOptions)
    check_login(site, "http", logins(options, options.headers))
    _check_version(site, options)
    _check_expected_version(site, options.version)
    if options.method == "HEAD" and (options.body is not None or options.body_file is not None):
        key = "body" if options.body is not None else "body_file"
        raise OptionError(("http", key), "is not sent with the method HEAD")
    if site.reads_body and options.method == "HEAD":
        raise OptionError(("http", "method"), f"is HEAD, which brings no body, {_READS}")
    if site.reads_body and options.read == "head":
        raise OptionError(("http", "read"), f"is head, {_READS}")


_READS = "but expect, extract or watch read it"


def check_login(site: Site, section: str, given: Sequence[str]) -> None:
    """
    Accept a site that has at most one login.

    Args:
        given: The options and headers of the section that hold a login.

    Raises:
        OptionError: The URL also has a login, and one of them would be ignored.
    """
    if given and urlsplit(site.url).username is not None:
        raise OptionError(("url",), f"has a login, and {section}.{given[0]} is another; keep one")


def _check_version(site: Site, options: HttpOptions) -> None:
    key = ("http", "version")
    highest = site.section(TlsOptions).max_version or "1.3"
    proxy = Proxy.parse(options.proxy) if options.proxy else None
    if options.version == "3":
        if site.scheme != "https":
            raise OptionError(key, "is 3, and HTTP/3 needs an https URL")
        if highest < "1.3":
            raise OptionError(key, f"is 3, and HTTP/3 needs TLS 1.3; tls.max_version is {highest}")
        if proxy and not proxy.speaks_http:
            raise OptionError(key, "is 3, and HTTP/3 does not go through a SOCKS proxy")
    if (
        options.version == "2"
        and proxy
        and proxy.speaks_http
        and not _settings(site, options).route(site.url).is_tunnelled
    ):
        raise OptionError(key, "is 2, and an HTTP proxy is asked for http URLs in HTTP/1.1")


def _check_expected_version(site: Site, version: str) -> None:
    expected = dict(site.expect).get("http_version")
    # Negotiation yields 1.0, 1.1 or 2; HTTP/3 is used only if it is set
    possible = {"1.0", "1.1", "2"} if version == "auto" else {version}
    if expected is None or possible & set(expected):
        return
    wanted = " or ".join(expected)
    key = ("expect", "http_version")
    if version == "auto":
        raise OptionError(key, f'is {wanted}, which http.version: "{wanted}" must ask for')
    raise OptionError(key, f"is {wanted}, but http.version asks for {version}")


class HttpProbe:
    """
    Checks HTTP and HTTPS sites; one object for all threads.

    Threads share it without a lock because the engine never runs two checks of a site at once: a
    site's plan belongs to the thread that checks it, and a plan is added or found by one operation
    of the dictionary.
    """

    def __init__(self, handles: Handles | None = None, tokens: Tokens | None = None) -> None:
        self._handles = handles or Handles()
        self._tokens = tokens or Tokens()
        self._plans: WeakKeyDictionary[Site, _Plan] = WeakKeyDictionary()

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Make one request, follow its redirects, and return what happened.

        Raises:
            ProbeError: The monitor's system is at fault, or a file of the site's cannot be read.
        """
        plan = self._plans.get(site)
        if plan is None:
            plan = self._plans[site] = _Plan.of(site)
        if plan.first is None or not plan.repeats:
            return _HttpCheck(site, plan, deadline, self._handles, self._tokens).run()
        plan.repeats = False  # until this answer allows it again
        started = deadline.clock.time()
        handle = repeat(plan.first, deadline, self._handles)
        seen = read(handle, plan.first, plan.settings, started, plan.session)
        if seen is None:
            check = _HttpCheck(site, plan, deadline, self._handles, self._tokens)
            return check.run(started, handle)
        self._handles.give_back(handle, deadline.clock.monotonic())
        plan.repeats = True
        return seen


@dataclass(slots=True)
class _Plan:
    """
    What all checks of a site start from, computed once.

    It changes with each check, and has no lock: the engine never runs two checks of a site at once.

    Attributes:
        answered: Whether the last check had an answer.
        repeats: Whether the next check may repeat the last one; see repeat.py.
        session: The last handshake, if ``repeats`` is set.
        first: The site's request; None if each check builds its own, with a body from a file, a
            token, or the answer to a challenge.
    """

    settings: RequestSettings
    first: Order | None
    answered: bool = False
    repeats: bool = False
    session: TlsSession | None = None

    @classmethod
    def of(cls, site: Site) -> "_Plan":
        options = site.section(HttpOptions)
        settings = _settings(site, options)
        changes = (options.body_file, options.oauth2, options.digest_auth)
        if any(one is not None for one in changes):
            return cls(settings, None)
        return cls(settings, Order.of(_prepared(site, options), settings))


class _HttpCheck:
    """One check from its first request to its observation; lives in one thread."""

    def __init__(
        self, site: Site, plan: _Plan, deadline: Deadline, handles: Handles, tokens: Tokens
    ) -> None:
        self._site = site
        self._options = site.section(HttpOptions)
        self._plan = plan
        self._settings = plan.settings
        self._deadline = deadline
        self._handles = handles
        self._tokens = tokens
        self._adapter = CurlAdapter(handles, plan.settings, deadline, expects_answer=plan.answered)
        self._hops: list[Hop] = []
        self._lacks_token = False
        self._tokens_used: tuple[str, ...] = ()

    def run(
        self, started: Timestamp | None = None, performed: SilentHandle | None = None
    ) -> Observation:
        """
        Make the check.

        Args:
            started: When it began, if not now.
            performed: A silent handle that has already sent the first request.
        """
        clock = self._deadline.clock
        started, begin = clock.time() if started is None else started, clock.monotonic()
        try:
            failure = self._talk(performed)
        except ExchangeFailed as error:
            failure = error.failure
        # Without a token, all of the time went into fetching it, which the exchanges do not show
        waited = clock.monotonic() - begin if self._lacks_token else self._exchanged()
        return self._observation(started, waited, failure)

    def _exchanged(self) -> Seconds:
        return sum(exchange.duration for exchange in self._adapter.exchanges)

    @cached_property
    def _session(self) -> "_Session":
        return _Session(self._adapter)

    def _talk(self, performed: SilentHandle | None) -> Failure | None:
        first = self._plan.first
        if first is not None:
            exchange = self._adapter.exchange(first, performed)
            plain = may_repeat(exchange, first, self._settings)
            self._plan.repeats = plain and self._handles.has_silent
            self._plan.session = exchange.tls
            # Creating a session costs as much as all the rest except libcurl, and few sites
            # redirect
            if not (self._options.follow_redirects and exchange.is_redirect):
                return None
            request = _prepared(self._site, self._options)
            return self._walk(request, self._adapter.response(request, exchange.answer))
        request = _prepared(self._site, self._options)
        client = self._options.oauth2
        if client is None:
            return self._walk(request, self._session.exchange(request))
        grant = self._grant(client)
        if isinstance(grant, Failure):
            return grant
        request.headers["Authorization"] = f"Bearer {grant.token}"
        response = self._session.exchange(request)
        if response.status_code == _UNAUTHORIZED and not grant.fresh:
            # The token may have been revoked early: try with a fresh one
            self._tokens.drop(client, grant.token)
            grant = self._grant(client)
            if isinstance(grant, Failure):
                return grant
            request.headers["Authorization"] = f"Bearer {grant.token}"
            response = self._session.exchange(request)
        return self._walk(request, response)

    def _grant(self, client: OAuth2Options) -> Grant | Failure:
        self._lacks_token = True
        grant = self._tokens.get(client, self._deadline, self._fetch_token)
        self._lacks_token = isinstance(grant, Failure)
        if isinstance(grant, Grant):
            self._tokens_used += grant.forms
            self._site = self._site.with_secrets(grant.forms)
        return grant

    def _fetch_token(self, request: Request) -> Response:
        # Not among this check's exchanges: the token server's time is not the site's
        settings = replace(
            self._settings,
            origin=None,
            version="auto",
            max_body=_TOKEN_BODY,
            keep_body=_TOKEN_BODY,
            follow_redirects=False,
            reads_body=True,
            head_only=False,
        )
        session = _Session(CurlAdapter(self._handles, settings, self._deadline))
        request.headers["User-Agent"] = sent_user_agent(
            self._options.headers, self._options.user_agent
        )
        try:
            return session.exchange(session.prepare_request(request))
        except ExchangeFailed as error:
            message = f"no token: {error.failure.message}"
            raise ExchangeFailed(Failure(error.failure.reason, message)) from error

    def _walk(self, request: PreparedRequest, response: Response) -> Failure | None:
        """Follow the redirects; the adapter's last exchange is the final answer."""
        while self._options.follow_redirects and self._adapter.exchanges[-1].is_redirect:
            try:
                following = self._session.following(request, response)
            except ValueError:
                place = self._shown(header_text(response.headers["location"]))
                return Failure(Reason.PROTOCOL_ERROR, f"redirect to {place!r}, which is not a URL")
            refusal = self._refusal(request, following)
            if refusal:
                return refusal
            self._hops.append(_hop(self._adapter.exchanges[-1]))
            _leave_secrets(request, following, self._site)
            request, response = following, self._session.exchange(following)
        return None

    def _refusal(self, request: PreparedRequest, following: PreparedRequest) -> Failure | None:
        """Return why a redirect must not be followed, or None."""
        url = following.url or ""
        shown = self._shown(sent_url(url))
        if urlsplit(url).scheme not in ("http", "https"):
            return Failure(Reason.REDIRECT_UNSAFE, f"redirect to {shown!r}, neither http nor https")
        why = forbidden(self._settings.network, urlsplit(url).hostname or "")
        if why:
            return Failure(Reason.REDIRECT_UNSAFE, f"redirect to where it may not lead: {why}")
        most = self._options.max_redirects
        if len(self._hops) >= most:
            message = f"more than {most} redirects, the last one to {shown}"
            return Failure(Reason.REDIRECT_LIMIT, message)
        if following.body and _leaves(request, following):
            body = following.body
            text = body if isinstance(body, str) else body.decode(errors="replace")
            if self._site.redact(text) != text:
                message = f"redirect to {shown} would take a secret there"
                return Failure(Reason.REDIRECT_UNSAFE, message)
        return None

    def _shown(self, place: str) -> str:
        # Masked before it is truncated: otherwise half a secret could remain at the end
        return self._site.redact(place)[:_LONGEST_PLACE]

    def _observation(
        self, started: Timestamp, duration: Seconds, failure: Failure | None
    ) -> Observation:
        exchanges = self._adapter.exchanges
        last = exchanges[-1] if exchanges else None
        if last and failure is None:
            failure = self._fault(last)
        answer = last.answer if last else None
        self._plan.answered = bool(answer and answer.status)
        if answer and self._hops:
            answer = replace(answer, redirects=tuple(self._hops))
        return Observation(
            time=started,
            duration=duration,
            phases=last.phases if last and len(exchanges) == 1 else _together(exchanges),
            address=last.address if last else None,
            failure=failure,
            answer=answer if answer and answer.status else None,
            tls=last.tls if last else None,
            secrets=self._tokens_used,
            redirects=len(self._hops),
        )

    def _fault(self, last: Exchange) -> Failure | None:
        """Return what is wrong with a complete answer, apart from expectations."""
        answer = last.answer
        wanted = self._options.version
        if wanted not in ("auto", answer.version):
            message = f"answered in HTTP/{answer.version}, not in HTTP/{wanted}"
            return Failure(Reason.HTTP_VERSION, message)
        if last.ends_open and self._settings.reads_body and self._options.require_close_notify:
            return Failure(
                Reason.CONNECTION_LOST,
                f"{urlsplit(answer.url).netloc} closed the connection without TLS's close_notify, "
                f"so the {answer.body_size} bytes of the body may not be all; if it always does, "
                "set http.require_close_notify: false",
            )
        limit = self._options.max_body
        if answer.truncated and (self._site.reads_body or limit is not None):
            message = f"the body is longer than {show_size(self._settings.max_body)}"
            return Failure(Reason.BODY_TOO_LARGE, message)
        return None


class _Session(Session):
    """A session of one check: its own cookies, one adapter, nothing from the environment."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self.trust_env = False
        self.headers.clear()
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def exchange(self, request: PreparedRequest) -> Response:
        """Send one request, and more if authentication needs them, but follow no redirect."""
        return self.send(request, proxies={}, stream=True, allow_redirects=False)

    def resolve_redirects(self, *_args: Any, **_kwargs: Any) -> Iterator[Any]:
        # send() would build the next request at once, and raise for a Location that is not a URL
        return iter(())

    def following(self, request: PreparedRequest, response: Response) -> PreparedRequest:
        """
        Return the request that a redirect leads to.

        Raises:
            ValueError: Its Location is not a URL.
        """
        following: PreparedRequest = next(
            super().resolve_redirects(response, request, yield_requests=True)
        )
        return following

    def rebuild_method(self, prepared_request: PreparedRequest, response: Response) -> None:
        """Let 301 change the method as 302 does, because requests drops the body after both."""
        super().rebuild_method(prepared_request, response)
        if response.status_code == _MOVED and prepared_request.method not in ("GET", "HEAD"):
            prepared_request.method = "GET"

    def get_redirect_target(self, response: Response) -> str:
        """Return the Location, absolute and encoded; its host may contain letters beyond ASCII."""
        text = urljoin(response.url, header_text(response.headers["location"]))
        if urlsplit(text).scheme in ("http", "https"):
            origin_of(text)  # requests would treat port 0 as missing
            prepared = PreparedRequest()
            prepared.prepare_url(escape_percents(text), None)
            text = sent_url(prepared.url or "")
        return text


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _prepared(site: Site, options: HttpOptions) -> PreparedRequest:
    """
    Return the site's request.

    Step by step, because ``Session.prepare_request`` would merge settings of the session, which our
    sessions do not have.

    Raises:
        ProbeError: A file of the site's cannot be read.
    """
    request = PreparedRequest()
    request.prepare_method(options.method)
    request.prepare_url(escape_percents(site.url), None)
    request.prepare_headers({"User-Agent": options.user_agent, "Accept": "*/*"})
    request.headers.update(options.headers)
    request.prepare_cookies(RequestsCookieJar(_OF_ONE_HOST))
    request.body = _body(options)
    request.prepare_hooks(None)
    request.prepare_auth(_authentication(options) or login_in(site.url), site.url)
    return request


def _authentication(options: HttpOptions) -> AuthBase | None:
    if options.basic_auth:
        # As bytes, because requests encodes text as Latin-1
        return HTTPBasicAuth(*_encoded(options.basic_auth))
    if options.digest_auth:
        return DigestAuth(options.digest_auth.username, options.digest_auth.password)
    if options.bearer_token is not None:
        return _Bearer(options.bearer_token)
    return None


def _encoded(credentials: Credentials) -> tuple[bytes, bytes]:
    return credentials.username.encode(), credentials.password.encode()


def _body(options: HttpOptions) -> bytes | None:
    if options.body_file is not None:
        try:
            return Path(options.body_file).read_bytes()
        except OSError as error:
            message = f"cannot read body_file {options.body_file}: {error.strerror}"
            raise ProbeError(message) from error
    return options.body.encode() if options.body is not None else None


def _settings(site: Site, options: HttpOptions) -> RequestSettings:
    limit = _DEFAULT_MAX_BODY if options.max_body is None else options.max_body
    _, host, port = origin_of(site.url)
    return RequestSettings(
        tls=site.section(TlsOptions),
        network=site.section(NetworkOptions),
        proxy=Proxy.parse(options.proxy) if options.proxy else None,
        origin=(host, port),
        version=options.version,
        compression=options.compression,
        max_body=limit,
        keep_body=limit if site.reads_body else min(limit, _EVIDENCE),
        follow_redirects=options.follow_redirects,
        reads_body=site.reads_body or options.max_body is not None,
        head_only=options.read == "head",
    )


def _leaves(request: PreparedRequest, following: PreparedRequest) -> bool:
    return urlsplit(request.url or "").hostname != urlsplit(following.url or "").hostname


def _leave_secrets(request: PreparedRequest, following: PreparedRequest, site: Site) -> None:
    """
    Keep secrets for one host from another host.

    requests has already dropped Authorization (also for another port or scheme), and has chosen the
    cookies for the new URL.
    """
    if not _leaves(request, following):
        # requests replaces the site's own Cookie header with its jar's; both are needed here
        headers = site.section(HttpOptions).headers.items()
        own = [value for name, value in headers if name.lower() == "cookie"]
        cookies = [*own, following.headers.get("Cookie")]
        if own:
            following.headers["Cookie"] = "; ".join(filter(None, cookies))
        return
    following.hooks = default_hooks()  # digest authentication answers challenges with a hook
    for name, value in list(following.headers.items()):
        if name.lower() in ("host", "authorization") or site.redact(value) != value:
            del following.headers[name]


def _together(exchanges: Iterable[Exchange]) -> Mapping[Phase, Seconds]:
    """Return how long each phase took, summed over all exchanges."""
    phases: dict[Phase, Seconds] = {}
    for exchange in exchanges:
        for phase, seconds in exchange.phases.items():
            phases[phase] = phases.get(phase, 0.0) + seconds
    return phases


def _hop(exchange: Exchange) -> Hop:
    answer = exchange.answer
    return Hop(url=answer.url, status=answer.status, address=exchange.address, tls=exchange.tls)
