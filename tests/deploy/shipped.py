"""What config/ ships for Prometheus and Grafana, as data: rules, expressions and metric names."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from monitor.metrics.families import FAMILIES
from monitor.metrics.internal import Internal
from monitor.metrics.places import PlaceMeters
from monitor.places import Standing

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "config" / "prometheus"
GRAFANA = ROOT / "config" / "grafana"
COMPOSE = ROOT / "config" / "compose"
DASHBOARD = GRAFANA / "dashboards" / "website-monitor.json"
LOCATIONS_DASHBOARD = GRAFANA / "dashboards" / "website-monitor-locations.json"
DASHBOARDS = (DASHBOARD, LOCATIONS_DASHBOARD)
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))

_PROMETHEUS_OWN = frozenset({"up", "scrape_duration_seconds"})
"""What Prometheus itself adds to every target."""


@cache
def rules() -> list[dict[str, Any]]:
    """Return every rule of every group."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def dashboard(path: Path = DASHBOARD) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(path: Path = DASHBOARD) -> list[dict[str, Any]]:
    """Return a dashboard's panels, including those in collapsed rows, without the rows."""
    found: list[dict[str, Any]] = []
    for panel in dashboard(path)["panels"]:
        found += panel["panels"] if panel["type"] == "row" else [panel]
    return found


def expressions(path: Path = DASHBOARD) -> list[tuple[str, str]]:
    """Return each expression of a dashboard, as its place and its text."""
    return [
        (f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels(path)
        for target in panel["targets"]
    ]


# ---------------------------------------------------------------- names in expressions

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAMED_BY = re.compile(r"""__name__\s*(=~?)\s*"([^"]*)\"""")
_BRACES = re.compile(r"\{[^}]*\}")
_LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_BRACKETS = re.compile(r"\[[^]]*\]")
_OFFSET = re.compile(r"\boffset\s+\w+")
_NAME = re.compile(r"(?<![\w:$])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")
_WORDS = frozenset({"and", "or", "unless", "bool"})


def metrics_in(expression: str) -> set[str]:
    """
    Return the names of the metrics that an expression uses.

    It knows enough PromQL for what we ship: ``__name__=~`` gives the pattern, in slashes.
    """
    found = {
        f"/{name}/" if operator == "=~" else name
        for operator, name in _NAMED_BY.findall(expression)
    }
    for noise in (_TEXT, _BRACES, _LABEL_LIST, _BRACKETS, _OFFSET):
        expression = noise.sub(" ", expression)
    return found | (set(_NAME.findall(expression)) - _WORDS)


def exposed() -> set[str]:
    """Return the names of all series that a Prometheus with our rules has about a monitor."""
    internal = Internal(version="1", libcurl="8")
    internal.connectivity(True)
    meters = PlaceMeters(internal)
    meters.location(Standing(location="fra"))
    meters.reports("fra", 1, 0.0)
    own = {
        re.split(r"[{ ]", line)[0]
        for line in internal.exposition(openmetrics=False).decode().splitlines()
        if not line.startswith("#")
    }
    sites = {
        family.name + suffix
        for family in FAMILIES
        for suffix in (("_bucket", "_sum", "_count") if family.type == "histogram" else ("",))
    }
    # Prometheus 3 can turn a classic histogram into a native one, without the suffix
    native = {name.removesuffix("_bucket") for name in own | sites if name.endswith("_bucket")}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return own | sites | native | recorded | _PROMETHEUS_OWN


def unknown(names: set[str]) -> set[str]:
    """Return the names that nothing exposes; every alternative of a pattern must exist."""
    known = exposed()
    missing = set()
    for name in names:
        if not name.startswith("/"):
            missing |= {name} - known
            continue
        before, alternatives, after = re.split(r"[()]", name.strip("/"))
        missing |= {before + one + after for one in alternatives.split("|")} - known
    return missing
