"""Status pages, their feeds and API, and badges, asked through Starlette's test client."""

import json
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from html.parser import HTMLParser
from urllib.parse import quote
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import feedparser
import pytest
from starlette.testclient import TestClient

from monitor.engine.maintenance import planned
from monitor.model import RecurringWindow, SingleWindow
from monitor.past import Condition
from monitor.statuspage import Announcement, Published, StatusPage
from monitor.web.app import create_app, create_public_app
from monitor.web.published import StatusPages
from monitor.web.words import NO_DATA
from tests.fakes import FakeClock
from tests.narrowing import known
from tests.web import states
from tests.web.past import DAY, FakeHistory, down, span

NOW = states.NOW
PAGE = StatusPage(
    path="/status", title="Example status", groups=frozenset({"storefront"}), public=True
)
INNER = StatusPage(path="/inner", title="Inner status", sites=frozenset({"payroll"}))
ATOM = "{http://www.w3.org/2005/Atom}"


def site(make, name, **more):
    return make(name, group="storefront", target=f"https://10.1.2.3/{name}", **more)


SITES = (
    site(states.down, "shop-10", message="no answer from 10.1.2.3"),
    site(states.up, "shop-2"),
    replace(site(states.up, "search"), maintenance=True),
    states.up("payroll", group="back office"),
)


def past():
    """The shop was down twice; search was down when the second outage, still open, began."""
    shop = "shop-10"
    return FakeHistory(
        span(shop, NOW - 100 * DAY, NOW - 3 * DAY),
        down(shop, NOW - 3 * DAY, NOW - 3 * DAY + 720, message="no answer from 10.1.2.3"),
        span(shop, NOW - 3 * DAY + 720, NOW - 600),
        down(shop, NOW - 600, None, message="no answer from 10.1.2.3"),
        span("search", NOW - 50 * DAY, NOW - 900),
        down("search", NOW - 900, NOW - 300),
        span("search", NOW - 300, None, Condition.MAINTENANCE),
        down("payroll", NOW - DAY, NOW - DAY + 60),
    )


@pytest.fixture
def client_of():
    """Return a function from published pages to a client that sees them as strangers do."""

    def make(
        *pages, sites=SITES, announcements=(), history=None, strangers=True, now=NOW, board=None
    ):
        board = board or states.board(*sites)
        found = StatusPages(
            board=board,
            published=lambda: Published(pages=pages or (PAGE,), announcements=announcements),
            planned=planned,
            history=past() if history is None else history,
            clock=FakeClock(time=now),
        )
        if strangers:
            return TestClient(create_public_app(found), follow_redirects=False)
        app = create_app(
            board=board,
            scrape=lambda *_: ("text/plain", iter(())),
            reload=Future,
            config_text=str,
            version="1.2.3",
            clock=FakeClock(time=now),
            status_pages=found,
        )
        return TestClient(app, follow_redirects=False)

    return make


EVERYTHING = [
    "/status",
    "/status/feed.atom",
    "/status/api/v2/summary.json",
    "/status/api/v2/status.json",
    "/status/api/v2/components.json",
    "/status/api/v2/incidents.json",
    "/status/api/v2/incidents/unresolved.json",
    "/status/api/v2/scheduled-maintenances.json",
    "/status/api/v2/scheduled-maintenances/upcoming.json",
    "/status/api/v2/scheduled-maintenances/active.json",
    "/badges/shop-10/status.svg",
    "/badges/shop-10/status.json",
    "/badges/shop-10/uptime/30d.svg",
    "/badges/shop-10/uptime/365d.json",
    "/badges/shop-10/latency/24h.svg",
    "/badges/shop-10/latency/24h.json",
]


# ---------------------------------------------------------------- who may see what


