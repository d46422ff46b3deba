"""Records of status pages for customers, and of their announcements."""

from dataclasses import dataclass

from monitor.model import Site
from monitor.units import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPage:
    """
    A page that shows some of the sites, and only their name, state and past.

    Attributes:
        path: Its path, such as ``/status``.
        sites: Names of sites on the page, in addition to those of ``groups`` and those with all of
            ``labels``; empty ``labels`` add no site.
        public: Whether people see it without logging in.
        latency: Whether it shows how fast the sites answer.
        url: The URL for readers; None to take it from their requests.
    """

    path: str
    title: str
    sites: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    public: bool = False
    latency: bool = False
    url: str | None = None

    def shows(self, site: Site) -> bool:
        """Return whether the site is on this page."""
        if site.group in self.groups or site.name in self.sites:
            return True
        return bool(self.labels) and self.labels.issubset(site.labels)

    def heading(self, site: Site) -> str:
        """Return the group under which the page shows a site; empty if it may not be named."""
        return site.group if site.group in self.groups else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """
    What the administrator announces to the readers.

    Attributes:
        begin: From when it is shown; unique among announcements.
        end: Until when it counts as current; None as long as it is in the configuration.
        text: In lines, without markup.
        pages: The paths of the pages that show it; empty for all of them.
    """

    begin: Timestamp
    end: Timestamp | None = None
    title: str
    text: str = ""
    pages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Everything that is published for customers."""

    pages: tuple[StatusPage, ...] = ()
    announcements: tuple[Announcement, ...] = ()
