"""Faults of what gokiq lives with: a Redis that moves, other Sidekiqs, a bad deploy."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

from devtools.child import Child
from devtools.gokiq import GokiqFast, Sidekiq
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer

from .registry import SEEN_MS, UNSETTLED_MS, kill, scenario, workers
from .stand import APP, Stand, now_ms

#: Writes of the last moment are not at the replica when a master dies, ms.
UNREPLICATED_MS = 500.0


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def replica_of(stand: Stand) -> tuple[RedisServer, int, int]:
    """A replica that has caught up with the stand's Redis; its port and the master's."""
    port, own_port = free_port(), free_port()
    stand.client.config_set("port", str(port))
    settings = {
        "port": str(own_port),
        "bind": "127.0.0.1",
        "replicaof": f"127.0.0.1 {port}",
        "repl-diskless-sync-delay": "0",
    }
    replica = stand.stack.enter_context(RedisServer(settings=settings))
    deadline = time.monotonic() + 30
    while replica.info("replication")["master_link_status"] != "up":
        assert time.monotonic() < deadline, "the replica does not catch up"
        time.sleep(0.05)
    return replica, own_port, port


def sentinel_of(stand: Stand, port: int) -> tuple[Child, int]:
    """A Sentinel that watches the master at `port` as "shop"; its own port."""
    own_port = free_port()
    conf = stand.folder / "sentinel.conf"
    lines = [
        f"port {own_port}",
        "bind 127.0.0.1",
        f"sentinel monitor shop 127.0.0.1 {port} 1",
        "sentinel down-after-milliseconds shop 1000",
        "sentinel failover-timeout shop 5000",
    ]
    conf.write_text("\n".join(lines) + "\n")
    log = stand.folder / "sentinel.log"
    child = Child([find_program("redis-sentinel"), conf], log=log)
    stand.stack.enter_context(child)
    child.wait_until(
        lambda: "+slave slave" in log.read_text(), timeout_s=30, what="it knew both servers"
    )
    return child, own_port


def behind_sentinel(stand: Stand, sentinel_port: int, name: str = "gokiq") -> GokiqFast:
    """A gokiq-fast whose app asks a Sentinel for its Redis."""
    env = {"TEST_SENTINEL": f"shop 127.0.0.1 {sentinel_port}", "REDIS_URL": "redis://shop/0"}
    return stand.gokiq("-c", "100", "--workers", "2", name=name, env=env)


@scenario(20, jobs=2000)
def a_master_dies_and_sentinel_promotes_its_replica(stand: Stand) -> None:
    replica, _, port = replica_of(stand)
    sentinel, sentinel_port = sentinel_of(stand, port)
    with behind_sentinel(stand, sentinel_port) as server:
        stand.middle(server)
        since = now_ms()
        stand.redis.kill()
        stand.redis = replica
        stand.excuse(since - UNREPLICATED_MS)
        sentinel.wait_until(
            lambda: replica.info("replication")["role"] == "master",
            timeout_s=30,
            what="it promoted the replica",
        )
        stand.recovered(server, 15)
        stand.finish(server)
        assert server.stop() == 0


@scenario(20, jobs=2000)
def sentinel_switches_over_and_the_old_master_lives(stand: Stand) -> None:
    """It becomes a replica of the new one: READONLY."""
    replica, _, port = replica_of(stand)
    _, sentinel_port = sentinel_of(stand, port)
    with behind_sentinel(stand, sentinel_port) as server:
        stand.middle(server)
        # What a master takes that nobody replicates any more is lost.
        stand.client.config_set("min-replicas-to-write", "1")
        since = now_ms()
        with socket.create_connection(("127.0.0.1", sentinel_port)) as sentinel:
            sentinel.sendall(b"SENTINEL FAILOVER shop\r\n")
            assert sentinel.recv(100).startswith(b"+OK")
        stand.until(
            server, lambda: replica.info("replication")["role"] == "master", "it was promoted", 30
        )
        stand.excuse(since - UNREPLICATED_MS)
        stand.redis = replica
        stand.recovered(server, 20)
        stand.finish(server)
        assert server.stop() == 0


@scenario(21)
def the_name_of_redis_moves_to_another_server(stand: Stand) -> None:
    """As a managed Redis does it: the old server refuses writes and keeps its connections."""
    replica, own_port, _ = replica_of(stand)
    with stand.gokiq("-c", "100", "--workers", "2") as server:
        stand.middle(server)
        old = stand.client
        old.execute_command("CLIENT", "PAUSE", "30000", "WRITE")
        offset = old.info("replication")["master_repl_offset"]
        stand.until(
            server,
            lambda: replica.info("replication")["slave_repl_offset"] >= offset,
            "the replica had all",
        )
        replica.client.replicaof("NO", "ONE")
        stand.proxy.lead_to(replica.socket)
        stand.redis = replica
        old.replicaof("127.0.0.1", own_port)
        old.execute_command("CLIENT", "UNPAUSE")
        stand.recovered(server, 15)
        stand.finish(server)
        assert server.stop() == 0


@scenario(9, jobs=600)
def kill_in_the_middle_of_a_stop_without_redis(stand: Stand) -> None:
    """Five points of time after TERM; outcomes cannot be written."""
    for i, after_s in enumerate((0.0, 0.1, 0.6, 1.1, 2.5)):
        with stand.gokiq("-c", "60", "--workers", "1", "-t", "1", name=f"nr{i}") as server:
            before = stand.processed()
            long = stand.push_next(3, "SleepJob", 3)
            stand.until(
                server,
                lambda b=before, three=long: (
                    stand.processed() > b and three <= {run.jid for run in stand.runs()}
                ),
                "the load was under way",
            )
            since, its_workers = now_ms(), workers(server)
            stand.proxy.refuse()
            server.send_signal(signal.SIGTERM)
            time.sleep(after_s)  # the point of time itself
            server.kill()
            stand.excuse(since - UNSETTLED_MS, now_ms() + SEEN_MS, its_workers)
            stand.proxy.heal()
    with stand.gokiq("-c", "200", "--workers", "2", name="last") as last:
        stand.finish(last)
        assert last.stop() == 0


def sidekiq(stand: Stand, ruby: str, name: str) -> Sidekiq:
    """The real one, on the stand's Redis."""
    return Sidekiq(
        *("-r", str(APP), "-c", "10"),
        redis=stand.redis,
        log=stand.folder / f"{name}.log",
        env={"TEST_JOURNAL": str(stand.journal)},
        ruby=find_program(ruby),
    )


