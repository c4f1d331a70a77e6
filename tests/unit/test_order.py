"""Queue order: Sidekiq's rules (strict, weighted, random), and weights that hold in time."""

import heapq
import random
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gokiq.claiming.queue_order import (
    Order,
    QueueOrder,
    Reserve,
    TimeOrder,
    by_time,
    emptied,
    reserved,
)
from gokiq.errors import ConfigError


def simulate(order: Order, lengths: dict[int, int], want: int) -> list[int]:
    """Follow a plan as lua/settle_claim.lua does; returns the route of each job found."""
    found: list[int] = []
    left = dict(lengths)
    for route, most in order.plan(want):
        n = min(most, want - len(found), left[route])
        found += [route] * n
        left[route] -= n
    return found


def test_strict_order_empties_the_first_queue_before_the_second() -> None:
    order = QueueOrder([(0, 0), (1, 0), (2, 0)], "strict", random.Random(1))

    assert simulate(order, {0: 3, 1: 2, 2: 9}, 7) == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_weights_3_to_1_hold_whatever_the_batch_size(batch: int) -> None:
    order = QueueOrder([(0, 3), (1, 1)], "weighted", random.Random(7))
    found: Counter[int] = Counter()

    for _ in range(max(4000 // batch, 80)):
        found.update(simulate(order, {0: 10**6, 1: 10**6}, batch))

    share = found[0] / found.total()
    assert 0.72 < share < 0.78


def test_a_large_claim_asks_few_of_many_queues_unless_these_have_too_little() -> None:
    order = QueueOrder([(route, 1) for route in range(200)], "weighted", random.Random(7))
    full = dict.fromkeys(range(200), 10**6)
    found: Counter[int] = Counter()

    for _ in range(2000):
        claim = Counter(simulate(order, full, 500))
        assert claim.total() == 500
        assert len(claim) <= 50
        found.update(claim)

    assert all(0.7 < found[route] * 200 / found.total() < 1.3 for route in range(200))
    assert len(simulate(order, dict.fromkeys(range(200), 1), 500)) == 200


def test_equal_weights_are_uniform() -> None:
    order = QueueOrder([(0, 1), (1, 1), (2, 1), (3, 1)], "random", random.Random(3))
    first = Counter(order.plan(1)[0][0] for _ in range(4000))

    assert all(900 < first[route] < 1100 for route in range(4))


def test_a_queue_without_weight_counts_one_among_weighted_ones() -> None:
    order = QueueOrder([(0, 0), (1, 4)], "weighted", random.Random(5))
    first = Counter(order.plan(1)[0][0] for _ in range(5000))

    assert 0.17 < first[0] / 5000 < 0.23


def test_what_the_first_choice_does_not_have_comes_from_the_other_queues() -> None:
    order = QueueOrder([(0, 3), (1, 1)], "weighted", random.Random(2))

    assert sorted(simulate(order, {0: 0, 1: 50}, 20)) == [1] * 20
    assert len(simulate(order, {0: 5, 1: 5}, 20)) == 10


def test_caps_hold_over_all_steps_of_a_route() -> None:
    order = QueueOrder([(0, 3), (1, 1)], "weighted", random.Random(2))

    steps = order.plan(100, {0: 7, 1: 0})

    assert sum(most for route, most in steps if route == 0) == 7
    assert all(route == 0 for route, _ in steps)
    assert QueueOrder([(0, 0), (1, 0)], "strict", random.Random(1)).plan(5, {0: 2}) == [
        (0, 2),
        (1, 5),
    ]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(
    order: Order, lengths: dict[int, int], runs: dict[int, float], *, slots: int, seconds: float
) -> dict[int, float]:
    """Claim and run as the dispatcher does, each route's jobs for `runs` seconds; returns the
    slot-seconds of each.
    """
    clock = order._clock if isinstance(order, TimeOrder) else Clock()
    assert isinstance(clock, Clock)
    left, free, used = dict(lengths), slots, dict.fromkeys(lengths, 0.0)
    ends: list[tuple[float, int, int]] = []
    while clock.now < seconds:
        steps = order.plan(free)
        counts, want = [], free
        for route, most in steps:
            count = min(most, want, left[route])
            left[route] -= count
            want -= count
            counts.append(count)
            if count:
                order.changed(route, count)
                heapq.heappush(ends, (clock.now + runs[route], route, count))
                used[route] += count * min(runs[route], seconds - clock.now)
        order.found(emptied(free, steps, counts))
        free = want
        if not ends:
            break
        clock.now, route, count = heapq.heappop(ends)
        order.changed(route, -count)
        free += count
    return used


def test_by_sidekiqs_rule_a_queue_of_slow_jobs_gets_more_time_than_its_weight() -> None:
    order = QueueOrder([(0, 3), (1, 1)], "weighted", random.Random(1))

    used = work(order, {0: 10**9, 1: 10**9}, {0: 0.01, 1: 1.0}, slots=20, seconds=10)

    assert used[0] / sum(used.values()) < 0.2


def test_weights_in_time_hold_whatever_the_run_times() -> None:
    order = TimeOrder([(0, 3), (1, 1)], Clock())

    used = work(order, {0: 10**9, 1: 10**9}, {0: 0.01, 1: 1.0}, slots=20, seconds=10)

    assert 0.72 < used[0] / sum(used.values()) < 0.78


def test_an_empty_queues_share_goes_to_the_others_by_their_weights() -> None:
    order = TimeOrder([(0, 5), (1, 3), (2, 1)], Clock())

    used = work(order, {0: 0, 1: 10**9, 2: 10**9}, {0: 1, 1: 0.1, 2: 2.0}, slots=20, seconds=40)

    assert used[0] == 0
    assert 0.72 < used[1] / sum(used.values()) < 0.78


def test_a_queue_that_was_empty_is_asked_for_its_share_first() -> None:
    order = TimeOrder([(0, 1), (1, 1)], Clock())
    order.found({1})

    steps = order.plan(10)

    assert steps[0] == (1, 5)
    assert sorted(simulate(order, {0: 99, 1: 99}, 10)) == [0] * 5 + [1] * 5
    assert simulate(order, {0: 99, 1: 0}, 10) == [0] * 10


def test_weights_in_time_keep_to_caps() -> None:
    order = TimeOrder([(0, 1), (1, 1)], Clock())

    assert sum(most for route, most in order.plan(10, {0: 3, 1: 0}) if route == 0) == 3
    assert all(route == 0 for route, _ in order.plan(10, {0: 3, 1: 0}))


@given(
    st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 9), st.integers(0, 30))),
    st.integers(1, 50),
    st.sets(st.integers(0, 5)),
)
def test_a_plan_finds_all_that_is_wanted_where_it_is(
    queues: dict[int, tuple[int, int]], want: int, empty: set[int]
) -> None:
    if not queues:
        return
    lengths = {route: length for route, (_, length) in queues.items()}
    order = TimeOrder([(route, weight) for route, (weight, _) in queues.items()], Clock())
    order.found(empty)

    assert len(simulate(order, lengths, want)) == min(want, sum(lengths.values()))


