"""A probe thread's whole job: one site, one deadline, one observation without secrets."""

from collections.abc import Mapping
from dataclasses import replace

from monitor.clock import Clock, Deadline
from monitor.model import Hop, HttpAnswer, Observation, Probe, Site


class Observer:
    """
    Runs the probe that a site's scheme picks; called from many threads at once.

    Args:
        probes: By URL scheme, each built once for the life of the daemon.
    """

    def __init__(self, probes: Mapping[str, Probe], clock: Clock) -> None:
        self._probes = probes
        self._clock = clock

    def __call__(self, site: Site) -> Observation:
        """
        Check the site once, by the deadline that its timeout sets from now.

        Raises:
            ProbeError: The monitor could not look.
        """
        deadline = Deadline.after(site.timeout, self._clock)
        seen = self._probes[site.scheme](site, deadline)
        return _redacted(seen, site.with_secrets(seen.secrets))


def _redacted(seen: Observation, site: Site) -> Observation:
    """Return the observation with the site's secrets masked in its message and its URLs."""
    if not site.secrets:
        return seen
    failure, answer = seen.failure, seen.answer
    if failure:
        failure = replace(failure, message=site.redact(failure.message))
    if isinstance(answer, HttpAnswer):
        hops = tuple(_redacted_hop(hop, site) for hop in answer.redirects)
        answer = replace(answer, url=site.redact(answer.url), redirects=hops)
    return replace(seen, failure=failure, answer=answer)


def _redacted_hop(hop: Hop, site: Site) -> Hop:
    return replace(hop, url=site.redact(hop.url))
