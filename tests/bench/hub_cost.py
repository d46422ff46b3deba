"""
``python -m tests.bench.hub_cost``: what a hub costs, and how long reports take to the verdict.

Ten places with 10,000 sites each, every 60 s, by default: real NATS, a real hub with its history,
and places that are nothing but reports. Prints the hub's processor time, memory and delay.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import nats
from nats.aio.client import Client

from monitor.app.sharding import owner
from monitor.locations import wire
from monitor.model import Status
from monitor.places import Beat, Report, Sender
from tests.bench.proc import cpu_time, memory
from tests.system.nats import Nats, Places

_PARTITIONS = 4


@click.command()
@click.option("--places", "count", default=10, show_default=True)
@click.option("--sites", default=10_000, show_default=True)
@click.option("--interval", default=60.0, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(count: int, sites: int, interval: float, seconds: float) -> None:
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
        places = Places(folder, text)
        try:
            hub = places.start("hub")
            sender = _Sender(server.url, count, sites, interval)
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
                        "messages_within": dict(delays),
                    },
                    indent=1,
                )
            )
        finally:
            places.kill()
            server.stop()


def _delays(metrics: dict[str, float]) -> Counter[str]:
    head = "monitor_hub_report_seconds_bucket"
    return Counter({name: int(n) for name, n in metrics.items() if name.startswith(head)})


class _Sender:
    """Reports of many places at an even pace, as their links would send them."""

    def __init__(self, url: str, places: int, sites: int, interval: float) -> None:
        self._url = url
        self._places = [f"p{number}" for number in range(places)]
        self._sites = sites
        self._rate = sites / interval
        self._partition = [owner(f"s{number}", _PARTITIONS) for number in range(sites)]
        self._next = 0.0
        self._number = 0
        self.sent = 0

    async def send(self, seconds: float) -> None:
        client = await nats.connect(self._url)
        end = time.monotonic() + seconds
        beat_at = 0.0
        while time.monotonic() < end:
            began = time.monotonic()
            if began >= beat_at:
                beat_at = began + 5
                await self._beat(client)
            first, self._next = int(self._next), self._next + self._rate
            for place in self._places:
                await self._second(client, place, range(first, int(self._next)))
            await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))
        await client.close()

    async def _second(self, client: Client, place: str, sites: range) -> None:
        now = time.time()
        parts: dict[int, list[str]] = {}
        for number in sites:
            site = number % self._sites
            report = Report(
                site=f"s{site}", time=now, duration=0.05, up=True, status=Status.UP, since=1e9
            )
            parts.setdefault(self._partition[site], []).append(wire.pack_report(report))
        for partition, reports in parts.items():
            self._number += 1
            data = wire.pack_batch("1/1", f"{self._number}", now, wire.pack_reports(reports))
            await client.publish(f"monitor.reports.{partition}.{place}", data)
        self.sent += len(sites)

    async def _beat(self, client: Client) -> None:
        for place in self._places:
            beat = Beat(
                sender=Sender(place), sent=time.time(), version="bench", fingerprint="bench"
            )
            await client.publish(f"monitor.places.{place}", wire.pack_beat(beat))


if __name__ == "__main__":
    main()
