"""Reloading, with the test playing the engine."""

import logging
import sys
import threading
from queue import Empty, SimpleQueue

import pytest

from monitor.app.discovery import discover_once, open_discovery
from monitor.app.gentle import interruptibly
from monitor.app.reloader import DISCOVERY, Reloader, ReloadRequested, Requests
from monitor.app.sharding import WHOLE
from monitor.app.systemd import ServiceManager
from monitor.app.tables import TABLES
from monitor.config.load import load
from monitor.engine.events import Inbox, SitesChanged
from monitor.logs import Secrets
from monitor.metrics.internal import Internal
from monitor.model import SiteChange, Status
from monitor.past import Remembered
from tests.waiting import PATIENCE, until

SITES = "sites: [https://example.com]\n"
REMEMBERED = Remembered(status=Status.UP, since=1.0, streak=1)


class RunningReloader:
    """A reloader that has put its first list in force, and an engine that accepts every change."""

    def __init__(self, path, text: str, data=None) -> None:
        self.path = path
        self.path.write_text(text)
        self.inbox: Inbox = SimpleQueue()
        self.requests: Requests = SimpleQueue()
        self.changes: SimpleQueue[SiteChange] = SimpleQueue()
        self.internal = Internal(version="1", libcurl="8")
        self._over = threading.Event()
        self.reloader = Reloader(
            path,
            None,
            tables=TABLES,
            inbox=self.inbox,
            requests=self.requests,
            internal=self.internal,
            secrets=Secrets(),
            manager=ServiceManager({}),
            open_finder=lambda: open_discovery(
                data, self.internal, lambda: self.requests.put(ReloadRequested(DISCOVERY))
            ),
            shard=lambda _: WHOLE,
        )
        self._engine = threading.Thread(target=self._take_changes)
        self._engine.start()
        running = threading.Event()
        self.remembered: list[list[str]] = []  # of each change, whose memory came along
        self.intervals: list[float] = []  # of the interpreter, in the middle of each reload
        self.reloader.start(
            lambda _: self.intervals.append(sys.getswitchinterval()),
            recall=self._recall,
            on_listed=lambda _: None,
            on_running=running.set,
        )
        assert running.wait(PATIENCE)

    def _recall(self, sites):
        return {site.name: REMEMBERED for site in sites}

    def _take_changes(self) -> None:
        while not self._over.is_set():
            try:
                event = self.inbox.get(timeout=0.05)
            except Empty:
                continue
            if isinstance(event, SitesChanged) and event.applied is not None:
                self.changes.put(event.change)
                self.remembered.append(sorted(event.remembered))
                event.applied.set_result(None)

    def reload(self, text: str) -> tuple[str, ...]:
        """Write the list, have it read, and return what is wrong with it."""
        self.path.write_text(text)
        return self.reloader.request().result(PATIENCE)

    def stop(self) -> None:
        self.reloader.stop()
        self._over.set()
        self._engine.join()

    def names(self) -> list[str]:
        return [site.name for site in self.reloader.config.sites]


@pytest.fixture
def start(tmp_path):
    rigs: list[RunningReloader] = []

    def make(text: str, data=None) -> RunningReloader:
        rigs.append(RunningReloader(tmp_path / "sites.yaml", text, data))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.stop()


def test_settings_are_compared_with_what_runs(start, caplog):
    """Each reload names the settings that need a restart; one that restores them names none."""

    def named(text: str) -> list[str]:
        caplog.clear()
        assert rig.reload(text) == ()
        told = [one for one in caplog.records if one.message == "setting_needs_restart"]
        return [one.fields["setting"] for one in told]

    caplog.set_level(logging.INFO)
    rig = start(f"{SITES}shutdown_grace: 5s\n")
    assert named(f"{SITES}shutdown_grace: 6s\n") == ["shutdown_grace"]
    changed = f"{SITES}shutdown_grace: 6s\nengine: {{probe_threads: 7}}\n"
    assert named(changed) == ["engine", "shutdown_grace"]
    assert named(changed) == ["engine", "shutdown_grace"]
    assert named(f"{SITES}shutdown_grace: 5s\n") == []


