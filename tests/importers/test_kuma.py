"""Uptime Kuma's databases: three versions, each type of monitor, each column."""

import json
import shutil
import sqlite3
import stat
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.errors import ConfigError
from monitor.importers.draft import Fate
from monitor.importers.imported import Imported
from monitor.importers.kuma.listing import imported
from monitor.importers.kuma.past import last_verdicts, past
from tests.builders import site
from tests.importers.kumas import VERSIONS, columns, statements
from tests.importers.strangers import as_another_user, open_folder
from tests.waiting import free_port, until

HERE = Path(__file__).parent / "kuma"
TOKEN = "Zq8xT2mW5kRb7Yc4Nd6v"

MONITORS: list[dict[str, Any]] = [
    {"id": 1, "name": "Shop", "type": "group", "interval": 60},
    {"id": 2, "name": "Payments", "type": "group", "parent": 1, "interval": 60},
    {"id": 3, "name": "Front", "type": "keyword", "parent": 1, "interval": 60, "timeout": 48,
     "url": "https://shop.example.com/?q=$x", "keyword": "Add to cart", "maxretries": 2,
     "retry_interval": 30, "description": "the front page"},
    {"id": 4, "name": "API", "type": "json-query", "parent": 2, "interval": 60, "timeout": 10,
     "url": "https://api.example.com/status", "json_path": "$.health.state",
     "json_path_operator": "==", "expected_value": "up", "auth_method": "bearer",
     "bearer_token": "s3cr3t-bearer", "headers": '{"X-Api-Key": "s3cr3t-key", "Accept": "*/*"}'},
    {"id": 5, "name": "Queue", "type": "json-query", "parent": 2, "interval": 60, "timeout": 10,
     "url": "https://api.example.com/queue", "json_path": "$count(jobs)",
     "json_path_operator": "<", "expected_value": "50", "method": "POST", "body": '{"all": true}'},
    {"id": 6, "name": "Sum", "type": "json-query", "interval": 60, "timeout": 10,
     "url": "https://api.example.com/sum", "json_path": "$sum(jobs.age)", "expected_value": "5"},
    {"id": 7, "name": "Front", "type": "http", "interval": 60, "timeout": 48,
     "url": "https://other.example.com",
     "accepted_statuscodes_json": '["200-299", "401", "500-510"]',
     "maxredirects": 0, "ignore_tls": 1, "proxy_id": 1, "auth_method": "basic",
     "basic_auth_user": "probe", "basic_auth_pass": "s3cr3t-pass", "ip_family": "ipv4"},
    {"id": 8, "name": "Database", "type": "port", "hostname": "2001:db8::5", "port": 5432,
     "interval": 20, "timeout": 16, "retry_interval": 20},
    {"id": 9, "name": "Gateway", "type": "ping", "hostname": "2001:db8::1", "interval": 60,
     "packet_size": 100, "ping_count": 3, "timeout": 10},
    {"id": 10, "name": "Zone", "type": "dns", "hostname": "example.com", "interval": 300,
     "dns_resolve_server": "192.0.2.53, 2001:db8::53", "port": 53, "dns_resolve_type": "MX",
     "conditions": json.dumps([{"type": "expression", "variable": "record", "operator": "equals",
                                "value": "mail.example.com", "andOr": "and"}])},
    {"id": 11, "name": "Door must be closed", "type": "port", "hostname": "192.0.2.7", "port": 23,
     "interval": 60, "upside_down": 1},
    {"id": 12, "name": "Nightly backup", "type": "push", "interval": 3600, "push_token": TOKEN,
     "maxretries": 2, "retry_interval": 300},
    {"id": 13, "name": "Paused", "type": "http", "url": "https://paused.example.com", "active": 0},
    {"id": 14, "name": "Container", "type": "docker", "docker_container": "web", "interval": 60},
    {"id": 15, "name": "Game", "type": "steam", "hostname": "192.0.2.9", "port": 27015},
    {"id": 16, "name": "Broker", "type": "mqtt", "hostname": "192.0.2.9", "mqtt_topic": "t",
     "mqtt_password": "s3cr3t-mqtt"},
    {"id": 17, "name": "Records", "type": "postgres", "interval": 60, "database_query": "SELECT 1",
     "database_connection_string": "postgres://u:s3cr3t-db@db.example.com:5433/records"},
    {"id": 18, "name": "Cache", "type": "redis", "interval": 60,
     "database_connection_string": "redis://cache.example.com"},
    {"id": 19, "name": "Ledger", "type": "sqlserver", "interval": 60,
     "database_connection_string": "Server=sql.example.com,1434;User Id=sa;Password=s3cr3t-sql"},
    {"id": 20, "name": "Radius", "type": "radius", "hostname": "192.0.2.9",
     "radius_secret": "s3cr3t-radius"},
    {"id": 21, "name": "Socket", "type": "websocket-upgrade", "url": "wss://ws.example.com/live",
     "ws_subprotocol": "chat, soap", "interval": 60},
    {"id": 22, "name": "Mail", "type": "smtp", "hostname": "mail.example.com", "port": 587,
     "smtp_security": "starttls", "interval": 60},
    {"id": 23, "name": "Token", "type": "http", "url": "https://t.example.com/?token=s3cr3t-q",
     "interval": 60, "auth_method": "oauth2-cc", "oauth_token_url": "https://id.example.com/t",
     "oauth_client_id": "c", "oauth_client_secret": "s3cr3t-oauth", "oauth_scopes": "a b",
     "oauth_audience": "api", "oauth_auth_method": "client_secret_post"},
    {"id": 24, "name": "Mutual", "type": "http", "url": "https://m.example.com", "interval": 60,
     "auth_method": "mtls", "tls_cert": "CERT", "tls_key": "s3cr3t-pem", "tls_ca": "CA"},
    {"id": 25, "name": "No log-in", "type": "http", "url": "https://n.example.com",
     "auth_method": "ntlm", "interval": 60},
    {"id": 26, "name": "Not there", "type": "keyword", "url": "https://shop.example.com/",
     "keyword": "error", "invert_keyword": 1, "interval": 60, "timeout": 48},
]  # fmt: skip
ROWS: dict[str, list[dict[str, Any]]] = {
    "monitor": MONITORS,
    "proxy": [{"id": 1, "protocol": "socks5h", "host": "proxy.example.com", "port": 1080,
               "auth": 1, "username": "p", "password": "s3cr3t-proxy", "active": 1}],
    "tag": [{"id": 1, "name": "team"}, {"id": 2, "name": "Größe XL"}, {"id": 3, "name": "job"}],
    "monitor_tag": [
        {"monitor_id": 3, "tag_id": 1, "value": "web"},
        {"monitor_id": 3, "tag_id": 2, "value": ""},
        {"monitor_id": 8, "tag_id": 3, "value": "x"},
    ],
    "maintenance": [
        {"id": 1, "title": "Move", "active": 1, "strategy": "single", "timezone": "Europe/Berlin",
         "start_date": "2026-12-01 22:00:00", "end_date": "2026-12-02 02:00:00"},
        {"id": 2, "title": "Weekly", "active": 1, "strategy": "recurring-weekday",
         "weekdays": "[6, 0]", "start_time": "22:00", "end_time": "06:00",
         "timezone": "SAME_AS_SERVER"},
        {"id": 3, "title": "Nightly", "active": 1, "strategy": "cron", "cron": "30 2 * * *",
         "duration": 3600, "timezone": "UTC"},
        {"id": 4, "title": "Monthly", "active": 1, "strategy": "recurring-day-of-month"},
        {"id": 5, "title": "Old", "active": 0, "strategy": "single"},
    ],
    "monitor_maintenance": [
        {"monitor_id": 1, "maintenance_id": 1},
        {"monitor_id": 8, "maintenance_id": 2},
        {"monitor_id": 9, "maintenance_id": 3},
    ],
    "setting": [{"key": "serverTimezone", "value": '"Europe/Vienna"'}],
    "status_page": [
        {"id": 1, "slug": "shop", "title": "Our shop", "published": 1, "description": "d"},
        {"id": 2, "slug": "staff", "title": "Staff", "published": 1, "password": "hash"},
        {"id": 3, "slug": "empty", "title": "Empty", "published": 1},
    ],
    "group": [
        {"id": 1, "name": "Web", "weight": 1, "status_page_id": 1},
        {"id": 2, "name": "All", "weight": 1, "status_page_id": 2},
    ],
    "monitor_group": [
        {"monitor_id": 3, "group_id": 1, "weight": 2},
        {"monitor_id": 4, "group_id": 1, "weight": 1},
        {"monitor_id": 8, "group_id": 2, "weight": 1},
    ],
    "incident": [
        {"id": 1, "title": "Slow", "content": "We look into it.", "active": 1, "pin": 1,
         "created_date": "2026-11-20 08:15:00", "status_page_id": 1},
        {"id": 2, "title": "Over", "content": "", "active": 0, "status_page_id": 1},
    ],
    "notification": [
        {"id": 1, "name": "Chat", "active": 1, "is_default": 1,
         "config": '{"name": "Chat", "type": "discord", "isDefault": true, "discordWebhookUrl":'
                   ' "https://discord.com/api/webhooks/1/s3cr3t-hook", "discordUsername": "Kuma"}'},
        {"id": 2, "name": "On call", "active": 0,
         "config": '{"type": "PagerDuty", "pagerdutyIntegrationKey": "s3cr3t-pager"}'},
        {"id": 3, "name": "Sales", "active": 1,
         "config": '{"type": "ntfy", "ntfyserverurl": "https://ntfy.example.com", "ntfytopic":'
                   ' "sales", "ntfyAuthenticationMethod": "accessToken",'
                   ' "ntfyaccesstoken": "s3cr3t-ntfy", "ntfypassword": "s3cr3t-unused"}'},
        {"id": 4, "name": "Hook", "active": 1,
         "config": '{"type": "webhook", "webhookURL": "https://hooks.example.com/s3cr3t-path",'
                   ' "webhookContentType": "json", "webhookAdditionalHeaders":'
                   ' "{\\"Authorization\\": \\"Bearer s3cr3t-bearer-2\\"}"}'},
    ],
    "monitor_notification": [
        {"monitor_id": 1, "notification_id": 3},
        {"monitor_id": 3, "notification_id": 1},
        *({"monitor_id": number, "notification_id": 1} for number in range(5, 27)),
        {"monitor_id": 7, "notification_id": 2},
        {"monitor_id": 8, "notification_id": 4},
    ],
    "user": [{"id": 1, "username": "admin", "password": "s3cr3t-hash"}],
}  # fmt: skip


