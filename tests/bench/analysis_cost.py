"""
What judging one observation costs.

    python -m tests.bench.analysis_cost

Prints the microseconds of CPU per judged observation for typical sets of expectations, and what a
worker process that starts has to load.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from monitor.analysis.judge import judge_batch
from monitor.model import Job
from tests.analysis.answers import SEEN, URL, decoded, http, pem, tls

_BATCH = 32
_ROUNDS = 7


def measure(jobs: Sequence[Job]) -> float:
    """Return the microseconds per job, in the fastest of several rounds over all of them."""
    batches = [tuple(jobs[at : at + _BATCH]) for at in range(0, len(jobs), _BATCH)]
    took = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for batch in batches:
            judge_batch(batch)
        took.append(time.process_time() - started)
    return min(took) / len(jobs) * 1e6


def job(content: bytes, expect: Mapping[str, object], *chain: str) -> Job:
    answer = http(
        content, ("Content-Type", "application/json"), ("Server", "nginx"), ("Date", "today")
    )
    session = tls(*chain) if chain else None
    return Job(
        observation=replace(SEEN, answer=answer, tls=session),
        expect=tuple((key, decoded(key, value)) for key, value in expect.items()),
        url=URL,
    )


def start(code: str) -> str:
    """Return the milliseconds and MiB of a fresh process that runs the code, beyond a bare one."""
    report = f"""
import os, time
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20
took, held = time.process_time(), resident()
{code}
print(1000 * (time.process_time() - took), resident() - held)
"""
    runs = [
        subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
        for _ in range(5)
    ]
    took, grown = min(tuple(map(float, run.stdout.split())) for run in runs)
    return f"{took:6.0f} ms  {grown:5.1f} MiB"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    page = b"<!doctype html><p>" + b"lorem ipsum " * 850 + b"</p>"
    document = b'{"status": "ok", "items": [' + b'{"id": 1, "name": "x"},' * 50 + b'{"id": 2}]}'
    chain = (pem("a.example"), pem(common="Intermediate"), pem(common="Root", issuer="Root"))
    plain = {"status": "2xx", "header": {"content-type": "json"}, "latency": "1s"}
    jobs = {
        "nothing expected": job(b"", {}),
        "status": job(b"", {"status": "2xx"}),
        "status, header, latency": job(b"", plain),
        "body of 10 kB contains": job(page, {"body": {"contains": "</p>"}}),
        "body of 10 kB matches": job(page, {"body": "(?i)</p>$"}),
        "JSON of 1.2 kB by path": job(document, {"json": {"$.items[50].id": 2}}),
        "JSON of 1.2 kB by CEL": job(
            document, {"that": 'json.status == "ok" && size(json.items) > 0'}
        ),
        "CEL over 51 elements": job(document, {"that": "json.items.all(item, item.id > 0)"}),
        "CEL that is false": job(document, {"that": 'json.status == "up"'}),
        "three certificates, known": job(b"", {"certificate": {"valid_for": "14d"}}, *chain),
    }
    say("CPU per judged observation")
    for name, one in jobs.items():
        say(f"  {name:34}{measure([one] * 2000):8.1f} µs")
    fresh = [job(b"", {}, pem(f"{n}.example")) for n in range(500)]
    started = time.process_time()
    judge_batch(tuple(fresh))
    took = (time.process_time() - started) / len(fresh)
    say(f"  {'one certificate, new':34}{took * 1e6:8.1f} µs")
    say("A process that starts")
    say(f"  import of the ground's model      {start('import monitor.model')}")
    say(f"  import of judge                   {start('import monitor.analysis.judge')}")
    expression = "from monitor.analysis.expression import uses_body; uses_body('status == 1')"
    say(f"  and an expression                 {start(expression)}")
    certificate = (
        "from monitor.analysis.certificate import decode_chain; import monitor.analysis.judge;"
        f"decode_chain(({chain[0]!r},))"
    )
    say(f"  and a certificate                 {start(certificate)}")


if __name__ == "__main__":
    main()
