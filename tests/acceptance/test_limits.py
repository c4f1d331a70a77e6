"""Limits from every place where they can be set, on the real thing: they hold, and show at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_jobs import count_claims
from devtools.redis_server import RedisServer
from tests.acceptance.stage import APP, Stage, payload
from tests.acceptance.test_health import Probe

pytestmark = pytest.mark.acceptance

SOON_S = 1.0
LIMIT_S = 60.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def operate(stage: Stage, *words: str) -> str:
    """Run a command beside the server; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "gokiq", *words, "--redis", stage.redis.url],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(stage: Stage) -> dict[str, Any]:
    """Queues as `gokiq-fast status` has them."""
    document = json.loads(operate(stage, "status", "--json"))
    return {line["queue"]: line for line in document["queues"]}


def until(server: GokiqFast, condition: Callable[[], bool], what: str) -> float:
    """How long it took, seconds."""
    began = time.monotonic()
    server.wait_until(condition, timeout_s=LIMIT_S, what=what)
    return time.monotonic() - began


def push(stage: Stage, queue: str, count: int, seconds: float = 300, **options: object) -> None:
    jobs = [
        payload(f"{queue}{i:08x}", "SleepJob", seconds, queue=queue, **options)
        for i in range(count)
    ]
    stage.client.sadd("queues", queue)
    stage.client.lpush(f"queue:{queue}", *jobs)


def out(stage: Stage, queue: str) -> int:
    """Jobs of a queue that have left it."""
    keys = stage.client.keys(f"gokiq:claims:*:{queue}")
    return sum(int(stage.client.hlen(key)) for key in keys)  # type: ignore[arg-type]


def test_limits_of_the_configuration_of_flags_and_of_operators_hold_and_show(stage: Stage) -> None:
    for queue in ("a", "b", "c", "d"):
        push(stage, queue, 40)
    config = stage.folder / "sidekiq.yml"
    config.write_text(
        ":queues: [a, b, c, d]\n:gokiq:\n  limits:\n    queues: {a: 3, b: 9}\n    total: 30\n"
        "  rates: {queues: {d: 4/h burst 4}}\n"
    )
    stage.client.sadd("paused", "c")
    probe = Probe(f"unix:{stage.folder}/health")
    args = ("-C", str(config), "-c", "50", "--workers", "1", "--limit", "b=5", "-t", "1")
    with stage.gokiq(*args, "--health", probe.address) as server:
        server.wait_ready()
        until(server, lambda: count_claims(stage.client) == 12, "limits are used to the full")
        seen = status(stage)
        assert [seen[q]["running"] for q in "abcd"] == [3, 5, 0, 4]
        assert [seen[q]["why"] for q in "abcd"] == [
            *("limit queue:a", "limit queue:b", "paused", "rate queue:d")
        ]
        assert [seen[q]["limit"] for q in "abcd"] == [3, 5, 30, 30]
        assert [seen[q]["waiting"] for q in "abcd"] == [37, 35, 40, 36]
        until(
            server,
            lambda: probe.metrics().get('gokiq_queue_waiting{queue="a"}') == 37,
            "the queues were counted",
        )
        metrics = probe.metrics()
        assert metrics['gokiq_queue_running{queue="b"}'] == 5
        assert metrics['gokiq_queue_limit{queue="b"}'] == 5
        assert metrics['gokiq_queue_held{queue="d",reason="rate"}'] == 1

        operate(stage, "limit", "a", "7")
        assert out(stage, "a") == 3, "the tighter of two limits counts"
        operate(stage, "limit", "a", "none", "--per-process")
        assert until(server, lambda: out(stage, "a") == 7, "the limit was raised") < SOON_S
        operate(stage, "resume", "c")
        assert until(server, lambda: out(stage, "c") > 0, "the queue was resumed") < SOON_S
        until(server, lambda: count_claims(stage.client) == 30, "the total is used to the full")
        assert status(stage)["c"]["why"] == "limit total"
        assert "queue:a: at most 7 at once in all processes together" in operate(stage, "limit")
        operate(stage, "limit", "a", "default")
        assert operate(stage, "limit").strip() == "nothing is set; the app's configuration counts"


