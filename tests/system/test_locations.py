"""Places, a hub and a real NATS between them: one verdict, even if one is cut off or restarts."""

import json
import os
import subprocess
import sys
from functools import partial

import pytest

from tests.system.nats import SITES, Nats, Places, results, says, votes
from tests.waiting import until

pytestmark = pytest.mark.real


@pytest.fixture
def nats(real, tmp_path):
    server = Nats(real("nats-server"), tmp_path)
    server.set_up()
    yield server
    server.stop()


@pytest.fixture
def places(tmp_path, nats, moody):
    found = Places(tmp_path, SITES.format(nats=nats.url, url=moody.url, login="", more=""))
    yield found
    found.kill()


def test_a_site_is_down_once_enough_places_say_so(places, moody):
    """Verdict, votes, series, log and history come from the hub, and both places check the site."""
    fra, nyc, hub = places.start_all("fra", "nyc", "hub")
    until(says(hub, "up"), "the first verdict")
    assert until(lambda: votes(hub) == {"fra": "up", "nyc": "up"}, "both votes")
    moody.mood = "sick"
    until(says(hub, "down"), "the outage")
    found = hub.site("shop")
    assert found["last"]["reason"] == "status"
    assert "(down from fra, nyc)" in found["last"]["message"]
    labels = f'site="shop",target="{moody.url}",group=""'
    metrics = hub.metrics()
    assert metrics[f"monitor_site_up{{{labels}}}"] == 0
    assert metrics[f'monitor_site_votes{{{labels},vote="down"}}'] == 2
    assert metrics[f'monitor_site_location_up{{{labels},location="fra"}}'] == 0
    assert metrics[f"monitor_site_split{{{labels}}}"] == 0
    until(lambda: hub.metrics().get('monitor_location_up{location="nyc"}') == 1, "the gauge")
    assert f'monitor_site_up{{{labels},location="fra"}}' in fra.metrics()
    assert "no vote" not in hub.get("/sites/shop")[1]
    moody.mood = "well"
    until(says(hub, "up"), "the recovery")
    for daemon in (fra, nyc, hub):
        assert daemon.stop() == 0
    log = places.log("hub")  # complete: a thread writes the log after the event
    assert (log.count("site_down"), log.count("site_up")) == (1, 2)
    assert "Traceback" not in "".join(map(places.log, places.daemons))


def test_one_place_alone_turns_nothing_down(places, moody):
    """A failure seen by one place is a split; if no other place has a vote, it is unknown."""
    places.start("sin", text=places.text.replace(moody.url, "http://127.0.0.1:1/"))
    hub, fra = places.start("hub", "--data", "none"), places.start("fra")
    assert "a restart loses history and states" in hub.logged("hub_without_data")
    until(lambda: votes(hub).get("sin") == "down", "the vote of sin")
    until(lambda: hub.site("shop")["split"] is True, "the split")
    assert hub.site("shop")["state"] == "unknown"  # nothing was known before
    differs = 'monitor_location_list_differs{location="sin"}'
    until(lambda: hub.metrics().get(differs) == 1, "another list")
    another_list = "location_list_differs location=sin"
    assert hub.logged(another_list).count(another_list) == 1
    nyc = places.start("nyc")
    until(says(hub, "up"), "two votes for up")
    nyc.kill()
    fra.kill()
    until(says(hub, "unknown"), "too few votes")
    assert hub.site("shop")["confirmed_state"] == "up"
    assert "its last report is too old" in votes(hub).values()
    assert "site_down" not in places.log("hub")


def test_reports_wait_while_nats_is_away(places, nats):
    """Delayed reports arrive once each with their own times, and cause no messages."""
    fra, nyc, hub = places.start_all("fra", "nyc", "hub")
    until(says(hub, "up"), "the first verdict")
    until(lambda: len(votes(hub)) == 2, "both votes")
    nats.stop()
    until(says(hub, "unknown"), "too few votes")
    seen = fra.site("shop")["checks"]
    until(lambda: fra.site("shop")["checks"] >= seen + 3, "checks meanwhile")
    meanwhile = fra.site("shop")["last"]["time"]
    assert fra.stop() == 0  # the waiting reports are in its data folder
    fra = places.start("fra")
    nats.start()
    until(says(hub, "up"), "the return")
    waiting = 'monitor_location_reports_waiting{location="fra"}'
    until(lambda: hub.metrics()[waiting] == 0, "the delivery")
    until(lambda: _verdict_at(places, meanwhile) == "up", "what was so while NATS was away")
    assert fra.stop() == nyc.stop() == 0
    made = _made(places, "fra", "nyc")
    until(lambda: _of_places(hub) == made, "every result, once")
    log = places.log("hub")
    assert (log.count("site_up"), log.count("site_down")) == (1, 0)


