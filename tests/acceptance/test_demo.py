"""The demo, small: it proves what it says, fails in one line, and stops without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.procstat import Process, process_tree
from devtools.programs import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

#: 1,000 jobs: 500 no-op, 400 that sleep, 50 that fail once, 25 scheduled, 25 ActiveJob.
SCALE = "0.05"


@pytest.fixture
def temporary() -> Iterator[Path]:
    # TMPDIR of the demo, to see what it leaves there; tmp_path is too long for a Unix socket.
    folder = Path(tempfile.mkdtemp(prefix="gokiq-"))
    yield folder
    shutil.rmtree(folder)


def start_demo(out: Path, temporary: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", "--scale", SCALE, "--out", str(out)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def test_demo_runs_every_job_once_and_writes_the_figures(tmp_path: Path, temporary: Path) -> None:
    demo = start_demo(tmp_path, temporary)

    output, errors = demo.communicate(timeout=120)

    assert (demo.returncode, errors) == (0, "")
    assert "lost: 0, duplicates: 0" in output
    figures = json.loads((tmp_path / "demo.json").read_text())
    counts = ("enqueued", "succeeded", "executed", "retried", "dead", "lost", "duplicates")
    assert [figures[key] for key in counts] == [1000, 1000, 1050, 50, 0, 0, 0]
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"]
    assert figures["jobs_per_s"] > 0
    assert 0 < figures["max_in_flight"] <= 500
    # A few, whatever the concurrency; Sidekiq holds one for each thread.
    assert 0 < figures["redis_connections"] <= 20
    assert figures["workers"] >= 1
    assert figures["rss_mb"] > 0
    assert figures["sidekiq"].count(".") == 2
    assert figures["falcon"] is None or figures["falcon"].count(".") >= 1
    assert 0 < figures["wall_s"] < 90
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("moment", ["pushing", "starting", "running"])
def test_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, temporary: Path, moment: str
) -> None:
    logs = tmp_path / "demo"
    signs: dict[str, Callable[[], bool]] = {
        "pushing": (logs / "enqueue.log").exists,
        "starting": (logs / "server.log").exists,
        "running": lambda: any((logs / "journal").glob("*.journal")),
    }
    demo = start_demo(tmp_path, temporary)
    wait_for(signs[moment])
    family: list[Process] = process_tree(demo.pid)

    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=60)

    assert (demo.returncode, errors) == (130, "demo: stopped; nothing is left running\n")
    assert [process.name for process in family if process.is_alive] == []
    assert list(temporary.iterdir()) == []


def test_demo_without_ruby_says_in_one_line_what_to_do(tmp_path: Path, temporary: Path) -> None:
    demo = start_demo(tmp_path, temporary, GOKIQ_RUBY="/nowhere/ruby")

    _, errors = demo.communicate(timeout=60)

    assert demo.returncode == 1
    assert errors.startswith("demo: GOKIQ_RUBY=/nowhere/ruby is no program.")
    assert "script/setup" in errors
    assert errors.count("\n") == 1
    assert list(temporary.iterdir()) == []
