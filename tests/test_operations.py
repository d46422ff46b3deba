"""The operations page knows every message of the program, and all pages say what is true."""

import re
import shlex
from pathlib import Path

import click
import pytest

from monitor.cli import cli
from monitor.config.load import load_record
from monitor.model import Reason, Status
from monitor.web.web_config import WebConfig
from tests import sentences
from tests.sentences import HOLE, MONITOR

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = (ROOT / "docs" / "operations.md").read_text()

# ---------------------------------------------------------------- every message

_NO_MESSAGE = {
    # What `monitor import` and /config print around what they say
    "# From … of blackbox_exporter.",
    "# … is left out.",
    "# …: …",
    "--- # …",
    # Types and the JSON Schema
    "Form | None",
    "${NAME}, ${NAME:-default} or ${file:PATH}.",
    "A bare URL is a whole site.",
    "A file of blackbox_exporter's, whose modules are there too.",
    "For … sites.",
    "More files of the same form: paths or globs, relative to this file.",
    "Options for targets that /probe is asked about, by name.",
    (
        "URLs that tell whether the monitor's own connection stands: while none of them answers, "
        "sites whose checks fail are unknown, not down."
    ),
    "What is checked.",
    "website-monitor site list",
    # Part of another
    "first at line …",
    # For whoever writes a record of options
    "… is not in the language of monitor.options",
    "… marked … is not in the language of monitor.options",
    # Parts of answers that cannot be read, which are the text behind a reason
    "bytes follow its last record",
    "has an integer of more digits than can be read",
    "is not JSON, which has no …",
    "is not JSON: … in line …, column …",
    "is not UTF-8 (byte …)",
    "it is cut off",
    "it is not protobuf",
    "its first field is not a number",
    "its records are longer than … characters",
    "nests deeper than … levels",
    "… is not a serving status",
}
"""Texts that the search for problems finds, and that are none."""


def _listed(mark: str) -> set[str]:
    """Return the messages in the first column of a table between its marks."""
    section = TEXT.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {message for row in rows for message in re.findall(r"`([^`]+)`", row)}


def _section(heading: str) -> str:
    return re.split(r"^#+ ", TEXT.split(f"\n### {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_every_event_of_the_log_is_explained():
    """Each name that the source logs has its row, and there is no other."""
    listed = set(re.findall(r"`(\w+)`", "".join(_rows(_section("What the log says"), column=0))))
    logged = sentences.events() - {f"{HOLE}_more"}
    turns = {f"site_{Status.UP}", f"site_{Status.DOWN}"}
    assert listed == logged - {f"site_{HOLE}"} | turns
    assert f"`{HOLE}_more`" in TEXT


def test_every_reason_it_cannot_start_is_explained():
    """Each sentence that ends a start, and the advice that some have at their end."""
    assert _listed("start") == sentences.given_to("StartupError", "_refusal")


def test_every_complaint_about_arguments_is_explained():
    """What the commands say of what they were called with, or cannot write."""
    said = {text for text in sentences.given_to("echo") if text.startswith("monitor: ")}
    said.remove(f"monitor: {HOLE}")  # the frame of all others
    assert _listed("arguments") == sentences.given_to("UsageError") | said


def test_every_fault_of_the_monitors_own_is_explained():
    """Each sentence of a check that counts as an error."""
    said = sentences.given_to("ProbeError", "spoilt") | sentences.given_as("error")
    assert _listed("checks") == said


def test_every_reason_is_explained():
    """The closed list, in its order."""
    section = TEXT.split("<!-- reasons -->")[1].split("<!-- /reasons -->")[0]
    assert [row.strip("` ") for row in _rows(section, column=0)] == [str(one) for one in Reason]


def test_every_refusal_of_the_web_endpoints_is_explained():
    """Each sentence that is an answer, those of one word aside."""
    said = sentences.given_to("HTTPException", "Refused", "sentence", "_error")
    assert _listed("answers") == {text for text in said if " " in text}


def test_every_problem_of_a_configuration_is_listed():
    """Whatever may be said of a list, a module file or a web configuration stands in its group."""
    files = [*(MONITOR / "config").glob("*.py"), MONITOR / "options.py"]
    files.append(MONITOR / "web" / "web_config.py")
    said = sentences.written_in(files)
    for error in ("ValueError", "TypeError"):
        said |= sentences.raised_in(("probes", "analysis"), error)
    said = {text for text in said if not text.startswith("http_2xx: ")}  # the shipped modules
    blocks = re.findall(r"^```text problems\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    assert set(lines) == said - _NO_MESSAGE
    assert said >= _NO_MESSAGE
    assert len(lines) == len(set(lines))


def _rows(section: str, column: int) -> list[str]:
    """Return one column of the tables in a section, their heads left out."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return [cell[column] for cell in cells if cell[0] not in ("---", "event", "reason")]


# ---------------------------------------------------------------- what the pages say

_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
_COMMAND = re.compile(r"(?:^|[\s/(])monitor (?=[a-z-])([^|&;>#`\n]+)", re.MULTILINE)


def _anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as the hosts of repositories make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def _links() -> list[tuple[Path, str, str]]:
    return [(page, *link) for page in PAGES for link in _LINK.findall(page.read_text())]


@pytest.mark.parametrize(("page", "target", "anchor"), _links())
def test_links_lead_somewhere(page, target, anchor):
    """To a file that is there, and in a page to a heading that it has."""
    path = (page.parent / target).resolve() if target else page
    assert path.exists(), f"{page.name} links to {target}"
    assert not anchor or anchor in _anchors(path), f"{page.name}: {path.name} has no #{anchor}"


def _commands() -> list[str]:
    """Return what the pages write behind the program's name, in code."""
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
    """Each command that a page shows is one, with the options that it shows."""
    arguments = [one for one in shlex.split(written) if not one.startswith("[")]
    context = click.Context(cli, info_name="monitor")
    command, name = cli, "monitor"
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        command = command.get_command(context, name)
    try:
        command.make_context(name, list(arguments), parent=context)
    except click.exceptions.Exit:  # of --version and --help
        pass
    except click.MissingParameter:
        assert not arguments  # only its name was meant


def test_there_are_commands_and_links_to_try():
    """The two tests above have something to find."""
    assert {"validate /etc/monitor", "import blackbox blackbox.yml"} <= set(_commands())
    assert len(_links()) > 50


def test_the_web_configuration_is_good(tmp_path):
    """What readers copy is taken, once its files are there."""
    [block] = re.findall(r"^```yaml web\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    (tmp_path / "tls.crt").touch()
    (tmp_path / "tls.key").touch()
    (tmp_path / "web.yaml").write_text(block)
    assert load_record(tmp_path / "web.yaml", WebConfig, {}).basic_auth_users
