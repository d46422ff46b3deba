"""Which sites come of Ingresses, and of the routes, gateways and listeners of the Gateway API."""

import pytest

from monitor.app.daemon import TABLES
from monitor.config.discovery import read_yaml
from monitor.config.load import load
from monitor.discovered import Found
from monitor.sources.ports import UnreadableError
from monitor.sources.routes import Gateways, Rules, common_hosts, from_ingresses, from_routes

RULES = Rules("kubernetes", "monitor.example", enabled=True, read_yaml=read_yaml)


def by_key(text):
    """Return objects by namespace and name, from YAML with ``NAMESPACE/NAME`` as keys."""
    found = {}
    for key, item in (read_yaml(text.encode(), "test") or {}).items():
        namespace, _, name = key.rpartition("/")
        meta = {"namespace": namespace, "name": name, "annotations": item.get("annotations", {})}
        found[namespace, name] = {
            "metadata": meta,
            "spec": item.get("spec", item),
            "status": item.get("status", {}),
        }
    return found


def told(gathered):
    """Return the URLs, each mistake after an exclamation mark, and the remarks."""
    urls = [
        f"! {one.problem}" if one.problem else one.keys["url"] for one in gathered.entries.values()
    ]
    return urls, list(gathered.remarks)


INGRESSES = [
    (
        "all hosts with all paths, by TLS where it is for them",
        (
            "s/a: {spec: {tls: [{hosts: [a.example, '*.w.example']}], rules: ["
            "{host: a.example, http: {paths: [{path: /, pathType: Prefix}, {path: /api/}]}},"
            "{host: b.example, http: {paths: [{path: /x y}]}},"
            "{host: c.w.example}, {host: c.d.w.example}]}}"
        ),
        [
            "https://a.example/",
            "https://a.example/api/",
            "http://b.example/x%20y",
            "https://c.w.example/",
            "http://c.d.w.example/",
        ],
        [],
    ),
    (
        "TLS without hosts is for all of them",
        "s/a: {spec: {tls: [{secretName: x}], rules: [{host: a.example}]}}",
        ["https://a.example/"],
        [],
    ),
    (
        "wildcards and rules for every host are left out",
        "s/a: {spec: {rules: [{host: '*.a.example'}, {http: {paths: [{path: /}]}}]}}",
        [],
        [
            "ingress s/a: the wildcard host *.a.example is left out; list its sites by hand",
            "ingress s/a: a rule for every host is left out; it names none",
        ],
    ),
    (
        "a default backend alone has no host",
        "s/a: {spec: {defaultBackend: {service: {name: x}}}}",
        [],
        ["ingress s/a: has no rule that names a host"],
    ),
    (
        "regular expressions are left out",
        (
            "s/a: {annotations: {nginx.ingress.kubernetes.io/use-regex: 'true'}, spec: {rules: ["
            "{host: a.example, http: {paths: [{path: '/x(/|$)(.*)'}, {path: /y}]}}]}}\n"
            "s/b: {spec: {rules: [{host: b.example, http: {paths: ["
            "{path: '/x.*', pathType: ImplementationSpecific}, {path: /x*y, pathType: Exact}]}}]}}"
        ),
        ["http://a.example/y", "http://b.example/x*y"],
        [
            "ingress s/a: the pattern /x(/|$)(.*) is left out; it is no path",
            "ingress s/b: the pattern /x.* is left out; it is no path",
        ],
    ),
    (
        "annotations: what is not enabled is no site, a path stands for all paths",
        (
            "s/a: {annotations: {monitor.example/enabled: 'false'}, spec: {rules: [{host: a}]}}\n"
            "s/b: {annotations: {monitor.example/path: /healthz}, spec: {rules: ["
            "{host: b.example, http: {paths: [{path: /x}, {path: /y}]}}]}}\n"
            "s/c: {annotations: {monitor.example/enabled: 'no'}, spec: {rules: [{host: c}]}}\n"
            "s/d: {annotations: {monitor.example/site: '['}, spec: {rules: [{host: d}]}}\n"
            "s/e: {annotations: {monitor.example/site: 'x'}, spec: {rules: [{host: e}]}}\n"
            "s/f: {annotations: {monitor.example/site: 'url: x'}, spec: {rules: [{host: f}]}}"
        ),
        [
            "http://b.example/healthz",
            '! monitor.example/enabled: must be "true" or "false"',
            "! monitor.example/site:2:1: is not YAML",
            "! monitor.example/site: must be a mapping",
            "! monitor.example/site: url: comes from the route's hosts and paths",
        ],
        [],
    ),
]


