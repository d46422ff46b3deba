"""The migration pages: what they say of theirs and of ours is loaded, imported and parsed."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest
import yaml
from click.testing import CliRunner

from monitor.app.daemon import TABLES
from monitor.cli import cli
from monitor.config.load import load
from monitor.config.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
BLACKBOX = (DOCS / "migrate-blackbox.md").read_text()
GATUS = (DOCS / "migrate-gatus.md").read_text()
KUMA = (DOCS / "migrate-uptime-kuma.md").read_text()
PAGES = {"blackbox": BLACKBOX, "gatus": GATUS, "uptime-kuma": KUMA}
SECRETS = {"SHOP_TOKEN": "s3cr3t"}


def blocks(page: str, kind: str) -> list[str]:
    """Return the code blocks of a page that are introduced by these words."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def ours() -> list[tuple[str, str]]:
    return [(name, block) for name, page in PAGES.items() for block in blocks(page, "yaml")]


def between(page: str, mark: str) -> str:
    """Return what stands between two marks of a page."""
    return page.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]


def cells(page: str, mark: str) -> list[list[str]]:
    """Return the rows of the table between two marks, without its head."""
    section = between(page, mark)
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [row.removeprefix("| ").removesuffix(" |").split(" | ") for row in rows[2:]]


def test_every_page_has_theirs_and_ours():
    """The tests below have something to load."""
    assert {name for name, _ in ours()} == set(PAGES)
    assert yaml.safe_load(blocks(BLACKBOX, 'yaml title="blackbox.yml"')[0])["modules"]
    assert yaml.safe_load(blocks(GATUS, 'yaml title="gatus.yaml"')[0])["endpoints"]
    assert json.loads(blocks(KUMA, 'json title="kuma.json"')[0])["monitorList"]


@pytest.mark.parametrize(("name", "block"), ours())
def test_ours_is_good(name, block, tmp_path, monkeypatch):
    """What readers copy is taken by `monitor validate`."""
    (tmp_path / "sites.yaml").write_text(block)
    (tmp_path / "blackbox.yml").write_text(blocks(BLACKBOX, 'yaml title="blackbox.yml"')[0])
    monkeypatch.setattr(os, "environ", {**os.environ, **SECRETS})
    done = CliRunner().invoke(cli, ["validate", str(tmp_path / "sites.yaml")])
    assert done.exit_code == 0, f"{name}: {done.output}"


# ---------------------------------------------------------------- blackbox_exporter


def imported(text: str, folder: Path) -> dict[str, Any]:
    path = folder / "blackbox.yml"
    path.write_text(text)
    secrets = str(folder / "secrets.env")
    done = CliRunner().invoke(cli, ["import", "blackbox", str(path), "--secrets", secrets])
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = yaml.safe_load(done.stdout)
    return made


def test_the_import_of_the_example_is_ours(tmp_path):
    """`monitor import blackbox` makes of the one block the other."""
    section = between(BLACKBOX, "import")
    [theirs], [ours] = blocks(section, 'yaml title="blackbox.yml"'), blocks(section, "yaml")
    assert imported(theirs, tmp_path) == yaml.safe_load(ours)


@pytest.mark.parametrize("row", cells(BLACKBOX, "keys"), ids=" ".join)
def test_each_key_of_a_module_becomes_what_the_table_says(row, tmp_path):
    """The import of a module with these keys has these options."""
    prober, theirs, ours = (cell.strip("`") for cell in row)
    written = f"modules: {{m: {{prober: {prober}, {prober}: {{{theirs}}}}}}}"
    made = imported(written, tmp_path)["modules"]["m"]
    for key, value in yaml.safe_load(f"{{{ours}}}").items():
        # What every module of a prober gets, such as http.compression, is beside it
        assert made[key] == ({**made[key], **value} if isinstance(value, dict) else value)


# ---------------------------------------------------------------- Gatus, Uptime Kuma

_PLACES = {
    "dns": "dns://192.0.2.53/example.com",
    "icmp": "icmp://192.0.2.1",
    "tcp": "tcp://a.example:1",
}


def options(page: str, mark: str) -> list[str]:
    """Return what in the last column of a table is ours as YAML: keys with values."""
    found = [code for row in cells(page, mark) for code in re.findall(r"`([^`]+)`", row[-1])]
    return [code for code in found if re.match(r"[a-z]+: ", code)]


def site(written: str) -> str:
    """Return a list of one site that has these options, of a scheme that has them."""
    words = {"answer:": "dns", "rcode:": "dns", "icmp:": "icmp", "tcp:": "tcp"}
    scheme = next((scheme for word, scheme in words.items() if word in written), "http")
    url = _PLACES.get(scheme, "https://a.example")
    return f"sites:\n  - {{url: '{url}', {written}}}\n"


@pytest.mark.parametrize(
    "written",
    [
        *options(GATUS, "keys"),
        *options(GATUS, "conditions"),
        *options(KUMA, "keys"),
        *re.findall(r"`(maintenance: [^`]+)`", KUMA),
    ],
)
def test_each_option_of_the_tables_is_good(written, tmp_path):
    """What stands on our side of a table is taken as a site's option."""
    path = tmp_path / "sites.yaml"
    path.write_text(site(written))
    assert load(path, TABLES, {}).sites


