"""
CPU of a check of several builds at the same time, which shows differences of 2 % on a busy machine.

    python -m tests.bench.together [--tls] [--rate RATE] [--seconds SECONDS] BUILD…

Each daemon has a list of its own, and all check the same nginx at the same rate. A BUILD is a
folder, as of ``--peer``; ``none:FOLDER`` is a build that keeps no history.
"""

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

from tests.bench.fleet import Fleet
from tests.bench.lab import QUICK, Lab, Peers, require_all_up
from tests.bench.proc import cpu_time, tree
from tests.bench.scrape import Scrape

_WITHOUT = "none:"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tls", action="store_true", help="check over HTTPS")
    arguments.add_argument("--rate", type=int, default=400, help="checks per second of each build")
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("builds", nargs="+")
    given = arguments.parse_args()
    with ExitStack() as stack:
        servers = stack.enter_context(Lab(QUICK))
        fleet = Fleet(
            count=given.rate * 10,
            url=servers.tls_url if given.tls else servers.url,
            interval=10,
            options=f"tls: {{ca_file: {servers.roots}}}" if given.tls else "",
        )
        daemons = {}
        for name in given.builds:
            peers = Peers(build=Path(name.removeprefix(_WITHOUT)).resolve())
            lab = stack.enter_context(Lab(QUICK, peers))
            environ = {"MONITOR_DATA": "none"} if name.startswith(_WITHOUT) else {}
            daemons[name] = stack.enter_context(lab.daemon(fleet, other=True, **environ))
        for daemon in daemons.values():
            servers.until_all_checked(daemon, fleet)
        begun, before = time.monotonic(), {name: _used(one) for name, one in daemons.items()}
        time.sleep(given.seconds)
        after, took = {name: _used(one) for name, one in daemons.items()}, time.monotonic() - begun
        first = None
        for name, daemon in daemons.items():
            require_all_up(daemon, Scrape(daemon.url), fleet.count)
            cost = (after[name] - before[name]) / (fleet.rate * took)
            first = first or cost
            print(f"{name}: {cost * 1000:.3f} ms a check, {cost / first:.3f} of the first")


def _used(daemon) -> float:
    return cpu_time(tree(daemon.process.pid))


if __name__ == "__main__":
    main()
