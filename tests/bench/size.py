"""What many sites take: memory, the time of a scrape, of a start and of a reload."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

from monitor.model import Seconds
from tests.bench.figures import BenchError, Figure, milliseconds
from tests.bench.fleet import Fleet, site_list
from tests.bench.lab import Lab, require_all_up
from tests.bench.load import last_lags
from tests.bench.proc import memory, tree
from tests.bench.scrape import Scrape
from tests.system.processes import Daemon, fetch
from tests.waiting import until

_MB = 1_000_000
_POLL: Seconds = 0.005
_PATIENCE: Seconds = 60.0


def resident(lab: Lab) -> Iterator[Figure]:
    """Measure what the daemon and its processes hold once every site was checked."""
    for count in lab.effort.fleets:
        fleet = Fleet(
            count=count,
            url=lab.url,
            interval=max(lab.effort.interval, count // lab.effort.true_rate),
        )
        with lab.daemon(fleet) as daemon:
            lab.until_all_checked(daemon, fleet)
            pids = tree(daemon.process.pid)
            held = memory(pids)
        yield Figure(
            name=f"{count:,} sites",
            value=held.size / _MB,
            unit="MB",
            detail=f"{held.kind} of {len(pids)} processes",
        )


def scrapes(lab: Lab) -> Iterator[Figure]:
    """Measure how long complete scrapes take, plain and packed in turns."""
    fleet = Fleet(count=lab.effort.sites, url=lab.url, interval=lab.effort.many_interval)
    plain: list[Scrape] = []
    packed: list[Scrape] = []
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        for _ in range(lab.effort.rounds):
            for kind, headers in ((plain, {}), (packed, {"Accept-Encoding": "gzip"})):
                time.sleep(lab.effort.settle)
                kind.append(Scrape(daemon.url, headers))
    for name, kind in (("plain", plain), ("gzip", packed)):
        require_all_up(daemon, kind[-1], fleet.count)
        size = f"{kind[-1].size / _MB:.1f} MB"
        yield milliseconds(name, [scrape.took for scrape in kind], size)


def starts(lab: Lab) -> Iterator[Figure]:
    """Measure the start with many sites until it is ready, and of the smallest command."""
    fleet = Fleet(count=lab.effort.sites, url=lab.url, interval=lab.effort.many_interval)
    ready: list[Seconds] = []
    version: list[Seconds] = []
    python: list[Seconds] = []
    for _ in range(lab.effort.rounds):
        began = time.monotonic()
        with lab.daemon(fleet) as daemon:
            while not _is_ready(daemon):
                time.sleep(_POLL)
            ready.append(time.monotonic() - began)
    for _ in range(lab.effort.rounds):
        version.append(_run("-m", "monitor", "--version"))
        python.append(_run("-c", "pass"))
    yield milliseconds("ready", ready)
    yield milliseconds("monitor --version", version)
    yield milliseconds("python -c pass", python)


def _is_ready(daemon: Daemon) -> bool:
    return bool(fetch(f"{daemon.url}/-/ready")[0] == 200)


def _run(*arguments: str) -> Seconds:
    began = time.monotonic()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def reloads(lab: Lab) -> Iterator[Figure]:
    """
    Change one of many sites, and measure until that is in force and what it holds up.

    A pause of the loop shows in how late the checks start that are due in it; the more checks are
    due, the more exactly.
    """
    fleet = Fleet(
        count=lab.effort.sites,
        url=lab.url,
        interval=max(1, lab.effort.sites // lab.effort.true_rate),
    )
    applied: list[Seconds] = []
    pauses: list[Seconds] = []
    usual: list[Seconds] = []
    with lab.daemon(fleet) as daemon:
        lab.until_all_checked(daemon, fleet)
        for number in range(lab.effort.rounds):
            before = time.time()
            time.sleep(lab.effort.settle)
            sites = _with_one_changed(fleet, number)
            began = time.time()
            daemon.sites.write_text(sites)
            status, text = fetch(f"{daemon.url}/-/reload", "POST")
            ended = time.time()
            if status != 200:
                raise BenchError(f"the reload was refused: {text}")
            applied.append(ended - began)
            time.sleep(lab.effort.settle)  # so that checks that were held up are over
            scrape = Scrape(daemon.url)
            pauses.append(max(last_lags(fleet, scrape, began, ended)))
            usual.append(max(last_lags(fleet, scrape, before, began)))
            # The daemon notices the file by itself, too
            until(lambda: _reloads_by_file(daemon) == len(applied), "the reload by the file")
    yield milliseconds("applied", applied)
    yield milliseconds("longest pause", pauses, f"without a reload {max(usual) * 1000:.1f} ms")


def discoveries(lab: Lab) -> Iterator[Figure]:
    """
    Change ten of many sites that a file in Prometheus' form lists, and measure until that is so.

    What it does to the others shows in how late their checks start, as with a reload.
    """
    fleet = Fleet(
        count=lab.effort.sites,
        url=lab.url,
        interval=max(1, lab.effort.sites // lab.effort.true_rate),
    )
    folder = lab.new_folder()
    targets = folder / "targets.json"
    targets.write_text(_targets(fleet, 0))
    sites = (
        f"discover: [{{file: {{paths: [targets.json]}}, limit: {fleet.count},"
        f" defaults: {{interval: {fleet.interval}s}}}}]\n"
    )
    applied: list[Seconds] = []
    pauses: list[Seconds] = []
    daemon = Daemon(folder, sites)
    try:
        lab.until_all_checked(daemon, fleet)
        for number in range(1, lab.effort.rounds + 1):
            time.sleep(lab.effort.settle)
            new = folder / "targets.new"
            new.write_text(_targets(fleet, number))
            began = time.time()
            new.replace(targets)
            while _discoveries(daemon) < number:
                if time.time() - began > _PATIENCE:
                    raise BenchError("ten changed sites were not applied")
                time.sleep(_POLL)
            ended = time.time()
            applied.append(ended - began)
            time.sleep(lab.effort.settle)
            pauses.append(max(last_lags(fleet, Scrape(daemon.url), began, ended)))
    finally:
        daemon.kill()
    yield milliseconds("applied", applied)
    yield milliseconds("longest pause", pauses)


def _targets(fleet: Fleet, number: int) -> str:
    """Return the list; the first ten have another label with each number."""
    changed = min(10, fleet.count)
    groups = [
        {
            "targets": [fleet.url],
            "labels": {"__monitor_name": name, "round": str(number if at < changed else 0)},
        }
        for at, name in enumerate(fleet.names)
    ]
    return json.dumps(groups)


def _discoveries(daemon: Daemon) -> int:
    return daemon.log.read_text().count(" discovered added=0 removed=0 changed=10")


def _with_one_changed(fleet: Fleet, number: int) -> str:
    first = f"name: {fleet.names[0]},"
    return site_list(fleet).replace(first, f"{first} labels: {{changed: '{number}'}},", 1)


def _reloads_by_file(daemon: Daemon) -> int:
    return daemon.log.read_text().count(" reloaded cause=file ")
