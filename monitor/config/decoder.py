"""
Strict decoding of nodes into records.

The decoder reports each problem at the place of its key or value, with the texts of messages.py,
and shows no substituted parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails, ValidationError, core_schema

from monitor.config.forms import (
    Form,
    LocatedText,
    SecretsAndFiles,
    data_of,
    form_of,
    record_form,
)
from monitor.config.keys import ModuleKeys, SiteKeys, Tables
from monitor.config.messages import explain
from monitor.config.nodes import MappingNode, Node, Scalar, SequenceNode, scalars
from monitor.config.problems import KeyPath, Placed, Problems
from monitor.config.settings import Settings
from monitor.options import DOUBTS
from monitor.secrecy import hide_credentials, redact

DEFAULTS: KeyPath = ("defaults",)
NOT_IN_DEFAULTS = ("url", "name", "was")
EXTENSION = "x-"
"""Prefix of top-level keys that only hold values for aliases, as in Compose files."""

# ---------------------------------------------------------------- forms of the whole


@dataclass(frozen=True, slots=True)
class Forms:
    """
    The forms of everything that may be written; created once per load.

    Attributes:
        site: The keys of every site.
        sections: By scheme, then by key; schemes that share a record share its form.
        expectations: By key under ``expect``.
        readings: By key of a site.
        settings: The top-level keys except the sites.
        module: The keys of every module.
    """

    site: Form
    sections: Mapping[str, Mapping[str, Form]]
    expectations: Mapping[str, Form]
    readings: Mapping[str, Form]
    settings: Form
    module: Form

    @classmethod
    def of(cls, tables: Tables) -> "Forms":
        return cls(
            site=record_form(SiteKeys),
            sections={
                scheme: {key: record_form(record) for key, record in kind.sections.items()}
                for scheme, kind in tables.probes.items()
            },
            expectations={key: form_of(kind.shape) for key, kind in tables.expectations.items()},
            readings={key: form_of(kind.shape) for key, kind in tables.readings.items()},
            settings=record_form(Settings),
            module=record_form(ModuleKeys),
        )

    def sections_called(self, key: str) -> tuple[Form, ...]:
        """Return the different forms of one section; most have one for all schemes."""
        return tuple(dict.fromkeys(forms[key] for forms in self.sections.values() if key in forms))

    def shown_site(self) -> Form:
        """The keys of all sites together, to tell which values are secret."""
        sections = {key: _together(self.sections_called(key)) for key in self.section_keys()}
        expect = _keys_form(self.expectations)
        return _keys_form({**self.site.fields, **sections, "expect": expect, **self.readings})

    def shown_top(self, listed: Mapping[str, Form]) -> Form:
        """
        Return the top level without the sites, to tell which values are secret.

        Args:
            listed: The items of further keys that each contain a list.
        """
        site = self.shown_site()
        modules = Form(core=core_schema.any_schema(), json={}, item=site)
        lists = {
            key: Form(core=core_schema.any_schema(), json={}, item=item)
            for key, item in listed.items()
        }
        return _keys_form({**self.settings.fields, **lists, "defaults": site, "modules": modules})

    def section_keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key for forms in self.sections.values() for key in forms))


def _keys_form(fields: Mapping[str, Form]) -> Form:
    return Form(core=core_schema.any_schema(), json={}, fields=fields)


def _together(forms: tuple[Form, ...]) -> Form:
    # If schemes differ in a section, a value that is secret for one is hidden for all
    fields: dict[str, Form] = {}
    for form in forms:
        for key, below in form.fields.items():
            if key not in fields or below.secret:
                fields[key] = below
    return _keys_form(fields)


# ---------------------------------------------------------------- decoding


@dataclass(frozen=True, slots=True)
class Decoded:
    """
    A value, and what was found while decoding it.

    Attributes:
        secrets: The secrets in it, which must never be shown.
        files: The files that it names.
    """

    value: Any
    secrets: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Subject:
    """
    What is being decoded.

    Attributes:
        path: The path of the site, or of whatever else the node belongs to.
        keys: The keys that lead from there to the node.
        inherited: Whether the node comes from ``defaults`` unchanged.
    """

    form: Form
    node: Node
    path: KeyPath
    keys: KeyPath
    inherited: bool


@dataclass(frozen=True, slots=True)
class _Target:
    """Where an error belongs: the place, the value there, and whether it comes from defaults."""

    placed: Placed
    node: Node
    inherited: bool


class Decoder:
    """Decodes the nodes of one load; caches the result for defaults that many sites share."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        # The node is kept with its value, so that no other node can get its id
        self._shared: dict[tuple[Form, int], tuple[Node, Decoded | None]] = {}

    def decode(
        self, form: Form, node: Node, path: KeyPath, *, keys: KeyPath = (), inherited: bool
    ) -> Decoded | None:
        """
        Return the value of a node; None, with every problem reported, if it is bad.

        Args:
            path: The path of the site, or of whatever else the node belongs to.
            keys: The keys that lead from there to the node.
            inherited: Whether the node comes from ``defaults`` unchanged; it is decoded only once.
        """
        subject = _Subject(form, node, path, keys, inherited)
        if not inherited:
            return self._decode(subject)
        remembered = self._shared.get((form, id(node)))
        if remembered is None:
            remembered = (node, self._decode(subject))
            self._shared[form, id(node)] = remembered
        return remembered[1]

    def check_partial(self, form: Form, node: Node, keys: KeyPath) -> None:
        """
        Report problems in a part of ``defaults``, whether or not a site will use it.

        Sites may add what is missing, and so satisfy a rule between two options that does not hold.
        """
        subject = _Subject(form, node, DEFAULTS, keys, inherited=True)
        gathered = SecretsAndFiles()
        for error in _errors(form, data_of(node, gathered), gathered):
            if error["type"] not in ("missing", "value_error"):
                self._report(error, subject, gathered)

    def _decode(self, subject: _Subject) -> Decoded | None:
        gathered = SecretsAndFiles()
        data = data_of(subject.node, gathered)
        doubts: list[tuple[str, str]] = []
        token = DOUBTS.set(doubts)
        try:
            value = subject.form.validator.validate_python(data, context=gathered)
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                self._report(error, subject, gathered)
            return None
        finally:
            DOUBTS.reset(token)
        prefix = DEFAULTS if subject.inherited else subject.path
        for text, why in doubts:
            if isinstance(text, LocatedText):
                self._problems.warn(text.node, (*prefix, *subject.keys), why)
        return Decoded(value, tuple(gathered.secrets), tuple(gathered.files))

    def _report(self, error: ErrorDetails, subject: _Subject, gathered: SecretsAndFiles) -> None:
        target = _locate(subject, error)
        node = target.node
        plain = isinstance(node, Scalar) and node.plain and node.substitution is None
        written = node.text if isinstance(node, Scalar) and plain else None
        message = explain(error, _keys_around(subject.form, error["loc"]), written)
        if error["type"] not in ("missing", "unexpected_keyword_argument"):
            substituted = [s.substitution for s in scalars(target.node) if s.substitution]
            if any(done.broken for done in substituted):
                return  # reported where it was found
            if any(done.secrets for done in substituted):
                message = _as_written(subject, error)
            message = hide_credentials(message)
        if error["type"] == "value_error":  # a rule of a record may quote any field
            message = redact(message, tuple(gathered.secrets))
        prefix = DEFAULTS if target.inherited else subject.path
        self._problems.add(target.placed, (*prefix, *subject.keys, *error["loc"]), message)


