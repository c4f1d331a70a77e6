"""`python -m bench.spike`: a backlog meets a database that gets slower the more is wanted of it,
while a web application uses the same database.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.program import add_out, positive, run_program, write_record
from bench.spike_figures import Trace, Verdict, by_drain, keeps_foreground
from bench.spike_plot import draw
from bench.spike_stand import AdaptiveSystem, Load, Stand, StaticSystem, settings
from bench.systems import SidekiqSystem, System
from devtools.failure import DevError, short_path
from devtools.postgres import bring_postgres

#: How it was measured, for the JSON and below the table.
METHOD = (
    "From the instant all jobs are in the queue of a warm system to the end of the last one, the"
    " retries of failed ones included. Foreground: open loop, from when a request was due on; one"
    " that failed counts as 10 s. Errors: attempts of jobs and requests that failed."
)
#: The table's columns, below it.
LEGEND = (
    "times: the p99 of the foreground by its unloaded one. web: requests that failed. links: most"
    " connections to the database."
)
#: Slots of the gokiq whose limit adapts: as many as Sidekiq's most threads.
SLOTS = 200
#: Jobs of a run that only finds the best static limit: this part of the others'.
SWEEP_PART = 5
#: How many of the best static limits are run in full until one keeps the foreground's p99.
TRIES = 3

_TRACES = "spike-traces.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    jobs: int
    limits: Sequence[int]
    unloaded_s: float
    patience_s: float
    folder: Path
    argv: Sequence[str]

    @property
    def logs(self) -> Path:
        """Where the logs go."""
        return self.folder / "spike"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the spike, or draw its last run again, and return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(argv)
    folder = Path(options.out).resolve()
    if options.draw:
        return run_program(lambda: draw_again(folder, Path(options.draw)))
    plan = Plan(
        options.jobs, options.limits, options.unloaded, options.patience, folder, list(argv)
    )
    return run_program(lambda: spike(plan, Console(highlight=False)))


def spike(plan: Plan, console: Console) -> None:
    """Run the plan, write figures and picture. Raises DevError when a run fails."""
    bring_postgres(console.print)
    console.print(f"[bold]spike[/bold]: {plan.jobs:,} jobs at once, beside a web application")
    shutil.rmtree(plan.logs, ignore_errors=True)
    with Stand(plan.jobs, plan.logs) as stand:
        machine = {**describe_machine(stand.redis), "postgresql": stand.version}
        bench = _Bench(plan, stand, console)
        unloaded_p99, sweep, traces = bench.measure()
    verdict = Verdict.of(traces["gokiq_adaptive"], traces["gokiq_static"], unloaded_p99)
    figures = {
        "method": METHOD,
        "jobs": plan.jobs,
        "unloaded_p99_ms": round(unloaded_p99 * 1000, 2),
        "best_static_limit": traces["gokiq_static"].setting,
        "verdict": verdict.as_json(),
        "systems": {name: trace.figures() for name, trace in traces.items()},
        "sweep": [trace.figures() for trace in sweep],
        "stand": settings(),
        "machine": machine,
    }
    path = write_record(plan.folder, "spike", "bench.spike", plan.argv, figures)
    saved = {
        "unloaded_p99": unloaded_p99,
        "systems": {name: trace.as_json() for name, trace in traces.items()},
    }
    (plan.folder / _TRACES).write_text(json.dumps(saved), encoding="utf-8")
    picture = plan.folder / "spike.png"
    draw(list(traces.values()), unloaded_p99, picture)
    _print(traces, unloaded_p99, verdict, console)
    console.print(f"All figures: {short_path(path)}; drawn: {short_path(picture)}", soft_wrap=True)
    # Only now: they are what a failure points to.
    shutil.rmtree(plan.logs)


def draw_again(folder: Path, path: Path) -> None:
    """Draw the last run into another file, smaller. Raises DevError when there is none."""
    try:
        saved = json.loads((folder / _TRACES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DevError(
            "no run of the spike is there to be drawn", advice="Run python -m bench.spike first"
        ) from error
    traces = [Trace.from_json(value) for value in saved["systems"].values()]
    draw(traces, saved["unloaded_p99"], path, is_small=True)
    print(short_path(path))


class _Bench:
    """Runs the systems of a plan, one after the other."""

    def __init__(self, plan: Plan, stand: Stand, console: Console) -> None:
        self._plan = plan
        self._stand = stand
        self._console = console

    def measure(self) -> tuple[float, list[Trace], dict[str, Trace]]:
        """The unloaded p99 in seconds, the sweep over static limits, each system's trace."""
        unloaded = self._stand.unloaded(self._plan.unloaded_s)
        self._unloaded_p99 = unloaded.foreground_p99
        self._say("no jobs", unloaded)
        sweep = self._sweep()
        static = self._static(sweep)
        adaptive = self._run("adaptive", AdaptiveSystem(SLOTS, self._plan.logs / "adaptive.yml"))
        few = self._run("Sidekiq", SidekiqSystem(50))
        many = self._run("Sidekiq", SidekiqSystem(SLOTS))
        traces = {
            "sidekiq_50": few,
            "sidekiq_200": many,
            "gokiq_static": static,
            "gokiq_adaptive": adaptive,
        }
        return self._unloaded_p99, sweep, traces

    def _sweep(self) -> list[Trace]:
        jobs = max(1, self._plan.jobs // SWEEP_PART)
        return [self._run("sweep", StaticSystem(limit), jobs) for limit in self._plan.limits]

    def _static(self, sweep: Sequence[Trace]) -> Trace:
        """The best static limit in full; a short run may have flattered it."""
        runs = []
        for trial in by_drain(sweep, self._unloaded_p99)[:TRIES]:
            runs.append(self._run("static", StaticSystem(trial.setting)))
            if keeps_foreground(runs[-1], self._unloaded_p99):
                break
        return by_drain(runs, self._unloaded_p99)[0]

    def _run(self, what: str, system: System, jobs: int | None = None) -> Trace:
        load = Load(jobs or self._plan.jobs, self._plan.patience_s)
        trace = self._stand.run(system, load)
        self._say(what, trace)
        return trace

    def _say(self, what: str, trace: Trace) -> None:
        label = "" if what == trace.label else trace.label
        p99 = trace.foreground_p99
        text = f"  {what:<9} {label:<20}"
        if trace.jobs:
            text += f" {trace.drained:>6.1f} s, {(trace.jobs - trace.left) / trace.drained:>5.0f}/s"
        text += f"  p99 {p99 * 1000:>8,.1f} ms  {p99 / self._unloaded_p99:>7.2f}:1"
        self._console.print(text)


def _print(
    traces: Mapping[str, Trace], unloaded_p99: float, verdict: Verdict, console: Console
) -> None:
    table = Table(
        box=None if not console.is_terminal else box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("system", no_wrap=True)
    for title in ("drained", "left", "p99 ms", "times", "job errors", "web", "links"):
        table.add_column(title, justify="right", no_wrap=True)
    for trace in traces.values():
        table.add_row(*_cells(trace, unloaded_p99))
    console.print()
    console.print(table)
    met = "yes" if verdict.is_met else "NO"
    console.print(
        f"\nAdaptive: p99 {verdict.foreground_times:.2f} times the unloaded one (allowed: 2),"
        f" drained in {verdict.drain_times:.2f} times the best static limit's time (1.15): {met}."
    )
    console.print(f"{METHOD}\n{LEGEND}", style="dim")


def _cells(trace: Trace, unloaded_p99: float) -> list[str]:
    figures: Mapping[str, Any] = trace.figures()
    return [
        trace.label,
        f"{trace.drained:.1f} s" if trace.is_drained else "no",
        f"{trace.left:,}",
        f"{figures['foreground_p99_ms']:,.1f}",
        f"{trace.foreground_p99 / unloaded_p99:.2f}",
        f"{trace.job_errors:,}",
        f"{trace.foreground_errors:,}",
        f"{figures['connections']}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.spike",
        description="Sidekiq and gokiq empty a backlog into a database that has other users.",
    )
    parser.add_argument(
        "--jobs", type=positive, default=20_000, metavar="N", help="at once (20,000)"
    )
    parser.add_argument(
        "--limits",
        type=_limits,
        default=(4, 6, 8, 10, 12),
        metavar="N,…",
        help="static limits of gokiq to choose the best of, by a short run of each (4,6,8,10,12)",
    )
    parser.add_argument(
        "--unloaded",
        type=float,
        default=20.0,
        metavar="SEC",
        help="how long the web application is measured alone (20)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=200.0,
        metavar="SEC",
        help="a system that is not done by then is stopped, its jobs are counted as left (200)",
    )
    parser.add_argument(
        "--draw", metavar="PNG", help="only draw the last run again, for the documentation"
    )
    add_out(parser)
    return parser


def _limits(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split(","))


_limits.__name__ = "list of positive numbers"


if __name__ == "__main__":
    sys.exit(main())
