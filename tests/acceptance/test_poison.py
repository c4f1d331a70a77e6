"""Jobs that kill their worker: the guilty one ends in the dead set, its neighbours run."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

JID = "f" * 24


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def push(stage: Stage, *jobs: bytes) -> None:
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", *jobs)


def starts(stage: Stage) -> Counter[str]:
    return Counter(run.jid for run in stage.runs())


def dead(server: GokiqFast, stage: Stage) -> dict[str, Any]:
    server.wait_until(lambda: stage.client.zcard("dead") == 1, timeout_s=45, what="one was dead")
    [member] = stage.client.zrange("dead", 0, -1)
    return dict(json.loads(member))


def test_a_job_that_kills_its_worker_three_times_is_dead_and_says_why(stage: Stage) -> None:
    pushed = payload(JID, "PoisonJob", 0.05, "SEGV")
    push(stage, pushed)
    with stage.gokiq("-c", "1", "--workers", "1") as server:
        job = dead(server, stage)
        stage.push_sleepers(3, seconds=(0.0,))
        stage.finish_but_dead(server)
        assert server.stop() == 0

    assert starts(stage)[JID] == 3
    message = job.pop("error_message")
    assert "was killed by SIGSEGV" in message
    assert "ran this job alone; 3 workers have died" in message
    assert isinstance(job.pop("failed_at"), int)
    assert job == json.loads(pushed) | {"error_class": "Gokiq::WorkerCrash", "retry_count": 0}
    assert (stage.processed(), stage.client.get("stat:failed")) == (4, b"1")
    stage.assert_nothing_lost()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_its_neighbours_go_free(stage: Stage, workers: str) -> None:
    stage.push_sleepers(60, seconds=(0.3, 0.6))
    push(stage, payload(JID, "PoisonJob", 0.1, "KILL"))
    stage.push_sleepers(60, seconds=(0.3, 0.6))
    with stage.gokiq("-c", "40", "--workers", workers) as server:
        assert dead(server, stage)["jid"] == JID
        stage.finish_but_dead(server)
        solo = "gokiq:crashes"
        server.wait_until(
            lambda: len(process_tree(server.pid)) == 2 + int(workers),
            timeout_s=15,
            what="the worker for suspects had left",
        )
        assert stage.client.hkeys(solo) in ([], [JID.encode()]) or stage.client.hlen(solo) < 80
        assert server.stop() == 0

    # Twice in company, once alone; in between half of the suspects ran together.
    assert 3 <= starts(stage)[JID] <= 3 + 6
    done = Counter(run.jid for run in stage.runs() if run.outcome == "done")
    assert set(done) == set(stage.pushed)
    assert set(done.values()) == {1}


def test_a_worker_that_is_killed_from_outside_makes_nobody_a_suspect(stage: Stage) -> None:
    stage.push_sleepers(50, seconds=(1.0,))
    with stage.gokiq("-c", "50", "--workers", "1") as server:
        server.wait_until(lambda: len(stage.runs()) == 50, timeout_s=30, what="all had started")
        os.kill(process_tree(server.pid)[2].pid, signal.SIGKILL)
        stage.finish(server)
        assert server.stop() == 0

    log = (stage.folder / "gokiq.log").read_text()
    assert "was killed by SIGKILL" in log
    assert "the 50 jobs that it had are not lost" in log
    assert "runs alone" not in log
    assert stage.client.exists("dead", "retry") == 0


def test_dead_false_drops_it(stage: Stage) -> None:
    push(stage, payload(JID, "PoisonJob", 0.0, "ABRT", dead=False))
    with stage.gokiq("-c", "1", "--workers", "1") as server:
        stage.finish(server)
        assert server.stop() == 0

    assert starts(stage)[JID] == 3
    assert "is dropped (dead: false)" in (stage.folder / "gokiq.log").read_text()


def test_crashes_are_remembered_when_gokiq_itself_was_killed(stage: Stage) -> None:
    push(stage, payload(JID, "PoisonJob", 60, "KILL"))
    for i in range(1, 4):
        with stage.gokiq("-c", "1", "--workers", "1", name=f"gokiq{i}") as server:
            server.wait_until(lambda i=i: starts(stage)[JID] == i, timeout_s=30, what="it ran")
            server.kill()
    with stage.gokiq("-c", "1", "--workers", "1", name="last") as server:
        assert dead(server, stage)["jid"] == JID
        assert server.stop() == 0
    assert starts(stage)[JID] == 3


def test_the_neighbours_of_a_poisonous_job_do_not_wait_for_each_other(stage: Stage) -> None:
    """They run for longer than a suspect has its worker for itself: one by one they would take
    minutes, and the jobs behind them as long.
    """
    stage.push_sleepers(15, seconds=(6.0,))
    push(stage, payload(JID, "PoisonJob", 0.1, "KILL"))
    with stage.gokiq("-c", "16", "--workers", "1") as server:
        assert dead(server, stage)["jid"] == JID
        stage.push_sleepers(40, seconds=(0.05,))
        stage.finish_but_dead(server, timeout_s=30)
        assert server.stop() == 0

    assert 3 <= starts(stage)[JID] <= 3 + 4
    assert {run.jid for run in stage.runs() if run.outcome == "done"} == set(stage.pushed)


def test_jobs_of_one_jid_that_are_in_one_crash_are_no_suspects(stage: Stage) -> None:
    twins = [payload("e" * 24, "SleepJob", 2.0) for _ in range(12)]
    push(stage, *twins)
    with stage.gokiq("-c", "12", "--workers", "1") as server:
        server.wait_until(lambda: len(stage.runs()) == 12, timeout_s=30, what="all had started")
        os.kill(process_tree(server.pid)[2].pid, signal.SIGKILL)
        stage.finish(server)
        assert server.stop() == 0

    assert "runs alone" not in (stage.folder / "gokiq.log").read_text()
    assert stage.client.exists("dead", "retry") == 0
