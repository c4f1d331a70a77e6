"""The figures and the picture of the spike, from made-up runs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.spike_figures import (
    FAILED_S,
    Look,
    Request,
    Trace,
    Verdict,
    Waiting,
    by_drain,
    keeps_foreground,
    percentile,
)
from bench.spike_plot import draw, headline, slowest_by_bin

pytestmark = pytest.mark.unit

UNLOADED_P99 = 0.030


def make_trace(drained: float = 20.0, p99: float = 0.040, left: int = 0, setting: int = 8) -> Trace:
    requests = [Request(number / 10, p99) for number in range(round(drained * 10))]
    return Trace(
        f"gokiq, limit {setting}",
        setting,
        1000,
        drained,
        left,
        requests=requests,
        looks=[Look(0.0, 20, 0, 0), Look(5.0, 28, 8, 7)],
        waiting=[Waiting(0.0, 1000, 0, 2), Waiting(10.0, 400, 50, 8)],
    )


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(50, 5), (90, 9), (99, 10), (100, 10), (1, 1)],
    ids=["median", "p90", "p99-of-ten", "most", "least"],
)
def test_a_percentile_is_a_value_that_occurred(percent: float, expected: float) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 99))


def test_a_failed_request_counts_as_one_that_took_as_long_as_the_client_waits() -> None:
    assert Request(0.0, 0.002, "PG::ConnectionBad").latency == FAILED_S
    assert Request(0.0, 12.0, "PG::QueryCanceled").latency == 12.0
    assert Request(0.0, 0.002).latency == 0.002


def test_only_requests_that_were_due_while_there_were_jobs_count() -> None:
    requests = [
        Request(-0.1, 9.0),
        Request(0.0, 0.020),
        Request(10.0, 0.030, "PG::ConnectionBad"),
        Request(10.1, 9.0),
    ]
    trace = replace(make_trace(drained=10.0), requests=requests)

    figures = trace.figures()

    assert figures["foreground_requests"] == 2
    assert figures["foreground_errors"] == 1
    assert figures["foreground_p50_ms"] == 20
    assert figures["foreground_p99_ms"] == FAILED_S * 1000


def test_figures_have_what_the_report_promises() -> None:
    figures = replace(make_trace(), job_errors=3).figures()

    assert figures["drain_s"] == 20
    assert figures["foreground_p99_ms"] == 40
    assert figures["errors"] == 3
    assert figures["connections"] == 28
    assert figures["job_connections"] == 8


def test_the_best_static_limit_is_the_fastest_of_those_that_keep_the_foreground() -> None:
    slow = make_trace(30, 0.035, setting=4)
    best = make_trace(22, 0.055, setting=8)
    hasty = make_trace(20, 0.065, setting=12)
    undone = make_trace(10, 0.035, left=1, setting=6)

    ranked = by_drain([undone, hasty, slow, best], UNLOADED_P99)

    assert ranked[:2] == [best, slow]
    assert not keeps_foreground(hasty, UNLOADED_P99)
    assert not keeps_foreground(undone, UNLOADED_P99)


def test_where_no_static_limit_keeps_the_foreground_the_gentlest_comes_first() -> None:
    bad, worse = make_trace(30, 0.1), make_trace(20, 0.2)

    assert by_drain([worse, bad], UNLOADED_P99) == [bad, worse]


@pytest.mark.parametrize(
    ("adaptive", "is_met"),
    [
        (make_trace(22.9, 0.060), True),
        (make_trace(23.1, 0.040), False),
        (make_trace(20.0, 0.061), False),
        (make_trace(20.0, 0.040, left=1), False),
    ],
    ids=["at-both-bounds", "too-slow", "foreground-suffers", "jobs-left"],
)
def test_the_verdict_holds_both_bounds(adaptive: Trace, is_met: bool) -> None:
    verdict = Verdict.of(adaptive, make_trace(20.0), UNLOADED_P99)

    assert verdict.is_met is is_met
    assert json.loads(json.dumps(verdict.as_json(), allow_nan=False))["is_met"] is is_met


def test_a_trace_survives_json() -> None:
    trace = replace(make_trace(), requests=[Request(0.0, 1.0, "PG::Error"), Request(1.0, 2.0)])

    assert Trace.from_json(json.loads(json.dumps(trace.as_json()))) == trace


def test_the_drawn_line_is_the_p99_of_each_second() -> None:
    requests = [Request(-0.5, 0.3), Request(0.1, 0.1), Request(0.9, 0.2), Request(2.5, 0.4)]

    assert slowest_by_bin(requests, 1.0) == [(-0.5, 0.3), (0.5, 0.2), (2.5, 0.4)]


def test_a_headline_says_when_jobs_were_left() -> None:
    assert headline(make_trace()) == "gokiq, limit 8\ndrained in 20 s\np99 40 ms, 0 errors"
    undone = replace(make_trace(p99=6.08, left=1315), job_errors=1)
    assert headline(undone).splitlines()[1:] == ["1,315 jobs left after 20 s", "p99 6.1 s, 1 error"]


def test_a_picture_is_drawn_of_any_number_of_systems(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path, small = tmp_path / "pictures" / "spike.png", tmp_path / "small.png"

    draw([make_trace()], UNLOADED_P99, path)
    draw([make_trace(), make_trace(left=3)], UNLOADED_P99, small, is_small=True)

    assert path.read_bytes().startswith(b"\x89PNG")
    assert small.stat().st_size < 60_000
