"""What jobs of one dependency share."""

import random
import re
from typing import Any

import pytest

from gokiq.core import OK, RETRY, SHUTDOWN
from gokiq.errors import ConfigError
from gokiq.limits.adaptive import AdaptiveLimit
from gokiq.limits.breaker import Breaker, BreakerSettings
from gokiq.limits.dependency import Dependency
from gokiq.limits.overload import Verdict, judge
from gokiq.log import Style, configure, flush

ERROR = "ActiveRecord::ConnectionTimeoutError"


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, minimum: int = 4) -> Dependency:
    return Dependency(
        "db",
        limit=AdaptiveLimit(minimum, 100, clock=clock),
        breaker=Breaker(BreakerSettings(volume=4), clock=clock, rng=random.Random(1)),
        clock=clock,
    )


@pytest.mark.parametrize(
    ("status", "error", "verdict"),
    [
        (OK, "", Verdict.OK),
        (RETRY, ERROR, Verdict.OVERLOAD),
        (RETRY, "Billing::Down", Verdict.OVERLOAD),
        (RETRY, "NoMethodError", Verdict.IGNORED),
        (SHUTDOWN, "", Verdict.IGNORED),
    ],
)
def test_only_success_and_overload_say_something(status: int, error: str, verdict: Verdict) -> None:
    assert judge(status, error, {"Billing::Down"}) is verdict


def test_what_is_free_is_what_the_limit_leaves() -> None:
    dependency = make(Clock())

    dependency.count = lambda: 3
    assert (dependency.free(), dependency.blocked_by) == (1, "")
    dependency.count = lambda: 4
    assert (dependency.free(), dependency.blocked_by) == (0, "limit")
    dependency.count = lambda: 5
    assert dependency.free() == 0


def test_bugs_neither_open_the_breaker_nor_lower_the_limit() -> None:
    clock = Clock()
    dependency = make(clock)

    for _ in range(200):
        dependency.claimed(clock.now)
        dependency.finished("A", 0.1, clock.now, RETRY, "NoMethodError")

    assert (dependency.breaker, dependency.limit) == ("closed", 4)


def test_an_open_breaker_frees_nothing_and_says_until_when() -> None:
    clock = Clock()
    dependency = make(clock)
    dependency.claimed(clock.now, 4)

    for _ in range(4):
        dependency.finished("A", 0.1, clock.now, RETRY, ERROR)

    assert (dependency.free(), dependency.blocked_by) == (0, "breaker")
    assert dependency.retry_at is not None
    clock.now = dependency.retry_at
    assert dependency.free() == 3


def test_the_limit_starts_slowly_when_the_breaker_closes() -> None:
    clock = Clock()
    limit = AdaptiveLimit(2, 100, clock=clock)
    dependency = Dependency(
        "db", limit=limit, breaker=Breaker(BreakerSettings(volume=4), clock=clock)
    )
    dependency.claimed(clock.now, 4)
    for _ in range(4):
        dependency.finished("A", 0.1, clock.now, RETRY, ERROR)
    assert dependency.retry_at is not None
    clock.now = dependency.retry_at
    for _ in range(3):
        assert dependency.free()
        dependency.claimed(clock.now)
        dependency.finished("A", 0.1, clock.now, OK, "")

    assert (dependency.breaker, limit.limit, limit.phase) == ("closed", 2, "start")


def test_a_dependency_without_limit_and_breaker_admits_any_number() -> None:
    dependency = Dependency("plain")

    dependency.count = lambda: 1000

    assert (dependency.free(), dependency.blocked_by, dependency.limit) == (None, "", None)


def test_settings_make_limit_and_breaker() -> None:
    clock = Clock()
    settings = {
        "queues": ["invoices"],
        "min": 3,
        "max": 30,
        "tolerance": 2,
        "breaker": {"volume": 1, "pause": 2},
    }
    dependency = Dependency.from_settings("billing", settings, clock=clock)

    assert (dependency.limit, dependency.breaker) == (3, "closed")
    dependency.claimed(clock.now)
    dependency.finished("A", 0.1, clock.now, RETRY, ERROR)
    assert dependency.breaker == "open"


def test_a_breaker_can_stand_alone() -> None:
    settings = {"adaptive": False, "breaker": True, "errors": ["Billing::Down"]}
    dependency = Dependency.from_settings("billing", settings)

    assert (dependency.limit, dependency.free(), dependency.breaker) == (None, None, "closed")


@pytest.mark.parametrize(
    "settings",
    [
        {"maximum": 3},
        {"min": 0},
        {"min": 9, "max": 3},
        {"min": 1.5},
        {"min": True},
        {"tolerance": 1},
        {"tolerance": "much"},
        {"adaptive": "yes"},
        {"breaker": 3},
        {"breaker": {"pauses": 1}},
        {"breaker": {"pause": -1}},
        {"errors": "Billing::Down"},
        {"errors": 3},
    ],
    ids=str,
)
def test_wrong_settings_are_refused_with_name_and_cure(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^billing: .*give"):
        Dependency.from_settings("billing", settings)


def told(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """The lines since the last time."""
    flush()
    return [line.partition("tid=limits: ")[2] for line in capfd.readouterr().out.splitlines()]


def test_each_change_of_a_breaker_is_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    configure(style=Style.PLAIN)
    clock = Clock()
    dependency = make(clock)
    for _ in range(4):
        dependency.finished("Job", 0.1, clock.now, RETRY, ERROR)
    [opened] = told(capfd)
    assert re.fullmatch(
        r"The breaker of db is open: 4 of the last 4 jobs failed; "
        r"its jobs wait in their queues for \d\.\d s",
        opened,
    )
    dependency.finished("Job", 0.1, clock.now, RETRY, ERROR)
    assert told(capfd) == []

    clock.now += 6
    dependency.free()
    assert told(capfd) == ["The breaker of db lets some jobs through, to see how they fare"]
    dependency.finished("Job", 0.1, clock.now, RETRY, ERROR)
    assert told(capfd)[0].startswith("The breaker of db is open: a job that was let through failed")
    clock.now += 12
    dependency.free()
    for _ in range(3):
        dependency.finished("Job", 0.1, clock.now, OK, "")
    assert told(capfd)[-1] == "The breaker of db has closed: the jobs that it let through did well"


def test_a_limit_that_has_moved_by_more_than_a_half_is_a_line_with_the_cause(
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure(style=Style.PLAIN)
    clock = Clock()
    limit = AdaptiveLimit(4, 100, clock=clock)
    dependency = Dependency("db", limit=limit, clock=clock)
    dependency.count = lambda: limit.limit
    while limit.limit <= 6:
        dependency.finished("Job", 0.1, clock.now, OK, "")
        clock.now += 0.02
    [line] = told(capfd)
    assert re.fullmatch(
        r"The limit of db moves from 4 to \d+: jobs take 1\.\d times as long as unloaded", line
    )
    dependency.finished("Job", 0.1, clock.now, OK, "")
    assert told(capfd) == []

    high = limit.limit
    while limit.limit > 0.45 * high or clock.now < 70:
        dependency.finished("Job", 0.1, clock.now, RETRY, ERROR)
        clock.now += 5
    assert told(capfd)[0].startswith(f"The limit of db moves from {high} to ")
    assert told(capfd) == []
