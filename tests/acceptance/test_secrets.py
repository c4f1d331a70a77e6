"""Neither Redis's password nor what is in a job is told in a log, an error or a process title."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer

pytestmark = pytest.mark.acceptance

APP = str(Path(__file__).with_name("app") / "guarded.rb")
PATIENCE_S = 60.0
PASSWORD = "pa55w0rd-of-redis"
#: An argument of the jobs.
ARGUMENT = "4111-1111-1111-1111"
MS = 1_795_489_135_438


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def redis(port: int) -> Iterator[RedisServer]:
    """A Redis that asks everyone but us for the password."""
    with RedisServer(settings={"port": str(port), "bind": "127.0.0.1"}) as redis:
        redis.client.config_set("requirepass", PASSWORD)
        yield redis


def job(name: str, number: int, queue: str = "default") -> bytes:
    fields = {"class": name, "args": [ARGUMENT], "jid": f"{number:024x}", "queue": queue}
    return json.dumps(fields | {"retry": True, "created_at": MS, "enqueued_at": MS}).encode()


def shown(server: GokiqFast) -> str:
    """What `ps` shows of it and of all that it has started."""
    lines = [Path(f"/proc/{one.pid}/cmdline") for one in server.processes()]
    return "\n".join(path.read_text("utf-8", "replace") for path in lines if path.exists())


def test_whatever_happens_while_it_runs(tmp_path: Path, redis: RedisServer, port: int) -> None:
    log = tmp_path / "log"
    env = {"REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{port}/0"}
    args = ("-r", APP, "--workers", "2", "-c", "10", "-t", "2")
    with GokiqFast(*args, redis=redis, log=log, env=env) as server:

        def until(text: str) -> None:
            server.wait_until(lambda: text in log.read_text(), timeout_s=PATIENCE_S, what=text)

        server.wait_ready()
        titles = [shown(server)]
        redis.client.lpush("queue:default", job("QuietJob", 1), job("FailingJob", 2), b"{broken")
        redis.client.lpush("queue:default", job("MissingJob", 3), job("StallingJob", 4))
        redis.client.lpush("queue:default", job("DeadlyJob", 5))
        redis.client.zadd("schedule", {job("QuietJob", 6): 1, b'{"' + ARGUMENT.encode(): 1})
        until("goes to the dead set: worker")
        until("is no job and goes to the dead set")
        until("stands still")
        server.send_signal(signal.SIGTTIN)
        until("Thread TID-")

        # Another password than ours, then no Redis at all, then one that refuses:
        redis.client.config_set("requirepass", "another")
        redis.client.client_kill_filter(_type="normal", skipme=True)
        until("invalid username-password")
        titles.append(shown(server))
        redis.client.config_set("requirepass", PASSWORD)
        redis.kill()
        redis.start()
        redis.client.config_set("requirepass", PASSWORD)
        redis.client.lpush("queue:default", job("QuietJob", 7))
        server.wait_until(
            lambda: not redis.client.exists("queue:default"), timeout_s=PATIENCE_S, what="it ran on"
        )
        server.send_signal(signal.SIGTSTP)
        until("Quiet")
        titles.append(shown(server))
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0

    said = log.read_text("utf-8", "replace") + "\n".join(titles)
    assert PASSWORD not in said
    assert ARGUMENT not in said


@pytest.mark.parametrize(
    ("password", "target"),
    [
        ("wr0ng", "127.0.0.1:PORT/0"),
        ("s3/cret", "127.0.0.1:PORT/0"),
        ("s3@cret", "127.0.0.1:PORT/0"),
        ("s3 cret", "127.0.0.1:PORT/0"),
        ("s3?cret", "127.0.0.1:PORT/0"),
        ("s3#cret", "127.0.0.1:PORT/0"),
        ('s3"cret', "127.0.0.1:PORT/0"),
        ("s3%zzcret", "127.0.0.1:PORT/0"),
        ("s3[cret", "127.0.0.1:PORT/0"),
        ("s3cret", "127.0.0.1:no-port/0"),
        ("s3cret", "127.0.0.1:1/0"),
        ("s3cret", "no-such-host.invalid/0"),
        ("s3cret", ""),
    ],
)
@pytest.mark.parametrize("raises", [False, True], ids=["boot", "app raises"])
def test_whatever_keeps_it_from_starting(
    redis: RedisServer, port: int, password: str, target: str, raises: bool
) -> None:
    url = f"redis://shop:{password}@{target.replace('PORT', str(port))}"
    ended = run("-r", APP, REDIS_URL=url, **({"TEST_RAISE": "1"} if raises else {}))

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert password not in ended.stdout + ended.stderr
    assert "cret" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:s3/cret@h:1", "redis://:12/cret@h:1", "redis://:s3cret@h:port", ":s3cret@h"),
        *("http://:s3cret@h", "redis://:s3@cret@h:port", "redis://:s3cret@[h", "redis://:cret@h:1"),
    ],
)
@pytest.mark.parametrize("form", ["flag", "variable"])
def test_give_back(url: str, form: str) -> None:
    if form == "flag":
        ended = run("give-back", "--redis", url, REDIS_URL="")
    else:
        ended = run("give-back", REDIS_URL=url)

    assert ended.returncode == 1
    assert "cret" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], "GOKIQ_RUBY": str(find_program("ruby")), **env}
    return subprocess.run(
        [sys.executable, "-m", "gokiq", *args],
        env=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=ROOT,
    )
