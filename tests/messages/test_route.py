"""Who gets which message when, on a clock turned by hand and against an oracle of seconds."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.messages.queue import QueueState
from monitor.messages.route import Router
from monitor.messages.topic import Channel
from monitor.model import Confirm, Status
from tests.builders import site
from tests.messages.world import BEGAN, Sent, World

DAY = 86400.0
FIRING, RESOLVED = "firing", "resolved"


def test_a_group_waits_then_keeps_its_distance_then_repeats():
    """It keeps group_wait, group_interval and repeat_interval, at Alertmanager's defaults."""
    world = World()
    world.see("a", "down")  # at 0:10
    world.run(20).see("b", "down")  # at 0:30
    assert world.run(60).taken() == [(40, {"a": FIRING, "b": FIRING})]
    world.see("c", "down")  # at 1:30
    assert world.run(400).taken() == [(340, {"a": FIRING, "b": FIRING, "c": FIRING})]
    world.see("b", "up")  # at 8:10
    assert world.run(400).taken() == [(640, {"a": FIRING, "c": FIRING, "b": RESOLVED})]
    assert world.run(5 * 3600).taken() == [(640 + 14400, {"a": FIRING, "c": FIRING})]
    world.see("a", "up")
    world.see("c", "up")
    assert [told for _, told in world.run(DAY).taken()] == [{"a": RESOLVED, "c": RESOLVED}]
    assert world.rows == {}


def test_an_outage_shorter_than_group_wait_is_not_told():
    """Nothing of it is kept either."""
    world = World()
    world.see("a", "down")
    world.run(20).see("a", "up")
    assert world.run(DAY).taken() == []
    assert world.rows == {}


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ((), [{"a", "b", "c"}]),
        (("group",), [{"a", "b"}, {"c"}]),
        (("group", "team"), [{"a"}, {"b"}, {"c"}]),
        (("...",), [{"a"}, {"b"}, {"c"}]),
    ],
)
def test_labels_make_groups(group_by, groups):
    """Each set of values gets one message; a missing label counts as empty."""
    sites = [
        site("a", group="web", labels=(("team", "x"),)),
        site("b", group="web"),
        site("c", group="mail"),
    ]
    world = World(*sites, group_by=group_by)
    for one in sites:
        world.see(one.name, "down")
    found = [set(told) for _, told in world.run(60).taken()]
    assert sorted(found, key=min) == groups


def test_a_receiver_is_told_of_the_sites_that_name_it():
    """A site without notify goes to all receivers; after an edit, the former one gets the end."""
    channels = {"chat": Channel("chat"), "oncall": Channel("oncall")}
    shop = site("shop", notify=("oncall",))
    world = World(shop, site("blog", notify=()), channels=channels)
    for name in ("shop", "blog", "wiki"):
        world.see(name, "down")
    world.run(60)
    assert {(one.channel, *sorted(one.told)) for one in world.sent} == {
        ("chat", "wiki"),
        ("oncall", "shop", "wiki"),
    }
    world.sent.clear()
    world.relist(replace(shop, notify=("chat",)))
    world.run(600)
    assert [(one.channel, one.told["shop"]) for one in world.sent] == [("chat", FIRING)]
    world.sent.clear()
    world.see("shop", "up")
    world.run(600)
    assert {(one.channel, one.told["shop"]) for one in world.sent} == {
        ("chat", RESOLVED),
        ("oncall", RESOLVED),
    }


def test_a_receiver_away_for_six_hours_hears_once_what_is_still_true():
    """It gets changes in order, those already over in one message; the other gets each in time."""
    channels = {"chat": Channel("chat"), "other": Channel("other")}
    world = World(channels=channels, group_by=("site",))
    world.away.add("chat")
    world.see("a", "down")
    world.run(600).see("b", "down")
    world.run(600).see("c", "down")
    world.run(420).see("c", "up")
    for _ in range(2):
        world.run(600).see("d", "down")
        world.run(300).see("d", "up")
    world.run(6 * 3600 - world.time)
    world.away.clear()
    world.run(600)
    chat = [one for one in world.sent if one.channel == "chat"]
    assert [one.told for one in chat] == [
        {"a": FIRING},
        {"b": FIRING},
        {"c": RESOLVED},
        {"d": RESOLVED},
    ]
    assert [one.summaries[0] for one in chat[2:]] == [
        "c was down for 7 min while this channel could not be reached",
        "d was down 2 times, for 10 min in all, while this channel could not be reached",
    ]
    other = [one for one in world.sent if one.channel == "other"]
    assert Counter(name for one in other for name in one.told) == {"a": 2, "b": 2, "c": 2, "d": 4}
    assert world.run(3 * 3600).rows.keys() == {("topic", f'["{n}", "SiteDown", ""]') for n in "ab"}


