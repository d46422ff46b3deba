"""
Wires several places that reach one verdict: a place's reports and a hub's loop.

Part of the composition root. The NATS client is loaded only for places and hubs.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from monitor import __version__
from monitor.app.keeping import HubMemory
from monitor.app.reloader import Reloader
from monitor.app.sharding import HubShard, PlaceShard, Shard, owner
from monitor.board import StatusBoard
from monitor.clock import Clock, SystemClock
from monitor.config.load import Config
from monitor.config.places import LocationsSettings, QuorumKeys
from monitor.engine.events import (
    BeatCame,
    Inbox,
    PlacesChanged,
    ReportsCame,
    SecondOpinionAsked,
)
from monitor.engine.hub import HubRecorder
from monitor.engine.ports import Recorder
from monitor.engine.result import OWN_CONNECTION
from monitor.engine.state import down_by
from monitor.errors import StartupError
from monitor.locations import votes
from monitor.locations.hindsight import Hindsight
from monitor.locations.subjects import LOCATION
from monitor.locations.votes import Quorum, parse_enough
from monitor.logs import fields
from monitor.metrics.internal import Internal
from monitor.metrics.places import PlaceMeters
from monitor.model import Joint, Past, Site, SiteState, Status
from monitor.places import Abstention, Ballot, Report, Sender, SignOfLife
from monitor.units import Seconds, Timestamp

if TYPE_CHECKING:
    from monitor.app.memory import Memory
    from monitor.locations.access import NatsAccess
    from monitor.locations.hub_link import HubLink
    from monitor.locations.place_link import PlaceLink

_log = logging.getLogger(__name__)

_WITHOUT_DATA = (
    "with data none nothing is kept: a restart loses history and states, reads again all that the"
    " stream holds, and may tell an outage once more"
)
_LONGEST_REPLAY: Seconds = 900.0
"""How far back a hub reads at its start, to learn what each place said last."""


@dataclass(frozen=True, slots=True)
class Role:
    """
    A daemon's role among others.

    Attributes:
        location: The place whose checks it makes; None if it is not a place.
        hub: Whether it combines what places report, and checks nothing itself.
    """

    location: str | None = None
    hub: bool = False

    def shard(self, shard: Shard, settings: LocationsSettings | None) -> Shard:
        """
        Return the part of the sites that belongs to this daemon.

        Raises:
            StartupError: The list has no settings for locations, or too few for this many hubs.
        """
        if self.location is None and not self.hub:
            return shard
        partitions = located(settings).partitions
        if self.location is not None:
            return PlaceShard(shard.number, shard.total, self.location)
        if shard.total > partitions:
            raise StartupError(
                f"{shard.total} hubs cannot share {partitions} partitions; set locations.partitions"
                f" to at least {shard.total}, for all places and hubs alike"
            )
        return HubShard(shard.number, shard.total, partitions)


def require_nats() -> None:
    """
    Check that NATS' client can be loaded; only code for places loads it.

    Raises:
        StartupError: The client is not installed.
    """
    try:
        import_module("monitor.locations.access")
    except ModuleNotFoundError as error:
        raise StartupError(
            f"locations need the package {error.name}; install website-monitor[nats]"
        ) from error


ALONE = Role()
"""A daemon that checks sites and does not report to a hub."""


def role_of(location: str | None, *, hub: bool) -> Role:
    """
    Return the role that the command line gives a daemon.

    Raises:
        StartupError: It cannot be both, the name cannot be used, or the NATS client is missing.
    """
    if location is None and not hub:
        return ALONE
    require_nats()
    if location is not None and hub:
        raise StartupError("a hub checks nothing itself; say either --location or --hub")
    if location is not None and not LOCATION.fullmatch(location):
        raise StartupError(
            f"{location!r} is not a location; write 1 to 40 letters, digits, _ or -, such as fra"
        )
    return Role(location, hub)


def located(settings: LocationsSettings | None) -> LocationsSettings:
    """
    Return the settings of locations.

    Raises:
        StartupError: The list has none.
    """
    if settings is None:
        raise StartupError(
            "the site list says nothing of locations; write locations: with nats: and its servers"
        )
    return settings


def access_of(settings: LocationsSettings) -> "NatsAccess":
    from monitor.locations.access import NatsAccess  # noqa: PLC0415  see require_nats()

    nats = settings.nats
    return NatsAccess(
        servers=nats.servers,
        credentials=nats.credentials,
        user=nats.user,
        password=nats.password,
        token=nats.token,
        ca_file=nats.tls.ca_file,
        cert_file=nats.tls.cert_file,
        key_file=nats.tls.key_file,
    )


def quorum_of(settings: LocationsSettings) -> Quorum:
    """Return the rules for counting; without a quorum, the place that has a site decides."""
    keys = settings.quorum or QuorumKeys(minimum=1)
    return Quorum(
        down=parse_enough(keys.down),
        up=parse_enough(keys.up),
        minimum=keys.minimum,
        stale=settings.stale,
    )


def fingerprint(config: Config) -> str:
    """
    Return a value that is the same for two daemons with the same list.

    It masks secrets, so they may differ; so may the names of the files.
    """
    lines = (line for line in config.masked.splitlines() if not line.startswith("---"))
    return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()[:16]


class _Fingerprint:
    """Returns the fingerprint of the running configuration; computed once per configuration."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config
        self._of: Config | None = None
        self._text = ""

    def __call__(self) -> str:
        config = self._config()
        if config is not self._of:
            self._of, self._text = config, fingerprint(config)
        return self._text


