"""Workers that are replaced while work goes on: nothing is lost, doubled or held up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.procstat import process_tree
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_work_goes_on_while_workers_are_replaced(stage: Stage, workers: int) -> None:
    stage.push_sleepers(4000, seconds=(0.05, 0.1))
    with stage.gokiq("-c", "50", "--workers", str(workers), "--max-jobs", "400") as server:
        stage.finish(server)
        server.wait_until(
            lambda: len(process_tree(server.pid)) == 2 + workers,
            timeout_s=30,
            what="the spare worker had left",
        )
        assert server.stop() == 0

    runs = stage.runs()
    stage.assert_nothing_lost()
    assert len(runs) == 4000, "some were pushed back"
    assert len({run.pid for run in runs}) >= 2 + workers
    ends = sorted(run.end_ms or 0.0 for run in runs)
    longest_ms = max(after - before for before, after in itertools.pairwise(ends))
    assert longest_ms < 1000, f"no job ended for {longest_ms:.0f} ms"


def test_a_worker_that_leaks_is_replaced_and_its_long_job_ends_in_peace(stage: Stage) -> None:
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", payload("a" * 24, "SleepJob", 6))
    with stage.gokiq("-c", "10", "--workers", "1", "--max-rss", "150") as server:
        server.wait_until(lambda: len(stage.runs()) == 1, timeout_s=30, what="the long one ran")
        stage.client.lpush("queue:default", payload("b" * 24, "LeakJob", 250))
        server.wait_until(
            lambda: "MB resident, more than 150" in (stage.folder / "gokiq.log").read_text(),
            timeout_s=30,
            what="it was seen",
        )
        stage.push_sleepers(20, seconds=(0.01,))
        stage.finish(server)
        assert server.stop() == 0

    runs = stage.runs()
    assert {run.outcome for run in runs} == {"done"}
    assert len({run.pid for run in runs if run.jid != "b" * 24}) >= 2


def test_a_memory_limit_below_a_fresh_worker_replaces_nobody(stage: Stage) -> None:
    with stage.gokiq("-c", "5", "--workers", "1", "--max-rss", "10") as server:
        server.wait_until(
            lambda: "a fresh worker has" in server.log.read_text(),
            timeout_s=30,
            what="it was said",
        )
        stage.push_sleepers(20, seconds=(0.1,))
        stage.finish(server)
        said = server.log.read_text()

    assert "is replaced: " not in said
    assert said.count("No worker is replaced for its memory any more") == 1
    assert len({run.pid for run in stage.runs()}) == 1