def test_attempts_grow_apart_and_keep_their_key_while_the_message_is_the_same():
    """Another message has another key; the pauses grow to at most five minutes."""
    world = World()
    world.away.add("chat")
    world.see("a", "down")
    moments = []
    for _ in range(12):
        world.until_due()
        moments.append(world.time)
    assert len({key for _, key in world.tried}) == 1
    pauses = [later - before for before, later in pairwise(moments)]
    assert pauses == [1, 2, 5, 10, 30, 60, 120, 300, 300, 300, 300]
    world.see("b", "down")
    world.run(300)
    assert len({key for _, key in world.tried}) == 2


def test_a_message_that_is_at_fault_holds_up_the_others_for_a_while_only():
    """Once another message arrives, the faulty one waits behind the others."""
    world = World(group_by=("site",))
    world.away.add("chat")
    world.answers = True
    world.see("a", "down")
    world.run(600).see("b", "down")
    world.away.clear()
    world.poisonous = "a"
    world.run(6000)
    assert [told for _, told in world.taken()] == [{"b": FIRING}]
    world.see("c", "down")
    assert [told for _, told in world.run(400).taken()] == [{"c": FIRING}]


@pytest.mark.parametrize("groups", [False, True])
def test_an_outage_that_ends_while_it_is_being_told_is_told_to_have_ended(groups):
    """The receiver may have the message that timed out, and would wait forever for its end."""
    world = World(channels={"chat": Channel("chat", groups=groups)})
    world.see("a", "up")
    up = world.sights["a"]
    world.router.see(up._replace(status=Status.DOWN, down_since=world.now), world.now)
    world.now += 30
    [first] = world.router.due(world.now)
    world.now += 5
    world.router.see(up, world.now)
    world.router.failed("chat", first.key, world.now, lasting=False)
    [sent] = world.run(600).sent
    assert (sent.told, sent.notification.key != first.key) == ({"a": RESOLVED}, True)
    assert world.rows == {}


def test_a_receiver_may_ask_for_more_time_but_not_for_ever():
    """Retry-After is respected up to one hour."""
    world = World()
    world.see("a", "down")
    world.now += 30
    [first] = world.router.due(world.now)
    for asked, waits in ((90.0, 90.0), (1e9, 3600.0)):
        world.router.failed("chat", first.key, world.now, lasting=False, retry_after=asked)
        assert world.router.next_due() == world.now + waits
        world.now += waits
        [again] = world.router.due(world.now)
        assert again.key == first.key


def test_what_waits_for_a_day_expires_and_what_still_fires_is_told_later():
    """After 24 h an outage that has ended is not sent any more; one that lasts is."""
    world = World()
    world.away.add("chat")
    world.see("a", "down")
    world.see("b", "down")
    world.run(3600).see("b", "up")
    world.run(DAY)
    world.away.clear()
    assert [told for _, told in world.run(DAY / 4).taken()] == [{"a": FIRING}]


def test_a_receiver_that_refuses_is_asked_again_with_other_news():
    """The refused message is sent with the next news, on retry, or after repeat_interval."""
    world = World()
    world.refusing.add("chat")
    world.see("a", "down")
    world.run(3600)
    assert len(world.tried) == 1
    world.refusing.clear()
    world.see("b", "down")
    assert world.run(60).taken() == [(3640, {"a": FIRING, "b": FIRING})]
    world = World()
    world.refusing.add("chat")
    world.see("a", "down")
    world.run(3600)
    world.refusing.clear()
    world.router.retry(["chat"], world.now)
    assert world.run(60).taken() != []


