"""Stopping: what it leaves behind, how long it takes, which events come (checklist 74 to 79)."""

from __future__ import annotations

import json
import signal
import time

import pytest

from devtools.redis_jobs import find_jobs

from .harness import Stand, assertion
from .life import said, wait_identity, wait_quiet, wait_said

pytestmark = pytest.mark.acceptance

TIMEOUT_S = 2


@assertion(74, "TERM while idle: exit code 0 within two seconds, and out of the registers")
def test_an_idle_process_leaves_at_once(stand: Stand) -> None:
    with stand.gokiq("--workers", "2") as server:
        server.wait_ready()
        identity = wait_identity(stand, server)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0

    assert time.monotonic() - began < 2
    assert not stand.client.sismember("processes", identity)
    assert not stand.client.exists(f"{identity}:work")
    assert stand.ask("Sidekiq::ProcessSet.new.size") == 0


@assertion(75, "TERM with a job longer than the timeout: back in its queue, exit code 0, in time")
@assertion(76, "what goes back is at the tail, next to run")
@assertion(77, "and counts as failed; Sidekiq::Shutdown was raised, no error handler was called")
@pytest.mark.parametrize("lane", ["fiber", pytest.param("thread", marks=pytest.mark.slow)])
def test_a_job_that_outlasts_the_timeout_goes_back(stand: Stand, lane: str) -> None:
    long = stand.payload("StubbornJob", 60, odd="é \\u00e9 1.0e5", n=2**70, retry_count=3)
    waiting = stand.payload("JournalJob", queue="other")
    stand.push(long, queue="other")
    args = ("-q", "other", "-c", "1", "-t", str(TIMEOUT_S), "--lane", lane)
    with stand.gokiq(*args, app="handlers.rb") as server:
        stand.wait(server, stand.runs, "the job had started")
        stand.push(waiting, queue="other")
        identity = wait_identity(stand, server)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S + 20) == 0

    # Sidekiq looks twice a second whether its time is up, and gives up half a second early.
    assert TIMEOUT_S - 0.6 < time.monotonic() - began < TIMEOUT_S + 4
    assert stand.client.lrange("queue:other", 0, -1) == [waiting, long]
    assert stand.client.lindex("queue:other", -1) == long
    assert (stand.int("stat:processed"), stand.int("stat:failed")) == (1, 1)
    jid = json.loads(long)["jid"]
    assert said(stand, "raised") == [["raised", jid, "Sidekiq::Shutdown"]]
    assert said(stand, "ensured") == [["ensured", jid]]
    assert said(stand, "error") == []
    assert not stand.client.exists("retry", "dead", f"{identity}:work")


@assertion(75, "a job that ends within the timeout is done and does not go back")
def test_a_job_that_ends_in_time_is_done(stand: Stand) -> None:
    jobs = [stand.payload("SleepJob", 1) for _ in range(5)]
    stand.push(*jobs)
    with stand.gokiq("-c", "5", "-t", "20") as server:
        stand.wait(server, lambda: len(stand.runs()) == 5, "all had started")
        late = stand.payload("JournalJob")
        server.send_signal(signal.SIGTERM)
        stand.push(late)
        assert server.wait(25) == 0

    assert [run.outcome for run in stand.runs()] == ["done"] * 5
    assert stand.client.lrange("queue:default", 0, -1) == [late]
    assert (stand.int("stat:processed"), stand.int("stat:failed")) == (5, 0)


@assertion(76, "many jobs go back, each to its own queue, none lost or doubled")
def test_many_jobs_go_back(stand: Stand) -> None:
    for queue in ("a", "b"):
        stand.push(*(stand.payload("StubbornJob", 60, queue=queue) for _ in range(10)), queue=queue)
    with stand.gokiq("-q", "a", "-q", "b", "-c", "20", "-t", "1") as server:
        stand.wait(server, lambda: len(stand.runs()) == 20, "all had started")
        for queue in ("a", "b"):
            stand.push(*(stand.payload("JournalJob", queue=queue) for _ in range(3)), queue=queue)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0

    places = find_jobs(stand.client)
    assert len(set(places.queued)) == len(places.all()) == 26
    for queue in ("a", "b"):
        jobs = [json.loads(job)["class"] for job in stand.client.lrange(f"queue:{queue}", 0, -1)]
        assert jobs == ["JournalJob"] * 3 + ["StubbornJob"] * 10
    assert (stand.int("stat:processed"), stand.int("stat:failed")) == (20, 20)


