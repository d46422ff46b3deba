"""What many sites take: memory, and the time of a scrape, a start and a reload."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import trustme

from monitor.model import Bytes, Seconds
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
_FIRST: Seconds = 60.0  # within which the daemon makes the first check of every site


def resident(lab: Lab) -> Iterator[Figure]:
    """Measure what the daemon and its processes hold once every site has been checked."""
    for count in lab.effort.fleets:
        fleet = Fleet(
            count=count,
            url=lab.url,
            interval=max(lab.effort.interval, count // lab.effort.true_rate),
        )
        with lab.daemon(fleet) as daemon:
            lab.until_all_checked(daemon, fleet)
            time.sleep(lab.effort.steady)
            pids = tree(daemon.process.pid)
            held = memory(pids)
        yield Figure(
            name=f"{count:,} sites",
            value=held.size / _MB,
            unit="MB",
            detail=f"{held.kind} of {len(pids)} processes",
        )


def resident_https(lab: Lab) -> Iterator[Figure]:
    """Measure the memory of HTTPS checks: those that wait for an answer, and finished ones."""
    few, many = max(1, lab.effort.waiting // 10), lab.effort.waiting
    at_few, at_many = (_while_waiting(lab, count) for count in (few, many))
    yield Figure(
        name="a waiting check",
        value=(at_many - at_few) / (many - few) / _MB,
        unit="MB",
        detail=f"{few} waiting {at_few / _MB:.1f} MB, {many} waiting {at_many / _MB:.1f} MB",
    )
    roots = f"tls: {{ca_file: {lab.roots}}}"
    rate, interval = lab.effort.tls_rates[-1], lab.effort.interval
    busy = Fleet(count=rate * interval, url=lab.tls_url, interval=interval, options=roots)
    for other in (False, True) if lab.other_build else (False,):
        yield _held(lab, f"{busy.count:,} sites, {rate}/s", (busy,), other=other)
    half, pause = lab.effort.fleets[0] // 2, lab.effort.many_interval
    plain = Fleet(count=half, url=lab.url, interval=pause)
    secure = Fleet(count=half, url=lab.tls_url, interval=pause, options=roots, prefix="tls")
    name = f"{2 * half:,} sites, half HTTPS"
    yield _held(lab, name, (plain, secure))
    yield _held(lab, f"{name}, no history", (plain, secure), MONITOR_DATA="none")


def _held(
    lab: Lab, name: str, fleets: Sequence[Fleet], *, other: bool = False, **environ: str
) -> Figure:
    with lab.daemon(*fleets, other=other, **environ) as daemon:
        lab.until_all_checked(daemon, *fleets)
        time.sleep(lab.effort.steady)
        pids = tree(daemon.process.pid)
        held = memory(pids)
    return Figure(
        name=f"{name}, {lab.other_build.name}" if other and lab.other_build else name,
        value=held.size / _MB,
        unit="MB",
        detail=f"{held.kind} of {len(pids)} processes",
    )


def _while_waiting(lab: Lab, count: int) -> Bytes:
    """Return what a daemon holds while this many checks wait for a server that never answers."""
    interval = round(lab.effort.outage)
    with SilentServer(lab.new_folder(), lab.ca) as server:
        fleet = Fleet(
            count=count,
            url=server.url,
            interval=interval,
            options=f"timeout: {interval - 1}s, tls: {{ca_file: {lab.roots}}}",
        )
        with lab.daemon(fleet) as daemon:
            give_up = time.monotonic() + interval + _FIRST
            while server.connections() < count:
                if time.monotonic() > give_up:
                    raise BenchError(f"{server.connections()} of {count} checks wait")
                time.sleep(lab.effort.settle)
            time.sleep(lab.effort.settle)
            return memory(tree(daemon.process.pid)).size


class SilentServer:
    """A process that completes TLS handshakes with every client and never answers."""

    def __init__(self, folder: Path, ca: trustme.CA) -> None:
        file = folder / "server.pem"
        ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
        self._count = folder / "connections"
        self._count.touch()
        command = [sys.executable, "-m", "tests.bench.mute", str(file), str(self._count)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._output = self._process.stdout
        self.url = f"https://127.0.0.1:{self._output.readline().strip()}/"

    def connections(self) -> int:
        """Return the number of clients whose handshake is complete."""
        return self._count.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()


def scrapes(lab: Lab) -> Iterator[Figure]:
    """Measure how long complete scrapes take, plain and compressed in turn."""
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
    """Measure the start with many sites until it is ready, and that of the smallest command."""
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
    Change one of many sites, and measure how long that takes and which checks it delays.

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
    Change ten of many sites listed in a Prometheus file, and measure how long that takes.

    The effect on other sites shows in how late their checks start, as with a reload.
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
    """Return the list; the first ten targets have a different label for each number."""
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
