"""
The running configuration, and how another one replaces it; runs in its own thread.

Part of the composition root: it knows the files, the engine's inbox and the web server.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeAlias

from monitor.app.gentle import interruptibly
from monitor.app.sharding import Shard
from monitor.app.systemd import ServiceManager
from monitor.clock import SystemClock
from monitor.config.diff import diff
from monitor.config.discovery import Adoption
from monitor.config.load import Config, Tables, load, load_record
from monitor.config.settings import Settings
from monitor.config.watch import Watcher
from monitor.discovered import Source, SourceContents
from monitor.engine.events import Inbox, SitesChanged
from monitor.errors import ConfigError, StartupError
from monitor.logs import Secrets, fields
from monitor.metrics.internal import Internal
from monitor.model import Site, SiteChange
from monitor.past import Remembered
from monitor.secrecy import longest_first
from monitor.units import Seconds
from monitor.web.web_config import WebConfig

_log = logging.getLogger(__name__)

_MOST_TOLD = 20
"""Log lines about unusable entries of one source; /config lists all of them."""


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """
    A request to load the configuration again.

    Attributes:
        cause: ``signal``, ``web``, ``file``, or ``discovery``, where the files are unchanged.
        reply: Receives all problems, one per line; empty once the new configuration runs.
    """

    cause: str
    reply: "Future[tuple[str, ...]] | None" = None


Requests: TypeAlias = "SimpleQueue[ReloadRequested]"
"""The reloader's queue; a signal handler may use it, whatever lock the main thread holds."""


class Finder(Protocol):
    """Watches the sources of sites."""

    def use(self, sources: Iterable[Source]) -> None:
        """Watch these sources from now on, and no others."""

    def found(self) -> Mapping[str, SourceContents]:
        """Return what is known about each source."""

    def stop(self) -> None:
        """Stop watching."""


DISCOVERY = "discovery"


