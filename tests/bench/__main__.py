"""
Measures what this product promises, beside blackbox_exporter where the promise is a ratio.

    python -m tests.bench [--only ROW …] [--quick] [--rounds N] [--json FILE]

Everything that is needed is started here, on loopback, and ends with it.
"""

import argparse
import signal
import sys
from dataclasses import replace

from tests.bench.lab import FULL, QUICK, Lab
from tests.bench.rows import ROWS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args()
    effort = QUICK if given.quick else FULL
    if given.rounds:
        effort = replace(effort, rounds=given.rounds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for row in ROWS:
        if given.only and row.name not in given.only:
            continue
        with Lab(effort) as lab:
            for figure in row.measure(lab):
                print(row.name, figure.name, f"{figure.value:.3g}", figure.unit, figure.detail)
    return 0


if __name__ == "__main__":
    sys.exit(main())
