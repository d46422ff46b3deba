"""
Whether the monitor's own connection stands: whether any of a few places answers. Pure.

The targets are asked in rounds. One answer decides that the connection stands, the last silence
that it is lost; what has not come back by then is not asked again before it has. A failure of a
site that comes in while the connection is believed to stand proves nothing yet: it is the site's
own only once a round that began later has found the connection standing. An example, with rounds
at 0s and 10s and the cable pulled at 4s:

    4.2s  a check of the shop fails; a round begins
    9.2s  every target was silent for its timeout: the connection is lost, and the shop is unknown
    9.3s  a check of the mail server fails: unknown too, without another round

Had a target answered, at 4.3s, the shop's failure would have been recorded then. A loss that is
over before a round has begun is not noticed; ``confirm`` is for these.
"""

from collections import deque

from monitor.model import Seconds, Site

_INTERVAL: Seconds = 10.0
"""From one round to the next while nobody asks."""
_INTERVAL_LOST: Seconds = 2.0
_SHORTEST_INTERVAL: Seconds = 1.0
"""However many sites fail, the targets are asked no more often."""
_LONG_AGO: Seconds = float("-inf")


class Connectivity:
    """
    The mutable state is the round and what is known of the targets; only the engine has it.

    Attributes:
        targets: What is asked; without any, nothing is known and nothing begins.
        up: By the last round that was decided; None before the first.
        proven: When the last round began that found the connection standing.
    """

    def __init__(self) -> None:
        self.targets: tuple[Site, ...] = ()
        self.up: bool | None = None
        self.proven: Seconds = _LONG_AGO
        self._due: Seconds = _LONG_AGO
        self._began: Seconds = _LONG_AGO
        self._undecided = False
        self._waiting: deque[Site] = deque()  # for a thread
        self._asked: dict[int, tuple[Site, Seconds]] = {}  # by identity: where, and since when
        self._silent: set[int] = set()  # in this round

    def change(self, targets: tuple[Site, ...]) -> None:
        """Ask others from now on; what is known so far is forgotten."""
        self.targets = targets
        self.up = None
        self.proven = self._due = _LONG_AGO
        self._undecided = False
        self._waiting.clear()

    @property
    def busy(self) -> bool:
        """Whether a target is being asked."""
        return bool(self._asked)

    def next_due(self) -> Seconds | None:
        """Return when the next round begins; None while one goes on."""
        return self._due if self.targets and not self._undecided else None

    def ask(self, now: Seconds) -> None:
        """Have a round begin soon; one that goes on is none that begins now."""
        self._due = min(self._due, max(now, self._began + _SHORTEST_INTERVAL))

    def begin_if_due(self, now: Seconds) -> None:
        due = self.next_due()
        if due is None or due > now:
            return
        self._undecided = True
        self._began = now
        self._silent.clear()
        self._waiting.extend(target for target in self.targets if id(target) not in self._asked)

    def next_target(self, now: Seconds) -> Site | None:
        """Return a target that waits for a thread, and take it for asked."""
        if not self._waiting:
            return None
        target = self._waiting.popleft()
        self._asked[id(target)] = target, now
        return target

    def is_asked(self, site: Site) -> bool:
        """Tell a target that is being asked from a site of the list."""
        return id(site) in self._asked

    def on_asked(self, target: Site, now: Seconds, *, answered: bool) -> bool:
        """Take note of what a target did; returns whether that decided the round."""
        _, since = self._asked.pop(id(target))
        # By identity: a target that was changed and is still asked may equal its successor
        if not self._undecided or all(target is not one for one in self.targets):
            return False
        if not answered:
            self._silent.add(id(target))
            return len(self._silent) == len(self.targets) and self._decide(now, up=False)
        if since < self._began:
            self._waiting.append(target)  # it says how things stood before the round
            return False
        return self._decide(now, up=True)

    def _decide(self, now: Seconds, *, up: bool) -> bool:
        self.up = up
        if up:
            self.proven = self._began
        self._undecided = False
        self._waiting.clear()
        self._due = now + (_INTERVAL if up else _INTERVAL_LOST)
        return True
