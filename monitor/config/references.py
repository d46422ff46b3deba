"""Checks the names of receivers and other sites; rules that span the whole list."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from monitor.config.decoder import DEFAULTS
from monitor.config.nodes import KeyValue, MappingNode, Node, SequenceNode
from monitor.config.problems import KeyPath, Problems
from monitor.config.sites import SiteFound
from monitor.model import Site
from monitor.notify import ReceiverOptions
from monitor.options import OptionError, unknown


def check_receivers(
    found: Iterable[SiteFound], receivers: Collection[str], problems: Problems
) -> None:
    """Report names under ``notify`` that no receiver has."""
    for one in found:
        for number, name in enumerate(one.site.notify or ()):
            if name not in receivers:
                _report(one, "notify", number, _unknown("receiver", name, receivers), problems)


def try_receivers(
    entries: Mapping[str, KeyValue],
    receivers: Sequence[ReceiverOptions],
    check: Callable[[ReceiverOptions], None] | None,
    problems: Problems,
) -> None:
    """
    Report receivers whose options the program that sends to them cannot use.

    Args:
        entries: The entry ``notify``, if it exists.
        check: Raises OptionError with the keys below the receiver.
    """
    if check is None:
        return
    for number, receiver in enumerate(receivers):
        try:
            check(receiver)
        except OptionError as error:
            node: Node = entries["notify"].value
            path: KeyPath = ("notify", "receivers", number, *error.keys)
            for step in path[1:]:
                if isinstance(node, MappingNode) and step in node.entries:
                    node = node.entries[str(step)].value
                elif isinstance(node, SequenceNode) and isinstance(step, int):
                    node = node.items[step]
            problems.add(node, path, str(error))


def with_parents(
    sites: Sequence[Site],
    found: Mapping[str, SiteFound],
    problems: Problems,
    *,
    open_list: bool,
) -> list[Site]:
    """
    Return the sites, each with the names of those that it depends on.

    Args:
        found: Those of them that depend on others, by name.
        open_list: Whether sources may list more sites, whose names are not known now.
    """
    found = {name: one for name, one in found.items() if one.parents}
    if not found:
        return list(sites)
    names = {site.name for site in sites}
    labelled: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        for label in (*site.labels, ("group", site.group)):
            labelled.setdefault(label, []).append(site.name)
    parents = {
        name: _parents(one, None if open_list else names, labelled, problems)
        for name, one in found.items()
    }
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        # From parent to child; the first one is repeated at the end
        circle = error.args[1][::-1]
        start = min(circle[:-1], key=list(parents).index)
        at = circle.index(start)
        way = " -> ".join((*circle[at:-1], *circle[:at], start))
        entry = found[start].entries["depends_on"]
        problems.add(
            entry.value,
            (*_start(found[start], entry), "depends_on"),
            f"goes in a circle: {way}; leave one of these out",
        )
    return [
        replace(site, depends_on=parents[site.name]) if site.name in parents else site
        for site in sites
    ]


def _parents(
    one: SiteFound,
    names: Collection[str] | None,
    labelled: Mapping[tuple[str, str], list[str]],
    problems: Problems,
) -> tuple[str, ...]:
    own, chosen = one.site.name, dict[str, None]()
    inherited = one.entries["depends_on"].inherited
    for number, parent in enumerate(one.parents):
        if isinstance(parent, tuple):
            some = labelled.get(parent, ())
            if not some and names is not None:
                message = f"no site has the label {parent[0]}: {parent[1]}"
                _report(one, "depends_on", number, message, problems)
            chosen.update(dict.fromkeys(name for name in some if name != own))
        elif parent == own:
            # defaults apply to all sites of the file, so also to this one
            if not inherited:
                _report(one, "depends_on", number, "a site cannot depend on itself", problems)
        elif names is None or parent in names:
            chosen[parent] = None
        else:
            _report(one, "depends_on", number, _unknown("site", parent, names), problems)
    return tuple(chosen)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    return f"{name!r}: {unknown(what, name, known)}"


def _report(one: SiteFound, key: str, number: int, message: str, problems: Problems) -> None:
    entry = one.entries[key]
    problems.add(_item(entry.value, number), (*_start(one, entry), key, number), message)


def _item(node: Node, number: int) -> Node:
    return node.items[number] if isinstance(node, SequenceNode) else node


def _start(one: SiteFound, entry: KeyValue) -> KeyPath:
    return DEFAULTS if entry.inherited else one.path[:2]
