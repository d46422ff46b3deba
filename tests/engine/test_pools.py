"""Real worker processes: one that hangs, dies or grows costs no other check its verdict."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from multiprocessing import forkserver
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from monitor.clock import SystemClock
from monitor.engine.context import SOCKET_FOLDERS
from monitor.engine.events import BatchJudged, Inbox, ProbeFinished, StopRequested, WorkerStarted
from monitor.engine.pools import AnalysisPool, PoolLimits
from monitor.engine.threads import Observe, ProbePool, Visit
from monitor.errors import StartupError
from monitor.logs import Secrets, TextFormatter
from monitor.model import Job, Observation, Reason, Site
from tests.builders import answered, refused, site
from tests.engine.judges import judge
from tests.waiting import PATIENCE, until


class TurnedPool:
    """A real pool, and the part of the engine's loop that it needs."""

    def __init__(self, workers: int = 1, judge=judge, folders=SOCKET_FOLDERS, **limits) -> None:
        self.inbox: Inbox = SimpleQueue()
        self.restarts = 0
        self.decided: dict[str, Any] = {}
        self.workers = workers
        self.pool = AnalysisPool(
            workers,
            judge,
            inbox=self.inbox,
            clock=SystemClock(),
            limits=PoolLimits(**limits),
            on_restart=self.count,
            folders=folders,
        )

    def count(self) -> None:
        self.restarts += 1

    def start(self) -> None:
        """Start the pool, and give it enough work to start all workers."""
        self.pool.start()
        while (running := len(self.pids())) < self.workers:
            for number in range(2 * running + 1):
                self.submit(f"fill-{number}")
            while len(self.pids()) == running:
                self.turn()
            self.until_idle()
            self.decided.clear()

    def submit(self, *orders: str) -> None:
        sites = [site(order) for order in orders]
        jobs = [Job(observation=answered(), url=order) for order in orders]
        self.pool.submit(sites, jobs)

    def turn(self) -> None:
        decided = self.pool.tick()
        try:
            event = self.inbox.get(timeout=0.05)
        except Empty:
            event = None
        match event:
            case BatchJudged():
                decided += self.pool.on_judged(event)
            case WorkerStarted():
                self.pool.on_started(event)
        for one in decided:
            outcome: Any = one.outcome
            if isinstance(outcome, BaseException):
                outcome = [outcome] * len(one.batch.sites)
            for listed, analysis in zip(one.batch.sites, outcome, strict=True):
                assert listed.name not in self.decided, "judged twice"
                self.decided[listed.name] = analysis

    def until_idle(self) -> None:
        give_up = time.monotonic() + 60
        while not self.pool.idle:
            assert time.monotonic() < give_up, "the pool does not come to rest"
            self.turn()

    def pids(self) -> list[int]:
        # Private, because nothing but these tests needs to know which processes to kill
        return [worker.pid for worker in self.pool._workers if worker.pid]

    def verdicts(self) -> dict[str, Reason | None]:
        return {name: analysis.verdict.reason for name, analysis in self.decided.items()}


@pytest.fixture(params=[SOCKET_FOLDERS, ()], ids=["forkserver", "spawn"])
def folders(request):
    """Folders for the forkserver's socket, or None: then each worker starts as its own Python."""
    return request.param


@pytest.fixture
def make(folders):
    rigs = []

    def start(**values) -> TurnedPool:
        rig = TurnedPool(folders=folders, **values)
        rigs.append(rig)
        rig.start()
        return rig

    yield start
    for rig in rigs:
        rig.pool.stop()


def test_batches_come_back_judged(make):
    """Each job gets its own verdict, whichever worker judged it."""
    rig = make(workers=2)
    for number in range(10):
        rig.submit(*(f"job-{number}-{part}" for part in range(5)))
    rig.until_idle()
    assert len(rig.decided) == 50
    assert set(rig.verdicts().values()) == {None}


