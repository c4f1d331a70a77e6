"""Which jobs were there when workers died, and what follows from it. Rules and values: no clock, no
I/O.

A job that happened to be in a worker that died goes back to its queue, as it came. One to which
that happens again is a suspect: it runs apart, with half of the other suspects, then with a quarter
(trials.py). One that was there three times, and alone the last time, is guilty and goes to the dead
set. A suspect whose half was not there when the guilty half crashed starts again from one crash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from signal import Signals

from gokiq.errors import PayloadError
from gokiq.payload import quote, scan, splice
from gokiq.store.crash_record import WINDOW_S, Record

#: Crashes after which a job runs apart.
SUSPECT_AFTER = 2
#: Crashes after which a job that was alone in the last one is guilty.
LIMIT = 3
#: What is left of a suspect's crashes once it is acquitted.
ACQUITTED = 1

ERROR_CLASS = "Gokiq::WorkerCrash"


class Verdict(Enum):
    """What becomes of a job after a crash."""

    INNOCENT = "back to its queue"
    SUSPECT = "runs apart"
    GUILTY = "to the dead set"


def judge(record: Record | None) -> Verdict:
    """The rule."""
    if record is None or record.crashes < SUSPECT_AFTER:
        return Verdict.INNOCENT
    return Verdict.GUILTY if record.alone and record.crashes >= LIMIT else Verdict.SUSPECT


class Ledger:
    """What is known of crashes, by job."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def __bool__(self) -> bool:
        return bool(self._records)

    def get(self, key: str) -> Record | None:
        """None when the job was in no crash."""
        return self._records.get(key)

    def load(self, raw: Mapping[bytes, bytes], *, now: float) -> list[str]:
        """Take over what Redis holds; returns the keys of what is older than the window."""
        old = []
        self._records = {}
        for field, value in raw.items():
            key = field.decode("utf-8", "replace")
            record = Record.parse(value)
            if record is None or record.at < now - WINDOW_S:
                old.append(key)
            else:
                self._records[key] = record
        return old

    def update(self, keys: Iterable[str], records: Iterable[Record]) -> None:
        """After a crash."""
        self._records.update(zip(keys, records, strict=True))

    def forget(self, keys: Collection[str]) -> None:
        """They have run to an end without a crash."""
        for key in keys:
            self._records.pop(key, None)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker's process ended: by a signal, or with an exit status; neither when that is not
    known.
    """

    signal: int | None = None
    status: int | None = None
    rss_kb: int = 0
    #: The kernel has ended a process of our group for want of memory meanwhile.
    out_of_memory: bool = False

    def __str__(self) -> str:
        if self.signal is not None:
            how = f"was killed by {_name(self.signal)}"
        elif self.status is not None:
            how = f"exited with status {self.status}"
        else:
            how = "died"
        notes = []
        if self.out_of_memory:
            notes.append("the kernel was out of memory for this group of processes")
        if self.rss_kb:
            notes.append(f"resident memory {self.rss_kb // 1024} MB at last look")
        return f"{how} ({'; '.join(notes)})" if notes else how


def _name(signal: int) -> str:
    try:
        return Signals(signal).name
    except ValueError:
        return f"signal {signal}"


def message(who: str, ending: Ending, record: Record) -> str:
    """The `error_message` of a guilty job; `who` is `worker PID`."""
    company = "alone" if record.alone else "among others"
    return (
        f"{who} {ending} while it ran this job {company}; "
        f"{record.crashes} workers have died with this job within 72 hours"
    )


def buried(payload: bytes, text_: str, *, now: float, uses_ms: bool) -> bytes:
    """The payload of a guilty job for the dead set: annotated as Sidekiq annotates one that failed.

    `now` is epoch seconds. Bytes that are no JSON object stay as they are.
    """
    stamp = str(int(now * 1000)).encode() if uses_ms else repr(now).encode()
    try:
        failed_at, count = scan(payload, ("failed_at", "retry_count"))
        edits = {"error_class": quote(ERROR_CLASS), "error_message": quote(text_)}
        if failed_at is None:
            edits["failed_at"] = stamp
        if count is None:
            edits["retry_count"] = b"0"
        return splice(payload, edits)
    except PayloadError:
        return payload


def may_be_dead(payload: bytes) -> bool:
    """False for jobs that say `dead: false`: they are dropped instead, as Sidekiq drops them."""
    try:
        return scan(payload, ("dead",))[0] != b"false"
    except PayloadError:
        return True
