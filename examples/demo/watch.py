"""What is going on right now, from the jobs' journal, from Redis and from /proc."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from devtools.gokiq import GokiqFast, Server
from devtools.journal import Event, Journal
from devtools.procstat import rss_mb
from devtools.redis_jobs import count_claims, count_connections
from devtools.redis_server import RedisServer

#: Window of the live rate, in milliseconds.
RATE_WINDOW_MS = 1000.0
#: Pause between two looks at Redis and /proc, in seconds.
LOOK_S = 0.5
#: Names of the connections that are not the server's.
OUR_CONNECTIONS = ("devtools", "enqueuer")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: jobs done by class, ends in the last second, claims (Sidekiq: runs), the rest."""

    done: Mapping[str, int]
    jobs_per_s: float
    in_flight: int
    sidecar_mb: float
    connections: int


@dataclass(slots=True)
class Peaks:
    """The highest figures seen; `rss_mb` is the whole server, `sidecar_mb` its Ruby part."""

    connections: int = 0
    rss_mb: float = 0.0
    sidecar_mb: float = 0.0


class Watcher:
    """Looks at a server that runs the demo's jobs."""

    def __init__(self, journal: Journal, redis: RedisServer, server: Server) -> None:
        self._journal = journal
        self._redis = redis
        self._server = server
        self._done: dict[str, set[str]] = {}
        self._ends: deque[float] = deque()
        self._open = 0
        self._looked_at = float("-inf")
        self._sidecar_mb = 0.0
        self._connections = 0
        self._claims = 0
        self.peaks = Peaks()
        self.last_event_at = time.monotonic()

    @property
    def done(self) -> int:
        """Jobs done so far, by jid."""
        return sum(len(jids) for jids in self._done.values())

    def sample(self) -> Sample:
        """Look at the journal, and now and then at Redis and /proc."""
        for event in self._journal.poll():
            self._note(event)
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._look()
        now_ms = time.monotonic() * 1000
        while self._ends and self._ends[0] < now_ms - RATE_WINDOW_MS:
            self._ends.popleft()
        is_ours = isinstance(self._server, GokiqFast)
        return Sample(
            done={job_class: len(jids) for job_class, jids in self._done.items()},
            jobs_per_s=len(self._ends) * 1000 / RATE_WINDOW_MS,
            in_flight=self._claims if is_ours else self._open,
            sidecar_mb=self._sidecar_mb,
            connections=self._connections,
        )

    def _note(self, event: Event) -> None:
        self.last_event_at = time.monotonic()
        if event.name == "start":
            self._open += 1
            return
        self._open -= 1
        self._ends.append(event.at_ms)
        if event.name == "done":
            self._done.setdefault(event.job_class, set()).add(event.jid)

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        processes = self._server.processes()
        sidecar = processes[1:] if isinstance(self._server, GokiqFast) else processes
        self._sidecar_mb = rss_mb(sidecar)
        self._connections = count_connections(self._redis.client, ignore=OUR_CONNECTIONS)
        self._claims = count_claims(self._redis.client)
        self.peaks.rss_mb = max(self.peaks.rss_mb, rss_mb(processes))
        self.peaks.sidecar_mb = max(self.peaks.sidecar_mb, self._sidecar_mb)
        self.peaks.connections = max(self.peaks.connections, self._connections)