@pytest.mark.parametrize(
    ("objects", "urls", "remarks"),
    [row[1:] for row in INGRESSES],
    ids=[row[0] for row in INGRESSES],
)
def test_sites_of_ingresses(objects, urls, remarks):
    """Each row: Ingresses, the sites that come of them, and what is left out aloud."""
    found, left_out = told(from_ingresses(by_key(objects), RULES))
    assert [one[: len(url)] for one, url in zip(found, urls, strict=True)] == urls
    assert left_out == remarks


GATEWAYS = """
infra/web:
  spec:
    gatewayClassName: fast
    listeners:
      - {name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}
      - name: https
        protocol: HTTPS
        port: 443
        hostname: '*.example'
        allowedRoutes: {namespaces: {from: Selector}}
      - name: alt
        protocol: HTTPS
        port: 8443
        hostname: alt.example
        allowedRoutes: {namespaces: {from: All}, kinds: [{kind: HTTPRoute}]}
      - {name: pass, protocol: TLS, port: 6443, allowedRoutes: {namespaces: {from: All}}}
      - {name: own, protocol: HTTP, port: 8080}
s/near:
  spec:
    gatewayClassName: c
    listeners:
      - {name: one, protocol: HTTPS, port: 443, hostname: near.example}
      - {name: bad, protocol: HTTPS, port: 444, hostname: near.example}
  status: {listeners: [{name: bad, conditions: [{type: Conflicted, status: 'True'}]}]}
"""


def parent(name="web", namespace="infra", accepted="True", **more):
    """Return a parent reference, and the status that a controller writes for it."""
    ref = ", ".join(f"{key}: {value}" for key, value in more.items())
    ref = f"{{name: {name}, namespace: {namespace}{', ' if ref else ''}{ref}}}"
    condition = f"{{type: Accepted, status: '{accepted}', reason: Because}}"
    return ref, f"{{parentRef: {ref}, conditions: [{condition}]}}"


def route(spec, *parents, name="s/r", annotations="{}"):
    refs = ", ".join(ref for ref, _ in parents)
    statuses = ", ".join(status for _, status in parents if status)
    return (
        f"{name}: {{annotations: {annotations}, spec: {{parentRefs: [{refs}], {spec}}},"
        f" status: {{parents: [{statuses}]}}}}\n"
    )


