"""
Checks of unlisted targets, for ``/probe?target=``; runs in the web thread, which never waits.

Part of the composition root: it knows the configuration's modules, the engine's inbox, and the
guard that keeps strangers out of the network.
"""

import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from urllib.parse import unquote, urlsplit

from monitor.config.load import Config
from monitor.config.modules import Module, default_module
from monitor.engine.events import CheckRequested, Inbox
from monitor.metrics.scrape import probe_exposition
from monitor.model import ProbeKind, Result, Site
from monitor.outbound import NetworkOptions, TlsOptions, check_header
from monitor.probes.guard import Guard, GuardedNetwork
from monitor.probes.http import HttpOptions
from monitor.units import Seconds
from monitor.web.probe import LiveCheck, ProbeQuery, Refused

_LONGEST_ECHO = 200
_NO_SCRAPE_TIMEOUT: Seconds = 120.0
_OFFSET: Seconds = 0.5
"""The part of Prometheus' timeout that is reserved for the answer, as in blackbox_exporter."""
_SHORTEST: Seconds = 0.001
_QUEUE_PATIENCE: Seconds = 5.0
"""How long a check may take beyond its timeout: to get a thread, and to be judged."""
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)


class LiveProbes:
    """
    Makes checks with a module's options; a new configuration applies from the next check on.

    The mutable state is the replies that somebody waits for: the web thread adds them, the main
    thread removes them.
    """

    def __init__(
        self, config: Callable[[], Config], inbox: Inbox, probes: Mapping[str, ProbeKind]
    ) -> None:
        self._config = config
        self._inbox = inbox
        self._probes = probes
        self._numbers = count(1)
        self._waiting: set[Future[Result]] = set()

    def start(self, query: ProbeQuery) -> LiveCheck:
        """
        Ask the engine for a check.

        Parameters are checked in blackbox_exporter's order, with blackbox_exporter's messages.

        Raises:
            Refused: The check is not allowed, or cannot be made now.
        """
        config = self._config()
        settings = config.settings.probe_endpoint
        if not settings.enabled:
            text = "only listed sites are shown here, by /probe?site=NAME; probe_endpoint.enabled"
            raise Refused(404, f"{text} lets other targets be checked")
        known = {*config.modules, *config.set_aside}
        if query.module is not None and query.module not in known:
            raise Refused(400, f'Unknown module "{query.module[:_LONGEST_ECHO]}"')
        patience = _patience(query.scrape_timeout)
        if not query.target:
            raise Refused(400, "Target parameter is missing")
        target = _unescaped(query.target)
        if "\\" in target:  # URL parsers disagree about where the host ends
            raise Refused(400, "target holds a backslash; write %5C")
        name = query.module or default_module(target)
        if name in config.set_aside:
            text = f'Module "{name[:_LONGEST_ECHO]}" is left out: {config.set_aside[name]}'
            raise Refused(400, text)
        module = config.modules[name]
        site = _with_hostname(self._site(module, target, patience), query.hostname)
        site = _guarded(site, Guard.of(settings.allow))
        if len(self._waiting) >= settings.concurrent:
            text = f"{settings.concurrent} checks are under way, as many as"
            raise Refused(503, f"{text} probe_endpoint.concurrent allows")
        reply: Future[Result] = Future()
        self._waiting.add(reply)
        reply.add_done_callback(self._waiting.discard)
        self._inbox.put(CheckRequested(site, reply))
        return LiveCheck(
            site=site,
            module=module.name,
            module_text=module.masked,
            reply=reply,
            patience=site.timeout + _QUEUE_PATIENCE,
        )

    def expose(self, site: Site, result: Result, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text of a result's series."""
        return probe_exposition(site, result, accept)

    def _site(self, module: Module, target: str, patience: Seconds) -> Site:
        try:
            return module.site(
                target,
                # The name of a listed site contains no line end, so this name is unique
                name=f"\n{next(self._numbers)}",
                timeout=_timeout(module.timeout, patience),
                probes=self._probes,
            )
        except ValueError as error:
            raise Refused(400, f"target {error}") from error


def _patience(header: str | None) -> Seconds:
    """Return how long Prometheus waits, from X-Prometheus-Scrape-Timeout-Seconds."""
    if not header:
        return _NO_SCRAPE_TIMEOUT
    if not _NUMBER.fullmatch(header):
        shown = header[:_LONGEST_ECHO]
        text = f"Failed to parse timeout from Prometheus header: {shown!r} is not a number"
        raise Refused(500, text)
    seconds = float(header)
    if not seconds or not math.isfinite(seconds):
        return _NO_SCRAPE_TIMEOUT
    # No answer can take longer, because the web server ends it
    return min(seconds, _NO_SCRAPE_TIMEOUT)


def _timeout(of_module: Seconds | None, patience: Seconds) -> Seconds:
    """
    Return the deadline of a check.

        scrape 10s, module 5s     5s          scrape 0.3s, module 5s     5s
        scrape 10s, module 20s    9.5s        scrape 0.3s                1ms
        scrape 10s                9.5s
    """
    most = patience - _OFFSET
    if of_module is not None and (of_module < most or most < 0):
        return of_module
    return max(most, _SHORTEST)


def _unescaped(target: str) -> str:
    """Return the target unescaped once more, if the result is still a target."""
    text = unquote(target)
    return text if text.isprintable() and " " not in text else target


def _with_hostname(site: Site, hostname: str | None) -> Site:
    """
    Return the site under another name: in the Host header, and in TLS unless it sets one.

    Raises:
        Refused: The module already sets another Host.
    """
    if not hostname:
        return site
    options: list[object] = []
    for one in site.options:
        if isinstance(one, HttpOptions):
            options.append(_with_host_header(one, hostname))
        elif isinstance(one, TlsOptions) and one.server_name is None and site.scheme != "http":
            options.append(_with_server_name(one, hostname))
        else:
            options.append(one)
    return replace(site, options=tuple(options))


def _with_host_header(options: HttpOptions, hostname: str) -> HttpOptions:
    for name, value in options.headers.items():
        if name.lower() == "host":
            if value.lower() != hostname.lower():
                text = f"the module sets the header Host to {value!r}, and hostname says"
                raise Refused(400, f"{text} {hostname[:_LONGEST_ECHO]!r}")
            return options
    try:
        check_header("hostname", hostname)
    except ValueError as error:
        raise Refused(400, str(error)) from error
    return replace(options, headers={**options.headers, "Host": hostname})


def _with_server_name(options: TlsOptions, hostname: str) -> TlsOptions:
    try:
        return replace(options, server_name=hostname.partition(":")[0])
    except ValueError as error:
        raise Refused(400, f"hostname {hostname[:_LONGEST_ECHO]!r} is not a host name") from error


def _guarded(site: Site, guard: Guard) -> Site:
    """
    Return the site with a guard in its network options.

    Raises:
        Refused: The site's own host is not allowed.
    """
    host = unquote(urlsplit(site.url).hostname or "")
    why = guard.why_not(host)
    if why:
        raise Refused(403, f"{why} by probe_endpoint.allow")
    options = tuple(
        GuardedNetwork.around(one, guard) if isinstance(one, NetworkOptions) else one
        for one in site.options
    )
    return replace(site, options=options)
