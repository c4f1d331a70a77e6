"""A real Sidekiq on the same Redis: commands say what it runs, and what it does not heed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.gokiq import Sidekiq
from devtools.redis_server import RedisServer

from .stage import APP, Stage, payload

pytestmark = pytest.mark.acceptance


def operate(stage: Stage, *words: str) -> str:
    """Run a command; its output."""
    command = [sys.executable, "-m", "gokiq", *words, "--redis", stage.redis.url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_its_queues_its_jobs_and_that_it_goes_on(tmp_path: Path) -> None:
    with RedisServer() as redis:
        stage = Stage(redis, tmp_path)
        env = {"TEST_JOURNAL": str(stage.journal)}
        args = ("-r", str(APP), "-q", "mailers", "-c", "1", "-t", "1")
        stage.client.lpush("queue:mailers", payload("a" * 24, "SleepJob", 0.1, queue="mailers"))
        with Sidekiq(*args, redis=redis, log=tmp_path / "log", env=env) as sidekiq:
            sidekiq.wait_until(lambda: len(stage.runs()) == 1, timeout_s=60, what="it works")
            [identity] = [one.decode() for one in stage.client.smembers("processes")]

            warned = operate(stage, "pause", "mailers").splitlines()
            assert warned[0] == "mailers: paused"
            assert identity in warned[1]
            assert "goes on unless it is Sidekiq Pro" in warned[1]

            for name in ("b", "c"):
                job = payload(name * 24, "SleepJob", 300, queue="mailers")
                stage.client.lpush("queue:mailers", job)
            sidekiq.wait_until(lambda: len(stage.runs()) == 2, timeout_s=60, what="it goes on")
            stage.client.srem("paused", "mailers")

            def line() -> dict[str, object]:
                [found] = json.loads(operate(stage, "status", "--json"))["queues"]
                return {key: found[key] for key in ("queue", "waiting", "running", "why")}

            expected = {"queue": "mailers", "waiting": 1, "running": 1, "why": "Sidekiq runs it"}
            # Its work set is written every ten seconds.
            sidekiq.wait_until(lambda: line() == expected, timeout_s=60, what="it is told")
