"""A fleet of one real Sidekiq and one gokiq-fast on one Redis, and what is found out about it."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.child import Child
from devtools.failure import DevError
from devtools.gokiq import GokiqFast, Server, Sidekiq
from devtools.journal import Run
from devtools.programs import ROOT

from .harness import APPS, PATIENCE_S, Stand

APP = "mixed.rb"
#: Seconds that running jobs have when their server is told to stop; LongJob takes longer.
GRACE_S = 2
#: Of a ListJob.
LIST_ITEMS = 15
#: Threads or fibers of each side for the queues that are not in a capsule, as mixed.rb has them.
SLOTS = 6
#: What mixed.rb loads on every job.
CARGO = {"deep": [1, None, 2**70, "é\u2028", {"f": 0.1}]}
HEARTBEAT_S = 10


@dataclass(frozen=True, slots=True)
class Account:
    """Where every jid that was pushed has gone."""

    pushed: dict[str, str]
    done: Counter[str]
    dead: set[str]
    discarded: set[str]

    def of_kinds(self, *kinds: str) -> set[str]:
        """The jids of these kinds of mixed_push.rb."""
        return {jid for jid, kind in self.pushed.items() if kind in kinds}

    def missing(self) -> set[str]:
        """Neither done nor dead nor given up."""
        return set(self.pushed) - set(self.done) - self.dead - self.discarded

    def twice(self) -> set[str]:
        """Done twice, or of two fates."""
        fates = Counter([*self.done.elements(), *self.dead, *self.discarded])
        return {jid for jid, count in fates.items() if count > 1}

    def strays(self) -> set[str]:
        """Nobody has pushed them."""
        return {*self.done, *self.dead, *self.discarded} - set(self.pushed)


class Fleet:
    """Starts and stops the two sides, any number of times."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._starts = 0
        self.sidekiq: Sidekiq | None = None
        self.gokiq: GokiqFast | None = None
        #: Of all the Sidekiqs that ran; the other processes in the journal are gokiq's workers.
        self.sidekiq_pids: set[int] = set()
        self._pusher: Child | None = None

    def close(self) -> None:
        for child in (self._pusher, self.sidekiq, self.gokiq):
            if child is not None:
                child.stop(grace_s=GRACE_S + 5)

    # the two sides

    def start_sidekiq(self) -> None:
        self._starts += 1
        server = self._stand.sidekiq("-t", str(GRACE_S), app=APP, name=f"sidekiq-{self._starts}")
        self.sidekiq = server
        server.start()
        self.sidekiq_pids.add(server.pid)

    def start_gokiq(self) -> None:
        self._starts += 1
        args = ("-t", str(GRACE_S), "--workers", "2")
        self.gokiq = self._stand.gokiq(*args, app=APP, name=f"gokiq-{self._starts}")
        self.gokiq.start()

    def end_sidekiq(self) -> None:
        _end(self.sidekiq)
        self.sidekiq = None

    def end_gokiq(self) -> None:
        _end(self.gokiq)
        self.gokiq = None

    # the jobs

    def push(self, seconds: float, seed: int) -> None:
        """Start the client."""
        stand = self._stand
        stand.journal.mkdir(exist_ok=True)
        env = {"REDIS_URL": stand.redis.url, "TEST_JOURNAL": str(stand.journal)}
        argv: list[str | Path] = [
            stand.version.ruby,
            APPS / "mixed_push.rb",
            f"{seconds:g}",
            str(seed),
        ]
        log = stand.folder / "push.log"
        self._pusher = Child(argv, log=log, env=env, cwd=ROOT, name="mixed_push.rb").start()

    def push_steady(self, count: int) -> None:
        """Jobs that run from one heartbeat to the next."""
        stand = self._stand
        stand.journal.mkdir(exist_ok=True)
        for _ in range(count):
            job = stand.payload("PlainJob", HEARTBEAT_S + 0.5, cargo=CARGO, pushes=1)
            stand.push(job)
            with (stand.journal / "pushed").open("a") as file:
                file.write(f"{json.loads(job)['jid']} steady\n")

    def finish(self, within_s: float) -> None:
        """Until the client has ended and every job has met its fate. That Redis holds none is not
        enough: what Sidekiq has in hand is nowhere in Redis.
        """
        assert self._pusher is not None
        assert self._pusher.wait(within_s) == 0, self._pusher.tail()
        # What is missing in the end is told by jid.
        with contextlib.suppress(DevError):
            self.wait("every job was done or dead", lambda: not self.account().missing())

    def left(self) -> int:
        """Jobs in queues, claims, retry and schedule."""
        client = self._stand.client
        queues = sum(int(client.llen(key)) for key in client.keys("queue:*"))
        sets = sum(int(client.zcard(key)) for key in ("retry", "schedule"))
        return queues + sets + self.claims()

    def claims(self) -> int:
        """Jobs that gokiq has in hand, of all its processes."""
        client = self._stand.client
        return sum(int(client.hlen(key)) for key in client.keys("gokiq:claims:*"))

    # what is seen

    def wait(self, what: str, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """While all servers that were started run."""
        up = [server for server in (self.sidekiq, self.gokiq) if server is not None]

        def is_met() -> bool:
            for server in up:
                if not server.is_running:
                    raise server.early_end(f"before {what}")
            return condition()

        up[0].wait_until(is_met, timeout_s=timeout_s, what=what)

    def processes(self) -> set[str]:
        """Which sides Sidekiq's API knows."""
        found = self._stand.ask("Sidekiq::ProcessSet.new.map { |process| process['pid'] }")
        return {self.side(pid) for pid in found}

    def working(self) -> set[str]:
        """Of which sides Sidekiq's API knows running jobs."""
        found = self._stand.ask("Sidekiq::WorkSet.new.map { |process, *| process }")
        return {self.side(pid_of(identity)) for identity in found}

    def record(self, side: str) -> dict[str, Any]:
        """A side's process record, without what its heartbeats change. Raises KeyError."""
        client = self._stand.client
        members: Any = client.smembers("processes")
        for member in members:
            identity = member.decode()
            if self.side(pid_of(identity)) == side:
                assert 0 < int(client.ttl(identity)) <= 60
                info: dict[str, Any] = json.loads(client.hget(identity, "info") or b"")
                return info
        raise KeyError(side)

    def quiet(self, side: str) -> None:
        """By way of Sidekiq's API, as the Web UI's button does."""
        identity = self.record(side)["identity"]
        self._stand.ask(f"Sidekiq::ProcessSet[{identity!r}].quiet!; nil")

    def side(self, pid: int) -> str:
        return "sidekiq" if pid in self.sidekiq_pids else "gokiq"

    def shares(self) -> Counter[str]:
        """Runs of each side."""
        return Counter(self.side(run.pid) for run in self._stand.runs())

    def unlisted(self, jids: set[str]) -> dict[str, set[int]]:
        """Items of lists that were never worked at."""
        seen: dict[str, set[int]] = {jid: set() for jid in jids}
        for name, *values in self._stand.said():
            if name == "item":
                seen[values[0]].add(values[1])
        every = set(range(1, LIST_ITEMS + 1))
        return {jid: every - items for jid, items in seen.items() if items != every}

    def handed_over(self) -> set[tuple[str, str]]:
        """(side, side) of jobs that failed here and were done there."""
        failed: dict[str, Run] = {}
        pairs = set()
        for run in self._stand.runs():
            if run.outcome == "done" and run.jid in failed:
                pairs.add((self.side(failed[run.jid].pid), self.side(run.pid)))
            elif run.outcome == "fail":
                failed[run.jid] = run
        return pairs

    def account(self) -> Account:
        stand = self._stand
        lines = (stand.journal / "pushed").read_text().splitlines()
        pushed = dict(line.split(" ") for line in lines)
        assert len(pushed) == len(lines)
        dead = {job["jid"] for job, _ in stand.members("dead")}
        # Sidekiq 8 calls death handlers for what is discarded, too.
        given_up = {values[0] for name, *values in stand.said() if name in {"death", "discard"}}
        return Account(
            pushed=pushed,
            done=Counter(run.jid for run in stand.runs() if run.outcome == "done"),
            dead=dead,
            discarded=given_up - dead,
        )


def _end(server: Server | None) -> None:
    """TERM, and its whole shutdown."""
    assert server is not None
    server.send_signal(signal.SIGTERM)
    assert server.wait(GRACE_S + 20) == 0
    server.stop()


def pid_of(identity: str) -> int:
    """The process id in `host:pid:nonce`."""
    return int(identity.split(":")[1])


class Clock:
    """Sleeps until shares of a time have gone by: the fleet's calendar."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds

    def wait_for(self, share: float) -> None:
        time.sleep(max(0.0, self._began + share * self._seconds - time.monotonic()))
