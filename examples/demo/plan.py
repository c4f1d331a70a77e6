"""Which jobs the demo pushes: kinds, their classes in app.rb, how many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Share of the no-ops that are pushed last, one at a time, to measure latency.
PACED_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs of one class: its name in the plan and in app.rb, the words for it, how many."""

    name: str
    job_class: str
    label: str
    count: int


#: A little of all that a server must get right, in one queue.
KINDS = (
    Kind("noop", "NoopJob", "no-op", 10_000),
    Kind("sleep", "SleepJob", "sleep 50-200 ms", 8_000),
    Kind("flaky", "FlakyJob", "fail once, retry", 1_000),
    Kind("scheduled", "ScheduledJob", "scheduled, +3 s", 500),
    Kind("activejob", "GreetingJob", "ActiveJob", 500),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The kinds at their counts; `paced` of the no-ops are pushed one at a time at the end."""

    kinds: tuple[Kind, ...]
    paced: int

    @property
    def total(self) -> int:
        """All jobs, the paced ones included."""
        return sum(kind.count for kind in self.kinds)

    def counts(self) -> dict[str, int]:
        """The argument of enqueue.rb: jobs to push at once by kind, and the paced ones."""
        at_once = {kind.name: kind.count for kind in self.kinds}
        at_once["noop"] -= self.paced
        return {**at_once, "paced": self.paced}


def make_plan(scale: float) -> Plan:
    """The plan at `scale` (1 = 20,000 jobs), at least two jobs of each kind."""
    kinds = tuple(
        Kind(kind.name, kind.job_class, kind.label, max(2, round(kind.count * scale)))
        for kind in KINDS
    )
    return Plan(kinds, paced=max(1, round(kinds[0].count * PACED_SHARE)))


@dataclass(frozen=True, slots=True)
class Pushed:
    """A job as the client pushed it, at milliseconds of the machine's monotonic clock."""

    kind: str
    jid: str
    at_ms: float


def read_pushed(path: Path) -> list[Pushed]:
    """The jobs that enqueue.rb wrote down, in the order in which they were pushed."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Pushed(kind, jid, float(at_ms)) for kind, jid, at_ms in lines]


def split_paced(pushed: Sequence[Pushed], paced: int) -> tuple[Sequence[Pushed], Sequence[Pushed]]:
    """Those pushed at once, those pushed one at a time: the last `paced`."""
    return pushed[: len(pushed) - paced], pushed[len(pushed) - paced :]
