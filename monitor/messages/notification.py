"""
What is sent, and the outcome: the interface between the outbox and the receivers.

The outbox decides what is told to whom and when; a sender sends it once and reports. All times are
seconds since 1970 in UTC, all durations are seconds.
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
    One thing that is, or was, wrong.

    Attributes:
        fingerprint: The same over attempts and restarts: fingerprint_of() its labels.
        labels: What it is about, with the names of the rules in config/prometheus: alertname,
            severity, site, target, group, and the site's own labels. An empty value is not a label.
        annotations: Texts about it: summary, description, runbook.
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
        key: The same for each attempt to deliver it, also after a restart; unique to the message.
        receiver: The name of its channel, see ``channels``.
        group_key: The name of its group, the same for each message about that group.
        group_labels: The labels that the alerts of the group have in common.
        status: Firing while any of its alerts is.
        alerts: The firing ones first.
        omitted: How many more alerts the group has.
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
    The outcome of one attempt.

    Attributes:
        delivered: Whether the receiver has it.
        lasting: Whether every further attempt would end in the same way, so that it is pointless.
        answered: Whether something answered, so that the message may be at fault, not the network.
        retry_after: How long the receiver asks to wait; None if it does not say.
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

    Most receivers are told once. Alertmanager forgets an alert unless it is told again, so its
    sender remembers the current alerts: firing ones until they are resolved, resolved ones for 5
    minutes. The channel's thread calls ``refresh`` whenever ``next_refresh`` has come and no
    message waits.

    Attributes:
        groups: Whether the receiver groups and repeats by itself, so that it is told each change
            at once and in full, without group_wait, group_interval and repeat_interval.
    """

    groups: bool

    def send(self, notification: Notification, timeout: Seconds) -> DeliveryOutcome:
        """Deliver one message, or return why not, within the timeout."""

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Restore the alerts that the receiver was told before a restart, so that they stay."""

    def next_refresh(self) -> Seconds | None:
        """Return when to send the current alerts again, on the monotonic clock; None if never."""

    def refresh(self, timeout: Seconds) -> DeliveryOutcome:
        """Send the current alerts again, within the timeout; a failure is retried soon."""

    def close(self) -> None:
        """Release all resources; nothing is sent after that."""


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
