"""
Strict decoding of nodes into records, and the JSON Schema of the site list.

The decoder reports each problem at the place of its key or value, with the texts of messages.py,
and shows no substituted parts.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import ErrorDetails, ValidationError, core_schema

from monitor.config.forms import (
    Form,
    Json,
    LocatedText,
    SecretsAndFiles,
    data_of,
    described,
    form_of,
    record_form,
)
from monitor.config.keys import ModuleKeys, SiteKeys, SourceKeys, Tables
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


# ---------------------------------------------------------------- the JSON Schema

_SUBSTITUTION: Json = {
    "description": "${NAME}, ${NAME:-default} or ${file:PATH}.",
    "type": "string",
    "pattern": r"\$\{[^}]*\}",
}
_SUBSTITUTION_REF: Json = {"$ref": "#/$defs/substitution"}
_URL: Json = {
    "type": "string",
    "description": "A bare URL is a whole site.",
}
_ANNOTATIONS = ("title", "description", "default")


def json_schema(tables: Tables) -> dict[str, Any]:
    """
    Return the JSON Schema (draft 2020-12) of a configuration file, for editors.

    It does not check what depends on the scheme or on defaults, and allows ``${…}`` for any value;
    ``monitor validate`` is stricter.
    """
    forms = Forms.of(tables)
    parts: Json = {key: _site_part(forms, key) for key in forms.section_keys()}
    for key, form in forms.expectations.items():
        parts[f"expect.{key}"] = described(form.json, tables.expectations[key].doc)
    parts["expect"] = _object(
        {key: {"$ref": f"#/$defs/expect.{key}"} for key in forms.expectations},
        title="expect",
        description="What must hold for the site to be up.",
    )
    for key, form in forms.readings.items():
        parts[key] = {"title": key, **described(form.json, tables.readings[key].doc)}
    own = forms.site.json["properties"]
    common = {
        key: _without_required(part) for key, part in own.items() if key not in NOT_IN_DEFAULTS
    }
    keys = (*forms.section_keys(), "expect", *forms.readings)
    common |= {key: {"$ref": f"#/$defs/{key}"} for key in keys}
    parts["site"] = {
        **_object(
            {**{key: own[key] for key in NOT_IN_DEFAULTS}, **common},
            title="site",
            description="One site of the list.",
        ),
        "required": ["url"],
    }
    parts["defaults"] = _object(
        common,
        title="defaults",
        description="Any key of a site but url and name; a site overrides it key by key.",
    )
    parts["module"] = _object(
        {
            **forms.module.json["properties"],
            **{key: {"$ref": f"#/$defs/{key}"} for key in (*forms.section_keys(), "expect")},
        },
        title="module",
        description="Options for targets that /probe is asked about.",
    )
    parts["source"] = _source_part(tables)
    top = {
        "defaults": {"$ref": "#/$defs/defaults"},
        "include": {
            "description": "More files of the same form: paths or globs, relative to this file.",
            "type": "array",
            "items": {"type": "string"},
        },
        "sites": {
            "description": "What is checked.",
            "type": "array",
            "items": {"anyOf": [_URL, {"$ref": "#/$defs/site"}]},
        },
        "discover": {
            "description": "Where more sites are listed.",
            "type": "array",
            "items": {"$ref": "#/$defs/source"},
        },
        "connectivity": {
            "description": "URLs that tell whether the monitor's own connection stands: while none"
            " of them answers, sites whose checks fail are unknown, not down.",
            "type": "array",
            "items": {"type": "string"},
        },
        "modules": {
            "description": "Options for targets that /probe is asked about, by name.",
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/module"},
        },
        "blackbox_modules": {
            "description": "A file of blackbox_exporter's, whose modules are there too.",
            "type": "string",
        },
        **forms.settings.json["properties"],
    }
    definitions = {
        key: _open(part if key in ("site", "source") else _without_required(part))
        for key, part in parts.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_object(
            {key: _open(schema) for key, schema in top.items()},
            title="website-monitor site list",
            description="The sites that are checked, and the settings of the daemon.",
        ),
        "patternProperties": {
            f"^{EXTENSION}": {"description": "Means nothing but what aliases take from it."}
        },
        "$defs": {**definitions, "substitution": _SUBSTITUTION},
    }


def _source_part(tables: Tables) -> Json:
    common = record_form(SourceKeys).json["properties"]
    kinds = {
        kind: described(record_form(one.options).json, one.doc)
        for kind, one in tables.sources.items()
    }
    source = _object(
        {**common, **kinds, "defaults": {"$ref": "#/$defs/defaults"}},
        title="source",
        description="A source of sites; has exactly one of the keys that name a kind.",
    )
    return {**source, "oneOf": [{"required": [kind]} for kind in kinds]}


def _object(properties: Json, *, title: str, description: str) -> Json:
    return {
        "title": title,
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _site_part(forms: Forms, key: str) -> Json:
    schemes = [scheme for scheme, sections in forms.sections.items() if key in sections]
    schemas = [form.json for form in forms.sections_called(key)]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"title": key, "description": f"For {', '.join(schemes)} sites.", **schema}


def _without_required(schema: Any) -> Any:
    """Return a section's schema without ``required``: defaults may give what a site leaves out."""
    if not isinstance(schema, dict):
        return schema
    loosened = {name: part for name, part in schema.items() if name != "required"}
    if "properties" in loosened:
        loosened["properties"] = {
            name: _without_required(part) for name, part in loosened["properties"].items()
        }
    if "anyOf" in loosened:
        loosened["anyOf"] = [_without_required(part) for part in loosened["anyOf"]]
    return loosened


def _open(schema: Any) -> Any:
    """Return the schema with ``${…}`` allowed for every value that is not already free text."""
    if not isinstance(schema, dict):
        return schema
    opened = {key: _open_below(key, part) for key, part in schema.items()}
    if not _is_narrow_scalar(schema):
        return opened
    notes = {key: opened.pop(key) for key in _ANNOTATIONS if key in opened}
    return {**notes, "anyOf": [opened, copy.deepcopy(_SUBSTITUTION_REF)]}


def _open_below(keyword: str, part: Any) -> Any:
    if keyword in ("properties", "patternProperties", "$defs"):
        return {name: _open(schema) for name, schema in part.items()}
    if keyword in ("items", "additionalProperties", "contains"):
        return _open(part)
    if keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        return [_open(schema) for schema in part]
    return part


def _is_narrow_scalar(schema: Json) -> bool:
    if "enum" in schema or "const" in schema:
        return True
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if {"integer", "number", "boolean"} & set(kinds):
        return True
    return "string" in kinds and bool({"pattern", "format"} & schema.keys())
