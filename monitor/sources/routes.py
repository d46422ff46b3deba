"""
Turns Ingresses and routes of the Gateway API into the sites that they serve. Pure.

The rules are those of the Gateway API's reference: which listeners a route is attached to, which
hosts they have in common, and what conditions say.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from monitor.discovered import ListedSite
from monitor.sources.kube_watch import Key, Object
from monitor.sources.ports import ReadYaml, UnreadableError
from monitor.sources.targets import fragment

_GROUP = "gateway.networking.k8s.io"
_USE_REGEX = "nginx.ingress.kubernetes.io/use-regex"
_OF_REGEX = frozenset("[](){}*+?^$|\\")
_IN_PATH = "/%:@!$&'()*+,;=~-._"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PLAIN_METHODS = (None, "GET", "HEAD")
SCHEMES: Mapping[str, Mapping[str, str]] = {
    "httproutes": {"HTTP": "http", "HTTPS": "https"},
    "grpcroutes": {"HTTP": "grpc", "HTTPS": "grpcs"},
    "tlsroutes": {"TLS": "tls"},
}
"""By kind of route and protocol of the listener; other listeners do not serve such routes."""
_KINDS = {"httproutes": "HTTPRoute", "grpcroutes": "GRPCRoute", "tlsroutes": "TLSRoute"}


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What applies to all objects of one source.

    Attributes:
        source: Its name.
        prefix: The part before the slash in the names of annotations.
        enabled: Whether objects are sites if their annotations do not say.
    """

    source: str
    prefix: str
    enabled: bool
    read_yaml: ReadYaml


@dataclass(frozen=True, slots=True)
class Gateways:
    """
    The known gateways and classes.

    Attributes:
        unknown: Why gateways cannot be read, by namespace, or under None for all namespaces.
    """

    gateways: Mapping[Key, Object]
    classes: Mapping[Key, Object]
    unknown: Mapping[str | None, str] = field(default_factory=dict)


