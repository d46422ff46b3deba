"""The past of Gatus and Uptime Kuma in our store, and their last verdicts beside ours."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from monitor.app.memory import open_history, open_upkeep, take_over
from monitor.cli import cli
from monitor.clock import SystemClock
from monitor.config.settings import HistorySettings
from monitor.history.folder import DataFolder
from monitor.importers.gatus import past as of_gatus
from monitor.past import Condition, Counted, Inherited, Span
from tests.history.postgres import Postgres, required
from tests.importers.strangers import open_folder
from tests.importers.test_kuma import database

HOUR, DAY = 3600.0, 86400.0
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START = TODAY - timedelta(days=3)
"""Midnight three days ago, from when on both know something."""


def at(hours: float) -> float:
    return START.timestamp() + hours * HOUR


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, args)))


def listed(folder: Path, *sites: str) -> Path:
    path = folder / "sites.yaml"
    path.write_text("sites:\n" + "".join(f"  - {one}\n" for one in sites))
    return path


def kuma(path: Path, beats: list[tuple[float, int, float]], stats: Mapping[str, Any]) -> Path:
    """Return a database of version 2.5 with a monitor, its heartbeats and its counts."""
    rows: dict[str, list[dict[str, Any]]] = {
        "monitor": [
            {"name": "shop", "type": "http", "url": "https://shop.example", "interval": 600}
        ],
        "heartbeat": [
            {
                "monitor_id": 1,
                "status": status,
                "time": datetime.fromtimestamp(at(hours), UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
                "ping": ping,
                "msg": "connect refused by https://u:s3cr3t@shop.example" if status == 0 else "ok",
            }
            for hours, status, ping in beats
        ],
        **{
            table: [
                {"monitor_id": 1, "timestamp": int(at(hours)), "up": up, "down": down, "ping": 100}
                for hours, up, down in some
            ]
            for table, some in stats.items()
        },
    }
    return database("2.5", path, rows)


GATUS = {
    "endpoints": "endpoint_id {key}, endpoint_key TEXT, endpoint_name TEXT, endpoint_group TEXT",
    "endpoint_events": "endpoint_event_id {key}, endpoint_id {number}, event_type TEXT,"
    " event_timestamp TIMESTAMP",
    "endpoint_results": "endpoint_result_id {key}, endpoint_id {number}, success {boolean},"
    " errors TEXT, duration {number}, timestamp TIMESTAMP",
    "endpoint_uptimes": "endpoint_uptime_id {key}, endpoint_id {number},"
    " hour_unix_timestamp {number}, total_executions {number}, successful_executions {number},"
    " total_response_time {number}",
}
"""The columns of Gatus' store that are read."""


def gatus(store: Path | str, results: list[tuple[float, bool]], events: list[tuple[float, str]],
          hours: list[tuple[float, int, int]]) -> None:  # fmt: skip
    """Fill a store of Gatus, a file or a PostgreSQL database, with the past of one endpoint."""
    is_file = isinstance(store, Path)

    def moment(hours: float) -> object:
        time = datetime.fromtimestamp(at(hours), UTC) + timedelta(seconds=0.5)
        # SQLite keeps a time as Go writes it
        return time.strftime("%Y-%m-%d %H:%M:%S.5 +0000 UTC") if is_file else time

    rows: dict[str, list[tuple[object, ...]]] = {
        "endpoints": [("web_shop", "shop", "web")],
        "endpoint_events": [(1, kind, moment(hours)) for hours, kind in events],
        "endpoint_results": [
            (1, success, "status 500", 250_000_000, moment(hours)) for hours, success in results
        ],
        "endpoint_uptimes": [
            (1, int(at(hours)), total, good, good * 100) for hours, total, good in hours
        ],
    }
    types = (
        {"key": "INTEGER PRIMARY KEY", "number": "INTEGER", "boolean": "INTEGER"}
        if is_file
        else {"key": "BIGSERIAL PRIMARY KEY", "number": "BIGINT", "boolean": "BOOLEAN"}
    )
    connection: Any = sqlite3.connect(store) if is_file else psycopg.connect(str(store))
    with closing(connection):
        cursor = connection.cursor()
        for table, columns in GATUS.items():
            cursor.execute(f"CREATE TABLE {table} ({columns.format(**types)})")
            names = ", ".join(one.split()[0] for one in columns.split(",")[1:])
            for row in rows[table]:
                marks = ", ".join("?" if is_file else "%s" for _ in row)
                question = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608  ours
                cursor.execute(question, row)
        connection.commit()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def store(request, tmp_path):
    """The type and the path of the storage of Gatus."""
    if request.param == "sqlite":
        yield "sqlite", tmp_path / "gatus.db"
        return
    required()
    with open_folder() as folder:
        server = Postgres(folder)
        yield "postgres", server.database()
        server.stop()


