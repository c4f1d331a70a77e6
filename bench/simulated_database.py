"""A database in virtual time, which many at once make slower, with jobs and a web app before it.

Every request that is under way gets on equally fast, at 1 / slowdown(how many there are).
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Slowdown = Callable[[float], float]
Job = tuple[str, float]


def knee(capacity: float, decay: float = 0.0) -> Slowdown:
    """Bears `capacity` at once without any harm; beyond that its throughput falls by `decay` for
    each further capacity.
    """

    def slowdown(n: float) -> float:
        beyond = max(0.0, n / capacity - 1)
        return (1 + beyond) * (1 + decay * beyond)

    return slowdown


def scalability(contention: float, coherence: float) -> Slowdown:
    """The universal scalability law: linear waiting for one another, quadratic agreeing.

    Source: N. J. Gunther, Guerrilla Capacity Planning, 2007; R(N) = N / C(N).
    """
    return lambda n: 1 + contention * max(0.0, n - 1) + coherence * n * max(0.0, n - 1)


class Limiter(Protocol):
    """What is tried out: AdaptiveLimit, and its rivals."""

    @property
    def limit(self) -> int: ...  # noqa: D102 - as AdaptiveLimit has it

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None: ...  # noqa: D102

    def overload(self, in_flight: int) -> None: ...  # noqa: D102


class Clock:
    """Virtual seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:  # noqa: D102
        return self.now


@dataclass(slots=True)
class Database:
    """What can change while it is in use: `handicap` multiplies all times, `is_down` fails all,
    more than `connections` at once are refused.
    """

    slowdown: Slowdown
    handicap: float = 1.0
    is_down: bool = False
    connections: int = 1_000_000
    neighbours: int = 0  # others' requests, always under way


