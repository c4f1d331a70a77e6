"""What probes and scrapers are told: whether we live, whether we are ready, and our metrics. Reads
the parts as they are now; waits for nothing.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from gokiq import __version__
from gokiq.app.info import AppInfo
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.lease import Lease
from gokiq.claiming.slots import Valve
from gokiq.host.procstat import rss_kb
from gokiq.observe.exposition import CONTENT_TYPE, Family, counter, gauge, labelled, render
from gokiq.observe.http import Page, Pages
from gokiq.observe.queues import QueueStatus
from gokiq.sidekiq.heartbeat import Heartbeat
from gokiq.sidekiq.poller import Poller
from gokiq.store.link import RedisLink
from gokiq.store.server import RedisWatch
from gokiq.workers.connection import State
from gokiq.workers.pool import Fleet
from gokiq.workers.vitals import Monitor

#: Metrics of a worker's pool of database connections: name, key in its beat, help.
_OF_DATABASE = (
    ("gokiq_worker_database_pool_size", "size", "Connections that its scarcest pool may open."),
    ("gokiq_worker_database_pool_used", "used", "Connections of that pool in use."),
    ("gokiq_worker_database_pool_waiting", "waiting", "Jobs that wait for one, begun or not."),
)


@dataclass(frozen=True, slots=True)
class Serving:
    """The parts that are there once the app has booted."""

    app: AppInfo
    valve: Valve
    dispatcher: Dispatcher
    lease: Lease
    heartbeat: Heartbeat
    poller: Poller
    redis: RedisWatch
    queues: QueueStatus
    loop: asyncio.Task[None]


class Status:
    """`serving` is set when the parts run; until then we are booting."""

    def __init__(
        self,
        fleet: Fleet,
        monitor: Monitor,
        links: Sequence[RedisLink],
        *,
        root_restarts: Callable[[], int],
        is_quiet: Callable[[], bool],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._fleet = fleet
        self._monitor = monitor
        self._links = links
        self._root_restarts = root_restarts
        self._is_quiet = is_quiet
        self._is_stopping = is_stopping
        self._started_at = time.time()
        self.serving: Serving | None = None

    def pages(self) -> Pages:
        """What a HealthServer serves."""
        return {"/live": self._live_page, "/ready": self._ready_page, "/metrics": self._metrics}

    @property
    def is_live(self) -> bool:
        """False when the part that settles outcomes has ended although nobody told us to stop. A
        loop that does not turn answers nothing at all.
        """
        return self.serving is None or self._is_stopping() or not self.serving.loop.done()

    @property
    def why_not_ready(self) -> str:
        """One line; empty when jobs are being run."""
        if self._is_stopping():
            return "stopping"
        if self._is_quiet():
            return "quiet"
        if self.serving is None or not self._fleet.served.is_set():
            return "booting"
        if fault := self._redis_fault(self.serving):
            return f"redis: {_without_address(fault, str(self.serving.app.redis))}"
        if not self._ready_workers():
            return "no worker"
        return ""

    def _redis_fault(self, parts: Serving) -> str:
        return parts.dispatcher.fault or parts.lease.fault or parts.heartbeat.fault

    def _ready_workers(self) -> int:
        return sum(w.state is State.READY and not w.is_solo for w in self._fleet.workers)

    def _live_page(self) -> Page:
        if self.is_live:
            return Page(b"live\n")
        return Page(b"the dispatcher has ended\n", HTTPStatus.SERVICE_UNAVAILABLE)

    def _ready_page(self) -> Page:
        if reason := self.why_not_ready:
            return Page(f"{reason}\n".encode(), HTTPStatus.SERVICE_UNAVAILABLE)
        return Page(b"ready\n")

    def _metrics(self) -> Page:
        return Page(render(self.families()), content_type=CONTENT_TYPE)

    def families(self) -> Iterator[Family]:
        """Every metric that has a value now."""
        yield self._build()
        yield gauge("process_start_time_seconds", "Start, epoch seconds.", self._started_at)
        yield counter(
            "process_cpu_seconds_total", "CPU time of the orchestrator.", time.process_time()
        )
        yield gauge(
            "process_resident_memory_bytes",
            "Resident memory of the orchestrator.",
            rss_kb() * 1024,
        )
        yield gauge("gokiq_ready", "1 when /ready answers 200.", not self.why_not_ready)
        yield from self._of_workers()
        yield labelled(
            "counter",
            "gokiq_redis_reconnects_total",
            "Connections to Redis opened again, by what they carry.",
            "link",
            {link.name: link.reconnects for link in self._links},
        )
        if self.serving is not None:
            yield from self._of_jobs(self.serving)
            yield from self._of_queues(self.serving)
            yield from self._of_redis(self.serving)

    def _build(self) -> Family:
        versions = {"version": __version__, "python": platform.python_version()}
        if self.serving is not None:
            app = self.serving.app
            for name in ("sidekiq", "ruby", "async", "rails", "falcon"):
                versions[name] = app.versions.get(name) or ""
            versions["lane"] = app.lane
        about = "Versions of gokiq and of the app's parts."
        return Family("gokiq_build_info", "gauge", about, {tuple(versions.items()): 1})

    def _of_workers(self) -> Iterator[Family]:
        fleet = self._fleet
        yield gauge("gokiq_workers_ready", "Workers that take jobs.", self._ready_workers())
        yield gauge("gokiq_workers_connected", "Workers there are.", len(fleet.workers))
        yield counter("gokiq_worker_crashes_total", "Workers that died.", fleet.crashes)
        yield counter(
            "gokiq_sidecar_restarts_total",
            "Starts of the sidecar's root after its first.",
            self._root_restarts(),
        )
        by_pid = {str(w.pid): w for w in fleet.workers}
        vitals = {p: v for p, w in by_pid.items() if (v := self._monitor.vitals.get(w.pid))}
        yield labelled(
            "gauge",
            "gokiq_worker_resident_memory_bytes",
            "Resident memory of a worker.",
            "pid",
            {pid: v.rss_kb * 1024 for pid, v in vitals.items()},
        )
        yield labelled(
            "gauge",
            "gokiq_worker_lag_seconds",
            "How long the worker's reactor has not turned.",
            "pid",
            {pid: v.lag_ms / 1000 for pid, v in vitals.items()},
        )
        for name, key, text in _OF_DATABASE:
            pools = {pid: v.database[key] for pid, v in vitals.items() if v.database}
            yield labelled("gauge", name, text, "pid", pools)
        yield labelled(
            "gauge",
            "gokiq_worker_jobs_running",
            "Jobs out at a worker.",
            "pid",
            {pid: len(w.open) for pid, w in by_pid.items()},
        )

    def _of_jobs(self, parts: Serving) -> Iterator[Family]:
        dispatcher = parts.dispatcher
        yield counter(
            "gokiq_jobs_processed_total",
            "Jobs that ended here, failed ones included.",
            dispatcher.processed,
        )
        yield counter("gokiq_jobs_failed_total", "Jobs that failed here.", dispatcher.failed)
        yield gauge(
            "gokiq_jobs_claimed",
            "Jobs claimed from Redis and not yet settled there.",
            dispatcher.in_flight,
        )
        yield gauge("gokiq_jobs_running", "Jobs out at the workers.", len(dispatcher.running()))
        yield gauge("gokiq_slots", "Jobs that may be claimed at once.", parts.valve.limit)
        yield gauge(
            "gokiq_outcomes_waiting",
            "Outcomes that Redis has not taken yet; never more than there are claims.",
            dispatcher.waiting,
        )
        yield counter(
            "gokiq_outcomes_dropped_total",
            "Outcomes that came after their claim had been adopted; those jobs run twice.",
            dispatcher.dropped,
        )
        audits = dispatcher.reconciler
        yield labelled(
            "counter",
            "gokiq_claims_audited_total",
            "Claims in which Redis and we differed at an audit: of no process (they were run), and"
            " no longer ours.",
            "what",
            {"unknown": audits.unknown, "gone": audits.gone},
        )
        yield labelled(
            "counter",
            "gokiq_jobs_promoted_total",
            "Due jobs moved out of Sidekiq's sorted sets.",
            "set",
            parts.poller.promoted,
        )

    def _of_queues(self, parts: Serving) -> Iterator[Family]:
        states = parts.queues.queues()
        yield labelled(
            "gauge",
            "gokiq_queue_waiting",
            "Jobs in a queue, as last counted.",
            "queue",
            parts.queues.waiting,
        )
        yield labelled(
            "gauge",
            "gokiq_queue_running",
            "Jobs of a queue that are claimed here.",
            "queue",
            {name: state.running for name, state in states.items()},
        )
        yield labelled(
            "gauge",
            "gokiq_queue_limit",
            "Jobs of a queue that may be claimed here at once; absent without a limit.",
            "queue",
            {name: s.limit for name, s in states.items() if s.limit is not None},
        )
        yield labelled(
            "gauge",
            "gokiq_queue_drain_seconds",
            "Jobs that wait, by the pace of the last minute here; absent while none ends.",
            "queue",
            {
                name: waiting / states[name].per_s
                for name, waiting in parts.queues.waiting.items()
                if name in states and states[name].per_s > 0
            },
        )
        yield Family(
            "gokiq_queue_held",
            "gauge",
            "1 for what keeps this process from one more job of a queue.",
            {
                (("queue", name), ("reason", state.reason)): 1
                for name, state in states.items()
                if state.why
            },
        )

    def _of_redis(self, parts: Serving) -> Iterator[Family]:
        yield gauge(
            "gokiq_redis_up",
            "1 while Redis answers and takes writes.",
            not self._redis_fault(parts),
        )
        yield counter(
            "gokiq_redis_outage_seconds_total",
            "Time in which nothing could be claimed because Redis was away or refused.",
            parts.dispatcher.outage_s,
        )
        yield gauge(
            "gokiq_redis_may_evict",
            "1 when Redis has an eviction policy that may drop jobs.",
            parts.redis.may_evict,
        )
        if parts.redis.skew_s is not None:
            yield gauge(
                "gokiq_redis_clock_skew_seconds",
                "Redis's clock less ours.",
                round(parts.redis.skew_s, 3),
            )


def _without_address(fault: str, address: str) -> str:
    """One line for probes, which anybody may read: where Redis is stays in the log."""
    named = f"Redis at {address} "
    # The cause may name it again, and sentinels.
    told = fault.removeprefix(named).partition(":")[0] if fault.startswith(named) else fault
    return " ".join(told.split())