@pytest.mark.parametrize("path", EVERYTHING)
def test_what_is_public_tells_names_and_states_alone(client_of, path):
    """No address, message, reason, label or other site's name is in any answer to strangers."""
    answer = client_of().get(path)

    assert answer.status_code == 200
    for secret in ("10.1.2.3", "no answer", "payroll", "back office", "503", "nginx", "1.2.3"):
        assert secret not in answer.text
    assert 'reason="' not in answer.text


PRIVATE = [
    "/inner",
    "/inner/",
    "/inner/feed.atom",
    "/inner/api/v2/summary.json",
    "/badges/payroll/status.svg",
    "/badges/payroll/uptime/30d.json",
    "/",
    "/sites/shop-10",
    "/metrics",
    "/config",
    "/logs?site=shop-10",
    "/api/v1/sites",
    "/-/healthy",
    "/status/../config",
    "/status%2F..%2Fconfig",
    "//status",
    "/STATUS",
    "/status/api/v2/users.json",
    "/badges/shop-10/uptime/29d.svg",
]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_is_not_public_does_not_exist(client_of, path, method):
    """With any method, strangers get the same answer for a hidden page as for a missing one."""
    client = client_of(PAGE, INNER)
    answer, nothing = client.request(method, path), client.request(method, "/never/was")

    assert answer.status_code == nothing.status_code == 404
    assert answer.content == nothing.content
    assert answer.headers == nothing.headers


@pytest.mark.parametrize("path", [*EVERYTHING, "/status/"])
def test_what_is_free_of_the_log_in(path):
    """The path alone decides what strangers may read, and nothing else is free."""
    pages = StatusPages(
        board=states.board(*SITES),
        published=lambda: Published(pages=(PAGE, INNER)),
        planned=planned,
        history=None,
        clock=FakeClock(time=NOW),
    )

    assert pages.is_public(path)
    assert not any(pages.is_public(one.partition("?")[0]) for one in PRIVATE)


def test_pages_beside_everything_else(client_of):
    """With a log-in, all pages and badges are there, public or not, and everything else too."""
    client = client_of(PAGE, INNER, strangers=False)

    assert "payroll" in client.get("/inner").text
    assert client.get("/inner").headers["cache-control"] == "no-store"
    assert client.get("/badges/payroll/status.svg").status_code == 200
    assert client.get("/badges/payroll/status.svg").headers["cache-control"] == "no-store"
    assert client.get("/sites/payroll").status_code == 200
    assert client.get("/").status_code == 200
    assert client.get("/badges/nobody/status.svg").status_code == 404


def test_a_page_that_is_unpublished_is_gone():
    """Each request looks up what is published, so a reload takes a page away at once."""
    board = states.board(*SITES)
    published = [Published(pages=(PAGE,))]
    pages = StatusPages(
        board=board,
        published=lambda: published[0],
        planned=planned,
        history=None,
        clock=FakeClock(time=NOW),
    )
    client = TestClient(create_public_app(pages))
    assert client.get("/status").status_code == 200
    published[0] = Published(pages=(replace(PAGE, public=False),))

    assert client.get("/status").status_code == 404
    assert client.get("/badges/shop-2/status.svg").status_code == 404


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ({"sites": frozenset({"b"})}, {"b"}),
        ({"groups": frozenset({"g"})}, {"a", "b"}),
        ({"labels": frozenset({("tier", "1")})}, {"c"}),
        ({"labels": frozenset({("tier", "1"), ("team", "x")})}, set()),
        ({"groups": frozenset({"g"}), "labels": frozenset({("tier", "1")})}, {"a", "b", "c"}),
    ],
)
def test_who_is_on_a_page(client_of, page, shown):
    """A page has the sites that it names, those of its groups, and those with all of its labels."""
    sites = (
        states.up("a", group="g"),
        states.up("b", group="g"),
        states.up("c", labels=(("tier", "1"), ("team", "y"))),
    )
    listed = (
        client_of(StatusPage(path="/x", title="X", public=True, **page), sites=sites)
        .get("/x/api/v2/components.json")
        .json()["components"]
    )

    assert {one["name"] for one in listed if not one["group"]} == shown


