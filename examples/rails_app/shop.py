"""The shop with a Redis and a database of its own: filled, its jobs run by a server, its tables
read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from devtools.child import Child
from devtools.gokiq import GokiqFast, Server, Sidekiq
from devtools.programs import find_program
from devtools.redis_jobs import find_jobs
from devtools.redis_server import RedisServer

#: The Rails app's folder.
APP = Path(__file__).resolve().parent
#: Time that a Rails task may take, in seconds.
TASK_TIMEOUT_S = 90.0
#: Time that the jobs may take, in seconds: a retry of Sidekiq is due after up to 11 s.
JOBS_TIMEOUT_S = 90.0
#: No job waits for so long: all are done. Each takes far less, in seconds.
STILL_S = 1.5

_KINDS = {"sidekiq": Sidekiq, "gokiq-fast": GokiqFast}


class Shop:
    """One run of the shop; `folder` gets its database and logs."""

    def __init__(
        self, redis: RedisServer, folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._redis = redis
        self._folder = folder
        self._last_seen = time.monotonic()
        self._env = {
            "SHOP_DATABASE": str(folder / "shop.sqlite3"),
            "RAILS_ENV": "development",
            # The Ruby that is there has the gems; Bundler would write a Gemfile.lock into the app.
            "BUNDLE_GEMFILE": os.devnull,
            **(env or {}),
        }

    def open(self) -> None:
        """Make the database and push the day's jobs. Raises DevError."""
        self.task("db:setup", "shop:enqueue")

    def serve(self, name: str, *args: str) -> None:
        """Run "sidekiq" or "gokiq-fast" until nothing is left to do. Raises DevError."""
        with self.server(name, *args) as server:
            server.wait_ready()
            self._last_seen = time.monotonic()
            server.wait_until(self.is_done, timeout_s=JOBS_TIMEOUT_S, what="all jobs were done")
            server.stop()

    def server(self, name: str, *args: str) -> Server:
        """The server, not yet started, in the app's folder as an operator would start it."""
        log = self._folder / "server.log"
        return _KINDS[name](*args, redis=self._redis, log=log, env=self._env, cwd=APP)

    def is_done(self) -> bool:
        """Whether no job has waited for a while. Sidekiq's Redis does not show what runs, and what
        runs may push more.
        """
        found = find_jobs(self._redis.client)
        if found.queued or found.claimed or found.retry or found.schedule:
            self._last_seen = time.monotonic()
        return time.monotonic() - self._last_seen > STILL_S

    def dump(self) -> str:
        """Every table and Sidekiq's counters, without what differs from run to run."""
        return self.task("shop:dump")

    def task(self, *words: str) -> str:
        """What `bin/rails` prints with these arguments. Raises DevError when it fails."""
        log = self._folder / f"{words[0].replace(':', '-')}.log"
        env = {**self._env, "REDIS_URL": self._redis.url, "RUBYOPT": "-W0"}
        argv = [find_program("ruby"), APP / "bin" / "rails", *words]
        with Child(argv, log=log, env=env, cwd=APP, name=f"bin/rails {words[0]}") as task:
            if task.wait(TASK_TIMEOUT_S) != 0:
                raise task.early_end("without success")
        return log.read_text(encoding="utf-8")
