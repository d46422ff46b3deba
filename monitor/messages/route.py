"""
Who is told what: sights and a clock in, notifications out. Pure.

Nothing keeps a list of events to tell. What to tell is the difference between what is true of a
site and what a channel was told last. So nothing is told twice, whatever is reloaded, restarted or
repeated, and nothing is forgotten, because the store keeps both sides of the difference.

This module knows what is true, and what each channel was told; messages/groups.py decides when a
channel is told the difference. An outage that came and went while a channel could not be reached is
reported as such in the next message that arrives.
"""

import heapq
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from monitor.messages.groups import EXPIRY, MessageGroups, Outcome
from monitor.messages.notification import Alert, Notification, fingerprint_of
from monitor.messages.queue import QueueState
from monitor.messages.rows import message_of, topic_of
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
    Missed,
    Pending,
    RowKey,
    ToldAlert,
    Topic,
    TopicKey,
    labels_of,
)
from monitor.messages.unsaved import Unsaved
from monitor.messages.words import alert_of, moment_text
from monitor.model import Seconds, Site, Status, Timestamp
from monitor.notify import NotifyOptions

_ALERTS = (SITE_DOWN, SITE_FLAPPING, CERTIFICATE_ENDS, CLIENT_CERTIFICATE_ENDS)


class Router:
    """
    The mutable state is what is true, what was told, and what waits; it belongs to one thread.

    Args:
        new_key: Creates the keys of messages.
        began: When this run of the daemon began.
    """

    def __init__(self, new_key: Callable[[], str], began: Timestamp) -> None:
        self._listed = False
        self._began = began
        self._topics: dict[TopicKey, Topic] = {}
        self._sights: dict[str, Sight] = {}
        self._endings: list[tuple[Timestamp, str]] = []
        self._unsaved = Unsaved()
        self._groups = MessageGroups(new_key, began, self._topics, self._unsaved)

    # ------------------------------------------------------------ what is true

    def configure(
        self, settings: NotifyOptions, channels: Mapping[str, Channel], now: Timestamp
    ) -> dict[str, int]:
        """
        Use other settings from now on; what was told under the old ones stays told.

        Returns:
            How many waiting messages are dropped, by channels that are no longer listed.
        """
        dropped = self._groups.configure(settings, channels, now)
        self._regroup(now)
        return dropped

    def _regroup(self, now: Timestamp) -> None:
        self._groups.regroup()
        channels = self._groups.queues.keys()
        for topic in list(self._topics.values()):
            for name in topic.told.keys() - channels:
                del topic.told[name]
                self._unsaved.topic(topic.key)
            for name in topic.missed.keys() - channels:
                topic.forget_missed(name)
                self._unsaved.topic(topic.key)
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
            self._groups.remove(topic)
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
        dropped = self._groups.drop_strangers()
        if dropped:
            self._regroup(now)
        return dropped

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
            self._unsaved.topic(topic.key)
            self._touch(topic, now)

    # ------------------------------------------------------------ topics

    def _touch(self, topic: Topic, now: Timestamp) -> None:
        """Plan what is told about a changed topic; drop it once there is nothing more to tell."""
        self._groups.touch(topic, now)
        if topic.over:
            self._drop(topic)

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
            self._unsaved.topic(topic.key)
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
        for name in self._groups.channels_of(topic):
            if name not in topic.told and self._groups.should_know(topic, name, end):
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
        self._unsaved.topic(topic.key)

    def _on_labels(self, site: Site, now: Timestamp) -> None:
        """Release alerts under a site's old labels, if receivers identify alerts by labels."""
        for alert in _ALERTS:
            topic = self._topics.get((site.name, alert, ""))
            if topic is not None and topic.place is not site:
                if topic.labels() != labels_of(site, alert, topic.severity):
                    self._leave_ghost(topic, now)
                    self._groups.remove(topic)
                topic.place = site
                self._touch(topic, now)

    def _leave_ghost(self, topic: Topic, now: Timestamp) -> None:
        """Have an alert resolved under its old labels, if the receiver identifies it by labels."""
        queues = self._groups.queues
        told = {
            name: told
            for name, told in topic.told.items()
            if name in queues and queues[name].channel.groups
        }
        if not told:
            return
        labels = topic.labels()
        key = (topic.key[0], topic.name, fingerprint_of(labels))
        ghost = Topic(key, None, topic.severity, topic.starts_at, ends_at=now, kept=labels)
        ghost.told, ghost.ready_at = told, now
        topic.told = {name: one for name, one in topic.told.items() if name not in told}
        self._topics[key] = ghost
        self._unsaved.topic(key)
        self._unsaved.topic(topic.key)
        self._touch(ghost, now)

    def _drop(self, topic: Topic) -> None:
        self._topics.pop(topic.key, None)
        self._groups.remove(topic)
        self._unsaved.topic(topic.key)

    # ------------------------------------------------------------ what to send now

    def next_due(self) -> Timestamp | None:
        """Return when to call due() next, unless something happens; None if never."""
        moments = [self._groups.next_flush(), self._endings[0][0] if self._endings else None]
        if self._listed:
            moments += [queue.due_at for queue in self._groups.queues.values()]
        return min((one for one in moments if one is not None), default=None)

    def due(self, now: Timestamp) -> list[Notification]:
        """
        Return the messages to send now, at most one per channel.

        A channel gets another one once delivered() or failed() has been called for this one.
        """
        while self._endings and self._endings[0][0] <= now:
            _, name = heapq.heappop(self._endings)
            if name in self._sights:
                self.see(self._sights[name], now)
        self._groups.flush(now)
        if not self._listed:
            return []  # waiting messages may no longer be true
        return list(self._groups.take(now))

    # ------------------------------------------------------------ outcomes

    def delivered(self, channel: str, key: str, now: Timestamp) -> None:
        """Record that a channel has received a message."""
        pending = self._groups.delivered(channel, key, now)
        if pending is None:
            return
        for entry in pending.entries:
            topic = self._topics.get(entry.topic)
            if topic is None:
                continue
            if entry.firing:
                topic.told[channel] = ToldAlert(entry.starts_at, entry.severity, now)
            else:
                topic.told.pop(channel, None)
            self._answered(topic, channel)
        self._groups.plan_again(pending.group, now)

    def failed(
        self,
        channel: str,
        key: str,
        now: Timestamp,
        *,
        lasting: bool,
        answered: bool = False,
        retry_after: Seconds | None = None,
    ) -> Outcome:
        """
        Record that an attempt failed.

        Returns:
            The consequence: ``retried``; ``refused`` if trying again is pointless; ``expired`` if
            it was retried for long enough.
        """
        outcome, given_up = self._groups.failed(
            channel, key, now, lasting=lasting, answered=answered, retry_after=retry_after
        )
        if given_up is None:
            return outcome
        for entry in given_up.entries:
            topic = self._topics.get(entry.topic)
            if topic is None:
                continue
            if not entry.firing and topic.ends_at is not None:
                topic.told.pop(channel, None)
            self._answered(topic, channel)
        self._groups.plan_again(given_up.group, now)
        return outcome

    def _answered(self, topic: Topic, channel: str) -> None:
        """Record that a message about a topic arrived, or was given up."""
        topic.forget_missed(channel)
        self._unsaved.topic(topic.key)
        if topic.over:
            self._drop(topic)

    def retry(self, channels: Collection[str], now: Timestamp) -> None:
        """Retry the waiting messages of these channels at once."""
        self._groups.retry(channels, now)

    def set_back(self, now: Timestamp) -> None:
        """Handle a clock that was set back: times in its future are from before that."""
        self._began = min(self._began, now)
        for topic in self._topics.values():
            topic.ready_at = min(topic.ready_at, now)
            topic.told = {
                name: told._replace(at=min(told.at, now)) for name, told in topic.told.items()
            }
        self._groups.set_back(now)
        self._endings = [(now, name) for name in self._sights]
        self._regroup(now)

    def standing(self, channel: str) -> Iterator[Alert]:
        """Yield the alerts that a channel was told are firing, as they should be there."""
        for topic in self._topics.values():
            if channel in topic.told and topic.ends_at is None:
                yield alert_of(topic, channel)

    def states(self) -> dict[str, QueueState]:
        return {name: queue.state() for name, queue in self._groups.queues.items()}

    # ------------------------------------------------------------ the store

    def changes(self) -> dict[RowKey, bytes | None]:
        """Return rows that differ from what was returned before, as Unsaved.rows() does."""
        return self._unsaved.rows(self._topics)

    def rewrite(self) -> None:
        """Make changes() return all rows again, because the store has lost them."""
        queues = self._groups.queues.values()
        self._unsaved.rewrite(one for queue in queues for one in queue.waiting.values())

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
        queues = self._groups.queues
        dropped: dict[str, int] = {}
        # Topics first, because messages are compared with them
        for (kind, text), data in sorted(rows.items(), key=lambda row: row[0][0] != "topic"):
            try:
                if kind == "topic":
                    topic = topic_of(json.loads(text), json.loads(data))
                    self._topics[topic.key] = topic
                    self._unsaved.restored(topic.key)
                elif kind == "message":
                    pending = message_of(text, json.loads(data))
                    if pending.group[0] in queues and now - pending.born < EXPIRY:
                        self._restore_message(pending)
                    else:
                        self._unsaved.no_message(text)
                    if pending.group[0] not in queues:
                        dropped[pending.group[0]] = dropped.get(pending.group[0], 0) + 1
            except (ValueError, KeyError, TypeError, IndexError):
                continue  # written by another version; what is true will be told again
        self._regroup(now)
        return dropped

    def _restore_message(self, pending: Pending) -> None:
        self._groups.queues[pending.group[0]].restore(pending)
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
