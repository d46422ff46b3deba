"""The outbox with its threads, beside the history's writer and a real SQLite file."""

import sqlite3
from collections import Counter
from collections.abc import Iterator

import pytest

from monitor.clock import SystemClock
from monitor.history.store import connect, store_url
from monitor.history.writer import Writer
from monitor.messages.notification import DeliveryOutcome, Notification
from monitor.messages.outbox import Outbox
from monitor.messages.receivers.once import ToldOnce
from monitor.model import Status
from monitor.notify import NotifyOptions, ReceiverOptions, WebhookOptions
from tests.builders import down_result, site, state
from tests.history.lives import DEPTH, KEEP, Told
from tests.waiting import until


class Receiver(ToldOnce):
    """A receiver that accepts messages, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.keys: list[str] = []
        self.taken: list[str] = []

    def send(self, notification: Notification, _: float) -> DeliveryOutcome:
        self.keys.append(notification.key)
        if self.away:
            return DeliveryOutcome(delivered=False, detail="nobody is there")
        self.taken += [f"{one.labels['site']} {one.status}" for one in notification.alerts]
        return DeliveryOutcome(delivered=True, detail="took it")

    def close(self) -> None:
        pass


class Home:
    """
    A daemon's outbox and writer, which stop and start again over the same folder.

    Attributes:
        counted: Messages by receiver and outcome.
    """

    def __init__(self, folder) -> None:
        self.file = folder / "history.db"
        self.receivers = {"quick": Receiver(), "away": Receiver()}
        self.counted: Counter[tuple[str, str]] = Counter()
        self._url = store_url(None, folder)

    def start(self, *names: str) -> None:
        self.writer = Writer(
            lambda: connect(self._url, writes=True),
            seat="1/1",
            version="1",
            clock=SystemClock(),
            meters=Told(),
            keep=KEEP,
            results=DEPTH.results,
        )
        self.writer.start()
        self.outbox = Outbox(
            senders=lambda options: {options.name: self.receivers[options.name]},
            store=self.writer,
            clock=SystemClock(),
            meters=self,
            seat="1/1",
            is_ours=lambda _: True,
        )
        self.outbox.start(self.settings(*names))
        self.outbox.listed()

    def settings(self, *names: str) -> NotifyOptions:
        hook = WebhookOptions(url="http://127.0.0.1:1/")
        receivers = tuple(ReceiverOptions(name=name, webhook=hook) for name in names)
        return NotifyOptions(group_by=("site",), group_wait=0.0, receivers=receivers)

    def stop(self) -> None:
        self.outbox.stop(10)
        self.writer.stop(10)

    def notified(self, receiver: str, outcome: str) -> None:
        self.counted[receiver, outcome] += 1

    def channels(self, names) -> None:
        pass

    def waiting(self) -> dict[str, int]:
        return {one.channel: one.waiting for one in self.outbox.channels()}

    def rows(self) -> list[str]:
        """Return the kinds of rows in the file, or none if it has no table."""
        try:
            with sqlite3.connect(f"file:{self.file}?mode=ro", uri=True) as base:
                return [kind for (kind,) in base.execute("SELECT kind FROM outbox ORDER BY kind")]
        except sqlite3.Error:
            return []


@pytest.fixture
def home(tmp_path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    home.stop()


def down(name: str = "shop"):
    listed = site(name)
    return state(listed, down_result(listed), status=Status.DOWN, since=1_790_000_000.0)


def test_what_is_owed_is_written_into_the_store_that_follows_a_removed_one(home):
    """After a restart nothing is sent twice, and what waits keeps its key."""
    home.receivers["away"].away = True
    home.start("quick", "away")
    home.outbox.noted(down())
    until(lambda: home.rows() == ["message", "topic"], "what is owed")
    home.file.unlink()
    home.writer.keep({("topic", "no such"): None})  # the removal is noticed at the next write
    until(lambda: home.rows() == ["message", "topic"], "what is owed, in the new file")
    home.stop()
    home.receivers["away"].away = False
    home.start("quick", "away")
    home.outbox.noted(down())
    until(lambda: home.receivers["away"].taken == ["shop firing"], "the message that waited")
    assert len(set(home.receivers["away"].keys)) == 1
    assert home.receivers["quick"].taken == ["shop firing"]


def test_what_waits_for_a_receiver_that_leaves_the_configuration_is_said_and_counted(home, caplog):
    """At a reload and at a start, one line names the receiver and the number of messages."""
    home.receivers["away"].away = True
    home.start("quick", "away")
    for name in ("shop", "blog"):
        home.outbox.noted(down(name))
    until(lambda: home.waiting() == {"quick": 0, "away": 2}, "two messages that wait")
    home.outbox.configure(home.settings("quick"))
    until(lambda: home.counted["away", "dropped"] == 2, "their end")
    home.outbox.configure(home.settings("quick", "away"))
    until(lambda: home.waiting() == {"quick": 0, "away": 2}, "two messages that wait again")
    until(lambda: home.rows().count("message") == 2, "both in the store")
    home.stop()
    home.start("quick")
    until(lambda: home.counted["away", "dropped"] == 4, "their end")
    said = [one.fields for one in caplog.records if one.msg == "messages_dropped"]
    assert (
        said
        == [
            {
                "receiver": "away",
                "detail": "2 messages that waited are dropped: this receiver is not under notify"
                " any more, or not at the sites they are about",
            }
        ]
        * 2
    )
