"""Replaces workers that have grown too large, too old, or have run enough jobs: a spare one comes
first, the old one ends its jobs and leaves, its successor takes the spare one's place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gokiq.log import get_logger
from gokiq.workers.connection import Role, State, WorkerLink
from gokiq.workers.pool import Fleet
from gokiq.workers.vitals import Monitor

log = get_logger("recycler")

#: How often we look, seconds.
LOOK_S = 1.0
#: How long running jobs have before they are pushed back, seconds.
GRACE_S = 900.0
#: Workers that grew beyond the memory limit within so many seconds, that many in a row, will grow
#: so again: to replace them takes more than it gives.
YOUNG_S = 60.0
#: A worker that is seen so soon, and has had no job, is as large as all will be, seconds.
FRESH_S = 5.0
MOST_YOUNG = 3
#: How long we wait for a spare worker before the old one leaves without one, seconds.
PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may come to; None: anything."""

    rss_mb: int | None = None
    jobs: int | None = None
    age_s: float | None = None

    def __bool__(self) -> bool:
        return (self.rss_mb, self.jobs, self.age_s) != (None, None, None)

    def exceeded(self, *, rss_kb: int, jobs: int, age_s: float) -> str:
        """Which one is, in words; empty when none."""
        if self.rss_mb is not None and rss_kb > self.rss_mb * 1024:
            return f"{rss_kb // 1024} MB resident, more than {self.rss_mb}"
        if self.jobs is not None and jobs >= self.jobs:
            return f"{jobs} jobs run, the limit is {self.jobs}"
        if self.age_s is not None and age_s >= self.age_s:
            return f"{age_s:.0f} s old, the limit is {self.age_s:g}"
        return ""


class Recycler:
    """One worker at a time."""

    def __init__(self, fleet: Fleet, monitor: Monitor, limits: Limits) -> None:
        self._fleet = fleet
        self._monitor = monitor
        self._limits = limits
        #: Regular workers whose memory has been looked at.
        self._seen: set[int] = set()
        self._young = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            workers = list(self._fleet.workers)
            self._seen &= {worker.pid for worker in workers}
            for worker in workers:
                reason = self._reason(worker)
                if reason:
                    await self._replace(worker, reason)
                    break

    def _reason(self, worker: WorkerLink) -> str:
        if worker.state is not State.READY or worker.role is not Role.REGULAR:
            return ""
        vitals = self._monitor.vitals.get(worker.pid)
        rss_kb = vitals.rss_kb if vitals else 0
        age_s = time.monotonic() - worker.greeted_at
        if rss_kb:
            self._judge_memory(worker, rss_kb, age_s)
        return self._limits.exceeded(rss_kb=rss_kb, jobs=worker.finished, age_s=age_s)

    def _judge_memory(self, worker: WorkerLink, rss_kb: int, age_s: float) -> None:
        """Give the memory limit up when a worker exceeds it as it comes, or soon again and
        again.
        """
        limit = self._limits.rss_mb
        is_first = worker.pid not in self._seen
        is_fresh = is_first and age_s < FRESH_S and not worker.open and not worker.finished
        self._seen.add(worker.pid)
        if limit is None or rss_kb <= limit * 1024:
            return
        self._young = self._young + 1 if age_s < YOUNG_S else 0
        if is_fresh:
            why = f"a fresh worker has {rss_kb // 1024} MB already"
        elif self._young > MOST_YOUNG:
            why = f"{MOST_YOUNG} workers in a row had more within {YOUNG_S:g} s"
        else:
            return
        text = "No worker is replaced for its memory any more: %s; set --max-rss well above %d"
        log.error(text, why, limit)
        self._limits = replace(self._limits, rss_mb=None)

    async def _replace(self, worker: WorkerLink, reason: str) -> None:
        log.info("Worker %d is replaced: %s", worker.pid, reason)
        workers = self._count()
        self._fleet.ask_for(Role.SPARE)
        if not await self._until(lambda: self._fleet.with_role(Role.SPARE) is not None):
            log.warning("No spare worker has come: worker %d leaves without one", worker.pid)
        worker.drain(GRACE_S)
        # Its jobs have their time; the spare one works meanwhile.
        await self._until(lambda: worker.state is State.CLOSED, GRACE_S + PATIENCE_S)
        await self._until(lambda: self._count() >= workers)
        spare = self._fleet.with_role(Role.SPARE)
        if spare is not None:
            spare.drain(GRACE_S)

    def _count(self) -> int:
        return sum(
            worker.state is State.READY and worker.role is Role.REGULAR
            for worker in self._fleet.workers
        )

    async def _until(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True