@dataclass(slots=True)
class RoutedSites:
    """The sites of some objects; a URL that is already there is not added again."""

    entries: dict[str, ListedSite] = field(default_factory=dict)
    remarks: dict[str, None] = field(default_factory=dict)

    def leave_out(self, place: str, what: str) -> None:
        self.remarks[f"{place}: {what}"] = None

    def add(self, entry: ListedSite) -> None:
        self.entries.setdefault(str(entry.keys.get("url") or entry.place), entry)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What annotations say; nearer ones override farther ones."""

    enabled: bool
    path: str | None
    keys: Mapping[str, Any]


# ---------------------------------------------------------------- Ingress


def from_ingresses(ingresses: Mapping[Key, Object], rules: Rules) -> RoutedSites:
    """Return the sites of Ingresses: each host with each path."""
    gathered = RoutedSites()
    for (namespace, name), ingress in sorted(ingresses.items()):
        place = f"ingress {namespace}/{name}"
        labels = _labels(rules, "ingress", namespace, name)
        try:
            wish = _wish([ingress], rules)
        except ValueError as error:
            gathered.add(ListedSite({}, place, str(error)))
            continue
        if not wish.enabled:
            continue
        spec = ingress["spec"]
        if not spec.get("rules"):
            gathered.leave_out(place, "has no rule that names a host")
        for rule in spec.get("rules") or ():
            host = _host(rule.get("host"), place, gathered)
            if host is None:
                continue
            scheme = "https" if _has_tls(spec, host) else "http"
            for path in _ingress_paths(ingress, rule, wish, place, gathered):
                gathered.add(_entry((scheme, host, None, path), labels, wish, place))
    return gathered


def _has_tls(spec: Mapping[str, Any], host: str) -> bool:
    for one in spec.get("tls") or ():
        hosts = one.get("hosts") or ()
        # A wildcard in a certificate stands for one label
        if not hosts or host in hosts or f"*.{host.partition('.')[2]}" in hosts:
            return True
    return False


def _ingress_paths(
    ingress: Object, rule: Mapping[str, Any], wish: _Wish, place: str, gathered: RoutedSites
) -> Iterator[str]:
    if wish.path is not None:
        yield wish.path
        return
    paths: Iterable[Any] = (rule.get("http") or {}).get("paths") or ({},)
    patterns = ingress["metadata"]["annotations"].get(_USE_REGEX) == "true"
    for one in paths:
        path = one.get("path") or "/"
        may_be_pattern = patterns or one.get("pathType") == "ImplementationSpecific"
        if may_be_pattern and _OF_REGEX.intersection(path):
            gathered.leave_out(place, f"the pattern {path} is left out; it is not a path")
        else:
            yield path


# ---------------------------------------------------------------- routes of the Gateway API


def from_routes(
    kind: str, routes: Mapping[Key, Object], gateways: Gateways, rules: Rules
) -> RoutedSites:
    """
    Return the sites of routes: each host with each path, for each accepting listener.

    Raises:
        UnreadableError: A gateway that a route needs cannot be read.
    """
    gathered = RoutedSites()
    for (namespace, name), route in sorted(routes.items()):
        place = f"{kind.removesuffix('s')} {namespace}/{name}"
        for parent in route["spec"].get("parentRefs") or ():
            if (parent.get("group", _GROUP), parent.get("kind", "Gateway")) != (_GROUP, "Gateway"):
                continue  # a service of a mesh, which cannot be reached from outside
            at = (parent.get("namespace") or namespace, parent.get("name", ""))
            if why := _not_accepted(route, parent, at):
                gathered.leave_out(place, f"gateway {at[0]}/{at[1]} {why}")
                continue
            gateway = gateways.gateways.get(at)
            if gateway is None:
                unknown = gateways.unknown.get(at[0]) or gateways.unknown.get(None)
                if unknown:
                    raise UnreadableError(unknown)
                gathered.leave_out(place, f"there is no gateway {at[0]}/{at[1]}")
                continue
            one = _Route(kind, (namespace, name), route, place)
            _attach(one, parent, (at, gateway), gateways.classes, rules, gathered)
    return gathered


@dataclass(frozen=True, slots=True)
class _Route:
    kind: str
    key: Key
    object: Object
    place: str


def _attach(
    route: _Route,
    parent: Mapping[str, Any],
    known: tuple[Key, Object],
    classes: Mapping[Key, Object],
    rules: Rules,
    gathered: RoutedSites,
) -> None:
    """Add the sites of a route at one gateway that has accepted it."""
    at, gateway = known
    shown = f"gateway {at[0]}/{at[1]}"
    chain = [gateway, route.object]
    if gateway_class := classes.get(("", gateway["spec"].get("gatewayClassName", ""))):
        chain.insert(0, gateway_class)
    try:
        wish = _wish(chain, rules)
    except ValueError as error:
        gathered.add(ListedSite({}, route.place, str(error)))
        return
    if not wish.enabled:
        return
    labels = {
        **_labels(rules, route.kind.removesuffix("s"), *route.key),
        "gateway": f"{at[0]}/{at[1]}",
    }
    listeners = list(_listeners(route.kind, route.key[0], parent, at, gateway))
    if not listeners:
        gathered.leave_out(route.place, f"no listener of {shown} serves it")
    names = route.object["spec"].get("hostnames") or ()
    for listener in listeners:
        scheme = SCHEMES[route.kind][listener["protocol"]]
        hosts = common_hosts(listener.get("hostname"), names)
        if not hosts and not names:
            where = f"listener {listener.get('name')} of {shown}"
            gathered.leave_out(route.place, f"neither it nor {where} names a host")
        for written in hosts:
            host = _host(written, route.place, gathered)
            for path in _paths(route, wish, gathered) if host is not None else ():
                port = listener.get("port")
                gathered.add(_entry((scheme, host, port, path), labels, wish, route.place))


def _not_accepted(route: Object, parent: Mapping[str, Any], at: Key) -> str | None:
    """Return why a parent does not serve the route; None if it does."""
    wanted = (*at, parent.get("sectionName"), parent.get("port"))
    namespace = route["metadata"].get("namespace")
    why = "has not accepted it yet"
    for status in route["status"].get("parents") or ():
        ref = status.get("parentRef") or {}
        found = (
            ref.get("namespace") or namespace,
            ref.get("name"),
            ref.get("sectionName"),
            ref.get("port"),
        )
        if found != wanted:
            continue
        accepted = _condition(status.get("conditions"), "Accepted")
        if accepted.get("status") == "True":
            return None
        if accepted:
            why = f"does not accept it: {accepted.get('reason')}"
    return why


def _condition(conditions: Any, kind: str) -> Mapping[str, Any]:
    for one in conditions or ():
        if one.get("type") == kind:
            found: Mapping[str, Any] = one
            return found
    return {}


def _listeners(
    kind: str, namespace: str, parent: Mapping[str, Any], at: Key, gateway: Object
) -> Iterator[Mapping[str, Any]]:
    """Yield the listeners of a gateway that serve a route of this kind and namespace."""
    states = {
        one.get("name"): one.get("conditions") for one in gateway["status"].get("listeners") or ()
    }
    for listener in gateway["spec"].get("listeners") or ():
        section, port = parent.get("sectionName"), parent.get("port")
        allowed = listener.get("allowedRoutes") or {}
        kinds = [one.get("kind") for one in allowed.get("kinds") or ()]
        source = (allowed.get("namespaces") or {}).get("from", "Same")
        state = states.get(listener.get("name"))
        if (
            (section is None or section == listener.get("name"))
            and (port is None or port == listener.get("port"))
            and listener.get("protocol") in SCHEMES[kind]
            and (not kinds or _KINDS[kind] in kinds)
            # The gateway has decided whether a selector matches: it has accepted the route
            and (source in ("All", "Selector") or (source == "Same" and namespace == at[0]))
            and _condition(state, "Accepted").get("status") != "False"
            and _condition(state, "Conflicted").get("status") != "True"
        ):
            yield listener


def common_hosts(listener: str | None, route: Iterable[str]) -> list[str]:
    """
    Return the hosts, including wildcards, that a listener and a route have in common.

    A wildcard stands for one or more labels.
    """
    names = list(route)
    if not listener:
        return names
    if not names:
        return [listener]
    common: dict[str, None] = {}
    for name in names:
        if name == listener or _covers(listener, name):
            common[name] = None
        elif _covers(name, listener):
            common[listener] = None
    return list(common)


def _covers(pattern: str, name: str) -> bool:
    return pattern.startswith("*.") and name.endswith(pattern[1:]) and name != pattern[1:]


def _paths(route: _Route, wish: _Wish, gathered: RoutedSites) -> Iterator[str | None]:
    place = route.place
    if route.kind != "httproutes":
        yield None
        return
    if wish.path is not None:
        yield wish.path
        return
    rules: Iterable[Any] = route.object["spec"].get("rules") or ({},)
    for match in _matches(rules):
        path = match.get("path") or {}
        value = path.get("value") or "/"
        if path.get("type") == "RegularExpression":
            gathered.leave_out(place, f"the pattern {value} is left out; it is not a path")
        elif match.get("headers") or match.get("queryParams"):
            what = f"{value} is left out where it is matched by headers or query parameters"
            gathered.leave_out(place, what)
        elif match.get("method") not in _PLAIN_METHODS:
            gathered.leave_out(place, f"{value} is left out for the method {match['method']}")
        else:
            yield value


def _matches(rules: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for rule in rules:
        yield from rule.get("matches") or ({},)


# ---------------------------------------------------------------- both


def _host(host: str | None, place: str, gathered: RoutedSites) -> str | None:
    if not host:
        gathered.leave_out(place, "a rule for every host is left out; it names none")
    elif host.startswith("*"):
        gathered.leave_out(place, f"the wildcard host {host} is left out; list its sites by hand")
    else:
        return host
    return None


def _labels(rules: Rules, kind: str, namespace: str, name: str) -> dict[str, str]:
    return {"source": rules.source, "namespace": namespace, kind: name}


def _entry(
    address: tuple[str, str | None, int | None, str | None],
    labels: Mapping[str, str],
    wish: _Wish,
    place: str,
) -> ListedSite:
    """Return the entry of a scheme, host, port and path."""
    scheme, host, port, path = address
    shown_port = "" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    written = "" if path is None else path if path.startswith("/") else f"/{path}"
    url = f"{scheme}://{host}{shown_port}{quote(written, _IN_PATH)}"
    # Two listeners may serve one host: their names distinguish its sites
    name = url.removeprefix("https://").removesuffix("/")
    own = wish.keys.get("labels")
    together = {**labels, **(own if isinstance(own, dict) else {})}
    return ListedSite({"name": name, **wish.keys, "url": url, "labels": together}, place)


def _wish(chain: Iterable[Object], rules: Rules) -> _Wish:
    """
    Return what the annotations of objects say, the nearest object last.

    Raises:
        ValueError: One cannot be understood.
    """
    enabled, path = rules.enabled, None
    keys: dict[str, Any] = {}
    for one in chain:
        annotations = one["metadata"]["annotations"]
        written = annotations.get(f"{rules.prefix}/enabled")
        if written is not None:
            if written not in ("true", "false"):
                raise ValueError(f'{rules.prefix}/enabled: must be "true" or "false"')
            enabled = written == "true"
        path = annotations.get(f"{rules.prefix}/path", path)
        name = f"{rules.prefix}/site"
        if name in annotations:
            more = fragment(annotations[name], name, rules.read_yaml)
            if "url" in more:
                raise ValueError(f"{name}: url: comes from the route's hosts and paths")
            keys = _over(keys, more)
    return _Wish(enabled, path, keys)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one; mappings under the same key are merged in the same way."""
    together = dict(below)
    for key, value in above.items():
        under = together.get(key)
        mappings = isinstance(under, dict) and isinstance(value, dict)
        together[key] = _over(under or {}, value) if mappings else value
    return together
