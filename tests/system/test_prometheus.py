"""
The files in config/, run for real: rules and scraping by Prometheus, alerts to an Alertmanager.

Only waiting is shortened: groups are evaluated each second, and a rule's ``for`` of minutes
lasts one second. Expressions, labels and routes are those of the files.
"""

import math
import re
import signal
from functools import partial
from typing import Any

import pytest
import yaml

from tests.deploy.shipped import (
    COMPOSE,
    DASHBOARD,
    LOCATIONS_DASHBOARD,
    PROMETHEUS,
    RULE_FILES,
    dashboard,
    expressions,
)
from tests.narrowing import known
from tests.system.nats import Nats, Places, says, votes
from tests.system.processes import Alertmanager, fetch
from tests.waiting import until

pytestmark = pytest.mark.real


@pytest.fixture
def hurried_rules(tmp_path) -> str:
    """Return a glob of the shipped rules, copied with short waits."""
    folder = tmp_path / "rules"
    folder.mkdir()
    for path in RULE_FILES:
        groups = yaml.safe_load(path.read_text())
        for group in groups["groups"]:
            group["interval"] = "1s"
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "1s"
        (folder / path.name).write_text(yaml.safe_dump(groups))
    return str(folder / "*.yml")


@pytest.fixture
def alertmanager(real, tmp_path):
    server = Alertmanager(
        real("prometheus-alertmanager"), tmp_path, PROMETHEUS / "alertmanager.yml"
    )
    yield server
    server.stop()


def shipped_scrapes(name: str, daemon) -> list[dict[str, Any]]:
    """Return the scrape configurations of a shipped file, with this daemon's address."""
    text = (PROMETHEUS / name).read_text()
    place = daemon.url.removeprefix("http://")
    configs: list[dict[str, Any]] = yaml.safe_load(text.replace("monitor:10115", place))[
        "scrape_configs"
    ]
    return configs


@pytest.mark.parametrize(
    ("scrapes", "instances"),
    [
        ("scrape-metrics.yml", ["{monitor}"]),
        ("scrape-sd.yml", ["{site}/500", "{site}/page.txt"]),
    ],
)
def test_an_outage_reaches_alertmanager_and_ends_there(
    nginx, start, prometheus, alertmanager, hurried_rules, tmp_path, scrapes, instances
):
    """
    A site goes down and its alert fires; it comes back and the alert is over.

    Both scrape configurations have each series once, under the right instance.
    """
    page = tmp_path / "nginx" / "page.txt"
    page.write_text("all is well\n")
    base = f"http://127.0.0.1:{nginx.port}"
    daemon = start(f"""
defaults: {{interval: 500ms, timeout: 400ms}}
sites:
  - {{name: shop, url: "{base}/page.txt", group: web, labels: {{team: a}}}}
  - {{name: closed, url: "{base}/500", maintenance: [{{from: "00:00", to: "00:00"}}]}}
""")
    server = prometheus(
        daemon,
        shipped_scrapes(scrapes, daemon),
        {
            "rule_files": [hurried_rules],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}
                ]
            },
        },
    )

    def told() -> dict[str, dict[str, Any]]:
        alerts = alertmanager.alerts()
        return {
            one["labels"]["site"]: one for one in alerts if one["labels"]["alertname"] == "SiteDown"
        }

    up = 'site:probe_success:counted{site="shop"} == 1 and on (job, site) monitor_site_up == 1'
    until(lambda: server.query(up), "the site's being up")
    assert told() == {}
    # With a target for each site, each one has its first scrape at a different moment
    until(lambda: len(server.query("probe_success")) == 2, "both sites' results")
    results = [one["metric"] for one in server.query("probe_success")]
    place = daemon.url.removeprefix("http://")
    expected = {instance.format(monitor=place, site=base) for instance in instances}
    assert {one["instance"] for one in results} == expected
    assert sorted(one["site"] for one in results) == ["closed", "shop"]
    assert {one["metric"]["instance"] for one in server.query("monitor_site_up")} == {place}

    page.unlink()
    alert = until(told, "the alert")["shop"]
    assert (
        alert["labels"].items()
        >= {
            "alertname": "SiteDown",
            "severity": "critical",
            "job": "monitor",
            "target": f"{base}/page.txt",
            "group": "web",
            "team": "a",
        }.items()
    )
    assert alert["annotations"]["summary"] == "shop is down"
    # The site in maintenance was down all the time, and sent no alert
    assert server.query('monitor_site_up{site="closed"} == 0')
    assert set(told()) == {"shop"}
    assert not server.query('ALERTS{site="closed"}')
    assert not server.query('site:probe_success:counted{site="closed"}')

    page.write_text("all is well again\n")
    until(lambda: not told(), "the alert's end")


