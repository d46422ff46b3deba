"""The session's rules without a socket: where redirects lead, and what is sent along."""

import pytest
import responses
from requests.adapters import HTTPAdapter
from responses import RequestsMock

from monitor.model import Failure, Reason, Site
from monitor.outbound import Credentials, NetworkOptions, TlsOptions
from monitor.probes import http
from monitor.probes.answer import is_redirect
from monitor.probes.http import HttpOptions
from monitor.probes.transport import ExchangeFailed

START = "http://shop.example/a/b?x=1"


@pytest.fixture
def web():
    with RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def sent(url: str = START, *, secrets: tuple[str, ...] = (), **options):
    """Return the requests of a check: the first, and those of its redirects."""
    chosen = HttpOptions(**options)
    site = Site(
        name="x",
        url=url,
        target=url,
        scheme=url.partition(":")[0],
        options=(chosen, TlsOptions(), NetworkOptions()),
        secrets=secrets,
    )
    # Private, because the public function returns an answer, not the requests that led to it
    session = http._Session(HTTPAdapter())
    request = http._prepared(site, chosen)
    response = session.exchange(request)
    found = [request]
    while is_redirect(response.status_code, tuple(response.headers.items())):
        following = session.following(request, response)
        http._leave_secrets(request, following, site)
        request, response = following, session.exchange(following)
        found.append(request)
    return found


def redirects(web, *places: str, status: int = 302, method: str = "GET", cookies=()) -> None:
    """Make each place redirect to the next; the last one answers."""
    urls = [START, *places]
    for number, (url, location) in enumerate(zip(urls, [*places, None], strict=True)):
        headers = [("Set-Cookie", one) for one in cookies] if not number else []
        if location is None:
            for kind in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"):
                web.add(kind, url, status=200, headers=headers)
        else:
            headers.append(("Location", location))
            web.add(method, url, status=status, headers=headers)


# ---------------------------------------------------------------- where they lead


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/c", "http://shop.example/c"),
        ("c", "http://shop.example/a/c"),
        ("../c", "http://shop.example/c"),
        ("?y=2", "http://shop.example/a/b?y=2"),
        ("//other.example/c", "http://other.example/c"),
        ("https://shop.example/c", "https://shop.example/c"),
        ("HTTP://Other.example/c", "http://other.example/c"),
        ("http://other.example", "http://other.example/"),
        ("http://other.example:8080/c", "http://other.example:8080/c"),
        ("http://u:p@other.example/c", "http://other.example/c"),
        ("/c d", "http://shop.example/c%20d"),
        ("/c%20d", "http://shop.example/c%20d"),
        ("/é", "http://shop.example/%C3%A9"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("/c#part", "http://shop.example/c"),
    ],
)
def test_a_location_is_resolved(web, location, url):
    """A Location is relative to its URL, encoded, without credentials (RFC 9110, 10.2.2)."""
    # A header is bytes, which http.client hands on as Latin-1
    header = location.encode().decode("latin-1")
    web.get(START, status=302, headers={"Location": header})
    web.get(url)
    assert [one.url for one in sent()] == [START, url]


@pytest.mark.parametrize("status", [200, 201, 204, 300, 304, 305, 306, 400, 401, 404, 503])
def test_what_is_no_redirect(web, status):
    """A Location beside any other status is only a header of the answer."""
    web.get(START, status=status, headers={"Location": "/c"})
    assert len(sent()) == 1


