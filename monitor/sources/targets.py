"""Turns Prometheus' target groups, from file_sd and http_sd, into entries. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from monitor.discovered import ListedSite
from monitor.sources.ports import ReadYaml, UnreadableError

SITE = "site"
_OPTION = "__monitor_"
"""Labels with this prefix are keys of the site; their values are YAML."""
_SCHEME = "__scheme__"
_OF_PROMETHEUS = frozenset({"job", "instance"})
"""Prometheus sets these itself for its targets."""


def entries_of(
    document: Any, *, scheme: str | None, labels: Mapping[str, str], read_yaml: ReadYaml
) -> Iterator[ListedSite]:
    """
    Yield the entry of each target.

    Args:
        scheme: For targets without one.
        labels: Labels of every site, unless its group sets them differently.

    Raises:
        UnreadableError: It is not a list of groups.
    """
    if not isinstance(document, list):
        raise UnreadableError(
            'must be a list of groups such as [{"targets": ["https://example.com"]}]'
        )
    for number, group in enumerate(document):
        yield from _group(group, f"[{number}]", scheme, labels, read_yaml)


def _group(
    group: Any, place: str, scheme: str | None, labels: Mapping[str, str], read_yaml: ReadYaml
) -> Iterator[ListedSite]:
    if not isinstance(group, dict) or not isinstance(group.get("targets"), list):
        yield ListedSite({}, place, "must be a mapping with a list of targets")
        return
    own = group.get("labels") or {}
    if not isinstance(own, dict) or not all(isinstance(one, str) for one in own.values()):
        yield ListedSite({}, f"{place}.labels", "must be a mapping of labels, each a text")
        return
    try:
        keys = site_keys(own, read_yaml)
    except ValueError as error:
        yield ListedSite({}, f"{place}.labels", str(error))
        return
    written = {
        key: value
        for key, value in own.items()
        if not key.startswith("__") and key not in _OF_PROMETHEUS
    }
    given = keys.pop("labels", {})
    together = {**labels, **written, **(given if isinstance(given, dict) else {})}
    for index, target in enumerate(group["targets"]):
        there = f"{place}.targets[{index}]"
        if not isinstance(target, str):
            yield ListedSite({}, there, "must be a text such as https://example.com")
            continue
        chosen = own.get(_SCHEME) or scheme
        url = target if "://" in target or chosen is None else f"{chosen}://{target}"
        yield ListedSite({**keys, "url": url, "labels": together}, there)


def site_keys(labels: Mapping[str, str], read_yaml: ReadYaml) -> dict[str, Any]:
    """
    Return the keys of a site from labels ``__monitor_…``.

    Raises:
        ValueError: One is not YAML, or ``__monitor_site`` is not a mapping.
    """
    keys: dict[str, Any] = {}
    for name in sorted(labels, key=lambda name: name != _OPTION + SITE):
        if not name.startswith(_OPTION):
            continue
        key = name.removeprefix(_OPTION)
        if key == SITE:
            keys.update(fragment(labels[name], name, read_yaml))
        elif key in {"name", "group"}:
            keys[key] = labels[name]
        else:
            keys[key] = read_yaml(labels[name].encode(), name)
    return keys


def fragment(text: str, name: str, read_yaml: ReadYaml) -> dict[str, Any]:
    """
    Return the keys of a site from a YAML text.

    Raises:
        ValueError: It is not YAML, or not a mapping.
    """
    keys = read_yaml(text.encode(errors="replace"), name)
    if not isinstance(keys, dict):
        raise ValueError(f"{name}: must be a mapping of a site's keys, such as {{interval: 30s}}")
    return keys
