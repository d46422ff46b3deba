"""The stream as operators see it: too little room, and how far it is read."""

import subprocess
import sys
from dataclasses import replace

import pytest

from monitor.commands.locations import reading
from monitor.locations.stream import Reading, StreamLook
from tests.system.nats import SITES, Nats
from tests.waiting import until

pytestmark = pytest.mark.real


def monitor(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "monitor", *arguments], capture_output=True, text=True, check=False
    )


def test_a_server_without_room_says_what_would_be_right(real, tmp_path):
    """A gigabyte does not fit into 20 MB: one sentence names both keys, and less fits."""
    more = f'jetstream: {{store_dir: "{tmp_path / "jetstream"}", max_file_store: 20MB}}\n'
    server = Nats(real("nats-server"), tmp_path, more)
    sites = tmp_path / "sites.yaml"
    text = SITES.format(nats=server.url, url="http://127.0.0.1:1", login="", more="")
    try:
        until(lambda: "ready" in (tmp_path / "nats.log").read_text(), "NATS' start")
        sites.write_text(text)
        refused = monitor("locations", "setup", "--config", str(sites))
        sites.write_text(text.replace("locations:", "locations:\n  stream: 16MiB"))
        made = monitor("locations", "setup", "--config", str(sites))
    finally:
        server.stop()
    assert refused.returncode == 2
    assert "no room for a stream of 1GiB, as locations.stream says" in refused.stderr
    assert "set locations.stream to less" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert (made.returncode, made.stdout) == (0, "stream MONITOR_REPORTS: made\n")


def test_what_waits_for_the_hub_is_said():
    """The output reports each partition, and says which nobody reads, or that it may not know."""
    look = StreamLook(
        messages=130,
        size=1,
        last=130,
        beats=(),
        readings=(
            Reading(partition=1, last=123, waiting=7),
            Reading(partition=3, last=9, waiting=0),
        ),
    )
    assert list(reading(look, partitions=4)) == [
        "partition 1: a hub has read up to message 123, 7 messages wait",
        "partition 3: a hub has read up to message 9, 0 messages wait",
        "no hub reads partition 2, 4",
    ]
    [refused] = reading(replace(look, readings=None), partitions=4)
    assert "$JS.API.CONSUMER.LIST.MONITOR_REPORTS" in refused