class Link(Protocol):
    """A connection between a place and the hub."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class _NoLink:
    """Stands in if a daemon does not report to a hub."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class OwnEnd:
    """The parts of a daemon that checks sites; only a place's link leads anywhere."""

    recorder: Recorder
    link: Link


@dataclass(frozen=True, slots=True)
class HubEnd:
    """The parts that a hub has instead of probe threads."""

    recorder: HubRecorder
    link: Link
    votes: "Counting"
    meters: PlaceMeters
    fingerprint: Callable[[], str]


def end_of(
    role: Role,
    reloader: Reloader,
    memory: "Memory | None",
    recorder: HubMemory,
    inbox: Inbox,
    internal: Internal,
    board: StatusBoard,
) -> OwnEnd | HubEnd:
    """
    Return this daemon's end of the connection between places and hub; it does not connect yet.

    Raises:
        StartupError: The certificates for NATS cannot be used.
    """
    config = reloader.config
    if role.hub:
        assert isinstance(reloader.shard, HubShard)  # noqa: S101  Role.shard() gives it
        meters = PlaceMeters(internal)
        if memory is None:
            _log.warning("hub_without_data", extra=fields(detail=_WITHOUT_DATA))
        quorum = quorum_of(located(config.settings.locations))
        hindsight = hindsight_by(quorum)
        return HubEnd(
            Mending(recorder, hindsight, quorum, SystemClock()),
            _hub_link(
                config,
                reloader.shard,
                positions=memory.positions if memory else dict,
                inbox=inbox,
                meters=meters,
            ),
            Counting(quorum, hindsight),
            meters,
            _Fingerprint(lambda: reloader.config),
        )
    if role.location is None:
        return OwnEnd(recorder, _NoLink())
    assert isinstance(reloader.shard, PlaceShard)  # noqa: S101  Role.shard() gives it too
    link = _place_link(
        lambda: reloader.config,
        reloader.shard,
        folder=memory.folder if memory else None,
        inbox=inbox,
        load=lambda: len(board.entries()),
    )
    return OwnEnd(Reporting(recorder, link), link)


# ---------------------------------------------------------------- a place


class Reporting:
    """A recorder that also reports each check to the hub."""

    def __init__(self, inner: Recorder, link: "PlaceLink") -> None:
        self._inner = inner
        self._link = link
        self._said: dict[str, tuple[bool | None, Status]] = {}

    def noted(self, state: SiteState, time: Timestamp, *, checked: bool) -> None:
        self._inner.noted(state, time, checked=checked)
        if checked and state.last is not None:
            report = report_of(state)
            before = self._said.get(report.site)
            after = self._said[report.site] = (report.up, report.status)
            failing = report.up is False and (before is None or before[0] is not False)
            self._link.report(
                report,
                news=(before is not None and before != after) or failing,
                ask=failing and state.streak == 1,
            )

    def left(self, names: Iterable[str], time: Timestamp) -> None:
        names = tuple(names)
        for name in names:
            self._said.pop(name, None)
        self._inner.left(names, time)

    def renamed(self, old: str, new: str) -> None:
        self._inner.renamed(old, new)


def report_of(state: SiteState) -> Report:
    """Return a place's report of a check; it has no secrets, because messages are masked."""
    last = state.last
    assert last is not None  # noqa: S101  it was checked
    verdict = last.analysis.verdict if last.analysis else None
    message = (verdict.message if verdict else last.error) or ""
    trouble = None
    if verdict is None:
        lost = message.startswith(OWN_CONNECTION)
        trouble = Abstention.CONNECTION if lost else Abstention.ERROR
    return Report(
        site=state.site.name,
        time=last.observation.time,
        duration=last.observation.duration,
        up=last.up,
        reason=verdict.reason if verdict else None,
        message=message,
        trouble=trouble,
        status=state.status,
        since=state.since,
        first=state.streak_since if state.said is False else None,
    )


