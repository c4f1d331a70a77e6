"""The worker connections of one sidecar root: one per worker, and one standby."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from typing import Any, Protocol

from gokiq.claiming.takers import Ended
from gokiq.core import Job
from gokiq.log import get_logger
from gokiq.workers.connection import Role, State, WorkerLink

#: What the sidecar's root takes for "fork one more worker". Anyone else ignores it.
EXTRA_SIGNAL = signal.SIGURG
#: Pause between attempts to connect to a socket that nobody listens on, seconds.
RETRY_S = 0.05
#: Pause after a connection ended before its worker was ready, seconds: a sidecar that turns us
#: away, or refuses our WELCOME, must not be hammered.
TURNED_AWAY_S = 0.25
#: How often it is said that a sidecar which somebody else starts is missing, seconds.
MISSED_S = 60.0

log = get_logger("dock")


class Owner(Protocol):
    """Who is told what the workers say; as sidecar.Listener."""

    def greeted(self, worker: WorkerLink) -> None:
        """HELLO arrived."""

    def ready(self, worker: WorkerLink) -> None:
        """Credit arrived or changed, or the worker stopped taking jobs."""

    def finished(self, worker: WorkerLink, ended: Ended) -> None:
        """Jobs ended."""

    def lost(self, worker: WorkerLink, orphans: list[Job], reason: str) -> None:
        """The connection is gone."""


class Dock:
    """Keeps a standby connection in the listener's backlog."""

    def __init__(self, path: str, owner: Owner) -> None:
        self.path = path
        self._owner = owner
        self._standby: WorkerLink | None = None
        self._standby_gone = asyncio.Event()
        self._was_turned_away = False
        self._is_retired = False
        self._welcome: tuple[str, list[dict[str, str]]] | None = None
        self._root = 0
        #: Whether somebody else starts the sidecar.
        self.is_foreign = False
        self._missed_at: float | None = None
        self._wanted: deque[Role] = deque()
        self.workers: list[WorkerLink] = []
        #: HELLO of the first worker.
        self.first_hello: asyncio.Future[dict[str, Any]] = (
            asyncio.get_running_loop().create_future()
        )
        #: Why the last connection ended before it had come to HELLO; empty when none did so.
        self.refusal = ""
        #: Set whenever a worker has come, has left, or takes more or fewer jobs than before.
        self.changed = asyncio.Event()

    @property
    def root_pid(self) -> int:
        """The sidecar's root, as its workers know it; 0 before the first."""
        return next((int(worker.hello.get("ppid") or 0) for worker in self.workers), self._root)

    @property
    def forks_more(self) -> bool:
        """Whether the root is known to heed `ask_for`, or not known not to."""
        return all(worker.hello.get("forks_more") is not False for worker in self.workers)

    @property
    def ready_count(self) -> int:
        """Workers that take jobs."""
        return sum(worker.state is State.READY for worker in self.workers)

    def ask_for(self, role: Role) -> None:
        """Ask the root for one more worker; asking again for one that has not come is no second
        wish.
        """
        if role not in self._wanted:
            self._wanted.append(role)
        if self.root_pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.root_pid, EXTRA_SIGNAL)

    def welcome_all(self, identity: str, routes: list[dict[str, str]]) -> None:
        """Start answering HELLOs; workers that wait already are answered now."""
        self._welcome = (identity, routes)
        for worker in self.workers:
            worker.welcome(identity, routes)

    async def run(self) -> None:
        """Keep one standby connection as long as the sidecar lives. Runs until cancelled, or
        retired.
        """
        while not self._is_retired:
            if self._was_turned_away:
                self._was_turned_away = False
                await asyncio.sleep(TURNED_AWAY_S)
            await self._stand_by()

    async def _stand_by(self) -> None:
        """One connection, until a worker has picked it up or it is gone."""
        self._standby_gone.clear()
        link = WorkerLink(self)
        self._standby = link
        try:
            loop = asyncio.get_running_loop()
            await loop.create_unix_connection(lambda: link, self.path)
        except OSError as error:
            self._standby = None
            self._miss(error)
            await asyncio.sleep(RETRY_S)
            return
        self._missed_at = None
        if self._is_retired:
            link.close()
        elif self._standby is link:
            await self._standby_gone.wait()

    def _miss(self, error: OSError) -> None:
        """Say now and then that nobody listens, where no boot of ours says why."""
        now = time.monotonic()
        if self.is_foreign and (self._missed_at is None or now - self._missed_at > MISSED_S):
            self._missed_at = now
            log.warning(
                "No sidecar answers at %s (%s); waiting for one. Is it running, with GOKIQ_SOCKET "
                "set to this path?",
                self.path,
                error.strerror or error,
            )

    def move(self, path: str) -> None:
        """Another root listens there; whoever still has the old socket open is none of ours."""
        self.path = path
        if self._standby is not None:
            self._standby.close()

    def retire(self) -> None:
        """No new worker is wanted; those that are there go on."""
        self._is_retired = True
        self._wanted.clear()
        if self._standby is not None:
            self._standby.close()

    def close(self, reason: str) -> None:
        """Close every connection; jobs still open come back as orphans."""
        for worker in [*self.workers, *filter(None, [self._standby])]:
            worker.close(reason)

    async def emptied(self) -> None:
        """Wait until no worker is connected."""
        while self.workers:
            self.changed.clear()
            await self.changed.wait()

    # Listener

    def greeted(self, worker: WorkerLink) -> None:
        """Listener."""
        self._promote_standby(worker)
        self.workers.append(worker)
        if worker.hello.get("solo"):
            worker.role = self._wanted.popleft() if self._wanted else Role.SPARE
        self._root = int(worker.hello.get("ppid") or 0)
        self._owner.greeted(worker)
        if not self.first_hello.done():
            self.first_hello.set_result(worker.hello)
        if self._welcome is not None:
            worker.welcome(*self._welcome)
        if self._is_retired:
            worker.drain(0.0)
        self.changed.set()

    def ready(self, worker: WorkerLink) -> None:
        """Listener."""
        self._owner.ready(worker)
        self.changed.set()

    def finished(self, worker: WorkerLink, ended: Ended) -> None:
        """Listener."""
        self._owner.finished(worker, ended)

    def lost(self, worker: WorkerLink, orphans: list[Job], reason: str) -> None:
        """Listener."""
        self._was_turned_away |= not worker.credit
        self._promote_standby(worker)
        if worker in self.workers:
            self.workers.remove(worker)
        elif not worker.hello:
            self.refusal = reason
        self._owner.lost(worker, orphans, reason)
        self.changed.set()

    def _promote_standby(self, worker: WorkerLink) -> None:
        if self._standby is worker:
            self._standby = None
            self._standby_gone.set()
