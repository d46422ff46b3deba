"""
config/kubernetes as data, and its one manifest that is made from other files.

``python -m tests.deploy.kubernetes`` writes the PrometheusRule; test_kubernetes.py compares it.
"""

from pathlib import Path
from typing import Any

import yaml

from tests.deploy.shipped import ROOT, RULE_FILES

KUBERNETES = ROOT / "config" / "kubernetes"
PROMETHEUS_RULE = KUBERNETES / "base" / "prometheusrule.yaml"

_HEAD = """\
# The rules of ../../prometheus/rules for the Prometheus operator. Made of them by
# python -m tests.deploy.kubernetes; change them there.
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def prometheus_rule() -> str:
    """Return the manifest that holds all rules of config/prometheus."""
    document = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "website-monitor"},
        "spec": {
            "groups": [
                group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]
            ]
        },
    }
    return _HEAD + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100)


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def manifest(path: Path) -> dict[str, Any]:
    """Return the only document of a file."""
    (document,) = documents(path.read_text())
    return document


if __name__ == "__main__":
    PROMETHEUS_RULE.write_text(prometheus_rule())