def test_workers_start_as_they_are_needed(folders):
    """One starts with the pool; the next only when the first has no room for a waiting batch."""
    rig = TurnedPool(workers=3, folders=folders)
    try:
        rig.pool.start()
        for number in range(5):
            rig.submit(f"job-{number}")
            rig.until_idle()
        assert len(rig.pids()) == 1
        rig.submit("hang")
        for number in range(2):
            rig.submit(f"waits-{number}")
        give_up = time.monotonic() + PATIENCE
        while "waits-1" not in rig.decided:
            assert time.monotonic() < give_up, "nobody helps the worker that hangs"
            rig.turn()
        assert len(rig.pids()) == 2
    finally:
        rig.pool.stop()


def test_a_worker_with_nothing_to_do_ends(folders):
    """The forkserver ends with the last one; the next batch starts both, and not as a restart."""
    rig = TurnedPool(workers=2, folders=folders, idle=0.0)
    try:
        rig.pool.start()
        first = rig.pids()
        for number in range(3):
            until_all_ended(rig)
            assert rig.pool.next_tick() is None
            rig.submit(f"job-{number}", f"other-{number}")
            rig.until_idle()
        until_all_ended(rig)
        for pid in first:
            until_dead(pid)
        assert len(rig.decided) == 6
        assert rig.restarts == 0
    finally:
        rig.pool.stop()


def until_all_ended(rig: TurnedPool) -> None:
    rig.turn()
    assert rig.pids() == []
    server: Any = forkserver._forkserver
    assert server._forkserver_pid is None


def test_a_worker_that_was_used_a_moment_ago_stays(make):
    """Of two workers the idle one ends, and the other keeps what it has loaded."""
    rig = make(workers=2, idle=3600.0)
    busy, other = rig.pool._workers
    other.since -= 3600.0
    pid = busy.pid
    rig.turn()
    assert rig.pids() == [pid]


def test_a_worker_killed_from_outside_costs_nothing(make):
    """Its successor judges the batch again; no site is down for it, and the restart is counted."""
    rig = make()
    (pid,) = rig.pids()
    os.kill(pid, signal.SIGKILL)
    rig.submit("a", "b")
    rig.until_idle()
    assert rig.verdicts() == {"a": None, "b": None}
    assert rig.restarts == 1


def test_only_the_culprit_is_convicted_of_a_crash(make):
    """The job that kills every worker is found among its batch, and only its site is down."""
    rig = make(workers=2)
    rig.submit("a", "crash", "b")
    rig.submit("c", "d")
    rig.until_idle()
    assert rig.verdicts() == {
        "a": None,
        "b": None,
        "c": None,
        "d": None,
        "crash": Reason.ANALYSIS_CRASH,
    }


def test_only_the_culprit_is_convicted_of_a_hang(make):
    """The job that exceeds the time in every worker is found, and only its site is down."""
    rig = make(workers=2, timeout=0.3, deaths=2)
    rig.submit("a", "hang", "b")
    rig.submit("c")
    rig.until_idle()
    assert rig.verdicts() == {
        "a": None,
        "b": None,
        "c": None,
        "hang": Reason.ANALYSIS_TIMEOUT,
    }
    assert "longer than 0.3s" in rig.decided["hang"].verdict.message


def test_memory_is_bounded(make):
    """A job that needs more memory than a worker may use gets a MemoryError."""
    rig = make(memory=512 * 1024**2)
    rig.submit("eat")
    rig.until_idle()
    assert rig.decided["eat"].verdict.message == "out of memory"
    assert rig.restarts == 0


def test_a_worker_that_grew_is_replaced(make):
    """Above three eighths of what it may allocate, the next batch goes to a new process."""
    rig = make(memory=160 * 1024**2)
    rig.submit("pid")
    rig.until_idle()
    before = rig.decided.pop("pid").broken
    rig.submit("grow")
    rig.until_idle()
    rig.submit("pid")
    rig.until_idle()
    assert rig.decided["pid"].broken != before
    assert rig.restarts == 0


def test_a_worn_worker_finishes_what_it_holds(make):
    """It is replaced only once it holds no batch, and nothing is judged twice for that."""
    rig = make(recycle_after=1)
    for number in range(6):
        rig.submit(f"a-{number}", f"b-{number}")
    rig.until_idle()
    assert len(rig.decided) == 12
    assert rig.restarts == 0


