"""What is known of sources over time: good lists, vanished entries, unreadable sources."""

import json
import logging
import threading
from queue import SimpleQueue

import pytest

from monitor.discovered import ListedSite
from monitor.metrics.internal import Internal
from monitor.sources.discovery import Discovery
from monitor.sources.memory import LastGoodLists
from monitor.sources.ports import Look, UnreadableError
from tests.fakes import FakeClock
from tests.sources.world import WORLD, entry, source
from tests.waiting import PATIENCE, until


class Script:
    """A source whose looks come from a test; each is taken before ``show`` returns."""

    def __init__(self) -> None:
        self._looks: SimpleQueue[object] = SimpleQueue()
        self._waits = threading.Semaphore(0)
        self.closed = False

    def look(self):
        look = self._looks.get()
        if isinstance(look, Exception):
            raise look
        return look

    def wait(self):
        self._waits.release()

    def close(self):
        self.closed = True
        self._looks.put(None)

    def show(self, look):
        self._looks.put(look)
        assert self._waits.acquire(timeout=PATIENCE)


class ScriptedSources:
    """Sources whose looks a test gives through ``scripts``, and what is known of them by then."""

    def __init__(self, folder=None) -> None:
        self.clock = FakeClock()
        self.internal = Internal(version="1", libcurl="8")
        self.changes: SimpleQueue[None] = SimpleQueue()
        self.scripts: dict[str, Script] = {}
        self.discovery = Discovery(
            WORLD,
            lambda: self.changes.put(None),
            clock=self.clock,
            meters=self.internal,
            memory=LastGoodLists(folder),
            open_reader=self._open,
        )

    def _open(self, declared, _world):
        self.scripts[declared.name] = Script()
        return self.scripts[declared.name]

    def urls(self, name="file"):
        return [str(one.keys["url"]) for one in self.discovery.found()[name].entries]

    def gone(self, name="file"):
        return [str(one.keys["url"]) for one in self.discovery.found()[name].gone]

    def errors(self, name="file"):
        text = self.internal.exposition(openmetrics=False).decode()
        (line,) = (
            line
            for line in text.splitlines()
            if line.startswith(f'monitor_discovery_errors_total{{source="{name}"}}')
        )
        return float(line.split()[-1])


@pytest.fixture
def rig_of():
    rigs = []

    def make(folder=None):
        rigs.append(ScriptedSources(folder))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.discovery.stop()


def test_what_cannot_be_read_keeps_its_last_good_list(rig_of, caplog):
    """A source or part keeps its list; each error counts, and is logged once until it ends."""
    caplog.set_level(logging.INFO)
    rig = rig_of()
    rig.discovery.use([source()])
    script = rig.scripts["file"]
    script.show(Look({"a": (entry("http://a"),), "b": (entry("http://b"),)}))
    script.show(Look({"a": UnreadableError("a: broken"), "b": ()}))
    assert rig.urls() == ["http://a"]
    script.show(Look({"a": UnreadableError("a: broken"), "b": ()}))
    script.show(UnreadableError("all of it is broken"))
    assert rig.urls() == ["http://a"]
    assert rig.discovery.found()["file"].remarks == ("all of it is broken",)
    script.show(ZeroDivisionError())
    assert rig.urls() == ["http://a"]
    assert rig.errors() == 4
    script.show(None)
    assert rig.discovery.found()["file"].remarks == ()
    events = [one.message for one in caplog.records]
    assert events.count("discovery_failed") == 3
    assert events.count("discovery_fault") == 1
    assert events[-1] == "discovery_works"


def test_a_list_beyond_the_limit_changes_nothing(rig_of):
    """Of 50,000 sites over a limit of 50 none is taken, not even if the list stays the same."""
    rig = rig_of()
    rig.discovery.use([source(limit=50)])
    script = rig.scripts["file"]
    script.show(Look({"": tuple(entry(f"http://{number}") for number in range(50))}))
    script.show(Look({"": tuple(entry(f"http://{number}") for number in range(50_000))}))
    assert len(rig.urls()) == 50
    told = "lists 50000 sites and its limit is 50; raise limit if that is meant"
    assert rig.discovery.found()["file"].remarks == (told,)
    script.show(None)
    assert rig.discovery.found()["file"].remarks == (told,)
    assert rig.errors() == 2
    script.show(Look({"": (entry("http://0"),)}))
    assert rig.urls() == ["http://0"]
    assert len(rig.gone()) == 49


