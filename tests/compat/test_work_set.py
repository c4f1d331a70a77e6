"""What runs and what has run, as Sidekiq's API counts it (checklist 13 to 21)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion
from .life import wait_identity

pytestmark = pytest.mark.acceptance

#: Sidekiq promises what a heartbeat writes within ten seconds; two more for a machine that is busy.
BEAT_S = 12.0
FIVE_YEARS_S = 157_680_000


@pytest.fixture
def server(stand: Stand) -> Iterator[Server]:
    with stand.gokiq(app="swallow.rb") as server:
        server.wait_ready()
        wait_identity(stand, server)
        yield server


@assertion(13, "a running job is in the work set and counted as busy within ten seconds")
@assertion(14, "its entry has queue, payload byte for byte, and run_at in whole seconds")
@assertion(15, "the API finds it, by its jid too")
@assertion(16, "the work set lives for sixty seconds, and is gone once nothing runs")
@pytest.mark.slow
def test_a_running_job_is_shown(stand: Stand, server: Server) -> None:
    identity = stand.identity()
    payload = stand.payload("HeldJob", "é €", 1.0, 2**70, odd={"b": 1, "a": None})
    payload = payload.replace(b'"retry":true', b'"retry" : true')
    jid = json.loads(payload)["jid"]
    stand.push(payload)
    began = time.time()

    stand.wait(
        server,
        lambda: stand.client.hget(identity, "busy") == b"1",
        "it was counted as busy",
        BEAT_S,
    )
    work = stand.client.hgetall(f"{identity}:work")
    [entry] = [json.loads(value) for value in work.values()]
    assert entry.keys() == {"queue", "payload", "run_at"}
    assert entry["queue"] == "default"
    assert entry["payload"].encode() == payload
    assert isinstance(entry["run_at"], int)
    assert began - 2 < entry["run_at"] <= time.time()
    assert 1 <= stand.client.ttl(f"{identity}:work") <= 60

    shown = "[w.job.jid, w.queue, w.job.value, w.run_at.to_i]"
    expected = [jid, "default", entry["payload"], entry["run_at"]]
    find = "find_work" if stand.version.is_8 else "find_work_by_jid"
    assert stand.ask(f"_, _, w = Sidekiq::WorkSet.new.first; {shown}") == expected
    assert stand.ask(f'w = Sidekiq::WorkSet.new.{find}("{jid}"); {shown}') == expected
    assert stand.ask('Sidekiq::ProcessSet.new.map { |process| process["busy"] }') == [1]

    (stand.journal / "released").touch()
    stand.wait(
        server,
        lambda: not stand.client.exists(f"{identity}:work"),
        "the work set was gone",
        BEAT_S,
    )
    stand.wait(
        server, lambda: stand.client.hget(identity, "busy") == b"0", "it was no longer counted"
    )
    assert stand.ask("Sidekiq::WorkSet.new.size") == 0


@assertion(17, "successes are counted within ten seconds, by day too")
@assertion(18, "a failure is counted as processed and as failed")
@assertion(19, "JSON that is invalid is counted nowhere")
@assertion(20, "a class that does not exist is counted in both")
@assertion(21, "a job that a middleware keeps from running is a success, and gone")
def test_what_has_run_is_counted(stand: Stand, server: Server) -> None:
    def counts() -> tuple[int, int]:
        return stand.int("stat:processed"), stand.int("stat:failed")

    def push(*jobs: bytes, expected: tuple[int, int]) -> None:
        stand.push(*jobs)
        stand.wait(server, lambda: counts() >= expected, f"the counters were {expected}", BEAT_S)
        assert counts() == expected

    push(*(stand.payload("JournalJob") for _ in range(30)), expected=(30, 0))
    push(stand.payload("FailingJob", retry=False), expected=(31, 1))
    push(stand.payload("NoSuchJob", retry=False), expected=(32, 2))
    push(stand.payload("SwallowedJob"), expected=(33, 2))
    stand.push(b"{bad")
    stand.wait(server, lambda: stand.client.zcard("dead"), "it was dead")
    push(stand.payload("JournalJob"), expected=(34, 2))

    assert stand.said() == []
    assert stand.client.llen("queue:default") == 0
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for name, count in (("processed", 34), ("failed", 2)):
        assert stand.int(f"stat:{name}:{today}") == count
        assert FIVE_YEARS_S - 60 < stand.client.ttl(f"stat:{name}:{today}") <= FIVE_YEARS_S
        assert stand.ask(f"Sidekiq::Stats.new.{name}") == count
    assert stand.ask("Sidekiq::Stats::History.new(1).processed.values") == [34]


@assertion(20, "a class that does not exist is not measured")
@pytest.mark.slow
def test_a_class_that_does_not_exist_is_not_measured(stand: Stand, server: Server) -> None:
    stand.push(stand.payload("NoSuchJob", retry=False), stand.payload("MeasuredJob"))
    stand.wait(server, lambda: stand.client.keys("j|*"), "measures were written", BEAT_S)

    measured: set[bytes] = set()
    for key in stand.client.keys("j|*"):
        fields: list[Any] = stand.client.hkeys(key)
        measured |= {field.partition(b"|")[0] for field in fields}
    assert measured == {b"MeasuredJob"}
