"""Every page for people: its links work, its commands exist, and each line has one sentence."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from monitor.cli import cli
from tools.prose import pages, reflow

ROOT = Path(__file__).parent.parent
PAGES = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_line_is_one_sentence(page):
    """A changed sentence is one changed line; python -m tools.prose breaks the lines."""
    text = page.read_text()
    assert reflow(text) == text


_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
_COMMAND = re.compile(r"(?:^|[\s/(])monitor (?=[a-z-])([^|&;>#`\n]+)", re.MULTILINE)


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as repository hosts make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def _links() -> list[tuple[Path, str, str]]:
    return [(page, *link) for page in PAGES for link in _LINK.findall(page.read_text())]


@pytest.mark.parametrize(("page", "target", "anchor"), _links())
def test_links_lead_somewhere(page, target, anchor):
    """Each link leads to a file that exists, and to a heading that the page has."""
    path = (page.parent / target).resolve() if target else page
    assert path.exists(), f"{page.name} links to {target}"
    assert not anchor or anchor in _anchors(path), f"{page.name}: {path.name} has no #{anchor}"


def _commands() -> list[str]:
    """Return what follows the program's name in the pages' code."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```(?:sh|ini)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        spans = re.findall(r"`(monitor [^`\n]+)`", text)
        for code in (*blocks, *spans):
            found.update(one.strip() for one in _COMMAND.findall(code.replace("\\\n", " ")))
    return sorted(found)


@pytest.mark.parametrize("written", _commands())
def test_commands_are_there(written):
    """Each command on a page exists, with the options that the page shows."""
    arguments = [one for one in shlex.split(written) if not one.startswith("[")]
    context = click.Context(cli, info_name="monitor")
    command: Any = cli
    name = "monitor"
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        command = command.get_command(context, name)
    try:
        command.make_context(name, list(arguments), parent=context)
    except click.exceptions.Exit:  # for --version and --help
        pass
    except click.MissingParameter:
        assert not arguments  # the page only names the command


def test_there_are_commands_and_links_to_try():
    """The two tests above find commands and links."""
    assert {"validate /etc/monitor", "import blackbox blackbox.yml"} <= set(_commands())
    assert len(_links()) > 50


def test_each_page_has_its_place_on_the_site():
    """Each page is in mkdocs.yml, as the strict build requires; an index lists the decisions."""
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    docs = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in docs if not page.startswith("decisions/0")} <= set(
        re.findall(r": (\S+\.md)$", nav, re.MULTILINE)
    )