ROUTES = [
    (
        "each listener that serves a host of the route, by its protocol and port",
        "httproutes",
        route("hostnames: [a.example, alt.example, a.other]", parent()),
        [
            "http://a.example/",
            "http://alt.example/",
            "http://a.other/",
            "https://a.example/",
            "https://alt.example/",
            "https://alt.example:8443/",
        ],
        [],
    ),
    (
        "one listener by its name",
        "httproutes",
        route("hostnames: [a.example]", parent(sectionName="https")),
        ["https://a.example/"],
        [],
    ),
    (
        "listeners by their port",
        "httproutes",
        route("hostnames: [alt.example]", parent(port=8443)),
        ["https://alt.example:8443/"],
        [],
    ),
    (
        "the listener's host where the route names none",
        "httproutes",
        route("rules: [{}]", parent("near", "s")),
        ["https://near.example/"],
        [],
    ),
    (
        "a listener in conflict serves nothing",
        "httproutes",
        route("hostnames: [near.example]", parent("near", "s", sectionName="bad")),
        [],
        ["httproute s/r: no listener of gateway s/near serves it"],
    ),
    (
        "no host at all",
        "httproutes",
        route("rules: [{}]", parent(sectionName="http")),
        [],
        ["httproute s/r: neither it nor listener http of gateway infra/web names a host"],
    ),
    (
        "wildcards are left out, unless the listener names the host",
        "httproutes",
        route("hostnames: ['*.example']", parent(sectionName="https"), parent(port=8443)),
        ["https://alt.example:8443/"],
        ["httproute s/r: the wildcard host *.example is left out; list its sites by hand"],
    ),
    (
        "a listener for its own namespace only",
        "httproutes",
        route("hostnames: [a.example]", parent(sectionName="own"))
        + route("hostnames: [b.example]", parent(sectionName="own"), name="infra/r"),
        ["http://b.example:8080/"],
        ["httproute s/r: no listener of gateway infra/web serves it"],
    ),
    (
        "only what a parent has accepted",
        "httproutes",
        route("hostnames: [a.example]", parent(accepted="False"))
        + route("hostnames: [b.example]", (parent()[0], ""), name="s/waits")
        + route("hostnames: [c.example]", parent("near", "s", "Unknown"), name="s/x"),
        [],
        [
            "httproute s/r: gateway infra/web does not accept it: Because",
            "httproute s/waits: gateway infra/web has not accepted it yet",
            "httproute s/x: gateway s/near does not accept it: Because",
        ],
    ),
    (
        "one of two parents has accepted it",
        "httproutes",
        route(
            "hostnames: [a.example]",
            parent(accepted="False", sectionName="http"),
            parent(sectionName="https"),
        ),
        ["https://a.example/"],
        ["httproute s/r: gateway infra/web does not accept it: Because"],
    ),
    (
        "a gateway that is not there, and a parent that is none",
        "httproutes",
        route("hostnames: [a.example]", parent("none"), parent("svc", kind="Service", group="''")),
        [],
        ["httproute s/r: there is no gateway infra/none"],
    ),
    (
        "all paths, but patterns and what a plain GET does not match",
        "httproutes",
        route(
            "hostnames: [a.example], rules: [{matches: [{path: {value: /a}},"
            " {path: {type: Exact, value: /b}, method: GET}, {path: {value: /a}}]},"
            " {matches: [{path: {type: RegularExpression, value: '/c.*'}},"
            " {path: {value: /d}, method: POST},"
            " {path: {value: /e}, headers: [{name: x, value: y}]},"
            " {queryParams: [{name: x, value: y}]}]}]",
            parent(sectionName="https"),
        ),
        ["https://a.example/a", "https://a.example/b"],
        [
            "httproute s/r: the pattern /c.* is left out; it is no path",
            "httproute s/r: /d is left out for the method POST",
            "httproute s/r: /e is left out where it is matched by headers or query parameters",
            "httproute s/r: / is left out where it is matched by headers or query parameters",
        ],
    ),
    (
        "gRPC, over TLS and without; not where a listener allows HTTPRoutes alone",
        "grpcroutes",
        route("hostnames: [alt.example]", parent()),
        ["grpc://alt.example:80", "grpcs://alt.example:443"],
        [],
    ),
    (
        "TLS that is passed through",
        "tlsroutes",
        route("hostnames: [db.example]", parent()),
        ["tls://db.example:6443"],
        [],
    ),
]


@pytest.mark.parametrize(
    ("kind", "routes", "urls", "remarks"),
    [row[1:] for row in ROUTES],
    ids=[row[0] for row in ROUTES],
)
def test_sites_of_routes(kind, routes, urls, remarks):
    """Each row: routes, the sites that come of them and the gateways above, what is left out."""
    gathered = from_routes(kind, by_key(routes), Gateways(by_key(GATEWAYS), {}), RULES)
    assert told(gathered) == (urls, remarks)


