"""Turns one endpoint of Gatus into a site."""

import json
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from monitor.importers.draft import SiteDraft, has_reference, resolved, without_value
from monitor.importers.gatus.alerting import Alerting
from monitor.importers.gatus.conditions import Expectations, read_conditions
from monitor.importers.gatus.values import Fields, parse_duration, parse_int
from monitor.importers.values import bracketed, quoted, show
from monitor.secrecy import is_sensitive_header
from monitor.units import Seconds

_SCHEMES = {
    "tcp": "tcp", "sctp": "sctp", "udp": "udp", "icmp": "icmp", "starttls": "starttls",
    "tls": "tls", "http": "http", "https": "http", "grpc": "grpc", "grpcs": "grpc", "ws": "ws",
    "wss": "ws", "ssh": "ssh",
}  # fmt: skip
_INTERVAL: Seconds = 60.0
_TIMEOUT: Seconds = 10.0
_FAILURES, _SUCCESSES = 3, 2
_DAYS = {
    "Monday": "mon", "Tuesday": "tue", "Wednesday": "wed", "Thursday": "thu", "Friday": "fri",
    "Saturday": "sat", "Sunday": "sun",
}  # fmt: skip
_MINUTES_OF_DAY = 1440
_NEVER_LATE = "365d"
_UNKNOWN = "Gatus 5.36 does not know it either"
_RANDOM = re.compile(r"\[RANDOM_STRING_(\d+)\]")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_LOCAL = "[LOCAL_ADDRESS]"
_LONGEST_RANDOM = 8192
_SHOWN_BY_US = "pages show no URLs, conditions or errors to the public"


