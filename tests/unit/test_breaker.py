"""The breaker: opens on failures, pauses, probes, closes."""

import random
from collections.abc import Callable

import pytest

from gokiq.limits.breaker import Breaker, BreakerSettings

SETTINGS = BreakerSettings(
    failure_rate=0.5, window_s=10, volume=4, pause_s=8, longest_pause_s=60, probes=2
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(SETTINGS, clock=clock, rng=random.Random(1))


def fail(breaker: Breaker, clock: Clock, jobs: int) -> None:
    for _ in range(jobs):
        breaker.observe(False, clock.now)


def half_open(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, clock, SETTINGS.volume)
    clock.now = _retry_at(breaker)
    assert breaker.admit() == SETTINGS.probes


def _retry_at(breaker: Breaker) -> float:
    assert breaker.retry_at is not None
    return breaker.retry_at


def test_it_admits_any_number_while_few_fail(breaker: Breaker, clock: Clock) -> None:
    for i in range(100):
        breaker.observe(i % 3 != 2, clock.now)

    assert breaker.admit() is None
    assert (breaker.state, breaker.retry_at) == ("closed", None)


def test_it_opens_at_the_failure_rate_but_not_below_the_volume(
    breaker: Breaker, clock: Clock
) -> None:
    fail(breaker, clock, SETTINGS.volume - 1)
    assert breaker.admit() is None

    breaker.observe(False, clock.now)

    assert (breaker.state, breaker.admit()) == ("open", 0)


def test_failures_older_than_the_window_do_not_count(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, clock, SETTINGS.volume - 1)
    clock.now += SETTINGS.window_s + 1

    fail(breaker, clock, SETTINGS.volume - 1)

    assert breaker.state == "closed"


def test_after_the_pause_it_lets_only_the_probes_through(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)

    breaker.claimed(clock.now)
    assert breaker.admit() == 1
    breaker.claimed(clock.now)
    assert breaker.admit() == 0
    breaker.returned(clock.now)
    assert breaker.admit() == 1


def test_it_closes_when_all_probes_succeed(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    breaker.claimed(clock.now, 2)

    assert breaker.observe(True, clock.now) is False
    assert breaker.observe(True, clock.now) is True

    assert breaker.admit() is None


def test_one_probe_that_fails_opens_it_for_twice_as_long(breaker: Breaker, clock: Clock) -> None:
    pauses = []
    for _ in range(8):
        half_open(breaker, clock) if not pauses else breaker.admit()
        breaker.claimed(clock.now)
        breaker.observe(False, clock.now)
        assert breaker.admit() == 0
        pauses.append(_retry_at(breaker) - clock.now)
        clock.now = _retry_at(breaker)

    for i, pause in enumerate(pauses):
        longest = min(SETTINGS.longest_pause_s, SETTINGS.pause_s * 2 ** (i + 1))
        assert longest / 2 <= pause <= longest
    assert len({pause % 1 for pause in pauses}) == len(pauses)  # spread at random


def test_pauses_are_short_again_when_it_has_held_for_a_window(
    breaker: Breaker, clock: Clock
) -> None:
    half_open(breaker, clock)
    breaker.claimed(clock.now, 2)
    breaker.observe(True, clock.now)
    breaker.observe(True, clock.now)

    clock.now += SETTINGS.window_s
    breaker.observe(True, clock.now)
    fail(breaker, clock, SETTINGS.volume)

    assert _retry_at(breaker) - clock.now <= SETTINGS.pause_s


def test_flapping_makes_pauses_longer(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    breaker.claimed(clock.now, 2)
    breaker.observe(True, clock.now)
    breaker.observe(True, clock.now)

    fail(breaker, clock, SETTINGS.volume)

    assert _retry_at(breaker) - clock.now > SETTINGS.pause_s / 2
    assert _retry_at(breaker) - clock.now <= 2 * SETTINGS.pause_s


def test_jobs_claimed_before_it_opened_say_nothing_about_the_probes(
    breaker: Breaker, clock: Clock
) -> None:
    before = clock.now
    half_open(breaker, clock)
    breaker.claimed(clock.now, 2)

    for ok in (True, True, False):
        breaker.observe(ok, before)
        breaker.returned(before)

    assert (breaker.state, breaker.admit()) == ("half-open", 0)


def test_failures_claimed_before_it_closed_do_not_open_it_again(
    breaker: Breaker, clock: Clock
) -> None:
    before = clock.now
    half_open(breaker, clock)
    breaker.claimed(clock.now, 2)
    breaker.observe(True, clock.now)
    breaker.observe(True, clock.now)

    for _ in range(SETTINGS.volume):
        breaker.observe(False, before)

    assert breaker.state == "closed"


def test_probes_that_say_nothing_for_a_pause_are_replaced(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    breaker.claimed(clock.now, 2)
    assert breaker.admit() == 0

    clock.now = _retry_at(breaker)

    assert breaker.admit() == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: BreakerSettings(failure_rate=0),
        lambda: BreakerSettings(failure_rate=1.1),
        lambda: BreakerSettings(window_s=0),
        lambda: BreakerSettings(pause_s=400),
        lambda: BreakerSettings(volume=0),
        lambda: BreakerSettings(probes=0),
    ],
    ids=["no rate", "rate above 1", "no window", "pause above the longest", "volume", "probes"],
)
def test_settings_without_sense_are_refused(make: Callable[[], BreakerSettings]) -> None:
    with pytest.raises(ValueError, match="give"):
        make()
