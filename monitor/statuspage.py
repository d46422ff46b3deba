"""Status pages for customers: which there are, whom they show, what is announced on them."""

from dataclasses import dataclass

from monitor.model import Site
from monitor.units import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPage:
    """
    A page that shows some of the sites, and of these nothing but name, state and past.

    Attributes:
        path: Where it is, such as ``/status``.
        sites: Names of sites that are on it, as are those of ``groups`` and those that have all of
            ``labels``, which admit no site if empty.
        public: Whether it is shown to people who have not logged in.
        latency: Whether it shows how fast the sites answer.
        url: Where readers find it; None to take it from their requests.
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
        """Return the group under which the page shows a site; empty where it may not be named."""
        return site.group if site.group in self.groups else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """
    What the admin has to say to the readers.

    Attributes:
        begin: From when it is shown; no other announcement has the same.
        end: Until when it counts as current; None for as long as it is written down.
        text: In lines, without markup.
        pages: The paths of those that show it; all of them where it is empty.
    """

    begin: Timestamp
    end: Timestamp | None = None
    title: str
    text: str = ""
    pages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Everything that is for customers."""

    pages: tuple[StatusPage, ...] = ()
    announcements: tuple[Announcement, ...] = ()
