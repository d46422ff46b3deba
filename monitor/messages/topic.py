"""The records of the router and of its rows in the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from monitor.messages.notification import Notification
from monitor.model import Seconds, Site, Timestamp

TopicKey: TypeAlias = tuple[str, str, str]
"""A site, the name of an alert, and a mark if the site no longer has these labels."""
GroupKey: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A channel, and the labels by which it groups."""
RowKey: TypeAlias = tuple[str, str]
"""A kind of row, ``topic`` or ``message``, and its key."""


@dataclass(frozen=True, slots=True)
class Channel:
    """
    An address that messages are sent to.

    Attributes:
        receiver: The name by which sites refer to it.
        groups: As in ChannelSender: it groups and repeats by itself, and is told each change.
    """

    receiver: str
    groups: bool = False


class ToldAlert(NamedTuple):
    """What a channel was told last: that an alert is firing."""

    starts_at: Timestamp
    severity: str
    at: Timestamp


class Missed(NamedTuple):
    """Outages that came and went while a channel could not be reached."""

    begin: Timestamp
    end: Timestamp
    seconds: Seconds
    times: int


_NOTHING: Mapping[str, Any] = MappingProxyType({})
"""Shared by all topics without any: in an outage of 10,000 sites, own dicts take 1.3 MB."""


@dataclass(slots=True)
class Topic:
    """
    An alert of a site.

    Attributes:
        place: The site, for its labels; None if it left the list or is not known yet.
        kept: The labels in that case.
        ends_at: None while it fires.
        gone: Whether it ended because its site left the list.
        muted: Whether its firing is not told: maintenance, or another site's outage is the cause.
        frozen: Whether its end is not told either, because the site flaps.
        ready_at: From when on news about it may be told.
    """

    key: TopicKey
    place: Site | None
    severity: str
    starts_at: Timestamp
    ends_at: Timestamp | None = None
    kept: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    detail: str = ""
    because: str = ""
    gone: bool = False
    muted: bool = False
    frozen: bool = False
    ready_at: Timestamp = 0.0
    told: dict[str, ToldAlert] = field(default_factory=dict)
    missed: Mapping[str, Missed] = field(default_factory=lambda: _NOTHING)
    _entry: "AlertState | None" = None

    @property
    def name(self) -> str:
        return self.key[1]

    @property
    def fires_openly(self) -> bool:
        return self.ends_at is None and not (self.muted or self.frozen)

    @property
    def over(self) -> bool:
        """Whether there is nothing more to tell anyone."""
        return self.ends_at is not None and not self.told and not self.missed

    def miss(self, channel: str, missed: Missed) -> None:
        self.missed = {**self.missed, channel: missed}

    def forget_missed(self, channel: str) -> None:
        if channel in self.missed:
            rest = {name: one for name, one in self.missed.items() if name != channel}
            self.missed = rest or _NOTHING

    def entry(self) -> "AlertState":
        """Return what a message now says about it; messages to several channels share it."""
        said = AlertState(self.key, self.ends_at is None, self.starts_at, self.severity)
        if said != self._entry:
            self._entry = said
            return said
        return self._entry

    def labels(self) -> dict[str, str]:
        if self.place is None:
            return dict(self.kept)
        return labels_of(self.place, self.name, self.severity)


def labels_of(site: Site, name: str, severity: str) -> dict[str, str]:
    """Return the labels of an alert as our rules set them, without empty ones."""
    labels = {
        **dict(site.labels),
        "alertname": name,
        "severity": severity,
        "site": site.name,
        "target": site.target,
        "group": site.group,
    }
    return {name: value for name, value in labels.items() if value}


class AlertState(NamedTuple):
    """What a message says about a topic: that it has fired since a moment, or has ended."""

    topic: TopicKey
    firing: bool
    starts_at: Timestamp
    severity: str


@dataclass(slots=True)
class Pending:
    """
    A message that waits in the outbox.

    Attributes:
        entries: Everything that it tells, including what is only counted.
        restored: Whether it may have been sent before a restart; it is then sent unchanged.
        behind: Whether it waits behind the others, because they are accepted and it is not.
    """

    key: str
    group: GroupKey
    born: Timestamp
    notification: Notification
    entries: tuple[AlertState, ...]
    attempts: int = 0
    restored: bool = False
    behind: bool = False
