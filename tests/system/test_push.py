"""Jobs that report themselves to a real daemon, which is killed in between."""

import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.system.processes import Daemon, fetch
from tests.waiting import until

BACKUP = "0123456789backup"
CRON = "6f7a2c1e-9a55-4f0f-8d43-2b8a4d1c9e70"
KUMA = "0123456789kuma00"
WORKER = "0123456789worker"
SITES = f"""
defaults: {{interval: 200ms, timeout: 150ms}}
sites:
  - {{url: push:backup, push: {{token: {BACKUP}, every: 10m}}}}
  - {{url: push:cron, push: {{token: {CRON}, cron: "*/10 * * * *", grace: 10m}}}}
  - {{url: push:kuma, push: {{token: {KUMA}, every: 10m}}}}
  - {{url: push:worker, push: {{token: {WORKER}, every: 1s, grace: 1s}}}}
  - {{url: push:idle, push: {{token: 0123456789idle00, every: 10m}}}}
"""
# As the pages of Healthchecks and Uptime Kuma have people write it
BACKUP_SCRIPT = f"""
url=$1/push/{BACKUP}
curl -fsS -m 10 --retry 5 -o /dev/null "$url/start"
output=$(sh -c "$2" 2>&1)
curl -fsS -m 10 --retry 5 -o /dev/null --data-raw "$output" "$url/$?"
"""
CRON_LINE = f'true && curl -fsS -m 10 --retry 5 -o /dev/null "$1/ping/{CRON}"'
KUMA_CLIENT = f'curl -fsS -o /dev/null "$1/api/push/{KUMA}?status=up&msg=OK&ping="'
AN_HOUR_LATER = "import time\nnow = time.time\ntime.time = lambda: now() + 3600\n"


def run(script: str, *arguments: str) -> None:
    subprocess.run(["sh", "-c", script, "sh", *arguments], check=True)


def written(folder: Path) -> dict[str, str]:
    """Return the states in the store."""
    with closing(sqlite3.connect(folder / "history.db")) as store:
        rows = store.execute("SELECT name, status FROM states JOIN sites ON sites.id = site")
        return dict(rows)


def test_nobody_is_late_who_could_not_have_called(tmp_path):
    """
    A backup script, a cron job and a Kuma client report; then the daemon is off for an hour.

    Afterwards each site has its old state: failed, well, overdue, or never heard from. Nothing is
    reported twice, and the next calls are understood.
    """
    environ = {"MONITOR_DATA": str(tmp_path / "data")}
    daemon = Daemon(tmp_path, SITES, **environ)
    try:
        run(BACKUP_SCRIPT, daemon.url, "echo disk full; exit 28")
        run(CRON_LINE, daemon.url)
        run(KUMA_CLIENT, daemon.url)

        def called():
            """Call each time, so that the site is not overdue before anybody has looked."""
            call = f"{daemon.url}/api/push/{WORKER}?status=up&ping=1500"
            assert fetch(call) == (200, '{"ok":true}')
            site = daemon.site("worker")
            return site if site["state"] == "up" else None

        worker = until(called, "the worker's call")
        assert worker["last"]["duration_seconds"] == 1.5
        until(lambda: daemon.site("worker")["state"] == "down", "the worker's being overdue")
        states = {"backup": "down", "cron": "up", "kuma": "up", "worker": "down", "idle": "unknown"}

        def settled():
            sites = daemon.sites_by_name()
            return sites if {name: sites[name]["state"] for name in sites} == states else None

        before = until(settled, "what each said")
        last = before["backup"]["last"]
        assert (last["reason"], last["message"]) == ("reported", "the job reported: exit status 28")
        assert daemon.site("backup")["failures"][0]["excerpt"] == "disk full"
        assert BACKUP not in daemon.get("/config")[1] + daemon.get("/metrics")[1]
        until(lambda: written(tmp_path / "data") == states, "the store")
    finally:
        daemon.kill()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "sitecustomize.py").write_text(AN_HOUR_LATER)
    daemon = Daemon(tmp_path, SITES, PYTHONPATH=str(tmp_path / "later"), **environ)
    try:
        for name in ("backup", "cron", "kuma", "worker"):
            until(partial(_has_looked_twice, daemon, name), "two looks")
        after = daemon.sites_by_name()
        assert {name: (one["state"], one["since"]) for name, one in after.items()} == {
            name: (one["state"], one["since"]) for name, one in before.items()
        }
        run(BACKUP_SCRIPT, daemon.url, "echo done")
        until(lambda: daemon.site("backup")["state"] == "up", "the backup's success")
        gone_by = daemon.site("backup")["since"], before["backup"]["since"]
        assert gone_by[0][:13] != gone_by[1][:13]  # they are an hour apart
        assert "site_down" not in daemon.log.read_text()
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def _has_looked_twice(daemon, name):
    return daemon.site(name)["checks"] >= 2
