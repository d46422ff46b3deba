"""The parts that modules of several protocols share: addresses, TLS, logins and headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from monitor.config.blackbox.draft import Draft, scalar
from monitor.config.blackbox.form import Authorization, HttpClient, HttpHeader, OAuth2, TlsConfig
from monitor.config.nodes import Node, Scalar


def put_network(options: Any, draft: Draft, section: str) -> None:
    if not options.ip_protocol_fallback:
        # blackbox_exporter treats every text except ip6 and the empty one as IPv4
        version = "6" if options.preferred_ip_protocol in ("", "ip6") else "4"
        draft.put("network.ip", version, section, "preferred_ip_protocol")
    source = getattr(options, "source_ip_address", None)
    if source and not _is_address(source):
        draft.fails(f"{source!r} is not an IP address", section, "source_ip_address")
    elif source:
        draft.put("network.source_address", source, section, "source_ip_address")


def _is_address(text: str) -> bool:
    try:
        return "%" not in text and bool(ip_address(text))
    except ValueError:
        return False


_TLS_PARTS = {"ca": "ca_file", "cert": "cert_file", "key": "key_file"}


def put_tls(config: TlsConfig, draft: Draft, *keys: str) -> None:
    if config.insecure_skip_verify:
        draft.put("tls.verify", False, *keys, "insecure_skip_verify")
    for name, file in _TLS_PARTS.items():
        if getattr(config, name):
            text = f"certificates and keys must be in files; name one in {file}"
            draft.remark(text, *keys, name)
        _no_reference(config, name, draft, *keys)
    for name in ("ca_file", "cert_file", "key_file", "server_name"):
        if value := getattr(config, name):
            draft.put(f"tls.{name}", value, *keys, name)
    for name in ("min_version", "max_version"):
        if version := getattr(config, name):
            draft.put(f"tls.{name}", f"{version[3]}.{version[4]}", *keys, name)
            if version in ("TLS10", "TLS11"):  # Go supports these at its usual security level
                draft.put("tls.legacy", True, *keys, name)


def _no_reference(record: Any, name: str, draft: Draft, *keys: str) -> None:
    if getattr(record, f"{name}_ref"):
        draft.fails("there is no secret manager", *keys, f"{name}_ref")


@dataclass(frozen=True, slots=True)
class Login:
    """
    The logins of one HTTP client: their place in the file, and the section that they become.

    Attributes:
        section: Our section, ``http`` or ``ws``.
        keys: The path of the client in the file.
    """

    draft: Draft
    section: str
    keys: tuple[str, ...]

    def secret(self, record: Any, name: str, *keys: str) -> Node | str:
        path = getattr(record, f"{name}_file")
        if path:
            return self.draft.file(path, *self.keys, *keys, f"{name}_file")
        if hasattr(record, f"{name}_ref"):
            _no_reference(record, name, self.draft, *self.keys, *keys)
        return getattr(record, name) or ""

    def put(self, config: HttpClient, headers: dict[str, Any]) -> None:
        """Write the login of ``basic_auth``, ``authorization``, ``bearer_token`` or ``oauth2``."""
        if any(name.lower() == "authorization" for name in headers) and not config.oauth2:
            return  # in blackbox_exporter a written header wins
        section, draft = self.section, self.draft
        if basic := config.basic_auth:
            login = {name: self.secret(basic, name, "basic_auth") for name in _BASIC}
            draft.put(f"{section}.basic_auth", login, *self.keys, "basic_auth")
        if config.bearer_token or config.bearer_token_file:
            token = self.secret(config, "bearer_token")
            draft.put(f"{section}.bearer_token", token, *self.keys, "bearer_token")
        if config.authorization:
            self._authorization(config.authorization, headers)
        if config.oauth2 and section == "http":
            for name in [name for name in headers if name.lower() == "authorization"]:
                del headers[name]  # in blackbox_exporter the token replaces it
            self._oauth2(config, config.oauth2)

    def _authorization(self, login: Authorization, headers: dict[str, Any]) -> None:
        credentials = self.secret(login, "credentials", "authorization")
        kind = login.type.strip() or "Bearer"
        keys = (*self.keys, "authorization")
        text = credentials.text if isinstance(credentials, Scalar) else str(credentials)
        if kind == "Bearer" and text:
            self.draft.put(f"{self.section}.bearer_token", credentials, *keys)
        elif text or self.section == "http":
            headers["Authorization"] = self.draft.secret(f"{kind} {text}".strip(), *keys)

    def _oauth2(self, config: HttpClient, client: OAuth2) -> None:
        draft, keys = self.draft, (*self.keys, "oauth2")
        if client.grant_type not in (None, "", "client_credentials"):
            draft.remark("the grant is always client_credentials", *keys, "grant_type")
        for name in ("tls_config", "proxy_url", "proxy_from_environment", "proxy_connect_header"):
            if (theirs := getattr(client, name)) and theirs not in (
                TlsConfig(),
                getattr(config, name),
            ):
                text = "a token is fetched the way that the site is asked, with its own options"
                draft.remark(text, *keys, name)
        grant: dict[str, Any] = {
            "token_url": client.token_url,
            "client_id": client.client_id,
            "client_secret": self.secret(client, "client_secret", "oauth2"),
            "scopes": client.scopes,
        }
        if client.endpoint_params:
            grant["params"] = client.endpoint_params
        draft.put("http.oauth2", grant, *keys)


_BASIC = ("username", "password")


def headers_of(
    headers: Mapping[str, HttpHeader], draft: Draft, *keys: str
) -> dict[str, Node | str]:
    return {name: _joined(values, draft, *keys, name) for name, values in headers.items()}


def _joined(header: HttpHeader, draft: Draft, *keys: str) -> Node:
    # RFC 9110, 5.2: one line with commas means the same as several lines
    files = [draft.file(path, *keys, "files", n) for n, path in enumerate(header.files)]
    if files and not header.values and not header.secrets and len(files) == 1:
        return files[0]
    texts = [one.text for one in files if isinstance(one, Scalar)]
    text = ", ".join((*header.values, *header.secrets, *texts))
    hidden = header.secrets or texts
    return draft.secret(text, *keys) if hidden else scalar(text, draft.at(*keys))
