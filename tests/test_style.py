"""Texts for people follow docs/style.md, and use no word that it lists as one to avoid."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from monitor.cli import cli
from tools.prose import pages

ROOT = Path(__file__).parent.parent
STYLE = ROOT / "docs" / "style.md"
CODE = sorted((ROOT / "monitor").rglob("*.py"))
RULES = sorted((ROOT / "config" / "prometheus" / "rules").glob("*.yml"))


def _words() -> re.Pattern[str]:
    """Return one pattern for the whole table of words to avoid."""
    table = STYLE.read_text().split("<!-- words -->")[1].split("<!-- /words -->")[0]
    rows = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    return re.compile("|".join(f"(?:{row})" for row in rows).replace(r"\|", "|"), re.IGNORECASE)


WORDS = _words()


def _found(text: str) -> list[str]:
    return [match.group() for match in WORDS.finditer(text)]


def _said(path: Path) -> Iterator[tuple[int, str]]:
    """Yield all texts of a file except docstrings, with their lines."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in documentation:
                yield node.lineno, text


def _notes(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each docstring and comment of a file on one line, with its line number."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, " ".join(text.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=path)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner
            yield from _commands(inner, f"{path} {name}")


def test_the_words_to_avoid_are_found():
    """The table is read correctly, so that the test below can fail."""
    assert _found("It is none of them, whoever asks.") == ["is none", "whoever"]
    assert _found("there is none; a mender cannot be told") == []


@pytest.mark.parametrize(
    "page", [one for one in pages() if one != STYLE], ids=lambda one: str(one.relative_to(ROOT))
)
def test_pages_keep_to_the_style(page):
    """Each page for people follows the style, code blocks and quoted messages included."""
    lines = enumerate(page.read_text().splitlines(), 1)
    assert {number: words for number, line in lines if (words := _found(line))} == {}


@pytest.mark.parametrize("path", CODE, ids=lambda one: str(one.relative_to(ROOT)))
def test_messages_keep_to_the_style(path):
    """Each text in the source that is not a docstring follows the style, such as messages."""
    assert {line: words for line, text in _said(path) if (words := _found(text))} == {}


@pytest.mark.parametrize("path", CODE, ids=lambda one: str(one.relative_to(ROOT)))
def test_comments_and_docstrings_keep_to_the_style(path):
    """Comments and docstrings, which contributors read, follow the style."""
    assert {line: words for line, text in _notes(path) if (words := _found(text))} == {}


def test_help_keeps_to_the_style():
    """What --help prints of each command, which comes from docstrings, follows the style."""
    helps = dict(_commands(cli, "monitor"))
    assert len(helps) > len(cli.commands)
    assert {path: words for path, text in helps.items() if (words := _found(text))} == {}


@pytest.mark.parametrize("path", RULES, ids=lambda one: one.name)
def test_annotations_keep_to_the_style(path):
    """Alerts' annotations, which people on call read, follow the style."""
    groups = yaml.safe_load(path.read_text())["groups"]
    texts = [
        text
        for group in groups
        for rule in group["rules"]
        for text in rule.get("annotations", {}).values()
    ]
    assert {text: words for text in texts if (words := _found(text))} == {}
