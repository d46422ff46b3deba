"""
Turns files into one frozen, validated Config; runs at start, and in a short thread at each reload.

It collects every problem of all files; if there is one, it loads nothing. documents.py finds the
files and their defaults; sites.py knows what a site may contain.
"""

import gc
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from monitor.config.blackbox.draft import Translation
from monitor.config.decoder import EXTENSION, Decoder, Forms
from monitor.config.discovery import (
    DISCOVER,
    Adopted,
    Adoption,
    DeclaredSource,
    DiscoverReader,
    shown_source,
)
from monitor.config.documents import Document, DocumentReader
from monitor.config.files import check_readable
from monitor.config.forms import record_form
from monitor.config.keys import Tables
from monitor.config.mask import masked_lines
from monitor.config.modules import Module, ModuleReader
from monitor.config.nodes import KeyValue, MappingNode, Node, Scalar, SequenceNode, is_empty
from monitor.config.pages import read_published
from monitor.config.places import warn_of_places
from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.config.references import check_receivers, try_receivers, with_parents
from monitor.config.settings import Settings
from monitor.config.sites import SiteFound, SiteReader
from monitor.config.substitute import Substituter
from monitor.errors import ConfigError, Problem
from monitor.model import Site
from monitor.options import unknown
from monitor.secrecy import every_form, longest_first, redact
from monitor.statuspage import Published
from monitor.units import Seconds

__all__ = ["Config", "Tables", "load", "load_record", "load_text"]

_SECTIONS = (
    "defaults",
    "include",
    "sites",
    DISCOVER,
    "connectivity",
    "modules",
    "blackbox_modules",
)
_CONNECTIVITY_TIMEOUT: Seconds = 5.0
"""For each target: while it is silent, nobody knows who caused the failures of sites."""
_SHIPPED = YamlFile(Path("modules"), "modules")

_LEFT_OUT = "this module is left out"

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Config:
    """
    A valid configuration.

    Attributes:
        sites: The sites in the order of the files; after them those that were discovered.
        files: Files and folders that can change the configuration: YAML files, the folders that
            were searched for them, and the files that options and ``${file:…}`` name.
        masked: The configuration as YAML, one document for each file, secrets masked.
        modules: Options for targets that are not listed, by name.
        connectivity: How to find out whether the monitor itself is connected.
        published: The status pages and announcements.
        secret_settings: Secrets in the settings, which must never be shown.
        set_aside: Modules of blackbox_exporter files that do not work here, each with the reason.
        warnings: Settings that are allowed but probably a mistake, and parts that were left out.
        sources: The sources of more sites.
        dependents: If sources may list more: sites that depend on others, as they were read.
    """

    sites: tuple[Site, ...]
    settings: Settings
    files: tuple[Path, ...]
    masked: str
    modules: Mapping[str, Module]
    connectivity: tuple[Site, ...]
    published: Published
    secret_settings: tuple[str, ...] = ()
    set_aside: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    sources: tuple[DeclaredSource, ...] = ()
    dependents: Mapping[str, SiteFound] = field(default_factory=dict)

    def adoption(self, tables: Tables) -> Adoption:
        """Return the object that creates sites from what the sources list."""
        receivers = [one.name for one in self.settings.notify.receivers]
        return Adoption(tables, self.sources, self.sites, self.dependents, receivers)

    def with_discovered(self, adopted: Adopted) -> "Config":
        """Return this configuration with the discovered sites; it must not have any yet."""
        return replace(
            self,
            sites=adopted.sites,
            masked=redact(self.masked + adopted.masked, self.secret_settings),
        )

    def secrets(self) -> set[str]:
        """Return all secrets in it, which must never be shown."""
        found: tuple[Site | Module, ...] = (
            *self.sites,
            *self.connectivity,
            *self.modules.values(),
        )
        return {secret for one in found for secret in one.secrets}.union(self.secret_settings)


def load(path: Path, tables: Tables, environ: Mapping[str, str]) -> Config:
    """
    Return the configuration that a file, or a folder of ``*.yaml`` and ``*.yml``, describes.

    Args:
        environ: The values for ``${NAME}``.

    Raises:
        ConfigError: It has problems; the error holds all of them, and in ``files`` the files read.
    """
    with _collector_paused():
        return _Load(tables, environ).run(str(path), lambda reader: reader.read_all(path))


def load_text(text: str, tables: Tables, environ: Mapping[str, str]) -> Config:
    """
    Return the configuration that a text describes; paths are relative to the working folder.

    Raises:
        ConfigError: As in load().
    """
    source = YamlFile(Path("text"), "text")

    def read(reader: DocumentReader) -> None:
        if top := reader.parse(source, text.encode()):
            reader.documents.append(Document(source, top, MappingNode(source, 1, 1)))

    return _Load(tables, environ).run(source.shown, read)


