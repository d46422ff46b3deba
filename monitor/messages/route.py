"""
Who is told what, and when: sights and a clock in, notifications out. Pure.

Nothing keeps a list of events to tell. What to tell is the difference between what is true of a
site and what a channel was told last. So nothing is told twice, whatever is reloaded, restarted or
repeated, and nothing is forgotten, because the store keeps both sides of the difference.

Groups are Alertmanager's, with its terms. A group's first message is sent ``group_wait`` after its
first news, later ones at the earliest ``group_interval`` after the last message; alerts that still
fire are repeated after ``repeat_interval``. Some examples with the defaults (30s, 5m, 4h):

    a goes down at 0:00, b at 0:20           one message about both at 0:30
    a goes down at 0:00, comes up at 0:20    no message
    a goes down at 0:00, b at 2:00           a at 0:30, a and b at 5:30
    a goes down at 0:00 and stays down       a at 0:30, again at 4h 0:30

A channel that cannot be reached is retried with growing pauses. Each attempt tells what is true at
that time: a message with the same content has the same key, any other has another key. An outage
that came and went in the meantime is reported as such in the next message that arrives.
"""

import heapq
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.messages.notification import Alert, AlertStatus, Notification, fingerprint_of
from monitor.messages.rows import group_name, message_of, message_row, topic_of, topic_row
from monitor.messages.sight import (
    CERTIFICATE_ENDS,
    CLIENT_CERTIFICATE_ENDS,
    SITE_DOWN,
    SITE_FLAPPING,
    Sight,
    Validity,
    ending,
)
from monitor.messages.topic import (
    Channel,
    GroupKey,
    Missed,
    Pending,
    RowKey,
    ToldAlert,
    Topic,
    TopicKey,
    labels_of,
)
from monitor.messages.words import alert_of, moment_text
from monitor.model import Seconds, Site, Status, Timestamp
from monitor.naming import natural_key
from monitor.notify import NotifyOptions

