"""What ``monitor report`` and ``monitor history`` print about the past that a daemon has left."""

import csv
import json
import re
import sqlite3
import time

import pytest
from click.testing import CliRunner

from monitor.cli import cli
from monitor.model import Confirm
from tests.builders import down_result, site, up_result
from tests.history.lives import DAY, World

SITES = "sites: [{name: shop, url: http://shop.test/, group: web}, http://api.test/]"


@pytest.fixture
def folder(tmp_path):
    """A data folder: of the last 200 s, =shop was up for 150, down for 10 and not seen for 40."""
    world = World(tmp_path, None, time=time.time() // 1 - 200)
    listed = site("=shop", group="web", confirm=Confirm(failures=2))
    other = site("api")
    world.start(listed, other)
    for second in range(160):
        outcome = down_result if 100 <= second < 110 else up_result
        world.enter(outcome(listed, time=world.clock.time()))
        world.pass_time(1)
    world.stop()
    world.close()
    (tmp_path / "sites.yaml").write_text(SITES)
    return tmp_path


@pytest.fixture
def run(folder):
    def run(*arguments):
        places = ("--config", str(folder / "sites.yaml"), "--data", str(folder))
        return CliRunner().invoke(cli, [*map(str, arguments), *places], env={"COLUMNS": "200"})

    return run


def test_a_report_says_what_happened_and_how_it_is_counted(run):
    """It shows uptime, coverage, budget and outages; a site that was never seen has no uptime."""
    end = time.time() // 1 - 30
    begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end - 200))
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    done = run("report", "--from", begin, "--to", until, "--objective", "90")
    assert done.exit_code == 0, done.output
    [line] = [one for one in done.output.splitlines() if one.strip().startswith("=shop  ")]
    assert re.search(r"web +9[34]\.\d+ % +\d+\.\d % +10 s +1 +6[0-9]%", line), line
    [unseen] = [one for one in done.output.splitlines() if one.strip().startswith("api")]
    assert "100 %" not in unseen
    assert "\N{EN DASH}" in unseen
    assert "status 503 is not in 2xx" in done.output
    assert "Maintenance, time in which the monitor could not" in " ".join(done.output.split())


def test_a_report_as_a_table_and_as_a_page(run, folder):
    """Both show the same numbers, and nothing in them acts as a formula or as markup."""
    done = run("report", "--csv", folder / "r.csv", "--html", folder / "r.html")
    assert (done.exit_code, done.output) == (0, "")
    with (folder / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["site"]) for row in rows] == [
        ("site", "'=shop"),
        ("site", "api"),
        ("outage", "'=shop"),
        ("method", ""),
    ]
    assert (rows[0]["up_seconds"], rows[0]["down_seconds"]) == ("150.0", "10.0")
    assert (rows[1]["uptime"], rows[1]["budget_spent"]) == ("", "")
    assert rows[2]["down_seconds"] == "10.0"
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<td>=shop</td><td>web</td><td>93.750 %</td>" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--month", "2026-13"), "write a month such as 2026-10"),
        (("--month", "2026-10", "--from", "2026-10-01"), "say either --month or --from and --to"),
        (("--from", "2026-10-02", "--to", "2026-10-01"), "--from must be earlier than --to"),
        (("--from", "yesterday"), "write a time such as 2026-10-01"),
        (("--objective", "100"), "100"),
        (("--csv", "/nowhere/r.csv"), "cannot write /nowhere/r.csv: No such file or directory"),
        (("--month", "2999-01"), "the month 2999-01 has not begun"),
    ],
)
def test_a_report_that_cannot_be_is_told_why(run, arguments, said):
    """The command prints one sentence and exits with status 2."""
    done = run("report", *arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_what_is_exported_is_what_was_seen(run):
    """Spans, results and rollups come as CSV and as JSON Lines, each result once."""
    lines = run("history", "export", "spans", "--format", "jsonl").output.splitlines()
    spans = [json.loads(line) for line in lines]
    assert [one["condition"] for one in spans][:3] == ["up", "down", "up"]
    assert {one["site"] for one in spans} == {"=shop"}
    rows = list(csv.DictReader(run("history", "export", "results").output.splitlines()))
    assert len(rows) == 160
    assert [row["up"] for row in rows].count("False") == 10
    assert rows[0]["site"] == "'=shop"
    rollups = run("history", "export", "rollups", "--format", "jsonl").output.splitlines()
    by_kind: dict[str, tuple[int, int]] = {}
    for one in map(json.loads, rollups):
        up, down = by_kind.get(one["kind"], (0, 0))
        by_kind[one["kind"]] = up + one["up"], down + one["down"]
    assert by_kind == dict.fromkeys(("five_minutes", "hourly", "daily"), (150, 10))
    done = run("history", "export", "spans", "--site", "nobody")
    assert done.exit_code == 2
    assert "no site 'nobody' is remembered" in done.output


def test_damage_is_found_and_space_given_back(run, folder):
    """A sound store is reported as sound; overlaps and unreadable rows are named, with status 1."""
    done = run("history", "check")
    assert done.exit_code == 0, done.output
    done = run("history", "vacuum")
    assert re.fullmatch(r"\d+\.\d MiB before, \d+\.\d MiB now\n", done.output)
    with sqlite3.connect(folder / "history.db") as connection:
        connection.execute("UPDATE spans SET end = end + 1 WHERE condition = 'down'")
        connection.execute("INSERT INTO rollups VALUES (1, 1, 1, x'00')")
    connection.close()
    done = run("history", "check")
    assert done.exit_code == 1
    assert "site '=shop': two spans overlap" in done.output
    assert "site '=shop': rollups cannot be read" in done.output


def test_a_folder_without_a_history_is_told(run, folder):
    """Each command says so in one sentence and creates nothing."""
    (folder / "history.db").unlink()
    for arguments in (("report",), ("history", "check"), ("history", "export", "spans")):
        done = run(*arguments)
        assert done.exit_code == 2, arguments
        assert "history" in done.output
        assert "Traceback" not in done.output
    assert not (folder / "history.db").exists()


def test_a_month_is_told_by_days_of_utc(run):
    """The month runs from its first midnight in UTC to its last, or to now."""
    now = time.time()
    month = time.strftime("%Y-%m", time.gmtime(now - 40 * DAY))
    done = run("report", "--month", month)
    assert done.exit_code == 0, done.output
    assert f"From {month}-01T00:00:00.000Z to " in done.output
    assert re.search(r"to \d{4}-\d\d-01T00:00:00.000Z", done.output)
