"""The last rung for jobs that run longer than they may, and for workers that give no sign of life:
their process is killed. The rungs before are the worker's own (enforcer.rb of the sidecar).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

from gokiq.app.job import named
from gokiq.log import get_logger
from gokiq.workers.connection import WorkerLink
from gokiq.workers.pool import Fleet
from gokiq.workers.quarantine import Quarantine
from gokiq.workers.vitals import Monitor, Vitals

log = get_logger("timeouts")

#: After its deadline a job is asked to stop, 2 s later an exception is raised in it, and this long
#: after the deadline its worker is killed, seconds.
LADDER_S = 8.0
#: A worker's watchdog beats twice a second; silence for this long is worth a line, seconds.
SILENT_S = 10.0
#: How often we look, seconds.
LOOK_S = 0.5


class Timeouts:
    """Looks at the workers' last beats."""

    def __init__(
        self,
        fleet: Fleet,
        monitor: Monitor,
        quarantine: Quarantine,
        *,
        hang_timeout_s: float | None,
    ) -> None:
        self._fleet = fleet
        self._monitor = monitor
        self._quarantine = quarantine
        self._hang_timeout_s = hang_timeout_s
        self._named: set[int] = set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for worker in list(self._fleet.workers):
                if worker.open:
                    # One that has not beaten yet is silent since its greeting.
                    unheard = Vitals(at=worker.greeted_at)
                    self._look(worker, self._monitor.vitals.get(worker.pid, unheard), now)
            self._named &= {worker.pid for worker in self._fleet.workers}

    def _look(self, worker: WorkerLink, vitals: Vitals, now: float) -> None:
        if vitals.deadline is not None and now > vitals.deadline[1] + LADDER_S:
            job = worker.open.get(vitals.deadline[0])
            if job is not None:
                name = named(job.payload)
                log.error(
                    "%s does not stop %.0f s after its timeout: "
                    "killing worker %d, its other jobs go back to their queues",
                    name,
                    now - vitals.deadline[1],
                    worker.pid,
                )
                self._quarantine.overdue(worker, job)
                self._kill(worker)
                return
        silent_s = now - vitals.at
        if silent_s < SILENT_S:
            self._named.discard(worker.pid)
        elif self._hang_timeout_s is not None and silent_s > self._hang_timeout_s:
            log.error(
                "Worker %d has given no sign of life for %.0f s: killing it", worker.pid, silent_s
            )
            self._kill(worker)
        elif worker.pid not in self._named:
            self._named.add(worker.pid)
            log.warning(
                "Worker %d has given no sign of life for %.0f s (stopped, or in a C function that "
                "holds the GVL); its %d jobs wait",
                worker.pid,
                silent_s,
                len(worker.open),
            )

    def _kill(self, worker: WorkerLink) -> None:
        # Until its end is seen: not again.
        worker.greeted_at = time.monotonic()
        self._monitor.vitals.pop(worker.pid, None)
        if worker.pid <= 0:
            return  # it has not said who it is, and 0 would be ourselves
        try:
            os.kill(worker.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError) as error:
            log.error("Cannot kill worker %d: %s", worker.pid, error)