def test_a_hub_goes_on_where_it_stopped(places, moody):
    """A hub killed repeatedly loses no result, applies none twice, and logs an outage once."""
    fra, nyc, hub = places.start_all("fra", "nyc", "hub")
    until(says(hub, "up"), "the first verdict")
    until(lambda: len(votes(hub)) == 2, "both votes")
    moody.mood = "sick"
    until(says(hub, "down"), "the outage")
    since = hub.site("shop")["since"]
    hub.logged("site_down")
    for _ in range(2):  # the first one may have begun before the outage
        written = _written(hub)
        until(partial(_has_written, hub, written), "a transaction")
    told = 0
    for _ in range(int(os.environ.get("MONITOR_KILLS", "2"))):
        until(partial(_is_persistent, hub), "the store")
        hub.kill()
        told += places.log("hub").count("site_down")
        seen = fra.site("shop")["checks"]
        until(partial(_has_checked, fra, seen), "a check meanwhile")
        hub = places.start("hub")
        until(partial(_has_votes, hub, 2), "both votes")
        assert hub.site("shop")["since"] == since
    told += places.log("hub").count("site_down")
    assert told == 1
    assert fra.stop() == nyc.stop() == 0
    made = _made(places, "fra", "nyc")
    until(lambda: _of_places(hub) == made, "every result, once")


def test_shards_and_several_hubs_share_the_work(places, moody):
    """Without a quorum the hub joins shards; two hubs have all sites, each site once."""
    names = [f"s{number}" for number in range(8)]
    more = "\n".join(
        f'  - {{name: {name}, url: "{moody.url}", interval: 1s, timeout: 500ms}}' for name in names
    )
    text = places.text.replace("  quorum: {down: 2, up: 2, minimum: 2}\n", "") + more
    shards = {
        number: places.start(f"main-{number}", "--shard", f"{number}/2", text=text)
        for number in (1, 2)
    }
    hubs = [places.start(f"hub-{number}", "--shard", f"{number}/2", text=text) for number in (1, 2)]
    for hub in hubs:
        until(partial(_says_of_all, hub, "up"), "every verdict")
    listed = [set(hub.sites_by_name()) for hub in hubs]
    assert listed[0] | listed[1] == {"shop", *names}
    assert not listed[0] & listed[1]
    other = next(iter(listed[1]))
    assert "shard 2/2" in hubs[0].get(f"/api/v1/sites/{other}")[1]
    # The daemon that has a site is gone: nobody else may vote on it
    shards[1].kill()
    gone = next(name for name in names if name in set(shards[2].sites_by_name()) ^ set(names))
    hub = hubs[0] if gone in listed[0] else hubs[1]
    until(says(hub, "unknown", gone), "the loss of its only vote")
    assert "site_down" not in places.log("hub-1") + places.log("hub-2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hub", "--shard", "1/9"), "9 hubs cannot share 4 partitions; set locations.partitions"),
        (("--hub", "--location", "fra"), "a hub checks nothing itself; say either"),
        (("--location", "fra/1"), "'fra/1' is not a location; write 1 to 40 letters"),
    ],
)
def test_what_cannot_be_is_refused(places, tmp_path, arguments, said):
    """Options that contradict each other get one sentence and status 2."""
    (tmp_path / "sites.yaml").write_text(places.text)
    command = (sys.executable, "-m", "monitor", "run", "--config", tmp_path / "sites.yaml")
    done = subprocess.run(
        [*command, "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("command", ["setup", None])
def test_a_server_that_is_not_there_is_told_at_once(tmp_path, command):
    """Both the setup and the look report a missing server at once, without waiting."""
    text = SITES.format(nats="nats://127.0.0.1:1", url="http://127.0.0.1:1", login="", more="")
    (tmp_path / "sites.yaml").write_text(text)
    arguments = ["locations", *([command] if command else [])]
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *arguments, "--config", tmp_path / "sites.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("monitor: NATS: ")
    assert "Traceback" not in done.stderr


def _has_written(hub, more_than):
    return _written(hub) > more_than


def _is_persistent(hub):
    return hub.metrics()["monitor_history_persistent"] == 1


def _has_checked(place, more_than):
    return place.site("shop")["checks"] > more_than


def _has_votes(hub, count):
    return len(votes(hub)) == count


def _says_of_all(hub, state):
    return {one["state"] for one in hub.sites_by_name().values()} == {state}


def _written(hub):
    """Return how many rows the hub's store has written."""
    return hub.metrics()["monitor_history_rows_written_total"]


def _of_places(hub):
    """Return the time of each check in the hub's history, without the hub's own remarks."""
    return sorted(one["time"] for one in results(hub) if one["up"] is not None)


def _verdict_at(places, time):
    """Return the condition that the hub's history now gives the site at a time."""
    spans = _exported(places, "hub", "spans")
    (one,) = (one for one in spans if one["begin"] <= time < (one["end"] or "9999"))
    return one["condition"]


def _made(places, *names):
    """Return the time of each check in the places' own histories."""
    return sorted(one["time"] for name in names for one in _exported(places, name, "results"))


def _exported(places, name, what):
    sites = places.daemons[name].sites
    done = subprocess.run(
        [
            *(sys.executable, "-m", "monitor", "history", "export", what),
            *("--format", "jsonl", "--config", sites, "--data", sites.parent / "data"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]
