"""The endpoints, called through Starlette's test client, without a socket."""

import asyncio
import base64
import gzip
import hashlib
import json
import threading
from concurrent.futures import Future
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from monitor.board import StatusBoard
from monitor.past import LatencyPoint
from monitor.report import site_detail_json, site_json
from monitor.web.app import create_app
from monitor.web.words import NO_DATA
from tests.fakes import FakeClock
from tests.web import states
from tests.web.past import DAY, FakeHistory, down, span

HOSTILE = [
    '<script>alert("1")</script>',
    "a'b\"c&d",
    "example.com/a/b",
    "example.com/",
    "/",
    "a/../b",
    "a?b=c#d",
    "100%",
    "ünïcödé ✓ \N{RIGHT-TO-LEFT OVERRIDE}x",
    "two\nlines",
    "a b+c",
    "x" * 3000,
]


def exposition(accept, sites):
    """Stands in for the metrics: echoes what it was asked, in pieces."""
    for name in sites:
        if name.startswith("no-"):
            raise LookupError(name)
    text = f"accept={accept} sites={','.join(sites)}\n"
    return "text/plain; version=0.0.4", iter([text.encode(), b"up 1\n"])


def no_reload():
    raise AssertionError("nobody asked for a reload")


def done(value):
    future: Future[tuple[str, ...]] = Future()
    future.set_result(value)
    return future


@pytest.fixture
def client_of():
    """Return a function that makes a client from a board, or from the states of sites."""

    def make(*found, **given):
        board = found[0] if found and isinstance(found[0], StatusBoard) else states.board(*found)
        settings = {
            "board": board,
            "scrape": exposition,
            "reload": no_reload,
            "config_text": lambda: "sites: []\n",
            "version": "1.2.3",
            "clock": FakeClock(time=states.NOW),
            **given,
        }
        return TestClient(create_app(**settings), raise_server_exceptions=False)

    return make


# ---------------------------------------------------------------- metrics


def test_metrics_pass_on_what_was_asked(client_of):
    """The Accept header and every ?site= reach the exposition, and its type and text come back."""
    answer = client_of().get(
        "/metrics?site=b&site=a%2Fc", headers={"Accept": "text/x", "Accept-Encoding": "identity"}
    )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    assert answer.text == "accept=text/x sites=b,a/c\nup 1\n"


def test_metrics_of_an_unknown_site(client_of):
    """A site that is not listed gets a 404 that names it."""
    answer = client_of().get("/metrics?site=a&site=no-such")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "no site 'no-such' is listed; /api/v1/sites lists them all\n"


@pytest.mark.parametrize("path", ["/metrics?site=no-x", "/logs?site=x", "/api/v1/sites/x"])
def test_a_site_that_another_daemon_has(client_of, path):
    """A site that another daemon checks gets a 404 that says which daemon has it."""
    answer = client_of(elsewhere={"x": "shard 3/5", "no-x": "shard 3/5"}.get).get(path)

    assert answer.status_code == 404
    assert "is not checked here, but by shard 3/5" in answer.text


def test_many_parameters(client_of):
    """A request with thousands of query parameters is answered normally."""
    names = [f"s{number}" for number in range(5000)]

    answer = client_of().get("/metrics?" + "&".join(f"site={name}" for name in names))

    assert ",".join(names) in answer.text


