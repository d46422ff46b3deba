"""
The options of one site from the command line, and messages about mistakes that name the arguments.

They are written as a site list, one value per line, so that all rules of a file apply and the line
of a problem tells which argument it is about.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from monitor.config.load import Config, Tables, load_text
from monitor.config.mask import quoted
from monitor.config.problems import KeyPath, show_path
from monitor.errors import ConfigError, Problem

_TOO_DEEP = "a value is nested too deeply"


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One option of a site.

    Attributes:
        written: The user's form: ``--timeout``, ``-o http.method``.
        key: Its place in a site: ``http.method``.
        value: As in JSON.
    """

    written: str
    key: str
    value: Any


@dataclass(slots=True)
class _Branch:
    """A mapping of the site, and the argument that added it."""

    argument: Argument
    below: "dict[str, _Branch | Argument]" = field(default_factory=dict)


def load_arguments(arguments: Iterable[Argument], tables: Tables) -> Config:
    """
    Return a configuration of one site, as if its options had been written into a file.

    If two arguments set the same option, the later one wins. Nothing is substituted, because a
    dollar on the command line belongs to the shell.

    Raises:
        click.UsageError: The options would also be wrong in a file.
    """
    try:
        lines = _site_lines(arguments)
    except RecursionError as error:
        raise click.UsageError(_TOO_DEEP) from error
    for text, argument in lines:
        if not _is_text(text):
            raise click.UsageError(f"{argument.written}: is not UTF-8")
    try:
        return load_text("\n".join(text for text, _ in lines), tables, {})
    except ConfigError as error:
        said = [_said(problem, lines[problem.line - 1][1]) for problem in error.problems]
        raise click.UsageError("\n".join(said)) from error


def read_value(text: str) -> Any:
    """
    Return the value of a text if it is JSON, otherwise the text itself.

    Raises:
        click.UsageError: It is nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError as error:
        raise click.UsageError(_TOO_DEEP) from error


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # sys.argv passes on bytes that are not UTF-8
        return False
    return True


def _site_lines(arguments: Iterable[Argument]) -> list[tuple[str, Argument]]:
    """Return the lines of the list, each with the argument that it comes from."""
    site = _Branch(Argument("", "", None))
    for argument in arguments:
        *sections, last = argument.key.split(".")
        branch = site
        for section in sections:
            below = branch.below.setdefault(section, _Branch(argument))
            if not isinstance(below, _Branch):
                raise click.UsageError(f"{argument.written}: {section!r} has no keys below it")
            branch = below
        branch.below[last] = _grown(argument, argument.value)
    return [("{sites: [", site.argument), *_lines(site), ("]}", site.argument)]


def _grown(argument: Argument, value: Any) -> _Branch | Argument:
    """Return a mapping as a branch, to which later arguments may add; otherwise the argument."""
    if not isinstance(value, Mapping):
        return Argument(argument.written, argument.key, value)
    return _Branch(argument, {key: _grown(argument, below) for key, below in value.items()})


def _lines(branch: _Branch) -> Iterator[tuple[str, Argument]]:
    """Yield the lines of a mapping, as _site_lines does."""
    yield " {", branch.argument
    for key, below in branch.below.items():
        if isinstance(below, _Branch):
            yield f" {quoted(key)}:", below.argument
            yield from _lines(below)
            yield " ,", below.argument
        else:
            yield f" {quoted(key)}: {quoted(_undollared(below.value))},", below
    yield " }", branch.argument


def _undollared(value: Any) -> Any:
    """Return the value without any references in it; keys are not substituted anyway."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_undollared(one) for one in value]
    if isinstance(value, dict):
        return {key: _undollared(one) for key, one in value.items()}
    return value


def _said(problem: Problem, argument: Argument) -> str:
    """Return a problem's sentence, with its place in terms of the command line."""
    steps: KeyPath = ("sites", 0, *argument.key.split("."))
    message = problem.message
    for end in range(len(steps), 2, -1):
        message = message.removeprefix(f"{show_path(steps[:end])}: ")
    return f"{argument.written}: {message.removeprefix('sites[0].')}"