def test_a_group_is_named_only_where_it_was_published(client_of):
    """A page that names a site does not publish the name of that site's group."""
    page = StatusPage(path="/x", title="X", public=True, sites=frozenset({"payroll"}))

    for path in ("/x", "/x/api/v2/summary.json", "/x/feed.atom"):
        assert "back office" not in client_of(page).get(path).text


# ---------------------------------------------------------------- the page


def texts(page):
    """Return the text of the page's body, one line per piece."""
    found = []

    class Parser(HTMLParser):
        def handle_data(self, data):
            if data.strip():
                found.append(data.strip())

    Parser().feed(page.partition("<body>")[2])
    return found


def test_a_page_shows_its_sites(client_of):
    """The page lists names in natural order, with states, and uptime with coverage."""
    answer = client_of().get("/status")
    said = texts(answer.text)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert '<html lang="en">' in answer.text
    assert "1 of 3 services is down" in said
    assert [one for one in said if one in ("search", "shop-2", "shop-10")][-3:] == [
        "search",
        "shop-2",
        "shop-10",
    ]
    assert "99.982 % of 100 % observed" in said  # 22 minutes of 89 days and 8 hours
    assert said.count(NO_DATA) == 1  # the history has nothing about shop-2


def test_without_a_history_nothing_is_100_percent(client_of):
    """A page without a history says so."""

    class Broken:
        def __getattr__(self, _):
            raise OSError("disk I/O error")

    for history in (FakeHistory(), Broken()):
        page = client_of(history=history).get("/status").text
        assert page.count(f"<small>{NO_DATA}</small>") == 3
        assert "100 %" not in page
        assert "Nothing was observed." in page


def test_latency_where_it_is_asked_for(client_of):
    """The page shows the median latency of the last up checks, but only if it is asked for."""
    assert "120 ms" in client_of(replace(PAGE, latency=True)).get("/status").text
    assert " ms" not in client_of().get("/status").text


def test_incidents_and_announcements(client_of):
    """Ongoing incidents come first, past ones below, with announcements until these end."""
    page = client_of(
        announcements=(
            Announcement(begin=NOW - 60, end=NOW + 60, title="Now", text="a\nb"),
            Announcement(begin=NOW - DAY, end=NOW - 60, title="Over"),
            Announcement(begin=NOW + 60, title="Later"),
            Announcement(begin=NOW - 61, title="Elsewhere", pages=frozenset({"/inner"})),
            Announcement(begin=NOW - 95 * DAY, end=NOW - 91 * DAY, title="Long ago"),
            Announcement(begin=NOW - 62, title="Here", pages=frozenset({"/status"})),
        ),
    ).get("/status")
    said = texts(page.text)
    order = ["search and 1 other are down", "Now", "Here", "Past incidents", "Over"]

    places = [said.index(one) for one in order]
    assert places == sorted(places)
    assert "shop-10 was down for 12 min" in said[places[-1] :]
    assert not {"Later", "Elsewhere", "Long ago"} & set(said)


def test_maintenance_is_told_ahead_of_time(client_of):
    """The page shows the open and the next windows, each once for all of its sites."""
    tonight = RecurringWindow(
        start=time(22),
        end=time(23),
        zone=ZoneInfo("UTC"),
    )
    month = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None) + timedelta(days=30)
    single = SingleWindow(start=month, end=month + timedelta(hours=1), zone=ZoneInfo("UTC"))
    sites = [site(states.up, name, maintenance=(tonight,)) for name in ("shop-10", "shop-2")]
    sites.append(site(states.up, "search", maintenance=(single,)))
    client = client_of(sites=sites)
    page = texts(client.get("/status").text)
    found = client.get("/status/api/v2/scheduled-maintenances.json").json()
    found = found["scheduled_maintenances"]

    assert page.count("shop-2, shop-10") == 1
    assert [(one["name"], one["status"]) for one in found] == [
        ("Maintenance of shop-2 and 1 more", "scheduled"),
        ("Maintenance of search", "scheduled"),
    ]
    assert found[0]["scheduled_for"] == "2027-01-15T22:00:00.000Z"
    assert found[0]["scheduled_until"] == "2027-01-15T23:00:00.000Z"
    begun = client_of(sites=sites, now=NOW + 14.5 * 3600)
    active = begun.get("/status/api/v2/scheduled-maintenances/active.json").json()
    assert [one["id"] for one in active["scheduled_maintenances"]] == [found[0]["id"]]