@pytest.mark.parametrize(
    ("accept_encoding", "packed"),
    [
        ("gzip", True),
        ("GZIP, deflate", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0.5", True),
        ("gzip; q=1.000, identity; q=1", True),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=0.5, identity;q=1", False),
        ("gzip;q=0.5, *", False),
        ("gzip;q=0.5, *;q=0.4", True),
        ("gzip;q=0, x-gzip", False),
        ('gzip;q="0.5"', True),
        ("gzip ; Q=0", False),
        ("gzip;q=nonsense", False),
        ("gzip;q=9", False),
        ("gzip;q=nan", False),
    ],
)
def test_gzip_by_quality(client_of, accept_encoding, packed):
    """The answer is compressed if, and only if, the client prefers that."""
    with client_of().stream(
        "GET", "/metrics", headers={"Accept-Encoding": accept_encoding, "Accept": "*/*"}
    ) as answer:
        raw = b"".join(answer.iter_raw())

    assert (answer.headers.get("content-encoding") == "gzip") is packed
    assert "Accept-Encoding" in answer.headers["vary"]
    assert (gzip.decompress(raw) if packed else raw) == b"accept=*/* sites=\nup 1\n"


# ---------------------------------------------------------------- the rest for Prometheus


def test_probe_of_one_site(client_of):
    """/probe?site= returns the exposition of the site's last result."""
    client = client_of(states.up("a"), probe_site=lambda _, name: ("text/x", iter([name.encode()])))

    assert client.get("/probe?site=a").text == "a"
    assert client.get("/probe").status_code == 400
    assert client.get("/probe").text == "say which site: /probe?site=NAME\n"


def test_probe_without_a_result(client_of):
    """An unknown site gets a 404, and a site without a finished check gets a 503."""

    def nothing(_, name):
        raise LookupError(name)

    client = client_of(states.unchecked("new"), probe_site=nothing)

    assert client.get("/probe?site=old").status_code == 404
    answer = client.get("/probe?site=new")
    assert (answer.status_code, answer.text) == (503, "no check of this site has finished yet\n")


def test_no_probe_unless_given(client_of):
    """There is no /probe if the application is given no function for it."""
    assert client_of().get("/probe?site=a").status_code == 404


# ---------------------------------------------------------------- for the operators of the monitor


def test_health_and_readiness(client_of):
    """The process is healthy while it lives; it is ready once the board says so, until it stops."""
    board = states.board()
    client = client_of(board)

    assert (client.get("/-/healthy").status_code, client.get("/-/healthy").text) == (
        200,
        "Healthy\n",
    )
    before = client.get("/-/ready")
    board.ready()
    during = client.get("/-/ready")
    board.stopping()
    board.ready()  # by a start that is over only now
    after = client.get("/-/ready")

    assert (before.status_code, before.text) == (503, "Not ready: starting\n")
    assert (during.status_code, during.text) == (200, "Ready\n")
    assert (after.status_code, after.text) == (503, "Not ready: stopping\n")


def test_reload_that_works(client_of):
    """A reload without problems returns 200."""
    answer = client_of(reload=lambda: done(())).post("/-/reload")

    assert (answer.status_code, answer.text) == (200, "reloaded\n")


def test_reload_with_problems(client_of):
    """A reload with problems returns 400, with one line per problem."""
    problems = ("sites.yaml:1:2: one", "sites.yaml:3:4: two")

    answer = client_of(reload=lambda: done(problems)).post("/-/reload")

    assert answer.status_code == 400
    assert answer.text == "sites.yaml:1:2: one\nsites.yaml:3:4: two\n"


def test_reload_waits_for_the_main_thread(client_of):
    """The answer comes once another thread has finished the reload."""
    future: Future[tuple[str, ...]] = Future()

    def ask():
        threading.Timer(0.05, future.set_result, [()]).start()
        return future

    assert client_of(reload=ask).post("/-/reload").status_code == 200


def test_reload_while_stopping(client_of):
    """A reload that will never be done returns 503 instead of waiting forever."""
    future: Future[tuple[str, ...]] = Future()
    future.cancel()

    assert client_of(reload=lambda: future).post("/-/reload").status_code == 503


def test_reload_by_get(client_of):
    """A GET does not reload, and the answer says which method does."""
    answer = client_of().get("/-/reload")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.text == "This endpoint requires a POST request.\n"


@pytest.mark.parametrize("path", ["/-/reload", "/-/notify/retry"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
    ],
)
def test_a_page_of_another_site_changes_nothing(client_of, path, headers):
    """A POST that a browser sends for another site's page gets a 403, whatever its log-in."""
    answer = client_of().post(path, headers=headers)

    assert answer.status_code == 403
    assert answer.text == "A page of another site sent this request; send it by curl.\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://testserver"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://name-at-the-proxy.example"},
    ],
)
def test_a_page_of_the_monitor_itself_may_reload(client_of, headers):
    """The browser's word for the same origin is accepted, even if a proxy changed the Host."""
    client = client_of(reload=lambda: done(()))

    assert client.post("/-/reload", headers=headers).status_code == 200


def test_configuration_as_text(client_of):
    """/config returns the configuration as plain text, unchanged."""
    text = "sites:\n  - name: ü\n" * 5000

    answer = client_of(config_text=lambda: text).get("/config")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == text


# ---------------------------------------------------------------- the API


def test_api_lists_every_site(client_of):
    """The list has each site once, in the same form as the report."""
    found = [states.down("a"), states.up("b"), states.unchecked("c"), states.error("d")]

    answer = client_of(*found).get("/api/v1/sites")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"sites": [json.loads(json.dumps(site_json(one))) for one in found]}


