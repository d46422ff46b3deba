"""Each daemon and every reader finds what the daemon before it wrote, on each kind of store."""

import math
from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert

from monitor.history import schema
from monitor.history.rollup import LEVELS
from monitor.history.store import connect
from monitor.model import Confirm, Reason, Status
from monitor.past import Condition, Span
from tests.builders import down_result, error_result, site, up_result
from tests.history.lives import DAY, World

NOON = math.floor(1_800_000_000 / DAY) * DAY + DAY / 2


@pytest.fixture
def world(tmp_path, store):
    world = World(tmp_path, store, time=NOON)
    yield world
    world.close()


def run(world, listed, seconds, outcome=up_result, interval=1):
    """Check a site every so many seconds."""
    for _ in range(0, seconds, interval):
        world.enter(outcome(listed, time=world.clock.time()))
        world.pass_time(interval)


def test_uptime_is_what_happened(world):
    """Of 100 s, 90 s are up and 10 s down; a quarter of the hour was not observed at all."""
    listed = site()
    world.start(listed)
    run(world, listed, 60)
    run(world, listed, 10, down_result)
    run(world, listed, 30)
    now = world.clock.time()
    uptime = world.reader().uptime(["shop", "nobody"], now - 100, now)
    assert set(uptime) == {"shop"}
    assert (uptime["shop"].up, uptime["shop"].down, uptime["shop"].outages) == (90, 10, 1)
    assert world.reader().uptime(["shop"], now - 400, now)["shop"].coverage == 0.25


def test_a_site_that_was_never_seen_is_not_100_percent(world):
    """A site that is listed but not checked yet has no ratio."""
    world.start(site())
    world.pass_time(10)
    now = world.clock.time()
    assert world.reader().uptime(["shop"], now - 10, now)["shop"].ratio is None


def test_an_outage_has_its_reason_and_begins_with_the_first_failure(world):
    """Two failures confirm it; it lasts from the first failure to the success."""
    listed = site(confirm=Confirm(failures=2))
    world.start(listed)
    run(world, listed, 10)
    began = world.clock.time()
    run(world, listed, 6, down_result, interval=3)
    [lasting] = world.reader().outages(["shop"], began - 60, world.clock.time())
    assert (lasting.begin, lasting.end) == (began, None)
    assert (lasting.reason, lasting.message) == (Reason.STATUS, "status 503 is not in 2xx")
    ended = world.clock.time()
    run(world, listed, 5)
    [outage] = world.reader().outages(["shop"], began - 60, world.clock.time())
    assert (outage.begin, outage.end) == (began, ended)


def test_a_killed_daemon_goes_on_where_it_was(world):
    """It stays down, with streak, evidence and results; the time in between is not observed."""
    listed = site()
    world.start(listed)
    run(world, listed, 30)
    since = world.clock.time()
    run(world, listed, 10, down_result)
    died = world.clock.time()
    world.kill()
    world.clock.advance(600)
    world.start(listed)
    state = world.states["shop"]
    assert (state.status, state.since, state.streak) == (Status.DOWN, since, 10)
    assert state.said is False
    assert [one.up for one in state.recent] == [False] * 10 + [True] * 10
    assert state.failures[0] == down_result(listed, time=since)
    assert state.last == state.failures[0]
    run(world, listed, 10, down_result)
    now = world.clock.time()
    uptime = world.reader().uptime(["shop"], since, now)["shop"]
    assert (uptime.up, uptime.down) == (0, 20)
    [outage] = world.reader().outages(["shop"], since, now)
    assert (outage.begin, outage.end) == (since, None)
    [gap] = [
        one
        for one in world.reader().spans(["shop"], died - 1, now)
        if one.condition is Condition.UNOBSERVED
    ]
    assert (gap.begin, gap.end) == (died, died + 600)


