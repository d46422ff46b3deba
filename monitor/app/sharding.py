"""
Which of several daemons checks a site; pure.

Every shard reads the same list and computes by itself which sites it checks, so shards need neither
each other nor a coordinator.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from struct import Struct

from monitor.errors import StartupError
from monitor.model import Site, SiteChange

AUTO = "auto"

_MOST_SHARDS = 1000
"""Every eight shards cost one more hash per site."""
_WORDS = Struct("<8Q")
_hash = partial(blake2b, digest_size=_WORDS.size, person=b"monitor shards")
_NUMBER = "[0-9]{1,9}"


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One part of the sites, such as shard 2 of 5.

    Attributes:
        number: From 1 to ``total``.
    """

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def owner(self, name: str) -> int:
        """Return the number of the shard that the site of this name belongs to."""
        return 1 if self.total == 1 else owner(name, self.total)

    def owns(self, name: str) -> bool:
        """Return whether the site of this name belongs to this shard."""
        return self.owner(name) == self.number

    def own(self, change: SiteChange) -> SiteChange:
        """Return the part of a change that concerns this shard; none moves a site elsewhere."""
        if self.total == 1:
            return change
        return SiteChange(
            added=tuple(site for site in change.added if self.owns(site.name)),
            removed=tuple(name for name in change.removed if self.owns(name)),
            changed=tuple(site for site in change.changed if self.owns(site.name)),
        )


@dataclass(frozen=True, slots=True)
class HubShard(Shard):
    """
    One of several hubs, which divide the partitions of the reports among themselves.

    Attributes:
        partitions: The number of partitions; at least ``total``.
    """

    partitions: int = 1

    def owner(self, name: str) -> int:
        return (owner(name, self.partitions) - 1) % self.total + 1

    def own(self, change: SiteChange) -> SiteChange:
        # Its series of places have this label
        return _labelled(Shard.own(self, change), ())

    def own_partitions(self) -> tuple[int, ...]:
        """Return the partitions that this hub reads, counted from 1."""
        return tuple(range(self.number, self.partitions + 1, self.total))


@dataclass(frozen=True, slots=True)
class PlaceShard(Shard):
    """
    The part of the sites that one daemon of a location checks; they carry the location's label.

    Attributes:
        location: The name of the location.
    """

    location: str = ""

    def own(self, change: SiteChange) -> SiteChange:
        return _labelled(Shard.own(self, change), ((_LABEL, self.location),))


def _labelled(change: SiteChange, labels: tuple[tuple[str, str], ...]) -> SiteChange:
    """Return the change with these labels on each site; they replace labels of the same name."""

    def labelled(site: Site) -> Site:
        given = tuple(
            (f"exported_{name}" if name == _LABEL else name, value) for name, value in site.labels
        )
        return replace(site, labels=(*given, *labels))

    return replace(
        change,
        added=tuple(map(labelled, change.added)),
        changed=tuple(map(labelled, change.changed)),
    )


_LABEL = "location"
WHOLE = Shard(1, 1)
"""For sites that are not divided."""


def owner(name: str, total: int) -> int:
    """
    Return the number, from 1, of the shard that a site belongs to.

    Each shard has a weight for each name, which depends on nothing else, and the shard with the
    largest weight has the site. So a sixth shard takes a sixth of the sites, some from each of the
    five, and no other site moves; and if the last shard is removed, only its sites move. The
    weights must never change, because shards of different versions run side by side during an
    upgrade.
    """
    data = name.encode(errors="surrogatepass")
    weights: tuple[int, ...] = ()
    for block in range(0, total, 8):
        digest = _hash(data, salt=block.to_bytes(blake2b.SALT_SIZE, "little")).digest()
        weights += _WORDS.unpack(digest)
    weights = weights[:total]
    return weights.index(max(weights)) + 1


def parse_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """
    Return the shard that the command line asks for.

    Args:
        text: ``2/5``, or ``auto`` in a pod of a StatefulSet: the pod's name ends in its number and
            comes from ``POD_NAME``, else ``HOSTNAME``; ``MONITOR_SHARDS`` is the number of shards.

    Raises:
        StartupError: The text does not name a shard, or the number of the pod is not known.
    """
    if text == AUTO:
        return _from_pod(environ)
    form = re.fullmatch(f"({_NUMBER})/({_NUMBER})", text)
    if form is None:
        raise StartupError(f"{text!r} is not a shard; write 2/5 for the second of five, or auto")
    number, total = int(form[1]), _total(form[2])
    if not 1 <= number <= total:
        raise StartupError(
            f"there is no shard {text}; they are numbered from 1/{total} to {total}/{total}"
        )
    return Shard(number, total)


def _from_pod(environ: Mapping[str, str]) -> Shard:
    shards = environ.get("MONITOR_SHARDS", "")
    if not re.fullmatch(_NUMBER, shards):
        raise StartupError(
            f"MONITOR_SHARDS is {shards!r}; for shard auto it must say how many shards there are,"
            " which is the StatefulSet's replicas"
        )
    total = _total(shards)
    pod = environ.get("POD_NAME") or environ.get("HOSTNAME", "")
    form = re.fullmatch(f".+-({_NUMBER})", pod)
    if form is None:
        raise StartupError(
            f"shard auto finds no place in the pod's name {pod!r}; a StatefulSet's pods are named"
            " monitor-0, monitor-1 …"
        )
    place = int(form[1])
    if place >= total:
        raise StartupError(
            f"pod {pod} has the place {place}, counted from 0, but MONITOR_SHARDS is {total};"
            " set it to the StatefulSet's replicas"
        )
    return Shard(place + 1, total)


def _total(text: str) -> int:
    total = int(text)
    if not 1 <= total <= _MOST_SHARDS:
        raise StartupError(f"{total} shards are not possible; there may be 1 to {_MOST_SHARDS}")
    return total
