"""
Alertmanager's API v2: one instance, which is told every alert again and again while it exists.

Alertmanager resolves an alert by itself once its end has passed, and forgets alerts when it
restarts. So each alert is sent with an end a few minutes ahead, and sent again long before that, as
Prometheus does; a resolved alert is sent for a while longer, in case a request failed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.clock import Clock, Deadline
from monitor.messages.notification import Alert, AlertStatus, DeliveryOutcome, Notification
from monitor.messages.receivers.delivery import Delivery, labels_of, rfc3339
from monitor.notify import ReceiverOptions
from monitor.outbound import Caller
from monitor.units import Seconds, Timestamp

RESEND: Seconds = 60.0
_AHEAD: Seconds = 5 * RESEND
"""How far ahead the end of a firing alert is, so that four requests in a row may fail."""
_RESOLVED_FOR: Seconds = 300.0
_RETRY: Seconds = 15.0
_BATCH = 1000  # alerts of about 700 bytes
_REFUSED = {400, 422}
"""The statuses for a batch that may be wrong because of one alert. After 400 the valid alerts have
been accepted, after 422 none has."""


@dataclass(slots=True)
class _Standing:
    """
    What an instance should know about one alert.

    Attributes:
        until: Until when it is told that the alert is resolved, on the monotonic clock; None while
            it fires.
    """

    alert: Alert
    until: Seconds | None


class AlertmanagerSender:
    """Keeps one Alertmanager informed; belongs to the channel's thread."""

    groups = True

    def __init__(
        self,
        options: ReceiverOptions,
        url: str,
        call: Caller,
        clock: Clock,
        secrets: Iterable[str] = (),
    ) -> None:
        place = f"{url.rstrip('/')}/api/v2/alerts"
        self._delivery = Delivery(options, place, call, clock, secrets)
        self._labels = dict(options.labels)
        self._clock = clock
        self._standing: dict[str, _Standing] = {}
        self._next: Seconds | None = None

    def send(self, notification: Notification, timeout: Seconds) -> DeliveryOutcome:
        """
        Send the alerts of a message, each in its current state.

        An older message that is sent after a newer one reports nothing that is no longer true.
        """
        for alert in notification.alerts:
            self._stand(alert)
        wanted = [
            self._standing[one.fingerprint].alert
            for one in notification.alerts
            if one.fingerprint in self._standing
        ]
        return self._tell(wanted, Deadline.after(timeout, self._clock))

    def restore(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self._stand(alert)
        if self._standing:
            self._next = self._clock.monotonic()

    def next_refresh(self) -> Seconds | None:
        return self._next if self._standing else None

    def refresh(self, timeout: Seconds) -> DeliveryOutcome:
        now = self._clock.monotonic()
        for fingerprint, one in list(self._standing.items()):
            if one.until is not None and one.until <= now:
                del self._standing[fingerprint]
        standing = [one.alert for one in self._standing.values()]
        outcome = self._tell(standing, Deadline.after(timeout, self._clock))
        told = outcome.delivered or outcome.lasting
        self._next = self._clock.monotonic() + (RESEND if told else _RETRY)
        return outcome

    def close(self) -> None:
        """Do nothing: each message has its own connection."""

    def _stand(self, alert: Alert) -> None:
        now = self._clock.monotonic()
        known = self._standing.get(alert.fingerprint)
        if known and _order(known.alert) > _order(alert):
            return
        until = None
        if alert.status is AlertStatus.RESOLVED:
            until = now + _RESOLVED_FOR if known is None or known.until is None else known.until
        self._standing[alert.fingerprint] = _Standing(alert, until)
        if self._next is None:
            self._next = now + RESEND

    def _tell(self, alerts: Sequence[Alert], deadline: Deadline) -> DeliveryOutcome:
        outcome = DeliveryOutcome(delivered=True, detail="nothing stands")
        refused: list[str] = []
        for start in range(0, len(alerts), _BATCH):
            outcome = self._post(alerts[start : start + _BATCH], deadline, refused)
            if not (outcome.delivered or outcome.lasting):
                return outcome
        if refused:
            many = f"{len(refused)} of {len(alerts)} alerts were refused; the first: {refused[0]}"
            return DeliveryOutcome(delivered=False, lasting=True, detail=many)
        return outcome

    def _post(
        self, alerts: Sequence[Alert], deadline: Deadline, refused: list[str]
    ) -> DeliveryOutcome:
        """Post a batch; if it is refused, find the alerts at fault and drop them."""
        now = self._clock.time()
        body = json.dumps(list(self._bodies(alerts, now)), ensure_ascii=False).encode()
        outcome, reply = self._delivery.post(body, {}, deadline)
        if reply is None or reply.status not in _REFUSED:
            return outcome
        if len(alerts) == 1:
            refused.append(outcome.detail)
            self._standing.pop(alerts[0].fingerprint, None)
            return outcome
        middle = len(alerts) // 2
        for half in (alerts[:middle], alerts[middle:]):
            outcome = self._post(half, deadline, refused)
            if not (outcome.delivered or outcome.lasting):
                return outcome
        return DeliveryOutcome(delivered=True, detail=outcome.detail)

    def _bodies(self, alerts: Sequence[Alert], now: Timestamp) -> Iterator[dict[str, Any]]:
        for alert in alerts:
            start = min(alert.starts_at, now)
            end = now + _AHEAD if alert.ends_at is None else max(alert.ends_at, start)
            yield {
                "labels": {**labels_of(alert), **self._labels},
                "annotations": dict(alert.annotations),
                "startsAt": rfc3339(start),
                "endsAt": rfc3339(end),
            }


def _order(alert: Alert) -> tuple[Timestamp, bool]:
    """Return when it reached its state; an end comes after a beginning at the same moment."""
    if alert.ends_at is None:
        return alert.starts_at, False
    return alert.ends_at, True
