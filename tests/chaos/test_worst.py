"""Ten of the worst faults, in every run of the tests; `make chaos` has the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from .catalogue import SCENARIOS, Scenario
from .runner import run_scenario

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    "scenario", [one for one in SCENARIOS if one.is_worst], ids=lambda s: s.name
)
def test_nothing_is_lost(scenario: Scenario, tmp_path: Path) -> None:
    result = run_scenario(scenario, 1, tmp_path)

    assert result.ok, result.note
    assert result.lost == 0
    assert result.duplicates <= result.duplicates_allowed
