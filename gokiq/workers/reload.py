"""Deploys without a gap: boots new code beside the old, switches when it is ready, and lets the old
end its jobs in the background.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

from gokiq.app.info import AppInfo, app_info
from gokiq.config import Config
from gokiq.errors import BootError, ProtocolError
from gokiq.host import runfile
from gokiq.host.deadline import BOOT_LIMIT_S, within
from gokiq.host.identity import start_ticks
from gokiq.host.systemd import Notifier
from gokiq.log import get_logger
from gokiq.workers.generations import Root, Roots
from gokiq.workers.pool import Fleet
from gokiq.workers.serving import Switchboard
from gokiq.workers.standby import Dock
from gokiq.workers.supervisor import Attached

log = get_logger("reload")

#: Once the first new worker takes jobs, how long we wait for the others before we switch, seconds.
OTHERS_S = 10.0


class Reloader:
    """One reload at a time; one more, asked for meanwhile, follows it, since the code may have
    changed after the first had read it.
    """

    def __init__(
        self, config: Config, roots: Roots, fleet: Fleet, notifier: Notifier, folder: Path
    ) -> None:
        self._config = config
        self._roots = roots
        self._fleet = fleet
        self._notifier = notifier
        self._folder = folder
        pid = os.getpid()
        self._run = runfile.Run(pid, start_ticks(pid) or 0, str(config.app_directory))
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_under_way = False
        self._refusal = (
            "the sidecar was started by somebody else (--sidecar): restart it there"
            if isinstance(roots.current.supervisor, Attached)
            else ""
        )
        self._write()

    def ask(self) -> None:
        """Reload, now or when the reload or boot that is under way has ended."""
        self._run = replace(self._run, asked=self._run.asked + 1)
        if self._task is not None:
            self._notifier.reloading()
        if self._refusal:
            log.warning("Reload ignored: %s", self._refusal)
            self._answer(self._run.asked, f"ignored: {self._refusal}")
            return
        if self._is_under_way or self._task is None:
            log.info("Reload: it follows the %s", "one under way" if self._task else "boot")
        self._write()
        self._news.set()

    def close(self, reason: str) -> None:
        """Take no more; one that is under way is abandoned."""
        self._refusal = reason
        if self._task is not None:
            self._task.cancel()
        if self._run.done < self._run.asked:
            log.warning("Reload abandoned: %s", reason)
            self._answer(self._run.asked, f"abandoned: {reason}")

    async def run(self, board: Switchboard) -> None:
        """Runs until cancelled, or closed."""
        self._task = asyncio.current_task()
        while True:
            await self._news.wait()
            self._news.clear()
            while self._run.done < self._run.asked:
                number = self._run.asked
                self._is_under_way = True
                error = await self._reload(board)
                self._is_under_way = False
                self._answer(number, error)

    async def _reload(self, board: Switchboard) -> str:
        """Why it failed; empty when it did not."""
        log.info("Reloading: booting the new code beside the old")
        began = time.monotonic()
        root = self._roots.add()
        try:
            app = await self._boot(root, board)
        except (BootError, ProtocolError) as error:
            self._roots.retire(root, 0.0)
            log.error("Reload failed, the old code goes on: %s", error)
            return str(error)
        except asyncio.CancelledError:
            self._roots.retire(root, 0.0)
            raise
        grace_s = self._config.timeout_s or board.app.timeout_s
        jobs = sum(len(worker.open) for worker in self._roots.current.dock.workers)
        self._switch(root, app, board, grace_s)
        log.info(
            "Reloaded in %.1f s: the new code takes the jobs, %d of the old have %g s to end",
            time.monotonic() - began,
            jobs,
            grace_s,
        )
        return ""

    async def _boot(self, root: Root, board: Switchboard) -> AppInfo:
        """Start it, until its workers could take jobs. Raises BootError, ProtocolError."""
        await root.supervisor.start()
        self._roots.watch(root)
        failed = asyncio.ensure_future(root.supervisor.first_failure())
        ready = asyncio.ensure_future(self._ready(root.dock, board))
        try:
            done, _ = await asyncio.wait(
                {failed, ready}, timeout=BOOT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if failed in done:
                raise failed.result()
            if ready not in done:
                raise BootError(f"the app has not booted within {BOOT_LIMIT_S:g} s; see its log")
            return ready.result()
        finally:
            failed.cancel()
            ready.cancel()

    async def _ready(self, dock: Dock, board: Switchboard) -> AppInfo:
        while not dock.first_hello.done():
            if "protocol" in dock.refusal or "refused" in dock.refusal:
                raise BootError(dock.refusal)
            dock.changed.clear()
            await dock.changed.wait()
        app = await board.prepare(app_info(dock.first_hello.result()))
        dock.welcome_all(board.identity.name, app.wire_routes())
        await _counted(dock, 1)
        await within(_counted(dock, self._config.workers), time.monotonic() + OTHERS_S)
        return app

    def _switch(self, root: Root, app: AppInfo, board: Switchboard, grace_s: float) -> None:
        """In one go: no job is given to the old workers or claimed by the old rules afterwards."""
        old, self._roots.current = self._roots.current, root
        root.supervisor.has_served = True
        self._fleet.switch(root.dock)
        board.switch(app)
        self._roots.retire(old, grace_s)

    def _answer(self, number: int, error: str) -> None:
        self._run = replace(self._run, done=number, error=error)
        self._write()
        if self._task is not None and self._run.done == self._run.asked:
            self._notifier.ready()

    def _write(self) -> None:
        try:
            runfile.write(self._folder, self._run)
        except OSError as error:
            log.warning("Cannot write %s: %s", self._folder / runfile.NAME, error.strerror)


async def _counted(dock: Dock, workers: int) -> None:
    """Wait until so many workers could take jobs."""
    while dock.ready_count < workers:
        dock.changed.clear()
        await dock.changed.wait()
