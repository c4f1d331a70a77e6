"""The comparison's arithmetic: medians, the best setting, the ratio."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.measure import Run
from bench.report import Comparison, Series, Trial

pytestmark = pytest.mark.unit


def make_run(
    jobs_per_s: float, *, ruby: float = 10.0, mb: float = 50.0, links: int = 2, others: float = 0.0
) -> Run:
    return Run(
        jobs=1000,
        seconds=1000 / jobs_per_s,
        jobs_per_s=jobs_per_s,
        cpu_us_per_job={"ruby": ruby, "python": 0.0, "redis": 1.0},
        redis_commands_per_job=1.0,
        redis_commands={"brpop": 1.0},
        redis_connections=links,
        rss_mb=mb,
        pss_mb=mb / 2,
        load_before=0.0,
        other_cores=others,
    )


def make_series(system: str, *rates: float, **settings: int) -> Series:
    return Series(system, f"{system}, some setting", settings, [make_run(rate) for rate in rates])


def test_rate_is_the_median_and_not_the_mean() -> None:
    assert make_series("gokiq", 100.0, 900.0, 200.0).jobs_per_s == 200.0


def test_median_of_an_even_number_of_runs_lies_between() -> None:
    assert make_series("gokiq", 100.0, 300.0).jobs_per_s == 200.0


def test_each_figure_has_a_median_of_its_own() -> None:
    runs = [
        make_run(100.0, ruby=9.0, mb=70.0, links=3),
        make_run(200.0, ruby=7.0, mb=60.0, links=5),
        make_run(300.0, ruby=8.0, mb=50.0, links=4),
    ]

    summary = Series("gokiq", "gokiq", {}, runs).summary()

    assert summary["jobs_per_s"] == 200.0
    assert summary["cpu_us_per_job"] == {"ruby": 8.0, "python": 0.0, "redis": 1.0}
    assert summary["rss_mb"] == 60.0
    assert summary["redis_connections"] == 5
    assert [run["jobs_per_s"] for run in summary["runs"]] == [100.0, 200.0, 300.0]


def test_ratio_is_taken_from_the_best_setting_of_sidekiq() -> None:
    comparison = Comparison(
        [
            make_series("sidekiq", 100.0, 110.0, 120.0, threads=5),
            # Its fastest run is the fastest of all, its median is not.
            make_series("sidekiq", 90.0, 80.0, 500.0, threads=10),
            make_series("gokiq", 400.0, 440.0, 480.0, workers=1),
        ]
    )

    report = comparison.as_json()

    assert comparison.ratio == 4.0
    assert report["ratio"] == 4.0
    assert report["sidekiq"]["settings"] == {"threads": 5}
    assert [other["settings"] for other in report["others"]] == [{"threads": 10}]
    assert report["gokiq"]["jobs_per_s"] == 440.0


def test_report_tells_what_was_tried_to_find_sidekiqs_best_setting() -> None:
    trials = [Trial({"threads": 5}, 100, 900.0), Trial({"threads": 10}, 100, 800.0)]

    report = Comparison([make_series("sidekiq", 100.0), make_series("gokiq", 400.0)], trials)

    assert report.as_json()["trials"] == [
        {"settings": {"threads": 5}, "jobs": 100, "jobs_per_s": 900.0},
        {"settings": {"threads": 10}, "jobs": 100, "jobs_per_s": 800.0},
    ]


def test_part_of_cpu_counts_ruby_python_and_redis() -> None:
    sidekiq = Series("sidekiq", "", {}, [make_run(100.0, ruby=79.0)])
    gokiq = Series("gokiq", "", {}, [make_run(100.0, ruby=9.0)])

    assert Comparison([sidekiq, gokiq]).as_json()["cpu_part"] == 10 / 80


def test_rate_is_told_as_part_of_the_ideal_where_there_is_one() -> None:
    series = Series("gokiq", "", {}, [make_run(4750.0)], ideal_per_s=5000.0)

    assert series.summary()["part_of_ideal"] == 0.95
    assert make_series("gokiq", 4750.0).summary()["part_of_ideal"] is None


def test_ratio_is_below_one_when_gokiq_is_slower() -> None:
    comparison = Comparison([make_series("sidekiq", 200.0), make_series("gokiq", 50.0)])

    assert comparison.ratio == 0.25


def test_plain_table_has_a_line_of_80_columns_per_setting() -> None:
    comparison = Comparison([make_series("sidekiq", 2000.0), make_series("gokiq", 9000.0)])
    output = io.StringIO()

    Console(file=output, width=80).print(comparison.as_table(is_plain=True))

    head, sidekiq, gokiq = output.getvalue().splitlines()
    assert "jobs/s" in head
    assert {"2,000", "1.00"} <= set(sidekiq.split())
    assert {"9,000", "4.50"} <= set(gokiq.split())


def test_busiest_run_tells_how_quiet_the_machine_was() -> None:
    runs = [make_run(100.0, others=0.1), make_run(100.0, others=0.7), make_run(100.0, others=0.2)]

    comparison = Comparison(
        [Series("sidekiq", "", {}, runs[:2]), Series("gokiq", "", {}, runs[2:])]
    )

    assert comparison.other_cores == 0.7
    assert comparison.as_json()["other_cores"] == 0.7
