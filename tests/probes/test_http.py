"""What the HTTP probe asks for, how it logs in, where redirects lead; real sockets, loopback."""

import base64
import gc
import json
import re
import socket
import threading

import pytest

from monitor import __version__
from monitor.clock import Deadline, SystemClock
from monitor.engine.result import judged
from monitor.errors import ProbeError
from monitor.mailbox import Mailbox
from monitor.model import Analysis, Failure, HttpAnswer, Observation, Reason, Site, Verdict
from monitor.outbound import Credentials, NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions, HttpProbe, check_url
from monitor.probes.libcurl.transfer import Transfer
from monitor.probes.oauth import OAuth2Options
from monitor.probes.observe import Observer
from monitor.probes.registry import PROBES, build_probes
from monitor.protocols.facets import facet_of
from tests.narrowing import answer_of, known
from tests.probes.servers import Connection, answer, read_request, reset, stay_silent
from tests.probes.talk import site_of
from tests.waiting import free_port


def redirect(location: str, status: str = "302 Found", headers=()):
    return answer(b"", status, [("Location", location), *headers])


def head(request: bytes) -> dict[str, str]:
    """Return a request's headers by lower-case name, with its first line under the empty name."""
    first, *lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return {"": first} | {name.lower(): value.strip() for name, _, value in pairs}