def test_each_of_them_passes_the_checks_of_the_list(tmp_path):
    """What comes of the table above is what a list may hold, name and labels included."""
    (tmp_path / "sites.yaml").write_text("discover: [{kubernetes: {}}]\n")
    config = load(tmp_path / "sites.yaml", TABLES, {})
    gateways = Gateways(by_key(GATEWAYS), {})
    entries = [
        entry
        for _, kind, routes, *_ in ROUTES
        for entry in from_routes(kind, by_key(routes), gateways, RULES).entries.values()
    ]
    unique = {entry.identity: entry for entry in entries}
    adopted = config.adoption(TABLES).adopt({"kubernetes": Found(tuple(unique.values()))})
    assert adopted.rejected == {}
    assert [site.name for site in adopted.sites] == list(unique)
    assert len(unique) > 12


def test_annotations_are_inherited():
    """The route's over the gateway's over the class's, key by key within a fragment."""
    gateways = by_key(
        GATEWAYS.replace(
            "s/near:\n",
            "s/near:\n  annotations: {monitor.example/path: /ready, monitor.example/site:"
            " '{timeout: 4s, expect: {status: [200]}, labels: {tier: edge}}'}\n",
        )
    )
    classes = by_key(
        "/c: {annotations: {monitor.example/enabled: 'false', monitor.example/site:"
        " '{interval: 30s, timeout: 9s}'}}"
    )
    chosen = route(
        "hostnames: [near.example], rules: [{matches: [{path: {value: /x}}]}]",
        parent("near", "s"),
        annotations="{monitor.example/enabled: 'true', monitor.example/site:"
        " '{expect: {latency: 1s}, name: near}'}",
    )
    silent = route("hostnames: [near.example]", parent("near", "s"), name="s/silent")
    gathered = from_routes(
        "httproutes", by_key(chosen + silent), Gateways(gateways, classes), RULES
    )
    (entry,) = gathered.entries.values()
    assert entry.place == "httproute s/r"
    assert entry.keys == {
        "name": "near",
        "url": "https://near.example/ready",
        "interval": "30s",
        "timeout": "4s",
        "expect": {"status": [200], "latency": "1s"},
        "labels": {
            "source": "kubernetes",
            "namespace": "s",
            "httproute": "r",
            "gateway": "s/near",
            "tier": "edge",
        },
    }


def test_a_gateway_that_cannot_be_read_costs_the_routes_that_need_it():
    """They keep what they had; without such a route nothing is lost."""
    unknown = Gateways({}, {}, {None: "gateways: refused"})
    routes = by_key(route("hostnames: [a.example]", parent()))
    with pytest.raises(UnreadableError, match=r"^gateways: refused$"):
        from_routes("httproutes", routes, unknown, RULES)
    rejected = by_key(route("hostnames: [a.example]", parent(accepted="False")))
    assert told(from_routes("httproutes", rejected, unknown, RULES))[0] == []


@pytest.mark.parametrize(
    ("listener", "names", "common"),
    [
        (None, [], []),
        (None, ["a.b"], ["a.b"]),
        ("a.b", [], ["a.b"]),
        ("a.b", ["a.b", "c.b"], ["a.b"]),
        ("*.b", ["a.b", "c.a.b", "b", "x.y"], ["a.b", "c.a.b"]),
        ("a.b", ["*.b"], ["a.b"]),
        ("*.b", ["*.a.b", "*.y"], ["*.a.b"]),
        ("*.a.b", ["*.b"], ["*.a.b"]),
        ("*.b", ["*.b"], ["*.b"]),
    ],
)
def test_hosts_in_common(listener, names, common):
    """By the Gateway API's rules for listeners and routes; of two wildcards the narrower one."""
    assert common_hosts(listener, names) == common
