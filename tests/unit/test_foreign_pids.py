"""Workers of a sidecar in another container: their pids are somebody else's here."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from gokiq.host.procstat import parent_of
from gokiq.runner import Runner


def test_a_dump_is_asked_only_of_processes_that_are_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append((pid, number)))
    ours = SimpleNamespace(pid=os.getpid(), hello={"ppid": os.getppid()}, open={})
    foreign = SimpleNamespace(pid=os.getpid(), hello={"ppid": 1 << 30}, open={})
    unknown = SimpleNamespace(pid=0, hello={}, open={})
    gone = SimpleNamespace(pid=1 << 30, hello={}, open={})
    runner: Any = SimpleNamespace(_fleet=SimpleNamespace(workers=[ours, foreign, unknown, gone]))
    monkeypatch.setattr("asyncio.all_tasks", list)

    Runner._dump(runner)

    assert told == [(os.getpid(), signal.SIGTTIN)]
    assert parent_of(gone.pid) is None