def test_a_failure_before_the_kill_and_one_after_it_are_an_outage(world):
    """It began with the first; the time in which no monitor ran is not counted."""
    listed = site(confirm=Confirm(failures=2))
    world.start(listed)
    run(world, listed, 20)
    began = world.clock.time()
    run(world, listed, 5, down_result, interval=5)
    world.kill()
    world.clock.advance(100)
    world.start(listed)
    assert world.status() is Status.UP
    run(world, listed, 5, down_result, interval=5)
    assert world.status() is Status.DOWN
    uptime = world.reader().uptime(["shop"], began - 20, world.clock.time())["shop"]
    assert (uptime.up, uptime.down, uptime.outages) == (20, 10, 1)


def test_a_site_that_became_another_begins_anew(world):
    """Its past stays, but its state does not: the new one starts as unknown."""
    listed = site()
    world.start(listed)
    run(world, listed, 10, down_result)
    world.stop()
    world.start(replace(listed, url="http://other.test/", target="http://other.test/"))
    assert world.states["shop"].status is Status.UNKNOWN
    now = world.clock.time()
    assert world.reader().uptime(["shop"], now - 10, now)["shop"].down == 10


def test_other_credentials_make_no_other_site(world):
    """A changed password makes the monitor forget nothing."""
    listed = site(url="http://me:old@shop.test/")
    world.start(listed)
    run(world, listed, 10, down_result)
    world.stop()
    world.start(replace(listed, url="http://me:new@shop.test/"))
    assert world.states["shop"].status is Status.DOWN


@pytest.mark.parametrize("restarts", [True, False])
def test_another_group_or_label_makes_no_other_site(world, restarts):
    """Its state continues, with or without a restart; a query by group finds the new one."""
    listed = site(group="web", labels=(("team", "a"),))
    world.start(listed)
    run(world, listed, 10, down_result)
    moved = replace(listed, group="shops", labels=(("team", "b"),))
    if restarts:
        world.stop()
        world.start(moved)
    else:
        world.states["shop"] = replace(world.states["shop"], site=moved)
    run(world, moved, 10, down_result)
    assert (world.status(), world.states["shop"].streak) == (Status.DOWN, 20)
    assert [one.group for one in world.reader().listing()] == ["shops"]


def test_a_renamed_site_keeps_its_past(world):
    """It does so over a restart, and while the daemon runs."""
    world.start(site("a"))
    run(world, site("a"), 10, down_result)
    world.stop()
    listed = replace(site("a"), name="b", was="a")
    world.start(listed)
    assert world.states["b"].status is Status.DOWN
    run(world, listed, 10, down_result)
    other = replace(listed, name="c", was="b")
    world.writer.renamed("b", "c")
    world.states["c"] = replace(world.states.pop("b"), site=other)
    run(world, other, 10, down_result)
    now = world.clock.time()
    found = world.reader().uptime(["a", "b", "c"], now - 30, now)
    assert {name: one.down for name, one in found.items()} == {"c": 30}
    assert len(world.reader().outages(["c"], now - 30, now)) == 1


def test_a_site_that_left_is_remembered_for_a_while(world):
    """Its past is available for as long as `removed` says, and is then deleted."""
    listed = site()
    world.start(listed, site("other"))
    run(world, listed, 10)
    world.writer.left(["shop"], world.clock.time())
    world.pass_time(3600)
    now = world.clock.time()
    assert world.reader().uptime(["shop"], now - 7200, now)["shop"].up == 10
    world.clock.advance(31 * DAY)
    for _ in range(3):
        world.pass_time(120)
    assert [one.name for one in world.reader().listing()] == ["other"]


def test_a_site_that_left_while_no_daemon_ran_has_left(world):
    """A site that returns does not claim to have been up all the time."""
    world.start(site("a"), site("b"))
    run(world, site("a"), 10)
    world.stop()
    world.start(site("b"))
    world.stop()
    listing = {one.name: one.removed is None for one in world.reader().listing()}
    assert listing == {"a": False, "b": True}
    world.start(site("a"), site("b"))
    assert world.states["a"].status is Status.UNKNOWN


