"""`python -m bench.orchestrator`: the orchestrator and Redis, with workers that answer at once.

What it costs to claim, hand out and settle a job, without Ruby.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.backlog import Probe
from devtools.child import Child
from devtools.failure import DevError
from devtools.programs import ROOT
from devtools.redis_server import RedisServer

#: As Sidekiq's load test pushes it (sidekiq bin/sidekiqload), about 200 bytes.
PAYLOAD = (
    b'{"retry":true,"queue":"default","class":"NullJob","args":["string",12,{"mike":%05d}],'
    b'"jid":"%024x","created_at":1700000000000,"enqueued_at":1700000000001}'
)
#: Jobs before the timed ones: scripts loaded, buffers grown.
WARMUP_JOBS = 20_000
#: Of one push.
_PUSH_CHUNK = 5_000
_POLL_S = 0.005
#: Time that starting, and each part, may take, in seconds.
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    cpu_s: dict[str, float]
    commands: int
    calls: int


def run(
    jobs: int = 200_000,
    out: Path | None = None,
    *,
    workers: int = 4,
    slots: int = 500,
    sleep_s: float = 0.0,
    log: Path | None = None,
) -> dict[str, Any]:
    """Measure once; the figures, written to `out` as well. Raises DevError when a job is lost.

    CPU in µs a job by process; commands as Redis counts them, those within scripts included.
    """
    with (
        tempfile.TemporaryDirectory(prefix="gokiq-orch-") as temporary,
        RedisServer() as redis,
    ):
        folder = Path(temporary)
        path = folder / "s.sock"
        log = log or folder / "gokiq.log"
        sidecar_args = (path, redis.socket, workers, slots, sleep_s)
        sidecar = Child(
            [sys.executable, "-m", "bench.answerer", *map(str, sidecar_args)],
            log=folder / "sidecar.log",
            cwd=ROOT,
        )
        gokiq = Child(
            [sys.executable, "-m", "gokiq", "--sidecar", f"unix:{path}"],
            log=log,
            env={"GOKIQ_LOG_LEVEL": "warn"},
            cwd=ROOT,
            name="gokiq-fast",
        )
        with sidecar, gokiq:
            figures = _measure(redis, gokiq, sidecar, jobs)
    figures = {"workers": workers, "slots": workers * slots, "sleep_s": sleep_s} | figures
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _measure(redis: RedisServer, gokiq: Child, sidecar: Child, jobs: int) -> dict[str, Any]:
    pids = {"python": gokiq.pid, "redis": redis.pid, "sidecar": sidecar.pid}
    probe = Probe(redis.client)
    _push(redis, "bench:warmup", WARMUP_JOBS)
    _push(redis, "bench:timed", jobs)
    probe.ask("RENAME", "bench:warmup", "queue:default")
    _await_processed(probe, gokiq, WARMUP_JOBS)
    time.sleep(0.5)
    before = _read(probe, pids, redis)
    probe.ask("RENAME", "bench:timed", "queue:default")
    _await_processed(probe, gokiq, WARMUP_JOBS + jobs)
    after = _read(probe, pids, redis)
    if (left := redis.client.exists("queue:default", "retry", "dead")) != 0:
        raise DevError(f"{left} keys with jobs are left", log=gokiq.log)
    connections = redis.info("clients")["connected_clients"] - 1
    commands = after.commands - before.commands - (after.calls - before.calls)
    cpu_us = {
        name: round((after.cpu_s[name] - before.cpu_s[name]) * 1e6 / jobs, 3) for name in pids
    }
    return {
        "jobs": jobs,
        "jobs_per_s": round(jobs / (after.at - before.at)),
        "cpu_us_per_job": cpu_us,
        "redis_commands_per_job": round(commands / jobs, 4),
        "redis_connections": connections,
    }


def _push(redis: RedisServer, key: str, jobs: int) -> None:
    for first in range(0, jobs, _PUSH_CHUNK):
        numbers = range(first, min(first + _PUSH_CHUNK, jobs))
        redis.client.lpush(key, *(PAYLOAD % (n % 100_000, n) for n in numbers))


def _await_processed(probe: Probe, gokiq: Child, jobs: int) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while int(str(_text(probe.ask("GET", "stat:processed")) or 0)) < jobs:
        if not gokiq.is_running or time.monotonic() > deadline:
            raise gokiq.failure(f"did not process {jobs} jobs within {_LIMIT_S:g} s")
        time.sleep(_POLL_S)


def _text(reply: object) -> str:
    return reply.decode() if isinstance(reply, bytes) else ""


def _read(probe: Probe, pids: dict[str, int], redis: RedisServer) -> _Reading:
    at = time.monotonic()
    # The CPU clock of another process (clock_getcpuclockid(3)).
    cpu_s = {name: time.clock_gettime((~pid << 3) | 2) for name, pid in pids.items()}
    calls = probe.calls
    probe.calls += 1
    commands = int(redis.info("stats")["total_commands_processed"])
    return _Reading(at, cpu_s, commands, calls)


def main(argv: list[str] | None = None) -> int:
    """Print the figures and write tmp/bench/orchestrator.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.orchestrator", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000, metavar="N", help="to time (200,000)")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="connections (4)")
    parser.add_argument("--slots", type=int, default=500, metavar="N", help="of each worker (500)")
    parser.add_argument("--sleep", type=float, default=0.0, metavar="S", help="run time of a job")
    parser.add_argument("--out", type=Path, default=ROOT / "tmp" / "bench" / "orchestrator.json")
    options = parser.parse_args(argv)
    try:
        figures = run(
            options.jobs,
            options.out,
            workers=options.workers,
            slots=options.slots,
            sleep_s=options.sleep,
        )
    except DevError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures))
    print(f"load {os.getloadavg()[0]:.1f}; python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
