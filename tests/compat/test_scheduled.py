"""Due jobs of `retry` and `schedule` come to their queues (checklist 65 to 70)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion
from .life import wait_identity, wait_quiet

pytestmark = pytest.mark.acceptance

#: Nobody takes jobs from the queues of these tests, so that they can be looked at.
IDLE = ("-q", "idle")
#: The longest that polled.rb pauses between two looks: 1.5 times its average.
INTERVAL_S = 0.75


@pytest.fixture(scope="module")
def server(shared: Stand) -> Iterator[Server]:
    with shared.gokiq(*IDLE, app="polled.rb") as server:
        server.wait_ready()
        # Sidekiq takes a while until it looks for the first time.
        shared.client.zadd("schedule", {member(shared, "first"): 1.0})
        shared.wait(server, lambda: shared.client.llen("queue:first"), "it had looked once")
        yield server


def queued(stand: Stand, queue: str) -> list[dict[str, Any]]:
    """The jobs of a queue, oldest first."""
    jobs: list[Any] = stand.client.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(job) for job in reversed(jobs)]


def member(stand: Stand, queue: str, *args: object, **fields: object) -> bytes:
    """A job as the client schedules it."""
    return stand.payload("JournalJob", *args, queue=queue, enqueued_at=None, **fields)


def at_ms(stand: Stand, job: dict[str, Any]) -> float:
    """Its `enqueued_at`, in ms; fails when the unit is not that of the version."""
    at = job["enqueued_at"]
    assert isinstance(at, int if stand.version.is_8 else float)
    return at if stand.version.is_8 else at * 1000


@assertion(65, "a due job is in its queue within the poll interval, with a fresh enqueued_at")
@pytest.mark.parametrize("key", ["schedule", "retry"])
def test_a_due_job_comes_to_its_queue(shared: Stand, server: Server, key: str) -> None:
    queue = f"due-{key}"
    due = member(shared, queue, 1.0e-7, "é")
    shared.client.zadd(key, {due: time.time()})
    began = time.monotonic()
    shared.wait(server, lambda: shared.client.llen(f"queue:{queue}"), "it was in its queue")

    # Twice the interval: the machine is shared.
    assert time.monotonic() - began < 2 * INTERVAL_S
    assert shared.client.sismember("queues", queue)
    [job] = queued(shared, queue)
    assert abs(at_ms(shared, job) - time.time() * 1000) < 5000
    del job["enqueued_at"]
    assert job == json.loads(due)
    assert shared.client.zscore(key, due) is None


@assertion(65, "a job that the gem has scheduled")
def test_what_perform_in_has_scheduled_comes_at_its_time(shared: Stand, server: Server) -> None:
    jid = shared.ask(
        'Sidekiq::Client.push("class" => "JournalJob", "args" => [1], "queue" => "later",'
        ' "at" => Time.now.to_f + 1)'
    )
    began = time.time()
    shared.wait(server, lambda: queued(shared, "later"), "it was in its queue")
    [job] = queued(shared, "later")
    assert job["jid"] == jid
    assert "at" not in job
    assert at_ms(shared, job) / 1000 > began + 0.5
    assert shared.ask('Sidekiq::Queue.new("later").latency') < 60


@assertion(66, "retry is drained before schedule")
def test_retries_come_before_scheduled_jobs(stand: Stand) -> None:
    for number in range(150):
        stand.client.zadd("schedule", {member(stand, "both", "schedule", number): number + 1.0})
        stand.client.zadd("retry", {member(stand, "both", "retry", number): number + 1000.0})
    with stand.gokiq(*IDLE, app="polled.rb") as server:
        stand.wait(server, lambda: stand.client.llen("queue:both") == 300, "all were in the queue")

    found = [job["args"] for job in queued(stand, "both")]
    assert found == [[key, number] for key in ("retry", "schedule") for number in range(150)]


@assertion(67, "a member without queue, retry or jid gets Sidekiq's defaults")
def test_what_a_member_lacks_is_filled_in(shared: Stand, server: Server) -> None:
    for number, lacking in enumerate(("queue", "retry", "jid", "created_at")):
        fields: dict[str, object] = {"queue": "lacking", "enqueued_at": None} | {lacking: None}
        due = shared.payload("JournalJob", number, **fields)
        shared.client.zadd("schedule", {due: time.time()})

    shared.wait(server, lambda: shared.client.llen("queue:lacking") == 3, "three were in the queue")
    shared.wait(server, lambda: shared.client.llen("queue:default"), "the other was in default")
    jobs = {job["args"][0]: job for job in queued(shared, "lacking") + queued(shared, "default")}
    assert jobs[0]["queue"] == "default"
    assert jobs[1]["retry"] is True
    assert len(jobs[2]["jid"]) == 24
    assert isinstance(jobs[3]["created_at"], int if shared.version.is_8 else float)
    assert shared.client.zcard("schedule") == 0


@assertion(68, "client middleware may drop a due job, or add to it")
def test_client_middleware_judges_due_jobs(stand: Stand) -> None:
    kept = member(stand, "judged", "keep")
    with stand.gokiq(*IDLE, app="client_middleware.rb") as server:
        server.wait_ready()
        for key in ("retry", "schedule"):
            stand.client.zadd(key, {member(stand, "judged", "drop"): 1.0})
        stand.client.zadd("schedule", {kept: 2.0})
        stand.wait(server, lambda: queued(stand, "judged"), "one was in the queue")
        stand.wait(server, lambda: not stand.client.exists("retry", "schedule"), "none was left")

    [job] = queued(stand, "judged")
    assert job.pop("marked") == job["jid"]
    at_ms(stand, job)
    del job["enqueued_at"]
    assert job == json.loads(kept)
    assert stand.client.zcard("dead") == 0


@assertion(69, "what is not due stays as it is")
def test_what_is_not_due_stays(shared: Stand, server: Server) -> None:
    score = time.time() + 3600.25
    future = member(shared, "future", 1)
    shared.client.zadd("schedule", {future: score})
    shared.client.zadd("retry", {future: score})
    # A job that is due, and came later, shows that both sets have been looked at since.
    for key in ("retry", "schedule"):
        shared.client.zadd(key, {member(shared, "present", key): 1.0})
    shared.wait(server, lambda: shared.client.llen("queue:present") == 2, "both sets were drained")

    for key in ("retry", "schedule"):
        assert shared.client.zscore(key, future) == score
    assert not shared.client.exists("queue:future")


@assertion(69, "two processes never enqueue one member twice")
@pytest.mark.parametrize(
    "app", [pytest.param("polled.rb", marks=pytest.mark.slow), "client_middleware.rb"]
)
def test_two_processes_enqueue_a_member_once(stand: Stand, app: str) -> None:
    count = 1000
    with ExitStack() as stack:
        servers = [
            stack.enter_context(stand.gokiq(*IDLE, app=app, name=f"gokiq{number}"))
            for number in range(2)
        ]
        for server in servers:
            server.wait_ready()
        # Due a few at a time, and while both look.
        now = time.time()
        due = {member(stand, "once", n): now + 2 * n / count for n in range(count)}
        stand.client.zadd("schedule", due)
        for server in servers:
            stand.wait(server, lambda: not stand.client.zcard("schedule"), "none was left")
        assert all(server.is_running for server in servers)

    assert sorted(job["args"][0] for job in queued(stand, "once")) == list(range(count))


@assertion(70, "a quiet process enqueues no scheduled jobs")
def test_a_quiet_process_leaves_due_jobs_where_they_are(stand: Stand) -> None:
    with stand.gokiq(*IDLE, app="polled.rb") as server:
        server.wait_ready()
        server.send_signal(signal.SIGTSTP)
        wait_quiet(stand, server, wait_identity(stand, server))
        due = {member(stand, "quiet", number): 1.0 for number in range(3)}
        stand.client.zadd("schedule", due)
        stand.client.zadd("retry", due)
        began = time.monotonic()
        stand.wait(
            server, lambda: time.monotonic() > began + 3 * INTERVAL_S, "it had time to look twice"
        )
        assert stand.client.zcard("schedule") == stand.client.zcard("retry") == 3
        assert not stand.client.exists("queue:quiet")
