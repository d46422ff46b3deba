"""
Measures what this product promises, beside blackbox_exporter if the promise is a ratio.

    python -m tests.bench [--only ROW]… [--quick] [--rounds N] [--json FILE]
                          [--peer PATH]…

It starts everything it needs on loopback, and ends it again. A full run takes about an hour, and
its figures mean something only on a machine that does nothing else.
"""

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.blackbox import PROGRAM as BLACKBOX
from tests.bench.figures import Figure
from tests.bench.lab import FULL, NO_PEERS, QUICK, Effort, Lab, Peers, program
from tests.bench.machine import machine
from tests.bench.report import Outcome, as_json, show
from tests.bench.rows import ROWS, Row


def measured(row: Row, effort: Effort, peers: Peers = NO_PEERS) -> Outcome:
    """Return the outcome of a row; a row that fails does not stop the others."""
    try:
        for name in row.needs:
            if name != BLACKBOX or peers.exporter is None:
                program(name)
    except LookupError as error:
        return Outcome(row=row, skipped=str(error))
    began = time.monotonic()
    figures: list[Figure] = []
    failed = ""
    lab = Lab(effort, peers)
    try:
        with lab:
            figures.extend(row.measure(lab))
    except Exception as error:
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    return Outcome(
        row=row,
        figures=tuple(figures),
        took_part=lab.took_part,
        failed=failed,
        took=time.monotonic() - began,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a row failed; a row that misses its goal has still been measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="ROW", action="append", choices=[row.name for row in ROWS]
    )
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--rounds", type=int, help="of which the median is taken")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there, too")
    parser.add_argument(
        "--peer",
        metavar="PATH",
        action="append",
        type=Path,
        default=[],
        help="the folder of another build of ours, or a blackbox_exporter, to measure beside",
    )
    given = parser.parse_args(arguments)
    try:
        peers = Peers.of(given.peer)
    except ValueError as error:
        parser.error(str(error))
    effort = QUICK if given.quick else FULL
    if given.rounds is not None:
        effort = replace(effort, rounds=max(1, given.rounds))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is stopped
    about = machine()
    outcomes = []
    try:
        for row in ROWS:
            if not given.only or row.name in given.only:
                print(f"{row.name}: {row.what} …", file=sys.stderr)
                outcomes.append(measured(row, effort, peers))
    except KeyboardInterrupt:
        print("interrupted; this is what there is", file=sys.stderr)
    show(outcomes, about)
    if given.json:
        given.json.write_text(json.dumps(as_json(outcomes, about, effort), indent=2) + "\n")
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
