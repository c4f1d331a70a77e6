"""What a thread has to itself under Sidekiq, a job has to itself in fibers: real Sentry's state,
the depth of the stack.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.failure import DevError
from devtools.gokiq import GokiqFast, Server, Sidekiq
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_eval

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

APPS = Path(__file__).with_name("app")
JOBS = 50
DUE = 10


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        (tmp_path / "journal").mkdir()
        yield Stage(redis, tmp_path)


def lines(stage: Stage, kind: str) -> list[dict[str, Any]]:
    path = stage.journal / kind
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def has_sentry() -> bool:
    try:
        return ruby_eval("require 'sentry-sidekiq'; print 1") == "1"
    except DevError:
        return False


def jid(number: int) -> str:
    return f"{number:024x}"


@pytest.mark.parametrize("concurrency", [5, 50])
def test_sentry_tells_each_jobs_own_story(stage: Stage, concurrency: int) -> None:
    if not has_sentry():
        pytest.skip("sentry-sidekiq is not there")
    past = time.time() - 60
    stage.client.zadd("schedule", dict.fromkeys(due_jobs(), past))
    stage.client.sadd("queues", "default")
    reporting = [payload(jid(n), "ReportingJob", n, concurrency, retry=3) for n in range(JOBS)]
    stage.client.lpush("queue:default", *reporting)
    env = {"TEST_JOURNAL": str(stage.journal), "TEST_DUE": str(DUE)}
    args = ("-r", str(APPS / "sentry.rb"), "-c", str(concurrency), "--workers", "1")

    with GokiqFast(*args, redis=stage.redis, log=stage.folder / "log", env=env) as server:
        server.wait_until(
            lambda: len(lines(stage, "pushed")) == JOBS and stage.client.zcard("retry") == JOBS,
            timeout_s=60,
            what="all jobs had failed",
        )

    # Nobody's user in a job that was due while they ran.
    aside = [json.loads(job) for job in stage.client.lrange("queue:aside", 0, -1)]
    assert [job.get("sentry_user") for job in aside] == [None] * DUE
    # What a job pushed carries its own user.
    assert all(pushed["user"] == {"id": pushed["number"]} for pushed in lines(stage, "pushed"))
    events = lines(stage, "events")
    errors = [event for event in events if event["error"]]
    messages = [event for event in events if event["message"]]
    assert len(errors) == len(messages) == JOBS
    for event in errors + messages:
        number = int((event["error"] or event["message"]).split()[1])
        assert event["user"] == {"id": number}
        assert (event["tags"]["number"], event["tags"]["jid"]) == (number, jid(number))
        assert event["sidekiq"] == jid(number)
    traces = {event["tags"]["jid"]: event["trace"] for event in errors}
    assert len(set(traces.values())) == JOBS
    assert all(event["trace"] == traces[event["tags"]["jid"]] for event in messages)
    # A transaction for each run, in the trace of its job.
    runs = [event for event in events if event["type"] == "transaction"]
    runs = [event for event in runs if event["transaction"] == "Sidekiq/ReportingJob"]
    assert sorted(event["tags"]["jid"] for event in runs) == sorted(traces)
    assert all(event["trace"] == traces[event["tags"]["jid"]] for event in runs)
    assert not {job["trace_propagation_headers"]["sentry-trace"][:32] for job in aside} & set(
        traces.values()
    )


def due_jobs() -> list[bytes]:
    return [payload(jid(1_000 + n), "PushedJob", n, queue="aside") for n in range(DUE)]


def test_a_job_can_recurse_as_deeply_as_in_sidekiq(stage: Stage) -> None:
    def depths(server: Server) -> dict[str, int]:
        path = stage.journal / "depths"
        path.unlink(missing_ok=True)
        stage.client.sadd("queues", "default")
        stage.client.lpush("queue:default", payload(jid(1), "DeepJob", retry=False))
        with server:
            server.wait_until(
                lambda: path.exists() and path.stat().st_size > 0,
                timeout_s=60,
                what="the job was done",
            )
        return dict(json.loads(path.read_text()))

    env = {"TEST_JOURNAL": str(stage.journal)}
    args = ("-r", str(APPS / "stack.rb"))
    log = stage.folder / "log"
    ours = depths(GokiqFast(*args, "--workers", "1", redis=stage.redis, log=log, env=env))
    theirs = depths(Sidekiq(*args, redis=stage.redis, log=log, env=env))

    assert ours.keys() == theirs.keys()
    for what, depth in theirs.items():
        assert ours[what] >= 0.95 * depth, (ours, theirs)
