"""
What one HTTP check costs, and how true its latency is; run ``python -m tests.bench.http_cost``.

Our probe, bare libcurl and requests take turns against servers in a process of their own: CPU per
check with eight threads (medians), then what each reports beyond the 50 ms that a server waits.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pycurl
import requests

from monitor.app.runtime import SWITCH_INTERVAL
from monitor.clock import SystemClock
from monitor.model import Site
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.http import HttpOptions, HttpProbe
from monitor.probes.observe import Observer

_THREADS = 8
_WAIT = 0.05
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 22 Nov 2026 11:20:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Check = Callable[[str], float]
"""Makes one check and returns the seconds that it reports."""


async def serve() -> None:
    """Answer at once on one port and after exactly 50 ms on another; print both."""

    def handler(delay: float) -> Handler:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            began = time.perf_counter()
            if delay:
                # A timer fires up to a millisecond late: sleep short of it, then spin
                await asyncio.sleep(delay - 0.002)
                while time.perf_counter() - began < delay:
                    pass
            writer.write(_ANSWER)
            writer.close()

        return answer

    servers = [await asyncio.start_server(handler(delay), "127.0.0.1", 0) for delay in (0, _WAIT)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


def our_probe() -> Check:
    observe = Observer({"http": HttpProbe()}, SystemClock())
    options = (HttpOptions(), TlsOptions(), NetworkOptions())

    def check(url: str) -> float:
        site = Site(name=url, url=url, target=url, scheme="http", options=options)
        seen = observe(site)
        if seen.failure:
            raise RuntimeError(seen.failure.message)
        return seen.duration

    return check


def bare_libcurl() -> Check:
    idle: list[pycurl.Curl] = []

    def check(url: str) -> float:
        curl = idle.pop() if idle else pycurl.Curl()
        body: list[bytes] = []
        headers: list[bytes] = []
        for option, value in (
            (pycurl.URL, url),
            (pycurl.NOSIGNAL, 1),
            (pycurl.FRESH_CONNECT, 1),
            (pycurl.FORBID_REUSE, 1),
            (pycurl.WRITEFUNCTION, body.append),
            (pycurl.HEADERFUNCTION, headers.append),
        ):
            curl.setopt(option, value)
        curl.perform()
        took: int = curl.getinfo(pycurl.TOTAL_TIME_T)
        curl.reset()
        idle.append(curl)
        return took / 1_000_000

    return check


def plain_requests(url: str) -> float:
    began = time.perf_counter()
    requests.get(url, timeout=10)
    return time.perf_counter() - began


def cpu_per_check(check: Check, url: str, checks: int) -> float:
    """Return the CPU seconds of one check, with eight threads at work."""
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(check, [url] * _THREADS))
        began = time.process_time()
        list(pool.map(check, [url] * checks))
        return (time.process_time() - began) / checks


def lateness(check: Check, url: str, checks: int, rate: float) -> list[float]:
    """Return what each check reports beyond the server's wait, started at a steady rate."""
    with ThreadPoolExecutor(64) as pool:
        began = time.monotonic()
        futures = []
        for number in range(checks):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            futures.append(pool.submit(check, url))
        return [future.result() - _WAIT for future in futures]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--serve", action="store_true", help="be the servers")
    arguments.add_argument("--checks", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--rate", type=float, default=200.0)
    given = arguments.parse_args()
    if given.serve:
        asyncio.run(serve())
        return
    sys.setswitchinterval(SWITCH_INTERVAL)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.http_cost", "--serve"],
        stdout=subprocess.PIPE,
        text=True,
    ) as servers:
        assert servers.stdout
        fast, slow = (f"http://127.0.0.1:{port}/" for port in servers.stdout.readline().split())
        try:
            report(given.checks, given.rounds, given.rate, fast, slow)
        finally:
            servers.terminate()


def report(checks: int, rounds: int, rate: float, fast: str, slow: str) -> None:
    contestants: dict[str, Check] = {
        "our probe": our_probe(),
        "bare libcurl": bare_libcurl(),
        "requests.get": plain_requests,
    }
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, check in contestants.items():
            costs[name].append(cpu_per_check(check, fast, checks))
    print(f"CPU per check, {_THREADS} threads, median of {rounds} rounds of {checks}")
    for name, values in costs.items():
        print(f"  {name:14}{statistics.median(values) * 1000:8.3f} ms")
    print(f"Reported beyond {_WAIT * 1000:.0f} ms at {rate:g} checks/s")
    for name, check in contestants.items():
        late = sorted(lateness(check, slow, checks, rate))
        middle, tail = late[len(late) // 2], late[int(len(late) * 0.99)]
        print(f"  {name:14}p50 {middle * 1000:6.2f} ms   p99 {tail * 1000:6.2f} ms")


if __name__ == "__main__":
    main()
