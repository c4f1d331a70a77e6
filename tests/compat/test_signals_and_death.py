"""Signals, and what becomes of jobs when a part dies (checklist 71 to 73, 80 to 83)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.redis_jobs import find_jobs

from .harness import Stand, assertion
from .life import said, wait_gone, wait_identity, wait_quiet
from .test_metrics import fields, written

pytestmark = pytest.mark.acceptance

#: Signals wait in Redis for the next heartbeat.
BEAT_S = 10
#: The place where class SleepJob waits, as a line of a backtrace.
ASLEEP = re.compile(r"app\.rb:\d+:in .*perform")


@assertion(71, "Quiet from the Web UI: taken within a beat, quiet and stopping, jobs end well")
@assertion(72, "two signals in Redis are handled in their order, one a beat")
@assertion(73, "TTIN in Redis dumps the threads into the log, and the process lives on")
@assertion(89, "metrics are written at a heartbeat, while the process runs")
@pytest.mark.slow
def test_signals_in_redis_are_taken_one_a_beat(stand: Stand) -> None:
    stand.push(stand.payload("SleepJob", 2.1 * BEAT_S), stand.payload("MeasuredJob"))
    with stand.gokiq(app="handlers.rb") as server:
        stand.wait(server, stand.runs, "the job had started")
        server.wait_ready()
        identity = wait_identity(stand, server)
        process = f'Sidekiq::ProcessSet["{identity}"]'
        signals = f"{identity}-signals"
        began = time.monotonic()
        stand.ask(f"{process}.dump_threads")
        stand.ask(f"{process}.quiet!")

        stand.wait(server, lambda: stand.client.llen(signals) < 2, "the first was taken")
        assert stand.client.lrange(signals, 0, -1) == [b"TSTP"]
        assert time.monotonic() - began < BEAT_S + 2
        stand.wait(server, lambda: ASLEEP.search(server.log.read_text()), "the log told of the job")
        assert stand.ask(f"{process}.stopping?") is False

        stand.wait(server, lambda: not stand.client.exists(signals), "the second was taken")
        assert time.monotonic() - began < 2 * BEAT_S + 2
        wait_quiet(stand, server, identity, BEAT_S + 2)
        assert stand.ask(f"{process}.stopping?") is True
        assert fields(stand, written(stand, "MeasuredJob").minute, "MeasuredJob")["p"] == 1
        stand.push(stand.payload("JournalJob"))
        stand.wait(server, lambda: stand.int("stat:processed") == 2, "the job had ended")
        assert [run.outcome for run in stand.runs()] == ["done"]
        assert stand.client.llen("queue:default") == 1


@assertion(71, "TSTP: jobs end well, no other is taken, the record says so")
def test_a_quiet_process_ends_its_jobs_and_takes_no_more(stand: Stand) -> None:
    stand.push(stand.payload("SleepJob", 1.5))
    with stand.gokiq() as server:
        stand.wait(server, stand.runs, "the job had started")
        identity = wait_identity(stand, server)
        server.send_signal(signal.SIGTSTP)
        wait_quiet(stand, server, identity, BEAT_S + 2)
        assert stand.ask(f'Sidekiq::ProcessSet["{identity}"].stopping?') is True
        waiting = stand.payload("JournalJob")
        stand.push(waiting)
        stand.wait(server, lambda: stand.int("stat:processed"), "the job had ended")
        server.send_signal(signal.SIGTSTP)
        assert server.is_running
        assert stand.client.lrange("queue:default", 0, -1) == [waiting]
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    assert [run.outcome for run in stand.runs()] == ["done"]


@assertion(73, "TTIN dumps what every thread does into the log, and the process lives on")
@pytest.mark.parametrize("lane", ["fiber", pytest.param("thread", marks=pytest.mark.slow)])
def test_ttin_dumps_and_goes_on(stand: Stand, lane: str) -> None:
    stand.push(stand.payload("SleepJob", 1.5))
    with stand.gokiq("--lane", lane) as server:
        stand.wait(server, stand.runs, "the job had started")
        server.send_signal(signal.SIGTTIN)
        stand.wait(server, lambda: ASLEEP.search(server.log.read_text()), "the log told of the job")
        assert "TID-" in server.log.read_text()
        stand.wait(server, lambda: stand.int("stat:processed"), "the job had ended")
        stand.push(stand.payload("JournalJob"))
        stand.wait(server, lambda: stand.int("stat:processed") == 2, "another job was done")

    assert [run.outcome for run in stand.runs()] == ["done", "done"]


@assertion(80, "kill -9 of the process: all of it dies, its record expires, the API prunes it")
def test_a_killed_process_leaves_no_trace_and_loses_no_job(stand: Stand) -> None:
    job = stand.payload("SlowOnceJob")
    stand.push(job)
    with stand.gokiq("--workers", "2") as server:
        stand.wait(server, stand.runs, "the job had started")
        identity = wait_identity(stand, server)
        family = server.processes()
        server.kill()
        wait_gone(family)

    ttl = stand.client.ttl(identity)
    assert 0 < ttl <= 60
    assert stand.client.ttl(f"{identity}:work") <= 60
    assert stand.ask("Sidekiq::ProcessSet.new.size") == 1
    # What the time does to the record, and to the mark that somebody has pruned a moment ago.
    for key in (identity, f"{identity}:work", "process_cleanup"):
        stand.client.expire(key, 0)
    assert stand.ask("Sidekiq::ProcessSet.new.size") == 0
    assert not stand.client.sismember("processes", identity)
    assert stand.ask("Sidekiq::WorkSet.new.size") == 0

    with stand.gokiq(name="next") as server:
        stand.wait(server, lambda: stand.int("stat:processed"), "the job was done")
        assert wait_identity(stand, server) != identity
    # The workers may have had the time to cut it.
    assert [run.outcome == "done" for run in stand.runs()] == [False, True]
    assert find_jobs(stand.client).all() == []


@assertion(81, "kill -9 of a worker: its job is not lost and runs again, the process stays")
def test_a_job_that_kills_its_worker_runs_again(stand: Stand) -> None:
    stand.push(stand.payload("KillerJob"))
    with stand.gokiq() as server:
        server.wait_ready()
        identity = wait_identity(stand, server)
        stand.wait(server, lambda: stand.int("stat:processed"), "the job was done")
        stand.push(stand.payload("JournalJob"))
        stand.wait(server, lambda: stand.int("stat:processed") == 2, "another one was done")
        assert stand.identity() == identity
        stand.wait(server, lambda: not find_jobs(stand.client).all(), "no job was left")

    assert [run.outcome for run in stand.runs()] == [None, "done", "done"]
    assert stand.int("stat:failed") == 0


@assertion(81, "a job that kills every worker is not retried forever")
def test_a_job_that_kills_every_worker_comes_to_the_dead_set(stand: Stand) -> None:
    killer = stand.payload("KillerJob", True)
    stand.push(killer)
    with stand.gokiq() as server:
        server.wait_ready()
        identity = wait_identity(stand, server)
        job, score = stand.wait_job(server, "dead")
        stand.push(stand.payload("JournalJob"))
        stand.wait(server, lambda: stand.runs()[-1].outcome == "done", "another one was done")
        assert stand.identity() == identity
        assert stand.client.zcard("dead") == 1
        assert stand.client.llen("queue:default") == 0

    assert job["jid"] == json.loads(killer)["jid"]
    assert abs(score - time.time()) < 60
    assert 1 < len([run for run in stand.runs() if run.jid == job["jid"]]) < 10


@assertion(81, "kill -9 of the whole sidecar: the same")
def test_jobs_of_a_killed_sidecar_run_again(stand: Stand) -> None:
    jobs = [stand.payload("SlowOnceJob") for _ in range(3)]
    stand.push(*jobs)
    with stand.gokiq("--workers", "2") as server:
        stand.wait(server, lambda: len(stand.runs()) == 3, "all had started")
        identity = wait_identity(stand, server)
        family = server.sidecar()
        os.kill(family[0].pid, signal.SIGKILL)
        stand.wait(server, lambda: stand.int("stat:processed") == 3, "all were done")
        wait_gone(family)
        assert stand.identity() == identity
        stand.wait(server, lambda: not find_jobs(stand.client).all(), "no job was left")

    done = [run.jid for run in stand.runs() if run.outcome == "done"]
    assert sorted(done) == sorted(json.loads(job)["jid"] for job in jobs)


@assertion(82, "Redis away for 30 s: no crash, jobs go on, the record is back, handlers stay calm")
@pytest.mark.slow
def test_redis_may_be_away_for_half_a_minute(stand: Stand) -> None:
    concurrency = 5
    away_s = 30
    stand.push(*(stand.payload("SleepJob", 5) for _ in range(concurrency)))
    with stand.gokiq("-c", str(concurrency), app="handlers.rb") as server:
        stand.wait(server, lambda: len(stand.runs()) == concurrency, "all had started")
        identity = wait_identity(stand, server)
        stand.push(*(stand.payload("JournalJob") for _ in range(50)))
        stand.redis.stop()
        began = time.monotonic()
        stand.wait(server, lambda: time.monotonic() > began + away_s, "the time was over")
        back = time.time()
        stand.redis.start()
        stand.wait(server, lambda: stand.int("stat:processed") == 50 + concurrency, "all were done")
        stand.push(stand.payload("JournalJob"))
        stand.wait(
            server, lambda: stand.int("stat:processed") == 51 + concurrency, "a new one, too"
        )
        stand.wait(
            server,
            lambda: float(stand.client.hget(identity, "beat") or 0) > back,
            "its heart beat again",
        )
        assert stand.identity() == identity
        assert stand.ask("Sidekiq::ProcessSet.new.size") == 1

    done = [run.jid for run in stand.runs() if run.outcome == "done"]
    assert len(done) == len(set(done)) == 51 + concurrency
    assert len(said(stand, "error")) <= concurrency
    assert find_jobs(stand.client).all() == []


@assertion(82, "a stop while Redis is away ends in time, and loses no job")
@pytest.mark.slow
def test_it_stops_while_redis_is_away(stand: Stand) -> None:
    stand.push(stand.payload("SlowOnceJob"))
    with stand.gokiq("-t", "1") as server:
        stand.wait(server, stand.runs, "the job had started")
        wait_identity(stand, server)
        stand.redis.stop()
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0

    assert time.monotonic() - began < 1 + 7
    log = server.log.read_text()
    assert "Redis did not take 1 jobs back" in log
    assert " 0 jobs" not in log
    stand.redis.start()
    with stand.gokiq(name="next") as server:
        stand.wait(server, lambda: stand.int("stat:processed"), "the job was done")
    assert [run.outcome == "done" for run in stand.runs()] == [False, True]
    assert find_jobs(stand.client).all() == []


class Supervisor:
    """The other end of $NOTIFY_SOCKET: what came, each with its time (monotonic seconds)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.came: list[tuple[str, float]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def of(self, message: str) -> list[float]:
        """When that message came."""
        return [at for text, at in self.came if text == message]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.came += [(line, time.monotonic()) for line in message.decode().splitlines()]


@pytest.fixture
def systemd(stand: Stand) -> Iterator[Supervisor]:
    # Beside Redis's socket: the path of a socket must be short.
    supervisor = Supervisor(stand.redis.folder / "notify")
    yield supervisor
    supervisor.close()


@assertion(83, "systemd hears READY=1, WATCHDOG=1 twice in its period, and STOPPING=1")
def test_systemd_is_told(stand: Stand, systemd: Supervisor) -> None:
    env = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1000000"}
    began = time.monotonic()
    with stand.gokiq(env=env) as server:
        stand.wait(server, lambda: systemd.of("READY=1"), "it had said that it was ready")
        stand.push(stand.payload("JournalJob"))
        stand.wait(server, lambda: stand.int("stat:processed"), "a job was done")
        stand.wait(server, lambda: len(systemd.of("WATCHDOG=1")) >= 4, "it had given four signs")
        assert systemd.of("STOPPING=1") == []
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    # Half a second apart; the process starts to count when it has come up.
    alive = systemd.of("WATCHDOG=1")
    assert began < alive[0]
    assert 1.3 < alive[3] - alive[0] < 2.6
    assert len(systemd.of("READY=1")) == len(systemd.of("STOPPING=1")) == 1
    assert systemd.of("READY=1") < systemd.of("STOPPING=1")


@assertion(83, "the watchdog of another process is not ours")
@pytest.mark.slow
def test_another_ones_watchdog_is_left_alone(stand: Stand, systemd: Supervisor) -> None:
    env = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    with stand.gokiq(env=env) as server:
        stand.wait(server, lambda: systemd.of("READY=1"), "it had said that it was ready")
        stand.push(stand.payload("SleepJob", 1.2))
        stand.wait(server, lambda: stand.int("stat:processed"), "the job was done")

    assert systemd.of("WATCHDOG=1") == []
