"""The law that every scenario is judged by: enqueued = completed + dead + discarded + pending, each
job in one place, and run twice only where the README allows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from devtools.journal import Run
from devtools.redis_jobs import Places


@dataclass(frozen=True, slots=True)
class Findings:
    """By jid; all empty but `duplicates` and `pending` is what was promised."""

    #: Neither done, dead, discarded nor anywhere in Redis.
    lost: tuple[str, ...]
    #: Done more often than once.
    duplicates: tuple[str, ...]
    #: Those of them that were not in flight at a fault.
    unexplained: tuple[str, ...]
    #: In more than one place, or done and still waiting: they would run again.
    doubled: tuple[str, ...]
    #: Ran, or are in Redis, and nobody pushed them.
    strays: tuple[str, ...]
    #: Wait in a queue, a claim, retry or schedule.
    pending: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.unexplained or self.doubled or self.strays)

    def __str__(self) -> str:
        named = ("lost", "unexplained", "doubled", "strays")
        found = {name: getattr(self, name) for name in named if getattr(self, name)}
        return ", ".join(f"{len(jids)} {name} ({jids[0]})" for name, jids in found.items())


def examine(
    pushed: Collection[str],
    runs: Sequence[Run],
    places: Places,
    *,
    discards: Collection[str] = (),
    excused: Collection[str] = (),
) -> Findings:
    """Judge a run that is over.

    `discards` are jobs that Sidekiq drops once they have failed; `excused` may have been done
    twice: they ran when a fault took their worker or their claim.
    """
    known = set(pushed)
    done = Counter(run.jid for run in runs if run.outcome == "done")
    failed = {run.jid for run in runs if run.outcome == "fail"}
    dropped = set(discards) & failed
    held = Counter(places.all())
    dead = set(places.dead)
    waiting = set(held) - dead
    twice = {jid for jid, times in done.items() if times > 1}
    return Findings(
        lost=_sorted(known - set(done) - dropped - set(held)),
        duplicates=_sorted(twice),
        unexplained=_sorted(twice - set(excused)),
        doubled=_sorted(
            {jid for jid, times in held.items() if times > 1}
            | ((waiting & set(done)) - set(excused))
        ),
        strays=_sorted(({run.jid for run in runs} | set(held)) - known),
        pending=_sorted(waiting & known),
    )


@dataclass(frozen=True, slots=True)
class Window:
    """A span of the journal's clock, ms, in which a fault took what these processes were at; of
    all processes when none is named.
    """

    since_ms: float
    until_ms: float
    pids: frozenset[int] = frozenset()

    def excused(self, runs: Sequence[Run]) -> set[str]:
        """Jids of the runs that were under way there and then."""
        return {
            run.jid
            for run in runs
            if run.start_ms <= self.until_ms
            and (run.end_ms is None or run.end_ms >= self.since_ms)
            and (not self.pids or run.pid in self.pids)
        }


def _sorted(jids: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(jids))
