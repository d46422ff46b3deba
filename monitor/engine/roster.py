"""
The sites of a loop: their states, their maintenance windows, and changes of the list.

The engine and the hub each own one; it runs in the main thread.
"""

from collections.abc import Callable, Mapping

from monitor.clock import Clock
from monitor.engine import notices
from monitor.engine.events import SitesChanged
from monitor.engine.guard import StepGuard
from monitor.engine.maintenance import Calendar
from monitor.engine.ports import LoopMeters, Publisher, Recorder
from monitor.engine.state import Depth, begin, rebucket, resume, take_over
from monitor.model import Seconds, Site, SiteState, Timestamp
from monitor.past import Remembered
from monitor.records import replace


class Roster:
    """
    The mutable state is the states, the bounds and the calendar; it belongs to the loop's thread.

    A site stays the same as long as its identity does, which is its URL without credentials. It
    then keeps everything that is known of it, counters included, whatever else changes: options,
    interval, group, labels, and its name if ``was`` gives the former one. Under other labels its
    counters continue at their values, so ``rate()`` and ``increase()`` see neither a jump nor a
    reset. Another URL is another thing to check: it begins unknown, with its counters at 0.

    Args:
        on_listed: Called for each new or changed site, once its state is entered, with the state
            that it continues; None if it begins, or continues after a restart.
        on_left: Called with each name that has left the list, once all others are listed.

    Attributes:
        guard: Takes the loop's steps, the roster's own among them.
        states: By name; only the roster writes into it.
        bounds: Of the duration histogram.
    """

    def __init__(
        self,
        clock: Clock,
        publisher: Publisher,
        recorder: Recorder,
        meters: LoopMeters,
        depth: Depth,
        on_listed: Callable[[SiteState, SiteState | None], None],
        on_left: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._publisher = publisher
        self._recorder = recorder
        self._meters = meters
        self._depth = depth
        self._on_listed = on_listed
        self._on_left = on_left
        self._calendar = Calendar()
        self.guard = StepGuard(meters)
        self._states: dict[str, SiteState] = {}
        self.states: Mapping[str, SiteState] = self._states
        self.bounds: tuple[Seconds, ...] = ()

    def enter(self, state: SiteState, time: Timestamp, *, checked: bool) -> None:
        """
        Store a site's state, have it remembered and shown.

        Args:
            time: When the state began.
            checked: Whether a check led to it.
        """
        self._states[state.site.name] = state
        self._recorder.noted(state, time, checked=checked)
        self._publisher.publish(state)

    def show(self, state: SiteState) -> None:
        """Store a state that need not be remembered, and have it shown."""
        self._states[state.site.name] = state
        self._publisher.publish(state)

    # ------------------------------------------------------------ maintenance

    def next_edge(self) -> Timestamp | None:
        """Return when to look at the windows next."""
        return self._calendar.next_edge()

    def turn_windows(self, at_most: int) -> None:
        """Apply windows that have opened or closed by now, for a few sites at a time."""
        for name, is_open in self._calendar.pop(self._clock.time(), at_most):
            self.guard.survives(self._turn, name, is_open=is_open)

    def _turn(self, name: str, *, is_open: bool) -> None:
        before = self._states[name]
        if before.maintenance == is_open:
            return
        state = replace(before, maintenance=is_open)
        self.enter(state, self._clock.time(), checked=False)
        notices.maintenance(state)

    # ------------------------------------------------------------ the list changes

    def change(self, event: SitesChanged) -> None:
        """Apply the new list; a bug affects only the site that it concerns."""
        try:
            if event.bounds != self.bounds:
                self._change_bounds(event.bounds)
            leaving = {name: self._states[name] for name in event.change.removed}
            for site in event.change.added:
                former = leaving.pop(site.was, None)
                self.guard.survives(self._list, site, former, event.remembered.get(site.name))
            for site in event.change.changed:
                self.guard.survives(self._list, site, self._states.get(site.name), None)
            for name in event.change.removed:
                self.guard.survives(self._remove, name)
            self._publisher.remove(event.change.removed)
            self._recorder.left(leaving, self._clock.time())
            self._meters.sites(len(self._states))
        finally:
            if event.applied is not None:
                event.applied.set_result(None)

    def _list(self, site: Site, former: SiteState | None, known: Remembered | None) -> None:
        """
        List a new site, or a changed one instead of the old one.

        Args:
            former: The previous state of this site, under this name or another.
            known: What an earlier run of the daemon knew about it.
        """
        now = self._clock.time()
        if former is not None and former.site.name != site.name:
            self._recorder.renamed(former.site.name, site.name)
        if former is not None and former.site.identity != site.identity:
            former = None
        if former is not None:
            state = take_over(former, site)
        elif known is not None:
            state = resume(site, known, self.bounds, self._depth)
        else:
            state = begin(site, self.bounds, now)
        is_open = self._calendar.put(site.name, site.maintenance, now)
        self.enter(replace(state, maintenance=is_open), now, checked=False)
        self._on_listed(self._states[site.name], former)

    def _remove(self, name: str) -> None:
        del self._states[name]
        self._calendar.remove(name)
        self._on_left(name)

    def _change_bounds(self, bounds: tuple[Seconds, ...]) -> None:
        before, self.bounds = self.bounds, bounds
        self._publisher.bounds_changed(bounds)
        for name, state in self._states.items():
            self._states[name] = rebucket(state, before, bounds)
            self.guard.survives(self._publisher.publish, self._states[name])
