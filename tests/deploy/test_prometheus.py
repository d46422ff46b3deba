"""What config/prometheus ships, checked by Prometheus' and Alertmanager's own tools."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.shipped import (
    PROMETHEUS,
    ROOT,
    RULE_FILES,
    alerts,
    exposed,
    expressions,
    metrics_in,
    rules,
    unknown,
)

TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
TESTS_3 = sorted((PROMETHEUS / "tests" / "prometheus3").glob("*.yml"))
CONFIGS = ["prometheus.yml", "scrape-metrics.yml", "scrape-sd.yml"]
RUNBOOK = (ROOT / "docs" / "prometheus.md").read_text()


@cache
def cases() -> list[dict[str, Any]]:
    """Return every case of every alert."""
    return [
        case
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
    ]


@pytest.mark.real
@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_are_good(real, name):
    """promtool accepts the example and each fragment, with their rules."""
    subprocess.run([real("promtool"), "check", "config", PROMETHEUS / name], check=True)


def promtool_3() -> str | None:
    """Return Prometheus 3's promtool: $PROMTOOL3, promtool3, or promtool if it is version 3."""
    named = os.environ.get("PROMTOOL3") or shutil.which("promtool3")
    plain = shutil.which("promtool")
    if named or not plain:
        return named
    done = subprocess.run([plain, "--version"], capture_output=True, text=True, check=True)
    return plain if "version 3." in done.stdout + done.stderr else None


@pytest.fixture(params=["installed", "3"])
def promtool(request, real) -> str:
    """Return Debian's promtool, then that of Prometheus 3 if there is one."""
    if request.param == "installed":
        return str(real("promtool"))
    program = promtool_3()
    if program is None:
        pytest.skip("there is no promtool of Prometheus 3; tests/system/build-promtool makes it")
    return program