def test_a_worker_that_died_idle_makes_no_batch_a_suspect(make):
    """However often that happens, only jobs that a dying worker held can be convicted."""
    rig = make(deaths=2)
    for number in range(4):
        (pid,) = rig.pids()
        os.kill(pid, signal.SIGKILL)
        until_dead(pid)
        rig.submit(f"job-{number}")
        rig.until_idle()
    assert set(rig.verdicts().values()) == {None}
    assert rig.restarts == 4


def test_a_stopped_worker_is_replaced(make):
    """A worker that hangs without using the processor is replaced like one that uses it."""
    rig = make(timeout=0.3)
    (pid,) = rig.pids()
    os.kill(pid, signal.SIGSTOP)
    rig.submit("a", "b")
    rig.submit("c")
    rig.until_idle()
    assert set(rig.verdicts().values()) == {None}
    assert rig.restarts == 1
    until_dead(pid)


def test_a_bug_in_the_judge_spoils_one_job(make):
    """The other jobs of its batch are judged all the same."""
    rig = make()
    rig.submit("a", "bug", "b")
    rig.until_idle()
    assert isinstance(rig.decided.pop("bug"), KeyError)
    assert rig.verdicts() == {"a": None, "b": None}
    assert rig.restarts == 0


def test_a_bug_in_the_judge_is_handed_on(make):
    """An exception in the judge gives no verdict, and the worker keeps running."""
    rig = make()
    (pid,) = rig.pids()
    rig.submit("bug")
    rig.until_idle()
    assert isinstance(rig.decided["bug"], KeyError)
    assert rig.pids() == [pid]


def test_what_a_worker_logs_is_logged_by_the_daemon(make, caplog):
    """Event, fields and traceback are logged once, before the outcome of the batch is known."""
    rig = make()
    rig.submit("log", "a")
    rig.submit("b")
    rig.until_idle()
    assert rig.verdicts() == {"log": None, "a": None, "b": None}
    (record,) = caplog.records
    line = TextFormatter(Secrets()).format(record)
    assert "ERROR a bug site=shop\nTraceback" in line
    assert line.endswith("ValueError: invalid literal for int() with base 10: 'a bug'")


def test_a_pool_that_keeps_dying_keeps_judging(make):
    """Many deaths in a row slow the restarts down, but what waits is still judged."""
    rig = make(workers=2)
    for number in range(6):
        for pid in rig.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        rig.submit(f"job-{number}")
        rig.until_idle()
    assert len(rig.decided) == 6
    assert set(rig.verdicts().values()) == {None}
    assert rig.restarts >= 6


