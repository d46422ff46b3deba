"""Messages of a daemon that is killed repeatedly, around transitions and attempts to send."""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.probes.servers import Connection, ScriptedServer, answer, read_request
from tests.system.processes import Daemon
from tests.waiting import until

SITES = ("a", "b", "c")
LONGEST_ANSWER = 0.4
LONGEST_LIFE = 1.0
"""Seconds after a change in which the daemon notices it, waits for the group, sends and hears."""


class Inbox:
    """
    A webhook that confirms each message after a delay, so that a kill comes in between.

    Attributes:
        got: The key, the site and the status of each message, in the order of their arrival.
    """

    def __init__(self, slowness: float) -> None:
        self.got: list[tuple[str, str, str]] = []
        self._chosen = random.Random(7)  # noqa: S311  the delay need not be secret
        self._slowness = slowness
        self.server = ScriptedServer([read_request, self._take, answer()[1]])

    def _take(self, connection: Connection) -> None:
        head, _, body = connection.server.requests[-1].partition(b"\r\n\r\n")
        message = json.loads(body)
        (alert,) = message["alerts"]
        key = head.partition(b"Idempotency-Key: ")[2].split(b"\r\n")[0].decode()
        self.got.append((key, alert["labels"]["site"], alert["status"]))
        connection.wait(self._chosen.uniform(0, self._slowness))

    def last(self) -> dict[str, str]:
        """Return the last status that was sent for each site."""
        return {site: status for _, site, status in self.got}


@pytest.fixture
def inboxes() -> Iterator[tuple[Inbox, Inbox]]:
    """Return one inbox that answers at once, and one that is slow."""
    found = Inbox(0.0), Inbox(LONGEST_ANSWER)
    yield found
    for one in found:
        one.server.close()


def test_no_message_is_lost_and_none_comes_under_two_keys(tmp_path, moody, inboxes):
    """
    Killed within a second of each change, a daemon tells each change to each receiver.

    What arrives twice has the same key both times, and each kill can cause that once a message.
    """
    kills = int(os.environ.get("MONITOR_KILLS", "2"))
    quick, slow = inboxes
    sites = "\n".join(f'  - {{name: {site}, url: "{moody.url}{site}"}}' for site in SITES)
    text = f"""
notify:
  group_by: [site]
  group_wait: 50ms
  group_interval: 100ms
  receivers:
    - {{name: quick, webhook: {{url: "{quick.server.url()}"}}}}
    - {{name: slow, webhook: {{url: "{slow.server.url()}"}}}}
defaults: {{interval: 400ms, confirm: {{failures: 2, retry_interval: 100ms}}}}
sites:
{sites}
"""

    def both_say(wanted):
        return quick.last() == slow.last() == wanted

    chosen = random.Random(kills)  # noqa: S311  the moment of the kill need not be secret
    data = str(tmp_path / "data")
    expected: list[str] = []
    for life in range(kills + 1):
        daemon = Daemon(tmp_path, text, MONITOR_DATA=data)
        try:
            wanted = dict.fromkeys(SITES, expected[-1]) if expected else {}
            until(partial(both_say, wanted), f"life {life}'s news")
            # More than 5 changes in 20 results would be flapping, which another alert reports
            counts = _checks(daemon)
            until(partial(_has_checked, daemon, counts), "some checks")
            if life == kills:
                until(partial(_is_empty, daemon), "an empty outbox")
                assert daemon.stop() == 0
                break
            moody.mood = "well" if life % 2 else "sick"
            expected.append("resolved" if life % 2 else "firing")
            time.sleep(chosen.uniform(0, LONGEST_LIFE))
        finally:
            daemon.kill()
    for inbox in inboxes:
        times = Counter(inbox.got)
        assert sum(times.values()) - len(times) <= kills * len(SITES)
        for site in SITES:
            assert [
                status for _, name, status in dict.fromkeys(inbox.got) if name == site
            ] == expected
        assert len({key for key, _, _ in times}) == len(times)


def _checks(daemon: Daemon) -> dict[str, int]:
    return {site: daemon.site(site)["checks"] for site in SITES}


def _has_checked(daemon: Daemon, before: dict[str, int]) -> bool:
    """Return whether every site has been checked four times since then."""
    return all(count >= before[site] + 4 for site, count in _checks(daemon).items())


def _is_empty(daemon: Daemon) -> bool:
    """Return whether no message waits."""
    return _waiting(daemon) == 0


def _waiting(daemon: Daemon) -> float:
    """Return how long the oldest message has waited."""
    samples = daemon.metrics().items()
    return max(age for name, age in samples if name.startswith("monitor_notifications_oldest"))
