"""Faults of processes, of Redis and of what jobs are made of."""

from __future__ import annotations

import signal
import time

from .registry import SEEN_MS, UNSETTLED_MS, kill, scenario, workers
from .stand import Stand, now_ms

# processes


@scenario(1, jobs=0)
def kill_a_worker_with_one_job(stand: Stand) -> None:
    with stand.gokiq("-c", "1", "--workers", "1") as server:
        stand.push("SleepJob", 3)
        stand.until(server, lambda: bool(stand.runs()), "it ran")
        since, victim = now_ms(), workers(server)[1]
        kill(victim)
        stand.excuse(since, pids=[victim])
        stand.until(server, lambda: len(stand.runs()) == 2, "it ran again", 2.5)
        stand.recovery_s = (now_ms() - since) / 1000
        stand.finish(server)
        assert server.stop() == 0


@scenario(2, worst=True)
def kill_a_worker_with_200_jobs(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "1") as server:
        stand.middle(server)
        since, victim = now_ms(), workers(server)[1]
        kill(victim)
        stand.excuse(since, pids=[victim])
        stand.recovered(server, 5)
        stand.finish(server)
        assert server.stop() == 0


@scenario(2)
def kill_workers_again_and_again(stand: Stand) -> None:
    with stand.gokiq("-c", "100", "--workers", "3") as server:
        for _ in range(8):
            stand.until(server, lambda: len(workers(server)) >= 4, "all workers were there")
            before = stand.processed()
            stand.until(server, lambda b=before: stand.processed() > b + 50, "some were done")
            since, victim = now_ms(), stand.rng.choice(workers(server)[1:])
            kill(victim)
            stand.excuse(since, pids=[victim])
        stand.recovered(server, 5)
        stand.finish(server)
        assert server.stop() == 0