def test_what_vanished_is_kept_for_a_while(rig_of):
    """A vanished entry stays for its grace period, and returns if it is listed again."""
    rig = rig_of()
    rig.discovery.use([source(gone=600)])
    script = rig.scripts["file"]
    both = Look({"": (entry("http://a"), entry("http://b"))})
    script.show(both)
    script.show(Look({"": (entry("http://b"),)}))
    assert (rig.urls(), rig.gone()) == (["http://b"], ["http://a"])
    script.show(both)
    assert (rig.urls(), rig.gone()) == (["http://a", "http://b"], [])
    script.show(Look({}))
    assert rig.gone() == ["http://a", "http://b"]
    rig.clock.advance(599)
    script.show(Look({}))
    assert rig.gone() == ["http://a", "http://b"]
    rig.clock.advance(2)
    script.show(Look({}))
    until(lambda: rig.gone() == [], "the end of what has been gone for too long")


def test_the_next_start_begins_with_the_last_good_list(rig_of, tmp_path):
    """Only the owner may read the saved list, and broken lines in it are skipped."""
    saved = tmp_path / "data" / "discovered.jsonl"
    first = rig_of(tmp_path / "data")
    first.discovery.use([source(), source("http")])
    bad = ListedSite({}, "somewhere", "is bad")
    first.scripts["file"].show(Look({"x": (entry("http://a", labels={"a": "ü"}), bad)}))
    first.scripts["http"].show(Look({"": (entry("http://b"),)}))
    first.discovery.stop()
    until(lambda: saved.read_text().count("\n") == 2)
    assert saved.stat().st_mode & 0o777 == 0o600
    with saved.open("a") as file:
        file.write('nonsense\n[1, 2]\n["file", "file", "x", "y", 7]\n' + "[" * 100_000 + "\n")

    second = rig_of(tmp_path / "data")
    second.discovery.use([source(), source("sitemap", name="http")])
    assert second.discovery.found()["file"].entries == (entry("http://a", labels={"a": "ü"}),)
    assert second.urls("http") == []  # another kind: the saved list is not its own
    second.scripts["file"].show(UnreadableError("away"))
    assert second.urls() == ["http://a"]
    second.scripts["file"].show(Look({"x": ()}))
    assert (second.urls(), second.gone()) == ([], ["http://a"])


def test_a_data_folder_that_cannot_be_written_is_told_once(tmp_path, caplog):
    """Discovery still works without it."""
    (tmp_path / "data").write_text("a file")
    memory = LastGoodLists(tmp_path / "data")
    for _ in range(2):
        memory.save({("file", "file"): {"": (entry("http://a"),)}})
    assert [one.message for one in caplog.records] == ["discovery_not_saved"]
    assert memory.load() == {}


def test_a_reload_disturbs_no_source_that_stays(rig_of):
    """A removed source closes and loses its series; a changed one keeps its list meanwhile."""
    rig = rig_of()
    rig.discovery.use([source(), source("http"), source("docker")])
    scripts = dict(rig.scripts)
    for name, script in scripts.items():
        script.show(Look({"": (entry(f"http://{name}"),)}))
    rig.discovery.use([source("http", limit=7), source()])
    assert list(rig.discovery.found()) == ["http", "file"]
    assert rig.urls("http") == ["http://http"]
    assert rig.scripts["file"] is scripts["file"]
    assert [script.closed for script in scripts.values()] == [False, True, True]
    assert rig.scripts["http"] is not scripts["http"]
    text = rig.internal.exposition(openmetrics=False).decode()
    assert 'source="http"' in text
    assert 'source="docker"' not in text


def test_what_is_saved_is_one_line_an_entry(tmp_path):
    """Short lines let other threads run while the file is written or read."""
    memory = LastGoodLists(tmp_path)
    memory.save({("a", "file"): {"p": (entry("http://1"), entry("http://2"))}})
    lines = [json.loads(line) for line in (tmp_path / "discovered.jsonl").read_text().splitlines()]
    assert [line[:3] for line in lines] == [["a", "file", "p"]] * 2
    assert memory.load() == {("a", "file"): {"p": (entry("http://1"), entry("http://2"))}}
