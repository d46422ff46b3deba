"""What rows use to measure: the daemon, blackbox_exporter, and the servers that both check."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from typing import Any, Self

import trustme

from monitor.model import Seconds, Timestamp
from tests.bench.blackbox import PROGRAM as BLACKBOX
from tests.bench.blackbox import Blackbox
from tests.bench.figures import BenchError
from tests.bench.fleet import Fleet, site_list
from tests.bench.proc import cpu_time, tree
from tests.bench.scrape import Scrape
from tests.system.processes import Daemon, Nginx, fetch

_OURS = Path(__file__).resolve().parents[2]
_ROOTS = 140
_FIRST_CHECK: Seconds = 60.0
"""The daemon checks each new site within this time, however long the interval is."""
_PATIENCE: Seconds = 300.0
_MOST_SAID = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """
    How much is measured.

    Attributes:
        rounds: Rounds whose median is reported.
        window: Seconds of one measurement.
        settle: Seconds between a change and the measurement of its effect.
        rates: Checks per second at which the cost of one is measured.
        tls_rates: The same for HTTPS.
        waiting: HTTPS checks that wait at the same time while their memory is measured.
        true_rate: Checks per second while reported durations are compared with true ones.
        scrapes: The least number of scrapes in that time: one check in thirty overlaps a scrape,
            and the p99 of a few dozen checks is their largest.
        interval: Seconds between checks of a site in rows that are about the rate.
        sites: Sites in the rows that are about many sites.
        many_interval: Seconds between checks of each of these, unless a row says otherwise.
        fleets: Numbers of sites whose memory is measured.
        steps: Checks per second to try, in rising order.
        sustain: Seconds for which punctuality is measured and the highest rate must last.
        outage: Seconds for which most sites hang.
        steady: Seconds until idle workers have ended, with a margin.
        remembered: Seconds until the history's work per second is that of the next hours.
        slow: Seconds on a slow disk.
        answer: Seconds that a slow receiver of messages takes.
    """

    rounds: int = 5
    window: Seconds = 30
    settle: Seconds = 2
    rates: tuple[int, ...] = (100, 400)
    tls_rates: tuple[int, ...] = (100, 300)
    waiting: int = 500
    true_rate: int = 400
    scrapes: int = 6
    interval: int = 10
    sites: int = 10_000
    many_interval: int = 60
    fleets: tuple[int, ...] = (1_000, 10_000, 100_000)
    steps: tuple[int, ...] = (800, 1000, 1200, 1400, 1500, 1600, 1700, 1850, 2000, 2200, 2500)
    sustain: Seconds = 60
    outage: Seconds = 180
    steady: Seconds = 120
    remembered: Seconds = 960
    slow: Seconds = 3600
    answer: Seconds = 10


FULL = Effort()
QUICK = Effort(
    rounds=1,
    window=5,
    fleets=(1_000,),
    steps=(800, 1200, 1700, 2200),
    sustain=15,  # a scrape at its end holds up what is due meanwhile: it must be less than 1 %
    outage=75,
    remembered=5,
    slow=60,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """
    Peers to measure beside this build, apart from installed programs.

    Attributes:
        build: The folder of another build of ours.
        exporter: A blackbox_exporter to take instead of the installed one.
    """

    build: Path | None = None
    exporter: Path | None = None

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Peers":
        """
        Return the peers that lie at these paths.

        Raises:
            ValueError: A path is neither a folder with a build of ours nor a program.
        """
        found = {}
        for path in paths:
            if (path / "monitor" / "__main__.py").is_file():
                found["build"] = path.resolve()
            elif path.is_file() and os.access(path, os.X_OK):
                found["exporter"] = path.resolve()
            else:
                raise ValueError(f"{path} is neither a build of the monitor nor a program")
        return cls(**found)


NO_PEERS = Peers()


@cache
def compile_once(python: str, build: Path) -> None:
    """Write a build's bytecode beside its sources, as an installation does, for starts to read."""
    subprocess.run([python, "-m", "compileall", "-q", build / "monitor"], check=True)


