"""The rows of the tables of probes, expectations and readings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from monitor.clock import Deadline
from monitor.mailbox import Mailbox
from monitor.model.observation import Observation, Reason
from monitor.model.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeKind:
    """
    One row of the table of probes.

    Attributes:
        protocol: The protocol that expectations refer to; ``https`` and ``http`` share one.
        build: Creates the probe, once per daemon, from the mailbox that receives the calls of sites
            that report themselves.
        sections: The site's keys that hold its options, with the record for each.
        check_url: Raises ValueError, with what is wrong, for a URL this probe cannot use.
        check_site: Raises OptionError for options that cannot work with the URL or each other.
        own: Returns an option that must be unique among sites, and its place in the site.
        obstacle: Says why the system does not let this probe work, and which setting to change;
            None if it does.
    """

    protocol: str
    build: Callable[[Mailbox], "Probe"]
    sections: Mapping[str, type]
    check_url: Callable[[str], None] | None = None
    check_site: Callable[[Site], None] | None = None
    own: Callable[[Site], tuple[tuple[str, ...], str]] | None = None
    obstacle: Callable[[], str | None] | None = None


Probe: TypeAlias = Callable[[Site, Deadline], Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationKind:
    """
    One row of the table of expectations.

    Attributes:
        shape: The type its value is decoded into (see options.py); the type that ``check`` gets.
        reason: The reason of the failure if it does not hold.
        check: ``(value, seen) -> why it does not hold``, or None.
        protocols: The protocols for which it makes sense.
        defaults: The value by protocol if the site gives none.
        reads_body: Whether it needs the whole body.
        reads_body_when: For a row that reads the body, which values really do; see needs_body().
        compares: Whether ``check`` only compares numbers or single words, so that it takes
            microseconds for any answer; see judge_at_once().
        compares_when: For a row that compares, which values really do; see only_compares().
        check_protocol: ``(value, protocol)``; raises ValueError, with what is wrong, for a value
            that makes no sense for one of the protocols, which is ignored in defaults; TypeError
            for one that is a mistake even there.
        doc: One sentence for the schema and the reference.
    """

    shape: Any
    reason: Reason
    check: Callable[[Any, Any], str | None]
    protocols: frozenset[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reads_body: bool = False
    reads_body_when: Callable[[Any], bool] | None = None
    check_protocol: Callable[[Any, str], None] | None = None
    compares: bool = False
    compares_when: Callable[[Any], bool] | None = None
    doc: str

    def only_compares(self, value: Any) -> bool:
        """Return whether checking this value only compares numbers or single words."""
        return self.compares and (self.compares_when is None or self.compares_when(value))

    def needs_body(self, value: Any) -> bool:
        """Return whether the whole body is needed to check this value."""
        return self.reads_body and (self.reads_body_when is None or self.reads_body_when(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingKind:
    """
    One row of the table of readings, the values that are read from answers; its key is a site's.

    Attributes:
        shape: The type its value is decoded into (see options.py).
        protocols: The protocols for which it makes sense.
        needs_body: Whether the whole body is needed for this value.
        doc: One sentence for the schema and the reference.
    """

    shape: Any
    protocols: frozenset[str]
    needs_body: Callable[[Any], bool]
    doc: str


@dataclass(frozen=True, slots=True)
class SourceKind:
    """
    One row of the table of sources of sites; its key is the one below ``discover``.

    Attributes:
        options: The record of its options.
        doc: One sentence for the schema and the reference.
    """

    options: type
    doc: str
