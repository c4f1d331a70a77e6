"""What the options of the comparison ask for."""

from __future__ import annotations

import pytest

from bench.compare import make_plan

pytestmark = pytest.mark.unit


def settings(*argv: str) -> list[dict[str, int]]:
    return [system.settings for system in make_plan(argv).systems]


def test_noop_tries_three_settings_of_sidekiq_against_one_worker() -> None:
    assert settings("noop") == [
        {"threads": 5},
        {"threads": 10},
        {"threads": 25},
        {"workers": 1, "concurrency": 500},
    ]


def test_in_flight_sets_both_systems() -> None:
    assert settings("sleep", "--in-flight", "200") == [
        {"threads": 200},
        {"workers": 1, "concurrency": 200},
    ]


def test_options_of_one_system_go_before_in_flight() -> None:
    argv = ("noop", "--in-flight", "7", "--threads", "5,10", "--concurrency", "9", "--workers", "2")

    assert settings(*argv) == [
        {"threads": 5},
        {"threads": 10},
        {"workers": 2, "concurrency": 9},
    ]


def test_jobs_default_to_those_of_the_workload() -> None:
    assert make_plan(["noop"]).jobs == 100_000
    assert make_plan(["noop", "--jobs", "5"]).jobs == 5


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
