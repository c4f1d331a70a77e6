"""The micro benchmarks: what is measured, and the ratios that come of it."""

from __future__ import annotations

from typing import Any

import pytest

from bench import bench_core, bench_payload
from bench.cases import COMPILED, PLAIN, Case, benchmark_name
from gokiq import core, payload

micro = pytest.importorskip("bench.micro", reason="pyperf is not installed")

pytestmark = pytest.mark.unit

CASES = [*bench_core.cases(), *bench_payload.cases()]


def nothing(*_: Any) -> None:
    pass


def seconds(**by_implementation: float) -> dict[str, float]:
    return {benchmark_name("op", who): value for who, value in by_implementation.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_implementations_answer_alike_before_they_are_timed(case: Case) -> None:
    case.check()


def test_case_whose_twin_answers_otherwise_is_refused() -> None:
    case = Case("op", {COMPILED: (int, "1"), PLAIN: (int, "2")})

    with pytest.raises(AssertionError, match="op"):
        case.check()


@pytest.mark.parametrize("module", [core, payload], ids=["core", "payload"])
def test_every_compiled_function_is_measured(module: Any) -> None:
    measured = {case.name.partition(",")[0] for case in CASES}

    assert {name for name in module.__all__ if callable(getattr(module, name))} - measured == set()


def test_names_of_benchmarks_are_unique() -> None:
    names = [benchmark_name(case.name, who) for case in CASES for who in case.calls]

    assert len(names) == len(set(names))


def test_row_tells_how_many_times_as_fast_the_compiled_code_is() -> None:
    case = Case("op", {COMPILED: (nothing,), PLAIN: (nothing,), "json": (nothing,)})

    (row,) = micro.rows([case], seconds(compiled=2e-6, plain=50e-6, json=9e-6))

    assert row.seconds == 2e-6
    assert row.times == {PLAIN: pytest.approx(25.0), "json": pytest.approx(4.5)}
    assert row.misses == []


def test_ratio_below_what_is_meant_is_named() -> None:
    case = Case("op", {COMPILED: (nothing,), "json": (nothing,)}, {"json": 10.0})

    (fast,) = micro.rows([case], seconds(compiled=1.0, json=10.0))
    (slow,) = micro.rows([case], seconds(compiled=1.0, json=9.9))

    assert fast.misses == []
    assert slow.misses == ["op: 9.9 times as fast as json, meant to be 10"]


def test_results_keep_the_values_and_not_where_they_were_made() -> None:
    value_run = {"values": [1.0], "warmups": [[1, 2.0]], "metadata": {"date": "d", "uptime": 1.0}}
    results = {
        "metadata": {"hostname": "h", "python_executable": "/p", "cpu_model_name": "c"},
        "benchmarks": [{"runs": [{"warmups": [[1, 2.0]]}, value_run]}],
    }

    assert micro.to_be_kept(results) == {
        "metadata": {"cpu_model_name": "c"},
        "benchmarks": [{"runs": [{"values": [1.0], "metadata": {"date": "d"}}]}],
    }
