"""Rules that several expectations share, called directly."""

import json

import pytest

from monitor.analysis.rules import (
    parse_count,
    parse_json_rules,
    parse_text_rules,
)


@pytest.mark.parametrize(
    ("rules", "forbids"),
    [
        ("ok", False),
        ({"contains": "ok"}, False),
        ({"not_contains": "error"}, True),
        ({"not_matches": "error"}, True),
        ([{"contains": "ok"}, {"not_matches": "error"}], True),
    ],
)
def test_rules_that_forbid_need_the_whole_text(rules, forbids):
    """The rest of a text that was cut may still hold what is forbidden."""
    assert parse_text_rules(rules).forbids is forbids


BEFORE, AFTER = "b" * 30, "a" * 30


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("FOUND", "FOUND"),
        (f"{BEFORE}FOUND{AFTER}", f"{BEFORE}FOUND{AFTER}"),
        (f"x{BEFORE}FOUND{AFTER}", f"…{BEFORE}FOUND{AFTER}"),
        (f"{BEFORE}FOUND{AFTER}x", f"{BEFORE}FOUND{AFTER}…"),
        (f"x{BEFORE}FOUND{AFTER}x", f"…{BEFORE}FOUND{AFTER}…"),
    ],
    ids=["alone", "all", "before", "after", "both"],
)
@pytest.mark.parametrize(
    ("key", "says"), [("not_contains", "contains"), ("not_matches", "matches")]
)
def test_what_is_forbidden_is_shown_with_30_characters_around_it(key, says, text, shown):
    """An ellipsis appears only where something is left out."""
    why = parse_text_rules({key: "FOUND"}).why_not((text,), json.dumps)
    assert why == f'{json.dumps(shown)} {says} "FOUND"'


@pytest.mark.parametrize(
    ("count", "holding", "failing"),
    [
        (0, (0,), (1,)),
        ("3-3", (3,), (2, 4)),
        ("1-3", (1, 2, 3), (0, 4)),
        ({"gt": 1, "lt": 3}, (2,), (1, 3)),
        ({"ge": 1, "le": 3}, (1, 3), (0, 4)),
        ({"ne": 0}, (1,), (0,)),
    ],
)
def test_the_bounds_of_a_count(count, holding, failing):
    """Ranges include both ends, and zero is a valid bound."""
    rule = parse_count(count)
    assert [number for number in holding if rule.why_not(number)] == []
    assert [number for number in failing if not rule.why_not(number)] == []


@pytest.mark.parametrize(
    "count", [True, False, -1, 1.0, "3-1", "1-", {"eq": True}, {"eq": -1}, None]
)
def test_what_is_not_a_count(count):
    """YAML's true is not the number 1, and a range has its smaller end first."""
    with pytest.raises(ValueError, match=r"is not a whole number|is empty; the smaller"):
        parse_count(count)


@pytest.mark.parametrize(
    ("value", "other", "equal"),
    [
        ([1, [2, 3]], [1.0, [2, 3]], True),
        ([1, [2, 3]], [1, [2, 4]], False),
        ([1, [2, 3]], [1, [2]], False),
        ([1, 2], [2, 1], False),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, False),
        ({"a": {"b": 1}}, {"a": {"b": True}}, False),
        ([{"a": None}], [{"a": None}], True),
        ([{"a": None}], [{"a": False}], False),
        ([], {}, False),
        ("1", 1, False),
    ],
)
def test_json_values_are_equal_to_their_depths(value, other, equal):
    """Every element and member is compared; 1 equals 1.0, and not true."""
    assert (parse_json_rules({"eq": other}).why_not(value, json.dumps) is None) is equal
    assert (parse_json_rules({"ne": other}).why_not(value, json.dumps) is None) is not equal


@pytest.mark.parametrize(
    ("value", "part", "holds"),
    [
        ("a1", "1", True),
        ("a1", 1, False),
        ("a1", "2", False),
        ({"a": 1}, "a", True),
        ({"a": 1}, "b", False),
        ({"a": 1}, 1, False),
        ([1, {"a": [2]}], {"a": [2]}, True),
        ([1, {"a": [2]}], {"a": [3]}, False),
        ([1], True, False),
    ],
)
def test_what_a_json_value_contains(value, part, holds):
    """A text contains texts, an object its keys, and a list whatever equals an element."""
    why = parse_json_rules({"contains": [part]}).why_not(value, json.dumps)
    assert why == (None if holds else f"{json.dumps(value)} does not contain {json.dumps(part)}")