class _Helper:
    """A C program of this folder that prints its port and its priority once it serves."""

    def __init__(self, compiler: str, folder: Path, name: str, *arguments: str) -> None:
        program = folder / name
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        self._process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self._output = self._process.stdout
        self.port, self.priority = self._output.readline().split()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()


class DelayServer(_Helper):
    """``delay.c``, which answers each request after an exact delay."""

    def __init__(self, compiler: str, folder: Path, delay: Seconds) -> None:
        super().__init__(compiler, folder, "delay", str(round(delay * 1_000_000)))
        self.url = f"http://127.0.0.1:{self.port}/"

    def exactness(self) -> str:
        """End it, and return what it reports about itself."""
        self._process.terminate()
        answers, *late = self._output.readline().split()
        middle, tail, largest = (int(microseconds) / 1000 for microseconds in late)
        return (
            f"{answers} answers, late by {middle:.2f} ms p50, {tail:.2f} ms p99,"
            f" {largest:.2f} ms at most; {self.priority} priority"
        )


@dataclass(frozen=True, slots=True)
class Witnessed:
    """
    What the server saw of a check over TLS.

    Attributes:
        connected: Time of the connection, by the wall clock.
        tls: From the connection to the client's Finished.
        processing: From the Finished to the first byte of the answer.
    """

    name: str
    connected: Timestamp
    tls: Seconds
    processing: Seconds


class Relay(_Helper):
    """``relay.c`` before a server; it holds each answer back until an exact delay is over."""

    def __init__(self, compiler: str, folder: Path, server_port: int, delay: Seconds) -> None:
        super().__init__(compiler, folder, "relay", str(server_port), str(round(delay * 1_000_000)))
        self.url = f"https://127.0.0.1:{self.port}/"

    def witnessed(self) -> list[Witnessed]:
        """End it, and return what it saw of each answered request."""
        self._process.terminate()
        found = []
        for line in self._output:
            name, *moments = line.split()
            connected, finished, _, answered = (int(one) / 1_000_000_000 for one in moments)
            found.append(Witnessed(name, connected, finished, answered - finished))
        return found


