"""Which sites come from Ingresses and from the Gateway API's routes, gateways and listeners."""

import pytest

from monitor.app.tables import TABLES
from monitor.config.discovery import read_yaml
from monitor.config.load import load
from monitor.discovered import SourceContents
from monitor.sources.ports import UnreadableError
from monitor.sources.routes import Gateways, Rules, common_hosts, from_ingresses, from_routes
from tests.sources.scenarios import (
    GATEWAYS,
    INGRESSES,
    PAGE,
    ROUTES,
    by_key,
    filled,
    parent,
    route,
)

RULES = Rules("kubernetes", "monitor.example", enabled=True, read_yaml=read_yaml)


def told(gathered):
    """Return the URLs, each mistake after an exclamation mark, and the remarks."""
    urls = [
        f"! {one.problem}" if one.problem else one.keys["url"] for one in gathered.entries.values()
    ]
    return urls, list(gathered.remarks)


@pytest.mark.parametrize(
    ("objects", "urls", "remarks"),
    [row[1:] for row in INGRESSES],
    ids=[row[0] for row in INGRESSES],
)
def test_sites_of_ingresses(objects, urls, remarks):
    """Each row has Ingresses, the sites that they give, and the remarks about what is left out."""
    found, left_out = told(from_ingresses(by_key(objects), RULES))
    assert [one[: len(url)] for one, url in zip(found, urls, strict=True)] == urls
    assert left_out == remarks


@pytest.mark.parametrize(
    ("kind", "routes", "urls", "remarks"),
    [row[1:] for row in ROUTES],
    ids=[row[0] for row in ROUTES],
)
def test_sites_of_routes(kind, routes, urls, remarks):
    """Each row has routes, the sites that they and the gateways above give, and the remarks."""
    gathered = from_routes(kind, by_key(routes), Gateways(by_key(GATEWAYS), {}), RULES)
    assert told(gathered) == (urls, remarks)


def test_each_of_them_passes_the_checks_of_the_list(tmp_path):
    """Each site of the table above is valid in a site list, with its name and labels."""
    (tmp_path / "sites.yaml").write_text("discover: [{kubernetes: {}}]\n")
    config = load(tmp_path / "sites.yaml", TABLES, {})
    gateways = Gateways(by_key(GATEWAYS), {})
    entries = [
        entry
        for _, kind, routes, *_ in ROUTES
        for entry in from_routes(kind, by_key(routes), gateways, RULES).entries.values()
    ]
    unique = {entry.identity: entry for entry in entries}
    adopted = config.adoption(TABLES).adopt({"kubernetes": SourceContents(tuple(unique.values()))})
    assert adopted.rejected == {}
    assert [site.name for site in adopted.sites] == list(unique)
    assert len(unique) > 12


def test_annotations_are_inherited():
    """The route's win over the gateway's, and those over the class's, key by key in a fragment."""
    gateways = by_key(
        GATEWAYS.replace(
            "s/near:\n",
            "s/near:\n  annotations: {monitor.example/path: /ready, monitor.example/site:"
            " '{timeout: 4s, expect: {status: [200]}, labels: {tier: edge}}'}\n",
        )
    )
    classes = by_key(
        "/c: {annotations: {monitor.example/enabled: 'false', monitor.example/site:"
        " '{interval: 30s, timeout: 9s}'}}"
    )
    chosen = route(
        "hostnames: [near.example], rules: [{matches: [{path: {value: /x}}]}]",
        parent("near", "s"),
        annotations="{monitor.example/enabled: 'true', monitor.example/site:"
        " '{expect: {latency: 1s}, name: near}'}",
    )
    silent = route("hostnames: [near.example]", parent("near", "s"), name="s/silent")
    gathered = from_routes(
        "httproutes", by_key(chosen + silent), Gateways(gateways, classes), RULES
    )
    (entry,) = gathered.entries.values()
    assert entry.place == "httproute s/r"
    assert entry.keys == {
        "name": "near",
        "url": "https://near.example/ready",
        "interval": "30s",
        "timeout": "4s",
        "expect": {"status": [200], "latency": "1s"},
        "labels": {
            "source": "kubernetes",
            "namespace": "s",
            "httproute": "r",
            "gateway": "s/near",
            "tier": "edge",
        },
    }


def test_a_gateway_that_cannot_be_read_costs_the_routes_that_need_it():
    """Those routes keep their last sites; without such a route nothing fails."""
    unknown = Gateways({}, {}, {None: "gateways: refused"})
    routes = by_key(route("hostnames: [a.example]", parent()))
    with pytest.raises(UnreadableError, match=r"^gateways: refused$"):
        from_routes("httproutes", routes, unknown, RULES)
    rejected = by_key(route("hostnames: [a.example]", parent(accepted="False")))
    assert told(from_routes("httproutes", rejected, unknown, RULES))[0] == []


@pytest.mark.parametrize(
    ("listener", "names", "common"),
    [
        (None, [], []),
        (None, ["a.b"], ["a.b"]),
        ("a.b", [], ["a.b"]),
        ("a.b", ["a.b", "c.b"], ["a.b"]),
        ("*.b", ["a.b", "c.a.b", "b", "x.y"], ["a.b", "c.a.b"]),
        ("a.b", ["*.b"], ["a.b"]),
        ("*.b", ["*.a.b", "*.y"], ["*.a.b"]),
        ("*.a.b", ["*.b"], ["*.a.b"]),
        ("*.b", ["*.b"], ["*.b"]),
    ],
)
def test_hosts_in_common(listener, names, common):
    """The Gateway API's rules apply; of two wildcards the narrower one counts."""
    assert common_hosts(listener, names) == common


def test_the_reference_shows_the_scenarios():
    """The page has all scenarios and no others; ``python -m tests.sources.scenarios`` writes it."""
    page = PAGE.read_text()
    assert filled(page) == page
    assert all(f"| {row[0]} |" in page for row in (*INGRESSES, *ROUTES))
