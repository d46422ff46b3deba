"""
Ingresses and routes of the Gateway API, watched; runs in the source's thread.

Each kind of object has its own thread, which lists and watches it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event

from monitor.clock import SystemClock
from monitor.discovered import ListedSite, Source
from monitor.sources.kube_config import ApiServer, from_kubeconfig, in_cluster
from monitor.sources.kube_watch import Key, KubeWatch, Object, Resource, State
from monitor.sources.options import KubernetesOptions
from monitor.sources.ports import Look, UnreadableError, WatchedSource, World
from monitor.sources.routes import (
    SCHEMES,
    Gateways,
    RoutedSites,
    Rules,
    from_ingresses,
    from_routes,
)
from monitor.units import Seconds

_GROUP = "gateway.networking.k8s.io"
VERSIONS = {
    "ingresses": ("networking.k8s.io/v1",),
    "httproutes": (f"{_GROUP}/v1", f"{_GROUP}/v1beta1"),
    "grpcroutes": (f"{_GROUP}/v1", f"{_GROUP}/v1alpha2"),
    "tlsroutes": (f"{_GROUP}/v1", f"{_GROUP}/v1alpha3", f"{_GROUP}/v1alpha2"),
    "gateways": (f"{_GROUP}/v1", f"{_GROUP}/v1beta1"),
    "gatewayclasses": (f"{_GROUP}/v1", f"{_GROUP}/v1beta1"),
}
"""Groups with versions in which each kind may be served, the best one first."""
_GATEWAYS, _CLASSES, _INGRESSES = "gateways", "gatewayclasses", "ingresses"
_FIRST: Seconds = 30.0
"""How long the first look waits for lists."""
_AGAIN: Seconds = 60.0
_POLL: Seconds = 0.5
_QUIET: Seconds = 0.3
"""The wait for further changes: a controller writes the status of many routes in a row."""


class _Kubernetes(WatchedSource):
    """The mutable state belongs to the source's thread; watches notify it through the event."""

    def __init__(self, source: Source, options: KubernetesOptions, world: World) -> None:
        self._source = source
        self._options = options
        self._world = world
        self._rules = Rules(
            source.name, options.annotations, options.enabled, read_yaml=world.read_yaml
        )
        self._changed = Event()
        self._over = False
        self._watches: list[KubeWatch] = []
        self._access: ApiServer | None = None
        self._kubeconfig = b""

    def look(self) -> Look:
        self._connect()
        return self._look({watch.resource: watch.state() for watch in self._watches})

    def wait(self) -> None:
        if self._changed.wait(_AGAIN) and not self._over:
            self._pause(_QUIET)
        if self._over:
            self._disconnect()
        else:
            self._changed.clear()

    def close(self) -> None:
        self._over = True
        for watch in self._watches:
            watch.stop()
        self._changed.set()

    # -- watches

    def _connect(self) -> None:
        """Start the watches, or start them again with another kubeconfig."""
        content = b""
        path = self._options.kubeconfig
        if path is not None:
            try:
                content = Path(path).read_bytes()
            except OSError as error:
                raise UnreadableError(f"{path}: {error.strerror}") from None
        if self._access is not None and content == self._kubeconfig:
            return
        access = (
            in_cluster(self._world.environ)
            if path is None
            else from_kubeconfig(content, Path(path), self._options.context, self._world.read_yaml)
        )
        self._disconnect()
        self._access, self._kubeconfig = access, content
        self._watches = [
            KubeWatch(
                resource,
                access,
                self._changed.set,
                selector=None
                if resource.plural in (_GATEWAYS, _CLASSES)
                else self._options.selector,
                clock=SystemClock(),
            )
            for resource in self._resources()
        ]
        for watch in self._watches:
            watch.start()
        clock = SystemClock()
        until = clock.monotonic() + _FIRST
        while not self._over and not all(watch.state().settled for watch in self._watches):
            left = until - clock.monotonic()
            if left <= 0:
                break
            self._changed.wait(min(left, _POLL))
            self._changed.clear()

    def _disconnect(self) -> None:
        for watch in self._watches:
            watch.stop()
        self._watches = []
        if self._access is not None:
            self._access.close()
            self._access = None

    def _resources(self) -> Iterator[Resource]:
        wanted: list[str] = list(self._options.resources)
        if any(kind in SCHEMES for kind in wanted):
            wanted += [_GATEWAYS, _CLASSES]
        for plural in wanted:
            namespaces = (None,) if plural == _CLASSES else self._options.namespaces or (None,)
            for namespace in namespaces:
                yield Resource(plural, VERSIONS[plural], namespace)

    def _pause(self, seconds: Seconds) -> None:
        self._changed.clear()
        SystemClock().sleep(seconds)

    # -- from objects to sites

    def _look(self, states: dict[Resource, State]) -> Look:
        parts: dict[str, tuple[ListedSite, ...] | UnreadableError] = {}
        remarks: dict[str, None] = {}
        gateways = _gateways(states)
        seen: set[str] = set()
        for resource, state in states.items():
            if unread := _unread(resource, state):
                parts[resource.shown] = UnreadableError(unread)
                continue
            if resource.plural in (_GATEWAYS, _CLASSES):
                continue
            try:
                found = self._found(resource, state.objects or {}, gateways)
            except UnreadableError as error:
                parts[resource.shown] = error
                continue
            remarks.update(found.remarks)
            # An Ingress and a route may both serve a host while one replaces the other
            parts[resource.shown] = tuple(
                entry for url, entry in found.entries.items() if url not in seen
            )
            seen.update(found.entries)
        return Look(parts, tuple(remarks))

    def _found(
        self, resource: Resource, objects: Mapping[Key, Object], gateways: Gateways
    ) -> RoutedSites:
        if resource.plural == _INGRESSES:
            return from_ingresses(objects, self._rules)
        return from_routes(resource.plural, objects, gateways, self._rules)


def _gateways(states: dict[Resource, State]) -> Gateways:
    gateways: dict[Key, Object] = {}
    classes: dict[Key, Object] = {}
    unknown: dict[str | None, str] = {}
    for resource, state in states.items():
        if resource.plural == _GATEWAYS:
            gateways.update(state.objects or {})
            if why := _unread(resource, state):
                unknown[resource.namespace] = why
        elif resource.plural == _CLASSES:
            classes.update(state.objects or {})
    return Gateways(gateways, classes, unknown)


def _unread(resource: Resource, state: State) -> str | None:
    if state.error is None and state.objects is None:
        return f"{resource.shown}: no answer yet"
    return state.error


def open_source(source: Source, world: World) -> WatchedSource:
    """Return the reader of a source of this kind."""
    return _Kubernetes(source, source.options, world)
