"""What was ruled about jobs of crashes is not lost while Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from gokiq.core import Job, make_jobs
from gokiq.errors import ConnectionLost
from gokiq.store.crash_record import Record
from gokiq.workers.quarantine import Quarantine
from gokiq.workers.suspects import ACQUITTED, SUSPECT_AFTER, Ending


class Broker:
    """Redis, which is away for the first call."""

    def __init__(self) -> None:
        self.records: dict[str, Record | None] = {}
        self.is_away = True

    async def rule_on_crashes(self, rulings: Mapping[str, Record | None]) -> None:
        if self.is_away:
            raise ConnectionLost("away")
        self.records |= rulings

    async def crashes(self) -> dict[bytes, bytes]:
        return {b"convict": b"3 1 4102444800", b"innocent": b"2 0 4102444800"}

    async def forget_crashes(self, keys: object) -> None:
        """Nothing is."""


class Dispatcher:
    """What becomes of jobs."""

    def __init__(self) -> None:
        self.back: list[int] = []

    def park(self, job: Job) -> None: ...

    def unpark(self, job: Job) -> None: ...

    def hold(self, jobs: Iterable[Job]) -> None: ...

    def give_back(self, jobs: Iterable[Job]) -> None:
        self.back += [job.number for job in jobs]


def job(number: int, jid: str) -> Job:
    payload = b'{"jid":"%s","class":"A"}' % jid.encode()
    return cast(Job, make_jobs(number, 0, [payload], 0.0, 1000)[0][0])


def test_a_convicts_parole_and_an_acquittal_wait_for_redis() -> None:
    async def scene() -> None:
        broker, dispatcher = Broker(), Dispatcher()
        fleet = SimpleNamespace(solo=None, workers=[], dock=object())
        parts: Any = (broker, fleet, SimpleNamespace(vitals={}), dispatcher, None)
        quarantine = Quarantine(*parts)
        convict, innocent = job(1, "convict"), job(2, "innocent")
        quarantine._bury(convict, Record(3, True, 0.0), "worker 1", Ending())
        quarantine._acquitted.append(innocent)

        await quarantine._tell()
        await quarantine._book.refresh()

        assert dispatcher.back == []
        assert quarantine.screen([job(3, "convict")]) == []
        assert list(quarantine._suspects) == [3], "the paroled job is not buried again"
        broker.is_away = False
        await quarantine._tell()
        assert dispatcher.back == [2]
        assert {key: record and record.crashes for key, record in broker.records.items()} == {
            "convict": SUSPECT_AFTER,
            "innocent": ACQUITTED,
        }
        assert [one.number for one in quarantine.screen([job(4, "innocent")])] == [4]

    asyncio.run(scene())


def test_a_worker_that_dies_while_it_leaves_makes_nobody_a_suspect() -> None:
    async def scene() -> None:
        broker, dispatcher = Broker(), Dispatcher()
        monitor: Any = SimpleNamespace(vitals={}, ending=no_ending)
        fleet = SimpleNamespace(solo=None, workers=[], dock=object())
        parts: Any = (broker, fleet, monitor, dispatcher, None)
        quarantine = Quarantine(*parts)
        worker: Any = SimpleNamespace(pid=7, is_solo=False, was_leaving=True)
        quarantine.crashed(worker, [job(1, "a"), job(2, "b")])

        await quarantine._judge(quarantine._crashes[0])  # noting a crash would raise

        assert dispatcher.back == [1, 2]

    asyncio.run(scene())


def test_a_worker_that_we_killed_makes_nobody_a_suspect_although_its_late_job_has_ended() -> None:
    async def scene() -> None:
        broker, dispatcher = Broker(), Dispatcher()
        monitor: Any = SimpleNamespace(vitals={}, ending=no_ending)
        fleet = SimpleNamespace(solo=None, workers=[], dock=object())
        parts: Any = (broker, fleet, monitor, dispatcher, None)
        quarantine = Quarantine(*parts)
        worker: Any = SimpleNamespace(pid=7, is_solo=False, was_leaving=False)
        quarantine.overdue(worker, job(3, "late"))
        quarantine.crashed(worker, [job(1, "a"), job(2, "b")])  # its outcome was still read

        await quarantine._judge(quarantine._crashes[0])  # noting a crash would raise

        assert dispatcher.back == [1, 2]
        successor: Any = SimpleNamespace(pid=7, is_solo=False, was_leaving=False)
        assert quarantine._find(successor, [job(4, "c")]).blamed == [4]

    asyncio.run(scene())


async def no_ending(pid: int, timeout_s: float) -> tuple[int | None, int | None]:
    return (9, None)
