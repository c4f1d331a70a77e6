"""The jobs in Redis: pushed once by Sidekiq's client, given to every system as the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import redis

from bench.workloads import Workload
from devtools.failure import DevError
from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

#: Time that pushing may take beyond a tenth of a millisecond per job, in seconds.
PUSH_TIMEOUT_S = 60.0

# Where `push_bulk` puts the jobs and where the systems look for them.
_QUEUE = "queue:default"
# Outside of `queue:`, where no system looks. The originals stay, runs get copies.
_OURS = b"bench:"
_WARMUP, _BACKLOG, _STAGED = "bench:warmup", "bench:backlog", "bench:staged"


class Probe:
    """Our own questions to Redis, counted, so that they can be taken out of what it counts."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.calls = 0

    def ask(self, *command: str) -> object:
        """The reply to one command."""
        self.calls += 1
        reply: object = self.client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py gives it no types
        return reply


class Backlog:
    """Jobs of `workload`: `warmup` of them with the first indexes, then `jobs` to be timed."""

    def __init__(self, workload: Workload, jobs: int, server: RedisServer) -> None:
        self.workload = workload
        self.warmup = workload.warmup_jobs
        self.jobs = jobs
        self._server = server

    @property
    def total(self) -> int:
        """Warm-up and timed jobs together."""
        return self.warmup + self.jobs

    def push(self, log: Path) -> None:
        """Make both parts with the unmodified client, once. Raises DevError."""
        args = self.workload.args
        warmup_args = self.workload.warmup_args
        for first, count, key, rest in (
            (0, self.warmup, _WARMUP, args if warmup_args is None else warmup_args),
            (self.warmup, self.jobs, _BACKLOG, args),
        ):
            self._push(first, count, rest, log)
            self._server.client.rename(_QUEUE, key)
            found = self._server.client.llen(key)
            if found != count:
                raise DevError(f"Redis has {found} jobs of the {count} that were pushed", log=log)

    def payload_bytes(self) -> int:
        """Size of a timed job in Redis."""
        return len(self._server.client.lindex(_BACKLOG, 0) or b"")

    def clear(self, jobs: int | None = None) -> None:
        """Forget all that a run left in Redis, and lay the first `jobs` for the next one ready."""
        client = self._server.client
        for key in client.scan_iter("*"):
            if not key.startswith(_OURS):
                client.delete(key)
        client.sadd("queues", "default")
        client.copy(_BACKLOG, _STAGED, replace=True)
        if jobs is not None:
            # Jobs leave a queue at its tail: the first ones are there.
            client.ltrim(_STAGED, -jobs, -1)

    def offer_warmup(self) -> None:
        """Put the warm-up jobs into the queue."""
        self._server.client.copy(_WARMUP, "bench:warmup-staged")
        self._server.client.rename("bench:warmup-staged", _QUEUE)

    def offer(self, probe: Probe) -> None:
        """Put all timed jobs into the queue, in one instant."""
        probe.ask("RENAME", _STAGED, _QUEUE)

    def _push(self, first: int, count: int, rest: Sequence[str | int], log: Path) -> None:
        workload = self.workload
        what = (workload.app, workload.job_class)
        args = (*what, str(first), str(count), json.dumps(rest))
        script = ROOT / "bench" / "ruby" / "push.rb"
        env = {"REDIS_URL": self._server.url}
        with ruby_script(script, *args, log=log, env=env) as pusher:
            if pusher.wait(PUSH_TIMEOUT_S + count / 10_000) != 0:
                raise pusher.failure("failed to push the jobs")


def count_left(probe: Probe) -> dict[str, int]:
    """Jobs that Redis still holds for the systems, by key; our own keys do not count."""
    keys = probe.ask("KEYS", "*")
    assert isinstance(keys, list)
    left: dict[str, int] = {}
    for key in keys:
        name = key.decode(errors="replace")
        if name.startswith("queue:"):
            left[name] = _size(probe, "LLEN", name)
        elif name.startswith("gokiq:claims:"):
            left[name] = _size(probe, "HLEN", name)
        elif name in ("retry", "schedule", "dead"):
            left[name] = _size(probe, "ZCARD", name)
    return {name: size for name, size in left.items() if size}


def _size(probe: Probe, command: str, key: str) -> int:
    size = probe.ask(command, key)
    assert isinstance(size, int)
    return size
