"""The history of a daemon, seen from outside: killed, restarted, or with a failing store."""

import json
import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import pairwise

import pytest

from monitor.past import Condition
from tests.system.processes import Daemon
from tests.waiting import until

SITES = """
sites:
  - {{name: moody, url: "{url}", interval: 500ms, timeout: 500ms, confirm: {{failures: 2}}}}
  - {{name: closed, url: "tcp://127.0.0.1:1", interval: 200ms, timeout: 150ms}}
{more}
"""


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "monitor", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def exported(daemon, data, site, what="spans"):
    done = command(
        *("history", "export", what, "--format", "jsonl", "--site", site),
        *("--config", daemon.sites, "--data", data),
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def lives(tmp_path, moody, times, more="", meanwhile=lambda _: None):
    """
    Kill a daemon at random moments and start it again; return the last one.

    Args:
        meanwhile: Called after each start.
    """
    data = tmp_path / "data"
    chosen = random.Random(times)  # noqa: S311  the moment of the kill need not be secret
    text = SITES.format(url=moody.url, more=more)
    since = None
    for life in range(times):
        daemon = Daemon(tmp_path, text, MONITOR_DATA=str(data))
        try:
            until(partial(_is_down, daemon, "closed"), "being down")
            found = daemon.site("closed")
            since = since or found["since"]
            assert found["since"] == since, "the state was forgotten"
            if not life:
                daemon.logged("site_down site=closed")
            time.sleep(chosen.uniform(0, 1.5))
            moody.mood = chosen.choice(["well", "sick"])
            time.sleep(chosen.uniform(0, 1))
            meanwhile(daemon)
        finally:
            daemon.kill()
        told = daemon.log.read_text().count("site_down site=closed")
        assert told == (0 if life else 1), "an outage was told twice"
    daemon = Daemon(tmp_path, text, MONITOR_DATA=str(data))
    try:
        until(lambda: daemon.metrics().get("monitor_history_persistent") == 1, "the store")
        assert daemon.site("closed")["since"] == since
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    return daemon, data


def witnessed(answers, begin, end):
    """Return for how many seconds of a period a server says it was well, and for how many not."""
    well = sick = 0.0
    for (at, good), following in pairwise([*answers, (math.inf, True)]):
        length = max(0.0, min(following[0], end) - max(at, begin))
        well, sick = (well + length, sick) if good else (well, sick + length)
    return well, sick


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
def test_a_daemon_that_is_killed_forgets_nothing(tmp_path, moody, store, request):
    """
    Killed at random moments while PostgreSQL stops and starts, it forgets nothing.

    One outage is logged once, spans have no gaps, and uptime is what the server itself has seen.
    """
    times = int(os.environ.get("MONITOR_KILLS", "2" if store == "sqlite" else "1"))
    more, meanwhile = "", lambda _: None
    if store == "postgresql":
        pg = request.getfixturevalue("pg")
        more = f"history: {{store: {json.dumps(pg.database())}}}"

        def meanwhile(daemon):
            persistent = "monitor_history_persistent"
            until(lambda: daemon.metrics().get(persistent) == 1, "the store")
            pg.stop()
            until(lambda: daemon.metrics()[persistent] == 0, "the loss")
            pg.start()
            until(lambda: daemon.metrics()[persistent] == 1, "the return")

    daemon, data = lives(tmp_path, moody, times, more, meanwhile)
    check = command("history", "check", "--config", daemon.sites, "--data", data)
    assert check.returncode == 0, check.stdout + check.stderr
    spans = exported(daemon, data, "closed")
    assert {one["condition"] for one in spans} <= {Condition.DOWN, Condition.UNOBSERVED}
    assert [one["end"] for one in spans[:-1]] == [one["begin"] for one in spans[1:]]
    sums = dict.fromkeys(Condition, 0.0)
    well = sick = 0.0
    spans = exported(daemon, data, "moody")
    for one in spans:
        begin, end = (datetime.fromisoformat(one[key]).timestamp() for key in ("begin", "end"))
        assert begin < end
        sums[one["condition"]] += end - begin
        if one["condition"] in (Condition.UP, Condition.DOWN):
            good, bad = witnessed(moody.answers, begin, end)
            well, sick = well + good, sick + bad
    assert well + sick > 0.2 * times
    # A check begins before its server sees it, by at most its timeout; and one failure in each
    # run may not have been confirmed when it was killed. Where the machine is so slow that checks
    # come late, both last longer; the longest gaps are those between two runs
    gaps = sorted(later - at for (at, _), (later, _) in pairwise(moody.answers))
    slack = (0.5 + 2 * gaps[-times - 1]) * (times + 1)
    if not any(
        "timeout" in str(one["reason"]) for one in exported(daemon, data, "moody", "results")
    ):
        assert abs(sums[Condition.DOWN] - sick) < slack
        assert abs(sums[Condition.UP] - well) < slack
    assert sums[Condition.UNKNOWN] < slack
    report = command("report", "--config", daemon.sites, "--data", data)
    assert report.returncode == 0
    assert "closed" in report.stdout


@pytest.fixture
def disk(tmp_path):
    """Return a function that mounts 1 MiB of memory, or mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "monitor-test", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False)


def test_a_disk_that_is_full_stops_no_check(tmp_path, moody, disk):
    """A full disk gives one warning and a gauge, and what waited is written once there is room."""
    data = disk("size=1m")
    daemon = Daemon(tmp_path, SITES.format(url=moody.url, more=""), MONITOR_DATA=str(data))
    try:
        until(lambda: daemon.metrics().get("monitor_history_persistent") == 1, "the store")
        with suppress(OSError), (data / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))
        until(lambda: daemon.metrics()["monitor_history_persistent"] == 0, "the loss")
        moody.mood = "sick"
        until(lambda: daemon.site("moody")["state"] == "down", "a turn meanwhile")
        assert daemon.get("/-/ready")[0] == 200
        (data / "other").unlink()
        until(lambda: daemon.metrics()["monitor_history_persistent"] == 1, "the return")
        [outage] = json.loads(daemon.get("/api/v1/outages?site=moody")[1])["outages"]
        assert outage["begin"] == daemon.site("moody")["since"] or outage["end"] is None
        assert daemon.metrics()["monitor_history_results_dropped_total"] == 0
        log = daemon.logged("history_not_persistent", " history_persistent")
        assert (log.count("history_not_persistent"), log.count(" history_persistent")) == (1, 1)
        assert "full" in log
        assert "Traceback" not in log
        assert daemon.stop() == 0
    finally:
        daemon.kill()


def test_a_folder_that_can_only_be_read_is_used_once_it_can_be_written(tmp_path, moody, disk):
    """With a read-only folder checks run from the start; it is used later without a restart."""
    data = disk("size=1m")
    disk("remount,ro")
    daemon = Daemon(tmp_path, SITES.format(url=moody.url, more=""), MONITOR_DATA=str(data))
    try:
        until(lambda: daemon.site("closed")["state"] == "down", "a check")
        log = daemon.logged("not_persistent")
        assert daemon.metrics()["monitor_history_persistent"] == 0
        [line] = [one for one in log.splitlines() if "not_persistent" in one]
        assert "Read-only file system" in line
        disk("remount,rw")
        until(lambda: daemon.metrics()["monitor_history_persistent"] == 1, "the return")
        [outage] = json.loads(daemon.get("/api/v1/outages?site=closed")[1])["outages"]
        assert outage["end"] is None
        assert daemon.stop() == 0
    finally:
        daemon.kill()


@pytest.mark.parametrize("removed", ["data", "data/history.db", "data/history.db-wal"])
def test_a_data_folder_that_is_removed_is_made_again(tmp_path, moody, removed):
    """One warning reports it, and what lasts is written again, for readers and a restart."""
    data, outages = tmp_path / "data", "/api/v1/outages?site=closed"
    text = SITES.format(url=moody.url, more="")
    daemon = Daemon(tmp_path, text, MONITOR_DATA=str(data))
    try:
        until(lambda: daemon.site("closed")["state"] == "down", "a check")
        since = daemon.site("closed")["since"]
        until(lambda: json.loads(daemon.get(outages)[1]).get("outages"), "the outage")
        if removed == "data":
            shutil.rmtree(data)
        else:
            (tmp_path / removed).unlink()
        log = daemon.logged("history_not_persistent", " history_persistent")
        assert log.count("history_not_persistent") == 1
        lost = "history.db-wal" if removed.endswith("-wal") else "history.db"
        assert f"{lost} was removed or replaced while it was in use" in log
        assert "Traceback" not in log
        assert (data / "history.db").stat().st_mode & 0o777 == 0o600
        [outage] = json.loads(daemon.get(outages)[1])["outages"]
        assert (outage["begin"], outage["end"]) == (since, None)
    finally:
        daemon.kill()
    daemon = Daemon(tmp_path, text, MONITOR_DATA=str(data))
    try:
        assert daemon.site("closed")["since"] == since
        assert daemon.stop() == 0
    finally:
        daemon.kill()


@pytest.mark.real
def test_postgresql_may_be_restarted(tmp_path, moody, pg):
    """During the restart checks continue from memory, with one warning, and nothing is lost."""
    more = f"history: {{store: {json.dumps(pg.database())}}}"
    text = SITES.format(url=moody.url, more=more)
    daemon = Daemon(tmp_path, text)
    try:
        until(lambda: daemon.metrics().get("monitor_history_persistent") == 1, "the store")
        pg.stop()
        until(lambda: daemon.metrics()["monitor_history_persistent"] == 0, "the loss")
        assert daemon.metrics()["monitor_history_write_errors_total"] >= 1
        moody.mood = "sick"
        until(lambda: daemon.site("moody")["state"] == "down", "a turn meanwhile")
        checks = daemon.site("moody")["checks"]
        pg.start()
        until(lambda: daemon.metrics()["monitor_history_persistent"] == 1, "the return")
        assert daemon.site("moody")["checks"] >= checks
        assert daemon.metrics()["monitor_history_results_dropped_total"] == 0
        [outage] = json.loads(daemon.get("/api/v1/outages?site=moody")[1])["outages"]
        assert outage["end"] is None
        found = json.loads(daemon.get("/api/v1/sites/moody/results?limit=10000")[1])["results"]
        assert len(found) >= checks
        log = daemon.logged("history_not_persistent", " history_persistent")
        assert (log.count("history_not_persistent"), log.count(" history_persistent")) == (1, 1)
        assert "Traceback" not in log
        assert "open-sesame" not in log
    finally:
        daemon.kill()


@pytest.mark.parametrize("what", ["no database", "newer", "folder is a file"])
def test_a_store_that_cannot_be_used_stops_no_check(tmp_path, moody, what):
    """An unusable store gives one warning and a gauge, and its file is not changed."""
    data = tmp_path / "data"
    said = {"no database": "not a database", "newer": "newer version", "folder is a file": "data"}
    if what == "folder is a file":
        data.write_text("mine")
    else:
        data.mkdir()
    if what == "no database":
        (data / "history.db").write_bytes(b"mine, and no database at all\n" * 100)
    elif what == "newer":
        with sqlite3.connect(data / "history.db") as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.close()
    daemon = Daemon(tmp_path, SITES.format(url=moody.url, more=""), MONITOR_DATA=str(data))
    try:
        until(lambda: daemon.site("closed")["state"] == "down", "a check")
        until(lambda: daemon.metrics()["monitor_history_write_errors_total"] >= 2, "two attempts")
        assert daemon.metrics()["monitor_history_persistent"] == 0
        assert daemon.get("/-/ready")[0] == 200
        log = daemon.logged("not_persistent")
        [line] = [one for one in log.splitlines() if "not_persistent" in one]
        assert said[what] in line
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    if what == "no database":
        assert (data / "history.db").read_bytes().startswith(b"mine")
        check = command("history", "check", "--config", daemon.sites, "--data", data)
        assert check.returncode == 2
        assert "Traceback" not in check.stderr


def test_a_second_daemon_says_who_has_the_folder(tmp_path, moody):
    """The second daemon names the first and ends with status 2; the first keeps running."""
    data = tmp_path / "data"
    daemon = Daemon(tmp_path, SITES.format(url=moody.url, more=""), MONITOR_DATA=str(data))
    try:
        second = command(
            *("run", "--config", daemon.sites, "--listen", "127.0.0.1:0", "--data", data)
        )
        assert second.returncode == 2
        assert f"in use by process {daemon.process.pid}" in second.stderr
        assert daemon.get("/-/healthy")[0] == 200
    finally:
        daemon.kill()


def _is_down(daemon, name):
    return daemon.site(name)["state"] == "down"
