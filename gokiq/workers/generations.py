"""The sidecar roots that are there: one whose workers take jobs, and while code is reloaded others
that come or go (reload.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from gokiq.config import Config
from gokiq.host.deadline import ENSURE_S, FAREWELL_S, within
from gokiq.host.procstat import rss_kb
from gokiq.log import get_logger
from gokiq.workers.pool import Fleet
from gokiq.workers.standby import Dock
from gokiq.workers.supervisor import Attached, Supervisor
from gokiq.workers.vitals import Monitor

log = get_logger("roots")


class Root:
    """A sidecar root: its process and the connections to its workers."""

    def __init__(self, supervisor: Supervisor | Attached, dock: Dock) -> None:
        self.supervisor = supervisor
        self.dock = dock
        self.tasks: list[asyncio.Task[None]] = []

    def dismiss(self, grace_s: float) -> None:
        """No new worker is wanted; jobs have `grace_s` seconds to end, then the workers leave."""
        self.dock.retire()
        for worker in list(self.dock.workers):
            worker.drain(grace_s)
        self.supervisor.terminate()


class Roots:
    """Makes roots, runs what they need, ends them."""

    def __init__(
        self, config: Config, monitor: Monitor, fleet: Fleet, folder: Path, *, identity: str
    ) -> None:
        self._config = config
        self._monitor = monitor
        self._fleet = fleet
        self._folder = folder
        self._identity = identity
        self._count = 0
        self._past_restarts = 0
        self._group: asyncio.TaskGroup | None = None
        self._endings: set[asyncio.Task[None]] = set()
        attached = config.sidecar
        fleet.dock.is_foreign = attached is not None
        #: Whose workers take jobs.
        self.current = Root(
            Attached(attached) if attached else self._supervisor(fleet.dock), fleet.dock
        )
        self._all = [self.current]

    @property
    def restarts(self) -> int:
        """How often a root that had ended was started again."""
        return self._past_restarts + sum(root.supervisor.restarts for root in self._all)

    def pids(self) -> set[int] | None:
        """Processes that are waited for here; None while one is being started."""
        if any(root.supervisor.is_starting for root in self._all):
            return None
        return {root.supervisor.last_pid for root in self._all}

    @property
    def rss_kb(self) -> int:
        """Resident memory of all roots, kB."""
        return sum(rss_kb(root.supervisor.pid) for root in self._all)

    def run(self, group: asyncio.TaskGroup) -> None:
        """Watch the first root, which has been started; `group` bears what comes later, too."""
        self._group = group
        self.watch(self.current)

    def add(self) -> Root:
        """Another root, not started yet; its workers take no jobs until it is `current`."""
        self._count += 1
        path = socket_path(self._folder, self._count)
        dock = self._fleet.open(path)
        root = Root(self._supervisor(dock), dock)
        self._all.append(root)
        return root

    def watch(self, root: Root) -> None:
        """Connect to the workers of a root that has been started, and start it again when it
        ends.
        """
        root.tasks = [self._task(root.supervisor.run()), self._task(root.dock.run())]

    def retire(self, root: Root, grace_s: float) -> None:
        """End a root: running jobs have `grace_s` seconds, what does not end goes back."""
        root.dismiss(grace_s)
        ending = self._task(self._end(root, grace_s))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def terminate(self) -> None:
        """Tell all roots to drain and end."""
        for root in self._all:
            root.supervisor.terminate()

    async def stop(self, deadline: float) -> None:
        """Wait for the end of all; what is left at `deadline` (monotonic seconds) is killed."""
        for task in self._endings:
            task.cancel()
        for root in self._all:
            root.dock.retire()
        await asyncio.gather(*(root.supervisor.stop(deadline) for root in self._all))
        for root in self._all:
            for task in root.tasks:
                task.cancel()

    async def _end(self, root: Root, grace_s: float) -> None:
        await within(root.dock.emptied(), time.monotonic() + grace_s + ENSURE_S)
        if stuck := sum(len(worker.open) for worker in root.dock.workers):
            log.warning(
                "%d jobs of the old code did not stop in time and go back to their queues", stuck
            )
        root.dock.close("")
        await root.supervisor.stop(time.monotonic() + ENSURE_S + FAREWELL_S)
        for task in root.tasks:
            task.cancel()
        self._fleet.leave(root.dock)
        self._past_restarts += root.supervisor.restarts
        self._all.remove(root)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        return self._group.create_task(work)

    def _supervisor(self, dock: Dock) -> Supervisor:
        return Supervisor(
            self._config,
            self._monitor,
            socket_path=dock.path,
            identity=self._identity,
            next_path=lambda: self._move(dock),
        )

    def _move(self, dock: Dock) -> str:
        """A root that is started again gets a socket of its own: a worker of the dead one that does
        not end, or a child of its jobs, may still listen on the old one.
        """
        Path(dock.path).unlink(missing_ok=True)
        self._count += 1
        dock.move(socket_path(self._folder, self._count))
        return dock.path


def socket_path(folder: Path, number: int = 0) -> str:
    """Where the root with this number listens."""
    return str(folder / (f"sidecar-{number}.sock" if number else "sidecar.sock"))