def test_a_repetition_that_a_receiver_refuses_waits_for_the_next_one():
    """It is not sent again at once, but after repeat_interval or on retry."""
    world = World()
    world.see("a", "down")
    world.run(60)
    due = world.router.next_due()
    assert due == BEGAN + 40 + 4 * 3600
    (repetition,) = world.router.due(due)
    assert world.router.failed("chat", repetition.key, due, lasting=True) == "refused"
    assert world.router.due(due) == []
    assert world.router.next_due() == due + 4 * 3600
    world.router.retry(["chat"], due + 60)
    (again,) = world.router.due(due + 60)
    world.router.delivered("chat", again.key, due + 60)
    assert world.router.due(due + 4 * 3600) == []
    assert len(world.router.due(due + 60 + 4 * 3600)) == 1


def test_maintenance_mutes_and_its_end_tells_what_is_down():
    """Down in a window is reported at its end; up in a window is, if down was reported."""
    world = World()
    world.see("a", "down")
    world.see("b", "down", maintenance=True)
    world.run(60)
    assert world.taken() == [(40, {"a": FIRING})]
    world.see("a", "up", maintenance=True)
    world.run(600)
    assert [told for _, told in world.taken()] == [{"a": RESOLVED}]
    world.see("a", "down", maintenance=True)
    world.run(3600)
    assert world.taken() == []
    world.see("a", "down")
    world.see("b", "up")
    assert [told for _, told in world.run(60).taken()] == [{"a": FIRING}]


def test_a_site_that_cannot_be_checked_is_told_neither_as_down_nor_as_up():
    """What was reported stays, whatever was true before; the next known state is reported."""
    world = World(group_by=("site",))
    world.see("a", "down")
    world.see("b", "up")
    world.run(60)
    assert [told for _, told in world.taken()] == [{"a": FIRING}]
    for name in ("a", "b"):
        world.see(name, "unknown")
    assert world.run(3600).taken() == []
    world.see("a", "up")
    world.see("b", "down")
    assert [told for _, told in world.run(600).taken()] == [{"a": RESOLVED}, {"b": FIRING}]


def test_flapping_is_told_as_it_begins_and_as_it_ends():
    """Turns in between are not reported; when it ends, the state at that time is."""
    world = World()
    world.see("a", "down")
    world.run(60)
    world.taken()
    world.see("a", "down", flapping=True)
    for _ in range(20):
        world.run(60).see("a", "up", flapping=True)
        world.run(60).see("a", "down", flapping=True)
    [begun] = world.sent
    assert [one.labels["alertname"] for one in begun.notification.alerts] == ["SiteFlapping"]
    world.sent.clear()
    world.see("a", "up")
    world.run(600)
    [last] = world.sent
    assert {one.labels["alertname"]: str(one.status) for one in last.notification.alerts} == {
        "SiteFlapping": RESOLVED,
        "SiteDown": RESOLVED,
    }


def test_300_sites_behind_a_gateway_are_one_message():
    """It is about the gateway; a child that is down by itself once that is back is sent then."""
    gateway = site("gw")
    children = [
        site(f"child-{number}", depends_on=("gw",), interval=60.0, timeout=10.0)
        for number in range(300)
    ]
    world = World(gateway, *children)
    world.see("gw", "up")
    for child in children:
        world.see(child.name, "down")
    world.see("gw", "down")
    for child in children:
        world.see(child.name, "down", because="gw")
    assert world.run(3600).taken() == [(40, {"gw": FIRING})]
    world.see("gw", "up")
    for child in children:
        world.see(child.name, "down")
    world.run(5)
    for child in children[1:]:
        world.see(child.name, "up")
    assert [told for _, told in world.run(600).taken()] == [
        {"gw": RESOLVED},
        {"child-0": FIRING},
    ]


def test_a_child_waits_until_its_parent_could_be_confirmed():
    """It does so however short group_wait is; without a parent that is up it does not wait."""
    slow = site("gw", timeout=10.0, confirm=Confirm(failures=3, retry_interval=5.0))
    world = World(slow, site("child", depends_on=("gw",)), group_wait=0.0)
    world.see("gw", "up")
    world.see("child", "down")
    assert world.run(39).taken() == []
    assert [told for _, told in world.run(2).taken()] == [{"child": FIRING}]


