"""Alert providers become receivers: each service that Gatus and Uptime Kuma can notify."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from monitor.app.tables import TABLES
from monitor.config.load import load_text
from monitor.importers.gatus import listing as of_gatus
from monitor.importers.gatus.alerting import PROVIDERS as OF_GATUS
from monitor.importers.gatus.alerting import WITHOUT_OVERRIDES
from monitor.importers.imported import Imported
from monitor.importers.kuma import listing as of_kuma
from monitor.importers.kuma.notifications import PROVIDERS as OF_KUMA
from tests.importers.apprises import refused
from tests.importers.test_kuma import database

HERE = Path(__file__).parent
ROWS: dict[str, list[dict[str, Any]]] = yaml.safe_load((HERE / "providers.yaml").read_text())
SECRET = "s3cr3t"
_IS_SECRET = re.compile(
    r"(?i)token|key$|pass|secret|hash|(?:hook|apprise|rest|publish)-?url|endpoint|^hec-url"
)
"""Settings by which somebody may log in, or whose address is the login."""


def table(name: str) -> dict[str, list[str]]:
    """Return the settings of each kind of provider, as the program's own source names them."""
    lines = (HERE / name).read_text().splitlines()
    pairs = [line.split(" |") for line in lines if " |" in line]
    return {kind: keys.split() for kind, keys in pairs}


KUMA, _GATUS = table("kuma_notifications.txt"), table("gatus_providers.txt")
GATUS = {kind.removesuffix(" *"): keys for kind, keys in _GATUS.items()}


def gatus(alerting: Any, folder: Path, **endpoint: Any) -> Imported:
    path = folder / "gatus.yaml"
    one = {"name": "one", "url": "https://a.example", "conditions": ["[STATUS] == 200"]}
    path.write_text(yaml.safe_dump({"alerting": alerting, "endpoints": [{**one, **endpoint}]}))
    return of_gatus.imported(path, TABLES, {})


def kuma(folder: Path, *configs: Any, **more: Any) -> Imported:
    rows: dict[str, list[dict[str, Any]]] = {
        "monitor": [{"name": "one", "type": "http", "url": "https://a.example", "interval": 60}],
        "notification": [
            {"name": "n", "config": one if isinstance(one, str) else json.dumps(one)}
            for one in configs
        ],
        "monitor_notification": [
            {"monitor_id": 1, "notification_id": number + 1} for number in range(len(configs))
        ],
        **more,
    }
    path = folder / "kuma.db"
    path.unlink(missing_ok=True)
    return of_kuma.imported(str(database("2.5", path, rows)), TABLES, {})


def receivers(done: Imported) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(done.text).get("notify", {}).get("receivers", [])
    return found


def made(program: str, given: dict[str, Any], folder: Path) -> Imported:
    return gatus(given, folder) if program == "gatus" else kuma(folder, given)