@pytest.fixture(params=VERSIONS)
def kuma(request, tmp_path) -> tuple[str, Path]:
    """Return a version and a database of it."""
    return request.param, database(request.param, tmp_path / "kuma.db")


def database(version: str, path: Path, rows: dict[str, list[dict[str, Any]]] = ROWS) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for question, values in statements(version, rows):
            connection.execute(question, values)
        connection.commit()
    return path


def run(*args: str | Path, environ: dict[str, str] | None = None) -> Result:
    return CliRunner(env=environ or {}).invoke(cli, list(map(str, args)))


def test_an_imported_database_reads_as_written_by_hand_and_loads(kuma, tmp_path):
    """The list is the expected one, `validate` accepts it, and it holds no secret."""
    version, path = kuma
    secrets, report = tmp_path / "secrets.env", tmp_path / "report.json"
    done = run("import", "uptime-kuma", path, "--secrets", secrets, "--report", report)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (HERE / f"{version}.yaml").read_text()
    assert "s3cr3t" not in done.stdout + report.read_text()
    assert TOKEN not in done.stdout + report.read_text()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    environ = dict(line.split("=", 1) for line in secrets.read_text().splitlines())
    (tmp_path / "sites.yaml").write_text(done.stdout)
    valid = run("validate", tmp_path / "sites.yaml", environ=environ)
    assert valid.exit_code == 0, valid.output