def test_a_certificate_is_told_once_for_each_threshold():
    """Neither a check nor a restart repeats it, and a renewed certificate is reported once."""
    world = World()
    long = (BEGAN - 60 * DAY, BEGAN + 30 * DAY)
    for hour in range(31 * 24):
        world.see("a", "up", certificate=long)
        world.run(3600)
        if hour % 48 == 7:
            world.restart()
    found = [one.notification.alerts[0] for one in world.sent]
    assert [(one.labels["alertname"], one.labels["severity"]) for one in found] == [
        ("SiteCertificateEnds", "info"),
        ("SiteCertificateEnds", "warning"),
        ("SiteCertificateEnds", "critical"),
    ]
    assert [round((BEGAN + 30 * DAY - one.starts_at) / DAY) for one in found] == [21, 7, 1]
    world.sent.clear()
    world.see("a", "up", certificate=(BEGAN, BEGAN + 500 * DAY))
    assert [one.summaries for one in world.run(600).sent] == [["The certificate of a was renewed"]]


def test_a_threshold_passes_without_a_check():
    """The passing of time alone triggers the message."""
    world = World()
    world.see("a", "up", certificate=(BEGAN - 80 * DAY, BEGAN + 22 * DAY))
    assert world.run(0.9 * DAY).taken() == []
    assert [told for _, told in world.run(0.3 * DAY).taken()] == [{"a": FIRING}]


@pytest.mark.parametrize("group_by", [(), ("group",), ("...",)])
def test_nothing_is_told_twice_for_a_reload_or_a_restart(group_by):
    """Another grouping, other labels or a rename repeat nothing either."""
    world = World(group_by=group_by)
    for name in ("a", "b"):
        world.see(name, "down")
    world.run(60)
    world.taken()
    world.restart()
    world.reload(group_by=("alertname",), group_wait=1.0)
    world.relist(site("a", labels=(("team", "x"),)))
    world.router.rename("b", "bee", world.now)
    world.sights["bee"] = world.sights.pop("b")._replace(site=site("bee"))
    world.router.see(world.sights["bee"], world.now)
    world.step()
    world.restart()
    assert world.run(3600).taken() == []
    world.see("a", "up")
    world.see("bee", "up")
    assert [told for _, told in world.run(600).taken()] == [{"a": RESOLVED, "bee": RESOLVED}]


def test_what_waits_for_a_receiver_that_nobody_names_any_more_is_counted():
    """A receiver may leave the configuration, or the notify of one of its two sites."""
    channels = {name: Channel(name) for name in ("chat", "desk", "mail")}
    listed = site("a", notify=("chat", "desk", "mail"))
    world = World(listed, channels=channels, group_by=("site",))
    world.away = set(channels)
    world.see("a", "down")
    world.see("b", "down")
    world.run(60)
    world.relist(replace(listed, notify=("chat", "mail")))
    del channels["mail"]
    assert world.router.configure(world.settings, channels, world.now) == {"mail": 2}
    assert world.router.listed(lambda _: True, world.now) == {"desk": 1}
    assert world.router.listed(lambda _: True, world.now) == {}
    world.keep()
    world.away = set()
    world.run(600)
    assert sorted((one.channel, *one.told) for one in world.sent) == [
        ("chat", "a"),
        ("chat", "b"),
        ("desk", "b"),
    ]


def test_an_alertmanager_is_told_each_change_at_once_and_in_its_old_labels():
    """It groups by itself; labels that the site no longer has are resolved."""
    world = World(channels={"am/one": Channel("am", groups=True)})
    world.see("a", "down")
    assert world.run(1).taken() == [(10, {"a": FIRING})]
    world.relist(site("a", labels=(("team", "x"),)))
    world.run(1)
    [old, new] = [one for sent in world.sent for one in sent.notification.alerts][-2:][::-1]
    assert (str(new.status), new.labels["team"]) == (FIRING, "x")
    assert (str(old.status), old.labels.get("team")) == (RESOLVED, None)
    assert world.run(DAY).sent[-1].at < 30
    assert [one.labels for one in world.router.standing("am/one")] == [new.labels]


def test_a_site_that_leaves_the_list_is_resolved():
    """It is resolved whether the site leaves while the daemon runs or while it is stopped."""
    world = World(group_by=("site",))
    for name in ("a", "b"):
        world.see(name, "down")
    world.run(60)
    world.taken()
    world.router.leave(["a"], world.now)
    del world.sights["a"], world.sights["b"]
    world.restart()
    assert sorted(map(str, (one.summaries for one in world.run(600).sent))) == [
        "['a is not in the list any more']",
        "['b is not in the list any more']",
    ]