@pytest.mark.parametrize(
    "limit", ["cluster:default=6", pytest.param("cluster:SleepJob=6", marks=pytest.mark.slow)]
)
def test_four_processes_share_a_limit_that_a_crash_neither_exceeds_nor_leaks(
    stage: Stage, limit: str
) -> None:
    push(stage, "default", 300, seconds=0.05)
    most = 0
    with ExitStack() as stack:
        args = ("-c", "20", "--workers", "1", "--limit", limit, "-t", "2")
        servers = [stack.enter_context(stage.gokiq(*args, name=f"g{i}")) for i in range(4)]

        def holds() -> int:
            nonlocal most
            now = out(stage, "default")
            most = max(most, now)
            assert now <= 6
            return now

        until(servers[0], lambda: holds() and len(stage.runs()) > 60, "some jobs have run")
        servers[1].kill()
        before = len(stage.runs())
        until(servers[0], lambda: holds() >= 0 and len(stage.runs()) > before + 60, "they go on")
        servers[2].kill()
        until(
            servers[0],
            lambda: holds() == 0 and stage.processed() >= 290 and not stage.client.keys("queue:*"),
            "all jobs were done, those of the killed included",
        )
        assert most == 6
        done = {run.jid for run in stage.runs() if run.outcome == "done"}
        assert len(done) == 300
        until(
            servers[0],
            lambda: not stage.client.keys("gokiq:permits:*"),
            "no permit was left behind",
        )


CLASS_APP = """
require_relative "{plain}"

class NarrowJob < SleepJob
  sidekiq_options gokiq_limit: 2, gokiq_dependency: "api"
end

class ApiJob < SleepJob
  sidekiq_options gokiq_dependency: "api"
end
"""


def push_classes(stage: Stage, counts: dict[str, int]) -> None:
    """Jobs of one queue, of these classes in turns."""
    jobs = [
        payload(f"{name}{i:04x}", name, 300)
        for i in range(40)
        for name in counts
        if i < counts[name]
    ]
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", *jobs)


def running(stage: Stage) -> dict[str, int]:
    """Claimed jobs by class."""
    found: dict[str, int] = {}
    for key in stage.client.keys("gokiq:claims:*"):
        for job in stage.client.hvals(key):
            name = json.loads(job)["class"]
            found[name] = found.get(name, 0) + 1
    return found


def test_classes_are_limited_by_themselves_and_by_operators_inside_one_queue(stage: Stage) -> None:
    app = stage.folder / "app.rb"
    app.write_text(CLASS_APP.format(plain=APP))
    push_classes(stage, {"NarrowJob": 30, "ApiJob": 30, "SleepJob": 40})
    args = ("-c", "24", "--workers", "1", "-t", "1", "--limit", "dependency:api=5")
    env = {"TEST_JOURNAL": str(stage.journal)}
    log = stage.folder / "gokiq.log"
    with GokiqFast("-r", str(app), *args, redis=stage.redis, log=log, env=env) as server:
        server.wait_ready()
        until(server, lambda: count_claims(stage.client) == 24, "all slots are in use")
        seen = running(stage)
        assert seen["NarrowJob"] <= 2
        assert seen["NarrowJob"] + seen["ApiJob"] == 5
        assert seen["SleepJob"] == 19

    stage.client.delete(*stage.client.keys("gokiq:claims:*"), "queue:default")
    push_classes(stage, {"NarrowJob": 30, "ApiJob": 30})
    with GokiqFast("-r", str(app), *args, redis=stage.redis, log=log, env=env) as server:
        until(server, lambda: sum(running(stage).values()) == 5, "the dependency is at its limit")
        operate(stage, "limit", "dependency:api", "none")
        full = {"NarrowJob": 2, "ApiJob": 22}
        assert until(server, lambda: running(stage) == full, "the limit was lifted") < SOON_S
        assert status(stage)["default"]["why"] == "slots"
