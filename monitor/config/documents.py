"""
The YAML files of a configuration: finds them, orders them, and reads them as nodes.

A configuration is one file or a folder of them. Each file may include others and have
``defaults``: these hold for its own sites and for the files it includes, and the ``defaults`` of an
included file override them. Files in the same folder do not share defaults. A file comes before the
files it includes; the files of a folder are sorted by name.
"""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.config.files import (
    check_folder,
    is_file,
    is_folder,
    is_yaml_name,
    list_folder,
    read_bytes,
)
from monitor.config.nodes import (
    Composer,
    MappingNode,
    Node,
    Scalar,
    SequenceNode,
    inherited,
    is_empty,
    overlay,
)
from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.config.substitute import Substituter
from monitor.secrecy import redact

_NOTHING = "is empty; write URLs below sites:, or sites: [] to list none"


@dataclass(frozen=True, slots=True)
class Document:
    """
    One file that was read.

    Attributes:
        top: Its top level.
        defaults: The defaults of its sites, marked as inherited.
    """

    source: YamlFile
    top: MappingNode
    defaults: MappingNode

    def own_defaults(self) -> MappingNode | None:
        """Return the file's own ``defaults``."""
        entry = self.top.entries.get("defaults")
        return entry.value if entry and isinstance(entry.value, MappingNode) else None


@dataclass(frozen=True, slots=True)
class _Include:
    """The item of ``include`` that led to a file."""

    item: Scalar
    path: KeyPath


