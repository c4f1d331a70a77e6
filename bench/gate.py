"""`python -m bench.gate`: fails when gokiq has become slower than bench/gate.json says it is.

Two kinds of figures: how many times better than Sidekiq short runs of no-op and sleeping jobs are,
each in the same run as Sidekiq; and instructions of the compiled functions, under callgrind.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.compare import compare, make_plan
from bench.instructions import count_instructions
from bench.program import EXIT_FAILED, OUT, run_program
from bench.verdict import TOLERANCE_PERCENT, Figures, better_ratios, judge
from devtools.failure import DevError, short_path
from devtools.programs import ROOT

COMMITTED = ROOT / "bench" / "gate.json"
#: Short runs: the workloads with their options. One setting of Sidekiq each, that of its best.
RUNS = {
    "noop": ("--jobs", "40000", "--threads", "10", "--runs", "3"),
    "sleep": ("--jobs", "5000", "--in-flight", "500", "--runs", "3"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, compare or update. Returns the exit code."""
    options = _parser().parse_args(argv)
    return run_program(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.update:
        figures, machine = _measure(options)
        _write(options.file, figures, machine, options)
        print(f"Written: {short_path(options.file)}")
        return 0
    committed = _read(options.file)
    measured, _ = _measure(options)
    verdict = judge(committed, measured)
    if judge(Figures(committed.ratios), Figures(measured.ratios)).regressions:
        print("A ratio is lower than it may be; measured once more, the better one counts.")
        again = Figures(_measure_ratios()[0])
        verdict = judge(committed, better_ratios(measured, again))
    for line in verdict.regressions:
        print(f"regression: {line}", file=sys.stderr)
    for line in verdict.hints:
        print(line)
    if verdict.hints:
        print("`python -m bench.gate --update` on a quiet machine commits to what has improved.")
    if verdict.regressions:
        return EXIT_FAILED
    print(f"Nothing is worse by more than {TOLERANCE_PERCENT} %.")
    return 0


def _measure(options: argparse.Namespace) -> tuple[Figures, dict[str, Any]]:
    """What the options ask for, and on what machine: of its description what could be found."""
    instructions: dict[str, int] = {}
    ratios: dict[str, float] = {}
    machine: dict[str, Any] = {}
    # First what fails at once when something is missing.
    if options.no_callgrind:
        print("Skipped: instructions of the compiled functions (--no-callgrind).")
    else:
        instructions = count_instructions()
        print(f"Instructions of {len(instructions)} operations counted.")
    if options.no_sidekiq:
        print("Skipped: no-op and sleeping jobs beside Sidekiq (--no-sidekiq).")
    else:
        ratios, machine = _measure_ratios()
    return Figures(ratios, instructions), machine


def _measure_ratios() -> tuple[dict[str, float], dict[str, Any]]:
    ratios: dict[str, float] = {}
    machine: dict[str, Any] = {}
    folder = OUT / "gate"
    for workload, options in RUNS.items():
        plan = make_plan([workload, *options, "--out", str(folder)])
        compare(plan, Console(highlight=False))
        report = json.loads((folder / f"{workload}.json").read_text(encoding="utf-8"))
        ratios |= ratios_of(workload, report)
        machine = report["machine"]
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}")
    return ratios, machine


def ratios_of(workload: str, report: dict[str, Any]) -> dict[str, float]:
    """How many times better than Sidekiq: jobs a second, and CPU time a job of all processes."""
    cpu = {name: sum(report[name]["cpu_us_per_job"].values()) for name in ("sidekiq", "gokiq")}
    return {
        f"{workload}: rate against Sidekiq's": report["ratio"],
        f"{workload}: Sidekiq's CPU against ours": round(cpu["sidekiq"] / cpu["gokiq"], 2),
    }


def _read(path: Path) -> Figures:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Figures(kept["ratios"], kept["instructions"])
    except (OSError, ValueError, KeyError) as error:
        cause = f"no figures to compare with in {short_path(path)} ({error})"
        raise DevError(cause, advice="Run python -m bench.gate --update") from error


def _write(
    path: Path, figures: Figures, machine: dict[str, Any], options: argparse.Namespace
) -> None:
    """What was not measured stays as it is."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not options.no_sidekiq:
        kept["ratios"] = dict(figures.ratios)
        kept["runs"] = {name: " ".join(options) for name, options in RUNS.items()}
        kept["machine"] = {name: machine[name] for name in machine if name != "load_average"}
    if not options.no_callgrind:
        kept["instructions"] = dict(figures.instructions)
        kept["compiler"] = f"Python {platform.python_version()}, {platform.python_compiler()}"
    kept["date"] = time.strftime("%Y-%m-%d", time.gmtime())
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate",
        description="Fail when a figure is worse than the committed one by more than "
        f"{TOLERANCE_PERCENT} %%, with a line for each.",
    )
    parser.add_argument("--update", action="store_true", help="commit to what is measured now")
    parser.add_argument(
        "--file", type=Path, default=COMMITTED, help="the committed figures (bench/gate.json)"
    )
    parser.add_argument(
        "--no-callgrind", action="store_true", help="no instructions: where there is no valgrind"
    )
    parser.add_argument("--no-sidekiq", action="store_true", help="no ratios: seconds, not minutes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
