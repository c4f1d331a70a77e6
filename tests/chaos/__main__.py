"""Break gokiq in every way that one machine can show, under load, and check that nothing is lost.

python -m tests.chaos [--seed N] [--only NAME …] [--list]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .catalogue import SCENARIOS
from .runner import run_all

#: Of the list of faults. The last one is a soak (soak.py).
ROWS = set(range(1, 41))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the load and of random choices")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these scenarios alone")
    parser.add_argument("--list", action="store_true", help="name the scenarios and stop")
    parser.add_argument("--json", type=Path, default=Path("tmp/chaos.json"), metavar="PATH")
    arguments = parser.parse_args()
    chosen = [one for one in SCENARIOS if not arguments.only or one.name in arguments.only]
    if arguments.list:
        for one in chosen:
            print(f"{one.name:46} rows {', '.join(map(str, one.rows))}")
        missing = sorted(ROWS - {row for one in chosen for row in one.rows})
        print(f"not shown by these: {', '.join(map(str, missing)) or 'none'}")
        return
    unknown = set(arguments.only or ()) - {one.name for one in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; --list names them")
    sys.exit(0 if run_all(chosen, arguments.seed, arguments.json) else 1)


main()
