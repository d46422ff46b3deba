"""Any file either loads or has problems, and never takes long."""

import threading
import time
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config.load import Config, load_text
from monitor.config.nodes import Composer
from monitor.config.problems import Problems, YamlFile
from monitor.errors import ConfigError
from tests.config.tables import TABLES

WORDS = """
    sites defaults include url name web expect interval timeout net headers labels status body
    engine history confirm steps login token hops body_file ${X} <<
"""
ODDITIES = """
    https://a.example ping://a 5s 200 ${X} ${Y:-5} ${file:x} ${ $$ // :// https://[ GET {x} a@b
    https://u:${X}@a.example:${X}/
"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(ODDITIES.split())
)
TREES = st.recursive(
    SCALARS, lambda below: st.lists(below) | st.dictionaries(KEYS, below), max_leaves=30
)
PROFILE = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def attempt(text):
    """Return the configuration, or the problems."""
    try:
        return load_text(text, TABLES, {"X": "x-secret"})
    except ConfigError as error:
        return error.problems


@PROFILE
@given(st.binary() | st.text(st.sampled_from("[]{}:,-&*a#\"'\n\t ?|>!%<")).map(str.encode))
def test_any_bytes_are_nodes_or_problems(data):
    """No error of the parser, no RecursionError and no other exception escapes."""
    problems = Problems()
    node = Composer(YamlFile(Path("x"), "x"), problems, lambda _node, _path: None).compose(data)
    assert node is None or not any("is not YAML" in str(problem) for problem in problems.all())


@PROFILE
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "sites": TREES | st.lists(st.dictionaries(KEYS, TREES) | SCALARS),
            "defaults": TREES | st.dictionaries(KEYS, TREES),
            "engine": TREES,
            "shutdown_grace": TREES,
            "else": TREES,
        },
    )
)
def test_any_structure_loads_or_has_problems(tree):
    """A value of any kind in any place loads or is reported with its place."""
    outcome = attempt(yaml.safe_dump(tree, allow_unicode=True))
    if isinstance(outcome, tuple):
        assert outcome
        assert all(problem.line >= 1 and problem.column >= 1 for problem in outcome)
        assert "x-secret" not in "".join(map(str, outcome))


def test_a_load_does_not_keep_other_threads_waiting() -> None:
    """
    While 3,000 sites are read, another thread gets its turn all the time.

    The asserted limit is far above the measured 10 ms, to allow for slow machines; a load
    in one piece would take a whole second.
    """
    sites = "".join(
        f"  - {{name: site {n}, url: https://{n}.example, web: {{headers: {{A: b}}}}}}\n"
        for n in range(3000)
    )
    gaps: list[float] = []
    done = threading.Event()

    def tick() -> None:
        last = time.monotonic()
        while not done.is_set():
            time.sleep(0.001)
            gaps.append(time.monotonic() - last)
            last += gaps[-1]

    ticker = threading.Thread(target=tick)
    ticker.start()
    began = time.monotonic()
    config = attempt(f"defaults: {{group: x}}\nsites:\n{sites}")
    took = time.monotonic() - began
    done.set()
    ticker.join()
    assert isinstance(config, Config)
    assert len(config.sites) == 3000
    assert max(gaps) < max(0.25, took / 2)
