"""
The daemon as process 1 of a bare system: a read-only root, no /tmp, no capabilities, 128 MiB.

bubblewrap does what a container's engine would do, and needs no image.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.engine.test_pools import below
from tests.system.processes import fetch
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
LIMIT = 128 * 1024**2
WAYS = pytest.mark.parametrize(
    "extra",
    [(), ("--tmpfs", "/dev/shm")],  # noqa: S108  the test is about this very folder
    ids=["nothing-writable", "shared-memory"],
)


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"all is ok")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def pages():
    """Start a server that gives every request the same answer; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@contextmanager
def limited(size: int) -> Iterator[Path | None]:
    """Make a control group with that many bytes; yields None if the system allows none."""
    unified, legacy = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
    parent, limit = (
        (legacy, "memory.limit_in_bytes") if legacy.is_dir() else (unified, "memory.max")
    )
    group = parent / f"monitor-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / limit).write_text(str(size))
        yield group
    except (FileNotFoundError, PermissionError):  # the memory controller is not delegated to us
        yield None
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "the group's end")
        group.rmdir()


class Bare:
    """A daemon and its pid as seen from outside."""

    def __init__(self, folder: Path, program: str, extra, sites: str, group: Path | None) -> None:
        self.config = folder / "config"
        self.version = 0
        self.config.mkdir()
        self.mount(sites)
        self.log = folder / "daemon.log"
        command = [program, *self._walls(extra), "--", *self._command()]
        if group:
            join = 'echo $$ > "$0" && exec "$@"'
            command = ["sh", "-c", join, str(group / "cgroup.procs"), *command]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log)
        address = until(self._address, "the start")
        self.url = f"http://{address}"
        (self.pid,) = below(self.process.pid) - {
            pid for child in below(self.process.pid) for pid in below(child)
        }

    def mount(self, sites: str) -> None:
        """Replace a list as Kubernetes does, by swapping a symbolic link to its folder."""
        self.version += 1
        data = self.config / f"..{self.version}"
        data.mkdir()
        (data / "sites.yaml").write_text(sites)
        link = self.config / "..data_tmp"
        link.symlink_to(data.name)
        link.replace(self.config / "..data")
        if not (self.config / "sites.yaml").is_symlink():
            (self.config / "sites.yaml").symlink_to("..data/sites.yaml")

    def _walls(self, extra) -> Iterator[str]:
        yield from ("--unshare-user", "--unshare-pid", "--as-pid-1", "--die-with-parent")
        yield from ("--uid", "65532", "--gid", "65532", "--cap-drop", "ALL", "--clearenv")
        for path in ("/usr", "/etc", "/bin", "/lib", "/lib64"):
            if Path(path).is_symlink():
                yield from ("--symlink", str(Path(path).readlink()), path)
            elif Path(path).exists():
                yield from ("--ro-bind", path, path)
        for path in dict.fromkeys((sys.base_prefix, sys.prefix, str(ROOT))):
            yield from ("--ro-bind", path, path)
        yield from ("--ro-bind", str(self.config), "/config")
        yield from ("--proc", "/proc", "--dev-bind", "/dev/null", "/dev/null")
        yield from (*extra, "--remount-ro", "/")

    def _command(self) -> Iterator[str]:
        yield from (sys.executable, "-m", "monitor", "run")
        yield from ("--config", "/config", "--listen", "127.0.0.1:0")

    def _address(self) -> str:
        said = self.log.read_text()
        if self.process.poll() is not None:
            if said.startswith("bwrap:"):
                pytest.skip(f"this system gives no namespace of its own: {said.strip()}")
            pytest.fail(said)
        started = re.search(r"listen=(\S+)", said)
        return str(started[1]) if started else ""

    def up(self) -> int:
        return len(re.findall(r"^probe_success\{.*\} 1$", self.metrics(), re.MULTILINE))

    def metrics(self) -> str:
        text: str = fetch(f"{self.url}/metrics")[1]
        return text

    def restarts(self) -> int:
        return self._sum("monitor_analysis_restarts_total")

    def checks(self) -> int:
        return self._sum("monitor_checks_total")

    def _sum(self, name: str) -> int:
        samples = re.findall(rf"^{name}(?:\{{.*\}})? (\d+)", self.metrics(), re.MULTILINE)
        return sum(map(int, samples))


@pytest.fixture
def start(tmp_path, real):
    """Return a function that starts daemons; those still running at the end are killed."""
    daemons = []

    def start(extra, sites: str, group: Path | None = None) -> Bare:
        daemon = Bare(tmp_path, real("bwrap"), extra, sites, group)
        daemons.append(daemon)
        return daemon

    yield start
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.wait()


def listed(pages: str, count: int, interval: str = "500ms") -> str:
    sites = "".join(
        f"  - {{name: site-{number}, url: '{pages}/{number}', expect: {{body: ok}}}}\n"
        for number in range(count)
    )
    return f"defaults: {{interval: {interval}, timeout: {interval}}}\nsites:\n{sites}"


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


@WAYS
def test_nothing_but_sockets_is_needed(start, pages, extra):
    """Sites are checked, killed workers replaced, a ConfigMap applied, and SIGTERM exits with 0."""
    daemon = start(extra, listed(pages, 5))
    kernel = Path(f"/proc/{daemon.pid}/status").read_text()
    assert re.search(r"^CapBnd:\s+0+$", kernel, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", kernel, re.MULTILINE)
    assert re.search(r"^NSpid:.*\s1$", kernel, re.MULTILINE)
    until(lambda: daemon.up() == 5, "a check of every site")

    workers = [pid for pid in below(daemon.pid) if not below(pid)]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    until(lambda: daemon.restarts() > 0, "the restart")
    checks = daemon.checks()
    until(lambda: daemon.checks() > checks + 10, "more checks")
    assert daemon.up() == 5

    daemon.mount(listed(pages, 7))
    until(lambda: daemon.up() == 7, "the new list")

    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.process.wait(30) == 0
    assert "Traceback" not in daemon.log.read_text()


def test_orphans_are_no_zombies(start, pages):
    """Process 1 adopts the workers of a killed forkserver, and waits for them when they end."""
    daemon = start(("--tmpfs", "/dev/shm"), listed(pages, 2))  # noqa: S108  as above
    until(lambda: daemon.up() == 2, "a check of every site")
    (forkserver,) = (pid for pid in below(daemon.pid) if below(pid))
    orphans = below(forkserver)
    assert orphans
    os.kill(forkserver, signal.SIGKILL)
    until(lambda: all(state(pid) == "gone" for pid in {forkserver, *orphans}), "the reaping")
    checks = daemon.checks()
    until(lambda: daemon.checks() > checks, "a check by the new workers")


@WAYS
def test_memory_of_a_hundred_sites(start, pages, extra):
    """All processes together check a hundred sites within 128 MiB, and none of them dies."""
    with limited(LIMIT) as group:
        daemon = start(extra, listed(pages, 100), group)
        until(lambda: daemon.checks() > 500 and daemon.up() == 100, "five checks of each site")
        held = sum(map(proportional, {daemon.pid} | below(daemon.pid)))
        assert held < LIMIT
        assert daemon.restarts() == 0
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.process.wait(30) == 0


def proportional(pid: int) -> int:
    """Return the memory of a process, with shared pages divided among those that share them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(size) * 1024
