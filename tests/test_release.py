"""The version stands in monitor/__init__.py, and whatever shows it shows that one."""

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
    """pyproject.toml names the attribute, and what is installed has its value."""
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "monitor.__version__"}
    assert installed("website-monitor") == __version__ == release.current()


@pytest.mark.parametrize(
    ("path", "form"), release.PLACES.items(), ids=lambda one: getattr(one, "name", "")
)
def test_other_files_show_the_version(path, form):
    """The image's label and the example for Kubernetes; python -m tools.release mends."""
    assert form.format(__version__) in path.read_text()


def test_the_changelog_knows_the_version():
    """A version that is no longer being worked on has its heading."""
    headings = [line for line in release.CHANGELOG.read_text().splitlines() if line[:3] == "## "]
    assert headings[0] == "## [Unreleased]"
    assert any(line.startswith(f"## [{__version__}] - ") for line in headings)


def test_hooks_run_what_ci_runs():
    """.pre-commit-config.yaml has ruff, mypy and codespell in the versions of the extra dev."""
    pinned = dict(
        one.split("==") for one in PROJECT["project"]["optional-dependencies"]["dev"] if "==" in one
    )
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {
        repo["repo"].rpartition("/")[2]: repo["rev"].removeprefix("v")
        for repo in hooks
        if repo["repo"] != "local"
    }
    assert revisions == {
        "ruff-pre-commit": pinned["ruff"],
        "mirrors-mypy": pinned["mypy"],
        "codespell": pinned["codespell"],
    }