def test_a_reload_tells_of_all_that_it_changes(start, caplog):
    """The log line names not only sites, but also modules, settings and connectivity targets."""

    def told(text: str) -> dict[str, object]:
        caplog.clear()
        assert rig.reload(text) == ()
        (line,) = [one for one in caplog.records if one.message == "reloaded"]
        counts = ("cause", "added", "removed", "changed")
        return {key: value for key, value in line.fields.items() if key not in counts or value}

    caplog.set_level(logging.INFO)
    rig = start(SITES)
    modules = "modules: {one: {}, two: {http: {method: POST}}}\n"
    assert told(SITES + modules) == {"cause": "web", "modules": 2}
    modules = "modules: {two: {http: {method: PUT}}, three: {}}\n"
    assert told(SITES + modules) == {"cause": "web", "modules": 3}
    assert told(SITES + modules) == {"cause": "web", "modules": 0}
    rest = f"{modules}connectivity: ['tcp://192.0.2.1:443']\nshutdown_grace: 7s\n"
    assert told(SITES + rest) == {
        "cause": "web",
        "modules": 0,
        "settings": "shutdown_grace,connectivity",
    }
    assert told(f"sites: [https://a.example]\n{rest}") == {
        "cause": "web",
        "added": 1,
        "removed": 1,
        "modules": 0,
    }


@pytest.mark.parametrize("text", ["", "null\n", "# sites: []\n", "sites:\n", "sites: []\n"])
def test_an_emptied_list_is_not_put_in_force(start, text):
    """The list before it stays in force, complete."""
    rig = start(SITES)
    assert rig.reload(text) != ()
    assert rig.reloader.rejected
    assert [site.name for site in rig.reloader.config.sites] == ["example.com"]


def test_a_reload_gives_way_to_checks(start):
    """While a list is read the interpreter switches threads sooner, and afterwards as usual."""
    usual = sys.getswitchinterval()
    rig = start(SITES)
    assert rig.reload(f"{SITES}shutdown_grace: 6s\n") == ()
    assert rig.reload("nonsense") != ()
    (within,) = rig.intervals
    assert within < 0.001
    assert sys.getswitchinterval() == usual


def test_nothing_is_reloaded_after_a_stop(start):
    """The engine would not apply it, so the request is cancelled at once."""
    rig = start(SITES)
    rig.stop()
    assert rig.reloader.request().cancelled()


def test_what_a_source_lists_is_applied_by_itself(start, tmp_path, caplog):
    """A change reaches the engine without a reload, names only what changed, and keeps the rest."""
    caplog.set_level(logging.INFO)
    targets = tmp_path / "targets.json"
    targets.write_text('[{"targets": ["https://a.example", "https://b.example", "nonsense"]}]')
    rig = start(f"{SITES}discover: [{{file: {{paths: [targets.json]}}}}]\n")
    until(lambda: rig.names() == ["example.com", "a.example", "b.example"])
    assert "# rejected: targets.json: [0].targets[2]: url" in rig.reloader.config.masked
    until(lambda: not rig.changes.empty())
    while not rig.changes.empty():
        rig.changes.get()
    kept = rig.reloader.config.sites[1]
    targets.write_text('[{"targets": ["https://a.example", "https://c.example"]}]')
    until(lambda: "c.example" in rig.names())
    assert rig.names() == ["example.com", "a.example", "c.example", "b.example"]
    assert rig.reloader.config.sites[1] is kept
    change = rig.changes.get(timeout=PATIENCE)
    assert [site.name for site in change.added] == ["c.example"]
    assert change.removed == change.changed == ()
    targets.write_text('[{"targets": ["https://a.ex')
    until(lambda: any("is not JSON" in str(vars(one)) for one in caplog.records))
    assert "c.example" in rig.names()
    assert not rig.reloader.rejected
    events = [one.message for one in caplog.records]
    assert events.count("discovery_rejected") == 1
    assert "discovered" in events


