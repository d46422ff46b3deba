"""The version is in monitor/__init__.py, and everything that shows a version shows that one."""

import re
import tomllib
from importlib.metadata import version as installed
from pathlib import Path

import pytest
import yaml

from monitor import __version__
from tools import release

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_package_has_the_version_of_the_code():
    """pyproject.toml names the attribute, and the installed package has its value."""
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "monitor.__version__"}
    assert installed("website-monitor") == __version__ == release.current()


@pytest.mark.parametrize(
    ("path", "form"), release.PLACES.items(), ids=lambda one: getattr(one, "name", "")
)
def test_other_files_show_the_version(path, form):
    """The image's label and the Kubernetes example show it; python -m tools.release sets them."""
    assert form.format(__version__) in path.read_text()


def test_the_changelog_knows_the_version():
    """A version that is released has its heading in the changelog."""
    headings = [line for line in release.CHANGELOG.read_text().splitlines() if line[:3] == "## "]
    assert headings[0] == "## [Unreleased]"
    assert any(line.startswith(f"## [{__version__}] - ") for line in headings)


def test_hooks_run_what_ci_runs():
    """Hooks run the project's own tools, so that their versions are the same as in CI."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    steps = (ROOT / ".ci" / "run").read_text()
    for tool in ("ruff check", "ruff format", "mypy", "codespell", "check-jsonschema"):
        assert any(entry.startswith(f".venv/bin/{tool}") for entry in entries)
        assert f".venv/bin/{tool}" in steps


def test_actions_are_pinned():
    """Workflows name actions by commit, so that a moved tag changes nothing."""
    uses = [
        line.split("uses: ")[1]
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses: " in line and "uses: ./" not in line
    ]
    assert len(uses) > 10
    assert [one for one in uses if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", one)] == []
