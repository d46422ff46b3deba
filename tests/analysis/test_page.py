"""CSS selectors on pages that were written for people, and on pages that were written for us."""

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
    """What people see of the elements, white space collapsed, nothing twice."""
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
    """What is decided only by what comes later, and what is none at all, is said at once."""
    with pytest.raises(ValueError, match=why):
        parse_selector(selector)


@given(st.text() | st.text(alphabet="abp#.[]=~|^$*:()+> ,-n1\"'\\", max_size=40))
def test_any_text_is_a_selector_or_a_sentence(text):
    """No text makes reading raise anything but ValueError; what was read can be used."""
    with suppress(ValueError):
        for picked in pick(parse_selector(text), PAGE):
            assert picked == " ".join(picked.split())


@given(st.text() | st.text(alphabet="<>/=\"' &;#!-abdivptrsc\0\n"))
def test_any_text_is_a_page(text):
    """No page makes picking raise."""
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
    with suppress(Unseen):  # the nested ones
        pick(selector, unit * (MEBIBYTE // len(unit)))
    assert time.monotonic() - started < 20


def test_deep_pages_are_left_at_500_levels():
    """A page that nests that deep was not made for people; it is said."""
    assert pick("i", "<p>" + "<div>" * 400 + "<i>x") == ["x"]
    with pytest.raises(Unseen, match="body nests elements deeper than 500 levels"):
        pick("i", "<div>" * 600 + "<i>x")


def test_one_tag_of_a_mebibyte_holds_nobody():
    """A hundred thousand attributes are read in no more than linear time."""
    tag = "".join(f" a{number}=1" for number in range(100_000))
    started = time.monotonic()
    assert pick("[a99999]", f"<p{tag}>x</p>") == ["x"]
    assert time.monotonic() - started < 20


def test_long_texts_are_read_to_their_end():
    """Where the library would end a document silently, at ten million bytes, it does not."""
    assert pick("i", f"<p>{'x' * 11_000_000}</p><i>end</i>") == ["end"]
