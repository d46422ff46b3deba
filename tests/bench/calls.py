"""What the calls of jobs that report themselves cost the daemon."""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from monitor.model import Seconds
from tests.bench.figures import BenchError, Figure
from tests.bench.lab import Lab
from tests.bench.proc import cpu_time, tree
from tests.system.processes import Daemon

_SITES = 1000
_CALLERS = 4


def taken_in(lab: Lab) -> Iterator[Figure]:
    """
    Measure calls by clients that each open a connection, as curl does, as fast as they can.

    Every call is a check: the daemon receives it, judges it in a worker, and records and keeps it.
    """
    sites = [
        {"url": f"push:job-{number}", "push": {"token": _token(number), "every": "1h"}}
        for number in range(_SITES)
    ]
    daemon = Daemon(lab.new_folder(), json.dumps({"sites": sites}))
    try:
        time.sleep(lab.effort.settle)
        host, _, port = daemon.url.removeprefix("http://").rpartition(":")
        before = cpu_time(tree(daemon.process.pid))
        began = time.monotonic()
        until = began + lab.effort.window
        with ThreadPoolExecutor(_CALLERS) as callers:
            made = sum(
                callers.map(
                    lambda first: _call(host, int(port), first, until),
                    range(0, _SITES, _SITES // _CALLERS),
                )
            )
        took = time.monotonic() - began
        spent = cpu_time(tree(daemon.process.pid)) - before
        noted = _checks(daemon, made)
    finally:
        daemon.kill()
    if noted < made:  # a few more are looks at their slots
        raise BenchError(f"{made} calls were answered with 200, and {noted} were recorded")
    yield Figure(
        name="CPU a call",
        value=1000 * spent / made,
        unit="ms",
        detail=f"{made} calls of {_SITES} sites, {made / took:.0f}/s by {_CALLERS} callers",
    )


def _token(number: int) -> str:
    return f"token-of-a-job-{number:05}"


def _call(host: str, port: int, first: int, until: Seconds) -> int:
    made = 0
    for number in itertools.cycle(range(first, first + _SITES // _CALLERS)):
        if time.monotonic() > until:
            break
        with socket.create_connection((host, port)) as connection:
            path = f"/push/{_token(number)}"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"a call was answered with {answer[:40]!r}")
        made += 1
    return made


def _checks(daemon: Daemon, wanted: int) -> int:
    """Return how many checks were recorded, once that many are or no more come."""
    seen, give_up = -1, time.monotonic() + 10
    while time.monotonic() < give_up:
        counts = daemon.metrics()
        seen = int(sum(n for name, n in counts.items() if name.startswith("monitor_checks_total")))
        if seen >= wanted:
            break
        time.sleep(0.2)
    return seen