class Reloader:
    """
    Loads the files on request, and applies a configuration without mistakes.

    Only its thread sets ``config`` and ``web_config``, the running configuration; any thread may
    read them. The configuration is the whole list; the engine gets only the sites of this shard.
    ``rejected`` says whether the last attempt to change it failed.

    Args:
        requests: The watcher, the web server, SIGHUP and sources of sites put reload requests into
            this queue.
        open_finder: Creates the object that watches sources; called once a list has any.
        shard: Returns the sites that belong to this daemon, from the settings at its start.

    Raises:
        ConfigError: The files have mistakes when the reloader is created.
        StartupError: The settings do not allow this daemon's role.
    """

    def __init__(
        self,
        path: Path,
        web_path: Path | None,
        *,
        tables: Tables,
        inbox: Inbox,
        requests: Requests,
        internal: Internal,
        secrets: Secrets,
        manager: ServiceManager,
        open_finder: Callable[[], Finder],
        shard: Callable[[Settings], Shard],
    ) -> None:
        self._path = path
        self._web_path = web_path
        self._tables = tables
        self._inbox = inbox
        self._requests = requests
        self._internal = internal
        self._secrets = secrets
        self._manager = manager
        self._open_finder = open_finder
        self._finder: Finder | None = None
        self._adoption: Adoption | None = None
        self._entries_rejected: Mapping[str, tuple[str, ...]] = {}
        self.rejected = False
        self._stopped = False
        self._watcher = Watcher(lambda: requests.put(ReloadRequested("file")))
        self._on_listed: Callable[[Config], None] = _nobody
        self._recall: Callable[[Sequence[Site]], Mapping[str, Remembered]] = lambda _: {}
        self._asked: set[Future[tuple[str, ...]]] = set()
        # Starts before the first look, so that no edit is missed
        self._watcher.start((path,))
        try:
            self._listed, self.web_config = self._load()
            self.config = self._with_discovered(self._listed)
            # Some settings are never read again; these are their values in this process
            self._at_start = self.config.settings
            self._mask(self.config)
            self.shard = shard(self.config.settings)
        except BaseException:
            self._watcher.stop()
            raise

    def start(
        self,
        reconfigure: Callable[[WebConfig], None],
        recall: Callable[[Sequence[Site]], Mapping[str, Remembered]],
        on_listed: Callable[[Config], None],
        on_running: Callable[[], None],
    ) -> int:
        """
        Apply the first configuration, then watch the files and wait for requests.

        Args:
            reconfigure: Gives the web server another configuration; may raise StartupError.
            on_listed: Called with each configuration whose sites the engine has received.
            recall: Returns what is remembered about sites that are new to the list; may wait for a
                database.
            on_running: Called in the reloader's thread once the sites are being checked.

        Returns:
            The number of sites.
        """
        first = self.shard.own(diff(None, self.config))

        self._on_listed, self._recall = on_listed, recall

        def serve() -> None:
            self._apply(first, self.config)
            on_running()
            while True:
                requests = [self._requests.get()]
                # Everyone who asked before the files are read gets the same answer
                while not self._requests.empty():
                    requests.append(self._requests.get())
                if self._stopped:
                    return  # the engine would no longer apply it
                cause = next((one.cause for one in requests if one.cause != DISCOVERY), None)
                if cause is None:
                    self._rediscover()
                    continue
                problems = self._reload(cause, reconfigure)
                for request in requests:
                    if request.reply is not None and request.reply.set_running_or_notify_cancel():
                        request.reply.set_result(problems)

        Thread(target=serve, name="reload", daemon=True).start()
        return len(first.added)

    def request(self) -> "Future[tuple[str, ...]]":
        """
        Ask for a reload, from any thread.

        Returns:
            A future with every problem; empty if the new configuration runs. It is cancelled if
            the daemon stops first.
        """
        reply: Future[tuple[str, ...]] = Future()
        if self._stopped:
            reply.cancel()
            return reply
        self._asked.add(reply)
        reply.add_done_callback(self._asked.discard)
        self._requests.put(ReloadRequested("web", reply))
        return reply

    def stop(self) -> None:
        """Stop watching files, begin no more reloads, and cancel the outstanding replies."""
        self._stopped = True
        self._watcher.stop()
        if self._finder is not None:
            self._finder.stop()
        for reply in tuple(self._asked):
            reply.cancel()

    def _load(self) -> tuple[Config, WebConfig]:
        config = load(self._path, self._tables, os.environ)
        web_config = WebConfig()
        if self._web_path is not None:
            web_config = load_record(self._web_path, WebConfig, os.environ)
        return config, web_config

    def _mask(self, *configs: Config) -> None:
        """Keep the secrets of these configurations out of the log from now on."""
        secrets = {secret for config in configs for secret in config.secrets()}
        self._secrets.values = longest_first(secrets)

    @interruptibly()
    def _reload(self, cause: str, reconfigure: Callable[[WebConfig], None]) -> tuple[str, ...]:
        """Return the problems in the files; empty if they were applied."""
        self._manager.reloading()
        try:
            config, web_config = self._load()
            # Log lines may mention both lists until one of them is gone
            self._mask(self.config, config)
            reconfigure(web_config)
            listed, config = config, self._with_discovered(config)
            self._mask(self.config, config)
            self._change_to(config, web_config, cause)
            self._listed = listed
        except ConfigError as error:
            # A mistake in a newly included file will be corrected in that file
            self._watcher.update(self._watched((*self.config.files, *error.files)))
            return self._rejected(cause, map(str, error.problems))
        except StartupError as error:
            return self._rejected(cause, [str(error)])
        except Exception:
            _log.exception("reload_failed")
            return self._rejected(cause, ["internal error; the log has the details"])
        finally:
            self._mask(self.config)
            self._manager.ready()
        return ()

    def _with_discovered(self, listed: Config) -> Config:
        """Return the list with the known entries of its sources; watch these from now on."""
        if self._finder is None:
            if not listed.sources:
                return listed
            self._finder = self._open_finder()
        self._finder.use(one.source for one in listed.sources)
        self._adoption = listed.adoption(self._tables)
        return self._adopt(listed, self._adoption, self._finder)

    def _adopt(self, listed: Config, adoption: Adoption, finder: Finder) -> Config:
        adopted = adoption.adopt(finder.found())
        for source, problems in adopted.rejected.items():
            known = set(self._entries_rejected.get(source, ()))
            new = [problem for problem in problems if problem not in known]
            self._internal.discovery_failed(source, len(new))
            for problem in new[:_MOST_TOLD]:
                _log.warning("discovery_rejected", extra=fields(source=source, problem=problem))
            if more := new[_MOST_TOLD:]:
                told = fields(source=source, problem=f"{len(more)} more; /config has all of them")
                _log.warning("discovery_rejected", extra=told)
        self._entries_rejected = adopted.rejected
        return listed.with_discovered(adopted)

    @interruptibly()
    def _rediscover(self) -> None:
        """Apply what the sources list now; the files are unchanged."""
        if self._adoption is None or self._finder is None:
            return
        try:
            config = self._adopt(self._listed, self._adoption, self._finder)
            self._mask(self.config, config)
            change = self.shard.own(diff(self.config, config))
            if change == SiteChange():
                self.config = config  # its text may have changed
            else:
                self._put_in_force(change, config)
        except Exception:
            _log.exception("reload_failed")
            return
        finally:
            self._mask(self.config)
        if change != SiteChange():
            told = {"added": change.added, "removed": change.removed, "changed": change.changed}
            _log.info(
                "discovered", extra=fields(**{key: len(sites) for key, sites in told.items()})
            )

    def _change_to(self, config: Config, web_config: WebConfig, cause: str) -> None:
        change = self.shard.own(diff(self.config, config))
        for name in _needing_restart(self._at_start, config.settings):
            _log.warning("setting_needs_restart", extra=fields(setting=name))
        before, web_before = self.config, self.web_config
        self.web_config = web_config
        self._apply(change, config)
        _log.info(
            "reloaded",
            extra=fields(
                cause=cause,
                added=len(change.added),
                removed=len(change.removed),
                changed=len(change.changed),
                **_beside_sites(before, config, web_before, web_config),
            ),
        )

    def _rejected(self, cause: str, problems: Iterable[str]) -> tuple[str, ...]:
        self.rejected = True
        self._internal.reloaded(ok=False, time=SystemClock().time())
        problems = tuple(problems)
        for problem in problems:
            _log.error("config_rejected", extra=fields(cause=cause, problem=problem))
        return problems

    def _apply(self, change: SiteChange, config: Config) -> None:
        self._put_in_force(change, config)
        self.rejected = False
        self._stopped = False
        self._watcher.update(self._watched(config.files))
        self._internal.reloaded(ok=True, time=SystemClock().time())
        for warning in config.warnings:
            _log.warning("config_warning", extra=fields(problem=str(warning)))
        for scheme in sorted({site.scheme for site in config.sites}):
            obstacle = self._tables.probes[scheme].obstacle
            if obstacle is not None and (why := obstacle()):
                _log.warning("probe_cannot_work", extra=fields(scheme=scheme, detail=why))

    def _put_in_force(self, change: SiteChange, config: Config) -> None:
        # A renamed site takes its memory from the site that leaves
        new = [site for site in change.added if site.was not in change.removed]
        remembered = self._recall(new) if new else {}
        applied: Future[None] = Future()
        # All sites: the histograms of several shards can be summed only if their bounds are equal
        bounds = bucket_bounds(config.sites, config.settings)
        self._inbox.put(SitesChanged(change, bounds, applied, config.connectivity, remembered))
        applied.result()
        self.config = config
        self._on_listed(config)

    def _watched(self, files: Iterable[Path]) -> tuple[Path, ...]:
        return (*files, self._web_path) if self._web_path else tuple(files)