def test_sites_that_come_later_are_remembered(start, tmp_path):
    """Sites added by a source or a reload get their memory; a renamed one gets its old name's."""
    (tmp_path / "targets.json").write_text("[]")
    discover = "discover: [{file: {paths: [targets.json]}}]\n"
    rig = start(SITES + discover)
    (tmp_path / "targets.json").write_text('[{"targets": ["https://a.example"]}]')
    until(lambda: "a.example" in rig.names())
    assert rig.reload(f"sites: [https://example.com, https://b.example]\n{discover}") == ()
    renamed = "{name: c, was: b.example, url: 'https://b.example'}"
    assert rig.reload(f"sites: [https://example.com, {renamed}]\n{discover}") == ()
    assert rig.names() == ["example.com", "c", "a.example"]
    assert [names for names in rig.remembered if names] == [
        ["example.com"],
        ["a.example"],
        ["b.example"],
    ]


def test_a_reload_and_a_source_go_together(start, tmp_path):
    """Discovered sites survive a reload, even a failed one, and leave with their source."""
    (tmp_path / "targets.json").write_text('[{"targets": ["https://a.example"]}]')
    discover = "discover: [{file: {paths: [targets.json]}, defaults: {interval: %s}}]\n"
    rig = start(SITES + discover % "30s")
    until(lambda: rig.names() == ["example.com", "a.example"])
    assert rig.reload("nonsense") != ()
    (tmp_path / "targets.json").write_text('[{"targets": ["https://a.example", "https://b.ex"]}]')
    until(lambda: rig.names() == ["example.com", "a.example", "b.ex"])
    assert rig.reloader.rejected
    assert rig.reload(SITES + discover % "20s") == ()
    assert [site.interval for site in rig.reloader.config.sites] == [60, 20, 20]
    assert rig.reload("sites: [https://a.example]\n" + discover % "20s") == ()
    assert rig.names() == ["a.example", "b.ex"]
    assert rig.reload(SITES) == ()
    assert rig.names() == ["example.com"]


def test_a_start_needs_no_source(start, tmp_path):
    """Sites of the last good list are there from the start, whatever the source does."""
    line = '["http", "http", "", "[0].targets[0]", {"url": "https://a.example"}]\n'
    (tmp_path / "discovered.jsonl").write_text(line)
    rig = start("discover: [{http: {url: 'http://127.0.0.1:1/'}}]\n", tmp_path)
    assert [site.name for site in rig.changes.get(timeout=PATIENCE).added] == ["a.example"]


def test_many_who_compute_give_way_until_the_last_is_done():
    """The interpreter's switch interval is one for all threads, and is restored once."""
    usual = sys.getswitchinterval()
    with interruptibly():
        short = sys.getswitchinterval()
        with interruptibly():
            assert sys.getswitchinterval() == short
        assert sys.getswitchinterval() == short < usual
    assert sys.getswitchinterval() == usual


def test_a_check_asks_each_source_once(tmp_path):
    """Its current list is checked; what is unreadable, too long or not a site is reported."""
    (tmp_path / "a.json").write_text('[{"targets": ["https://a.example", "nonsense"]}]')
    (tmp_path / "sites.yaml").write_text(
        "discover:\n"
        "  - file: {paths: [a.json, none.json]}\n"
        "  - {name: long, file: {paths: [a.json]}, limit: 1}\n"
        "  - http: {url: 'http://127.0.0.1:1/x'}\n"
    )
    config = load(tmp_path / "sites.yaml", TABLES, {})
    found, wrong = discover_once(config, TABLES)
    assert [site.name for site in found.sites] == ["a.example"]
    assert [one.partition(": ")[0] for one in wrong] == ["file", "long", "http", "file"]
