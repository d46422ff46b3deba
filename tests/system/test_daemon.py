"""The daemon as a user runs it: a process, real peers, signals."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from tests.system.processes import fetch
from tests.waiting import free_port, until


def company(nginx, ca) -> str:
    """Return a site list with each kind of page."""
    plain, tls = f"http://127.0.0.1:{nginx.port}", f"https://127.0.0.1:{nginx.tls_port}"
    return f"""
defaults: {{interval: 1s, timeout: 900ms, tls: {{ca_file: {ca.path}}}}}
sites:
  - {{name: healthy, url: "{plain}/"}}
  - {{name: healthy-tls, url: "{tls}/"}}
  - {{name: slow, url: "{plain}/slow.txt", interval: 4s, timeout: 4s, expect: {{latency: 500ms}}}}
  - {{name: too-slow, url: "{plain}/slow.txt"}}
  - {{name: error, url: "{tls}/500"}}
  - {{name: redirected, url: "{plain}/one", expect: {{redirects: 3}}}}
  - {{name: loop, url: "{plain}/loop"}}
  - {{name: expired, url: "https://127.0.0.1:{nginx.expired_port}/"}}
  - {{name: maintenance, url: "{tls}/maintenance", expect: {{body: {{not_contains: maintenance}}}}}}
  - {{name: closed, url: "http://127.0.0.1:{free_port()}/"}}
"""


DOWN = {
    "slow": "latency",
    "too-slow": "read_timeout",
    "error": "status",
    "loop": "redirect_limit",
    "expired": "tls_expired",
    "maintenance": "body",
    "closed": "connect_refused",
}


def all_checked(daemon):
    sites = daemon.sites_by_name()
    return sites if all(one["last"] for one in sites.values()) else None


def test_every_kind_of_page(nginx, ca, start, prometheus, real):
    """Each site has the right state and reason in the API, the metrics and in Prometheus."""
    daemon = start(company(nginx, ca))
    server = prometheus(daemon)
    sites = until(lambda: all_checked(daemon), "a check of every site")
    assert {name: one["last"]["reason"] for name, one in sites.items()} == {
        "healthy": None,
        "healthy-tls": None,
        "redirected": None,
        **DOWN,
    }
    assert sites["error"]["last"]["message"] == "status 500 is not in 2xx"
    assert sites["expired"]["last"]["certificate"]["verified"] is False
    assert sites["healthy-tls"]["last"]["tls_version"] == "TLS 1.3"
    assert len(sites["redirected"]["last"]["redirects"]) == 3

    _, text = daemon.get("/metrics")
    lint = subprocess.run(
        [real("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert lint.stdout + lint.stderr == ""
    for name, reason in DOWN.items():
        assert re.search(
            rf'monitor_check_failures_total{{site="{name}",.*reason="{reason}"}} \d', text
        )

    def told():
        down = {one["metric"]["site"] for one in server.query("probe_success == 0")}
        return down == set(DOWN)

    until(told, "Prometheus' knowing what is down")
    expiry = server.query("probe_ssl_earliest_cert_expiry - time() < 0")
    assert {one["metric"]["site"] for one in expiry} == {"expired"}
    assert daemon.stop() == 0


def test_a_site_list_is_changed_while_it_runs(nginx, start, tmp_path):
    """A bad list changes nothing and says why; a good one is applied; the others keep counting."""
    url = f"http://127.0.0.1:{nginx.port}/"

    def listed(names, changed=()) -> str:
        lines = [
            f"  - {{name: {name}, url: '{url}{'?x' if name in changed else ''}'}}" for name in names
        ]
        return "\n".join(["defaults: {interval: 500ms, timeout: 400ms}", "sites:", *lines, ""])

    first = [f"site-{number}" for number in range(20)]
    daemon = start(listed(first))
    until(lambda: all_checked(daemon), "a check of every site")
    before = daemon.site("site-5")["checks"]

    daemon.sites.write_text("sites: [{name: broken, utl: x}]\n")
    daemon.logged("config_rejected")
    status, text = fetch(daemon.url + "/-/reload", "POST")
    assert status == 400
    assert "did you mean 'url'" in text
    assert daemon.metrics()["monitor_config_last_reload_successful"] == 0
    assert set(daemon.sites_by_name()) == set(first)

    second = first[:10] + [f"new-{number}" for number in range(10)]
    swapped = tmp_path / "next.yaml"
    swapped.write_text(listed(second, changed={"site-0"}))
    swapped.rename(daemon.sites)  # an editor's atomic save
    until(lambda: set(daemon.sites_by_name()) == set(second), "the new list")
    daemon.logged("added=10 removed=10 changed=1")
    for _ in range(10):
        daemon.signal(signal.SIGHUP)
    until(lambda: all_checked(daemon), "a check of every site")
    assert daemon.site("site-5")["checks"] >= before
    metrics = daemon.metrics()
    assert metrics["monitor_config_last_reload_successful"] == 1
    assert metrics["monitor_sites"] == 20
    assert not [name for name in metrics if 'site="site-15"' in name]
    assert sum(value for name, value in metrics.items() if "skipped_total" in name) == 0
    assert sum(value for name, value in metrics.items() if "failures_total" in name) == 0
    assert daemon.stop() == 0


def test_more_checks_than_can_be_made_take_no_site_down(nginx, start):
    """A machine with too many checks makes some late or skips them, but takes no site down."""
    # The server shares the machine, so what waits for its turn must be well within the timeout
    url = f"http://127.0.0.1:{nginx.port}/"
    sites = "".join(f"  - {{name: s{number}, url: '{url}?{number}'}}\n" for number in range(12_000))
    daemon = start(f"defaults: {{interval: 4s, timeout: 3900ms}}\nsites:\n{sites}")

    def answered() -> int:
        _, said = fetch(f"http://127.0.0.1:{nginx.port}/status")
        return int(said.splitlines()[2].split()[2])

    until(lambda: answered() > 15_000, "15,000 checks")
    assert "site_down" not in daemon.log.read_text()
    assert daemon.stop() == 0


def test_a_killed_worker_takes_no_site_down(nginx, start):
    """SIGKILL to every worker while answers are judged: replaced, counted, and nobody is down."""
    daemon = start(f"""