class DocumentReader:
    """
    Reads the files of one load; the mutable state is everything found so far.

    Args:
        composer: Reads a file's YAML.

    Attributes:
        documents: The documents in their order.
        files: The files that were read or looked for, and the folders that were searched.
    """

    def __init__(
        self,
        substituter: Substituter,
        problems: Problems,
        composer: type[Composer] = Composer,
    ) -> None:
        self._composer = composer
        self.documents: list[Document] = []
        self.files: dict[Path, None] = {}
        self._substituter = substituter
        self._problems = problems
        # By real path: the name under which each file was read, and the chain of includes to here
        self._called: dict[str, str] = {}
        self._way: list[str] = []

    def read_all(self, path: Path) -> None:
        """Read a file, or every file of a folder, and all files they include."""
        found = [path]
        if is_folder(path):
            self.files[path] = None
            try:
                found = list_folder(path)
            except ValueError as error:
                self._problems.at(str(path), str(error))
                return
            if not found:
                self._problems.at(str(path), "holds no *.yaml and no *.yml file")
        for file in found:
            source = YamlFile(file, str(file))
            self._read(source, MappingNode(source, 1, 1), None)

    def read_one(self, source: YamlFile, nothing: str = "holds nothing") -> MappingNode | None:
        """
        Return the top level of a single file; None, with every problem reported, if it is bad.

        An empty file is a mistake: it was emptied, or is being written.

        Args:
            nothing: The message for an empty file.
        """
        try:
            return self._parse_written(source, self._content(source), nothing)
        except ValueError as error:
            self._problems.at(source.shown, str(error))
            return None

    def _parse_written(self, source: YamlFile, data: bytes, nothing: str) -> MappingNode | None:
        before = len(self._problems)
        top = self.parse(source, data)
        if top is None and len(self._problems) == before:
            self._problems.at(source.shown, nothing)
        return top

    def parse(self, source: YamlFile, data: bytes) -> MappingNode | None:
        """Return the top level; None if the file is empty or bad; report the problems."""
        try:
            data.decode()
        except UnicodeDecodeError as error:
            self._problems.at(source.shown, "is not UTF-8", data.count(b"\n", 0, error.start) + 1)
            return None
        top = self._composer(source, self._problems, self._substitute).compose(data)
        if top is None or is_empty(top):
            return None
        if not isinstance(top, MappingNode):
            key = self._composer.first_key
            self._problems.add(top, (), f"must be a mapping of keys such as {key}:, at the top")
            return None
        return top

    def _content(self, source: YamlFile) -> bytes:
        self.files[source.path] = None
        try:
            return read_bytes(source.path)
        except ValueError as error:
            raise ValueError(str(error).replace(str(source.path), source.shown)) from error

    def _read(self, source: YamlFile, outer: MappingNode, include: _Include | None) -> None:
        real = _real(source.path)
        if real in self._called:
            self._report_file(source, include, self._why_not_again(source, real))
            return
        self._called[real] = source.shown
        try:
            content = self._content(source)
        except ValueError as error:
            self._report_file(source, include, str(error))
            return
        if top := self._parse_written(source, content, _NOTHING):
            if not top.entries:
                self._problems.add(top, (), _NOTHING)
            self._check_used(top)
            document = Document(source, top, self._defaults(top, outer))
            self.documents.append(document)
            self._way.append(real)
            self._include_all(document)
            self._way.pop()

    def _check_used(self, top: MappingNode) -> None:
        """Report defaults that no site can have: the sites were left out, or not written yet."""
        entry = top.entries.get("defaults")
        if entry and not {"sites", "include", "discover"}.intersection(top.entries):
            message = "apply to no site: the file has neither sites nor include nor discover"
            self._problems.add(entry.key, ("defaults",), message)

    def _report_file(self, source: YamlFile, include: _Include | None, message: str) -> None:
        if include:
            self._problems.add(include.item, include.path, message)
        else:
            self._problems.at(source.shown, message)

    def _why_not_again(self, source: YamlFile, real: str) -> str:
        if real in self._way:
            names = [self._called[one] for one in self._way[self._way.index(real) :]]
            return f"includes go in a circle: {' → '.join([*names, names[0]])}"
        return f"{source.shown} was read already, as {self._called[real]}"

    def _defaults(self, top: MappingNode, outer: MappingNode) -> MappingNode:
        entry = top.entries.get("defaults")
        if entry is None or is_empty(entry.value):
            return outer
        if not isinstance(entry.value, MappingNode):
            self._problems.add(entry.value, ("defaults",), "must be a mapping")
            return outer
        return inherited(overlay(outer, entry.value))

    def _include_all(self, document: Document) -> None:
        include = document.top.entries.get("include")
        if include is None:
            return
        if not isinstance(include.value, SequenceNode):
            self._problems.add(include.value, ("include",), "must be a list of paths")
            return
        for index, item in enumerate(include.value.items):
            self._include(item, ("include", index), document)

    def _include(self, item: Node, path: KeyPath, document: Document) -> None:
        if not isinstance(item, Scalar) or not item.text.isprintable() or not item.text:
            self._problems.add(item, path, "must be a path, or a pattern such as teams/*.yaml")
            return
        done = item.substitution
        if done and done.broken:
            return
        folder = document.source.path.parent
        try:
            names = self._matches(item.text, folder)
        except ValueError as error:
            self._problems.add(item, path, str(error))
            return
        for name in names:
            shown = str(Path(document.source.shown).parent / name)
            source = YamlFile(folder / name, redact(shown, done.secrets if done else ()))
            self._read(source, document.defaults, _Include(item, path))

    def _matches(self, pattern: str, folder: Path) -> list[str]:
        if not glob.has_magic(pattern):
            return [pattern]
        searched = dict.fromkeys(_searched_folders(pattern, folder))
        self.files.update(searched)
        # glob skips folders that it may not read, and so would silently drop their sites
        for one in searched:
            check_folder(one)
        # Not Path.glob: it refuses absolute patterns, and ** would walk a whole disk
        found = [
            name
            for name in sorted(glob.glob(pattern, root_dir=folder))  # noqa: PTH207  see above
            if is_yaml_name(Path(name).name) and is_file(folder / name)
        ]
        if not found:
            raise ValueError(
                f"{pattern} matches no *.yaml and no *.yml file; add one, or remove the pattern"
            )
        # A pattern that matches its own file does not mean that file
        return [name for name in found if _real(folder / name) != self._way[-1]]

    def _substitute(self, node: Scalar, path: KeyPath) -> None:
        folder = node.source.path.parent
        node.text, node.substitution, wrong = self._substituter.substitute(node.text, folder)
        for message in wrong:
            self._problems.add(node, path, message)


def _real(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except FileNotFoundError:  # the current working folder was removed
        return str(path)


def _searched_folders(pattern: str, folder: Path) -> Iterator[Path]:
    """Yield the folders where a new file could match the pattern."""
    before = ""
    for step in Path(pattern).parts:
        if glob.has_magic(step):
            magic = glob.has_magic(before)
            names = sorted(glob.glob(before, root_dir=folder)) if magic else [before]  # noqa: PTH207  as above
            yield from (folder / name for name in names if is_folder(folder / name) or not magic)
        before = str(Path(before) / step)
