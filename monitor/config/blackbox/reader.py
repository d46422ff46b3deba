"""
Reads blackbox_exporter's module files as strictly as our own, and translates each module.

A file is decoded into the records of form.py. Each module then becomes the nodes of one of ours.
Every node keeps its place in the original file, so that a problem is reported there. A part without
an equivalent becomes a remark: a problem if the file is used, a comment if it is imported.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from monitor.config.blackbox.client import put_network, put_tls
from monitor.config.blackbox.dialogue import tcp_module, unix_module, websocket_module
from monitor.config.blackbox.dns import dns_module, dns_url
from monitor.config.blackbox.draft import SHORTEST, Draft, Translation, shown_timeout
from monitor.config.blackbox.form import BlackboxFile, BlackboxModule
from monitor.config.blackbox.go_yaml import GoComposer, settled
from monitor.config.blackbox.http import http_module
from monitor.config.decoder import Decoder
from monitor.config.documents import DocumentReader
from monitor.config.forms import record_form
from monitor.config.keys import PLACE
from monitor.config.nodes import MappingNode
from monitor.config.problems import Problems, YamlFile
from monitor.config.substitute import Substituter

_LISTS = ("sites", "defaults", "connectivity", "include", "blackbox_modules")
"""A file with one of these keys is one of ours."""


class BlackboxReader:
    """
    Reads such files.

    Attributes:
        files: The files that were read, and those that options name.
    """

    def __init__(self, decoder: Decoder, problems: Problems) -> None:
        self._decoder = decoder
        self._problems = problems
        self._form = record_form(BlackboxFile)
        self.files: dict[Path, None] = {}

    def read(self, source: YamlFile) -> Iterator[Translation]:
        """Yield the modules of a file; report problems, and skip the modules that have them."""
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
            draft = Draft(entry.value, ("modules", name))
            url = _URLS[module.prober](module) if module.prober in _URLS else _PLAIN_URL
            if url != _PLAIN_URL:  # it is the default
                draft.put("url", url, "prober")
            if module.timeout:
                draft.put("timeout", shown_timeout(max(module.timeout, SHORTEST)), "timeout")
            if module.prober in _TRANSLATE:
                _TRANSLATE[module.prober](module, draft)
            else:  # 0.28 also reads such a module, and answers requests for it with 400
                draft.give_up(f"there is no prober {module.prober!r}", "prober")
            yield draft.finished(name, entry.key)


_PLAIN_URL = f"http://{PLACE}"


def _icmp(module: BlackboxModule, draft: Draft) -> None:
    icmp = module.icmp
    put_network(icmp, draft, "icmp")
    draft.put("icmp.count", 1, "icmp")
    if icmp.ttl:
        draft.put("icmp.ttl", icmp.ttl, "icmp", "ttl")
    if icmp.payload_size:
        draft.put("icmp.size", f"{icmp.payload_size}B", "icmp", "payload_size")
    if icmp.dont_fragment:
        draft.put("icmp.dont_fragment", True, "icmp", "dont_fragment")


def _grpc(module: BlackboxModule, draft: Draft) -> None:
    grpc = module.grpc
    put_network(grpc, draft, "grpc")
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
    put_tls(kept, draft, "grpc", "tls_config")


_URLS: Mapping[str, Callable[[BlackboxModule], str]] = {
    "http": lambda module: f"{'https' if module.http.enable_http3 else 'http'}://{PLACE}",
    "tcp": lambda module: f"{'tls' if module.tcp.tls else 'tcp'}://{PLACE}",
    "dns": dns_url,
    "icmp": lambda _: f"icmp://{PLACE}",
    "grpc": lambda module: f"{'grpcs' if module.grpc.tls else 'grpc'}://{PLACE}",
    "websocket": lambda _: f"ws://{PLACE}",
}
_TRANSLATE: Mapping[str, Callable[[BlackboxModule, Draft], None]] = {
    "http": http_module,
    "tcp": tcp_module,
    "unix": unix_module,
    "dns": dns_module,
    "icmp": _icmp,
    "grpc": _grpc,
    "websocket": websocket_module,
}
