"""Jobs that run longer than they may, and workers that give no sign of life."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

APP = Path(__file__).with_name("app") / "timeouts.rb"
JID = "f" * 24


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def start(stage: Stage, *args: str) -> GokiqFast:
    env = {"TEST_JOURNAL": str(stage.journal)}
    args = ("-r", str(APP), "--workers", "1", *args)
    return GokiqFast(*args, redis=stage.redis, log=stage.folder / "gokiq.log", env=env)


def push(stage: Stage, *jobs: bytes) -> None:
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", *jobs)


def log(stage: Stage) -> str:
    return (stage.folder / "gokiq.log").read_text()


def test_a_job_that_nothing_stops_is_retried_and_its_neighbours_are_not_blamed(
    stage: Stage,
) -> None:
    push(stage, payload(JID, "UnbreakableJob", gokiq_timeout=1))
    stage.push_sleepers(5, seconds=(0.1,))
    began = time.monotonic()
    with start(stage, "-c", "10") as server:
        server.wait_until(
            lambda: stage.client.zcard("retry") == 1, timeout_s=40, what="it was booked for a retry"
        )
        assert time.monotonic() - began > 8
        server.wait_until(lambda: stage.processed() == 6, timeout_s=30, what="the others were done")
        assert stage.client.exists("gokiq:crashes") == 0
        assert server.stop() == 0

    [(member, score)] = stage.client.zrange("retry", 0, -1, withscores=True)
    job = json.loads(member)
    assert job["error_class"] == "Gokiq::JobTimeout"
    assert "did not stop after its timeout, worker" in job["error_message"]
    assert (job["retry_count"], job["gokiq_timeout"]) == (0, 1)
    assert 15 <= score - job["failed_at"] / 1000 < 25
    assert Counter(run.outcome for run in stage.runs() if run.jid != JID)["done"] == 5
    assert f"jid={JID} class=UnbreakableJob does not stop" in log(stage)


def test_a_default_for_all_jobs(stage: Stage) -> None:
    push(stage, payload(JID, "SleepJob", 60), payload("a" * 24, "SleepJob", 4, gokiq_timeout=30))
    with start(stage, "-c", "10", "--job-timeout", "0.5") as server:
        server.wait_until(lambda: stage.processed() == 2, timeout_s=30, what="both had ended")
        assert server.stop() == 0

    [member] = stage.client.zrange("retry", 0, -1)
    assert json.loads(member)["error_message"] == "the job ran longer than its timeout of 0.5 s"


def test_an_iterable_job_goes_on_from_its_cursor(stage: Stage) -> None:
    push(stage, payload(JID, "CountingJob", gokiq_timeout=1))
    counted = stage.journal / "counted"
    with start(stage, "-c", "2") as server:
        server.wait_until(
            lambda: counted.exists() and len(counted.read_text().split()) >= 40,
            timeout_s=40,
            what="it had counted to the end",
        )
        assert server.stop() == 0

    assert counted.read_text().split() == [str(i) for i in range(1, 41)]
    assert stage.client.exists("retry", "dead") == 0


def test_a_worker_that_gives_no_sign_of_life_is_named_and_then_killed(stage: Stage) -> None:
    with start(stage, "-c", "10", "--hang-timeout", "12") as server:
        server.wait_ready()
        push(stage, payload(JID, "SleepJob", 0.5))
        server.wait_until(lambda: bool(stage.runs()), timeout_s=20, what="it ran")
        os.kill(process_tree(server.pid)[2].pid, signal.SIGSTOP)
        server.wait_until(
            lambda: "stopped, or in a C function" in log(stage), timeout_s=20, what="it was named"
        )
        stage.finish(server)
        assert server.stop() == 0

    assert "has given no sign of life for 12 s: killing it" in log(stage)
    assert [run.outcome for run in stage.runs()] == [None, "done"]
