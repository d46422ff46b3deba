"""Creates the record of one site from its nodes: applies defaults and checks every rule."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from monitor.config.address import SiteUrl, parse_site_url
from monitor.config.decoder import DEFAULTS, NOT_IN_DEFAULTS, Decoded, Decoder, Forms
from monitor.config.forms import Form
from monitor.config.keys import LABEL_NAME, ConfirmKeys, SiteKeys, Tables, WindowKeys
from monitor.config.messages import listed
from monitor.config.nodes import (
    KeyValue,
    MappingNode,
    Node,
    Scalar,
    SequenceNode,
    is_empty,
    overlay,
    read_plain,
    scalars,
)
from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.model import Confirm, Site, Window
from monitor.options import OptionError, show_duration, unknown
from monitor.secrecy import every_form, redact

_T = TypeVar("_T")

NAMING = ("notify", "depends_on")
"""Keys whose values are names of receivers and of other sites."""

_OF_PROMETHEUS = ("job", "instance")
"""With ``honor_labels``, a site's label would replace the target's. The rules join series by that
label, so the site's maintenance would count as downtime."""


@dataclass(frozen=True, slots=True)
class SiteFound:
    """
    A site, and the files that its options name.

    Attributes:
        placed: The place of its name, or else of its URL.
        path: The keys that lead there.
        former: The place of the former name; the site inherits the state of that name.
        parents: The content of its ``depends_on``.
        entries: Those of its keys that name other parts of the list.
    """

    site: Site
    files: tuple[Path, ...]
    placed: Node
    path: KeyPath
    former: Node | None = None
    parents: tuple[str | tuple[str, str], ...] = ()
    entries: Mapping[str, KeyValue] = field(default_factory=dict)


