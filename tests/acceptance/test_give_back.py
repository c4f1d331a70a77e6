"""The way back to `sidekiq` after a crash: what a killed gokiq had claimed returns to its queue."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.programs import ROOT
from devtools.redis_jobs import find_jobs
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def give_back(stage: Stage, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gokiq", "give-back", *args],
        env={**os.environ, "REDIS_URL": stage.redis.url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_jobs_of_a_killed_process_return_and_those_of_a_living_one_do_not(
    stage: Stage,
) -> None:
    jobs = [payload(f"{i:024x}", "LongJob", 600) for i in range(6)]
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", *jobs)
    with (
        stage.gokiq("-c", "2", "--workers", "1", "-t", "1", name="alive") as alive,
        stage.gokiq("-c", "3", "--workers", "1", name="killed") as killed,
    ):
        for server in (alive, killed):
            server.wait_until(
                lambda: stage.client.llen("queue:default") == 1,
                timeout_s=30,
                what="all slots were taken",
            )
        killed.kill()
        ended = give_back(stage)

        assert ended.returncode == 0, ended.stderr
        lines = ended.stdout.splitlines()
        assert any(f":{killed.pid}:" in line and "is dead: 3 jobs" in line for line in lines)
        assert any(f":{alive.pid}:" in line and "is alive" in line for line in lines)
        assert lines[-1] == "3 jobs given back, 1 gokiq processes alive"
        places = find_jobs(stage.client)
        assert (len(places.claimed), len(places.queued)) == (2, 4)
    assert set(stage.client.lrange("queue:default", 0, -1)) == set(jobs)


def test_there_may_be_nothing_to_give_back(stage: Stage) -> None:
    ended = give_back(stage)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "0 jobs given back, 0 gokiq processes alive\n"


def test_a_redis_that_is_not_there_is_one_line(stage: Stage) -> None:
    ended = give_back(stage, "--redis", "redis://me:secret@127.0.0.1:1/0")

    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line == (
        "gokiq-fast: Redis at redis://127.0.0.1:1/0 does not answer: connection refused; "
        "start Redis or correct --redis"
    )


def test_a_url_that_is_none_is_shown_without_its_password(stage: Stage) -> None:
    ended = give_back(stage, "--redis", "http://me:secret@host")

    assert ended.returncode == 1
    assert "secret" not in ended.stderr
    assert "http://…@host" in ended.stderr
