"""The gate's judgement: what is worse than it may be, and what may be committed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import bench_core, bench_payload, gate
from bench.instructions import total_of
from bench.verdict import Figures, better_ratios, judge
from devtools.failure import DevError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ratio(value: float) -> Figures:
    return Figures(ratios={"noop": value})


def instructions(value: int) -> Figures:
    return Figures(instructions={"scan": value})


@pytest.mark.parametrize(
    ("committed", "measured"),
    [(ratio(10.0), ratio(8.6)), (instructions(1000), instructions(1140))],
    ids=["ratio", "instructions"],
)
def test_14_percent_worse_is_let_through(committed: Figures, measured: Figures) -> None:
    verdict = judge(committed, measured)

    assert (verdict.regressions, verdict.hints) == ([], [])


def test_ratio_that_falls_by_16_percent_is_a_regression() -> None:
    verdict = judge(ratio(10.0), ratio(8.4))

    assert verdict.regressions == ["noop: 8.4 instead of 10.0 (-16 %), 15 % are allowed"]


def test_instructions_that_rise_by_16_percent_are_a_regression() -> None:
    verdict = judge(instructions(1000), instructions(1160))

    assert verdict.regressions == [
        "scan: 1,160 instructions instead of 1,000 (+16 %), 15 % are allowed"
    ]


def test_what_has_improved_is_no_regression_and_hints_at_a_new_commitment() -> None:
    committed = Figures({"noop": 10.0}, {"scan": 1000})

    verdict = judge(committed, Figures({"noop": 11.7}, {"scan": 800}))

    assert verdict.regressions == []
    assert verdict.hints == [
        "improved: noop: 11.7 instead of 10.0 (+17 %)",
        "improved: scan: 800 instructions instead of 1,000 (-20 %)",
    ]


def test_each_regression_has_a_line_of_its_own() -> None:
    committed = Figures({"noop": 10.0, "sleep": 2.0}, {"scan": 1000, "quote": 10})

    verdict = judge(committed, Figures({"noop": 1.0, "sleep": 2.0}, {"scan": 2000, "quote": 20}))

    assert [line.partition(":")[0] for line in verdict.regressions] == ["noop", "scan", "quote"]


def test_figures_that_are_gone_or_new_are_hints() -> None:
    verdict = judge(instructions(1000), Figures(instructions={"splice": 1000}))

    assert verdict.regressions == []
    assert verdict.hints == ["gone: scan", "new: splice"]


def test_all_that_is_committed_is_still_measured() -> None:
    committed = json.loads(gate.COMMITTED.read_text())

    measured = {case.name for case in (*bench_core.cases(), *bench_payload.cases())}
    ratios = {name.partition(":")[0] for name in committed["ratios"]}
    assert set(committed["instructions"]) - measured == set()
    assert ratios == set(gate.RUNS)


@pytest.mark.parametrize("measured", [ratio(10.0), instructions(1000)], ids=["ratio", "count"])
def test_kind_that_was_skipped_is_not_judged(measured: Figures) -> None:
    committed = Figures({"noop": 10.0}, {"scan": 1000})

    assert judge(committed, measured).regressions == []


def test_of_two_measurements_the_better_ratio_counts() -> None:
    one, other = (
        Figures({"noop": 3.0, "sleep": 2.0}, {"scan": 5}),
        Figures({"noop": 4.0, "sleep": 1}),
    )

    assert better_ratios(one, other) == Figures({"noop": 4.0, "sleep": 2.0}, {"scan": 5})


def test_ratios_are_of_the_rate_and_of_the_cpu_time_of_all_processes() -> None:
    report = {
        "ratio": 5.5,
        "sidekiq": {"cpu_us_per_job": {"ruby": 40.0, "python": 0.0, "redis": 10.0}},
        "gokiq": {"cpu_us_per_job": {"ruby": 6.0, "python": 2.5, "redis": 1.5}},
    }

    assert list(gate.ratios_of("noop", report).values()) == [5.5, 5.0]


def test_total_is_read_from_a_part_of_a_profile() -> None:
    assert total_of("events: Ir\nsummary: 410077\n\nob=(1) python\n") == 410077
    with pytest.raises(DevError, match="without a summary"):
        total_of("events: Ir\n")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the gate measures, in place of the real thing: its ratios in turn, the last for ever."""
    figures: dict[str, Any] = {"instructions": {"scan": 1000}, "ratios": [{"noop": 10.0}]}

    def ratios() -> tuple[dict[str, float], dict[str, Any]]:
        left = figures["ratios"]
        return (left.pop(0) if len(left) > 1 else left[0]), {"cpu": "c", "load_average": [1.0]}

    monkeypatch.setattr(gate, "count_instructions", lambda: figures["instructions"])
    monkeypatch.setattr(gate, "_measure_ratios", ratios)
    return figures


@pytest.fixture
def committed(measured: dict[str, Any], tmp_path: Path) -> str:
    path = tmp_path / "gate.json"
    assert gate.main(["--update", "--file", str(path)]) == 0
    return str(path)


def test_gate_passes_what_it_has_committed_to(committed: str) -> None:
    assert gate.main(["--file", committed]) == 0


def test_gate_fails_with_one_line_for_each_regression(
    committed: str, measured: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    measured["instructions"] = {"scan": 1500}
    measured["ratios"] = [{"noop": 5.0}]

    assert gate.main(["--file", committed]) == 1

    assert [line.split(":")[:2] for line in capsys.readouterr().err.splitlines()] == [
        ["regression", " noop"],
        ["regression", " scan"],
    ]


def test_ratio_is_measured_once_more_before_it_fails(
    committed: str, measured: dict[str, Any]
) -> None:
    measured["ratios"] = [{"noop": 5.0}, {"noop": 9.0}]

    assert gate.main(["--file", committed]) == 0


def test_gate_without_valgrind_fails_unless_that_is_asked_for(
    committed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(gate, "_measure_ratios", lambda: ({"noop": 10.0}, {}))
    monkeypatch.setattr("devtools.programs.ROOT", Path("/nowhere"))
    monkeypatch.setenv("PATH", "/nowhere")

    assert gate.main(["--file", committed]) == 1
    assert "Run script/setup --valgrind" in capsys.readouterr().err
    assert gate.main(["--file", committed, "--no-callgrind"]) == 0
    assert "Skipped: instructions" in capsys.readouterr().out


def test_update_of_one_kind_keeps_the_other(committed: str, measured: dict[str, Any]) -> None:
    measured["instructions"] = {"scan": 7}
    measured["ratios"] = [{"noop": 1.0}]

    assert gate.main(["--update", "--no-sidekiq", "--file", committed]) == 0

    kept = json.loads(Path(committed).read_text())
    assert (kept["ratios"], kept["instructions"]) == ({"noop": 10.0}, {"scan": 7})
    assert kept["machine"] == {"cpu": "c"}


def test_gate_without_figures_says_how_to_make_them(
    measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.main(["--file", str(tmp_path / "none.json")]) == 1

    assert "Run python -m bench.gate --update." in capsys.readouterr().err
