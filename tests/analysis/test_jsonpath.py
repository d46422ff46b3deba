"""Paths into JSON documents."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis.jsonpath import parse_path

DOCUMENT = {"a": {"b": [10, {"c d": "x", "e.f": "y", 'q"': "z"}]}, "ä-1": True}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.a.b[0]", 10),
        ("$.a.b[-1]['c d']", "x"),
        ('$.a["b"][1]["e.f"]', "y"),
        (r'$.a.b[1]["q\""]', "z"),
        ("$.ä-1", True),
    ],
)
def test_a_path_picks_one_value(path, value):
    """A path of names, quoted names and indexes leads to one value."""
    assert parse_path(path).find(DOCUMENT) == value


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("$.a.x", '$.a has no "x"'),
        ("$.a.b[2]", "the length of $.a.b is 2"),
        ("$.a.b[-3]", "the length of $.a.b is 2"),
        ("$.a.b.c", "$.a.b is of type array"),
        ("$.a[0]", "$.a is of type object"),
        ('$.a.b[1]["c d"].x', '$.a.b[1]["c d"] is of type string'),
        ("$.ä-1.x", '$["ä-1"] is of type boolean'),
    ],
)
def test_a_path_into_nowhere_says_where_it_ends(path, why):
    """The message names the last value that exists on the path."""
    with pytest.raises(LookupError) as caught:
        parse_path(path).find(DOCUMENT)
    assert caught.value.args == (why,)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("$a", 2),
        ("$.a.", 4),
        ("$.a[1:2]", 4),
        ("$.a[?(@.b)]", 4),
        ("$.*", 2),
        ("$.a['b]", 4),
        ("$.a b", 4),
        ("$.a[99999999999]", 4),
    ],
)
def test_what_may_pick_several_values_is_no_path(path, place):
    """Wildcards, slices and filters are refused, with their place and what to use instead."""
    with pytest.raises(ValueError, match=f"from its character {place} on.*CEL"):
        parse_path(path)


@given(st.lists(st.text() | st.integers(-9, 9), max_size=5))
def test_any_name_can_be_quoted(steps):
    """Every member of every document can be reached."""
    quoted = [
        f"[{step}]"
        if isinstance(step, int)
        else '["' + step.replace("\\", "\\\\").replace('"', '\\"') + '"]'
        for step in steps
    ]
    assert parse_path("$" + "".join(quoted)).steps == tuple(steps)


@given(st.text())
def test_any_text_is_a_path_or_a_sentence(text):
    """No text makes the parser raise anything but ValueError."""
    try:
        said = str(parse_path("$" + text))
    except ValueError as error:
        said = str(error)
    assert json.loads(json.dumps(said)) == said
