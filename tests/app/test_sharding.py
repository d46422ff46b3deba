"""Which shard a site belongs to, and what the command line accepts about it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.app.sharding import WHOLE, Shard, owner, parse_shard
from monitor.errors import StartupError
from monitor.model import SiteChange
from tests.builders import site

NAMES = [f"site-{number}.example.com" for number in range(6000)]


@given(name=st.text(), total=st.integers(1, 40))
def test_a_shard_more_takes_sites_and_moves_none_between_the_others(name, total):
    """When a sixth shard is added, each site stays where it was or moves to the sixth."""
    assert owner(name, total + 1) in {owner(name, total), total + 1}


@given(name=st.text(), total=st.integers(1, 40))
def test_every_site_has_exactly_one_shard(name, total):
    """Each shard works out the same division by itself."""
    assert sum(Shard(number, total).owns(name) for number in range(1, total + 1)) == 1


def test_a_sixth_of_the_sites_moves_to_a_sixth_shard():
    """The sixth shard takes about as many sites from each of the five."""
    moved = [name for name in NAMES if owner(name, 5) != owner(name, 6)]
    assert 900 < len(moved) < 1100
    lost = Counter(owner(name, 5) for name in moved)
    assert all(150 < lost[number] < 250 for number in range(1, 6))


@pytest.mark.parametrize("total", [2, 5, 9])
def test_shards_are_about_equal(total):
    """With some thousands of sites, no shard has more than a tenth above its share."""
    sizes = Counter(owner(name, total) for name in NAMES)
    assert len(sizes) == total
    assert max(sizes.values()) < 1.1 * len(NAMES) / total


@pytest.mark.parametrize(
    ("name", "total", "number"),
    [
        ("shop", 2, 1),
        ("shop", 5, 3),
        ("shop", 9, 7),
        ("Straße", 5, 2),
        ("example.com", 5, 1),
        ("example.com", 20, 1),
    ],
)
def test_the_division_is_the_same_in_every_version(name, total, number):
    """Shards of two versions run side by side during an upgrade and leave no site unchecked."""
    assert owner(name, total) == number


def test_a_change_is_narrowed_to_the_shards_own_sites():
    """A shard ignores what is added, removed or changed in other shards."""
    sites = [site(name) for name in NAMES[:60]]
    change = SiteChange(
        added=tuple(sites[:20]),
        removed=tuple(one.name for one in sites[20:40]),
        changed=tuple(sites[40:]),
    )
    parts = [Shard(number, 5).own(change) for number in range(1, 6)]
    assert sorted(one.name for part in parts for one in part.added) == sorted(NAMES[:20])
    assert sorted(name for part in parts for name in part.removed) == sorted(NAMES[20:40])
    assert sorted(one.name for part in parts for one in part.changed) == sorted(NAMES[40:60])
    third = parts[2]
    assert all(owner(one.name, 5) == 3 for one in (*third.added, *third.changed))
    assert all(owner(name, 5) == 3 for name in third.removed)


def test_what_is_not_divided_is_left_alone():
    """A single daemon gets every change unaltered."""
    change = SiteChange(added=(site("shop"),))
    assert WHOLE.own(change) is change


@pytest.mark.parametrize(
    ("text", "environ", "shard"),
    [
        ("2/5", {}, Shard(2, 5)),
        ("1/1", {}, Shard(1, 1)),
        ("1000/1000", {}, Shard(1000, 1000)),
        ("auto", {"POD_NAME": "monitor-0", "MONITOR_SHARDS": "5"}, Shard(1, 5)),
        ("auto", {"HOSTNAME": "my-monitor-4", "MONITOR_SHARDS": "5"}, Shard(5, 5)),
        (
            "auto",
            {"POD_NAME": "monitor-1", "HOSTNAME": "node-4", "MONITOR_SHARDS": "5"},
            Shard(2, 5),
        ),
    ],
)
def test_a_shard_is_said_or_found_out(text, environ, shard):
    """The shard comes from numbers, or from the pod's name, which counts from 0."""
    assert parse_shard(text, environ) == shard


@pytest.mark.parametrize(
    ("text", "environ", "sentence"),
    [
        ("0/5", {}, "there is no shard 0/5; they are numbered from 1/5 to 5/5"),
        ("6/5", {}, "there is no shard 6/5; they are numbered from 1/5 to 5/5"),
        ("1/0", {}, "0 shards are not possible; there may be 1 to 1000"),
        ("1/1001", {}, "1001 shards are not possible; there may be 1 to 1000"),
        ("x/y", {}, "'x/y' is not a shard; write 2/5 for the second of five, or auto"),
        ("-1/5", {}, "'-1/5' is not a shard; write 2/5 for the second of five, or auto"),
        ("2/5/7", {}, "'2/5/7' is not a shard; write 2/5 for the second of five, or auto"),
        ("²/5", {}, "'²/5' is not a shard; write 2/5 for the second of five, or auto"),
        ("", {}, "'' is not a shard; write 2/5 for the second of five, or auto"),
        (
            "auto",
            {"POD_NAME": "monitor-1"},
            (
                "MONITOR_SHARDS is ''; for shard auto it must say how many shards there are,"
                " which is the StatefulSet's replicas"
            ),
        ),
        (
            "auto",
            {"POD_NAME": "monitor-1", "MONITOR_SHARDS": "five"},
            (
                "MONITOR_SHARDS is 'five'; for shard auto it must say how many shards there"
                " are, which is the StatefulSet's replicas"
            ),
        ),
        (
            "auto",
            {"HOSTNAME": "monitor-6f9d-x7k", "MONITOR_SHARDS": "5"},
            (
                "shard auto finds no place in the pod's name 'monitor-6f9d-x7k'; a"
                " StatefulSet's pods are named monitor-0, monitor-1 …"
            ),
        ),
        (
            "auto",
            {"MONITOR_SHARDS": "5"},
            (
                "shard auto finds no place in the pod's name ''; a StatefulSet's pods are"
                " named monitor-0, monitor-1 …"
            ),
        ),
        (
            "auto",
            {"POD_NAME": "monitor-5", "MONITOR_SHARDS": "5"},
            (
                "pod monitor-5 has the place 5, counted from 0, but MONITOR_SHARDS is 5; set"
                " it to the StatefulSet's replicas"
            ),
        ),
    ],
)
def test_what_is_no_shard_is_said_in_a_sentence(text, environ, sentence):
    """The error says what is wrong and what would be right."""
    with pytest.raises(StartupError) as caught:
        parse_shard(text, environ)
    assert str(caught.value) == sentence
