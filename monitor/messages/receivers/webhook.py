"""
A webhook: Alertmanager's body, version "4", signed with the scheme of Standard Webhooks.

docs/guides/receivers.md shows how a receiver verifies the signature.
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from monitor.clock import Clock, Deadline
from monitor.messages.notification import Alert, DeliveryOutcome, Notification
from monitor.messages.receivers.delivery import Delivery, common, labels_of, rfc3339
from monitor.messages.receivers.once import ToldOnce
from monitor.notify import ReceiverOptions, WebhookOptions
from monitor.outbound import Caller
from monitor.units import Seconds

_VERSION = "4"
_NEVER = "0001-01-01T00:00:00Z"
"""Alertmanager's value for an alert without an end: Go's zero time."""


class WebhookSender(ToldOnce):
    """Posts messages to one URL."""

    def __init__(
        self,
        options: ReceiverOptions,
        webhook: WebhookOptions,
        call: Caller,
        clock: Clock,
        secrets: Iterable[str] = (),
    ) -> None:
        self._delivery = Delivery(options, webhook.url, call, clock, secrets)
        self._key = webhook.signing_key()
        self._name = options.name
        self._clock = clock

    def send(self, notification: Notification, timeout: Seconds) -> DeliveryOutcome:
        body = json.dumps(body_of(notification, self._name), ensure_ascii=False).encode()
        headers = {"Idempotency-Key": notification.key}
        if self._key is not None:
            moment = int(self._clock.time())
            headers |= {
                "Webhook-Id": notification.key,
                "Webhook-Timestamp": str(moment),
                "Webhook-Signature": signature(self._key, notification.key, moment, body),
            }
        outcome, _ = self._delivery.post(body, headers, Deadline.after(timeout, self._clock))
        return outcome


def signature(key: bytes, identifier: str, moment: int, body: bytes) -> str:
    """Return ``v1,`` and the Base64 HMAC-SHA256 of identifier, seconds since 1970, and body."""
    signed = b".".join((identifier.encode(), str(moment).encode(), body))
    return f"v1,{b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def body_of(notification: Notification, receiver: str) -> dict[str, Any]:
    """Return Alertmanager's message, as documented for webhook_config."""
    return {
        "version": _VERSION,
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.omitted,
        "status": notification.status.value,
        "receiver": receiver,
        "groupLabels": dict(notification.group_labels),
        "commonLabels": common(labels_of(alert) for alert in notification.alerts),
        "commonAnnotations": common(alert.annotations for alert in notification.alerts),
        "externalURL": "",
        "alerts": [_alert(alert) for alert in notification.alerts],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status.value,
        "labels": labels_of(alert),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": _NEVER if alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }
