"""
CSS selectors on HTML: finds the texts of the selected elements in one pass.

Runs in the worker processes. It builds no tree. lxml reports each element at its start, and that is
enough to know which parts of the selector it fulfils: the cost of any page grows only with its
length. Engines that search a tree take minutes for a megabyte of hostile HTML.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cssselect
from cssselect.parser import (
    Attrib,
    Class,
    CombinedSelector,
    Element,
    Function,
    Hash,
    Matching,
    Negation,
    Pseudo,
    Relation,
    SpecificityAdjustment,
    parse_series,
)

from monitor.analysis.seen import Unseen

_LONGEST = 1000
_DEEPEST = 500
"""Levels of elements; the same limit as for JSON, see body.py."""
_HIDDEN = frozenset({"script", "style"})


@dataclass(frozen=True, slots=True)
class _Beginning:
    """An element with its tag read, and its position among its parent's children, from 1."""

    tag: str
    attributes: Mapping[str, str]
    place: int
    place_of_type: int


_Test = Callable[[_Beginning], bool]


@dataclass(frozen=True, slots=True)
class _Step:
    """
    A compound of the selector, such as ``p.note`` in ``div > p.note``.

    Attributes:
        bit: Its bit in the bit sets of _Open.
        relation: The combinator before it: ``>``, ``+``, ``~`` or a space; empty for the first.
        needs: The bit of the compound before it.
        last: Whether an element that fulfils it is selected.
    """

    bit: int
    relation: str
    needs: int
    tests: tuple[_Test, ...]
    last: bool


@dataclass(slots=True)
class _Open:
    """
    An element that has not ended yet; each bit set holds the steps that are fulfilled.

    Attributes:
        own: Fulfilled by the element.
        around: Fulfilled by it or an element around it.
        previous: Fulfilled by its last child so far.
        before: Fulfilled by any child so far.
        places: Number of children so far, by tag.
    """

    own: int = 0
    around: int = 0
    previous: int = 0
    before: int = 0
    children: int = 0
    places: dict[str, int] = field(default_factory=dict)

    def allows(self, step: _Step) -> bool:
        """Return whether the next child may fulfil the step, judged by its position."""
        match step.relation:
            case "":
                return True
            case ">":
                return bool(self.own & step.needs)
            case "+":
                return bool(self.previous & step.needs)
            case "~":
                return bool(self.before & step.needs)
        return bool(self.around & step.needs)


def parse_selector(value: Any) -> str:
    """
    Return a CSS selector that pick() understands.

    Raises:
        ValueError: It is not a selector, or depends on what comes after an element.
    """
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a CSS selector; put it in quotes")
    _compiled(value)
    return value


def pick(selector: str, text: str) -> list[str]:
    """
    Return the text of each selected element, white space collapsed.

    The texts of elements inside it are separated by a space; scripts and styles are omitted. A
    selected element inside another selected one is not repeated.

    Raises:
        Unseen: No element is selected, or elements nest deeper than 500 levels.
    """
    from lxml import etree  # noqa: PLC0415  a worker whose sites select nothing does without it

    picker = _Picker(_compiled(selector))
    # Without the limits of huge_tree, a text of ten million bytes ends the document silently
    parser = etree.HTMLParser(
        target=picker,  # type: ignore[arg-type]  # comment is optional, whatever lxml-stubs say
        encoding="utf-8",
        huge_tree=True,
    )
    etree.fromstring(text.encode(), parser)
    return [" ".join("".join(parts).split()) for parts in picker.texts]


class _Picker:
    """Receives the elements from lxml; its methods have the names that lxml calls."""

    def __init__(self, steps: tuple[_Step, ...]) -> None:
        self.texts: list[list[str]] = []
        self._steps = steps
        self._stack = [_Open()]
        self._picked = 0  # depth of the selected element that is being read
        self._hidden = 0  # depth of a script in it

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        parent = self._stack[-1]
        if len(self._stack) > _DEEPEST:
            raise Unseen(f"body nests elements deeper than {_DEEPEST} levels")
        parent.children += 1
        parent.places[tag] = parent.places.get(tag, 0) + 1
        one = _Beginning(tag, attributes, parent.children, parent.places[tag])
        own = picked = 0
        for step in self._steps:
            if parent.allows(step) and all(test(one) for test in step.tests):
                own |= step.bit
                picked |= step.last
        parent.previous = own
        parent.before |= own
        self._stack.append(_Open(own=own, around=parent.around | own))
        if self._picked:
            self.texts[-1].append(" ")
            if not self._hidden and tag in _HIDDEN:
                self._hidden = len(self._stack)
        elif picked:
            self._picked = len(self._stack)
            self.texts.append([])

    def data(self, text: str) -> None:
        if self._picked and not self._hidden:
            self.texts[-1].append(text)

    def end(self, _: str) -> None:
        depth = len(self._stack)
        if self._hidden == depth:
            self._hidden = 0
        if self._picked == depth:
            self._picked = 0
        elif self._picked:
            self.texts[-1].append(" ")
        self._stack.pop()

    def close(self) -> None:
        """Do nothing; lxml requires this method."""


