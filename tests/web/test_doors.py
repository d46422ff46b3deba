"""Unix sockets to listen on; those of TCP are in test_server.py."""

import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fcntl import LOCK_EX, flock
from pathlib import Path
from threading import Barrier

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from monitor.errors import StartupError
from monitor.web.doors import Listener, listen_on
from monitor.web.listen import Listen, parse_listen
from monitor.web.server import WebServer
from tests.waiting import PATIENCE


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return a relative path for the socket, because pytest's folders have long names."""
    monkeypatch.chdir(tmp_path)
    return Path("web.sock")


def refusal(*addresses):
    with pytest.raises(StartupError) as caught:
        listen_on(addresses)
    return str(caught.value)


def ask(path):
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        found = b""
        while piece := sock.recv(65536):
            found += piece
        return found


def test_it_answers_beside_a_port(path):
    """One application answers on a Unix socket and on a port; the stop removes the socket file."""

    async def hello(_):
        return PlainTextResponse("hello")

    server = WebServer(Starlette(routes=[Route("/", hello)]), [f"unix:{path}", "127.0.0.1:0"])
    server.start()
    try:
        assert server.addresses[0] == "unix:web.sock"
        assert server.addresses[1].startswith("127.0.0.1:")
        assert ask(path).endswith(b"hello")
    finally:
        server.stop()

    assert not path.exists()


def test_the_health_check_finds_it(path):
    """``monitor healthcheck`` works with a Unix socket as it does with a port."""
    ask_health = [*(sys.executable, "-m", "monitor"), "healthcheck", "--listen", f"unix:{path}"]
    gone = subprocess.run(ask_health, check=False, capture_output=True, text=True)
    assert (gone.returncode, gone.stderr) == (
        1,
        f"monitor: the daemon on unix:{path} is not healthy: No such file or directory\n",
    )

    async def healthy(_):
        return PlainTextResponse("Healthy")

    app = Starlette(routes=[Route("/-/healthy", healthy)])
    server = WebServer(app, [f"unix:{path}"])
    server.start()
    try:
        subprocess.run(ask_health, check=True)
    finally:
        server.stop()


def test_permissions(path):
    """The owner and the group may connect, whatever the umask is, and nobody else."""
    before = os.umask(0)
    try:
        (listener,) = listen_on([f"unix:{path}"])
    finally:
        os.umask(before)
    with closing(listener):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_file_of_a_dead_daemon(path):
    """A new daemon replaces the socket file that a killed daemon left."""
    (left,) = listen_on([f"unix:{path}"])
    left.socket.close()
    assert path.is_socket()

    (listener,) = listen_on([f"unix:{path}"])
    with closing(listener), closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.connect(str(path))


def test_a_living_daemon(path):
    """If another program listens there, the start fails with a sentence, and that program stays."""
    with closing(listen_on([f"unix:{path}"])[0]):
        assert refusal(f"unix:{path}") == (
            f"cannot listen on unix:{path}: another program listens there; stop it, or choose"
            " another with --listen"
        )
        with closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.connect(str(path))


def test_a_living_daemon_that_is_busy(path):
    """A socket whose queue is full counts as in use."""
    with closing(socket.socket(socket.AF_UNIX)) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with closing(socket.socket(socket.AF_UNIX)) as waiting:
            waiting.connect(str(path))
            assert "another program listens there" in refusal(f"unix:{path}")


def test_a_file_that_is_no_socket(path):
    """A file that is not a socket is never overwritten."""
    path.write_text("precious")

    assert refusal(f"unix:{path}") == (
        f"cannot listen on unix:{path}: {path} exists and is not a socket; remove it, or choose "
        "another with --listen"
    )
    assert path.read_text() == "precious"


def test_of_daemons_that_start_at_once_one_listens(path):
    """Of daemons that replace a dead one at the same time, exactly one listens, for all clients."""
    at_once = 8
    ready = Barrier(at_once)

    def start(_) -> Listener | None:
        ready.wait(PATIENCE)
        try:
            return listen_on([f"unix:{path}"])[0]
        except StartupError:
            return None

    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(20):
            listener, *others = filter(None, pool.map(start, range(at_once)))
            assert others == []
            with closing(socket.socket(socket.AF_UNIX)) as client:
                client.connect(str(path))
                listener.socket.accept()[0].close()
            listener.socket.close()  # and its file stays


def test_a_folder_that_is_locked(path):
    """A locked folder keeps the daemon from starting, but not from saying why."""
    handle = os.open(".", os.O_RDONLY)
    flock(handle, LOCK_EX)
    assert refusal(f"unix:{path}").endswith("; another program has locked .")
    os.close(handle)
    listen_on([f"unix:{path}"])[0].close()


def test_our_successor_keeps_its_file(path):
    """A stop leaves the socket alone if a newer daemon has put its own in the same place."""
    (old,) = listen_on([f"unix:{path}"])
    path.unlink()
    with closing(listen_on([f"unix:{path}"])[0]):
        old.close()
        assert path.is_socket()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("unix:", "write unix:PATH with a path of 1 to 107 bytes"),
        ("unix:" + "ü" * 54, "write unix:PATH with a path of 1 to 107 bytes"),
        ("unix:a\0b", "write unix:PATH with a path of 1 to 107 bytes"),
        ("unix:no/web.sock", "no such file or directory; make the folder no first"),
        (
            "unix:.",
            "cannot listen on unix:.: . exists and is not a socket",
        ),
    ],
)
@pytest.mark.usefixtures("path")
def test_paths_that_are_none(address, sentence):
    """An address that cannot be listened on gets one sentence that says what would be right."""
    assert sentence in refusal(address)


def test_all_or_nothing(path):
    """If one address is not available, the others are released, socket files included."""
    assert "unix:no/web.sock" in refusal(f"unix:{path}", "unix:no/web.sock")

    assert not path.exists()


@pytest.mark.parametrize("text", [":80", "*:80"])
def test_every_address_has_two_forms(text):
    """The health check accepts both forms of each address, and asks on loopback."""
    assert parse_listen(text) == Listen(port=80)
