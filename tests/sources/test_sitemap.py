"""Pages that a sitemap lists, over loopback."""

import gzip
from urllib.parse import urlsplit

import pytest

from monitor.sources.options import SitemapOptions
from monitor.sources.ports import UnreadableError
from monitor.sources.sitemap import open_source, sample
from tests.sources.world import WORLD, peer, says, source, urls

SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def pages(*places, kind="url", root="urlset"):
    listed = "".join(f"<{kind}><loc> {place} </loc></{kind}>" for place in places)
    return f'<?xml version="1.0"?><{root} {SPACE}>{listed}</{root}>'.encode()


def look_at(server, **options):
    reader = open_source(
        source("sitemap", SitemapOptions(url=f"{server.url}/sitemap.xml", **options)), WORLD
    )
    try:
        return reader.look()
    finally:
        reader.close()


def test_a_sample_of_the_pages_is_checked():
    """The sample has only the sitemap's host, and keeps its pages while they are listed."""
    with peer(says(b"")) as server:
        listed = [f"{server.url}/{number}" for number in range(200)]
        server.answer = says(pages(*listed, "https://other.example/", "mailto:x", "http://["))
        look = look_at(server, sample=20)
        first = urls(look)
        assert len(first) == 20
        assert set(first) <= set(listed)
        assert look.remarks == ("3 pages are of other hosts, and left out",)
        server.answer = says(gzip.compress(pages(*listed[::-1], f"{server.url}/new")))
        assert len(set(urls(look_at(server, sample=20))) & set(first)) >= 19
        server.answer = says(pages(*listed[:5]))
        assert urls(look_at(server)) == listed[:5]


def test_an_index_leads_to_sitemaps():
    """Each sitemap is read, even a compressed one; a page's pictures are not pages."""
    with peer(says(b"")) as server:
        index = pages(f"{server.url}/a", f"{server.url}/b", kind="sitemap", root="sitemapindex")
        picture = (
            f'<urlset {SPACE} xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"><url>'
            f"<loc>{server.url}/2</loc><image:image><image:loc>{server.url}/p.png</image:loc>"
            "</image:image></url><!-- a remark --></urlset>"
        ).encode()
        bodies = {
            "/sitemap.xml": index,
            "/a": pages(f"{server.url}/1"),
            "/b": gzip.compress(picture),
        }
        server.answer = lambda handler: says(bodies[handler.path])(handler)
        assert [urlsplit(url).path for url in urls(look_at(server))] == ["/1", "/2"]


LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(
        b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9)
    )
    + b"]><urlset><url><loc>&j;</loc></url></urlset>"
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is not a sitemap"),
        (b"<html><body></body></html>", "is not a sitemap"),
        (b"<urlset><url><loc>http://a", "is not a sitemap"),
        (gzip.compress(b"<urlset/>")[:-9], "is not a sitemap"),
        (gzip.compress(b" " * 60 * 1024**2), "is not a sitemap|is larger than 50MiB unpacked"),
        (b"<urlset>" + gzip.compress(b"")[:0] + b" " * 51 * 1024**2, "is larger than 50MiB"),
        (b"<a>" * 100_000, "is not a sitemap"),
    ],
    ids=["empty", "html", "cut", "packed and cut", "bomb", "large", "deep"],
)
def test_what_is_no_sitemap_is_told(body, why):
    """Large bodies, deep ones and compression bombs cost no more than one error."""
    with peer(says(body)) as server, pytest.raises(UnreadableError, match=why):
        look_at(server)


def test_entities_are_not_expanded():
    """The billion laughs attack gets an error."""
    with peer(says(LAUGHS)) as server, pytest.raises(UnreadableError, match="is not a sitemap"):
        look_at(server)


def test_a_sample_is_stable():
    """A chosen page stays chosen while other pages come and go, and the order stays."""
    listed = [f"https://a.example/{number}" for number in range(100)]
    chosen = sample(listed, 10)
    others = [page for page in listed if page not in chosen]
    assert sample(chosen + others[50:], 10) == chosen
    assert chosen == sorted(chosen)