@pytest.mark.parametrize(
    ("status", "method", "following"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (302, "PUT", "GET"),
        (303, "PUT", "GET"),
        (307, "PUT", "PUT"),
        (308, "DELETE", "DELETE"),
        (301, "PUT", "GET"),
        (301, "DELETE", "GET"),
        (307, "PATCH", "PATCH"),
        (301, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
        (303, "HEAD", "HEAD"),
        (303, "GET", "GET"),
    ],
)
def test_the_method_that_follows(web, status, method, following):
    """301 to 303 become GET or HEAD without the body; 307 and 308 repeat the request."""
    redirects(web, "http://shop.example/c", status=status, method=method)
    body = "ping" if method in ("POST", "PUT", "DELETE") else None
    _, second = sent(method=method, body=body)
    assert second.method == following
    kept = following == method or status in (307, 308)
    assert bool(second.body) is bool(body and kept)
    assert ("Content-Length" in second.headers) <= bool(second.body)


# ---------------------------------------------------------------- what goes along


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("http://shop.example/c", True),
        ("http://shop.example:80/c", True),
        ("http://SHOP.example/c", True),
        ("http://shop.example:8080/c", False),
        ("http://other.example/c", False),
        ("http://www.shop.example/c", False),
        ("http://shop.example.evil.example/c", False),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {"basic_auth": Credentials(username="u", password="pass-word")},
        {"bearer_token": "t0ken-t0ken"},
        {"headers": {"Authorization": "Custom abc"}},
    ],
    ids=["basic", "bearer", "header"],
)
def test_credentials_stay_with_their_host(web, place, kept, options):
    """Another host, or another port of the same host, gets no Authorization."""
    redirects(web, place)
    first, second = sent(**options)
    assert "Authorization" in first.headers
    assert ("Authorization" in second.headers) is kept


def test_credentials_go_from_http_to_https_of_one_host(web):
    """A redirect from http to https of the same host, on default ports, keeps the credentials."""
    redirects(web, "https://shop.example/c")
    _, second = sent(bearer_token="t0ken-t0ken")
    assert second.headers["Authorization"] == "Bearer t0ken-t0ken"


def test_credentials_that_were_left_do_not_come_back(web):
    """A redirect back to the original host does not restore the credentials."""
    redirects(web, "http://other.example/c", "http://shop.example/d")
    assert ["Authorization" in one.headers for one in sent(bearer_token="t0ken-t0ken")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("place", "kept"),
    [("http://shop.example/c", True), ("http://other.example/c", False)],
)
def test_headers_that_hold_secrets_stay_too(web, place, kept):
    """Headers that hold a secret stay, whatever their name; others, and Accept, go everywhere."""
    redirects(web, place)
    headers = {"X-Key": "k3y-k3y", "X-Team": "web", "Accept": "application/json"}
    _, second = sent(headers=headers, secrets=("k3y-k3y",))
    assert ("X-Key" in second.headers) is kept
    assert second.headers["X-Team"] == "web"
    assert second.headers["Accept"] == "application/json"


def test_the_host_header_stays_with_its_host(web):
    """A site's own Host header is not sent to other hosts."""
    redirects(web, "http://other.example/c")
    first, second = sent(headers={"Host": "inner.example"})
    assert first.headers["Host"] == "inner.example"
    assert "Host" not in second.headers


# ---------------------------------------------------------------- cookies


@pytest.mark.parametrize(
    ("cookie", "place", "header"),
    [
        ("a=1", "http://shop.example/c", "a=1"),
        ("a=1", "http://shop.example:8080/c", "a=1"),
        ("a=1", "http://other.example/c", None),
        ("a=1", "http://www.shop.example/c", None),
        ("a=1; Domain=shop.example", "http://www.shop.example/c", "a=1"),
        ("a=1; Domain=.shop.example", "http://shop.example/c", "a=1"),
        ("a=1; Domain=other.example", "http://other.example/c", None),
        ("a=1; Domain=example", "http://other.example/c", None),
        ("a=1; Path=/c", "http://shop.example/c/d", "a=1"),
        ("a=1; Path=/c", "http://shop.example/cd", None),
        ("a=1; Path=/d", "http://shop.example/c", None),
        ("a=1; Secure", "https://shop.example/c", "a=1"),
        ("a=1; Secure", "http://shop.example/c", None),
        ("a=1; Max-Age=0", "http://shop.example/c", None),
        ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://shop.example/c", None),
        ("a=1; HttpOnly; SameSite=Strict", "http://shop.example/c", "a=1"),
        ("a=", "http://shop.example/c", "a="),
        ("a=b=c", "http://shop.example/c", "a=b=c"),
    ],
)
def test_a_cookie_goes_where_it_is_meant_for(web, cookie, place, header):
    """A cookie is sent by host, path, scheme and age (RFC 6265, 5.4)."""
    redirects(web, place, cookies=[f"{cookie}; Path=/" if "Path" not in cookie else cookie])
    _, second = sent()
    assert second.headers.get("Cookie") == header