def spans(folder: Path, name: str = "shop") -> list[tuple[str, float, float]]:
    reader = open_history(folder, HistorySettings())
    try:
        found = reader.spans([name], at(0) - DAY, TODAY.timestamp() + DAY)
        return [
            (str(one.condition), round((one.begin - at(0)) / HOUR, 2),
             round(((one.end or 0) - at(0)) / HOUR, 2))
            for one in found
            if one.condition is not Condition.UNOBSERVED
        ]  # fmt: skip
    finally:
        reader.close()


def test_kumas_heartbeats_and_counts_become_history(tmp_path):
    """Outages, maintenance and older counts become spans, and the store has no damage."""
    beats = [
        *((24 + n / 6, 1, 120.0) for n in range(6)),
        (25.0, 2, 0.0),  # pending: not yet an outage
        (25.1, 0, 0.0),
        (25.2, 0, 0.0),
        (25.5, 1, 80.0),
        (25.6, 3, 0.0),
        (25.8, 1, 80.0),
        (26.0, 1, 80.0),
    ]
    source = kuma(
        tmp_path / "kuma.db",
        beats,
        {"stat_daily": [(0, 72, 72), (24, 9, 2)], "stat_hourly": [(22, 6, 0), (23, 3, 3)]},
    )
    config = listed(tmp_path, "{name: shop, url: 'https://shop.example', interval: 10m}")
    data = tmp_path / "data"
    done = run("import", "uptime-kuma", source, "--history", "--config", config, "--data", data)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("3 outages, 12 checks\n")
    assert spans(data) == [
        ("up", 0.0, 11.0), ("down", 11.0, 22.0),  # half of the checks in the rest of the day failed
        ("up", 22.0, 23.5), ("down", 23.5, 24.0),
        ("up", 24.0, 25.1), ("down", 25.1, 25.5), ("up", 25.5, 25.6),
        ("maintenance", 25.6, 25.8), ("up", 25.8, 26.0),
    ]  # fmt: skip
    with open_upkeep(data, HistorySettings()) as upkeep:
        assert list(upkeep.problems()) == []
    reader = open_history(data, HistorySettings())
    uptime = reader.uptime(["shop"], at(0), at(48))["shop"]
    assert uptime.up == pytest.approx((11 + 1.5 + 1.1 + 0.1 + 0.2) * HOUR, abs=5)
    assert uptime.down == pytest.approx((11 + 0.5 + 0.4) * HOUR, abs=5)
    [outage, *_] = reader.outages(["shop"], at(24), at(48))
    assert "s3cr3t" not in outage.message
    points = reader.latency("shop", at(24), at(48), HOUR)
    assert [(point.count, round(point.p50 or 0, 2)) for point in points] == [
        (6, 0.12),
        (2, 0.08),
        (1, 0.08),
    ]
    reader.close()


def test_a_second_import_adds_nothing_and_what_is_ours_stays(tmp_path):
    """Imported history ends where the store's own records of a site begin."""
    source = kuma(tmp_path / "kuma.db", [(n, 1, 1.0) for n in (1.0, 1.1, 1.2)], {})
    config = listed(tmp_path, "{name: shop, url: 'https://shop.example', interval: 10m}",
                    "{name: other, url: 'https://other.example'}")  # fmt: skip
    data = tmp_path / "data"
    args = ("import", "uptime-kuma", source, "--history", "--config", config, "--data", data)
    first, before = run(*args), spans(data)
    assert "other: not known there\nshop: since " in first.stdout
    again = run(*args)
    assert (again.exit_code, spans(data)) == (0, before)
    assert again.stdout == "other: not known there\nshop: nothing new, 0 checks\n"
    earlier = Span(site="shop", condition=Condition.DOWN, begin=at(0), end=at(9))
    count = Counted(begin=at(0), length=HOUR, up=1, down=1, mean=0.1)
    whole = Inherited(group="", spans=(earlier,), counts=(count,))
    take_over(data, HistorySettings(), {"shop": whole}, "test")
    assert spans(data) == [("down", 0.0, 1.0), *before]
    with open_upkeep(data, HistorySettings()) as upkeep:
        assert list(upkeep.problems()) == []


