"""/probe of targets and /sd, called through Starlette's test client, with checks made by hand."""

import json
import threading
from concurrent.futures import Future
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from monitor.model import Analysis, Result, Site, Verdict
from monitor.web.app import create_app
from monitor.web.probe import LiveCheck, ProbeQuery, Refused
from tests.builders import answered, down_result, error_result, up_result
from tests.narrowing import known
from tests.web import states

TEXT = b"probe_success 1\n"


class HandMade:
    """Stands in for the live checks: gives the test's answer, and remembers the query."""

    def __init__(self, outcome=None, refused=None, patience=5.0) -> None:
        self.queries: list[ProbeQuery] = []
        self.reply: Future[Result] = Future()
        self.accepts: list[str] = []
        self.site = Site(
            name="\n1",
            url="http://shop.test/",
            target="http://shop.test/",
            scheme="http",
            timeout=1.0,
        )
        self._refused = refused
        self._patience = patience
        if outcome:
            self.reply.set_result(outcome(self.site))

    def start(self, query):
        self.queries.append(query)
        if self._refused:
            raise self._refused
        return LiveCheck(
            site=self.site,
            module="http_2xx",
            module_text="http: {}",
            reply=self.reply,
            patience=self._patience,
        )

    def expose(self, site, result, accept):
        self.accepts.append(accept)
        assert site is self.site
        assert result is self.reply.result()
        return "text/plain; version=0.0.4", TEXT


def client_of(live, *found):
    app = create_app(
        board=states.board(*found),
        scrape=lambda *_: pytest.fail("nobody asked for metrics"),
        reload=lambda: pytest.fail("nobody asked for a reload"),
        config_text=lambda: "",
        version="1",
        probe_site=lambda _, name: ("text/x", iter([name.encode()])),
        live=live,
    )
    return TestClient(app, raise_server_exceptions=False)


def test_of_a_repeated_parameter_the_first_counts():
    """Of a repeated parameter the first counts, as in blackbox_exporter; the rest are ignored."""
    live = HandMade(up_result)
    answer = client_of(live).get(
        "/probe?target=a&module=m&target=b&hostname=h&module=n&hostname=i&debug=true&debug=false"
    )
    (query,) = live.queries
    assert (query.target, query.module, query.hostname) == ("a", "m", "h")
    assert "Logs for the probe:" in answer.text


def test_what_was_asked_is_passed_on():
    """Every parameter, decoded once, and Prometheus' header reach the check."""
    live = HandMade(up_result)
    client_of(live).get(
        "/probe?target=http%3A%2F%2Fa.test%2F%2541&module=m&hostname=h",
        headers={"X-Prometheus-Scrape-Timeout-Seconds": "10", "Accept": "text/x"},
    )
    (query,) = live.queries
    assert (query.target, query.module, query.hostname) == ("http://a.test/%41", "m", "h")
    assert query.scrape_timeout == "10"
    assert live.accepts == ["text/x"]


@pytest.mark.parametrize("outcome", [up_result, down_result])
def test_the_answer_is_200_up_or_down(outcome):
    """A failed probe is answered with 200, as a successful one is."""
    answer = client_of(HandMade(outcome)).get("/probe?target=a")
    assert (answer.status_code, answer.content) == (200, TEXT)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"


def test_a_refusal():
    """A refusal keeps the status and the sentence of the part that refused."""
    answer = client_of(HandMade(refused=Refused(403, "not there"))).get("/probe?target=a")
    assert (answer.status_code, answer.text) == (403, "not there\n")


def test_the_monitors_own_fault():
    """A fault of the monitor gets a 500 with a sentence, and says nothing about the target."""
    answer = client_of(HandMade(error_result)).get("/probe?target=a")
    assert answer.status_code == 500
    assert answer.text == "the monitor could not check: no file descriptor is left\n"


def test_a_stop():
    """A client that waits when the monitor stops gets a 503."""
    live = HandMade()
    live.reply.cancel()
    answer = client_of(live).get("/probe?target=a")
    assert (answer.status_code, "stopping" in answer.text) == (503, True)


