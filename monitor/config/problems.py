"""Collects problems while files are read: each with its place, and only once."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from monitor.errors import Problem

KeyPath: TypeAlias = tuple[str | int, ...]
"""The keys and indices that lead to a value: ``("sites", 2, "http")``."""

_PLAIN_KEY = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class YamlFile:
    """
    One YAML file.

    Attributes:
        path: Its path.
        shown: The path as the user wrote it, secrets masked.
        foreign: Another party's text, which may not name files of this machine.
    """

    path: Path
    shown: str
    foreign: bool = False


class Placed(Protocol):
    """Anything with a place in a file; lines and columns count from 1."""

    source: YamlFile
    line: int
    column: int


def show_path(path: KeyPath) -> str:
    """Return the path as people write it: ``sites[2].http.method``."""
    shown = ""
    for step in path:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            shown += f".{step}" if shown else step
        else:
            shown += f"[{step!r}]"
    return shown


class Problems:
    """The mutable state is the problems and warnings found so far; one thread adds to it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, int, str], Problem] = {}
        self._warnings: dict[tuple[str, int, int, str], Problem] = {}
        self._origins: Mapping[KeyPath, KeyPath] = {}

    def add(self, placed: Placed, path: KeyPath, message: str) -> None:
        """
        Note a problem with the value or key at this place.

        The same message at the same place is noted once, because many sites share defaults and
        anchors.
        """
        for length in range(len(path), 0, -1):
            if origin := self._origins.get(path[:length]):
                path = origin
                break
        self.at(placed.source.shown, message, placed.line, placed.column, path)

    def warn(self, placed: Placed, path: KeyPath, message: str) -> None:
        """Note what is allowed but probably a mistake, or what is skipped; the rest is valid."""
        file, line, column = placed.source.shown, placed.line, placed.column
        self._warnings.setdefault(
            (file, line, column, message), _problem(file, line, column, path, message)
        )

    def make_warnings(
        self, since: int, prefix: str, unless: Callable[[KeyPath], bool]
    ) -> list[Problem]:
        """
        Turn the problems after the first *since* into warnings that begin with a prefix.

        Those whose path meets *unless* stay problems.

        Returns:
            All of them, as they were noted.
        """
        later = list(self._found.items())[since:]
        for key, problem in later:
            if unless(problem.path):
                continue
            del self._found[key]
            file, line, column, message = key
            message = f"{prefix}: {message}"
            self._warnings.setdefault(
                (file, line, column, message), _problem(file, line, column, problem.path, message)
            )
        return [problem for _, problem in later]

    def take_back(self, since: int) -> list[Problem]:
        """Forget the problems after the first *since*, and return them."""
        later = list(self._found)[since:]
        return [self._found.pop(key) for key in later]

    def warnings(self) -> tuple[Problem, ...]:
        return tuple(self._warnings.values())

    @contextmanager
    def told_as(self, origins: Mapping[KeyPath, KeyPath]) -> Iterator[None]:
        """Report problems of a translated node under the path of its original."""
        self._origins = origins
        try:
            yield
        finally:
            self._origins = {}

    def at(
        self, file: str, message: str, line: int = 1, column: int = 1, path: KeyPath = ()
    ) -> None:
        """Note a problem by file, line and column."""
        self._found.setdefault(
            (file, line, column, message), _problem(file, line, column, path, message)
        )

    def __len__(self) -> int:
        return len(self._found)

    def all(self) -> tuple[Problem, ...]:
        return tuple(self._found.values())


def _problem(file: str, line: int, column: int, path: KeyPath, message: str) -> Problem:
    text = f"{show_path(path)}: {message}" if path else message
    return Problem(file, line, column, text, path)