EXPIRY: Seconds = 86400.0
"""How long a message is retried."""
PAUSES: tuple[Seconds, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Pauses between attempts at a channel; the last one repeats."""
LONGEST_PAUSE: Seconds = 3600.0
"""The longest pause, however long a receiver asks to wait."""
MOST_CARRIED = 200
"""The most alerts in one message; the rest is counted."""
MOST_AT_ONCE = 1000
"""The most alerts in a message to a receiver that groups by itself; the rest follows later."""
ALL_LABELS = "..."
_MOST_ROWS = 250
"""The most rows in a batch for the store: those of 10,000 sites at once would take 10 MB."""

_OF_CERTIFICATES = (CERTIFICATE_ENDS, CLIENT_CERTIFICATE_ENDS)
_ALERTS = (SITE_DOWN, SITE_FLAPPING, *_OF_CERTIFICATES)

_SUSPICIOUS = 3
"""After this many refusals, another message than the oldest is tried."""
_SOON: Seconds = 1.0
"""The wait after a start, until the other sites of a group are also known."""


@dataclass(slots=True)
class _Group:
    """
    What one channel is told together.

    Attributes:
        refused: Topics whose message was given up; they are told again with other news, or after
            ``quiet_until``.
    """

    members: set[TopicKey] = field(default_factory=set)
    next: Timestamp | None = None
    sent_at: Timestamp | None = None
    pending: Pending | None = None
    refused: set[TopicKey] = field(default_factory=set)
    quiet_until: Timestamp = 0.0


@dataclass(slots=True)
class _Queue:
    """The messages that wait for one channel."""

    channel: Channel
    waiting: dict[str, Pending] = field(default_factory=dict)
    busy: str | None = None
    failures: int = 0
    answered: int = 0
    failing_since: Timestamp | None = None
    next_try: Timestamp = 0.0


@dataclass(frozen=True, slots=True)
class LineState:
    """The state of one channel."""

    waiting: int
    oldest: Timestamp | None
    failing_since: Timestamp | None
    next_try: Timestamp | None


class Router:
    """
    The mutable state is what is true, what was told, and what waits; it belongs to one thread.

    Args:
        new_key: Creates the keys of messages.
        began: When this run of the daemon began.
    """

    def __init__(self, new_key: Callable[[], str], began: Timestamp) -> None:
        self._new_key = new_key
        self._listed = False
        self._began = began
        self._settings = NotifyOptions()
        self._topics: dict[TopicKey, Topic] = {}
        self._groups: dict[GroupKey, _Group] = {}
        self._lines: dict[str, _Queue] = {}
        self._by_receiver: dict[str, list[str]] = {}
        self._sights: dict[str, Sight] = {}
        self._due: list[tuple[Timestamp, GroupKey]] = []
        self._endings: list[tuple[Timestamp, str]] = []
        self._dirty_topics: set[TopicKey] = set()
        self._dirty_messages: dict[str, Pending | None] = {}
        self._stored: set[TopicKey] = set()

    # ------------------------------------------------------------ what is true

    def configure(
        self, settings: NotifyOptions, channels: Mapping[str, Channel], now: Timestamp
    ) -> dict[str, int]:
        """
        Use other settings from now on; what was told under the old ones stays told.

        Returns:
            How many waiting messages are dropped, by channels that are no longer listed.
        """
        before = self._lines
        if settings.group_by != self._settings.group_by:
            self._ungroup()
        self._settings = settings
        self._lines = {
            name: _Queue(channel) if name not in before else before[name]
            for name, channel in channels.items()
        }
        self._by_receiver = {}
        for name, channel in channels.items():
            self._lines[name].channel = channel
            self._by_receiver.setdefault(channel.receiver, []).append(name)
        dropped: dict[str, int] = {}
        for name in before.keys() - channels.keys():
            self._dirty_messages.update(dict.fromkeys(before[name].waiting))
            dropped[name] = len(before[name].waiting)
        for line in self._lines.values():
            line.next_try = min(line.next_try, now)  # the cause of the delay may have been fixed
        self._regroup(now)
        return {name: count for name, count in dropped.items() if count}

    def _drop_strangers(self, channel: str, line: _Queue) -> int:
        """Drop messages that wait for a channel, and whose sites no longer name it."""
        count = 0
        for key, pending in list(line.waiting.items()):
            topics = [self._topics.get(entry.topic) for entry in pending.entries]
            firing = [one for one in topics if one is not None and one.fires_openly]
            others = any(one is not None and channel in self._concerned(one) for one in topics)
            if key != line.busy and firing and not others:
                del line.waiting[key]
                self._dirty_messages[key] = None
                count += 1
        return count

    def _ungroup(self) -> None:
        """Drop the messages that were never attempted: others will tell the same."""
        for line in self._lines.values():
            for key in [key for key in line.waiting if key != line.busy]:
                del line.waiting[key]
                self._dirty_messages[key] = None

    def _regroup(self, now: Timestamp) -> None:
        self._groups, self._due = {}, []
        for line in self._lines.values():
            for pending in line.waiting.values():
                self._group(pending.group).pending = pending
        for topic in list(self._topics.values()):
            for name in topic.told.keys() - self._lines.keys():
                del topic.told[name]
                self._dirty_topics.add(topic.key)
            for name in topic.missed.keys() - self._lines.keys():
                topic.forget_missed(name)
                self._dirty_topics.add(topic.key)
            self._touch(topic, now)

    def see(self, sight: Sight, now: Timestamp) -> None:
        """Record what is now true of a site."""
        site = sight.site
        before = self._sights.get(site.name)
        self._on_labels(site, now)
        if before is not None and before.site.target == site.target:
            validities = sight.certificate or before.certificate, sight.client or before.client
            if validities != (sight.certificate, sight.client):
                sight = sight._replace(certificate=validities[0], client=validities[1])
        self._sights[site.name] = sight
        muted = sight.maintenance or bool(sight.because)
        if sight.status is Status.DOWN:
            since = min(sight.down_since or now, now)
            topic = self._fire(site, SITE_DOWN, "critical", since, now)
            topic.detail = sight.detail
            if topic.because and not sight.because:
                # It may have recovered with the other site, and was not checked since
                topic.ready_at = now + site.interval * site.confirm.successes + site.timeout
            topic.because = sight.because
            self._mute(topic, now, muted=muted, frozen=sight.flapping)
        elif sight.status is Status.UP:
            self._end(site, SITE_DOWN, now, frozen=sight.flapping)
        if sight.flapping:
            topic = self._fire(site, SITE_FLAPPING, "warning", now, now)
            self._mute(topic, now, muted=muted, frozen=False)
        elif sight.status is not Status.UNKNOWN:
            self._end(site, SITE_FLAPPING, now)
        for name, validity in (
            (CERTIFICATE_ENDS, sight.certificate),
            (CLIENT_CERTIFICATE_ENDS, sight.client),
        ):
            if validity is not None:
                self._see_certificate(sight, name, validity, now)

    def _see_certificate(self, sight: Sight, name: str, validity: Validity, now: Timestamp) -> None:
        site = sight.site
        end = ending(name, validity, now)
        if end.until is not None:
            heapq.heappush(self._endings, (end.until, site.name))
        if end.severity is None:
            self._end(site, name, now)
            return
        topic = self._fire(site, name, end.severity, end.since, now)
        if (topic.severity, topic.starts_at) != (end.severity, end.since):
            self._drop_from_groups(topic)
            topic.severity, topic.starts_at, topic.ready_at = end.severity, end.since, now
        topic.detail = moment_text(validity[1])
        self._mute(topic, now, muted=sight.maintenance, frozen=False)

    def leave(self, names: Iterable[str], now: Timestamp) -> None:
        """Record that sites have left the list."""
        for name in names:
            self._sights.pop(name, None)
            for alert in _ALERTS:
                topic = self._topics.get((name, alert, ""))
                if topic is not None:
                    topic.gone = True
                    self._end_topic(topic, now)

    def listed(self, is_ours: Callable[[str], bool], now: Timestamp) -> dict[str, int]:
        """
        Apply the whole list, after a start and after each reload.

        Args:
            is_ours: Returns whether an unlisted site, given by name, was ours to check.

        Returns:
            How many waiting messages are dropped, by channels that are no longer named by the sites
            that the messages are about.
        """
        self._listed = True
        gone = {key[0] for key in self._topics if key[0] not in self._sights}
        self.leave((name for name in gone if is_ours(name)), now)
        dropped = {name: self._drop_strangers(name, line) for name, line in self._lines.items()}
        if any(dropped.values()):
            self._regroup(now)
        return {name: count for name, count in dropped.items() if count}

    def rename(self, old: str, new: str, now: Timestamp) -> None:
        """Record that a site has another name but is the same."""
        sight = self._sights.pop(old, None)
        if sight is not None:
            self._sights[new] = sight
        for key in [key for key in self._topics if key[0] == old and not key[2]]:
            topic = self._topics.pop(key)
            self._leave_ghost(topic, now)
            self._drop(topic)
            topic.key = (new, *key[1:])
            topic.kept, topic.place = topic.labels() | {"site": new}, None
            self._topics[topic.key] = topic
            self._dirty_topics.add(topic.key)
            self._touch(topic, now)

    # ------------------------------------------------------------ topics

    def _fire(
        self, site: Site, name: str, severity: str, since: Timestamp, now: Timestamp
    ) -> Topic:
        """Return the topic of a firing alert, creating it unless it is known."""
        key = (site.name, name, "")
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = Topic(key, site, severity, since)
            fresh = True
        else:
            fresh = topic.ends_at is not None
            topic.place = site
        if fresh:
            topic.ends_at, topic.starts_at = None, since
            topic.muted = topic.frozen = topic.gone = False
            topic.because = ""
            # An alert that began before the restart has waited long enough
            first = since if since < self._began else now
            topic.ready_at = first + (self._settling(site) if name == SITE_DOWN else 0.0)
        return topic

    def _settling(self, site: Site) -> Seconds:
        """Return how long it may take to find out whether another site is the cause."""
        longest = 0.0
        for name in site.depends_on:
            sight = self._sights.get(name)
            if sight is not None and sight.status is not Status.DOWN:
                confirm, timeout = sight.site.confirm, sight.site.timeout
                waits = confirm.retry_interval * (confirm.failures - 1)
                longest = max(longest, confirm.failures * timeout + waits)
        return longest

    def _mute(self, topic: Topic, now: Timestamp, *, muted: bool, frozen: bool) -> None:
        if (topic.muted and not muted) or (topic.frozen and not frozen):
            topic.ready_at = max(topic.ready_at, now)
        topic.muted, topic.frozen = muted, frozen
        self._touch(topic, now)

    def _end(self, site: Site, name: str, now: Timestamp, *, frozen: bool = False) -> None:
        topic = self._topics.get((site.name, name, ""))
        if topic is not None:
            topic.place = site
            self._end_topic(topic, now, frozen=frozen)

    def _end_topic(self, topic: Topic, now: Timestamp, *, frozen: bool = False) -> None:
        if topic.ends_at is None:
            topic.ends_at = max(now, topic.starts_at)
            self._dirty_topics.add(topic.key)
            if not (topic.muted or topic.frozen):
                self._note_missed(topic)
            topic.ready_at = now
        elif topic.frozen and not frozen:
            topic.ready_at = now
        topic.muted, topic.frozen, topic.because = False, frozen, ""
        self._touch(topic, now)

    def _note_missed(self, topic: Topic) -> None:
        """Remember that it ended, for channels that may have been, or should have been, told."""
        end = topic.ends_at or topic.starts_at
        for name in self._channels_of(topic):
            if name in topic.told or not (
                self._may_have(topic, name) or self._was_due(topic, name, end)
            ):
                continue
            self._miss(topic, name, end)

    def _miss(self, topic: Topic, channel: str, end: Timestamp) -> None:
        before = topic.missed.get(channel)
        missed = Missed(
            before.begin if before else topic.starts_at,
            end,
            end - topic.starts_at + (before.seconds if before else 0.0),
            1 + (before.times if before else 0),
        )
        topic.miss(channel, missed)
        self._dirty_topics.add(topic.key)

    def _may_have(self, topic: Topic, channel: str) -> bool:
        """Return whether a message about a topic was sent with an unknown outcome."""
        group = self._groups.get(self._group_key(topic, channel))
        pending = group.pending if group else None
        if pending is None or all(entry.topic != topic.key for entry in pending.entries):
            return False
        sent = pending.attempts or pending.restored or self._lines[channel].busy == pending.key
        return bool(sent)

    def _was_due(self, topic: Topic, channel: str, end: Timestamp) -> bool:
        """Return whether a message about an outage was due while the channel was unreachable."""
        line = self._lines[channel]
        if topic.name != SITE_DOWN or line.failing_since is None or line.channel.groups:
            return False
        return topic.ready_at <= end and end - topic.starts_at >= self._settings.group_wait

    def _on_labels(self, site: Site, now: Timestamp) -> None:
        """Release alerts under a site's old labels, if receivers identify alerts by labels."""
        for alert in _ALERTS:
            topic = self._topics.get((site.name, alert, ""))
            if topic is not None and topic.place is not site:
                if topic.labels() != labels_of(site, alert, topic.severity):
                    self._leave_ghost(topic, now)
                    self._drop_from_groups(topic)
                topic.place = site
                self._touch(topic, now)

    def _leave_ghost(self, topic: Topic, now: Timestamp) -> None:
        """Have an alert resolved under its old labels, if the receiver identifies it by labels."""
        told = {
            name: told
            for name, told in topic.told.items()
            if name in self._lines and self._lines[name].channel.groups
        }
        if not told:
            return
        labels = topic.labels()
        key = (topic.key[0], topic.name, fingerprint_of(labels))
        ghost = Topic(key, None, topic.severity, topic.starts_at, ends_at=now, kept=labels)
        ghost.told, ghost.ready_at = told, now
        topic.told = {name: one for name, one in topic.told.items() if name not in told}
        self._topics[key] = ghost
        self._dirty_topics |= {key, topic.key}
        self._touch(ghost, now)

    def _drop(self, topic: Topic) -> None:
        self._topics.pop(topic.key, None)
        self._drop_from_groups(topic)
        self._dirty_topics.add(topic.key)

    def _drop_from_groups(self, topic: Topic) -> None:
        for name in self._lines:
            group = self._groups.get(self._group_key(topic, name))
            if group is not None:
                group.members.discard(topic.key)

    # ------------------------------------------------------------ groups

    def _channels_of(self, topic: Topic) -> list[str]:
        """Return the channels that are told about a topic while it fires."""
        if topic.place is None:
            return []
        wanted = topic.place.notify
        receivers = self._by_receiver if wanted is None else wanted
        return [name for one in receivers for name in self._by_receiver.get(one, ())]

    def _concerned(self, topic: Topic) -> dict[str, None]:
        """Return the channels that are, or were, told about a topic, in order."""
        return dict.fromkeys((*self._channels_of(topic), *topic.told, *topic.missed))

    def _group_key(self, topic: Topic, channel: str) -> GroupKey:
        by = self._settings.group_by
        if not by or self._lines[channel].channel.groups:
            return channel, ()
        labels = topic.labels()
        if ALL_LABELS in by:
            return channel, tuple(sorted(labels.items()))
        return channel, tuple((name, labels.get(name, "")) for name in by)

    def _group(self, key: GroupKey) -> _Group:
        return self._groups.setdefault(key, _Group())

    def _touch(self, topic: Topic, now: Timestamp, only: str | None = None) -> None:
        """Plan when channels, or only one, are told about a topic that may have changed."""
        concerned = self._concerned(topic)
        for channel in concerned if only is None else [only] if only in concerned else []:
            key = self._group_key(topic, channel)
            group = self._group(key)
            group.members.add(topic.key)
            told = topic.told.get(channel)
            if told is not None:
                group.sent_at = max(told.at, group.sent_at or 0.0)
            if self._has_news(topic, channel):
                self._plan(key, group, self._news_at(topic, key, group), now)
            elif group.sent_at is not None and self._is_repeated(topic, channel):
                self._plan(key, group, group.sent_at + self._settings.repeat_interval, now)
        if topic.over:
            self._drop(topic)

    def _has_news(self, topic: Topic, channel: str) -> bool:
        if topic.frozen:
            return False
        told = topic.told.get(channel)
        if topic.ends_at is not None:
            return told is not None or channel in topic.missed
        if topic.muted:
            return False
        if told is None or told.severity != topic.severity:
            return True
        # Another expiring certificate is news; another outage of a site that was reported as down
        # is not
        return topic.name in _OF_CERTIFICATES and told.starts_at != topic.starts_at

    def _is_repeated(self, topic: Topic, channel: str) -> bool:
        """Return whether a topic that is not news is told again after ``repeat_interval``."""
        return (
            topic.name == SITE_DOWN
            and topic.ends_at is None
            and channel in topic.told
            and not (topic.muted or topic.frozen or self._lines[channel].channel.groups)
        )

    def _news_at(self, topic: Topic, key: GroupKey, group: _Group) -> Timestamp:
        """Return when to tell news about a topic."""
        if self._lines[key[0]].channel.groups:
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

    # ------------------------------------------------------------ what to send now

    def next_due(self) -> Timestamp | None:
        """Return when to call due() next, unless something happens; None if never."""
        moments = [self._due[0][0]] if self._due else []
        if self._endings:
            moments.append(self._endings[0][0])
        if self._listed:
            lines = self._lines.values()
            moments += [one.next_try for one in lines if one.waiting and one.busy is None]
        return min(moments, default=None)

    def due(self, now: Timestamp) -> list[Notification]:
        """
        Return the messages to send now, at most one per channel.

        Each must be completed with ``answered`` before its channel gets another one.
        """
        while self._endings and self._endings[0][0] <= now:
            _, name = heapq.heappop(self._endings)
            if name in self._sights:
                self.see(self._sights[name], now)
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            group = self._groups.get(key)
            if group is not None and group.next == at:
                self._flush(key, group, now)
        if not self._listed:
            return []  # waiting messages may no longer be true
        return [found for line in self._lines.values() if (found := self._take(line, now))]

    def _flush(self, key: GroupKey, group: _Group, now: Timestamp) -> None:
        group.next = None
        if group.pending is not None:
            return  # news goes with the next attempt, or follows it
        if pending := self._compose(key, group, now):
            self._keep(pending)
        else:
            self._plan_again(key, group, now)

    def _keep(self, pending: Pending) -> None:
        self._groups[pending.group].pending = pending
        self._lines[pending.group[0]].waiting[pending.key] = pending
        self._dirty_messages[pending.key] = pending

    def _plan_again(self, key: GroupKey, group: _Group, now: Timestamp) -> None:
        for topic_key in list(group.members):
            topic = self._topics.get(topic_key)
            if topic is None:
                group.members.discard(topic_key)
            else:
                self._touch(topic, now, only=key[0])
        if not group.members and group.pending is None:
            self._groups.pop(key, None)

    def _take(self, line: _Queue, now: Timestamp) -> Notification | None:
        if line.busy is not None or not line.waiting or line.next_try > now:
            return None
        while line.waiting:
            pending = _next_of(line)
            is_old = pending.attempts if pending.restored else now > pending.born
            if is_old and (other := self._renewed(line, pending, now)) is not pending:
                if other is None:
                    continue
                pending = other
            line.busy = pending.key
            return pending.notification
        return None

    def _renewed(self, line: _Queue, pending: Pending, now: Timestamp) -> Pending | None:
        """Return a message with what is true now; None if there is nothing left to tell."""
        group = self._groups[pending.group]
        other = self._compose(pending.group, group, now)
        if (
            other is not None
            and len(other.entries) == len(pending.entries)
            and set(other.entries).issuperset(pending.entries)
        ):
            return pending
        del line.waiting[pending.key]
        self._dirty_messages[pending.key] = None
        group.pending = None
        if other is None:
            self._plan_again(pending.group, group, now)
            return None
        other.born, other.attempts = pending.born, pending.attempts
        self._keep(other)
        return other

    def _compose(self, key: GroupKey, group: _Group, now: Timestamp) -> Pending | None:
        """Return the message about a group; None if there is nothing to tell now."""
        channel = key[0]
        by_itself = self._lines[channel].channel.groups
        news: list[Topic] = []
        firing: list[Topic] = []
        for topic_key in group.members:
            topic = self._topics.get(topic_key)
            if topic is None:
                continue
            if self._has_news(topic, channel):
                if topic.ready_at <= now:
                    news.append(topic)
            elif topic.fires_openly and channel in topic.told:
                firing.append(topic)
        if group.refused and now < group.quiet_until:
            is_due = any(topic.key not in group.refused for topic in news)
        else:
            is_due = bool(news)
        if not is_due and group.sent_at is not None:
            is_due = now >= group.sent_at + self._settings.repeat_interval and any(
                self._is_repeated(topic, channel) for topic in firing
            )
        if not is_due:
            return None
        told = news if by_itself else [*news, *firing]
        carried = heapq.nsmallest(MOST_AT_ONCE if by_itself else MOST_CARRIED, told, key=_place_of)
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

    # ------------------------------------------------------------ outcomes

    def delivered(self, channel: str, key: str, now: Timestamp) -> None:
        """Record that a channel has received a message."""
        line = self._lines.get(channel)
        pending = line.waiting.pop(key, None) if line else None
        if line is None or pending is None:
            return
        line.busy, line.failures, line.answered, line.failing_since = None, 0, 0, None
        line.next_try = now
        for one in line.waiting.values():
            # Others arrive, so this message is at fault, not the channel
            one.behind |= one.attempts >= _SUSPICIOUS
        self._dirty_messages[key] = None
        group = self._group(pending.group)
        group.pending, group.sent_at, group.next = None, now, None
        group.refused.clear()
        for entry in pending.entries:
            topic = self._topics.get(entry.topic)
            if topic is None:
                continue
            if entry.firing:
                topic.told[channel] = ToldAlert(entry.starts_at, entry.severity, now)
            else:
                topic.told.pop(channel, None)
            topic.forget_missed(channel)
            self._dirty_topics.add(entry.topic)
        self._plan_again(pending.group, group, now)

    def failed(
        self,
        channel: str,
        key: str,
        now: Timestamp,
        *,
        lasting: bool,
        answered: bool = False,
        retry_after: Seconds | None = None,
    ) -> str:
        """
        Record that an attempt failed.

        Returns:
            The consequence: ``retried``; ``refused`` if trying again is pointless; ``expired`` if
            it was retried for long enough.
        """
        line = self._lines.get(channel)
        if line is None:
            return "retried"
        line.busy = None
        pending = line.waiting.get(key)
        if pending is None:
            return "retried"
        if lasting or now - pending.born >= EXPIRY:
            line.next_try = now
            self._give_up(line, pending, now)
            return "refused" if lasting else "expired"
        pause = PAUSES[min(line.failures, len(PAUSES) - 1)]
        if retry_after is not None:
            pause = max(pause, min(retry_after, LONGEST_PAUSE))
        line.failures += 1
        line.answered = line.answered + 1 if answered else 0
        line.next_try = now + pause
        if line.failing_since is None:
            line.failing_since = now
        pending.attempts += 1
        if pending.attempts == 1:
            self._dirty_messages[key] = pending
        return "retried"

    def _give_up(self, line: _Queue, pending: Pending, now: Timestamp) -> None:
        channel = pending.group[0]
        del line.waiting[pending.key]
        self._dirty_messages[pending.key] = None
        group = self._groups[pending.group]
        group.pending = None
        group.quiet_until = now + self._settings.repeat_interval
        for entry in pending.entries:
            topic = self._topics.get(entry.topic)
            if topic is None:
                continue
            topic.forget_missed(channel)
            if entry.firing:
                group.refused.add(entry.topic)
            elif topic.ends_at is not None:
                topic.told.pop(channel, None)
            self._dirty_topics.add(entry.topic)
        self._plan_again(pending.group, group, now)

    def retry(self, channels: Collection[str], now: Timestamp) -> None:
        """Retry the waiting messages of these channels at once."""
        for name in channels:
            if name in self._lines:
                self._lines[name].next_try = now
        for key, group in list(self._groups.items()):
            if key[0] in channels and group.refused:
                group.refused.clear()
                self._plan_again(key, group, now)

    def set_back(self, now: Timestamp) -> None:
        """Handle a clock that was set back: times in its future are from before that."""
        self._began = min(self._began, now)
        for topic in self._topics.values():
            topic.ready_at = min(topic.ready_at, now)
            topic.told = {
                name: told._replace(at=min(told.at, now)) for name, told in topic.told.items()
            }
        for line in self._lines.values():
            line.next_try = min(line.next_try, now)
            for pending in line.waiting.values():
                pending.born = min(pending.born, now)
        self._endings = [(now, name) for name in self._sights]
        self._regroup(now)

    def standing(self, channel: str) -> Iterator[Alert]:
        """Yield the alerts that a channel was told are firing, as they should be there."""
        for topic in self._topics.values():
            if channel in topic.told and topic.ends_at is None:
                yield alert_of(topic, channel)

    def states(self) -> dict[str, LineState]:
        return {
            name: LineState(
                waiting=len(line.waiting),
                oldest=min((one.born for one in line.waiting.values()), default=None),
                failing_since=line.failing_since,
                next_try=line.next_try if line.waiting and line.busy is None else None,
            )
            for name, line in self._lines.items()
        }

    # ------------------------------------------------------------ the store

    def changes(self) -> dict[RowKey, bytes | None]:
        """
        Return rows that differ from those returned before; None for a row to delete.

        At most 250; there are more until it returns nothing. Topics come before messages, so a
        daemon that finds only the topic after a restart sends the message again, under the same
        key.
        """
        rows: dict[RowKey, bytes | None] = {}
        while self._dirty_topics and len(rows) < _MOST_ROWS:
            key = self._dirty_topics.pop()
            topic = self._topics.get(key)
            if topic is not None and (topic.told or topic.missed):
                rows["topic", json.dumps(key)] = topic_row(topic)
                self._stored.add(key)
            elif key in self._stored:
                rows["topic", json.dumps(key)] = None
                self._stored.discard(key)
        if not self._dirty_topics:
            self._dirty_topics.clear()  # emptied one by one, it would keep its memory
        while self._dirty_messages and len(rows) < _MOST_ROWS:
            message_key, pending = self._dirty_messages.popitem()
            rows["message", message_key] = None if pending is None else message_row(pending)
        return rows

    def rewrite(self) -> None:
        """Make changes() return all rows again, because the store has lost them."""
        self._dirty_topics |= self._stored
        for line in self._lines.values():
            self._dirty_messages.update(line.waiting)

    @staticmethod
    def site_of(key: str) -> str:
        """Return the site that a row of the kind ``topic`` is about; empty if it is not ours."""
        try:
            return str(json.loads(key)[0])
        except (ValueError, LookupError, TypeError):
            return ""

    def restore(self, rows: Mapping[RowKey, bytes], now: Timestamp) -> dict[str, int]:
        """
        Continue where the daemon stopped before its restart; called once, after configure().

        Returns:
            How many messages are dropped, by channels that are no longer configured.
        """
        dropped: dict[str, int] = {}
        # Topics first, because messages are compared with them
        for (kind, text), data in sorted(rows.items(), key=lambda row: row[0][0] != "topic"):
            try:
                if kind == "topic":
                    topic = topic_of(json.loads(text), json.loads(data))
                    self._topics[topic.key] = topic
                    self._stored.add(topic.key)
                elif kind == "message":
                    pending = message_of(text, json.loads(data))
                    if pending.group[0] in self._lines and now - pending.born < EXPIRY:
                        self._restore_message(pending)
                    else:
                        self._dirty_messages[text] = None
                    if pending.group[0] not in self._lines:
                        dropped[pending.group[0]] = dropped.get(pending.group[0], 0) + 1
            except (ValueError, KeyError, TypeError, IndexError):
                continue  # written by another version; what is true will be told again
        self._regroup(now)
        return dropped

    def _restore_message(self, pending: Pending) -> None:
        line = self._lines[pending.group[0]]
        line.waiting[pending.key] = pending
        if pending.attempts and line.failing_since is None:
            line.failing_since = pending.born
        for entry, alert in zip(pending.entries, pending.notification.alerts, strict=False):
            topic = self._topics.get(entry.topic)
            if entry.firing and topic is None:
                # It may have ended by now, which is then told
                self._topics[entry.topic] = Topic(
                    entry.topic, None, entry.severity, entry.starts_at, kept=dict(alert.labels)
                )
            elif entry.firing and topic is not None and topic.ends_at is not None:
                channel = pending.group[0]
                if channel not in (*topic.told, *topic.missed):
                    # It ended before the stop, but the message may have been sent
                    self._miss(topic, channel, topic.ends_at)


def _place_of(topic: Topic) -> tuple[Any, ...]:
    """Return the sort key of topics in a message: firing ones first, then by site name."""
    return topic.ends_at is not None, natural_key(topic.key[0]), topic.key


def _next_of(line: _Queue) -> Pending:
    """Return the message to try: the oldest, unless it may be the one at fault."""
    waiting = sorted(line.waiting.values(), key=lambda one: (one.behind, one.born))
    if len(waiting) > 1 and line.answered >= _SUSPICIOUS and line.answered % 2:
        return waiting[1 + line.answered // 2 % (len(waiting) - 1)]
    return waiting[0]
