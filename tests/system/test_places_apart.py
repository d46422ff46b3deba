"""
Three places, a hub and NATS on separate networks: which messages come when parts fail.

Each place has two cables: one to the sites, one to NATS and the hub. The clock of nyc is always
five minutes fast, that of sin always five minutes slow.

MONITOR_NATS_AWAY: for how many seconds NATS is away once too few votes are left (0); the table in
docs/locations.md comes from a run with 600.
"""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.system.namespaces import Namespace, refusal
from tests.system.nats import Nats, Places, results, says, votes_of
from tests.system.processes import Moody
from tests.waiting import until

pytestmark = pytest.mark.real

AWAY = float(os.environ.get("MONITOR_NATS_AWAY", "0"))
SITES = """
locations:
  nats: {{servers: ["nats://10.77.1.2:{nats}"]}}
  quorum: {{down: 2, up: 2, minimum: 2}}
connectivity: ["tcp://10.77.0.1:{gateway}"]
notify:
  group_wait: 50ms
  group_interval: 100ms
  receivers: [{{name: hook, webhook: {{url: "{hook}"}}}}]
sites:
  - {{name: shop, url: "{shop}", interval: 1s, timeout: 900ms,
      confirm: {{failures: 2, retry_interval: 200ms}}}}
"""
EXTRA = '  - {{name: only-here, url: "{shop}"}}\n'
CLOCKS = {"fra": 0, "nyc": 300, "sin": -300}
NOBODY = "02:00:00:00:00:99"


class Hook(ThreadingHTTPServer):
    """A webhook; ``sent`` has alert and state of each message, once."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Taking)
        self.sent: list[str] = []
        self.keys: set[str] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Taking(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers["idempotency-key"]
        if key not in self.server.keys:
            self.server.keys.add(key)
            for one in body["alerts"]:
                self.server.sent.append(f"{one['labels']['alertname']} {one['status']}")
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class World:
    """The machines and their programs; ``rows`` is the table of observations."""

    def __init__(self, folder: Path, nats: str, clock: str) -> None:
        self._clock = clock
        self.switch = Namespace("10.77.0.1")
        self.machines = {
            name: Namespace(f"10.77.0.{number}")
            for number, name in enumerate(("nats", "hub", "site", "fra", "nyc", "sin"), 2)
        }
        for name in ("site", *CLOCKS):
            self.machines[name].plug_into(self.switch, "sites")
        for name in ("nats", "hub", *CLOCKS):
            self.machines[name].plug_into(self.switch, "back", "10.77.1")
        self.gateway = self.switch.inside(lambda: Moody("10.77.0.1"))
        self.shop = self.machines["site"].inside(lambda: Moody(self.machines["site"].address))
        for server in (self.gateway, self.shop):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.hook = self.machines["hub"].inside(Hook)
        self.nats = Nats(nats, folder, namespace=self.machines["nats"])
        self.machines["nats"].inside(self.nats.set_up)
        self.more = EXTRA.format(shop=self.shop.url)
        text = SITES.format(
            nats=self.nats.port,
            gateway=self.gateway.server_port,
            hook=f"http://127.0.0.1:{self.hook.server_port}/",
            shop=self.shop.url,
        )
        self.places = Places(folder, text, self.machines)
        self.rows: list[str] = []
        self._began = 0.0

    def close(self) -> None:
        self.places.kill()
        self.nats.stop()
        for server in (self.gateway, self.shop, self.hook):
            server.shutdown()
            server.server_close()
        for machine in (*self.machines.values(), self.switch):
            machine.close()

    def environ(self, name: str) -> dict[str, str]:
        """Return the environment that sets a program's clock right or wrong."""
        return {"LD_PRELOAD": self._clock, "MONITOR_TEST_CLOCK": str(CLOCKS.get(name, 0))}

    def start(self, *names: str) -> None:
        def start(name: str) -> None:
            self.places.start(name, **self.environ(name))

        with ThreadPoolExecutor() as threads:
            list(threads.map(start, names))

    @property
    def hub(self):
        return self.places.daemons["hub"]

    def cable(self, name: str, network: str, state: str) -> None:
        self.machines[name].ip("link", "set", network, state)

    def lose_shop(self, name: str) -> None:
        """From now on, drop everything that a machine sends to the shop."""
        shop = self.machines["site"].address
        to = ("lladdr", NOBODY, "dev", "sites", "nud", "permanent")
        self.machines[name].ip("neighbour", "replace", shop, *to)

    def find_shop(self, name: str) -> None:
        shop = self.machines["site"].address
        self.machines[name].ip("neighbour", "delete", shop, "dev", "sites")

    def when(self, scenario: str) -> None:
        """Begin a scenario."""
        self._scenario, self._began, self._sent = scenario, time.monotonic(), len(self.hook.sent)

    def expect(self, state: str, said: dict[str, str], *sent: str, split: bool = False) -> None:
        """Wait for the verdict, the votes and the messages since the scenario began."""

        def there() -> bool:
            found = self.hub.site("shop")
            shown = (found["state"], found["split"], votes_of(found))
            return shown == (state, split, said) and self.hook.sent[self._sent :] == [*sent]

        until(there, f"{self._scenario}: {state}, {said}, {sent}")
        took = time.monotonic() - self._began
        words = ", ".join(f"{name}: {word}" for name, word in said.items())
        verdict = f"{state}, split" if split else state
        told = ", ".join(sent) or "nothing"
        self.rows.append(f"| {self._scenario} | {words} | {verdict} | {took:.1f} s | {told} |")


