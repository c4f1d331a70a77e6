"""The worker connections of one sidecar: one per worker, one standby, jobs spread by load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Any

from gokiq.core import MAX_BODY_BYTES, REFUSED, SHUTDOWN, Job, Outcome
from gokiq.errors import ExecutorUnavailable
from gokiq.log import get_logger
from gokiq.promotion import Push
from gokiq.sidecar import Kind, Role, State, WorkerLink

log = get_logger("fleet")

#: What the sidecar's root takes for "fork one more worker". Anyone else ignores it.
EXTRA_SIGNAL = signal.SIGURG
#: Pause between attempts to connect to a socket that nobody listens on, seconds.
RETRY_S = 0.05
#: Pause after a connection ended before its worker was ready, seconds: a sidecar that turns us
#: away, or refuses our WELCOME, must not be hammered.
TURNED_AWAY_S = 0.25
#: What FAIL has to hold beside the payload, at most.
FAIL_SPARE_BYTES = 65_536
#: Outcomes of jobs that are to run again as they came.
_UNFINISHED = (SHUTDOWN, REFUSED)


class Fleet:
    """Keeps a standby connection in the listener's backlog and tells the owner what the workers
    say.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._standby: WorkerLink | None = None
        self._standby_gone = asyncio.Event()
        self._was_turned_away = False
        self._welcome: tuple[str, list[dict[str, str]]] | None = None
        self.workers: list[WorkerLink] = []
        #: HELLO of the first worker.
        self.first_hello: asyncio.Future[dict[str, Any]] = (
            asyncio.get_running_loop().create_future()
        )
        self.on_finished: Callable[[list[tuple[Job, Outcome]]], None] = lambda ended: None
        self.on_orphans: Callable[[list[Job]], None] = lambda orphans: None
        self.on_crash: Callable[[WorkerLink, list[Job]], None] | None = None
        self.on_solo: Callable[[list[Job]], None] = lambda ended: None
        self.on_room: Callable[[], None] = lambda: None
        self.on_gone: Callable[[int], None] = lambda pid: None
        self.is_closing = False
        #: Set once a worker takes jobs.
        self.served = asyncio.Event()
        self._left = asyncio.Event()
        self._root = 0
        self._wanted: deque[Role] = deque()

    @property
    def room(self) -> int:
        """Jobs that all workers together take now, the one for suspects left out."""
        return sum(worker.room for worker in self.workers if not worker.is_solo)

    @property
    def solo(self) -> WorkerLink | None:
        """The worker for suspects, if there is one."""
        return self.with_role(Role.SOLO)

    def with_role(self, role: Role) -> WorkerLink | None:
        """A worker that is there for this, one that takes jobs before one that leaves."""
        found = [worker for worker in self.workers if worker.role is role]
        return next((w for w in found if w.state is State.READY), found[0] if found else None)

    def ask_for(self, role: Role) -> None:
        """Ask the sidecar's root for one more worker; asking again for one that has not come is no
        second wish.
        """
        if role not in self._wanted:
            self._wanted.append(role)
        if self.root_pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.root_pid, EXTRA_SIGNAL)

    @property
    def root_pid(self) -> int:
        """The sidecar's root, as its workers know it; 0 without workers."""
        return next((int(worker.hello.get("ppid") or 0) for worker in self.workers), self._root)

    @property
    def ready_count(self) -> int:
        """Workers that take jobs."""
        return sum(worker.state is State.READY for worker in self.workers)

    def welcome_all(self, identity: str, routes: list[dict[str, str]]) -> None:
        """Start answering HELLOs; workers that wait already are answered now."""
        self._welcome = (identity, routes)
        for worker in self.workers:
            worker.welcome(identity, routes)

    def assign(self, jobs: list[Job]) -> list[Job]:
        """Send jobs to the workers so that their loads even out; returns those for which there was
        no room.
        """
        takers = (w for w in self.workers if w.room > 0 and not w.is_solo)
        ready = sorted(takers, key=lambda w: len(w.open))
        if not ready:
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

    def fail(self, job: Job, kind: Kind, message: str) -> bool:
        """Have a worker fail a job by the app's rules; False when none is ready, or no frame can
        carry the job.
        """
        if len(job.payload) > MAX_BODY_BYTES - FAIL_SPARE_BYTES:
            return False
        ready = [w for w in self.workers if w.state is State.READY and not w.is_solo]
        if ready:
            min(ready, key=lambda worker: len(worker.open)).fail(job, kind, message)
        return bool(ready)

    async def client_push(self, members: list[bytes]) -> list[Push]:
        """Ask the least busy worker what the app's own client makes of due members. Raises
        ExecutorUnavailable when there is none, or it dies meanwhile.
        """
        ready = [worker for worker in self.workers if worker.state is State.READY]
        if not ready:
            raise ExecutorUnavailable("no worker is ready")
        return await min(ready, key=lambda worker: len(worker.open)).promote(members)

    async def run(self) -> None:
        """Keep one standby connection as long as the sidecar lives. Runs until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if self._was_turned_away:
                self._was_turned_away = False
                await asyncio.sleep(TURNED_AWAY_S)
            self._standby_gone.clear()
            link = WorkerLink(self)
            self._standby = link
            try:
                await loop.create_unix_connection(lambda link=link: link, self._path)  # type: ignore[misc]
            except OSError:
                self._standby = None
                await asyncio.sleep(RETRY_S)
                continue
            if self._standby is link:
                await self._standby_gone.wait()

    def close(self) -> None:
        """Close every connection; jobs still open come back as orphans."""
        self.is_closing = True
        for worker in [*self.workers, *filter(None, [self._standby])]:
            worker.close("the orchestrator is stopping")

    def beat(self) -> None:
        """Pass a heartbeat on to every worker."""
        for worker in self.workers:
            worker.beat()

    async def emptied(self) -> None:
        """Wait until no worker is connected."""
        while self.workers:
            self._left.clear()
            await self._left.wait()

    # Listener

    def greeted(self, worker: WorkerLink) -> None:
        """Listener."""
        self._promote_standby(worker)
        self.workers.append(worker)
        if worker.hello.get("solo"):
            worker.role = self._wanted.popleft() if self._wanted else Role.SPARE
        self._root = int(worker.hello.get("ppid") or 0)
        if not self.first_hello.done():
            self.first_hello.set_result(worker.hello)
        if self._welcome is not None:
            worker.welcome(*self._welcome)

    def ready(self, worker: WorkerLink) -> None:
        """Listener."""
        log.debug("Worker %d: %s, credit %d", worker.pid, worker.state.value, worker.credit)
        self.served.set()
        if worker.role is Role.SPARE and self.with_role(Role.SPARE) is not worker:
            worker.drain(0.0)  # nobody wants it
        if worker.is_solo:
            self.on_solo([])
        self.on_room()

    def finished(self, worker: WorkerLink, ended: list[tuple[Job, Outcome]]) -> None:
        """Listener."""
        self.on_finished(ended)
        if worker.is_solo:
            self.on_solo([job for job, outcome in ended if outcome.status not in _UNFINISHED])

    def lost(self, worker: WorkerLink, orphans: list[Job], reason: str) -> None:
        """Listener."""
        self._was_turned_away |= not worker.credit
        self._promote_standby(worker)
        if worker in self.workers:
            self.workers.remove(worker)
            self._left.set()
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

    def _promote_standby(self, worker: WorkerLink) -> None:
        if self._standby is worker:
            self._standby = None
            self._standby_gone.set()
