"""What /live, /ready and /metrics say while gokiq-fast boots, works, lacks Redis, and stops."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.proxy import Proxy
from devtools.redis_server import RedisServer

from .stage import Stage, payload
from .test_errors import EMPTY, start, the_line

pytestmark = pytest.mark.acceptance

PATIENCE_S = 60


class Probe:
    """Asks one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def connect(self) -> socket.socket:
        if self.address.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(5)
            sock.connect(self.address.removeprefix("unix:"))
            return sock
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=5)

    def raw(self, request: bytes) -> bytes:
        with self.connect() as sock:
            sock.sendall(request)
            answer = b""
            while data := sock.recv(65_536):
                answer += data
        return answer

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        with self.connect() as sock:
            sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            response = http.client.HTTPResponse(sock, method=method)
            response.begin()
            return response.status, response.read().decode()

    def says(self, path: str, status: int, text: str) -> Callable[[], bool]:
        """A condition; nobody listening is another answer."""

        def holds() -> bool:
            try:
                found, body = self.get(path)
            except OSError:
                return False
            return found == status and body.startswith(text)

        return holds

    def metrics(self) -> dict[str, float]:
        """Sample name with its labels -> value."""
        _, body = self.get("/metrics")
        samples = {}
        for line in body.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer(appendonly=True) as redis:
        yield Stage(redis, tmp_path)


@pytest.fixture
def probe(stage: Stage) -> Probe:
    return Probe(f"unix:{stage.redis.folder}/health.sock")


def until(server: GokiqFast, condition: Callable[[], bool], what: str) -> None:
    server.wait_until(condition, timeout_s=PATIENCE_S, what=what)


def wait_ready(server: GokiqFast, probe: Probe) -> None:
    until(server, probe.says("/ready", 200, "ready"), "/ready answered 200")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_from_boot_to_stop(stage: Stage, probe: Probe) -> None:
    app = stage.folder / "app.rb"
    go = stage.folder / "go"
    app.write_text(
        'require "sidekiq"\nrequire "async"\n'
        f"sleep 0.05 until File.exist?({str(go)!r})\n"
        "class SlowJob\n  include Sidekiq::Job\n  def perform(s) = sleep(s)\nend\n"
    )
    log = stage.folder / "gokiq.log"
    args = ("-r", str(app), "-c", "5", "--workers", "1", "-t", "20", "--health", probe.address)
    with GokiqFast(*args, redis=stage.redis, log=log) as server:
        until(server, probe.says("/ready", 503, "booting"), "/ready said booting")
        assert probe.get("/live") == (200, "live\n")
        assert probe.metrics()["gokiq_ready"] == 0
        go.touch()
        wait_ready(server, probe)
        server.send_signal(signal.SIGTSTP)
        until(server, probe.says("/ready", 503, "quiet"), "/ready said quiet")
        assert probe.get("/live")[0] == 200

    with GokiqFast(*args, redis=stage.redis, log=stage.folder / "again.log") as server:
        stage.client.lpush("queue:default", payload("a" * 24, "SlowJob", 4))
        wait_ready(server, probe)
        until(server, lambda: probe.metrics().get("gokiq_jobs_running") == 1, "the job ran")
        server.send_signal(signal.SIGTERM)
        until(server, probe.says("/ready", 503, "stopping"), "/ready said stopping")
        assert probe.get("/live")[0] == 200
        assert server.wait(30) == 0
    assert not Path(probe.address.removeprefix("unix:")).exists()


def test_redis_away_is_not_ready_but_live(stage: Stage, probe: Probe) -> None:
    with stage.gokiq("-c", "5", "--workers", "1", "--health", probe.address) as server:
        wait_ready(server, probe)
        assert probe.metrics()["gokiq_redis_up"] == 1
        stage.redis.kill()
        until(server, probe.says("/ready", 503, "redis: does not answer\n"), "/ready said redis")
        assert probe.get("/live")[0] == 200
        assert probe.metrics()["gokiq_redis_up"] == 0
        stage.redis.start()
        wait_ready(server, probe)
        samples = probe.metrics()
        assert samples["gokiq_redis_outage_seconds_total"] > 0
        for what in ("unknown", "gone"):
            assert samples[f'gokiq_claims_audited_total{{what="{what}"}}'] == 0
        # The one for claims may not have been opened before.
        links = [f'gokiq_redis_reconnects_total{{link="{x}"}}' for x in ("lease", "housekeeping")]
        until(server, lambda: all(probe.metrics()[x] >= 1 for x in links), "both were opened again")
        assert server.stop() == 0


def test_redis_full_is_not_ready(stage: Stage, probe: Probe) -> None:
    with stage.gokiq("-c", "5", "--workers", "1", "--health", probe.address) as server:
        wait_ready(server, probe)
        stage.client.config_set("maxmemory", 1)
        until(
            server,
            probe.says("/ready", 503, "redis: command not allowed when used memory"),
            "/ready said that Redis is full",
        )
        stage.client.config_set("maxmemory", 0)
        wait_ready(server, probe)
        assert server.stop() == 0