@pytest.mark.parametrize("folders", [SOCKET_FOLDERS], ids=["forkserver"])
def test_the_forkserver_may_be_killed(make):
    """All workers end with it, and all are replaced."""
    rig = make(workers=2)
    rig.submit("pid")
    rig.until_idle()
    worker = int(rig.decided.pop("pid").broken[0])
    forkserver = int(Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert forkserver != os.getpid()
    os.kill(forkserver, signal.SIGKILL)
    rig.submit("a", "b")
    rig.until_idle()
    assert rig.verdicts() == {"a": None, "b": None}


def test_back_pressure_shows():
    """Without a worker batches wait, and beyond the limit the pool reports it."""
    rig = TurnedPool(workers=1, waiting=3)
    for number in range(3):
        assert not rig.pool.jammed
        rig.submit(f"job-{number}")
    assert rig.pool.backlog == 3
    assert rig.pool.jammed


def test_no_worker_to_be_had_is_one_sentence(monkeypatch):
    """If processes cannot be started, start() says why and leaves nothing behind."""
    rig = TurnedPool()
    monkeypatch.setattr("multiprocessing.forkserver._forkserver.ensure_running", _refuse)
    with pytest.raises(StartupError, match=r"no analysis worker can be started: .*try again"):
        rig.pool.start()


def _refuse() -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable; try again")


def test_a_worker_that_cannot_be_held_is_ended(monkeypatch, folders):
    """If no descriptor is left for its handle, not even a stopped process stays behind."""
    pids = []

    def no_descriptor(pid: int) -> int:
        os.kill(pid, signal.SIGSTOP)
        pids.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    rig = TurnedPool(folders=folders)
    with pytest.raises(StartupError, match="Too many open files"):
        rig.pool.start()
    for pid in pids:
        until_dead(pid)
    assert pids


@pytest.fixture
def many_descriptors():
    """Leave only descriptors that select(2) does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"no more than {hard} descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    with ExitStack() as held:
        while held.enter_context(Path(os.devnull).open()).fileno() < 1100:
            pass
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_thousands_of_open_descriptors_are_no_obstacle(make):
    """Workers whose handles are above 1023 judge and are replaced like any other."""
    rig = make()
    rig.submit("a")
    rig.until_idle()
    (pid,) = rig.pids()
    os.kill(pid, signal.SIGKILL)
    until_dead(pid)
    rig.submit("b")
    rig.until_idle()
    assert rig.verdicts() == {"a": None, "b": None}
    assert rig.restarts == 1


def test_a_signal_during_the_start_is_not_lost():
    """A signal that came in meanwhile is in the inbox for the engine."""
    rig = TurnedPool()
    rig.inbox.put(StopRequested(1.0))
    rig.pool.start()
    rig.pool.stop()
    assert rig.inbox.get(timeout=1) == StopRequested(1.0)


def test_nothing_is_under_way_after_the_stop(folders):
    """No executor thread is left for Python to disturb when it exits."""
    others = executors_threads()
    rig = TurnedPool(workers=2, folders=folders)
    rig.start()
    rig.submit("hang")
    assert executors_threads() - others
    rig.pool.stop()
    assert not executors_threads() - others


@pytest.mark.parametrize("before", ["pass", "rig.pool._replace(rig.pool._workers[0])"])
def test_pythons_end_has_nothing_to_say(tmp_path, before):
    """Whenever its hook wakes the executors' threads, none of them is ending."""
    path = tmp_path / "daemon.py"
    path.write_text(f"""if True:
        import time
        from concurrent.futures import process
        from tests.engine.test_pools import TurnedPool

        def wakeup(self):
            if not self._closed:
                time.sleep(1)  # between these two, the thread may close what is written to
                self._writer.send_bytes(b"")

        if __name__ == "__main__":
            rig = TurnedPool(workers=2)
            rig.start()
            rig.submit("hang")
            {before}
            rig.pool.stop()
            process._ThreadWakeup.wakeup = wakeup
    """)
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, path], env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def executors_threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if "Executor" in type(one).__name__}


def test_workers_do_not_outlive_the_daemon(tmp_path, folders):
    """After kill -9 of the daemon no worker (busy, idle or stopped) and no helper is left."""
    daemon, pids = daemon_of_three(tmp_path, folders, 'rig.submit("hang")')
    os.kill(pids[2], signal.SIGSTOP)
    daemon.kill()
    daemon.communicate()
    for pid in pids:
        until_dead(pid)


def test_a_stop_does_not_wait_for_workers_that_hang(tmp_path, folders):
    """The daemon ends with its busy, idle and stopped workers."""
    daemon, pids = daemon_of_three(
        tmp_path,
        folders,
        'rig.submit("hang"); os.kill(rig.pids()[2], signal.SIGSTOP); rig.pool.stop()',
    )
    daemon.communicate(timeout=60)
    assert daemon.returncode == 0
    for pid in pids:
        until_dead(pid)


