"""
A thousand sites while the analysis is struck fifty times: no site may be down for it.

    python -m tests.bench.pool_storm [--sites 1000] [--interval 10] [--blows 50] [--pause 4]

In turn a worker is killed, a worker is stopped (it hangs and uses no processor), the forkserver is
killed. Then the daemon itself is killed, and nothing may be left of it. The site list sets
``analysis.timeout`` to 3 s: what a stopped worker holds waits for that long, and must be judged
before the site's next slot.
"""

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import trustme

from tests.bench.proc import cpu_time, descendants, runs
from tests.bench.thousand_sites import report, site_list
from tests.system.processes import Daemon, Nginx
from tests.waiting import until


def strike(daemon: Daemon, number: int) -> str:
    """Strike one blow, and return which."""
    workers = daemon.workers()
    if not workers:
        return "found no worker"
    worker = workers[number % len(workers)]
    match number % 3:
        case 0:
            os.kill(worker, signal.SIGKILL)
            return "worker killed"
        case 1:
            os.kill(worker, signal.SIGSTOP)
            return "worker stopped"
        case _:
            os.kill(descendants(daemon.process.pid)[worker], signal.SIGKILL)
            return "forkserver killed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--interval", type=int, default=10)
    parser.add_argument("--blows", type=int, default=50)
    parser.add_argument("--pause", type=float, default=4.0)
    options = parser.parse_args()

    ca = trustme.CA()
    folder = Path(tempfile.mkdtemp(prefix="pool-storm-"))
    ca_path = folder / "ca.pem"
    ca.cert_pem.write_to_path(ca_path)
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "this needs nginx"
    nginx = Nginx(program, folder, ca)
    sites = site_list(list(range(options.sites)), nginx.port, nginx.tls_port, ca_path, options)
    daemon = Daemon(folder, f"analysis: {{timeout: 3s}}\n{sites}")
    try:
        before = cpu_time([daemon.process.pid])
        began = time.monotonic()
        time.sleep(options.interval)
        blows: Counter[str] = Counter()
        for number in range(options.blows):
            blows[strike(daemon, number)] += 1
            time.sleep(options.pause)
        time.sleep(2 * options.interval)
        states = Counter(one["state"] for one in daemon.sites_by_name().values())
        print(f"blows                  {dict(blows)}")
        print(f"states                 {dict(states)}")
        report(daemon, time.monotonic() - began, before)
        downs = [line for line in daemon.log.read_text().splitlines() if " site_down " in line]
        print(f"ever down              {len(downs)}")
        print("\n".join(downs[:5]))
        below = descendants(daemon.process.pid)
        os.kill(daemon.workers()[0], signal.SIGSTOP)
        daemon.kill()
        print(f"processes              {len(below) + 1}, one of them stopped")
        until(lambda: not any(map(runs, below)), "the end of every process")
        print("after kill -9          none left")
    finally:
        daemon.kill()
        nginx.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
