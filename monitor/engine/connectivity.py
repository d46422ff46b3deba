"""
Whether the monitor itself is connected: whether any one of a few targets answers. Pure.

The targets are checked in rounds. The first answer decides that the connection works; if every
target stays silent, it is lost. A target whose check is still running is not checked again. If a
site fails while the connection is believed to work, this proves nothing yet: the failure counts
against the site only after a round that began later has found the connection working. An example,
with rounds at 0s and 10s and the cable pulled at 4s:

    4.2s  a check of the shop fails; a round begins
    9.2s  every target was silent for its timeout: the connection is lost, and the shop is unknown
    9.3s  a check of the mail server fails: unknown too, without another round

If a target had answered at 4.3s, the shop's failure would have been recorded at once. A loss that
ends before a round begins is not noticed; ``confirm`` covers these.
"""

from collections import deque

from monitor.model import Seconds, Site

_INTERVAL: Seconds = 10.0
"""From one round to the next if no failure asks for one."""
_INTERVAL_LOST: Seconds = 2.0
_SHORTEST_INTERVAL: Seconds = 1.0
"""However many sites fail, rounds do not begin more often than this."""
_LONG_AGO: Seconds = float("-inf")


class Connectivity:
    """
    The mutable state is the round and what is known of the targets; it belongs to the engine.

    Attributes:
        targets: The sites to check; without any, nothing is known and no round begins.
        up: The outcome of the last decided round; None before the first.
        proven: The start of the last round that found the connection working.
    """

    def __init__(self) -> None:
        self.targets: tuple[Site, ...] = ()
        self.up: bool | None = None
        self.proven: Seconds = _LONG_AGO
        self._due: Seconds = _LONG_AGO
        self._began: Seconds = _LONG_AGO
        self._undecided = False
        self._waiting: deque[Site] = deque()  # waiting for a thread
        self._asked: dict[int, tuple[Site, Seconds]] = {}  # by identity: the target, and since when
        self._silent: set[int] = set()  # in this round

    def change(self, targets: tuple[Site, ...]) -> None:
        """Use these targets from now on; what was known is forgotten."""
        self.targets = targets
        self.up = None
        self.proven = self._due = _LONG_AGO
        self._undecided = False
        self._waiting.clear()

    @property
    def busy(self) -> bool:
        """Whether a target is being checked."""
        return bool(self._asked)

    def next_due(self) -> Seconds | None:
        """Return when the next round begins; None while one is running."""
        return self._due if self.targets and not self._undecided else None

    def ask(self, now: Seconds) -> None:
        """Start a round soon; one that is already running does not count."""
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
        """Return a target that waits for a thread; it now counts as being checked."""
        if not self._waiting:
            return None
        target = self._waiting.popleft()
        self._asked[id(target)] = target, now
        return target

    def is_asked(self, site: Site) -> bool:
        """Return whether this is a target that is being checked, and not a site of the list."""
        return id(site) in self._asked

    def on_asked(self, target: Site, now: Seconds, *, answered: bool) -> bool:
        """Record the outcome of a target's check; return whether it decided the round."""
        _, since = self._asked.pop(id(target))
        # By identity: a changed target whose check still runs may equal its successor
        if not self._undecided or all(target is not one for one in self.targets):
            return False
        if not answered:
            self._silent.add(id(target))
            return len(self._silent) == len(self.targets) and self._decide(now, up=False)
        if since < self._began:
            self._waiting.append(target)  # its answer is from before the round
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
