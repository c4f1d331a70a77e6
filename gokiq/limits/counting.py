"""What may be claimed now under the rules: counts the jobs of every limited target, guards claims.
Pure; the caller brings the clock and speaks with Redis.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Protocol

from gokiq.app.info import Route
from gokiq.app.job import kind_of
from gokiq.core import Job, Outcome
from gokiq.limits.guards import Guard, Kind, Left, Section, of_rate
from gokiq.limits.tally import Out, Tally
from gokiq.limits.target import TOTAL, Rules, Target, capsule, dependency, job_class, queue
from gokiq.limits.target import Kind as Of

#: While all processes together have reached a limit, one that has room looks again after this long,
#: seconds; half of it at least, at random.
PERMIT_LOOK_S = 0.1
#: A limit for all processes that is new counts from now on, but claims under it wait until the
#: others have said how many jobs they have, seconds.
NEWS_S = 0.3
#: More than any job count.
_NO_LIMIT = 1_000_000_000
#: Classes whose targets are remembered. Payloads may name any number of them.
MOST_KINDS = 1000


class Chosen(Protocol):
    """A job that a claim asks for by its payload."""

    @property
    def kind(self) -> str:
        """Its class."""

    @property
    def payload(self) -> bytes:
        """As it is in its queue."""


class Need(Protocol):
    """What bounds the jobs of a dependency by how it fares (dependencies.Dependency)."""

    #: Counts the jobs that are out with it and have not ended; we set it.
    count: Callable[[], int]

    def free(self) -> int | None:
        """Jobs that may be claimed now; None: any number."""

    def claimed(self, claimed_at: float, jobs: int = 1) -> None:
        """So many more are out."""

    def finished(
        self, kind: str, elapsed_s: float, claimed_at: float, status: int, error_class: str
    ) -> None:
        """One has ended in a worker; `count` still has it."""

    def returned(self, claimed_at: float, jobs: int = 1) -> None:
        """So many are out no longer, and nothing is known of their end."""

    @property
    def blocked_by(self) -> str:
        """Why `free` is 0 now: `limit` or `breaker`; empty when it is not."""

    @property
    def retry_at(self) -> float | None:
        """When `free` may rise without a job's end, monotonic seconds."""

    @property
    def limit(self) -> int | None:
        """Jobs at once; None: any number."""


class Kinds:
    """Gates of one claim, by class: what is taken counts for all that have a bound in common."""

    def __init__(
        self,
        bound: Callable[[Target], int | None],
        targets_of: Callable[[str], tuple[Target, ...]],
    ) -> None:
        self._bound = bound
        self._targets_of = targets_of
        self._left: dict[Target, int | None] = {}

    def _left_of(self, target: Target) -> int | None:
        if target not in self._left:
            self._left[target] = self._bound(target)
        return self._left[target]

    def admits(self, kind: str) -> bool:
        """Gates."""
        return all(self._left_of(target) != 0 for target in self._targets_of(kind))

    def take(self, kind: str) -> None:
        """Gates."""
        for target in self._targets_of(kind):
            left = self._left_of(target)
            if left is not None:
                self._left[target] = max(left - 1, 0)