def test_cookies_of_the_list_go_beside_those_of_the_server(web):
    """All cookies go in one line, the site's own first."""
    redirects(web, "http://shop.example/c", cookies=["a=1; Path=/", "b=2; Path=/"])
    first, second = sent(headers={"Cookie": "own=0"})
    assert first.headers["Cookie"] == "own=0"
    assert second.headers["Cookie"] == "own=0; a=1; b=2"


# ---------------------------------------------------------------- Digest


def challenge(*lines: str) -> list[tuple[str, str]]:
    return [("WWW-Authenticate", line) for line in lines]


@pytest.mark.parametrize(
    ("lines", "algorithm"),
    [
        (['Digest realm="r", nonce="n"'], None),
        (['Digest realm="r", nonce="n", algorithm=MD5'], "MD5"),
        (['Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="auth"'], "SHA-512-256"),
        (
            [
                'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"',
                'Digest realm="r", nonce="m", algorithm=MD5, qop="auth"',
            ],
            "SHA-256",
        ),
        (
            [
                'Digest realm="r", nonce="m", algorithm=MYSTERY, qop="auth"',
                'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"',
            ],
            "MD5",
        ),
        (['Basic realm="r"', 'Digest realm="r", nonce="n", algorithm=SHA-256'], "SHA-256"),
        (['Negotiate, Digest realm="r", nonce="n", algorithm=MD5, Basic realm="x"'], "MD5"),
    ],
)
def test_the_first_challenge_that_is_known_is_answered(web, lines, algorithm):
    """The adapter answers once, with the parameters of that challenge alone (RFC 7616, 3.7)."""
    web.get(START, status=401, headers=challenge(*lines))
    web.get(START, status=200)
    sent(digest_auth=Credentials(username="u", password="p"))
    first, second = web.calls
    assert "Authorization" not in first.request.headers
    answer = second.request.headers["Authorization"].decode()
    assert answer.startswith("Digest ")
    assert 'nonce="n"' in answer
    assert (f"algorithm={algorithm}" in answer) if algorithm else ("algorithm" not in answer)


def test_a_second_refusal_is_the_answer(web):
    """After a second 401 no further request is sent."""
    web.get(START, status=401, headers=challenge('Digest realm="r", nonce="n"'))
    sent(digest_auth=Credentials(username="u", password="p"))
    assert len(web.calls) == 2


def test_challenges_of_other_schemes_are_not_answered(web):
    """A password for Digest is not sent as Basic."""
    web.get(START, status=401, headers=challenge('Basic realm="r"'))
    sent(digest_auth=Credentials(username="u", password="p"))
    assert len(web.calls) == 1


def test_a_challenge_that_nobody_knows_is_a_failure(web):
    """The failure names the algorithm."""
    web.get(START, status=401, headers=challenge('Digest realm="r", nonce="n", algorithm=MYSTERY'))
    with pytest.raises(ExchangeFailed) as caught:
        sent(digest_auth=Credentials(username="u", password="p"))
    failure: Failure = caught.value.failure
    assert failure.reason is not Reason.STATUS
    assert "MYSTERY" in failure.message


def test_where_a_redirect_leads_nobody_is_told_the_password(web):
    """Another host's challenge stays unanswered; the challenge of the site's own host does not."""
    web.get(START, status=302, headers={"Location": "http://other.example/c"})
    web.get("http://other.example/c", status=401, headers=challenge('Digest realm="r", nonce="n"'))
    sent(digest_auth=Credentials(username="u", password="p"))
    assert [call.request.url for call in web.calls] == [START, "http://other.example/c"]
    web.reset()
    web.add(responses.GET, START, status=302, headers={"Location": "/c"})
    web.get("http://shop.example/c", status=401, headers=challenge('Digest realm="r", nonce="n"'))
    web.get("http://shop.example/c", status=200)
    sent(digest_auth=Credentials(username="u", password="p"))
    assert len(web.calls) == 3
