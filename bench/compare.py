"""`python -m bench.compare WORKLOAD`: gokiq beside Sidekiq on one private Redis, in turns."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.backlog import Backlog
from bench.machine import describe_machine
from bench.measure import Run, run_once
from bench.program import add_out, positive, run_program, write_record
from bench.report import BUSY_CORES, LEGEND, METHOD, Comparison, Series, Trial
from bench.services import serving
from bench.systems import GokiqSystem, SidekiqSystem, System
from bench.workloads import TRIAL_PART, WORKLOADS, Workload
from devtools.failure import short_path
from devtools.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run: of several `sidekiq` the best, unless the workload shows all."""

    workload: Workload
    jobs: int
    runs: int
    sidekiq: Sequence[SidekiqSystem]
    gokiq: GokiqSystem
    folder: Path
    keep_logs: bool
    argv: Sequence[str]

    @property
    def logs(self) -> Path:
        """Where the systems' logs go."""
        return self.folder / self.workload.name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return its exit code."""
    plan = make_plan(sys.argv[1:] if argv is None else argv)
    return run_program(lambda: compare(plan, Console(highlight=False)))


def make_plan(argv: Sequence[str]) -> Plan:
    """The plan that these arguments ask for; exits with a message when they are wrong."""
    options = _parser().parse_args(argv)
    workload = WORKLOADS[options.workload]
    threads, concurrency = workload.threads, workload.concurrency
    if options.in_flight is not None:
        threads, concurrency = (options.in_flight,), options.in_flight
    workers = options.workers or workload.workers
    return Plan(
        workload=workload,
        jobs=options.jobs or workload.jobs,
        runs=options.runs,
        sidekiq=[SidekiqSystem(count, workload.processes) for count in options.threads or threads],
        gokiq=GokiqSystem(workers, options.concurrency or concurrency),
        folder=Path(options.out).resolve(),
        keep_logs=options.keep_logs,
        argv=argv,
    )


def compare(plan: Plan, console: Console) -> None:
    """Run the plan and write its figures. Raises DevError when a run fails."""
    workload = plan.workload
    console.print(f"[bold]{workload.name}[/bold]: {plan.jobs:,} {workload.summary}")
    shutil.rmtree(plan.logs, ignore_errors=True)
    with serving(workload.needs, plan.logs) as env, RedisServer() as redis:
        machine = describe_machine(redis)
        backlog = Backlog(workload, plan.jobs, redis)
        backlog.push(plan.logs / "push.log")
        comparison = _Bench(plan, backlog, redis, env, console).measure()
        payload_bytes = backlog.payload_bytes()
    figures: dict[str, Any] = {
        "summary": workload.summary,
        "method": METHOD,
        "jobs": plan.jobs,
        "warmup_jobs": workload.warmup_jobs,
        "payload_bytes": payload_bytes,
        "log_level": workload.log_level,
        **comparison.as_json(),
        "machine": machine,
    }
    path = write_record(plan.folder, workload.name, "bench.compare", plan.argv, figures)
    _print(comparison, path, console)
    if not plan.keep_logs:
        # Only now: they are what a failure points to.
        shutil.rmtree(plan.logs)


class _Bench:
    """Runs the systems of a plan."""

    def __init__(
        self,
        plan: Plan,
        backlog: Backlog,
        redis: RedisServer,
        env: Mapping[str, str],
        console: Console,
    ) -> None:
        self._plan = plan
        self._backlog = backlog
        self._redis = redis
        self._env = env
        self._console = console

    def measure(self) -> Comparison:
        """Every system once, then again, so that a change of the machine's mood meets them all."""
        plan = self._plan
        with tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary:
            self._slots = Path(temporary, "slots")
            trials, chosen = self._choose()
            systems: list[System] = [*chosen, plan.gokiq]
            series = [
                Series(
                    each.name,
                    each.label,
                    each.settings,
                    runs=[],
                    ideal_per_s=plan.workload.ideal_per_s(each.in_flight),
                )
                for each in systems
            ]
            for turn in range(1, plan.runs + 1):
                for place, (system, one) in enumerate(zip(systems, series, strict=True)):
                    run = self._run(system, self._jobs_for(system), f"{turn}-{place}")
                    one.runs.append(run)
                    self._say(f"run {turn}/{plan.runs}", one.label, run)
        return Comparison(series, trials)

    def _choose(self) -> tuple[list[Trial], list[SidekiqSystem]]:
        """The settings of Sidekiq to measure, and what was tried to find them."""
        plan = self._plan
        if plan.workload.shows_all or len(plan.sidekiq) == 1:
            return [], list(plan.sidekiq)
        trials = []
        for place, system in enumerate(plan.sidekiq):
            run = self._run(system, -(-self._jobs_for(system) // TRIAL_PART), f"0-{place}")
            trials.append(Trial(system.settings, run.jobs, run.jobs_per_s))
            self._say("trial  ", system.label, run)
        best = max(range(len(trials)), key=lambda place: trials[place].jobs_per_s)
        return trials, [plan.sidekiq[best]]

    def _jobs_for(self, system: System) -> int:
        """All for gokiq; Sidekiq, where it can only be slow, gets fewer."""
        jobs = self._plan.jobs
        if system is self._plan.gokiq:
            return jobs
        return self._plan.workload.jobs_for(system.in_flight, jobs)

    def _run(self, system: System, jobs: int, name: str) -> Run:
        log = self._plan.logs / f"{name}-{system.name}.log"
        return run_once(
            system, self._backlog, self._redis, self._slots, log, jobs=jobs, env=self._env
        )

    def _say(self, what: str, label: str, run: Run) -> None:
        self._console.print(f"  {what}  {label:<28} {run.jobs_per_s:>9,.0f} jobs/s")


def _print(comparison: Comparison, path: Path, console: Console) -> None:
    console.print()
    console.print(comparison.as_table(is_plain=not console.is_terminal))
    times = f"{comparison.ratio:.2f} times"
    console.print(f"\ngokiq reaches [bold]{times}[/bold] the rate of Sidekiq's best setting.")
    if comparison.other_cores >= BUSY_CORES:
        console.print(
            f"The machine was not quiet: other processes used up to {comparison.other_cores:.1f}"
            " cores during a run, which costs the systems with more processes most.",
            style="yellow",
        )
    console.print(f"{METHOD}\n{LEGEND}", style="dim")
    console.print(f"All figures: {short_path(path)}", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Compare gokiq with Sidekiq on the same Redis, Ruby and application.",
    )
    parser.add_argument("workload", choices=WORKLOADS, help="what the jobs do")
    parser.add_argument("--jobs", type=positive, metavar="N", help="jobs to time in each run")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of each system (3)")
    parser.add_argument(
        "--threads",
        type=_positives,
        metavar="N,…",
        help="Sidekiq's threads; of several settings the best counts, found by a short run of each"
        " (noop: 5,10,25)",
    )
    parser.add_argument(
        "--concurrency", type=positive, metavar="N", help="gokiq's slots in all workers (500)"
    )
    parser.add_argument(
        "--in-flight", type=positive, metavar="N", help="both --threads and --concurrency"
    )
    parser.add_argument("--workers", type=positive, metavar="N", help="gokiq's Ruby processes (1)")
    parser.add_argument("--keep-logs", action="store_true", help="keep the logs of good runs, too")
    add_out(parser)
    return parser


def _positives(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in text.split(","))


# argparse names the type in its error message.
_positives.__name__ = "list of positive numbers"


if __name__ == "__main__":
    sys.exit(main())