def test_api_without_sites(client_of):
    """Without sites the API returns an empty list."""
    assert client_of().get("/api/v1/sites").json() == {"sites": []}


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:20]))
def test_api_finds_every_name(client_of, name):
    """The URL-encoded form of any name finds its site."""
    state = states.down(name)

    answer = client_of(state).get("/api/v1/sites/" + quote(name, safe=""))

    assert answer.status_code == 200
    assert answer.json() == json.loads(json.dumps(site_detail_json(state)))


def test_api_errors_are_json(client_of):
    """Errors under /api are JSON too: unknown site, unknown path, wrong method."""
    client = client_of()

    unknown = client.get("/api/v1/sites/nobody")
    nothing = client.get("/api/v2")
    wrong = client.post("/api/v1/sites")

    assert unknown.status_code == 404
    assert unknown.json() == {"error": "no site 'nobody' is listed; /api/v1/sites lists them all"}
    assert (nothing.status_code, list(nothing.json())) == (404, ["error"])
    assert wrong.status_code == 405
    assert wrong.json() == {"error": "This endpoint requires a GET or HEAD request."}


# ---------------------------------------------------------------- evidence


def test_logs_newest_first(client_of):
    """/logs shows each remembered failure with all its evidence, newest first."""
    answer = client_of(states.down("a")).get("/logs?site=a")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    first, second = answer.text.strip().split("\n\n")
    assert first.startswith("2027-01-15T07:59:55.000Z status: status 503 is not in 2xx\n")
    assert second.startswith("2027-01-12T08:00:00.000Z connect_timeout: no connection to")
    for line in (
        "  address: 192.0.2.10",
        "    connect: 0.011",
        "  status: 503",
        "    server: nginx",
        "    subject: CN=shop.example.com",
        "    names: shop.example.com, www.shop.example.com",
        "  excerpt:",
        "    <p>Try later.</p>",
    ):
        assert f"{line}\n" in first + "\n"


def test_logs_cannot_drive_a_terminal(client_of):
    """Control characters that a site sent are shown escaped."""
    hostile = "\x1b]0;owned\x07 \N{RIGHT-TO-LEFT OVERRIDE} \x9b2J\r\nnext\x00\ud800"

    answer = client_of(states.down("a", excerpt=hostile)).get("/logs?site=a")

    assert r"    \x1b]0;owned\x07 \u202e \x9b2J" in answer.text
    assert r"    next\x00\ud800" in answer.text
    assert "\x1b" not in answer.text


def test_logs_without_failures(client_of):
    """/logs answers with one sentence if there is no failure, no such site, or no name."""
    client = client_of(states.up("a"))

    assert client.get("/logs?site=a").text == "No failure of this site is remembered.\n"
    assert client.get("/logs?site=b").status_code == 404
    assert (client.get("/logs").status_code, client.get("/logs").text) == (
        400,
        "say which site: /logs?site=NAME\n",
    )


# ---------------------------------------------------------------- pages


def test_page_counts_and_orders(client_of):
    """Down sites come first, among groups and within them, under a headline that counts them."""
    page = client_of(
        states.up("fine", group="calm"),
        states.up("well", group="storm"),
        states.down("broken", group="storm"),
        states.unchecked("new", group="storm"),
    ).get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<h1 class="down">1 of 4 sites are down</h1>' in page.text
    assert "<title>1 down · website-monitor</title>" in page.text
    body = page.text.partition("<main>")[2]
    places = [body.index(f">{name}<") for name in ("storm", "broken", "new", "well", "fine")]
    assert places == sorted(places)
    assert "status 503 is not in 2xx" in body
    assert "not checked yet" in body


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        ([], "No sites yet"),
        ([states.up("a")], "The site is up"),
        ([states.up("a"), states.up("b")], "All 2 sites are up"),
        ([states.down("a")], "1 of 1 site is down"),
        ([states.up("a"), states.unchecked("b")], "Nothing is down"),
    ],
    ids=["none", "one", "all", "down", "unknown"],
)
def test_page_headlines(client_of, found, headline):
    """The headline states the most important fact."""
    assert f">{headline}</h1>" in client_of(*found).get("/").text


