"""Keys of others are as they were after all that a process may do (checklist 104)."""

from __future__ import annotations

import fnmatch
import json
import signal
import time

import pytest
import redis

from devtools.redis_jobs import find_jobs

from .harness import Stand, assertion
from .life import said

pytestmark = pytest.mark.acceptance

OTHER = "elsewhere:4242:0123456789ab"

#: Keys that a Sidekiq process, or ours, may leave behind.
OWN = (
    *("stat:*", "processes", "process_cleanup", "queues", "queue:default", "retry", "dead"),
    *("j|*", "h|*", "gokiq:*"),
    "*Job-*",  # histograms of Sidekiq 7
)


def plant(client: redis.Redis) -> list[str]:
    """Keys of Sidekiq Pro and Enterprise, of well-known gems, of another process and of the app;
    returns their names.
    """
    client.hset("b-Xk2", mapping={"pending": 3, "total": 5, "callbacks": "{}"})
    client.sadd("b-Xk2-jids", "a" * 24, "b" * 24)
    client.zadd("b-Xk2-failed", {"c" * 24: 1.5})
    client.zadd("batches", {"Xk2": 1.0})
    client.zadd("batch-died", {"Xk3": 2.0})
    client.set("dear-leader", OTHER, ex=3600)
    client.zadd("lmtr-c-stripe", {"token": 1.0})
    client.hset("lmtr-stats-stripe", "held", "7")
    client.set("lmtr-b-stripe:1", "3", px=3_600_000)
    client.zadd("uniquejobs:digests", {"uniquejobs:0a": 1.0})
    client.hset("uniquejobs:0a:LOCKED", "d" * 24, "1.0")
    client.lpush("uniquejobs:0a:QUEUED", "d" * 24)
    client.sadd("cron_jobs", "cron_job:nightly")
    client.hset("cron_job:nightly", mapping={"cron": "0 0 * * *", "status": "enabled"})
    client.sadd("super_processes", OTHER)
    client.lpush(f"queue:sq|{OTHER}|default", '{"class":"JournalJob","args":[],"jid":"e"}')
    client.set("super_fetch_recoveries_" + "e" * 24, 1, ex=3600)
    client.sadd("paused", "slow")
    client.hset("20261124-marks", "2026-11-24T00:00:00Z", "a release")
    client.zadd("profiles", {"token-jid": time.time() + 3600})
    client.hset("token-jid", mapping={"jid": "jid", "data": b"\x00\xff"})
    client.hset("it-" + "f" * 24, mapping={"ex": 1, "c": "7", "rt": "0.5"})
    client.lpush("queue:unrelated", '{"class":"Unknown","args":[],"jid":"u"}', "no JSON {")
    client.hset(OTHER, mapping={"info": json.dumps({"identity": OTHER}), "busy": 1, "beat": "1.0"})
    client.hset(f"{OTHER}:work", "tid", '{"queue":"q","payload":"{}","run_at":1}')
    client.lpush(f"{OTHER}-signals", "TERM")
    for key in (OTHER, f"{OTHER}:work", f"{OTHER}-signals"):
        client.expire(key, 3600)
    client.set("cache:views/1", b"\x04\x08binary", ex=3600)
    client.xadd("app:stream", {"a": "b"})
    client.zadd("schedule", {'{"class":"JournalJob","args":[],"jid":"later"}': time.time() + 1e6})
    names = sorted(key.decode() for key in client.keys("*"))
    client.sadd("processes", OTHER)
    client.sadd("queues", "unrelated")
    return names


def snapshot(client: redis.Redis, names: list[str]) -> dict[str, tuple[bytes | None, int]]:
    """Each key's serialized value and when it expires (epoch ms, -1 never)."""
    return {
        name: (client.dump(name), int(client.execute_command("PEXPIRETIME", name)))
        for name in names
    }


@assertion(104, "keys of others are unchanged by a full life: DUMP for DUMP, expiry for expiry")
def test_foreign_keys_are_left_alone(stand: Stand) -> None:
    client = stand.client
    names = plant(client)
    before = snapshot(client, names)
    assert len(before) > 25

    # Successes, retries, deaths, invalid JSON, an unknown class, a due job, an iteration.
    stand.push(*(stand.payload("JournalJob") for _ in range(20)))
    stand.push(
        stand.payload("FailingJob"),
        stand.payload("FailingJob", retry=0),
        stand.payload("FailingJob", retry=False),
        stand.payload("NoSuchJob"),
        b"{bad",
    )
    client.zadd("retry", {stand.payload("JournalJob", "due", retry_count=0): 1.0})
    count = stand.payload("CountJob", 60, 0.05)
    with stand.gokiq("--workers", "2", app="polled.rb") as server:
        stand.push(stand.payload("SlowOnceJob"), count)
        stand.wait(server, lambda: client.zcard("dead") == 2, "two were dead")
        stand.wait(server, lambda: stand.int("stat:processed") == 25, "all but two had ended")
        stand.wait(server, lambda: said(stand, "each"), "the iteration had begun")
        [killed] = client.smembers("processes") - {OTHER.encode()}
        server.kill()
    for key in (killed, "process_cleanup"):
        client.expire(key, 0)  # as time does; the next start prunes
    with stand.gokiq("-t", "1", name="adopts", app="polled.rb") as server:
        stand.wait(server, lambda: stand.int("stat:processed") >= 27, "all had ended")
        stand.push(stand.payload("StubbornJob", 60))
        stand.wait(
            server,
            lambda: any(run.job_class == "StubbornJob" for run in stand.runs()),
            "one that lasts had started",
        )
        server.send_signal(signal.SIGTSTP)
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    assert snapshot(client, names) == before
    assert client.smembers("processes") == {OTHER.encode()}
    assert client.sismember("queues", "unrelated")
    assert len(find_jobs(client).queued) == 2 + 1
    strange = {key.decode() for key in client.keys("*")} - set(names)
    # What has the name of a process expires within a minute.
    lasting = [key for key in sorted(strange) if not 0 < client.ttl(key) <= 60]
    assert [key for key in lasting if not any(fnmatch.fnmatch(key, own) for own in OWN)] == []
