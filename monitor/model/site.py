"""What the administrator listed: a site and everything that was written about it."""

from dataclasses import dataclass, field, fields, replace
from datetime import datetime, time
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from monitor.secrecy import longest_first, redact, without_credentials
from monitor.units import Seconds

_Section = TypeVar("_Section")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm:
    """
    Consecutive results required to change the confirmed state.

    Attributes:
        failures: From up to down; at least 1.
        successes: From down to up; at least 1.
        retry_interval: How often a site is checked while a failure awaits confirmation, and after
            an error of the monitor's own.
    """

    failures: int = 1
    successes: int = 1
    retry_interval: Seconds = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurringWindow:
    """
    Maintenance on some days of every week.

    Attributes:
        days: The days on which it begins; 0 is Monday.
        start: The time of day in the zone at which it begins.
        end: The time of day in the zone at which it ends; the next day if not after ``start``.
    """

    days: frozenset[int] = frozenset(range(7))
    start: time
    end: time
    zone: ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleWindow:
    """
    Maintenance that happens once.

    Attributes:
        start: The date and time in the zone at which it begins; without ``tzinfo``.
        end: The date and time in the zone at which it ends; after ``start``.
    """

    start: datetime
    end: datetime
    zone: ZoneInfo


Window: TypeAlias = RecurringWindow | SingleWindow


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Site:
    """
    One site of the list, decoded and complete.

    Attributes:
        name: Unique over all files.
        was: Its former name, whose state and history it takes over.
        url: The URL that is checked, credentials included; never shown.
        target: The URL as it may be shown: no credentials, no substituted secret.
        scheme: The URL's scheme in lower case; determines the probe.
        labels: The administrator's own, in the order of the file.
        interval: From one check's slot to the next.
        timeout: The one deadline for everything that a check does.
        options: One record per section of the probe (HttpOptions, TlsOptions, …).
        expect: What must hold, as (key of EXPECTATIONS, decoded value), in the table's order.
        extract: The values that are read from answers, decoded by the row ``extract`` of READINGS.
        watch: The part of answers that is compared with the last one, by the row ``watch``.
        reads_body: Whether one of these needs the whole body, not only the first KiB for people.
        maintenance: The windows in which failures are expected.
        connectivity: Whether its failures count only while the monitor itself is connected.
        notify: The names of the receivers of messages about it; None means all of them.
        depends_on: Names of the sites whose outages explain its own; never circular.
        secrets: Every value that must never be shown, in every form, longest first; see
            secrecy.redact().
    """

    name: str
    was: str = ""
    url: str = field(repr=False)
    target: str
    scheme: str
    group: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    interval: Seconds = 60.0
    timeout: Seconds = 10.0
    options: tuple[object, ...] = field(default=(), repr=False)
    expect: tuple[tuple[str, Any], ...] = ()
    extract: Any = None
    watch: Any = None
    reads_body: bool = False
    confirm: Confirm = Confirm()
    maintenance: tuple[Window, ...] = ()
    connectivity: bool = True
    notify: tuple[str, ...] | None = None
    depends_on: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    # Not the dataclass's own: options hold mappings, which have no hash; and what the checks of a
    # site start from is kept in a dictionary by site, which mostly compares a site with itself

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Site) and _all_of_site(self) == _all_of_site(other)

    @property
    def identity(self) -> str:
        """The URL without credentials: while it stays the same, so does the site. Never shown."""
        return without_credentials(self.url)

    def section(self, record: type[_Section]) -> _Section:
        """
        Return this site's options of one section.

        Raises:
            LookupError: The site's scheme has no such section.
        """
        for options in self.options:
            if isinstance(options, record):
                return options
        raise LookupError(f"{self.scheme} sites have no {record.__name__}")

    def redact(self, text: str) -> str:
        """Return the text without any of this site's secrets."""
        return redact(text, self.secrets)

    def with_secrets(self, more: tuple[str, ...]) -> "Site":
        """Return the site with additional secrets that one of its checks received."""
        return replace(self, secrets=longest_first((*more, *self.secrets))) if more else self


_all_of_site = attrgetter(*(one.name for one in fields(Site)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChange:
    """The difference between two site lists; all other sites continue unchanged."""

    added: tuple[Site, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Site, ...] = ()