def test_the_monitors_own_fault_is_no_outage(client_of):
    """A site that the monitor cannot check is shown as unknown, with the reason."""
    page = client_of(states.error("a")).get("/").text

    assert "down</b>" not in page
    assert "the monitor could not tell: no file descriptor is left" in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"alpha", "beta", "gamma"}),
        ("?state=down", {"beta"}),
        ("?state=up", {"alpha", "gamma"}),
        ("?q=ALPHA", {"alpha"}),
        ("?q=gold", {"gamma"}),
        ("?q=storefront", {"alpha"}),
        ("?q=gamma.example", {"gamma"}),
        ("?q=gamma&state=down", set()),
        ("?q=%20", {"alpha", "beta", "gamma"}),
        ("?state=&q=", {"alpha", "beta", "gamma"}),
    ],
)
def test_page_filters(client_of, query, shown):
    """?state= and ?q= (name, target, group, labels) select rows, and the counts still cover all."""
    page = client_of(
        states.up("alpha", group="storefront"),
        states.down("beta"),
        states.up("gamma", labels=(("tier", "gold"),), target="https://gamma.example"),
    ).get("/" + query)

    assert {name for name in ("alpha", "beta", "gamma") if f'"sites/{name}"' in page.text} == shown
    assert "all <b>3</b>" in page.text


def test_page_refuses_an_unknown_state(client_of):
    """An unknown state is answered with a sentence that lists the states there are."""
    answer = client_of().get("/?state=broken")

    assert answer.status_code == 400
    assert answer.text == "state must be one of unknown, up, down, maintenance\n"


def test_page_loads_itself_again_when_told_to(client_of):
    """The page refreshes without JavaScript, but only if the reader asks for it (WCAG 2.2.1)."""
    client = client_of(states.up("a"))

    assert '<meta http-equiv="refresh" content="30">' in client.get("/?refresh=30").text
    assert "http-equiv" not in client.get("/?refresh=0").text
    assert "http-equiv" not in client.get("/").text


def test_page_keeps_the_filters_in_its_links(client_of):
    """The links that choose a state keep the search text, escaped."""
    page = client_of(states.up("a&b")).get("/?q=a%26b&refresh=30").text

    assert 'href="./?state=down&amp;q=a%26b&amp;refresh=30"' in page
    assert 'value="a&amp;b"' in page


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:20]))
def test_hostile_texts_stay_text(client_of, name):
    """Pages keep the same elements, whatever text sites and their answers contain."""

    def shapes(text):
        client = client_of(
            states.down(
                text,
                message=f"body has {text}",
                excerpt=f"</pre>{text}",
                group=text,
                labels=((text, text),),
                target=f"https://x/{text}",
            )
        )
        pages = [client.get("/?q=&refresh=0"), client.get("/sites/" + quote(text, safe=""))]
        assert [page.status_code for page in pages] == [200, 200]
        return [shape(page.text) for page in pages]

    assert shapes(name) == shapes("harmless")


def shape(page):
    """Return every element of the page with the names of its attributes, in order."""
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, [name for name, _ in attrs]))

        def handle_endtag(self, tag):
            found.append(tag)

    Parser().feed(page)
    return found


def test_only_web_targets_are_links(client_of):
    """A target is a link only if a browser can follow it, and it never runs a script."""
    page = client_of(
        states.up("a", target="https://a.example"),
        states.up("b", target="icmp://10.0.0.1", scheme="icmp"),
        states.up("c", target="javascript:alert(1)", scheme="javascript"),
    ).get("/")

    assert 'href="https://a.example"' in page.text
    assert 'href="icmp:' not in page.text
    assert 'href="javascript:' not in page.text


def test_site_page(client_of):
    """A site's page shows its state, the phases of its last check, its certificate and evidence."""
    page = client_of(states.down("shop", group="storefront", labels=(("team", "web"),))).get(
        "/sites/shop"
    )

    for text in (
        "for 3 h 12 min, since",
        "storefront",
        "<dt>team</dt>",
        '<rect class="processing" x="38.21%" width="57.72%"',
        "71 ms",
        "in 60 days",
        "16 of the last 20 checks were up",
        "<pre>2027-01-15T07:59:55.000Z status: status 503 is not in 2xx",
        "&lt;h1&gt;Service Unavailable",
    ):
        assert text in page.text