def test_no_column_is_lost(kuma):
    """The report has a line for each column of a monitor that has a value of its own."""
    version, path = kuma
    told: dict[str, set[str]] = {}
    for row in imported(str(path), TABLES, {}).rows:
        told.setdefault(row.item.rpartition(" / ")[2], set()).add(row.field)
    known = columns(version)["monitor"]
    for monitor in MONITORS:
        if monitor["type"] == "group":
            continue
        for column, value in monitor.items():
            if column == "id" or column not in known or value in (known[column], "", 0, None):
                continue
            if column == "retry_interval" and not monitor.get("maxretries"):
                continue
            assert column in told[monitor["name"]], (monitor["name"], column)


_STRANGE = [
    *("docker", "steam", "gamedig", "mqtt", "kafka-producer", "rabbitmq", "radius", "snmp"),
    *("real-browser", "tailscale-ping", "manual", "system-service", "pm2", "globalping", "ntp"),
    *("sip-options", "grpc-keyword", "invented"),
]


@pytest.mark.parametrize("kind", _STRANGE)
def test_a_type_without_a_counterpart_is_told(kind, tmp_path):
    """A comment names it with the reason, and the rest of the list is written."""
    rows = [
        {"name": "strange", "type": kind, "hostname": "a.example", "interval": 60},
        {"name": "plain", "type": "http", "url": "https://a.example", "interval": 60},
    ]
    done = imported(str(database("2.5", tmp_path / "kuma.db", {"monitor": rows})), TABLES, {})
    assert f"  # strange is left out: {kind}: " in done.text
    assert [one["name"] for one in yaml.safe_load(done.text)["sites"]] == ["plain"]


