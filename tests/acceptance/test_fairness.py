"""Fairness, seen from the jobs: weights that hold in time, reserved slots, shares of tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def push(stage: Stage, queue: str, name: str, count: int, *args: object, first: int = 0) -> None:
    """Jobs that sleep for the first argument; `name` is what their jids begin with."""
    jids = [f"{name}{first + i:023x}" for i in range(count)]
    stage.client.sadd("queues", queue)
    stage.client.lpush(
        f"queue:{queue}", *(payload(jid, "SleepJob", *args, queue=queue) for jid in jids)
    )


def start(stage: Stage, config: str, concurrency: int) -> GokiqFast:
    file = stage.folder / "sidekiq.yml"
    file.write_text(config)
    return stage.gokiq("-C", str(file), "-c", str(concurrency), "--workers", "1")


def busy_s(stage: Stage, name: str, until_ms: float) -> float:
    """Seconds that the jobs of this name ran for, in all, until a moment."""
    return (
        sum(
            min(run.end_ms or until_ms, until_ms) - run.start_ms
            for run in stage.runs()
            if run.jid.startswith(name) and run.start_ms < until_ms
        )
        / 1000
    )


CONFIG = """
:queues:
  - [slow, 1]
  - [fast, 1]
gokiq:
  weights: {weights}
"""


@pytest.mark.parametrize(("weights", "least", "most"), [("time", 0.38, 0.62), ("picks", 0.8, 1.0)])
def test_slow_jobs_have_the_time_of_their_weight_or_of_their_picks(
    stage: Stage, weights: str, least: float, most: float
) -> None:
    """Of the same weight: jobs of 1 s and jobs of 0.05 s."""
    push(stage, "slow", "5", 60, 1)
    push(stage, "fast", "f", 2000, 0.05)
    with start(stage, CONFIG.format(weights=weights), 10) as server:
        server.wait_until(
            lambda: len([r for r in stage.runs() if r.jid[0] == "5" and r.end_ms]) >= 20,
            timeout_s=40,
            what="20 slow jobs were done",
        )
        until_ms = sorted(r.end_ms for r in stage.runs() if r.jid[0] == "5" and r.end_ms)[19]

    slow, fast = busy_s(stage, "5", until_ms), busy_s(stage, "f", until_ms)

    assert least < slow / (slow + fast) < most


def test_a_reserved_slot_is_free_when_its_queue_has_a_job(stage: Stage) -> None:
    push(stage, "bulk", "b", 30, 2)
    with start(stage, ":queues: [bulk, critical]\ngokiq: {reserve: {critical: 2}}", 6) as server:
        server.wait_until(
            lambda: len(stage.runs()) >= 4, timeout_s=40, what="bulk had the other slots"
        )
        push(stage, "critical", "c", 3, 2)
        server.wait_until(
            lambda: sum(r.jid[0] == "c" for r in stage.runs()) == 3,
            timeout_s=40,
            what="the jobs of critical had started",
        )
    runs = sorted(stage.runs(), key=lambda run: run.start_ms)
    first_ends = min(run.end_ms for run in runs if run.end_ms)
    before = [run.jid[0] for run in runs if run.start_ms < first_ends]

    assert before == ["b"] * 4 + ["c"] * 2


def test_idle_reserved_slots_cost_no_work(stage: Stage) -> None:
    """The orchestrator sleeps while what it keeps free has no job."""
    push(stage, "bulk", "b", 30, 30)
    with start(stage, ":queues: [bulk, critical]\ngokiq: {reserve: {critical: 2}}", 6) as server:
        server.wait_until(
            lambda: len(stage.runs()) >= 4, timeout_s=40, what="bulk had the other slots"
        )
        before = stage.client.info("stats")["total_commands_processed"]
        push(stage, "other", "o", 1, 0)
        server.wait_until(
            lambda: stage.client.info("stats")["total_commands_processed"] > before + 40,
            timeout_s=20,
            what="some seconds had passed",
        )
        calls = stage.client.info("commandstats")["cmdstat_evalsha"]["calls"]

    assert calls < 60


@pytest.mark.parametrize("path", ["args.0", "cattr.tenant"])
def test_a_tenant_with_few_jobs_does_not_wait_for_one_with_many(stage: Stage, path: str) -> None:
    """The seconds that a job sleeps tell its tenant."""
    stage.client.sadd("queues", "default")
    for name, count, seconds in (("a", 60, 0.02), ("b", 8, 0.021)):
        jids = [f"{name}{i:023x}" for i in range(count)]
        stage.client.lpush(
            "queue:default",
            *(payload(jid, "SleepJob", seconds, cattr={"tenant": name}) for jid in jids),
        )

    with start(stage, f"gokiq: {{tenants: {{default: {path}}}}}", 1) as server:
        server.wait_until(lambda: stage.processed() == 68, timeout_s=40, what="all jobs were done")
    order = [run.jid for run in sorted(stage.runs(), key=lambda run: run.start_ms)]

    assert [jid[0] for jid in order[:18]].count("b") == 8
    for name in "ab":
        one = [jid for jid in order if jid[0] == name]
        assert one == sorted(one), "a tenant's jobs are first in, first out"


def test_a_wrong_setting_is_said_in_one_line(stage: Stage) -> None:
    with start(stage, "gokiq: {weights: fair}", 1) as server:
        assert server.wait(40) == 1

    assert "gokiq: weights 'fair': must be picks or time" in server.log.read_text()
