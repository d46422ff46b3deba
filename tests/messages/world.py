"""A router whose clock is turned by hand, and channels that accept messages or refuse them."""

from itertools import count
from typing import Any, NamedTuple

from monitor.messages.notification import Notification
from monitor.messages.route import Router
from monitor.messages.sight import Sight
from monitor.messages.topic import Channel
from monitor.model import Site, Status
from monitor.notify import NotifyOptions
from tests.builders import site

BEGAN = 1_790_000_000.0


class Sent(NamedTuple):
    """A message that arrived, with its time in seconds since the beginning."""

    at: float
    channel: str
    notification: Notification

    @property
    def told(self) -> dict[str, str]:
        return {one.labels["site"]: str(one.status) for one in self.notification.alerts}

    @property
    def summaries(self) -> list[str]:
        return [one.annotations["summary"] for one in self.notification.alerts]


class World:
    """
    Sites that change state, and channels.

    Attributes:
        away: Channels that cannot be reached.
        poisonous: A site; messages about it are not accepted.
        answers: Whether these failed attempts get an answer.
        refusing: Channels that refuse every message for good.
        sent: What arrived, in order.
        tried: The channel and the key of each attempt.
        rows: What the store has.
    """

    def __init__(self, *sites: Site, channels: dict[str, Channel] | None = None, **settings):
        self.now = BEGAN
        self.away: set[str] = set()
        self.poisonous = ""
        self.refusing: set[str] = set()
        self.answers = False
        self.sent: list[Sent] = []
        self.tried: list[tuple[str, str]] = []
        self.rows: dict[tuple[str, str], bytes] = {}
        self.channels = channels or {"chat": Channel("chat")}
        self.settings = NotifyOptions(**settings)
        self.sights: dict[str, Sight] = {}
        self._keys = count(1)
        self._sites = {one.name: one for one in sites}
        self.router = self._live()
        self.router.listed(lambda _: True, self.now)
        self.run(10)

    def _live(self) -> Router:
        router = Router(lambda: f"key-{next(self._keys)}", self.now)
        router.configure(self.settings, self.channels, self.now)
        return router

    @property
    def time(self) -> float:
        return self.now - BEGAN

    def see(self, name: str, status: str, **values) -> None:
        """Put a site in a state from now on."""
        one = self._sites.setdefault(name, site(name))
        before = self.sights.get(name)
        since = None
        if status == "down":
            lasts = before is not None and before.status is Status.DOWN
            since = before.down_since if before is not None and lasts else self.now
        defaults: dict[str, Any] = {
            "site": one,
            "status": Status(status),
            "down_since": since,
            "flapping": False,
            "maintenance": False,
            "because": "",
            "certificate": None,
            "client": None,
            "detail": "status 503 is not in 2xx" if status == "down" else "",
        }
        self.sights[name] = Sight(**(defaults | values))
        self.router.see(self.sights[name], self.now)
        self.step()

    def relist(self, one: Site) -> None:
        """Change a site's keys."""
        self._sites[one.name] = one
        self.sights[one.name] = self.sights[one.name]._replace(site=one)
        self.router.see(self.sights[one.name], self.now)

    def reload(self, **settings) -> None:
        """Use other settings from now on."""
        self.settings = NotifyOptions(**settings)
        self.router.configure(self.settings, self.channels, self.now)
        self.step()

    def restart(self) -> None:
        """Start another daemon, which knows what the store and the engine's memory have."""
        self.router = self._live()
        self.router.restore(dict(self.rows), self.now)
        for sight in self.sights.values():
            self.router.see(sight._replace(certificate=None, client=None), self.now)
        self.router.listed(lambda _: True, self.now)
        self.step()

    def run(self, seconds: float) -> "World":
        """Let time pass."""
        end = self.now + seconds
        while (due := self.router.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.step()
        self.now = end
        self.step()
        return self

    def step(self) -> None:
        """Send what is due now; the result is known at once."""
        while notifications := self.router.due(self.now):
            self.keep()
            for one in notifications:
                self.attempt(one)
        self.keep()

    def until_due(self) -> None:
        """Let time pass until something is due."""
        due = self.router.next_due()
        assert due is not None
        self.run(due - self.now)

    def attempt(self, one: Notification) -> None:
        self.tried.append((one.receiver, one.key))
        poisonous = any(alert.labels["site"] == self.poisonous for alert in one.alerts)
        if one.receiver in self.away or poisonous:
            self.router.failed(
                one.receiver, one.key, self.now, lasting=False, answered=self.answers
            )
        elif one.receiver in self.refusing:
            self.router.failed(one.receiver, one.key, self.now, lasting=True)
        else:
            self.sent.append(Sent(self.time, one.receiver, one))
            self.router.delivered(one.receiver, one.key, self.now)

    def keep(self) -> None:
        """Write what the store should have."""
        while changes := self.router.changes():
            for key, data in changes.items():
                if data is None:
                    self.rows.pop(key, None)
                else:
                    self.rows[key] = data

    def taken(self) -> list[tuple[float, dict[str, str]]]:
        """Return what arrived since the last call, as times and sites."""
        found = [(one.at, one.told) for one in self.sent]
        self.sent.clear()
        return found
