"""Gems that start a scheduler, a reaper or a port on `startup`: once a gokiq process, also after a
reload and after a worker's death. And what a worker knows of the process that it belongs to.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

#: The shapes of gems, in files that are named as theirs.
UNIQUE = """
# A reaper that is registered in Redis, as one of all processes.
Sidekiq.configure_server do |config|
  config.on(:startup) { config.redis { |redis| redis.call("SET", "reaper", Process.pid) } }
  config.on(:shutdown) { config.redis { |redis| redis.call("DEL", "reaper") } }
end
"""
ALIVE = """
module SidekiqAlive
  CAPSULE_NAME = "sidekiq-alive"
  def self.config = Struct.new(:concurrency).new(2)
  def self.current_queue = "alive-here"

  # Shows that jobs run, and comes back.
  class Worker
    include Sidekiq::Job
    sidekiq_options retry: false

    def perform
      Sidekiq.redis { |redis| redis.call("INCR", "alive:#{self.class.sidekiq_options["queue"]}") }
      self.class.perform_in(0.1)
    end
  end
end

Sidekiq.configure_server do |config|
  config.on(:startup) do
    SidekiqAlive::Worker.sidekiq_options(queue: SidekiqAlive.current_queue)
    config.capsule(SidekiqAlive::CAPSULE_NAME) do |capsule|
      capsule.concurrency = 2
      capsule.queues = [SidekiqAlive.current_queue]
    end
    SidekiqAlive::Worker.perform_async
  end
end
"""
APP = """
require "sidekiq"
require "sidekiq/api"
ENV.fetch("TEST_GEMS").split.each { |name| require_relative "lib/#{name}" }

def tell(list, text) = Sidekiq.redis { |redis| redis.call("RPUSH", list, text) }

Sidekiq.configure_server do |config|
  config[:poll_interval_average] = 0.2
  config.on(:startup) { tell("startups", Process.pid) }
  config.on(:quiet) { tell("quiets", Process.pid) }
end

# Looks for the process that it runs in, as exporters of metrics do.
class FindJob
  include Sidekiq::Job

  def perform
    records = Sidekiq::ProcessSet.new.select do |record|
      record["pid"] == Process.pid && record["hostname"] == Socket.gethostname
    end
    tell("found", records.map { |record| record["queues"].sort.join(" ") }.inspect)
  end
end

class SleepJob
  include Sidekiq::Job

  def perform(seconds) = sleep(seconds)
end
"""


class Leading(Stage):
    """A gokiq-fast with two workers and such gems."""

    server: GokiqFast

    def start(self, *gems: str) -> GokiqFast:
        (self.folder / "lib").mkdir()
        (self.folder / "lib" / "sidekiq_unique_jobs.rb").write_text(UNIQUE)
        (self.folder / "lib" / "sidekiq_alive.rb").write_text(ALIVE)
        (self.folder / "app.rb").write_text(APP)
        self.server = GokiqFast(
            *("-r", str(self.folder / "app.rb"), "--workers", "2", "-c", "20"),
            redis=self.redis,
            log=self.folder / "gokiq.log",
            env={"CONSOLE_LEVEL": "fatal", "TEST_GEMS": " ".join(gems)},
        )
        return self.server

    @property
    def workers(self) -> set[int]:
        """Pids of the workers of all roots."""
        return {p.pid for p in process_tree(self.server.pid)[1:] if p.pid not in self.roots}

    @property
    def roots(self) -> set[int]:
        tree = process_tree(self.server.pid)
        return {p.pid for p in tree if p.ppid == self.server.pid}

    def told(self, name: str) -> list[str]:
        return [value.decode() for value in self.client.lrange(name, 0, -1)]

    def until(self, condition: object, what: str) -> None:
        self.server.wait_until(condition, timeout_s=30, what=what)  # type: ignore[arg-type]

    def push(self, job: bytes) -> None:
        self.client.sadd("queues", "default")
        self.client.lpush("queue:default", job)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Leading]:
    with RedisServer() as redis:
        yield Leading(redis, tmp_path)


def test_a_reaper_is_there_once_through_reload_and_death(stage: Leading) -> None:
    client = stage.client
    with stage.start("sidekiq_unique_jobs") as server:
        server.wait_ready()
        stage.until(lambda: len(stage.told("startups")) == 2, "both workers had started")
        assert int(client.get("reaper") or 0) in stage.workers

        # The old leader has a job for longer than this test takes.
        for jid in ("b", "c"):
            stage.push(payload(jid * 24, "SleepJob", 60))
        stage.until(lambda: client.llen("queue:default") == 0, "they run")
        old = stage.workers
        server.send_signal(signal.SIGUSR2)
        stage.until(
            lambda: int(client.get("reaper") or 0) not in {0, *old}, "one of the new workers leads"
        )
        assert len(stage.told("startups")) == 4
        assert old & stage.workers, "the old code had still to do"

        leader = int(client.get("reaper") or 0)
        os.kill(leader, signal.SIGKILL)
        stage.until(lambda: int(client.get("reaper") or 0) not in {0, leader}, "another leads")
        assert int(client.get("reaper") or 0) in stage.workers


def test_a_queue_of_startup_is_read_and_a_worker_finds_its_record(stage: Leading) -> None:
    client = stage.client
    with stage.start("sidekiq_alive") as server:
        server.wait_ready()
        stage.until(lambda: int(client.get("alive:alive-here") or 0) > 2, "its job comes back")
        assert client.get("alive:default") is None
        stage.push(payload("a" * 24, "FindJob"))
        stage.until(lambda: stage.told("found"), "it looked for itself")
        assert stage.told("found") == ['["alive-here default"]']


def test_a_worker_that_comes_when_all_is_quiet_hears_of_it(stage: Leading) -> None:
    with stage.start() as server:
        server.wait_ready()
        stage.until(lambda: len(stage.told("startups")) == 2, "both workers had started")
        server.send_signal(signal.SIGTSTP)
        stage.until(lambda: len(stage.told("quiets")) == 2, "both were told")
        os.kill(int(stage.told("quiets")[0]), signal.SIGKILL)
        stage.until(lambda: len(stage.told("startups")) == 3, "another has come")
        stage.until(lambda: len(stage.told("quiets")) == 3, "it was told as well")
        assert stage.told("quiets")[2] == stage.told("startups")[2]