def test_a_partition_is_seen_although_connections_stay_open(stage: Stage, probe: Probe) -> None:
    with Proxy(stage.redis.socket) as proxy:
        env = {"REDIS_URL": proxy.url, "TEST_JOURNAL": str(stage.journal)}
        args = ("-r", EMPTY, "-c", "5", "--workers", "1")
        log = stage.folder / "gokiq.log"
        env["GOKIQ_HEALTH"] = probe.address
        with GokiqFast(*args, redis=stage.redis, log=log, env=env) as server:
            wait_ready(server, probe)
            proxy.partition()
            until(server, probe.says("/ready", 503, "redis:"), "/ready said redis")
            assert probe.get("/live")[0] == 200
            proxy.heal()
            wait_ready(server, probe)
            assert server.stop() == 0


def test_no_worker_is_not_ready(stage: Stage, probe: Probe) -> None:
    with stage.gokiq("-c", "5", "--workers", "1", "--health", probe.address) as server:
        wait_ready(server, probe)
        for process in server.sidecar():
            os.kill(process.pid, signal.SIGKILL)
        until(server, probe.says("/ready", 503, "no worker"), "/ready said no worker")
        wait_ready(server, probe)
        samples = probe.metrics()
        assert samples["gokiq_worker_crashes_total"] == 1
        assert samples["gokiq_sidecar_restarts_total"] == 1
        assert server.stop() == 0


def test_metrics_count_what_has_happened(stage: Stage, probe: Probe) -> None:
    stage.push_sleepers(50, seconds=(0.01,))
    stage.client.lpush(
        "queue:default", payload("b" * 24, "NobodyKnowsJob"), payload("c" * 24, "SleepJob", 30)
    )
    due = payload("d" * 24, "SleepJob", 0.01)
    stage.client.zadd("schedule", {due: time.time() - 1})
    stage.pushed.append("d" * 24)
    with stage.gokiq("-c", "7", "--workers", "2", "-t", "1", "--health", probe.address) as server:
        wait_ready(server, probe)
        until(
            server,
            lambda: probe.metrics()["gokiq_jobs_processed_total"] == 52,
            "all but one were done",
        )
        until(server, lambda: probe.metrics()["gokiq_outcomes_waiting"] == 0, "all were settled")
        samples = probe.metrics()
        assert samples["gokiq_jobs_failed_total"] == 1
        assert samples['gokiq_jobs_promoted_total{set="schedule"}'] == 1
        assert samples['gokiq_jobs_promoted_total{set="retry"}'] == 0
        assert samples["gokiq_jobs_claimed"] == samples["gokiq_jobs_running"] == 1
        assert samples["gokiq_slots"] == 7
        assert samples["gokiq_workers_ready"] == 2
        assert samples["gokiq_outcomes_dropped_total"] == 0
        assert samples["gokiq_redis_may_evict"] == 0
        assert abs(samples["gokiq_redis_clock_skew_seconds"]) < 1
        pids = [process.pid for process in server.sidecar()[1:]]
        until(
            server,
            lambda: all(
                probe.metrics().get(f'gokiq_worker_resident_memory_bytes{{pid="{pid}"}}', 0) > 1e6
                for pid in pids
            ),
            "each worker's memory was told",
        )
        _, page = probe.get("/metrics")
        assert re.search(r'^gokiq_build_info\{version="[\d.]+",.*sidekiq="8\.\d', page, re.M)
        assert server.stop() == 0


def test_a_probe_is_answered_at_once_while_others_are_silent(stage: Stage) -> None:
    probe = Probe(f"127.0.0.1:{free_port()}")
    with stage.gokiq("-c", "5", "--workers", "1", "--health", probe.address) as server:
        wait_ready(server, probe)
        silent = [probe.connect() for _ in range(40)]
        for sock in silent:
            sock.sendall(b"GET /live")
        began = time.monotonic()
        assert probe.get("/live")[0] == 200
        assert time.monotonic() - began < 2
        # They are sent away in time.
        silent[0].settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""
        for sock in silent:
            sock.close()
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense", "--health nonsense: must be HOST:PORT, PORT (of 127.0.0.1) or unix:PATH"),
        (":7433", "--health :7433: must be HOST:PORT"),
        ("127.0.0.1:0", "--health 127.0.0.1:0: must be HOST:PORT"),
        ("127.0.0.1:70000", "--health 127.0.0.1:70000: must be HOST:PORT"),
        ("unix:", "--health unix:: the path must have 1 to 107 bytes"),
        ("unix:/nowhere/at/all.sock", "cannot listen on unix:/nowhere/at/all.sock for probes: No"),
        ("203.0.113.1:7433", "cannot listen on 203.0.113.1:7433 for probes: "),
        ("nowhere.invalid:80", "cannot listen on nowhere.invalid:80 for probes: "),
    ],
)
def test_a_wrong_address_is_one_line(address: str, said: str) -> None:
    assert the_line(start("-r", EMPTY, "--health", address)).startswith(said)


def test_a_busy_port_is_one_line() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        line = the_line(start("-r", EMPTY, GOKIQ_HEALTH=address))
        assert line.startswith(f"cannot listen on {address} for probes: Address already in use")


def test_a_socket_in_use_is_not_taken_away_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "h.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        line = the_line(start("-r", EMPTY, "--health", f"unix:{path}"))
        assert line.startswith(f"cannot listen on unix:{path} for probes: Address already in use")
    # It is stale now: what stops this start is that there is no Redis.
    assert "for probes" not in the_line(start("-r", EMPTY, "--health", f"unix:{path}"))
