"""
Make an image of an environment: what the program never loads goes, what it loads is compiled.

Sources of others that are compiled are emptied: only a traceback would read them, and it still has
each file, line and function. Their files stay, because Python looks for them.

Run by the Dockerfile with the environment's own Python, and the names of distributions that were
needed to get here. Byte code is written for every module that the program and its commands load,
those of the standard library too, of which Python's images have none, into the folder that
$PYTHONPYCACHEPREFIX names: in a container with a read-only root nobody could write it later, and
each health check would compile anew.
"""

import ast
import importlib
import marshal
import pkgutil
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec, source_hash
from pathlib import Path

DISTRIBUTIONS = (
    # The command line of common-expression-language, of which we load the extension module alone
    *("typer", "shellingham", "annotated-doc", "prompt-toolkit", "wcwidth"),
    # What rich shows code and Markdown with
    *("pygments", "markdown-it-py", "mdurl"),
    # All of pydantic but its core, which decodes the configuration
    *("pydantic", "annotated-types", "typing-inspection"),
    # For building cffi modules; cryptography comes with its own built
    "pycparser",
    # Time zones: Python's images have Debian's
    "tzdata",
)
"""What our dependencies depend on, and nothing of ours loads in this image."""

PARTS = (
    # Of lxml we read pages with lxml.etree, and of cffi cryptography needs the extension module
    *("lxml/objectify*", "lxml/html", "lxml/isoschematron", "lxml/includes"),
    *("lxml/sax.*", "lxml/builder.*", "lxml/*.px[di]", "lxml/*.pyx", "cffi"),
    # Of SQLAlchemy we use two dialects and no classes of objects, of Alembic the commands
    *("sqlalchemy/dialects/mssql", "sqlalchemy/dialects/mysql", "sqlalchemy/dialects/oracle"),
    *("sqlalchemy/orm", "sqlalchemy/ext/[!_c]*", "sqlalchemy/testing"),
    *("alembic/templates", "alembic/testing"),
    # Of apprise we send in English, without pictures
    *("apprise/i18n/*/", "apprise/assets"),
    # For tests, type checkers and pip
    *("certifi/tests", "**/*.pyi", "*.dist-info/RECORD", "**/__pycache__"),
)
"""Parts of packages, as patterns."""

ASIDE = (
    *("multiprocessing.forkserver", "multiprocessing.popen_forkserver"),
    *("multiprocessing.popen_spawn_posix", "multiprocessing.synchronize"),
    *("uvicorn.lifespan.off", "uvicorn.loops.asyncio", "encodings.unicode_escape"),
    *("sqlalchemy.dialects.sqlite.pysqlite", "sqlalchemy.dialects.postgresql.psycopg"),
    *("alembic.config", "alembic.runtime.environment", "alembic.script", "psycopg"),
    "grpc",
)
"""Modules that the program loads at a moment of their own, where they are installed."""

PLUGINS = ("apprise.plugins",)
"""Packages whose modules are all loaded at once, where they are installed."""

READ_THEMSELVES = ("anyio", "mako", "monitor")
"""Packages whose sources are read while they run; ours stand in tracebacks."""

_UNCHECKED = 0b01
"""Of PEP 552: the byte code is not compared with its source, whose time copying may change."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def prune(site: Path, others: Iterable[str]) -> None:
    """Delete what stands in the tables above, and other distributions."""
    for name in (*DISTRIBUTIONS, *others):
        for file in distribution(name).files or []:
            Path(str(file.locate())).unlink(missing_ok=True)
    for pattern in PARTS:
        for path in site.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for folder in sorted(site.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def load() -> None:
    """Load every module of the program, and so whatever these load."""
    program = importlib.import_module("monitor")
    for module in pkgutil.walk_packages(program.__path__, "monitor."):
        importlib.import_module(module.name)
    for name in ASIDE:
        if find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    for name in PLUGINS:
        if find_spec(name.partition(".")[0]):
            package = importlib.import_module(name)
            for module in pkgutil.iter_modules(package.__path__, f"{name}."):
                importlib.import_module(module.name)


def sources() -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each module that is loaded."""
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        # setuptools has a module in every Python that starts beside it, and has just been removed
        if path.suffix == ".py" and path.exists():
            yield name, path


def compile_file(path: Path, documented: bool) -> None:
    """
    Write the byte code of a file.

    Args:
        documented: Whether docstrings are kept. Those of others are 2 MB of the image and of the
            daemon's memory.
    """
    source = path.read_bytes()
    tree = ast.parse(source)
    if not documented:
        drop_docstrings(tree)
    code = compile(tree, path, "exec", dont_inherit=True)
    target = Path(cache_from_source(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = _UNCHECKED.to_bytes(4, "little")
    target.write_bytes(MAGIC_NUMBER + flags + source_hash(source) + marshal.dumps(code))


def drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
    ast.fix_missing_locations(tree)


if __name__ == "__main__":
    packages = Path(sysconfig.get_path("purelib"))
    prune(packages, sys.argv[1:])
    load()
    # By file: requests has modules of urllib3 under a second name
    compiled = {source: module.partition(".")[0] for module, source in sources()}
    for source, package in compiled.items():
        # The help texts of our commands are docstrings
        compile_file(source, documented=package == "monitor")
        if source.is_relative_to(packages) and package not in READ_THEMSELVES:
            source.write_bytes(b"")
