"""
``python -m tools.release 1.2.3``: makes this work tree that version.

The version is set in monitor/__init__.py; whatever else shows it (the image's label, the example
for Kubernetes, the default of the User-Agent header) follows, and what the changelog has under
[Unreleased] gets the version and today's date. Without a version, everything else follows the one
in monitor/__init__.py. tests/test_release.py holds them together.
"""

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = ROOT / "monitor" / "__init__.py"
CHANGELOG = ROOT / "CHANGELOG.md"

_VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?")
_HEADING = "## [Unreleased]\n"

PLACES = {
    ROOT / "Dockerfile": "ARG VERSION={}\n",
    ROOT / "docs" / "kubernetes.md": 'newTag: "{}"',
}
"""Where the version is written by hand, and in what form."""


def current() -> str:
    """Return the version in monitor/__init__.py, as the file has it now."""
    found = re.search(r'^__version__ = "(.*)"$', CODE.read_text(), re.MULTILINE)
    assert found
    return found.group(1)


def follow(version: str) -> None:
    """Write this version into the files that show it, and make again what is made of the code."""
    for path, form in PLACES.items():
        before, after = (re.escape(part) for part in form.split("{}"))
        text, count = re.subn(
            f"(?<={before}){_VERSION.pattern}(?={after})", version, path.read_text()
        )
        assert count == 1, f"{path} must show the version once"
        path.write_text(text)
    schema = subprocess.check_output([sys.executable, "-m", "monitor", "schema"], text=True)
    (ROOT / "config" / "sites.schema.json").write_text(schema)
    subprocess.check_call([sys.executable, "-m", "tools.reference"])


def name_changes(version: str, today: dt.date) -> None:
    """Give the changes that are not released yet this version, and begin a new list."""
    text = CHANGELOG.read_text()
    assert text.count(_HEADING) == 1, "CHANGELOG.md must have one heading [Unreleased]"
    CHANGELOG.write_text(text.replace(_HEADING, f"{_HEADING}\n## [{version}] - {today}\n"))


def main() -> None:
    match sys.argv[1:]:
        case []:
            follow(current())
        case [version] if _VERSION.fullmatch(version):
            CODE.write_text(CODE.read_text().replace(f'"{current()}"', f'"{version}"'))
            name_changes(version, dt.datetime.now(dt.UTC).date())
            follow(version)
        case _:
            sys.exit(str(__doc__).strip())


if __name__ == "__main__":
    main()
