"""Checks sites once, now, for the commands check and probe; part of the composition root."""

from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue

from monitor import __version__
from monitor.app.keeping import Oblivion
from monitor.app.process import handled_signals, on_stop
from monitor.app.reloader import bucket_bounds
from monitor.app.runtime import Runtime
from monitor.config.settings import Settings
from monitor.engine.events import Inbox, SitesChanged, StopRequested
from monitor.mailbox import Mailbox
from monitor.metrics.internal import Internal
from monitor.model import Result, Site, SiteChange, SiteState
from monitor.probes.version import LIBCURL_VERSION
from monitor.units import Seconds


def check_once(
    sites: Sequence[Site],
    settings: Settings,
    on_result: Callable[[Result], bool],
    *,
    connectivity: tuple[Site, ...] = (),
) -> tuple[list[Result], bool]:
    """
    Check every site once, now, through the engine that the daemon uses.

    Args:
        on_result: Called with each result as it comes in, in the main thread; returns whether that
            is enough and the other sites need not be checked.
        connectivity: While none of these answers, sites are unknown, not down.

    Returns:
        The results in the order of the sites, and whether these are all of them: an interrupt cuts
        off the rest, and the caller must then leave() at once.

    Raises:
        StartupError: No worker process can be started.
    """
    inbox: Inbox = SimpleQueue()
    results = _Results(on_result, enough=lambda: inbox.put(StopRequested(0)))
    runtime = Runtime(
        settings,
        inbox,
        mailbox=Mailbox(),
        publisher=results,
        recorder=Oblivion(),
        internal=Internal(version=__version__, libcurl=LIBCURL_VERSION),
    )
    with handled_signals(on_stop(lambda: inbox.put(StopRequested(0)))):
        try:
            runtime.start()
            change = SiteChange(added=tuple(sites))
            bounds = bucket_bounds(sites, settings)
            runtime.engine.handle(SitesChanged(change, bounds, connectivity=connectivity))
            runtime.engine.run_once()
        finally:
            runtime.stop_workers()
            runtime.stop_threads()
    found = [results.by_site[site.name] for site in sites if site.name in results.by_site]
    return found, len(found) == len(sites)


class _Results:
    """Collects the results of one-off checks."""

    def __init__(self, on_result: Callable[[Result], bool], enough: Callable[[], None]) -> None:
        self.by_site: dict[str, Result] = {}
        self._on_result = on_result
        self._enough = enough

    def publish(self, state: SiteState) -> None:
        if state.last is not None:
            self.by_site[state.site.name] = state.last
            if self._on_result(state.last):
                self._enough()

    def remove(self, names: Iterable[str]) -> None:
        pass

    def bounds_changed(self, bounds: tuple[Seconds, ...]) -> None:
        pass
