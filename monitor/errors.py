"""
Our own errors; a site's failures are data instead (model.Failure).

    MonitorError
      ├─ ConfigError(problems)   the site list or a file it names is wrong        exit 2
      ├─ StartupError            a port in use, no worker process can be started  exit 2
      ├─ HistoryError            the store of the history cannot be used          exit 2
      ├─ NotifyError             a receiver that is not listed, or a daemon that
      │                          does not answer                                  exit 2
      ├─ ProbeError              the monitor could not look: no file descriptor,
      │                          no permission; the check is an error, not a failure
      └─ NothingYetError         a site that reports itself has not called yet;
                                 the check does not count

Anything else that is raised is a bug: it is logged with its traceback and counted, and no site is
shown as down because of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


class MonitorError(Exception):
    """The root of our errors; its text is one sentence for the person who can fix the cause."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """
    One mistake in a configuration file, with its place; lines and columns start at 1.

    Attributes:
        path: The keys and indices that lead to the value; empty if it is about the file.
    """

    file: str
    line: int
    column: int
    message: str
    path: tuple[str | int, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(MonitorError):
    """
    The configuration is wrong; carries every problem of every file, sorted by place.

    Attributes:
        files: The files that were read or searched for, so that a correction is noticed.
    """

    def __init__(self, problems: Iterable[Problem], files: Iterable[Path] = ()) -> None:
        self.problems = tuple(sorted(problems))
        self.files = tuple(files)
        super().__init__("\n".join(map(str, self.problems)))


class StartupError(MonitorError):
    """The daemon, or a part of it, cannot start."""


class HistoryError(MonitorError):
    """The store cannot be used; commands end, the daemon continues from memory."""


class NotifyError(MonitorError):
    """A receiver of messages is not listed, or the daemon does not answer about messages."""


class ProbeError(MonitorError):
    """A probe could not look, because of the monitor or its system."""


class NothingYetError(MonitorError):
    """A site that reports itself has not called yet, and still has time."""
