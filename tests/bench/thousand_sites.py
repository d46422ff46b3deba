"""
A thousand sites every ten seconds against nginx on loopback, while things go wrong.

    python -m tests.bench.thousand_sites [--sites 1000] [--interval 10] [--seconds 120] [--calm]

Prints what was skipped, how late checks started, CPU seconds and memory. Without ``--calm``, a
third of the way in a worker is killed, the list is broken, fixed with ten sites more, ten fewer
and one changed, SIGHUP comes ten times, and a site drips a byte a second into a 3 s timeout.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import trustme

from tests.bench.proc import cpu_time, memory
from tests.system.processes import Daemon, Nginx, fetch


def site_list(numbers: list[int], port: int, tls_port: int, ca: Path, options) -> str:
    lines = [f"defaults: {{interval: {options.interval}s, timeout: 5s, tls: {{ca_file: {ca}}}}}"]
    lines.append("sites:")
    for number in numbers:
        # One in four over TLS, one in four with the body read
        url = f"https://127.0.0.1:{tls_port}/" if number % 4 == 0 else f"http://127.0.0.1:{port}/"
        expect = "expect: {body: {contains: well}}" if number % 4 == 1 else "group: plain"
        lines.append(f"  - {{name: site-{number}, url: '{url}', {expect}}}")
    return "\n".join(lines) + "\n"


def drip(listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_drip_to, args=(client,), daemon=True).start()


def _drip_to(client: socket.socket) -> None:
    try:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60:
            client.sendall(bytes([byte]))
            time.sleep(1)
    except OSError:
        client.close()


def report(daemon: Daemon, seconds: float, before: float) -> None:
    metrics = daemon.metrics()
    totals: dict[str, float] = {}
    for name, value in metrics.items():
        family = name.partition("{")[0]
        totals[family] = totals.get(family, 0.0) + value
    print(f"checks                 {totals['monitor_checks_total']:.0f}")
    print(f"checks skipped         {totals.get('monitor_checks_skipped_total', 0):.0f}")
    print(f"check errors           {totals['monitor_check_errors_total']:.0f}")
    for name, value in metrics.items():
        if name.startswith("monitor_check_failures_total"):
            reason = re.search('reason="(.*?)"', name)
            site = re.search('site="(.*?)"', name)
            assert reason
            assert site
            print(f"failures               {site[1]} {reason[1]}: {value:.0f}")
    print(f"worker restarts        {totals['monitor_analysis_restarts_total']:.0f}")
    count = metrics["monitor_schedule_lag_seconds_count"]
    for name, value in metrics.items():
        if name.startswith("monitor_schedule_lag_seconds_bucket"):
            bound = re.search('le="(.*?)"', name)
            assert bound
            print(f"started within {bound[1]:>6} s {value / count:8.2%}")
    workers = daemon.workers()
    cpu = cpu_time([daemon.process.pid]) - before
    print(f"CPU of the daemon      {cpu:.1f} s of {seconds:.0f} s ({cpu / seconds:.1%} of a core)")
    print(f"CPU of the workers     {cpu_time(workers):.1f} s")
    for name, pids in (("daemon", [daemon.process.pid]), ("workers", workers)):
        held = memory(pids)
        print(f"{held.kind} of {name:15}{held.size / 1024**2:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--interval", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--calm", action="store_true")
    options = parser.parse_args()

    ca = trustme.CA()
    folder = Path(tempfile.mkdtemp(prefix="thousand-sites-"))
    ca_path = folder / "ca.pem"
    ca.cert_pem.write_to_path(ca_path)
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "this needs nginx"
    nginx = Nginx(program, folder, ca)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=drip, args=(listener,), daemon=True).start()

    numbers = list(range(options.sites))
    args = (nginx.port, nginx.tls_port, ca_path, options)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    dripping = f"  - {{name: drip, url: 'http://{address}/', timeout: 3s}}\n"
    daemon = Daemon(folder, site_list(numbers, *args) + dripping)
    try:
        before = cpu_time([daemon.process.pid])
        time.sleep(options.seconds / 3)
        if not options.calm:
            os.kill(daemon.workers()[0], signal.SIGKILL)
            daemon.sites.write_text("sites: [{nmae: x}]\n")
            time.sleep(2)
            status, text = fetch(daemon.url + "/-/reload", "POST")
            print(f"broken list            {status} {text.strip()}")
            changed = site_list([*numbers[10:], *range(-10, 0)], *args)
            changed = changed.replace("name: site-11,", "name: site-11, labels: {changed: 'yes'},")
            daemon.sites.write_text(changed + dripping)
            for _ in range(10):
                daemon.signal(signal.SIGHUP)
                time.sleep(0.1)
        time.sleep(options.seconds * 2 / 3)
        for line in daemon.log.read_text().splitlines():
            if " reloaded " in line and "added=0 removed=0 changed=0" not in line:
                print(f"log                    {line}")
        report(daemon, options.seconds, before)
        began = time.monotonic()
        code = daemon.stop()
        print(f"stopped with           {code} after {time.monotonic() - began:.2f} s")
    finally:
        daemon.kill()
        nginx.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