def body(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


# ---------------------------------------------------------------- the request


def test_a_plain_check_asks_for_little(serve, check):
    """A check of a bare URL is a GET with only the headers that it needs."""
    server = serve(answer(b"hello"))
    seen = check(server.url("/a?b=c#d"))
    assert head(server.requests[0]) == {
        "": "GET /a?b=c HTTP/1.1",
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"website-monitor/{__version__}",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate, br",
    }
    assert seen.failure is None
    assert seen.answer == HttpAnswer(
        status=200,
        version="1.1",
        headers=(("Content-Length", "5"), ("Connection", "close")),
        body=b"hello",
        body_size=5,
        content_length=5,
        url=server.url("/a?b=c"),
    )


def test_method_headers_and_body_are_the_sites(serve, check, tmp_path):
    """The method, headers and body in a site's options are sent as written, in UTF-8."""
    server = serve(answer())
    headers = {"Accept": "application/json", "X-Empty": "", "X-Umlaut": "ü"}
    options = HttpOptions(method="POST", headers=headers, body='{"ü": 1}', user_agent="me")
    check(server.url(), http=options)
    sent = head(server.requests[0])
    assert sent[""] == "POST / HTTP/1.1"
    assert (sent["accept"], sent["x-empty"], sent["user-agent"]) == ("application/json", "", "me")
    assert sent["x-umlaut"].encode("latin-1").decode() == "ü"
    assert "content-type" not in sent
    assert body(server.requests[0]) == '{"ü": 1}'.encode()

    file = tmp_path / "body"
    file.write_bytes(b"\0\1\2")
    check(server.url(), http=HttpOptions(method="PUT", body_file=str(file)))
    assert body(server.requests[1]) == b"\0\1\2"
    file.unlink()
    with pytest.raises(ProbeError, match="cannot read body_file"):
        check(server.url(), http=HttpOptions(method="PUT", body_file=str(file)))


def test_sites_that_share_a_handle_share_no_request(serve, handles):
    """A handle keeps its options only for a check that has the same ones."""
    server = serve(answer())
    sites = {
        "GET / HTTP/1.1": site_of(server.url()),
        "POST / HTTP/1.1": site_of(server.url(), http={"method": "POST", "body": "x"}),
        "DELETE / HTTP/1.1": site_of(server.url(), http={"method": "DELETE"}),
    }
    observe = Observer({"http": HttpProbe(handles)}, SystemClock())
    expected = [line for _ in range(2) for line in sites for _ in range(4)]
    for line in expected:
        assert observe(sites[line]).failure is None
    assert [head(request)[""] for request in server.requests] == expected
    assert [body(request) for request in server.requests] == [
        b"x" if line.startswith("POST") else b"" for line in expected
    ]


def test_a_handle_that_lies_idle_keeps_no_answer(serve, handles):
    """Once a check is over, an idle handle keeps nothing of what it received."""
    server = serve(answer(b"hello"))
    observe = Observer({"http": HttpProbe(handles)}, SystemClock())
    site = site_of(server.url())
    for _ in range(3):
        observe(site)
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Transfer)]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "POST", "PURGE"])
def test_any_method_works_without_a_body(serve, check, method):
    """A method needs no body, and HEAD waits for none."""
    server = serve([read_request, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"])
    seen = check(server.url(), http=HttpOptions(method=method))
    assert seen.failure is None
    assert head(server.requests[0])[""] == f"{method} / HTTP/1.1"
    assert seen.answer.body_size == (0 if method == "HEAD" else 5)


def test_the_path_is_sent_as_it_was_prepared(serve, check):
    """Spaces and non-ASCII letters are encoded; what is already encoded stays as it is."""
    server = serve(answer())
    check(server.url("/ä b/%2F/c"))
    assert head(server.requests[0])[""] == "GET /%C3%A4%20b/%2F/c HTTP/1.1"


def test_the_environment_has_no_effect(serve, check, monkeypatch, tmp_path):
    """Proxies and .netrc of the environment do not change the request."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    for name, value in {
        "http_proxy": "http://127.0.0.1:1",
        "all_proxy": "http://127.0.0.1:1",
        "HOME": str(tmp_path),
        "NETRC": str(netrc),
        "REQUESTS_CA_BUNDLE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    server = serve(answer())
    assert check(server.url()).failure is None
    assert "authorization" not in head(server.requests[0])


@pytest.mark.parametrize("sent", ["Zürich".encode(), "Zürich".encode("latin-1")])
def test_a_header_is_shown_as_it_was_meant(serve, check, sent):
    """Values are UTF-8 or else Latin-1, as servers send them; stored ones stay readable."""
    server = serve([read_request, b"HTTP/1.1 204 No\r\nX-City: " + sent + b"\r\n\r\n"])
    seen = check(server.url())
    facet = facet_of(seen.answer)
    assert ["X-City", "Zürich"] in facet.json(seen.answer, ())["headers"]
    kept = facet.kept(seen.answer, site_of(server.url()))
    assert ("X-City", "Zürich") in list(facet.rows(kept))


def test_a_check_keeps_no_cookies_for_the_next(serve, check):
    """Cookies last for one check only."""
    server = serve(answer(headers=[("Set-Cookie", "a=1")]))
    check(server.url())
    check(server.url())
    assert "cookie" not in head(server.requests[1])


# ---------------------------------------------------------------- logging in


def test_basic_and_bearer_and_url_credentials(serve, check):
    """Each way to log in with a single header sends it with the first request."""
    server = serve(answer())
    check(server.url(), http=HttpOptions(basic_auth=Credentials(username="u", password="pä")))
    check(server.url(), http=HttpOptions(bearer_token="t0ken"))
    seen = check(server.url().replace("http://", "http://me:pw@"))
    sent = [head(request)["authorization"] for request in server.requests]
    assert sent == [_basic("u:pä"), "Bearer t0ken", _basic("me:pw")]
    assert seen.answer.url == server.url()


def _basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


CHALLENGE = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'


def test_digest_answers_the_challenge(serve, check):
    """Digest authentication sends two requests, and the password is in neither of them."""
    asked = answer(b"", "401 Unauthorized", [("WWW-Authenticate", CHALLENGE)])
    server = serve(lambda number: answer() if number else asked)
    options = HttpOptions(digest_auth=Credentials(username="u", password="pass"))
    seen = check(server.url(), http=options)
    assert (seen.failure, seen.answer.status, seen.answer.redirects) == (None, 200, ())
    assert head(server.requests[1])["authorization"].startswith('Digest username="u", realm="r"')
    assert all(b"pass" not in request for request in server.requests)


@pytest.mark.parametrize("challenge", ["Digest", 'Digest qop="auth"', "Digest realm", "Basic", ""])
def test_a_broken_challenge_leaves_the_401(serve, check, challenge):
    """A digest challenge that cannot be answered leaves the 401 as the final answer."""
    server = serve(answer(b"", "401 Unauthorized", [("WWW-Authenticate", challenge)]))
    options = HttpOptions(digest_auth=Credentials(username="u", password="pass"))
    seen = check(server.url(), http=options)
    assert (seen.failure, seen.answer.status) == (None, 401)


@pytest.mark.parametrize("domain", ["localhost", ".LocalHost"])
def test_a_host_without_a_dot_sets_cookies_for_itself(serve, check, domain):
    """Hosts without a dot are common in intranets, and browsers accept a Domain that names them."""
    cookie = [("Set-Cookie", f"sid=1; Path=/; Domain={domain}; HttpOnly"), ("Location", "/in")]
    server = serve(lambda number: answer() if number else answer(b"", "302 Found", cookie))
    seen = check(server.url(host="localhost"))
    assert (seen.failure, len(seen.answer.redirects)) == (None, 1)
    assert head(server.requests[1])["cookie"] == "sid=1"


def test_a_cookie_for_another_host_is_not_taken(serve, check):
    """A host without a dot cannot set cookies for another one."""
    cookie = [("Set-Cookie", "sid=1; Domain=intranet"), ("Location", "/in")]
    server = serve(lambda number: answer() if number else answer(b"", "302 Found", cookie))
    assert check(server.url(host="localhost")).failure is None
    assert "cookie" not in head(server.requests[1])


@pytest.mark.parametrize(
    "attributes",
    ["Max-Age=1.5", "Max-Age=", "Max-Age", "Domain=", "Domain", "Path=", "Path", "Path=in",
     "Version=one", 'Port="1"', "Expires=0", "Expires", "SameSite", "Partitioned; Priority=High"],
)  # fmt: skip
def test_an_attribute_that_browsers_ignore_costs_no_cookie(serve, check, attributes):
    """An attribute with an impossible value is ignored, and its cookie is kept (RFC 6265, 5.2)."""
    cookie = [("Set-Cookie", f"sid=1; {attributes}"), ("Location", "/in")]
    server = serve(lambda number: answer() if number else answer(b"", "302 Found", cookie))
    assert check(server.url()).failure is None
    assert head(server.requests[1])["cookie"] == "sid=1"


@pytest.mark.parametrize(
    "attributes", ["Max-Age=0", "max-age = -1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
)
def test_a_cookie_that_is_over_is_not_sent(serve, check, attributes):
    """A cookie that a server deletes by setting it as expired is no longer sent."""
    cookie = [("Set-Cookie", f"sid=1; Path=/; {attributes}"), ("Location", "/in")]
    server = serve(lambda number: answer() if number else answer(b"", "302 Found", cookie))
    assert check(server.url()).failure is None
    assert "cookie" not in head(server.requests[1])


@pytest.mark.parametrize(
    ("userinfo", "sent"),
    [("sk_test_1", "sk_test_1:"), ("sk_test_1:", "sk_test_1:"), (":pw", ":pw"),
     ("%E2%82%AC:p%c3%a4%", "€:pä%")],
)  # fmt: skip
def test_a_login_in_the_url_is_sent_as_curl_sends_it(serve, check, userinfo, sent):
    """A token may be alone before the @, and user and password may have any characters."""
    server = serve(answer())
    assert check(server.url().replace("//", f"//{userinfo}@")).failure is None
    login = head(server.requests[0])["authorization"].removeprefix("Basic ")
    assert base64.b64decode(login).decode() == sent


@pytest.mark.parametrize(
    ("path", "sent"),
    [("/a?off=100%&q=a%20b%E9", "/a?off=100%25&q=a%20b%E9"), ("/50%/%2F", "/50%25/%2F")],
)
def test_a_percent_sign_costs_no_escape_beside_it(serve, check, path, sent):
    """A lone % is escaped, and what is already an escape is sent as it is."""
    server = serve(answer())
    assert check(server.url(path)).failure is None
    assert head(server.requests[0])[""] == f"GET {sent} HTTP/1.1"


# ---------------------------------------------------------------- redirects


def test_an_empty_location_leads_nowhere(serve, check):
    """An answer with an empty Location is final and has its body, as in curl, Go and browsers."""
    server = serve(answer(b"moved", "302 Found", [("Location", "")]))
    seen = check(server.url())
    assert (seen.failure, seen.answer.status, seen.answer.body) == (None, 302, b"moved")
    assert len(server.requests) == 1


def test_an_empty_location_hides_no_other(serve, check):
    """Of several Location lines, the first one that is not empty is followed, as in curl."""
    final = serve(answer(b"end"))
    first = serve(answer(b"moved", "302 Found", [("Location", ""), ("location", final.url("/a"))]))
    seen = check(first.url())
    assert (seen.failure, seen.answer.status, seen.answer.url) == (None, 200, final.url("/a"))
    assert [hop.status for hop in seen.answer.redirects] == [302]


def test_redirects_are_followed_and_listed(serve, check):
    """Every hop that was followed is listed, and the answer is that of the last one."""
    final = serve(answer(b"end"))
    middle = serve(redirect(final.url("/end")))
    first = serve(redirect(middle.url("/middle"), "301 Moved Permanently"))
    seen = check(first.url())
    assert seen.failure is None
    assert (seen.answer.status, seen.answer.url) == (200, final.url("/end"))
    hops = [(hop.status, hop.url, hop.address) for hop in seen.answer.redirects]
    assert hops == [(301, first.url(), "127.0.0.1"), (302, middle.url("/middle"), "127.0.0.1")]


def test_a_redirect_that_leads_nowhere_was_followed(serve, check):
    """The number of redirects followed is reported even if the last one gave no answer."""
    seen = check(serve(redirect(f"http://127.0.0.1:{free_port()}/")).url())
    assert (seen.failure.reason, seen.answer, seen.redirects) == (
        *(Reason.CONNECT_REFUSED, None),
        1,
    )


def test_redirects_can_be_left_alone(serve, check):
    """With follow_redirects: false, a redirect is the answer, even one that leads nowhere."""
    for location in ("http://127.0.0.1:1/", "http://[broken", "file:///etc/passwd"):
        seen = check(serve(redirect(location)).url(), http=HttpOptions(follow_redirects=False))
        assert (seen.failure, seen.answer.status) == (None, 302)


def test_a_redirect_without_a_location_is_an_answer(serve, check):
    """A 302 without a Location is the final answer."""
    seen = check(serve(answer(b"hm", "302 Found")).url())
    assert (seen.failure, seen.answer.status, seen.answer.body) == (None, 302, b"hm")


@pytest.mark.parametrize("location", ["ftp://x/{}", "http://[{}", "/{}"])
def test_a_place_is_cut_once_its_secrets_are_masked(serve, check, location):
    """A message is cut only after secrets are masked, so it never ends in half a secret."""
    place = location.format("x" * 170 + "s3cret-\u00e9t" * 9)
    server = serve(redirect(place))
    secret, quoted = "s3cret-\u00e9t" * 9, "s3cret-%C3%A9t" * 9
    seen = check(server.url(), http=HttpOptions(max_redirects=0), secrets=(quoted, secret))
    assert "s3cr" not in seen.failure.message


def test_a_loop_ends_at_the_limit(serve, check):
    """A redirect loop ends at max_redirects, and the last hop is the answer."""
    server = serve(redirect("/again"))
    seen = check(server.url(), http=HttpOptions(max_redirects=3))
    assert seen.failure == Failure(
        Reason.REDIRECT_LIMIT, f"more than 3 redirects, the last one to {server.url('/again')}"
    )
    assert len(server.requests) == 4
    assert (seen.answer.status, len(seen.answer.redirects)) == (302, 3)


def test_the_limit_itself_is_allowed(serve, check):
    """Exactly as many redirects as the limit are followed."""
    server = serve(lambda number: answer() if number == 2 else redirect("/again"))
    assert check(server.url(), http=HttpOptions(max_redirects=2)).failure is None


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://127.0.0.1/", "javascript:alert(1)", "data:,x"]
)
def test_a_redirect_to_another_kind_of_url_is_unsafe(serve, check, location):
    """Only redirects to http and https are followed."""
    seen = check(serve(redirect(location)).url())
    assert seen.failure.reason is Reason.REDIRECT_UNSAFE
    assert location in seen.failure.message


@pytest.mark.parametrize(
    "location",
    ["http://[::1", "http://a:b/", "http://127.0.0.1:99999/", "http://*/", "http://127.0.0.1:0/"],
)
def test_a_redirect_to_no_url_is_a_protocol_error(serve, check, location):
    """The message quotes a Location that is not a URL."""
    seen = check(serve(redirect(location)).url())
    assert seen.failure == Failure(
        Reason.PROTOCOL_ERROR, f"redirect to {location!r}, which is not a URL"
    )


@pytest.mark.parametrize(
    ("location", "first_line"),
    [
        ("end", "GET /dir/end HTTP/1.1"),
        ("../end?a=b", "GET /end?a=b HTTP/1.1"),
        ("?a=b", "GET /dir/start?a=b HTTP/1.1"),
        ("//{host}/end", "GET /end HTTP/1.1"),
        ("/end#part", "GET /end HTTP/1.1"),
        ("/a b/ä", "GET /a%20b/%C3%A4 HTTP/1.1"),
        ("/?off=100%&q=a%20b", "GET /?off=100%25&q=a%20b HTTP/1.1"),
        ("/%0d%0aX-Injected:%201", "GET /%0D%0AX-Injected:%201 HTTP/1.1"),
    ],
)
def test_locations_are_resolved_and_encoded(serve, check, location, first_line):
    """Relative, incomplete and unencoded Locations are resolved as a browser does."""

    def script(number):
        place = location.format(host=f"127.0.0.1:{server.port}")
        # As raw bytes: what servers send is UTF-8 more often than not
        head = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
        return answer() if number else [read_request, head.encode()]

    server = serve(script)
    assert check(server.url("/dir/start")).failure is None
    assert head(server.requests[1])[""] == first_line
    assert "x-injected" not in head(server.requests[1])


def test_a_host_beyond_ascii_is_encoded(serve, check):
    """An international host name in a Location is converted to its ASCII form."""
    place = "http://bücher.invalid/"
    script = [read_request, f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode()]
    seen = check(serve(script).url())
    assert seen.failure.reason in (Reason.DNS_NOT_FOUND, Reason.DNS_ERROR, Reason.DNS_TIMEOUT)
    assert "xn--bcher-kva.invalid" in seen.failure.message


def test_the_body_of_a_redirect_is_not_waited_for(serve, check):
    """A redirect is followed as soon as its headers have arrived."""
    final = serve(answer())
    headers = f"HTTP/1.1 302 Found\r\nLocation: {final.url()}\r\nContent-Length: 9\r\n\r\n"
    seen = check(serve([read_request, headers.encode(), stay_silent]).url())
    assert seen.failure is None
    assert seen.duration < 4


@pytest.mark.parametrize(
    ("status", "method", "then", "keeps_body"),
    [
        ("301 Moved Permanently", "POST", "GET", False),
        ("302 Found", "POST", "GET", False),
        ("302 Found", "PUT", "GET", False),
        ("303 See Other", "PUT", "GET", False),
        ("303 See Other", "HEAD", "HEAD", False),
        ("307 Temporary Redirect", "POST", "POST", True),
        ("308 Permanent Redirect", "PUT", "PUT", True),
    ],
)
def test_method_and_body_follow_the_rules(serve, check, status, method, then, keeps_body):
    """301, 302 and 303 become a GET without a body; 307 and 308 repeat the request."""
    server = serve(lambda number: answer() if number else redirect("/next", status))
    sent = None if method == "HEAD" else "hello"
    check(server.url(), http=HttpOptions(method=method, body=sent))
    assert head(server.requests[1])[""] == f"{then} /next HTTP/1.1"
    assert body(server.requests[1]) == (b"hello" if keeps_body else b"")


def test_cookies_go_with_redirects_on_their_host(serve, check):
    """A cookie set by a redirect goes only to its host, together with the site's own."""
    other = serve(answer())
    server = serve(
        lambda number: redirect(
            "/next" if number == 0 else other.url(host="localhost"),
            headers=[("Set-Cookie", f"n{number}=v")],
        )
    )
    check(server.url(), http=HttpOptions(headers={"Cookie": "own=1"}))
    assert head(server.requests[1])["cookie"] == "own=1; n0=v"
    assert "cookie" not in head(other.requests[0])


def test_credentials_stay_with_their_host(serve, check):
    """Another host gets no credentials, no Host header and no header that holds a secret."""
    other = serve(answer())
    server = serve(
        lambda number: redirect("/x") if number == 0 else redirect(other.url(host="localhost"))
    )
    headers = {"X-Key": "key-5ecret", "X-Kind": "plain", "Host": "shop.example.org"}
    options = HttpOptions(headers=headers, bearer_token="t0ken-t0ken")
    check(server.url(), http=options, secrets=("5ecret", "t0ken-t0ken"))
    same, foreign = head(server.requests[1]), head(other.requests[0])
    assert (same["authorization"], same["x-key"]) == ("Bearer t0ken-t0ken", "key-5ecret")
    assert same["host"] == "shop.example.org"
    assert foreign["x-kind"] == "plain"
    assert foreign["host"] == f"localhost:{other.port}"
    assert not {"authorization", "x-key"} & set(foreign)


def test_digest_answers_no_foreign_challenge(serve, check):
    """Another host that a redirect leads to cannot request the password's digest."""
    other = serve(answer(b"", "401 Unauthorized", [("WWW-Authenticate", CHALLENGE)]))
    options = HttpOptions(digest_auth=Credentials(username="u", password="pass"))
    seen = check(serve(redirect(other.url(host="localhost"))).url(), http=options)
    assert seen.answer.status == 401
    assert len(other.requests) == 1


def test_a_secret_body_does_not_leave_its_host(serve, check):
    """A 307 to another host is not followed with a body that holds a secret."""
    other = serve(answer())
    server = serve(redirect(other.url(host="localhost"), "307 Temporary Redirect"))
    options = HttpOptions(method="POST", body="password=5ecret")
    seen = check(server.url(), http=options, secrets=("5ecret",))
    assert seen.failure.reason is Reason.REDIRECT_UNSAFE
    assert other.requests == []


def test_server_name_and_connect_to_are_about_the_sites_own_host(serve, check):
    """A redirect to another host goes there directly."""
    final = serve(answer())
    first = serve(redirect(final.url()))
    network = NetworkOptions(connect_to=f"127.0.0.1:{first.port}")
    seen = check("http://shop.example.org/", network=network)
    assert seen.failure is None
    assert seen.answer.url == final.url()


def test_a_hop_that_fails_names_its_own_peer(serve, check):
    """A failure after a redirect names the host on which it happened."""
    broken = serve([read_request])
    seen = check(serve(redirect(broken.url())).url())
    assert seen.failure.reason is Reason.CONNECTION_LOST
    assert f"127.0.0.1:{broken.port}" in seen.failure.message
    assert seen.answer is None


def test_a_cookie_flood_is_bounded(serve, check):
    """Redirects that each set a thousand cookies end before the check's timeout."""
    flood = [("Set-Cookie", f"n{number}={'v' * 100}") for number in range(1000)]
    server = serve(redirect("/again", headers=flood))
    seen = check(server.url(), timeout=10)
    assert seen.failure.reason in (Reason.REDIRECT_LIMIT, Reason.PROTOCOL_ERROR)


# ---------------------------------------------------------------- HTTP versions


def test_an_old_version_is_reported(serve, check):
    """An HTTP/1.0 answer is reported as such, and fails if 1.1 is required."""
    server = serve([read_request, b"HTTP/1.0 200 OK\r\n\r\nok"])
    assert check(server.url()).answer.version == "1.0"
    seen = check(server.url(), http=HttpOptions(version="1.1"))
    assert seen.failure == Failure(Reason.HTTP_VERSION, "answered in HTTP/1.0, not in HTTP/1.1")
    assert seen.answer.status == 200


def test_a_server_without_http2_fails_the_demand(serve, check, authority):
    """If HTTP/2 is required, an HTTP/1.1 answer is a failure, in plain text and over TLS."""
    demand = HttpOptions(version="2")
    plain = check(serve(answer()).url(), http=demand)
    assert plain.failure.reason is Reason.HTTP_VERSION
    secure = check(serve(answer(), tls=authority.context()).url(), http=demand)
    assert secure.failure == Failure(Reason.HTTP_VERSION, "answered in HTTP/1.1, not in HTTP/2")


def test_http3_is_only_asked_for_where_it_is_demanded(check):
    """If HTTP/3 is required, a host without it fails while connecting."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        seen = check(f"https://127.0.0.1:{port}/", http=HttpOptions(version="3"), timeout=0.6)
    assert seen.failure.reason is Reason.CONNECT_TIMEOUT


# ---------------------------------------------------------------- proxies


def _connect(status: str = "200 OK", headers: str = ""):
    return [read_request, f"HTTP/1.1 {status}\r\n{headers}\r\n".encode()]


def test_a_proxy_is_asked_in_place_of_the_site(serve, check):
    """An HTTP proxy gets the whole URL, and the proxy's credentials in a header of their own."""
    proxy = serve(answer())
    options = HttpOptions(proxy=f"http://me:p%40ss@127.0.0.1:{proxy.port}")
    seen = check("http://shop.invalid/x", http=options)
    assert (seen.failure, seen.answer.status) == (None, 200)
    sent = head(proxy.requests[0])
    assert sent[""] == "GET http://shop.invalid/x HTTP/1.1"
    assert sent["proxy-authorization"] == _basic("me:p@ss")


def test_a_tunnel_leads_to_the_site(serve, check, authority):
    """Through CONNECT the TLS handshake is with the site, and only the site's headers count."""
    site = serve(answer(), tls=authority.context("shop.example.org"))

    def tunnel(connection):
        with socket.create_connection(("127.0.0.1", site.port)) as there:
            back = threading.Thread(target=_pump, args=(there, connection.sock))
            back.start()
            _pump(connection.sock, there)
            back.join()

    proxy = serve([*_connect("200 Go", "X-Proxy: 1\r\n"), tunnel])
    options = HttpOptions(proxy=f"http://me:pass@127.0.0.1:{proxy.port}")
    seen = check("https://shop.example.org/", http=options)
    assert seen.failure is None
    assert seen.answer.header("x-proxy") == ()
    assert head(proxy.requests[0])[""] == "CONNECT shop.example.org:443 HTTP/1.1"
    assert "proxy-authorization" not in head(site.requests[0])


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _take(connection: Connection) -> None:
    """Read one message of a SOCKS client."""
    connection.sock.recv(512)


NO_LOGIN = "it does not accept the login in its URL"
NOT_LET_IN = f"{NO_LOGIN} (status 407)"


@pytest.mark.parametrize(
    ("script", "scheme", "url", "part"),
    [
        (_connect("407 Login"), "http", "https://shop.invalid/", NOT_LET_IN),
        (answer(b"", "407 Login"), "http", "http://shop.invalid/", NOT_LET_IN),
        ([read_request, b"noise\r\n\r\n"], "http", "https://shop.invalid/", ""),
        ([read_request], "http", "https://shop.invalid/", ""),
        ([stay_silent], "http", "https://shop.invalid/", "no answer within 600ms"),
        ([reset], "socks5h", "http://shop.invalid/", ""),
        ([b"HTTP/1.1 400 Bad\r\n\r\n"], "socks5h", "http://shop.invalid/", "SOCKS5"),
        (
            _connect("502 Bad"),
            "http",
            "https://shop.invalid/",
            "it answers CONNECT with status 502",
        ),
        (
            [read_request, b"HTTP/1.1 200 OK\r\nX-A", stay_silent],
            "http",
            "https://shop.invalid/",
            "no answer within 600ms",
        ),
        ([stay_silent], "socks5h", "https://shop.invalid/", "no answer within 600ms"),
        ([b"\5\2\1", stay_silent], "socks5h", "http://shop.invalid/", "no answer within 600ms"),
        ([b"\5\xff", stay_silent], "socks5h", "http://shop.invalid/", NO_LOGIN),
        ([b"\5\2\1\1", stay_silent], "socks5h", "http://shop.invalid/", NO_LOGIN),
        (
            [b"\5\2\1\0\5\5\0\1" + bytes(6), stay_silent],
            "socks5h",
            "https://shop.invalid/",
            "it cannot connect to shop.invalid: connection refused (SOCKS5 reply 5)",
        ),
    ],
    ids=[
        "wants a login",
        "wants a login without a tunnel",
        "noise",
        "closes",
        "silent",
        "SOCKS reset",
        "no SOCKS",
        "no gateway",
        "half an answer",
        "SOCKS silent",
        "SOCKS half",
        "SOCKS without a login",
        "SOCKS with a wrong login",
        "SOCKS refused",
    ],
)
def test_a_broken_proxy_is_the_reason(serve, check, script, scheme, url, part):
    """A proxy's failure is reported as the proxy's, and never shows its credentials."""
    proxy = serve(script)
    options = HttpOptions(proxy=f"{scheme}://me:pa55word@127.0.0.1:{proxy.port}")
    seen = check(url, http=options, timeout=0.6)
    assert seen.failure.reason is Reason.PROXY_ERROR, seen.failure
    assert seen.failure.message.startswith(f"proxy 127.0.0.1:{proxy.port}: ")
    assert part in seen.failure.message
    assert "pa55word" not in repr(seen)


@pytest.mark.parametrize(
    ("scheme", "opened"),
    [
        ("http", [read_request, b"HTTP/1.1 200 OK\r\n\r\n"]),
        ("socks5h", [_take, b"\5\0", _take, b"\5\0\0\1" + bytes(6)]),
    ],
)
@pytest.mark.parametrize(
    ("then", "reason", "message"),
    [
        ([stay_silent], Reason.TLS_TIMEOUT, "no TLS handshake with {} within 600ms"),
        ([b"HTTP/1.1 400 No\r\n\r\n", stay_silent], Reason.TLS_PROTOCOL, "{} does not speak TLS"),
    ],
    ids=["silent", "no TLS"],
)
def test_what_a_site_does_behind_a_proxy_is_told_of_the_site(
    serve, check, scheme, opened, then, reason, message
):
    """Once the proxy has connected, the message names the site and the proxy in between."""
    proxy = serve([*opened, *then])
    options = HttpOptions(proxy=f"{scheme}://127.0.0.1:{proxy.port}")
    seen = check("https://shop.invalid/", http=options, timeout=0.6)
    assert seen.failure.reason is reason, seen.failure
    peer = f"shop.invalid:443 through proxy 127.0.0.1:{proxy.port}"
    assert seen.failure.message.startswith(message.format(peer))


def test_a_proxy_that_wants_a_login_later_is_the_reason(serve, watch):
    """A 407 from the proxy on any check or hop fails it, and is kept as evidence."""
    refusal = answer(b"", "407 Login", [("Proxy-Authenticate", 'Basic realm="p"')])
    steps = [answer(), answer(), refusal, redirect("http://a.invalid/b"), refusal]
    proxy = serve(steps.__getitem__)
    check = watch("http://a.invalid/", http=HttpOptions(proxy=proxy.url()))
    assert [check().failure for _ in range(2)] == [None, None]
    for _ in range(2):
        seen = check()
        assert seen.failure.reason is Reason.PROXY_ERROR
        expected = f"proxy 127.0.0.1:{proxy.port}: it wants a login (status 407)"
        assert seen.failure.message == expected
        assert seen.answer.status == 407


def test_a_407_of_a_site_is_its_answer(serve, check):
    """Without an HTTP proxy, a 407 is the site's own answer, however odd."""
    seen = check(serve(answer(b"", "407 Login")).url())
    assert (seen.failure, seen.answer.status) == (None, 407)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("https://a.invalid/", {"user_agent": "acme/1"}),
        ("https://a.invalid/", {"headers": {"user-Agent": "acme/1"}}),
        ("https://a.invalid/", {"user_agent": "acme/1", "version": "2"}),
        ("http://a.invalid/", {"user_agent": "acme/1"}),
    ],
)
def test_a_proxy_is_told_the_sites_user_agent(serve, check, url, options):
    """CONNECT sends the site's user agent, not that of a library."""
    proxy = serve(_connect("503 Later"))
    network = NetworkOptions(connect_to="127.0.0.1:1")  # so there is a tunnel in any case
    check(url, http=HttpOptions(proxy=proxy.url(), **options), network=network)
    assert head(proxy.requests[0])[""].startswith("CONNECT ")
    assert head(proxy.requests[0])["user-agent"] == "acme/1"


