"""
The process that sends one message by apprise: JSON in, JSON out, and then it ends.

Run by receivers/apprise.py. What is asked comes by standard input, because the URL is a secret and
arguments are everybody's to see. The answer is one object on standard output: ``delivered``, and
what apprise said as ``detail``, in which secrets are not masked yet.
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
    """Keeps what apprise says, instead of having it printed."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.lines.append(record.getMessage())


def main() -> None:
    """Read what is asked, do it, and write what came of it."""
    # Whatever a library prints would otherwise stand between the braces
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with suppress(OSError):
        # Where memory is short, a message waits sooner than the monitor dies
        Path("/proc/self/oom_score_adj").write_text("1000")
    asked = json.load(sys.stdin)
    # Nobody waits any longer, even if the daemon was killed
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
    """Return whether the service took the message; without a text, whether the URL is one."""
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
    # A redirect is followed as a GET without a body, whose success would be taken for delivery
    service.redirects = False
    service.socket_connect_timeout = service.socket_read_timeout = timeout
    service.overflow_mode = OverflowMode.SPLIT
    text = Text(asked["title"], tuple(asked["lines"]), asked["omitted"])
    title, body = text.within(min(MOST_TEXT, service.body_maxlen))
    # Not service.notify(): Telegram's own takes plain text for HTML, and loses it from a < on
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