def test_a_data_folder_in_use_is_refused(tmp_path):
    """The import refuses a data folder in use, since the daemon would overwrite the result."""
    source = kuma(tmp_path / "kuma.db", [(1.0, 1, 1.0)], {})
    config = listed(tmp_path, "{name: shop, url: 'https://shop.example'}")
    folder = DataFolder(tmp_path / "data", "process 1 on test")
    folder.claim()
    done = run("import", "uptime-kuma", source, "--history", "--config", config,
               "--data", tmp_path / "data")  # fmt: skip
    folder.release()
    assert done.exit_code == 2
    assert "is in use by process 1 on test" in done.stderr


def test_gatus_turns_and_counts_become_history(tmp_path, store):
    """Counts come first, then events older than the results, then the results."""
    kind, path = store
    gatus(
        path,
        [(30.0, True), (30.1, False), (30.2, True)],
        [(26, "START"), (26, "HEALTHY"), (28, "UNHEALTHY"), (29, "HEALTHY")],
        [(24, 10, 5), (25, 10, 10)],
    )
    theirs = tmp_path / "gatus.yaml"
    theirs.write_text(
        f"storage: {{type: {kind}, path: '{path}'}}\n"
        "endpoints: [{name: shop, group: web, url: 'https://shop.example',"
        " conditions: ['[STATUS] == 200']}]\n"
    )
    config = listed(
        tmp_path, "{name: shop, url: 'https://shop.example', group: web, interval: 10m}"
    )
    data = tmp_path / "data"
    done = run("import", "gatus", theirs, "--history", "--config", config, "--data", data)
    assert done.exit_code == 0, done.output
    assert spans(data) == [
        ("up", 24.0, 24.5), ("down", 24.5, 25.0), ("up", 25.0, 26.0),
        ("up", 26.0, 28.0), ("down", 28.0, 29.0), ("up", 29.0, 30.0),
        ("up", 30.0, 30.1), ("down", 30.1, 30.2),
    ]  # fmt: skip
    reader = open_history(data, HistorySettings())
    [latest, *_] = reader.results("shop", at(0), SystemClock().time())
    reader.close()
    assert (latest.up, latest.duration) == (True, 0.25)
    assert latest.time == pytest.approx(at(30.2) + 0.5)
    [(up, when)] = of_gatus.last_verdicts(str(path), {"shop": "web/shop"}).values()
    assert (up, when) == (True, latest.time)


def test_what_is_not_a_store_is_one_sentence(tmp_path):
    """A missing file, a text file and a missing --store each give one error."""
    (tmp_path / "text").write_text("no database, but long enough to be read as one " * 30)
    theirs = tmp_path / "gatus.yaml"
    theirs.write_text("endpoints: [{name: a, url: 'https://a.example', conditions: ['1 == 1']}]")
    config = listed(tmp_path, "https://a.example")
    for name, said in (("none", "there is no file "), ("text", "is not an SQLite database")):
        for args in (
            ("import", "gatus", theirs, "--history", "--store", tmp_path / name),
            ("check", "--compare", tmp_path / name),
        ):
            done = run(*args, "--config", config)
            assert done.exit_code == 2
            assert said in done.stderr
            assert "Traceback" not in done.output
    done = run("import", "gatus", theirs, "--history", "--config", config)
    assert "names no store of its results; say --store" in done.stderr


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("program", ["gatus", "kuma"])
def test_check_shows_where_the_other_monitor_said_something_else(program, tmp_path):
    """Each site is checked once; those that differ are named with both verdicts."""
    if program == "kuma":
        source = kuma(tmp_path / "kuma.db", [(1.0, 0, 1.0), (2.0, 1, 1.0)], {})
    else:
        source = tmp_path / "gatus.db"
        gatus(source, [(1.0, False), (2.0, True)], [], [])
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            down = listed(tmp_path, f"{{name: shop, url: '{url}/503'}}", f"{{url: '{url}/200'}}")
            differs = run("check", "--config", down, "--compare", source)
            as_json = run("check", "--json", "--config", down, "--compare", source)
            same = run("check", "--config", listed(tmp_path, f"{{name: shop, url: '{url}/200'}}"),
                       "--compare", source)  # fmt: skip
        finally:
            server.shutdown()
            thread.join()
    when = datetime.fromtimestamp(at(2), UTC).strftime("%Y-%m-%dT%H:%M")
    assert "shop: down (status 503 is not in 2xx) here, up there at " + when in differs.stdout
    assert "0 as there, 1 otherwise, 1 not known there" in differs.stdout
    assert "1 as there, 0 otherwise, 0 not known there" in same.stdout
    [shop, other] = json.loads(as_json.stdout)["compared"]
    assert (shop["site"], shop["up"], shop["theirs"]) == ("shop", False, True)
    assert (other["up"], other["theirs"], other["at"]) == (True, None, None)
