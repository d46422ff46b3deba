"""
``${NAME}``, ``${NAME:-default}``, ``${file:PATH}`` and ``$$`` in the texts of the configuration.

Values from the environment or from a file are secret. A default is not: anyone who may read the
configuration sees it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monitor.config.files import read_text
from monitor.secrecy import HIDDEN

_REFERENCE = re.compile(r"\$(?:\$|\{([^}]*)(\}?))")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_ONE_REFERENCE = re.compile(r"\$\{[^}]+\}")


@dataclass(frozen=True, slots=True)
class Substitution:
    """
    What was substituted in one text.

    Attributes:
        written: The text as written in the file.
        shown: The text after substitution, with ``<secret>`` instead of each secret.
        secrets: The values from the environment or files, except empty ones.
        broken: Whether a reference cannot be resolved, which has been reported; the text then means
            nothing.
    """

    written: str
    shown: str
    secrets: tuple[str, ...] = ()
    broken: bool = False


def is_one_reference(written: str) -> bool:
    """Return whether a text consists of a single reference."""
    return _ONE_REFERENCE.fullmatch(written) is not None


def shows_nothing(written: str) -> bool:
    """Return whether a text is a single reference without a default, and so not secret itself."""
    return is_one_reference(written) and ":-" not in written


class Substituter:
    """
    Resolves the references of a load.

    Attributes:
        files: The files that were read or searched for.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.files: dict[Path, None] = {}

    def substitute(self, written: str, folder: Path) -> tuple[str, Substitution, list[str]]:
        """
        Return the text with its references resolved, what was substituted, and the problems.

        Args:
            folder: The folder of the YAML file, to which the paths of ``${file:…}`` are relative.
        """
        secrets: list[str] = []
        wrong: list[str] = []
        text, shown, end = "", "", 0
        for match in _REFERENCE.finditer(written):
            between = written[end : match.start()]
            end = match.end()
            value, secret = "$", False
            if match[0] != "$$":
                try:
                    value, secret = self._value(match[1], bool(match[2]), folder)
                except ValueError as error:
                    wrong.append(str(error))
            text += between + value
            shown += between + (HIDDEN if secret and value else value)
            if secret and value:
                secrets.append(value)
        text += written[end:]
        shown += written[end:]
        done = Substitution(written, shown, tuple(secrets), broken=bool(wrong))
        return text, done, wrong

    def _value(self, inner: str, closed: bool, folder: Path) -> tuple[str, bool]:
        if not closed:
            raise ValueError("a ${ has no }; write $$ for a dollar sign")
        if inner.startswith("file:"):
            path = folder / inner.removeprefix("file:")
            self.files[path] = None
            text = read_text(path)
            if not text:  # emptied, or about to be written: keep the secret that it had
                raise ValueError(f"{path} is empty")
            return text, True
        match = _VARIABLE.fullmatch(inner)
        if not match:
            raise ValueError(
                f"${{{inner}}} is neither ${{NAME}}, ${{NAME:-default}} nor ${{file:PATH}};"
                " write $$ for a dollar sign"
            )
        name, default = match[1], match[2]
        if default is not None and "${" in default:
            raise ValueError(f"the default of ${{{name}:-…}} cannot hold another ${{…}}")
        value = self._environ.get(name)
        if value is None and default is None:
            raise ValueError(f"the environment has no {name}; ${{{name}:-default}} gives a default")
        # As in a shell, :- also replaces an empty value
        if value or default is None:
            return _checked(name, value or ""), True
        return default, False


def _checked(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:  # os.environ passes on bytes that are not UTF-8
        raise ValueError(f"the value of {name} in the environment is not UTF-8") from error
    return value
