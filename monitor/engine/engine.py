"""
The loop: owns every site, its state and its place in time; runs in the main thread.

``run`` waits for the inbox; ``start_due_checks`` and ``handle`` never wait, so a test drives them
with a clock turned by hand and pools that do nothing by themselves.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum, auto
from queue import Empty
from typing import Any, Protocol

from monitor.clock import Clock
from monitor.engine import pressure
from monitor.engine import result as results
from monitor.engine.connectivity import Connectivity
from monitor.engine.events import (
    BatchJudged,
    CheckRequested,
    Event,
    Inbox,
    Pinged,
    ProbeFinished,
    SitesChanged,
    StopRequested,
    WorkerStarted,
)
from monitor.engine.maintenance import Calendar
from monitor.engine.pools import AnalysisPool, Judged
from monitor.engine.schedule import Due, Schedule
from monitor.engine.state import (
    Memory,
    advance,
    awaits_confirmation,
    begin,
    rebucket,
    resume,
    skip,
    take_over,
)
from monitor.engine.threads import ProbePool, Visit
from monitor.errors import ProbeError
from monitor.logs import fields
from monitor.model import (
    Analysis,
    Bytes,
    Failure,
    HttpAnswer,
    Job,
    Load,
    Observation,
    Result,
    Seconds,
    Site,
    SiteState,
    Status,
    Timestamp,
    Verdict,
)
from monitor.past import Remembered

_log = logging.getLogger(__name__)

_BATCH_SITES = 64
_BATCH_BYTES: Bytes = 4 * 1024**2
_BATCH_WAIT: Seconds = 0.5
_BATCH_SHARE = 0.05
"""A round trip to a worker costs us about the same for one observation as for a dozen, so what
has gathered in this time, or this share of a site's interval, travels together."""
_AT_ONCE: Seconds = 0.005
"""What somebody waits for gathers no longer."""
_AHEAD = 40
_SOONEST: Seconds = 0.05
_EARLIEST: Seconds = 0.1
"""So many checks are handed to the threads before their slots, which they wait for themselves, and
each of them in this span of time before. The more, the seldomer the loop turns; but threads that
wait get in each other's way."""
_SEND: Seconds = 0.005
"""Before its slot, a thread is sent to a check that none came back for."""
_DOZE: Seconds = 0.1
"""Up to this long the loop sleeps until the next thing to do, whatever comes in meanwhile: being
woken costs more than most events do, and nobody is kept waiting by so little."""
_FEW = 16
_REST: Seconds = 0.002
"""So many of a batch are recorded in one go, with a rest after it: a loop that is at it for long
keeps threads from the interpreter, and what they check looks slow."""
_MOST_EVENTS = 32
"""Taken out of the inbox in one turn, before it is looked again what is due."""
_MOST_STARTS = 32
"""Checks that are handed to threads in one turn."""
_EDGES = 100
"""Maintenance windows that open or close in one turn: thousands of sites may share them, and what
comes in meanwhile is not to wait for all."""
_NAP: Seconds = 3600.0
"""No wait is longer: the system refuses those of many years, and nobody needs them."""
_SLOW: Seconds = 1.0
"""A down check that took this long is expected to hold its next thread as long."""


def nothing() -> None:
    """Stand in for a callback that nobody wants."""


class Meters(Protocol):
    """What the engine tells of itself; each call must be cheap."""

    def started(self, lag: Seconds) -> None: ...
    def analysed(self, seconds: Seconds, jobs: int) -> None: ...
    def sites(self, count: int) -> None: ...
    def connectivity(self, up: bool | None) -> None: ...
    def engine_restarted(self) -> None: ...


class Publisher(Protocol):
    """Where states go to be seen."""

    def publish(self, state: SiteState) -> None: ...
    def remove(self, names: Iterable[str]) -> None: ...
    def bounds_changed(self, bounds: tuple[Seconds, ...]) -> None: ...


