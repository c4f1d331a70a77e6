"""`python -m bench.latency`: what passes from a push to the job's first line, on an idle system."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.machine import describe_machine
from bench.measure import await_ends
from bench.program import add_out, positive, run_program, write_record
from bench.slots import Slots
from bench.systems import GokiqSystem, SidekiqSystem, System
from devtools.failure import short_path
from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

#: Pushes a second.
PER_S = 100
#: Pushes before those that count: connections made, code loaded.
WARMUP_JOBS = 100
#: How it was measured.
METHOD = (
    "One Ruby client pushes with perform_async at fixed times, whatever the jobs do; from before"
    " that call to the first line of perform, by the same clock. Percentiles of each run, then the"
    " medians of alternating runs."
)

_APP = "./bench/ruby/app.rb"


def main(argv: Sequence[str] | None = None) -> int:
    """Print and write the figures; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--jobs", type=positive, default=1_000, metavar="N", help="a run (1,000)")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of each system (3)")
    add_out(parser)
    options = parser.parse_args(argv)
    folder = Path(options.out).resolve()
    console = Console(highlight=False)
    return run_program(lambda: run(options.jobs, options.runs, folder, console=console, argv=argv))


def run(jobs: int, runs: int, out: Path, *, console: Console, argv: Sequence[str] = ()) -> None:
    """Run both systems in turns and write latency.json. Raises DevError."""
    console.print(f"[bold]latency[/bold]: {jobs:,} jobs, {PER_S} a second, on an idle system")
    systems: list[System] = [SidekiqSystem(threads=5), GokiqSystem(workers=1, concurrency=500)]
    seen: list[list[list[float]]] = [[] for _ in systems]
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary:
        machine = describe_machine(redis)
        for turn in range(1, runs + 1):
            for system, latencies in zip(systems, seen, strict=True):
                log = out / "latency" / f"{turn}-{system.name}.log"
                latencies.append(_measure(system, jobs, redis, Path(temporary), log))
                p50, p99 = (percentile(latencies[-1], share) for share in (0.5, 0.99))
                console.print(
                    f"  run {turn}/{runs}  {system.label:<28} p50 {p50:.2f} ms, p99 {p99:.2f} ms"
                )
    figures = {
        system.name: {"label": system.label, "settings": system.settings, **summarise(latencies)}
        for system, latencies in zip(systems, seen, strict=True)
    }
    path = write_record(
        out,
        "latency",
        "bench.latency",
        argv,
        {
            "summary": "milliseconds from push to perform, 100 jobs/s on an idle system",
            "method": METHOD,
            "jobs": jobs,
            "per_s": PER_S,
            **figures,
            "machine": machine,
        },
    )
    console.print(f"All figures: {short_path(path)}", soft_wrap=True)


def summarise(runs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Medians over runs of each percentile, each run's, and a curve of all runs together (ms)."""
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    by_run = [
        {name: round(percentile(run, share), 4) for name, share in shares.items()} for run in runs
    ]
    together = [latency for run in runs for latency in run]
    return {
        **{name: round(statistics.median(run[name] for run in by_run), 4) for name in shares},
        "runs": by_run,
        # One point per thousandth: enough to draw.
        "curve_ms": [round(percentile(together, step / 1000), 4) for step in range(1001)],
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least this share of them does not exceed."""
    ordered = sorted(values)
    # Rounded first: 0.99 of 100 is 99 and not a little more.
    place = -int(-round(share * len(ordered), 9) // 1)
    return ordered[max(place - 1, 0)]


def _measure(system: System, jobs: int, redis: RedisServer, folder: Path, log: Path) -> list[float]:
    total = WARMUP_JOBS + jobs
    redis.client.flushall()
    log.unlink(missing_ok=True)
    with (
        Slots(folder / "pushed", total) as pushed,
        Slots(folder / "begun", total) as begun,
        system.running(_APP, redis, log, {"BENCH_SLOTS": str(begun.path)}) as server,
    ):
        script = ROOT / "bench" / "ruby" / "pace.rb"
        env = {"REDIS_URL": redis.url, "BENCH_PUSHED": str(pushed.path)}
        args = (str(total), str(PER_S))
        with ruby_script(script, *args, log=log.with_suffix(".push.log"), env=env) as client:
            await_ends(server, begun, 0, total)
            if client.wait(10) != 0:
                raise client.failure("failed to push the jobs")
        ends, starts = (each.ends_ns(WARMUP_JOBS, total) for each in (begun, pushed))
        return [(end - start) / 1e6 for end, start in zip(ends, starts, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
