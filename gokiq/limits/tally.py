"""The jobs that are out, and how many there are of each target: one table, and the counts that are
changed with it and nowhere else. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gokiq.core import Job
from gokiq.limits.target import Target


@dataclass(slots=True)
class Out:
    """A claimed job, and what it counts for."""

    job: Job
    #: Its class; empty while nobody needs to know.
    kind: str
    targets: tuple[Target, ...] = ()
    has_ended: bool = False


class Tally:
    """A job enters with its claim, may end in a worker, and leaves when its claim is released."""

    def __init__(self) -> None:
        self._out: dict[int, Out] = {}
        self._claimed: Counter[Target] = Counter()
        self._running: Counter[Target] = Counter()

    def __iter__(self) -> Iterator[Out]:
        return iter(self._out.values())

    def get(self, number: int) -> Out | None:
        """The job with this claim number, if it is out."""
        return self._out.get(number)

    def claimed(self, target: Target) -> int:
        """Jobs of a target whose claims are held."""
        return self._claimed[target]

    def running(self, target: Target) -> int:
        """Those of them that have not ended in a worker."""
        return self._running[target]

    def enter(self, out: Out) -> None:
        """A job is out from now on."""
        self.leave(out.job.number)
        self._out[out.job.number] = out
        self._book(out, 1)

    def end(self, number: int) -> Out | None:
        """A job has ended in a worker; None when it is unknown, or has ended before."""
        out = self._out.get(number)
        if out is None or out.has_ended:
            return None
        self._book(out, -1)
        out.has_ended = True
        self._book(out, 1)
        return out

    def leave(self, number: int) -> Out | None:
        """A job is out no longer; None when it is unknown."""
        out = self._out.pop(number, None)
        if out is not None:
            self._book(out, -1)
        return out

    def retarget(self, targets_of: Callable[[Out], tuple[Target, ...]]) -> None:
        """Each job counts for these from now on."""
        self._claimed.clear()
        self._running.clear()
        for out in self._out.values():
            out.targets = targets_of(out)
            self._book(out, 1)

    def clear(self) -> None:
        """Know of no job."""
        self._out.clear()
        self._claimed.clear()
        self._running.clear()

    def _book(self, out: Out, by: int) -> None:
        for target in out.targets:
            self._claimed[target] += by
            if not out.has_ended:
                self._running[target] += by
