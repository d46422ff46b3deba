"""
blackbox_exporter's module files: read as strictly as our own, and written anew as our modules.

A file is decoded into the records of form.py; each module then becomes the nodes of one
of ours, every node at the place of what it came from, so that what is wrong with it is told
there. What has no equivalent is a remark: a problem where the file is used, a comment where it is
imported.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from monitor.config.blackbox.form import (
    Authorization,
    BlackboxFile,
    BlackboxModule,
    Dns,
    Http,
    HttpClient,
    HttpHeader,
    OAuth2,
    QueryResponse,
    RecordMatch,
    TlsConfig,
)
from monitor.config.blackbox.go_yaml import GoComposer, is_text, settled
from monitor.config.blackbox.groups import SEND_TEMPLATE, Groups
from monitor.config.documents import DocumentReader
from monitor.config.files import read_text
from monitor.config.forms import Gathered, data_of, record_form
from monitor.config.keys import PLACE, Tables
from monitor.config.modules import ModuleReader
from monitor.config.nodes import Entry, Node, Scalar, Sequence
from monitor.config.nodes import Mapping as MappingNode
from monitor.config.problems import KeyPath, Problems, Source
from monitor.config.schema import Decoder, Forms
from monitor.config.sites import SiteReader
from monitor.config.substitute import Substituter, Substitution
from monitor.errors import ConfigError, Problem
from monitor.options import parse_duration, show_duration
from monitor.secrecy import HIDDEN
from monitor.units import Seconds

# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Remark:
    """
    What a module says that ours can not: where it stands, and why.

    Attributes:
        missing: It is a file that cannot be read, so that the module is of no use without it.
    """

    node: Node
    path: KeyPath
    text: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Translation:
    """
    One module in our form.

    Attributes:
        written: Its key in the file.
        node: None where nothing of it can be said.
        files: Those whose content is in the node.
        origins: For paths of the node, those of the file that they come from.
    """

    name: str
    written: Node
    node: MappingNode | None
    remarks: tuple[Remark, ...]
    files: tuple[Path, ...]
    origins: Mapping[KeyPath, KeyPath]


_LISTS = ("sites", "defaults", "connectivity", "include", "blackbox_modules")
"""Keys by which a file of ours is known."""


class BlackboxReader:
    """
    Reads such files.

    Attributes:
        files: What was read, and what options name.
    """

    def __init__(self, decoder: Decoder, problems: Problems) -> None:
        self._decoder = decoder
        self._problems = problems
        self._form = record_form(BlackboxFile)
        self.files: dict[Path, None] = {}

    def read(self, source: Source) -> Iterator[Translation]:
        """Yield the modules of a file; what is wrong with it is reported, and yields nothing."""
        reader = DocumentReader(Substituter({}), self._problems, GoComposer)
        top = reader.read_one(source)
        self.files.update(reader.files)
        if top is None:
            return
        if entry := next((top.entries[key] for key in _LISTS if key in top.entries), None):
            text = "this is a site list, and needs no import; monitor validate checks it"
            self._problems.add(entry.key, (entry.key.text,), text)
            return
        settled(top, self._form)
        decoded = self._decoder.decode(self._form, top, (), inherited=False)
        if decoded is None:
            return
        self.files.update(dict.fromkeys(decoded.files))
        modules = top.entries.get("modules")
        if modules is None or not isinstance(modules.value, MappingNode):
            return
        for name, module in decoded.value.modules.items():
            entry = modules.value.entries[name]
            draft = _Draft(entry.value, ("modules", name))
            url = _URLS[module.prober](module) if module.prober in _URLS else _PLAIN_URL
            if url != _PLAIN_URL:  # which holds without being written
                draft.put("url", url, "prober")
            if module.timeout:
                draft.put("timeout", _shown_timeout(max(module.timeout, _SHORTEST)), "timeout")
            _TRANSLATE[module.prober](module, draft)
            yield draft.finished(name, entry.key)


_PLAIN_URL = f"http://{PLACE}"
_WIDTH = 100_000
"""Of a line: none is broken, so that all can be indented."""


class _Dumper(yaml.SafeDumper):
    """Writes texts with line ends in quotes that have escapes for them."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        plain = "\n" not in text
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


@dataclass(frozen=True, slots=True)
class Imported:
    """
    The modules of a file as YAML of ours.

    Attributes:
        text: With a comment on whatever has no equivalent.
        problems: What the configuration would say of the text, at the places of the file.
    """

    text: str
    problems: tuple[Problem, ...]