def come_back(world, listed):
    """List a site that was not in the list at the start."""
    known = world.writer.ask([listed])
    world.turn()
    world.put(listed, known.result(0).get(listed.name))
    world.turn()


def test_a_site_that_a_source_lists_after_the_start_goes_on_where_it_stopped(world):
    """State, since and streak return without downtime; after a day of absence it is unknown."""
    late, other = site("late"), site("other")
    world.start(late, other)
    run(world, late, 10)
    run(world, late, 10, down_result)
    before = world.states["late"]
    world.stop()
    world.start(other)
    world.pass_time(3600)
    come_back(world, late)
    after = world.states["late"]
    assert (after.status, after.since) == (Status.DOWN, before.since)
    assert (after.streak, after.streak_since) == (before.streak, before.streak_since)
    now = world.clock.time()
    assert world.reader().uptime(["late"], now - 3600, now)["late"].down < 5
    assert {one.removed for one in world.reader().listing()} == {None}
    world.stop()
    world.start(other)
    world.pass_time(DAY + 1)
    come_back(world, late)
    assert world.states["late"].status is Status.UNKNOWN


def test_a_site_that_leaves_and_is_back_at_once_is_no_site_that_left(world):
    """Both are written in one transaction; it stays listed."""
    world.start(site("a"))
    run(world, site("a"), 10)
    world.writer.left(["a"], world.clock.time())
    world.put(site("a"))
    world.turn()
    assert [one.removed for one in world.reader().listing()] == [None]


def test_a_clock_that_is_set_ahead_skips_time_that_nobody_observed(world):
    """It does so even if the clock is set while a transaction is under way."""
    listed = site()
    world.start(listed)
    begin = world.clock.time()
    for ahead in (7200, 0):
        run(world, listed, 20)
        world.writer._wake.set()
        world.writer._wait()
        world.clock.set_back(-ahead)
        world.turn()
        world.writer._wake.set()
        world.writer._wait()
    window = (begin, world.clock.time())
    found = world.reader().spans(["shop"], *window)
    assert [one.condition for one in found] == [Condition.UP, Condition.UNOBSERVED, Condition.UP]
    assert world.reader().uptime(["shop"], *window)["shop"].up == pytest.approx(40, abs=2)


def test_maintenance_counts_as_neither(world):
    """Nothing in a window counts as downtime, and an outage around it stays one outage."""
    listed = site()
    world.start(listed)
    run(world, listed, 10)
    run(world, listed, 10, down_result)
    began = world.clock.time()
    world.states["shop"] = replace(world.states["shop"], maintenance=True)
    world.writer.noted(world.states["shop"], began, checked=False)
    run(world, listed, 10, down_result)
    world.states["shop"] = replace(world.states["shop"], maintenance=False)
    world.writer.noted(world.states["shop"], world.clock.time(), checked=False)
    run(world, listed, 10, down_result)
    uptime = world.reader().uptime(["shop"], began - 20, world.clock.time())["shop"]
    assert (uptime.up, uptime.down, uptime.outages) == (10, 20, 1)
    [today] = world.reader().days(["shop"], days=1, now=world.clock.time())["shop"]
    assert today.maintenance == 10


def test_results_are_found_before_and_after_they_are_packed(world):
    """They come from the journal at first and from packed rows later, each once."""
    listed = site()
    world.start(listed)
    begin = world.clock.time()
    for expected in (100, 200):
        run(world, listed, 1000, interval=10)
        found = world.reader().results("shop", begin, world.clock.time())
        assert len(found) == expected
        assert [one.time for one in found] == sorted((one.time for one in found), reverse=True)
    assert len(world.reader().results("shop", begin, world.clock.time(), 7)) == 7
    world.kill()
    world.start(listed)
    run(world, listed, 1000, interval=10)
    assert len(world.reader().results("shop", begin, world.clock.time())) == 300


