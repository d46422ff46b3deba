"""The TCP probe: a connection, and a dialogue over it that may continue under TLS."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from monitor.clock import Deadline
from monitor.model import Observation, Phase, Site, TcpAnswer
from monitor.options import option
from monitor.outbound import NetworkOptions, TlsOptions
from monitor.probes.dialogue import Dialogue, Step, check_steps, evidence
from monitor.probes.libcurl.handles import Handles
from monitor.probes.libcurl.route import Route
from monitor.probes.stream import Broken, Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpStep(Step):
    starttls: bool = option(
        False, doc="Go on under TLS, over the same connection; the peer must have agreed to it."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpOptions:
    dialogue: tuple[TcpStep, ...] = option(
        (), doc="What is sent and expected once the connection stands, one step after the other."
    )

    def __post_init__(self) -> None:
        check_steps(self.dialogue)
        if sum(step.starttls for step in self.dialogue) > 1:
            raise ValueError("dialogue has a second starttls; the connection is under TLS already")


def check_url(url: str) -> None:
    """
    Accept ``tcp://HOST:PORT``, or the same form with another scheme.

    Raises:
        ValueError: There is no host or no port, or more than these.
    """
    split_url(url)


def split_url(url: str) -> tuple[str, int]:
    """
    Return host (an IPv6 address without brackets) and port of ``tcp://HOST:PORT``.

    Raises:
        ValueError: There is no host or no port, or more than these.
    """
    parts = urlsplit(url)
    example = f"{parts.scheme}://db.internal:5432"
    if not parts.hostname or not parts.port:
        raise ValueError(f"a {parts.scheme} URL needs a host and a port: {example}")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"a {parts.scheme} URL is only host and port: {example}")
    return parts.hostname, parts.port


class TcpProbe:
    """Connects, and goes through the site's dialogue; one object for all threads."""

    def __init__(self, handles: Handles | None = None) -> None:
        self._handles = handles or Handles()

    def __call__(self, site: Site, deadline: Deadline) -> Observation:
        """
        Connect and talk.

        Raises:
            ProbeError: The monitor's system is at fault.
        """
        steps = site.section(TcpOptions).dialogue
        tls, network = site.section(TlsOptions), site.section(NetworkOptions)
        route = Route("http", *split_url(site.url), tls, network)

        def talk(connection: Connection, dialogue: Dialogue) -> None:
            for step in steps:
                if step.starttls:
                    connection.upgrade()
                else:
                    dialogue.take(step)

        return converse(site, deadline, self._handles, route, talk if steps else None)


def converse(
    site: Site,
    deadline: Deadline,
    handles: Handles,
    route: Route,
    talk: Callable[[Connection, Dialogue], None] | None,
) -> Observation:
    """
    Connect, talk, and return what happened.

    Args:
        talk: What follows on the connection; it may raise Broken. None if nothing follows.

    Raises:
        ProbeError: The monitor's system is at fault.
    """
    started = deadline.clock.time()
    failure, answer = None, None
    with Connection(handles, route, deadline) as connection:
        dialogue = Dialogue(connection, site, deadline)
        try:
            connection.open()
            if talk:
                with connection.timed(Phase.PROCESSING):
                    talk(connection, dialogue)
        except Broken as broken:
            failure = broken.failure
    if connection.stood:
        received = evidence(connection.received, site)
        answer = TcpAnswer(
            captures=dialogue.captures,
            received=received,
            bytes_differ=dialogue.bytes_differ,
        )
    return Observation(
        time=started,
        duration=sum(connection.phases.values()),
        phases=connection.phases,
        address=connection.address,
        failure=failure,
        answer=answer,
        tls=connection.tls,
    )
