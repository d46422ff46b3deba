"""
From down spans to the incidents of a status page. Pure.

The first site of the page that goes down opens an incident; it lasts while others follow, and ends
when all of them are up:

    shop    ──────▼▼▼▼▼▼▼▼──────────────▼▼▼──
    search  ─────────▼▼▼▼▼▼▼▼▼──────────────
                  └── one ───┘          └2─┘

Its identifier is made from the page and the time of its beginning, so it stays the same after a
restart, on another machine, and while sites join.
"""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.model import Timestamp
from monitor.naming import cached_natural_key
from monitor.past import Span

_NAMESPACE = uuid.UUID("0d5ddbd1-7a0e-5d0c-9f0c-3f4d1f9a3a55")
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A site of an incident that went down, or came up again."""

    time: Timestamp
    site: str
    down: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """
    An outage as the readers of a page see it.

    Attributes:
        end: None while it lasts.
        sites: Those that were down, the first one first.
        turns: What happened to them, oldest first.
    """

    begin: Timestamp
    end: Timestamp | None
    sites: tuple[str, ...]
    turns: tuple[Turn, ...]

    @property
    def updated(self) -> Timestamp:
        return self.turns[-1].time

    @property
    def down(self) -> tuple[str, ...]:
        """The sites that are still down; empty once it is over."""
        state = {turn.site: turn.down for turn in self.turns}
        return tuple(site for site in self.sites if state[site])


def incidents(spans: Iterable[Span]) -> list[Incident]:
    """Return the incidents that these down spans form, newest first."""
    ordered = sorted(spans, key=lambda one: (one.begin, cached_natural_key(one.site)))
    found: list[Incident] = []
    together: list[Span] = []
    end: Timestamp | None = None
    for span in ordered:
        # If a site goes down at the very moment the last one comes up, the outage has no gap
        if together and end is not None and span.begin > end:
            found.append(_incident(together, end))
            together = []
        end = _later(end, span.end) if together else span.end
        together.append(span)
    if together:
        found.append(_incident(together, end))
    return found[::-1]


def token(*parts: object) -> str:
    """Return an identifier of twelve letters and digits, as Statuspage's are, made of the parts."""
    number = int.from_bytes(hashlib.blake2b(_text(parts), digest_size=16).digest())
    letters = []
    for _ in range(12):
        number, place = divmod(number, 36)
        letters.append(_BASE36[place])
    return "".join(letters)


def urn(*parts: object) -> str:
    """Return an identifier for a feed (RFC 4287, 4.2.6), made of the parts."""
    return uuid.uuid5(_NAMESPACE, _text(parts).decode()).urn


def _text(parts: Sequence[object]) -> bytes:
    return "\0".join(map(str, parts)).encode(errors="surrogatepass")


def _later(one: Timestamp | None, other: Timestamp | None) -> Timestamp | None:
    return None if one is None or other is None else max(one, other)


def _incident(spans: Sequence[Span], end: Timestamp | None) -> Incident:
    turns = [Turn(time=one.begin, site=one.site, down=True) for one in spans]
    turns += [Turn(time=one.end, site=one.site, down=False) for one in spans if one.end is not None]
    # At the same moment, recoveries sort last: a site may go down as another comes up
    turns.sort(key=lambda one: (one.time, not one.down, cached_natural_key(one.site)))
    return Incident(
        begin=spans[0].begin,
        end=end,
        sites=tuple(dict.fromkeys(one.site for one in spans)),
        turns=tuple(turns),
    )
