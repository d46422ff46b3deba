"""
A hub against a naive oracle: places with skewed clocks, cut off, restarted, late, repeated.

The oracle knows every message that was ever handed over, and works out from nothing what must be
so; the hub is the real loop with the real votes, driven by a clock that the test turns.
"""

from collections import Counter
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from monitor.app.places import Counting, hindsight_by
from monitor.engine.events import BeatCame, Event, ReportsCame, SitesChanged
from monitor.engine.hub import SILENCE, Hub
from monitor.engine.state import Depth
from monitor.locations.votes import Enough, Quorum
from monitor.model import SiteChange, SiteState, Status
from monitor.past import Remembered
from monitor.places import Abstention, Position, Report, ReportBatch, Sender, SignOfLife
from tests.builders import site
from tests.fakes import FakeClock, HubListener

SHOP = site(interval=60.0, timeout=10.0)
STALE = 3 * 60.0 + 10.0
PLACES = ("ams", "fra", "nyc", "sin")
SKEWS = {"ams": 0.0, "fra": 300.0, "nyc": -300.0, "sin": 0.2}
"""Of the clocks; the last is too little to be told from a message's way."""
SAYS = ("up", "down", "error", "connection")


@dataclass
class Recorder(HubListener):
    """What the history receives: each check, by its time on the hub's clock."""

    checks: Counter[float] = field(default_factory=Counter)
    read: int = 0

    def noted(self, state: SiteState, time: float, *, checked: bool) -> None:
        super().noted(state, time, checked=checked)
        if checked and state.recent[0].duration > 0:  # the hub's own remarks took no time
            self.checks[round(time, 3)] += 1

    def late(self, *told: Any) -> None:
        _, past = told
        self.checks[round(past.time, 3)] += 1

    def position(self, partition: int, sequence: int) -> None:  # noqa: ARG002
        assert sequence >= self.read
        self.read = sequence


@dataclass(frozen=True)
class Message:
    """A batch of one report; ``made`` is the time of its check, on the one true clock."""

    batch: ReportBatch
    made: float


