"""The systems that are compared: how each is started, which processes it has, how it is stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devtools.gokiq import READY_TIMEOUT_S, GokiqFast, Server, Sidekiq
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

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """How many jobs run at once."""

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
    """Processes of the `sidekiq` gem, one unless told otherwise."""

    name = "sidekiq"

    def __init__(self, threads: int, processes: int = 1) -> None:
        self._threads = threads
        self._processes = processes
        self._others: list[Server] = []

    @property
    def label(self) -> str:
        """As in "Sidekiq, 5 threads", or "Sidekiq, 2 x 5 threads" for two processes."""
        plural = "" if self._threads == 1 else "s"
        times = "" if self._processes == 1 else f"{self._processes} x "
        return f"Sidekiq, {times}{self._threads} thread{plural}"

    @property
    def settings(self) -> dict[str, int]:
        """Threads of each process, and how many processes there are."""
        return {"threads": self._threads, "processes": self._processes}

    @property
    def in_flight(self) -> int:
        """In all processes."""
        return self._threads * self._processes

    def make_server(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Server:
        """`sidekiq` with so many threads."""
        args = ("-c", str(self._threads), "-r", app, *_COMMON)
        return Sidekiq(*args, redis=redis, log=log, env=env)

    @contextmanager
    def running(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Iterator[Server]:
        """The first process; the others have logs of their own beside its."""
        with super().running(app, redis, log, env) as server, ExitStack() as stack:
            for number in range(2, self._processes + 1):
                other = self.make_server(app, redis, log.with_suffix(f".{number}.log"), env)
                self._others.append(stack.enter_context(other))
                other.wait_until(
                    lambda count=number: redis.client.scard("processes") >= count,
                    timeout_s=READY_TIMEOUT_S,
                    what="it had registered in Redis",
                )
            yield server
            self._others.clear()

    def pids(self, server: Server) -> dict[str, list[int]]:
        """All Ruby."""
        processes = [one for each in (server, *self._others) for one in each.processes()]
        return {"ruby": [process.pid for process in processes], "python": []}


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

    @property
    def in_flight(self) -> int:
        """In all workers."""
        return self._concurrency

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