def test_every_condition_has_ours_or_says_that_there_is_none():
    """No condition is left without an answer."""
    rows = cells(GATUS, "conditions")
    assert len(rows) > 20
    assert all("expect: {" in row[-1] or row[-1].startswith("none") for row in rows)


_MEANT: dict[str, tuple[list[bytes], list[bytes]]] = {
    "[BODY] == ok": ([b"ok", b"ok\n", b"ok\r\n", b" ok "], [b"", b"not ok", b"okay", b"o k"]),
    "[BODY] == pat(*welcome*)": ([b"welcome", b"a\nwelcome\nb"], [b"", b"Welcome"]),
    "[BODY] != pat(*error*)": ([b"", b"fine"], [b"error", b"an error\n"]),
    "[BODY].user.name == john": (
        [b'{"user": {"name": "john"}}'],
        [b'{"user": {"name": "jo"}}', b'{"user": null}', b"{}", b"john"],
    ),
    "[BODY].data[0].id == 1": ([b'{"data": [{"id": 1}]}'], [b'{"data": []}', b'{"data": [1]}']),
    "[BODY].name == pat(john*)": ([b'{"name": "johnny"}'], [b'{"name": "a john"}', b"{}"]),
    "[BODY].id == any(1, 2)": ([b'{"id": 2}'], [b'{"id": 3}', b"{}"]),
    "[BODY].age == [BODY].id": ([b'{"age": 1, "id": 1}'], [b'{"age": 1, "id": 2}', b'{"id": 1}']),
    "[BODY].load < 5": ([b'{"load": 4.5}', b'{"load": 4}'], [b'{"load": 5}']),
    "len([BODY].data) < 5": ([b'{"data": []}', b'{"data": [1]}'], [b'{"data": [1, 2, 3, 4, 5]}']),
    "len([BODY].name) == 8": ([b'{"name": "12345678"}'], [b'{"name": "1"}', b"{}"]),
    "has([BODY].errors) == false": (
        [b"{}", b'{"errors": null}', b'{"error": 1}'],
        [b'{"errors": []}', b'{"errors": ""}', b'{"errors": {"a": null}}', b'{"errors": false}'],
    ),
    "has([BODY].users) == true": (
        [b'{"users": []}', b'{"users": ""}', b'{"users": 0}'],
        [b"{}", b'{"users": null}', b'{"user": 1}'],
    ),
    "[BODY].data != []": ([b'{"data": [0]}'], [b'{"data": []}']),
    "[BODY].checks.cache:ping[0].status == pass": (
        [b'{"checks": {"cache:ping": [{"status": "pass"}]}}'],
        [b'{"checks": {"cache:ping": [{"status": "fail"}]}}', b'{"checks": {"cache:ping": []}}'],
    ),
}
"""Bodies of which each condition holds in Gatus, and those of which it does not."""


