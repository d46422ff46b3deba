"""Real daemons that divide one list among themselves."""

import json
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.system.processes import Daemon
from tests.waiting import until

SITES = [f"site-{number}" for number in range(40)]


@pytest.fixture
def target():
    """A web server; ``checked`` has for each path the daemons that requested it."""
    asked = defaultdict(set)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path.strip("/")].add(self.headers["X-Checked-By"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        checked = asked

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run_all(target, tmp_path):
    """Return a function that runs daemons side by side on one list, and returns their sites."""
    port = target.server_address[1]
    listed = "".join(
        f"  - {{name: {name}, url: 'http://127.0.0.1:{port}/{name}'}}\n" for name in SITES
    )
    sites = (
        "analysis: {workers: 1}\n"
        'defaults: {interval: 1s, timeout: 900ms, http: {headers: {X-Checked-By: "${WHO}"}}}\n'
        f"sites:\n{listed}"
    )
    started: list[Daemon] = []

    def start(who, *arguments, **environ):
        folder = tmp_path / f"{len(started)}-{who.replace('/', '-')}"
        folder.mkdir(parents=True)
        daemon = Daemon(folder, sites, arguments=arguments, WHO=who, **environ)
        started.append(daemon)
        return daemon

    with ThreadPoolExecutor() as pool:

        def run_all(commands):
            return list(pool.map(lambda command: start(*command[0], **command[1]), commands))

        yield run_all
    for daemon in started:
        daemon.kill()


def owners(daemons):
    """Return for each site which daemons have it, by their number."""
    found = defaultdict(list)
    for number, daemon in enumerate(daemons, 1):
        for name in daemon.sites_by_name():
            found[name].append(number)
    return found


def test_five_shards_check_each_site_once_and_a_sixth_takes_its_part(target, run_all):
    """Shards divide sites without being told; a sixth takes some, and no others move."""
    five = run_all([((f"{n}/5", "--shard", f"{n}/5"), {}) for n in range(1, 6)])
    until(lambda: set(target.checked) == set(SITES), "a check of every site")
    before = owners(five)
    assert {name: [f"{number}/5" for number in found] for name, found in before.items()} == {
        name: sorted(who) for name, who in target.checked.items()
    }
    assert sorted(before) == sorted(SITES)
    assert all(len(found) == 1 for found in before.values())
    assert {number for (number,) in before.values()} == {1, 2, 3, 4, 5}
    assert_each_shard_shows_its_own(five, before)

    # One stops: nobody checks its sites, and the others continue with theirs
    assert five[1].stop() == 0
    rest = [daemon for daemon in five if daemon is not five[1]]
    target.checked.clear()
    theirs = {name for name, found in before.items() if found != [2]}
    until(lambda: set(target.checked) == theirs, "a check of the others' sites")
    for daemon in rest:
        assert daemon.stop() == 0

    # They return with a sixth, as the pods of a StatefulSet
    target.checked.clear()
    six = run_all(
        [
            ((f"{n}/6", "--shard", "auto"), {"POD_NAME": f"monitor-{n - 1}", "MONITOR_SHARDS": "6"})
            for n in range(1, 7)
        ]
    )
    until(lambda: set(target.checked) == set(SITES), "a check of every site")
    assert all(len(who) == 1 for who in target.checked.values())
    after = owners(six)
    assert sorted(after) == sorted(SITES)
    moved = {name for name in SITES if after[name] != before[name]}
    assert {name for name in SITES if after[name] == [6]} == moved
    assert 0 < len(moved) < len(SITES) / 3


def assert_each_shard_shows_its_own(daemons, before):
    """Metrics have the shard's number, /sd its own sites, and a 404 says where others are."""
    total = len(daemons)
    for number, daemon in enumerate(daemons, 1):
        own = {name for name, found in before.items() if found == [number]}
        groups = json.loads(daemon.get("/sd")[1])
        assert {group["labels"]["site"] for group in groups} == own
        samples = daemon.metrics()
        assert samples[f'monitor_shard_info{{shard="{number}",shards="{total}"}}'] == 1
        assert samples["monitor_sites"] == len(own)
        assert f"shard={number}/{total} " in daemon.log.read_text()
        other = next(name for name in SITES if name not in own)
        status, text = daemon.get(f"/probe?site={other}")
        its = f"shard {before[other][0]}/{total}"
        assert (status, text) == (404, f"site '{other}' is not checked here, but by {its}\n")
        status, text = daemon.get("/probe?site=nowhere")
        assert (status, text.partition(";")[0]) == (404, "no site 'nowhere' is listed")
