"""Which worker suspects get."""

from __future__ import annotations

from typing import Any

import pytest

from gokiq.workers.connection import Role, State
from gokiq.workers.solo import PATIENCE_S, Solo


class Worker:
    """As much of a WorkerLink as is asked for."""

    def __init__(self, *open_jobs: int, role: Role = Role.REGULAR) -> None:
        self.open: dict[int, Any] = dict.fromkeys(open_jobs)
        self.role = role
        self.state = State.READY
        self.was_drained = False

    @property
    def is_solo(self) -> bool:
        return self.role is Role.SOLO

    def drain(self, grace_s: float) -> None:
        self.was_drained = True


class Fleet:
    """As much of a Fleet."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = list(workers)
        self.dock = self
        self.asked = 0
        self.forks_more = True

    @property
    def solo(self) -> Worker | None:
        return next((worker for worker in self.workers if worker.is_solo), None)

    def ask_for(self, role: Role) -> None:
        self.asked += 1

    def on_room(self) -> None:
        pass


def solo_of(fleet: Fleet) -> Solo:
    return Solo(fleet)  # type: ignore[arg-type]


@pytest.fixture
def barren() -> tuple[Fleet, Solo, float]:
    """A root that forks nobody for suspects, and the time at which we know."""
    fleet = Fleet(Worker(1, 2), Worker(3))
    solo = solo_of(fleet)
    assert solo.worker(100.0, may_borrow=True) is None
    now = 100.0 + PATIENCE_S + 1
    solo.worker(now, may_borrow=False)
    return fleet, solo, now


def test_the_worker_that_was_forked_for_them_is_let_go_when_it_is_empty() -> None:
    fleet = Fleet(Worker(), own := Worker(role=Role.SOLO))
    solo = solo_of(fleet)

    assert solo.worker(1.0, may_borrow=True) is own
    assert fleet.asked == 0
    own.open[7] = None
    assert solo.running([7, 8]) == {7}
    solo.dismiss(has_suspects=True)
    assert not own.was_drained
    own.open.clear()
    solo.dismiss(has_suspects=False)
    assert own.was_drained


def test_the_least_busy_worker_is_borrowed_and_empties_itself(
    barren: tuple[Fleet, Solo, float],
) -> None:
    fleet, solo, now = barren
    best = fleet.workers[1]

    assert solo.worker(now, may_borrow=True) is None
    assert best.is_solo  # nothing else is sent to it
    best.open.clear()
    assert solo.worker(now + 1, may_borrow=True) is best
    solo.dismiss(has_suspects=False)
    assert (best.role, best.was_drained) == (Role.REGULAR, False)


def test_a_worker_that_has_just_come_is_borrowed_instead(
    barren: tuple[Fleet, Solo, float],
) -> None:
    fleet, solo, now = barren
    solo.worker(now, may_borrow=True)
    fleet.workers.append(new := Worker())

    solo.reserve(now + 1)

    assert [worker.is_solo for worker in fleet.workers] == [False, False, True]
    assert solo.worker(now + 1, may_borrow=True) is new


def test_a_borrowed_worker_that_does_not_get_empty_takes_suspects_all_the_same(
    barren: tuple[Fleet, Solo, float],
) -> None:
    fleet, solo, now = barren

    assert solo.worker(now, may_borrow=True) is None
    assert solo.worker(now + PATIENCE_S, may_borrow=True) is fleet.workers[1]


def test_nobody_is_borrowed_where_one_is_forked() -> None:
    fleet = Fleet(Worker())
    solo = solo_of(fleet)

    solo.worker(1.0, may_borrow=True)
    solo.reserve(2.0)

    assert not fleet.workers[0].is_solo


def test_a_root_that_says_so_is_not_asked() -> None:
    fleet = Fleet(Worker())
    fleet.forks_more = False
    solo = solo_of(fleet)

    assert solo.worker(1.0, may_borrow=True) is fleet.workers[0]
    assert fleet.asked == 0
