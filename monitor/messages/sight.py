"""
What a site's state has to report. Pure.

The main thread takes a sight of each state and passes on those that differ from the last one; the
thread of messages/outbox.py turns them into alerts.
"""

from typing import NamedTuple, TypeAlias

from monitor.model import Seconds, Site, SiteState, Status, Timestamp

SITE_DOWN = "SiteDown"
SITE_FLAPPING = "SiteFlapping"
CERTIFICATE_ENDS = "SiteCertificateEnds"
CLIENT_CERTIFICATE_ENDS = "ClientCertificateEnds"

_DAY: Seconds = 86400.0

Validity: TypeAlias = tuple[Timestamp, Timestamp]
"""From when to when a certificate is valid."""

_STEPS: dict[str, tuple[tuple[str, float, Seconds], ...]] = {
    CERTIFICATE_ENDS: (
        ("critical", 1 / 16, _DAY),
        ("warning", 1 / 8, 7 * _DAY),
        ("info", 1 / 4, 21 * _DAY),
    ),
    CLIENT_CERTIFICATE_ENDS: (
        ("critical", 1 / 16, _DAY),
        ("warning", 1 / 4, 21 * _DAY),
    ),
}
"""The thresholds of the rules with the same names: severity, share of the lifetime, and the longest
time before the end; the latest first."""


class Sight(NamedTuple):
    """
    The part of a state that matters for notifications.

    Attributes:
        site: The site that it is about; compared by identity.
        down_since: The first failure of an outage; None unless the site is down.
        because: The site whose outage is the cause of this one; empty if there is none.
        certificate: From when to when the site's certificate is valid; None if the last check saw
            no certificate, which says nothing about it.
        client: The same for the client certificate.
        detail: What the last check found wrong; not compared.
    """

    site: Site
    status: Status
    down_since: Timestamp | None
    flapping: bool
    maintenance: bool
    because: str
    certificate: Validity | None
    client: Validity | None
    detail: str = ""

    def same_as(self, other: "Sight | None") -> bool:
        """Return whether this adds nothing to another sight of the same name."""
        return (
            other is not None
            and self.site is other.site
            and self[1:6] == other[1:6]
            and self.certificate in (None, other.certificate)
            and self.client in (None, other.client)
        )


def sight_of(state: SiteState) -> Sight:
    """Return the sight of a state; cheap, because it happens after each check."""
    analysis = state.finished.analysis if state.finished is not None else None
    client = analysis.client if analysis is not None else None
    return Sight(
        state.site,
        state.status,
        _down_since(state) if state.status is Status.DOWN else None,
        state.flapping,
        state.maintenance,
        state.because,
        analysis.validity if analysis is not None else None,
        (client.not_before, client.not_after) if client is not None else None,
        analysis.verdict.message if analysis is not None else "",
    )


def _down_since(state: SiteState) -> Timestamp:
    # If confirm.successes is above 1, this may be a later streak of the same outage
    first = state.streak_since
    return first if first is not None and first < state.since else state.since


class Ending(NamedTuple):
    """
    How near the end of a certificate is.

    Attributes:
        severity: That of the last threshold that was passed; None before the first.
        since: When it was passed.
        until: When the next one will be passed; None after the last.
    """

    severity: str | None
    since: Timestamp
    until: Timestamp | None


def ending(name: str, validity: Validity, now: Timestamp) -> Ending:
    """Return which of the alert's thresholds a certificate has passed."""
    not_before, not_after = validity
    until: Timestamp | None = None
    for severity, share, most in _STEPS[name]:
        moment = not_after - min((not_after - not_before) * share, most)
        if now >= moment:
            return Ending(severity, moment, until)
        until = moment
    return Ending(None, now, until)
