"""Turns one monitor of Uptime Kuma into a site."""

import json
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from monitor.importers.draft import SiteDraft
from monitor.importers.values import add_rule, bracketed, quoted, show
from monitor.secrecy import is_sensitive_header

_TYPES_LEFT_OUT: Mapping[str, str] = {
    "docker": "containers are cAdvisor's work; check what it serves",
    "steam": "games are not asked",
    "gamedig": "games are not asked",
    "mqtt": "MQTT is not spoken; tcp:// sees that the broker listens",
    "kafka-producer": "Kafka is not spoken; tcp:// sees that the broker listens",
    "rabbitmq": "check http://NODE:15672/api/health/checks/alarms with http.basic_auth",
    "radius": "RADIUS is not spoken",
    "snmp": "SNMP is snmp_exporter's work",
    "real-browser": "no browser is run; check the page by its status and its text",
    "tailscale-ping": "ping it by icmp:// through the tailnet",
    "system-service": "services are node_exporter's work",
    "pm2": "processes are an exporter's work",
    "globalping": "run a monitor in each place",
    "manual": "its state is set by hand; write an announcement",
    "ntp": "NTP is not spoken",
    "sip-options": "SIP is not spoken; tcp:// sees that the server listens",
    "grpc-keyword": "methods are not called; grpc:// asks the standard health service",
}
_DATABASES = {"postgres": 5432, "mysql": 3306, "mongodb": 27017, "redis": 6379, "oracledb": 1521}
_STARTTLS = {143: "imap", 110: "pop3", 21: "ftp", 5222: "xmpp", 389: "ldap"}
_DEFAULTS: Mapping[str, Any] = {
    "id": None, "user_id": None, "created_date": None, "weight": 2000, "url": "https://",
    "method": "GET", "maxredirects": 10, "accepted_statuscodes_json": '["200-299"]',
    "packet_size": 56, "ping_count": 1, "ping_numeric": 1, "ping_per_request_timeout": 2,
    "dns_resolve_type": "A", "dns_resolve_server": "1.1.1.1", "dns_last_result": None,
    "expiry_notification": 1, "domain_expiry_notification": 1, "http_body_encoding": "json",
    "conditions": "[]", "json_path_operator": "==", "save_error_response": 1, "json_path": "$",
    "response_max_length": 1024, "gamedig_given_port_only": 1, "auth_method": "",
    "oauth_auth_method": "client_secret_basic", "snmp_version": "2c", "mqtt_check_type": "keyword",
    "kafka_producer_brokers": "[]", "kafka_producer_sasl_options": '{"mechanism":"None"}',
    "rabbitmq_nodes": "[]", "ntp_stratum_threshold": 15, "ntp_time_offset_threshold": 1000,
    "ntp_root_dispersion_threshold": 1000, "expected_tls_alert": "none", "retry_interval": 0,
}  # fmt: skip
"""The values of columns that nobody changed, which need not be reported."""
_QUIET: Mapping[str, str] = {
    "description": "a comment of yours can say it",
    "expiry_notification": "SiteCertificateEnds of the shipped rules warns of every certificate",
    "domain_expiry_notification": "the registration of domains is not looked up",
    "resend_interval": "repeat_interval of notify, or of Alertmanager",
    "cache_bust": "no parameter is added to the URL",
    "retry_only_on_status_code_failure": "confirm counts every failure",
    "save_response": "failures are kept with their evidence",
    "save_error_response": "failures are kept with their evidence",
    "response_max_length": "failures are kept with their evidence",
    "ping_numeric": "names are not looked up backwards",
    "ping_per_request_timeout": "timeout is over all packets",
    "weight": "sites stand in the order of the list",
}
_PATH = re.compile(
    r"\$?\.?((?:[A-Za-z_][\w-]*|`[^`]+`)(?:\[\d+\])*(?:\.(?:[A-Za-z_][\w-]*|`[^`]+`)(?:\[\d+\])*)*)"
)
_COUNT = re.compile(r"\$count\((.*)\)")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?")
_ORDER = {">": "gt", ">=": "ge", "<": "lt", "<=": "le"}
_SERVER = re.compile(r"(?i)(?:server|data source)=(?:tcp:)?([^,;]+)(?:,(\d+))?")
_BODY_TYPES = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "xml": "text/xml; charset=utf-8",
}
_OPERATORS: Mapping[str, Callable[[str], tuple[str, str]]] = {
    "equals": lambda value: ("matches", quoted(value)),
    "not_equals": lambda value: ("not_matches", quoted(value)),
    "contains": lambda value: ("matches", f".*{quoted(value)}.*"),
    "not_contains": lambda value: ("not_matches", f".*{quoted(value)}.*"),
    "starts_with": lambda value: ("matches", f"{quoted(value)}.*"),
    "not_starts_with": lambda value: ("not_matches", f"{quoted(value)}.*"),
    "ends_with": lambda value: ("matches", f".*{quoted(value)}"),
    "not_ends_with": lambda value: ("not_matches", f".*{quoted(value)}"),
}


