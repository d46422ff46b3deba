"""
What is sent, and what comes of it: the port between the outbox and the receivers.

The outbox decides what is told to whom and when; a sender says it once and reports. All times are
seconds since 1970 in UTC, all durations seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from monitor.units import Seconds, Timestamp

_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """
    One thing that is wrong, or was.

    Attributes:
        fingerprint: Stable over attempts and restarts: fingerprint_of() its labels.
        labels: What it is about, as the rules in config/prometheus name it: alertname, severity,
            site, target, group, and the site's own labels. An empty value is no label.
        annotations: What is said about it: summary, description, runbook.
        starts_at: When it began; never in the future.
        ends_at: When it ended; None while it fires.
    """

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    status: AlertStatus
    starts_at: Timestamp
    ends_at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """
    One message to one receiver.

    Attributes:
        key: The same for each attempt to deliver it, also after a restart; of no other message.
        receiver: The name of the channel that it goes to, see ``channels``.
        group_key: What its group is called, the same for each message about that group.
        group_labels: The labels that the group's alerts have in common.
        status: Firing while any of its alerts is.
        alerts: The firing ones first.
        omitted: How many alerts the group has besides these.
    """

    key: str
    receiver: str
    group_key: str
    group_labels: Mapping[str, str]
    status: AlertStatus
    alerts: tuple[Alert, ...]
    omitted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOutcome:
    """
    What came of one attempt.

    Attributes:
        delivered: Whether the receiver has it.
        lasting: Whether another attempt would end in the same way, so that it is pointless.
        answered: Whether something answered, so that the message may be at fault and not the way.
        retry_after: How long the receiver asks to be left alone; None where it does not say.
        detail: One sentence, secrets masked: the receiver's answer, or why there is none.
    """

    delivered: bool
    lasting: bool = False
    answered: bool = False
    retry_after: Seconds | None = None
    detail: str


class ChannelSender(Protocol):
    """
    Sends to one channel; called in the channel's own thread, one call at a time.

    Most receivers are told once. Alertmanager forgets what it is not told again, so its sender
    remembers what stands: firing alerts until they are resolved, resolved ones for 5 minutes. The
    channel's thread calls ``refresh`` whenever ``next_refresh`` has come and no message waits.

    Attributes:
        groups: Whether the receiver groups and repeats by itself, so that it is told each change
            at once and in full, without group_wait, group_interval and repeat_interval.
    """

    groups: bool

    def send(self, notification: Notification, timeout: Seconds) -> DeliveryOutcome:
        """Deliver one message, or say why not, within the timeout."""

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Take over what the receiver was told before a restart, so that it goes on standing."""

    def next_refresh(self) -> Seconds | None:
        """Return when what stands is to be told again, on the monotonic clock; None if never."""

    def refresh(self, timeout: Seconds) -> DeliveryOutcome:
        """Tell again what stands, within the timeout; a failure is tried again soon."""

    def close(self) -> None:
        """Let go of what it holds; nothing is sent after that."""


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """
    Return the fingerprint of an alert with these labels, as Alertmanager computes it.

    It is FNV-1a with 64 bits over the sorted names and values, each followed by the byte 255.
    """
    value = _OFFSET
    for name in sorted(labels):
        for text in (name, labels[name]):
            for byte in (*text.encode(), 0xFF):
                value = ((value ^ byte) * _PRIME) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"
