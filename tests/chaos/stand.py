"""One scenario's ground: a Redis with a log on disk, a proxy in front of it, a load of jobs that
bear witness, gokiq under load.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from devtools.gokiq import GokiqFast
from devtools.journal import Run, find_runs, read_journal
from devtools.proxy import Proxy
from devtools.redis_jobs import find_jobs
from devtools.redis_server import RedisServer

from .checker import Findings, Window, examine

APP = Path(__file__).with_name("app.rb")
MS = 1_795_489_135_438
#: How long a load may take to be done once a fault is over, seconds.
PATIENCE_S = 90.0

#: Kinds of jobs in a load: class, arguments, options, share. Retries are part of every load.
Kind = tuple[str, tuple[object, ...], Mapping[str, object], int]
MIX: tuple[Kind, ...] = (
    ("QuickJob", ("é", 1.5), {}, 30),
    ("SleepJob", (0.05,), {}, 30),
    ("SleepJob", (0.3,), {}, 20),
    ("ThreadJob", (0.02,), {}, 6),
    ("FlakyJob", (), {}, 4),
    ("FlakyJob", (0.2,), {}, 4),
    ("DoomedJob", (), {"retry": 0}, 2),
    ("DoomedJob", (0.2,), {"retry": 0}, 4),
    ("DoomedJob", (), {"retry": False}, 4),
)


class Stand:
    """What a scenario works with."""

    def __init__(
        self, redis: RedisServer, proxy: Proxy, folder: Path, seed: int, sabotage: str = ""
    ) -> None:
        #: What must last until the verdict.
        self.stack = ExitStack()
        self.redis = redis
        self.proxy = proxy
        self.folder = folder
        self.seed = seed
        self._sabotage = sabotage
        self.rng = random.Random(seed)
        self.journal = folder / "journal"
        self.pushed: list[str] = []
        self._count = 0
        self.discards: set[str] = set()
        self._windows: list[Window] = []
        #: From the end of the fault to the next job that was done, seconds.
        self.recovery_s = 0.0

    @property
    def client(self):  # type: ignore[no-untyped-def] # redis-py's own type
        """Redis itself, past the proxy."""
        return self.redis.client

    def gokiq(
        self, *args: str, name: str = "gokiq", env: Mapping[str, str] | None = None
    ) -> GokiqFast:
        """A gokiq-fast behind the proxy."""
        env = {
            "TEST_JOURNAL": str(self.journal),
            "REDIS_URL": self.proxy.url,
            **(env or {}),
        }
        log = self.folder / f"{name}.log"
        server = GokiqFast("-r", str(APP), *args, redis=self.redis, log=log, env=env)
        if self._sabotage:
            at = server.argv.index("gokiq")
            server.argv[at : at + 1] = ["tests.chaos.sabotage", self._sabotage]
        return server

    # load

    def push(self, job_class: str, *args: object, **options: object) -> str:
        """One job; returns its jid."""
        jid = self._jid()
        self._lpush([_payload(jid, job_class, args, options)])
        if options.get("retry") is False and job_class == "DoomedJob":
            self.discards.add(jid)
        return jid

    def push_next(self, count: int, job_class: str, *args: object, **options: object) -> set[str]:
        """Jobs that come before all that wait; returns their jids."""
        jids = [self._jid() for _ in range(count)]
        self.client.rpush("queue:default", *[_payload(j, job_class, args, options) for j in jids])
        return set(jids)

    def push_many(self, count: int, kinds: tuple[Kind, ...] = MIX) -> None:
        """A mixed load in a random order."""
        shares = [share for *_, share in kinds]
        payloads = []
        for job_class, args, options, _ in self.rng.choices(kinds, shares, k=count):
            jid = self._jid()
            payloads.append(_payload(jid, job_class, args, options))
            if options.get("retry") is False:
                self.discards.add(jid)
        for first in range(0, count, 1000):
            self._lpush(payloads[first : first + 1000])

    def push_as(self, jids: list[str], job_class: str, *args: object) -> None:
        """Jobs with these jids; the caller keeps the books."""
        self._lpush([_payload(jid, job_class, args, {}) for jid in jids])

    def schedule_many(
        self, count: int, job_class: str, *args: object, key: str = "schedule"
    ) -> None:
        """Jobs that are due since the epoch."""
        jids = [self._jid() for _ in range(count)]
        for first in range(0, count, 5000):
            part = jids[first : first + 5000]
            self.client.zadd(key, {_payload(j, job_class, args, {}): 1.0 for j in part})

    def schedule(self, count: int, in_s: float) -> set[str]:
        """Quick jobs that are due so many seconds from now; returns their jids."""
        jids, at = [self._jid() for _ in range(count)], time.time() + in_s
        self.client.zadd("schedule", {_payload(jid, "QuickJob", (), {}): at for jid in jids})
        return set(jids)

    def _jid(self) -> str:
        self.pushed.append(f"{self._count:024x}")
        self._count += 1
        return self.pushed[-1]

    def _lpush(self, payloads: list[bytes]) -> None:
        self.client.sadd("queues", "default")
        self.client.lpush("queue:default", *payloads)

    # what happens

    def processed(self) -> int:
        """Sidekiq's counter."""
        return int(self.client.get("stat:processed") or 0)

    def middle(self, server: GokiqFast, share: float = 0.25) -> None:
        """Wait until that share of the jobs was processed."""
        self.until(
            server,
            lambda: self.processed() >= share * len(self.pushed),
            "the load was under way",
        )

    def until(
        self, server: GokiqFast, condition: Callable[[], bool], what: str, timeout_s: float = 0
    ) -> None:
        """Wait on a condition while the server runs."""
        server.wait_until(condition, timeout_s=timeout_s or PATIENCE_S, what=what)

    def excuse(
        self, since_ms: float, until_ms: float | None = None, pids: Collection[int] = ()
    ) -> None:
        """What was under way in this span of the monotonic clock (ms), in these processes, may have
        been done twice.
        """
        until_ms = until_ms if until_ms is not None else now_ms()
        self._windows.append(Window(since_ms, until_ms, frozenset(pids)))

    def recovered(self, server: GokiqFast, within_s: float) -> None:
        """Measure from now to the next job done; it must come within that time."""
        began, before = time.monotonic(), self.processed()
        self.until(server, lambda: self.processed() > before, "work had resumed", within_s)
        self.recovery_s = time.monotonic() - began

    def finish(self, server: GokiqFast, timeout_s: float = 0) -> None:
        """Wait until all jobs are done or dead. Retries do not wait for their time."""
        deadline = time.monotonic() + (timeout_s or PATIENCE_S)

        def is_over() -> bool:
            for member in self.client.zrange("retry", 0, -1):
                self.client.zadd("retry", {member: 1.0}, xx=True)
            places = find_jobs(self.client)
            return len(places.all()) == len(places.dead)

        self.until(server, is_over, "all jobs were done", deadline - time.monotonic())

    def runs(self) -> list[Run]:
        """What the jobs themselves say."""
        return find_runs(read_journal(self.journal)) if self.journal.exists() else []

    def done(self) -> set[str]:
        """Jids of the jobs that ended well."""
        return {run.jid for run in self.runs() if run.outcome == "done"}

    def findings(self) -> Findings:
        """The verdict; for when everything has stopped."""
        runs = self.runs()
        return examine(
            self.pushed,
            runs,
            find_jobs(self.client),
            discards=self.discards,
            excused=self._excused(runs),
        )

    def forget(self) -> None:
        """Close the books on what is over: jobs, journal, dead set. Servers may stay."""
        for path in self.journal.iterdir():
            if path.suffix == ".journal":
                os.truncate(path, 0)  # its process appends
            else:
                path.unlink()
        self.client.delete("dead")
        self.pushed.clear()
        self.discards.clear()
        self._windows.clear()

    @property
    def allowed(self) -> int:
        """How many jobs may have been done twice."""
        return len(self._excused(self.runs()))

    def _excused(self, runs: Sequence[Run]) -> set[str]:
        return {jid for window in self._windows for jid in window.excused(runs)}


def now_ms() -> float:
    """The journal's clock."""
    return time.monotonic() * 1000


def _payload(
    jid: str, job_class: str, args: tuple[object, ...], options: Mapping[str, object]
) -> bytes:
    job = {"retry": True, "queue": "default", "args": list(args), "class": job_class, "jid": jid}
    job |= {"created_at": MS, "enqueued_at": MS, **options}
    return json.dumps(job, separators=(",", ":"), ensure_ascii=False).encode()