def test_ten_thousand_sites_are_one_message_that_counts_the_rest():
    """The message carries 200 sites, the first by name; all are counted as sent, and kept."""
    world = World()
    sites = [site(f"s{number}") for number in range(10_000)]
    for one in sites:
        world.see(one.name, "down")
    world.run(60)
    [sent] = world.sent
    assert [one.labels["site"] for one in sent.notification.alerts] == [
        f"s{number}" for number in range(200)
    ]
    assert sent.notification.omitted == 9800
    assert sum(key[0] == "topic" for key in world.rows) == 10_000


def test_a_clock_that_is_set_back_holds_nothing_up():
    """Ten years back, what waited is sent as if the clock had always been right."""
    world = World()
    world.see("a", "down")
    world.now -= 10 * 365 * DAY
    world.router.set_back(world.now)
    assert [told for _, told in world.run(60).taken()] == [{"a": FIRING}]


def test_what_ended_while_its_message_waited_is_told_to_have_ended_after_a_restart():
    """The daemon before may have sent what it kept, so the end is sent too."""
    world = World(
        channels={"chat": Channel("chat"), "am": Channel("am", groups=True)}, group_by=("site",)
    )
    world.away.add("chat")
    for name in "ab":
        world.see(name, "up", flapping=True)
    world.run(31).away.add("am")
    world.see("b", "up")
    world.restart()
    world.away.clear()
    for name in "ab":
        world.see(name, "up")
    world.run(3600)
    for channel in ("chat", "am"):
        known = followed([one for one in world.sent if one.channel == channel], channel)
        assert not any(known.values())


def test_how_things_stand_with_a_channel():
    """It shows since when messages wait, how long it has failed, and its next attempt."""
    world = World()
    assert world.router.states() == {"chat": QueueState(0, None, None, None)}
    world.see("a", "down")
    world.now += 30
    [first] = world.router.due(world.now)
    assert world.router.states()["chat"] == QueueState(1, world.now, None, None)  # it is under way
    sent = world.now
    world.now += 5
    world.router.failed("chat", first.key, world.now, lasting=False)
    assert world.router.states()["chat"] == QueueState(1, sent, world.now, world.now + 1)
    world.now += 1
    [again] = world.router.due(world.now)
    world.router.delivered("chat", again.key, world.now)
    assert world.router.states() == {"chat": QueueState(0, None, None, None)}


def test_what_a_restart_drops_is_counted_by_channel():
    """These are messages for a channel that the configuration no longer lists."""
    world = World(channels={"chat": Channel("chat"), "mail": Channel("mail")}, group_by=("site",))
    world.away |= {"chat", "mail"}
    for name in "ab":
        world.see(name, "down")
    world.run(60)
    router = Router(lambda: "key", world.now)
    router.configure(world.settings, {"chat": Channel("chat")}, world.now)
    assert router.restore(dict(world.rows), world.now) == {"mail": 2}
    assert router.states()["chat"].waiting == 2
    changes = router.changes()
    assert [kind for kind, _ in changes if changes[kind, _] is None] == ["message"] * 2


def test_what_stands_at_an_alertmanager_has_not_ended():
    """An alert whose end could not be delivered yet is not sent as firing again."""
    world = World(channels={"am": Channel("am", groups=True)})
    world.see("a", "down")
    world.see("b", "down")
    world.run(5)
    world.away.add("am")
    world.see("a", "up")
    assert [one.labels["site"] for one in world.router.standing("am")] == ["b"]


def test_retry_of_a_channel_that_is_not_there_changes_nothing():
    """A reload may have removed it while the request was on its way."""
    world = World()
    world.away.add("chat")
    world.see("a", "down")
    world.run(100)
    before = world.router.next_due()
    world.router.retry(["mail"], world.now)
    assert world.router.next_due() == before
    world.router.retry(["mail", "chat"], world.now)
    assert world.router.next_due() == world.now


def test_a_channel_that_comes_back_under_its_name_is_told_what_is_true():
    """What it was sent before it left the configuration is forgotten with it."""
    world = World()
    world.see("a", "down")
    world.run(60)
    world.taken()
    world.router.configure(world.settings, {}, world.now)
    world.keep()
    assert world.rows == {}
    world.reload()
    assert [told for _, told in world.run(60).taken()] == [{"a": FIRING}]


# ---------------------------------------------------------------- against a naive oracle

