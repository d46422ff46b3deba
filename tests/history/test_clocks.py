"""Clocks that are set ahead and back leave no nonsense in what the store says of the past."""

from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from monitor.history.store import connect
from monitor.history.upkeep import Upkeep
from monitor.model import Confirm
from tests.builders import down_result, error_result, site, up_result
from tests.history.lives import DAY, World

HOUR = 3600.0
OUTCOMES = {"u": up_result, "x": down_result, "!": error_result}

steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0, -1.0, -5.0, 2 * HOUR, -2 * HOUR, -DAY, 400 * DAY]),
        st.text("ux!", max_size=4),
        st.sampled_from(["goes on", "window", "left", "stop", "kill"]),
    ),
    min_size=1,
    max_size=8,
)


def turn(world, listed):
    """Open or close a maintenance window."""
    state = world.states[listed.name]
    state = world.states[listed.name] = replace(state, maintenance=not state.maintenance)
    world.writer.noted(state, world.clock.time(), checked=False)


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(
    [
        (2 * HOUR, "ux", "goes on"),
        (-2 * HOUR, "xu", "goes on"),
        (-DAY, "ux", "goes on"),
        (400 * DAY, "xu", "goes on"),
        (-400 * DAY, "ux", "goes on"),
    ],
    1,
)
@given(steps, st.integers(1, 2))
def test_spans_never_overlap_however_clocks_are_set(tmp_path_factory, some, failures):
    """No span ends before it begins, even with restarts, maintenance and sites that return."""
    world = World(tmp_path_factory.mktemp("life"), None)
    listed = site(confirm=Confirm(failures=failures))
    world.start(listed)
    for jump, checks, then in some:
        world.clock.set_back(-jump)
        world.writer._wake.set()
        world.writer._wait()
        if then == "window":
            turn(world, listed)
        for check in checks:
            world.enter(OUTCOMES[check](listed, time=world.clock.time()))
            world.pass_time(1)
        if then == "left":
            world.writer.left(["shop"], world.clock.time())
            world.put(listed)
        elif then in {"stop", "kill"}:
            world.stop() if then == "stop" else world.kill()
            world.start(listed)
    world.stop()
    world.close()
    with Upkeep(connect(world.url, writes=True)) as upkeep:
        assert list(upkeep.problems()) == []
