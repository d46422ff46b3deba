"""From down spans to incidents."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from monitor.web.incidents import incidents, token, urn
from tests.web.past import down

moments = st.integers(min_value=0, max_value=60).map(float)


@st.composite
def outages(draw):
    """Down spans of three sites; those of one site do not overlap, and one may last."""
    found = []
    for site in ("a", "b", "c"):
        edges = sorted(draw(st.sets(moments, max_size=8)))
        for begin, end in zip(edges[::2], edges[1::2], strict=False):
            found.append(down(site, begin, end))
        if len(edges) % 2:
            found.append(down(site, edges[-1], None))
    return draw(st.permutations(found))


@given(outages())
def test_incidents_are_the_times_when_something_was_down(spans):
    """In every second, an incident is open exactly if one of its sites is down."""
    found = incidents(spans)

    def is_down(now):
        return any(one.begin <= now < (61 if one.end is None else one.end) for one in spans)

    def is_open(now):
        return sum(one.begin <= now < (61 if one.end is None else one.end) for one in found)

    assert [is_open(now + 0.5) for now in range(61)] == [is_down(now + 0.5) for now in range(61)]
    assert [one.begin for one in found] == sorted({one.begin for one in found}, reverse=True)
    for newer, older in itertools.pairwise(found):
        assert older.end is not None
        assert older.end < newer.begin


@given(outages())
def test_every_outage_belongs_to_one_incident(spans):
    """Every outage of a site is in exactly one incident."""
    found = incidents(spans)

    turned = [(turn.site, turn.time) for one in found for turn in one.turns if turn.down]
    assert sorted(turned) == sorted((one.site, one.begin) for one in spans)
    for one in found:
        assert bool(one.down) == (one.end is None)
        assert one.sites[0] in {span.site for span in spans if span.begin == one.begin}


def test_an_incident_goes_on_while_others_follow():
    """An incident begins when its first site goes down, and ends when its last one is up."""
    (second, first) = incidents([down("b", 20, 40), down("a", 10, 30), down("c", 50, None)])

    assert (first.begin, first.end, first.sites, first.updated) == (10, 40, ("a", "b"), 40)
    assert [(turn.time, turn.site, turn.down) for turn in first.turns] == [
        (10, "a", True),
        (20, "b", True),
        (30, "a", False),
        (40, "b", False),
    ]
    assert (second.begin, second.end, second.down) == (50, None, ("c",))


def test_one_comes_up_as_another_goes_down():
    """It is one incident, because at no moment were all sites up."""
    (one,) = incidents([down("a", 10, 20), down("b", 20, 30)])

    assert (one.begin, one.end) == (10, 30)


def test_identifiers_never_change():
    """An identifier that a page, a feed or an API has used is the same in every later version."""
    assert token("component", "shop") == "s6fd6jfur0dy"
    assert token("incident", "/status", 1_800_000_000) == "fuq45lx2knn9"
    assert urn("incident", "/status", 1_800_000_000) == (
        "urn:uuid:283e9904-02d6-55fa-9477-d9bb501a6b9c"
    )
    assert token("a", "bc") != token("ab", "c")