defaults: {{interval: 200ms, timeout: 150ms, expect: {{body: {{contains: well}}}}}}
sites: [{", ".join(f"{{name: s{n}, url: 'http://127.0.0.1:{nginx.port}/'}}" for n in range(20))}]
""")
    until(lambda: all_checked(daemon), "a check of every site")
    workers = until(daemon.workers, "workers")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    until(
        lambda: daemon.metrics()["monitor_analysis_restarts_total"] >= len(workers), "the restarts"
    )
    before = daemon.site("s3")["checks"]
    until(lambda: daemon.site("s3")["checks"] > before + 3, "more checks")
    states = {one["state"] for one in daemon.sites_by_name().values()}
    assert states == {"up"}
    assert "check_errors_total" in daemon.get("/metrics")[1]
    assert sum(v for name, v in daemon.metrics().items() if "check_errors_total" in name) == 0
    assert daemon.stop() == 0


@pytest.fixture
def silent():
    """A server that accepts and says nothing; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def test_a_stop_waits_for_checks_in_flight(silent, start):
    """SIGTERM with slow checks: they end, their results are recorded, and the exit status is 0."""
    daemon = start(f"sites: [{{url: 'http://127.0.0.1:{silent}/', interval: 3s, timeout: 2s}}]")
    until(lambda: daemon.metrics().get('monitor_probe_threads{state="busy"}'), "a check")
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert "stopping in_flight=1" in log
    assert "reason=read_timeout" in log
    assert "stopped drained=True" in log


