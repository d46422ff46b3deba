"""
``python -m tests.bench.hub_cost``: what a hub costs, and how long reports take to the verdict.

Ten places with 10,000 sites each, every 60 s, by default: real NATS, a real hub with its history,
and places that are nothing but reports. As real places do, each sends once a second what it has
checked since, at a moment of its own within the second, and checks each site in its own slot.
Prints the hub's processor time, memory, and how long reports took from the server to the verdict.
"""

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

import click
import nats
from nats.aio.client import Client

from monitor.app.sharding import owner
from monitor.engine.schedule import Schedule
from monitor.locations import wire
from monitor.model import Status
from monitor.places import Report, Sender, SignOfLife
from tests.bench.proc import cpu_time, memory
from tests.system.nats import Nats, Places

_PARTITIONS = 4


@click.command()
@click.option("--places", default=10, show_default=True)
@click.option("--sites", default=10_000, show_default=True)
@click.option("--interval", default=60.0, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(places: int, sites: int, interval: float, seconds: float) -> None:
    """Measure a hub."""
    program = shutil.which("nats-server", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise click.UsageError("nats-server is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Nats(program, folder)
        server.set_up()
        listed = "".join(
            f"  - {{name: s{number}, url: 'http://127.0.0.1:1/'}}\n" for number in range(sites)
        )
        text = (
            f'locations: {{nats: {{servers: ["{server.url}"]}}, quorum: {{down: 2, up: 2}}}}\n'
            f"defaults: {{interval: {interval:g}s}}\nsites:\n{listed}"
        )
        daemons = Places(folder, text)
        try:
            hub = daemons.start("hub")
            sender = _Sender(server.url, places, sites, interval)
            asyncio.run(sender.send(10.0))  # until all is warm
            before, sent, began = cpu_time([hub.process.pid]), sender.sent, time.monotonic()
            buckets = _delays(hub.metrics())
            asyncio.run(sender.send(seconds))
            took = time.monotonic() - began
            spent = cpu_time([hub.process.pid]) - before
            delays = _delays(hub.metrics()) - buckets
            click.echo(
                json.dumps(
                    {
                        "reports_per_second": round((sender.sent - sent) / took, 1),
                        "hub_cores": round(spent / took, 3),
                        "hub_ms_per_report": round(1000 * spent / (sender.sent - sent), 3),
                        "hub_resident_mib": round(memory([hub.process.pid]).size / 2**20, 1),
                        "messages": max(delays.values(), default=0),
                        "share_within_seconds": _shares(delays),
                    },
                    indent=1,
                )
            )
        finally:
            daemons.kill()
            server.stop()


def _delays(metrics: dict[str, float]) -> Counter[str]:
    """Return how many messages took at most each bound, by the bound as written."""
    bucket = re.compile(r'monitor_hub_report_seconds_bucket\{le="(.+)"\}')
    found = ((bucket.fullmatch(name), value) for name, value in metrics.items())
    return Counter({match[1]: int(value) for match, value in found if match})


def _shares(delays: Counter[str]) -> dict[str, float]:
    most = max(1, *delays.values())
    return {bound: round(number / most, 4) for bound, number in delays.items()}


class _Sender:
    """Sends the reports of many places, as their links would."""

    def __init__(self, url: str, places: int, sites: int, interval: float) -> None:
        self._url = url
        self._places = [f"p{number}" for number in range(places)]
        self._interval = interval
        self._partition = {
            f"s{number}": owner(f"s{number}", _PARTITIONS) for number in range(sites)
        }
        self._schedules = [self._schedule(number) for number in range(places)]
        self._number = 0
        self.sent = 0

    def _schedule(self, number: int) -> Schedule:
        now = time.monotonic()
        schedule = Schedule(time.time() - now)
        for name in self._partition:
            schedule.add(name, self._interval, now)
        schedule.shift(number / len(self._places), now)
        return schedule

    async def send(self, seconds: float) -> None:
        client = await nats.connect(self._url)
        end = time.monotonic() + seconds
        await asyncio.gather(
            self._beat(client, end),
            *(self._place(client, number, end) for number in range(len(self._places))),
        )
        await client.close()

    async def _place(self, client: Client, number: int, end: float) -> None:
        await asyncio.sleep(number / len(self._places))
        began = time.monotonic()
        for second in count(1):
            await asyncio.sleep(max(0.0, began + second - time.monotonic()))
            if time.monotonic() > end:
                return
            due = self._schedules[number].pop_due(time.monotonic())
            await self._report(client, self._places[number], [one.name for one in due])

    async def _report(self, client: Client, place: str, sites: list[str]) -> None:
        now = time.time()
        parts: dict[int, list[str]] = {}
        for site in sites:
            report = Report(
                site=site, time=now, duration=0.05, up=True, status=Status.UP, since=1e9
            )
            parts.setdefault(self._partition[site], []).append(wire.pack_report(report))
        for partition, reports in parts.items():
            self._number += 1
            data = wire.pack_batch("1/1", f"{self._number}", now, wire.pack_reports(reports))
            await client.publish(f"monitor.reports.{partition}.{place}", data)
        self.sent += len(sites)

    async def _beat(self, client: Client, end: float) -> None:
        while time.monotonic() < end:
            for place in self._places:
                beat = SignOfLife(
                    sender=Sender(place), sent=time.time(), version="bench", fingerprint="bench"
                )
                await client.publish(f"monitor.places.{place}", wire.pack_beat(beat))
            await asyncio.sleep(5)


if __name__ == "__main__":
    main()
