"""Jobs that fail without a run, because they killed their workers or did not stop: a worker fails
them by the app's rules.
"""

from __future__ import annotations

import time
from collections import deque

from gokiq.app.info import AppInfo
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.core import Job
from gokiq.workers import suspects as crashes
from gokiq.workers.connection import Kind
from gokiq.workers.pool import Fleet

#: How long a sentence waits for a worker, seconds.
PATIENCE_S = 15.0


class Sentences:
    """Held jobs whose end is decided."""

    def __init__(self, fleet: Fleet, dispatcher: Dispatcher, app: AppInfo) -> None:
        self._fleet = fleet
        self._dispatcher = dispatcher
        #: Dead jobs are written for this one.
        self.app = app
        self.is_draining = False
        self._waiting: deque[tuple[Job, Kind, str, float]] = deque()
        self._tried: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, job: Job, kind: Kind, text: str) -> None:
        """A worker fails the job as soon as there is one. If even that has killed one before, it
        goes without the app.
        """
        if kind is Kind.CRASH and job.number in self._tried:
            self._lay_down(job, text)
        else:
            self._waiting.append((job, kind, text, time.monotonic()))

    def pronounce(self) -> None:
        """Hand over what a worker takes now; what has waited too long ends without one."""
        for _ in range(len(self._waiting)):
            job, kind, text, since = self._waiting.popleft()
            may_try = job.number not in self._tried and not self.is_draining
            if may_try and self._fleet.fail(job, kind, text):
                self._tried.add(job.number)
                self._dispatcher.unhold(job)
            elif may_try and time.monotonic() - since < PATIENCE_S:
                self._waiting.append((job, kind, text, since))
            elif kind is Kind.CRASH:
                self._lay_down(job, text)
            else:
                self._dispatcher.give_back([job])

    def _lay_down(self, job: Job, reason: str) -> None:
        """To the dead set as Sidekiq would write it, without the app's handlers."""
        now = time.time()
        payload = crashes.buried(job.payload, reason, now=now, uses_ms=self.app.uses_ms)
        self._dispatcher.bury(job, payload if crashes.may_be_dead(job.payload) else None, now)