class SiteReader:
    """Creates the sites of one load; a site with a problem is reported and skipped."""

    def __init__(self, tables: Tables, forms: Forms, decoder: Decoder, problems: Problems) -> None:
        self._tables = tables
        self._forms = forms
        self._problems = problems
        self._decoder = decoder
        self._defaults: dict[Form, Decoded] = {}
        self._alike = _Alike()
        self._known = (*forms.site.fields, *forms.section_keys(), "expect", *forms.readings)

    def knows(self, key: str) -> bool:
        """Return whether some site may have this key."""
        return key in self._known

    # -- defaults

    def check_defaults(self, defaults: MappingNode) -> None:
        """Report mistakes in a file's ``defaults``, even if no site uses them."""
        for key, entry in defaults.entries.items():
            path = (*DEFAULTS, key)
            if key in NOT_IN_DEFAULTS:
                self._problems.add(entry.key, path, "belongs to a site, not to defaults")
            elif key in self._forms.site.fields:
                part = MappingNode(defaults.source, defaults.line, defaults.column, {key: entry})
                self._decoder.check_partial(self._forms.site, part, ())
            elif key == "expect":
                self._check_default_expectations(entry.value)
            elif form := self._forms.readings.get(key):
                self._decoder.check_partial(form, entry.value, (key,))
            elif forms := self._forms.sections_called(key):
                # If schemes differ in a section, it is checked with the sites that use it
                if len(forms) == 1:
                    self._decoder.check_partial(forms[0], entry.value, (key,))
            else:
                self._problems.add(entry.key, path, unknown("option", key, self._known))

    def _check_default_expectations(self, expect: Node) -> None:
        path = (*DEFAULTS, "expect")
        if not isinstance(expect, MappingNode):
            self._problems.add(expect, path, "must be a mapping")
            return
        for key, entry in expect.entries.items():
            if form := self._forms.expectations.get(key):
                if not self._report_if_empty(entry.value, (*path, key)):
                    self._decoder.check_partial(form, entry.value, ("expect", key))
            else:
                message = unknown("expectation", key, self._forms.expectations)
                self._problems.add(entry.key, (*path, key), message)

    # -- sites

    def read(self, item: Node, path: KeyPath, defaults: MappingNode) -> SiteFound | None:
        """
        Return the site of an item of ``sites``; None, with every problem reported, if it is bad.

        Args:
            defaults: The defaults of its file, with their entries marked as inherited.
        """
        before = len(self._problems)
        if isinstance(item, SequenceNode):
            self._problems.add(item, path, "must be a URL or a mapping, not a list")
            return None
        merged = overlay(defaults, item if isinstance(item, MappingNode) else _bare(item))
        bare = isinstance(item, Scalar)
        address = self._address(merged, path if bare else (*path, "url"))
        keys = self._keys(merged, path)
        options: list[Decoded] = []
        expect: list[tuple[str, Decoded]] = []
        readings: dict[str, Decoded] = {}
        if address:
            options = list(self.sections(merged, address.scheme, path))
            expect = list(self.expectations(merged, address.scheme, path))
            readings = dict(self._readings(merged, address.scheme, path))
        self.check_known(merged, address.scheme if address else None, path)
        if address is None or keys is None or len(self._problems) > before:
            return None
        site, files = self._site(address, keys, options, expect, readings)
        if not self._fits_together(site, merged, path, bare=bare):
            return None
        key = "name" if "name" in merged.entries else "url"
        where = path if isinstance(item, Scalar) else (*path, key)
        former = merged.entries.get("was")
        return SiteFound(
            site,
            files,
            merged.entries[key].value,
            where,
            former.value if former else None,
            keys.value.depends_on,
            {key: merged.entries[key] for key in NAMING if key in merged.entries},
        )

    def _fits_together(self, site: Site, merged: MappingNode, path: KeyPath, *, bare: bool) -> bool:
        """Return whether the site's options work together; report the one that does not."""
        check = self._tables.probes[site.scheme].check_site
        if check is None:
            return True
        try:
            check(site)
        except OptionError as mistake:
            node: Node = merged
            start = path
            for key in mistake.keys:
                if isinstance(node, MappingNode) and key in node.entries:
                    entry = node.entries[key]
                    start = DEFAULTS if entry.inherited else start
                    node = entry.value
            is_item = bare and mistake.keys == ("url",)
            self._problems.add(node, start if is_item else (*start, *mistake.keys), str(mistake))
            return False
        return True

    def _site(
        self,
        address: SiteUrl,
        decoded: Decoded,
        options: list[Decoded],
        expect: list[tuple[str, Decoded]],
        readings: Mapping[str, Decoded],
    ) -> tuple[Site, tuple[Path, ...]]:
        keys: SiteKeys = decoded.value
        tables, one, one_tuple = self._tables, self._alike.one, self._alike.one_tuple
        parts = [decoded, *options, *(part for _, part in expect), *readings.values()]
        read = {key: part.value for key, part in readings.items()}
        secrets = {secret for part in parts for secret in part.secrets}.union(address.secrets)
        site = Site(
            name=keys.name if keys.name is not None else address.name,
            was=keys.was,
            url=address.url,
            target=address.target,
            scheme=one(address.scheme),
            group=one(keys.group),
            labels=one(tuple(keys.labels.items())),
            interval=one(keys.interval),
            timeout=one(keys.deadline()),
            options=one_tuple(tuple(part.value for part in options)),
            expect=one_tuple(tuple(one_tuple((key, part.value)) for key, part in expect)),
            extract=read.get("extract"),
            watch=read.get("watch"),
            reads_body=any(tables.expectations[key].needs_body(part.value) for key, part in expect)
            or any(tables.readings[key].needs_body(value) for key, value in read.items()),
            confirm=_confirm(keys.confirm),
            maintenance=_windows(keys.maintenance),
            connectivity=keys.connectivity,
            notify=one(keys.notify),
            depends_on=one(tuple(name for name in keys.depends_on if isinstance(name, str))),
            secrets=every_form(secrets),
        )
        return site, tuple(file for part in parts for file in part.files)

    def _address(self, merged: MappingNode, path: KeyPath) -> SiteUrl | None:
        entry = merged.entries.get("url")
        if entry is None or not isinstance(entry.value, Scalar):
            return None  # reported with the other keys
        node = entry.value
        if node.substitution and node.substitution.broken:
            return None
        if node.plain and not node.substitution and not isinstance(read_plain(node.text), str):
            return None
        try:
            return parse_site_url(node, self._tables.probes)
        except ValueError as error:
            self._problems.add(node, path, str(error))
            return None

    def _keys(self, merged: MappingNode, path: KeyPath) -> Decoded | None:
        entries = {key: e for key, e in merged.entries.items() if key in self._forms.site.fields}
        node = MappingNode(merged.source, merged.line, merged.column, entries)
        decoded = self._decoder.decode(self._forms.site, node, path, inherited=False)
        self._check_shown(node, path)
        self._check_labels(node, path)
        if decoded:
            self._check_times(node, decoded.value, path)
        return decoded

    def _check_shown(self, node: MappingNode, path: KeyPath) -> None:
        for keys, entry in _shown(node):
            scalar = entry.value
            if not isinstance(scalar, Scalar):
                continue  # reported with the types
            message = None
            if scalar.substitution and scalar.substitution.secrets:
                message = "is shown to everybody, and what is substituted is a secret"
                message += "; write the value here"
            elif not scalar.text.isprintable():
                message = "holds a control character"
            elif keys == ("name",) and not scalar.text.strip():
                message = "is empty"
            elif keys == ("name",) and scalar.text != scalar.text.strip():
                message = "begins or ends with a space"
            if message:
                start = DEFAULTS if entry.inherited else path
                self._problems.add(scalar, (*start, *keys), message)

    def _check_labels(self, node: MappingNode, path: KeyPath) -> None:
        entry = node.entries.get("labels")
        if entry is None or not isinstance(entry.value, MappingNode):
            return
        for name, label in entry.value.entries.items():
            message = self._label_problem(name)
            if message:
                start = DEFAULTS if entry.inherited or label.inherited else path
                self._problems.add(label.key, (*start, "labels", name), message)

    def _label_problem(self, name: str) -> str | None:
        if not LABEL_NAME.fullmatch(name):
            return "is not a label name; write letters, digits and _, beginning with no digit"
        if name.startswith("__"):
            return "is not a label name; those beginning with __ belong to Prometheus"
        if name in _OF_PROMETHEUS:
            return "is Prometheus' own label of what it scrapes; choose another name"
        if name in self._tables.reserved_labels:
            return "is a label of the monitor's own; choose another name"
        return None

    def _check_times(self, node: MappingNode, keys: SiteKeys, path: KeyPath) -> None:
        if keys.timeout is None or keys.timeout <= keys.interval:
            return
        timeout, interval = node.entries["timeout"], node.entries.get("interval")
        times = [timeout, interval] if interval else [timeout]
        secret = any(s.substitution for entry in times for s in scalars(entry.value))
        if timeout.inherited and interval and not interval.inherited:
            limit = "" if secret else f" of {show_duration(keys.timeout)}"
            message = f"is shorter than the timeout{limit}, which must end before the next check"
            self._problems.add(interval.value, (*path, "interval"), message)
        else:
            limit = "" if secret else f" of {show_duration(keys.interval)}"
            message = f"is longer than the interval{limit}; a check must end before the next"
            start = DEFAULTS if timeout.inherited else path
            self._problems.add(timeout.value, (*start, "timeout"), message)

    def sections(self, merged: MappingNode, scheme: str, path: KeyPath) -> Iterator[Decoded]:
        """Yield the options of each of the scheme's sections, written or not."""
        for key, form in self._forms.sections[scheme].items():
            entry = merged.entries.get(key)
            if entry is None and "required" not in form.json:
                yield self._unwritten(form)
                continue
            node = entry.value if entry else MappingNode(*_place(merged))
            inherited = entry is not None and entry.inherited
            decoded = self._decoder.decode(form, node, path, keys=(key,), inherited=inherited)
            if decoded:
                yield decoded

    def _unwritten(self, form: Form) -> Decoded:
        # One record for all sites without the section: 10,000 sites would create 30,000
        if form not in self._defaults:
            self._defaults[form] = Decoded(form.validator.validate_python({}))
        return self._defaults[form]

    def expectations(
        self, merged: MappingNode, scheme: str, path: KeyPath
    ) -> Iterator[tuple[str, Decoded]]:
        """Yield the expectations, written or by default, in the table's order."""
        expect = merged.entries.get("expect")
        written: Mapping[str, KeyValue] = {}
        if expect and isinstance(expect.value, MappingNode):
            written = expect.value.entries
        elif expect and not expect.inherited:
            self._problems.add(expect.value, (*path, "expect"), "must be a mapping")
        protocol = self._tables.protocol_of(scheme)
        for key, kind in self._tables.expectations.items():
            entry = written.get(key)
            if protocol not in kind.protocols:
                if entry and not entry.inherited:
                    self._report_foreign_expectation(entry, key, scheme, path)
            elif entry:
                decoded = self._expectation(entry, key, path)
                if decoded and self._fits(decoded, entry, key, protocol, path):
                    yield key, decoded
            elif protocol in kind.defaults:
                yield key, Decoded(kind.defaults[protocol])

    def _expectation(self, entry: KeyValue, key: str, path: KeyPath) -> Decoded | None:
        start = DEFAULTS if entry.inherited else path
        if self._report_if_empty(entry.value, (*start, "expect", key)):
            return None
        form = self._forms.expectations[key]
        return self._decoder.decode(
            form, entry.value, path, keys=("expect", key), inherited=entry.inherited
        )

    def _fits(
        self, decoded: Decoded, entry: KeyValue, key: str, protocol: str, path: KeyPath
    ) -> bool:
        """Return whether the value fits the protocol; report it unless it is a default."""
        check = self._tables.expectations[key].check_protocol
        if check is None:
            return True
        try:
            check(decoded.value, protocol)
        except (ValueError, TypeError) as error:
            if not entry.inherited or isinstance(error, TypeError):
                message = redact(str(error), tuple(decoded.secrets))
                start = DEFAULTS if entry.inherited else path
                self._problems.add(entry.value, (*start, "expect", key), message)
            return False
        return True

    def _report_if_empty(self, node: Node, path: KeyPath) -> bool:
        if is_empty(node):
            message = "is empty; say what must hold, or leave the key out and the default holds"
            self._problems.add(node, path, message)
        return is_empty(node)

    def _report_foreign_expectation(
        self, entry: KeyValue, key: str, scheme: str, path: KeyPath
    ) -> None:
        protocol = self._tables.protocol_of(scheme)
        kinds = self._tables.expectations.items()
        fitting = [name for name, kind in kinds if protocol in kind.protocols]
        there = f"; they have {listed(fitting, 'and')}" if fitting else ""
        message = f"does not belong to {scheme} sites{there}"
        self._problems.add(entry.key, (*path, "expect", key), message)

    def _readings(
        self, merged: MappingNode, scheme: str, path: KeyPath
    ) -> Iterator[tuple[str, Decoded]]:
        """Yield what is read from answers; check_known reports what does not fit the scheme."""
        for key, form in self._forms.readings.items():
            entry = merged.entries.get(key)
            if entry and self._has_reading(scheme, key):
                decoded = self._decoder.decode(
                    form, entry.value, path, keys=(key,), inherited=entry.inherited
                )
                if decoded:
                    yield key, decoded

    def _has_reading(self, scheme: str, key: str) -> bool:
        kind = self._tables.readings.get(key)
        return kind is not None and self._tables.protocol_of(scheme) in kind.protocols

    def check_known(self, merged: MappingNode, scheme: str | None, path: KeyPath) -> None:
        """Report unknown keys; if the scheme is known, also those it does not have."""
        sections = self._forms.sections[scheme] if scheme else {}
        for key, entry in merged.entries.items():
            if entry.inherited or key in sections or key in self._forms.site.fields:
                continue
            if key == "expect":
                self._check_known_expectations(entry.value, path)
            elif key not in self._known:
                self._problems.add(entry.key, (*path, key), unknown("option", key, self._known))
            elif scheme and not self._has_reading(scheme, key):
                there = f"; they have {', '.join(sections)}" if sections else ""
                message = f"does not belong to {scheme} sites{there}"
                self._problems.add(entry.key, (*path, key), message)

    def _check_known_expectations(self, expect: Node, path: KeyPath) -> None:
        if not isinstance(expect, MappingNode):
            return
        for key, entry in expect.entries.items():
            if key not in self._forms.expectations and not entry.inherited:
                message = unknown("expectation", key, self._forms.expectations)
                self._problems.add(entry.key, (*path, "expect", key), message)


