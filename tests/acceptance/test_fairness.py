"""Fairness, seen from the jobs: weights that hold in time, reserved slots, shares of tenants."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_server import RedisServer

from .stage import APP, Stage, payload
from .test_limits import status

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
    return stage.gokiq("-C", str(file), "-c", str(concurrency), "--workers", "1", "-t", "1")


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
    """Of the same weight: jobs of 0.4 s and jobs of 0.02 s."""
    push(stage, "slow", "5", 60, 0.4)
    push(stage, "fast", "f", 2000, 0.02)
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
    push(stage, "bulk", "b", 30, 4)
    with start(stage, ":queues: [bulk, critical]\ngokiq: {reserve: {critical: 2}}", 6) as server:
        server.wait_until(
            lambda: len(stage.runs()) >= 4, timeout_s=40, what="bulk had the other slots"
        )
        seen = status(stage)
        assert (seen["bulk"]["running"], seen["bulk"]["why"]) == (4, "reserve")
        push(stage, "critical", "c", 3, 4)
        server.wait_until(
            lambda: sum(run.jid[0] == "c" for run in stage.runs()) >= 2,
            timeout_s=40,
            what="two jobs of critical had started",
        )
    runs = sorted(stage.runs(), key=lambda run: run.start_ms)
    first_ends = min((run.end_ms for run in runs if run.end_ms), default=math.inf)
    before = [run.jid[0] for run in runs if run.start_ms < first_ends]

    assert before == ["b"] * 4 + ["c"] * 2


def test_classes_say_their_limit_and_the_jobs_behind_them_run(stage: Stage) -> None:
    app = stage.folder / "limited.rb"
    app.write_text(
        f"require {str(APP)!r}\n"
        "class LimitedJob\n  include Sidekiq::Job\n  sidekiq_options gokiq_limit: 2\n"
        "  def perform(seconds) = JOURNAL.record(jid, self.class) { sleep(seconds) }\nend\n"
    )
    stage.client.sadd("queues", "default")
    for kind, name, count in (("LimitedJob", "b", 50), ("SleepJob", "c", 5)):
        jobs = [payload(f"{name}{i:023x}", kind, 60) for i in range(count)]
        stage.client.lpush("queue:default", *jobs)
    with stage.gokiq("-r", str(app), "-c", "10", "--workers", "1", "-t", "1") as server:
        server.wait_until(lambda: len(stage.runs()) == 7, timeout_s=40, what="all that may run")
        seen = status(stage)["default"]

    assert [run.jid[0] for run in stage.runs()].count("b") == 2
    assert (seen["running"], seen["waiting"], seen["why"]) == (7, 48, "limit class:LimitedJob")


def test_idle_reserved_slots_cost_no_work(stage: Stage) -> None:
    """The orchestrator sleeps while what it keeps free has no job."""
    push(stage, "bulk", "b", 30, 60)
    with start(stage, ":queues: [bulk, critical]\ngokiq: {reserve: {critical: 2}}", 6) as server:
        server.wait_until(
            lambda: len(stage.runs()) >= 4, timeout_s=40, what="bulk had the other slots"
        )
        before = scripts_called(stage)
        (lease,) = stage.client.keys("gokiq:lease:*")
        lives_ms = [int(stage.client.pttl(lease))]

        def is_renewed() -> bool:
            lives_ms.append(int(stage.client.pttl(lease)))
            return lives_ms[-1] > lives_ms[-2]

        server.wait_until(is_renewed, timeout_s=20, what="the lease was renewed")
        calls = scripts_called(stage) - before

    assert len(stage.runs()) == 4
    assert calls < 20


def scripts_called(stage: Stage) -> int:
    return int(stage.client.info("commandstats")["cmdstat_evalsha"]["calls"])


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


def test_a_reload_changes_who_is_next_and_refuses_what_is_wrong(stage: Stage) -> None:
    log = stage.folder / "gokiq.log"
    push(stage, "bulk", "b", 30, 60)
    with start(stage, ":queues: [bulk, critical]", 6) as server:
        server.wait_until(lambda: len(stage.runs()) == 6, timeout_s=40, what="bulk had all slots")
        for config, said in (
            ("gokiq: {reserve: {critical: 6}}", "reserve: 6 slots of capsule default, which has 6"),
            ("gokiq: {weights: fair}", "weights 'fair': must be picks or time"),
            ("gokiq: {reserve: {critical: 2}}", "Reloaded"),
        ):
            (stage.folder / "sidekiq.yml").write_text(f":queues: [bulk, critical]\n{config}")
            server.send_signal(signal.SIGUSR2)
            server.wait_until(
                lambda said=said: said in log.read_text(),  # type: ignore[misc]
                timeout_s=40,
                what=f"it said {said}",
            )
        push(stage, "critical", "c", 3, 60)
        server.wait_until(
            lambda: sum(run.jid[0] == "c" for run in stage.runs()) == 2,
            timeout_s=40,
            what="critical had its slots when old jobs were cut",
        )
    started = [run.jid[0] for run in sorted(stage.runs(), key=lambda run: run.start_ms)]

    assert started[6:].count("c") == 2
    assert started[6:].count("b") <= 4


def test_a_wrong_setting_is_said_in_one_line(stage: Stage) -> None:
    with start(stage, "gokiq: {weights: fair}", 1) as server:
        assert server.wait(40) == 1

    assert "gokiq: weights 'fair': must be picks or time" in server.log.read_text()
