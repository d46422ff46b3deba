"""
Each internal of a library that we use is still as we found it: docs/private-api.md.

A test here asks the library alone. When one fails after an update, check the file that the page
names before you raise the upper bound in pyproject.toml.
"""

import asyncio
import ctypes
import dataclasses
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import tomllib
from concurrent.futures import ProcessPoolExecutor
from importlib.machinery import PathFinder
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import cssselect
import pycurl
import pytest
import requests
import trustme
import uvicorn
from alembic.script import ScriptDirectory
from cssselect import parser
from pydantic_core import SchemaValidator, ValidationError, core_schema
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.probes.libcurl.options import SSL_CONTEXT_FUNCTION, set_option
from monitor.probes.libcurl.trust import Context, Trusts
from tests.probes.servers import ScriptedServer, answer
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "private-api.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]


def test_the_page_states_the_bounds_that_hold():
    """Every package on the page has an upper bound in pyproject.toml, and the page quotes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*extras["apprise"], *project["dependencies"]]
    bounds = dict(re.findall(r"^([\w-]+)(.*)", "\n".join(wanted), re.MULTILINE))
    for package, bound, *_ in ROWS:
        if bound != "Python's own":
            assert bound.strip("`") == bounds[package.strip("`")]
            assert "<" in bound


def test_the_page_names_files_and_tests():
    """The files and tests that a row names exist."""
    for *_, where, test in ROWS:
        assert all((ROOT / file).is_file() for file in re.findall(r"`(.+?)`", where))
        assert test.strip("`") in globals()


def test_no_file_reaches_inside_unseen():
    """Every file that touches a private name of a library is on the page."""
    reaching = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "monitor").rglob("*.py")
        for line in path.read_text().splitlines()
        if "noqa: SLF001" in line and not line.strip().startswith('"')  # a table of its own methods
    }
    assert reaching
    assert reaching <= {file for *_, where, _ in ROWS for file in re.findall(r"`(.+?)`", where)}


# ---------------------------------------------------------------- Python


def test_a_process_pool_shows_its_process_and_its_thread():
    """A worker's process is known by its pid once a task runs, and its thread ends with it."""
    pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))
    answer = pool.submit(os.getpid)
    (pid,) = pool._processes
    thread = pool._executor_manager_thread
    assert isinstance(thread, threading.Thread)
    try:
        assert answer.result(PATIENCE) == pid
    finally:
        os.kill(pid, signal.SIGKILL)
        pool.shutdown(wait=False, cancel_futures=True)
    thread.join(PATIENCE)
    assert not thread.is_alive()


_FORKSERVER = """
import os, sys, tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any
from monitor.engine.context import worker_context

def children():
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}

if __name__ == "__main__":
    context = worker_context((), (sys.argv[1],))
    pool = ProcessPoolExecutor(max_workers=1, mp_context=context)
    assert pool.submit(os.getpid).result(60) != os.getpid()
    print(children() == {forkserver._forkserver._forkserver_pid})
    print(any(Path(sys.argv[1]).iterdir()))
    pool.shutdown()
    forkserver._forkserver._stop()
    print(children() == set())
"""


def test_a_forkserver_runs_without_a_resource_tracker(tmp_path):
    """The server's functions can be replaced, its pid is known, its folder is ours, it ends."""
    script = tmp_path / "pool.py"
    script.write_text(_FORKSERVER)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, str(script), folder],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=PATIENCE,
        )
    assert done.stdout.split() == ["True", "True", "True"]


class _Count:
    """The part of a semaphore that a queue uses to bound itself."""

    asked = 0

    @property
    def _semlock(self):
        return self

    def _is_zero(self) -> bool:
        type(self).asked += 1
        return False

    def acquire(self, *_) -> bool:
        return True


def test_a_queue_asks_its_semaphore_whether_it_is_full():
    """The queue uses only _semlock and _is_zero, so we can replace its POSIX semaphore."""
    queue: Any = Queue(1, ctx=get_context("spawn"))
    queue._sem = _Count()
    assert not queue.full()
    assert _Count.asked == 1
    queue.close()


# ---------------------------------------------------------------- uvicorn