class _Alike:
    """Returns one object for equal ones, because 100,000 sites differ mostly in their URLs."""

    def __init__(self) -> None:
        self._values: dict[object, Any] = {}
        self._tuples: dict[tuple[int, ...], Any] = {}

    def one(self, value: _T) -> _T:
        """Return the shared object that equals a text, a number, or a tuple of these."""
        found: _T = self._values.setdefault(value, value)
        return found

    def one_tuple(self, parts: tuple[_T, ...]) -> tuple[_T, ...]:
        """Return the shared tuple of these objects, which need not be hashable."""
        found: tuple[_T, ...] = self._tuples.setdefault(tuple(map(id, parts)), parts)
        return found


@cache
def _confirm(keys: ConfirmKeys) -> Confirm:
    return Confirm(**dataclasses.asdict(keys))


@cache
def _windows(keys: tuple[WindowKeys, ...]) -> tuple[Window, ...]:
    return tuple(window.window() for window in keys)


def _shown(node: MappingNode) -> Iterator[tuple[KeyPath, KeyValue]]:
    """Yield the values that become labels, which everyone sees."""
    for key in ("name", "was", "group"):
        if entry := node.entries.get(key):
            yield (key,), entry
    labels = node.entries.get("labels")
    if labels and isinstance(labels.value, MappingNode):
        for name, entry in labels.value.entries.items():
            yield ("labels", name), entry


def _bare(url: Scalar) -> MappingNode:
    return MappingNode(*_place(url), {"url": KeyValue(url, url)})


def _place(node: Node) -> tuple[YamlFile, int, int]:
    return node.source, node.line, node.column