def test_no_user_agent_is_sent_where_it_is_empty(serve, check):
    """An empty user agent is not replaced by that of a library."""
    proxy = serve(_connect("503 Later"))
    check("https://a.invalid/", http=HttpOptions(proxy=proxy.url(), user_agent=""))
    assert head(proxy.requests[0]).get("user-agent", "") == ""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_token_is_fetched_through_the_proxy_in_the_sites_name(serve, check, scheme):
    """The token server's proxy gets the site's user agent, and the proxy's 407 is the reason."""
    proxy = serve(_connect("407 Login", "Content-Length: 0\r\n"))
    grant = _oauth(f"{scheme}://token.invalid/").oauth2
    options = HttpOptions(proxy=proxy.url(), oauth2=grant, headers={"User-Agent": "acme/1"})
    seen = check("http://a.invalid/", http=options)
    assert seen.failure.reason is Reason.PROXY_ERROR
    expected = f"no token: proxy 127.0.0.1:{proxy.port}: it wants a login (status 407)"
    assert seen.failure.message == expected
    assert head(proxy.requests[0])["user-agent"] == "acme/1"
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1", "http://x.invalid"]
)
def test_a_proxy_that_is_not_there_is_the_reason(check, proxy):
    """A proxy that cannot be found or reached is the proxy's failure, not the site's."""
    seen = check("http://shop.invalid/", http=HttpOptions(proxy=proxy))
    assert seen.failure.reason is Reason.PROXY_ERROR
    assert f"proxy {proxy.partition('//')[2]}: " in seen.failure.message