@scenario(1)
def kill_the_root(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2") as server:
        stand.middle(server)
        since, (root, *orphans) = now_ms(), workers(server)
        kill(root)
        stand.excuse(since, since + SEEN_MS, orphans)
        stand.recovered(server, 15)
        stand.finish(server)
        assert server.stop() == 0


@scenario(3, worst=True)
def kill_the_orchestrator_and_start_another(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2", name="first") as first:
        stand.middle(first)
        since, orphans = now_ms(), workers(first)
        first.kill()
        stand.excuse(since - UNSETTLED_MS, since + SEEN_MS, orphans)
        with stand.gokiq("-c", "200", "--workers", "2", name="second") as second:
            stand.recovered(second, 15)
            stand.finish(second)
            assert second.stop() == 0


@scenario(3, 37)
def kill_one_of_two_orchestrators(stand: Stand) -> None:
    with (
        stand.gokiq("-c", "100", "--workers", "1", name="first") as first,
        stand.gokiq("-c", "100", "--workers", "1", name="second") as second,
    ):
        second.wait_ready()
        stand.middle(first)
        since, orphans = now_ms(), workers(first)
        first.kill()
        stand.excuse(since - UNSETTLED_MS, since + SEEN_MS, orphans)
        stand.recovered(second, 5)
        stand.finish(second)
        stand.recovery_s = (now_ms() - since) / 1000
        assert second.stop() == 0


@scenario(4, worst=True)
def kill_everything_at_once(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2", name="first") as first:
        stand.middle(first)
        since, orphans = now_ms(), workers(first)
        kill(first.pid, *orphans)
        stand.excuse(since - UNSETTLED_MS, pids=orphans)
        with stand.gokiq("-c", "200", "--workers", "2", name="second") as second:
            stand.recovered(second, 15)
            stand.finish(second)
            assert second.stop() == 0


@scenario(6, 37, worst=True)
def pause_an_orchestrator_beyond_its_lease(stand: Stand) -> None:
    with (
        stand.gokiq("-c", "50", "--workers", "1", name="first") as first,
        stand.gokiq("-c", "50", "--workers", "1", name="second") as second,
    ):
        second.wait_ready()
        stand.middle(first, 0.1)
        its_workers = workers(first)
        # Outcomes that leave a trace in Redis if they are not fenced off.
        fatal = stand.push_next(20, "DoomedJob", 1.0, retry=0)
        stand.until(
            first,
            lambda: any(run.jid in fatal and run.pid in its_workers for run in stand.runs()),
            "one of them was under way",
        )
        since = now_ms()
        first.send_signal(signal.SIGSTOP)
        owner = next(
            key for key in stand.client.hkeys("gokiq:owners") if f":{first.pid}:".encode() in key
        )
        stand.until(
            second, lambda: not stand.client.hexists("gokiq:owners", owner), "it was adopted", 40
        )
        stand.recovery_s = (now_ms() - since) / 1000
        first.send_signal(signal.SIGCONT)
        # What its workers had finished or were at is dropped by the fence, or runs twice.
        stand.excuse(since - UNSETTLED_MS, pids=its_workers)
        stand.finish(second)
        assert first.stop() == 0
        assert second.stop() == 0


@scenario(7)
def stop_when_jobs_end_in_time(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2", "-t", "10", name="first") as first:
        stand.middle(first)
        began = time.monotonic()
        assert first.stop() == 0
        stand.recovery_s = time.monotonic() - began
    with stand.gokiq("-c", "200", "--workers", "2", name="second") as second:
        stand.finish(second)
        assert second.stop() == 0


@scenario(8, jobs=400)
def stop_when_jobs_do_not_end_in_time(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2", "-t", "1", name="first") as first:
        for _ in range(20):
            stand.push("SleepJob", 4)
        stand.middle(first)
        stand.until(
            first,
            lambda: sum(run.end_ms is None for run in stand.runs()) >= 10,
            "long ones were under way",
        )
        assert first.stop() == 0
    with stand.gokiq("-c", "200", "--workers", "2", name="second") as second:
        stand.finish(second)
        assert second.stop() == 0


@scenario(9, jobs=1000)
def kill_in_the_middle_of_a_stop(stand: Stand) -> None:
    """Ten points of time after TERM."""
    for i, after_s in enumerate((0.0, 0.005, 0.02, 0.05, 0.1, 0.3, 0.7, 1.0, 1.05, 1.3)):
        with stand.gokiq("-c", "60", "--workers", "1", "-t", "1", name=f"nr{i}") as server:
            before = stand.processed()
            for _ in range(3):
                stand.push("SleepJob", 3)
            stand.until(server, lambda b=before: stand.processed() > b + 40, "some were done")
            its_workers = workers(server)
            server.send_signal(signal.SIGTERM)
            time.sleep(after_s)  # the point of time itself
            since = now_ms()
            server.kill()
            stand.excuse(since - UNSETTLED_MS, since + SEEN_MS, its_workers)
    with stand.gokiq("-c", "200", "--workers", "2", name="last") as last:
        stand.finish(last)
        assert last.stop() == 0


@scenario(10, jobs=300, worst=True)
def jobs_that_end_or_kill_their_process(stand: Stand) -> None:
    with stand.gokiq("-c", "20", "--workers", "2") as server:
        since = now_ms()
        for how in ("exit", "abort", "throw", "memory", "stack", "exception"):
            stand.push("DeadlyJob", how, retry=0)
        for how in ("exit!", "SEGV"):
            stand.push("DeadlyJob", how, retry=0)
        stand.finish(server)
        stand.excuse(since)
        assert server.stop() == 0
    dead = {job for job in stand.client.zrange("dead", 0, -1) if b"DeadlyJob" in job}
    assert len(dead) == 8, f"{len(dead)} of 8 are dead"


@scenario(13, jobs=300)
def a_job_that_blocks_the_reactor(stand: Stand) -> None:
    with stand.gokiq("-c", "50", "--workers", "1") as server:
        stand.push("BusyJob", 8)
        began = now_ms()
        log = stand.folder / "gokiq.log"
        stand.until(
            server, lambda: "stands still" in log.read_text(), "the stalled job was named", 6
        )
        stand.recovery_s = (now_ms() - began) / 1000
        assert "BusyJob" in log.read_text()
        [record] = stand.client.smembers("processes")
        assert stand.client.ttl(record) > 30, "the heartbeat stopped"
        stand.finish(server)
        assert server.stop() == 0


# Redis


@scenario(15, worst=True)
def restart_redis(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2") as server:
        stand.middle(server)
        stand.redis.kill()
        stand.redis.start()
        stand.recovered(server, 6)
        stand.finish(server)
        assert server.stop() == 0


@scenario(16)
def redis_is_away_while_jobs_run(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2") as server:
        stand.middle(server)
        stand.redis.stop()
        time.sleep(20)  # longer than a lease
        stand.redis.start()
        stand.recovered(server, 10)
        stand.finish(server)
        assert server.stop() == 0


@scenario(17, jobs=50)
def redis_is_not_there_at_the_start(stand: Stand) -> None:
    stand.proxy.refuse()
    with stand.gokiq("-c", "10", "--workers", "1", name="refused") as refused:
        assert refused.wait(30) == 1
    assert "start Redis or correct REDIS_URL" in (stand.folder / "refused.log").read_text()
    stand.proxy.heal()
    with stand.gokiq("-c", "10", "--workers", "1") as server:
        stand.finish(server)
        assert server.stop() == 0


@scenario(18, jobs=300)
def flush_everything(stand: Stand) -> None:
    """Redis itself loses the jobs; nothing else may break."""
    with stand.gokiq("-c", "50", "--workers", "1") as server:
        stand.middle(server)
        stand.client.flushall()
        stand.client.script_flush()
        stand.until(
            server,
            lambda: not any(run.end_ms is None for run in stand.runs()),
            "what ran had ended",
        )
        stand.pushed = [run.jid for run in stand.runs() if run.outcome == "done"]
        stand.pushed = list(dict.fromkeys(stand.pushed))
        strays = {run.jid for run in stand.runs()} - set(stand.pushed)
        stand.discards |= strays
        stand.pushed += sorted(strays)
        first = len(stand.pushed)
        fresh = [f"{0xF00000 + i:024x}" for i in range(100)]
        stand.push_as(fresh, "QuickJob")
        stand.pushed += fresh
        stand.until(server, lambda: stand.processed() >= 100, "fresh jobs ran", 30)
        assert len(stand.pushed) == first + 100
        assert server.stop() == 0


@scenario(19)
def forget_the_scripts(stand: Stand) -> None:
    with stand.gokiq("-c", "200", "--workers", "2") as server:
        for share in (0.1, 0.3, 0.5, 0.7):
            stand.middle(server, share)
            stand.client.script_flush()
        stand.recovered(server, 3)
        stand.finish(server)
        assert server.stop() == 0


@scenario(22, worst=True)
def a_partition_that_flaps(stand: Stand) -> None:
    with stand.gokiq("-c", "100", "--workers", "2") as server:
        stand.middle(server, 0.1)
        for _ in range(8):
            one_way = stand.rng.choice(({"to_server": True}, {"to_client": True}, {}))
            stand.proxy.partition(**one_way)
            time.sleep(0.5)  # one flap
            stand.proxy.heal()
            time.sleep(0.5)
        stand.recovered(server, 15)
        stand.finish(server)
        assert server.stop() == 0


@scenario(23, jobs=600)
def a_slow_network(stand: Stand) -> None:
    with stand.gokiq("-c", "100", "--workers", "2") as server:
        stand.middle(server, 0.1)
        stand.proxy.delay(0.2, 0.1)
        stand.finish(server)
        stand.proxy.heal()
        assert server.stop() == 0


@scenario(24, 25, worst=True)
def lose_replies(stand: Stand) -> None:
    """Of the calls that settle and claim, at eight points."""
    with stand.gokiq("-c", "50", "--workers", "2") as server:
        for i in range(1, 9):
            stand.middle(server, 0.1 * i)
            stand.proxy.lose_reply(b"EVALSHA")
            stand.until(server, lambda i=i: stand.proxy.lost >= i, "a reply was lost", 20)
        stand.recovered(server, 10)
        stand.finish(server)
        assert server.stop() == 0


@scenario(26)
def redis_is_full(stand: Stand) -> None:
    with stand.gokiq("-c", "100", "--workers", "2") as server:
        stand.middle(server)
        stand.client.config_set("maxmemory", "1")
        time.sleep(3)  # the state itself
        stand.client.config_set("maxmemory", "0")
        stand.recovered(server, 10)
        stand.finish(server)
        assert "refuse" in (stand.folder / "gokiq.log").read_text()
        assert server.stop() == 0


@scenario(26, jobs=600)
def redis_is_full_for_longer_than_a_lease(stand: Stand) -> None:
    with (
        stand.gokiq("-c", "50", "--workers", "1", name="first") as first,
        stand.gokiq("-c", "50", "--workers", "1", name="second") as second,
    ):
        first.wait_ready()
        second.wait_ready()
        stand.middle(first)
        since = now_ms()
        stand.client.config_set("maxmemory", "1")
        time.sleep(25)  # the state itself
        stand.client.config_set("maxmemory", "0")
        stand.excuse(since)
        stand.recovered(first, 15)
        stand.finish(second)
        assert first.stop() == 0
        assert second.stop() == 0


@scenario(27, jobs=50, maxmemory_policy="allkeys-lru")
def an_evicting_policy(stand: Stand) -> None:
    with stand.gokiq("-c", "10", "--workers", "1") as server:
        stand.finish(server)
        assert "Redis may evict your jobs" in (stand.folder / "gokiq.log").read_text()
        assert server.stop() == 0


@scenario(28, worst=True)
def kill_and_pause_clients(stand: Stand) -> None:
    with stand.gokiq("-c", "100", "--workers", "2") as server:
        for share in (0.1, 0.2, 0.3, 0.4, 0.5):
            stand.middle(server, share)
            for one in stand.client.client_list():
                if one.get("name", "").startswith("gokiq-"):
                    stand.client.client_kill_filter(_id=one["id"])
        stand.middle(server, 0.6)
        stand.client.execute_command("CLIENT", "PAUSE", "8000", "ALL")
        stand.recovered(server, 25)
        stand.finish(server)
        assert server.stop() == 0


@scenario(28, jobs=600)
def no_more_clients(stand: Stand) -> None:
    with stand.gokiq("-c", "50", "--workers", "1") as server:
        stand.middle(server)
        stand.client.config_set("maxclients", "1")
        stand.proxy.cut()
        time.sleep(3)  # the state itself
        stand.client.config_set("maxclients", "10000")
        stand.recovered(server, 15)
        stand.finish(server)
        assert server.stop() == 0


# what jobs are made of


@scenario(32, jobs=100)
def hostile_payloads(stand: Stand) -> None:
    hostile = [
        b"{ no json",
        b"",
        b"\xff\xfe\x00",
        b'{"class":"QuickJob","args":[1,',
        b"[1,2]",
        b"[" * 5000,
        b'{"class":"QuickJob","jid":"\x00"}',
        b"null",
        b'{"class":"NobodyKnowsJob","args":[],"retry":0,"jid":"' + b"e" * 24 + b'"}',
    ]
    stand.client.lpush("queue:default", *hostile)
    big = stand.push("QuickJob", "x" * 20_000_000)
    with stand.gokiq("-c", "20", "--workers", "2") as server:
        stand.finish(server)
        assert server.stop() == 0
    dead = set(stand.client.zrange("dead", 0, -1))
    missing = [one[:40] for one in hostile[:8] if one not in dead]
    assert not missing, f"not in the dead set as they came: {missing}"
    assert any(run.jid == big and run.outcome == "done" for run in stand.runs())
    # They have no jid of ours: the books are about the others.
    for one in dead:
        if b"DoomedJob" not in one:
            stand.client.zrem("dead", one)


@scenario(36, jobs=0)
def a_hundred_thousand_due_at_once(stand: Stand) -> None:
    stand.client.config_set("slowlog-log-slower-than", "20000")
    stand.client.config_set("slowlog-max-len", "1000")
    stand.schedule_many(100_000, "QuickJob")
    stand.client.slowlog_reset()
    with stand.gokiq("-c", "500", "--workers", "2") as server:
        stand.finish(server, 120)
        slow = [entry["command"][:60] for entry in stand.client.slowlog_get(100)]
        ours = [command for command in slow if command.startswith(b"EVALSHA")]
        # The clock of the slow log runs on while Redis itself waits for a core.
        assert len(ours) <= 5, f"{len(ours)} calls took longer than 20 ms: {ours[0]!r}"
        assert server.stop() == 0


@scenario(37, jobs=3000)
def four_orchestrators_on_the_same_queue(stand: Stand) -> None:
    names = [f"nr{i}" for i in range(4)]
    servers = [stand.gokiq("-c", "30", "--workers", "1", name=name) for name in names]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        for server in servers[:2]:
            stand.middle(server, 0.3)
            since, orphans = now_ms(), workers(server)
            server.kill()
            stand.excuse(since - UNSETTLED_MS, since + SEEN_MS, orphans)
        stand.finish(servers[3])
        assert [server.stop() for server in servers[2:]] == [0, 0]
    finally:
        for server in servers:
            server.stop()
