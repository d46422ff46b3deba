"""
blackbox_exporter's module files: read as strictly as our own, and written anew as our modules.

A file is decoded into the records of blackbox_file.py; each module then becomes the nodes of one
of ours, every node at the place of what it came from, so that what is wrong with it is told
there. What has no equivalent is a remark: a problem where the file is used, a comment where it is
imported.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from monitor.config.blackbox_file import (
    BlackboxFile,
    BlackboxModule,
    Http,
    HttpClient,
    HttpHeader,
    QueryResponse,
    RecordMatch,
    TlsConfig,
)
from monitor.config.documents import DocumentReader
from monitor.config.files import read_text
from monitor.config.forms import Gathered, data_of, record_form
from monitor.config.groups import SEND_TEMPLATE, Groups
from monitor.config.keys import PLACE
from monitor.config.nodes import Entry, Node, Scalar, Sequence
from monitor.config.nodes import Mapping as MappingNode
from monitor.config.problems import KeyPath, Problems, Source
from monitor.config.schema import Decoder
from monitor.config.substitute import HIDDEN, Substituter, Substitution
from monitor.errors import ConfigError
from monitor.options import show_duration

# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Remark:
    """What a module says that ours can not: where it stands, and why."""

    node: Node
    path: KeyPath
    text: str


@dataclass(frozen=True, slots=True)
class Translation:
    """
    One module in our form.

    Attributes:
        written: Its key in the file.
        node: None where nothing of it can be said.
        files: Those whose content is in the node.
    """

    name: str
    written: Node
    node: MappingNode | None
    remarks: tuple[Remark, ...]
    files: tuple[Path, ...]


class _AsWritten(Substituter):
    """Substitutes nothing: in blackbox_exporter's files a dollar is a dollar."""

    def __init__(self) -> None:
        super().__init__({})

    def substitute(self, written: str, folder: Path) -> tuple[str, Substitution, list[str]]:  # noqa: ARG002  as its base
        return written, Substitution(written, written), []


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
        reader = DocumentReader(_AsWritten(), self._problems)
        top = reader.read_one(source)
        self.files.update(reader.files)
        if top is None:
            return
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
            if url := _URLS.get(module.prober):
                draft.put("url", url(module), "prober")
            if module.timeout:
                draft.put("timeout", show_duration(module.timeout), "timeout")
            _TRANSLATE[module.prober](module, draft)
            yield draft.finished(name, entry.key)


_WIDTH = 100_000
"""Of a line: none is broken, so that all can be indented."""


