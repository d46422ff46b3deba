"""
The daemon's log: an event and its fields, as text or JSON, with secrets masked.

    2026-11-22T11:20:01.123Z WARNING site_down site=shop reason=status detail="status 503 …"

Log with ``log.warning("site_down", extra=fields(site="shop", reason="status"))``. Commands write
their lines at once; the daemon has a thread for that, see write_in_background(). Records from
worker processes come to the daemon with their answers, see collecting() and relay().
"""

import json
import logging
import os
import re
import select
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal, TextIO, TypeAlias

from monitor.clock import SystemClock
from monitor.secrecy import redact
from monitor.units import Seconds, Timestamp

Form: TypeAlias = Literal["text", "json"]

_PLAIN = re.compile(r"[\w.:/@%+,\[\]-]+")


def fields(**values: Any) -> dict[str, Any]:
    """Return the ``extra`` of a log call; None values are omitted."""
    return {"fields": {key: value for key, value in values.items() if value is not None}}


class Secrets:
    """The values that no log line may contain; replaced as a whole whenever sites change."""

    def __init__(self) -> None:
        self.values: tuple[str, ...] = ()


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def keep(self, record: logging.LogRecord) -> None:
        """Save what may have changed by the time the record is formatted."""
        if record.args:
            record.msg, record.args = record.getMessage(), None
        record.secrets = self._secrets.values

    def _secrets_of(self, record: logging.LogRecord) -> tuple[str, ...]:
        kept: tuple[str, ...] = getattr(record, "secrets", self._secrets.values)
        return kept

    def _parts(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return the parts of the line, masked: once quoted, a secret might not be found."""
        secrets = self._secrets_of(record)
        moment = datetime.fromtimestamp(record.created, UTC)
        return {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "event": _masked(record.getMessage(), secrets),
            **{
                key: _masked(value, secrets) for key, value in getattr(record, "fields", {}).items()
            },
        }

    def _traceback(self, record: logging.LogRecord) -> str:
        """Return the masked traceback; empty if there is none."""
        text = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        return redact(text, self._secrets_of(record))


class TextFormatter(_Formatter):
    """One line: time, level, event, then ``key=value``; a traceback follows on separate lines."""

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
    stream: TextIO | None = None,
) -> None:
    """Write all log records of the process to one stream (default: standard error), at once."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((JsonFormatter if form == "json" else TextFormatter)(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These log each request, file event or wait, which is noise compared to one line per transition
    for name in ("uvicorn", "uvicorn.error", "watchfiles", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return a number as it is, and anything else as its text without secrets."""
    return value if isinstance(value, int | float) else redact(str(value), secrets)


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


# ---------------------------------------------------------------- in another process


class _Collector(logging.Handler):
    """Keeps records in a form that can be sent to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        self.records.append(record)


@contextmanager
def collecting() -> Iterator[list[logging.LogRecord]]:
    """
    Collect records for relay() until the block ends, in a process without handlers of its own.

    Nothing is masked yet, because only the process that writes the log knows the secrets.
    """
    collector = _Collector()
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        yield collector.records
    finally:
        root.removeHandler(collector)


def relay(records: Iterable[logging.LogRecord]) -> None:
    """Log the records that another process collected."""
    for record in records:
        log = logging.getLogger(record.name)
        if log.isEnabledFor(record.levelno):
            log.handle(record)


# ---------------------------------------------------------------- very many lines

_MANY = 20
_CALM: Seconds = 1.0
_FLOOD: Seconds = 10.0


@dataclass(slots=True)
class _Spell:
    """
    The lines of one event within some seconds.

    Attributes:
        last: The last line that was counted instead of written.
    """

    until: Seconds
    written: int = 0
    counted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    last: logging.LogRecord | None = None


class Floods:
    """
    Decides which lines about sites are written if there are very many, and summarises the rest.

    For each event the first 20 lines within a second are written, and the rest is counted by
    reason. A summary follows after that second, and then every ten seconds, until there are few
    lines again: if 9,000 sites go down at once, there are 20 lines, and

        site_down_more count=8980 reasons=connect_timeout:8000,dns_timeout:980

    Pure: callers pass the time, in seconds of any clock that does not go back.
    """

    def __init__(self) -> None:
        self._spells: dict[str, _Spell] = {}

    def take(self, record: logging.LogRecord, now: Seconds) -> list[logging.LogRecord]:
        """Return the records to write now that this one was logged."""
        lines = self.tick(now)
        values = getattr(record, "fields", {})
        if "site" not in values or record.levelno <= logging.DEBUG:
            return [*lines, record]
        spell = self._spells.setdefault(record.msg, _Spell(now + _CALM))
        if spell.written < _MANY:
            spell.written += 1
            return [*lines, record]
        spell.counted += 1
        spell.last = record
        if "reason" in values:
            spell.reasons[values["reason"]] += 1
        return lines

    def tick(self, now: Seconds) -> list[logging.LogRecord]:
        """Return the summaries that are due."""
        over = [event for event, spell in self._spells.items() if spell.until <= now]
        lines = []
        for event in over:
            spell = self._spells.pop(event)
            if spell.last is not None:
                lines.append(_summary(spell, spell.last))
            if spell.counted > _MANY:
                self._spells[event] = _Spell(now + _FLOOD, written=_MANY)
        return lines

    def next_due(self) -> Seconds | None:
        """Return when the next summary is due; None while nothing is counted."""
        return min((one.until for one in self._spells.values() if one.last), default=None)

    def end(self) -> list[logging.LogRecord]:
        """Return the summaries of lines that were counted but not reported yet."""
        return [_summary(one, one.last) for one in self._spells.values() if one.last]


def _summary(spell: _Spell, last: logging.LogRecord) -> logging.LogRecord:
    reasons = ",".join(f"{reason}:{count}" for reason, count in spell.reasons.most_common())
    values = fields(count=spell.counted, reasons=reasons or None)
    return _line(f"{last.msg}_more", last.levelno, last.created, values)


def _line(
    event: str, level: int, created: Timestamp, values: Mapping[str, Any]
) -> logging.LogRecord:
    head = {"msg": event, "levelno": level, "levelname": logging.getLevelName(level)}
    return logging.makeLogRecord({**head, "created": created, **values})


# ---------------------------------------------------------------- in the background

_MOST_WAITING = 5000
"""Lines of about 1.5 KiB each; a reader that is blocked for longer loses some."""
_LAST_WORDS: Seconds = 1.0
"""How long the process waits for a reader when it ends."""


def write_in_background(on_dropped: Callable[[], None]) -> None:
    """
    From now on, write lines in a separate thread, so that no caller waits for a reader.

    While the reader of standard error is blocked, 5,000 lines are kept for it and further lines are
    dropped; when it continues, a line says how many were dropped. Very many lines about sites
    become a few, see Floods. When the process ends, it waits a second to write what is left.

    Args:
        on_dropped: Called for each line that is dropped, in any thread; must be short.
    """
    root = logging.getLogger()
    root.handlers = [_in_background(handler, on_dropped) for handler in root.handlers]


def _in_background(handler: logging.Handler, on_dropped: Callable[[], None]) -> logging.Handler:
    match handler:
        case logging.StreamHandler(formatter=_Formatter() as formatter, stream=stream):
            return Background(formatter, stream, on_dropped)
        case _:
            return handler  # not made by configure()


class Background(logging.Handler):
    """
    Writes lines in its own thread.

    Callers share with the thread the queue, the records in it, and the number of dropped records,
    which only they count, under the lock that logging has for each handler. Python's own stream is
    not used, because a thread that waits in it holds its lock, and the process could not end.

    Args:
        on_dropped: As in write_in_background.
        most_waiting: How many lines are kept for a blocked reader.
    """

    def __init__(
        self,
        formatter: _Formatter,
        stream: TextIO,
        on_dropped: Callable[[], None],
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        super().__init__()
        self._form = formatter
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._on_dropped = on_dropped
        self._most_waiting = most_waiting
        self._queue: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        self._dropped = 0
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._queue.qsize() >= self._most_waiting:
            self._dropped += 1
            self._on_dropped()
        else:
            self._form.keep(record)
            self._queue.put(record)

    def close(self) -> None:
        """Write what is left, if it is read within a second."""
        self._queue.put(None)
        self._thread.join(_LAST_WORDS)
        super().close()

    def _run(self) -> None:
        clock = SystemClock()
        floods = Floods()
        told = 0
        ended = False
        while not ended:
            due = floods.next_due()
            wait = None if due is None else max(0.0, due - clock.monotonic())
            try:
                record = self._queue.get(timeout=wait)
            except Empty:
                lines = floods.tick(clock.monotonic())
            else:
                ended = record is None
                lines = floods.take(record, clock.monotonic()) if record else floods.end()
            dropped = self._dropped
            if dropped > told:
                values = fields(count=dropped - told)
                lines.append(_line("log_lines_dropped", logging.WARNING, clock.time(), values))
            told = dropped
            for line in lines:
                try:
                    self._write(f"{self._form.format(line)}\n")
                except Exception:  # the reader is gone or the disk is full; the next may work
                    self._on_dropped()

    def _write(self, text: str) -> None:
        left = text.encode(self._encoding, errors="backslashreplace")
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another program on this terminal made it non-blocking
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
