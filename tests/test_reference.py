"""The reference pages are right: their tables and lists are compared with the code."""

import re

import click

from monitor.cli import cli
from monitor.metrics.internal import Internal
from monitor.model import Reason
from tools.reference import FOLDER, filled, pages


def test_the_tables_are_what_the_code_says():
    """The tables list every option, expectation, setting and series (python -m tools.reference)."""
    assert filled(pages()) == pages()


def test_the_reasons_are_all_listed():
    """The page lists all reasons in order, each with an example and what to do."""
    text = (FOLDER / "reasons.md").read_text()
    section = text.split("<!-- reasons -->")[1].split("<!-- /reasons -->")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.strip().splitlines()]
    assert [row[0].strip("`") for row in rows[2:]] == [str(reason) for reason in Reason]
    assert all(len(row) == 3 and all(row) for row in rows)


def test_the_daemons_own_series_are_all_listed():
    """The page names every family of our own that /metrics has."""
    page = (FOLDER / "metrics.md").read_text()
    text = Internal(version="1", libcurl="8").exposition(openmetrics=False).decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE monitor_")}
    assert {name for name in families if name not in page} == set()


def test_the_commands_are_all_listed():
    """The table has every command, and no other."""
    page = (FOLDER / "command-line.md").read_text()
    listed = set(re.findall(r"^\| `monitor (\w+)", page, re.MULTILINE))
    assert listed == set(cli.list_commands(click.Context(cli)))