def test_a_socks_proxy_looks_names_up(serve, check):
    """socks5h sends the host name to the proxy, together with the credentials."""
    asked = []

    def socks(connection):
        connection.sock.recv(100)
        connection.sock.sendall(b"\x05\x02")
        asked.append(connection.sock.recv(100))
        connection.sock.sendall(b"\x01\x00")
        asked.append(connection.sock.recv(100))
        connection.sock.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")

    proxy = serve([socks, *answer()])
    seen = check(
        "http://shop.invalid/", http=HttpOptions(proxy=f"socks5h://me:pw@127.0.0.1:{proxy.port}")
    )
    assert seen.failure is None
    assert asked == [b"\x01\x02me\x02pw", b"\x05\x01\x00\x03\x0cshop.invalid\x00\x50"]


# ---------------------------------------------------------------- OAuth 2


def _token(text: str = "abc", **fields: object):
    return answer(json.dumps({"access_token": text, **fields}).encode())


def _oauth(url: str) -> HttpOptions:
    return HttpOptions(
        oauth2=OAuth2Options(
            token_url=url, client_id="me", client_secret="shh-shh", scopes=("a", "b")
        )
    )


def test_a_token_is_fetched_once_and_used_until_it_ends(serve, check):
    """Client credentials are exchanged for a token, and later checks use that token too."""
    tokens = serve(_token(expires_in=3600))
    server = serve(answer())
    for _ in range(3):
        assert check(server.url(), http=_oauth(tokens.url())).failure is None
    assert [head(request)["authorization"] for request in server.requests] == ["Bearer abc"] * 3
    assert len(tokens.requests) == 1
    assert head(tokens.requests[0])["authorization"] == _basic("me:shh-shh")
    assert body(tokens.requests[0]) == b"grant_type=client_credentials&scope=a+b"


