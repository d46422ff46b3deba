"""What config/grafana ships: one dashboard, and the files that bring it into Grafana."""

import re
from collections import Counter

import pytest
import yaml

from tests.deploy.shipped import (
    COMPOSE,
    GRAFANA,
    dashboard,
    expressions,
    metrics_in,
    panels,
    unknown,
)

VARIABLES = {one["name"]: one for one in dashboard()["templating"]["list"]}
_OF_GRAFANA = {"__rate_interval"}


def test_panels_are_laid_out_without_overlap():
    """Each cell of the grid of 24 columns belongs to one panel at most, and ids are unique."""
    cells: Counter[tuple[int, int]] = Counter()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    assert max(cells.values()) == 1
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("place", "expression"), expressions())
def test_panels_ask_for_metrics_that_there_are(place, expression):
    """Every name is a family of ours, one of our rules' or Prometheus' own."""
    assert metrics_in(expression)
    assert unknown(metrics_in(expression)) == set(), place


def test_variables_are_there_and_used():
    """Nothing names a variable that the dashboard lacks, and it has none for show."""
    texts = [text for _, text in expressions()]
    texts += [panel["title"] for panel in dashboard()["panels"]]
    texts += [one.get("definition", "") for one in VARIABLES.values()]
    texts += [target["datasource"]["uid"] for panel in panels() for target in panel["targets"]]
    named = set(re.findall(r"\$\{?(\w+)", " ".join(texts)))
    assert named - _OF_GRAFANA == set(VARIABLES)


def test_variables_ask_for_metrics_that_there_are():
    """The names in label_values() are families of ours."""
    for one in VARIABLES.values():
        for metric in re.findall(r"label_values\((\w+)", one.get("definition", "")):
            assert unknown({metric}) == set()


def test_no_panel_is_bound_to_one_data_source():
    """Whoever imports the dashboard chooses the Prometheus."""
    for panel in panels():
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_provisioning_leads_to_the_dashboard_and_to_prometheus():
    """Paths and addresses in the provisioning files are those of the compose file."""
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in services["grafana"]["volumes"])
    (provider,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "dashboards" / "website-monitor.yml").read_text()
    )["providers"]
    folder = COMPOSE / mounts[provider["options"]["path"]]
    assert [path.name for path in folder.iterdir()] == ["website-monitor.json"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/website-monitor.json"
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    interval = yaml.safe_load((GRAFANA.parent / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == interval["global"]["scrape_interval"]