def _place_link(
    config: Callable[[], Config],
    shard: PlaceShard,
    *,
    folder: Path | None,
    inbox: Inbox,
    load: Callable[[], int],
) -> "PlaceLink":
    """
    Return a place's connection to the hub; it is started once the sites are being checked.

    Args:
        load: Returns how many sites are checked here.
    """
    from monitor.locations.place_link import PlaceLink  # noqa: PLC0415  see require_nats()

    settings = located(config().settings.locations)
    sender = Sender(shard.location, str(shard))
    clock = SystemClock()
    own_list = _Fingerprint(config)

    def beat() -> SignOfLife:
        return SignOfLife(
            sender=sender,
            sent=clock.time(),
            version=__version__,
            fingerprint=own_list(),
            sites=load(),
            waiting=link.waiting,
            dropped=link.dropped,
        )

    link = PlaceLink(
        access_of(settings),
        sender=sender,
        spool=(folder, settings.spool),
        partition_of=lambda name: owner(name, settings.partitions),
        beat=beat,
        on_question=lambda sites: inbox.put(SecondOpinionAsked(sites)),
        on_places=lambda place, places: inbox.put(PlacesChanged(place, places)),
        clock=clock,
    )
    return link


# ---------------------------------------------------------------- a hub


def hindsight_by(quorum: Quorum) -> Hindsight:
    """Return the object that counts late reports by the rules of the list."""

    def count(
        ballots: Mapping[str, Ballot], before: Status, now: Timestamp, stale_after: Seconds
    ) -> Joint:
        return votes.count(ballots, quorum, before, now, stale_after)

    return Hindsight(count, down_by)


class Mending:
    """
    A hub's recorder that also completes the past with what late reports say.

    Args:
        hindsight: ``Counting`` passes each report to it.
    """

    def __init__(
        self, inner: HubMemory, hindsight: Hindsight, quorum: Quorum, clock: Clock
    ) -> None:
        self._inner = inner
        self._hindsight = hindsight
        self._quorum = quorum
        self._clock = clock

    def noted(self, state: SiteState, time: Timestamp, *, checked: bool) -> None:
        self._inner.noted(state, time, checked=checked)
        if not checked:
            site = state.site
            stale_after = self._quorum.stale_after(site.interval, site.timeout)
            self._hindsight.listed(site.name, stale_after)

    def left(self, names: Iterable[str], time: Timestamp) -> None:
        names = tuple(names)
        self._hindsight.left(names)
        self._inner.left(names, time)

    def renamed(self, old: str, new: str) -> None:
        self._hindsight.renamed(old, new)
        self._inner.renamed(old, new)

    def late(self, site: Site, past: Past) -> None:
        self._inner.late(site, past)
        self._hindsight.late(site.name, past.time, self._clock.time())

    def position(self, partition: int, sequence: int) -> None:
        self._inner.position(partition, sequence)
        for spans in self._hindsight.settled(self._clock.time()):
            self._inner.mended(spans)


class Counting:
    """
    Counts votes for the hub's loop, by the rules of the list.

    Args:
        hindsight: Remembers what was said, for reports that arrive late.
    """

    def __init__(self, quorum: Quorum, hindsight: Hindsight) -> None:
        self._quorum = quorum
        self._hindsight = hindsight

    def take(
        self, report: Report, sender: Sender, skew: Seconds, known: Ballot | None
    ) -> Ballot | None:
        ballot = votes.take(report, sender, skew, known)
        said = ballot or votes.take(report, sender, skew, None)
        if said is not None:
            self._hindsight.heard(report.site, said)
        return ballot

    def count(
        self,
        ballots: Mapping[str, Ballot],
        before: Status,
        now: Timestamp,
        stale_after: Seconds,
        silent: Collection[Sender],
    ) -> Joint:
        return votes.count(ballots, self._quorum, before, now, stale_after, silent)

    def stale_after(self, interval: Seconds, timeout: Seconds) -> Seconds:
        return self._quorum.stale_after(interval, timeout)


def _hub_link(
    config: Config,
    shard: HubShard,
    *,
    positions: Callable[[], Mapping[int, int]],
    inbox: Inbox,
    meters: PlaceMeters,
) -> "HubLink":
    """Return a hub's connection to the places; it is started once it has the list."""
    from monitor.locations.hub_link import HubLink  # noqa: PLC0415  see require_nats()

    settings = located(config.settings.locations)
    quorum = quorum_of(settings)
    longest = max((quorum.stale_after(s.interval, s.timeout) for s in config.sites), default=0.0)
    return HubLink(
        access_of(settings),
        partitions=shard.own_partitions(),
        positions=positions,
        replay=min(longest, _LONGEST_REPLAY),
        on_reports=lambda batch, position, applied: inbox.put(
            ReportsCame(batch, position, applied)
        ),
        on_beat=lambda beat, time: inbox.put(BeatCame(beat, time)),
        on_not_understood=meters.not_understood,
        backlog=inbox.qsize,
        clock=SystemClock(),
    )