def _errors(form: Form, data: Any, gathered: SecretsAndFiles) -> list[ErrorDetails]:
    try:
        form.validator.validate_python(data, context=gathered)
    except ValidationError as invalid:
        return invalid.errors(include_url=False)
    return []


def _as_written(subject: _Subject, error: ErrorDetails) -> str:
    # The message quotes the value. The message for `${NAME}` itself is usually the same, and shows
    # no secret
    gathered = SecretsAndFiles()
    data = data_of(subject.node, gathered, as_written=True)
    for other in _errors(subject.form, data, gathered):
        if other["loc"] == error["loc"] and other["type"] == error["type"]:
            return explain(other, ())
    return "what is substituted here is not a valid value"


def _keys_around(form: Form, loc: tuple[int | str, ...]) -> tuple[str, ...]:
    around: Form | None = form
    for step in loc[:-1]:
        around = around.below(step) if around else None
    return tuple(around.fields) if around else ()


def _locate(subject: _Subject, error: ErrorDetails) -> _Target:
    node, inherited = subject.node, subject.inherited
    placed: Placed = node
    loc = error["loc"]
    for step in loc:
        if isinstance(node, MappingNode) and step in node.entries:
            entry = node.entries[str(step)]
            placed, node = entry.key, entry.value
            inherited = inherited or entry.inherited
        elif isinstance(node, SequenceNode) and isinstance(step, int):
            placed = node = node.items[step]
    match error["type"]:
        case "missing" | "unexpected_keyword_argument":
            return _Target(placed, node, inherited)
        case "value_error" if isinstance(node, MappingNode):
            # A rule of a whole record, whose sentence names the field
            for word in str(error["ctx"]["error"]).split():
                if named := node.entries.get(word):
                    return _Target(named.value, node, inherited or named.inherited)
    return _Target(node, node, inherited)