def imported(path: Path, tables: Tables) -> Imported:
    """
    Return the modules of a file, written as ours.

    Raises:
        ConfigError: The file has problems, or holds no module that could be written.
    """
    problems = Problems()
    decoder = Decoder(problems)
    reader = BlackboxReader(decoder, problems)
    source = Source(path, str(path))
    translations = list(reader.read(source))
    if not (problems or any(one.node for one in translations)):
        problems.at(source.shown, "has no module that can be written in this monitor's form")
    if problems:
        raise ConfigError(problems.all(), reader.files)
    forms = Forms.of(tables)
    sites = SiteReader(tables, forms, decoder, problems)
    modules = ModuleReader(tables, forms, decoder, problems, sites)
    for one in translations:
        for remark in one.remarks:
            if remark.missing:
                problems.add(remark.node, remark.path, remark.text)
        if one.node:
            with problems.told_as(one.origins):
                modules.read(one.name, one.node, ("modules", one.name))
    return Imported(_written(path.name, translations), problems.all())


def _written(name: str, translations: Iterable[Translation]) -> str:
    lines = [f"# From {name} of blackbox_exporter.", "modules:"]
    for one in translations:
        lines.append("")
        lines += [f"  # {_shown(remark.path[2:])}: {remark.text}" for remark in one.remarks]
        if one.node is None:
            lines.append(f"  # {one.name} is left out.")
            continue
        text = yaml.dump(
            {one.name: _writable(one.node)},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH,
        )
        lines += [f"  {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def _shown(path: KeyPath) -> str:
    return ".".join(map(str, path))


def _writable(node: Node) -> Any:
    """Return the node as plain data that means the same where dollars are special."""
    if isinstance(node, MappingNode):
        return {key: _writable(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [_writable(item) for item in node.items]
    done = node.substitution
    if done and done.written.startswith("${file:"):
        return done.written
    value = data_of(node, Gathered())
    return str(value).replace("$", "$$") if isinstance(value, str) else value


# ---------------------------------------------------------------- writing our nodes


class _Draft:
    """The module that is being written; the mutable state is its nodes, remarks and files."""

    def __init__(self, written: Node, path: KeyPath) -> None:
        self._written = written
        self._path = path
        self._top = MappingNode(written.source, written.line, written.column)
        self._remarks: list[Remark] = []
        self._files: list[Path] = []
        self._origins: dict[KeyPath, KeyPath] = {}
        self._impossible = False

    def at(self, *keys: str | int) -> Node:
        """Return what stands in the file at these keys, or what is nearest above it."""
        node = self._written
        for key in keys:
            if isinstance(node, MappingNode) and key in node.entries:
                node = node.entries[str(key)].value
            elif isinstance(node, Sequence) and isinstance(key, int) and key < len(node.items):
                node = node.items[key]
            else:
                break
        return node

    def put(self, where: str, value: Any, *keys: str | int) -> None:
        """
        Write a value below a key of ours such as ``http.method``.

        Args:
            keys: Where in the file it comes from.
        """
        *sections, last = where.split(".")
        mapping, at = self._top, self.at(*keys)
        for section in sections:
            if section not in mapping.entries:
                below = MappingNode(at.source, at.line, at.column)
                mapping.entries[section] = Entry(_scalar(section, at), below)
            inner = mapping.entries[section].value
            assert isinstance(inner, MappingNode)  # noqa: S101  made here
            mapping = inner
        mapping.entries[last] = Entry(_scalar(last, at), _node(value, at))
        self._origins[*self._path, *sections, last] = (*self._path, *keys)

    def remark(self, text: str, *keys: str | int) -> None:
        self._remarks.append(Remark(self.at(*keys), (*self._path, *keys), text))

    def fails(self, text: str, *keys: str | int) -> None:
        """Say why no check of this module can succeed there."""
        self.remark(f"{text}, so that each check fails in blackbox_exporter", *keys)

    def some(self, where: str, values: Collection[Any], text: str, *keys: str | int) -> None:
        """Write those values that mean something; without any, no check can succeed there."""
        if values:
            self.put(where, values, *keys)
        else:
            self.fails(text, *keys)

    def give_up(self, text: str, *keys: str | int) -> None:
        """Say why there can be no such module."""
        self.remark(text, *keys)
        self._impossible = True

    def file(self, path: str, *keys: str | int) -> Node:
        """Return a secret that is read from a file, without the blanks around it."""
        at = self.at(*keys)
        place = at.source.path.parent / path
        try:
            text = read_text(place).strip()
        except ValueError as error:
            self._remarks.append(Remark(at, (*self._path, *keys), str(error), missing=True))
            text = ""
        self._files.append(place)
        done = Substitution(f"${{file:{path}}}", HIDDEN, (text,) if text else ())
        return Scalar(at.source, at.line, at.column, text, substitution=done)

    def secret(self, text: str, *keys: str | int) -> Node:
        """Return a text that is never shown, wherever it stands."""
        at = self.at(*keys)
        done = Substitution(HIDDEN, HIDDEN, (text,) if text else ())
        return Scalar(at.source, at.line, at.column, text, substitution=done)

    def finished(self, name: str, written: Node) -> Translation:
        node = None if self._impossible else self._top
        return Translation(
            name, written, node, tuple(self._remarks), tuple(self._files), self._origins
        )


_SHORTEST: Seconds = 0.001


def _shown_timeout(seconds: Seconds) -> str:
    shown = show_duration(seconds)
    return shown if math.isclose(parse_duration(shown), seconds) else f"{seconds:.9f}s"


def _scalar(text: str, at: Node, *, plain: bool = False) -> Scalar:
    return Scalar(at.source, at.line, at.column, text, plain)


def _node(value: Any, at: Node) -> Node:
    if isinstance(value, Scalar | Sequence | MappingNode):
        return value
    if isinstance(value, bool):
        return _scalar(str(value).lower(), at, plain=True)
    if isinstance(value, int | float):
        return _scalar(str(value), at, plain=True)
    if isinstance(value, str):
        return _scalar(value, at)
    if isinstance(value, Mapping):
        entries = {key: Entry(_scalar(key, at), _node(one, at)) for key, one in value.items()}
        return MappingNode(at.source, at.line, at.column, entries)
    return Sequence(at.source, at.line, at.column, [_node(one, at) for one in value])


# ---------------------------------------------------------------- what all have in common


def _network(options: Any, draft: _Draft, section: str) -> None:
    if not options.ip_protocol_fallback:
        # Whatever is neither ip6 nor empty is IPv4 there
        version = "6" if options.preferred_ip_protocol in ("", "ip6") else "4"
        draft.put("network.ip", version, section, "preferred_ip_protocol")
    source = getattr(options, "source_ip_address", None)
    if source and not _is_address(source):
        draft.fails(f"{source!r} is not an IP address", section, "source_ip_address")
    elif source:
        draft.put("network.source_address", source, section, "source_ip_address")


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


_TLS_PARTS = {"ca": "ca_file", "cert": "cert_file", "key": "key_file"}


def _tls(config: TlsConfig, draft: _Draft, *keys: str) -> None:
    if config.insecure_skip_verify:
        draft.put("tls.verify", False, *keys, "insecure_skip_verify")
    for name, file in _TLS_PARTS.items():
        if getattr(config, name):
            text = f"certificates and keys must be in files; name one in {file}"
            draft.remark(text, *keys, name)
        _no_reference(config, name, draft, *keys)
    for name in ("ca_file", "cert_file", "key_file", "server_name"):
        if value := getattr(config, name):
            draft.put(f"tls.{name}", value, *keys, name)
    for name in ("min_version", "max_version"):
        if version := getattr(config, name):
            draft.put(f"tls.{name}", f"{version[3]}.{version[4]}", *keys, name)
            if version in ("TLS10", "TLS11"):  # which Go speaks at the level of all others
                draft.put("tls.legacy", True, *keys, name)


def _no_reference(record: Any, name: str, draft: _Draft, *keys: str) -> None:
    if getattr(record, f"{name}_ref"):
        draft.fails("there is no secret manager", *keys, f"{name}_ref")


# ---------------------------------------------------------------- logging in


@dataclass(frozen=True, slots=True)
class _Login:
    """
    Where a client's logins stand in the file, and where they go.

    Attributes:
        section: Of ours: ``http`` or ``ws``.
        keys: Of the client in the file.
    """

    draft: _Draft
    section: str
    keys: tuple[str, ...]

    def secret(self, record: Any, name: str, *keys: str) -> Node | str:
        path = getattr(record, f"{name}_file")
        if path:
            return self.draft.file(path, *self.keys, *keys, f"{name}_file")
        if hasattr(record, f"{name}_ref"):
            _no_reference(record, name, self.draft, *self.keys, *keys)
        return getattr(record, name) or ""

    def put(self, config: HttpClient, headers: dict[str, Any]) -> None:
        """Write the login of ``basic_auth``, ``authorization``, ``bearer_token`` or ``oauth2``."""
        if any(name.lower() == "authorization" for name in headers) and not config.oauth2:
            return  # what is written as a header wins there
        section, draft = self.section, self.draft
        if basic := config.basic_auth:
            login = {name: self.secret(basic, name, "basic_auth") for name in _BASIC}
            draft.put(f"{section}.basic_auth", login, *self.keys, "basic_auth")
        if config.bearer_token or config.bearer_token_file:
            token = self.secret(config, "bearer_token")
            draft.put(f"{section}.bearer_token", token, *self.keys, "bearer_token")
        if config.authorization:
            self._authorization(config.authorization, headers)
        if config.oauth2 and section == "http":
            for name in [name for name in headers if name.lower() == "authorization"]:
                del headers[name]  # a token takes its place there
            self._oauth2(config, config.oauth2)

    def _authorization(self, login: Authorization, headers: dict[str, Any]) -> None:
        credentials = self.secret(login, "credentials", "authorization")
        kind = login.type.strip() or "Bearer"
        keys = (*self.keys, "authorization")
        text = credentials.text if isinstance(credentials, Scalar) else str(credentials)
        if kind == "Bearer" and text:
            self.draft.put(f"{self.section}.bearer_token", credentials, *keys)
        elif text or self.section == "http":
            headers["Authorization"] = self.draft.secret(f"{kind} {text}".strip(), *keys)

    def _oauth2(self, config: HttpClient, client: OAuth2) -> None:
        draft, keys = self.draft, (*self.keys, "oauth2")
        if client.grant_type not in (None, "", "client_credentials"):
            draft.remark("the grant is always client_credentials", *keys, "grant_type")
        for name in ("tls_config", "proxy_url", "proxy_from_environment", "proxy_connect_header"):
            if (theirs := getattr(client, name)) and theirs not in (
                TlsConfig(),
                getattr(config, name),
            ):
                text = "a token is fetched the way that the site is asked, with its own options"
                draft.remark(text, *keys, name)
        grant: dict[str, Any] = {
            "token_url": client.token_url,
            "client_id": client.client_id,
            "client_secret": self.secret(client, "client_secret", "oauth2"),
            "scopes": client.scopes,
        }
        if client.endpoint_params:
            grant["params"] = client.endpoint_params
        draft.put("http.oauth2", grant, *keys)


_BASIC = ("username", "password")


def _headers_of(
    headers: Mapping[str, HttpHeader], draft: _Draft, *keys: str
) -> dict[str, Node | str]:
    return {name: _joined(values, draft, *keys, name) for name, values in headers.items()}


def _joined(header: HttpHeader, draft: _Draft, *keys: str) -> Node:
    # RFC 9110, 5.2: the same as several lines
    files = [draft.file(path, *keys, "files", n) for n, path in enumerate(header.files)]
    if files and not header.values and not header.secrets and len(files) == 1:
        return files[0]
    texts = [one.text for one in files if isinstance(one, Scalar)]
    text = ", ".join((*header.values, *header.secrets, *texts))
    hidden = header.secrets or texts
    return draft.secret(text, *keys) if hidden else _scalar(text, draft.at(*keys))


# ---------------------------------------------------------------- HTTP

_GO_WRITES_ITSELF = frozenset({"content-length", "transfer-encoding", "trailer"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(r"[\w.-]+")
_COMPRESSIONS = ("", "identity", "gzip", "br", "deflate")
_UNLIMITED = 2**62


def _http(module: BlackboxModule, draft: _Draft) -> None:
    http = module.http
    _network(http, draft, "http")
    _tls(http.tls_config, draft, "http", "tls_config")
    _proxy(http, draft)
    headers = _own_headers(http, draft)
    _host(http, draft)
    for name, value in _headers_of(http.http_headers, draft, "http", "http_headers").items():
        headers[name] = value
    _Login(draft, "http", ("http",)).put(http, headers)
    if http.method not in ("", "GET"):
        if not _TOKEN.fullmatch(http.method):
            draft.fails(f"{http.method!r} is not a method", "http", "method")
        draft.put("http.method", http.method, "http", "method")
    _compression(http, headers, draft)
    if headers:
        draft.put("http.headers", headers, "http", "headers")
    if 0 < http.body_size_limit < _UNLIMITED:
        draft.put("http.max_body", f"{http.body_size_limit}B", "http", "body_size_limit")
    if http.body:
        draft.put("http.body", http.body, "http", "body")
    if http.body_file:
        draft.put("http.body_file", http.body_file, "http", "body_file")
    # The deprecated key wins, as it does there
    follow = http.follow_redirects
    if http.no_follow_redirects is not None:
        follow = not http.no_follow_redirects
    if not follow:
        draft.put("http.follow_redirects", False, "http", "follow_redirects")
    if http.enable_http3:
        draft.put("http.version", "3", "http", "enable_http3")
    elif not http.enable_http2:
        draft.put("http.version", "1.1", "http", "enable_http2")
    _http_expectations(http, draft)


def _proxy(config: HttpClient, draft: _Draft) -> None:
    if config.proxy_url:
        draft.put("http.proxy", config.proxy_url, "http", "proxy_url")
    if config.no_proxy and config.proxy_url:
        draft.remark("a module uses one proxy for all its targets", "http", "no_proxy")
    if config.proxy_from_environment:
        text = "proxies from the environment are not supported; name the proxy in proxy_url"
        draft.remark(text, "http", "proxy_from_environment")
    if config.proxy_connect_header:
        text = "no headers are sent to proxies except the login in proxy_url"
        draft.remark(text, "http", "proxy_connect_header")


def _own_headers(http: Http, draft: _Draft) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    for name, value in http.headers.items():
        if name.lower() in _GO_WRITES_ITSELF or (name.lower() == "host" and not value):
            continue
        if not _TOKEN.fullmatch(name):
            draft.fails(f"{name!r} is not a header's name", "http", "headers", name)
        elif any(char in value for char in "\r\n\0"):
            draft.fails(f"{name} is more than one line", "http", "headers", name)
        else:
            headers[name] = value.strip()
    return headers


def _host(http: Http, draft: _Draft) -> None:
    """Ask TLS for the name in Host, as it does where the module names none."""
    if http.tls_config.server_name:
        return
    for name, value in http.headers.items():
        host = value.partition(":")[0]
        if name.lower() == "host" and _HOST.fullmatch(host):
            draft.put("tls.server_name", host, "http", "headers", name)


def _compression(http: Http, headers: dict[str, Any], draft: _Draft) -> None:
    wanted = http.compression.lower()
    if wanted not in _COMPRESSIONS:
        draft.fails(f"{http.compression!r} is not a compression", "http", "compression")
    draft.put("http.compression", wanted not in ("", "identity"), "http", "compression")
    if http.compression and not any(name.lower() == "accept-encoding" for name in headers):
        headers["Accept-Encoding"] = http.compression


_STATUSES = range(100, 1000)
_VERSION = re.compile(r"HTTP/(1\.0|1\.1|2|2\.0|3|3\.0)")


def _http_expectations(http: Http, draft: _Draft) -> None:
    if http.valid_status_codes:
        codes = [code for code in http.valid_status_codes if code in _STATUSES]
        draft.some(
            "expect.status", codes, "none of them is an HTTP status", "http", "valid_status_codes"
        )
    if http.valid_http_versions:
        versions = [one for one in http.valid_http_versions if _VERSION.fullmatch(one)]
        what = "none of them is a version such as HTTP/1.1"
        draft.some("expect.http_version", versions, what, "http", "valid_http_versions")
    if http.fail_if_ssl and http.fail_if_not_ssl:
        draft.fails("fail_if_ssl and fail_if_not_ssl let nothing pass", "http", "fail_if_not_ssl")
    elif http.fail_if_ssl or http.fail_if_not_ssl:
        key = "fail_if_not_ssl" if http.fail_if_not_ssl else "fail_if_ssl"
        draft.put("expect.tls", http.fail_if_not_ssl, "http", key)
    for key, ours in (
        ("fail_if_body_matches_regexp", "not_matches"),
        ("fail_if_body_not_matches_regexp", "matches"),
    ):
        if written := getattr(http, key):
            draft.put(f"expect.body.{ours}", list(map(_pattern, written)), "http", key)
    _headers(http, draft)
    expressions = []
    for key, form in (
        ("fail_if_body_json_matches_cel", "!({})"),
        ("fail_if_body_json_not_matches_cel", "{}"),
    ):
        if source := getattr(http, key):
            if not _looks_at_body(source):
                draft.remark("it does not look at body", "http", key)
            expressions.append(form.format(_renamed(source)))
    if expressions:
        key = "fail_if_body_json_matches_cel"
        if not http.fail_if_body_json_matches_cel:
            key = "fail_if_body_json_not_matches_cel"
        draft.put("expect.that", expressions, "http", key)


def _pattern(text: str) -> str:
    """Return a pattern as ours may be written: an empty one, which is found everywhere, may not."""
    return text or "(?:)"


def _headers(http: Http, draft: _Draft) -> None:
    found: dict[str, dict[str, Any]] = {}
    missing: dict[str, set[bool]] = {}
    for key, ours in (
        ("fail_if_header_matches", "not_matches"),
        ("fail_if_header_not_matches", "matches"),
    ):
        for match in getattr(http, key):
            name = match.header.lower()
            found.setdefault(name, {}).setdefault(ours, []).append(match.regexp)
            missing.setdefault(name, set()).add(match.allow_missing)
    for name, rules in found.items():
        # One that must not be missing decides: with that, nothing else can let it be missing
        if True in missing[name] and False not in missing[name]:
            rules["absent"] = "allowed"
        else:
            rules["absent"] = False
        key = "fail_if_header_matches" if "not_matches" in rules else "fail_if_header_not_matches"
        draft.put("expect.header", {**found}, "http", key)


# Texts are left alone, as are fields: what follows a dot
_CEL = re.compile(
    r"""(?s)(?P<other>[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|\.\s*\w+|\w+)"""
)


_OURS = frozenset(
    {
        "json",
        "status",
        "headers",
        "latency",
        "url",
        "redirects",
        "ip",
        "http_version",
        "certificate",
        "tls_version",
        "rcode",
        "answers",
        "loss",
        "rtt",
    }
)


def _renamed(expression: str) -> str:
    """
    Return an expression over blackbox_exporter's ``body``, a JSON value, for ours: ``json``.

    What we have beside it is unknown there, or the name of an element of a list.
    """

    def rename(match: re.Match[str]) -> str:
        word = match[0]
        if word == "body":
            return "json"
        return f"{word}_" if word in _OURS else word

    return _CEL.sub(rename, expression)


def _looks_at_body(expression: str) -> bool:
    return any(match[0] == "body" for match in _CEL.finditer(expression))


# ---------------------------------------------------------------- dialogues


def _tcp_dialogue(steps: tuple[QueryResponse, ...], draft: _Draft) -> list[dict[str, Any]]:
    """Return our steps, of which one of theirs may have four."""
    ours: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        keys = ("tcp", "query_response", number)
        groups = None
        if step.expect is not None:
            groups = Groups(step.expect)
            expect = groups.renamed(_names(step, groups, draft, *keys))
            ours.append({"expect": _pattern(expect)})
        if step.expect_bytes:
            ours.append({"expect_bytes": _bytes(step.expect_bytes).hex(" ")})
        if step.send:
            ours.append(_send(step.send, groups, draft, *keys, end="\n"))
        if step.starttls:
            ours.append({"starttls": True})
    return ours


def _names(
    step: QueryResponse, groups: Groups, draft: _Draft, *keys: str | int
) -> Mapping[int, str]:
    """Return the names of the groups that are labels."""
    names: dict[int, str] = {}
    for index, label in enumerate(step.labels):
        group = groups.only_group(label.value)
        if group is None or group in names or not groups.can_be_named(label.name):
            text = f"the label {label.name} can only be the text of one group of expect"
            draft.remark(text, *keys, "labels", index)
        else:
            names[group] = label.name
    return names


def _bytes(text: str) -> bytes:
    """Return what a text stands for, which may have been written as ``!!binary``."""
    return text.encode(errors="surrogateescape")


_REFERENCE = re.compile(r"\\(?=[0-9]|g<)")


def _send(
    text: str, groups: Groups | None, draft: _Draft, *keys: str | int, end: str
) -> dict[str, str]:
    """Return the step that sends this, its references as ours; what looks like one is escaped."""
    if not is_text(text):
        if groups is not None and SEND_TEMPLATE.search(text):
            draft.remark("what a pattern matched can be used only in text", *keys, "send")
        return {"send_bytes": _bytes(text + end).hex(" ")}
    if groups is None:
        return {"send": _REFERENCE.sub(r"\\\\", text) + end}
    sent, at = "", 0
    for match in SEND_TEMPLATE.finditer(text):
        sent += _REFERENCE.sub(r"\\\\", text[at : match.start()])
        at = match.end()
        name = match[1] or match[2]
        if match[0] != "$$" and groups.is_beyond(name):
            draft.remark(f"only nine groups can be sent again, and not {match[0]}", *keys, "send")
        sent += "$" if match[0] == "$$" else groups.reference(name)
    return {"send": sent + _REFERENCE.sub(r"\\\\", text[at:]) + end}


def _tcp(module: BlackboxModule, draft: _Draft) -> None:
    tcp = module.tcp
    _network(tcp, draft, "tcp")
    steps = _tcp_dialogue(tcp.query_response, draft)
    if tcp.tls or any("starttls" in step for step in steps):
        _tls(tcp.tls_config, draft, "tcp", "tls_config")
    if tcp.tls and any("starttls" in step for step in steps):
        draft.remark("starttls asks for TLS over TLS, which tls: true has made", "tcp", "tls")
        steps = [step for step in steps if "starttls" not in step]
    if steps:
        draft.put("tcp.dialogue", steps, "tcp", "query_response")


def _unix(_: BlackboxModule, draft: _Draft) -> None:
    draft.give_up("Unix sockets cannot be checked", "prober")


_SUBPROTOCOLS = "sec-websocket-protocol"


def _websocket(module: BlackboxModule, draft: _Draft) -> None:
    """
    Write a WebSocket module.

    Of ``http_config`` only the logins and ``tls_config`` have an effect there, of a step only
    ``expect`` and ``send``; the rest has none here either.
    """
    socket = module.websocket
    keys = ("websocket", "http_config")
    _network(socket, draft, "websocket")
    _tls(socket.http_config.tls_config, draft, *keys, "tls_config")
    headers: dict[str, Any] = {}
    for name, value in _headers_of(socket.headers, draft, "websocket", "headers").items():
        if name.lower() == _SUBPROTOCOLS and isinstance(value, Scalar):
            offered = [one.strip() for one in value.text.split(",") if one.strip()]
            draft.put("ws.subprotocols", offered, "websocket", "headers", name)
        else:
            headers[name] = value
    _Login(draft, "ws", keys).put(socket.http_config, headers)
    if headers:
        draft.put("ws.headers", headers, "websocket", "headers")
    steps: list[dict[str, Any]] = []
    for number, step in enumerate(socket.query_response):
        groups = None
        if step.expect is not None:
            groups = Groups(step.expect)
            steps.append({"expect_next": _pattern(groups.renamed({}))})
        if step.send:
            place = ("websocket", "query_response", number)
            if not is_text(step.send):
                draft.remark("a text message holds bytes that are not text", *place, "send")
            steps.append(_send(step.send, groups, draft, *place, end=""))
    if steps:
        draft.put("ws.dialogue", steps, "websocket", "query_response")


# ---------------------------------------------------------------- DNS, ICMP, gRPC


# Types that miekg/dns has names for, and we have numbers
_TYPES = {
    "NIMLOC": 32,
    "EID": 31,
    "ATMA": 34,
    "RKEY": 57,
    "TALINK": 58,
    "UINFO": 100,
    "UID": 101,
    "GID": 102,
    "Reserved": 65535,
}
_RCODES = frozenset(
    {
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
        "BADSIG",
        "BADKEY",
        "BADTIME",
        "BADMODE",
        "BADNAME",
        "BADALG",
        "BADTRUNC",
        "BADCOOKIE",
    }
)


def _dns(module: BlackboxModule, draft: _Draft) -> None:
    dns = module.dns or _ROOT
    _network(dns, draft, "dns")
    if dns.transport_protocol not in ("", "udp", "tcp"):
        text = f"{dns.transport_protocol!r} is neither udp nor tcp"
        draft.fails(text, "dns", "transport_protocol")
    elif dns.dns_over_tls and dns.transport_protocol != "tcp":
        draft.fails("dns_over_tls needs transport_protocol: tcp", "dns", "dns_over_tls")
    type_ = f"TYPE{_TYPES[dns.query_type]}" if dns.query_type in _TYPES else dns.query_type
    draft.put("dns.type", type_ or "ANY", "dns", "query_type")
    if dns.query_class not in ("", "IN"):
        draft.put("dns.class", dns.query_class, "dns", "query_class")
    transport = "tls" if dns.dns_over_tls else dns.transport_protocol
    # Patterns are about the text of its library
    draft.put("dns.records", "blackbox_exporter", "dns")
    if transport not in ("", "udp"):
        draft.put("dns.transport", transport, "dns", "transport_protocol")
    if dns.dns_over_tls:
        _tls(dns.tls_config, draft, "dns", "tls_config")
    draft.put("dns.edns", False, "dns")  # it asks without
    if not dns.recursion_desired:
        draft.put("dns.recursion", False, "dns", "recursion_desired")
    if dns.valid_rcodes is not None:
        for index, code in enumerate(dns.valid_rcodes):
            if code not in _RCODES:
                draft.fails(f"it knows no rcode {code!r}", "dns", "valid_rcodes", index)
        draft.some(
            "expect.rcode", dns.valid_rcodes, "none of them is a rcode", "dns", "valid_rcodes"
        )
    # Without a rule of its own, an empty answer is a good one there
    draft.put("expect.answer.count", {"ge": 0}, "dns")
    for section in ("answer", "authority", "additional"):
        _records(getattr(dns, f"validate_{section}_rrs"), section, draft)


def _records(match: RecordMatch, section: str, draft: _Draft) -> None:
    key = f"validate_{section}_rrs"
    if match.fail_if_matches_regexp:
        patterns = list(map(_pattern, match.fail_if_matches_regexp))
        draft.put(f"expect.{section}.not_matches", patterns, "dns", key, "fail_if_matches_regexp")
    if every := (*match.fail_if_not_matches_regexp, *match.fail_if_all_match_regexp):
        name = "fail_if_not_matches_regexp"
        if not match.fail_if_not_matches_regexp:
            # It fails where not all match, whatever its name says, and an empty section passes
            name = "fail_if_all_match_regexp"
            draft.put(f"expect.{section}.empty", "allowed", "dns", key, name)
        draft.put(f"expect.{section}.all_match", list(map(_pattern, every)), "dns", key, name)
    if match.fail_if_none_matches_regexp:
        # Enough that one record matches one of them
        one = "|".join(f"(?:{one})" for one in match.fail_if_none_matches_regexp)
        draft.put(f"expect.{section}.matches", one, "dns", key, "fail_if_none_matches_regexp")


def _icmp(module: BlackboxModule, draft: _Draft) -> None:
    icmp = module.icmp
    _network(icmp, draft, "icmp")
    draft.put("icmp.count", 1, "icmp")
    if icmp.ttl:
        draft.put("icmp.ttl", icmp.ttl, "icmp", "ttl")
    if icmp.payload_size:
        draft.put("icmp.size", f"{icmp.payload_size}B", "icmp", "payload_size")
    if icmp.dont_fragment:
        draft.put("icmp.dont_fragment", True, "icmp", "dont_fragment")


def _grpc(module: BlackboxModule, draft: _Draft) -> None:
    grpc = module.grpc
    _network(grpc, draft, "grpc")
    if grpc.service:
        draft.put("grpc.service", grpc.service, "grpc", "service")
    metadata = {key: values for key, values in grpc.metadata.items() if values}
    if metadata:
        draft.put("grpc.metadata", metadata, "grpc", "metadata")
    if not grpc.tls:
        return
    config = grpc.tls_config
    for name in ("insecure_skip_verify", "min_version", "max_version"):
        if getattr(config, name):
            draft.remark("gRPC has no such option here", "grpc", "tls_config", name)
    kept = replace(config, insecure_skip_verify=False, min_version=None, max_version=None)
    _tls(kept, draft, "grpc", "tls_config")


# What a module asks for whose section is empty
_ROOT = Dns(query_name=".")


def _dns_url(module: BlackboxModule) -> str:
    name = (module.dns or _ROOT).query_name
    return f"dns://{PLACE}/{quote(name, safe='')}"


_URLS: Mapping[str, Callable[[BlackboxModule], str]] = {
    "http": lambda module: f"{'https' if module.http.enable_http3 else 'http'}://{PLACE}",
    "tcp": lambda module: f"{'tls' if module.tcp.tls else 'tcp'}://{PLACE}",
    "dns": _dns_url,
    "icmp": lambda _: f"icmp://{PLACE}",
    "grpc": lambda module: f"{'grpcs' if module.grpc.tls else 'grpc'}://{PLACE}",
    "websocket": lambda _: f"ws://{PLACE}",
}
_TRANSLATE: Mapping[str, Callable[[BlackboxModule, _Draft], None]] = {
    "http": _http,
    "tcp": _tcp,
    "unix": _unix,
    "dns": _dns,
    "icmp": _icmp,
    "grpc": _grpc,
    "websocket": _websocket,
}
