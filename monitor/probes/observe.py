"""The whole job of a probe thread: one site, one deadline, one observation."""

from collections.abc import Mapping

from monitor.clock import Clock, Deadline
from monitor.errors import ProbeError
from monitor.model import HttpAnswer, Observation, Probe, Seconds, Site
from monitor.options import show_duration
from monitor.protocols.table import SCHEMES
from monitor.records import replace

_STANDSTILL: Seconds = 2.0
"""A check exceeds its timeout by this much only if the process itself was stopped. When 2,048
threads reach their timeouts at once, the last is late by 0.2 s."""


class Observer:
    """
    Runs the probe for a site's scheme; called by many threads at once.

    Args:
        probes: By URL scheme, each built once per daemon.
    """

    def __init__(self, probes: Mapping[str, Probe], clock: Clock) -> None:
        self._probes = probes
        self._clock = clock

    def __call__(self, site: Site) -> Observation:
        """
        Check the site once, under the deadline that its timeout sets from now.

        Raises:
            NothingYetError: There is nothing to say about the site yet. ProbeError: The monitor
            could not look, or was itself stopped or paused during the check: an
                apparent timeout is then not the site's fault.
        """
        deadline = Deadline.after(site.timeout, self._clock)
        try:
            seen = self._probes[site.scheme](site, deadline)
        except MemoryError as error:
            raise ProbeError("the monitor has no memory left") from error
        # A job that reports its own run time may have run for hours
        late = seen.duration > site.timeout + _STANDSTILL
        if late and not SCHEMES[site.scheme].reports_itself:
            took, limit = show_duration(seen.duration), show_duration(site.timeout)
            raise ProbeError(
                f"the monitor was paused: the check took {took}, its timeout is {limit}"
            )
        if not (site.secrets or seen.secrets):
            return seen
        return _with_masked_urls(seen, site.with_secrets(seen.secrets))


def _with_masked_urls(seen: Observation, site: Site) -> Observation:
    """
    Return the observation with the site's secrets masked in the URLs of its answer.

    The result masks everything else, but an expression may take a URL apart, and then a secret in
    it can no longer be recognised.
    """
    answer = seen.answer
    if not isinstance(answer, HttpAnswer):
        return seen
    hops = tuple(replace(hop, url=site.redact(hop.url)) for hop in answer.redirects)
    return replace(seen, answer=replace(answer, url=site.redact(answer.url), redirects=hops))
