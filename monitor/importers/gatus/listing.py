"""Turns a whole configuration of Gatus into a site list."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monitor.config.keys import Tables
from monitor.errors import ConfigError, Problem
from monitor.importers.draft import ListDraft
from monitor.importers.gatus.alerting import Alerting
from monitor.importers.gatus.endpoints import EndpointReader, maintenance_window
from monitor.importers.gatus.reading import read
from monitor.importers.gatus.values import Fields
from monitor.importers.imported import Imported, finished

_ELSEWHERE = {
    "debug": "--log-level debug",
    "skip-invalid-config-update": "a bad edit never replaces a good list",
    "disable-monitoring-lock": "checks run side by side",
    "concurrency": "engine.probe_threads; the built-in 2048 is enough for most",
    "web": "--listen, and --web-config for TLS",
    "security": "--web-config has users and passwords; other log-ins are a proxy's work",
    "remote": "Prometheus scrapes each monitor",
    "storage": "the history is kept in the data folder; --history carries it over",
    "ui": "the page at / is always there; pages: makes others for customers",
}
_COSMETIC = frozenset({"debug", "skip-invalid-config-update", "disable-monitoring-lock", "storage"})


def imported(path: Path, tables: Tables, environ: Mapping[str, str]) -> Imported:
    """
    Return the endpoints of a file or folder as a list of ours.

    Args:
        environ: The variables with which Gatus runs.

    Raises:
        ConfigError: It cannot be read, or holds nothing that Gatus would check.
    """
    document = read(path, environ)
    if not document.get("endpoints") and not document.get("suites"):
        raise ConfigError(
            [Problem(str(path), 1, 1, "holds no endpoints; Gatus would not start with it either")]
        )
    return finished(_GatusLister(environ).draft(path, document), tables, environ)


def store_of(path: Path, environ: Mapping[str, str]) -> str | None:
    """Return where a configuration keeps results; None if only in memory."""
    storage = Fields(read(path, environ), "", environ).mapping("storage") or Fields({})
    return storage.value("path") or None


class _GatusLister:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def draft(self, path: Path, document: Mapping[str, Any]) -> ListDraft:
        whole = ListDraft(str(path), f"From {path.name} of Gatus.")
        whole.secrets.reserve(self._environ)
        fields = Fields(document, "", self._environ)
        alerting = Alerting(whole, fields.mapping("alerting"), self._environ)
        self._maintenance(whole, fields.mapping("maintenance"))
        self._connectivity(whole, fields.mapping("connectivity"))
        self._endpoints(whole, fields.mappings("endpoints", apart=True), alerting)
        self._external(whole, fields.mappings("external-endpoints", apart=True), alerting)
        self._suites(whole, fields.mappings("suites"))
        self._announcements(whole, fields)
        self._others(whole, fields)
        return whole

    def _endpoints(self, whole: ListDraft, endpoints: list[Fields], alerting: Alerting) -> None:
        reader = EndpointReader(alerting, self._environ)
        names = [(one.value("name"), one) for one in endpoints]
        counts = Counter(name for name, _ in names)
        taken: set[str] = set()
        for number, (name, fields) in enumerate(names):
            group = fields.peek("group")
            alone = counts[name] == 1
            ours = name if alone or not group else f"{group} {name}"
            ours = ours.strip() or f"endpoint {number + 1}"
            while ours in taken:
                ours = f"{ours} 2"
            taken.add(ours)
            site = whole.site(f"{group}/{name}" if group and name else name or ours)
            site.put("name", ours)
            if ours != name:
                site.changed("name", "name", "names are unique here")
            reader.read(site, fields)

    def _maintenance(self, whole: ListDraft, maintenance: Fields | None) -> None:
        if maintenance is None:
            return
        window = maintenance_window(maintenance)
        if window is not None:
            whole.always["maintenance"] = [window]
        whole.carried("maintenance", "defaults.maintenance")

    def _connectivity(self, whole: ListDraft, connectivity: Fields | None) -> None:
        checker = connectivity.mapping("checker") if connectivity else None
        if checker is None:
            return
        whole.top["connectivity"] = [f"tcp://{checker.text('target')}"]
        whole.carried("connectivity.checker.target", "connectivity")
        for name in checker.rest():
            why = "the targets are asked when many sites fail at once"
            whole.dropped(name, why, quiet=True)

    def _external(self, whole: ListDraft, endpoints: list[Fields], alerting: Alerting) -> None:
        reader = EndpointReader(alerting, self._environ)
        for number, one in enumerate(endpoints, 1):
            group = one.peek("group")
            name = one.peek("name").strip() or f"external endpoint {number}"
            site = whole.site(f"{group}/{name}" if group else name)
            taken = {draft.keys["name"] for draft in whole.sites[:-1]}
            site.put("name", name if name not in taken else f"{group} {name}".strip())
            reader.read_external(site, one)

    def _suites(self, whole: ListDraft, suites: list[Fields]) -> None:
        for one in suites:
            name = one.text("name")
            steps = len(one.mappings("endpoints"))
            why = f"its {steps} steps hand values on; a site is one step"
            whole.dropped(f"suites: {name}", why)
            for field in one.rest():
                whole.dropped(field, "see the suite", quiet=True)

    def _announcements(self, whole: ListDraft, fields: Fields) -> None:
        for one in fields.mappings("announcements"):
            message = one.text("message").strip()
            at, kind = one.text("timestamp"), one.text("type") or "none"
            whole.dropped(f"announcements: {at} {kind}", f"write it into announcements: {message}")
            list(one.rest())

    def _others(self, whole: ListDraft, fields: Fields) -> None:
        if "metrics" in fields:
            fields.take("metrics")
            whole.carried("metrics", "", "/metrics is always there")
        for name, why in _ELSEWHERE.items():
            if name in fields:
                value = fields.take(name)
                cosmetic = name in _COSMETIC
                whole.dropped(name, why, quiet=cosmetic)
                for field in Fields(value, name).rest():
                    whole.dropped(field, why, quiet=True)
        if (tunneling := fields.mapping("tunneling")) is not None:
            for name in tunneling.rest():
                whole.dropped(name, "an SSH tunnel; run ssh -N -D 1080 HOST beside the monitor")
        for name in fields.rest():
            whole.dropped(
                name, "a key without meaning to Gatus, such as a place for anchors", quiet=True
            )