def test_empty_are_routes_that_had_less_than_was_still_wanted() -> None:
    steps = [(0, 5), (1, 10), (0, 9), (2, 9)]

    assert emptied(12, steps, [5, 4, 3, 0]) == {1}
    assert emptied(12, steps, [5, 4, 0, 2]) == {0, 1, 2}


def test_slots_are_kept_for_a_queue_until_it_has_its_minimum() -> None:
    reserve = Reserve({1: 5, 2: 2})

    assert reserve.split(20, lambda route: 0) == ([(1, 5), (2, 2)], 13)
    assert reserve.split(20, lambda route: {1: 4, 2: 9}[route]) == ([(1, 1)], 19)
    assert reserve.split(6, lambda route: 0) == ([(1, 5), (2, 1)], 0)
    assert reserve.split(0, lambda route: 0) == ([], 0)


def test_settings_say_whether_weights_hold_in_time_and_what_is_reserved() -> None:
    assert not by_time({})
    assert not by_time({"weights": "picks"})
    assert by_time({"weights": "time"})
    assert reserved({}) == {}
    assert reserved({"reserve": {"critical": 5}}) == {"critical": 5}


@pytest.mark.parametrize(
    ("parse", "settings", "said"),
    [
        (by_time, {"weights": "fair"}, "weights 'fair': must be picks or time"),
        (reserved, {"reserve": 5}, "reserve 5: must be a mapping"),
        (reserved, {"reserve": {"critical": "5"}}, "reserve.critical '5': must be a whole number"),
        (reserved, {"reserve": {"critical": -1}}, "reserve.critical -1: must be a whole number"),
        (
            reserved,
            {"reserve": {"critical": True}},
            "reserve.critical True: must be a whole number",
        ),
    ],
)
def test_a_wrong_setting_is_named(
    parse: Callable[[dict[str, object]], object], settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(settings)
