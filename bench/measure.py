"""One run: a system is started and warmed up, then all timed jobs appear in its queue at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.backlog import Backlog, Probe, count_left
from bench.slots import Slots
from bench.systems import System
from devtools.child import Child
from devtools.failure import DevError
from devtools.procstat import pss_bytes, read_process
from devtools.redis_server import RedisServer

#: How often completions are looked at, in seconds. Rates do not depend on it: jobs note the time.
POLL_S = 0.005
#: How often memory and connections are looked at, in seconds.
SAMPLE_S = 0.1
#: A run fails when no job ends for so long, in seconds.
STALL_S = 20.0
#: Rest between warm-up and timed part, in seconds.
REST_S = 0.5
#: Time that the last outcomes may take to reach Redis, in seconds.
SETTLE_S = 10.0

# Our own commands during the timed part; the listing by command leaves them out.
_OUR_COMMANDS = frozenset({"info", "keys", "rename", "llen", "zcard", "hlen"})


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed. CPU in µs per job; `rss_mb` is the peak of the sum of resident sets,
    `pss_mb` the memory at the end with shared pages counted once.

    `other_cores` is what the rest of the machine used meanwhile: a run is a fair one near 0.
    """

    jobs: int
    seconds: float
    jobs_per_s: float
    cpu_us_per_job: dict[str, float]
    redis_commands_per_job: float
    redis_commands: dict[str, float]
    redis_connections: int
    rss_mb: float
    pss_mb: float
    load_before: float
    other_cores: float


@dataclass(frozen=True, slots=True)
class _Reading:
    at_ns: int
    cpu_ns: dict[str, int]
    other_ns: int
    commands: int
    by_command: dict[str, int]
    own_calls: int


