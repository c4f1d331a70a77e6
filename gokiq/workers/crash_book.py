"""The ledger of crashes as we know it, in step with the one in Redis, which peers write too."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gokiq.core import Job
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.log import get_logger
from gokiq.store.broker import Broker
from gokiq.store.crash_record import Record, key_of
from gokiq.workers.suspects import Ledger

log = get_logger("quarantine")


class CrashBook:
    """Reads, notes, and writes what was ruled; nothing is lost while Redis is away."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ledger = Ledger()
        #: What Redis has not been told yet, by key; None strikes the record.
        self._rulings: dict[str, Record | None] = {}

    def __bool__(self) -> bool:
        """Whether any crash is known."""
        return bool(self._ledger)

    @property
    def has_news(self) -> bool:
        """Whether Redis has to be told."""
        return bool(self._rulings)

    def record(self, job: Job) -> Record | None:
        """None when the job was in no crash."""
        return self._ledger.get(key_of(job.payload))

    def rule(self, job: Job, record: Record | None) -> None:
        """This is the job's record from now on; None: it has none."""
        self._rulings[key_of(job.payload)] = record

    async def refresh(self) -> None:
        """Read what peers have written."""
        try:
            old = self._ledger.load(await self._broker.crashes(), now=time.time())
            self._heed(self._rulings)
            if old:
                await self._broker.forget_crashes(old)
        except (ConnectionLost, ReplyError) as error:
            log.debug("Cannot read the ledger of crashes: %s", error)

    async def tell(self) -> bool:
        """Write what was ruled; returns whether Redis has it."""
        rulings, self._rulings = self._rulings, {}
        self._heed(rulings)
        try:
            await self._broker.rule_on_crashes(rulings)
        except (ConnectionLost, ReplyError) as error:
            log.debug("Cannot write to the ledger of crashes: %s", error)
            # What was ruled meanwhile is newer.
            self._rulings = rulings | self._rulings
            return False
        return True

    async def note(self, jobs: Sequence[Job], *, alone: bool) -> dict[int, Record]:
        """These were there in a crash; returns their records by number, none when it could not be
        noted.
        """
        if not jobs:
            return {}
        keys = [key_of(job.payload) for job in jobs]
        try:
            records = await self._broker.note_crash(keys, alone=alone)
        except (ConnectionLost, ReplyError) as error:
            log.warning("A crash could not be noted: %s", error)
            return {}
        self._ledger.update(keys, records)
        return {job.number: record for job, record in zip(jobs, records, strict=True)}

    def _heed(self, rulings: Mapping[str, Record | None]) -> None:
        for key, record in rulings.items():
            if record is None:
                self._ledger.forget([key])
            else:
                self._ledger.update([key], [record])