@scenario(38, jobs=3000)
def beside_sidekiq_8_and_7(stand: Stand) -> None:
    """gokiq is killed and comes back; retries and due jobs go to anyone."""
    with (
        sidekiq(stand, "ruby", "sidekiq-8") as eight,
        sidekiq(stand, "ruby-sidekiq7", "sidekiq-7") as seven,
        stand.gokiq("-c", "60", "--workers", "2", name="first") as first,
    ):
        first.wait_ready()
        stand.until(first, lambda: stand.client.scard("processes") == 3, "three were registered")
        stand.middle(first)
        since, orphans = now_ms(), workers(first)
        first.kill()
        stand.excuse(since - UNSETTLED_MS, since + SEEN_MS, orphans)
        with stand.gokiq("-c", "60", "--workers", "2", name="second") as second:
            stand.recovered(second, 15)
            stand.finish(second)
            assert [one.stop() for one in (second, eight, seven)] == [0, 0, 0]
    pids = {run.pid for run in stand.runs()}
    assert {eight.pid, seven.pid} < pids, "not everyone had a share"
    assert stand.client.scard("processes") <= 1, "somebody did not sign off"


@scenario(35, jobs=50)
def an_app_that_does_not_boot(stand: Stand) -> None:
    """One line says why; nothing is claimed."""
    with stand.gokiq("-c", "10", "--workers", "1", name="bad", env={"TEST_BOOT": "bad"}) as bad:
        assert bad.wait(60) == 1
    said = (stand.folder / "bad.log").read_text()
    assert "the app failed to boot: RuntimeError: a bad deploy" in said, said
    with stand.gokiq("-c", "10", "--workers", "1") as server:
        stand.finish(server)
        assert server.stop() == 0


