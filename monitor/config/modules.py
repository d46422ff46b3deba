"""
Modules: options without a site, for targets requested through ``/probe``.

A module is written like a site, without the keys that only a list needs (name, interval, labels …).
The modules that blackbox_exporter ships exist here too, by its names, so that scrape configurations
keep working.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.config.address import parse_site_url
from monitor.config.decoder import Decoder, Forms
from monitor.config.keys import PLACE, Tables
from monitor.config.mask import masked_lines
from monitor.config.nodes import KeyValue, MappingNode, Node, Scalar
from monitor.config.problems import KeyPath, Problems, YamlFile
from monitor.config.sites import SiteReader
from monitor.config.substitute import Substitution
from monitor.grammar import is_ipv6
from monitor.model import ProbeKind, Site
from monitor.options import unknown
from monitor.protocols.table import SCHEMES
from monitor.secrecy import every_form, longest_first
from monitor.units import Seconds

DEFAULT_MODULE = "http_2xx"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

SHIPPED = """
http_2xx: {}
http_post_2xx: {http: {method: POST}}
http_3xx: {url: "https://{target}", http: {version: "3"}, expect: {http_version: "3"}}
tcp_connect: {url: "tcp://{target}"}
tls: {url: "tls://{target}"}
dns: {url: "dns://{target}", dns: {edns: false}}
icmp: {url: "icmp://{target}", icmp: {count: 1}}
icmp_ttl5: {url: "icmp://{target}", timeout: 5s, icmp: {count: 1, ttl: 5}}
grpc: {url: "grpcs://{target}"}
grpc_plain: {url: "grpc://{target}"}
websocket: {url: "ws://{target}"}
postgresql: {url: "tls://{target}", tls: {starttls: postgres}}
pop3s_banner: {url: "tls://{target}", tcp: {dialogue: [{expect: '^\\+OK'}]}}
ssh_banner:
  url: tcp://{target}
  tcp:
    dialogue:
      - expect: ^SSH-2\\.0-
      - send: "SSH-2.0-website-monitor\\n"
ssh_banner_extract:
  url: tcp://{target}
  timeout: 5s
  tcp:
    dialogue:
      - expect: '^SSH-2\\.0-(?P<ssh_version>[^ -]+)(?: (?P<ssh_comments>.*))?$'
irc_banner:
  url: tcp://{target}
  tcp:
    dialogue:
      - send: NICK prober
      - send: "USER prober prober prober :prober"
      - expect: "PING :([^ ]+)"
      - send: 'PONG \\1'
      - expect: ^:[^ ]+ 001
"""
"""Built-in modules, by the names of blackbox_exporter; a user's module replaces one by its name."""


def default_module(target: str) -> str:
    """Return the name of the module for a request that names none."""
    match = _SCHEME.match(target)
    scheme = match[1].lower() if match else ""
    protocol = SCHEMES.get(scheme)
    return protocol.schemes[scheme] if protocol else DEFAULT_MODULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """
    Options for a target that a client of /probe names.

    Attributes:
        url: The URL into which a target without a scheme is put.
        shown_url: The same without secrets.
        scheme: The URL's; targets with a scheme must be of the same probe.
        options, expect, reads_body, secrets: As for a site.
        timeout: None if only the client sets a limit.
        masked: The module as YAML, without secrets.
    """

    name: str
    url: str
    shown_url: str
    scheme: str
    options: tuple[object, ...]
    expect: tuple[tuple[str, Any], ...]
    reads_body: bool
    timeout: Seconds | None
    secrets: tuple[str, ...]
    masked: str

    def site(
        self, target: str, *, name: str, timeout: Seconds, probes: Mapping[str, ProbeKind]
    ) -> Site:
        """
        Return the site for a target.

        Raises:
            ValueError: This module cannot check the target; the message says why.
        """
        host = f"[{target}]" if is_ipv6(target) else target
        whole = _SCHEME.match(target) is not None
        url = target if whole else self.url.replace(PLACE, host)
        shown = url if whole else self.shown_url.replace(PLACE, host)
        node = Scalar(YamlFile(Path(), "target"), 1, 1, url, substitution=Substitution(url, shown))
        address = parse_site_url(node, probes)
        if probes[address.scheme] is not probes[self.scheme]:
            raise ValueError(
                f"has the scheme {address.scheme}, and module {self.name!r} is for {self.scheme}"
            )
        return Site(
            name=name,
            url=address.url,
            target=address.target,
            scheme=address.scheme,
            timeout=timeout,
            options=self.options,
            expect=self.expect,
            reads_body=self.reads_body,
            secrets=longest_first({*self.secrets, *every_form(address.secrets)}),
        )


