"""Jobs that fork, when their worker or the root dies and the child lives on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.procstat import process_tree
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

JID = "f" * 24


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def test_a_worker_and_a_root_come_back_while_a_child_of_theirs_lives(stage: Stage) -> None:
    child = stage.journal / "child"
    stage.client.sadd("queues", "default")
    with stage.gokiq("-c", "5", "--workers", "1") as server:
        for name, victims in (("worker", slice(2, 3)), ("root and worker", slice(1, 3))):
            stage.client.lpush("queue:default", payload(JID, "ForkJob", 120))
            server.wait_until(child.exists, timeout_s=30, what="it had forked")
            server.wait_until(lambda: bool(child.read_text()), timeout_s=5, what="it had said so")
            pid = int(child.read_text())
            try:
                for process in process_tree(server.pid)[victims]:
                    os.kill(process.pid, signal.SIGKILL)
                stage.client.delete("queue:default")  # once was enough
                began = time.monotonic()
                stage.push_sleepers(20, seconds=(0.0,))
                server.wait_until(
                    lambda: set(stage.pushed) <= {run.jid for run in stage.runs()},
                    timeout_s=20,
                    what=f"a {name} worked again",
                )
                assert time.monotonic() - began < 10
                os.kill(pid, 0)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            child.unlink(missing_ok=True)
            stage.client.delete("queue:default", "gokiq:crashes")
        server.kill()
