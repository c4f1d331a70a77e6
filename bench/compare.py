"""`python -m bench.compare WORKLOAD`: gokiq beside Sidekiq on one private Redis, in turns."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from redis.exceptions import RedisError
from rich.console import Console

from bench.backlog import Backlog
from bench.machine import describe_machine
from bench.measure import run_once
from bench.report import BUSY_CORES, LEGEND, METHOD, Comparison, Series
from bench.systems import GokiqSystem, SidekiqSystem, System
from bench.workloads import WORKLOADS, Workload
from devtools.failure import DevError, short_path
from devtools.programs import ROOT
from devtools.redis_server import RedisServer

#: Exit code when a run failed.
EXIT_FAILED = 1
#: A shell's exit code for a program that a signal ended, less the signal's number.
EXIT_SIGNAL = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    workload: Workload
    jobs: int
    runs: int
    systems: Sequence[System]
    folder: Path
    keep_logs: bool


class Stopped(KeyboardInterrupt):
    """A signal asked the benchmark to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and return its exit code."""
    plan = make_plan(argv)
    console = Console(highlight=False)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        _run(plan, console)
    except Stopped as stopped:
        print("bench: stopped; nothing is left running", file=sys.stderr)
        return EXIT_SIGNAL + stopped.number
    except (DevError, OSError, RedisError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def make_plan(argv: Sequence[str] | None) -> Plan:
    """The plan that these arguments ask for; exits with a message when they are wrong."""
    options = _parser().parse_args(argv)
    workload = WORKLOADS[options.workload]
    threads, concurrency = workload.threads, workload.concurrency
    if options.in_flight is not None:
        threads, concurrency = (options.in_flight,), options.in_flight
    systems: list[System] = [SidekiqSystem(count) for count in options.threads or threads]
    systems.append(GokiqSystem(options.workers, options.concurrency or concurrency))
    return Plan(
        workload=workload,
        jobs=options.jobs or workload.jobs,
        runs=options.runs,
        systems=systems,
        folder=Path(options.out).resolve(),
        keep_logs=options.keep_logs,
    )


def _run(plan: Plan, console: Console) -> None:
    name = plan.workload.name
    console.print(f"[bold]{name}[/bold]: {plan.jobs:,} {plan.workload.summary}")
    logs = plan.folder / name
    shutil.rmtree(logs, ignore_errors=True)
    with RedisServer() as redis:
        machine = describe_machine(redis)
        backlog = Backlog(plan.workload, plan.jobs, redis)
        backlog.push(logs / "push.log")
        comparison = _measure(plan, backlog, redis, console)
        payload_bytes = backlog.payload_bytes()
    report: dict[str, Any] = {
        "workload": name,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": f"python -m bench.compare {' '.join(sys.argv[1:])}".strip(),
        "method": METHOD,
        "jobs": plan.jobs,
        "warmup_jobs": plan.workload.warmup_jobs,
        "payload_bytes": payload_bytes,
        "log_level": "WARN",
        **comparison.as_json(),
        "machine": machine,
    }
    path = plan.folder / f"{name}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _print(comparison, path, console)
    if not plan.keep_logs:
        # Only now: they are what a failure points to.
        shutil.rmtree(logs)


def _measure(plan: Plan, backlog: Backlog, redis: RedisServer, console: Console) -> Comparison:
    """Every system once, then again, so that a change of the machine's mood meets them all."""
    series = [Series(each.name, each.label, each.settings, runs=[]) for each in plan.systems]
    logs = plan.folder / plan.workload.name
    with tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary:
        slots = Path(temporary, "slots")
        for turn in range(1, plan.runs + 1):
            for place, (system, one) in enumerate(zip(plan.systems, series, strict=True)):
                log = logs / f"{turn}-{place}-{system.name}.log"
                run = run_once(system, backlog, redis, slots, log)
                one.runs.append(run)
                console.print(
                    f"  run {turn}/{plan.runs}  {one.label:<27} {run.jobs_per_s:>9,.0f} jobs/s"
                )
    return Comparison(series)


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
    parser.add_argument("--jobs", type=_positive, metavar="N", help="jobs to time in each run")
    parser.add_argument("--runs", type=_positive, default=3, metavar="N", help="of each system (3)")
    parser.add_argument(
        "--threads",
        type=_positives,
        metavar="N,…",
        help="Sidekiq's threads; of several settings the best counts (noop: 5,10,25)",
    )
    parser.add_argument(
        "--concurrency", type=_positive, metavar="N", help="gokiq's slots in all workers (500)"
    )
    parser.add_argument(
        "--in-flight", type=_positive, metavar="N", help="both --threads and --concurrency"
    )
    parser.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="gokiq's Ruby processes (1)"
    )
    parser.add_argument("--keep-logs", action="store_true", help="keep the logs of good runs, too")
    parser.add_argument(
        "--out",
        default=str(ROOT / "tmp" / "bench"),
        metavar="DIR",
        help="where WORKLOAD.json and the logs go (tmp/bench)",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _positives(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


# argparse names the type in its error message.
_positive.__name__ = "positive number"
_positives.__name__ = "list of positive numbers"


def _stop(number: int, _frame: FrameType | None) -> None:
    # Once is enough: what follows is the clean-up, which nothing should cut short.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


if __name__ == "__main__":
    sys.exit(main())
