"""
The loop: owns every site, its state and its schedule; runs in the main thread.

``run`` waits for the inbox; ``start_due_checks`` and ``handle`` never wait, so a test can drive
them with a fake clock and with pools that do nothing by themselves.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty
from typing import Any

from monitor.clock import Clock
from monitor.engine import notices, pressure
from monitor.engine import result as results
from monitor.engine.batcher import Batcher
from monitor.engine.certificates import KnownCertificates
from monitor.engine.connectivity import Connectivity
from monitor.engine.dependencies import Dependencies
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
from monitor.engine.lines import Check, Lines, Stage
from monitor.engine.pools import Judged
from monitor.engine.ports import Judges, Meters, Probes, Publisher, Recorder
from monitor.engine.roster import Roster
from monitor.engine.schedule import Due, Schedule
from monitor.engine.state import Depth, advance, awaits_confirmation, skip
from monitor.engine.tuning import Tuning
from monitor.errors import NothingYetError, ProbeError
from monitor.model import (
    Analysis,
    Job,
    Load,
    Observation,
    Result,
    Seconds,
    Site,
    SiteState,
    Status,
    Verdict,
)
from monitor.records import replace

_TUNING = Tuning()


@dataclass(frozen=True, slots=True)
class _Held:
    """A failure that counts only if the monitor proves to be connected after ``since``."""

    check: Check
    result: Result
    since: Seconds


def _nothing_at_once(_job: Job, _certificates: Analysis | None) -> None:
    """Leave every answer to the workers."""


class Engine:
    """
    The mutable state is the tables below; only the main thread reads and writes them.

    A check goes through these stages: due, waiting (for a thread), probing, analysing, recorded.
    Before it is recorded, a failed check is held until the engine knows whether our own connection
    is at fault. During all this time its site is in ``_under_way``, so no second check of it
    begins. A requested check takes the same path, but its result is returned instead of recorded.

    Checks that wait for a thread are in ``_lines``, those that wait for a worker in ``_batcher``.

    Args:
        schedule: Without any sites yet; from now on only the engine changes it.
        judge_at_once: Returns the verdict if that takes no time, and None if a worker is needed. It
            gets what is known about the certificates.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        inbox: Inbox,
        schedule: Schedule,
        probes: Probes,
        analysis: Judges,
        publisher: Publisher,
        meters: Meters,
        recorder: Recorder,
        depth: Depth,
        as_text: results.AsText,
        judge_at_once: Callable[[Job, Analysis | None], Analysis | None] = _nothing_at_once,
        tuning: Tuning = _TUNING,
        on_stopping: Callable[[], None] = nothing,
        between_turns: Callable[[], None] = nothing,
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._probes = probes
        self._analysis = analysis
        self._meters = meters
        self._depth = depth
        self._as_text = as_text
        self._judge_at_once = judge_at_once
        self._tuning = tuning
        self._on_stopping = on_stopping
        self._between_turns = between_turns

        self._roster = Roster(
            clock, publisher, recorder, meters, depth, self._on_listed, self._on_left
        )
        self._guard = self._roster.guard
        self._states = self._roster.states
        self._schedule = schedule
        self._under_way: dict[str, Check] = {}
        self._lines = Lines(probes.threads, self._still_wanted)
        self._early: list[Due] = []  # near slots of sites that are still being checked
        self._finished = 0  # checks that finished since new ones were started
        self._latest: Seconds = 0.0  # the largest lag among them
        self._batcher = Batcher(tuning)
        self._judged: deque[tuple[Site, Analysis]] = deque()  # waiting to be recorded
        self._certificates = KnownCertificates()
        self._dependencies = Dependencies(self._states)
        self._unexplained: dict[str, None] = {}  # sites whose cause may have changed
        self._connectivity = Connectivity()
        self._held: list[_Held] = []
        self._news: Counter[str] = Counter()  # about sites that are being checked
        self._unproven: set[str] = set()  # sites to check again once we are connected
        self._once = False
        self._stop_at: Seconds | None = None

    # ------------------------------------------------------------ the loop

    def run(self) -> bool:
        """
        Check sites until a stop is complete; this is the daemon's whole life.

        Returns:
            Whether every running check was recorded; False if the grace period ended first.
        """
        while not self._is_over:
            self.turn()
        return self._idle

    def run_once(self) -> None:
        """
        Check every site once, now, and return when all are recorded or a stop is complete.

        Meanwhile no slot is run, and no site is checked again, whatever the result.
        """
        self._once = True
        for name in self._states:
            self._enqueue(name, self._clock.monotonic())
        while not self._is_over:
            self.turn()

    def turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        self._guard.survives(self.start_due_checks)
        self._between_turns()
        for event in self._wait():
            self._guard.survives(self.handle, event)

    def _go_on(self, step: Callable[..., None], check: Check, *args: Any) -> None:
        """Run a step of a check; a bug in it ends the check, so that its site is not stuck."""
        if not self._guard.survives(step, check, *args):
            self._under_way.pop(check.site.name, None)
            if check.reply is not None:
                check.reply.cancel()
            self._look_again(check.site.name)

    def start_due_checks(self) -> None:
        """Give a thread to every site that is due, as long as threads are free."""
        now = self._clock.monotonic()
        for judged in self._analysis.tick():
            self._record_batch(judged)
        self._record_some()
        if self._runs_slots:
            for due in (*self._pop_early(now), *self._schedule.pop_due(now + self._ahead)):
                self._guard.survives(self._on_due, due, now)
        if self._stop_at is None or self._held:
            self._connectivity.begin_if_due(now)
        self._roster.turn_windows(self._tuning.edges_at_once)
        self._explain_some()
        self._hand_to_threads(now)
        if self._batcher.send_at is not None and now >= self._batcher.send_at:
            self._analysis.submit(*self._batcher.take())

    def load(self) -> Load:
        """Return the current load; any thread may ask, because it only reads lengths."""
        busy = self._probes.busy
        return Load(
            threads=self._probes.threads,
            busy=busy,
            slow=min(self._lines.slow_probing, busy),  # some may still be waiting for their slot
            waiting=self._lines.waiting,
            waiting_slow=self._lines.waiting_slow,
            batches=self._analysis.backlog,
        )

    @property
    def held(self) -> int:
        """How many failures wait for proof that the monitor itself was connected."""
        return len(self._held)

    def handle(self, event: Event) -> None:
        """Handle one event; never waits."""
        match event:
            case ProbeFinished():
                self._on_probed(event)
            case BatchJudged():
                for judged in self._analysis.on_judged(event):
                    self._record_batch(judged)
            case WorkerStarted():
                self._analysis.on_started(event)
            case SitesChanged():
                if event.connectivity != self._connectivity.targets:
                    self._guard.survives(self._change_connectivity, event.connectivity)
                self._roster.change(event)
            case CheckRequested():
                self._on_requested(event)
            case NewsOf():
                self._on_news(event.name)
            case SecondOpinionAsked() | PlacesChanged() | ReportsCame() | BeatCame():
                self._on_other_places(event)
            case Pinged():
                event.reply.set_result(None)
            case StopRequested():
                self._on_stop(event)

    def _wait(self) -> Iterable[Event]:
        """Return what happened: at least one event, or none if something else is due."""
        events: list[Event] = []
        wait = self.wait_time()
        if 0 < wait <= self._tuning.doze and not self._is_awaited:
            self._clock.sleep(wait)
            wait = 0
        try:
            if wait:
                events.append(self._inbox.get(timeout=wait))
            while len(events) < self._tuning.events_at_once:
                events.append(self._inbox.get_nowait())
        except Empty:
            pass
        return events

    @property
    def _is_awaited(self) -> bool:
        """Whether something waits for the next event: a check that needs a thread, or a stop."""
        return not self._lines.empty or self._once or self._stop_at is not None

    def wait_time(self) -> Seconds:
        """Return how long there is nothing to do unless an event arrives; 0 if work is due."""
        if self._is_over:
            return 0.0
        tuning = self._tuning
        now = self._clock.monotonic()
        moments = [self._stop_at, self._batcher.send_at, self._analysis.next_tick()]
        if self._runs_slots:
            moments += [due.at for due in self._early]
            next_due = self._schedule.next_due()
            if next_due is not None:
                moments.append(next_due - self._look_away)
        unattended = self._probes.unattended()
        if unattended is not None:
            moments.append(unattended - tuning.send_before)
        if self._stop_at is None or self._held:
            moments.append(self._connectivity.next_due())
        if self._probes.free > 0 and self._lines.open:
            moments.append(now + tuning.batch_wait_awaited)
        if self._judged:
            moments.append(now if self._is_awaited else now + tuning.record_rest)
        if self._unexplained:
            moments.append(now)
        edge = self._roster.next_edge()
        if edge is not None:
            moments.append(now + edge - self._clock.time())
        soonest = min(
            (moment for moment in moments if moment is not None), default=now + tuning.longest_wait
        )
        return min(max(0.0, soonest - now), tuning.longest_wait)

    @property
    def _ahead(self) -> Seconds:
        """How long before its slot a check is handed to the threads."""
        rate, tuning = self._schedule.rate, self._tuning
        if rate * tuning.ahead_most <= tuning.ahead:
            return tuning.ahead_most
        return max(tuning.ahead_least, tuning.ahead / rate)

    @property
    def _look_away(self) -> Seconds:
        """
        How long the loop may look away while slots are close together.

        Until then each check has a thread, or one that comes back for it.
        """
        return self._ahead / 2

    @property
    def _runs_slots(self) -> bool:
        return self._stop_at is None and not self._once

    @property
    def _is_over(self) -> bool:
        """Whether nothing is left to wait for: a single round or a stop is complete."""
        if self._idle:
            return self._once or self._stop_at is not None
        return self._stop_at is not None and self._clock.monotonic() >= self._stop_at

    @property
    def _idle(self) -> bool:
        return not self._under_way and not self._connectivity.busy

    # ------------------------------------------------------------ from due to a thread

    def _on_due(self, due: Due, now: Seconds) -> None:
        check = self._under_way.get(due.name)
        if check is not None and due.at > now:
            self._early.append(due)  # the running check may end before the slot
            return
        if due.missed:
            self._skip(due.name, "late", due.missed)
        if check is None:
            self._enqueue(due.name, due.at)
        elif not due.extra:
            self._skip(due.name, self._why_not(check))

    def _pop_early(self, now: Seconds) -> list[Due]:
        """Return slots that are due now, whose sites were still being checked shortly before."""
        if not self._early:
            return []
        come = [due for due in self._early if due.at <= now]
        self._early = [due for due in self._early if due.at > now]
        return come

    def _why_not(self, check: Check) -> str:
        if check.stage is not Stage.WAITING:
            return "overrun"
        return "analysis_backlog" if self._analysis.jammed else "no_thread"

    def _skip(self, name: str, cause: str, slots: int = 1) -> None:
        self._roster.show(skip(self._states[name], cause, slots))

    def _enqueue(self, name: str, due: Seconds) -> None:
        state = self._states[name]
        last = state.finished
        slow = (
            last is not None and last.up is False and last.observation.duration >= self._tuning.slow
        )
        check = self._under_way[name] = Check(state.site, due, slow=slow)
        self._lines.join(check)

    def _on_news(self, name: str) -> None:
        if self._stop_at is not None or name not in self._states:
            return
        if name in self._under_way:
            self._news[name] += 1
        else:
            self._enqueue(name, self._clock.monotonic())

    def _look_again(self, name: str) -> None:
        """Check a site again at once if something new arrived during its check."""
        if self._news[name]:
            self._news[name] -= 1
            self._on_news(name)
        else:
            del self._news[name]

    def _on_requested(self, event: CheckRequested) -> None:
        if self._stop_at is not None:
            event.reply.cancel()
            return
        check = Check(event.site, self._clock.monotonic(), reply=event.reply)
        self._under_way[event.site.name] = check
        self._lines.join(check)

    def _on_other_places(
        self, event: SecondOpinionAsked | PlacesChanged | ReportsCame | BeatCame
    ) -> None:
        now = self._clock.monotonic()
        match event:
            case PlacesChanged():
                self._schedule.shift(event.place / event.places, now)
                notices.places(event.place, event.places)
            case SecondOpinionAsked():
                for name in event.sites:
                    state = self._states.get(name)
                    # A site that fails here is checked again soon, and this place has asked the
                    # others
                    if state is not None and state.said is not False:
                        self._schedule.check_for_another(name, now)
            case ReportsCame() | BeatCame():
                pass  # only a hub needs these

    def _hand_to_threads(self, now: Seconds) -> None:
        # Connectivity targets go first: failures of sites are held back until they answer
        while self._probes.free > 0:
            target = self._connectivity.next_target(now)
            if target is None:
                break
            self._probes.submit(target, now)
        for _ in range(self._room(now)):
            check = self._lines.take()
            if check is None:
                break
            check.stage = Stage.PROBING
            check.visit = self._probes.submit(check.site, check.due)
        self._probes.attend(now + self._look_away + self._tuning.send_before)

    def _room(self, now: Seconds) -> int:
        """Return how many checks may start now."""
        finished, self._finished = self._finished, 0
        latest, self._latest = self._latest, 0.0
        due = self._lines.longest_due(now)
        if self._analysis.jammed:
            return 0
        # Look before each batch of checks, because every check adds to the pressure
        high = pressure.is_high(self._clock, max(latest, now - due))
        most = finished if high else self._tuning.starts_at_once
        return min(most, self._probes.free)

    def _still_wanted(self, check: Check) -> bool:
        if check.reply is not None and check.reply.cancelled():
            self._under_way.pop(check.site.name, None)
        return self._under_way.get(check.site.name) is check

    # ------------------------------------------------------------ from a thread to a worker

    def _on_probed(self, event: ProbeFinished) -> None:
        self._probes.finished()
        self._finished += 1
        site = event.site
        if self._connectivity.is_asked(site):
            self._on_target_asked(event)
            return
        check = self._under_way[site.name]
        self._lines.leave(check)
        check.began = event.began
        lag = max(0.0, event.began - check.due)
        self._latest = max(self._latest, lag)
        self._meters.started(lag)
        self._go_on(self._take, check, event.outcome)

    def _take(self, check: Check, outcome: Observation | BaseException) -> None:
        """Judge what a probe returned, or send it to a worker."""
        if isinstance(outcome, NothingYetError):
            del self._under_way[check.site.name]
            self._look_again(check.site.name)
            return
        if isinstance(outcome, BaseException):
            self._spoil(check, outcome)
            return
        failure = results.unanswered(outcome)
        if failure is not None:
            analysis = Analysis(verdict=Verdict.down(failure))
            self._record(check, results.judged(check.site, outcome, analysis, self._as_text))
            return
        check.stage = Stage.ANALYSING
        check.seen = outcome
        job = self._job(check, outcome)
        expected = self._judge_at_once(job, self._certificates.of(check.site, outcome))
        if expected is not None:
            self._meters.judged_at_once()
            self._judged.append((check.site, expected))
        else:
            self._gather(check, job)

    def _job(self, check: Check, seen: Observation) -> Job:
        site = check.site
        state = self._states.get(site.name)
        return Job(
            observation=seen,
            expect=site.expect,
            extract=site.extract,
            watch=site.watch,
            reference=state.content if state else None,
            url=site.target,
            site=site.name,
            secrets=site.with_secrets(seen.secrets).secrets,
        )

    def _gather(self, check: Check, job: Job) -> None:
        awaited = self._once or check.reply is not None
        if self._batcher.add(check.site, job, self._clock.monotonic(), awaited=awaited):
            self._analysis.submit(*self._batcher.take())

    # ------------------------------------------------------------ from a worker to the state

    def _record_batch(self, judged: Judged) -> None:
        batch = judged.batch
        self._meters.analysed(self._clock.monotonic() - batch.submitted, len(batch.jobs))
        if isinstance(judged.outcome, BaseException):
            notices.analysis_failed(judged.outcome)
            for site in batch.sites:
                if check := self._analysed(site):
                    self._go_on(self._spoil, check, judged.outcome)
            return
        self._judged.extend(zip(batch.sites, judged.outcome, strict=True))

    def _record_some(self) -> None:
        """Record a few of the judged checks, or more if many wait."""
        few, judged = self._tuning.record_at_once, len(self._judged)
        for _ in range(min(judged, max(few, judged // few))):
            site, analysis = self._judged.popleft()
            if check := self._analysed(site):
                self._go_on(self._conclude, check, analysis)

    def _analysed(self, site: Site) -> Check | None:
        """Return the check that waits for this site's verdict; None if a bug has ended it."""
        check = self._under_way.get(site.name)
        waits = check is not None and check.site is site and check.stage is Stage.ANALYSING
        return check if waits else None

    def _conclude(self, check: Check, analysis: Analysis) -> None:
        assert check.seen is not None  # noqa: S101  it is being analysed
        kept = self._certificates.are_kept(check.site, analysis)
        result = results.judged(check.site, check.seen, analysis, self._as_text, kept=kept)
        self._certificates.learn(check.site, check.seen, analysis, result.analysis)
        self._record(check, result)

    def _spoil(self, check: Check, error: BaseException) -> None:
        self._record(check, self._spoilt(check, error))

    def _spoilt(self, check: Check, error: BaseException) -> Result:
        if isinstance(error, ProbeError):
            detail = str(error)
        else:
            detail = f"internal error ({type(error).__name__}); the log has the details"
            state = self._states.get(check.site.name)
            # Log it once: a check that a bug spoils is repeated soon, and so is the bug
            if state is None or state.last is None or state.last.error != detail:
                notices.check_failed(check.site, error)
        duration = self._clock.monotonic() - check.began
        return results.spoilt(check.site, self._clock.time() - duration, duration, detail)

    def _record(self, check: Check, result: Result) -> None:
        """Enter a result, or hold it until the cause of the failure is known."""
        state = self._states.get(check.site.name)
        if result.up is not False or state is None or not self._depends_on_connection(state):
            self._enter(check, result)
        elif self._connectivity.up is False:
            self._enter(check, results.unproven(result))
        elif _is_steadily_down(state):
            self._enter(check, result)  # it changes nothing, so it need not wait
        else:
            check.stage = Stage.HELD
            now = self._clock.monotonic()
            self._held.append(_Held(check, result, now))
            self._connectivity.ask(now)

    def _depends_on_connection(self, state: SiteState) -> bool:
        return state.site.connectivity and bool(self._connectivity.targets)

    def _enter(self, check: Check, result: Result) -> None:
        name = check.site.name
        del self._under_way[name]
        if self._news:
            self._look_again(name)
        notices.checked(result)
        if check.reply is not None:
            if check.reply.set_running_or_notify_cancel():
                check.reply.set_result(result)
            return
        before = self._states.get(name)
        if before is None or before.site is not check.site:
            return  # the site left the list or was replaced
        state, transition = advance(before, result, self._roster.bounds, self._depth)
        if state.status is Status.DOWN and state.site.depends_on:
            state = replace(state, because=self._dependencies.cause(state.site))
        self._roster.enter(state, result.observation.time, checked=True)
        lost = self._connectivity.up is False and self._depends_on_connection(state)
        if result.error is not None and lost:
            self._unproven.add(name)
        elif result.error is not None or awaits_confirmation(state):
            retry = self._clock.monotonic() + state.site.confirm.retry_interval
            self._schedule.check_early(name, retry)
        if state.said is False and state.streak == 1 and not self._once:
            self._check_parents(state.site)
        if transition is not None:
            self._unexplained.update(dict.fromkeys(self._dependencies.descendants(name)))
        notices.entered(before, state, transition)

    # ------------------------------------------------------------ sites that depend on others

    def _check_parents(self, site: Site) -> None:
        """Check the sites soon whose outage might explain that of a site that just failed."""
        now, time = self._clock.monotonic(), self._clock.time()
        for name in site.depends_on:
            parent = self._states.get(name)
            if parent is None or parent.status is Status.DOWN:
                continue
            # Hundreds of sites may fail at the same time, one after another
            last = parent.recent[0].time if parent.recent else 0.0
            wait = last + parent.site.confirm.retry_interval - time
            self._schedule.check_early(name, now + max(0.0, wait))

    def _explain_some(self) -> None:
        """For a few sites, find whose outage explains theirs now."""
        for _ in range(min(self._tuning.explained_at_once, len(self._unexplained))):
            name = next(iter(self._unexplained))
            del self._unexplained[name]
            self._guard.survives(self._explain, name)

    def _explain(self, name: str) -> None:
        before = self._states.get(name)
        if before is None:
            return
        because = self._dependencies.cause(before.site) if before.status is Status.DOWN else ""
        if because == before.because:
            return
        self._roster.enter(replace(before, because=because), self._clock.time(), checked=False)
        if not because:  # it may have recovered together with the other site
            self._schedule.check_early(name, self._clock.monotonic())

    # ------------------------------------------------------------ failures that are not the sites'
    # fault

    def _on_target_asked(self, event: ProbeFinished) -> None:
        before = self._connectivity.up
        seen = event.outcome
        fault = seen.failure if isinstance(seen, Observation) else seen
        answered = fault is None
        if not self._connectivity.on_asked(event.site, self._clock.monotonic(), answered=answered):
            return
        up = self._connectivity.up
        self._meters.connectivity(up)
        if up is False and before is not False:
            notices.connectivity_lost(self._connectivity.targets, fault)
        elif up and before is False:
            notices.connectivity_regained(len(self._unproven))
            self._check_unproven()
        self._release()

    def _check_unproven(self) -> None:
        now = self._clock.monotonic()
        for place, name in enumerate(self._unproven):
            state = self._states.get(name)
            if state is not None:
                spread = state.site.confirm.retry_interval * place / len(self._unproven)
                self._schedule.check_early(name, now + spread)
        self._unproven.clear()

    def _release(self) -> None:
        """Enter the held failures whose cause is known by now."""
        held, self._held = self._held, []
        for one in held:
            if self._connectivity.up is False:
                self._go_on(self._enter, one.check, results.unproven(one.result))
            elif not self._connectivity.targets or one.since <= self._connectivity.proven:
                self._go_on(self._enter, one.check, one.result)
            else:
                self._held.append(one)
        if self._held:
            self._connectivity.ask(self._clock.monotonic())

    def _change_connectivity(self, targets: tuple[Site, ...]) -> None:
        self._connectivity.change(targets)
        self._meters.connectivity(None)
        self._release()

    # ------------------------------------------------------------ the list changes, the end

    def _on_listed(self, state: SiteState, _former: SiteState | None) -> None:
        """Give a new or changed site its slots, and enter what it depends on."""
        site = state.site
        self._forget(site.name)
        now = self._clock.monotonic()
        self._schedule.add(site.name, site.interval, now)
        if awaits_confirmation(state):
            self._schedule.check_early(site.name, now + site.confirm.retry_interval)
        self._dependencies.set_parents(site.name, site.depends_on)
        if site.depends_on or state.because:
            self._unexplained[site.name] = None
        self._unexplained.update(dict.fromkeys(self._dependencies.descendants(site.name)))

    def _on_left(self, name: str) -> None:
        self._schedule.remove(name)
        self._unexplained.update(dict.fromkeys(self._dependencies.descendants(name)))
        self._dependencies.set_parents(name, ())
        self._forget(name)

    def _forget(self, name: str) -> None:
        """Drop what was still planned for a site's old record."""
        if self._early:
            self._early = [due for due in self._early if due.name != name]
        self._forget_waiting(name)

    def _forget_waiting(self, name: str) -> None:
        # A check that has begun runs to its end, or a second one might begin beside it
        check = self._under_way.get(name)
        if check is None:
            return
        if check.visit is not None:
            if not self._probes.call_off(check.visit):
                return
            self._lines.leave(check)
        del self._under_way[name]
        if check.reply is not None:
            check.reply.cancel()

    def _on_stop(self, event: StopRequested) -> None:
        now = self._clock.monotonic()
        if self._stop_at is not None:
            self._stop_at = now
            return
        self._stop_at = now + event.grace
        self._on_stopping()
        for name in list(self._under_way):
            self._forget_waiting(name)
        notices.stopping(len(self._under_way), event.grace)


def _is_steadily_down(state: SiteState) -> bool:
    return state.status is Status.DOWN and state.finished is not None and not state.finished.up