@scenario(35, jobs=600)
def an_app_that_no_longer_boots(stand: Stand) -> None:
    """After the root's death: it is tried again at growing intervals, and goes on once it boots."""
    switch = stand.folder / "bad"
    with stand.gokiq("-c", "50", "--workers", "2", env={"TEST_BOOT": str(switch)}) as server:
        stand.middle(server)
        switch.touch()
        since, (root, *orphans) = now_ms(), workers(server)
        kill(root)
        stand.excuse(since, since + SEEN_MS, orphans)
        log = stand.folder / "gokiq.log"
        stand.until(
            server, lambda: log.read_text().count("Sidecar is gone") >= 4, "it was tried again", 60
        )
        assert time.monotonic() * 1000 - since > 1000, "without a pause"
        switch.unlink()
        stand.recovered(server, 30)
        stand.finish(server)
        assert server.stop() == 0


@scenario(35, jobs=300)
def an_app_that_is_slow_to_boot(stand: Stand) -> None:
    """For longer than a lease: a peer takes nothing from it, and it takes nothing too early."""
    with stand.gokiq("-c", "10", "--workers", "1", env={"TEST_BOOT": "20"}) as server:
        assert stand.processed() == 0
        stand.middle(server)
        stand.finish(server)
        assert server.stop() == 0


def reload(server: GokiqFast) -> subprocess.CompletedProcess[str]:
    """`gokiq-fast reload`, to its end."""
    command = [sys.executable, "-m", "gokiq", "reload", "--pid", str(server.pid)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=ROOT)


@scenario(35)
def reload_again_and_again(stand: Stand) -> None:
    """New code beside the old, five times under load; one of them does not boot."""
    switch = stand.folder / "bad"
    with stand.gokiq("-c", "50", "--workers", "2", env={"TEST_BOOT": str(switch)}) as server:
        for turn in range(5):
            stand.middle(server, 0.1 * (turn + 1))
            before, is_bad = set(workers(server)), turn == 2
            if is_bad:
                switch.touch()
            told = reload(server)
            switch.unlink(missing_ok=True)
            assert (told.returncode != 0) == is_bad, told
            if is_bad:
                assert "a bad deploy" in told.stderr, told.stderr
                assert before <= set(workers(server)), "the old code did not stay"
            else:
                stand.until(
                    server, lambda b=before: not b & set(workers(server)), "the old code had left"
                )
        stand.recovered(server, 5)
        stand.finish(server)
        assert server.stop() == 0


@scenario(35)
def kill_the_root_during_a_reload(stand: Stand) -> None:
    """The new code takes over, or another root comes."""
    with stand.gokiq("-c", "50", "--workers", "2", env={"TEST_BOOT": "1"}) as server:
        stand.middle(server)
        since, (root, *orphans) = now_ms(), workers(server)
        server.send_signal(signal.SIGUSR2)
        time.sleep(0.5)  # the point of time itself
        kill(root)
        stand.excuse(since, now_ms() + SEEN_MS, orphans)
        stand.recovered(server, 30)
        stand.finish(server)
        assert server.stop() == 0


@scenario(39, jobs=300)
def a_slow_database_with_few_connections(stand: Stand) -> None:
    """Five for 50 slots, each job holds one: the queue is late, and burns none of its retries."""
    env = {"TEST_DATABASE": str(stand.folder / "db.sqlite3")}
    with stand.gokiq("-c", "50", "--workers", "1", env=env) as server:
        stand.middle(server)
        slow = stand.push_next(200, "DatabaseJob", 0.2)
        stand.finish(server)
        assert server.stop() == 0
    failed = [run for run in stand.runs() if run.jid in slow and run.outcome != "done"]
    assert not failed, f"{len(failed)} found no connection"
