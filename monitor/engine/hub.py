"""
The loop of a hub, which checks nothing and combines what places report; runs in the main thread.

Like the engine, it has a roster of sites. A place's report becomes a ballot, the votes are counted,
and the count changes the state. A report that is already stale on arrival has no vote; its check
only becomes part of the history.
"""

import heapq
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from queue import Empty
from typing import Protocol

from monitor.clock import Clock
from monitor.engine import notices
from monitor.engine.events import (
    BatchJudged,
    BeatCame,
    CheckRequested,
    Event,
    Inbox,
    NewsOf,
    Pinged,
    PlacesChanged,
    ProbeFinished,
    ReportsCame,
    SecondOpinionAsked,
    SitesChanged,
    StopRequested,
    WorkerStarted,
)
from monitor.engine.guard import nothing
from monitor.engine.ports import LoopMeters, Publisher, Recorder
from monitor.engine.roster import Roster
from monitor.engine.state import Depth, join
from monitor.engine.tuning import Tuning
from monitor.model import Joint, Past, Seconds, Site, SiteState, Status, Timestamp
from monitor.places import Ballot, Report, ReportBatch, Sender, SignOfLife, Standing

_TUNING = Tuning()
SILENCE: Seconds = 60.0
"""A daemon that was silent for this long has no vote."""
_LOOK: Seconds = 1.0
"""How often the hub looks for places that have become silent."""
_SKEW: Seconds = 1.0
"""Clocks that differ by less count as equal; part of this is a message's travel time."""
_SKEWS = 8
_IDS = 4096
"""How many messages are remembered as received; a place repeats only the latest ones."""


class HubRecorder(Recorder, Protocol):
    """A recorder that also accepts what only a hub has."""

    def late(self, site: Site, past: Past) -> None: ...
    def position(self, partition: int, sequence: int) -> None: ...


class HubMeters(LoopMeters, Protocol):
    """Counts a hub's work."""

    def reports(self, location: str, count: int, delay: Seconds) -> None: ...
    def late(self, location: str) -> None: ...
    def unlisted(self, location: str) -> None: ...
    def location(self, standing: Standing) -> None: ...


class Votes(Protocol):
    """Turns reports into ballots, and ballots into a verdict; see ``locations.votes``."""

    def take(
        self, report: Report, sender: Sender, skew: Seconds, known: Ballot | None
    ) -> Ballot | None: ...
    def count(
        self,
        ballots: Mapping[str, Ballot],
        before: Status,
        now: Timestamp,
        stale_after: Seconds,
        silent: Collection[Sender],
    ) -> Joint: ...
    def stale_after(self, interval: Seconds, timeout: Seconds) -> Seconds: ...


@dataclass(slots=True)
class _Daemon:
    """One daemon of a place, as the hub knows it."""

    heard: Seconds
    seen: Timestamp
    silent: bool = False
    beat: SignOfLife | None = None
    skews: deque[Seconds] = field(default_factory=lambda: deque(maxlen=_SKEWS))

    @property
    def skew(self) -> Seconds:
        # A message that travelled for long makes the clock look behind, never ahead
        most = max(self.skews, default=0.0)
        return most if abs(most) >= _SKEW else 0.0


@dataclass(slots=True)
class _Poll:
    """What the places say about one site."""

    stale_after: Seconds
    ballots: dict[str, Ballot] = field(default_factory=dict)