class Recorder(Protocol):
    """What remembers states; each call must be cheap, and never waits."""

    def noted(self, state: SiteState, time: Timestamp, *, checked: bool) -> None: ...
    def left(self, names: Iterable[str], time: Timestamp) -> None: ...
    def renamed(self, old: str, new: str) -> None: ...


class _Stage(Enum):
    WAITING = auto()
    PROBING = auto()
    ANALYSING = auto()
    HELD = auto()


@dataclass(slots=True)
class _Check:
    """
    A check under way, from the moment it was due until it is recorded.

    Attributes:
        slow: Whether it was let in as one that is expected to hold its thread for long.
        visit: Its place among those that threads begin; None while it waits for one.
        began: When its thread did, on the monotonic clock.
        seen: What the probe brought, body and all, while the rest is judged elsewhere.
        reply: Where the result goes of a check that somebody asked for; its site is not listed.
    """

    site: Site
    due: Seconds
    stage: _Stage = _Stage.WAITING
    slow: bool = False
    visit: Visit | None = None
    began: Seconds = 0.0
    seen: Observation | None = None
    reply: "Future[Result] | None" = None


@dataclass(frozen=True, slots=True)
class _Held:
    """A failure that is the site's own only if the monitor's connection stood after ``since``."""

    check: _Check
    result: Result
    since: Seconds