def test_the_token_servers_time_is_not_the_sites(serve, check):
    """The time to fetch a token is not part of the phases."""
    tokens = serve([read_request, 0.3, *_token()[1:]])
    seen = check(serve(answer()).url(), http=_oauth(tokens.url()))
    assert seen.failure is None
    assert seen.duration < 0.25


def test_a_refused_cached_token_is_replaced_once(serve, check):
    """A 401 to a cached token fetches a new one; a 401 to a new token is the answer."""
    tokens = serve(lambda number: _token(f"t{number}", expires_in=3600))
    server = serve(lambda number: answer(b"", "401 No" if number in (1, 3, 4) else "200 OK"))
    seen = [check(server.url(), http=_oauth(tokens.url())).answer.status for _ in range(3)]
    assert seen == [200, 200, 401]
    sent = [head(request)["authorization"] for request in server.requests]
    assert sent == [f"Bearer t{number}" for number in (0, 0, 1, 1, 2)]


def test_a_token_is_a_secret_of_the_check_that_used_it(serve, handles):
    """The observation lists every form of the token as secret, and no URL or message shows it."""
    tokens = serve(lambda number: _token(f"t0ken/{number}", expires_in=3600))
    steps = {
        0: redirect("/b?t=t0ken/0"),
        1: answer(),
        2: answer(b"", "401 No"),
        3: redirect("ftp://127.0.0.1/t0ken/1"),
    }
    server = serve(steps.__getitem__)
    site = Site(
        name="x",
        url=server.url(),
        target=server.url(),
        scheme="http",
        options=(_oauth(tokens.url()), TlsOptions(), NetworkOptions()),
    )
    observe = Observer({"http": HttpProbe(handles)}, SystemClock())
    first, second = observe(site), observe(site)
    assert answer_of(first, HttpAnswer).url == server.url("/b?t=<secret>")
    assert {"t0ken/0", "t0ken%2F0"} <= set(first.secrets)
    assert known(second.failure).message.startswith("redirect to 'ftp://127.0.0.1/<secret>'")
    assert {"t0ken/0", "t0ken/1"} <= set(second.secrets)


