"""Replaces workers that have grown too large, too old, or have run enough jobs: a spare one comes
first, the old one ends its jobs and leaves, its successor takes the spare one's place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gokiq.fleet import Fleet
from gokiq.log import get_logger
from gokiq.monitor import Monitor
from gokiq.sidecar import Role, State, WorkerLink

log = get_logger("recycler")

#: How often we look, seconds.
LOOK_S = 1.0
#: How long running jobs have before they are pushed back, seconds.
GRACE_S = 900.0
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

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for worker in list(self._fleet.workers):
                reason = self._reason(worker)
                if reason:
                    await self._replace(worker, reason)
                    break

    def _reason(self, worker: WorkerLink) -> str:
        if worker.state is not State.READY or worker.role is not Role.REGULAR:
            return ""
        vitals = self._monitor.vitals.get(worker.pid)
        return self._limits.exceeded(
            rss_kb=vitals.rss_kb if vitals else 0,
            jobs=worker.finished,
            age_s=time.monotonic() - worker.greeted_at,
        )

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
