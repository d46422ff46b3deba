"""Which rows of the store are out of date: topics that changed, messages that come and go. Pure."""

import json
from collections.abc import Iterable, Mapping

from monitor.messages.rows import message_row, topic_row
from monitor.messages.topic import Pending, RowKey, Topic, TopicKey

_MOST_ROWS = 250
"""The most rows in a batch for the store: those of 10,000 sites at once would take 10 MB."""


class Unsaved:
    """What differs from the store; a row is created only when it is to be written."""

    def __init__(self) -> None:
        self._topics: set[TopicKey] = set()
        self._messages: dict[str, Pending | None] = {}
        self._stored: set[TopicKey] = set()

    def topic(self, key: TopicKey) -> None:
        """Record that a topic changed, or is gone."""
        self._topics.add(key)

    def message(self, pending: Pending) -> None:
        """Record that a message waits, or how often it was tried."""
        self._messages[pending.key] = pending

    def no_message(self, key: str) -> None:
        """Record that a message no longer waits."""
        self._messages[key] = None

    def restored(self, key: TopicKey) -> None:
        """Record that the store has the current state of a topic."""
        self._stored.add(key)

    def rows(self, topics: Mapping[TopicKey, Topic]) -> dict[RowKey, bytes | None]:
        """
        Return rows that differ from those returned before; None is a row to delete.

        At most 250; there are more until it returns nothing. Topics come before messages, so a
        daemon that finds only the topic after a restart sends the message again, under the same
        key.
        """
        rows: dict[RowKey, bytes | None] = {}
        while self._topics and len(rows) < _MOST_ROWS:
            key = self._topics.pop()
            topic = topics.get(key)
            if topic is not None and (topic.told or topic.missed):
                rows["topic", json.dumps(key)] = topic_row(topic)
                self._stored.add(key)
            elif key in self._stored:
                rows["topic", json.dumps(key)] = None
                self._stored.discard(key)
        if not self._topics:
            self._topics.clear()  # emptied one by one, it would keep its memory
        while self._messages and len(rows) < _MOST_ROWS:
            message_key, pending = self._messages.popitem()
            rows["message", message_key] = None if pending is None else message_row(pending)
        return rows

    def rewrite(self, waiting: Iterable[Pending]) -> None:
        """Make rows() return everything again, because the store has lost it."""
        self._topics |= self._stored
        self._messages.update((pending.key, pending) for pending in waiting)
