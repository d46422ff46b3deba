"""
A list of sites during an import, with what became of each field of the original.

Values are kept by their meaning. A secret and an environment variable are references: short marks
inside a text that are written as ``${NAME}``.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from monitor.secrecy import is_sensitive_header

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Characters that Unicode reserves for such marks; texts never contain them."""
_REFERENCE = re.compile(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}")
_SPECIAL_DOLLAR = re.compile(rf"\$(?=[${{{_OPEN}])")
"""A dollar that would begin a reference, or look like an escaped one."""
_SCHEME = re.compile(r"(?:Bearer|Basic|Token|ApiKey|Digest) +")
_USERINFO = re.compile(r"^([a-zA-Z][\w+.-]*://)([^/?#\s]*)@")
_PARAMETER = re.compile(r"([?&])([^=&#\s]+)=([^&#\s]+)")


class Fate(StrEnum):
    """What became of a field."""

    CARRIED = "carried"
    CHANGED = "changed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class ReportLine:
    """
    One line of the report.

    Attributes:
        item: What the field belongs to, in the other program's terms: an endpoint, a monitor, a
            module; empty for the whole.
        field: The field's name in the other program.
        ours: The key that now has it.
        why: What is different, or why it could not be carried over.
    """

    item: str
    field: str
    fate: Fate
    ours: str = ""
    why: str = ""


def reference(name: str) -> str:
    """Return the mark for an environment variable inside a text."""
    return f"{_OPEN}{name}{_CLOSE}"


def has_reference(text: str) -> bool:
    return _OPEN in text


def references(text: str) -> list[str]:
    """Return the names of the variables in a text."""
    return _REFERENCE.findall(text)


def resolved(text: str, environ: Mapping[str, str]) -> str:
    """Return the text with the values of its variables; missing values are empty."""
    return _REFERENCE.sub(lambda found: environ.get(found[1], ""), text)


def without_value(text: str, environ: Mapping[str, str]) -> str:
    """Return a sentence that names the variables in a text without a value here; empty if none."""
    names = [name for name in dict.fromkeys(references(text)) if name not in environ]
    if not names:
        return ""
    it = "it" if len(names) == 1 else "them"
    return f"the environment has no {', '.join(names)}; run the import again with {it} set"


def written(text: str) -> str:
    """Return the text as it is written in our files."""
    return _REFERENCE.sub(lambda found: f"${{{found[1]}}}", _SPECIAL_DOLLAR.sub("$$", text))


def between_references(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text; the second value tells whether a part is a reference."""
    end = 0
    for found in _REFERENCE.finditer(text):
        if found.start() > end:
            yield text[end : found.start()], False
        yield found[0], True
        end = found.end()
    if end < len(text):
        yield text[end:], False


class SecretVariables:
    """
    Secrets that were found, by the name of the variable that will hold each.

    Attributes:
        values: Name → value.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._taken: set[str] = set()

    def reserve(self, names: Iterable[str]) -> None:
        """Use none of these names for secrets, because they are already environment variables."""
        self._taken.update(names)

    def keep(self, names: Collection[str]) -> None:
        """Forget all others, which belong to skipped parts."""
        self.values = {name: value for name, value in self.values.items() if name in names}

    def hide(self, value: str, *hints: str) -> str:
        """
        Return the text with everything secret replaced by references.

        References stay references. A value that occurred before keeps its name.
        """
        parts = []
        for part, is_reference in between_references(value):
            if is_reference or not part.strip():
                parts.append(part)
                continue
            scheme = _SCHEME.match(part)
            start = scheme.end() if scheme else 0
            parts.append(part[:start])
            if part[start:]:
                parts.append(reference(self._name(part[start:], hints)))
        return "".join(parts)

    def in_url(self, url: str, *hints: str) -> str:
        """Return a URL with its password, and parameters with secret names, as references."""
        if found := _USERINFO.match(url):
            user, colon, password = found[2].partition(":")
            hidden = self.hide(password, *hints, "password") if password else ""
            url = f"{found[1]}{user}{colon}{hidden}@{url[found.end() :]}"

        def parameter(match: re.Match[str]) -> str:
            mark, name, value = match.groups()
            if is_sensitive_header(name):
                value = self.hide(value, *hints, name)
            return f"{mark}{name}={value}"

        return _PARAMETER.sub(parameter, url)

    def _name(self, value: str, hints: tuple[str, ...]) -> str:
        for name, known in self.values.items():
            if known == value:
                return name
        base = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(hints)).strip("_").upper() or "SECRET"
        if base[0].isdigit():
            base = f"_{base}"
        name, number = base, 2
        while name in self.values or name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self.values[name] = value
        return name