def one(tmp_path: Path, **monitor: Any) -> tuple[dict[str, Any], Imported]:
    row = {"name": "one", "type": "http", "url": "https://a.example", "interval": 60, **monitor}
    done = imported(str(database("2.5", tmp_path / "kuma.db", {"monitor": [row]})), TABLES, {})
    site = yaml.safe_load(done.text)["sites"][0]
    assert isinstance(site, dict)
    return site, done


@pytest.mark.parametrize(
    ("query", "operator", "expected", "ours"),
    [
        ("status", "==", "up", {"$.status": "up"}),
        ("$.a.b[0].c", "==", "1", {"$.a.b[0].c": 1}),
        ("a", "!=", "true", {"$.a": {"ne": True}}),
        ("a", ">=", "1.5", {"$.a": {"ge": 1.5}}),
        ("a", "contains", "x.y", {"$.a": {"matches": r"x\.y"}}),
        ("$count(items)", ">", "0", {"$.items": {"length": {"gt": 0}}}),
        ("$", "==", "ok", {"$": "ok"}),
        ("$", None, "ok", {"$": "ok"}),
    ],
)
def test_a_json_query_that_is_a_path_is_carried(query, operator, expected, ours, tmp_path):
    """The operator is kept, and the value gets its most likely JSON type."""
    site, done = one(
        tmp_path, type="json-query", json_path=query, json_path_operator=operator,
        expected_value=expected,
    )  # fmt: skip
    assert site["expect"]["json"] == ours
    assert any(row.field == "json_path" and row.fate is Fate.CHANGED for row in done.rows)


