"""`python -m bench.distance`: gokiq with Redis beside it, and with Redis a millisecond away."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis as redis_py
from rich.console import Console

from bench.backlog import Backlog
from bench.machine import describe_machine
from bench.measure import cpu_ns, run_once
from bench.program import add_out, positive, run_program, write_record
from bench.report import METHOD, Series
from bench.services import listening
from bench.systems import GokiqSystem
from bench.workloads import WORKLOADS
from devtools.failure import short_path
from devtools.redis_server import RedisServer

#: What is added to each round trip, in microseconds.
DELAY_US = 1_000
#: gokiq's, all of one worker. What is on its way for a millisecond, at 200,000 jobs/s, is not in
#: the worker: more than no-ops need beside Redis, for both runs.
SLOTS = 2_000
#: How long the proxy's own limit is looked for, in seconds.
LIMIT_S = 0.5
#: Reply whose size is that of a large claim.
_REPLY_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Way:
    """One way to Redis. `proxy_pid` is None where nothing is between."""

    name: str
    label: str
    url: str
    proxy_pid: int | None


def main(argv: Sequence[str] | None = None) -> int:
    """Print and write the figures; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.distance", description=__doc__)
    parser.add_argument("--jobs", type=positive, default=WORKLOADS["noop"].jobs, metavar="N")
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of each way (3)")
    parser.add_argument("--concurrency", type=positive, default=SLOTS, metavar="N", help="slots")
    add_out(parser)
    options = parser.parse_args(argv)
    console = Console(highlight=False)
    folder = Path(options.out).resolve()
    return run_program(
        lambda: run(
            options.jobs,
            options.runs,
            folder,
            slots=options.concurrency,
            console=console,
            argv=argv,
        )
    )


def run(
    jobs: int,
    runs: int,
    out: Path,
    *,
    slots: int = SLOTS,
    console: Console,
    argv: Sequence[str] = (),
) -> None:
    """Run no-op jobs over each way in turns and write distance.json. Raises DevError."""
    console.print(f"[bold]distance[/bold]: {jobs:,} jobs that do nothing, Redis near and far")
    logs = out / "distance"
    with RedisServer() as redis, _ways(redis, logs) as ways:
        machine = describe_machine(redis)
        limits = {way.name: _limits(way) for way in ways}
        backlog = Backlog(WORKLOADS["noop"], jobs, redis)
        backlog.push(logs / "push.log")
        system = GokiqSystem(workers=1, concurrency=slots)
        series = {way.name: Series("gokiq", way.label, system.settings, []) for way in ways}
        busy: dict[str, list[float]] = {way.name: [] for way in ways}
        with tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary:
            for turn in range(1, runs + 1):
                for way in ways:
                    log = logs / f"{turn}-{way.name}.log"
                    before = cpu_ns(way.proxy_pid) if way.proxy_pid else 0
                    env = {"REDIS_URL": way.url}
                    one = run_once(system, backlog, redis, Path(temporary, "slots"), log, env=env)
                    after = cpu_ns(way.proxy_pid) if way.proxy_pid else 0
                    series[way.name].runs.append(one)
                    # Boot and warm-up are in it, too: an upper bound.
                    busy[way.name].append((after - before) / 1e9 / one.seconds)
                    console.print(
                        f"  run {turn}/{runs}  {way.label:<28} {one.jobs_per_s:>9,.0f} jobs/s"
                    )
    figures = _figures(series, limits, busy)
    path = write_record(
        out,
        "distance",
        "bench.distance",
        argv,
        {
            "summary": "jobs that do nothing, Redis a millisecond away",
            "method": METHOD + " A process between gokiq and Redis delays what Redis answers.",
            "jobs": jobs,
            **figures,
            "machine": machine,
        },
    )
    console.print(
        f"\n1 ms away gokiq reaches [bold]{figures['part_of_near']:.0%}[/bold] of its rate beside"
        f" Redis, {figures['part_of_proxy']:.0%} of that through the same proxy without delay."
    )
    console.print(f"All figures: {short_path(path)}", soft_wrap=True)


@contextmanager
def _ways(redis: RedisServer, logs: Path) -> Iterator[list[Way]]:
    ways = [Way("near", "Redis beside it", redis.url, None)]
    far = (("proxy", "through the proxy, no delay", 0), ("far", "1 ms away", DELAY_US))
    with ExitStack() as stack:
        for name, label, delay_us in far:
            socket = redis.folder / f"{name}.sock"
            args = ("bench.far_redis", str(redis.socket), str(socket), str(delay_us))
            proxy, _ = stack.enter_context(listening(*args, log=logs / f"{name}.log"))
            ways.append(Way(name, label, f"unix://{socket}", proxy.pid))
        yield ways


def _limits(way: Way) -> dict[str, float]:
    """What the way itself can carry: round trip in ms, and MB/s of replies to one client."""
    client = redis_py.Redis.from_url(way.url)
    trips = []
    for _ in range(300):
        began = time.perf_counter()
        client.ping()
        trips.append((time.perf_counter() - began) * 1000)
    client.set("bench:limit", b"x" * _REPLY_BYTES)
    pipeline = client.pipeline(transaction=False)
    received = 0
    began = time.perf_counter()
    while (seconds := time.perf_counter() - began) < LIMIT_S:
        for _ in range(16):
            pipeline.get("bench:limit")
        received += sum(len(reply) for reply in pipeline.execute())
    client.delete("bench:limit")
    client.close()
    return {
        "round_trip_ms": round(statistics.median(trips), 3),
        "mb_per_s": round(received / seconds / 1e6, 1),
    }


def _figures(
    series: dict[str, Series], limits: dict[str, dict[str, float]], busy: dict[str, list[float]]
) -> dict[str, Any]:
    rate = {name: one.jobs_per_s for name, one in series.items()}
    return {
        "part_of_near": round(rate["far"] / rate["near"], 4),
        "part_of_proxy": round(rate["far"] / rate["proxy"], 4),
        "ways": {
            name: {
                **one.summary(),
                "limits": limits[name],
                "proxy_cores": round(statistics.median(busy[name]), 3),
            }
            for name, one in series.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
