"""Translates modules with a dialogue: TCP, Unix sockets and WebSockets."""

import re
from collections.abc import Mapping
from typing import Any

from monitor.config.blackbox.client import Login, headers_of, put_network, put_tls
from monitor.config.blackbox.draft import Draft
from monitor.config.blackbox.form import BlackboxModule, QueryResponse
from monitor.config.blackbox.go_yaml import is_text
from monitor.config.blackbox.groups import SEND_TEMPLATE, Groups
from monitor.config.blackbox.http import written_pattern
from monitor.config.nodes import Scalar


def _tcp_dialogue(steps: tuple[QueryResponse, ...], draft: Draft) -> list[dict[str, Any]]:
    """Return our steps; one step of blackbox_exporter may become four."""
    ours: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        keys = ("tcp", "query_response", number)
        groups = None
        if step.expect is not None:
            groups = Groups(step.expect)
            expect = groups.renamed(_names(step, groups, draft, *keys))
            ours.append({"expect": written_pattern(expect)})
        if step.expect_bytes:
            ours.append({"expect_bytes": _bytes(step.expect_bytes).hex(" ")})
        if step.send:
            ours.append(_send(step.send, groups, draft, *keys, end="\n"))
        if step.starttls:
            ours.append({"starttls": True})
    return ours


def _names(
    step: QueryResponse, groups: Groups, draft: Draft, *keys: str | int
) -> Mapping[int, str]:
    """Return the names of those groups that become labels, by number."""
    names: dict[int, str] = {}
    for index, label in enumerate(step.labels):
        group = groups.only_group(label.value)
        if group is None or group in names or not groups.can_be_named(label.name):
            text = f"the label {label.name} can only be the text of one group of expect"
            draft.remark(text, *keys, "labels", index)
        else:
            names[group] = label.name
    return names


def _bytes(text: str) -> bytes:
    """Return the bytes of a text, which may have been written as ``!!binary``."""
    return text.encode(errors="surrogateescape")


_REFERENCE = re.compile(r"\\(?=[0-9]|g<)")


def _send(
    text: str, groups: Groups | None, draft: Draft, *keys: str | int, end: str
) -> dict[str, str]:
    """Return the step that sends this, with our references; text that looks like one is escaped."""
    if not is_text(text):
        if groups is not None and SEND_TEMPLATE.search(text):
            draft.remark("what a pattern matched can be used only in text", *keys, "send")
        return {"send_bytes": _bytes(text + end).hex(" ")}
    if groups is None:
        return {"send": _REFERENCE.sub(r"\\\\", text) + end}
    sent, at = "", 0
    for match in SEND_TEMPLATE.finditer(text):
        sent += _REFERENCE.sub(r"\\\\", text[at : match.start()])
        at = match.end()
        name = match[1] or match[2]
        if match[0] != "$$" and groups.is_beyond(name):
            draft.remark(f"only nine groups can be sent again, and not {match[0]}", *keys, "send")
        sent += "$" if match[0] == "$$" else groups.reference(name)
    return {"send": sent + _REFERENCE.sub(r"\\\\", text[at:]) + end}


def tcp_module(module: BlackboxModule, draft: Draft) -> None:
    tcp = module.tcp
    put_network(tcp, draft, "tcp")
    steps = _tcp_dialogue(tcp.query_response, draft)
    if tcp.tls or any("starttls" in step for step in steps):
        put_tls(tcp.tls_config, draft, "tcp", "tls_config")
    if tcp.tls and any("starttls" in step for step in steps):
        draft.remark("starttls asks for TLS over TLS, which tls: true has made", "tcp", "tls")
        steps = [step for step in steps if "starttls" not in step]
    if steps:
        draft.put("tcp.dialogue", steps, "tcp", "query_response")


def unix_module(_: BlackboxModule, draft: Draft) -> None:
    draft.give_up("Unix sockets cannot be checked", "prober")


_SUBPROTOCOLS = "sec-websocket-protocol"


def websocket_module(module: BlackboxModule, draft: Draft) -> None:
    """
    Write a WebSocket module.

    blackbox_exporter uses only the logins and ``tls_config`` of ``http_config``, and only
    ``expect`` and ``send`` of a step, so the other keys are ignored here too.
    """
    socket = module.websocket
    keys = ("websocket", "http_config")
    put_network(socket, draft, "websocket")
    put_tls(socket.http_config.tls_config, draft, *keys, "tls_config")
    headers: dict[str, Any] = {}
    for name, value in headers_of(socket.headers, draft, "websocket", "headers").items():
        if name.lower() == _SUBPROTOCOLS and isinstance(value, Scalar):
            offered = [one.strip() for one in value.text.split(",") if one.strip()]
            draft.put("ws.subprotocols", offered, "websocket", "headers", name)
        else:
            headers[name] = value
    Login(draft, "ws", keys).put(socket.http_config, headers)
    if headers:
        draft.put("ws.headers", headers, "websocket", "headers")
    steps: list[dict[str, Any]] = []
    for number, step in enumerate(socket.query_response):
        groups = None
        if step.expect is not None:
            groups = Groups(step.expect)
            steps.append({"expect_next": written_pattern(groups.renamed({}))})
        if step.send:
            place = ("websocket", "query_response", number)
            if not is_text(step.send):
                draft.remark("a text message holds bytes that are not text", *place, "send")
            steps.append(_send(step.send, groups, draft, *place, end=""))
    if steps:
        draft.put("ws.dialogue", steps, "websocket", "query_response")
