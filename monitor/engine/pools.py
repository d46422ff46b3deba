"""
The worker processes that judge: ``AnalysisPool`` is one ProcessPoolExecutor *per worker process*.

When a process dies, a ProcessPoolExecutor fails everything that it holds. With one executor each,
the other workers continue, and we know which batch the dead process was judging. The pool reports
through the inbox; all of its state belongs to the main thread.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from threading import Thread

from monitor.clock import Clock, Deadline
from monitor.engine.context import SOCKET_FOLDERS, end_forkserver, worker_context
from monitor.engine.events import BatchJudged, Event, Inbox, WorkerStarted
from monitor.engine.worker import END_WITHIN, Judge, Outcome, WorkerProcess
from monitor.errors import StartupError
from monitor.logs import fields, relay
from monitor.model import (
    Analysis,
    Bytes,
    Failure,
    Job,
    Reason,
    Seconds,
    Site,
    Verdict,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Observations that travel together.

    Attributes:
        sites: One per job, in the same order.
        submitted: When the pool received it, on the monotonic clock.
        deaths: How many workers died or hung while judging these jobs.
    """

    sites: tuple[Site, ...]
    jobs: tuple[Job, ...]
    submitted: Seconds
    deaths: int = 0

    def singles(self) -> list["Batch"]:
        return [
            replace(self, sites=(site,), jobs=(job,))
            for site, job in zip(self.sites, self.jobs, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch and the outcome of each of its jobs; an exception is our own bug."""

    batch: Batch
    outcome: tuple[Analysis, ...] | BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """
    What worker processes may cost.

    Attributes:
        timeout: How long one batch may take.
        memory: What a worker may allocate; beyond it, allocating fails in the worker.
        recycle_after: Batches after which a worker is replaced, so that no leak lasts.
        deaths: After this many workers died while judging a job, the job counts as the cause. More
            than 1, so that a worker that was killed from outside does no harm.
        waiting: Batches that may wait per worker before no new check is started.
        idle: How long a worker may have nothing to judge before it ends. More than a minute, so
            that sites checked once a minute do not start a process for each check.
    """

    timeout: Seconds = 10.0
    memory: Bytes = 1024 * 1024**2
    recycle_after: int = 20_000
    deaths: int = 3
    waiting: int = 64
    idle: Seconds = 90.0

    @property
    def recycle_above(self) -> Bytes:
        """Resident bytes above which a worker is replaced; the rest is room for one batch."""
        return self.memory * 3 // 8


_QUEUED_AHEAD = 2
"""Batches a worker holds: one being judged, and the next, so that it need not wait for us."""
_SHORTEST_PAUSE: Seconds = 0.1
_LONGEST_PAUSE: Seconds = 10.0


@dataclass(slots=True)
class _Worker:
    """
    A place for a worker process; processes come and go, the place stays.

    Attributes:
        wanted: There is work for a process here, or was a moment ago: while this is set, a process
            that dies is replaced.
        worn: The process has reached its limits, and ends once its bench is empty.
        since: When the process started, or last got or finished a batch, on the monotonic clock.
    """

    number: int
    generation: int = 0
    process: WorkerProcess | None = None
    wanted: bool = False
    worn: bool = False
    bench: deque[Batch] = field(default_factory=deque)
    since: Seconds = 0.0
    batches: int = 0
    deaths_in_a_row: int = 0
    start_at: Seconds | None = None

    @property
    def starting(self) -> bool:
        return self.wanted and self.process is None and self.start_at is None

    @property
    def room(self) -> bool:
        return self.process is not None and not self.worn and len(self.bench) < _QUEUED_AHEAD

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None


class AnalysisPool:
    """
    Worker processes that judge batches, and are replaced when they die, hang or grow.

    The first one starts with the pool, and each further one when a batch waits and none has room: a
    process takes 14 to 18 MB, and one keeps up with hundreds of answers a second. A worker that has
    had nothing to do for a while ends, even the first one; the next batch starts another.

    Nothing here blocks: short-lived threads start the processes. The engine calls ``submit`` and
    the ``on_…`` methods, and calls ``tick`` no later than ``next_tick()``.

    Args:
        workers: The largest number of processes.
    """

    def __init__(
        self,
        workers: int,
        judge: Judge,
        *,
        inbox: Inbox,
        clock: Clock,
        limits: PoolLimits,
        on_restart: Callable[[], None],
        folders: Sequence[str] = SOCKET_FOLDERS,
    ) -> None:
        self._judge = judge
        self._inbox = inbox
        self._clock = clock
        self._limits = limits
        self._on_restart = on_restart
        self._waiting: deque[Batch] = deque()
        self._threads: list[Thread] = []  # those that start a worker, or end together with one
        self._workers = [_Worker(number) for number in range(workers)]
        self._context = worker_context((judge.__module__, WorkerProcess.__module__), folders)

    def start(self) -> None:
        """
        Start the first worker, and wait until it has answered.

        Raises:
            StartupError: It could not be started.
        """
        first = self._workers[0]
        self._launch(first)
        later: list[Event] = []
        while first.process is None:
            event = self._inbox.get()
            if not isinstance(event, WorkerStarted):
                later.append(event)  # a signal: the engine handles it once it runs
            elif event.process is None:
                self.stop()
                raise StartupError(f"no analysis worker can be started: {event.error}")
            else:
                self.on_started(event)
        for event in later:
            self._inbox.put(event)

    @property
    def backlog(self) -> int:
        """Batches that wait for a worker."""
        return len(self._waiting)

    @property
    def jammed(self) -> bool:
        """Whether so much waits that no new check should be started."""
        return len(self._waiting) >= self._limits.waiting * len(self._workers)

    @property
    def idle(self) -> bool:
        return not self._waiting and not any(worker.bench for worker in self._workers)

    def submit(self, sites: Sequence[Site], jobs: Sequence[Job]) -> None:
        """Judge these jobs; a BatchJudged follows."""
        self._waiting.append(Batch(tuple(sites), tuple(jobs), self._clock.monotonic()))
        self._hand_out()

    def on_started(self, event: WorkerStarted) -> None:
        """Record that a place has a process, or that none could be started."""
        worker = self._workers[event.worker]
        if event.generation != worker.generation:
            if event.process is not None:
                self._dismiss(event.process)
        elif event.process is None:
            _log.warning("analysis_worker_not_started", extra=fields(detail=event.error))
            self._replace(worker)
        else:
            worker.process = event.process
            worker.since = self._clock.monotonic()
            self._hand_out()

    def on_judged(self, event: BatchJudged) -> list[Judged]:
        """Return the decided jobs; the others are judged again."""
        worker = self._workers[event.worker]
        if event.generation != worker.generation:
            return []
        if isinstance(event.outcome, BrokenProcessPool):
            _log.warning("analysis_worker_died", extra=fields(pid=worker.pid))
            return self._bury(worker, Reason.ANALYSIS_CRASH)
        batch = worker.bench.popleft()
        worker.since = self._clock.monotonic()
        worker.deaths_in_a_row = 0
        worker.batches += 1
        worker.worn = (
            worker.batches >= self._limits.recycle_after
            or event.memory > self._limits.recycle_above
        )
        if worker.worn and not worker.bench:
            self._vacate(worker)
            self._launch(worker)
        decided = [Judged(batch, event.outcome)]
        if isinstance(event.outcome, BaseException) and len(batch.jobs) > 1:
            # A bug, or no memory left: it may spoil one check, but not the rest of its batch
            self._waiting.extendleft(reversed(batch.singles()))
            decided = []
        self._hand_out()
        return decided

    def tick(self) -> list[Judged]:
        """Replace workers that hang, start those whose pause is over, and end idle ones."""
        now = self._clock.monotonic()
        decided: list[Judged] = []
        for worker in self._workers:
            if worker.start_at is not None and worker.start_at <= now:
                self._launch(worker)
            if worker.bench and worker.since + self._limits.timeout <= now:
                _log.warning(
                    "analysis_worker_hangs",
                    extra=fields(pid=worker.pid, seconds=self._limits.timeout),
                )
                decided += self._bury(worker, Reason.ANALYSIS_TIMEOUT)
        self._end_idle(now)
        return decided

    def next_tick(self) -> Seconds | None:
        """Return when tick() has something to do, on the monotonic clock."""
        moments = [worker.start_at for worker in self._workers if worker.start_at is not None]
        moments += [
            worker.since + (self._limits.timeout if worker.bench else self._limits.idle)
            for worker in self._workers
            if worker.process
        ]
        return min(moments, default=None)

    def stop(self) -> None:
        """
        End the workers; what they hold is dropped.

        When Python ends, it wakes the executors' threads. If one of them was about to end by
        itself, this caused a traceback on standard error, and the process then waited for someone
        to read it. So this also waits for workers that were replaced a moment ago, and for their
        successors.
        """
        for worker in self._workers:
            self._vacate(worker)
        deadline = Deadline.after(END_WITHIN, self._clock)
        for thread in self._threads:
            thread.join(deadline.remaining())

    # ------------------------------------------------------------ workers come and go

    def _hand_out(self) -> None:
        for worker in sorted(self._workers, key=lambda worker: len(worker.bench)):
            while self._waiting and worker.room:
                # A batch that a dead worker was judging is judged alone, so that only the culprit
                # is there when the next worker dies
                if worker.bench and (self._waiting[0].deaths or worker.bench[0].deaths):
                    break
                if worker.process and not worker.bench and not worker.process.alive:
                    # It died while idle, so no batch is suspected
                    _log.warning("analysis_worker_died", extra=fields(pid=worker.pid))
                    self._replace(worker)
                else:
                    self._give(worker, self._waiting.popleft())
        if self._waiting and not any(worker.starting for worker in self._workers):
            unused = next((worker for worker in self._workers if not worker.wanted), None)
            if unused is not None:
                self._launch(unused)

    def _end_idle(self, now: Seconds) -> None:
        idle = [
            worker
            for worker in self._workers
            if worker.process and not worker.bench and worker.since + self._limits.idle <= now
        ]
        for worker in idle:
            self._vacate(worker)
            worker.wanted = False
            worker.deaths_in_a_row = 0
        if idle and not any(worker.wanted for worker in self._workers):
            end_forkserver()

    def _give(self, worker: _Worker, batch: Batch) -> None:
        assert worker.process is not None  # noqa: S101  it has room
        if not worker.bench:
            worker.since = self._clock.monotonic()
        worker.bench.append(batch)
        number, generation = worker.number, worker.generation

        def report(future: "Future[Outcome]") -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is not None:
                self._inbox.put(BatchJudged(number, generation, error))
            else:
                analyses, memory, records = future.result()
                relay(records)
                self._inbox.put(BatchJudged(number, generation, analyses, memory))

        try:
            future = worker.process.judge(self._judge, batch.jobs)
        except BrokenProcessPool as error:
            self._inbox.put(BatchJudged(number, generation, error))
        else:
            future.add_done_callback(report)

    def _bury(self, worker: _Worker, reason: Reason) -> list[Judged]:
        """Replace a worker that died or hangs, and decide about the batches on its bench."""
        held = list(worker.bench)
        self._replace(worker)
        decided: list[Judged] = []
        again = held[1:]
        if held:
            suspect = replace(held[0], deaths=held[0].deaths + 1)
            if len(suspect.jobs) == 1 and suspect.deaths >= self._limits.deaths:
                decided.append(Judged(suspect, (self._convict(reason),)))
            else:
                again += suspect.singles()
        self._waiting.extendleft(reversed(again))
        self._hand_out()
        return decided

    def _convict(self, reason: Reason) -> Analysis:
        if reason is Reason.ANALYSIS_TIMEOUT:
            message = f"analysing the answer took longer than {self._limits.timeout:g}s"
        else:
            message = f"analysing the answer crashed {self._limits.deaths} worker processes"
        return Analysis(verdict=Verdict.down(Failure(reason, message)))

    def _replace(self, worker: _Worker) -> None:
        """Start another worker in a place: at once, or after a pause that grows with each death."""
        self._on_restart()
        self._vacate(worker)
        if worker.deaths_in_a_row:
            doublings = min(worker.deaths_in_a_row, 10)
            pause = min(_SHORTEST_PAUSE * 2**doublings, _LONGEST_PAUSE)
            worker.start_at = self._clock.monotonic() + pause
        else:
            self._launch(worker)
        worker.deaths_in_a_row += 1

    def _dismiss(self, process: WorkerProcess) -> None:
        self._remember(process.end())

    def _remember(self, thread: Thread) -> None:
        self._threads = [*filter(Thread.is_alive, self._threads), thread]

    def _vacate(self, worker: _Worker) -> None:
        """Empty a place; anything that its process still answers is stale from now on."""
        worker.generation += 1
        if worker.process is not None:
            self._dismiss(worker.process)
        worker.process = worker.start_at = None
        worker.bench.clear()

    def _launch(self, worker: _Worker) -> None:
        worker.wanted = True
        worker.start_at = None
        worker.batches = 0
        worker.worn = False
        # In its own thread, because the first process waits until the forkserver has loaded the
        # judge
        thread = Thread(
            target=self._start,
            args=(worker.number, worker.generation),
            name=f"start-analysis-{worker.number}",
            daemon=True,
        )
        thread.start()
        self._remember(thread)

    def _start(self, number: int, generation: int) -> None:
        try:
            process = WorkerProcess.start(self._context, self._judge, self._limits.memory)
        except Exception as error:
            self._inbox.put(
                WorkerStarted(number, generation, error=str(error) or type(error).__name__)
            )
        else:
            self._inbox.put(WorkerStarted(number, generation, process))
