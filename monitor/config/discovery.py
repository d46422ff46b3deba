"""
The key ``discover``: the sources of sites, and the sites that are created from their lists.

A source's entries pass the same checks as the YAML list. A mistake in an entry affects only that
entry.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from monitor.config.decoder import Decoder, Forms
from monitor.config.documents import Document
from monitor.config.forms import Form, record_form
from monitor.config.keys import SourceKeys, Tables
from monitor.config.mask import masked_lines, quoted
from monitor.config.messages import listed
from monitor.config.nodes import (
    DEEPEST,
    Composer,
    KeyValue,
    MappingNode,
    Node,
    Scalar,
    SequenceNode,
    inherited,
    is_empty,
    overlay,
    read_plain,
)
from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.config.references import check_receivers, with_parents
from monitor.config.sites import SiteFound, SiteReader
from monitor.discovered import ListedSite, Source, SourceContents
from monitor.model import Site
from monitor.options import unknown
from monitor.secrecy import every_form, hide_credentials

DISCOVER = "discover"
_DEFAULTS = "defaults"
_REFERENCE = "${"
_NOWHERE = Path()
_OF_THE_LIST = ("was",)
"""Keys through which a site takes something from another, which a source must not do."""


@dataclass(frozen=True, slots=True)
class DeclaredSource:
    """
    A source, and what its sites are created with.

    Attributes:
        defaults: The defaults of its sites, marked as inherited.
        secrets: Secrets in its options, which must never be shown.
    """

    source: Source
    defaults: MappingNode
    secrets: tuple[str, ...] = ()


class DiscoverReader:
    """Reads the sections ``discover`` of one load; reports the problems in them."""

    def __init__(
        self, tables: Tables, decoder: Decoder, sites: SiteReader, problems: Problems
    ) -> None:
        self._kinds = {kind: record_form(one.options) for kind, one in tables.sources.items()}
        self._schemes = tuple(key for key, probe in tables.probes.items() if probe.own is None)
        self._keys = record_form(SourceKeys)
        self._decoder = decoder
        self._sites = sites
        self._problems = problems
        self._names: dict[str, Node] = {}
        self.files: dict[Path, None] = {}

    def read(self, document: Document) -> Iterator[DeclaredSource]:
        """Yield the sources that a file declares."""
        entry = document.top.entries.get(DISCOVER)
        if entry is None:
            return
        if is_empty(entry.value):
            message = "is empty; list sources, or write [] to have none"
            self._problems.add(entry.value, (DISCOVER,), message)
        elif not isinstance(entry.value, SequenceNode):
            self._problems.add(entry.value, (DISCOVER,), "must be a list of sources")
        else:
            for index, item in enumerate(entry.value.items):
                if found := self._source(item, (DISCOVER, index), document):
                    yield found

    def _source(self, item: Node, path: KeyPath, document: Document) -> DeclaredSource | None:
        before = len(self._problems)
        if not isinstance(item, MappingNode):
            self._problems.add(item, path, "must be a mapping such as {file: {paths: [...]}}")
            return None
        kinds = [key for key in item.entries if key in self._kinds]
        if len(kinds) != 1:
            choice = listed(tuple(self._kinds), "or")
            self._problems.add(item, path, f"must have exactly one of the keys {choice}")
            return None
        [kind] = kinds
        known = (*self._keys.fields, kind, _DEFAULTS)
        for key, entry in item.entries.items():
            if key not in known:
                self._problems.add(entry.key, (*path, key), unknown("option", key, known))
        common = MappingNode(
            item.source,
            item.line,
            item.column,
            {key: entry for key, entry in item.entries.items() if key in self._keys.fields},
        )
        keys = self._decoder.decode(self._keys, common, path, inherited=False)
        written = item.entries[kind].value
        if is_empty(written):  # kubernetes: alone has all defaults
            written = MappingNode(written.source, written.line, written.column)
        options = self._decoder.decode(
            self._kinds[kind], written, path, keys=(kind,), inherited=False
        )
        defaults = self._defaults(item, path, document)
        if options is not None:
            self._check_scheme(options.value, item.entries[kind].value, (*path, kind))
        if keys is None or options is None or len(self._problems) > before:
            return None
        self.files.update(dict.fromkeys(options.files))
        name = keys.value.name or kind
        if other := self._names.get(name):
            message = (
                f"the name {name!r} is taken, at {other.place}; give this source a name of its own"
            )
            self._problems.add(item, (*path, "name"), message)
            return None
        self._names[name] = item
        source = Source(
            name=name,
            kind=kind,
            options=options.value,
            limit=keys.value.limit,
            gone=keys.value.gone,
            folder=item.source.path.parent,
        )
        return DeclaredSource(source, defaults, every_form(options.secrets))

    def _check_scheme(self, options: Any, node: Node, path: KeyPath) -> None:
        """Report a scheme of targets for which there is no probe."""
        scheme = getattr(options, "scheme", None)
        if scheme is None or not isinstance(node, MappingNode):
            return
        if scheme not in self._schemes:
            message = unknown(f"scheme {scheme!r}", scheme, self._schemes)
            self._problems.add(node.entries["scheme"].value, (*path, "scheme"), message)

    def _defaults(self, item: MappingNode, path: KeyPath, document: Document) -> MappingNode:
        entry = item.entries.get(_DEFAULTS)
        if entry is None:
            return document.defaults
        if not isinstance(entry.value, MappingNode):
            self._problems.add(entry.value, (*path, _DEFAULTS), "must be a mapping")
            return document.defaults
        self._sites.check_defaults(entry.value)
        return inherited(overlay(document.defaults, entry.value))


def shown_source(tables: Tables, site: Form) -> Form:
    """Return the keys of all kinds together, to tell which values are secret."""
    kinds = {kind: record_form(one.options) for kind, one in tables.sources.items()}
    return replace(record_form(SourceKeys), fields={**kinds, _DEFAULTS: site})


# ---------------------------------------------------------------- from entries to sites


@dataclass(frozen=True, slots=True)
class _MadeSite:
    """
    The outcome of an entry: a site and its text for /config, or why there is none.

    Attributes:
        dependent: The same site as it was read, if it depends on others.
    """

    listed: ListedSite
    site: Site | None = None
    lines: tuple[str, ...] = ()
    problem: str = ""
    dependent: SiteFound | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """
    The outcome of everything that the sources list.

    Attributes:
        sites: Those of the list, then the others in the order of the sources; no name twice.
        masked: The text of the others for /config, one document per source.
        rejected: By source, the problem of each entry that did not become a site.
    """

    sites: tuple[Site, ...]
    masked: str
    rejected: Mapping[str, tuple[str, ...]]


class _Crowd:
    """Collects the sites of one pass, each name once; the mutable state is the collection."""

    def __init__(self, listed: Sequence[Site]) -> None:
        self._listed = {site.name for site in listed}
        self._taken: dict[str, str] = {}
        self._sites: list[Site] = list(listed)
        self._dependents: dict[str, tuple[str, SiteFound]] = {}
        self._documents: list[tuple[str, tuple[str, ...], list[str]]] = []
        self._rejected: dict[str, dict[str, None]] = {}

    def begin(self, source: str, remarks: tuple[str, ...]) -> None:
        """Continue with the next source."""
        self._documents.append((source, remarks, []))

    def add(self, made: _MadeSite, source: str, *, gone: bool) -> None:
        """Add the outcome of an entry; of entries that are gone, only good sites matter."""
        place, site, lines = made.listed.place, made.site, self._documents[-1][2]
        wrong = made.problem
        if site is not None and site.name in self._listed:
            lines.append(f"# {_line(site.name)}: the list has a site of this name")
        elif site is not None and (other := self._taken.get(site.name)) is not None:
            wrong = f"{place}: the name {site.name!r} is taken, by {other}"
        elif site is not None:
            self._taken[site.name] = f"{source}: {place}"
            self._sites.append(site)
            if made.dependent is not None:
                self._dependents[site.name] = source, made.dependent
            lines += made.lines
        if wrong and not gone:
            self._rejected.setdefault(source, {})[wrong] = None

    def adopted(self, listed: Mapping[str, SiteFound]) -> Adopted:
        """
        Return everything.

        Args:
            listed: The sites of the list that depend on others, by name.
        """
        sites = self._sites
        if dependents := {**listed, **{name: one for name, (_, one) in self._dependents.items()}}:
            problems = Problems()
            sites = with_parents(sites, dependents, problems, open_list=True)
            for problem in problems.all():
                # A circle: the list's sites keep their dependencies, and all others lose theirs
                sites = self._sites
                for source, _ in self._dependents.values():
                    self._rejected.setdefault(source, {})[problem.message] = None
        rejected = {source: tuple(wrong) for source, wrong in self._rejected.items()}
        text: list[str] = []
        for source, remarks, lines in self._documents:
            text.append(f"--- # discovered by {source}")
            text += (f"# {_line(remark)}" for remark in remarks)
            text += (f"# rejected: {_line(message)}" for message in rejected.get(source, ()))
            text += ["sites:", *lines] if lines else ["sites: []"]
        return Adopted(tuple(sites), "\n".join(text) + "\n", rejected)


class Adoption:
    """
    Creates sites from entries, for one configuration; used by one thread.

    It keeps what it has created: if ten of ten thousand entries change, ten are read again.

    Args:
        listed: The sites of the list, which take precedence.
        dependents: Those of them that depend on others, by name.
        receivers: The names that ``notify`` may have.
    """

    def __init__(
        self,
        tables: Tables,
        sources: tuple[DeclaredSource, ...],
        listed: Sequence[Site] = (),
        dependents: Mapping[str, SiteFound] = MappingProxyType({}),
        receivers: Collection[str] = (),
    ) -> None:
        self._tables = tables
        self._forms = Forms.of(tables)
        self._shown = self._forms.shown_site()
        self._sources = sources
        self._listed = listed
        self._dependents = dependents
        self._receivers = receivers
        self._made: dict[tuple[str, str], _MadeSite] = {}

    def adopt(self, found: Mapping[str, SourceContents]) -> Adopted:
        """Return the sites of the list and those from the sources."""
        problems = Problems()
        reader = SiteReader(self._tables, self._forms, Decoder(problems), problems)
        crowd = _Crowd(self._listed)
        made: dict[tuple[str, str], _MadeSite] = {}
        for declared in self._sources:
            source = declared.source.name
            known = found.get(source, SourceContents())
            crowd.begin(source, known.remarks)
            for entry, gone in (
                *((entry, False) for entry in known.entries),
                *((entry, True) for entry in known.gone),
            ):
                key = (source, entry.identity)
                one = made.get(key) or self._made.get(key)
                if one is None or (one.listed is not entry and one.listed != entry):
                    one = self._make(entry, declared, reader, problems)
                made.setdefault(key, one)
                crowd.add(one, source, gone=gone)
        self._made = made
        return crowd.adopted(self._dependents)

    def _make(
        self, entry: ListedSite, declared: DeclaredSource, reader: SiteReader, problems: Problems
    ) -> _MadeSite:
        if entry.problem:
            return _MadeSite(entry, problem=f"{entry.place}: {entry.problem}")
        source = YamlFile(declared.source.folder, entry.place, foreign=True)
        try:
            node = node_of(entry.keys, source)
        except ValueError as error:
            return _MadeSite(entry, problem=f"{entry.place}: {hide_credentials(str(error))}")
        before = len(problems)
        for key in _OF_THE_LIST:
            if key in node.entries:
                problems.add(node, (key,), "belongs to a site of the list")
        site = reader.read(node, (), declared.defaults)
        if site is not None:
            site = replace(site, path=())  # relative to nothing: it is not in a file
            check_receivers([site], self._receivers, problems)
        wrong = problems.take_back(before)
        if site is not None and self._tables.probes[site.site.scheme].own is not None:
            told = f"url: sites of {site.site.scheme} belong to the list"
            return _MadeSite(entry, problem=f"{entry.place}: {told}")
        if site is None or wrong:
            told = "; ".join(dict.fromkeys(one.message for one in wrong))
            return _MadeSite(entry, problem=f"{entry.place}: {told}")
        dependent = site if site.parents else None
        return _MadeSite(entry, site.site, tuple(self._lines(node)), dependent=dependent)

    def _lines(self, node: MappingNode) -> Iterator[str]:
        lines = masked_lines(node, self._shown, "    ")
        yield f"  - {next(lines).lstrip(' ')}"
        yield from lines


def _line(text: str) -> str:
    """Return a text as one line without anything that ends a comment."""
    return text if text.isprintable() else quoted(text)[1:-1]


def node_of(value: Any, source: YamlFile, depth: int = 0) -> Any:
    """
    Return plain data as nodes, as if it had been written in quotes.

    Raises:
        ValueError: It contains a reference, is nested too deeply, or is not data that YAML has.
    """
    if depth > DEEPEST:
        raise ValueError(f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        entries = {}
        for key, below in value.items():
            scalar = Scalar(source, 1, 1, _without_reference(str(key)))
            entries[scalar.text] = KeyValue(scalar, node_of(below, source, depth + 1))
        return MappingNode(source, 1, 1, entries)
    if isinstance(value, list | tuple):
        return SequenceNode(source, 1, 1, [node_of(one, source, depth + 1) for one in value])
    if isinstance(value, str):
        return Scalar(source, 1, 1, _without_reference(value))
    if value is None:
        return Scalar(source, 1, 1, "null", plain=True)
    if isinstance(value, bool):
        return Scalar(source, 1, 1, str(value).lower(), plain=True)
    if isinstance(value, int | float) and math.isfinite(value):
        return Scalar(source, 1, 1, str(value), plain=True)
    raise ValueError("holds a value that is neither a text, a number, a list nor a mapping")


def _without_reference(text: str) -> str:
    if _REFERENCE in text:
        raise ValueError(
            "holds ${, and references are not allowed in what is discovered; write them below the"
            " source's defaults"
        )
    return text


def read_yaml(data: bytes, shown: str) -> Any:
    """
    Return the content of another party's YAML text as plain data, with the limits of all YAML.

    Raises:
        ValueError: It is not YAML, or expands too far; each mistake with its line and column.
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{shown}: is not UTF-8") from None
    problems = Problems()
    source = YamlFile(_NOWHERE, shown, foreign=True)
    node = Composer(source, problems, lambda _scalar, _path: None).compose(data)
    if problems:
        raise ValueError("; ".join(map(str, problems.all())))
    return None if node is None else _plain(node)


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return read_plain(node.text) if node.plain else node.text
    if isinstance(node, SequenceNode):
        return [_plain(item) for item in node.items]
    return {key: _plain(entry.value) for key, entry in node.entries.items()}
