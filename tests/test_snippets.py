"""What readers copy from the README and the docs works: each block of YAML is loaded."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
import yaml

from monitor.app.tables import TABLES
from monitor.config.load import load
from tools.prose import ROOT, pages


class Block(NamedTuple):
    """A fenced block of a page, whose title says what kind of file it is."""

    page: str
    title: str
    text: str

    @property
    def name(self) -> str:
        """Return the page, and the first words of the block."""
        return f"{self.page}: {self.text.splitlines()[0][:30]}"


_FENCE = re.compile(r'^```(?:yaml|json)(?: title="([^"]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
BLOCKS = [
    Block(str(page.relative_to(ROOT)), title, text)
    for page in pages()
    for title, text in _FENCE.findall(page.read_text())
]
ELSEWHERE = {
    "blackbox.yml": "tests/test_migration.py",
    "gatus.yaml": "tests/test_migration.py",
    "gateways": "tests/test_reference.py",
    "kustomization.yaml": "tests/deploy/test_kubernetes.py",
    "kustomization.yaml of a place": "tests/deploy/test_kubernetes_places.py",
    "kustomization.yaml with sites from the cluster": "tests/deploy/test_kubernetes.py",
    "message.json": "tests/messages/test_webhook.py",
    "rules.yml": "tests/deploy/test_prometheus.py",
    "web.yaml": "tests/test_operations.py",
}
"""The titles of blocks that are not lists of sites, and the tests that use them."""
SECRETS = dict.fromkeys(("DB_PASSWORD", "INVENTORY_TOKEN", "SHOP_TOKEN"), "x")


def _of(*titles: str) -> Any:
    chosen = [block for block in BLOCKS if block.title in titles]
    assert chosen, f"no page has a block with the title {titles}"
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.name)


def _sites(text: str, folder: Path) -> int:
    """Return how many sites a list has, after making the files that it names."""
    authority = trustme.CA()
    ours = authority.issue_cert("monitor.example.com")
    authority.cert_pem.write_to_path(folder / "internal-ca.pem")
    ours.cert_chain_pems[0].write_to_path(folder / "monitor.crt")
    ours.private_key_pem.write_to_path(folder / "monitor.key")
    (folder / "nats.creds").touch()
    (folder / "blackbox.yml").write_text("modules: {http_2xx: {prober: http}}\n")
    text = re.sub(r"/(?:run/secrets|etc/ssl)(?=/)", str(folder), text)
    (folder / "sites.yaml").write_text(text)
    return len(load(folder / "sites.yaml", TABLES, SECRETS).sites)


@_of("", "sites.yaml")
def test_site_lists_are_good(block, tmp_path):
    """Each list on a page is valid, once its environment and files exist."""
    text = block.text if "sites:" in block.text else f"{block.text}sites: [https://example.com]\n"
    assert _sites(text, tmp_path) or "discover:" in text


@_of("site")
def test_parts_of_a_site_are_good(block, tmp_path):
    """Keys on a page without a site around them are valid keys of a site."""
    url = "url: tls://db.example.com:5432\n"
    lines = "".join(f"    {line}\n" for line in (url + block.text).splitlines())
    assert _sites(f"sites:\n  -\n{lines}", tmp_path) == 1


@_of("httproute.yaml", "compose.yaml", "targets/shop.json")
def test_what_others_say_of_a_site_is_good(block, tmp_path):
    """The keys in annotations and labels are valid keys of a site."""
    document = yaml.safe_load(block.text)
    site = {"url": "https://shop.example.com"}
    match block.title:
        case "httproute.yaml":
            site |= yaml.safe_load(document["metadata"]["annotations"]["monitor.example/site"])
        case "compose.yaml":
            for name, value in document["services"]["shop"]["labels"].items():
                *path, last = name.removeprefix("monitor.").split(".")
                inner: Any = site
                for key in path:
                    inner = inner.setdefault(key, {})
                inner[last] = yaml.safe_load(value)
        case "targets/shop.json":
            for name, value in document[0]["labels"].items():
                if name.startswith("__monitor_"):
                    site[name.removeprefix("__monitor_")] = yaml.safe_load(value)
    assert _sites(json.dumps({"sites": [site]}), tmp_path) == 1


@pytest.mark.real
@_of("prometheus.yml")
def test_prometheus_takes_the_scrape_jobs(block, tmp_path, real):
    """Each prometheus.yml on a page is a complete configuration."""
    (tmp_path / "prometheus.yml").write_text(block.text)
    command = [real("promtool"), "check", "config", tmp_path / "prometheus.yml"]
    subprocess.run(command, check=True)


def test_no_block_is_left_out():
    """Each kind of block has a test, here or in the file that the table names."""
    here = {"", "sites.yaml", "site", "httproute.yaml", "compose.yaml", "targets/shop.json"}
    titles = {block.title for block in BLOCKS}
    assert titles - here - {"prometheus.yml"} == set(ELSEWHERE)
    assert all((ROOT / path).is_file() for path in ELSEWHERE.values())
