"""
What the records of each check cost: frozen dataclasses, ours, and msgspec's if installed.

    python -m tests.bench.record_cost

Prints, for a record of nine fields as an observation has them, the nanoseconds to make one, to
change one of its fields in a copy, to pickle it and to read the pickle; the bytes of the pickle and
of the record itself. msgspec is not among our dependencies: ``pip install msgspec`` adds its row.
"""

import copy
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from monitor.records import replace as replace_ours
from monitor.records import statically_frozen

_ROUNDS = 7
_TIMES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A frozen dataclass as Python makes it."""

    time: float
    duration: float
    phases: Mapping[str, float] = field(default_factory=dict)
    address: str | None = None
    failure: object = None
    answer: object = None
    tls: object = None
    secrets: tuple[str, ...] = ()
    redirects: int = 0


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Ours:
    """The same record, made by records.py."""

    time: float
    duration: float
    phases: Mapping[str, float] = field(default_factory=dict)
    address: str | None = None
    failure: object = None
    answer: object = None
    tls: object = None
    secrets: tuple[str, ...] = ()
    redirects: int = 0


def _msgspec(*, kw_only: bool) -> tuple[type, Callable[..., Any]] | None:
    """
    Return the same as msgspec's frozen Struct, and its replace(); None if it is missing.

    Args:
        kw_only: Such a Struct is pickled with the names of its fields.
    """
    if find_spec("msgspec") is None:
        return None
    msgspec = import_module("msgspec")
    fields = [
        ("time", float),
        ("duration", float),
        ("phases", dict, msgspec.field(default_factory=dict)),
        *((name, object, None) for name in ("address", "failure", "answer", "tls")),
        ("secrets", tuple, ()),
        ("redirects", int, 0),
    ]
    made = msgspec.defstruct(
        f"Struct{kw_only}", fields, frozen=True, kw_only=kw_only, module=__name__
    )
    globals()[f"Struct{kw_only}"] = made  # where pickle looks for it
    return made, import_module("msgspec.structs").replace


def _nanoseconds(do: Callable[[], object]) -> float:
    """Return the time of one call, the least of several rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        for _ in range(_TIMES):
            do()
        best = min(best, time.perf_counter() - begin)
    return best / _TIMES * 1e9


def _row(name: str, of: Callable[..., Any], changed: Callable[..., Any]) -> str:
    phases = {"connect": 0.001, "processing": 0.02}

    def make() -> Any:
        return of(
            time=1.0,
            duration=0.5,
            phases=phases,
            address="192.0.2.1",
            failure=None,
            answer=None,
            tls=None,
            redirects=0,
        )

    one = make()
    sent = pickle.dumps(one, pickle.HIGHEST_PROTOCOL)
    assert pickle.loads(sent) == one  # noqa: S301  our own
    assert copy.copy(one) == one
    times = (
        _nanoseconds(make),
        _nanoseconds(lambda: changed(one, redirects=1)),
        _nanoseconds(lambda: pickle.dumps(one, pickle.HIGHEST_PROTOCOL)),
        _nanoseconds(lambda: pickle.loads(sent)),  # noqa: S301  our own
    )
    columns = "".join(f"{one:10.0f}" for one in times)
    return f"{name:22}{columns}{len(sent):10}{sys.getsizeof(one):10}"


def main() -> None:
    """Print a table."""
    heads = ("make", "replace", "pickle", "unpickle", "bytes", "memory")
    print(f"{'ns':22}{''.join(f'{head:>10}' for head in heads)}")
    print(_row("frozen dataclass", Frozen, replace))
    print(_row("records.py", Ours, replace_ours))
    for kw_only in (False, True):
        if found := _msgspec(kw_only=kw_only):
            print(_row("Struct, kw_only" if kw_only else "msgspec.Struct", *found))


if __name__ == "__main__":
    main()