class ModuleReader:
    """Creates the modules of one load; one with a problem is reported and skipped."""

    def __init__(
        self,
        tables: Tables,
        forms: Forms,
        decoder: Decoder,
        problems: Problems,
        sites: SiteReader,
    ) -> None:
        self._tables = tables
        self._forms = forms
        self._decoder = decoder
        self._problems = problems
        self._sites = sites
        self._known = (*forms.module.fields, *forms.section_keys(), "expect")

    def read(self, name: str, item: Node, path: KeyPath) -> tuple[Module, tuple[Path, ...]] | None:
        """Return a module and the files it names; None if it is bad, with each problem reported."""
        before = len(self._problems)
        if not isinstance(item, MappingNode):
            self._problems.add(item, path, "must be a mapping; a module without options is {}")
            return None
        self._check_keys(item, path)
        own = _only(item, self._forms.module.fields)
        keys = self._decoder.decode(self._forms.module, own, path, inherited=False)
        if keys is None:
            return None
        scheme = keys.value.url.partition("://")[0]
        if scheme not in self._tables.probes:
            placed = item.entries["url"].value
            message = unknown("scheme", scheme, self._tables.probes)
            self._problems.add(placed, (*path, "url"), message)
            return None
        if SCHEMES[scheme].reports_itself:
            message = f"{scheme} sites report themselves; a module cannot ask them"
            self._problems.add(item.entries["url"].value, (*path, "url"), message)
            return None
        rest = _only(item, (*self._forms.section_keys(), "expect"))
        options = list(self._sites.sections(rest, scheme, path))
        expect = list(self._sites.expectations(rest, scheme, path))
        self._sites.check_known(rest, scheme, path)
        if len(self._problems) > before:
            return None
        parts = [keys, *options, *(part for _, part in expect)]
        kinds = self._tables.expectations
        module = Module(
            name=name,
            url=keys.value.url,
            shown_url=_shown(item, keys.value.url),
            scheme=scheme,
            options=tuple(part.value for part in options),
            expect=tuple((key, part.value) for key, part in expect),
            reads_body=any(kinds[key].needs_body(part.value) for key, part in expect),
            timeout=keys.value.timeout,
            secrets=every_form(secret for part in parts for secret in part.secrets),
            masked="\n".join(masked_lines(item, self._forms.shown_site())) or "{}",
        )
        return module, tuple(file for part in parts for file in part.files)

    def _check_keys(self, item: MappingNode, path: KeyPath) -> None:
        for key, entry in item.entries.items():
            if key in self._known:
                continue
            message = unknown("option", key, self._known)
            if key in self._forms.site.fields or key in self._forms.readings:
                message = "belongs to a site, not to a module"
            self._problems.add(entry.key, (*path, key), message)


def _only(node: MappingNode, keys: Any) -> MappingNode:
    entries: dict[str, KeyValue] = {key: one for key, one in node.entries.items() if key in keys}
    return MappingNode(node.source, node.line, node.column, entries)


def _shown(item: MappingNode, url: str) -> str:
    entry = item.entries.get("url")
    if entry and isinstance(entry.value, Scalar) and entry.value.substitution:
        return entry.value.substitution.shown
    return url
