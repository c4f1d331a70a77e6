"""What a scenario is. It breaks something in the middle of a load, says what may have run twice
because of it, and ends when the load is done; the runner judges.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree

from .stand import Stand

#: A job that ended shortly before its orchestrator was killed may not have been settled, ms.
UNSETTLED_MS = 250.0
#: A root's workers see its death, and a worker its orchestrator's, within this, ms.
SEEN_MS = 1500.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault; `rows` are those of the list of faults that it shows."""

    name: str
    rows: tuple[int, ...]
    run: Callable[[Stand], None]
    jobs: int
    #: One of the ten that every `make test` shows.
    is_worst: bool
    #: Directives of redis.conf.
    redis: dict[str, str]


SCENARIOS: list[Scenario] = []


def scenario(
    *rows: int, jobs: int = 1500, worst: bool = False, **redis: str
) -> Callable[[Callable[[Stand], None]], Callable[[Stand], None]]:
    """Register a scenario under the name of its function."""

    def register(function: Callable[[Stand], None]) -> Callable[[Stand], None]:
        directives = {name.replace("_", "-"): value for name, value in redis.items()}
        SCENARIOS.append(Scenario(function.__name__, rows, function, jobs, worst, directives))
        return function

    return register


def workers(server: GokiqFast) -> list[int]:
    """Pids of the sidecar: the root first."""
    return [process.pid for process in process_tree(server.pid)[1:]]


def kill(*pids: int) -> None:
    """SIGKILL."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
