"""Workloads, tiny: the figures are there, a failure is one line, Ctrl-C leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.procstat import process_tree
from devtools.programs import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


@pytest.fixture
def temporary() -> Iterator[Path]:
    # TMPDIR of the benchmark, to see what it leaves there; tmp_path is too long for a Unix socket.
    folder = Path(tempfile.mkdtemp(prefix="gokiq-"))
    yield folder
    shutil.rmtree(folder)


def start_bench(*args: str, temporary: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.compare", *args],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "args",
    [
        ("noop", "--jobs", "2000", "--threads", "5"),
        ("noop-info", "--jobs", "500", "--threads", "5"),
        ("activejob", "--jobs", "200", "--threads", "5"),
        ("sleep", "--jobs", "1000", "--in-flight", "100"),
    ],
    ids=["noop", "lines in the log", "in Rails", "sleep"],
)
def test_comparison_writes_the_figures_of_both_systems(
    args: tuple[str, ...], tmp_path: Path, temporary: Path
) -> None:
    bench = start_bench(*args, "--runs", "1", "--out", str(tmp_path), temporary=temporary)

    output, errors = bench.communicate(timeout=120)

    assert (bench.returncode, errors) == (0, "")
    report = json.loads((tmp_path / f"{args[0]}.json").read_text())
    assert report["jobs"] == int(args[2])
    for system in ("sidekiq", "gokiq"):
        figures = report[system]
        cpu = figures["cpu_us_per_job"]
        assert figures["jobs_per_s"] > 0
        assert cpu["ruby"] > 0
        assert cpu["redis"] > 0
        assert figures["redis_commands_per_job"] > 0
        assert figures["redis_connections"] > 0
        assert figures["rss_mb"] > figures["pss_mb"] > 0
        assert len(figures["runs"]) == 1
        near = {f"{figures['jobs_per_s'] + half:,.0f}" for half in (-0.5, 0, 0.5)}
        assert any(text in output for text in near)  # the JSON is rounded, the table once more
    assert report["sidekiq"]["cpu_us_per_job"]["python"] == 0
    assert report["gokiq"]["cpu_us_per_job"]["python"] > 0
    # One BRPOP a job; what the benchmark itself asks is not counted.
    assert report["sidekiq"]["redis_commands_per_job"] == pytest.approx(1, abs=0.1)
    quotient = report["gokiq"]["jobs_per_s"] / report["sidekiq"]["jobs_per_s"]
    assert report["ratio"] == pytest.approx(quotient, rel=0.01, abs=0.01)
    assert {"cores", "cpu", "python", "ruby", "yjit", "redis", "sidekiq", "gokiq"} <= set(
        report["machine"]
    )
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_suite_measures_each_kind_of_row_and_reports(tmp_path: Path, temporary: Path) -> None:
    rows = ("http", "distance", "latency", "memory", "idle", "orchestrator", "micro")
    suite = subprocess.run(
        [sys.executable, "-m", "bench.suite", *rows, "--quick", "--out", tmp_path],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=170,
    )

    report = (tmp_path / "report.md").read_text()
    assert suite.returncode == 0, suite.stdout + suite.stderr
    assert "rows with a target are met" in report
    assert "![From push to perform](latency.png)" in report
    assert (tmp_path / "report.html").stat().st_size > (tmp_path / "latency.png").stat().st_size
    assert list(temporary.iterdir()) == []


def test_interrupted_comparison_leaves_nothing_behind(tmp_path: Path, temporary: Path) -> None:
    args = ("noop", "--jobs", "100000", "--threads", "5", "--out", str(tmp_path))
    bench = start_bench(*args, temporary=temporary)
    deadline = time.monotonic() + 60
    while not (tmp_path / "noop" / "1-0-sidekiq.log").exists():
        assert time.monotonic() < deadline, "no system was started"
        time.sleep(0.02)
    family = process_tree(bench.pid)

    bench.send_signal(signal.SIGINT)
    _, errors = bench.communicate(timeout=60)

    assert (bench.returncode, errors) == (130, "bench: stopped; nothing is left running\n")
    assert [process.name for process in family if process.is_alive] == []
    assert list(temporary.iterdir()) == []


def test_comparison_without_ruby_says_so_in_one_line(tmp_path: Path, temporary: Path) -> None:
    args = ("noop", "--jobs", "10", "--out", str(tmp_path))
    bench = start_bench(*args, temporary=temporary, GOKIQ_RUBY="/nowhere/ruby")

    _, errors = bench.communicate(timeout=60)

    assert bench.returncode == 1
    assert errors.startswith("bench: GOKIQ_RUBY=/nowhere/ruby is no program.")
    assert errors.count("\n") == 1
    assert list(temporary.iterdir()) == []