def run_once(
    system: System,
    backlog: Backlog,
    redis: RedisServer,
    slots: Path,
    log: Path,
    *,
    jobs: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run the first `jobs` of `backlog` once, all unless told otherwise; `env` is for the server.

    Raises DevError when a job is lost or done twice.
    """
    load = _load()
    workload = backlog.workload
    jobs = backlog.jobs if jobs is None else jobs
    total = backlog.warmup + jobs
    backlog.clear(jobs)
    env = {"BENCH_SLOTS": str(slots), **workload.env, **(env or {})}
    # Each run appends to a log of its own: what it says is of this run.
    log.unlink(missing_ok=True)
    with Slots(slots, total) as ends:
        with system.running(workload.app, redis, log, env) as server:
            backlog.offer_warmup()
            await_ends(server, ends, 0, backlog.warmup)
            time.sleep(REST_S)
            meter = _Meter(system.pids(server), redis, log)
            meter.start()
            began_ns = time.monotonic_ns()
            backlog.offer(meter.probe)
            await_ends(server, ends, backlog.warmup, total, meter.sample)
            _await_settled(server, meter.probe)
            meter.finish()
        _check_books(redis, total, log)
        if workload.log_level == "INFO":
            _check_lines(log, total)
        seconds = (ends.last_end_ns(backlog.warmup, total) - began_ns) / 1e9
    return meter.make_run(jobs, seconds, load)


def cpu_ns(pid: int) -> int:
    """CPU time of another process, its ended threads included. Raises OSError when it is gone."""
    # On Linux this is the number that clock_getcpuclockid(3) gives.
    return time.clock_gettime_ns((~pid << 3) | 2)


class _Meter:
    """Reads the clocks and counters of one timed part."""

    def __init__(self, pids: Mapping[str, list[int]], redis: RedisServer, log: Path) -> None:
        self._log = log
        self.probe = Probe(redis.client)
        self._pids = {**pids, "redis": [redis.pid]}
        self._system = [pid for group in pids.values() for pid in group]
        self._redis = redis
        self._rss_bytes = 0
        self._connections = 0
        self._sample_at = 0.0

    def start(self) -> None:
        """The timed part begins."""
        self.sample()
        self._before = self._read()

    def sample(self) -> None:
        """Look at memory and connections, if it is time to."""
        now = time.monotonic()
        if now < self._sample_at:
            return
        self._sample_at = now + SAMPLE_S
        resident = sum(_rss_bytes(pid) for pid in self._system)
        self._rss_bytes = max(self._rss_bytes, resident)
        connected = int(self._info("clients")["connected_clients"])
        self._connections = max(self._connections, connected - 1)

    def finish(self) -> None:
        """The timed part has ended."""
        self._after = self._read()
        self._sample_at = 0.0
        self.sample()
        self._pss_bytes = sum(pss_bytes(pid) for pid in self._system)

    def make_run(self, jobs: int, seconds: float, load_before: float) -> Run:
        """The figures between start and finish."""
        before, after = self._before, self._after
        commands = after.commands - before.commands - (after.own_calls - before.own_calls)
        by_command = {
            name: (count - before.by_command.get(name, 0)) / jobs
            for name, count in after.by_command.items()
            if name not in _OUR_COMMANDS
        }
        return Run(
            jobs=jobs,
            seconds=seconds,
            jobs_per_s=jobs / seconds,
            cpu_us_per_job={
                group: (after.cpu_ns[group] - before.cpu_ns[group]) / 1000 / jobs
                for group in self._pids
            },
            redis_commands_per_job=commands / jobs,
            redis_commands={name: n for name, n in sorted(by_command.items()) if n >= 0.001},
            redis_connections=self._connections,
            rss_mb=self._rss_bytes / 1e6,
            pss_mb=self._pss_bytes / 1e6,
            load_before=load_before,
            other_cores=max(0, after.other_ns - before.other_ns) / (after.at_ns - before.at_ns),
        )

    def _read(self) -> _Reading:
        calls = self.probe.calls
        stats = self._info("stats")
        by_command = {
            key.removeprefix("cmdstat_"): int(value["calls"])
            for key, value in self._info("commandstats").items()
        }
        used = {
            group: sum(self._cpu_ns(group, pid) for pid in pids)
            for group, pids in self._pids.items()
        }
        return _Reading(
            at_ns=time.monotonic_ns(),
            cpu_ns=used,
            other_ns=_machine_cpu_ns() - sum(used.values()) - time.process_time_ns(),
            # It counts an INFO after it has answered it: this one is in the next reading.
            commands=int(stats["total_commands_processed"]),
            by_command=by_command,
            own_calls=calls,
        )

    def _cpu_ns(self, group: str, pid: int) -> int:
        try:
            return cpu_ns(pid)
        except OSError as error:
            cause = f"a {group} process ({pid}) ended during the measurement"
            raise DevError(cause, log=self._log) from error

    def _info(self, section: str) -> dict[str, Any]:
        self.probe.calls += 1
        return self._redis.info(section)


def await_ends(
    server: Child,
    ends: Slots,
    start: int,
    stop: int,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Wait until the jobs `start` to before `stop` have ended."""
    seen = 0
    stalls_at = time.monotonic() + STALL_S
    look_closer_at = time.monotonic() + 1
    while not ends.are_taken(stop):
        if not server.is_running:
            raise server.failure(f"ended with exit code {server.exit_code} while jobs were left")
        look()
        now = time.monotonic()
        if now > look_closer_at:
            look_closer_at = now + 1
            taken = ends.count_taken(start, stop)
            if taken > seen:
                seen, stalls_at = taken, now + STALL_S
            elif now > stalls_at:
                jobs = stop - start
                raise server.failure(
                    f"ended no job for {STALL_S:g} s, {jobs - taken} of {jobs} are left"
                )
        time.sleep(POLL_S)


def _await_settled(server: Child, probe: Probe) -> None:
    deadline = time.monotonic() + SETTLE_S
    while left := count_left(probe):
        if time.monotonic() > deadline:
            said = ", ".join(f"{size} in {key}" for key, size in left.items())
            raise server.failure(f"left jobs in Redis that have been done: {said}")
        time.sleep(POLL_S)


def _check_books(redis: RedisServer, total: int, log: Path) -> None:
    """Every slot is taken: with as many runs as jobs, each job was done exactly once."""
    processed = int(redis.client.get("stat:processed") or 0)
    failed = int(redis.client.get("stat:failed") or 0)
    if (processed, failed) != (total, 0):
        raise DevError(
            f"{total} jobs were pushed, {processed} processed and {failed} failed", log=log
        )


def _check_lines(log: Path, total: int) -> None:
    """Whoever logs at INFO has written Sidekiq's two lines for each job."""
    text = log.read_bytes()
    for word in (b"start", b"done"):
        if (lines := text.count(b": " + word + b"\n")) != total:
            raise DevError(f"{total} jobs were run, {lines} logged {word.decode()!r}", log=log)


def _rss_bytes(pid: int) -> int:
    process = read_process(pid)
    return process.rss_bytes if process else 0


def _machine_cpu_ns() -> int:
    """CPU time that all processes have used, and that the host gave to other machines."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _load() -> float:
    return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])
