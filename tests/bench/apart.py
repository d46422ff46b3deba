"""What several places gain and cost: time from an outage to the verdict, and a place's CPU."""

import heapq
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from monitor.app.places import report_of
from monitor.engine.schedule import Schedule
from monitor.engine.state import Depth, advance, begin
from monitor.locations.votes import Enough, Quorum, count, take
from monitor.model import Seconds, Site, SiteState, Status
from monitor.places import Ballot, Sender
from tests.bench.figures import BenchError, Figure, ratio
from tests.bench.fleet import Fleet, site_list
from tests.bench.lab import Lab, program
from tests.bench.remembering import spent
from tests.builders import down_result, site, up_result
from tests.system.nats import Nats, Places
from tests.system.processes import Daemon
from tests.waiting import until

_NAMES = ("fra", "nyc", "sin")
_INTERVAL: Seconds = 60.0
_SITES = 20
_MOMENTS = 60
_CHECK: Seconds = 0.1
"""How long a check takes in the simulation; the way to another place or the hub takes as long."""
_QUORUM = Quorum(down=Enough(number=2), up=Enough(number=2), minimum=2)
_ALONE = Quorum(minimum=1)
_DEPTH = Depth(results=1, failures=1)
_LOCATIONS = """
locations:
  nats: {{servers: ["{nats}"]}}
  quorum: {{down: 2, up: 2, minimum: 2}}
"""


# ---------------------------------------------------------------- from the outage to the verdict


def verdicts(lab: Lab) -> Iterator[Figure]:
    """
    Compare three places with one: in a simulation, and once for real with a shorter interval.

    The simulation runs our schedule, states and votes on a clock of its own, so it is exact and the
    same on any machine. For real, the one server of many sites stops at one moment, and the API is
    asked repeatedly which sites are down.
    """
    ours, alone = _simulated(_NAMES, _QUORUM), _simulated(_NAMES[:1], _ALONE)
    yield _compared("simulated, 60 s", ours, alone)
    interval = lab.effort.interval
    yield _compared(f"real, {interval} s", *_seen(lab, interval))


def _compared(name: str, ours: Sequence[Seconds], alone: Sequence[Seconds]) -> Figure:
    mine, other = statistics.mean(ours), statistics.mean(alone)
    return Figure(
        name=name,
        value=mine / other,
        unit="x",
        detail=f"mean {mine:.1f} s from the outage to down, longest {max(ours):.1f} s; one place"
        f" {other:.1f} s, longest {max(alone):.1f} s; {len(ours)} outages",
        samples={"ours_seconds": list(ours), "peer_seconds": list(alone)},
    )


def _simulated(places: Sequence[str], quorum: Quorum) -> list[Seconds]:
    """Return how long after each of many outages, spread over an interval, the verdict comes."""
    found = []
    for number in range(_SITES):
        listed = site(f"site-{number}", interval=_INTERVAL, timeout=10.0)
        for moment in range(_MOMENTS):
            began = (3 + moment / _MOMENTS) * _INTERVAL
            found.append(_World(listed, places, quorum).down_at(began) - began)
    return found


class _World:
    """Places with the daemon's schedule and states, and a hub's votes, on one clock."""

    def __init__(self, listed: Site, places: Sequence[str], quorum: Quorum) -> None:
        self._site = listed
        self._quorum = quorum
        self._schedules: dict[str, Schedule] = {}
        self._states: dict[str, SiteState] = {}
        for number, place in enumerate(places):
            schedule = self._schedules[place] = Schedule(0.0)
            schedule.add(listed.name, listed.interval, 0.0)
            schedule.shift(number / len(places), 0.0)
            self._states[place] = begin(listed, (1.0,), 0.0)
        self._ballots: dict[str, Ballot] = {}
        self._verdict = Status.UNKNOWN

    def down_at(self, began: Seconds) -> Seconds:
        """Return when the verdict turns to down if every check from this moment on fails."""
        now = began
        arrivals: list[tuple[Seconds, str]] = []
        questions: list[tuple[Seconds, str]] = []
        while self._verdict is not Status.DOWN:
            due = ((one.next_due() or 0.0, place) for place, one in self._schedules.items())
            now, place = min(*due, *arrivals, *questions, (float("inf"), ""))
            if arrivals and (now, place) == arrivals[0]:
                heapq.heappop(arrivals)
                self._on_report(place, now)
            elif questions and (now, place) == questions[0]:
                heapq.heappop(questions)
                self._schedules[place].check_early(self._site.name, now)
            else:
                self._schedules[place].pop_due(now)
                asks = self._check(place, now, up=now < began)
                after = now + 2 * _CHECK
                heapq.heappush(arrivals, (after, place))
                for other in self._schedules:
                    if asks and other != place and self._states[other].said is not False:
                        heapq.heappush(questions, (after, other))
        return now

    def _check(self, place: str, now: Seconds, *, up: bool) -> bool:
        """Check a site, and return whether others are asked, as they are after a first failure."""
        made = up_result if up else down_result
        before = self._states[place]
        state, _ = advance(before, made(self._site, now, _CHECK), (1.0,), _DEPTH)
        self._states[place] = state
        return not up and before.said is not False

    def _on_report(self, place: str, now: Seconds) -> None:
        report = report_of(self._states[place])
        ballot = take(report, Sender(place), 0.0, self._ballots.get(place))
        if ballot is not None:
            self._ballots[place] = ballot
        stale = self._quorum.stale_after(self._site.interval, self._site.timeout)
        joint = count(self._ballots, self._quorum, self._verdict, now, stale)
        self._verdict = joint.status or self._verdict