def test_flapping_and_maintenance_are_told(client_of):
    """A site in maintenance shows that instead of its state; a flapping site shows both."""
    flapping = replace(states.down("a"), flapping=True)
    serviced = replace(states.down("b"), maintenance=True)
    client = client_of(flapping, serviced)

    assert 'down</b> <b class="badge flapping">' in client.get("/sites/a").text
    page = client.get("/sites/b").text
    assert "maintenance</b>" in page
    assert "down</b>" not in page
    rows = {row["name"]: row for row in client.get("/api/v1/sites").json()["sites"]}
    assert (rows["a"]["state"], rows["a"]["flapping"]) == ("down", True)
    assert (rows["b"]["state"], rows["b"]["flapping"]) == ("maintenance", False)
    assert client.get("/api/v1/sites/b").json()["confirmed_state"] == "down"


def test_site_page_before_the_first_check(client_of):
    """The page of a site that was never checked says so."""
    page = client_of(states.unchecked("new")).get("/sites/new")

    assert page.status_code == 200
    assert "not checked yet" in page.text


def test_site_page_of_nobody(client_of):
    """A site that is not listed has no page."""
    assert client_of().get("/sites/nobody").status_code == 404


def test_links_are_relative(client_of):
    """Links lead home from names that contain slashes, behind any proxy's prefix."""
    client = client_of(states.down("a/b"))

    assert 'href="../../api/v1/sites/a%2Fb"' in client.get("/sites/a/b").text
    assert 'href="../api/v1/sites/a%2Fb"' in client.get("/sites/a%2Fb").text


# ---------------------------------------------------------------- the past on the pages


def past_of(name):
    """Return the past of a site that was down 3 days ago for 12 min, and now for 10 min."""
    now = states.NOW
    points = [
        LatencyPoint(begin=now - 3600 * hour, count=9, p50=0.1, p95=0.2, p99=0.3, max=0.4)
        for hour in reversed(range(1, 20))
    ]
    return FakeHistory(
        span(name, now - 30 * DAY, now - 3 * DAY),
        down(name, now - 3 * DAY, now - 3 * DAY + 720, "tls", "certificate has expired"),
        span(name, now - 3 * DAY + 720, now - 600),
        down(name, now - 600, None, "status", "status 503 is not in 2xx"),
        latency={name: points},
    )


def test_the_status_page_shows_90_days(client_of):
    """Each site has a bar, its uptime and coverage; a dash stands for what was not observed."""
    page = client_of(states.down("a"), states.up("b"), history=past_of("a")).get("/").text

    assert 'aria-label="last 90 days: downtime on 2 of them, 22 min in all"' in page
    assert "<small>99.949 % of 33.5 % observed</small>" in page
    assert f"<small>{NO_DATA}</small>" in page


def test_a_page_asks_for_the_days_of_its_rows_alone(client_of):
    """The page asks the history once, for the shown sites only, however many sites there are."""
    asked = []

    class Asked(FakeHistory):
        def days(self, sites, *, days, now):
            asked.append((len(sites), days))
            return super().days(sites, days=days, now=now)

    client_of(*(states.up(f"s{number}") for number in range(600)), history=Asked()).get("/?page=3")

    assert asked == [(100, 90)]


def test_the_site_page_shows_the_past(client_of):
    """The page has uptime of five windows, three charts, bad days, and outages with reasons."""
    page = client_of(states.down("a"), history=past_of("a")).get("/sites/a").text

    for text in (
        "<dt>24 hours</dt><dd>99.305 % of 100 % observed</dd>",
        "<dt>1 year</dt><dd>99.949 % of 8.2 % observed</dd>",
        "24 hours <small>p50 from 100 ms to 100 ms, p99 up to 300 ms</small>",
        "1 year <small>",
        '<svg class="chart"',
        "2 days with downtime",
        '<td class="span">10 min so far</td>',
        '<td class="span">12 min</td>',
        "certificate has expired",
    ):
        assert text in page


def test_without_a_history_nothing_is_100_percent(client_of):
    """Pages show dashes if there is no history, or if it cannot be read."""

    class Broken:
        def __getattr__(self, _):
            raise OSError("disk I/O error")

    for history in (None, FakeHistory(), Broken()):
        client = client_of(states.up("a"), history=history)
        assert "100 %" not in client.get("/").text
        page = client.get("/sites/a").text
        assert page.count(f"<dd>{NO_DATA}</dd>") == 5
        assert "100 %" not in page
        assert "Nothing was observed." in page


@pytest.mark.parametrize("path", ["/", "/?page=1", "/sites/a"])
def test_entity_tags_of_pages(client_of, path):
    """A page whose content is unchanged is not sent again, whatever time its footer shows."""
    clock = FakeClock(time=states.NOW + 600)
    since = states.NOW - 400 * DAY
    client = client_of(replace(states.up("a"), since=since, last=None), clock=clock)
    tag = client.get(path).headers["etag"]
    clock.advance(5)

    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    clock.advance(86400)
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 200


