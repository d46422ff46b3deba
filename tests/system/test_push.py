"""Jobs that report themselves to a real daemon, which is killed in between."""

import subprocess

from tests.system.processes import Daemon, fetch
from tests.waiting import until

BACKUP = "0123456789backup"
WORKER = "0123456789worker"
SITES = f"""
defaults: {{interval: 200ms, timeout: 150ms}}
sites:
  - {{url: push:backup, push: {{token: {BACKUP}, every: 1h}}}}
  - {{url: push:worker, push: {{token: {WORKER}, every: 1s, grace: 1s}}}}
  - {{url: push:idle, push: {{token: 0123456789idle00, every: 1h}}}}
"""


def test_what_jobs_reported_outlives_the_daemon(tmp_path):
    """
    A failure stays one and a success too after a kill; a job that is overdue stays down.

    What has never called stays unknown, and no outage is told twice.
    """
    environ = {"MONITOR_DATA": str(tmp_path / "data")}
    daemon = Daemon(tmp_path, SITES, **environ)
    try:
        call = ["curl", "-fsS", "--data", "disk full", f"{daemon.url}/push/{BACKUP}/28"]
        subprocess.run(call, check=True, capture_output=True)

        def called():
            """Call again each time, so that it is not overdue before anybody has looked."""
            call = f"{daemon.url}/api/push/{WORKER}?status=up&ping=1500"
            assert fetch(call) == (200, '{"ok":true}')
            site = daemon.site("worker")
            return site if site["state"] == "up" else None

        worker = until(called, "the worker's call")
        assert worker["last"]["duration_seconds"] == 1.5
        until(lambda: daemon.site("worker")["state"] == "down", "the worker's being overdue")
        before = daemon.sites_by_name()
        assert [before[name]["state"] for name in ("backup", "worker", "idle")] == [
            "down",
            "down",
            "unknown",
        ]
        last = before["backup"]["last"]
        assert (last["reason"], last["message"]) == ("reported", "the job reported: exit status 28")
        assert daemon.site("backup")["failures"][0]["excerpt"] == "disk full"
        assert BACKUP not in daemon.get("/config")[1] + daemon.get("/metrics")[1]
        until(lambda: daemon.metrics().get("monitor_history_persistent") == 1, "the store")
    finally:
        daemon.kill()
    daemon = Daemon(tmp_path, SITES, **environ)
    try:
        until(lambda: daemon.site("backup")["checks"] >= 2, "two looks")
        after = daemon.sites_by_name()
        assert {name: (one["state"], one["since"]) for name, one in after.items()} == {
            name: (one["state"], one["since"]) for name, one in before.items()
        }
        assert "site_down" not in daemon.log.read_text()
        assert fetch(f"{daemon.url}/push/{BACKUP}")[0] == 200
        until(lambda: daemon.site("backup")["state"] == "up", "the backup's success")
        assert daemon.stop() == 0
    finally:
        daemon.kill()
