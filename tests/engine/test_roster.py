"""How a changed list affects what is known of its sites, the same in the engine and the hub."""

from dataclasses import replace
from queue import SimpleQueue

import pytest

from monitor.app.places import Counting, hindsight_by
from monitor.engine.events import Inbox, ReportsCame, SitesChanged
from monitor.engine.hub import Hub
from monitor.engine.state import Depth
from monitor.locations.votes import Enough, Quorum
from monitor.model import Site, SiteChange, SiteState, Status
from monitor.past import Remembered
from monitor.places import Position, Report, ReportBatch, Sender
from tests.builders import refused, site
from tests.engine.turned import BOUNDS, TurnedEngine
from tests.fakes import FakeClock, HubListener

SHOP = site(url="http://me:old@shop.test/", target="http://shop.test/", group="web")


class Checking:
    """An engine whose sites fail because their probes say so."""

    def __init__(self) -> None:
        self.rig = TurnedEngine()
        self.loop = self.rig.engine
        self.listener = self.rig.listener

    def fail(self) -> None:
        while not self.rig.probes.submitted:
            self.rig.advance(0.1)
        for listed in self.rig.probes.take():
            self.rig.finish(listed, refused(self.rig.clock.time()), began=self.rig.clock.now)


class Joining:
    """A hub whose sites fail because a place says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.listener = HubListener()
        self.numbers = 0
        inbox: Inbox = SimpleQueue()
        quorum = Quorum(down=Enough(number=1), up=Enough(number=1), minimum=1)
        self.loop = Hub(
            clock=self.clock,
            inbox=inbox,
            votes=Counting(quorum, hindsight_by(quorum)),
            publisher=self.listener,
            meters=self.listener,
            recorder=self.listener,
            depth=Depth(results=5, failures=3),
            fingerprint=lambda: "one list",
        )

    def fail(self) -> None:
        self.clock.advance(1.0)
        self.numbers += 1
        now = self.clock.time()
        reports = tuple(
            Report(
                site=name,
                time=now,
                duration=0.1,
                up=False,
                status=Status.DOWN,
                since=now,
                first=now,
            )
            for name in self.listener.published
        )
        batch = ReportBatch(
            sender=Sender("fra"), id=str(self.numbers), sent=now, stored=now, reports=reports
        )
        self.loop.handle(ReportsCame(batch, Position(0, self.numbers), applied=False))


@pytest.fixture(params=[Checking, Joining], ids=["engine", "hub"])
def world(request):
    return request.param()


def change(world, remembered=None, **difference) -> None:
    world.loop.handle(SitesChanged(SiteChange(**difference), BOUNDS, remembered=remembered or {}))


def shown(world, name="shop"):
    return world.listener.published[name]


def down(world):
    """List the shop, let it fail twice, and return its state."""
    change(world, added=(SHOP,))
    world.fail()
    world.fail()
    state = shown(world)
    assert (state.status, state.streak, state.counters.checks) == (Status.DOWN, 2, 2)
    return state


@pytest.mark.parametrize(
    "other",
    [
        replace(SHOP, interval=20.0),
        replace(SHOP, group="shops"),
        replace(SHOP, labels=(("team", "b"),)),
        replace(SHOP, url="http://me:new@shop.test/"),
    ],
    ids=["interval", "group", "labels", "password"],
)
def test_a_site_is_the_same_while_its_url_stays(world, other):
    """It keeps its state and its counters and continues from there."""
    before = down(world)
    change(world, changed=(other,))
    assert shown(world) == replace(before, site=other)
    world.fail()
    assert (shown(world).streak, shown(world).counters.checks) == (3, 3)
    assert shown(world).since == before.since


def test_another_url_is_another_thing_to_check(world):
    """It starts as unknown with counters at 0; reports about the old URL have no vote."""
    down(world)
    change(world, changed=(replace(SHOP, url="http://b.test/", target="http://b.test/"),))
    assert shown(world).status is Status.UNKNOWN
    assert shown(world).counters.checks == 0
    world.fail()
    assert (shown(world).streak, shown(world).counters.checks) == (1, 1)


def test_a_renamed_site_carries_on_its_state(world):
    """The memory of its former name moves with it, and no site is reported as removed."""
    before = down(world)
    new = replace(SHOP, name="store", was="shop")
    change(world, removed=("shop",), added=(new,))
    assert world.listener.published == {"store": replace(before, site=new)}
    assert world.listener.renames == [("shop", "store")]
    assert (world.listener.gone, world.listener.site_count) == ([], 1)
    world.fail()
    assert shown(world, "store").counters.checks == 3


def test_a_site_goes_on_with_what_an_earlier_life_remembers(world):
    """It continues from there, unless the list has it under another name, which knows more."""
    known = Remembered(status=Status.DOWN, since=1.0, said=False, streak=7)
    change(world, added=(SHOP,), remembered={"shop": known})
    assert (shown(world).status, shown(world).since, shown(world).streak) == (Status.DOWN, 1.0, 7)
    change(
        world,
        removed=("shop",),
        added=(replace(SHOP, name="store", was="shop"),),
        remembered={"store": replace(known, streak=3)},
    )
    assert shown(world, "store").streak == 7


def test_a_site_that_leaves_is_shown_no_more(world):
    """It is reported once, under its name."""
    down(world)
    change(world, removed=("shop",))
    assert world.listener.published == {}
    assert (world.listener.gone, world.listener.site_count) == (["shop"], 0)


def test_a_bug_in_listing_one_site_costs_no_other(world, monkeypatch):
    """The bug is counted, and the rest of the list is there."""
    publish = world.listener.publish

    def breaks(state: SiteState) -> None:
        if state.site.name == "shop":
            raise ZeroDivisionError
        publish(state)

    monkeypatch.setattr(world.listener, "publish", breaks)
    other: Site = site("other")
    change(world, added=(SHOP, other))
    assert list(world.listener.published) == ["other"]
    assert world.listener.restarts == 1
