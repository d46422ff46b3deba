"""The keys of status pages and announcements, and the records made from them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from monitor.config.keys import Moment, wall_time
from monitor.config.nodes import KeyValue, MappingNode, Node, Scalar, SequenceNode, scalars
from monitor.config.problems import KeyPath, Problems
from monitor.grammar import check_url
from monitor.model import Site
from monitor.options import Parsed, Zone, option, unknown
from monitor.statuspage import Announcement, Published, StatusPage
from monitor.units import Timestamp

OWN_PATHS = frozenset(
    ("-", "api", "badges", "config", "logs", "metrics", "probe", "push", "sd", "sites")
)
"""First parts of the web server's own paths."""
_BELOW_PAGES = ("api", "feed.atom")
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")


def _path(value: Any) -> str:
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a path such as /status; write letters, digits and any of . _ ~ -"
        )
    parts = value.split("/")[1:]
    if parts[0] in OWN_PATHS:
        raise ValueError(f"/{parts[0]} is the monitor's own; choose another path, such as /status")
    for part in _BELOW_PAGES:
        if part in parts:
            raise ValueError(f"{part!r} belongs to what lies below a page; choose another path")
    return value


def _url(value: Any) -> str:
    # A login does not belong here, so it is not quoted
    text = value if isinstance(value, str) and _URL.fullmatch(value) else ""
    check_url(text, ("http", "https"), "a URL such as https://status.example.com/status")
    return text.rstrip("/")


