"""`python -m bench.idle`: what both systems do while there is nothing to do."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.machine import describe_machine
from bench.measure import cpu_ns
from bench.program import add_out, positive, run_program, write_record
from bench.slots import Slots
from bench.systems import GokiqSystem, SidekiqSystem, System
from devtools.failure import short_path
from devtools.redis_server import RedisServer

#: Time after the start that is not measured, in seconds.
SETTLE_S = 5.0
#: How it was measured.
METHOD = (
    "An idle system that has been up for 5 s: CPU of all its processes in percent of one core, and"
    " what Redis counts as commands, those within scripts included, a second."
)

_APP = "./bench/ruby/app.rb"


def main(argv: Sequence[str] | None = None) -> int:
    """Print and write the figures; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=20, metavar="N", help="each (20)")
    add_out(parser)
    options = parser.parse_args(argv)
    folder = Path(options.out).resolve()
    console = Console(highlight=False)
    return run_program(lambda: run(options.seconds, folder, console=console, argv=argv))


def run(seconds: int, out: Path, *, console: Console, argv: Sequence[str] = ()) -> None:
    """Watch each system for so long and write idle.json. Raises DevError."""
    console.print(f"[bold]idle[/bold]: {seconds} s of nothing to do")
    systems: list[System] = [SidekiqSystem(threads=5), GokiqSystem(workers=1, concurrency=500)]
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary:
        for system in systems:
            log = out / "idle" / f"{system.name}.log"
            log.unlink(missing_ok=True)
            with RedisServer() as redis, Slots(Path(temporary, "slots"), 1) as slots:
                machine = describe_machine(redis)
                seen = _watch(system, seconds, redis, slots.path, log)
            figures[system.name] = {"label": system.label, "settings": system.settings, **seen}
            console.print(
                f"  {system.label:<28} {seen['cpu_percent']:.2f} % of a core,"
                f" {seen['redis_commands_per_s']:.1f} Redis commands/s"
            )
    path = write_record(
        out,
        "idle",
        "bench.idle",
        argv,
        {
            "summary": "nothing to do",
            "method": METHOD,
            "seconds": seconds,
            **figures,
            "machine": machine,
        },
    )
    console.print(f"All figures: {short_path(path)}", soft_wrap=True)


def _watch(
    system: System, seconds: int, redis: RedisServer, slots: Path, log: Path
) -> dict[str, Any]:
    with system.running(_APP, redis, log, {"BENCH_SLOTS": str(slots)}) as server:
        time.sleep(SETTLE_S)
        groups = {**system.pids(server), "redis": [redis.pid]}
        before, asked = _cpu_ns(groups), _commands(redis)
        began = time.monotonic()
        time.sleep(seconds)
        after, answered = _cpu_ns(groups), _commands(redis)
        lasted = time.monotonic() - began
    percent = {group: round((after[group] - before[group]) / lasted / 1e7, 3) for group in groups}
    return {
        "cpu_percent": round(percent["ruby"] + percent["python"], 3),
        "cpu_percent_by_group": percent,
        # The first of our two INFO is in the second's count.
        "redis_commands_per_s": round((answered - asked - 1) / lasted, 2),
    }


def _cpu_ns(groups: dict[str, list[int]]) -> dict[str, int]:
    return {group: sum(cpu_ns(pid) for pid in pids) for group, pids in groups.items()}


def _commands(redis: RedisServer) -> int:
    return int(redis.info("stats")["total_commands_processed"])


if __name__ == "__main__":
    sys.exit(main())
