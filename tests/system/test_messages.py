"""Messages of a daemon, seen from outside: killed at any moment, with slow receivers."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from tests.system.processes import Daemon, Hook, fetch
from tests.waiting import until

SITES = """
notify:
  group_by: [site]
  group_wait: 50ms
  group_interval: 100ms
  receivers:
    - {{name: quick, webhook: {{url: "{quick}"}}, headers: {{X-Life: "{life}"}}}}
    - {{name: slow, webhook: {{url: "{slow}"}}, headers: {{X-Life: "{life}"}}}}
sites:
  - {{name: moody, url: "{moody}", interval: 100ms, timeout: 90ms}}
"""


@pytest.fixture
def hooks():
    both = Hook(), Hook(pause=0.2)
    yield both
    for hook in both:
        hook.close()


def notify(*arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "monitor", "notify", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def came_twice(hook: Hook) -> dict[str, list[str]]:
    """Return the keys of messages that had come before, by the run that sent them again."""
    known: set[str] = set()
    again: dict[str, list[str]] = {}
    for life, (key, _) in zip(hook.senders, hook.taken, strict=True):
        if key in known:
            again.setdefault(life, []).append(key)
        known.add(key)
    return again


def test_a_kill_loses_no_message_and_repeats_at_most_one(tmp_path, moody, hooks, capsys):
    """
    Killed around transitions and sends, it tells each receiver each turn once and in order.

    A kill may cause one message to come twice, with the same key.
    """
    kills = int(os.environ.get("MONITOR_KILLS", "2"))
    chosen = random.Random(kills)  # noqa: S311  the moment of the kill need not be secret
    data = str(tmp_path / "data")
    turns: list[str] = []

    def all_told() -> bool:
        return all(len(hook.said("moody")) >= len(turns) for hook in hooks)

    def begun(life: int) -> Daemon:
        urls = {"quick": hooks[0].url, "slow": hooks[1].url}
        text = SITES.format(moody=moody.url, **urls, life=life)
        return Daemon(tmp_path, text, MONITOR_DATA=data)

    def turn(daemon: Daemon) -> None:
        """Let the site change state once all have the last change, and after enough checks."""
        until(all_told, "the last turn to be told")
        # With fewer checks between two changes, the site would flap
        until(lambda: daemon.site("moody")["checks"] >= 7, "checks of this life")
        turns.append("resolved" if turns[-1:] == ["firing"] else "firing")
        moody.mood = "sick" if turns[-1] == "firing" else "well"

    for life in range(kills):
        daemon = begun(life)
        try:
            if life == 0 or chosen.random() < 0.75:  # else the send under way is cut off once more
                turn(daemon)
            time.sleep(chosen.uniform(0, 0.8))
        finally:
            daemon.kill()
    daemon = begun(kills)
    try:
        turn(daemon)
        turn(daemon)
        until(all_told, "the end to be told")
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    for name, hook in zip(("quick", "slow"), hooks, strict=True):
        said, again = hook.said("moody"), came_twice(hook)
        with capsys.disabled():
            # The line that MONITOR_KILLS=200 is run for
            print(  # noqa: T201
                f"\n{name}: {kills} kills, {len(turns)} turns expected, {len(said)} told,"
                f" {sum(map(len, again.values()))} messages came twice"
            )
        assert said == turns
        assert all(len(keys) == 1 for keys in again.values()), again
        assert len(again) <= kills


def test_a_stop_waits_for_no_receiver(tmp_path, moody):
    """A receiver that hangs delays neither the checks, nor another receiver, nor the stop."""
    quick, hanging = Hook(), Hook(pause=60)
    text = SITES.format(moody=moody.url, quick=quick.url, slow=hanging.url, life=0)
    daemon = Daemon(tmp_path, text, MONITOR_DATA=str(tmp_path / "data"))
    try:
        moody.mood = "sick"
        until(lambda: hanging.taken and quick.said("moody") == ["firing"], "both to be told")
        moody.mood = "well"
        until(lambda: quick.said("moody") == ["firing", "resolved"], "the end of the outage")
        assert daemon.get("/-/ready")[0] == 200
        listed = json.loads(daemon.get("/api/v1/receivers")[1])["receivers"]
        assert [(one["name"], one["waiting"]) for one in listed] == [("quick", 0), ("slow", 1)]
        told = notify("list", "--url", daemon.url)
        assert [line.split()[0] for line in told.stdout.splitlines()] == [
            "RECEIVER",
            "quick",
            "slow",
        ]
        assert notify("test", "quick", "--config", daemon.sites).returncode == 0
        assert notify("test", "quik", "--config", daemon.sites).returncode == 2
        assert daemon.metrics()['monitor_notifications_oldest_seconds{receiver="slow"}'] > 0
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < hanging.pause / 2
    finally:
        daemon.kill()
        quick.close()
        hanging.close()


def test_a_list_gets_receivers_while_the_daemon_runs(tmp_path, moody):
    """New receivers hear of sites that are already down; without any, no message code is loaded."""
    text = f'sites: [{{name: moody, url: "{moody.url}", interval: 100ms, timeout: 90ms}}]\n'
    moody.mood = "sick"
    hook = Hook()
    daemon = Daemon(tmp_path, text)
    try:
        until(lambda: daemon.site("moody")["state"] == "down", "the outage")
        assert json.loads(daemon.get("/api/v1/receivers")[1]) == {"receivers": []}
        urls = {"quick": hook.url, "slow": hook.url}
        daemon.sites.write_text(SITES.format(moody=moody.url, **urls, life=0))
        until(lambda: [*hook.said("moody")] == ["firing", "firing"], "both receivers to be told")
        assert fetch(daemon.url + "/-/notify/retry?receiver=nobody", "POST")[0] == 404
        assert fetch(daemon.url + "/-/notify/retry?receiver=quick", "POST")[0] == 200
    finally:
        daemon.kill()
        hook.close()