def test_a_second_signal_stops_at_once(silent, start):
    """The check in flight is cut off, long before its timeout and the grace; still status 0."""
    daemon = start(
        f"shutdown_grace: 5m\n"
        f"sites: [{{url: 'http://127.0.0.1:{silent}/', interval: 8s, timeout: 8s}}]"
    )
    until(lambda: daemon.metrics().get('monitor_probe_threads{state="busy"}'), "a check")
    daemon.signal(signal.SIGTERM)
    daemon.logged("stopping")
    status, text = daemon.get("/-/ready")
    assert (status, text.strip()) == (503, "Not ready: stopping")
    daemon.signal(signal.SIGINT)
    assert daemon.process.wait(60) == 0
    assert "drained=False" in daemon.log.read_text()


def test_a_dripping_server_holds_nobody(start, nginx):
    """A byte a second under a short timeout: that site is down in time, the other is never late."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(60)

        def drip():
            while True:
                try:
                    client, _ = sock.accept()
                except OSError:
                    return
                threading.Thread(target=feed, args=(client,), daemon=True).start()

        def feed(client):
            with client:
                try:
                    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
                        client.sendall(bytes([byte]))
                        time.sleep(1)
                except OSError:
                    pass

        threading.Thread(target=drip, daemon=True).start()
        daemon = start(f"""
sites:
  - {{name: drip, url: "http://127.0.0.1:{sock.getsockname()[1]}/", interval: 2s, timeout: 1s}}
  - {{name: healthy, url: "http://127.0.0.1:{nginx.port}/", interval: 500ms, timeout: 400ms}}
""")
        until(lambda: daemon.site("drip")["checks"] >= 2, "two checks of the dripping server")
        drip_site, healthy = daemon.site("drip"), daemon.site("healthy")
        assert drip_site["last"]["reason"] == "read_timeout"
        assert healthy["check_failures"] == {}
        assert healthy["checks_skipped"] == {}
        assert daemon.stop() == 0


def test_secrets_stay_inside(nginx, start, tmp_path):
    """A token from the environment, one from a file and URL credentials are shown nowhere."""
    token = tmp_path / "token"
    token.write_text("file-s3cr3t\n")
    host = f"127.0.0.1:{nginx.port}"
    daemon = start(
        f"""
defaults: {{interval: 300ms, timeout: 250ms}}
sites:
  - name: env
    url: "http://{host}/500?key=${{API_KEY}}"
    http: {{bearer_token: "${{file:{token}}}", headers: {{X-Token: inline-s3cr3t}}}}
    expect: {{body: {{contains: "${{API_KEY}}"}}}}
  - {{name: creds, url: "http://admin:url-s3cr3t@{host}/500"}}
""",
        API_KEY="env-s3cr3t",
    )
    until(lambda: all_checked(daemon), "a check of every site")
    seen = daemon.log.read_text()
    for path in (
        "/metrics",
        "/api/v1/sites",
        "/api/v1/sites/env",
        "/api/v1/sites/creds",
        "/config",
        "/",
        "/logs?site=env",
        "/sites/env",
        "/probe?site=env",
    ):
        status, text = daemon.get(path)
        assert status == 200, path
        seen += text
    assert "s3cr3t" not in seen
    assert "${API_KEY}" in daemon.get("/config")[1]
    assert daemon.stop() == 0


def test_analysis_sees_the_body(nginx, start):
    """Evidence of a failure: the excerpt is there, in the API and as text."""
    daemon = start(f"""
sites:
  - name: page
    url: http://127.0.0.1:{nginx.port}/maintenance
    interval: 300ms
    timeout: 250ms
    expect: {{body: {{not_contains: maintenance}}}}
""")
    until(lambda: all_checked(daemon), "a check")
    (failure, *_) = daemon.site("page")["failures"]
    assert failure["excerpt"] == "down for maintenance\n"
    assert "down for maintenance" in daemon.get("/logs?site=page")[1]
    document = json.loads(daemon.get("/api/v1/sites/page")[1])
    assert document["last"]["message"] == (r'body "down for maintenance\n" contains "maintenance"')
    assert daemon.stop() == 0