HOSTILE = ['<script>alert("1")</script>', "]]> & '\"", "ünïcödé ✓", "${x} {{ 7*7 }}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_stay_texts(client_of, text):
    """Page and feed keep the same elements, whatever names and announcements contain."""

    def shape(name):
        client = client_of(
            replace(PAGE, title=name, groups=frozenset({name})),
            sites=[states.down(name, group=name)],
            announcements=(Announcement(begin=NOW - 60, title=name, text=name),),
            history=FakeHistory(down(name, NOW - 60, None)),
        )
        found = []

        class Parser(HTMLParser):
            def handle_starttag(self, tag, attrs):
                found.append((tag, [key for key, _ in attrs]))

        Parser().feed(client.get("/status").text)
        feed = ET.fromstring(client.get("/status/feed.atom").content)
        assert name in [one.text for one in feed.iter(f"{ATOM}title")]
        return found, [one.tag for one in feed.iter()]

    assert shape(text) == shape("harmless")


@pytest.mark.parametrize("name", ["a/b", "a b+c", "100%", "a?b=c#d", "a/status.svg"])
def test_badges_of_every_name(client_of, name):
    """The badge's path contains the name as the site's path does."""
    client = client_of(sites=[states.up(name, group="storefront")])
    answer = client.get(f"/badges/{quote(name, safe='')}/status.json")

    assert answer.json()["label"] == name


# ---------------------------------------------------------------- what holds for all answers


@pytest.mark.parametrize("path", EVERYTHING)
def test_entity_tags(client_of, path):
    """A client that already has the answer gets only a head that says so."""
    client = client_of()
    first = client.get(path)
    tag = first.headers["etag"]

    for held in (tag, f'"x", {tag}', "*", tag.removeprefix("W/")):
        again = client.get(path, headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == first.headers["cache-control"]
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_page_has_another_tag_when_it_says_something_else(client_of):
    """A new minute in the footer does not change the tag; a site that comes up does."""
    tag = client_of().get("/status").headers["etag"]

    assert client_of(history=past(), now=NOW).get("/status").headers["etag"] == tag
    well = [site(states.up, one.site.name) for one in SITES[:3]]
    assert client_of(sites=well).get("/status").headers["etag"] != tag


@pytest.mark.parametrize("path", EVERYTHING)
def test_headers(client_of, path):
    """Headers allow caching for seconds, but no scripts or frames; HEAD has the same headers."""
    client = client_of()
    got, head = client.get(path), client.head(path)

    assert got.headers["cache-control"] in ("public, max-age=5", "public, max-age=60")
    policy = got.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert got.headers["x-content-type-options"] == "nosniff"
    foreign = path != "/status"
    assert (got.headers.get("access-control-allow-origin") == "*") == foreign
    assert (got.headers["cross-origin-resource-policy"] == "cross-origin") == foreign
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == got.headers["etag"]


def test_other_methods(client_of):
    """A page can be read, and every other method is refused."""
    answer = client_of().post("/status")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_slash_too_much(client_of):
    """A path with an extra slash leads to the page, behind any proxy's prefix."""
    answer = client_of().get("/status/")

    assert (answer.status_code, answer.headers["location"]) == (308, "../status")


def test_a_crowd_costs_what_one_reader_costs(client_of):
    """The history is asked once in five seconds, whatever parts of the page are requested."""
    history = past()
    client = client_of(history=history)
    for _ in range(20):
        client.get("/status")
        client.get("/status/feed.atom")
        client.get("/status/api/v2/summary.json")

    assert history.asked.count("days") == 1


# ---------------------------------------------------------------- the feed


def test_the_feed(client_of):
    """The feed follows RFC 4287: required elements, newest first, identifiers that never change."""
    announced = (Announcement(begin=NOW - 60, title="Hello", text="a & b"),)
    client = client_of(announcements=announced)
    answer = client.get("/status/feed.atom", headers={"Host": "status.example.com"})
    feed = ET.fromstring(answer.content)

    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    entries = feed.findall(f"{ATOM}entry")
    assert [one.findtext(f"{ATOM}title") for one in entries] == [
        "Hello",
        "search and 1 other are down",
        "shop-10 was down for 12 min",
    ]
    for one in (feed, *entries):
        assert known(one.findtext(f"{ATOM}id")).startswith("urn:uuid:")
        datetime.fromisoformat(known(one.findtext(f"{ATOM}updated")))
    assert feed.findtext(f"{ATOM}author/{ATOM}name") == "Example status"
    assert feed.findtext(f"{ATOM}updated") == entries[0].findtext(f"{ATOM}updated")
    links = {one.get("rel"): one.get("href") for one in feed.findall(f"{ATOM}link")}
    assert links["self"] == "http://status.example.com/status/feed.atom"
    page = client.get("/status").text
    for one in entries:
        anchor = known(known(one.find(f"{ATOM}link")).get("href")).partition("#")[2]
        assert f'id="{anchor}"' in page
    assert "2027-01-15 07:45 UTC: search is down." in known(entries[1].findtext(f"{ATOM}content"))


def test_a_feed_reader_reads_the_feed(client_of):
    """feedparser finds no error in the feed, and reads from it what the page says."""
    client = client_of(announcements=(Announcement(begin=NOW - 60, title="A & B", text="<b>"),))
    read = feedparser.parse(client.get("/status/feed.atom").content)

    assert not read.bozo
    assert (read.version, read.feed.title, read.feed.author) == (
        "atom10",
        "Example status",
        "Example status",
    )
    assert [one.title for one in read.entries][:2] == ["A & B", "search and 1 other are down"]
    assert read.entries[0].content[0].value == "<b>"
    assert read.entries[0].updated_parsed[:3] == (2027, 1, 15)


def test_identifiers_of_an_incident_last(client_of):
    """Identifiers are the same an hour later, on another machine, with the incident over."""

    def names(client):
        feed = ET.fromstring(client.get("/status/feed.atom").content)
        api = client.get("/status/api/v2/incidents.json").json()["incidents"]
        return (
            [one.text for one in feed.iter(f"{ATOM}id")],
            [(one["id"], [step["id"] for step in one["incident_updates"]][-1]) for one in api],
        )

    over = past()
    over.spans[3] = replace(over.spans[3], end=NOW + 60)

    assert names(client_of(history=over, now=NOW + 3600)) == names(client_of())


def test_a_site_that_was_renamed_keeps_its_identifier(client_of):
    """A renamed site keeps the identifier of its former name, so feed readers recognise it."""

    def identifier(**names):
        client = client_of(sites=[states.up(group="storefront", **names)])
        return client.get("/status/api/v2/components.json").json()["components"][1]["id"]

    assert identifier(name="shop", was="storefront") == identifier(name="storefront")
    assert identifier(name="shop") != identifier(name="storefront")


def test_an_incident_that_lasts_longer_than_the_page_looks_back(client_of):
    """A site that has been down for a year is one incident that began a year ago."""
    since = NOW - 400 * DAY
    client = client_of(history=FakeHistory(down("shop-10", since, None)))
    (one,) = client.get("/status/api/v2/incidents/unresolved.json").json()["incidents"]

    assert datetime.fromisoformat(one["started_at"]).timestamp() == since


def test_an_incident_whose_beginning_is_not_looked_at(client_of):
    """An incident that may have begun earlier, with another site, is left out if it is over."""
    history = FakeHistory(
        down("shop-10", NOW - 92 * DAY, NOW - 89 * DAY), down("shop-2", NOW - 2 * DAY, NOW - DAY)
    )
    found = client_of(history=history).get("/status/api/v2/incidents.json").json()["incidents"]

    assert [one["name"] for one in found] == ["shop-2 was down for 1 d"]


# ---------------------------------------------------------------- Statuspage's API


def test_the_summary(client_of):
    """The page answers what an aggregator reads from Statuspage."""
    client = client_of(replace(PAGE, url="https://status.example.com"))
    found = client.get("/status/api/v2/summary.json").json()

    assert set(found) == {"page", "components", "incidents", "scheduled_maintenances", "status"}
    assert (found["page"]["name"], found["page"]["url"]) == (
        "Example status",
        "https://status.example.com",
    )
    assert found["status"] == {"indicator": "minor", "description": "Minor Service Outage"}
    group, *sites = found["components"]
    assert (group["name"], group["group"], group["status"]) == (
        "storefront",
        True,
        "partial_outage",
    )
    assert group["components"] == [one["id"] for one in sites]
    assert [(one["name"], one["status"], one["group_id"]) for one in sites] == [
        ("search", "under_maintenance", group["id"]),
        ("shop-2", "operational", group["id"]),
        ("shop-10", "major_outage", group["id"]),
    ]
    (incident,) = found["incidents"]
    assert (incident["status"], incident["impact"]) == ("identified", "major")
    assert [one["body"] for one in incident["incident_updates"]] == [
        "search is up again.",
        "shop-10 is down.",
        "search is down.",
    ]
    assert [one["name"] for one in incident["components"]] == ["search", "shop-10"]


@pytest.mark.parametrize(
    ("made", "indicator", "description"),
    [
        ([states.up, states.up], "none", "All Systems Operational"),
        ([states.up, states.down], "major", "Partial System Outage"),
        ([states.up, states.up, states.down], "minor", "Minor Service Outage"),
        ([states.down, states.down], "critical", "Major Service Outage"),
        ([states.up, states.error], "none", "Some Systems Could Not Be Checked"),
    ],
)
def test_the_status(client_of, made, indicator, description):
    """The indicator depends on the share of down sites, and never calls unknown sites up."""
    sites = [site(make, f"s{number}") for number, make in enumerate(made)]
    client = client_of(sites=sites)

    found = client.get("/status/api/v2/status.json").json()["status"]
    assert found == {"indicator": indicator, "description": description}
    assert client.get("/status/api/v2/status").json()["status"] == found


def test_announcements_in_the_api(client_of):
    """Announcements are incidents without an impact, and are resolved once they are over."""
    announced = (
        Announcement(begin=NOW - 60, title="Now", text="a"),
        Announcement(begin=NOW - 120, end=NOW - 30, title="Over", text="b"),
    )
    client = client_of(announcements=announced, history=FakeHistory())
    found = client.get("/status/api/v2/incidents.json").json()["incidents"]

    assert [(one["name"], one["status"], one["impact"]) for one in found] == [
        ("Now", "monitoring", "none"),
        ("Over", "resolved", "none"),
    ]
    open_ones = client.get("/status/api/v2/incidents/unresolved.json").json()["incidents"]
    assert [one["name"] for one in open_ones] == ["Now"]


def test_every_answer_is_json_in_utf_8(client_of):
    """Every answer is JSON in UTF-8, even if names are not ASCII."""
    client = client_of(sites=[states.up("Größe ✓", group="storefront")])
    answer = client.get("/status/api/v2/components.json")

    assert json.loads(answer.content)["components"][1]["name"] == "Größe ✓"
