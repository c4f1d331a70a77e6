"""All worker connections: those of the root whose workers take jobs, and those of roots that come
or go (reload.py). Jobs are spread by load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from gokiq.claiming.takers import Ended
from gokiq.core import MAX_BODY_BYTES, REFUSED, SHUTDOWN, Job
from gokiq.errors import ExecutorUnavailable
from gokiq.log import get_logger
from gokiq.store.push import Push
from gokiq.workers.connection import Kind, Role, State, WorkerLink
from gokiq.workers.standby import Dock

log = get_logger("fleet")

#: What FAIL has to hold beside the payload, at most.
FAIL_SPARE_BYTES = 65_536
#: Outcomes of jobs that are to run again as they came.
_UNFINISHED = (SHUTDOWN, REFUSED)


class Fleet:
    """Gives jobs to the workers of one dock and tells the owner what all workers say."""

    def __init__(self, path: str) -> None:
        #: Whose workers take jobs.
        self.dock = Dock(path, self)
        self._docks = [self.dock]
        #: Of every dock.
        self.workers: list[WorkerLink] = []
        self.on_finished: Callable[[Ended], None] = lambda ended: None
        self.on_orphans: Callable[[list[Job]], None] = lambda orphans: None
        self.on_crash: Callable[[WorkerLink, list[Job]], None] | None = None
        self.on_solo: Callable[[list[Job]], None] = lambda ended: None
        self.on_room: Callable[[], None] = lambda: None
        self.on_gone: Callable[[int], None] = lambda pid: None
        #: Whether the worker with this pid does nothing now.
        self.stands_still: Callable[[int], bool] = lambda pid: False
        self.is_closing = False
        self._is_quiet = False
        #: Workers that died.
        self.crashes = 0
        #: Set once a worker takes jobs.
        self.served = asyncio.Event()
        self._left = asyncio.Event()

    @property
    def first_hello(self) -> asyncio.Future[dict[str, Any]]:
        """HELLO of the first worker of the dock."""
        return self.dock.first_hello

    @property
    def room(self) -> int:
        """Jobs that all workers together take now, the one for suspects left out."""
        return sum(worker.room for worker in self.dock.workers if not worker.is_solo)

    @property
    def holds_back(self) -> bool:
        """Whether a worker has slots that it does not fill, for want of database connections."""
        return any(worker.holds_back for worker in self.dock.workers if not worker.is_solo)

    @property
    def solo(self) -> WorkerLink | None:
        """The worker for suspects, if there is one."""
        return self.with_role(Role.SOLO)

    def with_role(self, role: Role) -> WorkerLink | None:
        """A worker that is there for this, one that takes jobs before one that leaves."""
        found = [worker for worker in self.workers if worker.role is role]
        return next((w for w in found if w.state is State.READY), found[0] if found else None)

    def ask_for(self, role: Role) -> None:
        """Ask the root whose workers take jobs for one more."""
        self.dock.ask_for(role)

    @property
    def ready_count(self) -> int:
        """Workers that take jobs."""
        return self.dock.ready_count

    def welcome_all(self, identity: str, routes: list[dict[str, str]]) -> None:
        """Start answering HELLOs; workers that wait already are answered now."""
        self.dock.welcome_all(identity, routes)

    def open(self, path: str) -> Dock:
        """A dock for another root; its workers take no jobs until `switch`."""
        dock = Dock(path, self)
        self._docks.append(dock)
        return dock

    def switch(self, dock: Dock) -> None:
        """From now on the workers of this dock take the jobs."""
        self.dock = dock
        self.on_room()

    def leave(self, dock: Dock) -> None:
        """A dock is done with."""
        dock.close("its root is replaced")
        self._docks.remove(dock)

    def assign(self, jobs: list[Job]) -> list[Job]:
        """Send jobs to the workers so that their loads even out. Those that stand still get only
        what the others have no room for. Returns those for which there was no room at all.
        """
        takers = [w for w in self.dock.workers if w.room > 0 and not w.is_solo]
        if len(takers) > 1 and any(still := [self.stands_still(w.pid) for w in takers]):
            pairs = list(zip(takers, still, strict=True))
            jobs = _spread(jobs, [worker for worker, is_still in pairs if not is_still])
            takers = [worker for worker, is_still in pairs if is_still]
        return _spread(jobs, takers)

    def fail(self, job: Job, kind: Kind, message: str) -> bool:
        """Have a worker fail a job by the app's rules; False when none is ready, or no frame can
        carry the job.
        """
        if len(job.payload) > MAX_BODY_BYTES - FAIL_SPARE_BYTES:
            return False
        ready = [w for w in self.dock.workers if w.state is State.READY and not w.is_solo]
        if ready:
            self._ablest(ready).fail(job, kind, message)
        return bool(ready)

    @property
    def has_app_client(self) -> bool:
        """Whether the app's client, in any worker, does more to a due job than fill in defaults."""
        return any(w.has_app_client for w in self.dock.workers if w.state is State.READY)

    async def client_push(self, members: list[bytes]) -> list[Push]:
        """Ask the least busy worker what the app's own client makes of due members, one whose
        client is the app's before others; another one when it stands still. Raises
        ExecutorUnavailable when there is none, or it dies meanwhile.
        """
        while True:
            able = [
                worker
                for worker in self.dock.workers
                if worker.state is State.READY and not worker.is_overdue
            ]
            if not able:
                raise ExecutorUnavailable("no worker is ready, or those that are do not answer")
            own = [worker for worker in able if worker.has_app_client]
            asked = self._ablest([w for w in own if not self.stands_still(w.pid)] or able)
            try:
                return await asked.promote(members, partial(self.stands_still, asked.pid))
            except TimeoutError:
                log.warning(
                    "Worker %d does not answer about %d due jobs: asking another one",
                    asked.pid,
                    len(members),
                )

    def _ablest(self, workers: list[WorkerLink]) -> WorkerLink:
        """The least busy of those that do not stand still, or of all if each one does."""
        return min(workers, key=lambda w: (self.stands_still(w.pid), len(w.open)))

    def process_ended(self, pid: int) -> bool:
        """The root says that a worker's process is gone; returns whether it is connected."""
        ended = [worker for worker in self.workers if worker.pid == pid]
        for worker in ended:
            worker.process_ended()
        return bool(ended)

    async def run(self) -> None:
        """Keep a standby connection to the root whose workers take jobs. Runs until cancelled."""
        await self.dock.run()

    def quiet(self) -> None:
        """Tell the workers, and those that will come, that no new job will come."""
        self._is_quiet = True
        for worker in self.workers:
            worker.quiet()

    def close(self) -> None:
        """Close every connection; jobs still open come back as orphans."""
        self.is_closing = True
        for dock in self._docks:
            dock.close("the orchestrator is stopping")

    def beat(self) -> None:
        """Pass a heartbeat on to every worker."""
        for worker in self.workers:
            worker.beat()

    async def emptied(self) -> None:
        """Wait until no worker is connected."""
        while self.workers:
            self._left.clear()
            await self._left.wait()

    # dock.Owner

    def greeted(self, worker: WorkerLink) -> None:
        """Owner."""
        self.workers.append(worker)

    def ready(self, worker: WorkerLink) -> None:
        """Owner."""
        log.debug("Worker %d: %s, credit %d", worker.pid, worker.state.value, worker.credit)
        self.served.set()
        if self._is_quiet:
            worker.quiet()
        if worker.role is Role.SPARE and self.with_role(Role.SPARE) is not worker:
            worker.drain(0.0)  # nobody wants it
        if worker.is_solo:
            self.on_solo([])
        self.on_room()

    def finished(self, worker: WorkerLink, ended: Ended) -> None:
        """Owner."""
        self.on_finished(ended)
        if worker.is_solo:
            unfinished = {o.number for _, o in ended.special if o.status in _UNFINISHED}
            self.on_solo([job for job in ended.jobs() if job.number not in unfinished])

    def lost(self, worker: WorkerLink, orphans: list[Job], reason: str) -> None:
        """Owner."""
        if worker in self.workers:
            self.workers.remove(worker)
            self._left.set()
            self.crashes += worker.has_died and not (self.is_closing or worker.was_leaving)
            if worker.has_died and not self.is_closing and self.on_crash is not None:
                self.on_crash(worker, orphans)
                orphans = []
            elif reason and not self.is_closing:
                log.error(
                    "Worker %d is gone (%s); %d jobs go back to their queues",
                    worker.pid,
                    reason,
                    len(orphans),
                )
            self.on_gone(worker.pid)
        elif reason and not self.is_closing and worker.hello == {} and "refused" in reason:
            log.error("%s", reason)
        if orphans:
            self.on_orphans(orphans)
        self.on_room()


def _spread(jobs: list[Job], takers: list[WorkerLink]) -> list[Job]:
    """Send jobs to these workers, which have room; returns the rest."""
    ready = sorted(takers, key=lambda w: len(w.open))
    if not ready or not jobs:
        return jobs
    level = -(-(len(jobs) + sum(len(w.open) for w in ready)) // len(ready))
    at = 0
    for worker in ready:
        share = min(max(level - len(worker.open), 0), worker.room, len(jobs) - at)
        if share:
            worker.send(jobs[at : at + share])
            at += share
    for worker in ready:  # what the even level left over
        share = min(worker.room, len(jobs) - at)
        if share > 0:
            worker.send(jobs[at : at + share])
            at += share
    return jobs[at:]
