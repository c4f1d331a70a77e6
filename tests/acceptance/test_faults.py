"""Processes killed and Redis stopped in the middle of 5,000 jobs: nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree
from devtools.redis_server import RedisServer

from .stage import Stage, monotonic_ms, payload

pytestmark = pytest.mark.acceptance

JOBS = 5_000
SLEEPS = (0.05, 0.1, 0.2)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer(appendonly=True) as redis:
        yield Stage(redis, tmp_path)


def start_in_the_middle(stage: Stage, server: GokiqFast) -> None:
    server.wait_until(
        lambda: stage.processed() > JOBS // 4, timeout_s=60, what="a quarter of the jobs was done"
    )


def sidecar_pids(server: GokiqFast) -> list[int]:
    """Root first, then its workers."""
    return [process.pid for process in process_tree(server.pid)[1:]]


@pytest.mark.parametrize("victim", ["a worker", "the sidecar's root"])
def test_kill_9_of_the_sidecar_loses_nothing(stage: Stage, victim: str) -> None:
    stage.push_sleepers(JOBS, seconds=SLEEPS)
    with stage.gokiq("-c", "500", "--workers", "2") as server:
        start_in_the_middle(stage, server)
        root, *workers = sidecar_pids(server)
        cut_at_ms = monotonic_ms()
        os.kill(workers[0] if victim == "a worker" else root, signal.SIGKILL)
        # Workers learn of the root's death by their watchdog, and run until then.
        cut_at_ms += 0 if victim == "a worker" else 1500
        stage.finish(server)
        assert server.is_running
        gone = [pid for pid in sidecar_pids(server) if pid not in (root, *workers)]
        assert gone, "nobody replaced what was killed"
        assert server.stop() == 0

    stage.assert_nothing_lost(cut_at_ms=cut_at_ms)
    assert stage.client.exists("retry", "dead") == 0


def test_kill_9_of_the_orchestrator_loses_nothing(stage: Stage) -> None:
    stage.push_sleepers(JOBS, seconds=SLEEPS)
    with stage.gokiq("-c", "500", "--workers", "2", name="first") as first:
        start_in_the_middle(stage, first)
        sidecar = sidecar_pids(first)
        cut_at_ms = monotonic_ms()
        first.kill()
        with stage.gokiq("-c", "500", "--workers", "2", name="second") as second:
            second.wait_until(
                lambda: not any(Path(f"/proc/{pid}").exists() for pid in sidecar),
                timeout_s=10,
                what="the sidecar of the killed one was gone",
            )
            stage.finish(second)
            assert second.stop() == 0

    stage.assert_nothing_lost(cut_at_ms=cut_at_ms)
    assert stage.client.hlen("gokiq:owners") == 0


def test_a_claim_that_the_process_does_not_know_of_is_run_by_an_audit(stage: Stage) -> None:
    server = stage.gokiq("-c", "5", "--workers", "1")
    at = server.argv.index("gokiq")
    often = (
        "from gokiq.claiming import reconcile; from gokiq.commands import main; "
        "reconcile.AUDIT_S = 0.5; main.main()"
    )
    server.argv[at - 1 : at + 1] = ["-c", often]
    with server:
        server.wait_ready()
        (owner,) = stage.client.hkeys("gokiq:leases")
        claims = f"gokiq:claims:{owner.decode()}:default"
        stage.client.hset(claims, "900", payload("a" * 24, "SleepJob", 0.01))
        server.wait_until(lambda: stage.processed() == 1, timeout_s=20, what="it was run")
        assert not stage.client.exists(claims)
        assert server.stop() == 0
        assert server.log.read_text().count("Audit: ") == 1


def test_redis_down_for_10_s_under_load(stage: Stage) -> None:
    stage.push_sleepers(JOBS, seconds=SLEEPS)
    with stage.gokiq("-c", "300", "--workers", "2") as server:
        start_in_the_middle(stage, server)
        stage.redis.stop()
        time.sleep(10)  # the outage itself
        stage.redis.start()
        stage.client = stage.redis.client
        before, back_at = stage.processed(), time.monotonic()
        server.wait_until(
            lambda: stage.processed() > before, timeout_s=5, what="work resumed within 5 s"
        )
        stage.finish(server)
        assert time.monotonic() - back_at < 60
        assert server.stop() == 0

    stage.assert_nothing_lost()
    assert stage.processed() == JOBS
