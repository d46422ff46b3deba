"""Gatus' files: ten configurations of different people, each field, each kind of condition."""

import json
import os
import re
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.errors import ConfigError
from monitor.importers.gatus.conditions import read_conditions
from monitor.importers.gatus.listing import imported
from tests.importers.strangers import as_another_user, open_folder

HERE = Path(__file__).parent / "gatus"
THEIRS = sorted(path for path in HERE.iterdir() if path.name not in ("ours", "fields.yaml"))
ENVIRON = {
    "DOMAIN": "example.net",
    "INTERVAL": "2m",
    "SMTP_PORT": "25",
    "SLOW_INTERVAL": "10m",
    "EXPECTED_COMMIT": "abc123def",
    "HA_TOKEN": "s3cr3t-of-home",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/9/hidden",
    "EMAIL_FROM": "gatus@example.net",
    "EMAIL_TO": "ops@example.net",
    "PUSHOVER_APP": "a" * 30,
    "PUSHOVER_USER": "u" * 30,
}
"""What is set where Gatus runs; everything else that the files refer to is not."""


def run(*args: str | Path, environ: dict[str, str] | None = None) -> Result:
    return CliRunner(env=environ or {}).invoke(cli, list(map(str, args)))


def made(text: str, folder: Path, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the list that is imported from the text of a file, as YAML reads it."""
    path = folder / "gatus.yaml"
    path.write_text(text)
    document = yaml.safe_load(imported(path, TABLES, environ or {}).text)
    assert isinstance(document, dict)
    return document


# ---------------------------------------------------------------- whole configurations


@pytest.mark.parametrize("path", THEIRS, ids=lambda path: path.stem)
def test_an_imported_configuration_reads_as_written_by_hand_and_loads(path, tmp_path):
    """The list is the one in ours/, `validate` accepts it, and it holds no secret."""
    secrets, report = tmp_path / "secrets.env", tmp_path / "report.json"
    done = run("import", "gatus", path, "--secrets", secrets, "--report", report, environ=ENVIRON)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (HERE / "ours" / f"{path.stem}.yaml").read_text()
    known = dict(ENVIRON)
    if secrets.exists():
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
        hidden = dict(line.split("=", 1) for line in secrets.read_text().splitlines())
        assert not [one for one in hidden.values() if one in done.stdout + report.read_text()]
        known |= hidden
    assert "s3cr3t-of-home" not in done.stdout + report.read_text()
    known |= dict.fromkeys(re.findall(r"\$\{(\w+)\}", done.stdout), "192.0.2.9") | known
    without_files = re.sub(r"(?m)^ *tls: \{cert_file: .*\n", "", done.stdout)
    (tmp_path / "sites.yaml").write_text(without_files)
    valid = run("validate", tmp_path / "sites.yaml", environ=known)
    assert valid.exit_code == 0, valid.output


@pytest.mark.parametrize("path", [*THEIRS, HERE / "fields.yaml"], ids=lambda path: path.stem)
def test_no_field_is_lost(path):
    """The report has a line for each value of each file: carried, changed or dropped."""
    told = imported(path, TABLES, ENVIRON).rows
    fields = {(row.item, row.field) for row in told}
    for file in [path] if path.is_file() else path.rglob("*.y*ml"):
        document = yaml.load(_readable(file.read_text()), yaml.BaseLoader)  # noqa: S506  ours
        for item, field in _leaves(document):
            assert any(
                item == other and (field == one or field.startswith((f"{one}.", f"{one}[")))
                for other, one in fields
            ), f"{item}: {field}"


def _readable(text: str) -> str:
    return text.replace("$$", "$").replace("<<: *", "merged: *")


def _leaves(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the item and the field of each value, as the report calls them."""
    for key, value in document.items():
        if key in ("endpoints", "external-endpoints"):
            for one in value:
                own = {**one.pop("merged", {}), **one}
                group, name = own.get("group", ""), own["name"]
                item = f"{group}/{name}" if group else name
                for field, below in own.items():
                    if field == "conditions":
                        yield from ((item, f"conditions: {one}") for one in below)
                    else:
                        yield from ((item, leaf) for leaf in _below(field, below))
        elif key == "suites":
            yield from (("", f"suites: {one['name']}") for one in value)
        elif key == "announcements":
            yield from (("", f"announcements: {one['timestamp']} {one['type']}") for one in value)
        else:
            yield from (("", leaf) for leaf in _below(key, value))


def _below(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _below(f"{path}.{key}", one)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, one in enumerate(value):
            yield from _below(f"{path}[{number}]", one)
    elif value not in ("null", {}):
        yield path


def test_every_field_of_gatus_has_the_fate_that_the_table_says():
    """Each field of Gatus 5.36 is carried, changed or dropped as the table says."""
    told = {
        (row.item, row.field): row.fate for row in imported(HERE / "fields.yaml", TABLES, {}).rows
    }
    table = (HERE.parent / "gatus_fields.txt").read_text().splitlines()
    lines = [line.split(" | ") for line in table if " | " in line]
    expected = {(item.strip(), field): fate for item, field, fate in lines}
    assert {key: str(fate) for key, fate in told.items()} == expected


# ---------------------------------------------------------------- alerts

ALERTING = """
alerting:
  slack:
    webhook-url: https://hooks.slack.com/services/T0/B0/all
    overrides: [{group: core team, webhook-url: "https://hooks.slack.com/services/T0/B0/core"}]
    default-alert: {failure-threshold: 5, success-threshold: 1, enabled: false}
  ntfy: {url: $NTFY, topic: lan, token: $TOKEN}
  pagerduty: {integration-key: s3cr3t}
endpoints:
"""


@pytest.mark.parametrize(
    ("keys", "confirm", "told", "remark"),
    [
        ("", None, [], ""),
        ("alerts: [{type: slack}]", None, [], ""),
        ("alerts: [{type: slack, enabled: true}]", 5, ["slack"], ""),
        ("group: core team, alerts: [{type: slack, enabled: true}]", 5, ["slack-core-team"], ""),
        ("alerts: [{type: ntfy}, {type: slack, enabled: true}]", 3, ["slack", "ntfy"], ""),
        ("alerts: [{type: pagerduty, failure-threshold: 2}]", 2, [], "alerting.pagerduty: "),
        ("alerts: [{type: ntfy, minimum-reminder-interval: 1h}]", 3, ["ntfy"],
         "alerts.minimum-reminder-interval: "),
        ("alerts: [{type: ntfy, description: d}]", 3, ["ntfy"], "alerts.description: "),
        ("alerts: [{type: ntfy, send-on-resolved: false}]", 3, ["ntfy"],
         "alerts.send-on-resolved: "),
    ],
)  # fmt: skip
def test_alerts_become_who_is_told(keys, confirm, told, remark, tmp_path):
    """Defaults and overrides work as in Gatus, and what cannot be carried is named."""
    more = f", {keys}" if keys else ""
    text = f"{ALERTING}  - {{name: a, url: 'tcp://a:1', conditions: ['[CONNECTED] == true']{more}}}"
    path = tmp_path / "gatus.yaml"
    path.write_text(text)
    environ = {"NTFY": "https://ntfy.example.com", "TOKEN": "tk_with/slash"}
    done = imported(path, TABLES, environ)
    document = yaml.safe_load(done.text)
    [site] = document["sites"]
    assert site.get("notify") == told
    assert site.get("confirm", {}).get("failures") == confirm
    assert remark in done.text
    assert document["notify"]["receivers"] == [
        {"name": "slack", "apprise": "${SLACK_WEBHOOK_URL}"},
        {"name": "slack-core-team", "apprise": "${SLACK_CORE_TEAM_WEBHOOK_URL}"},
        {"name": "ntfy", "apprise": "ntfys://${NTFY_TOKEN}@ntfy.example.com/lan?auth=token"},
    ]
    assert done.secrets["NTFY_TOKEN"] == "tk_with%2Fslash"
    assert "s3cr3t" not in done.text + done.report("gatus.yaml")


def test_who_is_told_is_not_written_where_all_receivers_are(tmp_path):
    """A site without ``notify`` has every receiver."""
    alerts = "alerts: [{type: ntfy}]"
    text = (
        "alerting: {ntfy: {topic: lan}}\nendpoints:\n"
        f"  - {{name: a, url: 'tcp://a:1', conditions: ['[CONNECTED] == true'], {alerts}}}"
    )
    [site] = made(text, tmp_path)["sites"]
    assert "notify" not in site


# ---------------------------------------------------------------- conditions

CONDITIONS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("http", ["[STATUS] == 200"], {"status": 200}),
    ("http", ["200 == [STATUS]"], {"status": 200}),
    ("http", ["[status] == 0xc8"], {"status": 200}),
    ("http", ["[STATUS] < 300"], {"status": "100-299"}),
    ("http", ["[STATUS] >= 200", "[STATUS] < 400"], {"status": "200-399"}),
    ("http", ["[STATUS] == any(200, 429)"], {"status": [200, 429]}),
    ("http", ["[STATUS] == pat(2*)"], {}),
    ("http", ["[STATUS] != 500"], {"status": ["100-499", "501-599"]}),
    ("http", ["[CONNECTED] == true"], {"status": "100-599"}),
    ("http", ["[STATUS] == 200", "[RESPONSE_TIME] < 500", "[RESPONSE_TIME] <= 1s"],
     {"status": 200, "latency": "500ms"}),
    ("http", ["[STATUS] == 200", "[RESPONSE_TIME] > 500"],
     {"status": 200, "that": "latency > 0.5"}),
    ("tls", ["[CERTIFICATE_EXPIRATION] > 48h"], {"certificate": {"valid_for": "2d"}}),
    ("tls", ["48h < [CERTIFICATE_EXPIRATION]"], {"certificate": {"valid_for": "2d"}}),
    ("tls", ["[CERTIFICATE_EXPIRATION] < 48h"], {"that": "certificate.days_left < 2.0"}),
    ("tcp", ["[IP] == any(192.0.2.1, 192.0.2.2)"],
     {"that": 'ip in ["192.0.2.1", "192.0.2.2"]'}),
    ("tcp", ["[IP] != pat(192.0.*.1)"], {"that": r'!ip.matches("^192\\.0\\..*\\.1$")'}),
    ("tcp", ["[STATUS] == 0", "1 < 2", "raw == raw"], {}),
    ("icmp", ["[RESPONSE_TIME] < 50"], {"that": "rtt < 0.05"}),
    ("http", ["[STATUS] == 200", "has([BODY]) == true"],
     {"status": 200, "body": {"matches": r"\S"}}),
    ("http", ["[STATUS] == 200", "len([BODY]) > 0"], {"status": 200, "body": {"matches": r"\S"}}),
    ("http", ["[STATUS] == 200", "len([BODY]) < 9"], {"status": 200, "that": "size(body) < 9"}),
    ("http", ["[STATUS] == 200", "[BODY] == any(ok, fine)"],
     {"status": 200, "body": {"matches": r"^\s*(?:ok|fine)\s*$"}}),
    ("http", ["[STATUS] == 200", "[BODY] == pat(a*b)", "[BODY] != pat(*x*)", "[BODY] != pat(*y*)"],
     {"status": 200, "body": {"matches": r"(?s)^\s*a.*b\s*$", "not_contains": ["x", "y"]}}),
    ("http", ["[STATUS] == 200", "[BODY] > 5"], {"status": 200, "json": {"$": {"gt": 5}}}),
    ("http", ["[STATUS] == 200", "[BODY][0].n >= 5", "[BODY][0].n <= 7"],
     {"status": 200, "json": {"$[0].n": {"ge": 5, "le": 7}}}),
    ("http", ["[STATUS] == 200", "[BODY].a-b == x", "[BODY].up == true", "[BODY].v == 1.5"],
     {"status": 200, "json": {"$.a-b": "x", "$.up": True, "$.v": 1.5}}),
    ("http", ["[STATUS] == 200", "[BODY].a != x"], {"status": 200, "json": {"$.a": {"ne": "x"}}}),
    ("http", ["[STATUS] == 200", "[BODY].a-b == any(1, x)"],
     {"status": 200, "that": 'json["a-b"] in [1, "x"]'}),
    ("http", ["[STATUS] == 200", "[BODY].t < 1m"], {"status": 200, "json": {"$.t": {"lt": 60000}}}),
    ("http", ["[STATUS] == 200", "has([BODY].users[0].name) == true"],
     {"status": 200,
      "that": "has(json.users) && size(json.users) > 0 && has(json.users[0].name)"
              " && json.users[0].name != null"}),
    ("http", ["[STATUS] == 200", "[BODY].a.b == pat(*x*)"],
     {"status": 200, "json": {"$.a.b": {"matches": "x"}}}),
    ("http", ["[STATUS] == [BODY].status"], {"status": "100-599", "that": "status == json.status"}),
    ("dns", ["[DNS_RCODE] == NOERROR", "[BODY] == 192.0.2.1"],
     {"answer": {"matches": r" A 192\.0\.2\.1$"}}),
    ("dns", ["[DNS_RCODE] == NOERROR"], {"answer": {"count": {"ge": 0}}}),
    ("dns", ["[DNS_RCODE] != SERVFAIL"],
     {"rcode": ["NOERROR", "FORMERR", "NXDOMAIN", "NOTIMP", "REFUSED"],
      "answer": {"count": {"ge": 0}}}),
    ("dns", ["[DNS_RCODE] == NOERROR", "[BODY] == pat(192.0.2.*)"],
     {"answer": {"matches": r" A 192\.0\.2\..*$"}}),
    ("dns", ["[CONNECTED] == true"],
     {"rcode": ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"],
      "answer": {"count": {"ge": 0}}}),
    ("grpc", ["[CONNECTED] == true"], {"status": ["SERVING", "NOT_SERVING", "UNKNOWN"]}),
    ("grpc", ["[BODY].status == SERVING"], {}),
]  # fmt: skip
"""Kind of endpoint, conditions, and what becomes of them."""


@pytest.mark.parametrize(("kind", "conditions", "ours"), CONDITIONS, ids=str)
def test_a_condition_becomes_the_plainest_expectation(kind, conditions, ours):
    """Each kind of operand, function and operator that can be carried is."""
    found = read_conditions(conditions, kind, {})
    assert found.expect == ours
    assert found.dropped == {}


@pytest.mark.parametrize(
    ("kind", "condition", "why"),
    [
        ("http", "[STATUS] == 999", "no status satisfies it"),
        ("http", "[STATUS]==200", "has no operator"),
        ("http", "[BODY].a == null", "never holds"),
        ("http", "[BODY].a != null", "always holds"),
        ("http", "[BODY].a > many", "'many' is not a number"),
        ("http", "[DOMAIN_EXPIRATION] > 720h", "registration"),
        ("http", "[CONTEXT].id == 1", "another step"),
        ("http", "[CERTIFICATE_EXPIRATION] > 30d", "counts as 0"),
        ("http", "len([STATUS]) == 3", "no counterpart"),
        ("tcp", "[CERTIFICATE_EXPIRATION] > 1h", "no certificate"),
        ("icmp", "[BODY] == x", "no body"),
        ("tcp", "[BODY] != x", "a pattern, and nothing else"),
        ("tcp", "a == b", "never holds"),
    ],
)
def test_a_condition_that_cannot_be_carried_says_why(kind, condition, why):
    """It is named with the reason, and never weakened silently."""
    assert why in read_conditions([condition], kind, {}).dropped[condition]


# ---------------------------------------------------------------- the environment, folders, errors


def test_variables_are_readable_as_gatus_expands_them(tmp_path):
    """$NAME, ${NAME} and $$ work; defaults do not, and a value of several lines is inlined."""
    text = """
endpoints:
  - name: a $$ b
    url: https://$HOST/${PATH_}?p=${GONE:-x}
    interval: ${EVERY}
    conditions: ${CONDITIONS}
"""
    environ = {
        "HOST": "a.example",
        "PATH_": "x",
        "EVERY": "5m",
        "CONDITIONS": "['[STATUS] == 204']",
    }
    [site] = made(text, tmp_path, environ)["sites"]
    assert site == {
        "name": "a $ b",
        "url": "https://${HOST}/${PATH_}?p=",
        "interval": "5m",
        "expect": {"status": 204},
    }


@pytest.mark.parametrize(
    ("endpoint", "environ", "site"),
    [
        (
            'name: "${ENV} a"\n    group: ${ENV}\n    extra-labels: {env: "$ENV"}',
            {"ENV": "prod"},
            {"name": "prod a", "group": "prod", "labels": {"env": "prod"}},
        ),
        ("name: a\n    enabled: ${ON}", {"ON": "true"}, {}),
        ("name: a\n    enabled: ${ON}", {}, {}),
        ('name: a\n    client: {insecure: "${YES}"}', {"YES": "on"}, {"tls": {"verify": False}}),
        ("name: a\n    interval: ${GONE}", {}, {}),
        ("name: a\n    url: ${URL}", {"URL": "https://a.example"}, {"url": "${URL}"}),
        ("name: a\n    url: ${URL}/x", {"URL": "https://a.example"}, {"url": "${URL}/x"}),
        (
            "name: a\n    url: ${URL}",
            {"URL": "icmp://192.0.2.1"},
            {"url": "icmp://192.0.2.1", "icmp": {"count": 1}, "expect": None},
        ),
        (
            "name: a\n    url: ${URL}",
            {"URL": "tcp://a.example:1"},
            {"url": "${URL}", "expect": None},
        ),
        (
            "name: a\n    url: ssh://${HOST}",
            {"HOST": "a.example:2222"},
            {"url": "tcp://${HOST}", "tcp": {"dialogue": [{"expect": "^SSH-"}]}, "expect": None},
        ),
        (
            "name: a\n    extra-labels: {instance: a, b-c: d, tier: gold}",
            {},
            {"labels": {"tier": "gold"}},
        ),
    ],
)
def test_a_variable_means_in_each_field_what_it_means_to_gatus(endpoint, environ, site, tmp_path):
    """Where the list cannot have a variable, its value is written; the site is never lost."""
    url = "" if "url:" in endpoint else "\n    url: https://a.example"
    conditions = '["[CONNECTED] == true"]'
    text = f"endpoints:\n  - {endpoint}{url}\n    conditions: {conditions}\n"
    known = {"name": "a", "url": "https://a.example", "expect": {"status": "100-599"}} | site
    known = {key: value for key, value in known.items() if value is not None}
    assert made(text, tmp_path, environ)["sites"] == [known]


def test_a_variable_without_a_value_leaves_the_others_as_they_are(tmp_path):
    """Gatus reads an unquoted one as null; a reason names the variable whose value is needed."""
    path = tmp_path / "gatus.yaml"
    path.write_text("""
alerting:
  discord: {webhook-url: ${HOOK}}
  slack: {webhook-url: "https://hooks.slack.com/services/${TEAM}/b/c"}
endpoints:
  - name: a
    url: http://${HOST}
    conditions: ["[STATUS] == ${CODE}", "[BODY].id == ${ID}"]
    alerts: [{type: discord}, {type: slack}]
  - name: b
    url: ${URL}
    conditions: ["[STATUS] == 200"]
""")
    done = imported(path, TABLES, {})
    document = yaml.safe_load(done.text)
    assert document["notify"] == {"receivers": [{"name": "discord", "apprise": "${HOOK}"}]}
    [site] = document["sites"]
    assert site["url"] == "http://${HOST}"
    told = {row.field: row.why for row in done.rows if "the environment has no" in row.why}
    assert told == {
        field: f"the environment has no {name}; run the import again with it set"
        for field, name in {
            "alerting.slack": "TEAM",
            "conditions: [STATUS] == ${CODE}": "CODE",
            "url": "URL",
        }.items()
    }


def test_a_value_that_stands_in_two_files_of_a_folder_is_refused(tmp_path):
    """Gatus refuses it too; the message names the key and the file."""
    (tmp_path / "a.yaml").write_text("ui: {title: one}\n")
    (tmp_path / "b.yml").write_text("ui: {title: two}\n")
    done = run("import", "gatus", tmp_path)
    assert done.exit_code == 2
    assert "b.yml:1:1: ui.title is in two files, which Gatus refuses" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("endpoints: [", ":1:13: is not YAML: "),
        ("ui: {}\nü: \x7fELF\n", ":2:4: is not YAML: U+007F is a character that it forbids"),
        (b"ui: {}\n\xc3\xbc: \xff", ":2:4: is not UTF-8 here, as Gatus' files are; name its YAML"),
        (b"\x7fELF\x02\x01\xd0\x00", ":1:7: is not UTF-8 here"),
        ("endpoints: &a [*a]", "nests without end"),
        ("- a", ":1:1: must be a mapping, as Gatus' files are"),
        ("ui: {}", ":1:1: holds no endpoints; Gatus would not start with it either"),
        ("endpoints: [{name: a, url: udp://a, conditions: ['1 == 1']}]", "a: UDP is not checked"),
        ("endpoints: {a: 1}", "holds nothing that can be checked"),
        ("endpoints: [[], 5, {name: [a], url: {b: c}, conditions: 5}]", "endpoint 1"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(text, said, tmp_path):
    """The error is one sentence with the file, whatever the file contains; never a traceback."""
    path = tmp_path / "gatus.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    done = run("import", "gatus", path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_may_not_be_listed_is_one_sentence(tmp_path):
    """A missing file and an unreadable folder each give one error."""
    done = run("import", "gatus", tmp_path / "none.yaml")
    assert done.exit_code == 2
    assert f"there is no file {tmp_path / 'none.yaml'}; name the file or folder of" in done.stderr
    with open_folder() as open_to_all:
        folder = open_to_all / "folder"
        folder.mkdir(mode=0o000)
        with as_another_user(), pytest.raises(ConfigError) as caught:
            imported(folder, TABLES, {})
    assert "permission denied" in str(caught.value)


def test_secrets_never_replace_a_file(tmp_path):
    """An import refuses to overwrite an existing secrets file, and prints nothing."""
    secrets = tmp_path / "secrets.env"
    secrets.write_text("MINE=1\n")
    done = run("import", "gatus", HERE / "graph.yaml", "--secrets", secrets)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{secrets} exists" in done.stderr
    assert secrets.read_text() == "MINE=1\n"


# ---------------------------------------------------------------- verdicts over a real connection


class _Echo(BaseHTTPRequestHandler):
    """Answers with the status and the body (in hexadecimal) that are in the path."""

    def do_GET(self) -> None:
        _, status, body = self.path.split("/")
        content = bytes.fromhex(body)
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


VERDICTS: list[tuple[list[str], list[tuple[int, bytes]], list[tuple[int, bytes]]]] = [
    (["[STATUS] < 300"], [(200, b""), (299, b"x")], [(300, b""), (500, b"")]),
    (["[STATUS] == any(204, 404)"], [(404, b"")], [(200, b"")]),
    (["[CONNECTED] == true"], [(503, b"")], []),
    (["[STATUS] == 200", "[BODY] == pat(*wel*come*)"], [(200, b"wel\ncome!")], [(200, b"come")]),
    (["[STATUS] == 200", "[BODY] != ok"], [(200, b"bad")], [(200, b" ok\n"), (500, b"bad")]),
    (["[BODY] == any(ok, fine)"], [(500, b"fine\n")], [(200, b"fine day")]),
    (["[BODY].n == any(1, x)"], [(200, b'{"n": 1}'), (200, b'{"n": "x"}')], [(200, b'{"n": 2}')]),
    (["[BODY].a.b[1] > 3"], [(200, b'{"a": {"b": [0, 4]}}')], [(200, b'{"a": {"b": [0, 3]}}')]),
    (["[BODY] >= 5"], [(200, b"5"), (200, b" 7\n")], [(200, b"4")]),
    (["len([BODY]) > 0"], [(200, b"x")], [(200, b""), (200, b" \n")]),
    (["len([BODY].l) == 2"], [(200, b'{"l": [1, 2]}')], [(200, b'{"l": []}')]),
    (["has([BODY].a.b) == false"], [(200, b"{}"), (200, b'{"a": {"b": null}}')],
     [(200, b'{"a": {"b": 0}}')]),
    (["[BODY].a == pat(v1.*)"], [(200, b'{"a": "v1.2"}')], [(200, b'{"a": "xv1.2"}')]),
    (["[BODY].a != pat(v1*)"], [(200, b'{"a": "v2"}')], [(200, b'{"a": "v12"}')]),
    (["[STATUS] == [BODY].code"], [(404, b'{"code": 404}')], [(200, b'{"code": 404}')]),
    (["[IP] == pat(127.*)"], [(200, b"")], []),
    (["[RESPONSE_TIME] < 60000"], [(200, b"")], []),
    (["[RESPONSE_TIME] > 60000"], [], [(200, b"")]),
]  # fmt: skip
"""Conditions, with answers of which they hold in Gatus, and of which they do not."""


def test_the_verdict_is_that_of_gatus(tmp_path):
    """Each list of conditions is imported and checked against good and bad answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            endpoints, expected = [], {}
            for conditions, good, bad in VERDICTS:
                for status, body in (*good, *bad):
                    name = f"{' '.join(conditions)} of {status} {body!r}"
                    expected[name] = (status, body) in good
                    url = f"http://127.0.0.1:{server.server_port}/{status}/{body.hex()}"
                    endpoints.append({"name": name, "url": url, "conditions": conditions})
            (tmp_path / "gatus.yaml").write_text(json.dumps({"endpoints": endpoints}))
            ours = run("import", "gatus", tmp_path / "gatus.yaml")
            (tmp_path / "sites.yaml").write_text(ours.stdout)
            checked = run(
                "check", "--json", "--config", tmp_path / "sites.yaml", environ=dict(os.environ)
            )
        finally:
            server.shutdown()
            thread.join()
    found = {one["site"]: one["up"] for one in json.loads(checked.stdout)["results"]}
    assert found == expected
