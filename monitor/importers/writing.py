"""A drafted list as YAML that a person would have written: common values once, short lines."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from monitor.importers.draft import ListDraft, SiteDraft, written
from monitor.options import parse_duration

_WIDTH = 88
"""Columns per line; longer entries are written on several lines."""
_NO_WRAP = 1_000_000
_ORDER = (
    "name", "was", "url", "group", "labels", "interval", "timeout", "confirm", "notify",
    "maintenance", "connectivity", "http", "ws", "tcp", "push", "dns", "icmp", "grpc",
    "tls", "network", "expect",
)  # fmt: skip
_BUILT_IN: Mapping[str, Any] = {
    "interval": "1m",
    "timeout": "10s",
    "confirm": {"failures": 1, "successes": 1},
    "maintenance": [],
}
"""The values if nothing is written, for the keys that may move into ``defaults``."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class Dumper(yaml.SafeDumper):
    """Writes texts with line ends in quotes that have escapes for them."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        plain = "\n" not in text
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  a mapping that is met twice
        return True


Dumper.add_representer(str, Dumper.represent_text)


def listed(draft: ListDraft, *, with_files: bool = True) -> str:
    """
    Return the list as text; it is a file of ours.

    Args:
        with_files: Whether to include what depends on the machine: options that name files, and
            receivers, which may need an extra package.
    """
    lines = [_comment(draft.title)]
    if draft.secrets.values:
        lines.append("# Secrets are variables of the environment: ${NAME}.")
    if draft.remarks:
        lines += ["#", "# Not carried:", *(_comment(one, "#   ") for one in draft.remarks)]
    sites = [_ordered(_plain(one.keys)) for one in draft.kept]
    if not with_files:
        sites = [_without_files(one) for one in sites]
    top = _plain(draft.top)
    if not with_files:
        top.pop("notify", None)
    defaults = {key: _plain(value) for key, value in draft.always.items()}
    defaults |= _hoisted(sites, [one["name"] for one in top.get("notify", {}).get("receivers", [])])
    for key, value in [("defaults", defaults), *top.items()]:
        if value:
            lines += ["", *_entry(key, value, 0)]
    lines += ["", "sites:"]
    kept = iter(sites)
    before_long = False
    for one in draft.sites:
        block = _site_lines(one, None if one.left_out is not None else next(kept))
        long = len(block) > 1
        if lines[-1] != "sites:" and (long or before_long):
            lines.append("")
        lines += block
        before_long = long
    return "\n".join(lines) + "\n"


def _site_lines(draft: SiteDraft, keys: dict[str, Any] | None) -> list[str]:
    if keys is None:
        said = [_comment(f"{draft.item} is left out: {draft.left_out}", "  # ")]
        if draft.shown:
            said.append(_comment(f"- {_flow(_ordered(draft.keys))}", "  #   "))
        return said
    lines = [_comment(one, "  # ") for one in draft.remarks]
    short = f"  - {_flow(keys)}"
    if len(short) <= _WIDTH and _is_flat(keys):
        return [*lines, short]
    inner = [line for key, value in keys.items() for line in _entry(key, value, 4)]
    return [*lines, f"  - {inner[0][4:]}", *inner[1:]]


def _is_flat(keys: Mapping[str, Any]) -> bool:
    """Return whether a site is short enough for one line."""
    nested = [value for value in keys.values() if isinstance(value, dict)]
    return len(keys) <= 4 and len(nested) <= 1  # noqa: PLR2004  what a line holds at a glance


def _entry(key: str, value: Any, indent: int) -> list[str]:
    """Return a key with its value: in one line if it fits, in several otherwise."""
    pad = " " * indent
    name = _flow(key)
    flat = f"{pad}{name}: {_flow(value)}"
    if not isinstance(value, dict | list) or not value:
        return [flat]
    if len(flat) <= _WIDTH and (indent or isinstance(value, list)) and _depth(value) <= 3:  # noqa: PLR2004  still readable
        return [flat]
    if isinstance(value, dict):
        inner = [line for k, one in value.items() for line in _entry(str(k), one, indent + 2)]
        return [f"{pad}{name}:", *inner]
    lines = [f"{pad}{name}:"]
    for one in value:
        line = f"{pad}  - {_flow(one)}"
        if len(line) <= _WIDTH or not isinstance(one, dict):
            lines.append(line)
            continue
        inner = [line for k, item in one.items() for line in _entry(str(k), item, indent + 4)]
        lines += [f"{pad}  - {inner[0].lstrip()}", *inner[1:]]
    return lines


def _depth(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, below), default=0) if isinstance(value, dict | list) else 0


def _flow(value: Any) -> str:
    text: str = yaml.dump(
        value,
        Dumper=Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=_NO_WRAP,
    )
    return text.removesuffix("\n").removesuffix("\n...").rstrip("\n")


def _without_files(site: dict[str, Any]) -> dict[str, Any]:
    tls = {key: value for key, value in site.get("tls", {}).items() if not key.endswith("_file")}
    left = {key: value for key, value in site.items() if key not in ("tls", "notify")}
    return {**left, "tls": tls} if tls else left


def _comment(text: str, mark: str = "# ") -> str:
    return f"{mark}{_CONTROL.sub(' ', written(text))}"


def _plain(value: Any) -> Any:
    """Return the value with its references and dollars as written in our files."""
    if isinstance(value, str):
        return written(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


# ---------------------------------------------------------------- defaults


def _hoisted(sites: list[dict[str, Any]], receivers: list[str]) -> dict[str, Any]:
    """Move values that most sites share into defaults, and return these."""
    defaults: dict[str, Any] = {}
    for key, built_in in {**_BUILT_IN, "notify": receivers}.items():
        these = [site for site in sites if _takes(site, key)]
        values = [_flow(site.get(key, built_in)) for site in these]
        counts = Counter("" if _is_same(flow, built_in) else flow for flow in values)
        common, many = max(counts.items(), key=lambda one: (one[1], one[0] == ""), default=("", 0))
        if common == "" or many < 2 or many * 2 <= len(these):  # noqa: PLR2004  a value of one site
            _forget_built_in(these, key, built_in)
            continue
        defaults[key] = next(site[key] for site in these if _flow(site.get(key)) == common)
        for site in these:
            if key not in site:
                _insert(site, key, built_in)
            elif _flow(site[key]) == common:
                del site[key]
    return defaults


def _takes(site: Mapping[str, Any], key: str) -> bool:
    """Return whether a site uses the key: a site that reports itself is not contacted."""
    return not (key in ("interval", "timeout") and str(site["url"]).startswith("push:"))


def _forget_built_in(sites: list[dict[str, Any]], key: str, built_in: Any) -> None:
    for site in sites:
        if key in site and _is_same(_flow(site[key]), built_in):
            del site[key]


def _is_same(flow: str, built_in: Any) -> bool:
    if not isinstance(built_in, str):
        return flow == _flow(built_in)
    return _seconds(flow) == _seconds(built_in)


def _seconds(text: Any) -> float | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _insert(site: dict[str, Any], key: str, value: Any) -> None:
    ordered = _ordered({**site, key: value})
    site.clear()
    site.update(ordered)


def _ordered(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key: keys[key] for key in _ORDER if key in keys}
