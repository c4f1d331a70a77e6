"""Processes whose parent has ended become ours where we are process 1 of a container, or a
subreaper: somebody has to take their exit status.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection

#: A child that somebody else of us waits for hides those behind it for so long, seconds.
AGAIN_S = 0.1


class Orphans:
    """Reaps children that nobody of us has started."""

    def __init__(self, ours: Callable[[], Collection[int] | None]) -> None:
        #: Pids of children that are waited for elsewhere; None while one is being started.
        self._ours = ours
        self._is_waiting = False

    def start(self) -> None:
        """From the running loop: look whenever a child ends."""
        loop = asyncio.get_running_loop()

        def ended(*_: object) -> None:
            loop.call_soon_threadsafe(self._reap)

        signal.signal(signal.SIGCHLD, ended)

    def stop(self) -> None:
        """Before the loop ends."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _reap(self) -> None:
        while (pid := _ended_child()) is not None:
            ours = self._ours()
            if ours is None or pid in ours:
                self._look_again()
                return
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                return

    def _look_again(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().call_later(AGAIN_S, self._again)

    def _again(self) -> None:
        self._is_waiting = False
        self._reap()


def _ended_child() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None
