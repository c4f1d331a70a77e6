"""How many instructions the compiled functions take, as callgrind counts them.

The same on every run of one machine with one Python and one compiler. `count_instructions` runs
this module as a program under valgrind: each call of getpgrp(2), which nothing else makes, ends
one part of its profile and begins the next.
"""

from __future__ import annotations

import collections
import gc
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import bench_core, bench_payload
from bench.cases import COMPILED
from devtools.failure import DevError
from devtools.programs import ROOT, find_program

#: Calls of each function: the first ones, which fill caches, and those that are counted.
WARMUP_CALLS, CALLS = 20, 200
#: Time that all of it may take, in seconds.
TIMEOUT_S = 300.0

_TOTAL = re.compile(r"^summary: (\d+)$", re.MULTILINE)


def count_instructions() -> dict[str, int]:
    """Instructions of one call, by case. Raises DevError without valgrind or when that fails."""
    with tempfile.TemporaryDirectory(prefix="gokiq-callgrind-") as folder:
        profile = Path(folder, "part")
        names = _run(profile)
        # The first part is the start of Python; then a counted one and one between two take turns.
        parts = [Path(f"{profile}.{2 * place + 2}") for place in range(len(names))]
        return {
            name: round(total_of(part.read_text(encoding="utf-8")) / CALLS)
            for name, part in zip(names, parts, strict=True)
        }


def total_of(part: str) -> int:
    """The instructions of one part of a profile. Raises DevError when it tells none."""
    found = _TOTAL.search(part)
    if found is None:
        raise DevError("callgrind wrote a profile without a summary")
    return int(found.group(1))


def _run(profile: Path) -> list[str]:
    command = [
        str(_valgrind()),
        *("--tool=callgrind", "--dump-before=getpgrp", f"--callgrind-out-file={profile}"),
        *(sys.executable, "-m", "bench.instructions"),
    ]
    # A hash that is another one in each process leads to dicts of another layout.
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    try:
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DevError(f"valgrind took longer than {TIMEOUT_S:.0f} s") from error
    if ran.returncode != 0:
        said = (ran.stderr.strip() or "nothing").splitlines()[-1]
        raise DevError(f"valgrind ended with exit code {ran.returncode}: {said}")
    names: list[str] = json.loads(ran.stdout)
    return names


def _valgrind() -> Path:
    try:
        return find_program("valgrind")
    except DevError as error:
        advice = "Run script/setup --valgrind, which brings a private one"
        raise DevError(error.cause, advice=advice) from error


def main() -> None:
    """Make the calls, under valgrind, and print the names of the cases in their order."""
    cases = [*bench_core.cases(), *bench_payload.cases()]
    gc.disable()
    for case in cases:
        function, *args = case.calls[COMPILED]
        _repeat(WARMUP_CALLS, function, args)
        os.getpgrp()
        _repeat(CALLS, function, args)
        os.getpgrp()
    print(json.dumps([case.name for case in cases]))


def _repeat(times: int, function: Any, args: list[Any]) -> None:
    """Call the function as often as this, with next to nothing around it."""
    calls = map(function, *(itertools.repeat(one, times) for one in args))
    collections.deque(calls, maxlen=0)


if __name__ == "__main__":
    main()
