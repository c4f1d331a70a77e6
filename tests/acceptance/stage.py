"""What the acceptance tests share: a Redis, the plain app, jobs pushed as the gem writes them, a
verdict by jid.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from devtools.gokiq import GokiqFast
from devtools.journal import Run, find_runs, read_journal
from devtools.redis_jobs import find_jobs
from devtools.redis_server import RedisServer

APP = Path(__file__).with_name("plain_app") / "app.rb"
MS = 1_795_489_135_438


def payload(jid: str, job_class: str, *args: object, **options: object) -> bytes:
    """A job as Sidekiq 8 pushes it."""
    job = {"retry": True, "queue": "default", "args": list(args), "class": job_class, "jid": jid}
    job |= {"created_at": MS, "enqueued_at": MS, **options}
    return json.dumps(job, separators=(",", ":")).encode()


class Stage:
    """One Redis and the folder of one test."""

    def __init__(self, redis: RedisServer, folder: Path) -> None:
        self.redis = redis
        self.client = redis.client
        self.folder = folder
        self.journal = folder / "journal"
        self.pushed: list[str] = []

    def push_sleepers(self, count: int, *, seconds: tuple[float, ...]) -> None:
        """Push `count` jobs that sleep `seconds`, in turns."""
        jobs = []
        for i in range(count):
            jid = f"{len(self.pushed):024x}"
            self.pushed.append(jid)
            jobs.append(payload(jid, "SleepJob", seconds[i % len(seconds)]))
        self.client.sadd("queues", "default")
        self.client.lpush("queue:default", *jobs)

    def gokiq(self, *args: str, name: str = "gokiq") -> GokiqFast:
        """A gokiq-fast on the plain app."""
        env = {"TEST_JOURNAL": str(self.journal)}
        log = self.folder / f"{name}.log"
        return GokiqFast("-r", str(APP), *args, redis=self.redis, log=log, env=env)

    def processed(self) -> int:
        """Sidekiq's own counter."""
        return int(self.client.get("stat:processed") or 0)

    def runs(self) -> list[Run]:
        """What the jobs themselves say."""
        return find_runs(read_journal(self.journal)) if self.journal.exists() else []

    def finish(self, server: GokiqFast, timeout_s: float = 60) -> None:
        """Wait until no job is left in Redis."""
        server.wait_until(
            lambda: not find_jobs(self.client).all(), timeout_s=timeout_s, what="all jobs were done"
        )

    def finish_but_dead(self, server: GokiqFast, timeout_s: float = 60) -> None:
        """Wait until no job is left in Redis but in the dead set."""
        server.wait_until(
            lambda: find_jobs(self.client).all() == list(find_jobs(self.client).dead),
            timeout_s=timeout_s,
            what="all jobs were done or dead",
        )

    def assert_nothing_lost(self, *, cut_at_ms: float | None = None) -> None:
        """Every job was done; twice only what was running at `cut_at_ms` (monotonic ms)."""
        runs = self.runs()
        done = [run.jid for run in runs if run.outcome == "done"]
        assert set(self.pushed) - set(done) == set()
        assert set(done) <= set(self.pushed)
        twice = (
            {jid for jid in done if done.count(jid) > 1} if len(done) > len(set(done)) else set()
        )
        started = {
            run.jid: [r for r in runs if r.jid == run.jid] for run in runs if run.jid in twice
        }
        for jid, its in started.items():
            first = min(its, key=lambda run: run.start_ms)
            assert cut_at_ms is not None, f"{jid} ran twice and nothing was killed"
            assert first.start_ms <= cut_at_ms + 100, f"{jid} ran twice and was not in flight"


def monotonic_ms() -> float:
    """The journal's clock."""
    return time.monotonic() * 1000