def _bare(hint: str) -> str:
    return hint.rpartition(".")[2]


@dataclass(slots=True)
class SiteDraft:
    """
    One site.

    Attributes:
        item: Its name in the other program.
        keys: In our form.
        left_out: Why the list has no such site; None if it has.
        shown: Whether a skipped site is shown as a comment.
        remarks: Comments above it.
    """

    parent: "ListDraft"
    item: str
    keys: dict[str, Any] = field(default_factory=dict)
    left_out: str | None = None
    shown: bool = False
    remarks: list[str] = field(default_factory=list)

    def put(self, where: str, value: Any) -> None:
        """Write a value below a key of ours such as ``http.method``."""
        *sections, last = where.split(".")
        at = self.keys
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value

    def carry(self, theirs: str, where: str, value: Any) -> None:
        self.put(where, value)
        self.carried(theirs, where)

    def carried(self, theirs: str, ours: str = "", why: str = "") -> None:
        """Note a field that means the same here, or that needs no key."""
        self.parent.note(ReportLine(self.item, theirs, Fate.CARRIED, ours, why))

    def changed(self, theirs: str, ours: str, why: str) -> None:
        self.parent.note(ReportLine(self.item, theirs, Fate.CHANGED, ours, why))

    def dropped(self, theirs: str, why: str, *, quiet: bool = False) -> None:
        """Note a field that cannot be carried over; a comment says so, unless *quiet*."""
        self.parent.note(ReportLine(self.item, theirs, Fate.DROPPED, "", why))
        if not quiet:
            self.remarks.append(f"{theirs}: {why}")

    def leave_out(self, theirs: str, why: str, *, shown: bool = False) -> None:
        """
        Skip this site, and record why.

        Args:
            shown: Whether the comment should show how the site would look otherwise.
        """
        self.parent.note(ReportLine(self.item, theirs, Fate.DROPPED, "", why))
        if self.left_out is None:
            self.left_out = why
            self.shown = shown

    def hide(self, value: str, *hints: str) -> str:
        """Return the text with its secret as a reference that is named after the site."""
        return self.parent.secrets.hide(value, self.item, *map(_bare, hints))

    def safe_url(self, url: str) -> str:
        """Return a URL without its secrets, like SecretVariables.in_url()."""
        return self.parent.secrets.in_url(url, self.item)


@dataclass(slots=True)
class ListDraft:
    """
    A whole list.

    Attributes:
        source: Where it comes from, for messages.
        title: The source, as the first comment.
        top: Keys besides ``sites``, such as ``connectivity``.
        always: Values that apply to all sites, to be written into ``defaults``.
        rows: What became of each field.
        remarks: Comments at the top.
    """

    source: str
    title: str
    top: dict[str, Any] = field(default_factory=dict)
    always: dict[str, Any] = field(default_factory=dict)
    sites: list[SiteDraft] = field(default_factory=list)
    rows: list[ReportLine] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    secrets: SecretVariables = field(default_factory=SecretVariables)

    def site(self, item: str) -> SiteDraft:
        draft = SiteDraft(self, item)
        self.sites.append(draft)
        return draft

    def note(self, row: ReportLine) -> None:
        item, field, why = map(written, (row.item, row.field, row.why))
        self.rows.append(ReportLine(item, field, row.fate, row.ours, why))

    def carried(self, theirs: str, ours: str = "", why: str = "") -> None:
        self.note(ReportLine("", theirs, Fate.CARRIED, ours, why))

    def changed(self, theirs: str, ours: str, why: str) -> None:
        self.note(ReportLine("", theirs, Fate.CHANGED, ours, why))

    def dropped(self, theirs: str, why: str, *, quiet: bool = False) -> None:
        self.note(ReportLine("", theirs, Fate.DROPPED, "", why))
        if not quiet:
            self.remarks.append(f"{theirs}: {why}")

    @property
    def kept(self) -> list[SiteDraft]:
        """The sites that are in the list."""
        return [one for one in self.sites if one.left_out is None]
