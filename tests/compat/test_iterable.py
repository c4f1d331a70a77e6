"""Iterable jobs: interrupted, resumed at their cursor, cancelled (checklist 95 to 97)."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import pytest

from devtools.gokiq import Server
from devtools.redis_jobs import find_jobs

from .harness import Stand, assertion, not_applicable
from .life import said, wait_quiet, wait_said
from .test_metrics import fields, written

pytestmark = pytest.mark.acceptance

MONTH_S = 30 * 86_400
#: How often a running job writes its state and looks whether it was cancelled, seconds.
FLUSH_S = 5


def push_count(stand: Stand, count: int, pause_s: float) -> str:
    """Push a CountJob; returns its jid."""
    job = stand.payload("CountJob", count, pause_s)
    stand.push(job)
    jid: str = json.loads(job)["jid"]
    return jid


def seen(stand: Stand, jid: str) -> list[int]:
    """The numbers that it has come to."""
    return [number for _, _, number in said(stand, "each", jid)]


def callbacks(stand: Stand, jid: str) -> list[str]:
    """Its callbacks, in order."""
    return [note[0] for note in stand.said() if note[0] != "each" and note[1] == jid]


def wait_seen(stand: Stand, server: Server, jid: str, number: int) -> None:
    stand.wait(server, lambda: number in seen(stand, jid), f"it had come to {number}")


def state(stand: Stand, jid: str) -> dict[str, str]:
    """What it has stored."""
    found: dict[bytes, bytes] = stand.client.hgetall(f"it-{jid}")
    return {key.decode(): value.decode() for key, value in found.items()}


def queued(stand: Stand) -> list[dict[str, Any]]:
    jobs: list[Any] = stand.client.lrange("queue:default", 0, -1)
    return [json.loads(job) for job in jobs]


@assertion(95, "TERM in the middle: state kept, job queued under its jid, resumed at the cursor")
@assertion(97, "an interruption: failed goes up, the metrics' failures do not")
@pytest.mark.parametrize("lane", ["fiber", pytest.param("thread", marks=pytest.mark.slow)])
def test_a_job_resumes_where_it_was_interrupted(stand: Stand, lane: str) -> None:
    jid = push_count(stand, 12, 0.1)
    with stand.gokiq("--lane", lane, app="handlers.rb") as server:
        wait_seen(stand, server, jid, 3)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
        assert time.monotonic() - began < 5

    stored = state(stand, jid)
    first = seen(stand, jid)
    assert set(stored) == {"ex", "c", "rt"}
    assert int(stored["ex"]) == 1
    # The first number that has not been processed.
    assert json.loads(stored["c"]) == len(first)
    assert float(stored["rt"]) > 0.1
    assert MONTH_S - 100 < stand.client.ttl(f"it-{jid}") <= MONTH_S
    [job] = queued(stand)
    assert (job["jid"], job["class"], job["args"]) == (jid, "CountJob", [12, 0.1])
    assert (stand.int("stat:processed"), stand.int("stat:failed")) == (1, 1)
    assert not stand.client.exists("retry", "dead")
    assert said(stand, "error") == []
    counters = fields(stand, written(stand, "CountJob").minute, "CountJob")
    assert (counters["p"], counters.get("f")) == (1, None)

    with stand.gokiq("--lane", lane, name="next") as server:
        stand.wait(server, lambda: stand.int("stat:processed") == 2, "it was done")
    assert seen(stand, jid) == list(range(12))
    assert callbacks(stand, jid) == ["start", "stop", "resume", "stop", "complete"]
    assert not stand.client.exists(f"it-{jid}")
    assert stand.int("stat:failed") == 1
    assert find_jobs(stand.client).all() == []


@assertion(95, "quiet interrupts it, too: another process goes on at once")
def test_quiet_hands_an_iterable_job_over(stand: Stand) -> None:
    jid = push_count(stand, 20, 0.1)
    with stand.gokiq() as server:
        wait_seen(stand, server, jid, 3)
        server.send_signal(signal.SIGTSTP)
        wait_quiet(stand, server, stand.identity())
        stand.wait(server, lambda: queued(stand), "the job was in its queue")
        with stand.gokiq(name="next") as other:
            stand.wait(other, lambda: stand.int("stat:processed") == 2, "it was done")

    assert seen(stand, jid) == list(range(20))
    assert callbacks(stand, jid) == ["start", "stop", "resume", "stop", "complete"]


@assertion(95, "state is written every five seconds")
@pytest.mark.slow
def test_state_is_written_while_it_runs(stand: Stand) -> None:
    jid = push_count(stand, 8 * FLUSH_S, 0.25)
    with stand.gokiq() as server:
        wait_seen(stand, server, jid, 1)
        began = time.monotonic()
        stand.wait(server, lambda: state(stand, jid), "its state was there")
        assert FLUSH_S - 1 < time.monotonic() - began < FLUSH_S + 2
        assert 4 <= json.loads(state(stand, jid)["c"]) <= len(seen(stand, jid))


@assertion(95, "an iteration that fails is retried from its cursor")
def test_a_failed_iteration_is_retried(stand: Stand) -> None:
    job = stand.payload("StumbleJob", 10, 4)
    stand.push(job)
    jid = json.loads(job)["jid"]
    with stand.gokiq(app="polled.rb") as server:
        stand.wait_job(server, "retry")
        assert seen(stand, jid) == [0, 1, 2, 3, 4]
        stand.make_due("retry")
        stand.wait(server, lambda: stand.int("stat:processed") == 2, "it was done")

    # Sidekiq 8 writes its state then, 7 begins anew.
    again = range(4, 10) if stand.version.is_8 else range(10)
    assert seen(stand, jid) == [0, 1, 2, 3, 4, *again]
    assert stand.int("stat:failed") == 1
    assert not stand.client.exists(f"it-{jid}")


@assertion(95, "a job that has run longer than max_iteration_runtime takes turns with others")
def test_a_long_job_takes_turns(stand: Stand) -> None:
    if not stand.version.is_8:
        not_applicable("max_iteration_runtime came with Sidekiq 8")
    jid = push_count(stand, 25, 0.1)
    with stand.gokiq("-c", "1", app="short_iterations.rb") as server:
        wait_seen(stand, server, jid, 1)
        stand.push(stand.payload("JournalJob"))
        stand.wait(server, stand.runs, "the other job was done")
        assert len(seen(stand, jid)) < 25
        wait_said(stand, server, "complete", jid)

    assert seen(stand, jid) == list(range(25))
    assert callbacks(stand, jid).count("resume") == stand.int("stat:failed") >= 2
    assert callbacks(stand, jid)[-2:] == ["stop", "complete"]


@assertion(96, "cancel! stops it within five seconds; on_cancel is called; it is a success")
@pytest.mark.slow
def test_a_running_job_is_cancelled(stand: Stand) -> None:
    needs_cancel(stand)
    jid = push_count(stand, 1000, 0.1)
    with stand.gokiq(app="handlers.rb") as server:
        stand.wait(server, lambda: "c" in state(stand, jid), "it had written its state")
        began = time.monotonic()
        assert stand.ask(f'Sidekiq::Client.new.cancel!("{jid}")') > 0
        wait_said(stand, server, "complete", jid)
        assert time.monotonic() - began < FLUSH_S + 2
        stand.wait(server, lambda: stand.int("stat:processed"), "it was counted")

    assert len(seen(stand, jid)) < 200
    assert callbacks(stand, jid) == ["start", "cancel", "stop", "complete"]
    assert stand.int("stat:failed") == 0
    assert not stand.client.exists(f"it-{jid}", "retry", "dead")
    assert find_jobs(stand.client).all() == []
    assert said(stand, "error") == []


@assertion(96, "a job that waits for its turn again is cancelled at its start")
def test_an_interrupted_job_is_cancelled_before_it_goes_on(stand: Stand) -> None:
    needs_cancel(stand)
    jid = push_count(stand, 1000, 0.05)
    with stand.gokiq() as server:
        wait_seen(stand, server, jid, 3)
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
    count = len(seen(stand, jid))
    stand.ask(f'Sidekiq::Client.new.cancel!("{jid}")')
    assert set(state(stand, jid)) == {"ex", "c", "rt", "cancelled"}

    with stand.gokiq(name="next") as server:
        stand.wait(server, lambda: stand.int("stat:processed") == 2, "it had ended")
    assert len(seen(stand, jid)) == count
    assert callbacks(stand, jid) == ["start", "stop", "resume", "cancel", "stop", "complete"]
    assert stand.int("stat:failed") == 1
    assert not stand.client.exists(f"it-{jid}", "retry", "dead")


def needs_cancel(stand: Stand) -> None:
    if not stand.ask("Sidekiq::Client.method_defined?(:cancel!)"):
        version = stand.ask("Sidekiq::VERSION")
        not_applicable(f"Sidekiq {version} cannot cancel a job, 7.3.3 was the first that could")
