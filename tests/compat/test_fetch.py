"""Which jobs come out of which queue, when, and how many at once (checklist 22 to 29)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Sequence

import pytest

from devtools.gokiq import Server
from devtools.journal import max_in_flight
from devtools.procstat import cpu_s

from .harness import Stand, assertion
from .life import said, wait_identity, wait_quiet

pytestmark = pytest.mark.acceptance


def push(stand: Stand, queue: str, count: int, job_class: str = "JournalJob") -> list[str]:
    """That many jobs, oldest first; their jids."""
    jobs = [stand.payload(job_class, number, queue=queue) for number in range(count)]
    stand.push(*jobs, queue=queue)
    return [json.loads(job)["jid"] for job in jobs]


def order(stand: Stand, server: Server, count: int) -> list[str]:
    """The jids of all jobs, in the order in which they started, once `count` have run."""
    stand.wait(server, lambda: stand.int("stat:processed") >= count, f"{count} jobs had run")
    return [run.jid for run in stand.runs()]


def running(stand: Stand) -> int:
    return sum(run.end_ms is None for run in stand.runs())


def share(jids: Iterable[str], of: Sequence[str]) -> float:
    """Which part of the jobs are from among those."""
    from_there = set(of)
    hits = [jid in from_there for jid in jids]
    return sum(hits) / len(hits)


@assertion(22, "strict order: all of a before b")
def test_strict_order(stand: Stand) -> None:
    b = push(stand, "b", 20)
    a = push(stand, "a", 20)
    with stand.gokiq("-q", "a", "-q", "b", "-c", "1") as server:
        assert order(stand, server, 40) == a + b


@assertion(23, "weights 3 and 1: three quarters of 2,000 first choices")
@pytest.mark.parametrize("concurrency", [1, 25])
def test_weighted_order(stand: Stand, concurrency: int) -> None:
    # Neither queue runs empty while 2,000 are taken.
    a = push(stand, "a", 1700)
    push(stand, "b", 700)
    with stand.gokiq("-q", "a,3", "-q", "b,1", "-c", str(concurrency)) as server:
        jids = order(stand, server, 2000)[:2000]

    # Five standard deviations of 2,000 draws.
    assert share(jids, a) == pytest.approx(0.75, abs=0.05)


@assertion(24, "all weights 1: every queue is the first choice as often as the others")
def test_random_order(stand: Stand) -> None:
    queues = {name: push(stand, name, 600) for name in "abc"}
    with stand.gokiq("-q", "a,1", "-q", "b,1", "-q", "c,1", "-c", "1") as server:
        jids = order(stand, server, 1200)[:1200]

    for jobs in queues.values():
        assert share(jids, jobs) == pytest.approx(1 / 3, abs=0.07)


@assertion(25, "idle it uses hardly any CPU, and takes a new job within two seconds")
@pytest.mark.slow
def test_idle(stand: Stand) -> None:
    idle_s = 4.0
    with stand.gokiq("-c", "10", "-q", "a", "-q", "b") as server:
        server.wait_ready()
        wait_identity(stand, server)
        push(stand, "b", 1)
        order(stand, server, 1)
        # Between two heartbeats, so that none of them is counted twice.
        cpu, commands = cpu_s(server.processes()), stand.redis.info("stats")
        time.sleep(idle_s)
        cpu = cpu_s(server.processes()) - cpu
        done = stand.redis.info("stats")["total_commands_processed"]
        done -= commands["total_commands_processed"]
        pushed_ms = time.monotonic() * 1000
        push(stand, "b", 1)
        order(stand, server, 2)
        waited_ms = stand.runs()[-1].start_ms - pushed_ms

    assert cpu / idle_s < 0.05
    assert done / idle_s < 20
    assert waited_ms < 2000


@assertion(26, "first in, first out")
def test_first_in_first_out(stand: Stand) -> None:
    jids = push(stand, "default", 50)
    with stand.gokiq("-c", "1") as server:
        assert order(stand, server, 50) == jids


@assertion(27, "never more jobs out of their lists than the concurrency")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_more_than_concurrency_is_taken(stand: Stand, workers: str) -> None:
    push(stand, "default", 10, "HeldJob")
    with stand.gokiq("-c", "3", "--workers", workers) as server:
        stand.wait(server, lambda: running(stand) == 3, "three were running")
        until = time.monotonic() + 1
        while time.monotonic() < until:
            assert stand.client.llen("queue:default") == 7
            time.sleep(0.05)
        assert running(stand) == 3
        (stand.journal / "released").touch()
        assert len(order(stand, server, 10)) == 10


@assertion(28, "after TSTP a new job stays in its list, unchanged")
@pytest.mark.slow
def test_a_quiet_process_takes_nothing(stand: Stand) -> None:
    with stand.gokiq() as server:
        server.wait_ready()
        identity = wait_identity(stand, server)
        server.send_signal(signal.SIGTSTP)
        wait_quiet(stand, server, identity)
        job = stand.payload("JournalJob", "é", 1.0e-7)
        stand.push(job)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert stand.client.lrange("queue:default", 0, -1) == [job]
            time.sleep(0.05)

    assert stand.runs() == []
    assert stand.client.lrange("queue:default", 0, -1) == [job]


@assertion(29, "two capsules that share a queue both take jobs from it")
def test_a_shared_queue(stand: Stand) -> None:
    push(stand, "default", 10, "CapsuleJob")
    with stand.gokiq("-c", "2", app="capsules.rb") as server:
        stand.wait(server, lambda: len(said(stand, "capsule")) == 3, "three were running")
        assert sorted(note[2] for note in said(stand, "capsule")) == ["default"] * 2 + ["single"]
        assert stand.client.llen("queue:default") == 7
        (stand.journal / "released").touch()
        order(stand, server, 10)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_capsule_keeps_its_own_concurrency(stand: Stand, workers: str) -> None:
    solo = push(stand, "solo", 4, "HeldJob")
    push(stand, "default", 8, "HeldJob")
    with stand.gokiq("-c", "3", "--workers", workers, app="capsules.rb") as server:
        stand.wait(server, lambda: running(stand) == 4, "four were running")
        assert stand.client.llen("queue:solo") == 3
        assert stand.client.llen("queue:default") == 5
        (stand.journal / "released").touch()
        order(stand, server, 12)

    its_runs = [run for run in stand.runs() if run.jid in solo]
    assert max_in_flight(its_runs) == 1
    assert max_in_flight(stand.runs()) == 4
