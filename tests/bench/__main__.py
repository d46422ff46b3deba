"""
Measures what this product promises, beside blackbox_exporter where the promise is a ratio.

    python -m tests.bench [--only ROW]… [--quick] [--rounds N] [--json FILE]

Everything that it takes is started here, on loopback, and ends with it. In full it takes about an
hour, and only means something on a machine that does nothing else.
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

from tests.bench.figures import Figure
from tests.bench.lab import FULL, QUICK, Effort, Lab, program
from tests.bench.machine import machine
from tests.bench.report import Outcome, as_json, show
from tests.bench.rows import ROWS, Row


def measured(row: Row, effort: Effort) -> Outcome:
    """Return what comes of a row; one that fails takes none of the others along."""
    try:
        for name in row.needs:
            program(name)
    except LookupError as error:
        return Outcome(row=row, skipped=str(error))
    began = time.monotonic()
    figures: list[Figure] = []
    failed = ""
    try:
        with Lab(effort) as lab:
            figures.extend(row.measure(lab))
    except Exception as error:
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    return Outcome(row=row, figures=tuple(figures), failed=failed, took=time.monotonic() - began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a row failed; one that falls short of its goal has been measured all the same."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="ROW", action="append", choices=[row.name for row in ROWS]
    )
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--rounds", type=int, help="of which the median is taken")
    parser.add_argument(
        "--peer",
        metavar="PYTHON",
        help="the interpreter of another build's environment, for rows that compare builds",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there, too")
    given = parser.parse_args(arguments)
    effort = QUICK if given.quick else FULL
    effort = replace(effort, peer=given.peer)
    if given.rounds is not None:
        effort = replace(effort, rounds=max(1, given.rounds))

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what runs is stopped
    about = machine()
    outcomes = []
    try:
        for row in ROWS:
            if not given.only or row.name in given.only:
                print(f"{row.name}: {row.what} …", file=sys.stderr)
                outcomes.append(measured(row, effort))
    except KeyboardInterrupt:
        print("interrupted; this is what there is", file=sys.stderr)
    show(outcomes, about)
    if given.json:
        given.json.write_text(json.dumps(as_json(outcomes, about, effort), indent=2) + "\n")
    return 1 if any(outcome.failed for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
