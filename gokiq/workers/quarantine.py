"""After a worker's death: who was there, who is suspected, and a worker of their own for suspects
(rules: crashes.py, trials.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gokiq.app.info import AppInfo
from gokiq.app.job import named
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.core import Job
from gokiq.host.oom import OomCounter
from gokiq.log import get_logger
from gokiq.store.broker import Broker
from gokiq.store.crash_record import Record
from gokiq.workers import suspects as crashes
from gokiq.workers.connection import Kind, WorkerLink
from gokiq.workers.crash_book import CrashBook
from gokiq.workers.pool import Fleet
from gokiq.workers.sentences import Sentences
from gokiq.workers.solo import Solo
from gokiq.workers.suspects import Ending, Verdict
from gokiq.workers.trials import Finding, Trials
from gokiq.workers.vitals import Monitor

log = get_logger("quarantine")

#: How long we wait for the root to say how a worker ended, seconds.
ENDING_S = 0.3
#: How often the ledger is read from Redis, seconds: peers write it too.
REFRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class _Crash:
    pid: int
    jobs: list[Job]
    #: Whom of them it may have been, by number.
    finding: Finding
    rss_kb: int


class Quarantine:
    """Judges the jobs of dead workers and screens what is claimed."""

    def __init__(
        self, broker: Broker, fleet: Fleet, monitor: Monitor, dispatcher: Dispatcher, app: AppInfo
    ) -> None:
        self._fleet = fleet
        self._monitor = monitor
        self._dispatcher = dispatcher
        self._book = CrashBook(broker)
        self._oom = OomCounter()
        self._crashes: deque[_Crash] = deque()
        self._trials = Trials()
        self._solo = Solo(fleet)
        #: Those of the trials: they wait, or run in the suspects' worker.
        self._suspects: dict[int, Job] = {}
        self._acquitted: list[Job] = []
        self._overdue: set[int] = set()
        #: Pids of workers that we kill for one of those.
        self._killed: set[int] = set()
        self._sentences = Sentences(fleet, dispatcher, app)
        self._is_draining = False
        self._wake = asyncio.Event()

    # what others tell us

    def reloaded(self, app: AppInfo) -> None:
        """Dead jobs are written for this app from now on."""
        self._sentences.app = app

    def crashed(self, worker: WorkerLink, jobs: list[Job]) -> None:
        """A worker died with these jobs."""
        self._dispatcher.hold(jobs)
        finding = self._find(worker, jobs)
        vitals = self._monitor.vitals.get(worker.pid)
        rss_kb = vitals.rss_kb if vitals else 0
        self._crashes.append(_Crash(worker.pid, jobs, finding, rss_kb))
        self._wake.set()

    def _find(self, worker: WorkerLink, jobs: list[Job]) -> Finding:
        suspects = [job.number for job in jobs if worker.is_solo and job.number in self._suspects]
        # Even if the job for which we killed it has ended in the last moment.
        was_killed = worker.pid in self._killed
        self._killed.discard(worker.pid)
        if not suspects:
            if worker.was_leaving or was_killed:
                return Finding([], is_alone=False)
            return Finding([job.number for job in jobs], is_alone=len(jobs) == 1)
        if was_killed:
            self._trials.interrupted()
            return Finding([], is_alone=False, interrupted=suspects)
        if worker.was_leaving:
            # A stop that was asked for, and cut short.
            self._trials.interrupted()
            return Finding([], is_alone=False, interrupted=suspects)
        in_company = len(suspects) < len(jobs)
        finding = self._trials.crashed(suspects, time.monotonic(), in_company=in_company)
        self._acquitted += [self._suspects.pop(number) for number in finding.acquitted]
        if in_company:
            # Theirs is a crash like any other.
            strangers = [job.number for job in jobs if job.number not in self._suspects]
            finding = replace(finding, blamed=[*finding.blamed, *strangers])
        return finding

    def solo_changed(self, ended: Iterable[Job] = ()) -> None:
        """The suspects' worker has come, or has ended these jobs without dying."""
        for job in ended:
            self._book.rule(job, None)
        self._wake.set()

    def room_changed(self) -> None:
        """A worker has come, or takes more or fewer jobs: it may be needed for suspects."""
        is_wanted = bool(self._trials.waiting())
        now = time.monotonic()
        is_free = self._trials.is_over(self._solo.running(self._suspects), now)
        if (is_wanted or self._crashes) and is_free and not self._sentences:
            self._solo.reserve(now)
        if is_wanted and not self._crashes:
            self._sentences.pronounce()
            self._pump()
        self._dispatcher.room_changed()

    def overdue(self, worker: WorkerLink, job: Job) -> None:
        """The worker is being killed because this job does not stop: nobody else is to blame."""
        self._overdue.add(job.number)
        self._killed.add(worker.pid)

    def screen(self, jobs: list[Job]) -> list[Job]:
        """Keep suspects and the guilty among newly claimed jobs; returns the others."""
        if not self._book or self._is_draining:
            return jobs
        free: list[Job] = []
        suspects: list[Job] = []
        for job in jobs:
            record = self._book.record(job)
            verdict = crashes.judge(record)
            if verdict is Verdict.INNOCENT:
                free.append(job)
                continue
            self._dispatcher.hold([job])
            if verdict is Verdict.SUSPECT:
                suspects.append(job)
            else:
                assert record is not None
                self._bury(job, record, "a worker", Ending())
        if suspects:
            self._park(suspects)
            self._trials.admit(job.number for job in suspects)
        return free

    def drain(self) -> None:
        """We are stopping: suspects that wait go back to their queues."""
        self._is_draining = self._sentences.is_draining = True
        self._release_waiting()
        self._sentences.pronounce()
        self._wake.set()

    # the loop

    async def run(self) -> None:
        """Runs until cancelled."""
        refresh_at = 0.0
        while True:
            if time.monotonic() >= refresh_at:
                await self._book.refresh()
                refresh_at = time.monotonic() + REFRESH_S
            while self._crashes:
                await self._judge(self._crashes[0])
                self._crashes.popleft()
            await self._tell()
            self._sentences.pronounce()
            self._pump()
            is_busy = self._suspects or self._sentences or self._book.has_news
            pause_s = 0.25 if is_busy else REFRESH_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _tell(self) -> None:
        """Write what was ruled; who is acquitted goes back once his record is."""
        acquitted, self._acquitted = self._acquitted, []
        for job in acquitted:
            self._book.rule(job, Record(crashes.ACQUITTED, alone=False, at=time.time()))
        if await self._book.tell() or self._is_draining:
            self._release(acquitted)
        else:
            self._acquitted += acquitted

    async def _judge(self, crash: _Crash) -> None:
        told = await self._monitor.ending(crash.pid, ENDING_S)
        ending = Ending(*told, rss_kb=crash.rss_kb, out_of_memory=self._oom.has_risen())
        log.error("Worker %d %s; %s", crash.pid, ending, _kept(len(crash.jobs)))
        if any(job.number in self._overdue for job in crash.jobs):
            self._settle_overdue(crash)
            return
        finding = crash.finding
        blamed = {job.number: job for job in crash.jobs if job.number in set(finding.blamed)}
        records = await self._book.note(list(blamed.values()), alone=finding.is_alone)
        again = []
        for number, job in blamed.items():
            record = records.get(number)
            verdict = crashes.judge(record)
            if number in self._suspects and verdict is Verdict.INNOCENT:
                verdict = Verdict.SUSPECT  # its crash could not be noted
            if verdict is Verdict.GUILTY:
                assert record is not None
                self._bury(job, record, f"worker {crash.pid}", ending)
            elif verdict is Verdict.SUSPECT and not self._is_draining:
                again.append(job)
            else:
                self._dispatcher.give_back([job])
        cut = set(finding.interrupted)
        known = blamed.keys() | cut
        self._dispatcher.give_back([job for job in crash.jobs if job.number not in known])
        self._forget(crash.jobs)
        self._park(again)
        self._trials.accuse(job.number for job in again)
        self._try_again([job for job in crash.jobs if job.number in cut])

    def _settle_overdue(self, crash: _Crash) -> None:
        self._forget(crash.jobs)
        suspects = set(crash.finding.interrupted)
        for job in crash.jobs:
            if job.number in self._overdue:
                self._overdue.discard(job.number)
                text = f"the job did not stop after its timeout, worker {crash.pid} was killed"
                self._sentences.add(job, Kind.TIMEOUT, text)
            elif job.number in suspects:
                self._try_again([job])
            else:
                self._dispatcher.give_back([job])

    def _try_again(self, jobs: list[Job]) -> None:
        """Suspects that were cut, and not by their own fault."""
        if self._is_draining:
            self._dispatcher.give_back(jobs)
            return
        self._park(jobs)
        self._trials.admit(job.number for job in jobs)

    def _forget(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._suspects.pop(job.number, None)

    def _park(self, jobs: Iterable[Job]) -> None:
        """Suspects wait here, without a slot of the valve: others may go on."""
        for job in jobs:
            self._dispatcher.park(job)
            self._suspects[job.number] = job
        self._wake.set()

    def _bury(self, job: Job, record: Record, who: str, ending: Ending) -> None:
        name = named(job.payload)
        reason = crashes.message(who, ending, record)
        may_be_dead = crashes.may_be_dead(job.payload)
        log.error(
            "%s %s: %s",
            name,
            "goes to the dead set" if may_be_dead else "is dropped (dead: false)",
            reason,
        )
        # Whoever tries a dead job again has it run, alone; if it kills again, that was enough.
        parole = Record(crashes.SUSPECT_AFTER, alone=False, at=time.time())
        self._book.rule(job, parole)
        self._sentences.add(job, Kind.CRASH, reason)
        self._wake.set()

    def _pump(self) -> None:
        if self._is_draining:
            return
        now = time.monotonic()
        waiting = self._trials.waiting()
        running = self._solo.running(self._suspects)
        self._suspects = {
            number: self._suspects[number] for number in {*waiting, *running, *self._judged()}
        }
        if not waiting:
            if not running:
                self._trials.rest()
            if self._trials.is_over(running, now):
                self._solo.dismiss(has_suspects=bool(running))
            return
        if not self._trials.is_over(running, now):
            return
        worker = self._solo.worker(now, may_borrow=not self._sentences)
        if worker is not None and worker.room > 0:
            self._let_in(worker, self._trials.next(worker.room, now))

    def _judged(self) -> set[int]:
        """Suspects whose crash is being looked into."""
        there = {job.number for crash in self._crashes for job in crash.jobs}
        return there & self._suspects.keys()

    def _let_in(self, worker: WorkerLink, numbers: list[int]) -> None:
        jobs = [self._suspects[number] for number in numbers]
        for job in jobs:
            name = named(job.payload)
            log.warning("%s runs %s: it was there when workers died", name, _company(len(jobs)))
            self._dispatcher.unpark(job)
        worker.send(jobs)

    def _release(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._dispatcher.unpark(job)
            self._dispatcher.give_back([job])

    def _release_waiting(self) -> None:
        self._release(self._suspects.pop(number) for number in self._trials.withdraw())
        acquitted, self._acquitted = self._acquitted, []
        self._release(acquitted)


def _kept(jobs: int) -> str:
    """What became of the jobs of a worker that died."""
    if jobs == 0:
        return "it was idle"
    return (
        "the job that it had is not lost"
        if jobs == 1
        else f"the {jobs} jobs that it had are not lost"
    )


def _company(jobs: int) -> str:
    """With whom one of so many suspects runs."""
    if jobs == 1:
        return "alone"
    return "with another suspect" if jobs == 2 else f"with {jobs - 1} other suspects"