def _nobody(config: Config) -> None:
    """Stand in for a callback until one is set."""


def bucket_bounds(sites: Iterable[Site], settings: Settings) -> tuple[Seconds, ...]:
    """Return the duration histogram's bounds for these sites."""
    return settings.bucket_bounds(max((site.timeout for site in sites), default=0.0))


def _beside_sites(
    before: Config, after: Config, web_before: WebConfig, web_after: WebConfig
) -> dict[str, object]:
    """Return what else a reload changed, as fields for its log line."""
    one, other = before.modules, after.modules
    modules = sum(one.get(name) != other.get(name) for name in {*one, *other})
    settings = [
        field.name
        for field in dataclasses.fields(Settings)
        if getattr(before.settings, field.name) != getattr(after.settings, field.name)
    ]
    if before.connectivity != after.connectivity:
        settings.append("connectivity")
    if web_before != web_after:
        settings.append("web-config")
    told: dict[str, object] = {"modules": modules}
    return {**told, "settings": ",".join(settings)} if settings else told


def _needing_restart(at_start: Settings, wanted: Settings) -> list[str]:
    """Return the settings that are read only at the start and differ from those values."""
    return [
        name
        for name in ("engine", "analysis", "history", "locations", "shutdown_grace")
        if getattr(at_start, name) != getattr(wanted, name)
    ]