class Machine(RuleBasedStateMachine):
    """
    Places check; their messages wait and are handed over, repeated and out of order.

    ``stream`` is what the server has stored, in its order; the hub reads it one by one.
    """

    @initialize(
        down=st.integers(1, 3), up=st.integers(1, 3), minimum=st.integers(1, 3), share=st.booleans()
    )
    def begin(self, down, up, minimum, share):
        majority = Enough()
        self.quorum = Quorum(
            down=majority if share else Enough(number=down),
            up=majority if share else Enough(number=up),
            minimum=minimum,
        )
        self.clock = FakeClock()
        self.recorder = Recorder()
        self.waiting: dict[str, list[Message]] = {name: [] for name in PLACES}
        self.stream: list[Message] = []
        self.read = 0
        self.checks: Counter[float] = Counter()
        self.numbers = 0
        self.settled = dict.fromkeys(PLACES, Status.UNKNOWN)
        self.before: SiteState | None = None
        self.start_hub({})

    def start_hub(self, remembered):
        self.inbox: SimpleQueue[Event] = SimpleQueue()
        self.hub = Hub(
            clock=self.clock,
            inbox=self.inbox,
            votes=Counting(self.quorum, hindsight_by(self.quorum)),
            publisher=self.recorder,
            meters=HubListener(),
            recorder=self.recorder,
            depth=Depth(results=5, failures=2),
            fingerprint=lambda: "one list",
        )
        change = SiteChange(added=(SHOP,))
        self.hub.handle(SitesChanged(change, (1.0,), remembered=remembered))
        self.heard: dict[str, float] = {}
        self.newest: dict[str, Message] = {}
        self.seen: set[str] = set()
        for name in PLACES:
            self.beat(name)

    @property
    def state(self) -> SiteState:
        return self.recorder.published["shop"]

    # ------------------------------------------------------------ what happens

    @rule(seconds=st.sampled_from([1.0, 7.0, 30.0, 59.0, 100.0, 200.0]))
    def time_passes(self, seconds):
        before = self.state
        self.clock.advance(seconds)
        self.hub.look()
        self.judge(before, news=False)

    @rule(name=st.sampled_from(PLACES))
    def beat(self, name):
        beat = SignOfLife(
            sender=Sender(name),
            sent=self.clock.time() + SKEWS[name],
            version="1",
            fingerprint="one list",
        )
        before = self.state
        self.hub.look()
        silent = self.clock.monotonic() - self.heard.get(name, 0.0) > SILENCE
        self.hub.handle(BeatCame(beat, self.clock.time()))
        self.heard[name] = self.clock.monotonic()
        self.judge(before, news=silent and name in self.newest)

    @rule(name=st.sampled_from(PLACES), says=st.sampled_from(SAYS))
    def check(self, name, says):
        self.clock.advance(0.01)  # no two checks at the same moment
        made = self.clock.time()
        up = {"up": True, "down": False}.get(says)
        if up is not None:
            self.settled[name] = Status.UP if up else Status.DOWN
        local = made + SKEWS[name]
        report = Report(
            site="shop",
            time=local,
            duration=0.1,
            up=up,
            trouble=None if up is not None else Abstention(says),
            status=self.settled[name],
            since=local,
            first=local if up is False else None,
        )
        self.numbers += 1
        batch = ReportBatch(
            sender=Sender(name),
            id=f"{name}-{self.numbers}",
            sent=local,
            stored=made,
            reports=(report,),
        )
        self.waiting[name].append(Message(batch, made))

    @rule(name=st.sampled_from(PLACES), says=st.sampled_from(SAYS))
    def report(self, name, says):
        """Without faults on the way, what was checked is read at once."""
        self.beat(name)
        self.check(name, says)
        self.stream += self.waiting[name]
        self.waiting[name].clear()
        while self.read < len(self.stream):
            self.read_next()

    @rule(says=st.lists(st.sampled_from(SAYS), min_size=4, max_size=4))
    def report_all(self, says):
        """Every place reports, as it does in each interval."""
        for name, word in zip(PLACES, says, strict=True):
            self.report(name, word)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def store(self, data):
        """The server stores a message of some place: the first, or sometimes another."""
        name = data.draw(st.sampled_from([one for one in PLACES if self.waiting[one]]))
        place = data.draw(st.integers(0, min(2, len(self.waiting[name]) - 1)))
        self.stream.append(self.waiting[name].pop(place))

    @precondition(lambda self: self.stream)
    @rule(data=st.data())
    def store_again(self, data):
        """A place repeats a message, and the server does not recognise it as a repetition."""
        self.stream.append(data.draw(st.sampled_from(self.stream[-5:])))
        while self.read < len(self.stream):
            self.read_next()

    @precondition(lambda self: self.read < len(self.stream))
    @rule()
    def read_next(self):
        self.read += 1
        before = self.state
        news = self.hand_over(self.read, applied=False)
        self.judge(before, news=news)

    def hand_over(self, sequence, *, applied):
        message = self.stream[sequence - 1]
        name = message.batch.sender.location
        self.hub.handle(ReportsCame(message.batch, Position(1, sequence), applied))
        if message.batch.id in self.seen:
            return False
        self.seen.add(message.batch.id)
        if not applied:
            self.checks[round(self.on_hubs_clock(message), 3)] += 1
        if name in self.newest and message.made <= self.newest[name].made:
            return False
        self.newest[name] = message
        return self.clock.time() - self.on_hubs_clock(message) <= STALE

    def on_hubs_clock(self, message):
        skew = SKEWS[message.batch.sender.location]
        return message.made + (0 if abs(skew) >= 1 else skew)

    @rule()
    def kill_hub(self):
        """The next hub reads again what was applied, and continues after it."""
        state = self.state
        known = Remembered(status=state.status, since=state.since, said=state.said)
        self.start_hub({"shop": known})
        for sequence in range(1, self.read + 1):
            self.hand_over(sequence, applied=True)

    # ------------------------------------------------------------ what must hold

    def votes(self):
        """Return how many places say up and down now, by everything that the hub received."""
        now = self.clock.time()
        said: Counter[Status] = Counter()
        for name, message in self.newest.items():
            [report] = message.batch.reports
            fresh = now - self.on_hubs_clock(message) <= STALE
            alive = self.clock.monotonic() - self.heard[name] <= SILENCE
            if fresh and alive and report.trouble is None:
                said[report.status] += 1
        return said[Status.UP], said[Status.DOWN]

    def judge(self, before, *, news):
        """
        Check the verdict against the votes: never down without enough living votes for it.

        Without *news* no verdict turns, whatever votes are lost.
        """
        after = self.state
        if after.joint is None:
            return  # this hub has counted nothing yet
        ups, downs = self.votes()
        voters = ups + downs
        if voters < max(1, self.quorum.minimum):
            assert after.shown is Status.UNKNOWN
            assert after.status is before.status
        elif not news:
            assert after.status is before.status
        elif downs >= self.quorum.down.of(voters):
            assert after.shown is Status.DOWN
        elif ups >= self.quorum.up.of(voters):
            assert after.shown is Status.UP
        else:
            assert after.joint.split
            assert after.status is before.status

    @invariant()
    def every_message_is_applied_once(self):
        """It is applied once even if it is repeated, late, out of order, or read by two hubs."""
        if hasattr(self, "hub"):
            assert self.recorder.checks == self.checks


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