# ---------------------------------------------------------------- reading selectors


@lru_cache(maxsize=1024)
def _compiled(selector: str) -> tuple[_Step, ...]:
    if len(selector) > _LONGEST:
        raise ValueError(f"a selector has at most {_LONGEST} characters")
    try:
        parsed = cssselect.parse(selector)
    except cssselect.SelectorError as error:
        raise ValueError(f"{selector!r} is not a CSS selector: {error}") from error
    steps: list[_Step] = []
    for one in parsed:
        if one.pseudo_element is not None:
            raise _refused(f"::{one.pseudo_element}")
        relation, needs = "", 0
        chain = list(_chain(one.parsed_tree))
        for place, (compound, following) in enumerate(chain):
            bit = 1 << len(steps)
            last = place == len(chain) - 1
            steps.append(_Step(bit, relation, needs, tuple(_tests(compound)), last))
            relation, needs = following, bit
    return tuple(steps)


def _chain(tree: Any) -> list[tuple[Any, str]]:
    """Return the compounds from left to right, each with the combinator after it."""
    chain = []
    following = ""
    while isinstance(tree, CombinedSelector):
        chain.append((tree.subselector, following))
        following = tree.combinator
        tree = tree.selector
    chain.append((tree, following))
    return chain[::-1]


def _tests(tree: Any) -> Iterator[_Test]:
    while not isinstance(tree, Element):
        yield _test(tree)
        tree = tree.selector
    if tree.namespace is not None:
        raise _refused(f"{tree.namespace}|")
    if tree.element is not None:
        name = tree.element.lower()
        yield lambda one: one.tag == name


def _test(part: Any) -> _Test:  # noqa: PLR0911  a case, a kind
    match part:
        case Hash(id=name):
            return lambda one: one.attributes.get("id") == name
        case Class(class_name=name):
            return lambda one: name in one.attributes.get("class", "").split()
        case Attrib():
            return _attribute_test(part)
        case Pseudo(ident="first-child"):
            return lambda one: one.place == 1
        case Pseudo(ident="first-of-type"):
            return lambda one: one.place_of_type == 1
        case Function(name="nth-child"):
            fits = _series(part)
            return lambda one: fits(one.place)
        case Function(name="nth-of-type"):
            fits = _series(part)
            return lambda one: fits(one.place_of_type)
        case Negation(subselector=inner):
            refused = tuple(_tests(_alone(inner)))
            return lambda one: not all(test(one) for test in refused)
        case Matching(selector_list=inner) | SpecificityAdjustment(selector_list=inner):
            choices = [tuple(_tests(_alone(each))) for each in inner]
            return lambda one: any(all(test(one) for test in choice) for choice in choices)
        case Pseudo(ident=name) | Function(name=name):
            raise _refused(f":{name}")
        case Relation():
            raise _refused(":has")
    raise _refused(type(part).__name__)


def _alone(tree: Any) -> Any:
    if isinstance(tree, CombinedSelector):
        raise _refused(f"{tree.combinator!r} within :not or :is")
    return tree


def _attribute_test(part: Attrib) -> _Test:
    if part.namespace is not None:
        raise _refused(f"{part.namespace}|")
    name = part.attrib.lower()
    if part.operator == "exists":
        return lambda one: name in one.attributes
    wanted = (part.value.value if part.value else None) or ""
    try:
        compare = _COMPARISONS[part.operator]
    except KeyError:
        raise _refused(part.operator) from None
    return lambda one: name in one.attributes and compare(one.attributes[name], wanted)


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "=": lambda value, wanted: value == wanted,
    "~=": lambda value, wanted: wanted in value.split(),
    "|=": lambda value, wanted: value == wanted or value.startswith(f"{wanted}-"),
    # By the standard, an empty text begins and ends nothing
    "^=": lambda value, wanted: wanted != "" and value.startswith(wanted),
    "$=": lambda value, wanted: wanted != "" and value.endswith(wanted),
    "*=": lambda value, wanted: wanted != "" and wanted in value,
}


def _series(part: Function) -> Callable[[int], bool]:
    try:
        step, first = parse_series(part.arguments)
    except ValueError as error:
        raise _refused(f":{part.name}() with these arguments") from error
    if step == 0:
        return lambda place: place == first
    return lambda place: (place - first) % step == 0 and (place - first) // step >= 0


def _refused(what: str) -> ValueError:
    return ValueError(
        f"CSS selectors have no {what} here, only tags, #id, .class, [attribute], :not, :is, "
        ":first-child, :nth-child, :first-of-type, :nth-of-type, and what joins them"
    )
