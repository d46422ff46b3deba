"""
``python -m tools.prose``: puts one sentence on each line of the README, the docs and the changelog.

A change of one sentence is then a change of one line. Tables, code, headings and comments stay as
they are; tests/test_prose.py compares.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

_VERBATIM = re.compile(r"^\s*(?:\||#|<|!!!|\?\?\?|===|---$|\[[^\]]+\]: )")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_MARKER = re.compile(r"^(\s*(?:> ?)*)((?:[-*+]|\d+\.) +)?(.*)$")
_CODE = re.compile(r"(`+).+?\1|\]\([^)]*\)")
_END = re.compile(r"[.!?][)\"'*_]*\s+(?=\S)")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx)|\b[A-Z]|^)\.$")


def pages() -> list[Path]:
    """Return every page that is written by hand, those of GitHub's forms aside."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def reflow(text: str) -> str:
    """Return a page with one sentence on each line of its paragraphs and lists."""
    return "\n".join(_lines(text.splitlines())) + "\n"


def _lines(lines: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    indent = rest = ""
    fence = ""
    comment = False
    for line in lines:
        opening = _FENCE.match(line)
        inside = bool(fence) or comment
        if opening and not comment:
            if not fence:
                fence = opening.group(1)
            elif opening.group(1).startswith(fence):
                fence = ""
        if not fence and "<!--" in line:
            comment = True
        verbatim = inside or opening or comment or not line.strip() or _VERBATIM.match(line)
        if comment and "-->" in line:
            comment = False
        if verbatim:
            yield from _flow(paragraph, indent, rest)
            paragraph = []
            yield line.rstrip()
            continue
        match = _MARKER.match(line)
        assert match
        before, marker, words = match.group(1), match.group(2) or "", match.group(3)
        if not paragraph or marker or before.strip() != indent.strip()[: len(before.strip())]:
            yield from _flow(paragraph, indent, rest)
            paragraph = []
            indent = before + marker
            rest = before + " " * len(marker)
        paragraph.append(words)
    yield from _flow(paragraph, indent, rest)


def _flow(paragraph: list[str], first: str, rest: str) -> Iterator[str]:
    prefix = first
    for sentence in _sentences(" ".join(paragraph)) if paragraph else ():
        yield (prefix + sentence).rstrip()
        prefix = rest


def _sentences(text: str) -> Iterator[str]:
    masked = _CODE.sub(lambda match: "x" * len(match.group()), text)
    start = 0
    for end in _END.finditer(masked):
        stop = end.start() + 1
        if _ABBREVIATION.search(masked[start:stop]):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    yield text[start:].strip()


def main() -> None:
    for path in [Path(one) for one in sys.argv[1:]] or pages():
        path.write_text(reflow(path.read_text()))


if __name__ == "__main__":
    main()
