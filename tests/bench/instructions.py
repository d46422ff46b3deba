"""
Instructions of a check in one thread, kernel excluded, by the library that they belong to.

    python -m tests.bench.instructions [--tls] [BUILD…]

Counts by valgrind, so a busy machine changes nothing: the difference between a short and a long run
of the same checks, divided. Each BUILD is the folder of a build of the monitor, with an environment
of its own in ``.venv`` if its libraries differ; the default is this build.
"""

import argparse
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.bench.lab import QUICK, Lab, program

_CHECKS = {False: (60, 180), True: (20, 60)}
"""The number of checks in the short run and in the long one, by whether they use TLS."""

_SCRIPT = """
import gc, sys
from monitor.clock import SystemClock
from monitor.model import Site
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.observe import Observer
try:
    from monitor.outbound import NetworkOptions, TlsOptions
except ImportError:  # at commit 450fb17
    from monitor.probes.options import NetworkOptions, TlsOptions

url, roots, checks = sys.argv[1:]
gc.disable()
scheme = url.partition(":")[0]
tls = TlsOptions(ca_file=roots) if scheme == "https" else TlsOptions()
options = (HttpOptions(), tls, NetworkOptions())
site = Site(name="s", url=url, target=url, scheme=scheme, timeout=5.0, options=options)
observe = Observer({scheme: HttpProbe()}, SystemClock())
for _ in range(int(checks)):
    seen = observe(site)
    assert seen.failure is None, seen.failure
"""


def instructions(lab: Lab, build: Path, *, tls: bool) -> dict[str, float]:
    """Return how many instructions a check takes in each library."""
    few, many = _CHECKS[tls]
    url = lab.tls_url if tls else lab.url
    less, more = (_counted(lab, build, url, checks) for checks in (few, many))
    return {name: (more[name] - less[name]) / (many - few) for name in more}


def _counted(lab: Lab, build: Path, url: str, checks: int) -> Counter[str]:
    own = build / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    out = lab.new_folder() / "callgrind"
    command = [program("valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}"]
    command += ["--compress-strings=no", "--compress-pos=no"]
    command += [python, "-c", _SCRIPT, url, str(lab.roots), str(checks)]
    environ = {**os.environ, "PYTHONPATH": str(build), "PYTHONHASHSEED": "0"}
    subprocess.run(command, env=environ, cwd=build, check=True, capture_output=True)
    return by_library(out.read_text())


def by_library(profile: str) -> Counter[str]:
    """Return the instructions in callgrind's output by the file name of their object."""
    found: Counter[str] = Counter()
    library, of_call = "", False
    for line in profile.splitlines():
        if line.startswith("ob="):
            library = line[3:].rpartition("/")[2]
        elif line.startswith("calls="):
            of_call = True  # the next line has what the function that is called takes
        elif line[:1].isdigit():
            if not of_call:
                found[library] += int(line.split()[1])
            of_call = False
    return found


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tls", action="store_true", help="count checks over HTTPS")
    arguments.add_argument("builds", nargs="*", type=Path, default=[Path.cwd()])
    given = arguments.parse_args()
    with Lab(QUICK) as lab:
        for build in given.builds:
            found = instructions(lab, build.resolve(), tls=given.tls)
            most = sorted(found.items(), key=lambda one: -one[1])[:6]
            parts = ", ".join(f"{name} {count / 1000:,.1f}" for name, count in most)
            print(f"{build}: {sum(found.values()) / 1000:,.1f} thousand a check ({parts})")


if __name__ == "__main__":
    main()
