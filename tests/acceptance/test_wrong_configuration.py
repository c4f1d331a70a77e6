"""A value that cannot be used is named in one line with its file and key, and what is allowed; what
Sidekiq takes is taken, with a warning where it was hardly meant so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_server import RedisServer

from .test_errors import EMPTY, start, the_line

pytestmark = pytest.mark.acceptance

POSITIVE = "must be a whole number, 1 or more"


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("concurrency: 5\n\tqueues: [a]", "line 1, column 14: no valid YAML: found a tab"),
        ("queues: [<%= 1 %>", "no valid YAML, after ERB"),
        ("timeout: 5\ntag: <%= no_such %>", "line 2: its ERB raised NameError"),
        ("tag: <%= 5 + %>", "syntax error"),
        ("queues: [2026-01-31]", "Date: only plain values and symbols are allowed"),
        ("hello", '"hello": must be a mapping of keys to values'),
        ("- a", '["a"]: must be a mapping of keys to values'),
        ("development: 5", "development 5: must be a mapping"),
        ("concurrency: 0", f"concurrency 0: {POSITIVE}"),
        ("concurrency:", f"concurrency nil: {POSITIVE}"),
        (":concurrency: many", f'concurrency "many": {POSITIVE}'),
        ("concurrency: [5]", f"concurrency [5]: {POSITIVE}"),
        ("concurrency: '7'", f'concurrency "7": {POSITIVE}'),
        ("concurrency: 2.5", f"concurrency 2.5: {POSITIVE}"),
        ("development:\n  concurrency: -1", f"concurrency -1: {POSITIVE}"),
        ("timeout: soon", f'timeout "soon": {POSITIVE}'),
        ("capsules: [a]", 'capsules ["a"]: must be a mapping'),
        ("capsules:\n  x:", "capsules.x nil: must be a mapping with `queues` and `concurrency`"),
        ("capsules: {x: {queues: [a]}}", f"capsules.x.concurrency nil: {POSITIVE}"),
        ("capsules: {x: {concurrency: 0}}", f"capsules.x.concurrency 0: {POSITIVE}"),
        ("capsules: {x: {concurrency: '2'}}", f'capsules.x.concurrency "2": {POSITIVE}'),
        (
            "gokiq: {shared_thread_variables: pool}",
            'gokiq: shared_thread_variables "pool": must be a list of names',
        ),
    ],
    ids=lambda value: value if "must" not in value else "",
)
def test_a_wrong_value_in_the_file_is_named(tmp_path: Path, yaml: str, said: str) -> None:
    file = tmp_path / "sidekiq.yml"
    file.write_text(yaml)

    line = the_line(start("-r", EMPTY, "-C", str(file)))

    assert str(file) in line
    assert said in line


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("config.capsule('x') { |c| c.concurrency = nil }", "capsules.x.concurrency nil"),
        ("config.default_capsule.concurrency = 0", f"concurrency 0: {POSITIVE}"),
        ("config[:timeout] = nil", "timeout nil: must be a number"),
        ("config[:dead_max_jobs] = 'all'", 'dead_max_jobs "all": must be a number'),
        ("config.average_scheduled_poll_interval = 'x'", "average_scheduled_poll_interval"),
    ],
    ids=["capsule", "concurrency", "timeout", "dead_max_jobs", "interval"],
)
def test_a_wrong_value_set_in_ruby_is_named(tmp_path: Path, code: str, said: str) -> None:
    app = tmp_path / "app.rb"
    app.write_text(f'require "sidekiq"\nSidekiq.configure_server {{ |config| {code} }}\n')

    line = the_line(start("-r", str(app)))

    assert line.startswith("Sidekiq's configuration in Ruby: ")
    assert said in line


@pytest.mark.parametrize("value", ["many", "0", "-1", ""])
def test_a_wrong_rails_max_threads_is_named(value: str) -> None:
    line = the_line(start("-r", EMPTY, RAILS_MAX_THREADS=value))

    assert line == f'RAILS_MAX_THREADS "{value}": {POSITIVE}'


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"REDIS_URL": "nonsense"}, "REDIS_URL"),
        ({"REDIS_URL": "http://localhost:6379"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://local host:6379"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://127.0.0.1:99999"}, "99999"),
        ({"REDIS_PROVIDER": "redis://127.0.0.1:1"}, "REDIS_PROVIDER"),
        ({"REDIS_PROVIDER": "OURS", "OURS": "nonsense"}, "OURS"),
    ],
    ids=["no URL", "scheme", "blank", "port", "provider", "provider's"],
)
def test_a_wrong_address_of_redis_is_named(variables: dict[str, str], said: str) -> None:
    assert said in the_line(start("-r", EMPTY, **variables))


@pytest.mark.parametrize("code", ["", "Sidekiq.redis(&:ping)"], ids=["gokiq", "the app"])
def test_a_password_is_never_said_whoever_needs_the_address(tmp_path: Path, code: str) -> None:
    app = tmp_path / "app.rb"
    app.write_text(f'require "sidekiq"\n{code}\n')

    line = the_line(start("-r", str(app), REDIS_URL="redis://:hunter2@local host:6379"))

    assert "hunter2" not in line
    assert "local host" in line


YAML = """\
timeout: "9"
queues: [1, [2, many], [mid, -2], null, {critical: 3}, "low,1"]
capsules:
  idle:
    concurrency: 1
"""


def test_what_sidekiq_takes_is_taken_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "sidekiq.yml"
    file.write_text(YAML)
    log = tmp_path / "log"
    args = ["-r", EMPTY, "-C", str(file), "--workers", "1"]
    with RedisServer() as redis, GokiqFast(*args, redis=redis, log=log) as server:
        server.wait_ready()
        written = log.read_text()

    assert 'queues: the weight "many" of 2 must be a whole number, 0 or more' in written
    assert "queues: the weight -2 of mid must be a whole number, 0 or more" in written
    assert "queues: nil is a queue without a name" in written
    assert "is taken as a name; write [NAME, WEIGHT]" in written
    assert "capsule idle has no queues and runs no jobs" in written
    assert "Processing 1, 2, mid, , " in written