def test_what_is_no_whole_database_is_one_sentence(tmp_path):
    """The error has the place, what is wrong and what would be right, and no password."""
    whole = database("2.5", tmp_path / "kuma.db").read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database at all, but a text that is long enough" * 30)
    for name, data in (("half", whole[: len(whole) // 2]), ("head", whole[:50])):
        (tmp_path / f"{name}.db").write_bytes(data)
    garbled = bytearray(whole)
    garbled[9000:-9000] = b"\xff" * (len(whole) - 18000)
    (tmp_path / "garbled.db").write_bytes(garbled)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE monitor (id INTEGER)")
        other.commit()
    part = "is damaged, or a part of a database; copy the whole by: sqlite3 ORIGINAL '.backup COPY'"
    right = "; name Uptime Kuma's database, such as kuma.db"
    for name, said in (
        ("nowhere.db", f"there is no file {tmp_path / 'nowhere.db'}{right}"),
        ("folder", f"is a folder; name the file in it, such as {tmp_path / 'folder/kuma.db'}"),
        ("empty.db", f"is empty{right}"),
        ("text.db", f"is not an SQLite database{right}"),
        ("half.db", part),
        ("head.db", part),
        ("garbled.db", part),
        ("other.db", "is a database of another program; name Uptime Kuma's, such as kuma.db"),
    ):
        done = run("import", "uptime-kuma", tmp_path / name)
        assert done.exit_code == 2
        assert done.stderr == f"{tmp_path / name}:1:1: {said}\n"
    done = run("import", "uptime-kuma", "postgres://u:s3cr3t@db.example/kuma")
    assert done.exit_code == 2
    assert "is not a URL that leads to Uptime Kuma's database" in done.stderr
    assert "s3cr3t" not in done.stderr


def test_a_file_that_may_not_be_read_is_one_sentence():
    """A database of another user, as that of Uptime Kuma's container, gives one error."""
    with open_folder() as folder:
        path = database("2.5", folder / "kuma.db")
        path.chmod(0)
        with as_another_user(), pytest.raises(ConfigError) as caught:
            imported(str(path), TABLES, {})
    assert str(caught.value).startswith(f"{path}:1:1: {path} cannot be read: permission denied; ")


def test_a_database_in_a_folder_without_write_access_is_read():
    """Uptime Kuma uses WAL mode, in which SQLite wants to write beside the file."""
    with open_folder() as folder:
        path = database("2.5", folder / "kuma.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        path.chmod(0o444)
        folder.chmod(0o555)
        with as_another_user():
            done = imported(str(path), TABLES, {})
        folder.chmod(0o755)
    assert done.text.splitlines()[1:] == (HERE / "2.5.yaml").read_text().splitlines()[1:]


@pytest.mark.parametrize("value", [None, "odd", b"\xff\x00", 2**62, "nan"], ids=range(5))
def test_columns_that_hold_what_nobody_writes_are_no_traceback(value, tmp_path):
    """With odd values in all columns of a table, the import gives a list or an error."""
    few = {**ROWS, "monitor": MONITORS[:9]}  # the monitors that other tables name
    for number, (table, known) in enumerate(columns("2.5").items()):
        odd = dict.fromkeys(set(known) - {"id"}, value)
        rows = {**few, table: [{**row, **odd} for row in ROWS.get(table, [])]}
        path = database("2.5", tmp_path / f"{number}.db", rows)
        with suppress(ConfigError):
            assert "s3cr3t" not in imported(str(path), TABLES, {}).text


def test_nothing_is_written_into_the_database(kuma):
    """The import leaves it unchanged, since Uptime Kuma may be running on it."""
    _, path = kuma
    before = path.read_bytes()
    run("import", "uptime-kuma", path, "--secrets", path.with_name("secrets.env"))
    assert path.read_bytes() == before


BEATS = [
    {"monitor_id": number, "status": status, "time": f"2026-11-20 08:{minute}:00",
     "ping": 120, "msg": "ok" if status else "timeout"}
    for number, turns in ((3, (1, 0)), (4, (1, 1)))
    for minute, status in zip((15, 16), turns, strict=True)
]  # fmt: skip
WITH_BEATS = {**ROWS, "heartbeat": BEATS}


@pytest.mark.real
def test_mariadb_gives_the_same_list_and_its_past(tmp_path, real):
    """The same rows in Debian's MariaDB, over TCP, give the same list and past."""
    server = real("mariadbd")
    folder = tmp_path / "data"
    subprocess.run(
        [real("mariadb-install-db"), "--no-defaults", f"--datadir={folder}", "--user=root",
         "--auth-root-authentication-method=normal"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    command = [
        *(server, "--no-defaults", f"--datadir={folder}", f"--port={port}", "--user=root"),
        *("--bind-address=127.0.0.1", f"--socket={tmp_path / 's'}", f"--pid-file={tmp_path / 'p'}"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _fill(port)
        url = f"mysql://kuma:s3cr3t-mysql@127.0.0.1:{port}/kuma"
        done = imported(url, TABLES, {})
        expected = (HERE / "2.5.yaml").read_text()
        assert done.text.splitlines()[1:] == expected.splitlines()[1:]
        sites = {one["name"]: site(name=one["name"]) for one in yaml.safe_load(done.text)["sites"]}
        found = past(url, sites)
        assert sum(len(one.results) for one in found.values()) == len(BEATS)
        assert found == past(str(database("2.5", tmp_path / "kuma.db", WITH_BEATS)), sites)
        assert last_verdicts(url)["Shop Front"][0] is False
        wrong = run("import", "uptime-kuma", url.replace("s3cr3t-mysql", "s3cr3t-wrong"))
        assert wrong.exit_code == 2
        assert "Access denied" in wrong.stderr
        assert "s3cr3t" not in wrong.stderr
    finally:
        process.kill()  # its data is thrown away
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _fill(port: int) -> None:
    import pymysql  # noqa: PLC0415  an extra

    def connect() -> Any:
        with suppress(pymysql.err.OperationalError):
            return pymysql.connect(host="127.0.0.1", port=port, user="root")
        return None

    connection = until(connect, "MariaDB takes a connection")
    assert connection is not None
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE kuma CHARACTER SET utf8mb4")
        cursor.execute("CREATE USER kuma@localhost IDENTIFIED BY 's3cr3t-mysql'")
        cursor.execute("GRANT SELECT ON kuma.* TO kuma@localhost")
        cursor.execute("USE kuma")
        for question, values in statements("2.5", WITH_BEATS):
            cursor.execute(question.replace("?", "%s"), values)
        connection.commit()