def filled(receiver: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return a receiver with its secrets filled in."""
    text = re.sub(r"\$\{(\w+)\}", lambda one: environ[one[1]], json.dumps(receiver))
    whole: dict[str, Any] = json.loads(text)
    return whole


@pytest.mark.parametrize("program", sorted(ROWS))
def test_each_provider_becomes_its_receiver(program, tmp_path):
    """The receiver is that of the table and loads; each secret becomes a variable."""
    every: list[dict[str, Any]] = []
    for row in ROWS[program]:
        done = made(program, row["given"], tmp_path)
        found = receivers(done)
        if row["ours"] is None:
            assert found == []
            assert "; add a receiver to notify.receivers" in done.text
            continue
        [receiver] = found
        assert {key: value for key, value in receiver.items() if key != "name"} == row["ours"]
        every.append({**filled(receiver, done.secrets), "name": f"r{len(every)}"})
        written = json.dumps(row["given"], ensure_ascii=False)
        for value in done.secrets.values():
            assert unquote(value) in written
            assert value not in done.text + done.report("theirs")
    assert refused([one["apprise"] for one in every if "apprise" in one]) == []
    webhooks = [one for one in every if "webhook" in one]
    document = {"notify": {"receivers": webhooks}, "sites": ["https://a.example"]}
    load_text(yaml.safe_dump(document), TABLES, {})


def test_the_settings_are_those_of_the_sources():
    """Rows have only settings that the program reads, and cover each kind that is imported."""
    for row in ROWS["gatus"]:
        [(kind, given)] = row["given"].items()
        assert set(given) <= set(GATUS[kind])
    for row in ROWS["kuma"]:
        assert set(row["given"]) - {"type"} <= set(KUMA[row["given"]["type"]])
    assert set(OF_KUMA) == {row["given"]["type"] for row in ROWS["kuma"] if row["ours"]}
    page = (HERE.parents[1] / "docs" / "migrate-uptime-kuma.md").read_text()
    named = page.partition("<!-- types -->")[2].partition("<!-- /types -->")[0]
    assert sorted(re.findall(r"`([^`]+)`", named)) == sorted(OF_KUMA)
    assert {kind for kind in GATUS if kind in _GATUS} == WITHOUT_OVERRIDES
    assert set(OF_GATUS) == {next(iter(row["given"])) for row in ROWS["gatus"] if row["ours"]}


def value_of(key: str) -> str:
    return f"{SECRET}-{key}" if _IS_SECRET.search(key) else "5"


@pytest.mark.parametrize("program", sorted(ROWS))
def test_no_provider_is_unknown_and_no_setting_is_lost(program, tmp_path):
    """Each kind with all its settings gets a receiver or a reason, and shows no secret."""
    if program == "gatus":
        kinds = GATUS
        done = gatus(
            {kind: {key: value_of(key) for key in keys} for kind, keys in kinds.items()}, tmp_path
        )
        paths = {kind: f"alerting.{kind}" for kind in kinds}
        unknown = "has no such provider"
    else:
        kinds = KUMA
        configs = [
            {"type": kind, **{key: value_of(key) for key in keys}} for kind, keys in KUMA.items()
        ]
        rows = [{"name": one["type"], "config": json.dumps(one)} for one in configs]
        done = kuma(tmp_path, notification=rows)
        paths = {kind: f"notification {kind}" for kind in kinds}
        unknown = "has no such type"
    told = {row.field for row in done.rows}
    for kind, keys in kinds.items():
        assert {paths[kind], *(f"{paths[kind]}.{key}" for key in keys)} <= told
    assert unknown not in done.text
    assert SECRET not in done.text + done.report("theirs")


# ---------------------------------------------------------------- Gatus' defaults and overrides

SLACK = "https://hooks.slack.com/services/T0/B0/"


@pytest.mark.parametrize(
    ("alert", "group", "confirm", "told"),
    [
        ({"type": "slack"}, "", 4, ["slack"]),
        ({"type": "slack", "failure-threshold": 2}, "", 2, ["slack"]),
        ({"type": "slack", "failure-threshold": 0}, "", 4, ["slack"]),
        ({"type": "slack"}, "core", 4, ["slack-core"]),
        ({"type": "slack", "provider-override": {"webhook-url": f"{SLACK}own"}}, "core", 4,
         ["slack-one"]),
        ({"type": "slack", "provider-override": {"webhook-url": f"{SLACK}core"}}, "", 4,
         ["slack-core"]),
        ({"type": "slack", "provider-override": {"webhook-url": "https://other.example/s3cr3t"}},
         "", 4, []),
        ({"type": "gotify"}, "core", 3, ["gotify"]),
        ({"type": "teams", "provider-override": {"title": "t"}}, "", 3, []),
    ],
)  # fmt: skip
def test_defaults_and_overrides_are_those_of_gatus(alert, group, confirm, told, tmp_path):
    """The alert wins over its group, and the group over the provider; a threshold of 0 is unset."""
    alerting = {
        "slack": {
            "webhook-url": f"{SLACK}all",
            "overrides": [{"group": "core", "webhook-url": f"{SLACK}core"}],
            "default-alert": {
                "failure-threshold": 4,
                "provider-override": {"webhook-url": f"{SLACK}never"},
            },
        },
        "gotify": {
            "server-url": "https://gotify.example.com",
            "token": "all",
            "overrides": [{"group": "core", "token": "core"}],
        },
    }
    done = gatus(alerting, tmp_path, alerts=[alert], **({"group": group} if group else {}))
    [site] = yaml.safe_load(done.text)["sites"]
    assert site["notify"] == told
    assert site["confirm"]["failures"] == confirm
    assert "gotify-core" not in done.text
    assert SECRET not in done.text + done.report("theirs")


# ---------------------------------------------------------------- Uptime Kuma's odd notifications


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "its settings are not a JSON object"),
        ("s3cr3t no JSON", "its settings are not a JSON object"),
        ('["s3cr3t"]', "its settings are not a JSON object"),
        ("5", "its settings are not a JSON object"),
        ("[" * 10_000, "its settings are not a JSON object"),
        ({}, "no type: Uptime Kuma 2.5 has no such type"),
        ({"type": "pigeon", "pigeonKey": "s3cr3t"}, "pigeon: Uptime Kuma 2.5 has no such type"),
        ({"type": ["s3cr3t"]}, "Uptime Kuma 2.5 has no such type"),
        ({"type": "slack", "slackwebhookURL": {"a": "s3cr3t"}}, "slackwebhookURL is missing"),
        ({"type": "slack", "slackwebhookURL": "https://x.example/s3cr3t"}, "is not one of the"),
        ({"type": "ntfy", "ntfyserverurl": "http://[s3cr3t", "ntfytopic": "t"}, "ntfyserverurl is"),
        ({"type": "gotify", "gotifyserverurl": "ftp://u:s3cr3t@h"}, "gotifyserverurl is not"),
        ({"type": "webhook", "webhookURL": "hooks.example.com/s3cr3t"}, "webhookURL is not"),
        ({"type": "webhook", "webhookURL": "https://h.example", "httpMethod": "get"}, "by GET"),
        ({"type": "webhook", "webhookURL": "https://h.example", "webhookContentType": "custom",
          "webhookCustomBody": "{{ msg }} s3cr3t"}, "a body of its own"),
        ({"type": "webhook", "webhookURL": "https://h.example",
          "webhookAdditionalHeaders": '{"X-A": "s3cr3t\\r\\nX-B: 1"}'}, "is not an object"),
        ({"type": "apprise", "appriseURL": "s3cr3t"}, "appriseURL is not one of apprise's URLs"),
        ({"type": "discord", "discordWebhookUrl": "https://discord.com/api/webhooks/1/s3cr3t",
          "discordChannelType": "createNewForumPost"}, "a post of its own in a forum"),
    ],
    ids=range(18),
)  # fmt: skip
def test_a_notification_that_cannot_be_one_says_why(config, said, tmp_path):
    """It is left out of the list, its site has no receiver, and no secret is shown."""
    good = {"type": "ntfy", "ntfyserverurl": "https://ntfy.sh", "ntfytopic": "lan"}
    used = [{"monitor_id": 1, "notification_id": 1}, {"monitor_id": 9, "notification_id": 7}]
    done = kuma(tmp_path, config, good, monitor_notification=used)
    assert said in done.text
    assert [one["name"] for one in receivers(done)] == ["n"]
    assert yaml.safe_load(done.text)["sites"][0]["notify"] == []
    assert SECRET not in done.text + done.report("theirs")


def test_who_is_told_of_a_group_is_told_of_its_sites(tmp_path):
    """Nested groups count, and so do inactive notifications, since Uptime Kuma sends them."""
    topics = [
        {"type": "ntfy", "ntfyserverurl": "https://ntfy.sh", "ntfytopic": one} for one in "abc"
    ]
    http = {"type": "http", "url": "https://a.example"}
    done = kuma(
        tmp_path,
        notification=[
            {"name": f"Größe {one['ntfytopic']}", "config": json.dumps(one), "active": 0}
            for one in topics
        ],
        monitor=[
            {"name": "Outer", "type": "group"},
            {"name": "Inner", "type": "group", "parent": 1},
            {"name": "deep", "parent": 2, **http},
            {"name": "flat", **http},
            {"name": "alone", **http},
        ],
        monitor_notification=[
            {"monitor_id": monitor, "notification_id": notification}
            for monitor, notification in ((1, 1), (2, 2), (3, 3), (4, 3), (4, 9))
        ],
    )
    document = yaml.safe_load(done.text)
    names = ["Gr-e-a", "Gr-e-b", "Gr-e-c"]
    assert [one["name"] for one in document["notify"]["receivers"]] == names
    found = {one["name"]: one.get("notify") for one in document["sites"]}
    assert found == {"deep": None, "flat": ["Gr-e-c"], "alone": []}
