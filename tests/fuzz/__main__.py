"""Try a million hostile inputs: python -m tests.fuzz [--runs N] [--seconds S] [--only TARGET …]

Each target runs under libFuzzer in a process of its own, in a copy of the package whose extensions
tell where they have been (script/fuzz makes it). Fails when a target fails, or when fewer inputs
were tried than asked for.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.inputs import keep, kept

#: Of each target: its share of the runs, and how long one takes compared with the quickest.
SHARES = {
    "payload": (12, 5),
    "strings": (18, 1),
    "frames": (14, 3),
    "results": (14, 1),
    "batch": (10, 1),
    "promotions": (10, 1),
    "hello": (2, 8),
    "monitor": (6, 1),
    "commands": (9, 1),
    "replies": (5, 1),
}
#: What one input may take: seconds, MB.
INPUT_LIMIT_S = 10
MEMORY_LIMIT_MB = 2048
MAX_BYTES = 1024
DICTIONARY = Path(__file__).with_name("words.dict")

UNGUIDED = "no edge was seen: nothing that this target runs is instrumented (fuzzer.py)"

_RUNS = re.compile(r"stat::number_of_executed_units: (\d+)")
_COVERED = re.compile(r"cov: ([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Result:
    """How one target ended; `said` is empty when all is well."""

    target: str
    runs: int
    covered: int
    seconds: float
    said: str


def fuzz(target: str, runs: int, seconds: float, seed: int, work: Path) -> Result:
    """Run one target. Inputs that reach something new come to the folder `grown`, one that fails to
    the target's own.
    """
    grown, seeds = work / target / "grown", work / target / "seeds"
    for folder in (grown, seeds):
        folder.mkdir(parents=True)
    for number, data in enumerate(kept(target)):
        (seeds / str(number)).write_bytes(data)
    began = time.monotonic()
    output = fuzzer(
        target,
        *(str(grown), str(seeds), f"-runs={runs}", f"-max_total_time={seconds:.0f}"),
        *(f"-seed={seed}", f"-dict={DICTIONARY}", f"-max_len={MAX_BYTES}"),
        *(f"-timeout={INPUT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MB}"),
        *("-print_final_stats=1", f"-artifact_prefix={work / target}/"),
    )
    ran, covered = _RUNS.search(output.stdout), _COVERED.findall(output.stdout)
    return Result(
        target,
        runs=int(ran.group(1)) if ran else 0,
        covered=int(covered[-1]) if covered else 0,
        seconds=time.monotonic() - began,
        said=failure(output.stdout) if output.returncode else "" if covered else UNGUIDED,
    )


def fuzzer(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzzer", target, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def failure(output: str) -> str:
    """The traceback, and where the input has been written."""
    lines = output.splitlines()
    start = next((i for i, line in enumerate(lines) if "Uncaught Python exc" in line), -25)
    return "\n".join([*lines[start:][:25], *(line for line in lines if "Test unit" in line)])


def merge(target: str, work: Path, folder: Path) -> int:
    """Keep the old inputs, and as few of the new ones as reach all that they reach together."""
    few = work / target / "few"
    few.mkdir()
    fuzzer(target, "-merge=1", str(few), str(work / target / "seeds"), str(work / target / "grown"))
    return keep(target, [*kept(target), *(path.read_bytes() for path in few.iterdir())], folder)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs in all")
    parser.add_argument("--seconds", type=float, default=270, help="at most")
    parser.add_argument("--only", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder for what is found")
    parser.add_argument("--keep", type=Path, help="write the corpus with what is new there")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    shutil.rmtree(work, ignore_errors=True)

    workers = os.cpu_count() or 1
    chosen = [SHARES[target] for target in arguments.only]
    runs_in_all = sum(runs for runs, _ in chosen)
    time_in_all = sum(runs * cost for runs, cost in chosen)
    deadline = time.monotonic() + arguments.seconds

    def run(target: str) -> Result:
        runs, cost = SHARES[target]
        # Twice its share, for another may need less; but never beyond the end.
        share = 2 * workers * arguments.seconds * runs * cost / time_in_all
        seconds = max(1.0, min(share, deadline - time.monotonic()))
        runs = -int(-arguments.runs * runs // runs_in_all)
        return fuzz(target, runs, seconds, arguments.seed, work)

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(run, arguments.only))
    for one in results:
        counts = f"{one.runs:>10,} inputs {one.covered:>6} edges {one.seconds:6.0f} s"
        print(f"{one.target:12}{counts}")
    total = sum(one.runs for one in results)
    print(f"{'in all':12}{total:>10,} inputs")
    failed = [one for one in results if one.said]
    for one in failed:
        print(f"\n{one.target} failed:\n{one.said}")
    if total < arguments.runs and not failed:
        print(f"only {total:,} of {arguments.runs:,} inputs in {arguments.seconds:g} s")
    for one in results if arguments.keep else ():
        print(f"{one.target}: {merge(one.target, work, arguments.keep)} inputs kept")
    sys.exit(0 if not failed and total >= arguments.runs else 1)


main()
