"""Which sites depend on which, and whose outage explains another; runs in the main thread."""

from collections.abc import Iterable, Mapping

from monitor.model import Site, SiteState, Status


class Dependencies:
    """
    The mutable state is the two tables below; it belongs to the loop's thread.

    Args:
        states: The current states of all sites, by name.
    """

    def __init__(self, states: Mapping[str, SiteState]) -> None:
        self._states = states
        self._children: dict[str, set[str]] = {}  # the sites that depend on each site
        self._parents: dict[str, tuple[str, ...]] = {}

    def set_parents(self, name: str, parents: tuple[str, ...]) -> None:
        """Make a site depend on these sites, and on no others."""
        for parent in self._parents.pop(name, ()):
            self._children[parent].discard(name)
            if not self._children[parent]:
                del self._children[parent]
        for parent in parents:
            self._children.setdefault(parent, set()).add(name)
        if parents:
            self._parents[name] = parents

    def cause(self, site: Site) -> str:
        """Return the site whose outage explains that of this one; empty if none does."""
        cause = ""
        passed = {site.name}  # while a list changes, old and new sites may form a circle
        while (parent := self._parent_down(site)) and parent not in passed:
            passed.add(parent)
            cause, site = parent, self._states[parent].site
        return cause

    def descendants(self, name: str) -> Iterable[str]:
        """Return all sites that depend on this one, directly or through others."""
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            for child in self._children.get(waiting.pop(), ()):
                if child not in found:
                    found[child] = None
                    waiting.append(child)
        return found

    def _parent_down(self, site: Site) -> str:
        for name in site.depends_on:
            state = self._states.get(name)
            if state is not None and state.status is Status.DOWN:
                return name
        return ""
