"""What the rows that compare no rates make of what they saw."""

from __future__ import annotations

import pytest

from bench.latency import percentile, summarise
from bench.memory import per_job

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)], ids=str
)
def test_percentile_is_a_value_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.99) == 7.0


def test_latency_is_the_median_of_the_runs_percentiles() -> None:
    slow, middle, fast = ([value] * 10 for value in (9.0, 2.0, 1.0))

    figures = summarise([slow, fast, middle])

    assert figures["p50_ms"] == 2.0
    assert [run["p50_ms"] for run in figures["runs"]] == [9.0, 1.0, 2.0]


def test_curve_goes_from_the_first_to_the_last_of_all_runs() -> None:
    curve = summarise([[3.0, 1.0], [2.0, 4.0]])["curve_ms"]

    assert (len(curve), curve[0], curve[500], curve[-1]) == (1001, 1.0, 2.0, 4.0)


def test_memory_of_a_job_is_what_the_jobs_have_added_by_any_part() -> None:
    idle = {"ruby": 60_000_000, "python": 20_000_000, "redis clients": 0}
    full = {"ruby": 160_000_000, "python": 36_000_000, "redis clients": 1_000_000}

    figures = per_job(idle, full, jobs=10_000)

    assert figures["kb_per_job"] == 11.7
    assert figures["kb_per_job_by_part"] == {"ruby": 10.0, "python": 1.6, "redis clients": 0.1}
    assert (figures["mb"], figures["idle_mb"]) == (197.0, 80.0)