# ---------------------------------------------------------------- what holds for all

GETS = [
    "/",
    "/sites/a",
    "/metrics",
    "/probe?site=a",
    "/logs?site=a",
    "/config",
    "/api/v1/sites",
    "/api/v1/sites/a",
    "/-/healthy",
    "/-/ready",
]


@pytest.fixture
def complete(client_of):
    board = states.board(states.down("a"))
    board.ready()
    return client_of(board, probe_site=lambda *_: ("text/x", iter([b"x"])))


@pytest.mark.parametrize("path", GETS)
def test_head(complete, path):
    """HEAD answers as GET does, without the body."""
    got, head = complete.get(path), complete.head(path)

    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("content-length") in (None, got.headers.get("content-length"))


@pytest.mark.parametrize("path", [*GETS, "/nothing", "/-/reload"])
def test_headers_that_protect(complete, path):
    """Every answer, errors too, tells browsers not to store, frame, sniff or run it."""
    headers = complete.get(path).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_the_policy_admits_the_pages_style(complete):
    """The Content-Security-Policy admits exactly the one style that the page has."""
    for path in ("/", "/sites/a"):
        page = complete.get(path)
        style = page.text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
        assert " style=" not in page.text


def test_a_very_long_path(client_of):
    """A path of any length gets a 404 with a short sentence."""
    answer = client_of().get("/" + "x" * 60_000)

    assert answer.status_code == 404
    assert len(answer.text) < 300


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/sites/a"])
def test_a_bug_is_one_sentence(client_of, caplog, path):
    """An error of the program gets a 500 without a traceback, which only the log has."""

    class Broken(StatusBoard):
        def get(self, _):
            raise RuntimeError("secret detail")

    def broken(*_):
        raise RuntimeError("secret detail")

    answer = client_of(Broken(), scrape=broken).get(path)

    assert answer.status_code == 500
    assert "The monitor failed to answer; its log says why." in answer.text
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    (record,) = [one for one in caplog.records if one.getMessage() == "web_request_failed"]
    assert record.exc_info is not None


def test_ten_thousand_sites_come_in_pieces(client_of):
    """The list of 10,000 sites arrives complete, in pieces of about 10 KiB."""
    client = client_of(*(states.up(f"s{number}") for number in range(10_000)))
    sent = []

    async def keep(message):
        sent.append(message.get("body", b""))

    call(client.app, "/api/v1/sites", keep)

    assert b"".join(sent).decode().count('{"name": ') == 10_000
    assert max(map(len, sent)) < 64 * 1024


def test_a_page_has_room_for_250_sites(client_of):
    """Pages show each of 501 sites once, down sites on the first page, and no page is empty."""
    client = client_of(
        *(states.up(f"s{number}", group=f"g{number % 3}") for number in range(500)),
        states.down("broken", group="g2"),
    )

    def shown(query):
        page = client.get("/?" + query).text
        return [part.partition('"')[0] for part in page.split('<a href="sites/')[1:]]

    first, second, third = shown(""), shown("page=2"), shown("page=3")
    assert (len(first), len(second), len(third)) == (250, 250, 1)
    assert first[0] == "broken"
    assert len({*first, *second, *third}) == 501
    assert shown("page=99") == third
    assert shown("state=down&page=2") == ["broken"]
    assert 'rel="next" href="./?page=2"' in client.get("/").text
    assert 'rel="prev" href="./?q=s&amp;page=1"' in client.get("/?q=s&page=2").text
    assert client.get("/?page=0").status_code == 400
    assert client.get("/?page=x").status_code == 400


def test_names_sort_as_people_count(client_of):
    """2 comes before 10, in groups and within them, and sites without a group come last."""
    page = client_of(
        states.up("shop-10", group="zone-2"),
        states.up("Shop-2", group="zone-2"),
        states.up("alone"),
        states.up("later", group="zone-10"),
    ).get("/")

    body = page.text.partition("<main>")[2]
    order = ["zone-2", "Shop-2", "shop-10", "zone-10", "later", "without a group", "alone"]
    places = [body.index(f"<bdi>{name}</bdi>") for name in order]
    assert places == sorted(places)


def call(app, path, send):
    async def receive():
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("x", 80),
        "client": ("x", 1),
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
