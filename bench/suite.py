"""`python -m bench.suite [ROW …]`: every row of the table in turn, then one report of them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import distance, growth, idle, latency, memory, orchestrator, ratios
from bench.compare import compare, make_plan
from bench.program import EXIT_FAILED, add_out, positive, run_program, write_record
from bench.summary import count, write_report
from bench.workloads import WORKLOADS
from devtools.failure import short_path

#: What `--quick` leaves of the jobs of each row: enough to see that it works.
QUICK_PART = 20


@dataclass(frozen=True, slots=True)
class Setting:
    """How large the rows are run, and where their figures go."""

    out: Path
    runs: int
    is_quick: bool
    console: Console

    def part(self, jobs: int) -> int:
        """So many, or fewer when quick."""
        return max(1, jobs // QUICK_PART) if self.is_quick else jobs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rows and write the report; return the exit code."""
    options = _parser().parse_args(argv)
    setting = Setting(
        out=Path(options.out).resolve(),
        runs=1 if options.quick else options.runs,
        is_quick=options.quick,
        console=Console(highlight=False),
    )
    names = [] if options.report_only else options.rows or list(ROWS)
    if unknown := set(names) - set(ROWS):
        print(f"bench: no row {', '.join(unknown)}; rows: {', '.join(ROWS)}", file=sys.stderr)
        return 2
    return run_program(lambda: run(names, setting))


def run(names: Sequence[str], setting: Setting) -> int:
    """Run these rows in order, then report on all figures that are there. Returns an exit code."""
    began = time.monotonic()
    setting.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        # The report must not take an older run for this one.
        (setting.out / f"{name}.json").unlink(missing_ok=True)
    failed = [name for name in names if not _run_row(name, setting)]
    path, verdicts = write_report(setting.out)
    console = setting.console
    console.print(f"\n{count(verdicts)}")
    for verdict in verdicts:
        if verdict.is_met is False:
            console.print(f"  missed: {verdict.title}", style="yellow")
    console.print(f"{short_path(path)} and report.html; {time.monotonic() - began:.0f} s in all")
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _run_row(name: str, setting: Setting) -> bool:
    """Whether it worked: one row's failure must not cost the figures of the others."""
    began = time.monotonic()
    path = setting.out / f"{name}.json"
    try:
        ROWS[name](setting)
    except Exception as error:
        setting.console.print(f"{name} failed: {error}", style="red", markup=False)
        failure = f"{type(error).__name__}: {error}"
        write_record(setting.out, name, "bench.suite", [name], {"failed": failure})
        return False
    record = json.loads(path.read_text(encoding="utf-8"))
    record["took_s"] = round(time.monotonic() - began, 1)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    setting.console.print(f"  {record['took_s']:.0f} s\n", style="dim")
    return True


def _comparison(name: str) -> Callable[[Setting], None]:
    def run_it(setting: Setting) -> None:
        jobs = setting.part(WORKLOADS[name].jobs)
        size = ("--jobs", str(jobs)) if setting.is_quick else ()
        argv = (name, *size, "--runs", str(setting.runs), "--out", str(setting.out))
        compare(make_plan(argv), setting.console)

    return run_it


def _distance(setting: Setting) -> None:
    jobs = setting.part(100_000)
    distance.run(jobs, setting.runs, setting.out, console=setting.console)


def _latency(setting: Setting) -> None:
    latency.run(setting.part(600), setting.runs, setting.out, console=setting.console)


def _memory(setting: Setting) -> None:
    memory.run(setting.part(10_000), setting.out, console=setting.console)


def _idle(setting: Setting) -> None:
    idle.run(setting.part(20), setting.out, console=setting.console)


def _orchestrator(setting: Setting) -> None:
    setting.console.print("[bold]orchestrator[/bold]: workers that answer at once")
    runs = [orchestrator.run(setting.part(400_000)) for _ in range(setting.runs)]
    # The run of the median rate, whole: its figures belong together.
    figures = sorted(runs, key=lambda one: one["jobs_per_s"])[len(runs) // 2]
    setting.console.print(f"  {figures['jobs_per_s']:,} jobs/s, CPU µs {figures['cpu_us_per_job']}")
    method = "The run of the median rate; workers written in Python answer each frame at once."
    seen = {"method": method, **figures, "runs": runs}
    write_record(setting.out, "orchestrator", "bench.orchestrator", [], seen)


def _micro(setting: Setting) -> None:
    ratios.run(setting.out, console=setting.console)


def _growth(setting: Setting) -> None:
    growth.run((), setting.out, rounds=1 if setting.is_quick else growth.ROUNDS)


#: Every row by its name, in the order in which they run.
ROWS: Mapping[str, Callable[[Setting], None]] = {
    **{name: _comparison(name) for name in WORKLOADS},
    "distance": _distance,
    "latency": _latency,
    "memory": _memory,
    "idle": _idle,
    "orchestrator": _orchestrator,
    "micro": _micro,
    "growth": _growth,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.suite", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)} (all)")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of each system (3)")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it works")
    parser.add_argument(
        "--report-only", action="store_true", help="from the figures that are there"
    )
    add_out(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
