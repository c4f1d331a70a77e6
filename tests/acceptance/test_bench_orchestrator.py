"""The benchmark of the orchestrator alone, with few jobs: it measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

from bench.orchestrator import run


def test_the_orchestrator_is_measured_without_ruby(tmp_path: Path) -> None:
    figures = run(5_000, tmp_path / "o.json", workers=2, slots=100)

    assert json.loads((tmp_path / "o.json").read_text(encoding="utf-8")) == figures
    assert figures["jobs"] == 5_000
    assert figures["jobs_per_s"] > 0
    assert all(figures["cpu_us_per_job"][name] > 0 for name in ("python", "redis", "sidecar"))
    assert 0 < figures["redis_commands_per_job"] < 1
    assert figures["redis_connections"] <= 4
