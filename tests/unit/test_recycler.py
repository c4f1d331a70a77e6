"""When a memory limit makes no sense, it is given up and said so, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from gokiq.log import Style, configure, flush
from gokiq.workers import recycler
from gokiq.workers.connection import Role, State
from gokiq.workers.recycler import MOST_YOUNG, YOUNG_S, Limits, Recycler

Told = Callable[[], list[str]]

MB = 1024


class Workers:
    """One worker at a time, by hand."""

    def __init__(self, **limits: float) -> None:
        configure(style=Style.PLAIN)
        self.pid = 0
        self.fleet = SimpleNamespace(workers=[])
        self.monitor = SimpleNamespace(vitals={})
        self._recycler = Recycler(self.fleet, self.monitor, Limits(**limits))  # type: ignore[arg-type]

    def come(self, rss_mb: int, age_s: float = 0.0, jobs: int = 0) -> str:
        """A new one takes the place; the reason to replace it."""
        self.pid += 1
        state = {"state": State.READY, "role": Role.REGULAR, "finished": jobs, "open": {}}
        greeted_at = time.monotonic() - age_s
        self.worker = SimpleNamespace(**state, pid=self.pid, greeted_at=greeted_at)
        return self.grow(rss_mb)

    def grow(self, rss_mb: int, age_s: float = 0.0) -> str:
        self.worker.greeted_at -= age_s
        self.monitor.vitals = {self.pid: SimpleNamespace(rss_kb=rss_mb * MB)}
        return self._recycler._reason(self.worker)


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    def lines() -> list[str]:
        flush()
        return [one for one in capfd.readouterr().out.splitlines() if "tid=recycler" in one]

    return lines


def test_a_limit_below_a_fresh_worker_is_given_up(told: Told) -> None:
    workers = Workers(rss_mb=100, jobs=50)

    assert workers.come(120) == ""
    [line] = told()
    assert line.endswith("a fresh worker has 120 MB already; set --max-rss well above 100")
    assert workers.grow(500) == ""
    assert workers.come(120, jobs=50) == "50 jobs run, the limit is 50"
    assert told() == []


def test_a_limit_that_every_worker_exceeds_soon_is_given_up(told: Told) -> None:
    workers = Workers(rss_mb=100)

    for _ in range(MOST_YOUNG):
        assert workers.come(90) == ""
        assert workers.grow(110, age_s=5)
    workers.come(90)
    assert workers.grow(110, age_s=5) == ""
    assert len(told()) == 1


def test_workers_that_grow_slowly_are_replaced_for_ever(told: Told) -> None:
    workers = Workers(rss_mb=100)

    for _ in range(3 * MOST_YOUNG):
        workers.come(90)
        assert workers.grow(110, age_s=YOUNG_S + 1)
    assert told() == []
    assert recycler.LOOK_S <= YOUNG_S
