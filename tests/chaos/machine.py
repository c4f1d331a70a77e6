"""Faults of the machine: what it runs out of, its clock, its signals, what is on its sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from devtools.child import Child
from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree
from devtools.programs import ROOT, find_program

from .registry import kill, scenario, workers
from .stand import APP, Stand, now_ms

#: Longer than a lease, seconds.
LONG_S = 20
HOUR_S = 3600


def through_shell(server: GokiqFast, script: str) -> GokiqFast:
    """The server as `"$@"` of a shell script."""
    server.argv[:0] = ["sh", "-c", script, "sh"]
    return server


def log_of(stand: Stand) -> str:
    """What the server has said so far."""
    return (stand.folder / "gokiq.log").read_text(errors="replace")


def short_folder(stand: Stand) -> Path:
    """For sockets, whose paths hold about 100 bytes; gone after the verdict."""
    return Path(stand.stack.enter_context(tempfile.TemporaryDirectory(prefix="gk-")))


def dead_job(stand: Stand, jid: str) -> dict[str, object]:
    """Of the dead set, parsed."""
    dead = [json.loads(member) for member in stand.client.zrange("dead", 0, -1)]
    [job] = [one for one in dead if one["jid"] == jid]
    return dict(job)


# signals


@scenario(5, jobs=600)
def pause_a_worker_for_longer_than_a_lease(stand: Stand) -> None:
    """Its jobs are late and nobody else's."""
    with stand.gokiq("-c", "50", "--workers", "2") as server:
        stand.middle(server)
        victim = workers(server)[1]
        os.kill(victim, signal.SIGSTOP)
        time.sleep(LONG_S)  # the state itself
        os.kill(victim, signal.SIGCONT)
        stand.recovered(server, 10)
        stand.finish(server)
        assert server.stop() == 0


@scenario(5, jobs=600)
def a_worker_that_hangs(stand: Stand) -> None:
    """It is replaced after the time that was set."""
    with stand.gokiq("-c", "50", "--workers", "2", "--hang-timeout", "4") as server:
        stand.middle(server)
        since, victim = now_ms(), workers(server)[1]
        os.kill(victim, signal.SIGSTOP)
        stand.until(
            server, lambda: victim not in workers(server), "the one that hung was killed", 30
        )
        stand.excuse(since, pids=[victim])
        stand.recovery_s = (now_ms() - since) / 1000
        stand.finish(server)
        assert server.stop() == 0


@scenario(11, jobs=600)
def a_job_that_the_kernel_kills_each_time(stand: Stand) -> None:
    """As for lack of memory: it is found among its neighbours, is dead then, and says why."""
    with stand.gokiq("-c", "30", "--workers", "2") as server:
        since = now_ms()
        [jid] = stand.push_next(1, "DeadlyJob", "KILL")
        stand.finish(server)
        stand.excuse(since)
        assert server.stop() == 0
    [job] = [
        one for one in map(json.loads, stand.client.zrange("dead", 0, -1)) if one["jid"] == jid
    ]
    assert job["error_class"] == "Gokiq::WorkerCrash", job
    assert "SIGKILL" in str(job["error_message"]), job
    # Twice among all, then with half of those who were there, a quarter, and so on, until alone.
    assert 3 <= sum(run.jid == jid for run in stand.runs()) <= 8


@scenario(14, jobs=600)
def a_loop_without_end(stand: Stand) -> None:
    """With a timeout: its worker is replaced, its neighbours are not blamed."""
    with stand.gokiq("-c", "50", "--workers", "1") as server:
        [jid] = stand.push_next(1, "EndlessJob", gokiq_timeout=1, retry=0)
        stand.until(server, lambda: jid in {run.jid for run in stand.runs()}, "it ran")
        [victim] = {run.pid for run in stand.runs() if run.jid == jid}
        stand.until(server, lambda: victim not in workers(server), "that was replaced", 40)
        stand.excuse(now_ms() - 1000, pids=[victim])
        stand.finish(server)
        assert server.stop() == 0
    [job] = [
        one for one in map(json.loads, stand.client.zrange("dead", 0, -1)) if one["jid"] == jid
    ]
    assert job["error_class"] == "Gokiq::JobTimeout", job
    assert stand.client.exists("gokiq:crashes") == 0