def test_what_was_not_packed_of_a_site_that_left_is_found_once(world):
    """This holds for sites that were listed when the daemon was killed and are listed no longer."""
    world.start(site("a"), site("b"))
    begin = world.clock.time()
    run(world, site("a"), 50, interval=10)
    world.kill()
    world.start(site("b"))
    assert len(world.reader().results("a", begin, world.clock.time())) == 5
    for _ in range(950):
        world.pass_time(1)
    assert len(world.reader().results("a", begin, world.clock.time())) == 5
    with world.reader()._engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM journal").scalar() == 0


def test_the_results_of_a_shard_that_is_no_more_are_packed_by_another(world):
    """When two shards become one, no result of the second is lost or doubled."""
    world.start(site("a"), seat="2/2")
    begin = world.clock.time()
    run(world, site("a"), 50, interval=10)
    world.kill()
    world.clock.advance(120)
    world.start(site("a"), seat="1/1")
    run(world, site("a"), 130, interval=10)
    assert len(world.reader().results("a", begin, world.clock.time())) == 18


def test_what_exceeds_max_size_goes_and_the_file_shrinks(world):
    """The oldest and finest data goes first; spans stay, and nothing counts as a failure."""
    if world.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL has no bound of ours")
    world.keep = replace(world.keep, max_size=400_000)
    listed = [site(f"s{number}") for number in range(20)]
    world.start(*listed)
    begin = world.clock.time()
    for _ in range(300):
        for one in listed:
            for _ in range(10):
                world.enter(down_result(one, time=world.clock.time()))
                world.clock.advance(0.5)
        world.turn()
    for _ in range(2000):
        world.pass_time(2)
    assert world.told.failures == world.told.dropped == 0
    assert world.told.size < 800_000
    now = world.clock.time()
    assert world.reader().uptime(["s0"], begin, now)["s0"].down > 0
    assert len(world.reader().outages(["s0"], begin, now)) == 1