@assertion(78, "heartbeats go on while running jobs have their time")
@pytest.mark.slow
def test_heartbeats_go_on_during_the_stop(stand: Stand) -> None:
    stand.push(stand.payload("SleepJob", 15))
    with stand.gokiq("-t", "90") as server:
        stand.wait(server, stand.runs, "the job had started")
        identity = wait_identity(stand, server)
        beats = {stand.client.hget(identity, "beat")}
        server.send_signal(signal.SIGTERM)
        ttls: list[int] = []

        def watch() -> bool:
            beats.add(stand.client.hget(identity, "beat"))
            ttls.append(stand.client.ttl(identity))
            return stand.runs()[0].outcome is not None

        stand.wait(server, watch, "the job had ended", 60)
        assert server.wait(15) == 0

    # One that was there before, one when it is quiet, and one ten seconds later.
    assert len(beats) >= 3
    assert min(ttls) > 45
    assert [run.outcome for run in stand.runs()] == ["done"]


@assertion(79, "lifecycle events in Sidekiq's order, the handlers of the last three in reverse")
@pytest.mark.parametrize("quiet_s", ["0", "0.3"], ids=["fast", "slow quiet handlers"])
def test_lifecycle_events_come_in_order(stand: Stand, quiet_s: str) -> None:
    stand.push(stand.payload("SleepJob", 0))
    with stand.gokiq(app="handlers.rb", env={"SLOW_QUIET": quiet_s}) as server:
        server.wait_ready()
        wait_said(stand, server, "event", "beat", 1)
        stand.wait(server, lambda: stand.int("stat:processed"), "the job was done")
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    events = [(event, index) for _, event, index in said(stand, "event")]
    # The heart beats on while handlers and jobs take their time.
    others = [event for event in events if event[0] != "beat"]
    assert others[:4] == [(name, index) for name in ("startup", "heartbeat") for index in (0, 1)]
    assert events[4:6] == [("beat", 0), ("beat", 1)]
    assert others[4:] == [(name, index) for name in last_events(stand) for index in (1, 0)]


@assertion(79, "no beat comes after the last heartbeat")
def test_the_end_is_no_beat(stand: Stand) -> None:
    with stand.gokiq(app="handlers.rb") as server:
        server.wait_ready()
        identity = wait_identity(stand, server)
        wait_said(stand, server, "event", "beat", 1)
        server.send_signal(signal.SIGTSTP)
        wait_said(stand, server, "event", "quiet", 0)
        wait_quiet(stand, server, identity)
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    after = stand.said()[stand.said().index(["event", "shutdown", 1]) :]
    assert ["event", "beat", 0] not in after


def last_events(stand: Stand) -> list[str]:
    """The events of a stop; Sidekiq 7 has no `exit`."""
    return ["quiet", "shutdown", "exit"] if stand.version.is_8 else ["quiet", "shutdown"]


@assertion(79, "each worker process has its own events, shutdown while jobs still run")
def test_every_worker_has_its_events_and_shutdown_comes_at_once(stand: Stand) -> None:
    stand.push(*(stand.payload("SleepJob", 1.5) for _ in range(2)))
    with stand.gokiq("-c", "2", "--workers", "2", app="handlers.rb") as server:
        stand.wait(server, lambda: len(stand.runs()) == 2, "both had started")
        server.send_signal(signal.SIGTERM)
        stand.wait(server, lambda: said(stand, "event", "shutdown"), "shutdown had been fired")
        assert [run.outcome for run in stand.runs()] == [None, None]
        assert server.wait(20) == 0

    for name in ("startup", "quiet", "shutdown"):
        assert len(said(stand, "event", name)) == 2 * 2
    assert said(stand, "error") == []