@pytest.fixture
def clock(real, tmp_path):
    """Return a library that sets the wall clock of any program that loads it."""
    library = tmp_path / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([real("cc"), "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


@pytest.fixture
def world(real, tmp_path, clock):
    nats, _, _ = real("nats-server"), real("ip"), real("nsenter")
    if why := refusal():
        pytest.skip(f"this system gives no network of its own: {why}")
    found = World(tmp_path, nats, clock)
    yield found
    found.close()


UP = dict.fromkeys(CLOCKS, "up")
DOWN = dict.fromkeys(CLOCKS, "down")
STALE = "its last report is too old"
LOST = "its own connection is lost"


def test_places_apart(world):
    """Failures of places, NATS or the hub change no state; the site's own is told once."""
    all_is_well(world)
    the_site_fails(world)
    places_fail(world)
    nats_fails(world)
    the_hub_fails(world)
    nothing_is_lost(world)
    assert world.hook.sent == ["SiteDown firing", "SiteDown resolved"] * 2
    print("\n".join(world.rows))  # noqa: T201  the table of docs/locations.md


def all_is_well(world):
    world.when("all is well; two clocks are 5 minutes off")
    world.start(*CLOCKS, "hub")
    world.expect("up", UP)
    for name, ahead in CLOCKS.items():
        until(partial(_is_near, world, name, ahead), f"the clock of {name}")


def _is_near(world, name, ahead):
    return abs((_gauge(world, "clock_skew_seconds", name) or 1e9) - ahead) < 30


def the_site_fails(world):
    world.when("the site is dead")
    world.cable("site", "sites", "down")
    world.expect("down", DOWN, "SiteDown firing")
    since = datetime.fromisoformat(world.hub.site("shop")["since"]).timestamp()
    assert abs(since - time.time()) < 100, "the clock of a place counts"
    nyc = world.places.daemons["nyc"]
    nyc.sites.write_text(nyc.sites.read_text() + world.more)
    world.when("the site lives again; nyc has another list")
    world.cable("site", "sites", "up")
    world.expect("up", UP, "SiteDown resolved")
    until(lambda: _gauge(world, "list_differs", "nyc") == 1, "another list")


def places_fail(world):
    world.when("fra alone does not reach the site")
    world.lose_shop("fra")
    world.expect("up", {**UP, "fra": "down"})
    world.when("… and sin has lost its own connection")
    world.cable("sin", "sites", "down")
    world.expect("up", {"fra": "down", "nyc": "up", "sin": LOST}, split=True)
    world.when("both are well again")
    world.find_shop("fra")
    world.cable("sin", "sites", "up")
    world.expect("up", UP)
    world.when("sin is cut off from NATS and hub")
    world.cable("sin", "back", "down")
    world.expect("up", {**UP, "sin": STALE})


def nats_fails(world):
    world.when("… and NATS is killed")
    world.nats.kill()
    world.expect("unknown", dict.fromkeys(CLOCKS, STALE))
    time.sleep(AWAY)
    away = f" after {AWAY / 60:g} minutes" if AWAY else ""
    world.when(f"NATS returns{away}, and so does sin")
    world.nats.start()
    world.cable("sin", "back", "up")
    world.expect("up", UP)
    if AWAY:  # tests/system/test_locations.py proves it for a shorter time
        until(lambda: _last(world, "unknown") < _last(world, "down"), "the past without a gap")


def _last(world, condition):
    """Return the last moment of a condition in the hub's history; empty if never."""
    spans = _exported(world, "hub", "spans")
    return max((one["begin"] for one in spans if one["condition"] == condition), default="")


def the_hub_fails(world):
    for state, said, message in (("down", DOWN, "firing"), ("up", UP, "resolved")):
        world.when(f"the hub is killed and starts again; meanwhile the site went {state}")
        world.hub.kill()
        world.cable("site", "sites", state)
        until(says(world.places.daemons["fra"], state), f"{state} at fra")
        world.start("hub")
        world.expect(state, said, f"SiteDown {message}")


def nothing_is_lost(world):
    """The hub's history has every result of the places once, with its time."""
    until(lambda: {_gauge(world, "reports_waiting", n) for n in CLOCKS} == {0}, "the delivery")
    assert [world.places.daemons[name].stop() for name in CLOCKS] == [0, 0, 0]
    made = {name: _made(world, name) for name in CLOCKS}
    total = sum(map(len, made.values()))
    until(lambda: len(_of_places(world.hub)) == total, "every result, once")
    assert set(made["fra"]) <= set(_of_places(world.hub))


def _gauge(world, name, location):
    return world.hub.metrics().get(f'monitor_location_{name}{{location="{location}"}}')


def _of_places(hub):
    """Return the time of each check in the hub's history, without the hub's own remarks."""
    return sorted(one["time"] for one in results(hub) if one["up"] is not None)


def _made(world, name):
    """Return the time of each check in a place's own history."""
    rows = _exported(world, name, "results")
    return sorted(one["time"] for one in rows if one["up"] is not None)


def _exported(world, name, what):
    """Return a daemon's history by its own clock, so that a fast clock hides no rows."""
    sites = world.places.daemons[name].sites
    done = subprocess.run(
        [
            *(sys.executable, "-m", "monitor", "history", "export", what, "--site", "shop"),
            *("--format", "jsonl", "--config", sites, "--data", sites.parent / "data"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | world.environ(name),
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
