"""A sample of the pages that a sitemap lists (sitemaps.org); runs in the source's thread."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from lxml import etree
from requests import Session

from monitor.clock import Clock, SystemClock
from monitor.discovered import ListedSite, Source
from monitor.sources.fetch import fetch, shown
from monitor.sources.options import SitemapOptions
from monitor.sources.ports import Look, Paced, UnreadableError, WatchedSource, World
from monitor.units import Bytes

LARGEST: Bytes = 50 * 1024**2
"""The limit of sitemaps.org for one uncompressed sitemap."""
_MOST_SITEMAPS = 20
"""The most sitemaps of an index to read; they are chosen in the same way as pages."""
_STEP: Bytes = 64 * 1024
_GZIP = b"\x1f\x8b"


class _Sitemap(Paced, WatchedSource):
    def __init__(self, source: Source, options: SitemapOptions, clock: Clock) -> None:
        super().__init__(options.refresh)
        self._source = source
        self._options = options
        self._clock = clock
        self._session = Session()
        self._session.trust_env = False

    def look(self) -> Look:
        options = self._options
        until = self._clock.monotonic() + options.timeout
        kind, places = self._read(options.url, until)
        remarks: list[str] = []
        if kind == "sitemapindex":
            maps = [one for one in places if _same_site(one, options.url)]
            chosen = sample(maps, _MOST_SITEMAPS)
            if len(chosen) < len(places):
                remarks.append(f"{len(chosen)} of the {len(places)} sitemaps of the index are read")
            places = [page for one in chosen for page in self._read(one, until)[1]]
        pages = [page for page in places if _same_site(page, options.url)]
        if len(pages) < len(places):
            remarks.append(f"{len(places) - len(pages)} pages are of other hosts, and left out")
        entries = tuple(
            ListedSite({"url": page, "labels": {"source": self._source.name}}, shown(page))
            for page in sample(pages, options.sample)
        )
        return Look({"": entries}, tuple(remarks))

    def close(self) -> None:
        super().close()
        self._session.close()

    def _read(self, url: str, until: float) -> tuple[str, list[str]]:
        got = fetch(
            self._session,
            url,
            headers={},
            timeout=max(0.1, until - self._clock.monotonic()),
            largest=LARGEST,
            clock=self._clock,
            redirects=True,
        )
        try:
            return _parse(_unpacked(got.body or b""))
        except UnreadableError as error:
            raise UnreadableError(f"{shown(url)} {error}") from None
        except (etree.LxmlError, OSError, EOFError, zlib.error):
            raise UnreadableError(f"{shown(url)} is not a sitemap") from None


def _unpacked(body: bytes) -> Iterator[bytes]:
    """Yield the text in small pieces, because a small file may decompress to any size."""
    stream: io.BufferedIOBase = io.BytesIO(body)
    if body.startswith(_GZIP):
        stream = gzip.GzipFile(fileobj=stream)
    size = 0
    while piece := stream.read(_STEP):
        size += len(piece)
        if size > LARGEST:
            raise UnreadableError(f"is larger than {LARGEST // 1024**2}MiB unpacked")
        yield piece


def _parse(pieces: Iterable[bytes]) -> tuple[str, list[str]]:
    """Return the name of the root and each ``loc`` of a page or sitemap."""
    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
    )
    root = ""
    found: list[str] = []
    for piece in pieces:
        parser.feed(piece)
        for event, element in parser.read_events():
            if element is None or isinstance(element, tuple) or not isinstance(element.tag, str):
                continue
            name = etree.QName(element).localname
            if event == "start":
                root = root or name
                continue
            parent = element.getparent()
            # Pictures and videos have their own loc, at a deeper level
            if name == "loc" and parent is not None and parent.getparent() is not None:
                above = etree.QName(parent).localname
                if above in ("url", "sitemap") and element.text:
                    found.append(element.text.strip())
            elif name in ("url", "sitemap"):
                element.clear()
                while element.getprevious() is not None and parent is not None:
                    del parent[0]
    parser.close()
    if root not in ("urlset", "sitemapindex"):
        raise UnreadableError("is not a sitemap")
    return root, found


def _same_site(page: str, sitemap: str) -> bool:
    """Return whether a page is on the sitemap's host, as sitemaps.org requires."""
    try:
        one, other = urlsplit(page), urlsplit(sitemap)
    except ValueError:
        return False
    return one.scheme in ("http", "https") and one.hostname == other.hostname


def sample(pages: Iterable[str], count: int) -> list[str]:
    """Return this many pages: the same ones while they are listed, whatever else changes."""
    ranked = sorted(dict.fromkeys(pages), key=lambda page: hashlib.sha256(page.encode()).digest())
    return sorted(ranked[:count])


def open_source(source: Source, world: World) -> WatchedSource:  # noqa: ARG001  others need the world
    """Return the reader of a source of this kind."""
    return _Sitemap(source, source.options, SystemClock())
