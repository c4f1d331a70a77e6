"""The part of a claim that bounds it: guards, and which of them each step and each job must pass,
as lua/guards.lua reads them. Values only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gokiq.core import Arg
from gokiq.limits.rate import Rate
from gokiq.limits.target import Target

#: Passes any job.
OPEN = 0


class Kind(StrEnum):
    """How a guard counts."""

    #: So many more in this call, as we know ourselves.
    ROOM = "room"
    #: So many at once in all processes; we hold `held` now.
    PERMITS = "permits"
    #: Tokens, microseconds apart.
    BUCKET = "bucket"
    #: So many in each stretch of microseconds that Redis's clock divides by.
    WINDOW = "window"
    #: So many in any stretch of microseconds.
    SLIDING = "sliding"


@dataclass(frozen=True, slots=True)
class Guard:
    """Bounds the jobs of a target. The two numbers are `limit, held` of PERMITS, `spacing, burst`
    of BUCKET, `length, count` of WINDOW and SLIDING; of ROOM the second is unused.
    """

    kind: Kind
    target: Target
    first: float
    second: int = 0

    @property
    def key(self) -> str:
        """Where Redis counts; empty when it does not."""
        if self.kind is Kind.ROOM:
            return ""
        if self.kind is Kind.SLIDING:
            return starts_key(self.target)
        return permits_key(self.target) if self.kind is Kind.PERMITS else rate_key(self.target)


def permits_key(target: Target) -> str:
    """Hash owner -> jobs of the target that it has claimed. Without a lease they do not count."""
    return f"gokiq:permits:{target}"


def rate_key(target: Target) -> str:
    """Of a bucket the time at which it is full, of a window `number:used`."""
    return f"gokiq:rate:{target}"


def starts_key(target: Target) -> str:
    """List of `time:jobs:number`, the newest first: when jobs of a sliding rate started, how many,
    and how many had started in all by then.
    """
    return f"gokiq:starts:{target}"


def of_rate(target: Target, rate: Rate) -> Guard:
    """What counts this rate."""
    if rate.is_window:
        return Guard(Kind.WINDOW, target, round(rate.per_s * 1e6), rate.count)
    if rate.is_sliding:
        return Guard(Kind.SLIDING, target, round(rate.per_s * 1e6), rate.count)
    return Guard(Kind.BUCKET, target, rate.spacing_us, rate.burst)


@dataclass(frozen=True, slots=True)
class Left:
    """What a guard said after the claim."""

    #: Jobs that it would still admit.
    room: int
    #: When a rate that has no room will have some, seconds from now; 0 otherwise.
    wait_s: float
    #: Jobs of the target in the other processes, and ours as Redis has them now.
    others: int
    held: int


@dataclass(slots=True)
class Section:
    """Guards of one call, the gates that are made of them, and the gate of each step."""

    guards: list[Guard] = field(default_factory=list)
    gates: list[tuple[int, ...]] = field(default_factory=list)
    #: Of each step, in the order of the wishes: its gate and, where jobs are chosen by us, pairs of
    #: gate and payload.
    steps: list[tuple[int, list[tuple[int, bytes]] | None]] = field(default_factory=list)
    _guard_at: dict[tuple[Kind, Target], int] = field(default_factory=dict)
    _gate_at: dict[tuple[int, ...], int] = field(default_factory=dict)

    def guard(self, guard: Guard) -> int:
        """Its number in this section; one of a kind for a target."""
        key = (guard.kind, guard.target)
        at = self._guard_at.get(key)
        if at is None:
            self.guards.append(guard)
            at = self._guard_at[key] = len(self.guards)
        return at

    def gate(self, guards: Iterable[Guard]) -> int:
        """A gate that all these guard; its number."""
        numbers = tuple(self.guard(guard) for guard in guards)
        if not numbers:
            return OPEN
        at = self._gate_at.get(numbers)
        if at is None:
            self.gates.append(numbers)
            at = self._gate_at[numbers] = len(self.gates)
        return at

    def is_full(self, gate: int, left: Sequence[Left]) -> bool:
        """Whether a guard of this gate has admitted all it would."""
        return gate != OPEN and any(left[at - 1].room <= 0 for at in self.gates[gate - 1])

    def keys(self) -> list[str]:
        """What lua/guards.lua wants behind the other KEYS."""
        return [guard.key for guard in self.guards if guard.key]

    def argv(self, identity: str) -> list[Arg]:
        """What lua/guards.lua reads."""
        argv: list[Arg] = [identity, len(self.guards)]
        for guard in self.guards:
            argv += (guard.kind.value, guard.first, guard.second)
        argv.append(len(self.gates))
        for numbers in self.gates:
            argv += (len(numbers), *numbers)
        argv.append(len(self.steps))
        for gate, chosen in self.steps:
            argv += (gate, -1 if chosen is None else len(chosen))
            for pair in chosen or ():
                argv += pair
        return argv

    def left(self, reply: Sequence[int]) -> list[Left]:
        """The last element of the reply, by guard."""
        return [
            Left(reply[at], reply[at + 1] / 1e6, reply[at + 2], reply[at + 3])
            for at in range(0, len(reply), 4)
        ]
