"""Names the job that keeps a worker's reactor from turning, and so makes its neighbours late."""

from __future__ import annotations

import time
from typing import Any

from gokiq.app.job import named
from gokiq.log import get_logger
from gokiq.workers.pool import Fleet

log = get_logger("stalls")

#: A stall that goes on is named again after so long, seconds; beats tell it twice a second.
REPEAT_S = 10.0


class Stalls:
    """One line when a stall begins, and one every ten seconds while it lasts."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._named: dict[int, tuple[int | None, float]] = {}

    def seen(self, pid: int, stalled: dict[str, Any], lag_ms: float) -> None:
        """A worker's watchdog says that its reactor has not turned for `lag_ms`; `stalled` is
        `{"number": …, "frames": […]}` (docs/protocol.md, the monitor socket).
        """
        number, now = stalled.get("number"), time.monotonic()
        before, at = self._named.get(pid, (None, -REPEAT_S))
        if before == number and now - at < REPEAT_S:
            return
        self._named[pid] = (number, now)
        workers = self._fleet.workers
        for gone in self._named.keys() - {worker.pid for worker in workers} - {pid}:
            del self._named[gone]
        open_jobs = next((worker.open for worker in workers if worker.pid == pid), {})
        job = open_jobs.get(number) if number is not None else None
        name = named(job.payload if job else b"")
        log.warning(
            "Worker %d stands still since %.1f s in %s: %s",
            pid,
            lag_ms / 1000,
            name,
            " < ".join(map(str, stalled.get("frames") or ())) or "no trace",
        )
