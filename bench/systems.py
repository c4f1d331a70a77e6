"""The systems that are compared: how each is started, which processes it has, how it is stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devtools.gokiq import GokiqFast, Server, Sidekiq
from devtools.redis_server import RedisServer

#: Time that a server may take to stop, in seconds; it is idle by then.
STOP_TIMEOUT_S = 20.0

_COMMON = ("-q", "default", "-e", "production", "-t", "5")


class System(ABC):
    """One system in one setting; `running` is called once for each run."""

    #: Which of the two it is.
    name: str

    @property
    @abstractmethod
    def label(self) -> str:
        """Name and setting, for people."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, int]:
        """The setting, for the report."""

    @abstractmethod
    def make_server(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Server:
        """The server, not yet started."""

    @abstractmethod
    def pids(self, server: Server) -> dict[str, list[int]]:
        """The ids of its processes by what they run: `ruby`, `python`."""

    @contextmanager
    def running(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Iterator[Server]:
        """The server, ready for jobs; stopped at the end. Raises DevError when either fails."""
        with self.make_server(app, redis, log, env) as server:
            server.wait_ready()
            yield server
            code = server.stop(STOP_TIMEOUT_S)
            if code != 0:
                raise server.failure(f"did not stop cleanly, exit code {code}")


class SidekiqSystem(System):
    """One process of the `sidekiq` gem."""

    name = "sidekiq"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    @property
    def label(self) -> str:
        """As in "Sidekiq, 5 threads"."""
        return f"Sidekiq, {self._threads} threads"

    @property
    def settings(self) -> dict[str, int]:
        """Threads."""
        return {"threads": self._threads}

    def make_server(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Server:
        """`sidekiq` with so many threads."""
        args = ("-c", str(self._threads), "-r", app, *_COMMON)
        return Sidekiq(*args, redis=redis, log=log, env=env)

    def pids(self, server: Server) -> dict[str, list[int]]:
        """All Ruby."""
        return {"ruby": [process.pid for process in server.processes()], "python": []}


class GokiqSystem(System):
    """`gokiq-fast` with its sidecar."""

    name = "gokiq"

    def __init__(self, workers: int, concurrency: int) -> None:
        self._workers = workers
        self._concurrency = concurrency

    @property
    def label(self) -> str:
        """As in "gokiq, 500 slots, 1 worker"."""
        plural = "" if self._workers == 1 else "s"
        return f"gokiq, {self._concurrency} slots, {self._workers} worker{plural}"

    @property
    def settings(self) -> dict[str, int]:
        """Workers and concurrency."""
        return {"workers": self._workers, "concurrency": self._concurrency}

    def make_server(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Server:
        """`gokiq-fast` with so many workers and slots."""
        args = ("-c", str(self._concurrency), "--workers", str(self._workers), "-r", app, *_COMMON)
        return GokiqFast(*args, redis=redis, log=log, env=env)

    def pids(self, server: Server) -> dict[str, list[int]]:
        """The orchestrator, and the sidecar's root and workers."""
        orchestrator, *sidecar = server.processes()
        return {"ruby": [process.pid for process in sidecar], "python": [orchestrator.pid]}
