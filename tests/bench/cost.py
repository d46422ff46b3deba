"""What one check costs: CPU time of every process that takes part, beside its peers."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from monitor.model import Seconds
from tests.bench.blackbox import Asker, Blackbox
from tests.bench.figures import BenchError, Figure, ratio
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab, cpu_per_check, require_all_up
from tests.bench.scrape import Scrape
from tests.waiting import until

_LIBCURL = "bare libcurl"
_FLOOR = "the least in threads"


def http(lab: Lab) -> Iterator[Figure]:
    """Measure checks of a small page, at each rate."""
    for rate in lab.effort.rates:
        fleet = Fleet(count=rate * lab.effort.interval, url=lab.url, interval=lab.effort.interval)
        yield from _side_by_side(lab, f"{rate}/s", fleet, {}, "probe_http_status_code")


def https(lab: Lab) -> Iterator[Figure]:
    """
    Measure full handshakes, verified against many roots, until the expiry is exported.

    blackbox_exporter has the roots as the system's, which is its best case. With ``ca_file`` it
    reads the file at every probe, which is its worst, and has a figure of its own.
    """
    proof = "probe_ssl_earliest_cert_expiry"
    for rate in lab.effort.tls_rates:
        yield from _side_by_side(lab, f"{rate}/s", _tls_fleet(lab, rate), {}, proof)
    rate = lab.effort.tls_rates[0]
    worst = {"tls_config": {"ca_file": str(lab.roots)}}
    name = f"{rate}/s, its ca_file"
    yield from _side_by_side(lab, name, _tls_fleet(lab, rate), worst, proof, alone=True)


def _tls_fleet(lab: Lab, rate: int) -> Fleet:
    return Fleet(
        count=rate * lab.effort.interval,
        url=lab.tls_url,
        interval=lab.effort.interval,
        options=f"tls: {{ca_file: {lab.roots}}}",
    )


def _side_by_side(
    lab: Lab,
    name: str,
    fleet: Fleet,
    module: dict[str, Any],
    proof: str,
    *,
    alone: bool = False,
) -> Iterator[Figure]:
    """
    Measure our daemon and its peers in turn.

    Args:
        module: Options of blackbox_exporter's HTTP prober.
        proof: A series that both must export of every check.
        alone: Whether blackbox_exporter is the only peer.
    """
    ours: list[Seconds] = []
    with lab.blackbox(**module) as exporter:
        peers: dict[str, Callable[[], Seconds]] = {
            lab.exporter_name: lambda: _exporter(lab, exporter, fleet, proof)
        }
        if not alone:
            peers[_LIBCURL] = lambda: _transfers(lab, fleet, "tests.bench.bare")
            peers[_FLOOR] = lambda: _transfers(lab, fleet, "tests.bench.floor")
        if not alone and lab.other_build:
            peers[lab.other_build.name] = lambda: _daemon(lab, fleet, proof, other=True)
        theirs: dict[str, list[Seconds]] = {peer: [] for peer in peers}
        for _ in range(lab.effort.rounds):
            ours.append(_daemon(lab, fleet, proof))
            for peer, measure in peers.items():
                theirs[peer].append(measure())
    for peer, costs in theirs.items():
        title = name if peer == lab.exporter_name else f"{name}, beside {peer}"
        yield ratio(title, ours, costs, peer)


def _daemon(lab: Lab, fleet: Fleet, proof: str, *, other: bool = False) -> Seconds:
    with lab.daemon(fleet, other=other) as daemon:
        lab.until_all_checked(daemon, fleet)
        cost = cpu_per_check(daemon.process.pid, lab.answered, lab.effort.window)
        scrape = Scrape(daemon.url)
        require_all_up(daemon, scrape, fleet.count)
        if len(scrape.by_site(proof)) != fleet.count:
            raise BenchError(f"not every site has {proof}")
        return cost


def _transfers(lab: Lab, fleet: Fleet, module: str) -> Seconds:
    command = [sys.executable, "-m", module, fleet.url, str(lab.roots), str(fleet.rate)]
    with subprocess.Popen(command) as process:
        try:
            before, ours = lab.answered(), count(1)
            until(lambda: lab.answered() > before + next(ours), "libcurl's first request")
            return cpu_per_check(process.pid, lab.answered, lab.effort.window)
        finally:
            process.kill()


def _exporter(lab: Lab, exporter: Blackbox, fleet: Fleet, proof: str) -> Seconds:
    with Asker(exporter, fleet) as asker:
        time.sleep(lab.effort.settle)
        cost = cpu_per_check(exporter.process.pid, lab.answered, lab.effort.window)
    for answer in asker.answers:
        answer.require_success()
        answer.value(proof)
    return cost
