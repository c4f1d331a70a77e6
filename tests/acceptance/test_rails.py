"""A real Rails application: its jobs run in fibers, apart from one another, or it hears why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

pytestmark = pytest.mark.acceptance

APP = Path(__file__).with_name("rails_app")


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def lines(seen: Path, kind: str) -> list[list[str]]:
    if not seen.exists():
        return []
    return [line.split()[1:] for line in seen.read_text().splitlines() if line.startswith(kind)]


@pytest.mark.parametrize("reloading", ["0", "1"], ids=["fibers", "reloading: threads"])
def test_active_job_and_isolated_state(
    redis_server: RedisServer, tmp_path: Path, reloading: str
) -> None:
    seen = tmp_path / "seen"
    env = {"TEST_SEEN": str(seen), "RAILS_ENV": "test", "TEST_RELOADING": reloading}
    client_env = {**env, "REDIS_URL": redis_server.url}
    with ruby_script(APP / "push.rb", log=tmp_path / "push.log", env=client_env) as client:
        assert client.wait(60) == 0, client.tail()
    args = ["-r", str(APP), "-c", "50", "--workers", "1"]
    with GokiqFast(*args, redis=redis_server, log=tmp_path / "log", env=env) as server:
        info = server.wait_ready()
        server.wait_until(
            lambda: len(lines(seen, "state")) >= 40 and len(lines(seen, "greet")) >= 3,
            timeout_s=30,
            what="all jobs had run",
        )

    assert info.lane == ("thread" if reloading == "1" else "fiber")
    assert {(a, b) for a, b, _ in lines(seen, "state")} == {(str(i), str(i)) for i in range(1, 41)}
    assert {on_main for _, _, on_main in lines(seen, "state")} == {
        "false" if reloading == "1" else "true"
    }
    assert all(len(jid) == 24 for *_, jid in lines(seen, "greet"))


def test_isolation_by_thread_is_refused_with_what_to_set(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    program = [sys.executable, "-m", "gokiq", "-r", str(APP)]
    env = {"REDIS_URL": redis_server.url, "GOKIQ_RUBY": str(find_program("ruby"))}
    env |= {"TEST_ISOLATION": "thread", "PATH": "/usr/bin:/bin", "RAILS_ENV": "test"}

    ended = subprocess.run(program, env=env, capture_output=True, text=True, timeout=60, cwd=ROOT)

    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("gokiq-fast: the app failed to boot: ")
    assert "config.active_support.isolation_level = :fiber" in line
