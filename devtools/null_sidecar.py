"""A sidecar without Ruby: answers every job at once, or as it is told. For tests and for measuring
the orchestrator alone.

python -m devtools.null_sidecar SOCKET REDIS_SOCKET [CONCURRENCY]
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gokiq import core
from gokiq.core import Outcome

#: A job as it came: number, route, flags, payload.
Entry = tuple[int, int, int, bytes]
#: What to report for the jobs of one batch.
Judge = Callable[["NullWorker", list[Entry]], Iterable[Outcome]]

_FROM_ORCHESTRATOR = frozenset(
    {core.WELCOME, core.BATCH, core.INTERRUPT, core.QUIET, core.DRAIN, core.PING, core.ERROR}
    | {core.BEAT, core.PROMOTE, core.PLAIN}
)


def hello(
    *, redis: Path, concurrency: int = 10, queues: Iterable[tuple[str, int]] = (("default", 0),)
) -> dict[str, Any]:
    """A HELLO of a plain Ruby app on the Redis at this Unix socket."""
    capsule = {
        "name": "default",
        "concurrency": concurrency,
        "mode": "strict",
        "queues": [list(q) for q in queues],
    }
    return {
        "protocol": [1],
        "pid": 1,
        "ppid": 1,
        "generation": 1,
        "versions": {
            "gokiq": "0",
            "ruby": "0",
            "sidekiq": "8.1.7",
            "async": "0",
            "rails": None,
            "falcon": None,
        },
        "slots": concurrency,
        "lane": "fiber",
        "environment": "test",
        "tag": "null",
        "labels": [],
        "sidekiq": {
            "timeout": 5,
            "dead_max_jobs": 10_000,
            "dead_timeout_in_seconds": 15_552_000,
            "poll_interval_average": None,
            "average_scheduled_poll_interval": 5,
            "capsules": [capsule],
        },
        "redis": {"path": str(redis), "db": 0},
    }


def all_well(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
    """Every job ends well at once."""
    return [Outcome(number, core.OK, 1, 10) for number, _, _, _ in entries]


class NullWorker(asyncio.Protocol):
    """One worker connection, seen from the worker."""

    def __init__(self, greeting: dict[str, Any], judge: Judge, seen: list[Entry]) -> None:
        self._greeting = greeting
        self._judge = judge
        self._reader = core.FrameReader(_FROM_ORCHESTRATOR)
        self.seen = seen
        self.frames: list[int] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(core.encode_frame(core.HELLO, json.dumps(self._greeting).encode()))

    def data_received(self, data: bytes) -> None:
        """Handle whole frames."""
        for kind, body in self._reader.feed(data):
            self._handle(kind, body)

    def report(self, outcomes: Iterable[Outcome]) -> None:
        """Send outcomes."""
        listed = list(outcomes)
        if listed:
            self.send(core.encode_frame(core.RESULTS, core.encode_results(listed)))

    def send(self, frame: bytes) -> None:
        """Send raw bytes."""
        assert self.transport is not None
        self.transport.write(frame)

    def _run(self, entries: list[Entry]) -> None:
        self.seen += entries
        self.report(self._judge(self, entries))

    def _handle(self, kind: int, body: bytes) -> None:
        self.frames.append(kind)
        if kind == core.WELCOME:
            self.send(core.encode_frame(core.READY, struct.pack(">I", self._greeting["slots"])))
        elif kind == core.BATCH:
            self._run(core.decode_batch(body))
        elif kind == core.PLAIN:
            self._run([(number, route, 0, job) for number, route, job in core.decode_plain(body)])
        elif kind == core.PING:
            self.send(core.encode_frame(core.PONG, body))
        elif kind == core.DRAIN:
            self.send(core.encode_frame(core.GOODBYE))
            assert self.transport is not None
            self.transport.close()


class NullSidecar:
    """Listens like a sidecar root with `workers` workers: so many connections are greeted, more
    wait.
    """

    def __init__(
        self, path: Path, greeting: dict[str, Any], *, judge: Judge = all_well, workers: int = 1
    ) -> None:
        self._path = path
        self._greeting = greeting
        self._judge = judge
        self._left = workers
        self._server: asyncio.Server | None = None
        self.seen: list[Entry] = []
        self.workers: list[NullWorker] = []

    async def __aenter__(self) -> NullSidecar:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._worker, str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for worker in self.workers:
            if worker.transport is not None:
                worker.transport.abort()

    def _worker(self) -> asyncio.Protocol:
        if self._left <= 0:
            return asyncio.Protocol()
        self._left -= 1
        worker = NullWorker(self._greeting, self._judge, self.seen)
        self.workers.append(worker)
        return worker


async def _main(path: str, redis: str, concurrency: int) -> None:
    async with NullSidecar(Path(path), hello(redis=Path(redis), concurrency=concurrency)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1000))