@pytest.mark.parametrize(
    ("script", "reason", "part"),
    [
        (answer(b"", "503 Later"), "protocol_error", "answered with status 503"),
        ([read_request], "connection_lost", "no token: "),
        ([stay_silent], "read_timeout", "no token: "),
    ],
    ids=["status", "closes", "silent"],
)
def test_without_a_token_the_token_server_is_named(serve, check, script, reason, part):
    """If no token comes, the check fails with the token server's reason and skips the site."""
    tokens = serve(script)
    server = serve(answer())
    seen = check(server.url(), http=_oauth(tokens.url()), timeout=0.6)
    assert seen.failure.reason == reason, seen.failure
    assert part in seen.failure.message
    assert f"127.0.0.1:{tokens.port}" in seen.failure.message
    assert server.requests == []


@pytest.mark.parametrize("cached", [False, True])
def test_the_wait_for_a_token_that_never_comes_counts(serve, check, cached):
    """The duration includes the time for which the check waited for the token."""
    fetch = _token("old", expires_in=3600)
    tokens = serve(lambda number: fetch if cached and number == 0 else [stay_silent])
    server = serve(lambda number: answer(b"", "401 No" if number else "200 OK"))
    if cached:
        check(server.url(), http=_oauth(tokens.url()))
    seen = check(server.url(), http=_oauth(tokens.url()), timeout=0.6)
    assert seen.failure.reason is Reason.READ_TIMEOUT
    assert seen.duration > 0.5


