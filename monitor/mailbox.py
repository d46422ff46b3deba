"""
Holds the calls of sites that report themselves: the web server adds, the probe reads.

The web thread puts a call, a probe thread takes it at the site's next look; one lock guards what
they share. Calls are read one at a time, in the order in which they came, so none is skipped when
another follows soon.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from threading import Lock

from monitor.records import statically_frozen
from monitor.units import Bytes, Seconds, Timestamp

LARGEST_BODY: Bytes = 10 * 1024
"""How much of a call's body is kept, as evidence."""

_MOST_WAITING = 100
"""Unread calls of one site; one look takes milliseconds."""
_MOST_RUNS = 10
"""Runs of one job that have begun and not ended, distinguished by the caller's run numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """
    A site that may call.

    Attributes:
        token: The secret with which it calls.
        elsewhere: Which other daemon checks it; None if this one does.
    """

    name: str
    group: str
    token: str = field(repr=False)
    elsewhere: str | None = None


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One report of a site about itself.

    Attributes:
        time: When the call came.
        up: Whether the job went well.
        message: What the caller said, as a clause; may be empty.
        exit_status: The job's, from 0 to 255; None if the caller gave none.
        run_time: From the job's start to its end; None if no start was reported.
        body: The first bytes of what the caller sent.
    """

    time: Timestamp
    up: bool
    message: str = ""
    exit_status: int | None = None
    run_time: Seconds | None = None
    body: bytes = b""


@dataclass(slots=True)
class _Box:
    waiting: deque[Call] = field(default_factory=deque)
    runs: dict[str, Timestamp] = field(default_factory=dict)
    last: Call | None = None
    since: Timestamp | None = None
    looked: Timestamp | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """
    What is known about a site when the probe looks.

    Attributes:
        last: Its last call; None if it has not called yet, as far as is known.
        fresh: Whether this is the first look at that call.
        since: Since when it has had the chance to call again.
    """

    last: Call | None
    fresh: bool
    since: Timestamp


class Mailbox:
    """The mutable state is one box per site, by name; ``_lock`` guards them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._boxes: dict[str, _Box] = {}

    def start(self, name: str, run: str, at: Timestamp) -> None:
        """
        Record that a job began.

        Args:
            run: The caller's number of this run; empty if it gives none.
        """
        with self._lock:
            runs = self._box(name).runs
            runs.pop(run, None)
            while len(runs) >= _MOST_RUNS:
                del runs[next(iter(runs))]
            runs[run] = at

    def put(self, name: str, call: Call, run: str = "") -> bool:
        """
        Add a call; its run time is the time since the run's start, unless it names one.

        Returns:
            Whether there was room for it.
        """
        with self._lock:
            box = self._box(name)
            if len(box.waiting) >= _MOST_WAITING:
                return False
            began = box.runs.pop(run, None)
            if call.run_time is None and began is not None:
                call = replace(call, run_time=max(0.0, call.time - began))
            box.waiting.append(call)
        return True

    def recall(self, name: str, last: Call) -> None:
        """Restore a call from before the daemon's restart, unless the site has called since."""
        with self._lock:
            box = self._box(name)
            if box.last is None:
                box.last = last

    def look(self, name: str, now: Timestamp, patience: Seconds) -> Word:
        """
        Return what is known about a site; a waiting call is taken.

        Args:
            patience: If there was no look for longer than this, the monitor or its machine stood
                still and nobody could call, so the time to call begins again.
        """
        with self._lock:
            box = self._box(name)
            absent = box.looked is None or not 0 <= now - box.looked <= patience
            box.looked = now
            fresh = bool(box.waiting)
            if fresh:
                box.last = box.waiting.popleft()
                box.since = box.last.time
            elif box.since is None or absent:
                box.since = now
            return Word(box.last, fresh, box.since)

    def keep(self, names: Collection[str]) -> None:
        """Forget all sites but these."""
        with self._lock:
            for name in self._boxes.keys() - set(names):
                del self._boxes[name]

    def _box(self, name: str) -> _Box:
        return self._boxes.setdefault(name, _Box())
