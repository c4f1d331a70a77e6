"""Sidekiq's own API and Web UI, in other processes, see gokiq and command it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

HERE = Path(__file__).parent
TABS = ["/", "/busy", "/queues", "/queues/default", "/retries", "/scheduled", "/morgue", "/metrics"]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def ask(stage: Stage, script: str, *args: str) -> Any:
    log = stage.folder / f"{script}.log"
    log.unlink(missing_ok=True)
    env = {"REDIS_URL": stage.redis.url}
    with ruby_script(HERE / script, *args, log=log, env=env) as asking:
        assert asking.wait(60) == 0, asking.tail()
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else None


def shown_jobs(stage: Stage) -> list[str]:
    """The jids in the work sets. The beat before may have caught those that are done by now."""
    entries = (entry for key in stage.client.keys("*:work") for entry in stage.client.hvals(key))
    return [json.loads(json.loads(entry)["payload"])["jid"] for entry in entries]


def test_the_api_sees_the_process_its_work_and_its_stats_and_can_quiet_and_stop_it(
    stage: Stage,
) -> None:
    stage.push_sleepers(3, seconds=(0.0,))
    stage.client.lpush("queue:default", payload("a" * 24, "FailingJob"))
    long = payload("b" * 24, "LongJob", 600)
    with stage.gokiq("-c", "7", "-g", "shop", "--workers", "2", "-t", "1") as server:
        server.wait_until(lambda: stage.processed() == 4, timeout_s=30, what="four were done")
        stage.client.lpush("queue:default", long)
        server.wait_until(
            lambda: shown_jobs(stage) == ["b" * 24],
            timeout_s=15,
            what="a beat showed that job alone",
        )
        seen = ask(stage, "ruby_api.rb", "look")
        identity = seen.pop("identity")
        assert identity.split(":")[1] == str(server.pid)
        assert seen == {
            "size": 1,
            "total_concurrency": 7,
            "tag": "shop",
            "version": "8.1.7" if seen["version"].startswith("8.1.7") else seen["version"],
            "busy": 1,
            "stopping": False,
            "queues": ["default"],
            "work": ["b" * 24],
            "processed": 4,
            "failed": 1,
            "retries": 1,
            "enqueued": 0,
        }

        web = ask(stage, "ruby_web.rb", *TABS)
        assert {path: answer["status"] for path, answer in web.items()} == dict.fromkeys(TABS, 200)
        assert identity in web["/busy"]["body"]
        assert "shop" in web["/busy"]["body"]
        assert "LongJob" in web["/busy"]["body"]
        assert "FailingJob" in web["/retries"]["body"]

        ask(stage, "ruby_api.rb", "quiet")
        server.wait_until(
            lambda: stage.client.hget(identity, "quiet") == b"true",
            timeout_s=15,
            what="it was quiet",
        )
        stage.push_sleepers(1, seconds=(0.0,))
        assert ask(stage, "ruby_api.rb", "look")["stopping"] is True
        assert stage.client.llen("queue:default") == 1

        ask(stage, "ruby_api.rb", "stop")
        assert server.wait(25) == 0

    assert stage.client.lrange("queue:default", 0, -1)[-1] == long
    assert stage.client.scard("processes") == 0