# ---------------------------------------------------------------- options and observer


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"method": "GE T"}, "method 'GE T' is not an HTTP method"),
        ({"headers": {"X Y": "1"}}, "'X Y' is not a header's name"),
        ({"headers": {"X": "1\r\nY: 2"}}, "X must be one line"),
        ({"body": "a", "body_file": "b"}, "body and body_file cannot be used together"),
        (
            {"bearer_token": "a", "headers": {"authorization": "b"}},
            "bearer_token and authorization cannot be used together",
        ),
        (
            {
                "basic_auth": Credentials(username="a", password="b"),
                "digest_auth": Credentials(username="a", password="b"),
            },
            "basic_auth and digest_auth cannot be used together",
        ),
        ({"bearer_token": "a\nb"}, "bearer_token must be one line"),
        ({"proxy": "ftp://127.0.0.1"}, "proxy must be an http, https, socks4"),
        ({"proxy": "http://"}, "proxy must be an http, https, socks4"),
        ({"proxy": "http://:80"}, "proxy has a wrong host"),
    ],
)
def test_options_that_make_no_sense_say_why(options, part):
    """The error names the rule that the option breaks."""
    with pytest.raises(ValueError, match=re.escape(part)):
        HttpOptions(**options)


@pytest.mark.parametrize(
    ("section", "options", "part"),
    [
        (TlsOptions, {"key_file": "k"}, "key_file needs cert_file"),
        (TlsOptions, {"min_version": "1.3", "max_version": "1.2"}, "min_version 1.3 is above"),
        (TlsOptions, {"server_name": "a b"}, "server_name 'a b' is not a host name"),
        (NetworkOptions, {"ip": "6", "source_address": "127.0.0.1"}, "is not IPv6"),
        (OAuth2Options, {"token_url": "x", "client_id": "", "client_secret": ""}, "token_url must"),
    ],
)
def test_other_sections_have_rules_too(section, options, part):
    """The error names the rule that the option breaks."""
    with pytest.raises(ValueError, match=re.escape(part)):
        section(**options)


