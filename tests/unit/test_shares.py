"""Fair shares in time, by simulation: slots, jobs of different length, a fake clock, seeded."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gokiq.claiming.fair_shares import MAX_AHEAD_S, Shares

Run = Callable[[random.Random], float]
PLENTY = 1_000_000


def steady(seconds: float) -> Run:
    return lambda rng: seconds


def spread(mean_s: float) -> Run:
    return lambda rng: rng.expovariate(1 / mean_s)


def simulate(
    weights: Mapping[str, float],
    runs: Mapping[str, Run],
    *,
    slots: int,
    seconds: float,
    present: Callable[[str, float], bool] = lambda key, now: True,
    since: float = 0.0,
    seed: int = 1,
) -> dict[str, float]:
    """Share of the slot-seconds between `since` and the end that each key had."""
    rng = random.Random(seed)
    shares: Shares[str] = Shares(weights)
    used = dict.fromkeys(weights, 0.0)
    ends: list[tuple[float, int, str]] = []
    now, free, number = 0.0, slots, 0
    while now < seconds:
        here = [key for key in weights if present(key, now)]
        shares.hungry(here, now)
        for key, count in shares.divide(free, dict.fromkeys(here, PLENTY)).items():
            shares.changed(key, count, now)
            free -= count
            for _ in range(count):
                end = now + runs[key](rng)
                used[key] += max(min(end, seconds) - max(now, since), 0.0)
                heapq.heappush(ends, (end, number, key))
                number += 1
        now, _, key = heapq.heappop(ends)
        shares.changed(key, -1, now)
        free += 1
    total = sum(used.values())
    return {key: value / total for key, value in used.items()}


@pytest.mark.parametrize(
    ("runs", "slots", "seconds"),
    [
        ({"a": spread(0.01), "b": spread(1.0)}, 100, 10),
        ({"a": spread(1.0), "b": spread(0.01)}, 100, 10),
        ({"a": steady(0.01), "b": steady(1.0)}, 4, 60),
        ({"a": spread(0.02), "b": spread(2.0)}, 1, 600),
    ],
    ids=["the light one is slow", "the heavy one is slow", "few slots", "one slot"],
)
def test_busy_time_follows_3_to_1_however_long_the_jobs_are(
    runs: dict[str, Run], slots: int, seconds: float
) -> None:
    share = simulate({"a": 3, "b": 1}, runs, slots=slots, seconds=seconds)

    assert 0.72 < share["a"] < 0.78


def test_many_weights_hold_with_run_times_a_thousandfold_apart() -> None:
    weights = {"a": 5, "b": 4, "c": 3, "d": 2, "e": 1}
    runs = {
        "a": spread(0.01),
        "b": spread(1),
        "c": spread(0.1),
        "d": spread(5),
        "e": spread(0.005),
    }

    share = simulate(weights, runs, slots=30, seconds=30)

    assert share == pytest.approx({key: w / 15 for key, w in weights.items()}, abs=0.02)


def test_a_weight_too_small_for_one_slot_holds_in_the_long_run() -> None:
    runs = {"a": spread(0.05), "b": spread(1.0)}

    share = simulate({"a": 100, "b": 1}, runs, slots=10, seconds=300)

    assert share["b"] < 0.02


def test_a_key_that_comes_late_gets_its_share_and_no_more() -> None:
    runs = {"old": steady(60.0), "new": spread(0.05)}

    share = simulate(
        {"old": 1, "new": 1},
        runs,
        slots=10,
        seconds=400,
        present=lambda key, now: key == "old" or now >= 90,
        since=120.0,
    )

    assert 0.45 < share["new"] < 0.55


def test_time_without_jobs_is_no_credit() -> None:
    """Who was away for 100 s does not take all slots when it is back."""
    shares: Shares[str] = Shares()
    shares.hungry(["a", "b"], 0.0)
    shares.changed("a", 5, 0.0)
    shares.changed("b", 5, 0.0)
    shares.changed("b", -5, 1.0)
    shares.hungry(["a"], 1.0)
    shares.changed("a", 5, 1.0)

    shares.hungry(["a", "b"], 100.0)

    shares.changed("a", -10, 100.0)
    assert shares.divide(10, {"a": PLENTY, "b": PLENTY}) == {"a": 5, "b": 5}


def test_a_debt_is_not_shed_by_having_no_jobs_for_a_moment() -> None:
    shares: Shares[str] = Shares()
    shares.hungry(["a", "b"], 0.0)
    shares.changed("a", 10, 0.0)
    shares.changed("a", -10, 10.0)
    shares.hungry(["b"], 10.0)

    shares.hungry(["a", "b"], 10.0)

    assert shares.order(["a", "b"]) == ["b", "a"]
    assert shares.divide(4, {"a": PLENTY, "b": PLENTY}) == {"b": 4}


def test_keys_without_jobs_are_forgotten() -> None:
    shares: Shares[int] = Shares()
    for key in range(1000):
        shares.hungry([key, key + 1], float(key))
        shares.changed(key, 1, float(key))
        shares.changed(key, -1, key + 0.5)

    shares.hungry([], 2000.0)
    shares.hungry([], 2001.0)

    assert len(shares) == 0


def test_nobody_is_counted_further_ahead_than_the_bound() -> None:
    shares: Shares[str] = Shares()
    shares.hungry(["a"], 0.0)
    shares.changed("a", 1, 0.0)

    shares.hungry(["a"], 86_400.0)

    assert shares.ahead_s() == MAX_AHEAD_S


@given(
    st.dictionaries(st.integers(0, 9), st.integers(0, 20)),
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 9), st.integers(-3, 3), st.floats(0, 5)), max_size=30),
)
def test_all_that_is_wanted_and_there_is_given_and_no_more(
    most: dict[int, int], want: int, past: list[tuple[int, int, float]]
) -> None:
    shares: Shares[int] = Shares({1: 3.0, 2: 0.5})
    now = 0.0
    for key, by, passed in past:
        now += passed
        shares.changed(key, by, now)

    shares.hungry(most, now)
    given_ = shares.divide(want, most)

    assert sum(given_.values()) == min(want, sum(most.values()))
    assert all(0 < count <= most[key] for key, count in given_.items())


@settings(max_examples=10)
@given(
    st.integers(2, 6),
    st.integers(1, 12),
    st.lists(st.sampled_from([0.05, 0.2, 1.0]), min_size=6, max_size=6),
    st.integers(0, 1000),
)
def test_nobody_starves(keys: int, slots: int, means: list[float], seed: int) -> None:
    weights = {str(k): 1.0 for k in range(keys)}
    runs = {str(k): spread(means[k]) for k in range(keys)}
    longest = max(means[:keys])

    share = simulate(weights, runs, slots=slots, seconds=60 * longest * keys / slots, seed=seed)

    assert min(share.values()) > 0.4 / keys


def test_time_behind_a_limit_is_no_credit() -> None:
    """Who may run one job only for 100 s does not take all slots afterwards."""
    shares: Shares[str] = Shares()
    shares.hungry(["a", "b"], 0.0)
    shares.changed("a", 9, 0.0)
    shares.changed("b", 1, 0.0)
    shares.hungry(["a"], 0.0)
    shares.hungry(["a"], 100.0)

    shares.hungry(["a", "b"], 100.0)

    shares.changed("a", -9, 100.0)
    shares.changed("b", -1, 100.0)
    assert shares.divide(10, {"a": PLENTY, "b": PLENTY}) == {"a": 5, "b": 5}
