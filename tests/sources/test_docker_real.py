"""Containers of a real Docker, started for the test without any network set up."""

import os
import shutil
import signal
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import pytest

from monitor.discovered import ListedSite
from monitor.sources.docker import open_source
from monitor.sources.options import DockerOptions
from monitor.sources.ports import Look, UnreadableError
from tests.sources.world import WORLD, source, urls
from tests.waiting import PATIENCE, until

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        os.environ.get("MONITOR_DOCKERD") != "1",
        reason="needs root and Debian's docker.io; MONITOR_DOCKERD=1 runs it",
    ),
]
# The program of the image: it waits for the signal that ends it
WAITING = """
#include <signal.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
int main(void) { signal(SIGTERM, end); for (;;) pause(); }
"""


class Docker:
    """A Docker daemon with its data in a folder of its own."""

    def __init__(self, dockerd: str, docker: str) -> None:
        self.folder = Path(mkdtemp(prefix="dockerd"))  # short: it is part of a socket's path
        self.host = f"unix://{self.folder}/docker.sock"
        self._programs = dockerd, docker
        self.start()

    def start(self) -> None:
        command: list[str | Path] = [
            self._programs[0],
            *("--host", self.host, "--data-root", self.folder / "data"),
            *("--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid"),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"),
        ]
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "the start of dockerd")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        command = [self._programs[1], "--host", self.host, "version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def do(self, *arguments: str) -> None:
        command = [self._programs[1], "--host", self.host, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)

    def run(self, name: str, *labels: str) -> None:
        given = [word for label in labels for word in ("--label", label)]
        self.do("run", "-d", "--name", name, "--network=none", *given, "waiting:1", "/waiting")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)  # this ends its containers too
        self._process.wait(PATIENCE)

    def remove(self) -> None:
        with suppress(ProcessLookupError):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def docker(real, tmp_path):
    gcc, daemon, client = real("gcc"), real("dockerd"), real("docker")
    (tmp_path / "waiting.c").write_text(WAITING)
    build = [gcc, "-static", "-o", tmp_path / "waiting", tmp_path / "waiting.c"]
    subprocess.run(build, check=True)
    with tarfile.open(tmp_path / "image.tar", "w") as image:
        image.add(tmp_path / "waiting", "waiting")
    one = Docker(daemon, client)
    try:
        one.do("import", str(tmp_path / "image.tar"), "waiting:1")
        yield one
    finally:
        one.remove()


def good(look: Look | None) -> tuple[ListedSite, ...]:
    assert look is not None
    found = look.parts[""]
    assert not isinstance(found, UnreadableError), found
    return found


def test_containers_of_a_real_docker(docker):
    """Their labels make sites; events report starts, renames, pauses and ends."""
    docker.run("shop", "monitor.url=https://shop.test", "monitor.expect.status=[200, 204]")
    docker.run("other", "unrelated=yes")
    reader = open_source(source("docker", DockerOptions(host=docker.host, refresh=3600)), WORLD)
    found = reader.look()
    [site] = good(found)
    assert site.keys == {
        "url": "https://shop.test",
        "name": "shop",
        "expect": {"status": [200, 204]},
        "labels": {"source": "docker", "container": "shop"},
    }

    def listed_after(*arguments: str) -> list[str]:
        docker.do(*arguments)
        reader.wait()
        return sorted(str(one.keys["name"]) for one in good(reader.look()))

    new = ("run", "-d", "--name", "pay", "--network=none", "--label", "monitor.url=http://pay.test")
    assert listed_after(*new, "waiting:1", "/waiting") == ["pay", "shop"]
    assert listed_after("rename", "pay", "paid") == ["paid", "shop"]
    assert listed_after("pause", "shop") == ["paid"]
    assert listed_after("unpause", "shop") == ["paid", "shop"]
    assert listed_after("stop", "paid") == ["shop"]
    docker.stop()
    with pytest.raises(UnreadableError, match=r"docker\.sock"):
        reader.look()
    docker.start()
    docker.do("start", "shop")
    assert urls(reader.look()) == ["https://shop.test"]
    reader.close()
    reader.wait()