@pytest.mark.parametrize(
    "url", ["http://", "http://:80/", "http://a:b/", "http://[::1/", "http://./"]
)
def test_a_url_without_a_host_is_refused(url):
    """A URL without a host is refused when the file is read."""
    with pytest.raises(ValueError, match="host"):
        check_url(url)
    check_url("https://user:pw@[::1]:8443/x?y#z")


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        ({"http": {"basic_auth": {"username": "joe", "password": "p\u00e4ss"}}}, "joe:p\u00e4ss"),
        (
            {
                "http": {
                    "oauth2": {
                        "token_url": "http://x/",
                        "client_id": "joe",
                        "client_secret": "p\u00e4ss",
                    }
                }
            },
            "joe:p\u00e4ss",
        ),
    ],
    ids=["basic_auth", "oauth2"],
)
def test_credentials_are_secret_as_they_are_sent(keys, sent):
    """A page that shows the request's headers shows no credentials."""
    site = site_of("http://x/", **keys)
    assert site.redact(_basic(sent)) == "Basic <secret>"


def test_a_secret_in_the_url_is_masked_as_it_is_asked_for(serve, handles, authority):
    """A secret is masked in its encoded form too, in hops as in the final URL."""
    server = serve(lambda number: answer() if number else redirect("/b?t=s3cr%22%C3%A9t[token"))
    url = server.url("/a?t=${T}")
    keys = {"tls": {"ca_file": authority.file}}
    site = site_of(url, environ={"T": 's3cr"\u00e9t[token'}, **keys)
    seen = Observer({"http": HttpProbe(handles)}, SystemClock())(site)
    assert answer_of(seen, HttpAnswer).url == server.url("/b?t=<secret>")
    assert answer_of(seen, HttpAnswer).redirects[0].url == server.url("/a?t=<secret>")


def test_the_observer_masks_secrets_and_sets_the_deadline():
    """The observer masks secrets in URLs and results, and gives the probe the whole timeout."""
    deadlines = []

    def probe(_site: Site, deadline: Deadline) -> Observation:
        deadlines.append(deadline)
        return Observation(
            time=0,
            duration=0,
            failure=Failure(Reason.PROTOCOL_ERROR, "redirect to /5ecret"),
            answer=HttpAnswer(status=200, version="1.1", url="http://x/?k=5ecret"),
        )

    site = Site(
        name="x", url="http://x", target="http://x", scheme="http", timeout=3, secrets=("5ecret",)
    )
    seen = Observer({"http": probe}, SystemClock())(site)
    assert answer_of(seen, HttpAnswer).url == "http://x/?k=<secret>"
    result = judged(site, seen, Analysis(verdict=Verdict.down(known(seen.failure))), lambda *_: "")
    assert known(result.analysis).verdict.message == "redirect to /<secret>"
    assert known(result.observation.failure).message == "redirect to /<secret>"
    assert 2 < deadlines[0].remaining() <= deadlines[0].timeout == 3


def test_the_table_builds_its_probes():
    """Every row of the table builds its probe, and http and https have the same sections."""
    assert PROBES["http"].sections == PROBES["https"].sections
    built = build_probes(Mailbox())
    assert list(built) == list(PROBES)
    assert built["http"] is built["https"] is not built["ws"]