@dataclass(slots=True)
class Trace:
    """What was seen. Times in seconds from the start."""

    drain_s: float = math.inf
    done: int = 0
    errors: int = 0
    foreground: list[tuple[float, float]] = field(default_factory=list)  # (at, latency)
    limits: list[tuple[float, int, int]] = field(default_factory=list)  # (at, limit, in flight)
    ends: list[float] = field(default_factory=list)

    def foreground_p99_s(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Of the foreground's requests that ended between these times."""
        times = sorted(latency for at, latency in self.foreground if begin <= at < end)
        return times[math.ceil(0.99 * len(times)) - 1] if times else math.nan

    def mean_limit(self, begin: float, end: float) -> float:
        """Average in time of the limit between these times."""
        points = [(at, limit) for at, limit, _ in self.limits if at < end]
        ats = [max(begin, at) for at, _ in points] + [end]
        spans = zip(points, ats, ats[1:], strict=False)
        return sum(limit * (after - at) for (_, limit), at, after in spans) / (end - begin)

    def rate(self, begin: float, end: float) -> float:
        """Jobs done a second between these times."""
        return sum(begin <= at < end for at in self.ends) / (end - begin)


@dataclass(frozen=True, slots=True)
class WebApp:
    """Requests that come evenly, whatever the database does: each some statements, in turn, of so
    much work.
    """

    per_s: float = 50.0
    statements: int = 4
    work_s: float = 0.005
    spread: float = 0.1


def jobs_of(classes: Sequence[tuple[str, float, float]], count: int, seed: int) -> Iterator[Job]:
    """`count` jobs of random classes, each given as (name, median seconds, spread of the
    logarithm).
    """
    rng = random.Random(seed)
    for _ in range(count):
        name, median, spread = rng.choice(classes)
        yield name, median * math.exp(spread * rng.gauss(0, 1))


class Simulation:
    """Runs jobs as the limiter allows, until they are all done or the time is over."""

    def __init__(
        self,
        database: Database,
        limiter: Limiter,
        clock: Clock,
        jobs: Iterator[Job],
        web: WebApp | None = None,
        seed: int = 1,
    ) -> None:
        self.database, self.limiter, self.clock = database, limiter, clock
        self.trace = Trace()
        self.in_flight = 0
        self._jobs = jobs
        self._web = web or WebApp(per_s=0)
        self._rng = random.Random(seed)
        self._progress = 0.0  # seconds of work that each request under way has got since 0
        self._running: list[tuple[float, int, str | None, float, int]] = []
        self._serial = 0
        self._next: Job | None = next(jobs, None)
        self._claimed: Callable[[], None] = getattr(limiter, "claimed", lambda: None)

    def run(
        self, until: float = math.inf, events: Sequence[tuple[float, Callable[[], None]]] = ()
    ) -> Trace:
        """Let `events` happen at their times."""
        agenda = sorted(events, key=lambda event: event[0])
        arrival = self._gap()
        self._start_jobs()
        while self.clock.now < until and (self._next or self.in_flight or agenda):
            ending = self._next_end()
            event = agenda[0][0] if agenda else math.inf
            retry = (
                (getattr(self.limiter, "retry_at", None) or math.inf) if self._next else math.inf
            )
            at = min(ending, arrival, event, max(self.clock.now + 1e-6, retry))
            if at == math.inf or at > until:
                self._advance(until)
                break
            self._advance(at)
            if at == ending:
                self._end()
            elif at == arrival:
                self._ask(self.clock.now, self._web.statements)
                arrival = self.clock.now + self._gap()
            elif at == event:
                agenda.pop(0)[1]()
            self._start_jobs()
        if self._next is None and not self.in_flight:
            self.trace.drain_s = self.clock.now
        return self.trace

    def _gap(self) -> float:
        return 1 / self._web.per_s if self._web.per_s else math.inf

    def _jitter(self) -> float:
        return math.exp(self._web.spread * self._rng.gauss(0, 1))

    def _pace(self) -> float:
        under_way = len(self._running) + self.database.neighbours
        return self.database.handicap * self.database.slowdown(under_way)

    def _next_end(self) -> float:
        if not self._running:
            return math.inf
        left = max(0.0, self._running[0][0] - self._progress)
        return self.clock.now + left * self._pace()

    def _advance(self, at: float) -> None:
        if self._running:
            self._progress += (at - self.clock.now) / self._pace()
        self.clock.now = at

    def _ask(self, since: float, statements: int) -> None:
        self._begin(None, self._web.work_s * self._jitter(), since, statements - 1)

    def _begin(self, job_class: str | None, work_s: float, since: float, more: int = 0) -> None:
        self._serial += 1
        entry = (self._progress + work_s, self._serial, job_class, since, more)
        heapq.heappush(self._running, entry)

    def _start_jobs(self) -> None:
        limit = self.limiter.limit
        if not self.trace.limits or self.trace.limits[-1][1] != limit:
            self.trace.limits.append((self.clock.now, limit, self.in_flight))
        while self._next and self.in_flight < limit:  # `limit` may fall as probes are counted
            job_class, work_s = self._next
            self._next = next(self._jobs, None)
            self.in_flight += 1
            self._claimed()
            full = len(self._running) + self.database.neighbours >= self.database.connections
            if full or self.database.is_down:
                self._begin(f"!{job_class}", 0.002, self.clock.now)
            else:
                self._begin(job_class, work_s, self.clock.now)

    def _end(self) -> None:
        _, _, job_class, began_at, more = heapq.heappop(self._running)
        now = self.clock.now
        if job_class is None:
            if more:
                self._ask(began_at, more)
            else:
                self.trace.foreground.append((now, now - began_at))
            return
        in_flight, self.in_flight = self.in_flight, self.in_flight - 1
        if job_class.startswith("!") or self.database.is_down:
            self.trace.errors += 1
            self.limiter.overload(in_flight)
        else:
            self.trace.done += 1
            self.trace.ends.append(now)
            self.limiter.observe(job_class, now - began_at, in_flight)
