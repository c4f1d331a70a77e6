"""Jobs beside a web server in one process tree: `falcon host` where Falcon is installed, and the
same classes in async-service's own container everywhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.child import Child
from devtools.failure import DevError
from devtools.gokiq import GokiqFast
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer
from devtools.ruby import gem_program, ruby_eval

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

APP = Path(__file__).with_name("falcon_app")
JIDS = [f"{i:024x}" for i in range(0xF1, 0xF4)]


def command(host: str) -> list[str | Path]:
    """Skips where it is not installed."""
    ruby = find_program("ruby")
    if host == "async-service":
        return [ruby, gem_program("async-service"), "async.rb"]
    try:
        ruby_eval("require 'falcon'; require 'falcon/environment/rackup'")
    except DevError:
        pytest.skip("the gem falcon is not installed; set GEM_PATH to where it is")
    return [ruby, gem_program("falcon", "falcon-host"), "falcon.rb"]


class Host:
    """The process tree, and a gokiq-fast that gives it jobs."""

    def __init__(self, stage: Stage, tree: Child, url: str, path: Path) -> None:
        self.stage = stage
        self.tree = tree
        self.url = url
        self.path = path

    def gokiq(self) -> GokiqFast:
        log = self.stage.folder / "gokiq.log"
        return GokiqFast("--sidecar", f"unix:{self.path}", redis=self.stage.redis, log=log)

    def page(self) -> str:
        with urllib.request.urlopen(self.url, timeout=10) as page:
            return str(page.read().decode())

    def answers(self) -> bool:
        try:
            return bool(self.page())
        except OSError:
            return False

    def push(self, *jobs: bytes) -> None:
        self.stage.client.sadd("queues", "default")
        self.stage.client.lpush("queue:default", *jobs)

    def done(self) -> Counter[str]:
        return Counter(run.jid for run in self.stage.runs() if run.outcome == "done")


@pytest.fixture(params=["async-service", "falcon"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    argv = command(request.param)
    app = tmp_path / "app"
    shutil.copytree(APP, app)
    shutil.copy(ROOT / "examples" / "falcon.rb", app)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "gokiq.sock"
    with RedisServer() as redis:
        stage = Stage(redis, tmp_path)
        env = {
            "GOKIQ_SOCKET": str(path),
            "GOKIQ_SIDEKIQ_ARGS": '["-r", ".", "-t", "25"]',
            "GOKIQ_WORKERS": "2",
            "GOKIQ_SLOTS": "20",
            "RUBYLIB": str(ROOT / "sidecar" / "lib"),
            "WEB_URL": f"http://127.0.0.1:{port}",
            "WEB_WORKERS": "1",
            "REDIS_URL": redis.url,
            "RAILS_ENV": "production",
            "TEST_ROOT": str(ROOT),
            "TEST_JOURNAL": str(stage.journal),
            "BUNDLE_GEMFILE": os.devnull,
        }
        log = tmp_path / "host.log"
        with Child(argv, log=log, env=env, cwd=app, name=request.param) as tree:
            yield Host(stage, tree, env["WEB_URL"], path)


def test_jobs_beside_a_web_server(host: Host) -> None:
    stage = host.stage
    with host.gokiq() as server:
        log = stage.folder / "gokiq.log"
        server.wait_until(lambda: "No sidecar answers at" in log.read_text(), timeout_s=20, what="")
        host.tree.wait_until(host.path.exists, timeout_s=60, what="it listened")
        info = server.wait_ready()
        assert info.workers == 2  # of the sidecar, not our own default
        server.wait_until(host.answers, timeout_s=30, what="the web server answered")
        assert host.page() == "fiber"

        # Poison: every guilty one ends in the dead set, nobody else, and the web server goes on.
        stage.push_sleepers(20, seconds=(0.3, 0.6))
        host.push(*(payload(jid, "PoisonJob", 0.05, "KILL") for jid in JIDS))
        stage.push_sleepers(20, seconds=(0.3, 0.6))
        stage.finish_but_dead(server, timeout_s=120)
        assert stage.client.zcard("dead") == 3
        assert set(host.done()) == set(stage.pushed)
        assert host.tree.is_running
        assert host.page() == "fiber"
        text = log.read_text()
        assert "was killed by SIGKILL" in text
        assert text.count("ran this job alone") >= 3
        assert "among others" not in text

        # A restart replaces the workers, and says what it does not.
        host.tree.send_signal(signal.SIGHUP)
        host.tree.wait_until(
            lambda: "run the code that was loaded at the start" in host.tree.log.read_text(),
            timeout_s=30,
            what="it said that the code is the old",
        )
        stage.push_sleepers(10, seconds=(0.1,))
        stage.finish_but_dead(server)
        assert set(host.done()) == set(stage.pushed)

        # A stop waits for running jobs, longer than ten seconds, and counts no crash.
        before = stage.client.hgetall("gokiq:crashes")
        stage.push_sleepers(1, seconds=(11.5,))
        server.wait_until(
            lambda: stage.runs()[-1].jid == stage.pushed[-1], timeout_s=30, what="it ran"
        )
        host.tree.send_signal(signal.SIGTERM)
        assert host.tree.wait(40) == 0
        stage.finish_but_dead(server)
        assert host.done()[stage.pushed[-1]] == 1
        assert stage.client.hgetall("gokiq:crashes") == before
        assert server.stop() == 0
    assert not Path(f"{host.path}.news").exists()
