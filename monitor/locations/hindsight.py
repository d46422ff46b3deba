"""
What the verdict would have been, once late reports have arrived: only for the history. Pure.

While places cannot deliver, too few votes are left and the site is unknown. Their reports arrive
later, with their own times, and the votes of that time can then be counted after all. A verdict
that was given stays, because people were told about it; time that was unknown, or not observed
because the hub was away, is filled with the verdict of the votes. No message is sent because of it.
An example with three places, a check every minute, and NATS away from 12:00 to 12:10:

    told then      up until 12:03, unknown until 12:10, up
    fra, nyc, sin  down from 12:04 to 12:08, as each reports at 12:10
    kept then      up until 12:04, down until 12:08, up

Only each place's sequence of reports is kept: from when, until when, and what it said.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from monitor.model import Joint, Seconds, Status, Timestamp, Verdict
from monitor.past import Condition, Span
from monitor.places import Ballot, Sender

_MOST_RUNS = 100
"""How many changes of a place's report on a site are kept; earlier ones are forgotten."""
_PATIENCE: Seconds = 5.0
"""The wait after the last late report of a site; other places may still be delivering."""
_AT_ONCE = 100
"""Sites to process in one go, so that reports do not wait for it."""
_A_LITTLE: Seconds = 0.001
"""A vote is stale as soon as it is the least bit older."""


@dataclass(slots=True)
class _Run:
    """
    Consecutive reports of one place that say the same; most places have only one run.

    Attributes:
        failed: The first of its ballots, unless it is a plain vote for up.
        before: The run before.
        depth: How many runs there are, this one and those before.
    """

    begin: Timestamp
    last: Timestamp
    failed: Ballot | None
    before: "_Run | None"
    depth: int

    def says(self, ballot: Ballot) -> bool:
        """Whether a ballot says the same as these reports."""
        if self.failed is None:
            return _is_plain(ballot)
        known = self.failed
        return (known.status, known.trouble) == (ballot.status, ballot.trouble)

    def ballot(self, location: str, at: Timestamp) -> Ballot:
        """Return what the place had last said at a given moment."""
        time = min(at, self.last)
        if self.failed is not None:
            return replace(self.failed, time=time)
        return Ballot(sender=Sender(location), time=time, status=Status.UP, since=self.begin)


def _is_plain(ballot: Ballot) -> bool:
    return ballot.status is Status.UP and ballot.trouble is None


@dataclass(slots=True)
class _SiteRuns:
    """What each place said about one site: its last run."""

    stale_after: Seconds
    runs: dict[str, _Run] = field(default_factory=dict)

    def all(self) -> Iterator[_Run]:
        for last in self.runs.values():
            run: _Run | None = last
            while run is not None:
                yield run
                run = run.before


@dataclass(slots=True)
class _LateSpan:
    """When the first late report was made, and when the last one arrived."""

    begin: Timestamp
    came: Timestamp


