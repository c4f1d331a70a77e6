"""What the options of the comparison ask for."""

from __future__ import annotations

import pytest

from bench.compare import make_plan
from bench.workloads import WORKLOADS

pytestmark = pytest.mark.unit


def settings(*argv: str) -> list[dict[str, int]]:
    plan = make_plan(argv)
    return [system.settings for system in (*plan.sidekiq, plan.gokiq)]


def sidekiq(threads: int, processes: int = 1) -> dict[str, int]:
    return {"threads": threads, "processes": processes}


def test_noop_tries_three_settings_of_sidekiq_against_one_worker() -> None:
    assert settings("noop") == [
        sidekiq(5),
        sidekiq(10),
        sidekiq(25),
        {"workers": 1, "concurrency": 500},
    ]


def test_in_flight_sets_both_systems() -> None:
    assert settings("sleep", "--in-flight", "200") == [
        sidekiq(200),
        {"workers": 1, "concurrency": 200},
    ]


def test_options_of_one_system_go_before_in_flight() -> None:
    argv = ("noop", "--in-flight", "7", "--threads", "5,10", "--concurrency", "9", "--workers", "2")

    assert settings(*argv) == [
        sidekiq(5),
        sidekiq(10),
        {"workers": 2, "concurrency": 9},
    ]


def test_computing_jobs_meet_as_many_ruby_processes_in_both_systems() -> None:
    assert settings("cpu") == [
        sidekiq(1, 2),
        sidekiq(5, 2),
        {"workers": 2, "concurrency": 100},
    ]


def test_jobs_default_to_those_of_the_workload() -> None:
    assert make_plan(["noop"]).jobs == 200_000
    assert make_plan(["noop", "--jobs", "5"]).jobs == 5


@pytest.mark.parametrize(
    ("workload", "in_flight", "jobs", "given"),
    [("sleep-5kb", 10, 20_000, 300), ("sleep-5kb", 500, 15_000, 15_000), ("noop", 5, 7, 7)],
    ids=["slow: fewer", "fast: all", "not waiting: all"],
)
def test_jobs_that_wait_are_as_many_as_a_system_does_in_three_seconds(
    workload: str, in_flight: int, jobs: int, given: int
) -> None:
    assert WORKLOADS[workload].jobs_for(in_flight, jobs) == given


@pytest.mark.parametrize(
    "argv",
    [["swim"], ["noop", "--jobs", "0"], ["noop", "--threads", "5,x"], ["noop", "--runs", "many"]],
    ids=" ".join,
)
def test_wrong_options_exit_in_one_sentence(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        make_plan(argv)

    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err.splitlines()[-1]