@scenario(12, jobs=1200)
def workers_that_grow(stand: Stand) -> None:
    """They are replaced one after another, and no job notices."""
    with stand.gokiq("-c", "60", "--workers", "2", "--max-rss", "120") as server:
        stand.middle(server, 0.1)
        before = set(workers(server))
        for _ in range(4):
            stand.push_next(1, "GrowJob", 120)
        stand.until(server, lambda: "is replaced" in log_of(stand), "one was replaced", 30)
        stand.finish(server)
        stand.until(server, lambda: set(workers(server)) != before, "another one was there", 30)
        assert server.stop() == 0


# what runs out


@scenario(29, jobs=600)
def fill_the_disk_of_the_log(stand: Stand) -> None:
    with through_shell(
        stand.gokiq("-c", "50", "--workers", "2"), 'exec "$@" >/dev/full 2>&1'
    ) as server:
        stand.middle(server)
        # What is worth a line, on both sides.
        since, victim = now_ms(), workers(server)[1]
        kill(victim)
        stand.excuse(since, pids=[victim])
        stand.recovered(server, 10)
        stand.client.script_flush()
        stand.finish(server)
        assert server.stop() == 0


@scenario(30, jobs=600)
def few_file_descriptors(stand: Stand) -> None:
    with through_shell(
        stand.gokiq("-c", "200", "--workers", "2"), 'ulimit -n 64; exec "$@"'
    ) as server:
        stand.middle(server)
        stand.proxy.cut()
        stand.recovered(server, 10)
        stand.finish(server)
        assert server.stop() == 0


@scenario(30, jobs=600)
def no_fork_for_a_while(stand: Stand) -> None:
    switch = stand.folder / "no-fork"
    with stand.gokiq("-c", "50", "--workers", "2", env={"TEST_NO_FORK": str(switch)}) as server:
        stand.middle(server, 0.1)
        switch.touch()
        since, victims = now_ms(), workers(server)[1:]
        kill(*victims)
        stand.excuse(since, pids=victims)
        time.sleep(5)  # the state itself
        switch.unlink()
        stand.recovered(server, 40)
        stand.finish(server)
        assert server.stop() == 0


@scenario(36, jobs=0, appendonly="no")
def a_million_retries_after_an_outage(stand: Stand) -> None:
    """All due: they move in small steps, and Redis answers others meanwhile."""
    stand.client.config_set("slowlog-log-slower-than", "20000")
    stand.client.config_set("slowlog-max-len", "1000")
    stand.schedule_many(1_000_000, "SleepJob", 1, key="retry")
    stand.client.slowlog_reset()
    with stand.gokiq("-c", "5", "--workers", "1") as server:
        began = time.monotonic()
        stand.until(server, lambda: stand.client.zcard("retry") == 0, "all were in the queue", 240)
        stand.recovery_s = time.monotonic() - began
        slow = [entry["command"][:60] for entry in stand.client.slowlog_get(1000)]
        ours = [command for command in slow if command.startswith(b"EVALSHA")]
        # Of 20,000. The clock of the slow log runs on while Redis itself waits for a core.
        assert len(ours) <= 20, f"{len(ours)} calls took longer than 20 ms: {ours[0]!r}"
        assert server.stop() == 0


# clocks


@scenario(31, jobs=600)
def clocks_that_are_an_hour_off(stand: Stand) -> None:
    """One is ahead and one behind: what is due is due by the clock of Redis."""
    due, later = stand.schedule(100, 1.0), stand.schedule(100, HOUR_S / 2)
    servers = []
    for offset_s in (HOUR_S, -HOUR_S):
        env = {"TEST_CLOCK_OFFSET": str(offset_s)}
        server = stand.gokiq("-c", "40", "--workers", "1", name=f"off{offset_s}", env=env)
        at = server.argv.index("gokiq")
        server.argv[at : at + 1] = ["tests.chaos.clock", str(offset_s)]
        servers.append(stand.stack.enter_context(server))
    for server in servers:
        server.wait_ready()
    began = time.monotonic()
    stand.until(server, lambda: due <= stand.done(), "what was due was done", 40)
    stand.recovery_s = time.monotonic() - began
    stand.until(server, lambda: stand.client.llen("queue:default") == 0, "the load was taken")
    assert not later & {run.jid for run in stand.runs()}, "some ran half an hour early"
    assert stand.client.zcard("schedule") == len(later)
    stand.client.zremrangebyrank("schedule", 0, -1)
    stand.pushed = [jid for jid in stand.pushed if jid not in later]
    stand.finish(server)
    assert [server.stop() for server in servers] == [0, 0]