class Hindsight:
    """
    The mutable state is what places said; only the main thread uses it.

    Args:
        count: Counts ballots at a moment: ballots, verdict before, moment, when they are stale.
        explain: Returns the text of a verdict down.
    """

    def __init__(
        self,
        count: Callable[[Mapping[str, Ballot], Status, Timestamp, Seconds], Joint],
        explain: Callable[[Joint], Verdict],
    ) -> None:
        self._count = count
        self._explain = explain
        self._sites: dict[str, _SiteRuns] = {}
        self._late: dict[str, _LateSpan] = {}  # the one whose last report is oldest comes first

    def listed(self, name: str, stale_after: Seconds) -> None:
        """Add a site, or record that its interval changed."""
        if name in self._sites:
            self._sites[name].stale_after = stale_after
        else:
            self._sites[name] = _SiteRuns(stale_after)

    def left(self, names: Iterable[str]) -> None:
        for name in names:
            self._sites.pop(name, None)
            self._late.pop(name, None)

    def renamed(self, old: str, new: str) -> None:
        said = self._sites.pop(old, None)
        self._late.pop(old, None)
        if said is not None:
            self._sites[new] = said

    def heard(self, name: str, ballot: Ballot) -> None:
        """Record what a place said; its ballots come in the order of its checks."""
        said = self._sites.get(name)
        if said is None:
            return
        location, time = ballot.sender.location, ballot.time
        run = said.runs.get(location)
        if run is not None:
            if time <= run.last:
                return  # it was read before
            if time - run.last <= said.stale_after and run.says(ballot):
                run.last = time
                return
        failed = None if _is_plain(ballot) else ballot
        depth = 1 if run is None else run.depth + 1
        if run is not None and depth > 2 * _MOST_RUNS:
            _forget(run)
            depth = _MOST_RUNS + 1
        said.runs[location] = _Run(time, time, failed, run, depth)

    def late(self, name: str, time: Timestamp, now: Timestamp) -> None:
        """Record that a report on a site came too late to have a vote."""
        before = self._late.pop(name, None)
        begin = time if before is None else min(before.begin, time)
        self._late[name] = _LateSpan(begin, now)

    def settled(self, now: Timestamp) -> Iterator[tuple[Span, ...]]:
        """Yield the verdicts of sites whose late reports have all arrived."""
        ready: list[str] = []
        for name, late in self._late.items():
            if len(ready) == _AT_ONCE or 0 <= now - late.came < _PATIENCE:
                break
            ready.append(name)
        for name in ready:
            late = self._late.pop(name)
            # Until now, because a place may be silent, and so without a vote, for some time
            # afterwards
            if name in self._sites and (spans := tuple(self._spans(name, late.begin, now))):
                yield spans

    def _spans(self, name: str, begin: Timestamp, end: Timestamp) -> list[Span]:
        """Return the verdicts of a site between two moments, in order; nothing if none."""
        said = self._sites[name]
        spans: list[Span] = []
        before = Status.UNKNOWN
        for at, until in pairwise(_moments(said, begin, end)):
            joint = self._count(_ballots(said, at), before, at, said.stale_after)
            if joint.status is None or joint.status is Status.UNKNOWN:
                continue
            before = joint.status
            if before is Status.UP:
                span = Span(site=name, condition=Condition.UP, begin=at, end=until)
            else:
                told = self._explain(joint)
                first = at if joint.first is None else max(begin, min(at, joint.first))
                if not spans or spans[-1].condition is not Condition.DOWN:
                    _cut(spans, first)
                span = Span(
                    site=name,
                    condition=Condition.DOWN,
                    begin=first,
                    end=until,
                    reason=told.reason,
                    message=told.message,
                )
            _append(spans, span)
        return spans


def _forget(run: _Run) -> None:
    """Keep only the last runs of a place."""
    for _ in range(_MOST_RUNS - 1):
        if run.before is None:
            return
        run = run.before
    run.before = None


def _moments(said: _SiteRuns, begin: Timestamp, end: Timestamp) -> list[Timestamp]:
    """Return the moments at which a place changes what it says, or falls silent."""
    turns = (
        moment
        for run in said.all()
        for moment in (run.begin, run.last + said.stale_after + _A_LITTLE)
        if begin < moment < end
    )
    return sorted({begin, end, *turns}) if begin < end else []


def _ballots(said: _SiteRuns, at: Timestamp) -> dict[str, Ballot]:
    """Return what each place had last said at a given moment."""
    found = {}
    for location, last in said.runs.items():
        run: _Run | None = last
        while run is not None and run.begin > at:
            run = run.before
        if run is not None:
            found[location] = run.ballot(location, at)
    return found


def _cut(spans: list[Span], at: Timestamp) -> None:
    while spans and spans[-1].begin >= at:
        spans.pop()
    if spans and (spans[-1].end or at) > at:
        spans[-1] = replace(spans[-1], end=at)


def _append(spans: list[Span], span: Span) -> None:
    if spans and spans[-1].condition is span.condition and (spans[-1].end or 0) >= span.begin:
        spans[-1] = replace(spans[-1], end=span.end)
    else:
        spans.append(span)
