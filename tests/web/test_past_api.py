"""The API for the past, called through Starlette's test client, without a socket."""

import csv
from concurrent.futures import Future

import pytest
from starlette.testclient import TestClient

from monitor.errors import HistoryError
from monitor.model import Past, Reason
from monitor.past import LatencyPoint
from monitor.web.app import create_app
from tests.fakes import FakeClock
from tests.web import states
from tests.web.past import DAY, FakeHistory, down, span

NOW = states.NOW


@pytest.fixture
def client_of():
    def make(history, *found):
        app = create_app(
            board=states.board(*(found or (states.up("shop", group="web"), states.up("api")))),
            scrape=lambda *_: ("text/plain", iter(())),
            reload=Future,
            config_text=str,
            version="1",
            clock=FakeClock(time=NOW),
            history=history,
        )
        return TestClient(app, raise_server_exceptions=False)

    return make


def history():
    return FakeHistory(span("shop", NOW - 900, NOW - 100), down("shop", NOW - 100, None))


def test_uptime_stands_beside_its_coverage(client_of):
    """Each requested window has its uptime, coverage, seconds and outages."""
    answer = client_of(history()).get("/api/v1/sites/shop/uptime?windows=1h,1000s")
    assert answer.status_code == 200
    windows = answer.json()["windows"]
    assert windows["1000s"] == {
        "uptime": 800 / 900,
        "coverage": 0.9,
        "up_seconds": 800.0,
        "down_seconds": 100.0,
        "outages": 1,
    }
    assert windows["1h"]["coverage"] == 0.25
    assert list(client_of(history()).get("/api/v1/sites/shop/uptime").json()["windows"]) == [
        *("24h", "7d", "30d", "90d", "365d")
    ]


def test_no_observation_is_null(client_of):
    """The uptime of a site that was never observed is null, not 100 %."""
    windows = client_of(history()).get("/api/v1/sites/api/uptime?windows=30d").json()["windows"]
    assert windows["30d"]["uptime"] is None
    assert windows["30d"]["coverage"] == 0


def test_all_sites_as_json_and_as_csv(client_of):
    """JSON and CSV have the same rows, and a group narrows both."""
    client = client_of(history())
    found = client.get("/api/v1/uptime?window=1000s").json()
    assert [(one["site"], one["group"]) for one in found["sites"]] == [
        ("shop", "web"),
        ("api", None),
    ]
    answer = client.get("/api/v1/uptime?window=1000s&format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["uptime"] for row in rows] == [str(800 / 900), ""]
    narrowed = client.get("/api/v1/uptime?group=web").json()["sites"]
    assert [one["site"] for one in narrowed] == ["shop"]


def test_no_cell_of_a_table_is_a_formula(client_of):
    """No name or message becomes a formula in a spreadsheet, and numbers stay numbers."""
    past = FakeHistory(down("=1+1", NOW - 100, None), down('@a,"b', NOW - 100, None))
    client = client_of(past, states.up("=1+1", group="-x"), states.up('@a,"b'))
    rows = csv.DictReader(client.get("/api/v1/outages?format=csv").text.splitlines())
    assert sorted((row["site"], row["group"], row["seconds"]) for row in rows) == [
        ("'=1+1", "'-x", "100.0"),
        ("'@a,\"b", "", "100.0"),
    ]


def test_outages_have_begin_end_reason_and_message(client_of):
    """An ongoing outage has no end, and its seconds count until now."""
    client = client_of(history())
    [outage] = client.get("/api/v1/outages?from=2020-01-01T00:00:00Z").json()["outages"]
    assert (outage["site"], outage["end"], outage["seconds"]) == ("shop", None, 100.0)
    assert (outage["reason"], outage["message"]) == ("status", "status 503 is not in 2xx")
    assert client.get("/api/v1/outages?site=api").json()["outages"] == []
    assert client.get("/api/v1/outages?site=nobody").status_code == 404


def test_latency_has_points(client_of):
    """Points have the requested step, or one that gives a chart about 200 points."""
    point = LatencyPoint(begin=NOW - 60, count=3, p50=0.1, p95=0.2, p99=0.3, max=0.4)
    past = FakeHistory(latency={"shop": [point]})
    found = client_of(past).get("/api/v1/sites/shop/latency").json()
    assert found["step_seconds"] == 900
    assert found["points"][0]["p99_seconds"] == 0.3
    assert client_of(past).get("/api/v1/sites/shop/latency?step=1ms").status_code == 400


def test_results_are_read_page_by_page(client_of):
    """Each result comes once, newest first, until there is no further cursor."""
    past = FakeHistory()
    past.past["shop"] = [
        Past(time=NOW - number, duration=0.1, up=number % 2 == 0, reason=None)
        for number in range(1, 8)
    ]
    past.past["shop"].append(Past(time=NOW - 8, duration=5, up=False, reason=Reason.READ_TIMEOUT))
    client = client_of(past)
    seen, cursor = [], ""
    for _ in range(5):
        found = client.get(f"/api/v1/sites/shop/results?limit=3{cursor}").json()
        seen += found["results"]
        if found["next"] is None:
            break
        cursor = f"&cursor={found['next']}"
    assert len(seen) == 8
    assert seen[-1]["reason"] == "read_timeout"
    assert [one["time"] for one in seen] == sorted((one["time"] for one in seen), reverse=True)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/uptime?window=30", "window: '30' is not a duration"),
        ("/api/v1/uptime?window=0s", "window must be more than 0s"),
        ("/api/v1/uptime?format=xml", "format must be json or csv"),
        ("/api/v1/uptime?from=yesterday", "from must be a time such as"),
        ("/api/v1/uptime?from=2026-01-02&to=2026-01-01", "from must be earlier than to"),
        ("/api/v1/uptime?from=2026-01-02&window=1d", "say either from or window"),
        ("/api/v1/sites/shop/results?limit=0", "limit must be a number"),
        ("/api/v1/sites/shop/results?cursor=x", "cursor must be"),
        ("/api/v1/uptime?windw=1d", "unknown parameter 'windw'; known here are format, from,"),
        ("/api/v1/sites/shop/uptime?window=1d", "unknown parameter 'window'; known here are windo"),
        ("/api/v1/uptime?window=1d&window=2d", "window may be given once only"),
        ("/api/v1/uptime?to=0001-01-01T00:00:00", "to must lie between the years 1970 and 3000"),
        ("/api/v1/outages?from=9999-12-31", "from must lie between the years 1970 and 3000"),
    ],
)
def test_a_question_that_is_wrong_is_told_why(client_of, path, said):
    """A bad parameter gets a 400 with a sentence that names it."""
    answer = client_of(history()).get(path)
    assert answer.status_code == 400
    assert said in answer.text


def test_a_history_that_fails_is_no_uptime(client_of):
    """A failed history gets a 503 with the reason; an empty answer would mean no outages."""

    class Broken(FakeHistory):
        def uptime(self, *_):
            raise HistoryError("the history cannot be read: disk I/O error")

    answer = client_of(Broken()).get("/api/v1/uptime")
    assert (answer.status_code, "disk I/O error" in answer.text) == (503, True)
    assert client_of(None).get("/api/v1/outages").status_code == 503


def test_a_site_may_be_named_as_its_own_uptime(client_of):
    """A name that ends in /uptime finds its site if it is listed, and its own paths work too."""
    client = client_of(history(), states.up("shop"), states.up("a.test/uptime"))
    assert client.get("/api/v1/sites/a.test/uptime").json()["name"] == "a.test/uptime"
    assert "windows" in client.get("/api/v1/sites/a.test/uptime/uptime").json()
    assert client.get("/api/v1/sites/a.test/results").status_code == 404


def test_windows_of_days_are_long(client_of):
    """A window of 365 d is accepted."""
    past = FakeHistory(span("shop", NOW - 400 * DAY, None))
    found = client_of(past).get("/api/v1/sites/shop/uptime?windows=365d").json()["windows"]
    assert found["365d"]["up_seconds"] == 365 * DAY