def assert_holds(promtool: str, path: Path) -> None:
    done = subprocess.run(
        [promtool, "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real
def test_rules_are_good(promtool):
    """promtool finds no mistake and no duplicate rule."""
    command = [promtool, "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES]
    subprocess.run(command, check=True)


@pytest.mark.real
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_do_what_they_say(promtool, path):
    """Each case of the rules' own unit tests passes."""
    assert_holds(promtool, path)


@pytest.mark.real
@pytest.mark.parametrize("path", TESTS_3, ids=lambda path: path.stem)
def test_rules_do_with_prometheus_3_what_they_say(path):
    """Each case of what only Prometheus 3 has passes too."""
    program = promtool_3()
    if program is None:
        pytest.skip("there is no promtool of Prometheus 3; tests/system/build-promtool makes it")
    assert_holds(program, path)


_COUNTED = re.compile(r"\b(?:rate|irate|increase)\(([\w:]+)")


def test_names_of_counters_end_as_those_of_counters():
    """Prometheus 3 adds a warning to the result of a rate() of any other name."""
    asked = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    counted = {name for _, expr in [*asked, *expressions()] for name in _COUNTED.findall(expr)}
    # Native histograms of Prometheus 3, about which it does not warn
    histograms = {name.removesuffix("_bucket") for name in counted if name.endswith("_bucket")}
    assert len(counted) > len(histograms)
    ends = ("_total", "_bucket", "_sum", "_count")
    assert {name for name in counted - histograms if not name.endswith(ends)} == set()


@pytest.mark.real
def test_alertmanager_takes_its_configuration(real):
    """amtool accepts the routes and inhibitions."""
    subprocess.run([real("amtool"), "check-config", PROMETHEUS / "alertmanager.yml"], check=True)


@pytest.mark.parametrize("alert", sorted({rule["alert"] for rule in alerts()}))
def test_alerts_have_cases(alert):
    """Each alert has a case in which it fires and one in which it does not."""
    seen = [bool(case["exp_alerts"]) for case in cases() if case["alertname"] == alert]
    assert set(seen) == {True, False}


@pytest.mark.parametrize(
    ("alert", "severity", "window"),
    [
        (rule["alert"], rule["labels"]["severity"], rule["labels"].get("window"))
        for rule in alerts()
    ],
)
def test_each_form_of_an_alert_fires_in_a_case(alert, severity, window):
    """Each severity and window of an alert is its own rule, so each has its case."""
    fired = [
        one["exp_labels"]
        for case in cases()
        for one in case["exp_alerts"]
        if case["alertname"] == alert
    ]
    assert any((one["severity"], one.get("window")) == (severity, window) for one in fired)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_alerts_say_what_to_do(rule):
    """Each has a severity, its texts, and a section of the same name in the docs."""
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "docs/prometheus.md"
    assert anchor == rule["alert"].lower()
    assert re.search(rf"^### {rule['alert']}$", RUNBOOK, re.MULTILINE)


def test_the_docs_know_no_other_alerts():
    """The docs have no section about an alert that was removed."""
    sections = set(re.findall(r"^### ([A-Z][a-z]+(?:[A-Z][a-z]+)+)$", RUNBOOK, re.MULTILINE))
    assert sections == {rule["alert"] for rule in alerts()}


@pytest.mark.parametrize(
    "rule",
    [rule for rule in alerts() if rule["alert"].startswith("Site")],
    ids=lambda rule: rule["alert"],
)
def test_alerts_about_sites_are_silent_in_maintenance(rule):
    """Each alert excludes sites that are in maintenance."""
    assert "unless on (job, site) monitor_site_maintenance == 1" in rule["expr"]


@pytest.mark.parametrize(
    "rule",
    [rule for rule in alerts() if rule["alert"] in {"SiteDown", "SiteFlapping", "SiteBudgetBurns"}],
    ids=lambda rule: rule["alert"],
)
def test_alerts_about_outages_are_silent_while_another_site_is_the_cause(rule):
    """Each alert excludes sites that are down because a site they depend on is down."""
    assert "unless on (job, site) monitor_site_suppressed == 1" in rule["expr"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_for_metrics_that_there_are(rule):
    """Each name is a metric of the monitor, of another rule or of Prometheus itself."""
    assert metrics_in(rule["expr"])
    assert unknown(metrics_in(rule["expr"])) == set()


def test_names_are_found_in_expressions():
    """The tests of names rely on this: functions, labels, texts and keywords are not metrics."""
    expression = """
        histogram_quantile(0.9, sum by (le, job) (rate(a_bucket{site=~"b|c", x="d{e"}[5m])))
        and on (job) last_over_time(site:f:avg5m[1d] offset 10m) > bool 2
        unless absent({__name__=~"probe_(http|dns)_seconds", k="v"}) or time() - g_total * 1e3
    """
    assert metrics_in(expression) == {
        "a_bucket",
        "site:f:avg5m",
        "/probe_(http|dns)_seconds/",
        "g_total",
    }
    assert unknown({"/probe_(http|dns)_duration_seconds/", "up"}) == set()
    assert unknown({"/probe_(http|no)_duration_seconds/", "nor_this"}) == {
        "probe_no_duration_seconds",
        "nor_this",
    }
    assert "monitor_connectivity_up" in exposed()


@pytest.mark.real
@pytest.mark.parametrize(
    "block", re.findall(r'^```yaml title="rules.yml"\n(.*?)^```', RUNBOOK, re.DOTALL | re.MULTILINE)
)
def test_rules_in_the_docs_are_good(real, block, tmp_path):
    """promtool accepts the rules that readers copy."""
    path = tmp_path / "rules.yml"
    path.write_text(block)
    subprocess.run([real("promtool"), "check", "rules", path], check=True)


def test_the_docs_name_every_recorded_series():
    """The table lists each series, with the windows of one kind in one row."""
    table = RUNBOOK.split("| recorded |")[1].split("\n\n")[0]
    for rule in rules():
        if "record" in rule:
            level_and_metric, _, operation = rule["record"].rpartition(":")
            window = operation.removeprefix("avg")
            assert level_and_metric + ":" in table
            assert re.search(rf"\b({operation}|{window})\b", table), rule["record"]


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", RUNBOOK))
def test_links_of_the_docs_lead_somewhere(link):
    """Every file that docs/prometheus.md links to exists."""
    assert (ROOT / "docs" / link).exists()


def test_the_example_scrapes_as_the_fragment_does():
    """prometheus.yml repeats scrape-metrics.yml, which Prometheus before 2.43 cannot include."""
    example, fragment = (
        yaml.safe_load((PROMETHEUS / name).read_text())["scrape_configs"]
        for name in ("prometheus.yml", "scrape-metrics.yml")
    )
    assert example == fragment
