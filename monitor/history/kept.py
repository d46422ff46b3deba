"""What the writer's thread knows about each site."""

from dataclasses import dataclass, field

from monitor.history.tracks import Tracks
from monitor.history.uptime import Milliseconds
from monitor.model import Site, SiteState, Status

_NEVER = 10**6
"""A day later than all others."""


@dataclass(slots=True)
class KeptSite:
    """
    A site as the writer knows it.

    Attributes:
        number: The writer's own number of it, until the store has one.
        id: The store's number of it; None until it has one.
        identity: Shows whether it is still the same site; None until it is needed.
        as_of: The last result that ``state`` includes.
        waiting: Results that are in the journal and not packed yet.
        days_until: The first day to sum up, for the first time or again.
        summed_up: The same in the store.
        hours_until: The first hour to roll up, also as in the store.
        told: Reason and message of the failure whose evidence was written last.
    """

    number: int
    site: Site
    id: int | None = None
    identity: bytes | None = None
    days_until: int = _NEVER
    summed_up: int = _NEVER
    hours_until: int = _NEVER
    gone: bool = False
    tracks: Tracks = field(default_factory=Tracks)
    state: SiteState | None = None
    as_of: Milliseconds = 0
    content: str | None = None
    status: Status | None = None
    told: tuple[str | None, str] | None = None
    waiting: bytearray = field(default_factory=bytearray)
