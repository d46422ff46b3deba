"""What config/grafana ships: dashboards, and the files that load them into Grafana."""

import re
from collections import Counter

import pytest
import yaml

from tests.deploy.shipped import (
    COMPOSE,
    DASHBOARDS,
    GRAFANA,
    dashboard,
    expressions,
    metrics_in,
    panels,
    unknown,
)

_OF_GRAFANA = {"__rate_interval"}

each = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def variables(path):
    """Return the variables of a dashboard by name."""
    return {one["name"]: one for one in dashboard(path)["templating"]["list"]}


@each
def test_panels_are_laid_out_without_overlap(path):
    """Each cell of the 24-column grid belongs to at most one panel, and ids are unique."""
    cells: Counter[tuple[int, int]] = Counter()
    for panel in dashboard(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert max(cells.values()) == 1
    ids = [panel["id"] for panel in dashboard(path)["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("place", "expression"), [one for path in DASHBOARDS for one in expressions(path)]
)
def test_panels_ask_for_metrics_that_there_are(place, expression):
    """Each name is a metric of the monitor, of our rules or of Prometheus itself."""
    assert metrics_in(expression)
    assert unknown(metrics_in(expression)) == set(), place


@each
def test_variables_are_there_and_used(path):
    """The dashboard defines each variable that it uses, and uses each that it defines."""
    texts = [text for _, text in expressions(path)]
    texts += [panel["title"] for panel in dashboard(path)["panels"]]
    texts += [one.get("definition", "") for one in variables(path).values()]
    texts += [target["datasource"]["uid"] for panel in panels(path) for target in panel["targets"]]
    named = set(re.findall(r"\$\{?(\w+)", " ".join(texts)))
    assert named - _OF_GRAFANA == set(variables(path))


@each
def test_variables_ask_for_metrics_that_there_are(path):
    """The names in label_values() are metrics of the monitor."""
    for one in variables(path).values():
        for metric in re.findall(r"label_values\((\w+)", one.get("definition", "")):
            assert unknown({metric}) == set()


@each
def test_no_panel_is_bound_to_one_data_source(path):
    """The user who imports the dashboard chooses the Prometheus."""
    for panel in panels(path):
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_provisioning_leads_to_the_dashboards_and_to_prometheus():
    """Paths and addresses in the provisioning files match the compose file."""
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in services["grafana"]["volumes"])
    (provider,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "dashboards" / "website-monitor.yml").read_text()
    )["providers"]
    folder = COMPOSE / mounts[provider["options"]["path"]]
    assert {path.name for path in folder.iterdir()} == {path.name for path in DASHBOARDS}
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/website-monitor.json"
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    interval = yaml.safe_load((GRAFANA.parent / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == interval["global"]["scrape_interval"]