class _Dumper(yaml.SafeDumper):
    """Writes texts with line ends in quotes that have escapes for them."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        plain = "\n" not in text
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def imported(path: Path) -> str:
    """
    Return the modules of a file as YAML of ours, with a comment on whatever has no equivalent.

    Raises:
        ConfigError: The file has problems.
    """
    problems = Problems()
    reader = BlackboxReader(Decoder(problems), problems)
    translations = list(reader.read(Source(path, str(path))))
    if problems:
        raise ConfigError(problems.all(), reader.files)
    lines = [f"# From {path.name} of blackbox_exporter.", "modules:"]
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
    if not translations:
        lines[-1] += " {}"
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

    def remark(self, text: str, *keys: str | int) -> None:
        self._remarks.append(Remark(self.at(*keys), (*self._path, *keys), text))

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
            self.remark(str(error), *keys)
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
        return Translation(name, written, node, tuple(self._remarks), tuple(self._files))


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
        version = options.preferred_ip_protocol.removeprefix("ip")
        draft.put("network.ip", version, section, "preferred_ip_protocol")
    source = getattr(options, "source_ip_address", None)
    if source:
        draft.put("network.source_address", source, section, "source_ip_address")


def _tls(config: TlsConfig, draft: _Draft, *keys: str) -> None:
    if config.insecure_skip_verify:
        draft.put("tls.verify", False, *keys, "insecure_skip_verify")
    for name in ("ca_file", "cert_file", "key_file", "server_name"):
        if value := getattr(config, name):
            draft.put(f"tls.{name}", value, *keys, name)
    for name in ("min_version", "max_version"):
        if version := getattr(config, name):
            draft.put(f"tls.{name}", f"{version[3]}.{version[4]}", *keys, name)


def _client(config: HttpClient, draft: _Draft, section: str, *keys: str) -> dict[str, Any]:
    """Write what ``http`` and ``ws`` share; return the headers, which have more to come."""
    _tls(config.tls_config, draft, *keys, "tls_config")
    if config.proxy_url:
        draft.put(f"{section}.proxy", config.proxy_url, *keys, "proxy_url")
    if config.no_proxy and config.proxy_url:
        draft.remark("a module has one way for all its targets", *keys, "no_proxy")
    if config.proxy_from_environment:
        text = "the environment has no say here; name the proxy in proxy_url"
        draft.remark(text, *keys, "proxy_from_environment")
    if config.proxy_connect_header:
        text = "no headers are sent to proxies but those of the login in proxy_url"
        draft.remark(text, *keys, "proxy_connect_header")
    headers = {
        name: _joined(values, draft, *keys, "http_headers", name)
        for name, values in config.http_headers.items()
    }
    _login(config, draft, section, headers, *keys)
    return headers


def _joined(header: HttpHeader, draft: _Draft, *keys: str) -> Node:
    # RFC 9110, 5.2: the same as several lines
    files = [draft.file(path, *keys, "files", n) for n, path in enumerate(header.files)]
    if files and not header.values and not header.secrets and len(files) == 1:
        return files[0]
    texts = [one.text for one in files if isinstance(one, Scalar)]
    text = ", ".join((*header.values, *header.secrets, *texts))
    hidden = header.secrets or texts
    return draft.secret(text, *keys) if hidden else _scalar(text, draft.at(*keys))


def _login(
    config: HttpClient, draft: _Draft, section: str, headers: dict[str, Any], *keys: str
) -> None:
    def secret(record: Any, record_key: str, name: str) -> Any:
        path = getattr(record, f"{name}_file")
        if path is not None:
            return draft.file(path, *keys, record_key, f"{name}_file")
        return getattr(record, name) or ""

    if basic := config.basic_auth:
        login = {name: secret(basic, "basic_auth", name) for name in ("username", "password")}
        draft.put(f"{section}.basic_auth", login, *keys, "basic_auth")
    if login_by := config.authorization:
        credentials = secret(login_by, "authorization", "credentials")
        if login_by.type == "Bearer":
            draft.put(f"{section}.bearer_token", credentials, *keys, "authorization")
        else:
            text = credentials.text if isinstance(credentials, Scalar) else credentials
            headers["Authorization"] = draft.secret(f"{login_by.type} {text}", *keys)
    if client := config.oauth2:
        if section != "http":
            draft.remark("only http checks fetch tokens", *keys, "oauth2")
            return
        if client.endpoint_params:
            text = "a token is asked for with the standard parameters alone"
            draft.remark(text, *keys, "oauth2", "endpoint_params")
        grant = {
            "token_url": client.token_url,
            "client_id": client.client_id,
            "client_secret": secret(client, "oauth2", "client_secret"),
            "scopes": client.scopes,
        }
        draft.put("http.oauth2", grant, *keys, "oauth2")


# ---------------------------------------------------------------- HTTP


def _http(module: BlackboxModule, draft: _Draft) -> None:
    http = module.http
    _network(http, draft, "http")
    headers = {**http.headers, **_client(http, draft, "http", "http")}
    hosts = [value for name, value in http.headers.items() if name.lower() == "host"]
    if hosts and not http.tls_config.server_name:
        draft.put("tls.server_name", hosts[0].partition(":")[0], "http", "headers")
    if http.method != "GET":
        draft.put("http.method", http.method, "http", "method")
    draft.put("http.compression", http.compression not in ("", "identity"), "http", "compression")
    if http.compression and not any(name.lower() == "accept-encoding" for name in headers):
        headers["Accept-Encoding"] = http.compression
    if headers:
        draft.put("http.headers", headers, "http", "headers")
    if http.body_size_limit:
        draft.put("http.max_body", f"{http.body_size_limit}B", "http", "body_size_limit")
    if http.body is not None:
        draft.put("http.body", http.body, "http", "body")
    if http.body_file is not None:
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


def _http_expectations(http: Http, draft: _Draft) -> None:
    if http.valid_status_codes:
        draft.put("expect.status", http.valid_status_codes, "http", "valid_status_codes")
    if http.valid_http_versions:
        draft.put("expect.http_version", http.valid_http_versions, "http", "valid_http_versions")
    if http.fail_if_ssl or http.fail_if_not_ssl:
        key = "fail_if_not_ssl" if http.fail_if_not_ssl else "fail_if_ssl"
        draft.put("expect.tls", http.fail_if_not_ssl, "http", key)
    for key, ours in (
        ("fail_if_body_matches_regexp", "not_matches"),
        ("fail_if_body_not_matches_regexp", "matches"),
    ):
        if patterns := getattr(http, key):
            draft.put(f"expect.body.{ours}", patterns, "http", key)
    _headers(http, draft)
    expressions = []
    if source := http.fail_if_body_json_matches_cel:
        expressions.append(f"!({_renamed(source)})")
    if source := http.fail_if_body_json_not_matches_cel:
        expressions.append(_renamed(source))
    if expressions:
        key = "fail_if_body_json_matches_cel"
        if not http.fail_if_body_json_matches_cel:
            key = "fail_if_body_json_not_matches_cel"
        draft.put("expect.that", expressions, "http", key)


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


def _renamed(expression: str) -> str:
    """Return an expression over blackbox_exporter's ``body``, a JSON value, for ours: ``json``."""
    return _CEL.sub(lambda match: "json" if match[0] == "body" else match[0], expression)