def test_the_rule_and_the_monitor_send_one_alert(
    nginx, start, prometheus, alertmanager, hurried_rules, tmp_path
):
    """Given Prometheus' job and instance, Alertmanager takes both alerts for the same one."""
    page = tmp_path / "nginx" / "page.txt"
    page.write_text("all is well\n")
    sites = f"""
defaults: {{interval: 500ms, timeout: 400ms}}
sites:
  - {{name: shop, url: "http://127.0.0.1:{nginx.port}/page.txt", group: web, labels: {{team: a}}}}
"""
    daemon = start(sites)
    place = f"127.0.0.1:{alertmanager.port}"
    own = {"job": "monitor", "instance": daemon.url.removeprefix("http://")}
    receiver = {"name": "am", "alertmanager": [f"http://{place}"], "labels": own}
    daemon.sites.write_text(sites + yaml.safe_dump({"notify": {"receivers": [receiver]}}))
    assert fetch(f"{daemon.url}/-/reload", "POST")[0] == 200
    alerting = {"alertmanagers": [{"static_configs": [{"targets": [place]}]}]}
    server = prometheus(
        daemon,
        shipped_scrapes("scrape-metrics.yml", daemon),
        {"rule_files": [hurried_rules], "alerting": alerting},
    )
    until(lambda: server.query('monitor_site_up{site="shop"} == 1'), "the site's being up")
    page.unlink()
    delivered = f'monitor_notifications_total{{outcome="delivered",receiver="am/{place}"}}'
    until(lambda: daemon.metrics().get(delivered, 0) > 0, "the monitor's alert")
    firing = 'ALERTS{alertname="SiteDown",alertstate="firing"}'
    until(lambda: server.query(firing), "Prometheus' alert")

    def by_prometheus() -> list[dict[str, Any]]:
        alerts = [one for one in alertmanager.alerts() if one["labels"]["alertname"] == "SiteDown"]
        return alerts if any(one.get("generatorURL") for one in alerts) else []

    (alert,) = until(by_prometheus, "Prometheus' alert in Alertmanager")
    assert alert["labels"] == {
        "alertname": "SiteDown",
        "severity": "critical",
        "site": "shop",
        "target": f"http://127.0.0.1:{nginx.port}/page.txt",
        "group": "web",
        "team": "a",
        **own,
    }
    page.write_text("all is well again\n")
    until(lambda: not by_prometheus(), "the alert's end")


# ---------------------------------------------------------------- the dashboard


def substituted(expression: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


def assert_data(server, path, values):
    """Wait until each expression and each variable of a dashboard has data."""

    def has_data(expression: str) -> bool:
        return any(not math.isnan(float(one["value"][1])) for one in server.query(expression))

    def has_label(expression: str, label: str) -> bool:
        return any(label in one["metric"] for one in server.query(expression))

    for place, expression in expressions(path):
        query = substituted(expression, values)
        until(partial(has_data, query), f"data for {place}: {query}")
    for variable in dashboard(path)["templating"]["list"]:
        if variable["type"] == "query":
            asked = known(re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]))
            query = substituted(asked[1], values)
            until(partial(has_label, query, asked[2]), f"values of {variable['name']}")


