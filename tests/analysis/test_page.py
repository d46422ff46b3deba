"""CSS selectors, applied to pages written for people and to pages written to attack."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.analysis.page import parse_selector, pick
from monitor.analysis.seen import Unseen

PAGE = """
<!doctype html><html lang="en-GB"><body>
<div id="main" class="wide  note" data-kind="a b">
  <p class="note">first <b>bold</b></p>
  <p>second<script>var x = "<p>";</script> half</p>
  <ul><li>one</li><li class="here">two</li><li>three</li></ul>
  <P Class="note">third</P>
</div>
<table><tr><td>1</td><td>23</td></tr></table>
<a href="/download/v2.zip">get</a><a href="">none</a>
</body></html>
"""


@pytest.mark.parametrize(
    ("selector", "texts"),
    [
        ("#main > p.note", ["first bold", "third"]),
        ("p", ["first bold", "second half", "third"]),
        ("div b, li.here", ["bold", "two"]),
        ("body li", ["one", "two", "three"]),
        ("li + li", ["two", "three"]),
        ("li.here ~ li", ["three"]),
        ("li:first-child", ["one"]),
        ("li:nth-child(2n+1)", ["one", "three"]),
        ("li:nth-child(-n+2)", ["one", "two"]),
        ("div > :nth-child(3) > li:nth-of-type(2)", ["two"]),
        ("p:first-of-type", ["first bold"]),
        ("p:not(.note)", ["second half"]),
        (":is(b, .here)", ["bold", "two"]),
        ("[data-kind~=b] b", ["bold"]),
        ("[lang|=en] b", ["bold"]),
        ("a[href^='/down'][href$=zip][href*=v2]", ["get"]),
        ("a[href='']", ["none"]),
        ("a[href^='']", []),
        ("a[name]", []),
        ("table", ["1 23"]),
        ("div, p", ["first bold second half one two three third"]),
        ("script", ['var x = "<p>";']),
        ("h1", []),
    ],
)
def test_a_selector_picks_texts(selector, texts):
    """It picks the texts that people see, with white space collapsed and nothing twice."""
    assert pick(parse_selector(selector), PAGE) == texts


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ("li:last-child", "have no :last-child here"),
        ("a::before", "have no ::before here"),
        ("a:hover", "have no :hover here"),
        ("div:has(p)", "have no :has here"),
        ("svg|a", r"have no svg\| here"),
        ("[svg|a=b]", r"have no svg\| here"),
        ("a:not(b c)", "within :not"),
        ("a[b!=c]", "have no != here"),
        ("li:nth-child(x)", "with these arguments"),
        ("a[", "is not a CSS selector"),
        ("", "is not a CSS selector"),
        ("a" * 1001, "at most 1000 characters"),
        (7, "put it in quotes"),
    ],
)
def test_other_selectors_are_refused(selector, why):
    """A selector that depends on later content or is not valid is refused when it is read."""
    with pytest.raises(ValueError, match=why):
        parse_selector(selector)


@given(st.text() | st.text(alphabet="abp#.[]=~|^$*:()+> ,-n1\"'\\", max_size=40))
def test_any_text_is_a_selector_or_a_sentence(text):
    """No text makes the parser raise anything but ValueError, and what it accepts can be used."""
    with suppress(ValueError):
        for picked in pick(parse_selector(text), PAGE):
            assert picked == " ".join(picked.split())


@given(st.text() | st.text(alphabet="<>/=\"' &;#!-abdivptrsc\0\n"))
def test_any_text_is_a_page(text):
    """No page makes picking raise an exception."""
    for picked in pick("p, div > *, [a]", text):
        assert picked == " ".join(picked.split())


MEBIBYTE = 1 << 20
HOSTILE = {
    "siblings": "<li>",
    "nested": "<div>",
    "misnested": "<a><b></a></b>",
    "noted": "<nobr><b></nobr>",
    "attributes": "<p a=1 b=2>",
    "open": "<",
    "comments": "<!--",
    "entities": "&amp",
    "null": "\0",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_no_page_holds_a_worker(unit):
    """A mebibyte of anything takes about a second; a search in a tree would take minutes."""
    selector = "li ~ li, div div div div p, p:nth-of-type(2n+1) > b, .a .b .c"
    started = time.monotonic()
    with suppress(Unseen):  # the deeply nested ones
        pick(selector, unit * (MEBIBYTE // len(unit)))
    assert time.monotonic() - started < 20


def test_deep_pages_are_left_at_500_levels():
    """A page with deeper nesting was not made for people, and gets an error."""
    assert pick("i", "<p>" + "<div>" * 400 + "<i>x") == ["x"]
    with pytest.raises(Unseen, match="body nests elements deeper than 500 levels"):
        pick("i", "<div>" * 600 + "<i>x")


def test_one_tag_of_a_mebibyte_does_not_hold_a_worker():
    """Reading 100,000 attributes takes at most linear time."""
    tag = "".join(f" a{number}=1" for number in range(100_000))
    started = time.monotonic()
    assert pick("[a99999]", f"<p{tag}>x</p>") == ["x"]
    assert time.monotonic() - started < 20


def test_long_texts_are_read_to_their_end():
    """The library's default would silently end a document at 10,000,000 bytes."""
    assert pick("i", f"<p>{'x' * 11_000_000}</p><i>end</i>") == ["end"]