def load_record(path: Path, record: type[_Record], environ: Mapping[str, str]) -> _Record:
    """
    Return one record decoded from a file of its own, as strictly as the configuration.

    Raises:
        ConfigError: As in load().
    """
    problems = Problems()
    reader = DocumentReader(Substituter(environ), problems)
    source = YamlFile(path, str(path))
    top = reader.read_one(source, "holds nothing; write {} where all defaults are meant")
    decoded = None
    if top is not None:
        # To mypy, the class of a type variable is not hashable
        form = record_form(record)  # type: ignore[arg-type]
        decoded = Decoder(problems).decode(form, top, (), inherited=False)
    if decoded is None or problems:
        raise ConfigError(problems.all(), reader.files)
    value: _Record = decoded.value
    return value


class _Load:
    """One load; the mutable state is the problems, and everything its parts have read."""

    def __init__(self, tables: Tables, environ: Mapping[str, str]) -> None:
        self._forms = Forms.of(tables)
        self._problems = Problems()
        self._substituter = Substituter(environ)
        self._documents = DocumentReader(self._substituter, self._problems)
        self._decoder = Decoder(self._problems)
        self._sites = SiteReader(tables, self._forms, self._decoder, self._problems)
        self._tables = tables
        self._modules = ModuleReader(
            tables, self._forms, self._decoder, self._problems, self._sites
        )
        self._options_files: dict[Path, None] = {}
        self._secret_settings: tuple[str, ...] = ()
        self._set_aside: dict[str, str] = {}
        self._dependents: dict[str, SiteFound] = {}

    def run(self, shown: str, read: Callable[[DocumentReader], None]) -> Config:
        read(self._documents)
        for document in self._documents.documents:
            self._check_keys(document.top)
            if defaults := document.own_defaults():
                self._sites.check_defaults(defaults)
        entries = self._settings_entries()
        settings = self._settings(entries)
        sources = self._read_sources()
        receivers = settings.notify.receivers
        try_receivers(entries, receivers, self._tables.check_receiver, self._problems)
        sites, masked = self._read_sites([one.name for one in receivers], open_list=bool(sources))
        warn_of_places(entries, settings.locations, sites, self._problems)
        published = read_published(
            entries,
            settings.pages,
            settings.announcements,
            None if sources else sites,
            self._problems,
        )
        connectivity = self._read_connectivity()
        modules, own = self._read_modules()
        if not (sites or sources or own or settings.probe_endpoint.enabled or self._problems):
            self._problems.at(shown, "lists no site; write at least one URL below sites:")
        files = {**self._documents.files, **self._substituter.files, **self._options_files}
        if self._problems:
            raise ConfigError(self._problems.all(), files)
        return Config(
            sites=tuple(sites),
            settings=settings,
            files=tuple(files),
            masked="\n".join(masked) + "\n",
            modules=modules,
            connectivity=connectivity,
            published=published,
            secret_settings=self._secret_settings,
            set_aside=self._set_aside,
            warnings=self._problems.warnings(),
            sources=sources,
            dependents=self._dependents,
        )

    def _check_keys(self, top: MappingNode) -> None:
        settings = self._forms.settings.fields
        for key, entry in top.entries.items():
            if key in _SECTIONS or key in settings or key.startswith(EXTENSION):
                continue
            message = unknown("option", key, (*_SECTIONS, *settings))
            if self._sites.knows(key):
                message = "belongs to a site or below defaults, not to the top level"
            self._problems.add(entry.key, (key,), message)

    def _settings_entries(self) -> dict[str, KeyValue]:
        """Return each setting in the files, with its place; report settings that occur twice."""
        entries: dict[str, KeyValue] = {}
        for document in self._documents.documents:
            for key in self._forms.settings.fields:
                entry = document.top.entries.get(key)
                if entry and (first := entries.get(key)):
                    message = f"is already set, at {first.key.place}; set it once over all files"
                    self._problems.add(entry.key, (key,), message)
                elif entry:
                    entries[key] = entry
        return entries

    def _settings(self, entries: dict[str, KeyValue]) -> Settings:
        if not entries:
            return Settings()
        top = self._documents.documents[0].top
        node = MappingNode(top.source, top.line, top.column, entries)
        decoded = self._decoder.decode(self._forms.settings, node, (), inherited=False)
        if decoded is None:
            return Settings()  # these are never used: load() raises the reported problems
        self._options_files.update(dict.fromkeys(decoded.files))
        self._secret_settings = every_form(decoded.secrets)
        settings: Settings = decoded.value
        return settings

    def _read_sources(self) -> tuple[DeclaredSource, ...]:
        reader = DiscoverReader(self._tables, self._decoder, self._sites, self._problems)
        sources = tuple(
            source for document in self._documents.documents for source in reader.read(document)
        )
        self._options_files.update(reader.files)
        secrets = {secret for source in sources for secret in source.secrets}
        self._secret_settings = longest_first((*self._secret_settings, *secrets))
        return sources

    def _read_sites(
        self, receivers: Collection[str], *, open_list: bool
    ) -> tuple[list[Site], list[str]]:
        sites: list[Site] = []
        naming: dict[str, SiteFound] = {}
        masked: list[str] = []
        names: dict[str, Node] = {}
        renamed: dict[str, SiteFound] = {}
        owned: dict[str, SiteFound] = {}
        shown_site = self._forms.shown_site()
        shown_top = self._forms.shown_top({DISCOVER: shown_source(self._tables, shown_site)})
        for document in self._documents.documents:
            masked.append(f"--- # {document.source.shown}")
            masked += masked_lines(_without_sites(document.top), shown_top)
            if "sites" in document.top.entries:
                masked.append("sites:")
            for path, item in self._items(document):
                found = self._sites.read(item, path, document.defaults)
                if not found:
                    continue
                name = found.site.name
                if other := names.get(name):
                    message = (
                        f"the name {name!r} is taken, at {other.place}; give this site another"
                    )
                    self._problems.add(found.placed, found.path, message)
                    continue
                if not self._has_its_own(found, owned):
                    continue
                names[name] = found.placed
                self._note_former_name(found, renamed)
                sites.append(found.site)
                if found.entries:
                    naming[name] = found
                masked += _as_item(masked_lines(item, shown_site, "    "))
                self._options_files.update(dict.fromkeys(found.files))
        for was, found in renamed.items():
            if other := names.get(was):
                message = (
                    f"names {was!r}, which is still listed, at {other.place}, and keeps its memory"
                )
                self._problems.add(found.former or found.placed, (*found.path[:2], "was"), message)
        if not self._problems:  # a site that was skipped because of a problem is not unknown
            check_receivers(naming.values(), receivers, self._problems)
            if open_list:
                self._dependents = {name: one for name, one in naming.items() if one.parents}
            sites = with_parents(sites, naming, self._problems, open_list=open_list)
        return sites, masked

    def _has_its_own(self, found: SiteFound, owned: dict[str, SiteFound]) -> bool:
        """Return whether a site's unique options are unique; report the second use."""
        own = self._tables.probes[found.site.scheme].own
        if own is None:
            return True
        keys, value = own(found.site)
        first = owned.setdefault(value, found)
        if first is not found:
            message = f"is that of {first.site.name!r} too; give each site another"
            self._problems.add(found.placed, (*found.path[:2], *keys), message)
        return first is found

    def _note_former_name(self, found: SiteFound, renamed: dict[str, SiteFound]) -> None:
        was = found.site.was
        if not was:
            return
        if other := renamed.get(was):
            message = f"names {was!r}, whose memory {other.site.name!r} carries on already"
            self._problems.add(found.former or found.placed, (*found.path[:2], "was"), message)
            return
        renamed[was] = found

    def _read_connectivity(self) -> tuple[Site, ...]:
        targets: list[Site] = []
        for document in self._documents.documents:
            entry = document.top.entries.get("connectivity")
            if entry is None:
                continue
            if is_empty(entry.value):
                message = "is empty; list URLs, or write [] to have none"
                self._problems.add(entry.value, ("connectivity",), message)
                continue
            if not isinstance(entry.value, SequenceNode):
                self._problems.add(entry.value, ("connectivity",), "must be a list of URLs")
                continue
            no_defaults = MappingNode(document.source, 1, 1)
            for index, item in enumerate(entry.value.items):
                path = ("connectivity", index)
                if not isinstance(item, Scalar):
                    self._problems.add(item, path, "must be a URL such as tcp://192.0.2.1:443")
                elif found := self._sites.read(item, path, no_defaults):
                    targets.append(replace(found.site, timeout=_CONNECTIVITY_TIMEOUT))
        return tuple(targets)

    def _read_modules(self) -> tuple[dict[str, Module], bool]:
        """Return all modules, and whether any of them is not built in."""
        reader = DocumentReader(self._substituter, self._problems)
        shipped = reader.parse(_SHIPPED, self._tables.modules.encode())
        modules: dict[str, Module] = {}
        names: dict[str, Node] = {}
        for name, entry in shipped.entries.items() if shipped else ():
            if found := self._modules.read(name, entry.value, ("modules", name)):
                modules[name] = found[0]
        for name, written, node, foreign in self._written_modules():
            path = ("modules", name)
            if other := names.get(name):
                message = f"the name {name!r} is taken, at {other.place}; give this module another"
                self._problems.add(written, path, message)
                continue
            names[name] = written
            found = self._foreign_module(foreign) if foreign else None
            if not foreign:
                found = self._modules.read(name, node, path)
            if found:
                modules[name] = found[0]
                self._options_files.update(dict.fromkeys(found[1]))
            else:
                modules.pop(name, None)  # a built-in module must not take its place
        return modules, bool(names)

    def _foreign_module(self, module: Translation) -> tuple[Module, tuple[Path, ...]] | None:
        """
        Return a module of a blackbox_exporter file; None if it is set aside.

        blackbox_exporter reads the file, so one module without an equivalent here, or with a
        missing file, must not stop all others. It is reported, and /probe refuses it.
        """
        for remark in module.remarks:
            if remark.wrong:
                self._problems.add(remark.node, remark.path, remark.text)
            else:
                self._problems.warn(remark.node, remark.path, f"{_LEFT_OUT}: {remark.text}")
        why = [remark.text for remark in module.remarks]
        found = None
        if module.node is not None and not why:
            before = len(self._problems)
            with self._problems.told_as(module.origins):
                found = self._modules.read(module.name, module.node, ("modules", module.name))
            found_wrong = self._problems.make_warnings(before, _LEFT_OUT, unless=_is_expression)
            why += [problem.message for problem in found_wrong]
        if found is None:
            self._set_aside[module.name] = why[0]
        return found

    def _written_modules(self) -> Iterator[tuple[str, Node, Node, Translation | None]]:
        """Yield each module's name, its place, the module, and the translation it comes from."""
        for document in self._documents.documents:
            if foreign := document.top.entries.get("blackbox_modules"):
                yield from self._blackbox_modules(foreign.value)
            written = document.top.entries.get("modules")
            if written and isinstance(written.value, MappingNode):
                for name, entry in written.value.entries.items():
                    yield name, entry.key, entry.value, None
            elif written:
                message = "must be a mapping of modules by name"
                if is_empty(written.value):
                    message = "is empty; list modules, or write {} to have none"
                self._problems.add(written.value, ("modules",), message)

    def _blackbox_modules(self, item: Node) -> Iterator[tuple[str, Node, Node, Translation]]:
        # It takes 28 ms of each start, and most lists have no such file
        from monitor.config.blackbox.reader import BlackboxReader  # noqa: PLC0415

        key = "blackbox_modules"
        if not isinstance(item, Scalar) or not item.text:
            self._problems.add(item, (key,), "must be the path of a blackbox_exporter file")
            return
        path = item.source.path.parent / item.text
        self._options_files[path] = None
        try:
            check_readable(path)
        except ValueError as error:
            self._problems.add(item, (key,), str(error))
            return
        shown = str(Path(item.source.shown).parent / item.text)
        reader = BlackboxReader(self._decoder, self._problems)
        before = len(self._problems)
        found = list(reader.read(YamlFile(path, shown)))
        if not found and len(self._problems) == before:
            message = f"{shown} holds no module; write some, or leave {key} out"
            self._problems.add(item, (key,), message)
        for one in found:
            yield one.name, one.written, one.written, one
            self._options_files.update(dict.fromkeys(one.files))
        self._options_files.update(reader.files)

    def _items(self, document: Document) -> Iterator[tuple[KeyPath, Node]]:
        entry = document.top.entries.get("sites")
        if entry is None:
            return
        if is_empty(entry.value):
            message = "is empty; list URLs, or write [] to list none"
            self._problems.add(entry.value, ("sites",), message)
            return
        if not isinstance(entry.value, SequenceNode):
            self._problems.add(entry.value, ("sites",), "must be a list of sites")
            return
        # Each is released as soon as it is done: releasing a whole list in one go would hold up all
        # threads
        items, entry.value.items = entry.value.items[::-1], []
        for index in range(len(items)):
            yield ("sites", index), items.pop()


@contextmanager
def _collector_paused() -> Iterator[None]:
    """
    Pause the cycle collector, and exempt what was read from it for good.

    It would walk all nodes again and again, and stop all threads each time: 250 ms with 10,000
    sites, while checks are timed to the millisecond. It would find nothing, because nodes contain
    no cycles.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()
            gc.enable()


def _is_expression(path: KeyPath) -> bool:
    """Return whether a key of a blackbox_exporter file is CEL: its mistakes are mistakes here."""
    return bool(path) and str(path[-1]).endswith("_cel")


def _without_sites(top: MappingNode) -> MappingNode:
    """Return the rest of a file; the content of extensions is shown at the places that use it."""
    rest = {
        key: entry
        for key, entry in top.entries.items()
        if key != "sites" and not key.startswith(EXTENSION)
    }
    return MappingNode(top.source, top.line, top.column, rest)


def _as_item(lines: Iterator[str]) -> Iterator[str]:
    yield f"  - {next(lines).lstrip(' ')}"
    yield from lines
