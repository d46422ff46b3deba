"""What the Dockerfile builds of; that it does is proven in tests/system/test_container.py."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path, PurePath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from monitor import __version__

ROOT = Path(__file__).parent.parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^(\S+)==(\S+) \\$", LOCK, re.MULTILINE)
}


@pytest.fixture(scope="module")
def slim():
    """The script that makes an image of an environment."""
    return loaded("slim", ROOT / "container" / "slim.py")


def loaded(name: str, path: Path) -> Any:
    """Return the module that a file holds."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "wanted",
    [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["grpc"],
        *PROJECT["build-system"]["requires"],
    ],
)
def test_the_lock_has_what_the_project_asks_for(wanted):
    """Each dependency is locked, in a version that will do."""
    requirement = Requirement(wanted)
    assert requirement.specifier.contains(LOCKED[canonicalize_name(requirement.name)])


def test_the_lock_is_of_hashes():
    """Every version has hashes, and nothing says where it is to be had."""
    blocks = re.split(r"^(?=\S)", LOCK, flags=re.MULTILINE)
    pinned = [block for block in blocks if block.strip() and not block.startswith("#")]
    assert len(pinned) == len(LOCKED)
    for block in pinned:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_the_image_is_of_this_version():
    """The label's default is the version of the code."""
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE


def test_nothing_that_is_left_out_is_loaded(slim):
    """Whatever module of ours is loaded, none of its files is one that slim.py deletes."""
    script = (
        "import importlib, json, pkgutil, sys, monitor\n"
        # As it is in the image: Mako, which Alembic loads, takes it where it is there
        "sys.modules['pygments'] = None\n"
        "for module in pkgutil.walk_packages(monitor.__path__, 'monitor.'):\n"
        "    importlib.import_module(module.name)\n"
        "files = [getattr(module, '__file__', None) for module in sys.modules.values()]\n"
        "print(json.dumps([file for file in files if file]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(json.loads(done.stdout))
    gone = {
        str(file.locate()) for name in slim.DISTRIBUTIONS for file in distribution(name).files or []
    }
    assert loaded & gone == set()
    parts = [part for part in slim.PARTS if not part.startswith("**")]
    for file in loaded:
        inside = PurePath(file.partition("site-packages/")[2])
        for folder in (inside, *inside.parents):
            assert not any(folder.match(part) for part in parts if len(folder.parts) > 1), file


def test_modules_of_their_own_moment_are_there(slim):
    """What slim.py loads by name exists."""
    for name in slim.ASIDE:
        assert importlib.util.find_spec(name), name


def test_byte_code_is_that_of_the_source(slim, tmp_path, monkeypatch):
    """Without docstrings a module does what it did, and its file is taken unchecked."""
    source = tmp_path / "made.py"
    source.write_text(
        '"""Doc."""\nfrom __future__ import annotations\n'
        'def f(a: int = 1):\n    """Doc."""\n'
        "class C:\n    'Doc.'\n    x = 'not a docstring'\n    def g(self): return f, 1 / 1\n"
    )
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "bytecode"))
    slim.compile_file(source, documented=False)
    source.write_text("raise SystemExit('compiled anew')")
    made = loaded("made", source)
    assert (made.__doc__, made.f.__doc__, made.C.__doc__) == (None, None, None)
    assert (made.f(), made.C().g(), made.C.x) == (None, (made.f, 1.0), "not a docstring")
