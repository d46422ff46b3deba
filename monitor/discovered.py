"""
What sources of sites pass to the configuration: plain entries, each with its place.

A source lists entries, and `config` decides whether they are sites; neither imports the other.
Pure.
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
        limit: The longest list that is accepted.
        gone: How long a site is kept that the source no longer lists.
        folder: The folder of the YAML file, to which paths are relative.
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
    A source's entry for one site.

    Attributes:
        keys: A site's keys with plain data: texts, numbers, lists, mappings by text.
        place: Its place in the source, for messages: ``ingress shop/web``. Shows no secret.
        problem: Why the source itself considers it a mistake; the keys then mean nothing.
    """

    keys: Mapping[str, Any]
    place: str
    problem: str = ""

    @property
    def identity(self) -> str:
        """Equal for entries of two lists that mean the same site."""
        return str(self.keys.get("name") or self.keys.get("url") or self.place)


@dataclass(frozen=True, slots=True)
class SourceContents:
    """
    What is currently known about one source.

    Attributes:
        entries: Its last good list.
        gone: Entries that vanished from it a short while ago, and are still checked.
        remarks: What could not be read, or was skipped on purpose; for ``/config``.
    """

    entries: tuple[ListedSite, ...] = ()
    gone: tuple[ListedSite, ...] = ()
    remarks: tuple[str, ...] = ()
