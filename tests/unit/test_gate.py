"""Whatever happens to jobs and rules, every count of the gate is what a recount of them gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gokiq.app.info import Route
from gokiq.core import DEAD, OK, REFUSED, Job, Outcome
from gokiq.limits.adaptive import AdaptiveLimit
from gokiq.limits.breaker import Breaker, BreakerSettings
from gokiq.limits.counting import MOST_KINDS, Gate
from gokiq.limits.dependency import Dependency
from gokiq.limits.target import TOTAL, Rules, Target, capsule, dependency, job_class, queue

ROUTES = [Route("one", "a"), Route("one", "b"), Route("two", "a")]
CLASSES = ("A", "B")
LIMITED = [TOTAL, capsule("one"), queue("a"), queue("b"), job_class("A"), job_class("B")]
ADAPTIVE = [queue("a"), dependency("db"), TOTAL]
FAILURE = "ActiveRecord::ConnectionTimeoutError"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Life:
    """A gate, and a plain list of the jobs that are out."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rng = random.Random(1)
        self.gate = Gate(self.rng, self.clock)
        self.rules = Rules()
        self.needs: dict[Target, Dependency] = {}
        #: Number -> job, class, whether it has ended.
        self.out: dict[int, tuple[Job, str, bool]] = {}
        self.number = 0

    def obey(self, rules: Rules, adaptive: list[Target], is_anew: bool) -> None:
        self.rules = rules
        self.needs = {
            target: self._need() if is_anew or target not in self.needs else self.needs[target]
            for target in adaptive
        }
        jobs = [job for job, _, _ in self.out.values()]
        ended = [number for number, (_, _, has_ended) in self.out.items() if has_ended]
        # Those in a call under way are not all known to the dispatcher.
        known = [job for job in jobs if self.gate._tally.get(job.number) is None or job.number % 2]
        self.gate.obey(rules, self.needs, ROUTES, known, ended=ended)

    def _need(self) -> Dependency:
        breaker = Breaker(BreakerSettings(volume=1, pause_s=1e6, longest_pause_s=1e6), rng=self.rng)
        breaker._clock = self.clock
        return Dependency("x", limit=AdaptiveLimit(1, 9, clock=self.clock), breaker=breaker)

    def claim(self, route: int, kind: str) -> None:
        self.clock.now += 0.01
        self.number += 1
        job = Job(self.number, route, b'{"class":"%b"}' % kind.encode(), self.clock.now)
        self.out[self.number] = (job, kind, False)
        if self.gate.is_active:
            self.gate.claimed([job])

    def finish(self, number: int, status: int) -> None:
        job, kind, has_ended = self.out[number]
        if has_ended:
            return
        self.out[number] = (job, kind, True)
        error = FAILURE if status == DEAD else ""
        if self.gate.is_active:
            self.gate.finished({}, [(job, Outcome(number, status, 1, 10, error_class=error))])

    def settle(self, numbers: list[int]) -> None:
        for number in numbers:
            del self.out[number]
        if self.gate.is_active:
            self.gate.settled(numbers)

    def keep(self, held: set[int]) -> None:
        self.out = {number: one for number, one in self.out.items() if number in held}
        self.gate.keep(held)

    def open_half(self) -> None:
        """Breakers that are open let probes through now."""
        if any(need.breaker == "open" for need in self.needs.values()):
            self.clock.now += 2e6
            for need in self.needs.values():
                need.free()

    def _targets(self, job: Job, kind: str) -> set[Target]:
        route = ROUTES[job.route]
        names = self.rules.dependencies
        return {TOTAL, capsule(route.capsule), queue(route.queue), job_class(kind)} | {
            dependency(names[of]) for of in (queue(route.queue), job_class(kind)) if of in names
        }

    def check(self) -> None:
        if not self.gate.is_active:
            return
        of = [(self._targets(job, kind), job, over) for job, kind, over in self.out.values()]
        for target in self.rules.targets() | set(self.needs):
            claimed = sum(target in targets for targets, _, _ in of)
            assert self.gate.count(target) == claimed, target
        for target, need in self.needs.items():
            running = [job for targets, job, over in of if target in targets and not over]
            assert need.in_flight == len(running), target
            breaker = need._breaker
            assert breaker is not None
            if need.breaker == "half-open" and breaker._successes == 0:
                probes = [job for job in running if job.claimed_at >= breaker._since]
                assert breaker._out == len(probes), target


@pytest.fixture
def life() -> Life:
    return Life()


RULES = st.builds(
    lambda targets, of_queue, of_class: Rules(
        process=dict.fromkeys(targets, 3),
        dependencies={
            **({queue("a"): "db"} if of_queue else {}),
            **({job_class("A"): "db"} if of_class else {}),
        },
    ),
    st.lists(st.sampled_from(LIMITED), unique=True, max_size=3),
    st.booleans(),
    st.booleans(),
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, 2), st.sampled_from(CLASSES)),
        st.tuples(st.just("finish"), st.integers(0, 99), st.sampled_from([OK, DEAD, REFUSED])),
        st.tuples(st.just("settle"), st.integers(0, 99), st.integers(1, 3)),
        st.tuples(st.just("keep"), st.integers(0, 7), st.none()),
        st.tuples(st.just("half"), st.none(), st.none()),
        st.tuples(
            st.just("obey"),
            RULES,
            st.tuples(st.lists(st.sampled_from(ADAPTIVE), unique=True), st.booleans()),
        ),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_every_count_is_what_a_recount_gives(events: list[tuple[str, object, object]]) -> None:
    life = Life()
    for name, first, second in events:
        numbers = list(life.out)
        if name == "claim":
            life.claim(first, second)  # type: ignore[arg-type]
        elif name == "half":
            life.open_half()
        elif name == "obey":
            life.obey(first, *second)  # type: ignore[arg-type, misc]
        elif name == "keep":
            life.keep({number for number in numbers if number % 8 != first})
        elif numbers and name == "finish":
            life.finish(numbers[first % len(numbers)], second)  # type: ignore[operator, arg-type]
        elif numbers:
            life.settle(numbers[first % len(numbers) :][:second])  # type: ignore[operator, misc]
        life.check()


def test_a_reload_under_an_adaptive_limit_does_not_leave_it_full(life: Life) -> None:
    rules = Rules(dependencies={queue("a"): "db"})
    life.obey(rules, [dependency("db")], False)
    for _ in range(4):
        life.claim(0, "A")
    # Two have ended and two are in a call under way when the queue leaves the dependency.
    for number in (1, 3):
        life.finish(number, OK)
    life.obey(Rules(), [dependency("db")], False)
    life.settle([1, 2, 3, 4])
    life.obey(rules, [dependency("db")], False)

    assert life.needs[dependency("db")].in_flight == 0
    assert life.gate.is_hungry([0])


def test_a_probe_that_leaves_the_dependency_is_no_probe_any_more(life: Life) -> None:
    rules = Rules(dependencies={queue("a"): "db"})
    life.obey(rules, [dependency("db")], False)
    life.claim(0, "A")
    life.finish(1, DEAD)
    life.open_half()
    life.claim(0, "A")
    life.check()

    life.obey(Rules(), [dependency("db")], False)
    life.check()
    life.obey(rules, [dependency("db")], False)
    life.check()


def test_classes_without_end_are_not_remembered(life: Life) -> None:
    life.obey(Rules(process={job_class("A"): 3}), [], False)

    for number in range(2 * MOST_KINDS):
        life.claim(0, f"Class{number}")
        life.settle([life.number])

    assert len(life.gate._by_kind) <= MOST_KINDS
