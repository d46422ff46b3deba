"""
What the daemon says while it runs: an event and its fields, as text or JSON, secrets masked.

    2026-11-22T11:20:01.123Z WARNING site_down site=shop reason=status detail="status 503 …"

Log with ``log.warning("site_down", extra=fields(site="shop", reason="status"))``.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import IO, Any, Literal, TypeAlias

from monitor.model import redact

Form: TypeAlias = Literal["text", "json"]

_PLAIN = re.compile(r"[\w.:/@%+,\[\]-]+")


def fields(**values: Any) -> dict[str, Any]:
    """Return the ``extra`` of a log call; a value of None is left out."""
    return {"fields": {key: value for key, value in values.items() if value is not None}}


class Secrets:
    """The values that no log line may hold; replaced as a whole whenever sites change."""

    def __init__(self) -> None:
        self.values: tuple[str, ...] = ()


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def _parts(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what the line says, masked: once quoted, a secret may not be found any more."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "event": self._masked(record.getMessage()),
            **{key: self._masked(value) for key, value in getattr(record, "fields", {}).items()},
        }

    def _traceback(self, record: logging.LogRecord) -> str:
        """Return the masked traceback; empty when there is none."""
        return self._masked(self.formatException(record.exc_info)) if record.exc_info else ""

    def _masked(self, value: Any) -> Any:
        """Return a number as it is, and anything else as its text without secrets."""
        if isinstance(value, int | float):
            return value
        return redact(str(value), self._secrets.values)


class TextFormatter(_Formatter):
    """One line: time, level, event, then ``key=value``; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        parts = self._parts(record)
        head = [parts.pop("time"), parts.pop("level"), parts.pop("event")]
        pairs = [f"{key}={_quoted(str(value))}" for key, value in parts.items()]
        line = " ".join([*head, *pairs])
        traceback = self._traceback(record)
        return f"{line}\n{traceback}" if traceback else line


class JsonFormatter(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        parts = self._parts(record)
        if traceback := self._traceback(record):
            parts["traceback"] = traceback
        return json.dumps(parts, ensure_ascii=False)


def configure(
    level: str,
    form: Form,
    secrets: Secrets,
    stream: IO[str] | None = None,
) -> None:
    """Send all log records of the process to one stream (default: standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((JsonFormatter if form == "json" else TextFormatter)(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These log each request or file event at INFO, which is noise beside one line per transition
    for name in ("uvicorn", "uvicorn.error", "watchfiles", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
