"""Queue order, against Sidekiq's rules (strict, weighted, random)."""

import random
from collections import Counter

import pytest

from gokiq.order import QueueOrder


def simulate(order: QueueOrder, lengths: dict[int, int], want: int) -> list[int]:
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


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_weights_3_to_1_hold_whatever_the_batch_size(batch: int) -> None:
    order = QueueOrder([(0, 3), (1, 1)], "weighted", random.Random(7))
    found: Counter[int] = Counter()

    for _ in range(4000 // batch):
        found.update(simulate(order, {0: 10**6, 1: 10**6}, batch))

    share = found[0] / found.total()
    assert 0.72 < share < 0.78


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
