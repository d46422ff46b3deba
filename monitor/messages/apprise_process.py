"""
The process that sends one message with apprise: JSON in, JSON out, then it ends.

receivers/apprise.py starts it. The request comes on standard input, because the URL is a secret and
everyone can see arguments. The answer is one object on standard output: ``delivered``, and in
``detail`` what apprise logged, where secrets are not masked yet.
"""

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from apprise import Apprise, AppriseAsset, NotifyType
from apprise.common import NotifyFormat, OverflowMode, PersistentStoreMode

from monitor.messages.text import MOST_TEXT, Text

_MOST_LINES = 5


class _LogCapture(logging.Handler):
    """Keeps what apprise logs, instead of printing it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.lines.append(record.getMessage())


def main() -> None:
    """Read the request, carry it out, and write the outcome."""
    # Otherwise the output of a library would be mixed with the JSON
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with suppress(OSError):
        # If memory is short, this process should die before the monitor does
        Path("/proc/self/oom_score_adj").write_text("1000")
    asked = json.load(sys.stdin)
    # Nobody waits longer; this also ends the process if the daemon was killed
    signal.setitimer(signal.ITIMER_REAL, asked["timeout"])
    heard = _LogCapture()
    log = logging.getLogger("apprise")
    log.addHandler(heard)
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        delivered = _send(asked)
    except Exception as error:
        delivered = False
        heard.lines.append(f"apprise failed: {type(error).__name__}: {error}")
    detail = " ".join(" ".join(heard.lines[-_MOST_LINES:]).split())
    json.dump({"delivered": delivered, "detail": detail}, answers)
    answers.close()


def _send(asked: dict[str, Any]) -> bool:
    """Return whether the service took the message; without a text, whether the URL is valid."""
    timeout = asked["timeout"]
    asset = AppriseAsset(
        app_id="website-monitor",
        app_desc="Website monitor",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        async_mode=False,
        allow_templates=False,
        http_redirects=False,
        service_timeout=timeout,
        storage_mode=PersistentStoreMode.MEMORY,
    )
    service = Apprise.instantiate(asked["url"], asset=asset, suppress_exceptions=True)
    if service is None:
        return False
    if "title" not in asked:
        return True
    # A redirect would be followed as a GET without a body, and its success count as delivery
    service.redirects = False
    service.socket_connect_timeout = service.socket_read_timeout = timeout
    service.overflow_mode = OverflowMode.SPLIT
    text = Text(asked["title"], tuple(asked["lines"]), asked["omitted"])
    title, body = text.within(min(MOST_TEXT, service.body_maxlen))
    # Not service.notify(): Telegram's treats plain text as HTML, and loses everything after a <
    services = Apprise(asset=asset)
    services.add(service)
    return bool(
        services.notify(
            body=body,
            title=title,
            notify_type=NotifyType(asked["type"]),
            body_format=NotifyFormat.TEXT,
        )
    )


if __name__ == "__main__":
    main()
