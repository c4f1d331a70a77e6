"""The gate with a real valgrind: what it counts is the same twice, and more where there is more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.instructions import count_instructions
from devtools.failure import DevError
from devtools.programs import ROOT, find_program

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    try:
        find_program("valgrind")
    except DevError:
        pytest.skip("no valgrind: run script/setup --valgrind")
    return count_instructions()


def test_instructions_grow_with_the_work(counted: dict[str, int]) -> None:
    assert counted["scan, 1 KB"] < counted["scan, 5 KB"]
    assert 20 * counted["decode_results, 1 well"] < counted["decode_results, 100 well"]


def test_instructions_are_the_same_on_every_run(counted: dict[str, int]) -> None:
    assert count_instructions() == pytest.approx(counted, rel=0.02)


def test_function_that_takes_a_third_more_instructions_is_named(
    counted: dict[str, int], tmp_path: Path
) -> None:
    fewer = {**counted, "scan, no-op": counted["scan, no-op"] * 3 // 4}
    committed = tmp_path / "gate.json"
    committed.write_text(json.dumps({"ratios": {}, "instructions": fewer}))

    command = [sys.executable, "-m", "bench.gate", "--no-sidekiq", "--file", str(committed)]
    gate = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert gate.returncode == 1
    assert gate.stderr.startswith("regression: scan, no-op: ")
    assert gate.stderr.count("\n") == 1