# ---------------------------------------------------------------- dialogues


def _dialogue(
    steps: tuple[QueryResponse, ...], draft: _Draft, section: str, *, line_end: str
) -> list[dict[str, Any]]:
    """Return our steps, of which one of theirs may have three."""
    ours: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        keys = (section, "query_response", number)
        groups = None
        if step.expect is not None:
            groups = Groups(step.expect)
            names = {}
            for index, label in enumerate(step.labels):
                group = groups.only_group(label.value)
                if group is None or group in names or not groups.can_be_named(label.name):
                    text = f"the label {label.name} can only be the text of one group of expect"
                    draft.remark(text, *keys, "labels", index)
                else:
                    names[group] = label.name
            ours.append({"expect": groups.renamed(names)})
        elif step.labels:
            draft.remark("labels mean nothing without expect", *keys, "labels")
        if step.expect_bytes:
            ours.append({"expect_bytes": step.expect_bytes.encode().hex(" ")})
        if step.send:
            ours.append({"send": _send(step.send, groups) + line_end})
        if step.starttls:
            ours.append({"starttls": True})
    return ours


_REFERENCE = re.compile(r"\\(?=[0-9]|g<)")


def _send(text: str, groups: Groups | None) -> str:
    """Return what to send, with references as ours; what only looks like one is escaped."""
    if groups is None:
        return _REFERENCE.sub(r"\\\\", text)
    sent, end = "", 0
    for match in SEND_TEMPLATE.finditer(text):
        sent += _REFERENCE.sub(r"\\\\", text[end : match.start()])
        sent += "$" if match[0] == "$$" else groups.reference(match[1] or match[2])
        end = match.end()
    return sent + _REFERENCE.sub(r"\\\\", text[end:])


def _tcp(module: BlackboxModule, draft: _Draft) -> None:
    tcp = module.tcp
    _network(tcp, draft, "tcp")
    steps = _dialogue(tcp.query_response, draft, "tcp", line_end="\n")
    if tcp.tls or any("starttls" in step for step in steps):
        _tls(tcp.tls_config, draft, "tcp", "tls_config")
    if tcp.tls and any("starttls" in step for step in steps):
        draft.remark("starttls asks for TLS over TLS, which tls: true has made", "tcp", "tls")
        steps = [step for step in steps if "starttls" not in step]
    if steps:
        draft.put("tcp.dialogue", steps, "tcp", "query_response")


def _unix(_: BlackboxModule, draft: _Draft) -> None:
    draft.give_up("there are no checks of Unix sockets", "prober")