class Columns:
    """The columns of a monitor, each taken once; unused columns that somebody set are reported."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._left = dict(row)

    def take(self, key: str) -> Any:
        return self._left.pop(key, None)

    def text(self, key: str) -> str:
        value = self.take(key)
        return "" if value is None else str(value)

    def number(self, key: str, default: float = 0) -> float:
        value = self.take(key)
        try:
            number = default if value is None else float(value)
        except ValueError:
            return default
        return number if isfinite(number) else default

    def flag(self, key: str) -> bool:
        return bool(self.number(key))

    def document(self, key: str) -> Any:
        """Return the JSON value of a column; None if it has none."""
        text = self.text(key)
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            return None

    def chosen(self) -> list[str]:
        """Return the unused columns that do not have their default value."""
        return [
            key
            for key, value in self._left.items()
            if value not in (None, "", 0, "0", "[]") and not _is_default(key, value)
        ]


def _is_default(key: str, value: Any) -> bool:
    if key not in _DEFAULTS:
        return False
    default = _DEFAULTS[key]
    return default is None or str(value).strip() == str(default)


class MonitorReader:
    """
    Reads monitors.

    Args:
        proxies: URL of each proxy, by its number; it may hold credentials.
    """

    def __init__(self, proxies: Mapping[int, str]) -> None:
        self._proxies = proxies

    def read(self, site: SiteDraft, columns: Columns) -> None:
        """Draft the site; every column that somebody set is carried over, changed or reported."""
        kind = columns.text("type")
        site.carried("type", "url")
        interval = max(1.0, columns.number("interval", 60))
        site.carry("interval", "interval", show(interval))
        if kind == "push":
            self._push(site, columns, interval)
        else:
            self._patience(site, columns, interval)
        read = {
            "http": self._http, "keyword": self._http, "json-query": self._http,
            "port": self._port, "ping": self._ping, "dns": self._dns, "smtp": self._smtp,
            "websocket-upgrade": self._websocket, "push": lambda *_: None,
        }.get(kind)  # fmt: skip
        if read is not None:
            read(site, columns, kind)
        elif kind in _DATABASES or kind == "sqlserver":
            self._database(site, columns, kind)
        else:
            why = _TYPES_LEFT_OUT.get(kind, "monitors of this type have no counterpart")
            site.leave_out("type", f"{kind}: {why}")
        self._family(site, columns)
        if columns.flag("upside_down"):
            site.leave_out(
                "upside_down",
                "upside down: it must fail. Expect what is there instead, such as status: 404, or"
                " alert on probe_success == 1",
                shown=True,
            )
        for name in columns.chosen():
            why = _QUIET.get(name, "of another type of monitor")
            site.dropped(name, why, quiet=True)

    # ------------------------------------------------------------ what all have

    def _patience(self, site: SiteDraft, columns: Columns, interval: float) -> None:
        timeout = columns.number("timeout")
        patience = min(timeout if timeout > 0 else interval * 0.8, interval)
        site.put("timeout", show(patience))
        if timeout > 0:
            site.carried("timeout", "timeout")
        retries = int(columns.number("maxretries"))
        pause = columns.number("retry_interval")
        if retries > 0:
            site.put("confirm.failures", retries + 1)
            site.put("confirm.retry_interval", show(pause if pause > 0 else interval))
            site.carried("maxretries", "confirm.failures")
            site.carried("retry_interval", "confirm.retry_interval")

    def _push(self, site: SiteDraft, columns: Columns, interval: float) -> None:
        del site.keys["interval"]
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", str(site.keys["name"])).strip("-").lower()
        site.put("url", f"push:{slug or site.item}")
        site.put("push.token", site.hide(columns.text("push_token"), "token"))
        site.put("push.every", show(interval))
        retries, pause = int(columns.number("maxretries")), columns.number("retry_interval")
        grace = retries * (pause if pause > 0 else interval)
        if grace:
            site.put("push.grace", show(grace))
            site.carried("maxretries", "push.grace")
            site.carried("retry_interval", "push.grace")
        site.carried("push_token", "push.token")
        columns.take("timeout")

    def _family(self, site: SiteDraft, columns: Columns) -> None:
        family = columns.text("ip_family")
        if family in ("ipv4", "ipv6"):
            site.carry("ip_family", "network.ip", family.removeprefix("ipv"))

    # ------------------------------------------------------------ HTTP

    def _http(self, site: SiteDraft, columns: Columns, kind: str) -> None:
        site.put("url", site.safe_url(columns.text("url").strip()))
        site.carried("url", "url")
        method = columns.text("method").strip().upper() or "GET"
        if method != "GET":
            site.carry("method", "http.method", method)
        self._body(site, columns)
        self._headers(site, columns, "http")
        self._login(site, columns, "http")
        redirects = int(columns.number("maxredirects", 10))
        if redirects == 0:
            site.carry("maxredirects", "http.follow_redirects", False)
        elif redirects != 10:  # noqa: PLR2004  ours by default
            site.carry("maxredirects", "http.max_redirects", redirects)
        proxy = int(columns.number("proxy_id"))
        if proxy in self._proxies:
            url = site.parent.secrets.in_url(self._proxies[proxy], "proxy", str(proxy))
            site.carry("proxy_id", "http.proxy", url)
        elif proxy:
            site.carried("proxy_id", "", "the proxy is not active")
        self._tls(site, columns)
        self._status(site, columns)
        if kind == "keyword":
            self._keyword(site, columns)
        elif kind == "json-query":
            self._query(site, columns)

    def _tls(self, site: SiteDraft, columns: Columns) -> None:
        if columns.flag("ignore_tls"):
            site.carry("ignore_tls", "tls.verify", False)

    def _body(self, site: SiteDraft, columns: Columns) -> None:
        body = columns.text("body")
        encoding = columns.text("http_body_encoding") or "json"
        if body.strip():
            site.carry("body", "http.body", body)
            _header(site, "http", "Content-Type", _BODY_TYPES.get(encoding, _BODY_TYPES["json"]))
            site.carried("http_body_encoding", "http.headers")

    def _headers(self, site: SiteDraft, columns: Columns, section: str) -> None:
        headers = columns.document("headers")
        if not isinstance(headers, Mapping):
            return
        for name, value in headers.items():
            text = str(value)
            known = site.keys.get(section, {}).get("headers", {})
            for other in [one for one in known if one.lower() == name.lower()]:
                del known[other]
            secret = is_sensitive_header(name)
            if name.lower() == "authorization" and text.lower().startswith("bearer "):
                token = text.partition(" ")[2].strip()
                site.put(f"{section}.bearer_token", site.hide(token, "token"))
            elif name.lower() == "user-agent":
                site.put(f"{section}.user_agent", text)
            else:
                _header(site, section, name, site.hide(text, name) if secret else text)
        site.carried("headers", f"{section}.headers")

    def _login(self, site: SiteDraft, columns: Columns, section: str) -> None:
        method = columns.text("auth_method")
        user, password = columns.text("basic_auth_user"), columns.text("basic_auth_pass")
        token = columns.text("bearer_token")
        if method == "basic" and user and password:
            login = {"username": user, "password": site.hide(password, "password")}
            site.put(f"{section}.basic_auth", login)
            site.carried("basic_auth_user", f"{section}.basic_auth")
            site.carried("basic_auth_pass", f"{section}.basic_auth")
        elif method == "bearer" and token:
            site.put(f"{section}.bearer_token", site.hide(token, "token"))
            site.carried("bearer_token", f"{section}.bearer_token")
        elif method == "oauth2-cc" and section == "http":
            self._oauth2(site, columns)
        elif method == "mtls":
            why = "save the texts as files and name them in tls.cert_file, key_file and ca_file"
            site.dropped("tls_cert, tls_key, tls_ca", why)
            for one in ("tls_cert", "tls_key", "tls_ca"):
                columns.take(one)
                site.dropped(one, "see above", quiet=True)
        elif method in ("ntlm", "oauth2-cc"):
            site.leave_out("auth_method", f"there is no log-in by {method}")
        if method:
            site.carried("auth_method", section)

    def _oauth2(self, site: SiteDraft, columns: Columns) -> None:
        options: dict[str, Any] = {
            "token_url": columns.text("oauth_token_url"),
            "client_id": columns.text("oauth_client_id"),
            "client_secret": site.hide(columns.text("oauth_client_secret"), "client-secret"),
        }
        if scopes := columns.text("oauth_scopes").split():
            options["scopes"] = scopes
        if audience := columns.text("oauth_audience"):
            options["params"] = {"audience": audience}
        site.put("http.oauth2", options)
        for one in ("token_url", "client_id", "client_secret", "scopes", "audience"):
            site.carried(f"oauth_{one}", "http.oauth2")

    def _status(self, site: SiteDraft, columns: Columns) -> None:
        codes = columns.document("accepted_statuscodes_json")
        good = [_codes(str(one)) for one in codes] if isinstance(codes, list) else []
        if good and good != ["2xx"]:
            site.put("expect.status", good[0] if len(good) == 1 else good)
            site.carried("accepted_statuscodes_json", "expect.status")

    def _keyword(self, site: SiteDraft, columns: Columns) -> None:
        keyword, invert = columns.text("keyword"), columns.flag("invert_keyword")
        if not keyword:
            site.changed("keyword", "", "it is empty, and so is found in every answer")
            return
        rule = "not_contains" if invert else "contains"
        site.put("expect.body", {rule: keyword})
        site.carried("invert_keyword", "expect.body")
        if re.search(r'[":{}\[\],]', keyword):
            why = "JSON is searched as it came; Uptime Kuma rewrites it without blanks"
            site.changed("keyword", f"expect.body.{rule}", why)
        else:
            site.carried("keyword", f"expect.body.{rule}")

    def _query(self, site: SiteDraft, columns: Columns) -> None:
        query, expected = columns.text("json_path").strip(), columns.text("expected_value")
        operator = columns.text("json_path_operator") or "=="
        count = _COUNT.fullmatch(query)
        found = _PATH.fullmatch(count[1] if count else query)
        root = query in ("", "$")
        if not found and not root:
            site.dropped("json_path", f"{query} is more than a path; say it in CEL under that")
            for one in ("json_path_operator", "expected_value"):
                site.dropped(one, "see json_path", quiet=True)
            return
        path = "$" if root or found is None else f"$.{_ours(found[1])}"
        rule = _comparison(operator, expected)
        if rule is None:
            site.dropped("json_path", f"{query} {operator} {expected} has no counterpart")
        else:
            if count:
                rule = {"length": rule}
            site.put("expect.json", {path: rule})
            site.changed("json_path", "expect.json", "types count; Uptime Kuma compares texts")
        for one in ("json_path_operator", "expected_value"):
            site.carried(one, "expect.json")

    # ------------------------------------------------------------ other protocols

    def _port(self, site: SiteDraft, columns: Columns, _: str) -> None:
        host, port = columns.text("hostname"), int(columns.number("port"))
        alert = columns.text("expected_tls_alert")
        security = columns.text("smtp_security")
        if alert and alert != "none":
            site.leave_out("expected_tls_alert", f"the alert {alert} cannot be expected")
        if security in ("secure", "starttls"):
            site.put("url", f"tls://{bracketed(host)}:{port}")
            if security == "starttls":
                site.put("tls.starttls", _STARTTLS.get(port, "smtp"))
            site.carried("smtp_security", "tls")
            self._tls(site, columns)
        else:
            site.put("url", f"tcp://{bracketed(host)}:{port}")
        site.carried("hostname", "url")
        site.carried("port", "url")

    def _ping(self, site: SiteDraft, columns: Columns, _: str) -> None:
        site.carry("hostname", "url", f"icmp://{bracketed(columns.text('hostname'))}")
        count, size = int(columns.number("ping_count", 1)), int(columns.number("packet_size", 56))
        site.put("icmp.count", count)
        site.carried("ping_count", "icmp.count")
        if size != 56:  # noqa: PLR2004  ours by default
            site.carry("packet_size", "icmp.size", f"{size}B")

    def _dns(self, site: SiteDraft, columns: Columns, _: str) -> None:
        servers = [one.strip() for one in columns.text("dns_resolve_server").split(",")]
        servers = [one for one in servers if one] or ["1.1.1.1"]
        port, kind = int(columns.number("port", 53)) or 53, columns.text("dns_resolve_type") or "A"
        name = columns.text("hostname")
        if kind == "PTR":
            try:
                name = ip_address(name).reverse_pointer
            except ValueError:
                site.changed("hostname", "url", "it is not an address, which PTR asks for")
        where = bracketed(servers[0]) + ("" if port == 53 else f":{port}")  # noqa: PLR2004  of DNS
        site.put("url", f"dns://{where}/{name.rstrip('.')}?type={kind}")
        for one in ("hostname", "port", "dns_resolve_type"):
            site.carried(one, "url")
        if len(servers) > 1:
            why = f"a site asks one server; {', '.join(servers[1:])} need sites of their own"
            site.changed("dns_resolve_server", "url", why)
            site.remarks.append(f"dns_resolve_server: {why}")
        else:
            site.carried("dns_resolve_server", "url")
        conditions = columns.document("conditions")
        if isinstance(conditions, list) and conditions:
            self._records(site, kind, conditions)

    def _records(self, site: SiteDraft, kind: str, conditions: list[Any]) -> None:
        before, after = {"MX": (r"\d+ ", r"\.?"), "TXT": ('"', '"')}.get(kind, ("", r"\.?"))
        for one in conditions:
            operator = _OPERATORS.get(str(one.get("operator"))) if isinstance(one, dict) else None
            alone = operator is not None and one.get("andOr", "and") != "or"
            if not alone or operator is None or kind in ("SOA", "SRV", "CAA"):
                site.dropped("conditions", f"{json.dumps(one)} has no counterpart in expect.answer")
                continue
            rule, pattern = operator(str(one.get("value", "")))
            answer = site.keys.setdefault("expect", {}).setdefault("answer", {})
            add_rule(answer, rule, f" {kind} {before}{pattern}{after}$")
            site.changed("conditions", "expect.answer", "each condition may hold of another answer")

    def _smtp(self, site: SiteDraft, columns: Columns, _: str) -> None:
        host, port = bracketed(columns.text("hostname")), int(columns.number("port", 25)) or 25
        security = columns.text("smtp_security")
        if security in ("secure", "starttls"):
            site.put("url", f"tls://{host}:{port}")
            if security == "starttls":
                site.put("tls.starttls", "smtp")
        else:
            site.put("url", f"tcp://{host}:{port}")
            site.put("tcp.dialogue", [{"expect": "^220"}])
        for one in ("hostname", "port", "smtp_security"):
            site.carried(one, "url")

    def _websocket(self, site: SiteDraft, columns: Columns, _: str) -> None:
        site.carry("url", "url", site.safe_url(columns.text("url").strip()))
        if protocols := [one.strip() for one in columns.text("ws_subprotocol").split(",") if one]:
            site.carry("ws_subprotocol", "ws.subprotocols", protocols)
        self._headers(site, columns, "ws")
        self._login(site, columns, "ws")
        self._tls(site, columns)
        if columns.flag("ws_ignore_sec_websocket_accept_header"):
            site.dropped("ws_ignore_sec_websocket_accept_header", "a wrong key is a protocol error")
        codes = columns.document("accepted_statuscodes_json")
        if codes not in (None, ["1000"], ["200-299"]):
            site.dropped("accepted_statuscodes_json", "codes that close a socket are not judged")

    def _database(self, site: SiteDraft, columns: Columns, kind: str) -> None:
        connection = columns.text("database_connection_string")
        columns.take("database_query")
        if kind == "sqlserver":
            server = _SERVER.search(connection)
            host, port = (server[1], int(server[2] or 1433)) if server else ("", 0)
            user = bool(re.search(r"(?i)(?:user id|uid|password|pwd)=", connection))
        else:
            host, port, user = _host_of(connection, _DATABASES[kind])
        if not host:
            site.leave_out("database_connection_string", f"{kind}: it names no host")
            return
        site.put("url", f"tcp://{bracketed(host)}:{port}")
        if kind == "redis" and not user:
            site.put("tcp.dialogue", [{"send": "PING"}, {"expect": r"^\+PONG"}])
            site.carried("database_connection_string", "url")
            return
        why = (
            "nobody logs in; that the server listens is checked, and queries are an exporter's work"
        )
        site.dropped("database_connection_string", why)
        site.dropped("database_query", why, quiet=True)


# ---------------------------------------------------------------- pure helpers


def _header(site: SiteDraft, section: str, name: str, value: str) -> None:
    site.keys.setdefault(section, {}).setdefault("headers", {})[name] = value


def _codes(written: str) -> Any:
    """Return accepted codes as people write them here."""
    first, dash, last = written.partition("-")
    if dash and last == f"{first[:1]}99" and first.endswith("00"):
        return f"{first[0]}xx"
    return written if dash else int(written) if written.isdigit() else written


def _ours(path: str) -> str:
    return re.sub(r"`([^`]+)`", r"\1", path)


def _comparison(operator: str, expected: str) -> Any:
    """Return the rule of a comparison; None if there is none."""
    value: Any = expected
    if expected in ("true", "false"):
        value = expected == "true"
    elif _NUMBER.fullmatch(expected):
        value = float(expected) if "." in expected else int(expected)
    if operator == "==":
        return value
    if operator == "!=":
        return {"ne": value}
    if operator == "contains":
        return {"matches": quoted(expected)} if expected else None
    if operator in _ORDER and isinstance(value, int | float) and not isinstance(value, bool):
        return {_ORDER[operator]: value}
    return None


def _host_of(connection: str, port: int) -> tuple[str, int, bool]:
    """Return the host, the port and whether there is a login, from a connection URL."""
    try:
        parts = urlsplit(connection.partition(",")[0] if "@" not in connection else connection)
        return parts.hostname or "", parts.port or port, bool(parts.username or parts.password)
    except ValueError:
        return "", 0, False
