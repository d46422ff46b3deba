"""A JUnit report of checks, for CI servers."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import click

from monitor.commands import terminal
from monitor.model import Result


def write_junit(path: Path, results: Sequence[Result]) -> None:
    """Write what CI servers read: a test case a site, its failure the reason and the sentence."""
    suite = ET.Element(
        "testsuite",
        name="monitor",
        tests=str(len(results)),
        failures=str(sum(result.up is False for result in results)),
        errors=str(sum(result.up is None for result in results)),
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            name=_xml_text(result.site),
            classname="monitor",
            time=f"{result.observation.duration:.6f}",
        )
        if not result.up:
            kind = "error" if result.up is None else "failure"
            ET.SubElement(case, kind, message=_xml_text(terminal.explain(result)))
    tree = ET.ElementTree(suite)
    try:
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from error


def _xml_text(text: str) -> str:
    # XML 1.0 has no way to write control characters, however escaped
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
