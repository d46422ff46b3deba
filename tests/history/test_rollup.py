"""What is packed is unpacked unchanged, and merged quantiles are those of all values."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.history.rollup import (
    FIVE_MINUTES,
    RELATIVE_ERROR,
    UNKNOWN,
    UP,
    Outcome,
    Rollup,
    coarser,
    pack_results,
    pack_rollups,
    roll_up,
    unpack_results,
    unpack_rollups,
)

BEGIN = 1_790_000_000_000

outcomes = st.sampled_from([UP, UP, UP, UNKNOWN, "status", "connect_timeout"])
results = st.lists(
    st.builds(
        Outcome,
        st.integers(BEGIN - 10**6, BEGIN + 10**9),
        st.integers(0, 10**9),
        outcomes,
    ),
    max_size=60,
)


@given(results)
def test_results_come_out_as_they_went_in(some):
    """They do so even if the clock was set back between two of them."""
    assert list(unpack_results(BEGIN, pack_results(BEGIN, some))) == some


@given(results)
def test_rollups_come_out_as_they_went_in(some):
    """Count, minimum, maximum and buckets survive packing."""
    rollups = roll_up(some, FIVE_MINUTES.step)
    first = min(rollups, default=0)
    assert unpack_rollups(first, pack_rollups(first, rollups)) == rollups


def test_many_durations_in_one_bucket_and_buckets_far_apart_are_counted():
    """They exceed one byte: a step of 8 or more, and a count of 32 or more."""
    some = [Outcome(BEGIN, duration, UP) for duration in [1000] * 500 + [1010, 90_000] + [95_000]]
    rollups = roll_up(some, FIVE_MINUTES.step)
    first = min(rollups)
    assert unpack_rollups(first, pack_rollups(first, rollups)) == rollups


@given(results, st.integers(0, 60))
def test_merging_is_counting_everything_at_once(some, cut):
    """Merging the rollups of two parts equals rolling up the whole."""
    whole, parts = Rollup(), Rollup()
    for one in some:
        whole.add(one.duration, one.outcome)
    for part in (some[:cut], some[cut:]):
        rollup = Rollup()
        for one in part:
            rollup.add(one.duration, one.outcome)
        parts.merge(rollup)
    assert parts == whole


@given(results)
def test_coarser_steps_lose_nothing(some):
    """Hours made from five-minute steps equal hours made from results."""
    fine = roll_up(some, FIVE_MINUTES.step)
    assert coarser(fine, 12) == roll_up(some, 12 * FIVE_MINUTES.step)


@given(
    st.lists(st.integers(1, 10**8), min_size=1, max_size=200),
    st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]),
)
def test_a_quantile_is_at_most_two_percent_off(durations, share):
    """The value of that rank is known within the promised error."""
    rollup = Rollup()
    for duration in durations:
        rollup.add(duration, UP)
    exact = sorted(durations)[int(share * (len(durations) - 1))]
    assert abs(rollup.quantile(share) - exact) <= RELATIVE_ERROR * exact + 1


def test_failures_have_no_latency():
    """The duration of a failed check says nothing about how fast the site is."""
    rollup = Rollup()
    rollup.add(5_000_000, "connect_timeout")
    rollup.add(0, UNKNOWN)
    assert (rollup.up, rollup.down, rollup.unknown) == (0, 1, 1)
    assert rollup.quantile(0.5) is None


def test_a_result_of_a_site_that_is_up_takes_six_bytes():
    """It stores an interval of a minute to the millisecond and a duration to the microsecond."""
    some = [Outcome(BEGIN + 60_000 * n + n % 7, 48_000 + n, UP) for n in range(60)]
    assert len(pack_results(BEGIN, some)) / len(some) <= 6


@pytest.mark.parametrize("data", [b"\x80", b"\x03\x01\x09st"])
def test_what_is_cut_off_is_no_result(data):
    """Damage is reported, not read as something else."""
    with pytest.raises(ValueError, match="packed"):
        list(unpack_results(BEGIN, data))


@pytest.mark.parametrize(
    "data",
    [
        b"damaged",
        zlib.compress(b"\x80", wbits=-12),
        zlib.compress(b"\x00\x05\x00\x00\x01\x02\x03\x09", wbits=-12),
    ],
    ids=["cannot be inflated", "within a number", "within the buckets"],
)
def test_damaged_rollups_are_told(data):
    """Damage in rollups is reported, too."""
    with pytest.raises(ValueError, match=r"packed (rollups|numbers)"):
        unpack_rollups(0, data)
