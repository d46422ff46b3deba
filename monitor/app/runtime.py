"""Wires a loop with its threads and workers, or with a hub's votes; composition root."""

import resource
import sys
from collections.abc import Callable

from monitor.analysis.body import as_text
from monitor.analysis.judge import judge_at_once, judge_batch
from monitor.app.places import HubEnd, OwnEnd
from monitor.clock import SystemClock
from monitor.config.settings import Settings
from monitor.engine.engine import Engine
from monitor.engine.events import Inbox
from monitor.engine.guard import nothing
from monitor.engine.hub import Hub
from monitor.engine.orphans import start_reaping
from monitor.engine.pools import AnalysisPool, PoolLimits
from monitor.engine.ports import Publisher, Recorder
from monitor.engine.schedule import Schedule
from monitor.engine.state import Depth
from monitor.engine.threads import ProbePool
from monitor.mailbox import Mailbox
from monitor.metrics.internal import Internal
from monitor.probes.observe import Observer
from monitor.probes.registry import build_probes
from monitor.units import Seconds

SWITCH_INTERVAL: Seconds = 0.01
"""How long a thread may hold the interpreter while others want it, who wake up this often to ask.
With a shorter interval, a crowd of threads does nothing but ask. It is twice Python's default; only
a reload needs the interpreter for long, and it sets its own interval."""


class Runtime:
    """The engine and its pools."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        *,
        mailbox: Mailbox,
        publisher: Publisher,
        recorder: Recorder,
        internal: Internal,
        on_stopping: Callable[[], None] = nothing,
        between_turns: Callable[[], None] = nothing,
    ) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        _allow_descriptors()
        clock = SystemClock()
        self.probes = ProbePool(
            settings.engine.probe_threads,
            Observer(build_probes(mailbox), clock),
            inbox=inbox,
            clock=clock,
        )
        self.analysis = AnalysisPool(
            settings.analysis.workers,
            judge_batch,
            inbox=inbox,
            clock=clock,
            limits=PoolLimits(timeout=settings.analysis.timeout, memory=settings.analysis.memory),
            on_restart=internal.analysis_restarted,
        )
        self.engine = Engine(
            clock=clock,
            inbox=inbox,
            schedule=Schedule(clock.time() - clock.monotonic()),
            probes=self.probes,
            analysis=self.analysis,
            publisher=publisher,
            meters=internal,
            recorder=recorder,
            depth=_depth(settings),
            as_text=as_text,
            judge_at_once=judge_at_once,
            on_stopping=on_stopping,
            between_turns=between_turns,
        )
        internal.load_from(self.engine.load)

    def start(self) -> None:
        """
        Start everything that must run before the first check.

        Raises:
            StartupError: The system refuses a thread or a worker process.
        """
        self.probes.start()
        self.analysis.start()
        start_reaping()

    def stop_workers(self) -> None:
        self.analysis.stop()

    def stop_threads(self) -> None:
        self.probes.stop()


class HubRuntime:
    """The loop of a hub; it has no workers and no probe threads."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        publisher: Publisher,
        end: HubEnd,
        *,
        on_stopping: Callable[[], None],
        between_turns: Callable[[], None],
    ) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL)
        _allow_descriptors()
        self.engine = Hub(
            clock=SystemClock(),
            inbox=inbox,
            votes=end.votes,
            publisher=publisher,
            meters=end.meters,
            recorder=end.recorder,
            depth=_depth(settings),
            fingerprint=end.fingerprint,
            on_stopping=on_stopping,
            between_turns=between_turns,
        )

    def start(self) -> None:
        pass

    def stop_workers(self) -> None:
        pass

    def stop_threads(self) -> None:
        pass


def runtime_of(
    end: OwnEnd | HubEnd,
    settings: Settings,
    inbox: Inbox,
    *,
    mailbox: Mailbox,
    publisher: Publisher,
    internal: Internal,
    on_stopping: Callable[[], None],
    between_turns: Callable[[], None],
) -> Runtime | HubRuntime:
    if isinstance(end, HubEnd):
        return HubRuntime(
            settings,
            inbox,
            publisher,
            end,
            on_stopping=on_stopping,
            between_turns=between_turns,
        )
    return Runtime(
        settings,
        inbox,
        mailbox=mailbox,
        publisher=publisher,
        recorder=end.recorder,
        internal=internal,
        on_stopping=on_stopping,
        between_turns=between_turns,
    )


def _depth(settings: Settings) -> Depth:
    return Depth(results=settings.history.results, failures=settings.history.failures)


def _allow_descriptors() -> None:
    """
    Raise the limit of file descriptors as far as the system allows.

    Each running check has two or three. The initial limit of most systems (1024, because of
    select(2), which nothing here calls) is too low once a thousand sites hang.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