WAIT, INTERVAL, REPEAT = 10, 40, 200
TURNS = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from("abc"), st.booleans()), min_size=1, max_size=25
)


def oracle(turns):
    """Count seconds; return when each message is sent, and what it says."""
    changes: dict[int, list[tuple[str, bool]]] = {}
    at = 10
    for pause, name, is_down in turns:
        at += pause
        changes.setdefault(at, []).append((name, is_down))
    down: set[str] = set()
    told: set[str] = set()
    sent, timer = None, None
    messages = []
    for second in range(10, at + 1000):
        if timer == second or (sent is not None and told and second >= sent + REPEAT):
            timer = None
            if down != told or (sent is not None and told and second >= sent + REPEAT):
                found = dict.fromkeys(down, FIRING) | dict.fromkeys(told - down, RESOLVED)
                messages.append((second, found))
                told, sent = set(down), second
                if not told:
                    sent = None
        for name, is_down in changes.get(second, ()):
            was = name in down
            (down.add if is_down else down.discard)(name)
            if is_down not in (was, name in told):
                begin = second + WAIT if sent is None else max(second + WAIT, sent + INTERVAL)
                timer = begin if timer is None else min(timer, begin)
    return messages


@given(TURNS)
@settings(max_examples=150, deadline=None)
def test_the_router_sends_what_an_oracle_sends(turns):
    """Each message is sent at the same second, with the same sites in the same state."""
    world = World(
        group_wait=float(WAIT), group_interval=float(INTERVAL), repeat_interval=float(REPEAT)
    )
    for pause, name, is_down in turns:
        world.run(pause)
        if is_down or name in world.sights:
            world.see(name, "down" if is_down else "up")
    world.run(999)
    assert world.taken() == oracle(turns)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("see"),
            st.sampled_from("abc"),
            st.sampled_from(["up", "down"]),
            st.booleans(),
            st.booleans(),
        ),
        st.tuples(st.just("run"), st.sampled_from([1, 9, 31, 300, 5000])),
        st.tuples(st.sampled_from(["away", "back"]), st.sampled_from(["chat", "am"])),
        st.tuples(st.just("restart")),
        st.tuples(st.just("reload"), st.sampled_from([(), ("site",), ("...",)])),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_everybody_knows_the_truth_in_the_end(steps):
    """Nothing is lost, nothing is resolved that was not sent, and each message has news."""
    world = World(channels={"chat": Channel("chat"), "am": Channel("am", groups=True)})
    for kind, *values in steps:
        match kind:
            case "see":
                name, status, flapping, maintenance = values
                world.see(name, status, flapping=flapping, maintenance=maintenance)
            case "run":
                world.run(values[0])
            case "away":
                world.away.add(values[0])
            case "back":
                world.away.discard(values[0])
            case "restart":
                world.restart()
            case "reload":
                world.reload(group_by=values[0])
    world.away.clear()
    for name, sight in list(world.sights.items()):
        world.see(name, str(sight.status))
    world.run(3600)
    truth = {name: str(sight.status) == "down" for name, sight in world.sights.items()}
    for channel in ("chat", "am"):
        known = followed([one for one in world.sent if one.channel == channel], channel)
        assert {name: known.get((name, "SiteDown"), False) for name in truth} == truth
        assert not any(fires for (_, alert), fires in known.items() if alert == "SiteFlapping")
    assert all(key[0] == "topic" for key in world.rows)


def followed(sent: list[Sent], channel: str) -> dict[tuple[str, str], bool]:
    """Return what a reader of these messages knows; each message must say something new."""
    known: dict[tuple[str, str], bool] = {}
    last: dict[str, float] = {}
    assert len({one.notification.key for one in sent}) == len(sent)
    for one in sent:
        group = one.notification.group_key
        news = channel == "am" or one.at - last.get(group, -1e9) >= 14400
        last[group] = one.at
        for alert in one.notification.alerts:
            key = (alert.labels["site"], alert.labels["alertname"])
            firing = alert.status == FIRING
            unreached = "could not be reached" in str(alert.annotations)
            # Whether a message that timed out arrived is unknown, so its end is sent
            maybe = unreached or key[1] == "SiteFlapping"
            assert firing or maybe or known.get(key), f"{key} was resolved and never fired"
            news |= known.get(key, False) != firing or maybe
            known[key] = firing
        assert news, f"{one} tells nothing new"
    return known
