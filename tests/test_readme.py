"""The README cannot lie: its tables, lists and YAML blocks are held against the code."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from monitor.cli import cli
from monitor.config.load import load
from monitor.daemon import TABLES
from monitor.metrics.internal import Internal
from monitor.model import Reason
from tests.reference import README, filled

ROOT = README.parent
TEXT = README.read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
LINKS = re.findall(r"\]\((?!https?://)([^)#]*)(?:#[^)]*)?\)", TEXT)


def test_the_tables_are_what_the_code_says():
    """Every option, expectation, setting and series is listed; python -m tests.reference mends."""
    assert filled(TEXT) == TEXT


def test_the_reasons_are_all_listed():
    """The closed list of reasons, in its order."""
    section = TEXT.split("<!-- reasons -->")[1].split("<!-- /reasons -->")[0]
    assert re.findall(r"`(\w+)`", section) == [str(reason) for reason in Reason]


def test_the_daemons_own_series_are_all_listed():
    """Every family of our own that /metrics has is named."""
    text = Internal(version="1", libcurl="8").exposition(openmetrics=False).decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE monitor_")}
    assert {name for name in families if name not in TEXT} == set()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_the_site_lists_are_good(block, tmp_path):
    """What readers copy works."""
    path = tmp_path / "sites.yaml"
    path.write_text(block)
    assert load(path, TABLES, {}).sites


def test_there_is_a_site_list_to_copy():
    """The test above has something to load."""
    assert BLOCKS


@pytest.mark.parametrize("link", LINKS)
def test_links_lead_somewhere(link):
    """Every file that the README points to is there."""
    assert not link or (ROOT / link).exists()


def test_the_commands_are_all_listed():
    """The table of commands names each one, and no other."""
    listed = set(re.findall(r"^\| `monitor (\w+)", TEXT, re.MULTILINE))
    assert listed == set(cli.list_commands(click.Context(cli)))


def test_the_example_list_is_good():
    """config/sites.yaml, which the first command runs, has no problem and a few real sites."""
    config = load(ROOT / "config" / "sites.yaml", TABLES, {})
    urls = {site.url for site in config.sites}
    assert "http://127.0.0.1:10115/-/healthy" in urls
    assert len(urls) >= 3


def test_the_committed_schema_is_the_codes():
    """config/sites.schema.json is what `monitor schema` prints."""
    printed = CliRunner().invoke(cli, ["schema"])
    assert printed.exit_code == 0
    assert (ROOT / "config" / "sites.schema.json").read_text() == printed.output


def test_the_image_installs_what_the_readme_says():
    """The Dockerfile runs the same program with the list where the README mounts it."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["monitor"]' in dockerfile
    assert "MONITOR_CONFIG=/config " in dockerfile
    assert Path("config/sites.yaml").as_posix() in dockerfile
