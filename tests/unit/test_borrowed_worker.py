"""Suspects in a worker that is borrowed, where the root forks none for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gokiq.core import Job, make_jobs
from gokiq.workers import quarantine as module
from gokiq.workers.connection import Role, State
from gokiq.workers.quarantine import Quarantine
from gokiq.workers.trials import TRIAL_S


class Worker:
    """As much of a WorkerLink as is asked for."""

    def __init__(self) -> None:
        self.open: dict[int, Job] = {}
        self.role = Role.REGULAR
        self.state = State.READY
        self.room = 5

    @property
    def is_solo(self) -> bool:
        return self.role is Role.SOLO

    def send(self, jobs: Iterable[Job]) -> None:
        self.open |= {job.number: job for job in jobs}


class Fleet:
    """As much of a Fleet."""

    forks_more = False

    def __init__(self, *workers: Worker) -> None:
        self.workers = list(workers)
        self.dock = self

    @property
    def solo(self) -> Worker | None:
        return next((worker for worker in self.workers if worker.is_solo), None)

    def on_room(self) -> None: ...


class Clock:
    """Monotonic seconds."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Broker:
    """Redis, which knows these jobs from two crashes."""

    async def crashes(self) -> dict[bytes, bytes]:
        return {b"jid-%d" % number: b"2 0 4102444800" for number in range(1, 9)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def suspects(*numbers: int) -> list[Job]:
    payloads = [(n, b'{"jid":"jid-%d","class":"A"}' % n) for n in numbers]
    return [cast(Job, make_jobs(n, 0, [one], 0.0, 1000)[0][0]) for n, one in payloads]


def play(scene: Callable[[Quarantine, Fleet], None]) -> None:
    async def main() -> None:
        fleet = Fleet(Worker(), Worker())
        nothing = lambda *_: None  # noqa: E731
        verbs = ("park", "unpark", "hold", "give_back", "room_changed")
        dispatcher = SimpleNamespace(**dict.fromkeys(verbs, nothing))
        parts: Any = (Broker(), fleet, SimpleNamespace(vitals={}), dispatcher, None)
        quarantine = Quarantine(*parts)
        await quarantine._book.refresh()
        scene(quarantine, fleet)

    asyncio.run(main())


def test_a_borrowed_worker_is_the_last_suspects_own_until_its_trial_is_over(clock: Clock) -> None:
    def scene(quarantine: Quarantine, fleet: Fleet) -> None:
        assert quarantine.screen(suspects(1)) == []
        quarantine._pump()
        borrowed = fleet.solo
        assert borrowed is not None
        assert list(borrowed.open) == [1]

        clock.now += TRIAL_S - 1
        quarantine._pump()
        assert fleet.solo is borrowed, "ordinary jobs came beside a suspect on trial"

        clock.now += 2
        quarantine._pump()
        assert fleet.solo is None, "no worker is kept for one that has had its time"

    play(scene)


def test_a_worker_that_comes_during_a_trial_takes_nothing_from_it(clock: Clock) -> None:
    def scene(quarantine: Quarantine, fleet: Fleet) -> None:
        quarantine.screen(suspects(1, 2, 3, 4))
        quarantine._pump()
        borrowed = fleet.solo
        assert borrowed is not None
        assert list(borrowed.open) == [1, 2]

        fleet.workers.append(Worker())
        quarantine.room_changed()
        assert fleet.solo is borrowed, "ordinary jobs came beside suspects on trial"

    play(scene)
