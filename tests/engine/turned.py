"""The engine's loop, driven by a test that also acts for its pools."""

from queue import SimpleQueue

from monitor.analysis.body import as_text
from monitor.engine.engine import Engine
from monitor.engine.events import Inbox, ProbeFinished, SitesChanged
from monitor.engine.schedule import Schedule
from monitor.engine.state import Depth
from monitor.model import UP, SiteChange, Verdict
from tests.fakes import FakeClock, Listener, ManualAnalysis, ManualProbes

BOUNDS = (0.1, 1.0)


class TurnedEngine:
    """An engine in a world that stands still."""

    def __init__(self, threads: int = 8, **more) -> None:
        self.clock = FakeClock()
        self.inbox: Inbox = SimpleQueue()
        self.schedule = Schedule(self.clock.time() - self.clock.monotonic())
        self.probes = ManualProbes(threads, self.clock)
        self.analysis = ManualAnalysis()
        self.listener = Listener()
        self.stopping = False
        self.engine = Engine(
            clock=self.clock,
            inbox=self.inbox,
            schedule=self.schedule,
            probes=self.probes,
            analysis=self.analysis,
            publisher=self.listener,
            meters=self.listener,
            recorder=self.listener,
            depth=Depth(results=5, failures=3),
            as_text=as_text,
            on_stopping=lambda: setattr(self, "stopping", True),
            **more,
        )

    def change(self, *, connectivity=(), remembered=None, **change) -> None:
        event = SitesChanged(
            SiteChange(**change), BOUNDS, connectivity=connectivity, remembered=remembered or {}
        )
        self.engine.handle(event)

    def list(self, *sites, **remembered) -> None:
        self.change(added=sites, remembered=remembered)

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps, as the loop would see it."""
        for _ in range(round(seconds / 0.1)):
            self.clock.advance(0.1)
            self.engine.start_due_checks()

    def finish(self, listed, outcome, *, began=0.0) -> None:
        self.engine.handle(ProbeFinished(listed, outcome, began))

    def judge(self, verdict: Verdict = UP, **more) -> None:
        """Let the batch's wait pass, judge what was sent, and let the engine take it."""
        self.clock.advance(0.5)
        self.engine.start_due_checks()
        self.analysis.judge(verdict, **more)
        self.engine.start_due_checks()

    def state(self, name="shop"):
        return self.listener.published[name]