class Engine:
    """
    The mutable state is the tables below; the main thread alone reads and writes them.

    A check's way: due, waiting (for a thread), probing, analysing, recorded; one that failed is
    held before that until it is known whether our own connection is at fault. All the while its
    site is in ``_under_way``, so that no second check of it begins. A check that somebody asked for
    goes the same way, and is answered instead of recorded.

    Sites whose last check was down and slow wait in a line of their own and get half of the
    threads at most: however many sites hang in their timeouts, the others have the other half.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        inbox: Inbox,
        probes: ProbePool,
        analysis: AnalysisPool,
        publisher: Publisher,
        meters: Meters,
        recorder: Recorder,
        memory: Memory,
        as_text: results.AsText,
        on_stopping: Callable[[], None] = nothing,
        between_turns: Callable[[], None] = nothing,
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._probes = probes
        self._analysis = analysis
        self._publisher = publisher
        self._meters = meters
        self._recorder = recorder
        self._memory = memory
        self._as_text = as_text
        self._on_stopping = on_stopping
        self._between_turns = between_turns

        self._bounds: tuple[Seconds, ...] = ()
        self._states: dict[str, SiteState] = {}
        self._schedule = Schedule(clock.time() - clock.monotonic())
        self._under_way: dict[str, _Check] = {}
        self._healthy: deque[_Check] = deque()
        self._slow: deque[_Check] = deque()
        self._slow_probing = 0
        self._early: list[Due] = []  # slots to come of sites that are still being checked
        self._finished = 0  # checks since others were handed to threads
        self._latest: Seconds = 0.0  # of the lags of these
        self._gathered: list[tuple[Site, Job]] = []  # the next batch
        self._gathered_bytes: Bytes = 0
        self._send_at: Seconds | None = None
        self._judged: deque[tuple[Site, Analysis]] = deque()  # to be recorded
        self._calendar = Calendar()
        self._connectivity = Connectivity()
        self._held: list[_Held] = []
        self._unproven: set[str] = set()  # sites to be checked again once our connection stands
        self._once = False
        self._stop_at: Seconds | None = None

    # ------------------------------------------------------------ the loop

    def run(self) -> bool:
        """
        Check sites until a stop is over; the daemon's life.

        Returns:
            Whether every check in flight was recorded; False when the grace was over first.
        """
        while not self._is_over:
            self.turn()
        return self._idle

    def run_once(self) -> None:
        """
        Check every site once, now, and return when all are recorded or a stop is over.

        No slot is run meanwhile, and nothing is checked again, whatever comes of it.
        """
        self._once = True
        for name in self._states:
            self._enqueue(name, self._clock.monotonic())
        while not self._is_over:
            self.turn()

    def turn(self) -> None:
        """Wait for the next thing to do, and do it."""
        self._survive(self.start_due_checks)
        self._between_turns()
        for event in self._wait():
            self._survive(self.handle, event)

    def _survive(self, step: Callable[..., None], *args: Any, **kwargs: Any) -> bool:
        """
        Take one step; a bug in it is logged and counted, and costs nothing but this step.

        Returns:
            Whether the step was taken to its end.
        """
        try:
            step(*args, **kwargs)
        except Exception:
            self._meters.engine_restarted()
            _log.exception("engine_restarted")
            return False
        return True

    def _go_on(self, step: Callable[..., None], check: _Check, *args: Any) -> None:
        """Take a step with a check; a bug in it ends the check, so that its site is not stuck."""
        if not self._survive(step, check, *args):
            self._under_way.pop(check.site.name, None)
            if check.reply is not None:
                check.reply.cancel()

    def start_due_checks(self) -> None:
        """Give every site that is due a thread, as far as there are threads."""
        now = self._clock.monotonic()
        for judged in self._analysis.tick():
            self._record_batch(judged)
        self._record_some()
        if self._runs_slots:
            for due in (*self._pop_early(now), *self._schedule.pop_due(now + self._ahead)):
                self._survive(self._on_due, due, now)
        if self._stop_at is None or self._held:
            self._connectivity.begin_if_due(now)
        for name, is_open in self._calendar.pop(self._clock.time(), _EDGES):
            self._survive(self._on_edge, name, is_open=is_open)
        self._hand_to_threads(now)
        if self._send_at is not None and now >= self._send_at:
            self._send_batch()

    def load(self) -> Load:
        """Return what is under way; any thread may ask, as it takes nothing but lengths."""
        busy = self._probes.busy
        return Load(
            threads=self._probes.threads,
            busy=busy,
            slow=min(self._slow_probing, busy),  # some may only wait for their slot
            waiting=len(self._healthy),
            waiting_slow=len(self._slow),
            batches=self._analysis.backlog,
        )

    def handle(self, event: Event) -> None:
        """Do what one event asks for; never waits."""
        match event:
            case ProbeFinished():
                self._on_probed(event)
            case BatchJudged():
                for judged in self._analysis.on_judged(event):
                    self._record_batch(judged)
            case WorkerStarted():
                self._analysis.on_started(event)
            case SitesChanged():
                try:
                    self._change_sites(event)
                finally:
                    if event.applied is not None:
                        event.applied.set_result(None)
            case CheckRequested():
                self._on_requested(event)
            case Pinged():
                event.reply.set_result(None)
            case StopRequested():
                self._on_stop(event)

    def _wait(self) -> Iterable[Event]:
        """Return what has happened: at least one event, or none when something else is due."""
        events: list[Event] = []
        wait = self._wait_time()
        if 0 < wait <= _DOZE and not self._is_awaited:
            self._clock.sleep(wait)
            wait = 0
        try:
            if wait:
                events.append(self._inbox.get(timeout=wait))
            while len(events) < _MOST_EVENTS:
                events.append(self._inbox.get_nowait())
        except Empty:
            pass
        return events

    @property
    def _is_awaited(self) -> bool:
        """Whether somebody waits for the next event: a check for a thread, a person for the end."""
        return bool(self._healthy or self._slow or self._once or self._stop_at is not None)

    def _wait_time(self) -> Seconds:
        if self._is_over:
            return 0.0
        now = self._clock.monotonic()
        moments = [self._stop_at, self._send_at, self._analysis.next_tick()]
        if self._runs_slots:
            moments += [due.at for due in self._early]
            next_due = self._schedule.next_due()
            if next_due is not None:
                moments.append(next_due - self._look_away)
        unattended = self._probes.unattended()
        if unattended is not None:
            moments.append(unattended - _SEND)
        if self._stop_at is None or self._held:
            moments.append(self._connectivity.next_due())
        if self._open_lines and self._probes.free > 0:
            moments.append(now + _AT_ONCE)
        if self._judged:
            moments.append(now if self._is_awaited else now + _REST)
        edge = self._calendar.next_edge()
        if edge is not None:
            moments.append(now + edge - self._clock.time())
        soonest = min((moment for moment in moments if moment is not None), default=now + _NAP)
        return min(max(0.0, soonest - now), _NAP)

    @property
    def _ahead(self) -> Seconds:
        """How long before its slot a check is handed to the threads."""
        rate = self._schedule.rate
        return _EARLIEST if rate * _EARLIEST <= _AHEAD else max(_SOONEST, _AHEAD / rate)

    @property
    def _look_away(self) -> Seconds:
        """
        How long nothing has to be seen to, where slots are close together.

        Until then each check has a thread, or one that comes back for it.
        """
        return self._ahead / 2

    @property
    def _runs_slots(self) -> bool:
        return self._stop_at is None and not self._once

    @property
    def _is_over(self) -> bool:
        """Whether there is nothing more to wait for: a round is made, or a stop is complete."""
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
            self._early.append(due)  # it may be done by then
            return
        if due.missed:
            self._skip(due.name, "late", due.missed)
        if check is None:
            self._enqueue(due.name, due.at)
        elif not due.extra:
            self._skip(due.name, self._why_not(check))

    def _pop_early(self, now: Seconds) -> list[Due]:
        """Return the slots that have come whose sites were being checked when they were near."""
        if not self._early:
            return []
        come = [due for due in self._early if due.at <= now]
        self._early = [due for due in self._early if due.at > now]
        return come

    def _why_not(self, check: _Check) -> str:
        if check.stage is not _Stage.WAITING:
            return "overrun"
        return "analysis_backlog" if self._analysis.jammed else "no_thread"

    def _skip(self, name: str, cause: str, slots: int = 1) -> None:
        state = self._states[name] = skip(self._states[name], cause, slots)
        self._publisher.publish(state)

    def _enqueue(self, name: str, due: Seconds) -> None:
        state = self._states[name]
        last = state.finished
        slow = last is not None and last.up is False and last.observation.duration >= _SLOW
        check = self._under_way[name] = _Check(state.site, due, slow=slow)
        (self._slow if slow else self._healthy).append(check)

    def _on_requested(self, event: CheckRequested) -> None:
        if self._stop_at is not None:
            event.reply.cancel()
            return
        check = _Check(event.site, self._clock.monotonic(), reply=event.reply)
        self._under_way[event.site.name] = check
        self._healthy.append(check)

    def _hand_to_threads(self, now: Seconds) -> None:
        # Those first for whose answers failures are held
        while self._probes.free > 0:
            target = self._connectivity.next_target(now)
            if target is None:
                break
            self._probes.submit(target, now)
        for _ in range(self._room(now)):
            check = self._next_waiting()
            if check is None:
                break
            check.stage = _Stage.PROBING
            check.visit = self._probes.submit(check.site, check.due)
            self._slow_probing += check.slow
        self._probes.attend(now + self._look_away + _SEND)

    def _room(self, now: Seconds) -> int:
        """Return how many checks may be let in now."""
        finished, self._finished = self._finished, 0
        latest, self._latest = self._latest, 0.0
        due = min((line[0].due for line in self._open_lines), default=now)
        if self._analysis.jammed:
            return 0
        # Many at a time only after another look: each of them adds to the pressure
        high = pressure.is_high(self._clock, max(latest, now - due))
        most = finished if high else _MOST_STARTS
        return min(most, self._probes.free)

    @property
    def _slow_may_enter(self) -> bool:
        return self._slow_probing < max(1, self._probes.threads // 2)

    @property
    def _open_lines(self) -> list[deque[_Check]]:
        """The lines out of which a check may be let in; none is empty."""
        lines = (self._healthy, self._slow) if self._slow_may_enter else (self._healthy,)
        return [line for line in lines if line]

    def _next_waiting(self) -> _Check | None:
        line = self._healthy
        first = self._first(line)
        if self._slow and self._slow_may_enter:
            slow = self._first(self._slow)
            # Whoever is due longest, so that neither line waits for the other to be empty
            if slow is not None and (first is None or slow.due < first.due):
                line, first = self._slow, slow
        if first is not None:
            line.popleft()
        return first

    def _first(self, line: deque[_Check]) -> _Check | None:
        while line and not self._still_wanted(line[0]):
            line.popleft()
        return line[0] if line else None

    def _still_wanted(self, check: _Check) -> bool:
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
        self._slow_probing -= check.slow
        check.began = event.began
        lag = max(0.0, event.began - check.due)
        self._latest = max(self._latest, lag)
        self._meters.started(lag)
        self._go_on(self._take, check, event.outcome)

    def _take(self, check: _Check, outcome: Observation | BaseException) -> None:
        """Judge what a probe brought, or send it to a worker."""
        if isinstance(outcome, BaseException):
            self._spoil(check, outcome)
            return
        failure = results.unanswered(outcome)
        if failure is not None:
            analysis = Analysis(verdict=Verdict.down(failure))
            self._record(check, results.judged(check.site, outcome, analysis, self._as_text))
            return
        check.stage = _Stage.ANALYSING
        check.seen = outcome
        self._gather(check, outcome)

    def _gather(self, check: _Check, seen: Observation) -> None:
        site = check.site
        if isinstance(seen.answer, HttpAnswer):
            self._gathered_bytes += len(seen.answer.body)
        state = self._states.get(site.name)
        job = Job(
            observation=seen,
            expect=site.expect,
            extract=site.extract,
            watch=site.watch,
            reference=state.content if state else None,
            url=site.target,
            site=site.name,
            secrets=site.with_secrets(seen.secrets).secrets,
        )
        self._gathered.append((site, job))
        awaited = self._once or check.reply is not None
        wait = _AT_ONCE if awaited else min(_BATCH_WAIT, site.interval * _BATCH_SHARE)
        send_at = self._clock.monotonic() + wait
        self._send_at = send_at if self._send_at is None else min(self._send_at, send_at)
        if len(self._gathered) >= _BATCH_SITES or self._gathered_bytes >= _BATCH_BYTES:
            self._send_batch()

    def _send_batch(self) -> None:
        sites, jobs = zip(*self._gathered, strict=True)
        self._gathered = []
        self._gathered_bytes = 0
        self._send_at = None
        self._analysis.submit(sites, jobs)

    # ------------------------------------------------------------ from a worker to the state

    def _record_batch(self, judged: Judged) -> None:
        batch = judged.batch
        self._meters.analysed(self._clock.monotonic() - batch.submitted, len(batch.jobs))
        if isinstance(judged.outcome, BaseException):
            _log.error("analysis_failed", exc_info=judged.outcome)
            for site in batch.sites:
                if check := self._analysed(site):
                    self._go_on(self._spoil, check, judged.outcome)
            return
        self._judged.extend(zip(batch.sites, judged.outcome, strict=True))

    def _record_some(self) -> None:
        """Record a few of the checks that are judged, more where many are."""
        for _ in range(min(len(self._judged), max(_FEW, len(self._judged) // _FEW))):
            site, analysis = self._judged.popleft()
            if check := self._analysed(site):
                self._go_on(self._conclude, check, analysis)

    def _analysed(self, site: Site) -> _Check | None:
        """Return the check that waits for this site's verdict; a bug may have ended it."""
        check = self._under_way.get(site.name)
        waits = check is not None and check.site is site and check.stage is _Stage.ANALYSING
        return check if waits else None

    def _conclude(self, check: _Check, analysis: Analysis) -> None:
        assert check.seen is not None  # noqa: S101  it is being analysed
        self._record(check, results.judged(check.site, check.seen, analysis, self._as_text))

    def _spoil(self, check: _Check, error: BaseException) -> None:
        self._record(check, self._spoilt(check, error))

    def _spoilt(self, check: _Check, error: BaseException) -> Result:
        if isinstance(error, ProbeError):
            detail = str(error)
        else:
            detail = f"internal error ({type(error).__name__}); the log has the details"
            state = self._states.get(check.site.name)
            # Once is enough: a check that a bug spoils is repeated soon, and the bug with it
            if state is None or state.last is None or state.last.error != detail:
                _log.error("check_failed", exc_info=error, extra=fields(site=check.site.name))
        duration = self._clock.monotonic() - check.began
        return results.spoilt(check.site, self._clock.time() - duration, duration, detail)

    def _record(self, check: _Check, result: Result) -> None:
        """Enter a result, or hold it until it is known whose failure it is."""
        state = self._states.get(check.site.name)
        if result.up is not False or state is None or not self._depends_on_connection(state):
            self._enter(check, result)
        elif self._connectivity.up is False:
            self._enter(check, results.unproven(result))
        elif _is_steadily_down(state):
            self._enter(check, result)  # it says nothing new, so it need not wait
        else:
            check.stage = _Stage.HELD
            now = self._clock.monotonic()
            self._held.append(_Held(check, result, now))
            self._connectivity.ask(now)

    def _depends_on_connection(self, state: SiteState) -> bool:
        return state.site.connectivity and bool(self._connectivity.targets)

    def _enter(self, check: _Check, result: Result) -> None:
        name = check.site.name
        del self._under_way[name]
        if _log.isEnabledFor(logging.DEBUG):
            _tell_check(result)
        if check.reply is not None:
            if check.reply.set_running_or_notify_cancel():
                check.reply.set_result(result)
            return
        before = self._states.get(name)
        if before is None or before.site is not check.site:
            return  # it left the list, or is another one by now
        state, transition = advance(before, result, self._bounds, self._memory)
        self._states[name] = state
        self._recorder.noted(state, result.observation.time, checked=True)
        self._publisher.publish(state)
        lost = self._connectivity.up is False and self._depends_on_connection(state)
        if result.error is not None and lost:
            self._unproven.add(name)
        elif result.error is not None or awaits_confirmation(state):
            retry = self._clock.monotonic() + state.site.confirm.retry_interval
            self._schedule.check_early(name, retry)
        if transition is not None:
            alarm = transition.after is Status.DOWN and not state.flapping
            _tell(f"site_{transition.after}", state, transition.before, alarm=alarm)
        if state.flapping and not before.flapping:
            _tell("site_flapping", state, alarm=True)
        elif before.flapping and not state.flapping:
            _tell("site_steady", state, alarm=state.status is Status.DOWN)

    # ------------------------------------------------------------ what is not the sites' fault

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
            targets = ",".join(target.target for target in self._connectivity.targets)
            detail = fault.message if isinstance(fault, Failure) else str(fault)
            _log.warning("connectivity_lost", extra=fields(targets=targets, detail=detail))
        elif up and before is False:
            _log.info("connectivity_regained", extra=fields(unknown=len(self._unproven)))
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
        """Enter the failures that are held, as far as it is known now whose they are."""
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

    def _on_edge(self, name: str, *, is_open: bool) -> None:
        """Take note that a site's maintenance begins or ends."""
        if self._states[name].maintenance == is_open:
            return
        state = self._states[name] = replace(self._states[name], maintenance=is_open)
        self._recorder.noted(state, self._clock.time(), checked=False)
        self._publisher.publish(state)
        if is_open:
            _tell("maintenance_began", state, alarm=False)
        else:
            _tell("maintenance_ended", state, alarm=state.status is Status.DOWN)

    # ------------------------------------------------------------ the list changes, the end

    def _change_sites(self, event: SitesChanged) -> None:
        if event.bounds != self._bounds:
            self._change_bounds(event.bounds)
        if event.connectivity != self._connectivity.targets:
            self._connectivity.change(event.connectivity)
            self._meters.connectivity(None)
            self._survive(self._release)
        known = {**event.remembered}
        leaving = {name: self._states[name] for name in event.change.removed}
        for name in event.change.removed:
            self._survive(self._remove, name)
        self._publisher.remove(event.change.removed)
        for site in event.change.added:
            before = leaving.pop(site.was, None)
            self._survive(self._put, site, before, known.get(site.name))
        for site in event.change.changed:
            self._survive(self._put, site, self._states.get(site.name), None)
        self._recorder.left(leaving, self._clock.time())
        self._meters.sites(len(self._states))

    def _remove(self, name: str) -> None:
        del self._states[name]
        self._schedule.remove(name)
        self._calendar.remove(name)
        self._forget(name)

    def _put(self, site: Site, before: SiteState | None, known: Remembered | None) -> None:
        """
        List a new site, or a changed one in the place of the old.

        Args:
            before: The state of the site that it was until now, under this name or another.
            known: What another life of the daemon knew of it.
        """
        self._forget(site.name)
        now = self._clock.time()
        if before is not None and before.site.name != site.name:
            self._recorder.renamed(before.site.name, site.name)
        is_open = self._calendar.put(site.name, site.maintenance, now)
        state = replace(self._inherit(site, before, known), maintenance=is_open)
        self._states[site.name] = state
        self._schedule.add(site.name, site.interval, self._clock.monotonic())
        if known is not None and awaits_confirmation(state):
            retry = self._clock.monotonic() + site.confirm.retry_interval
            self._schedule.check_early(site.name, retry)
        self._recorder.noted(state, now, checked=False)
        self._publisher.publish(state)

    def _inherit(self, site: Site, before: SiteState | None, known: Remembered | None) -> SiteState:
        """Return the state that a new or changed site begins with."""
        if before is not None and _series_key(before.site) == _series_key(site):
            return take_over(before, site)
        if known is not None:
            return resume(site, known, self._bounds, self._memory)
        return begin(site, self._bounds, self._clock.time())

    def _forget(self, name: str) -> None:
        """Drop what was to come of a site's old record."""
        if self._early:
            self._early = [due for due in self._early if due.name != name]
        self._forget_waiting(name)

    def _forget_waiting(self, name: str) -> None:
        # A check that has begun goes on to its end, or a second one might begin beside it
        check = self._under_way.get(name)
        if check is None:
            return
        if check.visit is not None:
            if not self._probes.call_off(check.visit):
                return
            self._slow_probing -= check.slow
        del self._under_way[name]
        if check.reply is not None:
            check.reply.cancel()

    def _change_bounds(self, bounds: tuple[Seconds, ...]) -> None:
        before, self._bounds = self._bounds, bounds
        self._publisher.bounds_changed(bounds)
        for name, state in self._states.items():
            self._states[name] = rebucket(state, before, bounds)
            self._survive(self._publisher.publish, self._states[name])

    def _on_stop(self, event: StopRequested) -> None:
        now = self._clock.monotonic()
        if self._stop_at is not None:
            self._stop_at = now
            return
        self._stop_at = now + event.grace
        self._on_stopping()
        for name in list(self._under_way):
            self._forget_waiting(name)
        _log.info("stopping", extra=fields(in_flight=len(self._under_way), grace=event.grace))


