"""A message as text for people: a title, a line for each alert, and how many there are besides."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from monitor.messages.notification import Alert, AlertStatus, Notification
from monitor.options import show_count, show_duration
from monitor.units import Bytes

MOST_TEXT: Bytes = 4000
"""In UTF-8, title and lines together: slightly below the smallest limit of most chats."""
_LONGEST_CELL = 200  # characters
_LONGEST_TITLE = 120  # characters
_CALL = re.compile(r"(?<!\w)@(?=(?:all|channel|everyone|here|room)\b|[!&]?\d+>)", re.IGNORECASE)
"""What chats treat as a mention of all members of a channel, or of one member."""
_CALLS_NOBODY = "@\N{ZERO WIDTH SPACE}"
_RESERVE: Bytes = 60  # for the line that says how many alerts are omitted


@dataclass(frozen=True, slots=True)
class Text:
    """
    The text of a message.

    Attributes:
        lines: One for each alert; several lines of text if there is only one alert.
        omitted: How many alerts have no line.
    """

    title: str
    lines: tuple[str, ...]
    omitted: int = 0

    def within(self, limit: Bytes) -> tuple[str, str]:
        """Return title and body within the limit, counted in UTF-8 and with a newline."""
        title = cut(self.title, limit - 1)
        room = limit - len(title.encode()) - 1
        body: list[str] = []
        for number, line in enumerate(self.lines):
            rest = len(self.lines) - number + self.omitted
            size = len(line.encode()) + 1
            spare = _RESERVE if rest > 1 else 0
            if size + spare > room:
                break
            body.append(line)
            room -= size
        left = len(self.lines) - len(body) + self.omitted
        if left:
            body.append(cut(f"… and {left} more" if body else self.lines[0], room))
        return title, "\n".join(body)


def cut(text: str, limit: Bytes) -> str:
    """Return the text, or as much of it as fits into this many bytes of UTF-8."""
    data = text.encode()
    if len(data) <= limit:
        return text
    mark = "…"
    room = limit - len(mark.encode())
    return data[:room].decode(errors="ignore") + mark if room >= 0 else ""


def text_of(notification: Notification) -> Text:
    """Return the text for people."""
    alerts = notification.alerts
    if len(alerts) == 1 and not notification.omitted:
        return _single(alerts[0])
    counts = Counter(alert.status for alert in alerts)
    total = len(alerts) + notification.omitted
    title = f"{_word(notification.status)}: {show_count(total, 'alert')}"
    group = ", ".join(value for value in notification.group_labels.values() if value)
    if group:
        title += f" ({group})"
    if counts[AlertStatus.FIRING] and counts[AlertStatus.RESOLVED]:
        title += f", {counts[AlertStatus.RESOLVED]} of them resolved"
    return Text(_short(title, _LONGEST_TITLE), _table(alerts), notification.omitted)


def _single(alert: Alert) -> Text:
    title = f"{_word(alert.status)}: {_summary(alert)}"
    lines = [alert.annotations.get("description", "")]
    lines.append(f"site: {alert.labels['site']}" if alert.labels.get("site") else "")
    lines.append(f"target: {alert.labels['target']}" if alert.labels.get("target") else "")
    lines.append(f"since: {_moment(alert.starts_at)}")
    if alert.ends_at is not None:
        lasted = show_duration(round(alert.ends_at - alert.starts_at))
        lines.append(f"until: {_moment(alert.ends_at)} ({lasted})")
    shown = tuple(_short(line, 5 * _LONGEST_CELL) for line in lines if line)
    return Text(_short(title, _LONGEST_TITLE), ("\n".join(shown),))


def _table(alerts: Sequence[Alert]) -> tuple[str, ...]:
    """Return a row for each alert: status, since when, and what is wrong, in columns."""
    rows = [
        (
            _word(alert.status),
            _moment(alert.starts_at),
            alert.labels.get("site", ""),
            alert.annotations.get("description") or _summary(alert),
        )
        for alert in alerts
    ]
    cells = [tuple(_short(cell, _LONGEST_CELL) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _summary(alert: Alert) -> str:
    return alert.annotations.get("summary") or alert.labels.get("alertname", "alert")


def _word(status: AlertStatus) -> str:
    return status.value.capitalize()


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _short(text: str, limit: int) -> str:
    """Return a text as one line of limited length that mentions nobody in a chat."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    line = _CALL.sub(_CALLS_NOBODY, line)
    return line if len(line) <= limit else line[: limit - 1] + "…"
