"""States as a user sees them, in a real daemon: maintenance, flapping, a lost connection."""

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from tests.system.processes import Hook, fetch
from tests.waiting import free_port, until


def test_a_window_that_is_open(start, moody):
    """A window is open by the clock of its zone: state, gauge and log are those of maintenance."""
    zone = "Pacific/Kiritimati"  # UTC+14, without summer time
    there = datetime.now(UTC) + timedelta(hours=14)
    to = there + timedelta(minutes=1 if there.second < 50 else 2)
    moody.mood = "sick"
    daemon = start(f"""
sites:
  - name: shop
    url: {moody.url}
    interval: 1s
    timeout: 900ms
    maintenance:
      - {{from: "{there:%H:%M}", to: "{to:%H:%M}", timezone: {zone}}}
  - name: past
    url: {moody.url}
    interval: 1s
    timeout: 900ms
    maintenance: [{{start: 2020-01-01T00:00, end: 2020-01-02T00:00, timezone: {zone}}}]
""")
    until(lambda: all(daemon.site(name)["checks"] for name in ("shop", "past")), "the checks")
    shop = daemon.site("shop")
    assert (shop["state"], shop["confirmed_state"]) == ("maintenance", "down")
    assert sum(v for n, v in daemon.metrics().items() if "site_maintenance{" in n) == 1
    assert daemon.site("past")["state"] == "down"
    daemon.logged(
        "INFO site_down site=shop before=unknown reason=status",
        "maintenance=True",
        "WARNING site_down site=past",
    )


def test_a_window_that_closes_on_a_site_that_is_down_warns(start, moody):
    """Failures during the window warn nobody, and the state at its end warns everybody."""
    moody.mood = "sick"

    def sites(end: datetime) -> str:
        return f"""
sites:
  - name: shop
    url: {moody.url}
    interval: 1s
    timeout: 900ms
    maintenance: [{{start: 2020-01-01T00:00, end: "{end:%Y-%m-%dT%H:%M:%S}"}}]
"""

    daemon = start(sites(datetime.now(UTC) + timedelta(days=1)))
    until(lambda: daemon.site("shop")["confirmed_state"] == "down", "the failure")
    for seconds in (2, 10, 30):  # the machine may be too slow for the first, so longer ones follow
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        daemon.sites.write_text(sites(end))
        assert fetch(f"{daemon.url}/-/reload", "POST")[0] == 200
        if datetime.now(UTC) < end - timedelta(seconds=1):
            break
    until(lambda: daemon.site("shop")["state"] == "down", "the end of the window")
    daemon.logged("WARNING maintenance_ended site=shop")


def test_a_site_that_flaps_is_told_once(start, moody):
    """A flapping site gives one warning and a gauge of 1, and its state stays exact."""
    moody.mood = "moody"
    daemon = start(f"""
sites: [{{name: shop, url: "{moody.url}", interval: 200ms, timeout: 150ms}}]
""")
    until(lambda: daemon.site("shop")["flapping"], "flapping")
    assert [v for n, v in daemon.metrics().items() if "site_flapping{" in n] == [1]
    moody.mood = "well"
    until(lambda: not daemon.site("shop")["flapping"], "steadiness")
    assert daemon.site("shop")["state"] == "up"
    flapping, steady = "WARNING site_flapping site=shop", "INFO site_steady site=shop state=up"
    log = daemon.logged(flapping, steady)
    assert (log.count(flapping), log.count(steady)) == (1, 1)


def test_a_lost_connection_takes_nobody_down(start, moody):
    """
    While no target answers, failures are errors and sites unknown; afterwards failures count.

    The loss sends no message: sites that were down stay down, and later failures are sent later.
    """
    hook = Hook()
    with socket.create_server(("127.0.0.1", 0)) as target:
        port = target.getsockname()[1]
        gone = free_port()
        daemon = start(f"""
connectivity: [tcp://127.0.0.1:{gone}, tcp://127.0.0.1:{port}]
notify:
  group_by: [site]
  group_wait: 0s
  receivers: [{{name: oncall, webhook: {{url: "{hook.url}"}}}}]
sites:
  - {{name: shop, url: "{moody.url}", interval: 500ms, timeout: 400ms}}
  - {{name: closed, url: "http://127.0.0.1:{free_port()}/", interval: 500ms, timeout: 400ms}}
""")
        until(lambda: daemon.site("closed")["state"] == "down", "a failure with a connection")
        until(lambda: daemon.site("shop")["state"] == "up", "the first check")
        assert daemon.metrics()["monitor_connectivity_up"] == 1
        until(lambda: hook.said("closed") == ["firing"], "the message about it")
    # From here on nothing listens
    moody.mood = "sick"
    until(lambda: daemon.site("shop")["state"] == "unknown", "the loss")
    shop = daemon.site("shop")
    assert shop["confirmed_state"] == "up"
    assert shop["check_failures"] == {}
    assert shop["check_errors"] >= 1
    assert "connection is lost" in shop["last"]["message"]
    assert daemon.metrics()["monitor_connectivity_up"] == 0
    with socket.create_server(("127.0.0.1", port)):
        until(lambda: daemon.site("shop")["state"] == "down", "a failure with a connection again")
        assert daemon.metrics()["monitor_connectivity_up"] == 1
    daemon.logged("WARNING connectivity_lost", "INFO connectivity_regained")
    until(lambda: hook.said("shop") == ["firing"], "the message about that")
    assert hook.said("closed") == ["firing"]
    hook.close()
    assert daemon.stop() == 0


def test_check_once_without_a_connection(tmp_path):
    """Without a connection monitor check says unknown, neither down nor up."""
    (tmp_path / "sites.yaml").write_text(f"""
connectivity: [tcp://127.0.0.1:{free_port()}]
sites: [{{name: shop, url: "http://127.0.0.1:{free_port()}/"}}]
""")
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "check", "--config", tmp_path / "sites.yaml", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (result,) = json.loads(done.stdout)["results"]
    assert result["up"] is None
    assert "connection is lost" in result["message"]