def _is_steadily_down(state: SiteState) -> bool:
    return state.status is Status.DOWN and state.finished is not None and not state.finished.up


def _series_key(site: Site) -> tuple[object, ...]:
    return site.url, site.target, site.group, site.labels


def _tell_check(result: Result) -> None:
    verdict = result.analysis.verdict if result.analysis else None
    _log.debug(
        "checked",
        extra=fields(
            site=result.site,
            up=result.up,
            reason=verdict.reason if verdict else None,
            error=result.error,
            duration=round(result.observation.duration, 6),
        ),
    )


def _tell(event: str, state: SiteState, before: Status | None = None, *, alarm: bool) -> None:
    """
    Say in one line how a site stands.

    Args:
        before: The confirmed state that ended, where one did.
        alarm: Whether somebody should look; nobody needs to during maintenance.
    """
    analysis = state.finished.analysis if state.finished else None
    verdict = analysis.verdict if analysis else None
    _log.log(
        logging.WARNING if alarm and not state.maintenance else logging.INFO,
        event,
        extra=fields(
            site=state.site.name,
            before=before,
            state=None if before else state.status,
            reason=verdict.reason if verdict else None,
            detail=(verdict.message or None) if verdict else None,
            flapping=state.flapping or None,
            maintenance=state.maintenance or None,
        ),
    )
