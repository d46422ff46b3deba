"""What pages and API say about the receivers of messages, and who may retry messages."""

from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from monitor.notify import ChannelState
from monitor.report import moment
from monitor.web.access import Access
from monitor.web.app import create_app
from monitor.web.web_config import WebConfig
from tests.fakes import FakeClock
from tests.web import states

NOW = states.NOW
WELL = ChannelState(
    channel="am/am-0:9093",
    receiver="am",
    kind="alertmanager",
    answered=NOW - 90,
    delivered=True,
    answer="am-0:9093 took it (status 200)",
)
FAILING = ChannelState(
    channel="oncall",
    receiver="oncall",
    kind="webhook",
    waiting=1203,
    oldest=NOW - 300,
    failing_since=NOW - 7200,
    next_try=NOW + 60,
    answered=NOW - 5,
    delivered=False,
    answer="hooks.example.com answered with status 500: <b>no</b> & <secret>",
)
FRESH = ChannelState(channel="chat", receiver="chat", kind="apprise")


class FakeOutbox:
    """
    Stands for the outbox.

    Attributes:
        tried: For which receivers what waits was tried again.
    """

    def __init__(self, *channels: ChannelState) -> None:
        self._channels = channels
        self.tried: list[str | None] = []

    def channels(self):
        return self._channels

    def retry(self, receiver):
        known = {None, *(name for one in self._channels for name in (one.channel, one.receiver))}
        if receiver in known:
            self.tried.append(receiver)
        return receiver in known


class Rows(HTMLParser):
    """Collects the texts of the cells of a page's tables, row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, _):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


def client(outbox, **users):
    def never(*_):
        raise AssertionError("nobody asked for this")

    app = create_app(
        board=states.board(states.up("shop")),
        scrape=never,
        reload=never,
        config_text=never,
        version="1",
        clock=FakeClock(time=NOW),
        outbox=outbox,
    )
    config = WebConfig(basic_auth_users=users)
    guarded = Access(app, config, lambda password, _: password == b"right") if users else app
    return TestClient(guarded, raise_server_exceptions=False)


def test_the_page_shows_what_waits_for_each_receiver_since_when_and_its_last_answer():
    """A receiver's answer is shown as text, never as markup, and a masked secret stays masked."""
    page = client(FakeOutbox(WELL, FAILING, FRESH)).get("/").text

    assert Rows(page).rows[-4:] == [
        ["State", "Receiver", "Waiting", "Last answer"],
        ["well", "am/am-0:9093 alertmanager", "nothing", f"{WELL.answer} (1 min 30 s ago)"],
        ["failing", "oncall webhook", "1,203, for 5 min", f"{FAILING.answer} (5 s ago)"],
        ["well", "chat apprise", "nothing", "no message was sent yet"],
    ]


@pytest.mark.parametrize("outbox", [None, FakeOutbox()])
def test_without_receivers_the_page_has_no_table_of_them(outbox):
    """The API returns an empty list, and there is nothing to retry."""
    asked = client(outbox)

    assert "Receivers of messages" not in asked.get("/").text
    assert asked.get("/api/v1/receivers").json() == {"receivers": []}
    assert asked.post("/-/notify/retry").status_code == 200
    answer = asked.post("/-/notify/retry?receiver=oncall")
    assert (answer.status_code, answer.text) == (
        404,
        "no receiver 'oncall' is listed; there are: none\n",
    )


def test_the_api_says_the_same_in_moments_and_seconds():
    """The API gives moments and seconds, or null if there is nothing to say."""
    answer = client(FakeOutbox(FAILING, FRESH)).get("/api/v1/receivers")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["receivers"] == [
        {
            "name": "oncall",
            "receiver": "oncall",
            "kind": "webhook",
            "waiting": 1203,
            "oldest": moment(NOW - 300),
            "oldest_seconds": 300,
            "failing_since": moment(NOW - 7200),
            "next_attempt": moment(NOW + 60),
            "last_attempt": moment(NOW - 5),
            "last_delivered": False,
            "last_answer": FAILING.answer,
        },
        {
            "name": "chat",
            "receiver": "chat",
            "kind": "apprise",
            "waiting": 0,
            **dict.fromkeys(("oldest", "oldest_seconds", "failing_since", "next_attempt")),
            **dict.fromkeys(("last_attempt", "last_delivered", "last_answer")),
        },
    ]


@pytest.mark.parametrize(
    ("query", "tried"),
    [("", None), ("?receiver=am", "am"), ("?receiver=am%2Fam-0%3A9093", "am/am-0:9093")],
)
def test_a_post_has_tried_again_what_waits(query, tried):
    """A POST retries what waits for all receivers, for one, or for one Alertmanager instance."""
    outbox = FakeOutbox(WELL, FAILING)
    answer = client(outbox).post(f"/-/notify/retry{query}")

    assert (answer.status_code, answer.text) == (200, "What waits is tried again now.\n")
    assert outbox.tried == [tried]


def test_an_unknown_receiver_is_named_with_those_that_there_are():
    """A 404 lists the receivers there are, cuts a long name, and nothing is retried."""
    outbox = FakeOutbox(WELL, FAILING)
    answer = client(outbox).post("/-/notify/retry?receiver=onkall")

    assert answer.status_code == 404
    assert answer.text == "no receiver 'onkall' is listed; there are: am, oncall\n"
    assert len(client(outbox).post(f"/-/notify/retry?receiver={'x' * 5000}").text) < 500
    assert outbox.tried == []


def test_only_a_post_of_somebody_who_is_logged_in_has_messages_tried_again():
    """GET gets a 405; without the web configuration's log-in neither list nor retry answers."""
    outbox = FakeOutbox(WELL)
    asked = client(outbox, alice="$2b$10$" + "a" * 53)

    assert asked.post("/-/notify/retry").status_code == 401
    assert asked.post("/-/notify/retry", auth=("alice", "wrong")).status_code == 401
    assert asked.get("/api/v1/receivers").status_code == 401
    assert asked.get("/-/notify/retry", auth=("alice", "right")).status_code == 405
    assert outbox.tried == []
    assert asked.post("/-/notify/retry", auth=("alice", "right")).status_code == 200
    assert outbox.tried == [None]