class Lab:
    """
    Everything that one row starts; it all ends with the block.

    Servers are started when they are first asked for.

    Attributes:
        took_part: Programs that were started, and the version of each.
    """

    def __init__(self, effort: Effort, peers: Peers = NO_PEERS) -> None:
        self.effort = effort
        self.took_part: dict[str, str] = {}
        self._peers = peers
        self._stack = ExitStack()
        self._numbers = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))

    def new_folder(self) -> Path:
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        return folder

    @cached_property
    def ca(self) -> trustme.CA:
        return trustme.CA()  # ECDSA P-256, and so are its certificates

    @cached_property
    def roots(self) -> Path:
        """A file of as many authorities as browsers trust; the one that is needed comes last."""
        path = self.folder / "roots.pem"
        authorities = [*(trustme.CA() for _ in range(_ROOTS - 1)), self.ca]
        path.write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))
        return path

    @cached_property
    def nginx(self) -> Nginx:
        return self.new_nginx()

    def new_nginx(self) -> Nginx:
        path = program("nginx")
        self.took_part["nginx"] = version_of(path, "-v")
        server = Nginx(path, self.new_folder(), self.ca)
        self._stack.callback(server.stop)
        return server

    @property
    def url(self) -> str:
        """The URL of a small page."""
        return f"http://127.0.0.1:{self.nginx.port}/"

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.nginx.tls_port}/"

    def answered(self) -> int:
        """Return how many requests nginx has answered, including this one."""
        _, text = fetch(f"{self.url}status")
        return int(text.splitlines()[2].split()[2])

    def delay_server(self, delay: Seconds) -> DelayServer:
        server = DelayServer(program("cc"), self.new_folder(), delay)
        self._stack.callback(server.stop)
        return server

    def relay(self, delay: Seconds) -> Relay:
        relay = Relay(program("cc"), self.new_folder(), self.nginx.tls_port, delay)
        self._stack.callback(relay.stop)
        return relay

    @property
    def other_build(self) -> Path | None:
        """The folder of another build of ours, or None."""
        return self._peers.build

    @property
    def exporter_name(self) -> str:
        return "blackbox_exporter"

    @contextmanager
    def blackbox(self, **http: Any) -> Iterator[Blackbox]:
        path = str(self._peers.exporter or program(BLACKBOX))
        self.took_part[self.exporter_name] = version_of(path, "--version")
        exporter = Blackbox(path, self.new_folder(), http, self.roots)
        try:
            yield exporter
        finally:
            exporter.stop()

    @contextmanager
    def daemon(self, *fleets: Fleet, other: bool = False, **environ: str) -> Iterator[Daemon]:
        """
        Start a daemon as users do, with default settings.

        Args:
            other: Whether to start the other build.
        """
        build = self.other_build if other and self.other_build else _OURS
        self.took_part[f"monitor in {build.name}"] = commit(build)
        own = build / ".venv" / "bin" / "python"  # with its libraries, if it has its own
        python = str(own) if other and own.exists() else sys.executable
        compile_once(python, build)
        environ = {"PYTHONPATH": str(build), "PYTHONDONTWRITEBYTECODE": "", **environ}
        daemon = Daemon(self.new_folder(), site_list(*fleets), python=python, **environ)
        try:
            yield daemon
        finally:
            daemon.kill()

    def peer(self, *fleets: Fleet) -> AbstractContextManager[Daemon]:
        """Start what a daemon with a history is compared with: another build, or one without it."""
        if self.other_build is None:
            return self.daemon(*fleets, MONITOR_DATA="none")
        return self.daemon(*fleets, other=True)

    def until_all_checked(self, daemon: Daemon, *fleets: Fleet) -> None:
        """
        Wait until every site of a daemon was checked.

        Raises:
            BenchError: They were not all checked in time, or not all are up.
        """
        wanted = sum(fleet.count for fleet in fleets)
        # Until then nobody asks the daemon anything
        time.sleep(min(_FIRST_CHECK, max(fleet.interval for fleet in fleets)))
        give_up = time.monotonic() + _PATIENCE
        while (scrape := Scrape(daemon.url)).count("probe_success") < wanted:
            if time.monotonic() > give_up:
                raise BenchError(f"not all of {wanted} sites were checked in time")
            # A scrape of very many is work that keeps the daemon from them
            time.sleep(self.effort.settle + 5 * scrape.took)
        require_all_up(daemon, scrape, wanted)
        time.sleep(self.effort.settle)


def require_all_up(daemon: Daemon, scrape: Scrape, sites: int) -> None:
    """
    Check that every site is up.

    Raises:
        BenchError: A site is not up; the message has the daemon's log line for the first one.
    """
    up = scrape.total("probe_success")
    if up != sites:
        said = [line for line in daemon.log.read_text().splitlines() if " site_down " in line]
        raise BenchError(f"of {sites} sites {up:.0f} are up: {' | '.join(said[:_MOST_SAID])}")


def program(name: str) -> str:
    """
    Return the path of a program.

    Raises:
        LookupError: It is not installed.
    """
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        raise LookupError(f"{name} is not installed")
    return path


def version_of(path: str, option: str) -> str:
    """Return the first line of what a program prints about its version."""
    said = subprocess.run(
        [path, option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    return said.stdout.splitlines()[0]


def commit(build: Path) -> str:
    """Return the commit of a folder, marked if files differ from it."""
    said = subprocess.run(
        ["git", "-C", build, "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "no commit"


def cpu_per_check(pid: int, answered: Callable[[], int], window: Seconds) -> Seconds:
    """Return the CPU time of a process and all below it, per request that a server answered."""
    requests, used = answered(), cpu_time(tree(pid))
    time.sleep(window)
    used = cpu_time(tree(pid)) - used
    requests = answered() - requests - 1  # the count of requests is a request too
    if not requests:
        raise BenchError("the server was asked for nothing")
    return used / requests
