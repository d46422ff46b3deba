"""A server's list in Prometheus' http_sd format; runs in the source's thread."""

from requests import Session

from monitor.clock import SystemClock
from monitor.discovered import ListedSite, Source
from monitor.sources.fetch import fetch, shown
from monitor.sources.file import LARGEST, read_document
from monitor.sources.options import HttpSourceOptions
from monitor.sources.ports import Look, Paced, UnreadableError, WatchedSource, World
from monitor.sources.targets import entries_of

_WHOLE = ""


class _Http(Paced, WatchedSource):
    """The mutable state belongs to the source's thread: the tag of the last good answer."""

    def __init__(self, source: Source, options: HttpSourceOptions, world: World) -> None:
        super().__init__(options.refresh)
        self._source = source
        self._options = options
        self._world = world
        self._session = Session()
        # A ~/.netrc would send its login, and a proxy meant for other programs would see the list
        self._session.trust_env = False
        self._tag: str | None = None

    def look(self) -> Look | None:
        options = self._options
        headers: dict[str, str | bytes] = {
            "Accept": "application/json",
            "X-Prometheus-Refresh-Interval-Seconds": f"{options.refresh:g}",
            # Encoded like sites' headers; as text they would have to be Latin-1
            **{name: value.encode() for name, value in options.headers.items()},
        }
        if self._tag is not None:
            headers["If-None-Match"] = self._tag
        got = fetch(
            self._session,
            options.url,
            headers=headers,
            timeout=options.timeout,
            largest=LARGEST,
            clock=SystemClock(),
            verify=options.ca_file or True,
        )
        if got.body is None:
            return None
        self._tag = None  # until the list has proved to be valid
        if got.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise UnreadableError(
                f"{shown(options.url)} must have the Content-Type application/json"
            )
        try:
            document = read_document(got.body, shown(options.url), self._world, as_json=True)
            found = entries_of(
                document,
                scheme=options.scheme,
                labels={"source": self._source.name},
                read_yaml=self._world.read_yaml,
            )
            entries = tuple(ListedSite(one.keys, one.place, one.problem) for one in found)
        except UnreadableError as error:
            raise UnreadableError(f"{shown(options.url)} {error}") from None
        self._tag = got.headers.get("ETag")
        return Look({_WHOLE: entries})

    def close(self) -> None:
        super().close()
        self._session.close()


def open_source(source: Source, world: World) -> WatchedSource:
    """Return the reader of a source of this kind."""
    return _Http(source, source.options, world)