_Path = Annotated[str, Parsed(_path, {"type": "string", "pattern": f"^{_PATH.pattern}$"})]
_Url = Annotated[str, Parsed(_url, {"type": "string", "format": "uri"})]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageKeys:
    """A status page for customers."""

    path: _Path = option(doc="Where the page is served, such as /status.")
    title: str = option(doc="Its heading, and the name of its feed.")
    sites: tuple[str, ...] = option((), doc="Names of sites that it shows.")
    groups: tuple[str, ...] = option(
        (), doc="Groups whose sites it shows, under the group's name as a heading."
    )
    labels: Mapping[str, str] = option(
        factory=dict, doc="It shows the sites that have all of these labels."
    )
    show: tuple[Literal["latency"], ...] = option(
        (), doc="What it shows beside name, state and uptime: latency."
    )
    public: bool = option(
        False,
        doc="Whether it is served without the log-in of --web-config, and by --listen-public.",
    )
    url: _Url | None = option(
        None,
        doc="Where its readers find it, for links in the feed and the API; by default what they"
        " asked for.",
    )

    def __post_init__(self) -> None:
        if not (self.sites or self.groups or self.labels):
            raise ValueError("needs sites, groups or labels, which say what it shows")

    def page(self) -> StatusPage:
        """Return the record that the daemon works with."""
        return StatusPage(
            path=self.path,
            title=self.title,
            sites=frozenset(self.sites),
            groups=frozenset(self.groups),
            labels=frozenset(self.labels.items()),
            public=self.public,
            latency="latency" in self.show,
            url=self.url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementKeys:
    """A text for the readers of status pages."""

    at: Moment = option(
        doc="From when it is shown, such as 2026-12-01T22:00 or 2026-12-01T22:00Z; unique."
    )
    until: Moment | None = option(
        None, doc="Until when it is current; later it stands among past incidents."
    )
    timezone: Zone = option(ZoneInfo("UTC"), doc="Time zone of these times, such as Europe/Berlin.")
    title: str = option(doc="What it is about, in one line.")
    text: str = option("", doc="What there is to say; line breaks are kept, markup is not read.")
    pages: tuple[_Path, ...] = option(
        (), doc="Paths of the pages that show it; by default all of them."
    )

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.begin:
            raise ValueError("until must be later than at")

    @property
    def begin(self) -> Timestamp:
        return self._timestamp(self.at)

    @property
    def end(self) -> Timestamp | None:
        return self._timestamp(self.until) if self.until else None

    def announcement(self) -> Announcement:
        """Return the record that the daemon works with."""
        return Announcement(
            begin=self.begin,
            end=self.end,
            title=self.title,
            text=self.text,
            pages=frozenset(self.pages),
        )

    def _timestamp(self, moment: datetime) -> Timestamp:
        return wall_time(moment, self.timezone).replace(tzinfo=self.timezone).timestamp()


# ---------------------------------------------------------------- rules over the whole list


def read_published(
    entries: Mapping[str, KeyValue],
    pages: tuple[PageKeys, ...],
    announcements: tuple[AnnouncementKeys, ...],
    sites: Iterable[Site] | None,
    problems: Problems,
) -> Published:
    """
    Return the pages and announcements; report problems that need more than one key to see.

    Args:
        entries: The entries ``pages`` and ``announcements``, as far as they exist.
        sites: All possible sites; None if more will be discovered.
    """
    # A site that was skipped because of a problem is not unknown
    known = None if len(problems) or sites is None else tuple(sites)
    _check_texts(entries, problems)
    _check_pages(_items(entries, "pages"), pages, problems)
    if known is not None:
        _check_choice(_items(entries, "pages"), pages, known, problems)
    _check_announcements(_items(entries, "announcements"), announcements, pages, problems)
    return Published(
        pages=tuple(one.page() for one in pages),
        announcements=tuple(one.announcement() for one in announcements),
    )


def _items(entries: Mapping[str, KeyValue], key: str) -> list[MappingNode]:
    node = entries[key].value if key in entries else None
    items = node.items if isinstance(node, SequenceNode) else []
    return [item for item in items if isinstance(item, MappingNode)]


def _check_texts(entries: Mapping[str, KeyValue], problems: Problems) -> None:
    for key in ("pages", "announcements"):
        for index, item in enumerate(_items(entries, key)):
            for name, entry in item.entries.items():
                for scalar in scalars(entry.value):
                    message = _text_problem(name, scalar)
                    if message:
                        problems.add(scalar, (key, index, name), message)


def _text_problem(name: str, scalar: Scalar) -> str | None:
    if scalar.substitution and scalar.substitution.secrets:
        return "is shown to everybody, and what is substituted is a secret; write the value here"
    lines = scalar.text.split("\n") if name == "text" else [scalar.text]
    if not all(line.isprintable() for line in lines):
        return "holds a control character"
    if name == "title" and not scalar.text.strip():
        return "is empty"
    return None


def _check_pages(items: list[MappingNode], pages: tuple[PageKeys, ...], problems: Problems) -> None:
    taken: dict[str, Node] = {}
    for index, (item, page) in enumerate(zip(items, pages, strict=False)):
        place = item.entries["path"].value
        if other := taken.get(page.path):
            message = f"the path {page.path} is taken, at {other.place}; give this page another"
            problems.add(place, ("pages", index, "path"), message)
        taken.setdefault(page.path, place)


def _check_choice(
    items: list[MappingNode],
    pages: tuple[PageKeys, ...],
    sites: tuple[Site, ...],
    problems: Problems,
) -> None:
    """Report what a page selects but no site has: a typing error would hide a site."""
    names = {site.name for site in sites}
    groups = {site.group for site in sites}
    labels = {label for site in sites for label in site.labels}
    for index, (item, page) in enumerate(zip(items, pages, strict=False)):
        wanted = (("sites", "site", page.sites, names), ("groups", "group", page.groups, groups))
        for key, what, listed, known in wanted:
            for number, name in enumerate(listed):
                if name not in known:
                    node = _below(item, key, number)
                    path: KeyPath = ("pages", index, key, number)
                    problems.add(node, path, f"{name!r}: {unknown(what, name, known - {''})}")
        for name, value in page.labels.items():
            if (name, value) not in labels:
                node = item.entries["labels"].value
                message = f"no site has the label {name}: {value}"
                problems.add(node, ("pages", index, "labels", name), message)


def _below(item: MappingNode, key: str, number: int) -> Node:
    node = item.entries[key].value
    return node.items[number] if isinstance(node, SequenceNode) else node


def _check_announcements(
    items: list[MappingNode],
    announcements: tuple[AnnouncementKeys, ...],
    pages: tuple[PageKeys, ...],
    problems: Problems,
) -> None:
    paths = [page.path for page in pages]
    begins: dict[Timestamp, Node] = {}
    for index, (item, one) in enumerate(zip(items, announcements, strict=False)):
        place = item.entries["at"].value
        if other := begins.get(one.begin):
            message = (
                f"another announcement has this moment, at {other.place}; they are told apart by it"
            )
            problems.add(place, ("announcements", index, "at"), message)
        begins.setdefault(one.begin, place)
        for number, path in enumerate(one.pages):
            if path not in paths:
                node = _below(item, "pages", number)
                message = f"{path!r}: {unknown('page', path, paths)}"
                problems.add(node, ("announcements", index, "pages", number), message)
