"""What one check costs: CPU time of everything that takes part in it, beside blackbox_exporter."""

import time
from collections.abc import Iterator
from typing import Any

from monitor.model import Seconds
from tests.bench.blackbox import Asker, Blackbox
from tests.bench.figures import BenchError, Figure, ratio
from tests.bench.fleet import Fleet
from tests.bench.lab import Lab, cpu_per_check, require_all_up
from tests.bench.scrape import Scrape


def http(lab: Lab) -> Iterator[Figure]:
    """Measure checks of a small page, at each rate."""
    for rate in lab.effort.rates:
        fleet = Fleet(count=rate * lab.effort.interval, url=lab.url, interval=lab.effort.interval)
        yield _side_by_side(lab, f"{rate}/s", fleet, {}, "probe_http_status_code")


def https(lab: Lab) -> Iterator[Figure]:
    """
    Measure full handshakes, verified against many roots, until the expiry is exported.

    blackbox_exporter has the roots as the system's, which is its best case. With ``ca_file`` it
    reads the file at every probe, which is its worst, and has a figure of its own.
    """
    rate = lab.effort.tls_rate
    fleet = Fleet(
        count=rate * lab.effort.interval,
        url=lab.tls_url,
        interval=lab.effort.interval,
        options=f"tls: {{ca_file: {lab.roots}}}",
    )
    proof = "probe_ssl_earliest_cert_expiry"
    yield _side_by_side(lab, f"{rate}/s", fleet, {}, proof)
    worst = {"tls_config": {"ca_file": str(lab.roots)}}
    yield _side_by_side(lab, f"{rate}/s, its ca_file", fleet, worst, proof)


def _side_by_side(lab: Lab, name: str, fleet: Fleet, module: dict[str, Any], proof: str) -> Figure:
    """
    Measure both in turns.

    Args:
        module: Options of blackbox_exporter's HTTP prober.
        proof: A series that both must export of every check.
    """
    ours, theirs = [], []
    with lab.blackbox(**module) as exporter:
        for _ in range(lab.effort.rounds):
            ours.append(_daemon(lab, fleet, proof))
            theirs.append(_exporter(lab, exporter, fleet, proof))
    return ratio(name, ours, theirs)


def _daemon(lab: Lab, fleet: Fleet, proof: str) -> Seconds:
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        cost = cpu_per_check(daemon.process.pid, lab.answered, lab.effort.window)
        scrape = Scrape(daemon.url)
        require_all_up(daemon, scrape, fleet.count)
        if len(scrape.by_site(proof)) != fleet.count:
            raise BenchError(f"not every site has {proof}")
        return cost


def _exporter(lab: Lab, exporter: Blackbox, fleet: Fleet, proof: str) -> Seconds:
    with Asker(exporter, fleet) as asker:
        time.sleep(lab.effort.settle)
        cost = cpu_per_check(exporter.process.pid, lab.answered, lab.effort.window)
    for answer in asker.answers:
        answer.require_success()
        answer.value(proof)
    return cost