class _Connection(H11Protocol):
    calls: list[str]

    def __init__(self, *arguments, **named) -> None:
        super().__init__(*arguments, **named)
        assert self.cycle is None
        assert self.transport is None

    def send_400_response(self, msg: str) -> None:
        self.calls.append("send_400_response")
        super().send_400_response(msg)

    def on_response_complete(self) -> None:
        self.calls.append(f"on_response_complete {self.cycle.disconnected}")
        super().on_response_complete()


class _Server(uvicorn.Server):
    calls: list[str]

    async def startup(self, sockets=None) -> None:
        self.calls.append("startup")
        await super().startup(sockets)

    async def main_loop(self) -> None:
        self.calls.append("main_loop")
        while not await self.on_tick(0):  # noqa: ASYNC110  uvicorn sets it
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets=None) -> None:
        self.calls.append(f"shutdown {len(self.server_state.tasks)}")
        await super().shutdown(sockets)


async def _answer(_scope, _receive, send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _ask(address, head: bytes) -> bytes:
    with socket.create_connection(address, PATIENCE) as client:
        client.sendall(head)
        return client.recv(65536)


def test_uvicorn_calls_what_we_override():
    """uvicorn calls startup, main_loop and shutdown, and both methods of a connection."""
    calls: list[str] = []
    _Connection.calls = _Server.calls = calls
    server = _Server(
        uvicorn.Config(_answer, http=_Connection, ws="none", lifespan="off", log_config=None)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        address = listener.getsockname()
        assert _ask(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 204")
        assert _ask(address, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
        server.should_exit = True
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert calls == [
        "startup",
        "main_loop",
        "on_response_complete False",
        "send_400_response",
        "shutdown 0",
    ]


# ---------------------------------------------------------------- requests, alembic


def test_a_response_of_requests_holds_a_body_that_was_read():
    """requests takes the body from _content, and reads nothing beneath it."""
    response: Any = requests.Response()
    response._content = b"caf\xc3\xa9"
    response._content_consumed = True
    response.encoding = "utf-8"
    assert (response.content, response.text) == (b"caf\xc3\xa9", "café")
    assert list(response.iter_content(2)) == [b"ca", b"f\xc3", b"\xa9"]


def test_requests_takes_cookies_from_what_lies_beneath():
    """http.cookiejar finds Set-Cookie in raw._original_response.msg."""

    class Raw:
        class _original_response:  # noqa: N801  the name that requests looks for
            class msg:  # noqa: N801  as above
                @staticmethod
                def get_all(name, default):
                    return ["session=abc; path=/"] if name == "Set-Cookie" else default

    jar = RequestsCookieJar()
    request = requests.Request("GET", "http://shop.test/").prepare()
    extract_cookies_to_jar(jar, request, Raw())
    assert jar.get_dict() == {"session": "abc"}


def test_alembic_lists_the_steps_up_to_the_newest():
    """alembic lists each step from nothing to the head in a form that the environment can run."""
    script: Any = ScriptDirectory(str(ROOT / "monitor" / "history" / "migrations"))
    steps = script._upgrade_revs("head", None)
    assert [step.revision.revision for step in steps][-1] == script.get_current_head()


def test_a_handle_of_pycurl_holds_one_of_libcurl():
    """libcurl's handle follows the list of weak references, and begins with its own number."""
    handle = pycurl.Curl()
    place = id(handle) + type(handle).__weakrefoffset__ + ctypes.sizeof(ctypes.c_void_p)
    inside = ctypes.c_void_p.from_address(place).value
    assert inside
    assert ctypes.c_uint32.from_address(inside).value == 0xC0DEDBAD
    assert Path(pycurl._pycurl.__file__).suffix == ".so"
    handle.close()


def test_libcurl_keeps_the_authorities_that_a_handle_was_given(tmp_path):
    """After a handle's first context has the authorities, its next connection verifies by them."""
    file, authority = tmp_path / "ca.pem", trustme.CA()
    file.write_bytes(b"".join(one.cert_pem.bytes() for one in (trustme.CA(), authority)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server = ScriptedServer(answer(), tls=tls)
    curl, context = pycurl.Curl(), Context(Trusts().of(str(file)))
    asked = []
    for _ in range(3):
        curl.reset()
        given = context.options(legacy=False, silent=True)
        asked.append(SSL_CONTEXT_FUNCTION in dict(given))
        for option, value in ((pycurl.URL, server.url()), (pycurl.FRESH_CONNECT, 1), *given):
            set_option(curl, option, value)
        curl.setopt(pycurl.WRITEFUNCTION, len)
        curl.setopt(pycurl.FORBID_REUSE, 1)
        curl.perform()
    assert asked == [True, True, False]
    curl.close()
    server.close()


# ---------------------------------------------------------------- parsers


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("div > p", parser.CombinedSelector, {"combinator": ">"}),
        ("p.note", parser.Class, {"class_name": "note"}),
        ("p#one", parser.Hash, {"id": "one"}),
        ("p[lang='en']", parser.Attrib, {"attrib": "lang", "operator": "="}),
        ("p:first-child", parser.Pseudo, {"ident": "first-child"}),
        ("p:nth-child(2n+1)", parser.Function, {"name": "nth-child"}),
        ("p:not(.a)", parser.Negation, {}),
        ("p:is(.a)", parser.Matching, {}),
        ("p:where(.a)", parser.SpecificityAdjustment, {}),
        ("p:has(> b)", parser.Relation, {}),
        ("p", parser.Element, {"element": "p", "namespace": None}),
    ],
)
def test_the_tree_of_a_css_selector(text, kind, parts):
    """The parser's nodes have these classes, and their parts have these attributes."""
    (selector,) = cssselect.parse(text)
    tree = selector.parsed_tree
    assert type(tree) is kind
    assert {name: getattr(tree, name) for name in parts} == parts


def test_the_numbers_of_nth_child():
    """The numbers are as parse_series reads them from the function's arguments."""
    (selector,) = cssselect.parse("p:nth-child(2n+1)")
    tree: Any = selector.parsed_tree
    assert parser.parse_series(tree.arguments) == (2, 1)


def test_cel_is_one_extension_that_needs_no_package():
    """CEL's extension is found by its file, and works without the package's __init__."""
    package = find_spec("cel")
    assert package is not None
    found = PathFinder.find_spec("cel.cel", package.submodule_search_locations)
    assert found is not None
    script = (
        "import importlib.machinery as m, importlib.util as u, sys\n"
        f"loader = m.ExtensionFileLoader('cel.cel', {found.origin!r})\n"
        "cel = u.module_from_spec(u.spec_from_loader('cel.cel', loader))\n"
        "loader.exec_module(cel)\n"
        "context = cel.Context()\n"
        "context.add_variable('status', 200)\n"
        "print(cel.compile('status < 300').execute(context), 'typer' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "False"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Options:
    json_: int


def test_pydantic_core_decodes_a_dataclass():
    """Fields are set by their YAML keys, and errors have their type and place."""
    field = core_schema.dataclass_field(
        "json_", core_schema.int_schema(strict=True), kw_only=True, validation_alias="json"
    )
    arguments = core_schema.dataclass_args_schema("_Options", [field], extra_behavior="forbid")
    validator = SchemaValidator(core_schema.dataclass_schema(_Options, arguments, ["json_"]))
    assert validator.validate_python({"json": 1}) == _Options(json_=1)
    with pytest.raises(ValidationError) as caught:
        validator.validate_python({"json": "1", "jsn": 1})
    assert {(one["type"], one["loc"]) for one in caught.value.errors()} == {
        ("int_type", ("json",)),
        ("unexpected_keyword_argument", ("jsn",)),
    }


def test_a_service_of_apprise_has_what_is_set():
    """These attributes hold the URL's own settings and the limits of a service."""
    script = (
        "from apprise import Apprise\n"
        "url = 'json://localhost/?redirect=yes&cto=3&rto=4&overflow=truncate'\n"
        "one = Apprise.instantiate(url)\n"
        "print(one.redirects, one.socket_connect_timeout, one.socket_read_timeout,\n"
        "      one.overflow_mode.value, one.body_maxlen > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "3.0", "4.0", "truncate", "True"]
