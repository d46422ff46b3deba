"""Servers that receive, and senders to them as the daemon builds them."""

from typing import Any

from monitor.clock import SystemClock
from monitor.messages.notification import (
    Alert,
    AlertStatus,
    ChannelSender,
    Notification,
    fingerprint_of,
)
from monitor.messages.receivers import build_senders
from monitor.notify import ReceiverOptions
from monitor.probes.client import Client
from tests.probes.conftest import authority, serve

__all__ = ["alert", "authority", "message", "sender", "serve"]

BEGAN = 1_790_000_000.0
"""2026-09-21T14:13:20Z"""


def sender(options: ReceiverOptions, clock: Any = None) -> ChannelSender:
    """Return the sender for a receiver with one channel, using the daemon's own client."""
    (only,) = build_senders(options, Client(), clock or SystemClock()).values()
    return only


def alert(site: str = "shop", ended: float | None = None, **values) -> Alert:
    labels = {
        "alertname": "SiteDown",
        "severity": "critical",
        "site": site,
        "target": f"https://{site}.example.com/",
        "group": "storefront",
    }
    defaults: dict[str, Any] = {
        "fingerprint": fingerprint_of(labels),
        "labels": labels,
        "annotations": {
            "summary": f"{site} is down",
            "description": "status 503 is not in 2xx",
        },
        "status": AlertStatus.FIRING if ended is None else AlertStatus.RESOLVED,
        "starts_at": BEGAN,
        "ends_at": ended,
    }
    return Alert(**(defaults | values))


def message(*alerts: Alert, **values) -> Notification:
    alerts = alerts or (alert(),)
    firing = any(one.status is AlertStatus.FIRING for one in alerts)
    defaults: dict[str, Any] = {
        "key": "0192-77",
        "receiver": "oncall",
        "group_key": '{}:{group="storefront"}',
        "group_labels": {"group": "storefront"},
        "status": AlertStatus.FIRING if firing else AlertStatus.RESOLVED,
        "alerts": alerts,
    }
    return Notification(**(defaults | values))