def test_no_thread_in_time():
    """A check that gets no thread in time is cancelled, and so is its reply."""
    live = HandMade(patience=0.01)
    answer = client_of(live).get("/probe?target=a")
    assert (answer.status_code, answer.text) == (503, "no thread was free for this check in time\n")
    assert live.reply.cancelled()


def test_others_are_answered_meanwhile():
    """A slow check delays no other client."""
    live = HandMade()
    client = client_of(live)
    with client:
        threading.Timer(0.2, lambda: live.reply.set_result(up_result(live.site))).start()
        slow = threading.Thread(target=client.get, args=("/probe?target=a",))
        slow.start()
        assert client.get("/-/healthy").text == "Healthy\n"
        slow.join(10)
        assert not slow.is_alive()


def test_a_listed_site_has_its_own_target():
    """site together with target is refused; site alone shows the site's last result."""
    client = client_of(HandMade(up_result), states.up("a"))
    assert client.get("/probe?site=a").text == "a"
    answer = client.get("/probe?site=a&target=b")
    assert (answer.status_code, answer.text) == (
        400,
        "say either site or target: a listed site has its own\n",
    )


# ---------------------------------------------------------------- debug=true


def test_debug_has_three_blocks():
    """The report has log, metrics and module, under the headings that people and scripts know."""
    live = HandMade(up_result)
    answer = client_of(live).get("/probe?target=a&debug=true", headers={"Accept": "application/x"})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    logs, metrics, module = answer.text.split("\n\n\n")
    assert logs.startswith("Logs for the probe:\n")
    assert metrics.strip() == "\nMetrics that would have been returned:\nprobe_success 1".strip()
    assert module.strip() == "Module configuration:\nhttp: {}"
    assert live.accepts == [""]


@pytest.mark.parametrize(
    ("outcome", "messages"),
    [
        (up_result, ["Received HTTP response", "Probe succeeded"]),
        (down_result, ["Invalid HTTP response status code", "Probe failed"]),
    ],
)
def test_debug_tells_the_check_step_by_step(outcome, messages):
    """The messages are blackbox_exporter's; a failure has our reason and sentence."""
    text = client_of(HandMade(outcome)).get("/probe?target=a&debug=true").text
    found = [line.partition('msg="')[2].partition('"')[0] for line in text.splitlines()]
    found = [message for message in found if message]
    assert found[0] == "Beginning probe"
    assert [one for one in found if one in messages] == messages
    if outcome is down_result:
        assert 'reason=status detail="status 503 is not in 2xx"' in text


@pytest.mark.parametrize("debug", ["false", "1", ""])
def test_debug_is_true_or_not(debug):
    """Only the value true asks for the report."""
    answer = client_of(HandMade(up_result)).get(f"/probe?target=a&debug={debug}")
    assert answer.content == TEXT


def test_debug_shows_no_control_characters():
    """A target's headers cannot forge lines of the report."""

    def hostile(site):
        result = down_result(site)
        verdict = Verdict(up=False, message="a\nfake=1 \x1b[31m")
        return replace(result, observation=answered(), analysis=Analysis(verdict=verdict))

    text = client_of(HandMade(hostile)).get("/probe?target=a&debug=true").text
    assert "\x1b" not in text
    assert "a\\nfake=1" in text


# ---------------------------------------------------------------- service discovery


def test_discovery_has_a_target_for_each_site():
    """The address is this monitor's, as the client wrote it; the instance is the site's target."""
    client = client_of(None, states.up("shop"), states.up("a b/ü"))
    answer = client.get("/sd", headers={"Host": "monitor.internal:10115"})
    assert answer.headers["content-type"] == "application/json"
    groups = json.loads(answer.text)
    assert [group["targets"] for group in groups] == [["monitor.internal:10115"]] * 2
    labels = groups[1]["labels"]
    assert labels["__param_site"] == labels["site"] == "a b/ü"
    assert labels["__metrics_path__"] == "/probe"
    assert labels["__scheme__"] == "http"
    assert (
        labels["instance"] == known(states.board(states.up("a b/ü")).get("a b/ü")).state.site.target
    )


def test_discovery_of_nothing():
    """Without sites the answer is an empty JSON list."""
    assert client_of(None).get("/sd").json() == []
