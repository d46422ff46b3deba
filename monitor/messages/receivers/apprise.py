"""
apprise: chats, mail and short messages; a separate process sends each message.

The library is large, has no deadline for a whole delivery, and logs as it likes. In a process, it
does not use the daemon's memory, ends when its time is over, and its output is masked here.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import lru_cache
from threading import Lock
from typing import Any

from monitor.messages.notification import AlertStatus, DeliveryOutcome, Notification
from monitor.messages.receivers.once import ToldOnce
from monitor.messages.text import text_of
from monitor.options import show_duration
from monitor.secrecy import HIDDEN, credentials, every_form, parts_of_url, redact
from monitor.units import Seconds

_COMMAND = (sys.executable, "-P", "-m", "monitor.messages.apprise_process")
_CHECK_TIMEOUT: Seconds = 30.0
_STARTING: Seconds = 5.0
"""Extra time for the process, to load the library and to write its answer."""
_LONGEST_DETAIL = 300  # characters
_URL = re.compile(r"(?<=://)\S+")
_TYPES = {AlertStatus.FIRING: "failure", AlertStatus.RESOLVED: "success"}


class AppriseSender(ToldOnce):
    """Sends messages to one of apprise's URLs."""

    def __init__(self, url: str, secrets: Iterable[str] = ()) -> None:
        self._url = url
        self._secrets = every_form([*secrets, *_secrets(url)])
        self._process = _Process()

    def send(self, notification: Notification, timeout: Seconds) -> DeliveryOutcome:
        text = text_of(notification)
        asked = {
            "url": self._url,
            "timeout": timeout,
            "type": _TYPES[notification.status],
            "title": text.title,
            "lines": text.lines,
            "omitted": text.omitted,
        }
        delivered, said = self._process.run(asked)
        service = self._url.partition("://")[0]
        if delivered:
            return DeliveryOutcome(delivered=True, detail=f"apprise delivered it by {service}")
        detail = _masked(said, self._secrets) or f"apprise did not deliver it by {service}"
        return DeliveryOutcome(delivered=False, detail=detail)

    def close(self) -> None:
        """End the process of a message that is being sent; any thread may call it."""
        self._process.end()


# A list is loaded again at each edit, and its receivers rarely change
@lru_cache(maxsize=64)
def obstacle(url: str) -> str | None:
    """Return why apprise cannot use this URL, without its secrets; None if it can."""
    usable, said = _Process().run({"url": url, "timeout": _CHECK_TIMEOUT})
    if usable:
        return None
    said = _masked(said, every_form(_secrets(url)))
    return f"apprise cannot use this URL: {said}" if said else "apprise cannot use this URL"


class _Process:
    """One process at a time; the mutable state is that process, guarded by ``_lock``."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = False

    def run(self, asked: dict[str, Any]) -> tuple[bool, str]:
        """Return whether it went well, and what apprise logged, secrets included."""
        try:
            with self._lock:
                if self._ended:
                    return False, "the monitor is stopping"
                process = self._running = subprocess.Popen(  # noqa: S603  our own module
                    _COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as error:
            return False, f"cannot start a process for apprise: {error.strerror}"
        try:
            answer, _ = process.communicate(
                json.dumps(asked).encode(), timeout=asked["timeout"] + _STARTING
            )
        except subprocess.TimeoutExpired:
            answer = b""
        finally:
            process.kill()
            process.wait()
            with self._lock:
                self._running = None
        # Not its exit status: as process 1, the daemon may already have waited for it elsewhere
        try:
            said = json.loads(answer)
        except ValueError:
            limit = show_duration(asked["timeout"])
            return False, f"apprise was cut off, or took longer than {limit}"
        return said["delivered"], said["detail"]

    def end(self) -> None:
        with self._lock:
            self._ended = True
            if self._running:
                self._running.kill()


def _masked(said: str, secrets: tuple[str, ...]) -> str:
    # apprise masks URLs itself, but keeps the first and the last character of each token
    return _URL.sub(HIDDEN, redact(said, secrets))[:_LONGEST_DETAIL]


def _secrets(url: str) -> Iterable[str]:
    """Yield the URL and its parts, because each service has its tokens in another place."""
    yield url
    yield from credentials(url)
    yield from parts_of_url(url, with_host=True)
