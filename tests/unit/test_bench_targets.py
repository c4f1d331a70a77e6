"""Which rows of the suite's table are met, and what stands there when they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.summary import LIMITS, count, make_blocks, read_records
from bench.targets import ROWS, Verdict, judge, read_limits

pytestmark = pytest.mark.unit


def verdict(records: dict[str, Any], row: str, **limits: str) -> Verdict:
    [found] = [one for one in judge(records, limits) if one.name == row]
    return found


def noop(ratio: float = 12.0, cpu_part: float = 0.125) -> dict[str, Any]:
    return {"noop": {"ratio": ratio, "cpu_part": cpu_part}}


def marks(found: Verdict) -> list[bool | None]:
    return [finding.is_met for finding in found.findings]


@pytest.mark.parametrize(
    ("ratio", "cpu_part", "expected"),
    [(12.0, 0.125, [True, True]), (11.99, 0.1, [False, True]), (20.0, 0.13, [True, False])],
    ids=["at the bounds", "too slow", "too dear"],
)
def test_row_is_met_when_every_figure_is_within_its_bound(
    ratio: float, cpu_part: float, expected: list[bool]
) -> None:
    found = verdict(noop(ratio, cpu_part), "noop")

    assert marks(found) == expected
    assert found.is_met is all(expected)


def test_row_without_figures_is_not_met() -> None:
    found = verdict({}, "noop")

    assert [finding.reached for finding in found.findings] == ["not measured"] * 2
    assert found.is_met is False


def test_reason_stands_only_where_a_row_is_not_met() -> None:
    assert verdict(noop(3.0), "noop", noop="Ruby is the limit").reason == "Ruby is the limit"
    assert verdict(noop(30.0), "noop", noop="Ruby is the limit").reason == ""


def test_failure_of_a_row_is_its_reason() -> None:
    found = verdict({"noop": {"failed": "DevError: redis ended"}}, "noop", noop="slow")

    assert found.reason == "DevError: redis ended; slow"


def test_figure_that_nothing_is_asked_of_is_reported() -> None:
    found = verdict({"http": {"ratio": 0.9}}, "http")

    assert (marks(found), found.is_met) == ([None], None)
    assert found.findings[0].reached == "0.90"


@pytest.mark.parametrize(("ours", "is_met"), [(0.49, True), (0.5, False)], ids=["below", "equal"])
def test_latency_has_to_be_below_sidekiqs(ours: float, is_met: bool) -> None:
    records = {
        "latency": {
            "sidekiq": {"p50_ms": 0.5, "p99_ms": 9.0},
            "gokiq": {"p50_ms": ours, "p99_ms": 1.0},
        }
    }

    assert marks(verdict(records, "latency")) == [is_met, True]


def test_connections_are_the_most_of_any_row() -> None:
    cheap = {"cpu_us_per_job": {"redis": 1.0}, "redis_commands_per_job": 0.05}
    records = {
        "noop": {"gokiq": {**cheap, "redis_connections": 3}},
        "sleep-5000": {"gokiq": {"redis_connections": 5}},
    }

    assert marks(verdict(records, "redis")) == [True, True, False]


def test_ratio_to_each_setting_of_sidekiq_is_told() -> None:
    def system(rate: float, **settings: int) -> dict[str, Any]:
        return {"jobs_per_s": rate, "settings": settings}

    records = {
        "sleep-5kb": {
            "sidekiq": system(500.0, threads=50),
            "others": [system(100.0, threads=10)],
            "gokiq": system(4000.0, workers=1),
        }
    }

    reached = [finding.reached for finding in verdict(records, "sleep-5kb").findings]
    assert reached == ["4,000", "40.0", "8.0"]


def test_worst_case_of_the_micro_suite_counts() -> None:
    times = {"json.loads": {"small": 30.0, "large": 9.0}, "plain": {"frame": 5.0}}

    assert marks(verdict({"micro": {"times": times, "misses": ""}}, "micro")) == [False, True]


def axis(growth: float, why: str) -> dict[str, Any]:
    return {"title": "queues", "growth": growth, "is_flat": growth <= 1.2, "why": why}


@pytest.mark.parametrize(
    ("one", "mark", "is_met", "reason"),
    [
        (axis(1.1, ""), True, True, ""),
        (axis(3.0, "each is looked at"), None, True, "queues: each is looked at"),
        (axis(3.0, ""), False, False, ""),
    ],
    ids=["flat", "steep, with a reason", "steep, without one"],
)
def test_growth_is_flat_or_has_a_reason(
    one: dict[str, Any], mark: bool | None, is_met: bool, reason: str
) -> None:
    found = verdict({"growth": {"axes": {"queues": one}}}, "growth")

    assert (marks(found), found.is_met, found.reason) == ([mark], is_met, reason)


def test_count_leaves_out_rows_that_are_only_reported() -> None:
    verdicts = judge({**noop(), "http": {"ratio": 2.0}}, {})

    asked = len(ROWS) + 1 - 3
    assert count(verdicts) == f"1 of {asked} rows with a target are met."


def test_reasons_in_the_checkout_are_of_rows_that_exist() -> None:
    names = {row.name for row in ROWS} | {"growth"}

    assert set(read_limits(LIMITS)) <= names


def test_report_can_be_made_of_nothing(tmp_path: Path) -> None:
    records = read_records(tmp_path)

    assert records == {}
    assert make_blocks(records, judge(records, {}), [], [])
