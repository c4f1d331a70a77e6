"""The worker in which suspects run: one that the root forks for them, or one of the others where
the root does not know how (Falcon's own).
"""

from __future__ import annotations

from collections.abc import Collection

from gokiq.log import get_logger
from gokiq.workers.connection import Role, State, WorkerLink
from gokiq.workers.pool import Fleet

log = get_logger("quarantine")

#: A root that has just started hears nothing yet: how often it is asked, seconds.
ASK_S = 2.0
#: How long we wait for a worker that is forked for suspects before another one is borrowed; and how
#: long a borrowed one has to end its jobs before suspects run among them, seconds.
PATIENCE_S = 15.0


class Solo:
    """Finds that worker, and lets it go."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._asked_at = 0.0
        self._since = 0.0
        self._borrowed: WorkerLink | None = None
        self._borrowed_at = 0.0
        #: The dock whose root has forked none.
        self._barren: object = None

    def running(self, suspects: Collection[int]) -> set[int]:
        """The suspects that run in it."""
        return {
            number
            for worker in self._fleet.workers
            if worker.is_solo
            for number in worker.open
            if number in suspects
        }

    def worker(self, now: float, *, may_borrow: bool) -> WorkerLink | None:
        """One that takes suspects now, monotonic seconds; None: ask again soon."""
        solo = self._fleet.solo
        if solo is not None and solo is not self._borrowed:
            if solo.state is State.READY:
                self._since = 0.0
                return solo
            if solo.state is State.GREETED:
                return None
        if self._borrowed is not None and self._borrowed.state is not State.READY:
            self._borrowed = None
        if self._fleet.dock is not self._barren:
            self._ask(now)
            if self._fleet.dock is not self._barren:
                return None
        if may_borrow:
            self.reserve(now)
        borrowed = self._borrowed
        if borrowed is None or (borrowed.open and now - self._borrowed_at < PATIENCE_S):
            return None
        return borrowed

    def dismiss(self, *, has_suspects: bool) -> None:
        """Nobody waits for it any more, or is on trial in it."""
        self._since = 0.0
        if self._borrowed is not None:
            if self._borrowed.is_solo:
                self._borrowed.role = Role.REGULAR
            self._borrowed = None
            self._fleet.on_room()
        solo = self._fleet.solo
        if solo is not None and solo.state is State.READY and not solo.open and not has_suspects:
            solo.drain(0.0)

    def _ask(self, now: float) -> None:
        if not self._fleet.dock.forks_more:
            self._barren = self._fleet.dock
            return
        self._since = self._since or now
        if now - self._asked_at > ASK_S:
            self._asked_at = now
            self._fleet.ask_for(Role.SOLO)
        if now - self._since > PATIENCE_S:
            log.warning("No worker has come for suspects: one of the others is used for them")
            self._barren = self._fleet.dock

    def reserve(self, now: float) -> None:
        """Where none is forked for suspects: borrow the worker with the fewest jobs, at best one
        that has just come.
        """
        if self._fleet.dock is not self._barren:
            return
        found = [
            worker
            for worker in self._fleet.dock.workers
            if worker.state is State.READY and worker.role is Role.REGULAR
        ]
        best = min(found, key=lambda worker: len(worker.open), default=None)
        old = self._borrowed
        if best is None or (old is not None and (not old.open or best.open)):
            return
        if old is not None:
            old.role = Role.REGULAR
        best.role = Role.SOLO
        self._borrowed, self._borrowed_at = best, now
