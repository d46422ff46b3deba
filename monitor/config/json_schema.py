"""The JSON Schema of the site list, made from the same forms that decode it."""

import copy
from typing import Any

from monitor.config.decoder import EXTENSION, NOT_IN_DEFAULTS, Forms
from monitor.config.forms import Json, described, record_form
from monitor.config.keys import SourceKeys, Tables

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
    parts = _parts(forms, tables)
    definitions = {
        key: _open(part if key in ("site", "source") else _without_required(part))
        for key, part in parts.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_object(
            {key: _open(schema) for key, schema in _top_keys(forms).items()},
            title="website-monitor site list",
            description="The sites that are checked, and the settings of the daemon.",
        ),
        "patternProperties": {
            f"^{EXTENSION}": {"description": "Means nothing but what aliases take from it."}
        },
        "$defs": {**definitions, "substitution": _SUBSTITUTION},
    }


def _parts(forms: Forms, tables: Tables) -> Json:
    """Return the schemas of sites and of everything that they, or defaults, may contain."""
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
    return parts


def _top_keys(forms: Forms) -> Json:
    """Return the schemas of a file's top-level keys."""
    return {
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
