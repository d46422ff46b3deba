"""The import rule of docs/architecture.md, checked in every file."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "monitor").rglob("*.py"))
GROUND = {
    "accept",
    "discovered",
    "model",
    "past",
    "places",
    "protocols",
    "naming",
    "statuspage",
    "records",
    "options",
    "errors",
    "grammar",
    "clock",
    "board",
    "logs",
    "mailbox",
    "report",
    "secrecy",
    "units",
    "outbound",
    "notify",
}
PACKAGES = {
    "config",
    "probes",
    "analysis",
    "engine",
    "metrics",
    "web",
    "history",
    "messages",
    "sources",
    "locations",
}
HOMES = {
    "requests": ("monitor/probes/", "monitor/sources/"),
    "pycurl": ("monitor/probes/",),
    "brotli": ("monitor/probes/coding.py",),
    "dns": ("monitor/probes/",),
    "icmplib": ("monitor/probes/icmp.py",),
    "cronsim": ("monitor/probes/push.py",),
    "grpc": ("monitor/probes/grpc.py",),
    "yaml": ("monitor/config/", "monitor/importers/"),
    "idna": ("monitor/config/",),
    "pydantic_core": ("monitor/config/",),
    "watchfiles": ("monitor/config/", "monitor/sources/file.py"),
    "cryptography": ("monitor/analysis/",),
    "cel": ("monitor/analysis/",),
    "lxml": ("monitor/analysis/", "monitor/sources/sitemap.py"),
    "cssselect": ("monitor/analysis/",),
    "prometheus_client": ("monitor/metrics/",),
    "starlette": ("monitor/web/",),
    "uvicorn": ("monitor/web/",),
    "h11": ("monitor/web/",),
    "jinja2": ("monitor/web/",),
    "markupsafe": ("monitor/web/",),
    "bcrypt": ("monitor/web/",),
    "click": ("monitor/cli.py", "monitor/commands/"),
    "rich": ("monitor/commands/",),
    "re2": ("monitor/options.py",),
    "sqlalchemy": ("monitor/history/",),
    "alembic": ("monitor/history/",),
    "nats": tuple(
        f"monitor/locations/{name}.py"
        for name in ("access", "link", "place_link", "hub_link", "stream")
    ),
    "pymysql": ("monitor/importers/kuma/",),
    "psycopg": ("monitor/history/", "monitor/importers/gatus/"),
    "apprise": ("monitor/messages/apprise_process.py",),
}


PAGE = (ROOT / "docs" / "architecture.md").read_text()


@cache
def imports(path: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def layer(name: str) -> str:
    """Return the first name below ``monitor``; empty for ``monitor`` itself."""
    return name.split(".")[1] if name.startswith("monitor.") else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_lies_below_it(path):
    """No file imports a sibling, and no file of the ground imports anything above it."""
    own = path.relative_to(ROOT / "monitor").parts[0].removesuffix(".py")
    allowed = {
        **dict.fromkeys(GROUND, GROUND),
        **{package: GROUND | {package} for package in PACKAGES},
        "app": GROUND | PACKAGES | {"app"},
        "importers": GROUND | {"config", "importers"},
        "commands": GROUND | PACKAGES | {"app", "commands", "importers"},
        "cli": {"commands", "errors", "probes"},
        "__main__": {"allocator", "cli"},
        "allocator": set(),
        "__init__": set(),
    }[own]
    used = {layer(name) for name in imports(path) if name.startswith("monitor.")}
    assert used - {"__version__"} <= allowed


def drawn() -> set[str]:
    """Return the paths below monitor/ that the tree of the page names."""
    tree = PAGE.partition("```text\nmonitor/\n")[2].partition("```")[0]
    found: set[str] = set()
    folders: list[str] = []
    for line in tree.splitlines():
        # Each level is four characters of lines and branches; a name starts where the text does
        match = re.match(r"((?:│   |    )*)[├└]── (.+?)(?: {2,}|(?<=\.py) (?=[a-z]))", line + "  ")
        if match is None:
            continue
        depth = len(match[1]) // 4
        names = re.findall(r"[a-z_]+(?:\.py|/)", match[2])
        found |= {"".join(folders[:depth]) + name for name in names}
        folders[depth:] = names[:1]
    return found


def test_the_tree_of_the_page_is_that_of_the_code():
    """The tree names only paths that exist, and every package and module of the ground."""
    tree = drawn()
    assert {name for name in tree if not (ROOT / "monitor" / name).exists()} == set()
    folders = PACKAGES | {"importers", "app", "commands"}
    ground = {name + ("/" if (ROOT / "monitor" / name).is_dir() else ".py") for name in GROUND}
    assert ground | {f"{name}/" for name in folders} <= tree


def test_the_picture_of_the_page_has_all_siblings_and_the_whole_ground():
    """The import rule that people read is the one that this test checks."""
    picture = PAGE.partition("the ground: imports nothing above it")[0].rpartition("```text")[2]
    lines = picture.splitlines()
    ground = [line for line in lines if " · " in line]
    assert set(re.findall(r"[a-z]+", "".join(ground))) == GROUND
    (siblings,) = [line.partition("siblings")[0] for line in lines if "siblings" in line]
    assert set(re.findall(r"[a-z]+", siblings)) == PACKAGES


def test_a_class_has_a_name_that_no_other_has():
    """A search for a class by its name finds exactly one class."""
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_no_module_imports_itself_by_way_of_others():
    """Each module can be read after those that it imports, type checking included."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    # An imported name is a module, or is inside one
    graph = {
        name: {
            module
            for used in imports(path)
            for module in (used, used.rpartition(".")[0])
            if module in modules and module != "monitor"
        }
        for name, path in modules.items()
    }
    assert graph["monitor.clock"] == {"monitor.records", "monitor.units"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_used_only_at_home(path):
    """Each library is used in one place only."""
    where = str(path.relative_to(ROOT))
    for name in imports(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or where.startswith(homes), f"{name} has its home in {homes}"


def test_every_dependency_has_a_home():
    """Every library in pyproject.toml is in the table above, and is imported somewhere."""
    used = {name.split(".")[0] for path in FILES for name in imports(path)}
    outside = used - set(sys.stdlib_module_names) - {"monitor"}
    assert outside | {"cel"} == set(HOMES)  # which analysis/expression.py loads by its file


@pytest.mark.parametrize(
    ("package", "where"),
    [
        ("requests", "monitor"),
        ("icmplib", "monitor"),
        ("yaml", "monitor"),
        ("prometheus_client", "monitor"),
        ("pytest", "tests"),
        ("responses", "tests"),
    ],
)
def test_the_packages_that_the_project_was_given_are_used(package, where):
    """Each package is imported where it belongs, and that file calls or derives from part of it."""
    for path in sorted((ROOT / where).rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {name for node in ast.walk(tree) for name in _bound(node, package)}
        if any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(tree)):
            return
    pytest.fail(f"nothing in {where} uses {package}")


def _bound(node: ast.AST, package: str) -> set[str]:
    """Return the names that an import of the package binds."""
    if isinstance(node, ast.Import):
        whole = [alias for alias in node.names if alias.name.split(".")[0] == package]
        return {(alias.asname or alias.name).split(".")[0] for alias in whole}
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
        return {alias.asname or alias.name for alias in node.names}
    return set()


def test_a_worker_loads_no_network_library():
    """The forkserver's preload, and a child's import of the main module, stay light."""
    heavy = ["requests", "pycurl", "dns", "icmplib", "yaml", "pydantic", "starlette", "uvicorn"]
    script = (
        "import sys, monitor.analysis.judge, monitor.__main__\n"
        f"print([name for name in {[*heavy, 'prometheus_client', 'click']} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_daemon_without_receivers_loads_nothing_of_messages():
    """The daemon imports the message modules only if a configuration has receivers."""
    script = (
        "import sys, monitor.app.daemon\n"
        "print([name for name in sys.modules if name.startswith('monitor.messages')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_daemon_loads_the_dns_probe_with_the_first_such_site_and_jinja_with_the_first_page():
    """Both take memory and time, so neither loads early, nor waits for a site's first check."""
    script = (
        "import sys, monitor.app.daemon\n"
        "from monitor.probes.registry import PROBES\n"
        "heavy = ('dns.message', 'monitor.probes.dns', 'jinja2')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "PROBES['dns'].check_url('dns://192.0.2.53/example.com')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines() == ["[]", "['dns.message', 'monitor.probes.dns']"]


@pytest.mark.parametrize("module", ["app.daemon", "app.places", "commands.check", "commands.probe"])
def test_what_keeps_nothing_loads_no_history(module):
    """Neither ``--data none`` nor a single check loads a database library."""
    heavy = ["sqlalchemy", "alembic", "monitor.history"]
    script = (
        f"import sys, monitor.{module}\nprint([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["--version", "healthcheck"])
def test_a_light_command_loads_nothing_of_the_daemon(command):
    """Commands that run every few seconds, or that only show something, load almost nothing."""
    heavy = ["requests", "yaml", "pydantic_core", "starlette", "uvicorn", "rich", "http", "ssl"]
    script = (
        "import sys, monitor.cli\n"
        f"try: monitor.cli.cli([{command!r}])\n"
        f"except SystemExit: print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "MONITOR_LISTEN": "127.0.0.1:1"},
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["validate", "schema", "history", "report", "notify"])
def test_a_command_that_only_reads_a_list_loads_no_web_server(command):
    """It loads only the composition root's tables, and starts 0.1 s faster than the daemon."""
    script = (
        f"import sys, monitor.commands.{command}\n"
        "print([name for name in ('uvicorn', 'starlette', 'monitor.app.daemon')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_a_daemon_without_sources_loads_none_of_them():
    """It loads only the table of kinds, which the list and its schema need."""
    script = (
        "import sys, monitor.app.daemon\n"
        "print(sorted(name for name in sys.modules if name.startswith('monitor.sources.')"
        " or name == 'monitor.app.discovery'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "['monitor.sources.options']"


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_can_fail_by_what_it_asks(path):
    """Each test asserts, expects an error, waits for something, or runs a program to succeed."""
    tree = ast.parse(path.read_text())
    tests = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    assert [one.name for one in tests if not any(map(_asks, ast.walk(one)))] == []


def _asks(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    checked = any(one.arg == "check" and ast.unparse(one.value) == "True" for one in node.keywords)
    return (
        checked
        or called in {"pytest.raises", "pytest.fail"}
        or called.startswith(("assert_", "until"))
    )


_EXCEPTION = re.compile(r"# (?:noqa: [A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)*|type: ignore\[[a-z, -]+\])")


def test_every_exception_to_a_rule_has_a_reason():
    """Each ``noqa`` and ``type: ignore`` has its reason beside it or in a comment above."""
    missing = []
    for path in sorted((ROOT / "monitor").rglob("*.py")):
        before = ""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code, *_ = _EXCEPTION.split(line, maxsplit=1)
            bare = code != line and not _EXCEPTION.sub("", line[len(code) :]).strip(" #")
            if bare and not before.startswith("#"):
                missing.append(f"{path.relative_to(ROOT)}:{number}")
            before = line.strip()
    assert missing == []