class EndpointReader:
    """
    Reads endpoints.

    Args:
        alerting: The providers of alerts.
        environ: The variables with which Gatus would run.
    """

    def __init__(self, alerting: Alerting, environ: Mapping[str, str]) -> None:
        self._alerting = alerting
        self._environ = environ

    def read(self, site: SiteDraft, fields: Fields) -> None:
        """Draft the site; every field of the endpoint is carried over, changed or reported."""
        site.carried("name", "name")
        interval = self._common(site, fields)
        kind, query_type = self._address(site, fields)
        client = fields.mapping("client") or fields.below({}, "client")
        self._timeout(site, client, interval)
        conditions = fields.texts("conditions")
        found = read_conditions(conditions, kind, self._environ, query_type)
        self._request(site, fields, kind, found)
        self._client(site, client, kind)
        self._conditions(site, conditions, found)
        self._alerts(site, fields, interval)
        self._windows(site, fields)
        self._looks(site, fields)
        for name in ("store", "always-run"):
            if name in fields:
                fields.take(name)
                site.dropped(name, "it means something in suites only", quiet=True)
        for name in fields.rest():
            site.dropped(name, _UNKNOWN, quiet=True)

    def read_external(self, site: SiteDraft, fields: Fields) -> None:
        """Draft the site of an external endpoint, whose results are pushed."""
        fields.take("name")
        name = str(site.keys["name"])
        site.carried("name", "name")
        if group := fields.value("group"):
            site.carry("group", "group", group)
        self._enabled(site, fields)
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-").lower()
        site.put("url", f"push:{slug or 'job'}")
        site.carry("token", "push.token", site.hide(fields.text("token"), "token"))
        heartbeat = fields.mapping("heartbeat") or fields.below({}, "heartbeat")
        seconds = parse_duration(heartbeat.value("interval")) or 0.0
        if seconds:
            site.carry("heartbeat.interval", "push.every", show(seconds))
        else:
            site.put("push.every", _NEVER_LATE)
            site.remarks.append("heartbeat: there is none, so every is a year: it is never late")
        self._alerts(site, fields, seconds or _INTERVAL)
        self._windows(site, fields)
        for other in [*heartbeat.rest(), *fields.rest()]:
            site.dropped(other, _UNKNOWN, quiet=True)

    # ------------------------------------------------------------ parts

    def _enabled(self, site: SiteDraft, fields: Fields) -> None:
        enabled = fields.flag("enabled")
        if enabled is False:
            site.leave_out("enabled", "enabled is false")
        elif enabled:
            site.carried("enabled")

    def _common(self, site: SiteDraft, fields: Fields) -> Seconds:
        if group := fields.value("group"):
            site.carry("group", "group", group)
        self._enabled(site, fields)
        labels = fields.take("extra-labels")
        if isinstance(labels, Mapping) and labels:
            texts = {k: resolved(str(v or ""), self._environ) for k, v in labels.items()}
            site.carry("extra-labels", "labels", texts)
        return self._duration(site, fields, "interval", _INTERVAL)

    def _duration(self, site: SiteDraft, fields: Fields, key: str, default: Seconds) -> Seconds:
        text = fields.value(key)
        seconds = parse_duration(text) or 0.0
        if text and not seconds:
            site.changed(
                fields.name(key), key, f"{text!r} is not a duration; Gatus would not start"
            )
        seconds = seconds or default
        site.put(key, show(seconds))
        if text:
            site.carried(fields.name(key), key)
        return seconds

    def _timeout(self, site: SiteDraft, client: Fields, interval: Seconds) -> None:
        timeout = self._duration(site, client, "timeout", _TIMEOUT)
        if timeout > interval:
            site.put("timeout", show(interval))
            if timeout != _TIMEOUT:
                site.changed("client.timeout", "timeout", "no longer than the interval")

    def _address(self, site: SiteDraft, fields: Fields) -> tuple[str, str]:
        """Write the URL; return the kind of the endpoint and the type of a DNS query."""
        url = fields.text("url")
        dns = fields.mapping("dns")
        if dns is not None:
            return "dns", self._question(site, url, dns)
        meant = resolved(url, self._environ)
        scheme, separator, rest = url.partition("://")
        if not separator or has_reference(scheme):
            scheme, separator, rest = meant.partition("://")
        kind = _SCHEMES.get(scheme, "") if separator else ""
        if not kind:
            unknown = f"the scheme of {url!r} is unknown to Gatus, too"
            site.leave_out("url", without_value(url, self._environ) or unknown)
            return "http", ""
        if kind in ("udp", "sctp"):
            site.leave_out("url", f"{kind.upper()} is not checked; DNS over UDP is, by dns://")
        elif kind == "icmp":
            host = rest.rstrip("/")
            site.put("url", f"icmp://{bracketed(host)}")
            site.put("icmp.count", 1)
        elif kind == "starttls":
            site.put("url", f"tls://{rest}")
            site.put("tls.starttls", "smtp")
        elif kind == "ssh":
            has_port = ":" in resolved(rest, self._environ)
            site.put("url", f"tcp://{rest}" if has_port else f"tcp://{rest}:22")
            site.put("tcp.dialogue", [{"expect": "^SSH-"}])
        else:
            site.put("url", site.safe_url(url))
        site.carried("url", "url")
        return kind, ""

    def _question(self, site: SiteDraft, url: str, dns: Fields) -> str:
        server = url.removeprefix("dns://").removesuffix("/")
        name, kind = dns.text("query-name"), dns.value("query-type")
        if kind == "PTR":
            with suppress(ValueError):  # it is a name in in-addr.arpa already
                name = ip_address(name).reverse_pointer
        host = bracketed(server) if server.count(":") > 1 and "]" not in server else server
        site.put("url", f"dns://{host}/{name.rstrip('.')}?type={kind}")
        for theirs in ("url", "dns.query-name", "dns.query-type"):
            site.carried(theirs, "url")
        for other in dns.rest():
            site.dropped(other, _UNKNOWN, quiet=True)
        return kind

    def _request(self, site: SiteDraft, fields: Fields, kind: str, found: Expectations) -> None:
        method = fields.value("method")
        headers = fields.take("headers")
        body = fields.text("body")
        graphql = fields.flag("graphql")
        ssh = fields.mapping("ssh")
        if kind == "http":
            if method and method != "GET":
                site.put("http.method", method)
            if method:
                site.carried("method", "http.method")
        elif method:
            site.dropped("method", "only HTTP has methods", quiet=True)
        if isinstance(headers, Mapping):
            self._headers(site, kind, headers)
        if graphql and kind == "http":
            self._graphql(site, headers, body)
            site.carried("graphql", "http.body")
            body = ""
            site.carried("body", "http.body")
        elif graphql is not None:
            site.carried("graphql")
        if kind == "ws" or body:
            self._body(site, kind, body, found)
        if ssh is not None:
            self._ssh(site, ssh)

    def _headers(self, site: SiteDraft, kind: str, headers: Mapping[str, Any]) -> None:
        if kind not in ("http", "ws"):
            site.dropped("headers", "only HTTP and WebSockets have headers", quiet=True)
            return
        for name, value in headers.items():
            text = str(value or "")
            theirs = f"headers.{name}"
            if name.lower() == "authorization" and self._authorization(site, kind, text):
                site.carried(theirs, f"{kind}.bearer_token or basic_auth")
            elif name.lower() == "user-agent":
                site.carry(theirs, f"{kind}.user_agent", text)
            elif is_sensitive_header(name):
                put_header(site, kind, name, site.hide(text, name))
                site.carried(theirs, f"{kind}.headers")
            else:
                put_header(site, kind, name, text)
                site.carried(theirs, f"{kind}.headers")

    def _authorization(self, site: SiteDraft, kind: str, value: str) -> bool:
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer" and rest.strip():
            site.put(f"{kind}.bearer_token", site.hide(rest.strip(), "token"))
            return True
        if scheme.lower() == "basic" and not has_reference(rest):
            try:
                user, colon, password = _decoded(rest).partition(":")
            except (Base64Error, ValueError):
                return False
            if colon and user and password:
                site.put(
                    f"{kind}.basic_auth",
                    {"username": user, "password": site.hide(password, "password")},
                )
                return True
        return False

    def _graphql(self, site: SiteDraft, headers: Any, body: str) -> None:
        known = {str(one).lower() for one in headers} if isinstance(headers, Mapping) else set()
        if "content-type" not in known:
            put_header(site, "http", "Content-Type", "application/json")
        wrapped = json.dumps({"query": self._filled(site, body)}, ensure_ascii=False)
        site.put("http.body", wrapped)

    def _body(self, site: SiteDraft, kind: str, body: str, found: Expectations) -> None:
        text = self._filled(site, body)
        if kind == "http":
            site.put("http.body", text)
            if not _RANDOM.search(body):
                site.carried("body", "http.body")
        elif kind in ("tcp", "tls", "ws"):
            self._dialogue(site, kind, text, found)
        elif kind == "ssh":
            site.dropped("body", "no command is run over SSH; that the server answers is checked")
        elif kind not in ("udp", "sctp"):
            site.dropped("body", f"{kind} sends no body", quiet=True)

    def _dialogue(self, site: SiteDraft, kind: str, text: str, found: Expectations) -> None:
        section = "ws" if kind == "ws" else "tcp"
        if _LOCAL in text:
            site.dropped("body", f"{_LOCAL} cannot be sent")
            return
        steps: list[dict[str, Any]] = []
        if text and (section == "ws" or text.endswith("\n")):
            steps.append({"send": text})
        elif text:
            steps.append({"send_bytes": text.encode().hex(" ")})
        elif section == "ws":
            site.changed("body", "ws.dialogue", "the empty message that Gatus sends is not sent")
        for key, value in found.bodies:
            pattern = quoted(value) if key == "contains" else value
            steps.append({"expect": pattern})
        if not found.bodies:
            steps.append({"expect": "."})
        site.put(f"{section}.dialogue", steps)
        if text:
            site.carried("body", f"{section}.dialogue")

    def _filled(self, site: SiteDraft, body: str) -> str:
        """Return a body with the placeholders that Gatus replaces in it."""
        body = body.replace("[ENDPOINT_NAME]", str(site.keys.get("name", site.item)))
        body = body.replace("[ENDPOINT_GROUP]", str(site.keys.get("group", "")))
        body = body.replace("[ENDPOINT_URL]", str(site.keys.get("url", "")))
        if _RANDOM.search(body):
            site.changed("body", "http.body", "[RANDOM_STRING_N] is the same text in each check")
            body = _RANDOM.sub(lambda found: "x" * min(int(found[1]), _LONGEST_RANDOM), body)
        return body

    def _ssh(self, site: SiteDraft, ssh: Fields) -> None:
        logs_in = any(one in ssh for one in ("username", "password", "private-key"))
        for name in ssh.rest():
            site.dropped(name, "nobody logs in; that the server answers is checked", quiet=True)
        if logs_in:
            site.remarks.append("ssh: nobody logs in; that the server answers is checked")

    def _client(self, site: SiteDraft, client: Fields, kind: str) -> None:
        if client.flag("insecure"):
            if kind in ("http", "ws", "tls", "starttls", "grpc"):
                site.put("tls.verify", False)
            site.carried("client.insecure", "tls.verify")
        if client.flag("ignore-redirect"):
            if kind == "http":
                site.put("http.follow_redirects", False)
            site.carried("client.ignore-redirect", "http.follow_redirects")
        if proxy := client.text("proxy-url"):
            if kind == "http":
                site.carry("client.proxy-url", "http.proxy", site.safe_url(proxy))
            else:
                site.dropped("client.proxy-url", "Gatus uses it for HTTP only", quiet=True)
        if client.flag("store-cookies"):
            why = "cookies are kept from redirect to redirect, and dropped after each check"
            site.changed("client.store-cookies", "", why)
        self._ways(site, client)
        self._oauth2(site, client.mapping("oauth2"), kind)
        self._client_tls(site, client.mapping("tls"), kind)
        for name in client.rest():
            site.dropped(name, _UNKNOWN, quiet=True)

    def _ways(self, site: SiteDraft, client: Fields) -> None:
        """Carry over how the target is reached."""
        network = client.value("network")
        if network in ("ip4", "ip6"):
            site.carry("client.network", "network.ip", network.removeprefix("ip"))
        elif network:
            site.carried("client.network")
        if "dns-resolver" in client:
            resolver = client.text("dns-resolver")
            site.dropped("client.dns-resolver", f"{resolver}: the system looks names up")
        if client.mapping("identity-aware-proxy") is not None:
            why = "a token of Google's is not fetched; check what lies behind the proxy"
            site.leave_out("client.identity-aware-proxy", why)
        if tunnel := client.text("tunnel"):
            why = (
                f"it is reached through the SSH tunnel {tunnel!r}; run ssh -N -D 1080 HOST, and"
                " give the site http.proxy socks5h://127.0.0.1:1080"
            )
            site.leave_out("client.tunnel", why)

    def _oauth2(self, site: SiteDraft, oauth2: Fields | None, kind: str) -> None:
        if oauth2 is None:
            return
        if kind != "http":
            site.dropped("client.oauth2", "Gatus uses it for HTTP only", quiet=True)
            return
        options: dict[str, Any] = {
            "token_url": oauth2.text("token-url"),
            "client_id": oauth2.text("client-id"),
            "client_secret": site.hide(oauth2.text("client-secret"), "client-secret"),
        }
        if scopes := oauth2.texts("scopes"):
            options["scopes"] = scopes
        site.put("http.oauth2", options)
        for name in ("token-url", "client-id", "client-secret", "scopes"):
            site.carried(f"client.oauth2.{name}", "http.oauth2")
        for name in oauth2.rest():
            site.dropped(name, _UNKNOWN, quiet=True)

    def _client_tls(self, site: SiteDraft, tls: Fields | None, kind: str) -> None:
        if tls is None:
            return
        for theirs, ours in (("certificate-file", "cert_file"), ("private-key-file", "key_file")):
            path = tls.text(theirs)
            if path and kind in ("http", "ws", "grpc"):
                site.carry(f"client.tls.{theirs}", f"tls.{ours}", path)
            elif path:
                site.dropped(
                    f"client.tls.{theirs}", f"Gatus does not use it for {kind}", quiet=True
                )
        if "renegotiation" in tls:
            tls.take("renegotiation")
            why = "a server that renegotiates is answered"
            site.carried("client.tls.renegotiation", "", why)
        for name in tls.rest():
            site.dropped(name, _UNKNOWN, quiet=True)

    def _conditions(self, site: SiteDraft, conditions: list[str], found: Expectations) -> None:
        if found.impossible:
            site.leave_out("conditions", found.impossible)
        if found.expect:
            site.put("expect", found.expect)
        for condition in conditions:
            name = f"conditions: {condition}"
            if condition in found.dropped:
                site.dropped(name, found.dropped[condition])
            elif condition in found.changed:
                ours = found.ours.get(condition, "")
                site.changed(name, ours, found.changed[condition])
            else:
                site.carried(name, found.ours.get(condition, ""))

    # ------------------------------------------------------------ alerts, windows, looks

    def _alerts(self, site: SiteDraft, fields: Fields, interval: Seconds) -> None:
        failures, successes = [], []
        told: list[str] = []
        group = str(site.keys.get("group", ""))
        for alert in fields.mappings("alerts"):
            kind = alert.value("type")
            given = {key: one for key, one in alert.left().items() if self._is_given(key, one)}
            own = fields.below({**self._alerting.defaults.get(kind, {}), **given}, alert.path)
            if "enabled" in own:
                site.carried(f"{alert.path}.enabled", "confirm")
            if own.flag("enabled") is False:
                for name in [f"{alert.path}.type", *own.rest()]:
                    site.carried(name, "", "the alert is not enabled")
                continue
            failures.append(self._threshold(own, "failure-threshold", _FAILURES))
            successes.append(self._threshold(own, "success-threshold", _SUCCESSES))
            site.carried(f"{alert.path}.failure-threshold", "confirm.failures")
            site.carried(f"{alert.path}.success-threshold", "confirm.successes")
            told += self._alerting.receiver_of(site, kind, group, own)
        if failures:
            confirm: dict[str, Any] = {"failures": min(failures), "successes": min(successes)}
            if min(failures) > 1:
                confirm["retry_interval"] = show(interval)
            site.put("confirm", confirm)
        if self._alerting.receivers:
            site.put("notify", [name for name in self._alerting.receivers if name in told])

    def _is_given(self, key: str, value: Any) -> bool:
        """Return whether an alert has its own value; Gatus treats a threshold of 0 as missing."""
        zero = key.endswith("-threshold") and parse_int(resolved(str(value), self._environ)) == 0
        return value is not None and not zero

    def _threshold(self, alert: Fields, key: str, default: int) -> int:
        number = parse_int(alert.value(key))
        return number if number and number > 0 else default

    def _windows(self, site: SiteDraft, fields: Fields) -> None:
        windows = []
        for one in fields.mappings("maintenance-windows"):
            window = maintenance_window(one)
            if window is not None:
                windows.append(window)
            site.carried(one.path, "maintenance")
        if windows:
            site.put("maintenance", windows)

    def _looks(self, site: SiteDraft, fields: Fields) -> None:
        ui = fields.mapping("ui")
        if ui is None:
            return
        for name in ui.rest():
            if name.startswith("ui.hide-"):
                site.carried(name, "", _SHOWN_BY_US)
            else:
                site.dropped(name, "badges and messages look otherwise here", quiet=True)


def put_header(site: SiteDraft, kind: str, name: str, value: str) -> None:
    """Write a header of the request; its name may contain dots."""
    site.keys.setdefault(kind, {}).setdefault("headers", {})[name] = value


def maintenance_window(fields: Fields) -> dict[str, Any] | None:
    """Return a window in our form; None if it is not enabled, or if Gatus rejects it."""
    if fields.flag("enabled") is False:
        list(fields.rest())
        return None
    start = fields.value("start")
    minutes = round((parse_duration(fields.value("duration")) or 0.0) / 60)
    clock = _CLOCK.fullmatch(start)
    if clock is None or not minutes:
        return None  # Gatus would not start with it
    begin = int(clock[1]) * 60 + int(clock[2])
    end = (begin + minutes) % _MINUTES_OF_DAY
    days = [_DAYS[day] for day in fields.texts("every") if day in _DAYS]
    window: dict[str, Any] = {"days": days} if days else {}
    window |= {"from": start, "to": f"{end // 60:02}:{end % 60:02}"}
    zone = fields.value("timezone")
    if zone and zone != "UTC":
        window["timezone"] = zone
    return window


def _decoded(text: str) -> str:
    return b64decode(text.strip(), validate=True).decode()
