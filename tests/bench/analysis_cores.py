"""
The same CPU-heavy analysis with one worker process and with two: wall time, and use of each core.

    python -m tests.bench.analysis_cores [--answers 4000] [--workers 1 2]

Each answer has a JSON body of 40 KiB that a path, a pattern and a CEL expression look at. What is
measured is the pool alone, from the first batch to the last verdict; the workers run by then.
"""

import argparse
import json
import os
import time
from pathlib import Path
from queue import SimpleQueue

from monitor.analysis.judge import judge_batch
from monitor.app.tables import TABLES
from monitor.clock import SystemClock
from monitor.config.load import load_text
from monitor.engine.events import BatchJudged, Inbox
from monitor.engine.pools import AnalysisPool, PoolLimits
from monitor.model import HttpAnswer, Job, Observation, Site

_BATCH = 32
_SITES = r"""
sites:
  - url: http://shop.test/items
    expect:
      json: {"$.items[399].price": {gt: 1}}
      body: {matches: "name.*item-399", not_contains: maintenance}
      that:
        - json.items.all(i, i.price >= 0 && i.name.startsWith("item-"))
"""


def answer() -> Observation:
    items = [{"name": f"item-{number}", "price": number, "text": "x" * 60} for number in range(400)]
    body = json.dumps({"items": items}).encode()
    headers = (("Content-Type", "application/json"),)
    seen = HttpAnswer(status=200, version="1.1", headers=headers, body=body, body_size=len(body))
    return Observation(time=time.time(), duration=0.1, answer=seen)


def cores() -> list[tuple[int, int]]:
    """Return the busy ticks and all ticks of each core."""
    found = []
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            times = [int(tick) for tick in ticks]
            found.append((sum(times) - times[3] - times[4], sum(times)))
    return found


def run(workers: int, site: Site, seen: Observation, answers: int) -> float:
    inbox: Inbox = SimpleQueue()
    pool = AnalysisPool(
        workers,
        judge_batch,
        inbox=inbox,
        clock=SystemClock(),
        limits=PoolLimits(),
        on_restart=lambda: None,
    )
    pool.start()
    job = Job(observation=seen, expect=site.expect, url=site.target)
    try:
        before, began = cores(), time.monotonic()
        left = answers
        while left > 0 or not pool.idle:
            while left > 0 and pool.backlog < workers:
                size = min(_BATCH, left)
                pool.submit([site] * size, [job] * size)
                left -= size
            event = inbox.get()
            assert isinstance(event, BatchJudged), event
            for judged in pool.on_judged(event):
                assert not isinstance(judged.outcome, BaseException), judged.outcome
                assert all(one.verdict.up for one in judged.outcome), judged.outcome[0].verdict
        wall = time.monotonic() - began
    finally:
        pool.stop()
    shares = [
        (busy - busy_before) / max(1, every - every_before)
        for (busy, every), (busy_before, every_before) in zip(cores(), before, strict=True)
    ]
    used = " ".join(f"{share:4.0%}" for share in shares)
    each = wall / answers * 1000
    print(f"{workers} worker(s)  {wall:6.2f} s  {each:.2f} ms an answer  cores {used}")
    return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=4000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    (site,) = load_text(_SITES, TABLES, os.environ).sites
    seen = answer()
    walls = [run(workers, site, seen, options.answers) for workers in options.workers]
    print(f"the last took {walls[-1] / walls[0]:.0%} of the first")


if __name__ == "__main__":
    main()