def test_every_panel_of_the_dashboard_has_data(nginx, ca, start, prometheus, hurried_rules):
    """
    Each expression and each variable's query returns data, as Grafana would send it.

    The values: job ``monitor``, group all (``.*``), site ``broken``, which fails over HTTPS and
    gives a value, instance the daemon's address, and ``$__rate_interval`` 4s, which is what Grafana
    makes of a scrape interval of 1s.
    """
    tls = f"https://127.0.0.1:{nginx.tls_port}"
    daemon = start(f"""
defaults: {{interval: 500ms, timeout: 400ms}}
connectivity: ["tcp://127.0.0.1:{nginx.port}"]
sites:
  - {{name: good, url: "http://127.0.0.1:{nginx.port}/", group: web}}
  - name: broken
    url: "{tls}/500"
    group: web
    tls: {{ca_file: "{ca.path}"}}
    extract: {{size: {{header: content-length}}}}
""")
    server = prometheus(
        daemon, shipped_scrapes("scrape-metrics.yml", daemon), {"rule_files": [hurried_rules]}
    )
    until(lambda: len(server.query("monitor_site_up")) == 2, "a check of both sites")
    # The daemon skips slots that pass while it stands still; Prometheus notices after a second
    daemon.signal(signal.SIGSTOP)
    until(lambda: server.query("up == 0"), "a scrape without an answer")
    daemon.signal(signal.SIGCONT)
    values = {
        "job": "monitor",
        "group": ".*",
        "site": "broken",
        "instance": re.escape(daemon.url.removeprefix("http://")).replace("\\", "\\\\"),
        "__rate_interval": "4s",
    }

    assert_data(server, DASHBOARD, values)


@pytest.fixture
def nats(real, tmp_path):
    """Start NATS with config/compose's nats-server.conf, and passwords as a reader makes them."""
    text = (COMPOSE / "places" / "nats-server.conf").read_text()
    for line in (
        "listen: 0.0.0.0:4222\n",
        "http: 127.0.0.1:8222  # for the health check\n",
        "jetstream { store_dir: /var/lib/nats, max_file_store: 2GiB }\n",
    ):
        assert line in text
        text = text.replace(line, "")
    (tmp_path / "passwords.conf").write_text(
        "".join(
            f'{user.upper()}_PASSWORD: "12e{user}"\n' for user in ("fra", "nyc", "hub", "setup")
        )
    )
    server = Nats(real("nats-server"), tmp_path, text)
    server.set_up(user="setup", password="12esetup")
    yield server
    server.stop()


def test_every_panel_about_locations_has_data(nats, moody, prometheus, tmp_path):
    """The list and the NATS of config/compose's two places give every panel data."""
    shipped = yaml.safe_load((COMPOSE / "places" / "list" / "sites.yaml").read_text())
    shipped["locations"]["nats"]["servers"] = [nats.url]
    often = {"interval": "1s", "timeout": "500ms"}
    shipped["sites"] = [{"name": "shop", "url": moody.url, "group": "web", **often}]
    places = Places(tmp_path, "")
    try:
        for name in ("fra", "nyc", "hub"):
            (tmp_path / f"{name}.password").write_text(f"12e{name}\n")
            text = yaml.safe_dump(shipped).replace(
                "/run/secrets/nats-password", str(tmp_path / f"{name}.password")
            )
            places.start(name, text=text, NATS_USER=name)
        hub = places.daemons["hub"]
        until(says(hub, "up"), "the first verdict")
        until(lambda: votes(hub) == {"fra": "up", "nyc": "up"}, "both votes")
        server = prometheus(hub, shipped_scrapes("scrape-metrics.yml", hub))
        values = {
            "job": "monitor",
            "group": ".*",
            "site": "shop",
            "location": ".*",
            "__rate_interval": "4s",
        }
        assert_data(server, LOCATIONS_DASHBOARD, values)
    finally:
        places.kill()
