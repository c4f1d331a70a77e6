"""The journal that jobs write, and what it proves: what was lost, done twice, run at once.

A journal is a folder with one append-only file per process, `<pid>.journal`, of lines
`start|done|fail JID MONOTONIC_MS CLASS` (examples/demo/journal.rb writes it). It is kept apart
from Redis, so it can bear witness about what Redis says.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devtools.failure import DevError

EventName = Literal["start", "done", "fail"]
_NAMES: dict[str, EventName] = {"start": "start", "done": "done", "fail": "fail"}


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to `jid` in process `pid`; `at_ms` is of the machine's monotonic clock."""

    name: EventName
    jid: str
    at_ms: float
    job_class: str
    pid: int


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a job. `end_ms` and `outcome` are None when its process died in it."""

    jid: str
    job_class: str
    pid: int
    start_ms: float
    end_ms: float | None
    outcome: Literal["done", "fail"] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conservation law, by jid: enqueued = succeeded + lost + what is still in Redis.

    `duplicates` were done more than once, `strays` ran or are in Redis and nobody enqueued them,
    `undone` are in Redis and not done, `unsettled` are done and in Redis: they would run again.
    """

    enqueued: int
    executed: int
    succeeded: int
    lost: tuple[str, ...]
    duplicates: tuple[str, ...]
    strays: tuple[str, ...]
    undone: tuple[str, ...]
    unsettled: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every job was done exactly once and nothing is left."""
        findings = (self.lost, self.duplicates, self.strays, self.undone, self.unsettled)
        return self.succeeded == self.enqueued and not any(findings)


class Journal:
    """Reads a journal while it is being written: `poll` gives the events that are new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}

    def poll(self) -> list[Event]:
        """Events since the last call, by time. Raises DevError on a line that is no event."""
        files = [self._read_new(path) for path in sorted(self._folder.glob("*.journal"))]
        return list(heapq.merge(*files, key=_at_ms))

    def _read_new(self, path: Path) -> list[Event]:
        with path.open("rb") as file:
            file.seek(self._offsets.get(path, 0))
            data = file.read()
        # Stop behind the last complete line; the rest is read next time.
        data = data[: data.rfind(b"\n") + 1]
        self._offsets[path] = self._offsets.get(path, 0) + len(data)
        pid = int(path.stem)
        # Threads take the time before they write: neighbours in a file may be swapped.
        return sorted((_parse(line, pid, path) for line in data.splitlines()), key=_at_ms)


def read_journal(folder: Path) -> list[Event]:
    """All events of a journal that is no longer written. Raises DevError on a torn line, too."""
    for path in folder.glob("*.journal"):
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            raise DevError(f"the last line of {path.name} is torn", log=path)
    return Journal(folder).poll()


def find_runs(events: Iterable[Event]) -> list[Run]:
    """Starts with their ends, in order of start. Raises DevError on an end without a start."""
    slots: dict[tuple[int, str], list[int]] = {}
    runs: list[Run] = []
    for event in events:
        key = (event.pid, event.jid)
        if event.name == "start":
            slots.setdefault(key, []).append(len(runs))
            runs.append(Run(event.jid, event.job_class, event.pid, event.at_ms, None, None))
            continue
        waiting = slots.get(key)
        if not waiting:
            raise DevError(f"the journal has {event.name!r} of {event.jid} without a start")
        place = waiting.pop(0)
        run = runs[place]
        runs[place] = Run(run.jid, run.job_class, run.pid, run.start_ms, event.at_ms, event.name)
    return runs


def check(
    enqueued: Sequence[str], events: Iterable[Event], pending: Collection[str] = ()
) -> Verdict:
    """Judge a run that is over, by jid.

    `enqueued` comes from the client, `pending` are the jids that Redis still holds in a queue, a
    claim, retry, schedule or dead. Raises ValueError when a jid was enqueued twice.
    """
    known = set(enqueued)
    if len(known) != len(enqueued):
        raise ValueError("a jid was enqueued twice: nothing can be said about duplicates")
    started = 0
    seen: set[str] = set()
    done: Counter[str] = Counter()
    for event in events:
        seen.add(event.jid)
        started += event.name == "start"
        done[event.jid] += event.name == "done"
    finished = {jid for jid, times in done.items() if times > 0}
    held = set(pending)
    return Verdict(
        enqueued=len(known),
        executed=started,
        succeeded=len(known & finished),
        lost=tuple(sorted(known - finished - held)),
        duplicates=tuple(sorted(jid for jid, times in done.items() if times > 1)),
        strays=tuple(sorted((seen | held) - known)),
        undone=tuple(sorted((held & known) - finished)),
        unsettled=tuple(sorted(held & finished)),
    )


def max_in_flight(runs: Sequence[Run]) -> int:
    """Most runs open at one instant; one without an end lasts until its process's last sign."""
    last_sign: dict[int, float] = {}
    for run in runs:
        end = run.start_ms if run.end_ms is None else run.end_ms
        last_sign[run.pid] = max(last_sign.get(run.pid, 0.0), end)
    changes: list[tuple[float, int]] = []
    for run in runs:
        changes.append((run.start_ms, 1))
        changes.append((last_sign[run.pid] if run.end_ms is None else run.end_ms, -1))
    # At the same instant an end comes first: a slot is free before it is taken again.
    changes.sort()
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, `share` from 0 to 1; None of no values."""
    if not values:
        return None
    ordered = sorted(values)
    # Rounded first: 0.07 * 100 is a little more than 7.
    rank = math.ceil(round(share * len(ordered), 6))
    return ordered[max(rank, 1) - 1]


def _at_ms(event: Event) -> float:
    return event.at_ms


def _parse(line: bytes, pid: int, path: Path) -> Event:
    fields = line.decode(errors="replace").split(" ")
    try:
        name, jid, at_ms, job_class = fields
        return Event(_NAMES[name], jid, float(at_ms), job_class, pid)
    except (ValueError, KeyError) as error:
        raise DevError(
            f"{path.name} has a line that is no event: {line[:100]!r}", log=path
        ) from error
