"""
Scenarios of Ingresses, routes, gateways and listeners, each with the sites that they give.

tests/sources/test_routes.py checks the code against them, and docs/reference/routes.md shows them:
``python -m tests.sources.scenarios`` writes that page's tables.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from monitor.config.discovery import read_yaml

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "routes.md"


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
            "ingress s/a: the pattern /x(/|$)(.*) is left out; it is not a path",
            "ingress s/b: the pattern /x.* is left out; it is not a path",
        ],
    ),
    (
        "annotations: what is not enabled is left out, a path replaces all paths",
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
        "a gateway that is missing, and a parent that is not a gateway",
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
            "httproute s/r: the pattern /c.* is left out; it is not a path",
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


# ---------------------------------------------------------------- as a page


_ONE = {
    "ingresses": "Ingress",
    "httproutes": "HTTPRoute",
    "grpcroutes": "GRPCRoute",
    "tlsroutes": "TLSRoute",
}


def filled(page: str) -> str:
    """Return the page with its tables as they should be."""
    parts = {
        "ingresses": _table((name, "ingresses", *rest) for name, *rest in INGRESSES),
        "gateways": f'```yaml title="gateways"\n{GATEWAYS.strip()}\n```',
        "routes": _table(ROUTES),
    }
    for name, text in parts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}"
    return page


def _table(rows: Iterable[Any]) -> str:
    lines = ["| case | written | sites | left out |", "| --- | --- | --- | --- |"]
    for name, kind, objects, urls, remarks in rows:
        cells = (_written(kind, objects), map(_site, urls), remarks)
        lines.append(f"| {name} | {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines)


def _written(kind: str, objects: str) -> Iterator[str]:
    for (namespace, name), item in by_key(objects).items():
        shown = {"annotations": item["metadata"]["annotations"], **item["spec"]}
        text = yaml.safe_dump(
            {key: value for key, value in shown.items() if value},
            default_flow_style=True,
            sort_keys=False,
            width=10_000,
        )
        yield f"{_ONE[kind]} {namespace}/{name}: {text.strip()}"


def _site(url: str) -> str:
    """A mistake in an annotation rejects the site."""
    return f"no site: {url.removeprefix('! ')}" if url.startswith("! ") else url


def _cell(lines: Iterable[str]) -> str:
    escaped = (line.replace("|", "\\|") for line in lines)
    return "<br>".join(f"`{line}`" for line in escaped)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
