"""After a worker's death: who was there, who is suspected, and a worker of their own for suspects,
one at a time (rules: crashes.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from gokiq import crashes
from gokiq.app import AppInfo
from gokiq.broker import Broker
from gokiq.core import Job
from gokiq.crashes import Ending, Ledger, Record, Verdict
from gokiq.dispatcher import Dispatcher
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.fleet import Fleet
from gokiq.job import describe
from gokiq.log import get_logger
from gokiq.monitor import Monitor
from gokiq.oom import OomCounter
from gokiq.sidecar import Kind, Role, State, WorkerLink

log = get_logger("quarantine")

#: How long a suspect has its worker for itself, seconds; the next one is let in after that.
SOLO_S = 5.0
#: A root that has just started hears nothing yet: how often it is asked, seconds.
ASK_S = 2.0
#: How long we wait for that worker before suspects run among others again, seconds.
PATIENCE_S = 15.0
#: How long we wait for the root to say how a worker ended, seconds.
ENDING_S = 0.3
#: How often the ledger is read from Redis, seconds: peers write it too.
REFRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class _Crash:
    pid: int
    jobs: list[Job]
    was_solo: bool
    #: The suspect that had been let in last, if it was still by itself.
    alone: Job | None
    rss_kb: int


class Quarantine:
    """Judges the jobs of dead workers and screens what is claimed."""

    def __init__(
        self, broker: Broker, fleet: Fleet, monitor: Monitor, dispatcher: Dispatcher, app: AppInfo
    ) -> None:
        self._broker = broker
        self._fleet = fleet
        self._monitor = monitor
        self._dispatcher = dispatcher
        self._app = app
        self._ledger = Ledger()
        self._oom = OomCounter()
        self._crashes: deque[_Crash] = deque()
        self._waiting: deque[Job] = deque()
        self._cleared: list[str] = []
        self._convicted: list[str] = []
        self._overdue: set[int] = set()
        self._verdicts: deque[tuple[Job, Kind, str, float]] = deque()
        self._failed: set[int] = set()
        self._last: Job | None = None
        self._last_at = 0.0
        self._asked_at = 0.0
        self._waiting_since = 0.0
        self._is_draining = False
        self._wake = asyncio.Event()

    # what others tell us

    def reloaded(self, app: AppInfo) -> None:
        """Dead jobs are written for this app from now on."""
        self._app = app

    def crashed(self, worker: WorkerLink, jobs: list[Job]) -> None:
        """A worker died with these jobs."""
        self._dispatcher.hold(jobs)
        alone = None
        if worker.is_solo:
            by_itself = len(jobs) == 1 or time.monotonic() - self._last_at < SOLO_S
            alone = next((job for job in jobs if by_itself and job is self._last), None)
        elif len(jobs) == 1:
            alone = jobs[0]
        vitals = self._monitor.vitals.get(worker.pid)
        rss_kb = vitals.rss_kb if vitals else 0
        self._crashes.append(_Crash(worker.pid, jobs, worker.is_solo, alone, rss_kb))
        self._wake.set()

    def solo_changed(self, ended: Iterable[Job] = ()) -> None:
        """The suspects' worker has come, or has ended these jobs without dying."""
        self._cleared += [crashes.key_of(job.payload) for job in ended]
        self._wake.set()

    def overdue(self, job: Job) -> None:
        """Its worker is being killed because this job does not stop: nobody else is to blame."""
        self._overdue.add(job.number)

    def screen(self, jobs: list[Job]) -> list[Job]:
        """Keep suspects and the guilty among newly claimed jobs; returns the others."""
        if not self._ledger or self._is_draining:
            return jobs
        free = []
        for job in jobs:
            record = self._ledger.get(crashes.key_of(job.payload))
            verdict = crashes.judge(record)
            if verdict is Verdict.INNOCENT:
                free.append(job)
            elif verdict is Verdict.SUSPECT:
                self._dispatcher.hold([job])
                self._admit(job)
            else:
                assert record is not None
                self._dispatcher.hold([job])
                self._bury(job, record, "a worker", Ending())
        return free

    def drain(self) -> None:
        """We are stopping: suspects that wait go back to their queues."""
        self._is_draining = True
        self._release_waiting()
        self._pronounce()
        self._wake.set()

    # the loop

    async def run(self) -> None:
        """Runs until cancelled."""
        refresh_at = 0.0
        while True:
            if time.monotonic() >= refresh_at:
                await self._refresh()
                refresh_at = time.monotonic() + REFRESH_S
            while self._crashes:
                await self._judge(self._crashes.popleft())
            await self._clear()
            self._pronounce()
            self._pump()
            pause_s = 0.25 if self._waiting or self._verdicts else REFRESH_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            self._wake.clear()

    async def _refresh(self) -> None:
        try:
            old = self._ledger.load(await self._broker.crashes(), now=time.time())
            if old:
                await self._broker.forget_crashes(old)
        except (ConnectionLost, ReplyError) as error:
            log.debug("Cannot read the ledger of crashes: %s", error)

    async def _clear(self) -> None:
        cleared, self._cleared = self._cleared, []
        convicted, self._convicted = self._convicted, []
        self._ledger.forget(cleared)
        # Whoever tries a dead job again has it run, alone; if it kills again, that was enough.
        parole = Record(crashes.SUSPECT_AFTER, alone=False, at=time.time())
        self._ledger.update(convicted, [parole] * len(convicted))
        with contextlib.suppress(ConnectionLost, ReplyError):
            if cleared:
                await self._broker.forget_crashes(cleared)
            if convicted:
                await self._broker.set_crashes(convicted, parole)

    async def _judge(self, crash: _Crash) -> None:
        told = await self._monitor.ending(crash.pid, ENDING_S)
        ending = Ending(*told, rss_kb=crash.rss_kb, out_of_memory=self._oom.has_risen())
        had = (
            f"the {len(crash.jobs)} jobs that it had are not lost" if crash.jobs else "it was idle"
        )
        log.error("Worker %d %s; %s", crash.pid, ending, had)
        if any(job.number in self._overdue for job in crash.jobs):
            self._settle_overdue(crash)
            return
        # In the suspects' worker only one of them can be blamed; the others come in again.
        counted = [crash.alone] if crash.alone is not None else crash.jobs
        records = await self._note(counted, alone=crash.alone is not None)
        for job in crash.jobs:
            record = records.get(job.number)
            verdict = crashes.judge(record)
            if crash.was_solo and verdict is Verdict.INNOCENT:
                verdict = Verdict.SUSPECT
            if verdict is Verdict.GUILTY:
                assert record is not None
                self._bury(job, record, f"worker {crash.pid}", ending)
            elif verdict is Verdict.SUSPECT and not self._is_draining:
                self._admit(job)
            else:
                self._dispatcher.give_back([job])

    def _settle_overdue(self, crash: _Crash) -> None:
        for job in crash.jobs:
            if job.number in self._overdue:
                self._overdue.discard(job.number)
                text = f"the job did not stop after its timeout, worker {crash.pid} was killed"
                self._sentence(job, Kind.TIMEOUT, text)
            elif crash.was_solo and not self._is_draining:
                self._admit(job)
            else:
                self._dispatcher.give_back([job])

    def _sentence(self, job: Job, kind: Kind, text: str) -> None:
        """A worker fails the job by the app's rules, as soon as there is one."""
        self._verdicts.append((job, kind, text, time.monotonic()))
        self._wake.set()

    def _pronounce(self) -> None:
        for _ in range(len(self._verdicts)):
            job, kind, text, since = self._verdicts.popleft()
            has_tried = job.number in self._failed
            if not has_tried and not self._is_draining and self._fleet.fail(job, kind, text):
                self._failed.add(job.number)
                self._dispatcher.unhold(job)
            elif not has_tried and not self._is_draining and time.monotonic() - since < PATIENCE_S:
                self._verdicts.append((job, kind, text, since))
            elif kind is Kind.CRASH:
                self._lay_down(job, text)
            else:
                self._dispatcher.give_back([job])

    async def _note(self, jobs: list[Job], *, alone: bool) -> dict[int, Record]:
        keys = [crashes.key_of(job.payload) for job in jobs]
        try:
            records = await self._broker.note_crash(keys, alone=alone)
        except (ConnectionLost, ReplyError) as error:
            log.warning("A crash could not be noted: %s", error)
            return {}
        self._ledger.update(keys, records)
        return {job.number: record for job, record in zip(jobs, records, strict=True)}

    def _admit(self, job: Job) -> None:
        """A suspect waits here, without a slot of the valve: others may go on."""
        self._dispatcher.park(job)
        self._waiting.append(job)
        self._wake.set()

    def _bury(self, job: Job, record: Record, who: str, ending: Ending) -> None:
        jid, job_class = describe(job.payload)
        reason = crashes.message(who, ending, record)
        may_be_dead = crashes.may_be_dead(job.payload)
        log.error(
            "jid=%s class=%s %s: %s",
            jid,
            job_class,
            "goes to the dead set" if may_be_dead else "is dropped (dead: false)",
            reason,
        )
        self._convicted.append(crashes.key_of(job.payload))
        self._wake.set()
        if job.number in self._failed:
            # Even that has killed a worker: without the app, then.
            self._lay_down(job, reason)
        else:
            self._sentence(job, Kind.CRASH, reason)

    def _lay_down(self, job: Job, reason: str) -> None:
        """To the dead set as Sidekiq would write it, without the app's handlers."""
        now = time.time()
        payload = crashes.buried(job.payload, reason, now=now, uses_ms=self._app.uses_ms)
        self._dispatcher.bury(job, payload if crashes.may_be_dead(job.payload) else None, now)

    def _pump(self) -> None:
        solo = self._fleet.solo
        if not self._waiting:
            self._waiting_since = 0.0
            if solo is not None and solo.state is State.READY and not solo.open:
                solo.drain(0.0)
            return
        if solo is None or solo.state is not State.READY:
            self._ask()
            return
        self._waiting_since = 0.0
        if solo.open and time.monotonic() - self._last_at < SOLO_S:
            return
        if solo.room > 0:
            self._last = job = self._waiting.popleft()
            self._last_at = time.monotonic()
            jid, job_class = describe(job.payload)
            log.warning(
                "jid=%s class=%s runs alone: it was there when workers died", jid, job_class
            )
            self._dispatcher.unpark(job)
            solo.send([job])

    def _ask(self) -> None:
        """Ask the root for a worker; do without when none comes."""
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        if now - self._asked_at > ASK_S:
            self._asked_at = now
            self._fleet.ask_for(Role.SOLO)
        if now - self._waiting_since > PATIENCE_S:
            log.warning(
                "No worker has come for %d suspects: they run among others", len(self._waiting)
            )
            self._waiting_since = 0.0
            jobs = list(self._waiting)
            self._waiting.clear()
            for job in jobs:
                self._dispatcher.unpark(job)
            self._dispatcher.run_anyway(jobs)

    def _release_waiting(self) -> None:
        for job in self._waiting:
            self._dispatcher.unpark(job)
            self._dispatcher.give_back([job])
        self._waiting.clear()
