"""
Decides when each channel is told what, in groups: topics and a clock in, messages out. Pure.

Groups are Alertmanager's, with its terms. A group's first message is sent ``group_wait`` after its
first news, later ones at the earliest ``group_interval`` after the last message; alerts that still
fire are repeated after ``repeat_interval``. Some examples with the defaults (30s, 5m, 4h):

    a goes down at 0:00, b at 0:20           one message about both at 0:30
    a goes down at 0:00, comes up at 0:20    no message
    a goes down at 0:00, b at 2:00           a at 0:30, a and b at 5:30
    a goes down at 0:00 and stays down       a at 0:30, again at 4h 0:30

Each attempt tells what is true at that time: a message with the same content has the same key, any
other has another key.
"""

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from monitor.messages.notification import AlertStatus, Notification
from monitor.messages.queue import ChannelQueue
from monitor.messages.rows import group_name
from monitor.messages.sight import CERTIFICATE_ENDS, CLIENT_CERTIFICATE_ENDS, SITE_DOWN
from monitor.messages.topic import Channel, GroupKey, Pending, Topic, TopicKey
from monitor.messages.unsaved import Unsaved
from monitor.messages.words import alert_of
from monitor.model import Seconds, Timestamp
from monitor.naming import natural_key
from monitor.notify import NotifyOptions

EXPIRY: Seconds = 86400.0
"""How long a message is retried."""
MOST_CARRIED = 200
"""The most alerts in one message; the rest is counted."""
MOST_AT_ONCE = 1000
"""The most alerts in a message to a receiver that groups by itself; the rest follows later."""
ALL_LABELS = "..."
_SOON: Seconds = 1.0
"""The wait after a start, until the other sites of a group are also known."""

_OF_CERTIFICATES = (CERTIFICATE_ENDS, CLIENT_CERTIFICATE_ENDS)

Outcome: TypeAlias = Literal["retried", "refused", "expired"]
"""The consequence of a failed attempt: trying again may be pointless, or have lasted too long."""


@dataclass(slots=True)
class _Group:
    """
    What one channel is told together.

    Attributes:
        next: When to check whether there is a message; None while one waits, or without a reason.
        pending: The message that waits.
        refused: Topics whose message was given up; they are told again with other news, or after
            ``quiet_until``.
    """

    members: set[TopicKey] = field(default_factory=set)
    next: Timestamp | None = None
    sent_at: Timestamp | None = None
    pending: Pending | None = None
    refused: set[TopicKey] = field(default_factory=set)
    quiet_until: Timestamp = 0.0


class GivenUp(NamedTuple):
    """The consequence of a failed attempt; the message is None if it is retried."""

    outcome: Outcome
    pending: Pending | None


