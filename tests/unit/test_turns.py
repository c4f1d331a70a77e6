"""Turns of an app's capsules: the rules together."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from gokiq.app.info import AppInfo, Capsule, RedisAddress, Route
from gokiq.claiming.plan import Turns
from gokiq.errors import ConfigError


def an_app(
    settings: Mapping[str, Any], *, mode: str = "weighted", concurrency: int = 10
) -> AppInfo:
    capsules = (
        Capsule("default", concurrency, mode, (("critical", 3), ("bulk", 1))),
        Capsule("other", 2, "strict", (("bulk", 0),)),
    )
    return AppInfo(
        versions={},
        environment="test",
        tag="",
        labels=(),
        capsules=capsules,
        routes=tuple(Route(c.name, q) for c in capsules for q, _ in c.queues),
        redis=RedisAddress(),
        slots=10,
        lane="fiber",
        timeout_s=25,
        dead_max_jobs=1,
        dead_timeout_s=1,
        poll_interval_average_s=None,
        average_poll_interval_s=5,
        settings=settings,
    )


def turns(settings: Mapping[str, Any], **options: Any) -> Turns:
    return Turns(an_app(settings, **options), random.Random(1), lambda: 0.0)


def totals(wishes: list[tuple[int, list[tuple[int, int]]]]) -> list[tuple[int, dict[int, int]]]:
    """Of each wish what it wants, and the most of each route."""
    result = []
    for want, steps in wishes:
        most: dict[int, int] = {}
        for route, count in steps:
            most[route] = most.get(route, 0) + count
        result.append((want, most))
    return result


def test_without_settings_a_capsule_asks_its_queues_for_all() -> None:
    (wish,) = turns({}, mode="strict").wishes("default", 7, 9)

    assert wish == (7, [(0, 7), (1, 7)])
    assert turns({}).caps("default", 9) == {}


def test_what_a_queue_lacks_of_its_reserve_is_asked_for_first_and_kept_from_the_others() -> None:
    some = turns({"reserve": {"critical": 4}}, mode="strict")
    some.changed(0, 1)

    assert totals(some.wishes("default", 9, 9)) == [(3, {0: 3}), (6, {0: 6, 1: 6})]
    assert some.caps("default", 9) == {0: 9, 1: 6}
    assert some.caps("default", 3) == {0: 3, 1: 0}
    assert totals(some.wishes("default", 3, 3)) == [(3, {0: 3})]


def test_fewer_jobs_are_wanted_than_slots_are_free() -> None:
    some = turns({"reserve": {"critical": 4}}, mode="strict")

    assert totals(some.wishes("default", 2, 9)) == [(2, {0: 2})]
    assert totals(some.wishes("default", 5, 9)) == [(4, {0: 4}), (1, {0: 1, 1: 1})]


def test_a_reserve_keeps_to_the_caps_of_its_queue() -> None:
    some = turns({"reserve": {"critical": 4}}, mode="strict")

    assert totals(some.wishes("default", 9, 9, {0: 1})) == [(1, {0: 1}), (5, {1: 5})]
    assert totals(some.wishes("default", 9, 9, {0: 0, 1: 0})) == [(5, {})]


@pytest.mark.parametrize("concurrency", [3, 4])
def test_a_reserve_that_leaves_the_others_nothing_is_refused(concurrency: int) -> None:
    with pytest.raises(ConfigError, match="reserve: 4 slots of capsule default, which has"):
        turns({"reserve": {"critical": 4}}, concurrency=concurrency)


def test_a_reserve_of_a_queue_that_nobody_reads_is_no_reserve() -> None:
    assert turns({"reserve": {"elsewhere": 99}}).caps("default", 5) == {}


def test_weights_hold_in_time_where_there_are_weights() -> None:
    by_time = turns({"weights": "time"})
    by_time.changed(0, 6)

    want, most = totals(by_time.wishes("default", 4, 4))[0]

    assert want == 4
    assert by_time.wishes("default", 4, 4)[0][1][0] == (1, 3)  # then 7 : 3
    assert min(most.values()) >= 4
    assert turns({"weights": "time"}, mode="strict").wishes("default", 2, 2) == [
        (2, [(0, 2), (1, 2)])
    ]


def test_a_queue_that_had_less_than_it_was_asked_for_has_no_more() -> None:
    some = turns({"reserve": {"critical": 4}}, mode="strict")
    wishes = [(4, [(0, 4)]), (6, [(0, 2), (1, 4), (0, 4)])]

    assert some.found("default", zip(wishes, [[4], [2, 3, 1]], strict=True)) == {1}
    assert some.found("default", zip(wishes, [[3], [0, 4, 0]], strict=True)) == {0}
    assert some.found("gone", []) == set()


def test_after_a_reload_running_jobs_and_tenants_count_as_before() -> None:
    settings = {"reserve": {"critical": 4}, "tenants": {"bulk": "args.0"}}
    former, new = turns(settings), turns(settings)
    former.changed(0, 3)

    new.follow(former)

    assert new.caps("default", 5) == {0: 5, 1: 4}
    assert new.tenants[1] is former.tenants[1]
    other = turns({"tenants": {"bulk": "args.1"}})
    other.follow(former)
    assert other.tenants[1] is not former.tenants[1]
    assert set(new.tenants) == {1, 2}