class Gate:
    """Without rules and needs it is not `active`, and nothing has to be told."""

    def __init__(
        self, rng: random.Random | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rng = rng or random.Random()
        self._clock = clock
        self._rules = Rules()
        self._needs: Mapping[Target, Need] = {}
        self._routes: Sequence[Route] = ()
        self._by_route: list[tuple[Target, ...]] = []
        self._by_kind: dict[str, tuple[Target, ...]] = {}
        self._limited: Set[Target] = frozenset()
        self._tally = Tally()
        self._blocked: dict[Target, float] = {}
        self._others: dict[Target, int] = {}
        #: What Redis has as ours.
        self._written: dict[Target, int] = {}
        self._dry: set[int] = set()
        #: Whether there is anything that bounds.
        self.is_active = False
        #: Whether classes are limited, so that jobs must be looked at before they are claimed.
        self.looks_ahead = False
        #: Whether Redis must hear from us although nothing is claimed or settled.
        self.has_news = False

    # rules

    def obey(
        self,
        rules: Rules,
        needs: Mapping[Target, Need],
        routes: Sequence[Route],
        jobs: Iterable[Job],
        *,
        ended: Iterable[int] = (),
        is_first: bool = False,
    ) -> None:
        """From now on these rules count, for claims by these routes, which begin with those known
        before. `jobs` are out as far as the caller knows, and these numbers of them have `ended`;
        what we know of others is kept until they are settled. Needs are by their target: a
        dependency, or a queue that is its own.
        """
        new = set(rules.cluster) - set(self._rules.cluster)
        before = self._needs
        self._rules, self._needs, self._routes = rules, needs, routes
        self._limited = rules.targets() | set(needs)
        self._by_route = [self._of_route(route) for route in routes]
        self._by_kind = {}
        self.looks_ahead = any(
            target.kind is Of.CLASS
            and (
                target in self._limited
                or dependency(rules.dependencies.get(target, "")) in self._limited
            )
            for target in (*self._limited, *rules.dependencies)
        )
        self._recount(jobs, ended, before)
        self._blocked = {t: at for t, at in self._blocked.items() if t in self._limited}
        if not is_first:
            self._blocked |= dict.fromkeys(new, self._clock() + NEWS_S)
        self._settle_news()
        self.poke()

    def _settle_news(self) -> None:
        self._written = {target: held for target, held in self._written.items() if held}
        self.has_news = any(
            self._written.get(target, 0) != self._held(target) for target in self._permitted()
        )
        self.is_active = bool(self._rules or self._needs or self._written)
        if not self.is_active:
            self._tally.clear()  # nobody tells us of jobs any more

    def _of_route(self, route: Route) -> tuple[Target, ...]:
        named = self._rules.dependencies.get(queue(route.queue), "")
        found = (TOTAL, capsule(route.capsule), queue(route.queue), dependency(named))
        return tuple(target for target in found if target in self._limited)

    def _of_kind(self, kind: str) -> tuple[Target, ...]:
        """What jobs of a class count for beside their queue."""
        found = self._by_kind.get(kind)
        if found is None:
            target = job_class(kind)
            named = dependency(self._rules.dependencies.get(target, ""))
            found = tuple(one for one in (target, named) if one in self._limited)
            if len(self._by_kind) >= MOST_KINDS:
                self._by_kind.clear()
            self._by_kind[kind] = found
        return found

    def _recount(
        self, jobs: Iterable[Job], ended: Iterable[int], before: Mapping[Target, Need]
    ) -> None:
        for job in jobs:
            if self._tally.get(job.number) is None:
                self._tally.enter(Out(job, ""))
        for number in ended:
            self._tally.end(number)
        for target, need in self._needs.items():
            need.count = partial(self._tally.running, target)
        had = {out.job.number: out.targets for out in self._tally}
        for out in self._tally:
            out.kind = out.kind or self._kind_of(out.job)
        self._tally.retarget(self._targets)
        # A need hears once of each job that it bounds, and once of its end.
        for out in self._tally:
            if out.has_ended:
                continue
            for target in {*had[out.job.number], *out.targets}:
                was = before.get(target) if target in had[out.job.number] else None
                now = self._needs.get(target) if target in out.targets else None
                if was is now:
                    continue
                if was is not None:
                    was.returned(out.job.claimed_at)
                if now is not None:
                    now.claimed(out.job.claimed_at)

    # what happens to jobs

    def _kind_of(self, job: Job) -> str:
        return kind_of(job.payload) if self.looks_ahead or self._needs else ""

    def _targets(self, out: Out) -> tuple[Target, ...]:
        targets = self._by_route[out.job.route]
        if out.kind and self.looks_ahead:
            targets = tuple(dict.fromkeys((*targets, *self._of_kind(out.kind))))
        return targets

    def claimed(self, jobs: Iterable[Job]) -> None:
        """These are out from now on."""
        for job in jobs:
            out = Out(job, self._kind_of(job))
            out.targets = self._targets(out)
            self._tally.enter(out)
            for target in out.targets:
                if (need := self._needs.get(target)) is not None:
                    need.claimed(out.job.claimed_at)

    def finished(
        self, well: Mapping[int, Sequence[Job]], special: Sequence[tuple[Job, Outcome]]
    ) -> None:
        """Jobs have ended in a worker; they are out until they are settled."""
        if not self._needs:
            return
        for jobs in well.values():
            for job in jobs:
                self._report(job.number, job.elapsed_us, 0, "")
        for job, outcome in special:
            self._report(job.number, outcome.elapsed_us, outcome.status, outcome.error_class)

    def _report(self, number: int, elapsed_us: int, status: int, error_class: str) -> None:
        out = self._tally.get(number)
        if out is None or out.has_ended:
            return
        for target in out.targets:
            if (need := self._needs.get(target)) is not None:
                need.finished(out.kind, elapsed_us / 1e6, out.job.claimed_at, status, error_class)
        self._tally.end(number)

    def settled(self, numbers: Iterable[int]) -> None:
        """Their claims are released."""
        for number in numbers:
            out = self._tally.leave(number)
            if out is None:
                continue
            for target in out.targets:
                if target in self._rules.cluster:
                    self._blocked.pop(target, None)
                if not out.has_ended and (need := self._needs.get(target)) is not None:
                    need.returned(out.job.claimed_at)

    def keep(self, held: Set[int]) -> None:
        """Only these are out: their claims are ours, as Redis has said, or they run here all the
        same.
        """
        self.settled([out.job.number for out in self._tally if out.job.number not in held])

    def poke(self) -> None:
        """There may be jobs in the queues."""
        self._dry.clear()

    # claiming

    def coming(self, numbers: Iterable[int]) -> Counter[Target]:
        """How many jobs of each target are settled in the same call."""
        count: Counter[Target] = Counter()
        for number in numbers:
            if (out := self._tally.get(number)) is not None:
                count.update(out.targets)
        return count

    def caps(self, coming: Mapping[Target, int]) -> dict[int, int]:
        """Jobs that may be claimed by each route that has a bound."""
        now = self._clock()
        rooms = {
            target: self._room(target, now, coming.get(target, 0))
            for target in {target for targets in self._by_route for target in targets}
        }
        caps: dict[int, int] = {}
        for route, targets in enumerate(self._by_route):
            bounds = [room for target in targets if (room := rooms[target]) is not None]
            if self._routes[route].queue in self._rules.paused:
                bounds.append(0)
            if bounds:
                caps[route] = min(bounds)
        return caps

    def _room(self, target: Target, now: float, coming: int = 0) -> int | None:
        """As far as we know without asking Redis; None: no bound."""
        if self._blocked.get(target, 0.0) > now and not (coming and target in self._rules.cluster):
            return 0
        bounds = []
        if (limit := self._rules.process.get(target)) is not None:
            bounds.append(limit - self._tally.claimed(target) + coming)
        if (need := self._needs.get(target)) is not None and (free := need.free()) is not None:
            bounds.append(free)
        return max(min(bounds), 0) if bounds else None

    def kinds(self, coming: Mapping[Target, int]) -> Kinds:
        """Gates of classes for one claim."""
        return Kinds(lambda target: self._bound(target, coming.get(target, 0)), self._of_kind)

    def _bound(self, target: Target, coming: int) -> int | None:
        """As `_room`, and never more than Redis could admit in one call."""
        known = (self._room(target, self._clock(), coming), self._rules.cluster.get(target))
        bounds = [bound for bound in known if bound is not None]
        if (rate := self._rules.rates.get(target)) is not None:
            bounds.append(rate.at_once)
        return min(bounds, default=None)

    def is_dry(self, route: int) -> bool:
        """Whether its queue was found empty."""
        return route in self._dry

    def is_hungry(self, routes: Iterable[int], coming: Mapping[Target, int] | None = None) -> bool:
        """Whether a claim by one of these routes may find something that we may take."""
        caps = self.caps(coming or {})
        return any(route not in self._dry and caps.get(route, 1) > 0 for route in routes)

    @property
    def retry_at(self) -> float | None:
        """When more may be claimed although no job has ended, monotonic seconds."""
        now = self._clock()
        times = [at for at in self._blocked.values() if at > now]
        times += [at for need in self._needs.values() if (at := need.retry_at) and at > now]
        return min(times, default=None)

    def count(self, target: Target) -> int:
        """Jobs of a limited target that are out."""
        return self._tally.claimed(target)

    def limit(self, route: int) -> int | None:
        """How many jobs of this route's queue may be out in this process as things are; None: no
        limit.
        """
        limits: list[int] = []
        for target in self._by_route[route]:
            need = self._needs.get(target)
            known = (self._rules.process.get(target), need.limit if need else None)
            limits += [limit for limit in known if limit is not None]
            if (limit := self._rules.cluster.get(target)) is not None:
                limits.append(max(limit - self._others.get(target, 0), 0))
        return min(limits, default=None)

    def pace(self, route: int) -> float | None:
        """How many jobs a second of this route's queue may start in all processes; None: any."""
        rates = (self._rules.rates.get(target) for target in self._by_route[route])
        return min((rate.count / rate.per_s for rate in rates if rate is not None), default=None)

    def why(self, route: int, kinds: Iterable[str] = ()) -> str:
        """What keeps this route's queue from running one job more: `paused`, `breaker`, `rate` or
        `limit`, the last three with what they are of, and all with the gem of the app that said
        so; empty when nothing here does. `kinds` are the classes of its oldest jobs, where they
        are known: it is held up when all of them are.
        """
        if (name := self._routes[route].queue) in self._rules.paused:
            gem = self._rules.paused_by.get(name)
            return f"paused by {gem}" if gem else "paused"
        of_kinds = [self._why(self._of_kind(kind)) for kind in kinds]
        held = of_kinds[0] if of_kinds and all(of_kinds) else ""
        return self._why(self._by_route[route]) or held

    def _why(self, targets: Iterable[Target]) -> str:
        now = self._clock()
        found = {}
        for target in targets:
            need = self._needs.get(target)
            if need is not None and need.blocked_by == "breaker":
                found["breaker"] = target
            elif self._blocked.get(target, 0.0) > now:
                found["rate" if target in self._rules.rates else "limit"] = target
            elif self._room(target, now) == 0:
                found["limit"] = target
        first = next((k for k in ("breaker", "rate", "limit") if k in found), "")
        if not first:
            return ""
        gem = self._rules.by.get(found[first]) if first != "breaker" else None
        return f"{first} {found[first]}" + (f" by {gem}" if gem else "")

    def section(
        self, steps: Iterable[tuple[int, Sequence[Chosen] | None]], coming: Mapping[Target, int]
    ) -> Section:
        """Guards for a claim of these steps, given by their routes and, where we have chosen the
        jobs, by these.
        """
        section = Section()
        for target in sorted(self._permitted()):
            section.guard(self._permits(target, coming))
        for route, chosen in steps:
            own = self._by_route[route] if self.is_active else ()
            gate = section.gate(g for t in own for g in self._guards(t, coming))
            if chosen is None:
                section.steps.append((gate, None))
                continue
            kinds = {
                kind: section.gate(
                    g for t in self._of_kind(kind) if t not in own for g in self._guards(t, coming)
                )
                for kind in {entry.kind for entry in chosen}
            }
            section.steps.append((gate, [(kinds[one.kind], one.payload) for one in chosen]))
        return section

    def _permitted(self) -> set[Target]:
        """What Redis must know our number of jobs of."""
        return {*self._rules.cluster, *(t for t, held in self._written.items() if held)}

    def _held(self, target: Target) -> int:
        return self._tally.claimed(target) if target in self._rules.cluster else 0

    def _permits(self, target: Target, coming: Mapping[Target, int]) -> Guard:
        limit = self._rules.cluster.get(target)
        held = self._held(target)
        if limit is None:
            return Guard(Kind.PERMITS, target, _NO_LIMIT, 0)
        return Guard(Kind.PERMITS, target, limit, held - coming.get(target, 0))

    def _guards(self, target: Target, coming: Mapping[Target, int]) -> list[Guard]:
        guards = []
        room = self._room(target, self._clock(), coming.get(target, 0))
        if room is not None:
            guards.append(Guard(Kind.ROOM, target, room))
        if target in self._rules.cluster:
            guards.append(self._permits(target, coming))
        if (rate := self._rules.rates.get(target)) is not None:
            guards.append(of_rate(target, rate))
        return guards

    def answered(self, section: Section, left: Sequence[Left]) -> None:
        """What the guards said, once what was settled and claimed is known here."""
        now = self._clock()
        for guard, says in zip(section.guards, left, strict=True):
            target = guard.target
            if guard.kind is Kind.PERMITS:
                self._written[target] = says.held
                self._others[target] = says.others
                if says.room <= 0:
                    wait_s = PERMIT_LOOK_S * (1 + self._rng.random()) / 2
                    self._blocked[target] = now + wait_s
            elif guard.kind is not Kind.ROOM and says.room <= 0:
                self._blocked[target] = now + says.wait_s
        self._settle_news()

    def found(
        self, section: Section, left: Sequence[Left], steps: Sequence[tuple[int, int, int]]
    ) -> None:
        """Of each step its route, how many jobs it asked for and how many it found."""
        for (gate, chosen), (route, asked, found) in zip(section.steps, steps, strict=True):
            if chosen is None and found < asked and not section.is_full(gate, left):
                self._dry.add(route)