def daemon_of_three(folder, folders, then):
    """Start a process with three workers that does something; return it and its descendants."""
    path = folder / "daemon.py"
    path.write_text(f"""if True:
        import os, signal, sys
        from tests.engine.test_pools import TurnedPool, below
        if __name__ == "__main__":
            rig = TurnedPool(workers=3, folders={folders!r})
            rig.start()
            pids = rig.pids() + sorted(below(os.getpid()) - set(rig.pids()))
            {then}
            print(*pids, flush=True)
            sys.stdin.read()
    """)
    environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    daemon = subprocess.Popen(
        [sys.executable, path], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    pids = [int(pid) for pid in daemon.stdout.readline().split()]
    assert len(pids) >= 3
    return daemon, pids


def below(pid: int) -> set[int]:
    """Return all descendants of a process: children, and theirs."""
    children = {
        int(child)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    }
    return children.union(*map(below, children))


def until_dead(pid):
    until(lambda: not _runs(pid), f"the end of process {pid}")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # dead, but process 1 has not waited for it yet


class Probes:
    """A pool of real threads, and what they report."""

    def __init__(self, threads: int, observe: Observe = lambda _: refused()) -> None:
        self.inbox: Inbox = SimpleQueue()
        self.clock = SystemClock()
        self.pool = ProbePool(threads, observe, inbox=self.inbox, clock=self.clock)

    def submit(self, name: str = "shop", *, after: float = 0.0) -> Visit:
        return self.pool.submit(site(name), self.clock.monotonic() + after)

    def attend(self) -> None:
        self.pool.attend(self.clock.monotonic() + 10)

    def next(self) -> ProbeFinished:
        event = self.inbox.get(timeout=10)
        assert isinstance(event, ProbeFinished)
        self.pool.finished()
        return event


@pytest.fixture
def probes():
    made = Probes(threads=100)
    yield made
    made.pool.stop()


def test_probe_threads_appear_as_needed(probes):
    """A pool of many threads starts none before there is work."""
    before = threading.active_count()
    for _ in range(5):
        probes.submit()
        probes.attend()
        probes.next()
    assert threading.active_count() <= before + 2


def test_what_a_probe_raises_is_reported():
    """No exception in a thread is lost."""

    def fail(_):
        raise KeyError("bug")

    probes = Probes(1, fail)
    probes.submit()
    probes.attend()
    assert isinstance(probes.next().outcome, KeyError)
    probes.pool.stop()


def refused_once(event: threading.Event) -> Observe:
    """Return a probe that is refused once an event is set."""

    def observe(_: Site) -> Observation:
        assert event.wait(PATIENCE)
        return refused()

    return observe


def test_a_visit_waits_for_its_moment(probes):
    """A check begins at its slot, however early it was handed in."""
    visit = probes.submit(after=0.1)
    probes.attend()
    assert (probes.pool.busy, probes.pool.free) == (0, 99)
    assert probes.next().began >= visit.at
    assert (probes.pool.busy, probes.pool.free) == (0, 100)


def test_a_thread_that_comes_back_takes_the_next_visit():
    """No thread has to be sent while one returns; the earliest visit comes first."""
    may_end = threading.Event()
    probes = Probes(1, refused_once(may_end))
    probes.submit("first")
    probes.attend()
    probes.submit("last", after=0.02)
    probes.submit("second")
    may_end.set()
    assert [probes.next().site.name for _ in range(3)] == ["first", "second", "last"]
    probes.pool.stop()


def test_a_visit_without_a_thread_is_known(probes):
    """A caller that sends threads can ask when the first one is needed."""
    assert probes.pool.unattended() is None
    late, early = probes.submit(after=5), probes.submit(after=0.01)
    assert probes.pool.unattended() == early.at
    probes.pool.attend(early.at)
    assert probes.pool.unattended() == late.at
    assert probes.next().began >= early.at


def test_visits_beyond_the_threads_wait_for_one():
    """With every thread in a check no other is started, and the pool asks for none at once."""
    may_end = threading.Event()
    probes = Probes(1, refused_once(may_end))
    probes.submit("first")
    probes.attend()
    probes.submit("second")
    probes.attend()
    unattended = probes.pool.unattended()
    assert unattended is not None
    assert unattended > probes.clock.monotonic()
    may_end.set()
    assert {probes.next().site.name for _ in range(2)} == {"first", "second"}
    probes.pool.stop()


@pytest.mark.parametrize("attended", [True, False], ids=["with a thread", "without"])
def test_a_visit_is_called_off_until_it_begins(probes, attended):
    """A visit that is called off never begins, and leaves its thread to others."""
    visit = probes.submit("off", after=0.05)
    if attended:
        probes.attend()
    assert probes.pool.busy == 0
    assert probes.pool.call_off(visit)
    assert probes.pool.free == 100
    begun = probes.submit("on")
    probes.attend()
    assert probes.next().site.name == "on"
    assert not probes.pool.call_off(begun)
    time.sleep(0.1)
    assert probes.inbox.empty()


def test_after_the_end_no_visit_begins():
    """Threads that wait for a slot when the pool stops end without the check."""
    probes = Probes(2)
    probes.submit(after=0.1)
    probes.attend()
    probes.pool.stop()
    time.sleep(0.3)
    assert probes.inbox.empty()
