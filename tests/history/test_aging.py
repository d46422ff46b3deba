"""How the writer rolls up and sums up: a few sites at a time, alternating with the checks."""

import math

from sqlalchemy import func, select

from monitor.history import coarsening, schema
from monitor.history.breath import Breath
from monitor.history.store import connect
from monitor.model import Status
from tests.builders import down_result, site, up_result
from tests.history.lives import DAY, World

NOON = math.floor(1_800_000_000 / DAY) * DAY + DAY / 2


def test_long_work_pauses_after_each_stretch():
    """It pauses after each 0.2 ms of processor time used since the last pause, and not before."""
    used, slept = [1.0], []

    def sleep(_):
        slept.append(used[0])
        used[0] += 0.01  # what others use does not count

    breathe = Breath(lambda: used[0], sleep)
    for _ in range(10):
        breathe()
        used[0] += 0.00011
    assert [round((at - 1) % 0.01, 5) for at in slept] == [0, 0.00022, 0.00044, 0.00066, 0.00088]


def test_news_waits_for_a_few_sites_at_most(tmp_path):
    """Of forty sites that are due, sixteen are done when news is written, and the rest after it."""
    world = World(tmp_path, None, time=NOON)
    sites = [site(f"site-{number}") for number in range(40)]
    world.start(*sites)
    world.clock.advance(2 * 3600)
    hour = (world.clock.time() - 600) // 3600
    aging = world.writer._aging
    aging.take(world.writer._kept.values(), round(world.clock.time() * 1000))
    step = aging.step
    seen: list[tuple[int, int]] = []

    def done():
        """Return how many sites the store has rolled up, and how many are down."""
        with world.reader()._engine.connect() as connection:
            rolled = select(func.count()).where(schema.sites.c.hours_until == hour)
            down = select(func.count()).where(schema.states.c.status == str(Status.DOWN))
            return connection.scalar(rolled), connection.scalar(down)

    def interrupted(engine, now):
        if not seen:
            world.enter(down_result(sites[0], time=world.clock.time()))
        seen.append(done())
        return step(engine, now)

    aging.step = interrupted
    world.turn()
    assert done() == (16, 0)
    world.turn()
    assert seen == [(0, 0), (16, 1), (32, 1)]
    assert done() == (40, 1)
    world.close()


def test_days_of_many_sites_are_those_of_each(tmp_path, store):
    """Summing up together, even in two blocks, gives what summing up in turn gives."""
    world = World(tmp_path, store, time=NOON)
    names = ["a", "b", "c"]
    sites = [site(name) for name in names]
    world.start(*sites)
    for number in range(80):
        for at, one in enumerate(sites):
            outcome = down_result if number % (at + 2) == 0 else up_result
            world.enter(outcome(one, time=world.clock.time()))
        world.pass_time(DAY * 0.45)
    world.stop()
    engine = connect(world.url, writes=True)
    first = int(NOON // DAY)
    today = first + 36

    def sums(connection):
        return connection.execute(
            select(schema.days).order_by(schema.days.c.site, schema.days.c.block)
        ).all()

    with engine.begin() as connection:
        [a, b, c] = connection.scalars(select(schema.sites.c.id).order_by(schema.sites.c.name))
        since = {a: first, b: first + 3, c: first + 33}
        for one, day in since.items():
            coarsening.sum_up_days(connection, {one: day}, today)
        expected = sums(connection)
        assert len({row.block for row in expected}) == 2
        connection.execute(schema.days.delete().where(schema.days.c.site != c))
        coarsening.sum_up_days(connection, {a: first, c: first + 33}, today)
        coarsening.sum_up_days(connection, {b: first}, first + 3)
        coarsening.sum_up_days(connection, {b: first + 3}, today)
        assert sums(connection) == expected
    engine.dispose()
