"""The JSON Schema tells editors what the decoder tells people."""

import json
from dataclasses import dataclass

import pytest

from monitor.config.forms import form_of
from monitor.config.json_schema import json_schema
from monitor.options import option


def subschemas(schema):
    """Yield the schema and everything below it."""
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from subschemas(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from subschemas(part)


def test_the_schema_is_the_same_each_time(tables):
    """The schema has the same text each time, since the text is committed and compared."""
    first, second = (json.dumps(json_schema(tables)) for _ in range(2))
    assert first == second


def test_every_reference_leads_somewhere(tables):
    """Every reference points to a definition in the document, and each definition is used."""
    schema = json_schema(tables)
    references = {part["$ref"] for part in subschemas(schema) if "$ref" in part}
    assert {ref.removeprefix("#/$defs/") for ref in references} == set(schema["$defs"])


def test_objects_are_closed_and_documented(tables):
    """Editors too refuse an unknown key, and each key has a description."""
    schema = json_schema(tables)
    closed = [part for part in subschemas(schema) if "properties" in part]
    assert closed
    for part in closed:
        assert part["additionalProperties"] is False
        for key, below in part["properties"].items():
            target = schema["$defs"][below["$ref"][8:]] if "$ref" in below else below
            assert target.get("description"), key


def test_the_top_level_and_the_site_have_their_keys(tables):
    """A site may have the sections of all schemes and needs only a URL."""
    schema = json_schema(tables)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert list(schema["properties"]) == [
        *("defaults", "include", "sites", "discover"),
        *("connectivity", "modules", "blackbox_modules"),
        *("engine", "analysis", "metrics", "history", "notify", "probe_endpoint"),
        *("locations", "pages", "announcements", "shutdown_grace"),
    ]
    site = schema["$defs"]["site"]
    assert list(site["properties"]) == [
        *("url", "name", "was", "group", "labels"),
        *("interval", "timeout", "confirm", "maintenance", "connectivity"),
        *("notify", "depends_on"),
        *("web", "net", "ping", "expect", "extract", "watch"),
    ]
    assert site["required"] == ["url"]
    assert set(site["properties"]) - set(schema["$defs"]["defaults"]["properties"]) == {
        "url",
        "name",
        "was",
    }
    assert [list(item) for item in schema["properties"]["sites"]["items"]["anyOf"]] == [
        ["type", "description"],
        ["$ref"],
    ]


def test_each_type_has_its_schema(tables):
    """Each has a description and a default; where free text is not allowed, a reference is."""
    schema = json_schema(tables)
    web = schema["$defs"]["web"]["properties"]
    reference = {"$ref": "#/$defs/substitution"}
    assert web["method"] == {"description": "The method.", "type": "string", "default": "GET"}
    assert web["hops"] == {
        "description": "How many hops.",
        "default": 10,
        "anyOf": [{"type": "integer"}, reference],
    }
    assert web["version"]["anyOf"] == [{"enum": ["auto", "1.1", 1.1, "2", 2]}, reference]
    assert web["color"]["default"] == "red"
    assert (web["limit"]["default"], web["pause"]["default"]) == ("1MiB", "1.5s")
    assert web["tags"]["items"] == {"type": "string"}
    assert web["headers"]["additionalProperties"] == {"type": "string"}
    assert web["login"]["anyOf"][1] == {"type": "null"}
    assert list(web["login"]["anyOf"][0]["properties"]) == ["username", "password"]
    assert list(schema["$defs"]["ping"]["properties"]) == ["count", "class"]
    assert schema["$defs"]["expect.status"] == {
        "description": "The answer's status.",
        "anyOf": [{"type": "integer"}, reference],
    }


def test_what_defaults_may_give_is_not_required(tables):
    """``required`` is only where defaults do not apply: at a site's URL and in lists."""
    definitions = json_schema(tables)["$defs"]
    assert [name for name, part in definitions.items() if list_required(part)] == ["site"]


def list_required(schema):
    return [part for part in subschemas(schema) if "required" in part]


def test_a_type_outside_the_language_is_a_bug() -> None:
    """It is found when the forms are made, not when a file happens to use it."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Strange:
        when: complex = option(0j, doc="Unheard of.")

    with pytest.raises(TypeError, match="complex"):
        form_of(Strange)
