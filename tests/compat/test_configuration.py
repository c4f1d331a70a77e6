"""Flags, configuration file, environment and initializers count (checklist 84 to 88)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from devtools.redis_server import RedisServer

from .harness import APPS, PATIENCE_S, Stand, assertion
from .life import said, wait_identity

pytestmark = pytest.mark.acceptance

APP = str(APPS / "app.rb")


def record(stand: Stand, *args: str, app: str | None = "app.rb", **rest: Any) -> dict[str, Any]:
    """`info` of a gokiq-fast that has been started with these arguments."""
    with stand.gokiq(*args, app=app, **rest) as server:
        identity = wait_identity(stand, server)
        found: dict[str, Any] = json.loads(stand.client.hget(identity, "info") or b"")
    return found


def run(stand: Stand, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a gokiq-fast that ends by itself."""
    given = {"REDIS_URL": stand.redis.url, "GOKIQ_RUBY": str(stand.version.ruby)}
    given["TEST_JOURNAL"] = str(stand.journal)
    ended = subprocess.run(
        [sys.executable, "-m", "gokiq", "--workers", "2", *args],
        env={**os.environ, **given, **(env or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    return ended.returncode, ended.stdout, ended.stderr


def refused(stand: Stand, *args: str, env: Mapping[str, str] | None = None) -> str:
    """The one line on stderr of a gokiq-fast that does not start, and ends with 1."""
    code, out, err = run(stand, *args, env=env)

    assert (code, "Traceback" in out) == (1, False), out + err
    [line] = err.splitlines()
    assert line.startswith("gokiq-fast: ")
    return line.removeprefix("gokiq-fast: ")


@assertion(84, "-V prints the version and ends with 0")
def test_the_version_is_printed(stand: Stand) -> None:
    code, out, err = run(stand, "-V")

    assert (code, err) == (0, "")
    assert out.startswith("gokiq ")


@assertion(84, "a bad flag, a missing -C file, -c 0, a startup handler that raises: 1, and why")
@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("-r", APP, "--nonsense"), "--nonsense"),
        (("-r", APP, "-C", "/nowhere.yml"), "-C /nowhere.yml: no such file"),
        (("-r", APP, "-c", "0"), "-c 0: must be a whole number, 1 or more"),
        (("-r", APP, "-c", "many"), "-c many: must be a whole number, 1 or more"),
        (("-r", APP, "-t", "0"), "-t 0: must be a whole number, 1 or more"),
        (("-r", "/nowhere"), "-r /nowhere: no such file or folder"),
        (("-r", str(APPS / "startup_fails.rb")), "no startup today"),
    ],
    ids=["flag", "-C", "-c 0", "-c many", "-t 0", "-r", "startup"],
)
def test_what_cannot_start_says_why(stand: Stand, args: tuple[str, ...], why: str) -> None:
    assert why in refused(stand, *args)
    assert stand.client.scard("processes") == 0


YAML = """\
---
:concurrency: <%= 2 + 2 %>
:timeout: 8
<%- %w[shop].each do |tag| -%>
:tag: <%= tag %>
<%- end -%>
labels: [blue, <%= ENV.fetch("COLOUR") %>]
:queues: &queues
  - [low, 2]
  - "mid,2"
  - top
  - [plain]
staging:
  :concurrency: 6
capsules:
  single:
    concurrency: 1
    :queues: [solo, other]
  shuffled:
    :concurrency: 2
    queues: [["x", 1], "y,1"]
  mapped:
    concurrency: 3
    queues:
      a: 3
      b: 1
  again:
    concurrency: 1
    queues: *queues
"""
LISTED = {"low": 2, "mid": 2, "top": 0, "plain": 0}
CAPSULES = {
    "default": {"concurrency": 6, "mode": "weighted", "weights": LISTED},
    "single": {"concurrency": 1, "mode": "strict", "weights": {"solo": 0, "other": 0}},
    "shuffled": {"concurrency": 2, "mode": "random", "weights": {"x": 1, "y": 1}},
    "mapped": {"concurrency": 3, "mode": "weighted", "weights": {"a": 3, "b": 1}},
    "again": {"concurrency": 1, "mode": "weighted", "weights": LISTED},
}
#: What Sidekiq's own parser makes of a command line.
PARSE = """
require "sidekiq/cli"
cli = Sidekiq::CLI.send(:new)
cli.config = Sidekiq::Config.new
ENV["COLOUR"] = "red"
cli.parse({args})
cli.config.capsules.transform_values {{ |capsule|
  {{concurrency: capsule.concurrency, mode: capsule.mode, weights: capsule.weights}}
}}
"""