class MessageGroups:
    """
    The mutable state is the groups and the queues of the channels; it belongs to one thread.

    Args:
        new_key: Creates the keys of messages.
        began: When this run of the daemon began.
        topics: All topics, as the router changes them; they are only read here.
        unsaved: Notified of each message that waits, or no longer waits.

    Attributes:
        queues: The messages that wait for each channel.
    """

    def __init__(
        self,
        new_key: Callable[[], str],
        began: Timestamp,
        topics: Mapping[TopicKey, Topic],
        unsaved: Unsaved,
    ) -> None:
        self._new_key = new_key
        self._began = began
        self._topics = topics
        self._unsaved = unsaved
        self._settings = NotifyOptions()
        self._by_receiver: dict[str, list[str]] = {}
        self._groups: dict[GroupKey, _Group] = {}
        self._due: list[tuple[Timestamp, GroupKey]] = []
        self.queues: dict[str, ChannelQueue] = {}

    # ------------------------------------------------------------ settings

    def configure(
        self, settings: NotifyOptions, channels: Mapping[str, Channel], now: Timestamp
    ) -> dict[str, int]:
        """Use other settings; regroup() must follow. Returns the same as Router.configure()."""
        before = self.queues
        if settings.group_by != self._settings.group_by:
            self._ungroup()
        self._settings = settings
        self.queues = {
            name: ChannelQueue(channel) if name not in before else before[name]
            for name, channel in channels.items()
        }
        self._by_receiver = {}
        for name, channel in channels.items():
            self.queues[name].channel = channel
            self._by_receiver.setdefault(channel.receiver, []).append(name)
        dropped: dict[str, int] = {}
        for name in before.keys() - channels.keys():
            for key in before[name].waiting:
                self._unsaved.no_message(key)
            dropped[name] = len(before[name].waiting)
        for queue in self.queues.values():
            queue.next_try = min(queue.next_try, now)  # the cause of the delay may have been fixed
        return {name: count for name, count in dropped.items() if count}

    def _ungroup(self) -> None:
        """Drop the messages that were never attempted: others will tell the same."""
        for queue in self.queues.values():
            for key in [key for key in queue.waiting if key != queue.busy]:
                self._drop_message(queue, key)

    def _drop_message(self, queue: ChannelQueue, key: str) -> None:
        del queue.waiting[key]
        self._unsaved.no_message(key)

    def drop_strangers(self) -> dict[str, int]:
        """
        Drop messages to channels that the sites of the messages no longer name.

        Returns:
            How many, by channel. If it is not empty, regroup() must follow.
        """
        dropped = {name: self._drop_strangers(name, one) for name, one in self.queues.items()}
        return {name: count for name, count in dropped.items() if count}

    def _drop_strangers(self, channel: str, queue: ChannelQueue) -> int:
        count = 0
        for key, pending in list(queue.waiting.items()):
            topics = [self._topics.get(entry.topic) for entry in pending.entries]
            firing = [one for one in topics if one is not None and one.fires_openly]
            others = any(one is not None and channel in self._concerned(one) for one in topics)
            if key != queue.busy and firing and not others:
                self._drop_message(queue, key)
                count += 1
        return count

    def regroup(self) -> None:
        """Start with groups that have no members; touch() must follow for each topic."""
        self._groups, self._due = {}, []
        for queue in self.queues.values():
            for pending in queue.waiting.values():
                self._group(pending.group).pending = pending

    def set_back(self, now: Timestamp) -> None:
        """Handle a clock that was set back: nothing may be in its future; regroup() must follow."""
        self._began = min(self._began, now)
        for queue in self.queues.values():
            queue.set_back(now)

    # ------------------------------------------------------------ who is told about a topic

    def channels_of(self, topic: Topic) -> list[str]:
        """Return the channels that are told about a topic while it fires."""
        if topic.place is None:
            return []
        wanted = topic.place.notify
        receivers = self._by_receiver if wanted is None else wanted
        return [name for one in receivers for name in self._by_receiver.get(one, ())]

    def _concerned(self, topic: Topic) -> dict[str, None]:
        """Return the channels that are, or were, told about a topic, in order."""
        return dict.fromkeys((*self.channels_of(topic), *topic.told, *topic.missed))

    def _group_key(self, topic: Topic, channel: str) -> GroupKey:
        by = self._settings.group_by
        if not by or self.queues[channel].channel.groups:
            return channel, ()
        labels = topic.labels()
        if ALL_LABELS in by:
            return channel, tuple(sorted(labels.items()))
        return channel, tuple((name, labels.get(name, "")) for name in by)

    def _group(self, key: GroupKey) -> _Group:
        return self._groups.setdefault(key, _Group())

    def remove(self, topic: Topic) -> None:
        """Remove a topic from the groups of its labels."""
        for name in self.queues:
            group = self._groups.get(self._group_key(topic, name))
            if group is not None:
                group.members.discard(topic.key)

    def should_know(self, topic: Topic, channel: str, end: Timestamp) -> bool:
        """Return whether a channel may or should have been told about an ended topic."""
        return self._may_have(topic, channel) or self._was_due(topic, channel, end)

    def _may_have(self, topic: Topic, channel: str) -> bool:
        """Return whether a message about a topic was sent with an unknown outcome."""
        group = self._groups.get(self._group_key(topic, channel))
        pending = group.pending if group else None
        if pending is None or all(entry.topic != topic.key for entry in pending.entries):
            return False
        sent = pending.attempts or pending.restored or self.queues[channel].busy == pending.key
        return bool(sent)

    def _was_due(self, topic: Topic, channel: str, end: Timestamp) -> bool:
        """Return whether a message about an outage was due while the channel was unreachable."""
        queue = self.queues[channel]
        if topic.name != SITE_DOWN or queue.failing_since is None or queue.channel.groups:
            return False
        return topic.ready_at <= end and end - topic.starts_at >= self._settings.group_wait

    # ------------------------------------------------------------ when

    def touch(self, topic: Topic, now: Timestamp, only: str | None = None) -> None:
        """Plan when channels, or only one, are told about a topic that may have changed."""
        concerned = self._concerned(topic)
        for channel in concerned if only is None else [only] if only in concerned else []:
            key = self._group_key(topic, channel)
            group = self._group(key)
            group.members.add(topic.key)
            told = topic.told.get(channel)
            if told is not None:
                group.sent_at = max(told.at, group.sent_at or 0.0)
            if _has_news(topic, channel):
                self._plan(key, group, self._news_at(topic, key, group), now)
            elif group.sent_at is not None and self._is_repeated(topic, channel):
                self._plan(key, group, self._repeat_at(group, group.sent_at), now)

    def _is_repeated(self, topic: Topic, channel: str) -> bool:
        """Return whether a topic that is not news is told again after ``repeat_interval``."""
        return (
            topic.name == SITE_DOWN
            and topic.ends_at is None
            and channel in topic.told
            and not (topic.muted or topic.frozen or self.queues[channel].channel.groups)
        )

    def _repeat_at(self, group: _Group, sent_at: Timestamp) -> Timestamp:
        """Return when firing alerts are repeated; a refused repetition waits as long."""
        return max(sent_at + self._settings.repeat_interval, group.quiet_until)

    def _news_at(self, topic: Topic, key: GroupKey, group: _Group) -> Timestamp:
        """Return when to tell news about a topic."""
        if self.queues[key[0]].channel.groups:
            quiet = group.quiet_until if topic.key in group.refused else topic.ready_at
            return max(quiet, topic.ready_at)
        at = topic.ready_at + self._settings.group_wait
        if group.sent_at is not None:
            at = max(at, group.sent_at + self._settings.group_interval)
        if topic.key in group.refused:
            at = max(at, group.quiet_until)
        return at

    def _plan(self, key: GroupKey, group: _Group, at: Timestamp, now: Timestamp) -> None:
        if now < self._began + _SOON:
            at = max(at, self._began + _SOON)
        if group.pending is None and (group.next is None or at < group.next):
            group.next = at
            heapq.heappush(self._due, (at, key))

    def plan_again(self, key: GroupKey, now: Timestamp) -> None:
        """Plan when a group's channel is told about each topic of the group."""
        group = self._groups[key]
        for topic_key in list(group.members):
            topic = self._topics.get(topic_key)
            if topic is None:
                group.members.discard(topic_key)
            else:
                self.touch(topic, now, only=key[0])
        if not group.members and group.pending is None:
            self._groups.pop(key, None)

    def next_flush(self) -> Timestamp | None:
        """Return when to call flush() next; None if never."""
        return self._due[0][0] if self._due else None

    def flush(self, now: Timestamp) -> None:
        """Put the messages of the groups that are due into their queues."""
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            group = self._groups.get(key)
            if group is None or group.next != at:
                continue
            group.next = None
            if group.pending is not None:
                continue  # news goes with the next attempt, or follows it
            if pending := self._compose(key, group, now):
                self._keep(pending)
            else:
                self.plan_again(key, now)

    def _keep(self, pending: Pending) -> None:
        self._groups[pending.group].pending = pending
        self.queues[pending.group[0]].waiting[pending.key] = pending
        self._unsaved.message(pending)

    # ------------------------------------------------------------ messages

    def take(self, now: Timestamp) -> Iterator[Notification]:
        """Yield the messages to send now, at most one per channel."""
        for queue in self.queues.values():
            if (notification := self._take(queue, now)) is not None:
                yield notification

    def _take(self, queue: ChannelQueue, now: Timestamp) -> Notification | None:
        if queue.due_at is None or queue.due_at > now:
            return None
        while queue.waiting:
            pending = queue.first()
            is_old = pending.attempts if pending.restored else now > pending.born
            if is_old and (other := self._renewed(queue, pending, now)) is not pending:
                if other is None:
                    continue
                pending = other
            queue.busy = pending.key
            return pending.notification
        return None

    def _renewed(self, queue: ChannelQueue, pending: Pending, now: Timestamp) -> Pending | None:
        """Return a message with what is true now; None if there is nothing left to tell."""
        group = self._groups[pending.group]
        other = self._compose(pending.group, group, now)
        if (
            other is not None
            and len(other.entries) == len(pending.entries)
            and set(other.entries).issuperset(pending.entries)
        ):
            return pending
        self._drop_message(queue, pending.key)
        group.pending = None
        if other is None:
            self.plan_again(pending.group, now)
            return None
        other.born, other.attempts = pending.born, pending.attempts
        self._keep(other)
        return other

    def _compose(self, key: GroupKey, group: _Group, now: Timestamp) -> Pending | None:
        """Return the message about a group; None if there is nothing to tell now."""
        channel = key[0]
        news: list[Topic] = []
        firing: list[Topic] = []
        for topic_key in group.members:
            topic = self._topics.get(topic_key)
            if topic is None:
                continue
            if _has_news(topic, channel):
                if topic.ready_at <= now:
                    news.append(topic)
            elif topic.fires_openly and channel in topic.told:
                firing.append(topic)
        if not self._is_due(channel, group, news, firing, now):
            return None
        by_itself = self.queues[channel].channel.groups
        told = news if by_itself else [*news, *firing]
        carried = heapq.nsmallest(MOST_AT_ONCE if by_itself else MOST_CARRIED, told, key=_order_of)
        if by_itself:
            told = carried
        elif len(told) > len(carried):
            first = {one.key for one in carried}
            told = [*carried, *(one for one in told if one.key not in first)]
        entries = tuple(one.entry() for one in told)
        alerts = tuple(alert_of(one, channel) for one in carried)
        labels = {name: value for name, value in key[1] if value}
        any_fires = any(entry.firing for entry in entries)
        message_key = self._new_key()
        notification = Notification(
            key=message_key,
            receiver=channel,
            group_key=group_name(labels),
            group_labels=labels,
            status=AlertStatus.FIRING if any_fires else AlertStatus.RESOLVED,
            alerts=alerts,
            omitted=len(told) - len(carried),
        )
        return Pending(message_key, key, now, notification, entries)

    def _is_due(
        self, channel: str, group: _Group, news: list[Topic], firing: list[Topic], now: Timestamp
    ) -> bool:
        """Return whether news, or the time since the last message, requires another one."""
        if group.refused and now < group.quiet_until:
            is_due = any(topic.key not in group.refused for topic in news)
        else:
            is_due = bool(news)
        if not is_due and group.sent_at is not None:
            is_due = now >= self._repeat_at(group, group.sent_at) and any(
                self._is_repeated(topic, channel) for topic in firing
            )
        return is_due

    # ------------------------------------------------------------ outcomes

    def delivered(self, channel: str, key: str, now: Timestamp) -> Pending | None:
        """
        Record that a channel has a message; plan_again() must follow, once its topics know.

        Returns:
            The message; None if it, or the channel, is no longer known.
        """
        queue = self.queues.get(channel)
        pending = queue.waiting.pop(key, None) if queue else None
        if queue is None or pending is None:
            return None
        queue.arrived(now)
        self._unsaved.no_message(key)
        group = self._group(pending.group)
        group.pending, group.sent_at, group.next = None, now, None
        group.refused.clear()
        return pending

    def failed(
        self,
        channel: str,
        key: str,
        now: Timestamp,
        *,
        lasting: bool,
        answered: bool,
        retry_after: Seconds | None,
    ) -> GivenUp:
        """Record that an attempt failed; plan_again() must follow if a message was given up."""
        queue = self.queues.get(channel)
        if queue is None:
            return GivenUp("retried", None)
        queue.busy = None
        pending = queue.waiting.get(key)
        if pending is None:
            return GivenUp("retried", None)
        if lasting or now - pending.born >= EXPIRY:
            queue.next_try = now
            self._give_up(queue, pending, now)
            return GivenUp("refused" if lasting else "expired", pending)
        queue.failed(now, answered=answered, retry_after=retry_after)
        pending.attempts += 1
        if pending.attempts == 1:
            self._unsaved.message(pending)
        return GivenUp("retried", None)

    def _give_up(self, queue: ChannelQueue, pending: Pending, now: Timestamp) -> None:
        self._drop_message(queue, pending.key)
        group = self._groups[pending.group]
        group.pending = None
        group.quiet_until = now + self._settings.repeat_interval
        group.refused |= {
            entry.topic for entry in pending.entries if entry.firing and entry.topic in self._topics
        }

    def retry(self, channels: Collection[str], now: Timestamp) -> None:
        """Retry the waiting messages of these channels at once."""
        for name in channels:
            if name in self.queues:
                self.queues[name].next_try = now
        for key, group in list(self._groups.items()):
            if key[0] in channels and group.refused:
                group.refused.clear()
                group.quiet_until = 0.0
                self.plan_again(key, now)


def _has_news(topic: Topic, channel: str) -> bool:
    """Return whether a channel was last told something about a topic that is no longer true."""
    if topic.frozen:
        return False
    told = topic.told.get(channel)
    if topic.ends_at is not None:
        return told is not None or channel in topic.missed
    if topic.muted:
        return False
    if told is None or told.severity != topic.severity:
        return True
    # Another certificate that ends soon is news; another outage of a site that was told as down
    # is not
    return topic.name in _OF_CERTIFICATES and told.starts_at != topic.starts_at


def _order_of(topic: Topic) -> tuple[Any, ...]:
    """Return the sort key of topics in a message: firing ones first, then by site name."""
    return topic.ends_at is not None, natural_key(topic.key[0]), topic.key
