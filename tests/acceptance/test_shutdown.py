"""Stopping: what runs has its time, then goes back byte for byte; exit 0 all the same."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_server import RedisServer

from .stage import APP, Stage, payload

pytestmark = pytest.mark.acceptance


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_an_idle_process_is_gone_in_two_seconds(stage: Stage, number: signal.Signals) -> None:
    with stage.gokiq("--workers", "2") as server:
        server.wait_ready()
        began = time.monotonic()
        server.send_signal(number)
        assert server.wait(5) == 0

    assert time.monotonic() - began < 2
    assert stage.client.scard("processes") == 0
    assert stage.client.hlen("gokiq:owners") == 0


@pytest.mark.parametrize("times", [1, 2], ids=["one TERM", "two TERMs"])
def test_a_job_that_outlasts_the_timeout_goes_back_to_the_tail_unchanged(
    stage: Stage, times: int
) -> None:
    long = payload("f" * 24, "LongJob", 60, odd="é \\u00e9 1.0e5")
    waiting = payload("e" * 24, "SleepJob", 0)
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", long)
    with stage.gokiq("-c", "1", "--workers", "1", "-t", "2") as server:
        server.wait_until(lambda: bool(stage.runs()), timeout_s=30, what="the job had started")
        stage.client.lpush("queue:default", waiting)
        began = time.monotonic()
        for _ in range(times):
            server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    assert 1 < time.monotonic() - began < 2 + 4
    assert "Pushed 1 jobs back to their queues: default 1" in server.log.read_text()
    assert stage.client.lrange("queue:default", 0, -1) == [waiting, long]
    assert (stage.journal / "shutdown").read_text() == "f" * 24
    assert stage.client.exists("retry", "dead") == 0
    assert (stage.client.get("stat:processed"), stage.client.get("stat:failed")) == (b"1", b"1")


def test_a_job_that_ends_in_time_is_done_and_not_run_again(stage: Stage) -> None:
    stage.push_sleepers(20, seconds=(1.0,))
    with stage.gokiq("-c", "20", "--workers", "2", "-t", "10") as server:
        server.wait_until(lambda: len(stage.runs()) == 20, timeout_s=30, what="all had started")
        assert server.stop() == 0

    stage.assert_nothing_lost()
    assert stage.processed() == 20


def test_a_stop_in_the_middle_of_a_backlog_is_prompt_and_keeps_the_order(stage: Stage) -> None:
    stage.push_sleepers(20_000, seconds=(0.0,))
    with stage.gokiq("-c", "200", "--workers", "1", "-t", "10") as server:
        server.wait_until(lambda: stage.processed() > 500, timeout_s=30, what="some were done")
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    assert time.monotonic() - began < 3
    left = stage.client.lrange("queue:default", 0, -1)
    assert len(left) + stage.processed() == 20_000
    assert stage.client.keys("gokiq:claims:*") == []
    order = [int(job.split(b'"jid":"')[1][:24], 16) for job in left]
    assert order == sorted(order, reverse=True)


#: A job, a handler and an `at_exit` block of which none ends.
STUBBORN = """
require_relative "{plain}"

class StubbornJob
  include Sidekiq::Job

  def perform
    JOURNAL.record(jid, self.class) {{ sleep }}
  ensure
    sleep
  end
end

Sidekiq.configure_server {{ |config| config.on(:shutdown) {{ sleep }} }}
at_exit {{ sleep }}
"""


@pytest.mark.parametrize("redis_answers", [True, False], ids=["Redis answers", "Redis hangs"])
def test_a_stop_is_over_five_seconds_after_the_timeout_whatever_happens(
    stage: Stage, redis_answers: bool
) -> None:
    """With the default timeout of 25 s: before Kubernetes and Heroku kill, after 30 s."""
    app = stage.folder / "app.rb"
    app.write_text(STUBBORN.format(plain=APP))
    job = payload("a" * 24, "StubbornJob")
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", job)
    env = {"TEST_JOURNAL": str(stage.journal)}
    args = ("-r", str(app), "-c", "1", "--workers", "1", "-t", "1")
    with GokiqFast(*args, redis=stage.redis, log=stage.folder / "log", env=env) as server:
        server.wait_until(lambda: bool(stage.runs()), timeout_s=30, what="the job had started")
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        if not redis_answers:
            stage.redis.pause()
        try:
            assert server.wait(20) == 0
            took = time.monotonic() - began
        finally:
            if not redis_answers:
                stage.redis.resume()

    assert took < 1 + 5
    if redis_answers:
        assert stage.client.lrange("queue:default", 0, -1) == [job]
        assert stage.client.hlen("gokiq:owners") == 0