@assertion(85, "ERB, symbol keys, the environment's section, [q, 2], 'q,2' and capsules count")
@pytest.mark.parametrize("name", ["-C", "config/sidekiq.yml", "config/sidekiq.yml.erb"])
def test_the_file_counts(stand: Stand, tmp_path: Path, name: str) -> None:
    file = tmp_path / ("other.yml" if name == "-C" else name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(YAML)
    args = ("-e", "staging", "-C", str(file)) if name == "-C" else ("-e", "staging")
    found = record(stand, *args, cwd=tmp_path, env={"COLOUR": "red"})

    assert found["capsules"] == CAPSULES
    assert list(found["capsules"]) == list(CAPSULES)
    assert found["tag"] == "shop"
    assert found["labels"] == ["blue", "red"]
    theirs = json.dumps(["-e", "staging", "-r", APP, "-C", str(file)])
    assert stand.ask(PARSE.format(args=theirs)) == CAPSULES


@assertion(85, "-q replaces the file's queues, other environments' sections are left out")
def test_flags_replace_what_the_file_says(stand: Stand, tmp_path: Path) -> None:
    file = tmp_path / "sidekiq.yml"
    file.write_text(YAML)
    args = ("-C", str(file), "-q", "one,2", "-q", "two,2", "-q", "one", "-g", "mine")
    found = record(stand, *args, env={"COLOUR": "red", "APP_ENV": "test"})

    expected = {"concurrency": 4, "mode": "weighted", "weights": {"one": 0, "two": 2}}
    assert found["capsules"]["default"] == expected
    assert found["tag"] == "mine"
    theirs = json.dumps(["-e", "test", "-r", APP, *args])
    assert stand.ask(PARSE.format(args=theirs))["default"] == expected


@assertion(86, "-c before the file, before RAILS_MAX_THREADS, before 5")
@pytest.mark.parametrize(
    ("flag", "line", "variable", "expected"),
    [
        ("3", "concurrency: 4", "6", 3),
        (None, "concurrency: 4", "6", 4),
        (None, "timeout: 4", "6", 6),
        (None, "timeout: 4", None, 5),
    ],
    ids=["-c", "file", "RAILS_MAX_THREADS", "default"],
)
def test_precedence(
    stand: Stand, tmp_path: Path, flag: str | None, line: str, variable: str | None, expected: int
) -> None:
    file = tmp_path / "sidekiq.yml"
    file.write_text(line)
    args = ("-C", str(file), *(("-c", flag) if flag else ()))
    found = record(stand, *args, env={"RAILS_MAX_THREADS": variable} if variable else {})

    assert found["concurrency"] == expected


@assertion(87, "what an initializer sets is in the record, over flags and file")
def test_an_initializer_has_the_last_word(stand: Stand) -> None:
    args = ("-c", "3", "-q", "ignored", "-g", "ignored")
    found = record(stand, *args, app="initialized.rb")

    assert found["capsules"] == {
        "default": {"concurrency": 9, "mode": "weighted", "weights": {"high": 2, "low": 0}},
        "unsafe": {"concurrency": 1, "mode": "strict", "weights": {"legacy": 0}},
    }
    assert found["concurrency"] == 10
    assert found["queues"] == ["high", "low", "legacy"]
    assert found["tag"] == "from Ruby"


@assertion(87, "retries, the dead set's size, poll interval, logger and handlers set in Ruby count")
def test_what_is_set_in_ruby_takes_effect(stand: Stand) -> None:
    jobs = [stand.payload("FailingJob", f"number {n}", queue="high") for n in range(5)]
    jids = {json.loads(job)["jid"] for job in jobs}
    later = stand.payload("JournalJob", queue="legacy", enqueued_at=None)
    stand.push(*jobs, queue="high")
    with stand.gokiq(app="initialized.rb") as server:
        stand.wait(server, lambda: stand.int("stat:failed") == 5, "all had failed")
        began = time.monotonic()
        stand.client.zadd("schedule", {later: 1.0})
        stand.wait(server, lambda: stand.int("stat:processed") == 6, "the due job had run")
        waited = time.monotonic() - began

    # No retries at all; the dead set keeps one less than its size.
    assert stand.client.zcard("retry") == 0
    assert stand.client.zcard("dead") == 2
    assert {note[1] for note in said(stand, "error")} == jids
    assert {note[1] for note in said(stand, "death")} == jids
    # Sidekiq's own interval is five seconds, and it looks once at its start.
    assert waited < 3
    log = (stand.journal / "log").read_text()
    assert (log.count(": start\n"), log.count(": fail\n"), log.count(": done\n")) == (6, 5, 1)


RAILS_APP = """\
require "rails"
require "sidekiq/rails"

class ShopApp < Rails::Application
  config.root = File.expand_path("..", __dir__)
  config.eager_load = false
  config.secret_key_base = "only for tests"
  config.logger = Logger.new($stdout, level: Logger::WARN)
  config.active_support.isolation_level = :fiber
  config.enable_reloading = false
end
"""


@assertion(85, "a Rails folder's own file and initializers count, from inside and by -r")
@pytest.mark.parametrize("inside", [True, False], ids=["in the folder", "-r FOLDER"])
def test_a_rails_folder(stand: Stand, tmp_path: Path, inside: bool) -> None:
    root = tmp_path / "shop"
    (root / "config" / "initializers").mkdir(parents=True)
    (root / "config" / "application.rb").write_text(RAILS_APP)
    boot = 'require_relative "application"\nRails.application.initialize!\n'
    (root / "config" / "environment.rb").write_text(boot)
    (root / "config" / "sidekiq.yml").write_text(":concurrency: 6\nqueues: [[a, 2], b]\n")
    (root / "config" / "initializers" / "sidekiq.rb").write_text(
        'Sidekiq.configure_server { |c| c.capsule("x") { |x| x.concurrency = 2 } }'
    )
    found = record(stand, app=None if inside else str(root), cwd=root if inside else tmp_path)

    assert found["capsules"] == {
        "default": {"concurrency": 6, "mode": "weighted", "weights": {"a": 2, "b": 0}},
        "x": {"concurrency": 2, "mode": "strict", "weights": {"default": 0}},
    }
    assert found["tag"] == "shop"


@pytest.fixture
def other() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@assertion(88, "REDIS_PROVIDER names the variable with the address")
def test_redis_provider_is_followed(stand: Stand, other: RedisServer) -> None:
    env = {"REDIS_PROVIDER": "OUR_REDIS", "OUR_REDIS": other.url}
    stand.push(job := stand.payload("JournalJob"))
    other.client.lpush("queue:default", stand.payload("JournalJob"))
    with stand.gokiq(env=env) as server:
        stand.wait(server, lambda: other.client.scard("processes"), "it had registered there")
        stand.wait(server, lambda: other.client.get("stat:processed") == b"1", "its job had run")

    assert stand.client.scard("processes") == 0
    assert stand.client.lrange("queue:default", 0, -1) == [job]


@assertion(88, "REDIS_PROVIDER with an address is refused")
def test_redis_provider_is_no_address(stand: Stand) -> None:
    line = refused(stand, "-r", APP, env={"REDIS_PROVIDER": stand.redis.url + ":1"})

    assert "REDIS_PROVIDER" in line
    assert "name of the variable" in line