def _seen(lab: Lab, interval: int) -> tuple[Sequence[Seconds], Sequence[Seconds]]:
    """Return the same for real daemons: three places with a hub, and one place alone."""
    with ExitStack() as stack:
        victim = lab.new_nginx()
        nats = started_nats(lab, stack)
        url = f"http://127.0.0.1:{victim.port}/"
        fleet = Fleet(count=lab.effort.true_rate // 2, url=url, interval=interval)
        text = _LOCATIONS.format(nats=nats.url) + site_list(fleet)
        places = Places(lab.new_folder(), text)
        stack.callback(places.kill)
        places.start_all(*_NAMES)
        hub = places.start("hub")
        alone = Daemon(lab.new_folder(), site_list(fleet))
        stack.callback(alone.kill)
        for name in _NAMES:
            places.daemons[name].logged("places=3")
        for daemon in (hub, alone):
            _await_all(daemon, "up")
        time.sleep(lab.effort.settle)
        began = time.time()
        victim.stop()
        seen = [_Downs(daemon, began) for daemon in (hub, alone)]

        def all_seen() -> bool:
            return {one.look() for one in seen} == {fleet.count}

        until(all_seen, "every site down")
        return tuple(seen[0].after.values()), tuple(seen[1].after.values())


def _await_all(daemon: Daemon, state: str) -> None:
    def are_all() -> bool:
        return {one["state"] for one in daemon.sites_by_name().values()} == {state}

    until(are_all, f"every site {state}")


class _Downs:
    """How long after a given moment each site of a daemon was first seen to be down."""

    def __init__(self, daemon: Daemon, began: float) -> None:
        self._daemon = daemon
        self._began = began
        self.after: dict[str, Seconds] = {}

    def look(self) -> int:
        """Look, and return how many sites have been seen to be down so far."""
        found = self._daemon.sites_by_name()
        after = time.time() - self._began
        for name, one in found.items():
            if one["state"] == "down":
                self.after.setdefault(name, after)
        return len(self.after)


def started_nats(lab: Lab, stack: ExitStack) -> Nats:
    """Start a NATS server with the stream; it ends with the stack."""
    nats = Nats(program("nats-server"), lab.new_folder())
    stack.callback(nats.stop)
    nats.set_up()
    return nats


# ---------------------------------------------------------------- what it costs to report


def place_cpu(lab: Lab) -> Iterator[Figure]:
    """
    Measure the processor time of a place beside that of the same daemon without reports.

    Both run at the same time and are measured at the same moments, so that other load affects both
    equally.
    """
    rate = lab.effort.true_rate
    fleet = Fleet(count=rate * lab.effort.interval, url=lab.url, interval=lab.effort.interval)
    with ExitStack() as stack:
        nats = started_nats(lab, stack)
        text = _LOCATIONS.format(nats=nats.url) + site_list(fleet)
        daemons = []
        for arguments in (("--location", "fra"), ()):
            daemon = Daemon(lab.new_folder(), text, arguments=arguments)
            stack.callback(daemon.kill)
            daemons.append(daemon)
        for daemon in daemons:
            lab.until_all_checked(daemon, fleet)
        costs: tuple[list[Seconds], list[Seconds]] = ([], [])
        for _ in range(lab.effort.rounds):
            before = [spent(daemon) for daemon in daemons]
            time.sleep(lab.effort.window)
            after = [spent(daemon) for daemon in daemons]
            for its, (used, checks), (used_then, checks_then) in zip(
                costs, before, after, strict=True
            ):
                its.append((used_then - used) / max(1, checks_then - checks))
        if "locations_connected" not in daemons[0].log.read_text():
            raise BenchError("the place reported nothing")
    yield ratio(f"{rate}/s", *costs, "without --location")
