"""The adaptive limit against a simulated database, in virtual time: what it must keep, for each
kind of trouble.
"""

import itertools
import math
import random
from collections.abc import Callable, Sequence

import pytest

from bench.simulated_database import (
    Clock,
    Database,
    Simulation,
    Slowdown,
    Trace,
    WebApp,
    jobs_of,
    knee,
    scalability,
)
from gokiq.core import OK, RETRY
from gokiq.limits.adaptive import AdaptiveLimit
from gokiq.limits.breaker import Breaker
from gokiq.limits.dependency import Dependency

SEEDS = (1, 2)
WEB = WebApp(statements=1, work_s=0.02, spread=0.2)
ENDLESS = 10**9
#: Bears 20 jobs at once; with twice as many its throughput is down by a third.
LOCKS = knee(20, decay=0.5)
#: As the database of bench.spike: throughput is best at 10 statements, latency twice there.
SPIKE = scalability(0, 0.01)

Events = Callable[[Database], Sequence[tuple[float, Callable[[], None]]]]


class Fixed:
    """A static limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None: ...
    def overload(self, in_flight: int) -> None: ...


class Whole:
    """A dependency with its breaker, in the place of a bare limit."""

    def __init__(self, dependency: Dependency, clock: Clock) -> None:
        self.dependency, self._clock = dependency, clock
        self._out = 0
        dependency.count = lambda: self._out

    @property
    def limit(self) -> int:
        free = self.dependency.free()
        assert free is not None
        return self._out + free

    @property
    def retry_at(self) -> float | None:
        return self.dependency.retry_at if not self.dependency.free() else None

    def claimed(self) -> None:
        self._out += 1
        self.dependency.claimed(self._clock.now)

    def observe(self, job_class: str, elapsed_s: float, in_flight: int) -> None:
        self.dependency.finished(job_class, elapsed_s, self._clock.now - elapsed_s, OK, "")
        self._out -= 1

    def overload(self, in_flight: int) -> None:
        claimed_at = self._clock.now - 0.002
        self.dependency.finished("A", 0.002, claimed_at, RETRY, "PG::ConnectionBad")
        self._out -= 1


def run(
    slowdown: Slowdown,
    *,
    seed: int,
    until: float,
    events: Events = lambda database: [],
    classes: Sequence[tuple[str, float, float]] = (("A", 0.05, 0.3),),
) -> Trace:
    """An endless backlog until then; jobs of 50 ms unless said otherwise, limits of 2 to 200."""
    clock = Clock()
    database = Database(slowdown)
    limiter = AdaptiveLimit(2, 200, clock=clock)
    jobs = jobs_of(classes, ENDLESS, seed)
    simulation = Simulation(database, limiter, clock, jobs, WEB, seed)
    return simulation.run(until, events(database))


def drain(slowdown: Slowdown, limit: int | None, *, seed: int, jobs: int, spread: float) -> Trace:
    """Jobs of 5 ms and the web app, under a static limit or the adaptive one."""
    clock = Clock()
    limiter = AdaptiveLimit(2, 200, clock=clock) if limit is None else Fixed(limit)
    backlog = jobs_of([("A", 0.005, spread)], jobs, seed)
    return Simulation(Database(slowdown), limiter, clock, backlog, WEB, seed).run()


def unloaded_p99_s(slowdown: Slowdown) -> float:
    idle = Simulation(Database(slowdown), Fixed(1), Clock(), iter(()), WEB)
    return idle.run(30, [(30.0, lambda: None)]).foreground_p99_s()


def at(time_s: float, database: Database, **changes: object) -> tuple[float, Callable[[], None]]:
    def change() -> None:
        for name, value in changes.items():
            setattr(database, name, value)

    return time_s, change


@pytest.mark.parametrize(
    ("slowdown", "spread", "best_limit", "jobs", "within"),
    [
        (SPIKE, 0.1, 8, 8_000, 1.15),
        (SPIKE, 0.5, 8, 8_000, 1.15),
        (knee(10, decay=0.5), 0.5, 9, 20_000, 1.15),
        # Without a knee every job more costs and pays: who stays at 1.8 of the latency gets 8/9 of
        # what there is at 2.
        (scalability(0.05, 0), 0.1, 18, 8_000, 1.2),
    ],
    ids=["coherency", "coherency, noisy", "locks, noisy", "contention"],
)
def test_a_backlog_drains_as_under_the_best_static_limit_and_the_web_app_does_not_suffer(
    slowdown: Slowdown, spread: float, best_limit: int, jobs: int, within: float
) -> None:
    best = drain(slowdown, best_limit, seed=1, jobs=jobs, spread=spread)

    adaptive = drain(slowdown, None, seed=1, jobs=jobs, spread=spread)

    assert adaptive.done == jobs
    assert adaptive.foreground_p99_s() <= 2 * unloaded_p99_s(slowdown)
    assert adaptive.drain_s <= within * best.drain_s


@pytest.mark.parametrize("seed", SEEDS)
def test_step_a_database_that_loses_three_quarters_of_its_capacity_is_relieved_in_three_seconds(
    seed: int,
) -> None:
    trace = run(
        knee(40, 0.5),
        seed=seed,
        until=45,
        events=lambda db: [
            at(15, db, slowdown=knee(10, 0.5)),
            at(30, db, slowdown=knee(40, 0.5)),
        ],
    )

    assert 30 <= trace.mean_limit(10, 15) <= 46
    assert 7 <= trace.mean_limit(18, 30) <= 15
    assert trace.foreground_p99_s(18, 30) <= 2.5 * unloaded_p99_s(LOCKS)
    assert 30 <= trace.mean_limit(36, 45) <= 46


@pytest.mark.parametrize("seed", SEEDS)
def test_ramp_the_limit_follows_a_capacity_that_shrinks_slowly(seed: int) -> None:
    trace = run(
        knee(40, 0.5),
        seed=seed,
        until=45,
        events=lambda db: [at(10 + s, db, slowdown=knee(40 - s, 0.5)) for s in range(31)],
    )

    for begin in range(12, 40, 4):
        capacity = 40 - (begin + 2 - 10)
        assert 0.7 * capacity <= trace.mean_limit(begin, begin + 4) <= 1.5 * capacity


@pytest.mark.parametrize("seed", SEEDS)
def test_noisy_neighbour_gets_room_and_gives_it_back(seed: int) -> None:
    trace = run(
        LOCKS,
        seed=seed,
        until=50,
        events=lambda db: [at(15, db, neighbours=15), at(35, db, neighbours=0)],
    )

    assert trace.mean_limit(18, 35) <= 0.8 * trace.mean_limit(8, 15)
    assert trace.foreground_p99_s(18, 35) <= 2.2 * unloaded_p99_s(LOCKS)
    assert trace.rate(42, 50) >= 0.85 * trace.rate(8, 15)


@pytest.mark.parametrize("slower", [1.5, 2.5])
def test_jobs_that_became_slower_for_good_get_their_concurrency_back(slower: float) -> None:
    trace = run(LOCKS, seed=1, until=110, events=lambda db: [at(20, db, handicap=slower)])

    assert trace.rate(80, 110) >= 0.85 * trace.rate(10, 20) / slower
    assert trace.mean_limit(80, 110) <= 1.5 * trace.mean_limit(10, 20)


def test_the_measure_of_unloaded_does_not_drift_away_under_an_endless_backlog() -> None:
    trace = run(SPIKE, seed=3, until=400, classes=[("A", 0.1, 0.3)])

    early = trace.mean_limit(40, 100)
    for begin in range(100, 400, 60):
        assert 0.75 * early <= trace.mean_limit(begin, begin + 60) <= 1.3 * early


def test_classes_a_hundred_times_apart_share_a_limit() -> None:
    seed = 1
    classes = [("short", 0.002, 0.3), ("medium", 0.02, 0.5), ("long", 0.2, 0.5)]

    trace = run(LOCKS, seed=seed, until=60, classes=classes)

    best = Simulation(
        Database(LOCKS), Fixed(20), Clock(), jobs_of(classes, ENDLESS, seed), WEB, seed
    ).run(60)
    assert trace.rate(15, 60) >= 0.85 * best.rate(15, 60)
    assert trace.foreground_p99_s(15, 60) <= 2 * unloaded_p99_s(LOCKS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_mix_of_classes_is_not_taken_for_load(seed: int) -> None:
    few = jobs_of([("short", 0.01, 0.3)], 8_000, seed)
    then = jobs_of([("short", 0.01, 0.3), ("long", 0.2, 0.3)], ENDLESS, seed)
    clock = Clock()
    limiter = AdaptiveLimit(2, 200, clock=clock)
    trace = Simulation(Database(LOCKS), limiter, clock, itertools.chain(few, then), WEB, seed).run(
        15
    )

    changed = trace.ends[7_999]
    assert trace.mean_limit(changed, 20) >= 0.75 * trace.mean_limit(2, changed)


@pytest.mark.parametrize("seed", SEEDS)
def test_jobs_that_spread_over_two_orders_of_magnitude_do_not_fool_it(seed: int) -> None:
    trace = run(LOCKS, seed=seed, until=60, classes=[("A", 0.05, 1.2)])

    assert 12 <= trace.mean_limit(20, 60) <= 32
    assert trace.foreground_p99_s(20, 60) <= 2 * unloaded_p99_s(LOCKS)


@pytest.mark.parametrize("seed", SEEDS)
def test_outage_costs_few_retries_and_ends_in_a_slow_start(seed: int) -> None:
    clock = Clock()
    dependency = Dependency(
        "db",
        limit=AdaptiveLimit(2, 200, clock=clock),
        breaker=Breaker(clock=clock, rng=random.Random(seed)),
    )
    database = Database(LOCKS)
    limiter = Whole(dependency, clock)
    jobs = jobs_of([("A", 0.05, 0.3)], ENDLESS, seed)
    down = [at(15, database, is_down=True), at(35, database, is_down=False)]

    trace = Simulation(database, limiter, clock, jobs, WEB, seed).run(70, down)

    # What fails before half of the last 100 have failed, and the probes; without a breaker it is
    # a thousand a second.
    assert trace.errors <= 120
    assert dependency.breaker == "closed"
    back = next(end for end in trace.ends if end > 35)
    assert max(limit for when, limit, _ in trace.limits if back <= when < back + 0.1) <= 5
    assert trace.rate(55, 70) >= 0.85 * trace.rate(5, 15)


def test_errors_of_overload_alone_keep_the_limit_below_what_is_refused() -> None:
    clock = Clock()
    database = Database(lambda n: 1.0, connections=50)
    limiter = AdaptiveLimit(2, 1000, clock=clock)
    jobs = jobs_of([("A", 0.02, 0.3)], ENDLESS, 1)

    trace = Simulation(database, limiter, clock, jobs, WEB).run(30)

    assert trace.mean_limit(10, 30) <= 60
    assert trace.rate(10, 30) >= 0.6 * 50 / 0.021
    assert trace.errors <= 0.05 * trace.done


def test_waiting_for_connections_shrinks_the_limit_to_what_the_pool_serves() -> None:
    clock = Clock()
    limiter = AdaptiveLimit(2, 100, clock=clock)
    pool, limits = 10, []
    for _ in range(3_000):
        out = limiter.limit
        # `pool` jobs of 20 ms run, the others wait before they start: Little's law.
        clock.now += 0.02 / min(out, pool)
        limiter.waited(max(0, out - pool) * 0.02 / pool)
        limiter.observe("A", 0.02, out)
        limits.append(out)

    assert pool - 2 <= sum(limits[1_000:]) / 2_000 <= pool + 3


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    clock = Clock()
    limiter = AdaptiveLimit(4, 100, clock=clock)

    for _ in range(2_000):
        clock.now += 0.02
        limiter.observe("A", 0.02, 1)

    assert limiter.limit == 4


@pytest.mark.parametrize("slowdown", [SPIKE, knee(1, 5)], ids=["coherency", "bears one"])
def test_the_limit_stays_between_its_bounds(slowdown: Slowdown) -> None:
    for minimum, maximum in ((1, 1), (3, 5), (2, 200)):
        clock = Clock()
        limiter = AdaptiveLimit(minimum, maximum, clock=clock)
        jobs = jobs_of([("A", 0.02, 1.0)], 3_000, 1)

        trace = Simulation(Database(slowdown), limiter, clock, jobs).run()

        assert all(minimum <= limit <= maximum for _, limit, _ in trace.limits)
        assert math.isfinite(trace.drain_s)


@pytest.mark.parametrize(
    ("minimum", "maximum", "tolerance"), [(0, 5, 1.8), (6, 5, 1.8), (1, 5, 1.0)]
)
def test_bounds_without_sense_are_refused(minimum: int, maximum: int, tolerance: float) -> None:
    with pytest.raises(ValueError, match="give"):
        AdaptiveLimit(minimum, maximum, tolerance=tolerance)


def grown(clock: Clock) -> AdaptiveLimit:
    """A limit that has seen jobs of 20 ms, whatever their number, of a large spread."""
    limiter = AdaptiveLimit(2, 60, clock=clock)
    rng = random.Random(1)
    for _ in range(10_000):
        clock.now += 0.02 / limiter.limit
        limiter.observe("A", 0.02 * math.exp(rng.gauss(0, 0.8)), limiter.limit)
    assert limiter.limit >= 50
    return limiter


def test_a_restart_begins_again_at_the_minimum() -> None:
    clock = Clock()
    limiter = grown(clock)

    limiter.restart()

    assert (limiter.limit, limiter.phase) == (2, "start")


def test_latency_far_above_the_tolerance_is_answered_before_the_window_is_full() -> None:
    clock = Clock()
    limiter = grown(clock)
    rng = random.Random(2)

    for _ in range(100):
        clock.now += 0.2 / limiter.limit
        limiter.observe("A", 0.2 * math.exp(rng.gauss(0, 0.8)), limiter.limit)

    assert limiter.limit <= 40
