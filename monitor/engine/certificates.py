"""Remembers what workers found in the certificates of each site's last handshake. Pure."""

import math
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from monitor.model import UP, Analysis, Observation, Site, Timestamp, TlsSession


@dataclass(frozen=True, slots=True)
class _Known:
    """
    A handshake and what a worker found in it.

    Attributes:
        since, until: A check between these times finds the same, because no certificate of the
            chain ends in between.
    """

    tls: TlsSession
    found: Analysis
    since: Timestamp
    until: Timestamp


class KnownCertificates:
    """
    Remembers the last handshake of each site until the site leaves the list or changes.

    Nearly every handshake shows the same as the one before, so the answer needs no worker.
    """

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Site, _Known] = WeakKeyDictionary()

    def learn(self, site: Site, seen: Observation, found: Analysis, kept: Analysis | None) -> None:
        """
        Remember what was found in the certificates of a check's last connection.

        Args:
            found: The result of a worker, or of of().
            kept: The result in its stored form. If something was truncated for that, nothing is
                remembered, because the memory for each site is limited.
        """
        tls = seen.tls
        if tls is None or kept is None:
            return
        if tls.authorities is not None and tls.stamp is None:
            return  # the file of authorities may have changed
        known = self._known.get(site)
        if known is not None and found is known.found:
            if tls is not known.tls:  # equal; the probe holds this one
                self._known[site] = replace(known, tls=tls)
            return
        if (found.chain, found.client) != (kept.chain, kept.client):
            self._known.pop(site, None)
            return
        ends = [one.not_after for one in found.chain]
        self._known[site] = _Known(
            tls,
            Analysis(verdict=UP, chain=kept.chain, validity=found.validity, client=kept.client),
            max((end for end in ends if end < seen.time), default=-math.inf),
            min((end for end in ends if end >= seen.time), default=math.inf),
        )

    def are_kept(self, site: Site, found: Analysis) -> bool:
        """Return whether of() returned this, so that nothing in it has to be truncated."""
        known = self._known.get(site)
        return known is not None and found is known.found

    def of(self, site: Site, seen: Observation) -> Analysis | None:
        """
        Return what is known about the certificates of a handshake, with the verdict up.

        None if it differs from the site's last one, or if a certificate has ended since then.
        """
        known = self._known.get(site)
        if known is None or not known.since < seen.time <= known.until:
            return None
        same = seen.tls is known.tls or seen.tls == known.tls
        return known.found if same else None
