"""
Build the image and run it as operators do: ``python -m tests.container [--minutes 5]``.

Needs root, and Debian's podman, buildah and debootstrap; where no base image is named, one of
Debian bookworm is made, whose Python is 3.11. The daemon runs with a read-only root, as 65532,
without capabilities and new privileges, in 128 MiB, and checks a hundred sites.
"""

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
BASE = "localhost/monitor-test-base"
IMAGE = "localhost/monitor-test"
LIMIT = 128 * 1024**2
SITES = 100
_PORT = 8080
_PACKAGES = "python3,python3-pip,python-is-python3,ca-certificates,netbase,tzdata"
_TRUST = "/etc/ssl/certs/ca-certificates.crt"
_GRACE = 15
_PAUSE = 1.0


class UnavailableError(Exception):
    """No image can be built here; the text says why."""


def run(*command: str | Path, check: bool = True) -> str:
    done = subprocess.run([*command], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def require() -> None:
    """
    Look for what is needed.

    Raises:
        UnavailableError: Something is missing.
    """
    missing = [name for name in ("podman", "buildah", "debootstrap") if not shutil.which(name)]
    if missing:
        raise UnavailableError(f"{', '.join(missing)} must be installed")
    if os.geteuid() != 0:
        raise UnavailableError("only root can make a base image")
    works = subprocess.run(["podman", "info"], capture_output=True, text=True, check=False)
    if works.returncode:
        raise UnavailableError(f"podman does not work here: {works.stderr.strip()}")


def make_base() -> None:
    """Make a small Debian with Python, from the mirror that this machine uses."""
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    said = "\n".join(path.read_text() for path in sources if path.is_file())
    mirrors = re.findall(r"^(?:deb |URIs:).*?(https?://\S+/debian/?)(?:\s|$)", said, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        options = ("--variant=minbase", f"--include={_PACKAGES}")
        run("debootstrap", *options, "bookworm", folder, *mirrors[:1])
        container = run("buildah", "from", "scratch")
        run("buildah", "add", "--quiet", container, folder, "/")
    run("buildah", "commit", "--quiet", "--rm", container, BASE)


def build(base: str) -> None:
    # Packages come from where this machine has them from, and it trusts whom this machine trusts
    settings = {}
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = ast.literal_eval(value)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("[global]\n")
        config.writelines(f"{key} = {value}\n" for key, value in settings.items())
        config.flush()
        mounts = (f"{config.name}:/etc/pip.conf:ro", f"{_TRUST}:{_TRUST}:ro")
        options = ("--isolation", "chroot", *(word for one in mounts for word in ("--volume", one)))
        argument = f"PYTHON_IMAGE={base}"
        tag = ("--format", "docker", "--tag", IMAGE)
        run("buildah", "bud", *options, *tag, "--build-arg", argument, ROOT)


@contextmanager
def running(config: Path) -> Iterator[str]:
    """Yield the name of a container; a neighbour in the same network serves what it checks."""
    name = f"monitor-test-{os.getpid()}"
    pages = f"{name}-pages"
    server = ("--entrypoint", "python", IMAGE, "-m", "http.server", "--directory", "/config")
    sysctl = "net.ipv4.ping_group_range=0 2147483647"
    try:
        run(
            *("podman", "run", "--detach", "--name", pages, "--network", "none"),
            *("--sysctl", sysctl, *server, "--bind", "127.0.0.1", str(_PORT)),
        )
        run(
            *("podman", "run", "--detach", "--name", name, "--network", f"container:{pages}"),
            *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", "--pids-limit", "400"),
            *("--memory", str(LIMIT), "--memory-swap", str(LIMIT)),
            *("--volume", f"{config}:/config:ro", IMAGE),
        )
        yield name
    finally:
        # One after the other: the network is not given up before who joined it is gone
        for container in (name, pages):
            run("podman", "rm", "--force", "--time", "0", container, check=False)


def site_list() -> str:
    """Return a hundred sites: pages, ports and pings that are up, and some that are down."""
    kinds = {
        "ping": "icmp://127.0.0.1",
        "port": f"tcp://127.0.0.1:{_PORT}",
        "gone": "http://127.0.0.1:1/",
    }
    page = f"http://127.0.0.1:{_PORT}/"
    sites: list[dict[str, Any]] = [
        {"name": f"{kind}-{number}", "url": kinds.get(kind, page)}
        for number, kind in enumerate(["ping", "port", "gone", *["page"] * 7] * (SITES // 10))
    ]
    for site in sites:
        if site["url"] == page:
            site["expect"] = {"body": {"contains": "sites.yaml"}, "that": ["status == 200"]}
    return json.dumps({"defaults": {"interval": "5s", "timeout": "3s"}, "sites": sites})


def figures(name: str) -> dict[str, float]:
    """Return what the daemon's metrics and the kernel say."""
    script = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:10115/metrics').read().decode())"
    text = run("podman", "exec", name, "python", "-c", script)
    pid = run("podman", "inspect", "--format", "{{.State.Pid}}", name)

    def total(sample: str) -> float:
        values = re.findall(rf"^{sample}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))

    return {
        "sites up": total("probe_success"),
        "checks": total("monitor_checks_total"),
        "skipped": total("monitor_checks_skipped_total"),
        "errors": total("monitor_check_errors_total"),
        "worker restarts": total("monitor_analysis_restarts_total"),
        "peak MB": round(peak(int(pid)) / 1e6, 1),
        "zombies": zombies(int(pid)),
    }


def peak(pid: int) -> int:
    """Return the most bytes that a process' control group held."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for file in (
            Path(f"/sys/fs/cgroup/{controllers}{path}/memory.max_usage_in_bytes"),
            Path(f"/sys/fs/cgroup{path}/memory.peak"),
        ):
            if file.exists():
                return int(file.read_text())
    return 0


def zombies(pid: int) -> int:
    """Return how many children of a process are dead."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [child for task in tasks for child in task.read_text().split()]
    stats = (Path(f"/proc/{child}/stat").read_text() for child in children)
    return sum(stat.rpartition(")")[2].split()[0] == "Z" for stat in stats)


def watch(minutes: float) -> list[str]:
    """Run the image for so long, and return what was not as it should be."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder)
        config.chmod(0o755)
        (config / "sites.yaml").write_text(site_list())
        with running(config) as name:
            begun = time.monotonic()
            while subprocess.run(
                ["podman", "exec", name, "monitor", "healthcheck"], check=False
            ).returncode:
                if time.monotonic() - begun > 60:
                    return ["it did not become healthy:", run("podman", "logs", name)]
                time.sleep(_PAUSE)
            print(f"healthy after {time.monotonic() - begun:.1f} s")
            while time.monotonic() - begun < 60 * minutes:
                time.sleep(_PAUSE)
            found = figures(name)
            print(json.dumps(found))
            begun = time.monotonic()
            run("podman", "stop", "--time", str(_GRACE), name)
            code = run("podman", "inspect", "--format", "{{.State.ExitCode}}", name)
            print(f"stopped after {time.monotonic() - begun:.1f} s, exit status {code}")
    expected = {
        "sites up": SITES * 0.9,
        "skipped": 0,
        "errors": 0,
        "worker restarts": 0,
        "zombies": 0,
    }
    wrong += [
        f"{key} is {found[key]}, not {value:g}"
        for key, value in expected.items()
        if found[key] != value
    ]
    if code != "0":
        wrong.append(f"the exit status is {code}")
    return wrong


def main(arguments: Sequence[str]) -> list[str]:
    """
    Build and run, and return what was not as it should be.

    Raises:
        UnavailableError: It cannot be done here.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.container")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long the daemon runs")
    parser.add_argument(
        "--base", help="an image with Python 3.11 on Debian; by default one is made"
    )
    options = parser.parse_args(arguments)
    require()
    if options.base is None:
        make_base()
    build(options.base or BASE)
    print(run("podman", "history", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE))
    size = run("podman", "image", "inspect", "--format", "{{.Size}}", IMAGE)
    print(f"{int(size) / 1e6:.1f} MB")
    return watch(options.minutes)


if __name__ == "__main__":
    try:
        problems = main(sys.argv[1:])
    except UnavailableError as error:
        sys.exit(f"skipped: {error}")
    sys.exit("\n".join(problems) or 0)
