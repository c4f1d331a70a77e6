"""Which queue is asked first: Sidekiq's strict and weighted order, seen from the jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

JOBS = 200


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def run_order(stage: Stage, *queues: str) -> list[str]:
    """Names of the queues a and b, job by job as they started, with one slot in all."""
    for name in ("b", "a"):
        jobs = [payload(f"{name}{i:023x}", "SleepJob", 0, queue=name) for i in range(JOBS)]
        stage.client.sadd("queues", name)
        stage.client.lpush(f"queue:{name}", *jobs)
    args = [part for queue in queues for part in ("-q", queue)]
    with stage.gokiq(*args, "-c", "1", "--workers", "1") as server:
        server.wait_until(
            lambda: stage.processed() == 2 * JOBS, timeout_s=30, what="all jobs were done"
        )
    jids = [run.jid for run in stage.runs()]
    for name in ("a", "b"):
        of_one_queue = [jid for jid in jids if jid.startswith(name)]
        assert of_one_queue == sorted(of_one_queue), "a queue is first in, first out"
    return [jid[0] for jid in jids]


@pytest.mark.parametrize("first", ["a", "b"])
def test_strict_order_empties_the_first_queue_before_the_second(stage: Stage, first: str) -> None:
    second = "b" if first == "a" else "a"

    order = run_order(stage, first, second)

    assert order == [first] * JOBS + [second] * JOBS


def test_weights_mix_the_queues_and_prefer_the_heavier(stage: Stage) -> None:
    order = run_order(stage, "a,5", "b,1")

    # While both have jobs: a 5 in 6, 83 of 100 with a standard deviation of 3.7.
    assert 60 <= order[:100].count("a") <= 99
    # Strict order would have left b to the end.
    assert "b" in order[:100]
