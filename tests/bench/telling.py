"""What messages cost when every site goes down at once and some receivers fail as well."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from monitor.model import Seconds, Timestamp
from tests.bench.figures import BenchError, Figure, percentile
from tests.bench.fleet import Fleet, site_list
from tests.bench.lab import Lab
from tests.bench.load import last_lags
from tests.bench.proc import memory, tree
from tests.bench.scrape import Scrape
from tests.probes.servers import Connection, ScriptedServer, answer, read_request, stay_silent
from tests.system.processes import Daemon
from tests.waiting import free_port

_MB = 1_000_000
_WAIT = 1.5  # intervals, within which every site is down
_INTERVALS = 2
"""Intervals measured: sites go down in the first, and messages are sent in the second."""
_GROUP_INTERVAL: Seconds = 10.0
_PATIENCE: Seconds = 180.0
_MOST_ROUNDS = 3
"""Each round takes six minutes."""


class _Inbox:
    """
    A webhook that answers after a while.

    Attributes:
        told: The number of sites that the last message reported as down.
        at: When that message came.
    """

    def __init__(self, delay: Seconds) -> None:
        self.told = 0
        self.at: Timestamp = 0.0
        self.server = ScriptedServer([read_request, self._take, delay, answer()[1]])

    def _take(self, connection: Connection) -> None:
        message = json.loads(connection.server.requests.pop().partition(b"\r\n\r\n")[2])
        firing = [one for one in message["alerts"] if one["status"] == "firing"]
        told = len(firing) + message["truncatedAlerts"]
        if told > self.told:
            self.told, self.at = told, time.time()


@dataclass(slots=True)
class _Seen:
    """
    The measurements of daemons of one kind, one outage each.

    Attributes:
        lags: The p99 of how late checks started.
        added: Megabytes that an outage added.
        late: How long after ``group_wait`` each living receiver knew of all sites.
    """

    lags: list[Seconds] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    late: dict[str, list[Seconds]] = field(default_factory=dict)


def outage(lab: Lab) -> Iterator[Figure]:
    """
    Make all sites go down within one interval, for a daemon with messages and one without.

    Each runs alone on the machine, in turn, and every other time the one without messages is
    first.
    """
    telling, silent = _Seen(), _Seen()
    for number in range(min(lab.effort.rounds, _MOST_ROUNDS)):
        turns = (telling, silent) if number % 2 == 0 else (silent, telling)
        for seen in turns:
            _see(lab, seen, tells=seen is telling)
    late = {name: statistics.median(some) for name, some in telling.late.items()}
    yield Figure(
        name="told after group_wait",
        value=max(late.values()),
        unit="s",
        detail=", ".join(f"{name} {seconds:.1f} s" for name, seconds in late.items()),
        samples=telling.late,
    )
    ours, theirs = statistics.median(telling.lags), statistics.median(silent.lags)
    yield Figure(
        name="lag p99",
        value=ours / max(theirs, 0.001),
        unit="x",
        detail=f"{_spread(telling.lags)}, without messages {_spread(silent.lags)};"
        f" {_resolution(telling.lags, silent.lags)}",
        samples={"ours_seconds": telling.lags, "peer_seconds": silent.lags},
    )
    ours, theirs = statistics.median(telling.added), statistics.median(silent.added)
    yield Figure(
        name="memory",
        value=ours - theirs,
        unit="MB",
        detail=f"the outage adds {ours:.1f} MB, without messages {theirs:.1f} MB",
        samples={"ours_megabytes": telling.added, "peer_megabytes": silent.added},
    )


def _see(lab: Lab, seen: _Seen, *, tells: bool) -> None:
    """Make all sites of one daemon go down, and measure it."""
    interval = lab.effort.many_interval
    wait = _WAIT * interval
    victim = lab.new_nginx()
    fleet = Fleet(count=lab.effort.sites, url=f"http://127.0.0.1:{victim.port}/", interval=interval)
    with ExitStack() as stack:
        living = {"quick": _Inbox(0.0), "slow": _Inbox(lab.effort.answer)}
        hanging = ScriptedServer([read_request, stay_silent])
        for server in (hanging, *(one.server for one in living.values())):
            stack.callback(server.close)
        urls = {
            **{name: one.server.url() for name, one in living.items()},
            "hanging": hanging.url(),
            "refusing": f"http://127.0.0.1:{free_port()}/",
        }
        receivers = "".join(
            f"    - {{name: {name}, webhook: {{url: '{url}'}}, timeout: 30s}}\n"
            for name, url in urls.items()
        )
        notify = (
            f"notify:\n  group_wait: {wait}s\n  group_interval: {_GROUP_INTERVAL}s\n"
            f"  receivers:\n{receivers}"
        )
        daemon = Daemon(lab.new_folder(), (notify if tells else "") + site_list(fleet))
        stack.callback(daemon.kill)
        lab.until_all_checked(daemon, fleet)
        before = _held(daemon)
        began = time.time()
        victim.stop()
        lags: list[Seconds] = []
        for number in range(_INTERVALS):
            begin, end = began + number * interval, began + (number + 1) * interval
            time.sleep(max(0.0, end + lab.effort.settle - time.time()))
            lags += last_lags(fleet, Scrape(daemon.url), begin, end)
        seen.lags.append(percentile(lags, 0.99))
        if tells:
            _until_told(living, fleet.count)
            for name, one in living.items():
                seen.late.setdefault(name, []).append(one.at - (began + wait))
        seen.added.append(_held(daemon) - before)


def _spread(lags: Sequence[Seconds]) -> str:
    middle, least, most = (how(lags) * 1000 for how in (statistics.median, min, max))
    return f"{middle:.1f} ms" + (f" ({least:.1f} to {most:.1f})" if len(lags) > 1 else "")


def _resolution(*kinds: Sequence[Seconds]) -> str:
    """Say which difference of the ratio is significant, as outages of one kind differ too."""
    if len(kinds[0]) == 1:
        return "one outage each, so nothing tells how exact that is"
    apart = max(max(lags) / max(min(lags), 0.001) for lags in kinds) - 1
    return f"outages of one kind differ by up to {apart:.0%}, which is what the ratio resolves"


def _until_told(living: dict[str, _Inbox], sites: int) -> None:
    give_up = time.monotonic() + _PATIENCE
    while any(one.told < sites for one in living.values()):
        if time.monotonic() > give_up:
            told = {name: one.told for name, one in living.items()}
            raise BenchError(f"not all of {sites} sites were told: {told}")
        time.sleep(0.1)


def _held(daemon: Daemon) -> float:
    return memory(tree(daemon.process.pid)).size / _MB