def _websocket(module: BlackboxModule, draft: _Draft) -> None:
    socket = module.websocket
    _network(socket, draft, "websocket")
    shared = _client(socket.http_config, draft, "ws", "websocket", "http_config")
    headers = {**socket.headers, **shared}
    if headers:
        draft.put("ws.headers", headers, "websocket", "headers")
    steps = _dialogue(socket.query_response, draft, "websocket", line_end="")
    if any("starttls" in step for step in steps):
        draft.remark("a WebSocket is under TLS from its beginning", "websocket", "query_response")
        steps = [step for step in steps if "starttls" not in step]
    if steps:
        draft.put("ws.dialogue", steps, "websocket", "query_response")


# ---------------------------------------------------------------- DNS, ICMP, gRPC


def _dns(module: BlackboxModule, draft: _Draft) -> None:
    dns = module.dns
    assert dns is not None  # noqa: S101  see BlackboxModule
    _network(dns, draft, "dns")
    transport = "tls" if dns.dns_over_tls else dns.transport_protocol
    draft.put("dns.type", dns.query_type, "dns", "query_type")
    if dns.query_class != "IN":
        draft.put("dns.class", dns.query_class, "dns", "query_class")
    if transport != "udp":
        draft.put("dns.transport", transport, "dns", "transport_protocol")
    if dns.dns_over_tls:
        _tls(dns.tls_config, draft, "dns", "tls_config")
    if not dns.recursion_desired:
        draft.put("dns.recursion", False, "dns", "recursion_desired")
    if dns.valid_rcodes:
        draft.put("expect.rcode", dns.valid_rcodes, "dns", "valid_rcodes")
    # Without a rule of its own, an empty answer is a good one there
    draft.put("expect.answer.count", {"ge": 0}, "dns")
    for section in ("answer", "authority", "additional"):
        _records(getattr(dns, f"validate_{section}_rrs"), section, draft)


def _records(match: RecordMatch, section: str, draft: _Draft) -> None:
    key = f"validate_{section}_rrs"
    if match.fail_if_matches_regexp:
        patterns = list(map(_spaced, match.fail_if_matches_regexp))
        draft.put(f"expect.{section}.not_matches", patterns, "dns", key, "fail_if_matches_regexp")
    if match.fail_if_not_matches_regexp:
        patterns = list(map(_spaced, match.fail_if_not_matches_regexp))
        draft.put(f"expect.{section}.all_match", patterns, "dns", key, "fail_if_not_matches_regexp")
    if match.fail_if_none_matches_regexp:
        # Enough that one record matches one of them
        one = "|".join(f"(?:{_spaced(one)})" for one in match.fail_if_none_matches_regexp)
        draft.put(f"expect.{section}.matches", one, "dns", key, "fail_if_none_matches_regexp")
    if match.fail_if_all_match_regexp:
        text = "blackbox_exporter fails when not all match, the opposite of what the key says; "
        text += "that is fail_if_not_matches_regexp"
        draft.remark(text, "dns", key, "fail_if_all_match_regexp")


def _spaced(pattern: str) -> str:
    """Return a pattern for records whose fields are parted by a space, where there it is a tab."""
    return pattern.replace("\t", r"\s").replace(r"\t", r"\s")


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
    metadata: dict[str, str] = {}
    for key, values in grpc.metadata.items():
        if len(values) == 1:
            metadata[key] = values[0]
        else:
            draft.remark("a key of metadata has one value", "grpc", "metadata", key)
    if metadata:
        draft.put("grpc.metadata", metadata, "grpc", "metadata")
    if not grpc.tls:
        return
    config = grpc.tls_config
    for name in ("insecure_skip_verify", "min_version", "max_version"):
        if getattr(config, name):
            draft.remark("gRPC has no such option here", "grpc", "tls_config", name)
    kept = TlsConfig(
        ca_file=config.ca_file,
        cert_file=config.cert_file,
        key_file=config.key_file,
        server_name=config.server_name,
    )
    _tls(kept, draft, "grpc", "tls_config")


def _dns_url(module: BlackboxModule) -> str:
    name = module.dns.query_name if module.dns else ""
    return f"dns://{PLACE}/{quote(name, safe='')}"


# That of http is what holds without one
_URLS: Mapping[str, Callable[[BlackboxModule], str]] = {
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
