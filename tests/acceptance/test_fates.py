"""What becomes of jobs: retry, dead, schedule, ActiveJob, bytes that are no job."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

APPS = Path(__file__).with_name("app")
JID = "a" * 24


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def start(stage: Stage, *args: str) -> GokiqFast:
    env = {"TEST_JOURNAL": str(stage.journal)}
    args = ("-r", str(APPS / "fates.rb"), "--workers", "1", *args)
    return GokiqFast(*args, redis=stage.redis, log=stage.folder / "log", env=env)


def push(stage: Stage, *jobs: bytes) -> None:
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", *jobs)


def wait_for(server: GokiqFast, stage: Stage, jid: str, outcome: str) -> None:
    server.wait_until(
        lambda: any((run.jid, run.outcome) == (jid, outcome) for run in stage.runs()),
        timeout_s=30,
        what=f"{jid} ended in {outcome}",
    )


def wait_for_member(server: GokiqFast, stage: Stage, key: str) -> tuple[bytes, float]:
    """The one member of a sorted set and its score, once it is there."""
    server.wait_until(
        lambda: stage.client.zcard(key) > 0, timeout_s=30, what=f"a job had come to {key}"
    )
    [(member, score)] = stage.client.zrange(key, 0, -1, withscores=True)
    return member, score


def make_due(stage: Stage, key: str, member: bytes) -> None:
    stage.client.zadd(key, {member: time.time() - 1})


def as_sidekiq_wrote(member: bytes) -> dict[str, Any]:
    return dict(json.loads(member))


def test_a_job_that_fails_waits_in_retry_and_is_done_once_it_is_due(stage: Stage) -> None:
    pushed = payload(JID, "OnceBadJob", 1, "two")
    push(stage, pushed)
    began_at = time.time()
    with start(stage) as server:
        member, score = wait_for_member(server, stage, "retry")
        noticed_at = time.time()
        job = as_sidekiq_wrote(member)
        failed_at = job.pop("failed_at")
        assert job == json.loads(pushed) | {
            "retry_count": 0,
            "error_message": "not yet",
            "error_class": "ArgumentError",
        }
        assert isinstance(failed_at, int)
        assert began_at <= failed_at / 1000 + 0.001 <= noticed_at + 0.001
        # 0**4 + 15 + rand(10)
        assert 15 <= score - failed_at / 1000 < 24.5

        make_due(stage, "retry", member)
        wait_for(server, stage, JID, "done")
        server.wait_until(
            lambda: stage.processed() == 2, timeout_s=15, what="both runs were counted"
        )

    assert [run.outcome for run in stage.runs()] == ["fail", "done"]
    assert stage.client.get("stat:failed") == b"1"
    assert stage.client.exists("retry", "dead", "queue:default") == 0


def test_the_second_failure_of_a_job_is_told_apart_from_its_first(stage: Stage) -> None:
    push(stage, payload(JID, "BadJob"))
    with start(stage) as server:
        first, _ = wait_for_member(server, stage, "retry")
        make_due(stage, "retry", first)
        server.wait_until(
            lambda: stage.client.zrange("retry", 0, -1) not in ([first], []),
            timeout_s=30,
            what="it had failed again",
        )
        member, score = wait_for_member(server, stage, "retry")

    job = as_sidekiq_wrote(member)
    assert job["retry_count"] == 1
    assert job["failed_at"] == as_sidekiq_wrote(first)["failed_at"]
    # 1**4 + 15 + rand(20); the score is computed a moment after the time is noted
    assert 16 <= score - job["retried_at"] / 1000 < 35.5


def test_a_job_that_may_not_be_retried_is_dead_after_one_failure(stage: Stage) -> None:
    pushed = payload(JID, "BadJob", retry=0)
    push(stage, pushed)
    began_at = time.time()
    with start(stage) as server:
        member, score = wait_for_member(server, stage, "dead")
        noticed_at = time.time()

    job = as_sidekiq_wrote(member)
    assert job["jid"] == JID
    assert job["error_class"] == "ArgumentError"
    assert job["error_message"] == "no way"
    assert began_at <= score <= noticed_at
    assert len(stage.runs()) == 1
    assert stage.client.exists("retry", "queue:default") == 0
    assert stage.client.get("stat:failed") == b"1"


def test_retry_false_is_dropped_with_its_failure_counted(stage: Stage) -> None:
    push(stage, payload(JID, "BadJob", retry=False))
    with start(stage) as server:
        server.wait_until(
            lambda: stage.client.get("stat:failed") == b"1", timeout_s=30, what="it had failed"
        )

    assert len(stage.runs()) == 1
    assert stage.client.exists("retry", "dead", "queue:default") == 0


def test_a_due_job_of_the_schedule_is_enqueued_afresh_and_runs(stage: Stage) -> None:
    due, later = payload(JID, "GoodJob", "é", 1.5), payload("b" * 24, "GoodJob")
    # Another process pushes it, to a queue that this one does not read: its bytes stay to be seen.
    elsewhere = payload("c" * 24, "GoodJob", "é", 1.5, queue="elsewhere")
    now = time.time()
    stage.client.zadd("schedule", {due: now - 5, elsewhere: now - 5, later: now + 3600})
    with start(stage) as server:
        wait_for(server, stage, JID, "done")
        server.wait_until(
            lambda: stage.client.llen("queue:elsewhere") == 1, timeout_s=15, what="both had moved"
        )

    [moved] = stage.client.lrange("queue:elsewhere", 0, -1)
    job = json.loads(moved)
    assert isinstance(job["enqueued_at"], int)
    assert now <= job["enqueued_at"] / 1000 + 0.001 <= time.time() + 0.001
    assert moved == elsewhere.replace(
        f'"enqueued_at":{json.loads(elsewhere)["enqueued_at"]}'.encode(),
        f'"enqueued_at":{job["enqueued_at"]}'.encode(),
    )
    assert stage.client.zrange("schedule", 0, -1) == [later]
    assert stage.client.smembers("queues") >= {b"default", b"elsewhere"}


def test_an_active_job_runs_with_the_jid_its_client_was_told(stage: Stage) -> None:
    env = {"TEST_JOURNAL": str(stage.journal), "REDIS_URL": stage.redis.url}
    told = stage.folder / "client.log"
    with ruby_script(APPS / "push_greeting.rb", log=told, env=env) as client:
        assert client.wait(60) == 0, client.tail()
    jid = told.read_text().split()[-1]
    greeted = stage.journal / "greeted"
    with start(stage) as server:
        server.wait_until(
            lambda: greeted.exists() and stage.processed() == 1, timeout_s=30, what="it had run"
        )

    assert greeted.read_text() == f"{jid} Ada"
    assert stage.client.exists("retry", "dead") == 0


@pytest.mark.parametrize(
    "bytes_",
    [b"{ no json", b"", b"\xff\xfe\x00", b'{"class":"GoodJob","args":[1,'],
    ids=["text", "empty", "no UTF-8", "cut off"],
)
def test_what_is_no_json_is_dead_byte_for_byte_and_the_next_job_runs(
    stage: Stage, bytes_: bytes
) -> None:
    push(stage, bytes_, payload(JID, "GoodJob"))
    with start(stage, "-c", "1") as server:
        wait_for(server, stage, JID, "done")
        member, score = wait_for_member(server, stage, "dead")
        assert server.is_running
        assert server.stop() == 0

    assert member == bytes_
    assert abs(score - time.time()) < 60
    assert stage.client.exists("retry", "queue:default") == 0


def test_a_job_of_an_unknown_class_waits_in_retry(stage: Stage) -> None:
    push(stage, payload(JID, "NobodyKnowsJob"))
    with start(stage) as server:
        member, _ = wait_for_member(server, stage, "retry")

    assert as_sidekiq_wrote(member)["error_class"] == "NameError"
