"""The migration pages: examples of theirs and of ours are loaded, imported and parsed."""

import json
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dns.message
import dns.rrset
import pytest
import yaml
from click.testing import CliRunner

from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.config.settings import Settings
from monitor.importers.draft import Fate
from monitor.importers.gatus import listing as of_gatus
from monitor.importers.gatus.conditions import read_conditions
from monitor.importers.imported import Imported
from monitor.importers.kuma import listing as of_kuma
from tests.importers.apprises import refused
from tests.importers.test_kuma import database

DOCS = Path(__file__).parent.parent / "docs"
BLACKBOX = (DOCS / "migrate-blackbox.md").read_text()
GATUS = (DOCS / "migrate-gatus.md").read_text()
KUMA = (DOCS / "migrate-uptime-kuma.md").read_text()
PAGES = {"blackbox": BLACKBOX, "gatus": GATUS, "uptime-kuma": KUMA}
SECRETS = {"SHOP_TOKEN": "s3cr3t"}


def blocks(page: str, kind: str) -> list[str]:
    """Return the code blocks of a page that these words introduce."""
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def ours() -> list[tuple[str, str]]:
    return [(name, block) for name, page in PAGES.items() for block in blocks(page, "yaml")]


def between(page: str, mark: str) -> str:
    """Return the text between two marks of a page."""
    return page.partition(f"<!-- {mark} -->")[2].partition(f"<!-- /{mark} -->")[0]


def cells(page: str, mark: str) -> list[list[str]]:
    """Return the rows of the table between two marks, without its head."""
    section = between(page, mark)
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [row.removeprefix("| ").removesuffix(" |").split(" | ") for row in rows[2:]]


def test_every_page_has_theirs_and_ours():
    """Every page has examples for the tests below."""
    assert {name for name, _ in ours()} == {"blackbox", "gatus"}
    assert yaml.safe_load(blocks(BLACKBOX, 'yaml title="blackbox.yml"')[0])["modules"]
    assert yaml.safe_load(blocks(GATUS, 'yaml title="gatus.yaml"')[0])["endpoints"]
    assert len(cells(KUMA, "decide")) > 15


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
    """`monitor import blackbox` turns the first block into the second."""
    section = between(BLACKBOX, "import")
    [theirs], [ours] = blocks(section, 'yaml title="blackbox.yml"'), blocks(section, "yaml")
    assert imported(theirs, tmp_path) == yaml.safe_load(ours)


@pytest.mark.parametrize("row", cells(BLACKBOX, "keys"), ids=" ".join)
def test_each_key_of_a_module_becomes_what_the_table_says(row, tmp_path):
    """The import of a module with these keys has the options in the table."""
    prober, theirs, ours = (cell.strip("`") for cell in row)
    written = f"modules: {{m: {{prober: {prober}, {prober}: {{{theirs}}}}}}}"
    made = imported(written, tmp_path)["modules"]["m"]
    for key, value in yaml.safe_load(f"{{{ours}}}").items():
        # A prober's modules have further options, such as http.compression
        assert made[key] == ({**made[key], **value} if isinstance(value, dict) else value)


# ---------------------------------------------------------------- Gatus, Uptime Kuma


def test_the_import_of_gatus_example_is_ours(tmp_path):
    """`monitor import gatus` turns the first block into the second, comments included."""
    section = between(GATUS, "example")
    [theirs], [ours] = blocks(section, 'yaml title="gatus.yaml"'), blocks(section, "yaml")
    path = tmp_path / "gatus.yaml"
    path.write_text(theirs)
    assert of_gatus.imported(path, TABLES, {}).text == ours


def assert_held(row: list[str], done: Imported) -> None:
    """Compare the import of a row's values with what the row says."""
    said = row[1].rstrip(" |")
    ours = yaml.safe_load(done.text)
    mine = [{**ours.get("defaults", {}), **site} for site in ours["sites"] if site["name"] == "one"]
    if said.startswith("a comment, no site"):
        assert not mine
        assert "# one is left out: " in done.text
    elif said in ("a comment", "nothing"):
        assert mine
        assert any(one.fate in (Fate.DROPPED, Fate.CHANGED) for one in done.rows)
        assert (said == "a comment") == ("\n  # " in done.text)
    else:
        for key, value in yaml.safe_load(f"{{{said.strip('`')}}}").items():
            found = mine[0][key]
            assert found == ({**found, **value} if isinstance(value, dict) else value)


@pytest.mark.parametrize("row", cells(GATUS, "decide"), ids=" ".join)
def test_each_key_of_an_endpoint_becomes_what_the_table_says(row, tmp_path):
    """The import of an endpoint with these keys has the options in the table."""
    path = tmp_path / "gatus.yaml"
    plain = "conditions: ['[STATUS] == 200']"
    path.write_text(
        f"endpoints:\n  - {{name: one, url: 'https://a.example', {plain}, {row[0].strip('`')}}}\n"
        f"  - {{name: two, url: 'https://b.example', {plain}}}\n"
    )
    assert_held(row, of_gatus.imported(path, TABLES, {}))


def gatus_provider(provider: str, folder: Path) -> Imported:
    path = folder / "gatus.yaml"
    path.write_text(
        f"alerting: {{{provider.strip('`')}}}\nendpoints:\n"
        "  - {name: one, url: 'https://a.example', conditions: ['[STATUS] == 200']}\n"
    )
    return of_gatus.imported(path, TABLES, {})


def assert_receiver(row: list[str], done: Imported) -> None:
    """The receiver is the one in the row, and no output contains its secrets."""
    notify = yaml.safe_load(done.text).get("notify")
    if row[1] == "a comment":
        assert notify is None
        assert "to notify.receivers" in done.text
        return
    assert notify == {"receivers": [yaml.safe_load(row[1].strip("`"))]}
    for value in done.secrets.values():
        assert value in row[0] or unquote(value) in row[0]
        assert value not in done.text + done.report("theirs")