# sockets


@scenario(33, jobs=900)
def garbage_on_the_sockets(stand: Stand) -> None:
    """Strangers' connections wait where a new worker takes its orchestrator's."""
    folder = short_folder(stand)
    with stand.gokiq("-c", "50", "--workers", "2", env={"TMPDIR": str(folder)}) as server:
        stand.middle(server, 0.1)
        [monitor], [path] = folder.glob("*/monitor.sock"), folder.glob("*/sidecar.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect(str(monitor))
            for size in (0, 1, 7, 500, 5000):
                datagrams.send(stand.rng.randbytes(size))
            for text in (b"[]", b"{}", b'{"pid":"x"}', b'{"pid":-1,"event":"ready"}', b"[" * 3000):
                datagrams.send(text)
        garbage = [
            stand.rng.randbytes(4096),
            b"\x00\x00",
            b"\xff" * 64,
            (2**31 - 1).to_bytes(4, "big") + b"\x03",
            b"",
        ]
        strangers = []
        for text in garbage:
            stranger = socket.socket(socket.AF_UNIX)
            stranger.connect(str(path))
            stranger.sendall(text)
            strangers.append(stranger)
        strangers.pop(1).close()
        strangers.pop().close()
        for _ in range(4):
            stand.until(server, lambda: len(workers(server)) >= 3, "both workers were there")
            before = stand.processed()
            since, victim = now_ms(), workers(server)[1]
            kill(victim)
            stand.excuse(since, pids=[victim])
            stand.until(server, lambda b=before: stand.processed() > b, "work went on", 30)
            # One that waits for the rest of a stranger's frame is free again when that leaves.
            if strangers:
                strangers.pop().close()
        stand.finish(server)
        assert server.stop() == 0


@scenario(34, jobs=600)
def a_socket_that_a_dead_sidecar_left(stand: Stand) -> None:
    """A sidecar of its own, killed and started again in the same place; a stranger's is refused."""
    path = short_folder(stand) / "s.sock"
    if os.geteuid() == 0:
        refuse_a_stranger(stand, path)
    first = sidecar(stand, path)
    with first, stand.gokiq("--sidecar", f"unix:{path}") as server:
        stand.middle(server)
        since, orphans = now_ms(), [process.pid for process in process_tree(first.pid)]
        kill(*orphans)
        first.wait(10)
        stand.excuse(since, pids=orphans)
        assert path.is_socket(), "nothing was left behind"
        with sidecar(stand, path):
            stand.recovered(server, 30)
            stand.finish(server)
            assert server.stop() == 0


def refuse_a_stranger(stand: Stand, path: Path) -> None:
    """Nobody's socket in the place of the sidecar's."""
    path.parent.chmod(0o777)
    program = (
        "import os,socket,sys,time;os.setuid(65534);s=socket.socket(socket.AF_UNIX);"
        f"s.bind({str(path)!r});os.chmod({str(path)!r},0o777);s.listen();time.sleep(60)"
    )
    log = stand.folder / "stranger.log"
    with Child([sys.executable, "-c", program], log=log) as stranger:
        stranger.wait_until(path.is_socket, timeout_s=10, what="it listened")
        with stand.gokiq("--sidecar", f"unix:{path}") as server:
            stand.until(server, lambda: "refused" in log_of(stand), "it was refused", 20)
            server.stop()
    assert "belongs to user id 65534" in log_of(stand)
    assert stand.processed() == 0
    path.unlink()
    path.parent.chmod(0o700)


def sidecar(stand: Stand, path: Path) -> Child:
    """The sidecar alone, as somebody else would start it."""
    env = {
        "GOKIQ_SOCKET": str(path),
        "GOKIQ_SIDEKIQ_ARGS": json.dumps(["-r", str(APP), "-c", "40"]),
        "GOKIQ_WORKERS": "2",
        "REDIS_URL": stand.proxy.url,
        "TEST_JOURNAL": str(stand.journal),
        "CONSOLE_LEVEL": "warn",
    }
    home = ROOT / "sidecar"
    argv = [find_program("ruby"), "-I", home / "lib", home / "bin" / "gokiq-sidecar"]
    child = Child(argv, log=stand.folder / "sidecar.log", env=env, cwd=ROOT)
    child.start()
    child.wait_until(path.is_socket, timeout_s=30, what="it listened")
    return child
