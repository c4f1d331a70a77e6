"""New code beside the old: work goes on, nothing is lost or doubled; a failed boot is harmless."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.procstat import process_tree
from devtools.programs import ROOT
from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

APP = """
require "sidekiq"
require "{root}/examples/demo/journal"

JOURNAL = Demo::Journal.new(ENV.fetch("TEST_JOURNAL"))
VERSION = "{version}"
{config}

class SleepJob
  include Sidekiq::Job

  def perform(seconds)
    JOURNAL.record(jid, self.class) {{ sleep(seconds) }}
  end
end

class KillJob
  include Sidekiq::Job

  def perform = Process.kill(:KILL, Process.pid)
end

class VersionJob
  include Sidekiq::Job

  def perform
    File.write(File.join(ENV.fetch("TEST_JOURNAL"), "version"), VERSION)
  end
end
"""


class Deploys(Stage):
    """A gokiq-fast whose app is written anew."""

    server: GokiqFast

    @property
    def app(self) -> Path:
        return self.folder / "app.rb"

    @cached_property
    def short(self) -> Path:
        """A folder of ours whose sockets have paths that fit."""
        return Path(tempfile.mkdtemp(prefix="gokiq-test-"))

    @property
    def log(self) -> str:
        return (self.folder / "gokiq.log").read_text(errors="replace")

    def write(self, version: object, *, config: str = "") -> None:
        self.app.write_text(APP.format(root=ROOT, version=version, config=config))

    def start(self, *args: str, env: dict[str, str] | None = None) -> GokiqFast:
        self.server = GokiqFast(
            *("-r", str(self.app), *args),
            redis=self.redis,
            log=self.folder / "gokiq.log",
            env={"TEST_JOURNAL": str(self.journal), **(env or {})},
        )
        return self.server

    def push(self, job: bytes, queue: str = "default") -> None:
        self.client.sadd("queues", queue)
        self.client.lpush(f"queue:{queue}", job)

    def version(self) -> str:
        """What the code says that runs now."""
        path = self.journal / "version"
        path.unlink(missing_ok=True)
        self.push(payload(os.urandom(12).hex(), "VersionJob"))
        self.until(lambda: path.exists() and path.read_text() != "", "it said its version")
        return path.read_text()

    def until(self, condition: object, what: str) -> None:
        self.server.wait_until(condition, timeout_s=60, what=what)  # type: ignore[arg-type]

    def said(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.log.count(text) >= times, f"it logged {text!r}")

    def reload(self, number: signal.Signals = signal.SIGUSR2) -> None:
        times = self.log.count("Reloaded in") + 1
        self.server.send_signal(number)
        self.said("Reloaded in", times)


@pytest.fixture
def deploys(tmp_path: Path) -> Iterator[Deploys]:
    with RedisServer() as redis:
        deploys = Deploys(redis, tmp_path)
        yield deploys
        shutil.rmtree(deploys.short, ignore_errors=True)


def test_work_goes_on_under_load_while_code_is_replaced_three_times(deploys: Deploys) -> None:
    deploys.write(0)
    deploys.push_sleepers(12_000, seconds=(0.05, 0.1, 0.15))
    with deploys.start("-c", "60", "--workers", "2") as server:
        deploys.until(lambda: deploys.processed() > 100, "it works")
        for version in (1, 2, 3):
            deploys.write(version)
            deploys.reload(signal.SIGHUP if version == 2 else signal.SIGUSR2)
        assert deploys.client.llen("queue:default") > 0, "the load was over too early"
        deploys.client.ltrim("queue:default", 0, -1)
        deploys.finish(server, timeout_s=120)
        assert deploys.version() == "3"
        deploys.until(lambda: len(process_tree(server.pid)) == 4, "the old roots had ended")
        assert server.stop() == 0

    runs = deploys.runs()
    deploys.assert_nothing_lost()
    assert len(runs) == 12_000, "some were pushed back"
    assert len({run.pid for run in runs}) == 8
    ends = sorted(run.end_ms or 0.0 for run in runs)
    longest_ms = max(after - before for before, after in itertools.pairwise(ends))
    assert longest_ms < 1500, f"no job ended for {longest_ms:.0f} ms"
    assert deploys.client.hlen("gokiq:owners") == 0


def test_a_boot_that_fails_leaves_the_old_code_running(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("-c", "5", "--workers", "1") as server:
        server.wait_ready()
        before = {process.pid for process in process_tree(server.pid)}
        deploys.app.write_text("class Broken\n  def\nend\n")
        server.send_signal(signal.SIGUSR2)
        deploys.said("Reload failed, the old code goes on: ")
        assert deploys.version() == "old"
        deploys.until(
            lambda: {process.pid for process in process_tree(server.pid)} == before,
            "nothing of the new code was left",
        )
        lines = [line for line in deploys.log.splitlines() if "SyntaxError" in line]
        assert len(lines) == 1
        assert "the app failed to boot: SyntaxError" in lines[0]
        assert "app.rb:" in lines[0]

        deploys.write("new")
        deploys.reload()
        assert deploys.version() == "new"
        assert server.stop() == 0


def test_a_long_job_ends_on_the_old_code_and_one_that_does_not_goes_back(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("-c", "5", "--workers", "1", "-t", "6") as server:
        deploys.push(payload("a" * 24, "SleepJob", 4))
        deploys.push(payload("b" * 24, "SleepJob", 14))
        deploys.until(lambda: len(deploys.runs()) == 2, "they had started")
        deploys.write("new")
        deploys.reload()
        assert deploys.version() == "new"
        deploys.finish(server)
        assert server.stop() == 0

    runs = deploys.runs()
    assert [run.outcome for run in runs if run.jid == "a" * 24] == ["done"]
    first, second = (run for run in runs if run.jid == "b" * 24)
    assert (first.outcome, second.outcome) == ("fail", "done")
    assert first.pid != second.pid
    assert deploys.client.exists("retry", "dead") == 0


@pytest.mark.parametrize("when", ["Reloading", "Reloaded"])
def test_stopping_during_a_reload_is_prompt_and_loses_nothing(deploys: Deploys, when: str) -> None:
    deploys.write("old")
    deploys.push_sleepers(4000, seconds=(0.05,))
    deploys.push(long := payload("f" * 24, "SleepJob", 60))
    with deploys.start("-c", "10", "--workers", "1", "-t", "2") as server:
        deploys.until(lambda: deploys.processed() > 10, "it works")
        server.send_signal(signal.SIGUSR2)
        deploys.said(when)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0

    assert time.monotonic() - began < 2 + 5
    left = deploys.client.lrange("queue:default", 0, -1)
    done = sum(run.outcome == "done" for run in deploys.runs())
    assert long in left
    assert len(left) + done == 4001
    assert not deploys.client.keys("gokiq:*")


def ask(deploys: Deploys, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gokiq", "reload", *args],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(deploys.short)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_waits_for_the_outcome_and_tells_it(deploys: Deploys) -> None:
    nobody = ask(deploys)
    assert (nobody.returncode, nobody.stderr) == (
        1,
        "gokiq-fast: no gokiq-fast of this user runs here; name it with --pid\n",
    )
    deploys.write("old")
    with deploys.start("--workers", "1", env={"TMPDIR": str(deploys.short)}) as server:
        server.wait_ready()
        deploys.write("new")
        well = ask(deploys)
        assert (well.returncode, well.stderr) == (0, "")
        assert well.stdout == f"process {server.pid} runs the new code\n"
        assert deploys.version() == "new"

        deploys.app.write_text("raise 'too late'")
        badly = ask(deploys, "--pid", str(server.pid))
        assert (badly.returncode, badly.stdout) == (1, "")
        assert badly.stderr.count("\n") == 1
        assert "old code: the app failed to boot: RuntimeError: too late" in badly.stderr
        assert deploys.version() == "new"

        other = ask(deploys, "--pid", str(os.getpid()))
        assert other.returncode == 1
        assert "is no gokiq-fast that can reload" in other.stderr
        assert server.stop() == 0
    assert list(deploys.folder.glob("gokiq-*")) == []


def test_quiet_processes_do_not_reload(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("--workers", "1") as server:
        server.wait_ready()
        server.send_signal(signal.SIGTSTP)
        deploys.said("Quiet: ")
        server.send_signal(signal.SIGHUP)
        deploys.said("Reload ignored: quiet")
        assert server.stop() == 0
    assert "Reloading" not in deploys.log


def test_a_second_reload_follows_the_first(deploys: Deploys) -> None:
    deploys.write(1)
    with deploys.start("--workers", "1") as server:
        server.wait_ready()
        server.send_signal(signal.SIGUSR2)
        deploys.said("Reloading")
        server.send_signal(signal.SIGUSR2)
        deploys.said("Reload: it follows the one under way")
        deploys.write(2)
        deploys.said("Reloaded in", 2)
        assert deploys.version() == "2"
        assert server.stop() == 0


def test_queues_and_concurrency_may_change(deploys: Deploys) -> None:
    settings = "Sidekiq.configure_server {{ |c| c.queues = %w[{0}]; c.concurrency = {1}; {2} }}"
    capsule = 'c.capsule("mail") {{ |m| m.queues = %w[{0}]; m.concurrency = 1 }}'
    deploys.write("old", config=settings.format("default gone", 3, capsule.format("letters")))
    with deploys.start("--workers", "1", "-t", "20") as server:
        server.wait_ready()
        for jid, queue in (("a" * 24, "gone"), ("b" * 24, "letters")):
            deploys.push(payload(jid, "SleepJob", 4, queue=queue), queue)
        deploys.until(lambda: len(deploys.runs()) == 2, "they had started")
        deploys.write("new", config=settings.format("default added", 7, ""))
        deploys.reload()
        deploys.push(payload("c" * 24, "SleepJob", 0, queue="added"), "added")
        deploys.push(payload("d" * 24, "SleepJob", 0, queue="gone"), "gone")
        deploys.until(lambda: deploys.processed() == 3, "all but one were done")
        assert deploys.version() == "new"
        [key] = deploys.client.smembers("processes")
        deploys.until(
            lambda: deploys.client.hget(key, "concurrency") == b"7", "the record was of the new"
        )
        assert deploys.client.llen("queue:gone") == 1
        assert server.stop() == 0
    assert deploys.client.llen("queue:gone") == 1
    assert {run.outcome for run in deploys.runs()} == {"done"}
    assert not deploys.client.keys("gokiq:*")


def test_a_link_to_the_release_is_followed_anew(deploys: Deploys) -> None:
    current = deploys.folder / "current"
    for version in ("old", "new"):
        deploys.write(version)
        (deploys.folder / version).mkdir()
        deploys.app.rename(deploys.folder / version / "app.rb")
    current.symlink_to("old")
    deploys.server = GokiqFast(
        *("-r", "app.rb", "--workers", "1"),
        redis=deploys.redis,
        log=deploys.folder / "gokiq.log",
        env={
            "TEST_JOURNAL": str(deploys.journal),
            "PWD": str(current),
            "PYTHONPATH": str(ROOT),
        },
        cwd=current,
    )
    with deploys.server as server:
        server.wait_ready()
        assert deploys.version() == "old"
        current.unlink()
        server.send_signal(signal.SIGUSR2)
        deploys.said(f"Reload failed, the old code goes on: no such folder: {current}")
        current.symlink_to("new")
        deploys.reload()
        assert deploys.version() == "new"
        assert server.stop() == 0


def test_systemd_is_told_of_both_ends_of_every_reload(deploys: Deploys) -> None:
    deploys.write("old")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(deploys.folder / "notify"))
        systemd.setblocking(False)
        told: list[str] = []

        def heard(*expected: str) -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    told.append(systemd.recv(4096).decode())
            found = [text.split("=")[0] for text in told if not text.startswith("STATUS")]
            return found == list(expected)

        env = {"NOTIFY_SOCKET": str(deploys.folder / "notify")}
        with deploys.start("--workers", "1", env=env) as server:
            deploys.until(lambda: heard("READY"), "it was ready")
            began_us = time.monotonic_ns() // 1000
            deploys.reload(signal.SIGHUP)
            deploys.until(lambda: heard("READY", "RELOADING", "READY"), "it had reloaded")
            [at] = [re.search(r"MONOTONIC_USEC=(\d+)$", t) for t in told if "RELOADING=1" in t]
            assert at is not None
            assert began_us <= int(at.group(1)) <= time.monotonic_ns() // 1000

            deploys.app.write_text("raise 'no'")
            server.send_signal(signal.SIGHUP)
            names = ["READY"] + 2 * ["RELOADING", "READY"]
            deploys.until(lambda: heard(*names), "it had tried again")
            server.send_signal(signal.SIGTSTP)
            deploys.said("Quiet: ")
            server.send_signal(signal.SIGHUP)
            names += ["RELOADING", "READY"]
            deploys.until(lambda: heard(*names), "it had refused")
            assert server.stop() == 0
        assert heard(*names, "STOPPING")


def test_there_is_one_leader_while_both_are_there(deploys: Deploys) -> None:
    """With `--events one`; its successor's handlers wait until it is gone."""
    note = 'File.write("{0}", "{1} #{{VERSION}}\\n", mode: "a")'
    path = deploys.folder / "events"
    start, stop = (note.format(path, word) for word in ("start", "stop"))
    config = f"Sidekiq.configure_server {{ |c| c.on(:startup) {{ {start} }}; "
    config += f"c.on(:shutdown) {{ {stop} }} }}"
    deploys.write("old", config=config)
    with deploys.start("--workers", "2", "--events", "one") as server:
        deploys.push(payload("a" * 24, "SleepJob", 4))
        deploys.until(lambda: len(deploys.runs()) == 1, "the job had started")
        deploys.write("new", config=config)
        deploys.reload()
        deploys.until(lambda: "start new" in path.read_text(), "the new one leads")
        assert server.stop() == 0
    lines = path.read_text().splitlines()
    # A worker may lead for a moment before it hears that it is to leave as well.
    terms = [version for version in ("old", "new") for _ in range(lines.count(f"start {version}"))]
    assert lines == [f"{event} {version}" for version in terms for event in ("start", "stop")]
    assert {"old", "new"} == set(terms)


