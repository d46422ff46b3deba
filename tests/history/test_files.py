"""What happens to the SQLite file while a daemon uses it."""

import os

from monitor.history.store import FILE, connect
from monitor.history.upkeep import Upkeep
from monitor.past import Condition
from tests.builders import down_result, site
from tests.history.lives import World


def test_a_database_that_is_emptied_is_begun_anew(tmp_path, caplog):
    """
    It is logged and counted once, as after `truncate -s 0`, and what lasts is in the new file.

    The emptied file is kept with its log, and no page of it gets into the new one.
    """
    world = World(tmp_path, None)
    listed = site()
    world.start(listed)
    since = world.clock.time()
    for _ in range(5):
        world.enter(down_result(listed, time=world.clock.time()))
        world.pass_time(1)
    reader = world.reader()
    assert reader.outages(["shop"], since - 60, world.clock.time())
    os.truncate(tmp_path / FILE, 0)
    for _ in range(4):
        world.enter(down_result(listed, time=world.clock.time()))
        world.pass_time(2)
    said = [one.fields["detail"] for one in caplog.records if hasattr(one, "fields")]
    assert said == [f"{tmp_path / FILE} was emptied while it was in use"]
    assert (world.told.failures, world.told.persistent) == (1, [True, False, True])
    [outage] = reader.outages(["shop"], since - 60, world.clock.time())
    assert (outage.begin, outage.end, outage.condition) == (since, None, Condition.DOWN)
    assert (tmp_path / f"{FILE}.emptied-wal").stat().st_size
    world.close()
    with Upkeep(connect(world.url, writes=True)) as upkeep:
        assert list(upkeep.problems()) == []
