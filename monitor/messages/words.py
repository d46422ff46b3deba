"""An alert in words: its labels and its texts. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from monitor.messages.notification import Alert, AlertStatus, fingerprint_of
from monitor.messages.sight import (
    CERTIFICATE_ENDS,
    CLIENT_CERTIFICATE_ENDS,
    SITE_DOWN,
    SITE_FLAPPING,
)
from monitor.messages.topic import Missed, Topic
from monitor.model import Seconds, Timestamp

_TEXTS = {
    SITE_DOWN: ("{site} is down", "{target} fails its checks. {detail}"),
    SITE_FLAPPING: (
        "{site} keeps going up and down",
        "The results of {target} change so often that its state alone would mislead.",
    ),
    CERTIFICATE_ENDS: (
        "The certificate of {site} ends soon",
        "The certificate of {target} ends on {detail}. Renew it and load it on every server.",
    ),
    CLIENT_CERTIFICATE_ENDS: (
        "The client certificate for {site} ends soon",
        "The certificate that {target} gets from the monitor ends on {detail}. Replace it.",
    ),
}


_ENDS = {
    SITE_DOWN: "{site} is up again after {lasted}",
    SITE_FLAPPING: "{site} is steady again",
    CERTIFICATE_ENDS: "The certificate of {site} was renewed",
    CLIENT_CERTIFICATE_ENDS: "The client certificate for {site} was renewed",
}
_LEFT = "{site} is not in the list any more"


def alert_of(topic: Topic, channel: str) -> Alert:
    """Return what a channel is told about a topic."""
    labels = topic.labels()
    missed, told = topic.missed.get(channel), topic.told.get(channel)
    starts_at = topic.starts_at
    if told is not None and topic.ends_at is not None:
        starts_at = told.starts_at  # it may have been up for a moment that nobody was told about
    elif missed is not None and topic.ends_at is not None:
        starts_at = missed.begin
    annotations = _said(topic, labels, starts_at, missed)
    annotations["runbook"] = f"docs/prometheus.md#{topic.name.lower()}"
    return Alert(
        fingerprint=fingerprint_of(labels),
        labels=labels,
        annotations=annotations,
        status=AlertStatus.FIRING if topic.ends_at is None else AlertStatus.RESOLVED,
        starts_at=starts_at,
        ends_at=topic.ends_at,
    )


def _said(
    topic: Topic, labels: Mapping[str, str], starts_at: Timestamp, missed: Missed | None
) -> dict[str, str]:
    site = labels.get("site", "")
    if topic.ends_at is None:
        summary, description = _TEXTS[topic.name]
        target = labels.get("target", "")
        described = description.format(site=site, target=target, detail=topic.detail).strip()
        if missed is not None and topic.name == SITE_DOWN:
            described += f" Before, it {_missed_text(missed)}."
        return {"summary": summary.format(site=site), "description": described}
    if missed is not None and topic.name == SITE_DOWN:
        return {"summary": f"{site} {_missed_text(missed)}"}
    text = _LEFT if topic.gone else _ENDS[topic.name]
    return {"summary": text.format(site=site, lasted=span_text(topic.ends_at - starts_at))}


def _missed_text(missed: Missed) -> str:
    lasted = span_text(missed.seconds)
    if missed.times == 1:
        return f"was down for {lasted} while this channel could not be reached"
    return (
        f"was down {missed.times} times, for {lasted} in all, while this channel could not be"
        " reached"
    )


def moment_text(time: Timestamp) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def span_text(seconds: Seconds) -> str:
    """Return how long something took, as people say it: 45 s, 7 min, 2 h 5 min, 3 d 4 h."""
    if seconds < 60:  # noqa: PLR2004  a minute
        return f"{round(seconds)} s"
    return " ".join(_parts(int(seconds)))


def _parts(seconds: int) -> Iterator[str]:
    minutes, hours, days = seconds // 60 % 60, seconds // 3600 % 24, seconds // 86400
    if days:
        yield f"{days} d"
    if hours:
        yield f"{hours} h"
    if minutes and not days:
        yield f"{minutes} min"
