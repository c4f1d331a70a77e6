"""Sets a point up on a Redis of its own and reads the clocks around the ends of its jobs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from bench.growth_axes import Setup
from bench.growth_report import Window
from bench.null_fleet import queue_names
from devtools.child import Child
from devtools.gokiq import GokiqFast, Server
from devtools.programs import ROOT
from devtools.redis_jobs import count_claims
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

#: A point fails when no job ends for so long, in seconds.
STALL_S = 40.0
#: Time that a server may take to stop, in seconds.
STOP_TIMEOUT_S = 30.0
#: Jobs that run before anything is measured, so that code and caches are warm.
WARMUP_JOBS = 5_000
#: Time that the null sidecar may take to listen, in seconds.
LISTEN_TIMEOUT_S = 20.0

# Pushes jobs that differ by their jid alone.
_FILL = """
for first = ARGV[3], ARGV[4], 100 do
  local jobs = {}
  for n = first, math.min(first + 99, ARGV[4]) do
    jobs[#jobs + 1] = ARGV[1] .. string.format('%024x', n) .. ARGV[2]
  end
  redis.call('LPUSH', KEYS[1], unpack(jobs))
end
"""
_FILL_STEP = 20_000


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    ended: int
    cpu_s: dict[str, float]
    commands: int
    calls: int


def measure(setup: Setup, folder: Path) -> list[Window]:
    """All windows of one point; `folder` is for sockets and logs. Raises DevError."""
    with RedisServer() as server:
        jobs = _Jobs(setup, server.client)
        with _running(setup, server, folder) as servers:
            rig = _Rig(setup, server, servers)
            jobs.offer(min(WARMUP_JOBS, setup.backlog))
            rig.await_idle(jobs)
            windows = []
            for _ in range(setup.windows):
                jobs.offer()
                windows.append(rig.read_window())
                jobs.drop()
                rig.await_idle(jobs)
            return windows


def measure_push(size: int, count: int) -> dict[str, float]:
    """CPU in µs per job of pushing `count` jobs, `size` in a call, by one client: of the client and
    of Redis. Raises DevError.
    """
    script = ROOT / "bench" / "ruby" / "push_cost.rb"
    with RedisServer() as server:
        log = server.folder / "push.log"
        env = {"REDIS_URL": server.url}
        before = _cpu_s(server.pid)
        with ruby_script(script, str(count), str(size), log=log, env=env) as pusher:
            if pusher.wait(STALL_S) != 0:
                raise pusher.failure("failed to push the jobs")
        redis_s = _cpu_s(server.pid) - before
        # The client's log may say something before.
        ruby_s = float(pusher.tail(1)[0])
    return {"ruby": ruby_s * 1e6 / count, "redis": redis_s * 1e6 / count}


class _Jobs:
    """The jobs of a setup, laid ready outside of the queues."""

    def __init__(self, setup: Setup, client: redis.Redis) -> None:
        self._client = client
        self._names = queue_names(setup.queues)
        self._share = setup.backlog // setup.queues
        client.sadd("queues", *self._names)
        for name in self._names:
            head, tail = _payload(setup, name)
            for first in range(1, self._share + 1, _FILL_STEP):
                last = min(first + _FILL_STEP - 1, self._share)
                client.eval(_FILL, 1, f"growth:{name}", head, tail, str(first), str(last))

    def offer(self, count: int | None = None) -> None:
        """Put `count` of the jobs, or all, into the queues in one instant."""
        with self._client.pipeline() as pipe:
            for name in self._names:
                pipe.copy(f"growth:{name}", f"queue:{name}")
                if count is not None:
                    pipe.ltrim(f"queue:{name}", 0, max(count // len(self._names), 1) - 1)
            pipe.execute()

    def drop(self) -> None:
        """Take away what is left in the queues."""
        self._client.delete(*(f"queue:{name}" for name in self._names))

    def left(self) -> int:
        """Jobs that wait or run."""
        with self._client.pipeline(transaction=False) as pipe:
            for name in self._names:
                pipe.llen(f"queue:{name}")
            waiting = sum(map(int, pipe.execute()))
        return waiting + count_claims(self._client)


def _payload(setup: Setup, queue: str) -> tuple[bytes, bytes]:
    """What stands before and behind the jid in a job, in the order of Sidekiq's client."""
    jid = "0" * 24
    document = {
        "retry": True,
        "queue": queue,
        "class": setup.job_class,
        "args": list(setup.args),
        "jid": jid,
        "created_at": 1_700_000_000_000,
        "enqueued_at": 1_700_000_000_000,
    }
    head, tail = json.dumps(document, separators=(",", ":")).split(f'"{jid}"')
    return f'{head}"'.encode(), f'"{tail}'.encode()


@contextmanager
def _running(setup: Setup, server: RedisServer, folder: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers: list[Server] = []
        for number in range(setup.orchestrators):
            make = _with_ruby if setup.ruby else _without_ruby
            servers.append(stack.enter_context(make(setup, server, folder, number, stack)))
        for each in servers:
            each.wait_ready()
        yield servers
        for each in servers:
            if (code := each.stop(STOP_TIMEOUT_S)) != 0:
                raise each.failure(f"did not stop cleanly, exit code {code}")


def _with_ruby(
    setup: Setup, server: RedisServer, folder: Path, number: int, _: ExitStack
) -> GokiqFast:
    suffix = ",1" if setup.mode == "weighted" and setup.queues > 1 else ""
    queues = [part for name in queue_names(setup.queues) for part in ("-q", name + suffix)]
    slots = ("-c", str(setup.in_flight), "--workers", str(setup.workers))
    app = ("-r", "./bench/ruby/growth.rb", "-e", "production", "-t", "5")
    return GokiqFast(*slots, *queues, *app, redis=server, log=folder / f"server-{number}.log")


def _without_ruby(
    setup: Setup, server: RedisServer, folder: Path, number: int, stack: ExitStack
) -> GokiqFast:
    socket = folder / f"null-{number}.sock"
    socket.unlink(missing_ok=True)
    shape = (str(setup.in_flight), str(setup.queues), setup.mode)
    command = [sys.executable, "-m", "bench.null_fleet", str(socket), str(server.socket), *shape]
    null = stack.enter_context(Child(command, log=folder / f"null-{number}.log", name="null_fleet"))
    null.wait_until(socket.exists, timeout_s=LISTEN_TIMEOUT_S, what="it listened")
    args = ("--sidecar", f"unix:{socket}", "-t", "5")
    return GokiqFast(*args, redis=server, log=folder / f"server-{number}.log")


class _Rig:
    """Waits for ends and reads the clocks."""

    def __init__(self, setup: Setup, server: RedisServer, servers: Sequence[Server]) -> None:
        self._setup = setup
        self._server = server
        self._servers = servers
        self._pids: dict[str, list[int]] = {"ruby": [], "python": [], "redis": [server.pid]}
        for one in servers:
            orchestrator, *sidecar = one.processes()
            self._pids["python"].append(orchestrator.pid)
            self._pids["ruby"] += [process.pid for process in sidecar]

    def read_window(self) -> Window:
        """The ends of `setup.jobs` jobs, `setup.lead` of them after now."""
        start = self._ended()
        self._await_ended(start + self._setup.lead)
        before = self._read()
        self._await_ended(start + self._setup.lead + self._setup.jobs)
        after = self._read()
        ended = after.ended - before.ended
        return Window(
            jobs=ended,
            seconds=after.at_s - before.at_s,
            cpu_us_per_job={
                group: (after.cpu_s[group] - used) * 1e6 / ended
                for group, used in before.cpu_s.items()
            },
            redis_commands_per_job=(after.commands - before.commands) / ended,
            jobs_per_call=ended / max(after.calls - before.calls, 1),
        )

    def await_idle(self, jobs: _Jobs) -> None:
        """Wait until no job waits or runs."""
        self._wait(lambda: jobs.left() == 0, self._ended)

    def _await_ended(self, count: int) -> None:
        began, first = time.monotonic(), self._ended()

        def has_come() -> bool:
            ended = self._ended()
            rate = (ended - first) / (time.monotonic() - began)
            # Each look costs Redis some microseconds, which are few beside many jobs.
            self._pause_s = min(max((count - ended) / rate / 3, 0.004), 0.2) if rate else 0.01
            return ended >= count

        self._wait(has_come, self._ended)

    def _wait(self, has_come: Callable[[], bool], progress: Callable[[], int]) -> None:
        self._pause_s = 0.01
        seen, stalls_at = progress(), time.monotonic() + STALL_S
        while not has_come():
            for server in self._servers:
                if not server.is_running:
                    raise server.early_end("while jobs were left")
            time.sleep(self._pause_s)
            if time.monotonic() > stalls_at:
                if (now := progress()) == seen:
                    raise self._servers[0].failure(f"ended no job for {STALL_S:g} s")
                seen, stalls_at = now, time.monotonic() + STALL_S

    def _ended(self) -> int:
        return int(self._server.client.get("stat:processed") or 0)

    def _read(self) -> _Reading:
        stats, calls = self._server.info("stats"), self._server.info("commandstats")
        return _Reading(
            at_s=time.monotonic(),
            ended=self._ended(),
            cpu_s={group: sum(map(_cpu_s, pids)) for group, pids in self._pids.items()},
            commands=int(stats["total_commands_processed"]),
            calls=int(calls["cmdstat_evalsha"]["calls"]),
        )


def _cpu_s(pid: int) -> float:
    # The CPU clock of another process, its ended threads included; on Linux this is the number that
    # clock_getcpuclockid(3) gives.
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
