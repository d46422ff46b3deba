"""Translates an HTTP module of blackbox_exporter, with its expectations."""

import re
from typing import Any

from monitor.config.blackbox.client import Login, headers_of, put_network, put_tls
from monitor.config.blackbox.draft import Draft
from monitor.config.blackbox.form import BlackboxModule, Http, HttpClient
from monitor.grammar import TOKEN
from monitor.options import LARGEST

_GO_WRITES_ITSELF = frozenset({"content-length", "transfer-encoding", "trailer"})
_TOKEN = re.compile(TOKEN)
_HOST = re.compile(r"[\w.-]+")
_COMPRESSIONS = ("", "identity", "gzip", "br", "deflate")


def http_module(module: BlackboxModule, draft: Draft) -> None:
    http = module.http
    put_network(http, draft, "http")
    put_tls(http.tls_config, draft, "http", "tls_config")
    _proxy(http, draft)
    headers = _own_headers(http, draft)
    _host(http, draft)
    for name, value in headers_of(http.http_headers, draft, "http", "http_headers").items():
        headers[name] = value
    Login(draft, "http", ("http",)).put(http, headers)
    if http.method not in ("", "GET"):
        if not _TOKEN.fullmatch(http.method):
            draft.fails(f"{http.method!r} is not a method", "http", "method")
        draft.put("http.method", http.method, "http", "method")
    _compression(http, headers, draft)
    if headers:
        draft.put("http.headers", headers, "http", "headers")
    if 0 < http.body_size_limit <= LARGEST:
        draft.put("http.max_body", f"{http.body_size_limit}B", "http", "body_size_limit")
    if http.body:
        draft.put("http.body", http.body, "http", "body")
    if http.body_file:
        draft.put("http.body_file", http.body_file, "http", "body_file")
    # As in blackbox_exporter, the deprecated key wins
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


def _proxy(config: HttpClient, draft: Draft) -> None:
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


def _own_headers(http: Http, draft: Draft) -> dict[str, Any]:
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


def _host(http: Http, draft: Draft) -> None:
    """Use the name in Host for TLS, as blackbox_exporter does if the module sets no server_name."""
    if http.tls_config.server_name:
        return
    for name, value in http.headers.items():
        host = value.partition(":")[0]
        if name.lower() == "host" and _HOST.fullmatch(host):
            draft.put("tls.server_name", host, "http", "headers", name)


def _compression(http: Http, headers: dict[str, Any], draft: Draft) -> None:
    wanted = http.compression.lower()
    if wanted not in _COMPRESSIONS:
        draft.fails(f"{http.compression!r} is not a compression", "http", "compression")
    draft.put("http.compression", wanted not in ("", "identity"), "http", "compression")
    if http.compression and not any(name.lower() == "accept-encoding" for name in headers):
        headers["Accept-Encoding"] = http.compression


_STATUSES = range(100, 1000)
_VERSION = re.compile(r"HTTP/(1\.0|1\.1|2|2\.0|3|3\.0)")


def _http_expectations(http: Http, draft: Draft) -> None:
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
            draft.put(f"expect.body.{ours}", list(map(written_pattern, written)), "http", key)
    _headers(http, draft)
    expressions = []
    for key, form in (
        ("fail_if_body_json_matches_cel", "!({})"),
        ("fail_if_body_json_not_matches_cel", "{}"),
    ):
        if source := getattr(http, key):
            if not _looks_at_body(source):
                draft.wrong("it does not look at body", "http", key)
            expressions.append(form.format(_renamed(source)))
    if expressions:
        key = "fail_if_body_json_matches_cel"
        if not http.fail_if_body_json_matches_cel:
            key = "fail_if_body_json_not_matches_cel"
        draft.put("expect.that", expressions, "http", key)


def written_pattern(text: str) -> str:
    """Return a pattern that our options accept; they reject an empty one, which always matches."""
    return text or "(?:)"


def _headers(http: Http, draft: Draft) -> None:
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
        # A rule that forbids a missing header wins over those that allow one
        if True in missing[name] and False not in missing[name]:
            rules["absent"] = "allowed"
        else:
            rules["absent"] = False
        key = "fail_if_header_matches" if "not_matches" in rules else "fail_if_header_not_matches"
        draft.put("expect.header", {**found}, "http", key)


# Texts stay unchanged, and so do fields, which follow a dot
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
    Return an expression with our ``json`` for blackbox_exporter's ``body``, which is a JSON value.

    Our other variables do not exist there, or are names of list elements.
    """

    def rename(match: re.Match[str]) -> str:
        word = match[0]
        if word == "body":
            return "json"
        return f"{word}_" if word in _OURS else word

    return _CEL.sub(rename, expression)


def _looks_at_body(expression: str) -> bool:
    return any(match[0] == "body" for match in _CEL.finditer(expression))
