"""The micro suite as a whole, one value of each: its file of results, and its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.micro import all_cases
from devtools.programs import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(180)]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)


def test_suite_writes_what_pyperf_compares_and_prints_the_ratios(tmp_path: Path) -> None:
    results = tmp_path / "micro.json"

    ran = run("bench.micro", "--out", str(results), "--debug-single-value")
    compared = run("pyperf", "compare_to", str(results), str(results))

    assert ran.returncode == 0, ran.stderr
    for case in all_cases():
        assert case.name in ran.stdout
    assert compared.returncode == 0, compared.stderr
    assert str(ROOT) not in results.read_text()


def test_wrong_option_of_pyperf_ends_in_one_line(tmp_path: Path) -> None:
    results = tmp_path / "micro.json"

    ran = run("bench.micro", "--out", str(results), "--no-such-option")

    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("bench: bench.bench_core failed")
    assert not results.exists()