@pytest.mark.parametrize("row", cells(GATUS, "receivers"), ids=" ".join)
def test_each_provider_of_gatus_becomes_the_receiver_that_the_table_says(row, tmp_path):
    """The import writes the table's receiver, with variables for its secrets."""
    assert_receiver(row, gatus_provider(row[0], tmp_path))


def test_apprise_reads_the_receivers_of_both_pages(tmp_path):
    """apprise reads each receiver, with the import's secrets as variables."""
    every = [gatus_provider(row[0], tmp_path) for row in cells(GATUS, "receivers")]
    every += [kuma_notification(row[0], tmp_path) for row in cells(KUMA, "receivers")]
    urls = [
        re.sub(r"\$\{(\w+)\}", lambda one, done=done: done.secrets[one[1]], receiver["apprise"])  # type: ignore[misc]
        for done in every
        for receiver in yaml.safe_load(done.text).get("notify", {}).get("receivers", [])
        if "apprise" in receiver
    ]
    assert len(urls) > 15
    assert refused(urls) == []


def kuma_notification(written: str, folder: Path) -> Imported:
    config = {"name": "team", **yaml.safe_load(f"{{{written.strip('`')}}}")}
    path = folder / "kuma.db"
    path.unlink(missing_ok=True)
    monitor = {"name": "one", "type": "http", "url": "https://a.example", "interval": 60}
    notification = {"name": "team", "config": json.dumps(config)}
    rows: dict[str, list[dict[str, Any]]] = {"monitor": [monitor], "notification": [notification]}
    return of_kuma.imported(str(database("2.5", path, rows)), TABLES, {})


@pytest.mark.parametrize("row", cells(KUMA, "receivers"), ids=" ".join)
def test_each_notification_of_kuma_becomes_the_receiver_that_the_table_says(row, tmp_path):
    """The import writes the table's receiver, with variables for its secrets."""
    assert_receiver(row, kuma_notification(row[0], tmp_path))


@pytest.mark.parametrize("row", cells(KUMA, "decide"), ids=" ".join)
def test_each_column_of_a_monitor_becomes_what_the_table_says(row, tmp_path):
    """The import of a version 2.5 database has the options that the table gives the columns."""
    given = yaml.safe_load(f"{{{row[0].strip('`')}}}")
    common = {"type": "http", "url": "https://a.example", "interval": 60}
    monitors = [{"name": "one", **common, **given}, {"name": "two", **common}]
    path = database("2.5", tmp_path / "kuma.db", {"monitor": monitors})
    assert_held(row, of_kuma.imported(str(path), TABLES, {}))


def kind_of(condition: str) -> str:
    """Return the kind of endpoint that a row of the conditions is about."""
    if "of DNS" in condition or "DNS_RCODE" in condition:
        return "dns"
    return "http"


@pytest.mark.parametrize("row", cells(GATUS, "conditions"), ids=" ".join)
def test_each_condition_becomes_what_the_table_says(row):
    """The import has the conditions of the row; without one on the status, any status is good."""
    written = re.findall(r"`([^`]+)`", row[0])
    found = read_conditions(written, kind_of(row[0]), {})
    if row[1].startswith("none"):
        assert set(found.dropped) == set(written)
        return
    [said] = re.findall(r"`(expect: [^`]+)`", row[1])
    expected = yaml.safe_load(f"{{{said}}}")["expect"]
    if "status" not in expected and "[STATUS]" not in row[0]:
        found.expect.pop("status", None)
    assert found.expect == expected


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
    """Answers with the body that the path gives in hexadecimal."""

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
    """Return for each site of a list whether it is up, by `monitor check`."""
    (folder / "sites.yaml").write_text("sites:\n" + "".join(f"  - {one}\n" for one in sites))
    command = [sys.executable, "-m", "monitor", "check", "--json", "--config"]
    done = subprocess.run(
        [*command, folder / "sites.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {one["site"]: one["up"] for one in json.loads(done.stdout)["results"]}


def conditions() -> dict[str, str]:
    """Return our form of each condition of Gatus."""
    rows = cells(GATUS, "conditions")
    return {row[0].strip("`"): row[-1].partition("`")[2].partition("`")[0] for row in rows}


def test_conditions_hold_of_what_they_hold_of_in_gatus(echo, tmp_path):
    """Each row is true or false for the same bodies as in Gatus, fetched from a server."""
    sites, expected = [], {}
    for condition, (good, bad) in _MEANT.items():
        for body in (*good, *bad):
            name = f"{condition} {body!r}"
            expected[name] = body in good
            url = f"{echo}/{body.hex()}"
            sites.append(f"{{name: {json.dumps(name)}, url: '{url}', {conditions()[condition]}}}")
    assert checked(tmp_path, sites) == expected


def test_an_address_is_found_behind_an_alias(tmp_path):
    """`[BODY] == 192.0.2.1` of DNS holds if a CNAME comes before the address."""
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
    """The number on the page is the default of the setting."""
    (number,) = re.findall(r"([\d,]+) sites are checked at once", GATUS)
    assert int(number.replace(",", "")) == Settings().engine.probe_threads


# ---------------------------------------------------------------- Prometheus


def test_prometheus_takes_the_comparisons(real, tmp_path):
    """promtool parses every expression of the pages."""
    expressions = [one for page in PAGES.values() for one in blocks(page, "promql")]
    rules = [{"record": f"page:{place}", "expr": one} for place, one in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "pages", "rules": rules}]})
    )
    subprocess.run([real("promtool"), "check", "rules", tmp_path / "rules.yml"], check=True)
