"""A job that was convicted of killing its workers, when an operator tries it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

JID = "f" * 24


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def test_a_convicted_job_that_is_retried_by_hand_runs_and_dies_at_once_if_it_kills_again(
    stage: Stage,
) -> None:
    def push(job: bytes) -> None:
        stage.client.sadd("queues", "default")
        stage.client.lpush("queue:default", job)

    def runs() -> list[str | None]:
        return [run.outcome for run in stage.runs() if run.jid == JID]

    with stage.gokiq("-c", "1", "--workers", "1") as server:
        for expected in (3, 4):
            push(payload(JID, "PoisonJob", 0.05, "SEGV"))
            server.wait_until(
                lambda: stage.client.zcard("dead") == 1, timeout_s=60, what="it was dead"
            )
            assert len(runs()) == expected
            stage.client.delete("dead")
        push(payload(JID, "SleepJob", 0.0))
        server.wait_until(lambda: "done" in runs(), timeout_s=30, what="it ran")
        assert server.stop() == 0
