"""The store's rows as JSON: one per topic that was told, one per message to be sent."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from monitor.messages.notification import Alert, AlertStatus, Notification, fingerprint_of
from monitor.messages.topic import AlertState, Missed, Pending, ToldAlert, Topic


def group_name(labels: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))
    return f"{{}}:{{{pairs}}}"


def topic_row(topic: Topic) -> bytes:
    return json.dumps(
        {
            "severity": topic.severity,
            "starts": topic.starts_at,
            "ends": topic.ends_at,
            "gone": topic.gone,
            "labels": topic.labels(),
            "told": topic.told,
            "missed": dict(topic.missed),
        },
        separators=(",", ":"),
    ).encode()


def topic_of(key: list[str], data: Any) -> Topic:
    site, name, mark = key
    return Topic(
        (site, name, mark),
        None,
        data["severity"],
        data["starts"],
        ends_at=data["ends"],
        ready_at=data["ends"] or 0.0,
        gone=data["gone"],
        kept=data["labels"],
        told={one: ToldAlert(*told) for one, told in data["told"].items()},
        missed={one: Missed(*missed) for one, missed in data["missed"].items()},
    )


def message_row(pending: Pending) -> bytes:
    note = pending.notification
    return json.dumps(
        {
            "channel": pending.group[0],
            "by": pending.group[1],
            "born": pending.born,
            "attempts": pending.attempts,
            "entries": list(_runs(pending.entries)),
            "omitted": note.omitted,
            "status": note.status,
            "alerts": [
                [one.labels, one.annotations, one.status, one.starts_at, one.ends_at]
                for one in note.alerts
            ],
        },
        separators=(",", ":"),
    ).encode()


def _runs(entries: Iterable[AlertState]) -> Iterator[list[Any]]:
    """Yield what adjacent entries have in common, then their sites and beginnings in turn."""
    # Repeated for each of 10,000 sites, a row would take four times the space
    for common, some in groupby(
        entries, lambda one: (one.topic[1], one.topic[2], one.firing, one.severity)
    ):
        yield [*common, [value for one in some for value in (one.topic[0], one.starts_at)]]


def message_of(key: str, data: Any) -> Pending:
    by = tuple((name, value) for name, value in data["by"])
    labels = {name: value for name, value in by if value}
    alerts = tuple(
        Alert(
            fingerprint=fingerprint_of(labels_),
            labels=labels_,
            annotations=annotations,
            status=AlertStatus(status),
            starts_at=starts_at,
            ends_at=ends_at,
        )
        for labels_, annotations, status, starts_at, ends_at in data["alerts"]
    )
    entries = tuple(
        AlertState((site, name, mark), firing, starts_at, severity)
        for name, mark, firing, severity, told in data["entries"]
        for site, starts_at in zip(told[::2], told[1::2], strict=True)
    )
    notification = Notification(
        key=key,
        receiver=data["channel"],
        group_key=group_name(labels),
        group_labels=labels,
        status=AlertStatus(data["status"]),
        alerts=alerts,
        omitted=data["omitted"],
    )
    group = (data["channel"], by)
    return Pending(key, group, data["born"], notification, entries, data["attempts"], restored=True)
