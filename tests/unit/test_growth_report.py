"""The growth curves' arithmetic: medians, what counts as flat, the tables of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bench.growth_axes import AXES, Axis, Setup
from bench.growth_report import Window, capacity, describe, summarise, tables, with_part

pytestmark = pytest.mark.unit


def make_window(whole_us: float, *, rate: float = 1000.0, batch: float = 50.0) -> Window:
    return Window(
        jobs=500,
        seconds=500 / rate,
        cpu_us_per_job={"ruby": whole_us - 3, "python": 2.0, "redis": 1.0},
        redis_commands_per_job=0.1,
        jobs_per_call=batch,
    )


def make_curve(*costs: float, why: str = "") -> dict[str, object]:
    points = [(10**place, Setup(jobs=1, backlog=1)) for place in range(len(costs))]
    axis = Axis("some", title="what grows", held="the rest", points=points, why=why)
    return describe(axis, {10**place: [make_window(cost)] for place, cost in enumerate(costs)})


def test_point_has_the_median_of_its_windows_and_all_of_them() -> None:
    windows = [
        make_window(10.0, rate=900),
        make_window(30.0, rate=100),
        make_window(11.0, rate=800),
    ]

    point = summarise(windows)

    assert point["whole_us_per_job"] == 11.0
    assert point["cpu_us_per_job"] == {"ruby": 8.0, "python": 2.0, "redis": 1.0}
    assert point["jobs_per_s"] == 800
    assert point["jobs"] == 1500
    assert point["windows_us_per_job"] == [10.0, 30.0, 11.0]


@pytest.mark.parametrize(
    ("costs", "is_flat"),
    [
        ((10.0, 11.0, 12.0), True),
        ((12.0, 10.0), True),
        ((10.0, 12.1), False),
        ((12.1, 11.0, 10.0), False),
    ],
    ids=["grows by a fifth", "falls by a sixth", "grows by more", "falls by more"],
)
def test_curve_is_flat_within_a_fifth_of_its_cheapest_point(
    costs: Sequence[float], is_flat: bool
) -> None:
    assert make_curve(*costs)["is_flat"] is is_flat


def test_table_gives_the_reason_of_a_curve_that_is_not_flat() -> None:
    report = {"axes": {"a": make_curve(10.0, 30.0, why="It is so."), "b": make_curve(10.0, 10.0)}}

    lines = tables(report).splitlines()

    assert "| what grows | 1 … 10 | 3.00 | It is so. |" in lines
    assert "| what grows | 1 … 10 | 1.00 | flat |" in lines
    assert "| 10 | 27.0 | 2.0 | 1.0 | 30.0 | 1,000 | 50.0 | 0.10 |" in lines


def test_table_says_so_when_nobody_knows_why_a_curve_is_not_flat() -> None:
    text = tables({"axes": {"a": make_curve(10.0, 30.0)}})

    assert "| not flat, and no reason is known |" in text


def test_part_replaces_what_stood_between_its_marks() -> None:
    page = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"

    assert with_part(page, "a", "new") == page.replace("old", "new")


@pytest.mark.parametrize("page", ["", "<!-- a: begin -->", "<!-- a: end -->"])
def test_page_without_both_marks_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page lacks the marks"):
        with_part(page, "a", "new")


def test_capacity_is_a_core_divided_by_the_cost_of_a_job_and_seven_tenths_of_it_are_used() -> None:
    cpu = {"ruby": 10.0, "python": 0.5, "redis": 1.5}
    points = [{"x": 10**place, "cpu_us_per_job": cpu} for place in range(2, 6)]
    report = {
        "axes": {name: {"points": points} for name in ("backlog", "payload", "in-flight")},
        "pushes": [{"x": 100, "ruby": 6.0, "redis": 1.0}],
    }

    lines = capacity(report).splitlines()

    assert lines[2] == "| a worker (Ruby) |" + 4 * " 100,000 |"
    assert lines[3] == "| an orchestrator (Python) |" + 4 * " 2,000,000 |"
    assert lines[4] == "| a Redis, pushes of 100 small jobs included |" + 4 * " 400,000 |"
    assert lines[-1] == "| Redis servers |" + 4 * " 2.5 cores: 4 |"


def test_capacity_is_not_made_of_some_curves_only() -> None:
    with pytest.raises(ValueError, match="some axes only"):
        capacity({"axes": {}, "pushes": []})


@pytest.mark.parametrize("name", AXES)
def test_backlog_of_every_point_outlasts_what_is_measured(name: str) -> None:
    for _, setup in AXES[name].points:
        in_flight = setup.in_flight * setup.orchestrators
        assert setup.lead + setup.jobs <= setup.backlog
        if setup.windows == 1:  # jobs that last: the slots are full until the last end
            assert setup.lead + setup.jobs + in_flight <= setup.backlog
