"""
Ten thousand checks of hostile servers by the daemon; afterwards everything is as it was.

    python -m tests.bench.hostile_soak [--checks 10000]

The servers run in a process of their own. Prints threads, descriptors, sockets and memory of the
daemon after a warm-up and after the last check, and which reasons were found.
"""

import argparse
import gzip
import multiprocessing
import os
import shutil
import socket
import ssl
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trustme

from tests.probes.servers import ScriptedServer, answer, drip, read_request, repeat, reset
from tests.probes.servers import stay_silent as silent
from tests.probes.test_http_wire import BROKEN, GZIP, HEAD, SLOW
from tests.system.processes import Daemon
from tests.waiting import until

_SHARE = 5  # sites for each kind of server


def scripts() -> dict[str, Any]:
    """Return scripts of servers beyond those in the tests of the HTTP probe."""
    cookies = [("Set-Cookie", f"name-{number}={'x' * 100}") for number in range(500)]
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    return {
        **{name: case[0] for name, case in {**BROKEN, **SLOW}.items()},
        "never ends its body": [read_request, HEAD + b"\r\n", repeat(b"x" * 65536)],
        "sends a gzip bomb": [read_request, GZIP + bomb],
        "sends a thousand headers": answer(headers=[(f"X-{n}", "value") for n in range(1000)]),
        "floods with cookies": answer(headers=cookies),
        "redirects to itself": answer(status="302 Found", headers=[("Location", "/")]),
        "redirects to a file": answer(
            status="302 Found", headers=[("Location", "file:///etc/passwd")]
        ),
        "redirects to gopher": answer(
            status="302 Found", headers=[("Location", "gopher://127.0.0.1:1/_x")]
        ),
        "is well": answer(),
    }


def serve(ready: Connection) -> None:
    """Start every server, send their URLs, and wait until told to end."""
    ca = trustme.CA()
    thousand = ca.issue_cert("127.0.0.1", *(f"host-{n}.example.org" for n in range(1000)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    thousand.configure_cert(context)
    urls = {name: ScriptedServer(script).url() for name, script in scripts().items()}
    urls["has a thousand names"] = ScriptedServer(answer(), tls=context).url()
    urls["resets the handshake"] = ScriptedServer([reset]).url().replace("http:", "https:")
    urls["stalls the handshake"] = ScriptedServer([silent]).url().replace("http:", "https:")
    urls["speaks no TLS"] = ScriptedServer(answer()).url().replace("http:", "https:")
    dripping = ScriptedServer([read_request, drip(b"x")])
    urls["drips its status line"] = dripping.url()
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    urls["has a full queue"] = f"http://127.0.0.1:{full.getsockname()[1]}/"
    urls["is not there"] = "http://127.0.0.1:1/"
    urls["has no name"] = "http://nothing.invalid/"
    ready.send(urls)
    ready.recv()


def usage(pid: int) -> dict[str, float]:
    process = Path(f"/proc/{pid}")
    kinds = []
    for path in (process / "fd").iterdir():
        try:
            kinds.append(str(path.readlink()).partition(":")[0])
        except OSError:
            continue
    pages = int((process / "statm").read_text().split()[1])
    return {
        "threads": sum(1 for _ in (process / "task").iterdir()),
        "descriptors": len(kinds),
        "sockets": kinds.count("socket"),
        "resident MiB": round(pages * os.sysconf("SC_PAGE_SIZE") / 1024**2, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=10_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hostile-soak-"))
    ours, theirs = multiprocessing.Pipe()
    servers = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    servers.start()
    urls = ours.recv()
    lines = ["defaults: {interval: 1s, timeout: 500ms}", "engine: {probe_threads: 128}", "sites:"]
    for name, url in urls.items():
        body = ", expect: {body: {not_contains: nothing}}" if "body" in name else ""
        lines += [f"  - {{name: {name} {n}, url: '{url}'{body}}}" for n in range(_SHARE)]
    healthy = f"{lines[0]}\n{lines[1]}\nsites: [{{name: is well 0, url: '{urls['is well']}'}}]\n"
    daemon = Daemon(folder, "\n".join(lines) + "\n")
    try:

        def checks() -> float:
            return sum(
                value
                for name, value in daemon.metrics().items()
                if name.startswith("monitor_checks_total")
            )

        give_up = time.monotonic() + options.checks / 20
        while checks() < options.checks / 10:
            time.sleep(0.5)
        before = usage(daemon.process.pid)
        while (done := checks()) < options.checks:
            assert time.monotonic() < give_up, f"only {done:.0f} checks were done"
            time.sleep(0.5)
        busy = usage(daemon.process.pid)
        sites = daemon.sites_by_name()
        errors = sum(v for k, v in daemon.metrics().items() if "check_errors_total" in k)
        # A healthy site alone is left; what the others held must go
        daemon.sites.write_text(healthy)
        until(lambda: len(daemon.sites_by_name()) == 1, "the healthy list")
        time.sleep(12)  # glibc's longest look-up
        after = usage(daemon.process.pid)
        print(f"{'':14}{'warm':>10}{'busy':>10}{'after':>10}")
        for key in before:
            print(f"{key:14}{before[key]:>10}{busy[key]:>10}{after[key]:>10}")
        print(f"checks {done:.0f}, errors of our own {errors:.0f}")
        reasons = Counter(one["last"]["reason"] or "up" for one in sites.values())
        print(", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())))
        print("stopped with", daemon.stop())
    finally:
        daemon.kill()
        ours.send("end")
        servers.kill()
        servers.join()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
