"""
Gatus' files as it reads them: a folder's are merged, and variables of the environment expanded.

Gatus expands the text before it reads the YAML. Here each variable is first replaced by a mark, so
that a secret stays a variable in the list that is written. Where a value is more than a text
(several lines, a list), Gatus reads other YAML there than the mark gives, and the value is taken.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from monitor.config.files import read_bytes
from monitor.errors import ConfigError, Problem
from monitor.importers.draft import reference, references, resolved

_SPECIAL = "*#$@!?-0123456789"
_NAME = re.compile(r"[A-Za-z0-9_]+")
_OURS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What may be a variable's name in a list of ours."""
_DOLLAR = "\ufdd2"
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Reads every scalar as the text it is, but nulls: Go's records decide what it means."""


_NULL = (f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL)?\Z"))
_Loader.yaml_implicit_resolvers = {
    "<": [(f"{_TAG}merge", re.compile(r"<<\Z"))],
    **{first: [_NULL] for first in ("~", "n", "N", "")},
}


def read(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """
    Return the document that Gatus makes of a file or folder; its texts may hold references.

    Raises:
        ConfigError: It cannot be read, or Gatus would not start with it.
    """
    text = _merged_text(path) if path.is_dir() else _text_of(path)
    try:
        return _expanded(path, text, environ)
    except RecursionError:  # an alias to what it stands in
        raise ConfigError([Problem(str(path), 1, 1, "nests without end, or too deeply")]) from None


def _expanded(path: Path, text: str, environ: Mapping[str, str]) -> dict[str, Any]:
    real = _document(path, _expand(text, lambda name: environ.get(name, "")))
    marked_text = _expand(
        text,
        lambda name: reference(name) if _OURS.fullmatch(name) else environ.get(name, ""),
    )
    try:
        marked = _document(path, marked_text)
    except ConfigError:
        return real
    both = _marked(marked, real, environ)
    return both if isinstance(both, dict) else real


def _marked(marked: Any, real: Any, environ: Mapping[str, str]) -> Any:
    """Return what Gatus reads, with the marks of all parts that mean the same with them."""
    if isinstance(marked, dict) and isinstance(real, dict):
        if [_text(key, environ) for key in marked] != list(real):
            return real
        pairs = zip(marked.items(), real.values(), strict=True)
        return {key: _marked(one, other, environ) for (key, one), other in pairs}
    if isinstance(marked, list) and isinstance(real, list):
        if len(marked) != len(real):
            return real
        return [_marked(one, other, environ) for one, other in zip(marked, real, strict=True)]
    if isinstance(marked, str) and real is None:
        # An unquoted variable without a value is null to Gatus; its value may come later.
        return marked if any(name not in environ for name in references(marked)) else real
    return marked if _text(marked, environ) == real else real


def _text(value: Any, environ: Mapping[str, str]) -> Any:
    return resolved(value, environ) if isinstance(value, str) else value


def _expand(text: str, value_of: Any) -> str:
    """Replace variables as os.ExpandEnv does; ``$$`` is a dollar."""
    text = text.replace("$$", _DOLLAR)
    out, at = [], 0
    while (dollar := text.find("$", at)) >= 0 and dollar + 1 < len(text):
        out.append(text[at:dollar])
        name, width = _shell_name(text, dollar + 1)
        if name:
            out.append(value_of(name))
        elif width == 0:
            out.append("$")
        at = dollar + 1 + width
    out.append(text[at:])
    return "".join(out).replace(_DOLLAR, "$")


def _shell_name(text: str, at: int) -> tuple[str, int]:
    """Return the name that follows a dollar, and how many characters it takes."""
    if text[at] == "{":
        if text[at + 1 : at + 2] and text[at + 1] in _SPECIAL and text[at + 2 : at + 3] == "}":
            return text[at + 1], 3
        end = text.find("}", at)
        if end < 0:
            return "", 1
        return text[at + 1 : end], end + 1 - at
    if text[at] in _SPECIAL:
        return text[at], 1
    found = _NAME.match(text, at)
    return (found[0], len(found[0])) if found else ("", 0)


# ---------------------------------------------------------------- files


def _merged_text(folder: Path) -> str:
    merged: dict[str, Any] = {}
    found = False
    for path in _files(folder):
        found = True
        _merge(merged, _document(path, _text_of(path)), path, ())
    if not found:
        raise ConfigError([Problem(str(folder), 1, 1, "holds no *.yaml or *.yml")])
    return yaml.safe_dump(merged, allow_unicode=True, sort_keys=False)


def _files(folder: Path) -> Iterator[Path]:
    """Yield YAML files as filepath.WalkDir finds them: by name, those of a folder at its place."""
    try:
        found = sorted(folder.iterdir(), key=lambda one: os.fsencode(one.name))
    except OSError as error:
        why = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ConfigError([Problem(str(folder), 1, 1, why)]) from None
    for path in found:
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.suffix in (".yaml", ".yml") and ".." not in path.name and not path.is_dir():
            yield path


def _merge(into: dict[str, Any], other: dict[str, Any], path: Path, above: tuple[str, ...]) -> None:
    for key, value in other.items():
        known = into.get(key)
        if isinstance(value, dict):
            below = known if isinstance(known, dict) else {}
            into[key] = below
            _merge(below, value, path, (*above, key))
        elif isinstance(value, list):
            into[key] = [*known, *value] if isinstance(known, list) else value
        elif key in into:
            name = ".".join((*above, key))
            raise ConfigError(
                [Problem(str(path), 1, 1, f"{name} is in two files, which Gatus refuses")]
            )
        else:
            into[key] = value


def _text_of(path: Path) -> str:
    try:
        data = read_bytes(path)
    except ValueError as error:
        why = f"{error}; name the file or folder of Gatus, such as config.yaml"
        raise ConfigError([Problem(str(path), 1, 1, why)]) from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode())
        why = "is not UTF-8 here, as Gatus' files are; name its YAML file, such as config.yaml"
        raise ConfigError([Problem(str(path), line, column, why)]) from None


def _place(before: str) -> tuple[int, int]:
    """Return line and column of what follows a text."""
    return before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1


def _document(path: Path, text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = f"is not YAML: {error.problem or error.context}"
        raise ConfigError([Problem(str(path), line, column, message)]) from error
    except yaml.reader.ReaderError as error:
        line, column = _place(text[: error.position])
        why = f"is not YAML: U+{error.character:04X} is a character that it forbids"
        raise ConfigError([Problem(str(path), line, column, why)]) from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ConfigError([Problem(str(path), 1, 1, f"is not YAML: {error}")]) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError([Problem(str(path), 1, 1, "must be a mapping, as Gatus' files are")])
    return document