ON_TERMINAL = """
import os, sys
os.open(sys.argv[1], os.O_RDWR)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_hup_reloads_at_a_terminal_and_stops_when_it_is_closed(deploys: Deploys) -> None:
    deploys.write("old")
    ours, theirs = os.openpty()
    server = deploys.start("--workers", "1")
    server.argv = [sys.executable, "-c", ON_TERMINAL, os.ttyname(theirs), *server.argv]
    with server:
        server.wait_ready()
        os.close(theirs)
        deploys.write("new")
        deploys.reload(signal.SIGHUP)
        assert deploys.version() == "new"
        os.close(ours)
        assert server.wait(15) == 0
    assert not deploys.client.keys("gokiq:*")


def test_the_crashed_job_of_an_old_worker_runs_on_the_new_code(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("--workers", "1", "-t", "30") as server:
        deploys.push(payload("a" * 24, "SleepJob", 3))
        deploys.until(lambda: len(deploys.runs()) == 1, "the job had started")
        deploys.write("new")
        deploys.reload()
        os.kill(deploys.runs()[0].pid, signal.SIGKILL)
        deploys.finish(server)
        assert deploys.version() == "new"
        deploys.until(lambda: len(process_tree(server.pid)) == 3, "the old root had ended")
        assert server.stop() == 0
    assert [run.outcome for run in deploys.runs()] == [None, "done"]


def test_a_startup_handler_that_raises_is_a_failed_boot(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("--workers", "2") as server:
        server.wait_ready()
        handler = "Sidekiq.configure_server { |c| c.on(:startup) { raise 'not today' } }"
        deploys.write("new", config=handler)
        server.send_signal(signal.SIGUSR2)
        deploys.said("old code goes on: the app failed to boot: RuntimeError: a startup handler: ")
        assert deploys.version() == "old"
        deploys.until(lambda: len(process_tree(server.pid)) == 4, "the new root had ended")
        assert server.stop() == 0


def test_a_reload_that_is_asked_for_during_the_boot_follows_it(deploys: Deploys) -> None:
    deploys.write("old", config=f'sleep 0.02 until File.exist?("{deploys.folder}/go")')
    with deploys.start("--workers", "1") as server:
        deploys.said("booting the app")
        server.send_signal(signal.SIGUSR2)
        deploys.said("Reload: it follows the boot")
        deploys.write("new")
        (deploys.folder / "go").touch()
        deploys.said("Reloaded in")
        assert deploys.version() == "new"
        assert server.stop() == 0


def test_suspects_have_a_worker_of_the_new_code(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("-c", "5", "--workers", "1") as server:
        server.wait_ready()
        deploys.write("new")
        deploys.reload()
        deploys.push(payload("a" * 24, "KillJob"))
        deploys.until(lambda: deploys.client.zcard("dead") == 1, "the job was convicted")
        assert server.stop() == 0
    assert "runs alone" in deploys.log
    assert "No worker has come" not in deploys.log


def test_another_redis_wants_a_restart(deploys: Deploys) -> None:
    deploys.write("old")
    with deploys.start("--workers", "1") as server:
        server.wait_ready()
        other = 'Sidekiq.configure_server { |c| c.redis = {url: "redis://127.0.0.1:1/5"} }'
        deploys.write("new", config=other)
        server.send_signal(signal.SIGUSR2)
        deploys.said("the new code uses redis://127.0.0.1:1/5, we are at unix://")
        deploys.said("restart gokiq-fast to change it")
        assert deploys.version() == "old"
        assert server.stop() == 0
