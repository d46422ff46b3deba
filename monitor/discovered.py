"""
What passes between the sources of sites and the configuration: plain entries, each with a place.

A source names sites, `config` decides whether they are any; neither imports the other. Pure data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    One source of sites, as the configuration declares it.

    Attributes:
        name: Unique over all files; the label ``source`` of its sites.
        kind: The key in the table of sources: ``file``, ``http``, …
        options: The record that belongs to the kind.
        limit: The longest list that is believed.
        gone: How long a site is kept that the source no longer lists.
        folder: The folder of the YAML file, from where paths count.
    """

    name: str
    kind: str
    options: Any = field(repr=False)
    limit: int
    gone: Seconds
    folder: Path


@dataclass(frozen=True, slots=True)
class ListedSite:
    """
    What a source says of one site.

    Attributes:
        keys: A site's keys with plain data: texts, numbers, lists, mappings by text.
        place: Where it stands, for messages: ``ingress shop/web``. Shows no secret.
        problem: Why the source itself takes it for a mistake; then the keys mean nothing.
    """

    keys: Mapping[str, Any]
    place: str
    problem: str = ""

    @property
    def identity(self) -> str:
        """What tells whether two lists speak of the same site."""
        return str(self.keys.get("name") or self.keys.get("url") or self.place)


@dataclass(frozen=True, slots=True)
class SourceContents:
    """
    What is known of one source now.

    Attributes:
        entries: Its last good list.
        gone: What vanished from it a short while ago, and is still checked.
        remarks: What could not be read, or was left out on purpose; for ``/config``.
    """

    entries: tuple[ListedSite, ...] = ()
    gone: tuple[ListedSite, ...] = ()
    remarks: tuple[str, ...] = ()
