"""Which suspects run together, and what follows when their worker dies. Rules: no clock, no I/O.

When a worker dies twice with the same jobs, one of them is probably to blame. Half of them run in
a worker of their own. If it dies, the other half is free and this half is halved again; if it
lives, the guilty one is in the other half. So about log2(n) crashes find one among n.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

#: How long those on trial have their worker for themselves, seconds; the next ones follow then.
TRIAL_S = 5.0
#: What that grows to, doubled each time that a crash came later, seconds.
LONGEST_TRIAL_S = 640.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a crash says of the jobs that were there, by number."""

    #: One of them has done it.
    blamed: list[int]
    #: Whether there was nobody else in the worker: only then a job may be convicted.
    is_alone: bool
    #: The half that was not there when the guilty half crashed.
    acquitted: list[int] = field(default_factory=list)
    #: Suspects of earlier trials that still ran: they are tried again.
    interrupted: list[int] = field(default_factory=list)


class Trials:
    """Suspects by number: those that wait, and those on trial."""

    def __init__(self) -> None:
        self._fresh: list[int] = []
        #: In each of them there is a guilty one, as far as we know; the last is tried first.
        self._groups: list[list[int]] = []
        self._on_trial: set[int] = set()
        self._rest: list[int] = []
        self._since = 0.0
        self.trial_s = TRIAL_S

    def waiting(self) -> list[int]:
        """All that are not let in."""
        return [*self._rest, *(one for group in self._groups for one in group), *self._fresh]

    def is_over(self, running: Collection[int], now: float) -> bool:
        """Whether the next ones may be let in: those on trial have ended or have had their time."""
        if self._on_trial.isdisjoint(running):
            return True
        return now - self._since >= self.trial_s

    def admit(self, suspects: Iterable[int]) -> None:
        """They have been there before, in whatever company."""
        self._fresh += suspects

    def accuse(self, group: Iterable[int]) -> None:
        """They were there together in a crash, and nobody else could have done it."""
        if group := list(group):
            self._groups.append(group)

    def next(self, room: int, now: float) -> list[int]:
        """Those to let in now, at most `room`; the trial before is over."""
        self._survived()
        if self._groups:
            group = self._groups.pop()
        else:
            group, self._fresh = self._fresh, []
        half = min((len(group) + 1) // 2, room)
        let_in, self._rest = group[:half], group[half:]
        self._on_trial, self._since = set(let_in), now
        return let_in

    def _survived(self) -> None:
        self.accuse(self._rest)
        self._rest, self._on_trial = [], set()

    def crashed(self, there: Iterable[int], now: float, *, in_company: bool) -> Finding:
        """Their worker died with these suspects; `in_company`: and with jobs that are none. The
        blamed and the interrupted are no longer ours until they are accused or admitted again.
        """
        there = list(there)
        tried = [one for one in there if one in self._on_trial]
        if tried and not self.is_over(tried, now):
            acquitted = self._rest
            self._rest, self._on_trial = [], set()
            others = [one for one in there if one not in tried]
            if others:
                # They had their time, and may be slower than that.
                self._lengthen()
            is_alone = len(tried) == 1 and not others and not in_company
            return Finding(tried, is_alone, acquitted, others)
        # It takes longer than we wait: any of them may have done it.
        self._lengthen()
        self._survived()
        return Finding(there, len(there) == 1 and not in_company)

    def _lengthen(self) -> None:
        self.trial_s = min(2 * self.trial_s, LONGEST_TRIAL_S)

    def interrupted(self) -> None:
        """The worker is gone, and none of those on trial is to blame."""
        self._fresh += self._rest
        self._rest, self._on_trial = [], set()

    def withdraw(self) -> list[int]:
        """All that wait are taken out, and nobody is on trial any more."""
        waiting = self.waiting()
        self._fresh, self._groups, self._rest, self._on_trial = [], [], [], set()
        return waiting

    def rest(self) -> None:
        """No suspect waits or runs."""
        self.trial_s = TRIAL_S
