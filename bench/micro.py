"""`python -m bench.micro`: the micro benchmarks in one file of results, and what they compare to.

Options that it does not know go to pyperf: `--rigorous` takes an hour.
`python -m pyperf compare_to bench/results/OLD.json bench/results/NEW.json --table` shows progress.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyperf
from rich.console import Console
from rich.table import Table

from bench import bench_core, bench_payload
from bench.cases import COMPILED, Case, benchmark_name
from bench.program import run_program
from devtools.failure import DevError, short_path
from devtools.programs import ROOT

RESULTS = ROOT / "bench" / "results"
#: Unless other options are given: two to three minutes in all.
ROUGH = ("--fast", "--processes=6", "--min-time=0.02")
#: What pyperf notes of a machine that is nobody's business, and of each run that nobody reads.
PRIVATE = frozenset({"hostname", "python_executable", "python_config_args", "python_cflags"})
UNREAD = frozenset({"mem_max_rss", "runnable_threads", "uptime", "warmups"})


@dataclass(frozen=True, slots=True)
class Row:
    """A case as it was measured: seconds a call, and how many times as fast as each other one."""

    name: str
    seconds: float
    times: Mapping[str, float]
    at_least: Mapping[str, float]

    @property
    def misses(self) -> list[str]:
        """What is not as it is meant to be, in a sentence each."""
        return [
            f"{self.name}: {self.times[who]:.1f} times as fast as {who}, meant to be {least:g}"
            for who, least in self.at_least.items()
            if self.times[who] < least
        ]


def all_cases() -> list[Case]:
    """Of all modules."""
    return [*bench_core.cases(), *bench_payload.cases()]


def rows(cases: Sequence[Case], seconds: Mapping[str, float]) -> list[Row]:
    """The rows of a table of results; `seconds` by benchmark name. Raises KeyError for a lack."""
    made = []
    for case in cases:
        ours = seconds[benchmark_name(case.name, COMPILED)]
        times = {
            who: seconds[benchmark_name(case.name, who)] / ours
            for who in case.calls
            if who != COMPILED
        }
        made.append(Row(case.name, ours, times, case.at_least))
    return made


def to_be_kept(value: Any) -> Any:
    """pyperf's JSON without the runs that only calibrate, and what names the machine's folders."""
    if isinstance(value, dict):
        return {
            name: to_be_kept(one)
            for name, one in value.items()
            if name not in PRIVATE and name not in UNREAD
        }
    if isinstance(value, list):
        return [to_be_kept(one) for one in value if not _is_calibration(one)]
    return value


def _is_calibration(run: Any) -> bool:
    return isinstance(run, dict) and "warmups" in run and "values" not in run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite, keep and print its results. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the results go")
    options, ours = parser.parse_known_args(argv)
    return run_program(lambda: _run(options.out, ours or ROUGH))


def _run(out: Path | None, options: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="gokiq-micro-") as folder:
        suites = [
            _measure(module.__name__, Path(folder, f"{number}.json"), options)
            for number, module in enumerate((bench_core, bench_payload))
        ]
    suite = pyperf.BenchmarkSuite([one for each in suites for one in each.get_benchmarks()])
    path = out or RESULTS / f"{time.strftime('%Y-%m-%d', time.gmtime())}-{_machine(suite)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    suite.dump(str(path), replace=True)
    path.write_text(
        json.dumps(to_be_kept(json.loads(path.read_text())), separators=(",", ":")) + "\n"
    )
    _print(path)


def _measure(module: str, path: Path, options: Sequence[str]) -> pyperf.BenchmarkSuite:
    command = [sys.executable, "-m", module, "--quiet", *options, "-o", str(path)]
    if subprocess.run(command, check=False, cwd=ROOT).returncode != 0:
        raise DevError(f"{module} failed; its own words are above")
    return pyperf.BenchmarkSuite.load(str(path))


def _machine(suite: pyperf.BenchmarkSuite) -> str:
    """As in "amd-epyc-2-cores"."""
    metadata = suite.get_metadata()
    name = f"{metadata.get('cpu_model_name', metadata['machine'])} {metadata['cpu_count']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _print(path: Path) -> None:
    suite = pyperf.BenchmarkSuite.load(str(path))
    seconds = {one.get_name(): one.median() for one in suite.get_benchmarks()}
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("operation")
    table.add_column("µs", justify="right")
    table.add_column("times as fast as")
    results = rows(all_cases(), seconds)
    for row in results:
        times = ", ".join(f"{who} {times:.1f}" for who, times in row.times.items())
        table.add_row(row.name, f"{row.seconds * 1e6:.2f}", times)
    console = Console(highlight=False)
    console.print(table)
    console.print()
    for miss in (miss for row in results for miss in row.misses):
        console.print(miss, style="yellow")
    console.print(f"All figures: {short_path(path)}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
