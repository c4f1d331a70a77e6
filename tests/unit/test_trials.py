"""How suspects are halved until the guilty one is alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gokiq.store.crash_record import Record
from gokiq.workers.suspects import SUSPECT_AFTER, Verdict, judge
from gokiq.workers.trials import TRIAL_S, Trials


class Court:
    """Jobs that run together as they are told; time is counted in seconds from 0.

    A guilty job kills its worker `after[job]` seconds after it was let in.
    """

    def __init__(
        self,
        jobs: Iterable[int],
        after: dict[int, float],
        *,
        room: int = 1000,
        runs_s: dict[int, float] | None = None,
    ) -> None:
        self.trials = Trials()
        self.after = after
        self.runs_s = runs_s or {}
        self.room = room
        self.now = 0.0
        self.records = dict.fromkeys(jobs, SUSPECT_AFTER)
        self.running: dict[int, float] = {}
        self.done: set[int] = set()
        self.free: set[int] = set()
        self.convicted: list[int] = []
        self.crashes = 0
        self.trials.accuse(jobs)

    def events(self) -> list[tuple[float, bool, int]]:
        """(when, whether it kills the worker, job) of all that run."""
        return [
            (since + self.after.get(job, self.runs_s.get(job, 0.1)), job in self.after, job)
            for job, since in self.running.items()
        ]

    def work(self) -> None:
        """Until nobody waits or runs."""
        for _ in range(10_000):
            if self.trials.is_over(self.running, self.now) and self.trials.waiting():
                room = self.room - len(self.running)
                if room:
                    let_in = self.trials.next(room, self.now)
                    self.running |= dict.fromkeys(let_in, self.now)
            elif not self.running:
                return
            over = self.now + self.trials.trial_s / 4
            when, kills, job = min(self.events(), default=(over, False, -1))
            if when > over:
                self.now = over
                continue
            self.now = max(when, self.now)
            if kills:
                self.crash()
            else:
                del self.running[job]
                self.done.add(job)
        raise AssertionError("no end")

    def crash(self) -> None:
        self.crashes += 1
        finding = self.trials.crashed(self.running, self.now, in_company=False)
        there = set(self.running)
        self.running.clear()
        assert there == set(finding.blamed) | set(finding.interrupted)
        self.free |= set(finding.acquitted)
        group = []
        for job in finding.blamed:
            self.records[job] += 1
            if judge(Record(self.records[job], finding.is_alone, 0.0)) is Verdict.GUILTY:
                assert there == {job}, "convicted in company"
                self.convicted.append(job)
            else:
                group.append(job)
        self.trials.accuse(group)
        self.trials.admit(finding.interrupted)


def bound(count: int, guilty: int) -> int:
    """Crashes in the suspects' worker."""
    return guilty * (math.ceil(math.log2(max(count, 2))) + 1)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 500])
def test_the_guilty_one_is_found_in_about_log2_crashes_wherever_it_is(count: int) -> None:
    for guilty in {0, count // 3, count - 1}:
        court = Court(range(count), {guilty: 0.01})

        court.work()

        assert court.convicted == [guilty]
        assert court.crashes <= bound(count, 1)
        assert court.done | court.free == set(range(count)) - {guilty}
        assert court.now < bound(count, 1) * TRIAL_S


def test_when_nobody_is_guilty_everybody_runs_once_and_nobody_waits_for_long() -> None:
    court = Court(range(100), {}, runs_s=dict.fromkeys(range(100), 3600.0))

    court.work()

    assert (court.crashes, court.convicted, court.free) == (0, [], set())
    assert court.done == set(range(100))
    assert court.now <= 3600.0 + 8 * 1.25 * TRIAL_S


@given(
    st.integers(1, 60).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.dictionaries(st.integers(0, n - 1), st.floats(0.0, 40.0), max_size=5),
            st.dictionaries(st.integers(0, n - 1), st.floats(0.0, 400.0)),
            st.integers(1, 60),
        )
    )
)
def test_no_innocent_is_convicted_and_every_guilty_one_is_convicted_or_free_to_kill_again(
    scene: tuple[int, dict[int, float], dict[int, float], int],
) -> None:
    count, guilty, runs_s, room = scene
    court = Court(range(count), guilty, room=room, runs_s=runs_s)

    court.work()

    assert set(court.convicted) <= set(guilty)
    assert len(court.convicted) == len(set(court.convicted))
    assert court.done == set(range(count)) - set(guilty) - court.free
    # Those acquitted by another's guilt are suspects again after two more crashes.
    assert set(guilty) <= set(court.convicted) | court.free
    assert bool(court.convicted) == bool(guilty)
    # Slow killers make the trials longer, seven times at most for each.
    assert court.crashes <= bound(count, len(guilty)) + 8 * len(guilty)


def test_who_is_not_alone_is_not_convicted() -> None:
    trials = Trials()
    trials.accuse([1, 2])
    assert trials.next(9, now=0.0) == [1]
    assert trials.is_over([1], now=TRIAL_S)
    assert trials.next(9, now=TRIAL_S) == [2]

    finding = trials.crashed([1, 2], TRIAL_S + 1, in_company=False)

    assert (finding.blamed, finding.is_alone) == ([2], False)
    assert finding.interrupted == [1]


def test_jobs_that_are_no_suspects_are_company() -> None:
    trials = Trials()
    trials.accuse([1])
    trials.next(9, now=0.0)

    assert not trials.crashed([1], 0.1, in_company=True).is_alone


def test_a_late_crash_blames_all_and_makes_the_trials_longer() -> None:
    trials = Trials()
    trials.accuse([1, 2, 3, 4])
    trials.next(9, now=0.0)
    trials.next(9, now=5.0)

    finding = trials.crashed([1, 2, 3], 10.0, in_company=False)

    assert (finding.blamed, finding.acquitted) == ([1, 2, 3], [])
    assert trials.waiting() == [4]
    assert trials.trial_s == 2 * TRIAL_S
