"""What messages cost when every site goes down at once, and some receivers are as ill."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

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
_GROUP_INTERVAL: Seconds = 10.0
_PATIENCE: Seconds = 180.0


class _Inbox:
    """
    A webhook that answers after a while.

    Attributes:
        told: Of how many sites the last message said that they are down.
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


def outage(lab: Lab) -> Iterator[Figure]:
    """Let all sites go down within one interval, beside a daemon that tells nobody."""
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
        daemons = [Daemon(lab.new_folder(), text + site_list(fleet)) for text in (notify, "")]
        for daemon in daemons:
            stack.callback(daemon.kill)
        for daemon in daemons:
            lab.until_all_checked(daemon, fleet)
        before = [_held(daemon) for daemon in daemons]
        began = time.time()
        victim.stop()
        time.sleep(interval + lab.effort.settle)
        scrapes = [Scrape(daemon.url) for daemon in daemons]
        _until_told(living, fleet.count)
        added = [_held(daemon) - held for daemon, held in zip(daemons, before, strict=True)]
    late = {name: one.at - (began + wait) for name, one in living.items()}
    yield Figure(
        name="told after group_wait",
        value=max(late.values()),
        unit="s",
        detail=", ".join(f"{name} {seconds:.1f} s" for name, seconds in late.items()),
    )
    lags = [percentile(last_lags(fleet, one, began, began + interval), 0.99) for one in scrapes]
    yield Figure(
        name="lag p99",
        value=lags[0] / max(lags[1], 0.001),
        unit="x",
        detail=f"{lags[0] * 1000:.1f} ms, without messages {lags[1] * 1000:.1f} ms",
    )
    yield Figure(
        name="memory",
        value=added[0] - added[1],
        unit="MB",
        detail=f"the outage adds {added[0]:.1f} MB, without messages {added[1]:.1f} MB",
    )


def _until_told(living: dict[str, _Inbox], sites: int) -> None:
    give_up = time.monotonic() + _PATIENCE
    while any(one.told < sites for one in living.values()):
        if time.monotonic() > give_up:
            told = {name: one.told for name, one in living.items()}
            raise BenchError(f"not all of {sites} sites were told: {told}")
        time.sleep(0.1)


def _held(daemon: Daemon) -> float:
    return memory(tree(daemon.process.pid)).size / _MB
