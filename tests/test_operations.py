"""The page explains each event of the log, and each error that ends a start."""

import re
from pathlib import Path

from monitor.config.load import load_record
from monitor.model import Status
from monitor.web.web_config import WebConfig
from tests import sentences
from tests.sentences import HOLE

DOCS = Path(__file__).parent.parent / "docs"
OPERATIONS = (DOCS / "operations.md").read_text()
MESSAGES = (DOCS / "reference" / "messages.md").read_text()


def _first_column(heading: str) -> set[str]:
    """Return the code in the first column of the table below a heading."""
    section = re.split(r"^## ", MESSAGES.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {text for row in rows for text in re.findall(r"`([^`]+)`", row)}


def test_every_event_of_the_log_is_explained():
    """Each event that the source logs has its row, and no other event has one."""
    logged = sentences.events() - {f"{HOLE}_more"}
    turns = {f"site_{Status.UP}", f"site_{Status.DOWN}"}
    assert _first_column("Log events") == logged - {f"site_{HOLE}"} | turns
    assert f"`{HOLE}_more`" in MESSAGES


def test_every_reason_it_cannot_start_is_explained():
    """Each sentence that ends a start is explained, with the advice that some end with."""
    assert _first_column("It does not start") == sentences.given_to("StartupError", "_refusal")


def test_the_web_configuration_is_good(tmp_path):
    """The configuration that readers copy is accepted, once its files exist."""
    [block] = re.findall(
        r'^```yaml title="web.yaml"\n(.*?)^```', OPERATIONS, re.DOTALL | re.MULTILINE
    )
    (tmp_path / "tls.crt").touch()
    (tmp_path / "tls.key").touch()
    (tmp_path / "web.yaml").write_text(block)
    assert load_record(tmp_path / "web.yaml", WebConfig, {}).basic_auth_users
