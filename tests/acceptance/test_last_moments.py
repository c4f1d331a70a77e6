"""Signals while we start or end, and processes that are left to us."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.child import Child
from devtools.programs import find_program
from devtools.redis_server import RedisServer

from .stage import APP, Stage, payload

pytestmark = pytest.mark.acceptance

#: prctl(PR_SET_CHILD_SUBREAPER): as process 1 of a container, then the program.
AS_FIRST = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def test_signals_until_the_very_end_change_nothing(stage: Stage) -> None:
    with stage.gokiq("-c", "5", "--workers", "1") as server:
        server.wait_ready()
        server.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while server.is_running and time.monotonic() < deadline:
            for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
                server.send_signal(number)
            time.sleep(0.0005)
        assert server.exit_code == 0


def test_ctrl_c_while_modules_are_loaded_is_no_traceback(stage: Stage) -> None:
    struck = 0
    for _ in range(20):  # on a busy machine we may look too late
        log = stage.folder / "gokiq.log"
        seen = log.stat().st_size if log.exists() else 0
        with stage.gokiq("-c", "5", "--workers", "1") as server:
            if strikes(server, seen):
                struck += 1
                assert server.wait(10) in (-signal.SIGINT, 0)
        if struck == 3:
            break
    assert struck == 3
    assert "Traceback" not in (stage.folder / "gokiq.log").read_text()


def strikes(server: Child, seen: int) -> bool:
    """Send INT while modules are loaded: Python catches it once it is up, then nobody does until
    the server does. False when the server was up before we saw that, by what its log has beyond
    these bytes.
    """
    was_up = False
    while b"starting: booting" not in server.log.read_bytes()[seen:]:
        is_caught = catches(server.pid)
        if was_up and not is_caught:
            server.send_signal(signal.SIGINT)
            return True
        was_up = was_up or is_caught
    return False


def catches(pid: int) -> bool:
    """Whether a process has a handler for INT."""
    [mask] = [line.split()[1] for line in status(pid) if line.startswith("SigCgt")] or ["0"]
    return bool(int(mask, 16) & 1 << signal.SIGINT - 1)


def status(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []


def test_processes_that_are_left_to_us_are_reaped(stage: Stage) -> None:
    argv = [
        sys.executable,
        "-c",
        AS_FIRST,
        sys.executable,
        "-m",
        "gokiq",
        "-r",
        str(APP),
        "-c",
        "5",
    ]
    env = {
        "GOKIQ_RUBY": str(find_program("ruby")),
        "REDIS_URL": stage.redis.url,
        "TEST_JOURNAL": str(stage.journal),
    }
    jids = [f"{i:024x}" for i in range(10)]
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", *(payload(jid, "OrphanJob") for jid in jids))
    with Child(argv, log=stage.folder / "log", env=env) as server:
        server.wait_until(
            lambda: {run.jid for run in stage.runs()} == set(jids), timeout_s=40, what="all had run"
        )
        server.wait_until(
            lambda: len(children(server.pid)) == 1, timeout_s=10, what="only the root was left"
        )
        assert server.stop() == 0


def children(pid: int) -> list[str]:
    """States of the children of a process, zombies as well."""
    found = [status(int(name)) for name in os.listdir("/proc") if name.isdigit()]
    return [lines[2] for lines in found if f"PPid:\t{pid}" in lines]