def test_pages_that_are_free_go_back_to_the_file_system(world):
    """Each minute 200 pages go back, as long as more than a tenth of the file is free."""
    if world.url.get_backend_name() != "sqlite":
        pytest.skip("PostgreSQL vacuums by itself")
    world.start(site("shop"))
    engine = connect(world.url, writes=True)
    with engine.begin() as connection:
        connection.execute(insert(schema.facts).values(name="spare", value=bytes(4_000_000)))
    with engine.begin() as connection:
        connection.execute(delete(schema.facts).where(schema.facts.c.name == "spare"))
    engine.dispose()
    sizes = []
    for _ in range(8):
        world.pass_time(61)
        sizes.append(world.told.size)

    pages = [(before - after) // 4096 for before, after in pairwise(sizes)]
    assert pages[0] in range(200, 203), pages
    assert pages[-1] == 0
    assert sizes[-1] < 300_000


def test_latency_comes_from_the_coarsest_rollup_that_fits(world):
    """Steps of 1 min, 5 min and 1 h count the same checks; none is lost or doubled."""
    listed = site()
    world.start(listed)
    begin = world.clock.time()
    for number in range(400):
        duration = 0.010 + 0.0001 * number
        world.enter(up_result(listed, time=world.clock.time(), duration=duration))
        world.pass_time(10)
    world.enter(down_result(listed, time=world.clock.time(), duration=9.0))
    world.pass_time(1)
    for step in (60, 300, 3600, 86400):
        points = world.reader().latency("shop", begin, world.clock.time(), step)
        assert sum(one.count for one in points) == 400
        assert max(one.max for one in points) == pytest.approx(0.0499)
        assert [one.begin for one in points] == sorted(one.begin for one in points)
    [day] = world.reader().latency("shop", begin, world.clock.time(), 86400)
    assert day.p50 == pytest.approx(0.030, rel=0.025)
    assert day.p99 == pytest.approx(0.0495, rel=0.025)


def test_what_is_rolled_up_says_what_the_results_said(world):
    """Finished hours and days, the current hour and a late result all count once."""
    listed = site()
    world.start(listed)
    begin = world.clock.time()
    for number in range(180):
        if number != 90:
            duration = 0.010 + 0.001 * number
            world.enter(up_result(listed, time=world.clock.time(), duration=duration))
        world.pass_time(610)
    late = begin + 90 * 610
    world.enter(up_result(listed, time=late, duration=0.100))
    for _ in range(3):
        world.pass_time(700)
    with world.reader()._engine.connect() as connection:
        rolled = {row[0] for row in connection.exec_driver_sql("SELECT level FROM rollups")}
    assert rolled == {1, 2, 3}
    now = world.clock.time()
    for step in (60, 300, 900, 3600, 7200, 86400):
        for since in (begin, math.floor(begin / DAY) * DAY):
            points = world.reader().latency("shop", since, now, step)
            assert sum(one.count for one in points) == 180
            assert points[-1].max == pytest.approx(0.189)
    exported = {
        level: sum(one.up for _, one in world.reader().rollups("shop", level)) for level in LEVELS
    }
    assert set(exported.values()) == {180}
    [noon] = [
        one
        for one in world.reader().latency("shop", late - late % 3600, now, 3600)
        if one.begin == late - late % 3600
    ]
    assert noon.count == sum(0 <= begin + n * 610 - noon.begin < 3600 for n in range(180))


def test_nothing_is_dropped_that_is_still_to_be_rolled_up(world):
    """However short results are kept, hours and days are made from all of them."""
    world.keep = replace(world.keep, raw=60.0, five_minutes=60.0)
    listed = site()
    world.start(listed)
    begin = world.clock.time()
    run(world, listed, 30 * 3600, interval=600)
    world.clock.advance(1)
    found = world.reader().latency("shop", begin - begin % DAY, world.clock.time(), DAY)
    assert sum(one.count for one in found) == 30 * 6
    assert len(world.reader().results("shop", begin, world.clock.time())) < 5 * 6


def test_days_are_the_same_once_they_are_summed_up(world):
    """Days and windows agree with the spans over midnights, with an outage across one."""
    listed = site(confirm=Confirm(failures=3))
    world.start(listed)
    pattern = [up_result] * 50 + [down_result] * 20 + [up_result] * 80
    for number in range(600):
        world.enter(pattern[number % 150](listed, time=world.clock.time()))
        world.pass_time(600)
        for _ in range(4):
            world.pass_time(1)
    now = world.clock.time()
    reader = world.reader()
    days = reader.days(["shop"], days=7, now=now)["shop"]
    assert len(days) == 7
    for day in days:
        end = min(day.begin + DAY, now)
        spans = reader.spans(["shop"], day.begin, end)
        by_spans = dict.fromkeys(Condition, 0.0)
        for one in spans:
            by_spans[one.condition] += one.end - one.begin
        assert day.uptime.up == pytest.approx(by_spans[Condition.UP])
        assert day.uptime.down == pytest.approx(by_spans[Condition.DOWN])
        assert day.uptime == reader.uptime(["shop"], day.begin, end)["shop"]
    for begin in (now - 5 * DAY - 1234, now - 3.5 * DAY, now - 2 * DAY):
        uptime = reader.uptime(["shop"], begin, now)["shop"]
        spans = list(reader.spans(["shop"], begin, now))
        assert uptime.down == pytest.approx(
            sum(one.end - one.begin for one in spans if one.condition is Condition.DOWN)
        )
        assert uptime.outages == len(reader.outages(["shop"], begin, now))


def test_two_shards_share_a_store(world):
    """Each writes its own sites, and does not take the other's for removed."""
    first, second = World.__new__(World), world
    first.__dict__ |= {**world.__dict__, "states": {}}
    first.start(site("a"), seat="1/2")
    second.start(site("b"), seat="2/2")
    for one, name in ((first, "a"), (second, "b")):
        run(one, site(name), 10)
    assert {one.removed for one in world.reader().listing()} == {None}
    now = world.clock.time()
    found = world.reader().uptime(["a", "b"], now - 20, now)
    assert {name: one.up for name, one in found.items()} == {"a": 20, "b": 10}
    first.kill()


def test_a_result_from_before_a_restart_begins_where_the_last_life_ended(world):
    """A hub that starts receives checks that were made while the hub before it was running."""
    listed = site()
    world.start(listed)
    run(world, listed, 10)
    world.stop()
    stopped = world.clock.time()
    world.start(listed)
    world.enter(down_result(listed, time=stopped - 3))
    world.pass_time(5)
    world.enter(up_result(listed, time=world.clock.time()))
    world.pass_time(5)
    spans = list(world.reader().spans(["shop"], stopped - 10, world.clock.time()))
    assert all(one.end == other.begin for one, other in pairwise(spans))
    uptime = world.reader().uptime(["shop"], stopped - 10, stopped + 10)["shop"]
    assert uptime.up + uptime.down == 20


def test_what_is_known_later_mends_days_that_are_summed_up(world):
    """Two days later an unknown night turns out to be an outage, and all sums say so."""
    listed = site()
    world.start(listed)
    pattern = [up_result] * 60 + [error_result] * 24 + [up_result] * 200
    begin = world.clock.time()
    for outcome in pattern:
        world.enter(outcome(listed, time=world.clock.time()))
        world.pass_time(600)
        for _ in range(4):
            world.pass_time(1)
    now = world.clock.time()
    window = (begin, now)
    [unknown] = [
        one for one in world.reader().spans(["shop"], *window) if one.condition is Condition.UNKNOWN
    ]
    before = world.reader().uptime(["shop"], *window)["shop"]
    outage = Span(
        site="shop",
        condition=Condition.DOWN,
        begin=unknown.begin - 600,  # what was written then stays
        end=unknown.end - 600,
        reason=Reason.STATUS,
        message="status 503 is not in 2xx",
    )
    world.writer.mended([outage])
    for _ in range(70):
        world.pass_time(1)
    uptime = world.reader().uptime(["shop"], *window)["shop"]
    length = unknown.end - unknown.begin - 600
    assert (uptime.up, uptime.down) == (before.up, pytest.approx(length))
    [found] = world.reader().outages(["shop"], *window)
    assert (found.begin, found.end) == (unknown.begin, unknown.end - 600)
    assert (found.reason, found.message) == (outage.reason, outage.message)
    days = world.reader().days(["shop"], days=3, now=now)["shop"]
    assert sum(day.uptime.down for day in days) == pytest.approx(length)


# ------------------------------------------------------------ compared second by second

STEP = 20
SECONDS = 10

lives = st.lists(
    st.tuples(
        st.lists(st.sampled_from("u" * 6 + "x" * 5 + "!"), min_size=1, max_size=8),
        st.sampled_from(["kill", "stop", "sleep"]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=4,
)


LETTERS = {
    Condition.UP: "u",
    Condition.DOWN: "d",
    Condition.UNKNOWN: "?",
    Condition.UNOBSERVED: ".",
}


def letters_of(world, begin, seconds):
    """Return what the store says about each second."""
    return "".join(
        LETTERS[one.condition] * round((one.end or math.inf) - one.begin)
        for one in world.reader().spans(["shop"], begin, begin + seconds)
    )


def observed(some, failures):
    """Return the site's state second by second; steps are ten seconds, with a check at each."""
    row: list[str] = []
    state, streak, first = "?", 0, 0
    seen_until_gap = True
    for checks, _, pause in some:
        for check in checks:
            at = len(row)
            if check == "x":
                streak += 1
                first = at if streak == 1 else first
                if streak == failures and state != "d":
                    for second in range(first, at):
                        row[second] = "d" if row[second] != "." else "."
                    state = "d"
                elif streak > failures:
                    state = "d"
            elif check == "u":
                streak, state = 0, "u"
            row += ("?" if check == "!" else state) * SECONDS
            seen_until_gap = True
        row += "." * (pause * SECONDS)
        seen_until_gap = False
    assert seen_until_gap is False
    return "".join(row)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lives, st.integers(1, 3))
def test_the_store_says_what_each_second_says(tmp_path_factory, some, failures):
    """It does so over kills, stops, sleeps, errors of ours, and failures confirmed or not."""
    world = World(tmp_path_factory.mktemp("life"), None, time=NOON)
    listed, pulse = site(confirm=Confirm(failures=failures)), site("pulse")
    begin = world.clock.time()
    outcomes = {"u": up_result, "x": down_result, "!": error_result}
    world.start(listed, pulse)
    for number, (checks, end, pause) in enumerate(some):
        for check in checks:
            world.enter(outcomes[check](listed, time=world.clock.time()))
            for _ in range(SECONDS):
                world.enter(up_result(pulse, time=world.clock.time()))
                world.pass_time(1)
        died = world.clock.time()
        if end == "sleep":
            world.clock.advance(pause * SECONDS)
            world.writer._on_absence(round(died * 1000))
            continue
        world.stop() if end == "stop" else world.kill()
        world.clock.advance(pause * SECONDS)
        if number + 1 < len(some):
            world.start(listed, pulse)
    if some[-1][1] == "sleep":
        world.turn()
    world.clock.advance(60)  # until then, the killed daemon might still be running
    row = observed(some, failures)
    assert letters_of(world, begin, len(row)) == row
    uptime = world.reader().uptime(["shop"], begin, begin + len(row))["shop"]
    assert (uptime.up, uptime.down) == (row.count("u"), row.count("d"))
    world.close()


# ------------------------------------------------------------ what became known later

CONDITIONS = {"u": Condition.UP, "d": Condition.DOWN}

later = st.lists(st.sampled_from("ud."), min_size=1, max_size=30)


def spans_of(letters, begin):
    """Return what the writer is told about a site; each letter is a second."""
    found = []
    at = begin
    for letter, some in groupby(letters):
        end = at + len(list(some))
        if letter in CONDITIONS:
            reason = Reason.STATUS if letter == "d" else None
            condition = CONDITIONS[letter]
            found.append(Span(site="shop", condition=condition, begin=at, end=end, reason=reason))
        at = end
    return found


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example([(["!"], "kill", 0)], ["u"], 0, 15)
@given(lives, later, st.integers(0, 20), st.integers(1, 15))
def test_what_is_known_later_fills_what_was_unknown(tmp_path_factory, some, letters, start, length):
    """Second by second, known states stay, and unobserved or unknown time is filled."""
    world = World(tmp_path_factory.mktemp("life"), None, time=NOON)
    listed, pulse = site(), site("pulse")
    begin = world.clock.time()
    outcomes = {"u": up_result, "x": down_result, "!": error_result}
    for checks, _, pause in some:
        world.start(listed, pulse)
        for check in checks:
            world.enter(outcomes[check](listed, time=world.clock.time()))
            for _ in range(SECONDS):
                world.enter(up_result(pulse, time=world.clock.time()))
                world.pass_time(1)
        world.kill()
        world.clock.advance(pause * SECONDS)
    world.start(listed, pulse)
    for _ in range(2):
        world.enter(error_result(listed, time=world.clock.time()))
        world.pass_time(SECONDS)
    row = list(observed([*some, ("!!", "stop", 0)], failures=1))
    said = [letter for letter in letters for _ in range(length)][: len(row) - start]
    wanted = spans_of(said, begin + start)
    if wanted:
        world.writer.mended(wanted)
    for at, letter in enumerate(said, start):
        if row[at] in "?." and letter != ".":
            row[at] = letter
    world.turn()
    world.enter(up_result(listed, time=world.clock.time()))  # what lasted ends where it should
    world.pass_time(SECONDS)
    row += "u" * SECONDS
    assert letters_of(world, begin, len(row)) == "".join(row)
    uptime = world.reader().uptime(["shop"], begin, begin + len(row))["shop"]
    assert (uptime.up, uptime.down) == (row.count("u"), row.count("d"))
    world.close()
