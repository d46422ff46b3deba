"""What the admin listed: a site and everything that was written about it."""

from dataclasses import dataclass, field, fields, replace
from datetime import datetime, time
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from monitor.secrecy import longest_first, redact
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
        days: On which it begins; 0 is Monday.
        start: By a clock in the zone, as ``end`` is.
        end: At or before ``start``, it is the next day's.
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
        start: By a clock in the zone, as ``end`` is; neither has a zone of its own.
        end: After ``start``.
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
        was: Its name until now, whose memory it carries on.
        url: What is asked for, credentials included; never shown.
        target: The URL as it may be shown: no credentials, no substituted secret.
        scheme: The URL's, in lower case; picks the probe.
        labels: The admin's own, in the order of the file.
        interval: From one check's slot to the next.
        timeout: The one deadline over everything a check does.
        options: One record per section of the probe (HttpOptions, TlsOptions, …).
        expect: What must hold, as (key of EXPECTATIONS, decoded value), in the table's order.
        extract: What is taken out of answers to be shown, by the row of that key in READINGS.
        watch: What of answers is compared with the one before, by the row of that key.
        reads_body: Whether one of these looks at the body, so that more than the evidence of it
            is worth keeping.
        maintenance: When the site's state is not to be taken at its word.
        connectivity: Whether its failures count only while the monitor's own connection stands.
        secrets: Every value that must never be shown, in every form that it is met in, longest
            first; see redact().
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
    secrets: tuple[str, ...] = field(default=(), repr=False)

    # Not as a dataclass would have them: options hold mappings, which have no hash, and what a site
    # needs at each check is kept by the site, so that it is compared with itself

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Site) and _all_of_site(self) == _all_of_site(other)

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
        """Return the site with more secrets, which a check of it was given."""
        return replace(self, secrets=longest_first((*more, *self.secrets))) if more else self


_all_of_site = attrgetter(*(one.name for one in fields(Site)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChange:
    """The difference between two site lists; a site in none of them goes on undisturbed."""

    added: tuple[Site, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[Site, ...] = ()