class _Echo(BaseHTTPRequestHandler):
    """Answers with the body that the path has in hexadecimal."""

    def do_GET(self):
        body = bytes.fromhex(self.path.removeprefix("/"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def checked(folder: Path, sites: list[str]) -> dict[str, bool]:
    """Return which sites of a list are up, by `monitor check`."""
    (folder / "sites.yaml").write_text("sites:\n" + "".join(f"  - {one}\n" for one in sites))
    command = [sys.executable, "-m", "monitor", "check", "--json", "--config"]
    done = subprocess.run(
        [*command, folder / "sites.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {one["site"]: one["up"] for one in json.loads(done.stdout)["results"]}


def conditions() -> dict[str, str]:
    """Return ours of each of Gatus' conditions."""
    rows = cells(GATUS, "conditions")
    return {row[0].strip("`"): row[-1].partition("`")[2].partition("`")[0] for row in rows}


def test_conditions_hold_of_what_they_hold_of_in_gatus(echo, tmp_path):
    """Each row is tried with bodies of both kinds, fetched from a server."""
    sites, expected = [], {}
    for condition, (good, bad) in _MEANT.items():
        for body in (*good, *bad):
            name = f"{condition} {body!r}"
            expected[name] = body in good
            url = f"{echo}/{body.hex()}"
            sites.append(f"{{name: {json.dumps(name)}, url: '{url}', {conditions()[condition]}}}")
    assert checked(tmp_path, sites) == expected


def test_an_address_is_found_behind_an_alias(tmp_path):
    """`[BODY] == 192.0.2.1` of DNS holds of an answer with a CNAME before the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30.0)

        def answer() -> None:
            for last in ("192.0.2.1", "192.0.2.2"):
                wire, peer = server.recvfrom(4096)
                query = dns.message.from_wire(wire)
                name = query.question[0].name
                reply = dns.message.make_response(query)
                reply.answer += [
                    dns.rrset.from_text(name, 60, "IN", "CNAME", "real.example."),
                    dns.rrset.from_text("real.example.", 60, "IN", "A", last),
                ]
                server.sendto(reply.to_wire(), peer)

        thread = threading.Thread(target=answer)
        thread.start()
        ours = conditions()["[BODY] == 192.0.2.1` of DNS"]
        url = f"dns://127.0.0.1:{server.getsockname()[1]}/example.com?type=A"
        found = [
            checked(tmp_path, [f"{{name: shop, url: '{url}', {ours}}}"])["shop"] for _ in range(2)
        ]
        thread.join()
    assert found == [True, False]


def test_the_page_names_the_number_of_checks_at_once():
    """It is the default of the setting."""
    (number,) = re.findall(r"([\d,]+) sites are checked at once", GATUS)
    assert int(number.replace(",", "")) == Settings().engine.probe_threads


def test_what_the_statement_prints_of_kumas_monitors_is_the_list(tmp_path):
    """The SQL of the page, on monitors as the backup has them, gives the sites of the page."""
    section = between(KUMA, "example")
    [statement], [backup], [ours] = (
        blocks(section, kind) for kind in ("sql", 'json title="kuma.json"', "yaml")
    )
    (tmp_path / "sites.yaml").write_text(_printed(statement, json.loads(backup)["monitorList"]))
    (tmp_path / "ours.yaml").write_text(ours)
    made = load(tmp_path / "sites.yaml", TABLES, {}).sites
    assert made == load(tmp_path / "ours.yaml", TABLES, {}).sites


def test_the_statement_prints_what_yaml_reads(tmp_path):
    """Quotes, dollars and colons in names and keywords, pings, pauses and strange timeouts."""
    [statement] = blocks(KUMA, "sql")
    monitors = [
        {"name": 'A "b": c ${D} # e ', "type": "keyword", "url": "https://a.example/?q=$x#y",
         "keyword": "it's {a: \"b\"}", "invertKeyword": True, "timeout": 0, "maxredirects": 0,
         "ignoreTls": True, "accepted_statuscodes": ["200-299", "404"]},
        {"name": "gateway", "type": "ping", "hostname": "192.0.2.1", "timeout": 90},
        {"name": "zone", "type": "dns", "hostname": "example.com", "dns_resolve_type": "TXT",
         "dns_resolve_server": "192.0.2.53,192.0.2.54", "port": None, "retryInterval": 0},
        {"name": "paused", "type": "http", "url": "https://b.example", "active": False},
        {"name": "pushed", "type": "push"},
    ]  # fmt: skip
    path = tmp_path / "sites.yaml"
    path.write_text(_printed(statement, monitors))
    keyword, ping, zone = load(path, TABLES, {}).sites
    assert keyword.name == 'A "b": c ${D} # e'
    assert keyword.url == "https://a.example/?q=$x#y"
    assert (ping.url, ping.timeout) == ("icmp://192.0.2.1", 48)
    assert zone.url == "dns://192.0.2.53/example.com?type=TXT"


_COLUMNS = {
    "retryInterval": "retry_interval",
    "invertKeyword": "invert_keyword",
    "ignoreTls": "ignore_tls",
    "accepted_statuscodes": "accepted_statuscodes_json",
}
"""The columns of what the backup calls otherwise."""
_DEFAULTS = {
    "name": None, "type": None, "active": 1, "interval": 60, "timeout": 48.0, "maxretries": 0,
    "retry_interval": 60, "url": "https://", "method": "GET", "maxredirects": 10, "ignore_tls": 0,
    "accepted_statuscodes_json": '["200-299"]', "keyword": None, "invert_keyword": 0,
    "hostname": None, "port": None, "packet_size": 56, "dns_resolve_server": None,
    "dns_resolve_type": None,
}  # fmt: skip
"""The columns that the statement reads, with what Uptime Kuma has in them by default."""


def _printed(statement: str, monitors: list[dict[str, Any]]) -> str:
    with sqlite3.connect(":memory:") as database:
        database.execute(f"CREATE TABLE monitor ({', '.join(_DEFAULTS)})")
        for monitor in monitors:
            given = {_COLUMNS.get(key, key): value for key, value in monitor.items()}
            if "accepted_statuscodes_json" in given:
                given["accepted_statuscodes_json"] = json.dumps(given["accepted_statuscodes_json"])
            row = [given.get(key, default) for key, default in _DEFAULTS.items()]
            places = ", ".join("?" * len(row))
            database.execute(f"INSERT INTO monitor VALUES ({places})", row)  # noqa: S608  of ours
        lines = [line for (line,) in database.execute(statement)]
    database.close()
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- Prometheus


def test_prometheus_takes_the_comparisons_and_the_scrape_jobs(real, tmp_path):
    """promtool parses every expression and every scrape configuration of the pages."""
    expressions = [one for page in PAGES.values() for one in blocks(page, "promql")]
    rules = [{"record": f"page:{place}", "expr": one} for place, one in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]})
    )
    subprocess.run([real("promtool"), "check", "rules", tmp_path / "rules.yml"], check=True)
    jobs = blocks(BLACKBOX, 'yaml title="prometheus.yml"')
    assert len(jobs) > 1
    for job in jobs:
        (tmp_path / "prometheus.yml").write_text(job)
        command = [real("promtool"), "check", "config", tmp_path / "prometheus.yml"]
        subprocess.run(command, check=True)
