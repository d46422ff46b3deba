"""Turns alert providers of other monitors into receivers."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

from monitor.importers.draft import (
    ListDraft,
    SecretVariables,
    SiteDraft,
    between_references,
    has_reference,
    resolved,
    without_value,
)

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COMMA = re.compile(r"\s*,\s*")
_SAFE = ":@,-"


class NoReceiver(Exception):  # noqa: N818  not an error: a reason
    """A provider that cannot be carried over; the text says why."""


class ProviderSettings:
    """
    The settings of a provider; each may hold references.

    Args:
        name: The name of the receiver, from which its secrets get their names.
    """

    def __init__(
        self,
        name: str,
        values: Mapping[str, Any],
        secrets: SecretVariables,
        environ: Mapping[str, str],
    ) -> None:
        self.name = name
        self.used: set[str] = set()
        self._values = values
        self._secrets = secrets
        self._environ = environ

    def raw(self, key: str) -> str:
        """Return a setting unchanged; the texts of a list are joined by commas."""
        self.used.add(key)
        value = self._values.get(key)
        if isinstance(value, list):
            return ",".join(str(one).strip() for one in value if not isinstance(one, dict | list))
        return "" if value is None or isinstance(value, dict) else str(value).strip()

    def flag(self, key: str) -> bool:
        return self.value(key).lower() in ("true", "1", "yes")

    def value(self, key: str) -> str:
        """Return a setting with the values of its variables."""
        return resolved(self.raw(key), self._environ).strip()

    def part(
        self, key: str, *, secret: bool = False, needed: bool = True, safe: str = _SAFE
    ) -> str:
        """
        Return a setting as a part of a URL: what is special there is percent-encoded.

        A variable stays one unless its value would have to be encoded.

        Raises:
            NoReceiver: It is needed, and missing.
        """
        raw, value = self.raw(key), self.value(key)
        if not secret:
            value = _COMMA.sub(",", value)
        if not raw:
            if needed:
                raise NoReceiver(f"{key} is missing")
            return ""
        encoded = quote(value, safe=safe)
        if has_reference(raw):
            return raw if encoded == self.value(key) else self.hide(encoded, key)
        return self.hide(encoded, key) if secret else encoded

    def several(self, key: str) -> str:
        """
        Return a list, or a text with commas, as parts of a path.

        Raises:
            NoReceiver: It is missing.
        """
        return "/".join(one for one in self.part(key).split(",") if one)

    def whole(self, key: str) -> str:
        """Return a setting that is secret as a whole."""
        raw = self.raw(key)
        if any(not is_reference for _, is_reference in between_references(raw)):
            return self.hide(self.value(key), key)
        return raw

    def without_value(self) -> str:
        """Return which variables in used settings have no value; empty if all have one."""
        return without_value(" ".join(map(self.raw, sorted(self.used))), self._environ)

    def hide(self, value: str, key: str) -> str:
        return self._secrets.hide(value, self.name, _HUMP.sub("_", key))


Made: TypeAlias = str | Mapping[str, Any]
"""One of apprise's URLs, or the keys of another receiver."""
Maker: TypeAlias = Callable[[ProviderSettings, Mapping[str, str]], Made]
"""Takes the settings, and their names there by our names for them."""


@dataclass(frozen=True, slots=True)
class Provider:
    """
    How one kind of provider becomes a receiver.

    Attributes:
        names: The names of settings there, by the names that the maker uses.
        differs: What is different, if that matters.
    """

    make: Maker
    names: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""


class Receivers:
    """
    The receivers of a list that is being imported.

    Args:
        program: The program that the providers belong to.

    Attributes:
        names: In the order of the list.
    """

    def __init__(
        self,
        whole: ListDraft,
        environ: Mapping[str, str],
        providers: Mapping[str, Provider],
        why_not: Callable[[str], str],
        program: str,
    ) -> None:
        self.names: list[str] = []
        self._whole = whole
        self._environ = environ
        self._providers = providers
        self._why_not = why_not
        self._program = program
        self._by_keys: dict[str, str] = {}

    def add(
        self,
        name: str,
        kind: str,
        values: Mapping[str, Any],
        told: Iterable[str],
        draft: ListDraft | SiteDraft,
        path: str,
    ) -> str | None:
        """
        Add a receiver, unless an equal one exists, and report what became of each setting.

        Args:
            name: The name of the receiver; it is made unique.
            told: The settings at the path.
            draft: What the path belongs to.
            path: The path of the provider in the other program.

        Returns:
            The name of the receiver; None if the provider cannot be one.
        """
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.") or kind
        name, number = base, 2
        while name in self.names:
            name, number = f"{base}-{number}", number + 1
        settings = ProviderSettings(name, values, self._whole.secrets, self._environ)
        try:
            provider = self._provider(kind)
            made = provider.make(settings, provider.names)
        except NoReceiver as reason:
            why = settings.without_value() or f"{reason}; add a receiver to notify.receivers"
            draft.dropped(path, why)
            for one in told:
                draft.dropped(f"{path}.{one}", "see above", quiet=True)
            return None
        if provider.differs:
            draft.changed(path, "notify.receivers", provider.differs)
            draft.remarks.append(f"{path}: {provider.differs}")
        else:
            draft.carried(path, "notify.receivers")
        for one in told:
            if one in settings.used:
                draft.carried(f"{path}.{one}", "notify.receivers")
            else:
                why = f"looks and ways of {self._program}'s own message"
                draft.dropped(f"{path}.{one}", why, quiet=True)
        return self._added(name, {"apprise": made} if isinstance(made, str) else dict(made))

    def _provider(self, kind: str) -> Provider:
        if kind not in self._providers:
            raise NoReceiver(self._why_not(kind))
        return self._providers[kind]

    def _added(self, name: str, keys: dict[str, Any]) -> str:
        same = self._by_keys.setdefault(repr(sorted(keys.items())), name)
        if same == name:
            self.names.append(name)
            notify = self._whole.top.setdefault("notify", {"receivers": []})
            notify["receivers"].append({"name": name, **keys})
        return same
