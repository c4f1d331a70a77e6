"""The spike, tiny: every system meets the backlog, and the figures and the picture are there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.failure import DevError
from devtools.programs import ROOT, find_program

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def temporary() -> Iterator[Path]:
    # TMPDIR of the spike, to see what it leaves there; PostgreSQL's user has to come through.
    folder = Path(tempfile.mkdtemp(prefix="gokiq-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_spike_writes_figures_and_a_picture_and_leaves_nothing(
    tmp_path: Path, temporary: Path
) -> None:
    try:
        find_program("postgres")
    except DevError as error:
        pytest.skip(str(error))
    arguments = ("--jobs", "300", "--limits", "4,8", "--unloaded", "3", "--patience", "20")

    done = subprocess.run(
        [sys.executable, "-m", "bench.spike", *arguments, "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=360,
    )

    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "spike.json").read_text())
    systems = report["systems"]
    assert set(systems) == {"sidekiq_50", "sidekiq_200", "gokiq_static", "gokiq_adaptive"}
    for figures in systems.values():
        assert {"drain_s", "foreground_p99_ms", "errors", "connections"} <= set(figures)
    assert report["unloaded_p99_ms"] > 0
    assert report["best_static_limit"] in (4, 8)
    assert [one["setting"] for one in report["sweep"]] == [4, 8]
    static = systems["gokiq_static"]
    assert (static["jobs_left"], static["errors"]) == (0, 0)
    # One connection a slot, and those of the web application.
    assert static["job_connections"] <= report["best_static_limit"]
    assert systems["sidekiq_50"]["job_connections"] <= 50
    assert (tmp_path / "spike.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "spike-traces.json",
        "spike.json",
        "spike.png",
    ]
    assert list(temporary.iterdir()) == []
