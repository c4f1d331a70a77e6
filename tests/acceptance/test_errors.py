"""What stops gokiq-fast from starting is said in one line on stderr, with exit code 1."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.programs import ROOT, find_program
from devtools.redis_server import RedisServer

pytestmark = pytest.mark.acceptance

APPS = Path(__file__).with_name("app")
EMPTY = str(APPS / "empty.rb")
RAISES = str(APPS / "raises.rb")
#: Nothing listens on this port.
NO_REDIS = "redis://127.0.0.1:1"


def start(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": "/usr/bin:/bin", "GOKIQ_RUBY": str(find_program("ruby")), **env}
    return subprocess.run(
        [sys.executable, "-m", "gokiq", *args],
        env={"REDIS_URL": NO_REDIS, **given},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )


def the_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that a start which failed wrote to stderr."""
    assert ended.returncode == 1, ended
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("gokiq-fast: ")
    assert "Traceback" not in ended.stdout
    return ended.stderr.removeprefix("gokiq-fast: ").rstrip()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--nonsense"], "--nonsense"),
        (["-c", "0", "-r", EMPTY], "-c 0: must be a whole number, 1 or more"),
        (["-c", "many", "-r", EMPTY], "-c many: must be a whole number, 1 or more"),
        (["-r", EMPTY, "-C", "/nowhere/sidekiq.yml"], "-C /nowhere/sidekiq.yml: no such file"),
        (["-r", "/nowhere/app.rb"], "-r /nowhere/app.rb: no such file"),
    ],
    ids=["wrong flag", "-c 0", "-c many", "no -C file", "no -r file"],
)
def test_a_bad_argument_is_named(args: list[str], said: str) -> None:
    assert said in the_line(start(*args))


def test_redis_that_cannot_be_reached_is_named() -> None:
    line = the_line(start("-r", EMPTY))

    assert "127.0.0.1:1" in line
    assert "Redis" in line


def test_an_app_that_raises_is_quoted_with_file_and_line() -> None:
    line = the_line(start("-r", RAISES))

    assert "the sun is too bright" in line
    assert f"{RAISES}:5" in line


def test_an_app_with_a_syntax_error_is_named_with_file_and_line(tmp_path: Path) -> None:
    app = tmp_path / "app.rb"
    app.write_text('require "sidekiq"\nclass Unfinished\n')

    line = the_line(start("-r", str(app)))

    assert f"{app}:2" in line or f"{app}:3" in line
    assert "syntax error" in line.lower()


def test_a_ruby_that_is_not_there_is_named() -> None:
    assert "/nonexistent/ruby" in the_line(start("-r", EMPTY, GOKIQ_RUBY="/nonexistent/ruby"))


def test_a_temporary_folder_with_too_long_a_path_is_said(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 90)
    folder.mkdir()

    line = the_line(start("-r", EMPTY, TMPDIR=str(folder)))

    assert "at most 90 are allowed; set TMPDIR to a folder with a shorter path" in line


def test_a_path_without_ruby_is_said(tmp_path: Path) -> None:
    line = the_line(start("-r", EMPTY, GOKIQ_RUBY="", PATH=str(tmp_path)))

    assert "ruby" in line


def test_the_version_is_no_error() -> None:
    ended = start("-V")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("gokiq ")


def test_how_a_worker_ended_is_told_in_the_log_in_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    args = ("-r", EMPTY, "--workers", "1")
    with RedisServer() as redis, GokiqFast(*args, redis=redis, log=log) as server:
        server.wait_ready()
        [worker] = [p for p in server.sidecar() if p.ppid != server.pid]
        os.kill(worker.pid, signal.SIGKILL)
        server.wait_until(
            lambda: f"Worker {worker.pid} was killed by SIGKILL" in log.read_text(),
            timeout_s=45,
            what="the log had said how it ended",
        )

    # The container would say it too, in JSON and at length.
    assert '"severity"' not in log.read_text()


def start_without_gems(folder: Path, *words: str) -> list[str]:
    """The lines on stderr, without warnings of a Bundler that is older or newer than RubyGems."""
    (folder / "app.rb").touch()
    gemfile = folder / "Gemfile"
    gemfile.write_text('source "https://rubygems.org"\ngem "no-such-gem-of-anybody"\n')
    ended = start(*words, "-r", str(folder / "app.rb"), BUNDLE_GEMFILE=str(gemfile))
    assert ended.returncode == 1, ended
    return [line for line in ended.stderr.splitlines() if ": warning: " not in line]


def test_gems_that_are_not_installed_are_one_line(tmp_path: Path) -> None:
    said = (
        "Bundler::GemNotFound: Could not find gem 'no-such-gem-of-anybody' in locally installed "
        "gems; run bundle install in the app's folder"
    )

    assert start_without_gems(tmp_path) == [f"gokiq-fast: the app failed to boot: {said}"]
    assert start_without_gems(tmp_path, "web") == [f"gokiq: {said}"]


def test_a_sidecar_that_is_not_there_is_waited_for_in_words(tmp_path: Path) -> None:
    log, path = tmp_path / "log", tmp_path / "nobody.sock"
    said = f"Waiting for a sidecar on {path}: there is no such socket; start one there, or correct"
    args = ("--sidecar", f"unix:{path}")
    with RedisServer() as redis, GokiqFast(*args, redis=redis, log=log) as server:
        server.wait_until(lambda: said in log.read_text(), timeout_s=30, what="it was said")
        assert server.stop() == 0
