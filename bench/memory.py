"""`python -m bench.memory`: what ten thousand sleeping jobs in flight take, everything counted."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.backlog import Backlog, Probe
from bench.machine import describe_machine
from bench.measure import await_ends
from bench.program import add_out, positive, run_program, write_record
from bench.slots import Slots
from bench.systems import GokiqSystem
from bench.workloads import WORKLOADS
from devtools.failure import DevError, short_path
from devtools.gokiq import Server
from devtools.procstat import pss_bytes
from devtools.redis_server import RedisServer

#: How long a job sleeps, in milliseconds: all have begun and are counted before the first one ends.
HOLD_MS = 15_000
#: Rest before memory is read, in seconds: the garbage of starting is gone.
REST_S = 2.0
#: Time that the end of all jobs may take beyond their sleep, in seconds.
END_S = 60.0
#: How it was measured.
METHOD = (
    "Memory is the proportional set size of all processes of gokiq (shared pages counted once) and"
    " the buffers of its Redis connections; read while idle after a warm-up and while every job"
    " is in its sleep, as the jobs themselves note. Afterwards all of them must have ended well."
)

_POLL_S = 0.05


def main(argv: Sequence[str] | None = None) -> int:
    """Print and write the figures; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--jobs", type=positive, default=10_000, metavar="N", help="(10,000)")
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="(2)")
    add_out(parser)
    options = parser.parse_args(argv)
    folder = Path(options.out).resolve()
    console = Console(highlight=False)
    return run_program(
        lambda: run(options.jobs, folder, workers=options.workers, console=console, argv=argv)
    )


def run(
    jobs: int, out: Path, *, workers: int = 2, console: Console, argv: Sequence[str] = ()
) -> None:
    """Hold `jobs` in flight once and write memory.json. Raises DevError when one is lost."""
    console.print(f"[bold]memory[/bold]: {jobs:,} sleeping jobs in flight")
    workload = dataclasses.replace(
        WORKLOADS["sleep"],
        job_class="HoldJob",
        args=(HOLD_MS, "x" * 1000),
        warmup_jobs=50,
        warmup_args=(1, "x"),
    )
    system = GokiqSystem(workers, concurrency=jobs)
    log = out / "memory" / "gokiq.log"
    log.unlink(missing_ok=True)
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary:
        machine = describe_machine(redis)
        backlog = Backlog(workload, jobs, redis)
        backlog.push(log.with_name("push.log"))
        backlog.clear()
        with (
            Slots(Path(temporary, "slots"), backlog.total) as begun,
            system.running(workload.app, redis, log, {"BENCH_SLOTS": str(begun.path)}) as server,
        ):
            backlog.offer_warmup()
            await_ends(server, begun, 0, backlog.warmup)
            _await_processed(redis, server, backlog.warmup)
            time.sleep(REST_S)
            idle = _read(system, server, redis)
            backlog.offer(Probe(redis.client))
            await_ends(server, begun, backlog.warmup, backlog.total)
            began_s = time.monotonic()
            time.sleep(REST_S)
            full = _read(system, server, redis)
            in_flight = backlog.total - int(redis.client.get("stat:processed") or 0)
            _await_processed(redis, server, backlog.total)
            ended_s = time.monotonic() - began_s
        failed = int(redis.client.get("stat:failed") or 0)
        if failed:
            raise DevError(f"{failed} of {jobs} jobs failed", log=log)
    figures = per_job(idle, full, jobs=jobs)
    path = write_record(
        out,
        "memory",
        "bench.memory",
        argv,
        {
            "summary": f"{jobs:,} sleeping jobs in flight, 1 KB of arguments each",
            "method": METHOD,
            "jobs": jobs,
            "settings": system.settings,
            "in_flight": in_flight,
            "ended_s": round(ended_s, 1),
            **figures,
            "machine": machine,
        },
    )
    console.print(
        f"  {in_flight:,} in flight: {figures['mb']:.0f} MB in all,"
        f" [bold]{figures['kb_per_job']:.1f} KB a job[/bold]"
    )
    console.print(f"All figures: {short_path(path)}", soft_wrap=True)


def per_job(idle: Mapping[str, int], full: Mapping[str, int], *, jobs: int) -> dict[str, Any]:
    """Megabytes (10^6) in all, and kilobytes (10^3) for each job by who holds them."""
    by_part = {name: round((full[name] - idle[name]) / jobs / 1e3, 2) for name in full}
    return {
        "mb": round(sum(full.values()) / 1e6, 1),
        "idle_mb": round(sum(idle.values()) / 1e6, 1),
        "kb_per_job": round((sum(full.values()) - sum(idle.values())) / jobs / 1e3, 2),
        "mb_by_part": {name: round(size / 1e6, 1) for name, size in full.items()},
        "kb_per_job_by_part": by_part,
    }


def _read(system: GokiqSystem, server: Server, redis: RedisServer) -> dict[str, int]:
    parts = {
        name: sum(pss_bytes(pid) for pid in pids) for name, pids in system.pids(server).items()
    }
    buffers = sum(int(client["tot-mem"]) for client in redis.client.client_list())
    return {**parts, "redis clients": buffers}


def _await_processed(redis: RedisServer, server: Server, jobs: int) -> None:
    server.wait_until(
        lambda: int(redis.client.get("stat:processed") or 0) >= jobs,
        timeout_s=HOLD_MS / 1000 + END_S,
        what=f"{jobs} jobs had been processed",
    )


if __name__ == "__main__":
    sys.exit(main())
