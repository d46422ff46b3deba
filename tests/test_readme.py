"""The README is right: what readers copy from it works, and it stays a short front door."""

import re
from pathlib import Path

from click.testing import CliRunner

from monitor.app.tables import TABLES
from monitor.cli import cli
from monitor.config.load import load

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/monitor run",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
)
"""What a newcomer types first; .ci/run runs the second one word for word."""


def test_the_first_two_commands_stand_there():
    """Each command is in its own block, so that readers can copy it."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert {f"{command}\n" for command in COMMANDS} <= set(blocks)
    assert COMMANDS[1] in (ROOT / ".ci" / "run").read_text()


def test_it_is_a_front_door():
    """The README has at most 200 lines, because reference material is in docs/reference."""
    assert len(TEXT.splitlines()) <= 200


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
    """The Dockerfile runs the same program, with the list where the README mounts it."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["monitor"]' in dockerfile
    assert "MONITOR_CONFIG=/config " in dockerfile
    assert Path("config/sites.yaml").as_posix() in dockerfile