class Hub:
    """
    The mutable state is the tables below; only the main thread reads and writes them.

    Args:
        fingerprint: Returns the fingerprint of our own list, to compare with those of the places.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        inbox: Inbox,
        votes: Votes,
        publisher: Publisher,
        meters: HubMeters,
        recorder: HubRecorder,
        depth: Depth,
        fingerprint: Callable[[], str],
        tuning: Tuning = _TUNING,
        on_stopping: Callable[[], None] = nothing,
        between_turns: Callable[[], None] = nothing,
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._votes = votes
        self._meters = meters
        self._recorder = recorder
        self._depth = depth
        self._fingerprint = fingerprint
        self._tuning = tuning
        self._on_stopping = on_stopping
        self._between_turns = between_turns

        self._roster = Roster(
            clock, publisher, recorder, meters, depth, self._on_listed, self._on_left
        )
        self._guard = self._roster.guard
        self._states = self._roster.states
        self._polls: dict[str, _Poll] = {}
        self._daemons: dict[Sender, _Daemon] = {}
        self._silent: set[Sender] = set()
        self._differing: set[tuple[Sender, str]] = set()
        self._expiries: list[tuple[Timestamp, str]] = []  # one per site that has votes
        self._expiring: set[str] = set()
        self._ids: dict[str, None] = {}
        self._look_at: Seconds = 0.0
        self._stopped = False

    # ------------------------------------------------------------ the loop

    def run(self) -> bool:
        """Combine reports until a stop; return True, because everything is recorded."""
        while not self._stopped:
            self.turn()
        return True

    def turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        self._guard.survives(self.look)
        self._between_turns()
        try:
            event = self._inbox.get(timeout=self._wait_time())
            for _ in range(self._tuning.events_at_once):
                self._guard.survives(self.handle, event)
                event = self._inbox.get_nowait()
            self._guard.survives(self.handle, event)
        except Empty:
            pass

    def _wait_time(self) -> Seconds:
        edge = self._roster.next_edge()
        until = _LOOK if edge is None else min(_LOOK, max(0.0, edge - self._clock.time()))
        if self._expiries:
            until = min(until, max(0.0, self._expiries[0][0] - self._clock.time()))
        return until

    def handle(self, event: Event) -> None:
        """Handle one event; never waits."""
        match event:
            case ReportsCame():
                self._on_reports(event)
            case BeatCame():
                self._on_beat(event)
            case SitesChanged():
                self._roster.change(event)
            case CheckRequested():
                event.reply.cancel()  # a hub checks nothing
            case Pinged():
                event.reply.set_result(None)
            case StopRequested():
                self._on_stopping()
                self._stopped = True
                notices.stopping(0, event.grace)
            case ProbeFinished() | BatchJudged() | WorkerStarted():
                pass  # it has no threads or workers that could send these
            case SecondOpinionAsked() | PlacesChanged() | NewsOf():
                pass  # only places need these

    def look(self) -> None:
        """Handle what time alone brings: edges of maintenance, stale votes, silent places."""
        now = self._clock.time()
        self._roster.turn_windows(self._tuning.edges_at_once)
        while self._expiries and self._expiries[0][0] <= now:
            _, name = heapq.heappop(self._expiries)
            self._expiring.discard(name)
            if name in self._polls:
                self._guard.survives(self._count_again, name, lost=True)
        if self._clock.monotonic() >= self._look_at:
            self._look_at = self._clock.monotonic() + _LOOK
            self._look_for_silence()

    # ------------------------------------------------------------ reports

    def _on_reports(self, event: ReportsCame) -> None:
        batch = event.batch
        daemon = self._daemon_of(batch.sender)
        if batch.id not in self._ids:
            self._ids[batch.id] = None
            if len(self._ids) > _IDS:
                del self._ids[next(iter(self._ids))]
            skew = daemon.skew if daemon.skews else _first_skew(batch)
            for report in batch.reports:
                self._guard.survives(
                    self._on_report, report, batch.sender, skew, applied=event.applied
                )
            if not event.applied:
                delay = max(0.0, self._clock.time() - batch.stored)
                self._meters.reports(batch.sender.location, len(batch.reports), delay)
        if not event.applied:
            self._recorder.position(event.position.partition, event.position.sequence)

    def _on_report(self, report: Report, sender: Sender, skew: Seconds, *, applied: bool) -> None:
        poll = self._polls.get(report.site)
        if poll is None:
            self._meters.unlisted(sender.location)
            return
        state = self._states[report.site]
        ballot = self._votes.take(report, sender, skew, poll.ballots.get(sender.location))
        if ballot is not None:
            poll.ballots[sender.location] = ballot
        if applied:
            return
        past = Past(
            time=report.time - skew,
            duration=report.duration,
            up=report.up,
            reason=report.reason if report.up is False else None,
        )
        if ballot is None or past.time + poll.stale_after < self._clock.time():
            self._meters.late(sender.location)
            self._recorder.late(state.site, past)
            return
        self._count(state, poll, past, reported=True)

    def _count_again(self, name: str, *, lost: bool) -> None:
        """
        Count the votes on a site again without a new report.

        *Lost* votes do not change a verdict, they only leave too few votes: when all places are cut
        off, they fall silent one after another, and those that still count have nothing new to say.
        """
        state, poll = self._states[name], self._polls[name]
        if poll.ballots:
            said = Past(time=self._clock.time(), duration=0.0, up=None)
            self._count(state, poll, said, reported=False, lost=lost)

    def _count(
        self, before: SiteState, poll: _Poll, said: Past, *, reported: bool, lost: bool = False
    ) -> None:
        now, name = self._clock.time(), before.site.name
        joint = self._votes.count(poll.ballots, before.status, now, poll.stale_after, self._silent)
        self._expect_expiry(name, joint)
        if lost and joint.status is not None:
            joint = replace(joint, status=before.status)
        bounds = self._roster.bounds
        state, transition = join(before, joint, said, bounds, self._depth, reported=reported)
        turned = transition is not None or _undecided(state) is not _undecided(before)
        if reported or turned:
            self._roster.enter(state, said.time, checked=True)
        else:
            state = replace(before, joint=joint)
            self._roster.show(state)
        notices.entered(before, state, transition)

    def _expect_expiry(self, name: str, joint: Joint) -> None:
        # One entry per site: when its time comes, the votes are counted and it is entered again
        if joint.expires is not None and name not in self._expiring:
            self._expiring.add(name)
            # Slightly later: a vote is stale only once it is older than its limit
            heapq.heappush(self._expiries, (joint.expires + 0.001, name))

    # ------------------------------------------------------------ places

    def _daemon_of(self, sender: Sender) -> _Daemon:
        daemon = self._daemons.get(sender)
        if daemon is None:
            self._retire_parts(sender)
            daemon = _Daemon(heard=self._clock.monotonic(), seen=self._clock.time())
            self._daemons[sender] = daemon
            notices.location_heard(sender)
        return daemon

    def _on_beat(self, event: BeatCame) -> None:
        beat, sender = event.beat, event.beat.sender
        daemon = self._daemon_of(sender)
        daemon.heard, daemon.seen, daemon.beat = self._clock.monotonic(), event.time, beat
        daemon.skews.append(beat.sent - event.time)
        ours = self._fingerprint()
        if beat.fingerprint != ours and (sender, beat.fingerprint) not in self._differing:
            self._differing.add((sender, beat.fingerprint))
            notices.location_list_differs(sender, beat.fingerprint, ours)
        elif beat.fingerprint == ours:
            self._differing = {one for one in self._differing if one[0] != sender}
        if daemon.silent:
            daemon.silent = False
            self._silent.discard(sender)
            notices.location_heard(sender)
            self._count_all_of(sender, lost=False)

    def _retire_parts(self, sender: Sender) -> None:
        """Forget the old daemons of a place whose sites are now divided differently."""
        total = sender.part.partition("/")[2]
        for other in list(self._daemons):
            if other.location == sender.location and other.part.partition("/")[2] != total:
                del self._daemons[other]
                self._silent.discard(other)

    def _look_for_silence(self) -> None:
        now = self._clock.monotonic()
        for sender, daemon in self._daemons.items():
            if not daemon.silent and now - daemon.heard > SILENCE:
                daemon.silent = True
                self._silent.add(sender)
                notices.location_silent(sender)
                self._count_all_of(sender, lost=True)
        for location in {one.location for one in self._daemons}:
            self._meters.location(self._standing(location))

    def _count_all_of(self, sender: Sender, *, lost: bool) -> None:
        for name, poll in self._polls.items():
            ballot = poll.ballots.get(sender.location)
            if ballot is not None and ballot.sender == sender:
                self._guard.survives(self._count_again, name, lost=lost)

    def _standing(self, location: str) -> Standing:
        its = [one for sender, one in self._daemons.items() if sender.location == location]
        beats = [one.beat for one in its if one.beat is not None]
        ours = self._fingerprint()
        return Standing(
            location=location,
            up=not any(one.silent for one in its),
            last_seen=min(one.seen for one in its),
            skew=max((max(one.skews, default=0.0) for one in its), key=abs),
            list_differs=any(beat.fingerprint != ours for beat in beats),
            waiting=sum(beat.waiting for beat in beats),
            dropped=sum(beat.dropped for beat in beats),
        )

    # ------------------------------------------------------------ the list changes

    def _on_listed(self, state: SiteState, former: SiteState | None) -> None:
        """Set up the votes on a new or changed site; a continued site keeps its votes."""
        site = state.site
        poll = self._polls.get(former.site.name) if former is not None else None
        stale_after = self._votes.stale_after(site.interval, site.timeout)
        self._polls[site.name] = _Poll(stale_after, poll.ballots if poll else {})

    def _on_left(self, name: str) -> None:
        self._polls.pop(name, None)


def _undecided(state: SiteState) -> bool:
    return state.last is not None and state.last.error is not None


def _first_skew(batch: ReportBatch) -> Seconds:
    """Return the skew before the first sign of life, measured with the server's clock."""
    skew = batch.sent - batch.stored
    return skew if abs(skew) >= _SKEW else 0.0
