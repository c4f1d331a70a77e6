"""Gems that limit and pause where Sidekiq fetches: what they were told holds here, or stops the
start.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.journal import Run, max_in_flight
from devtools.programs import ROOT
from devtools.redis_server import RedisServer
from tests.acceptance.stage import Stage, payload
from tests.acceptance.test_errors import NO_REDIS, start, the_line
from tests.acceptance.test_limits import SOON_S, operate, out, push, status, until

pytestmark = pytest.mark.acceptance

APP = str(Path(__file__).with_name("app") / "limiting_gems.rb")
PLAIN = Path(__file__).with_name("plain_app") / "app.rb"
PAUZER = ROOT / "sidecar" / "test" / "support" / "pauzer_shape.rb"
CONFIG = """
:queues: [default, narrow, held, kept]
:limits: {narrow: 2}
:process_limits: {kept: 1}
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


def of(stage: Stage, *names: str) -> list[Run]:
    return [run for run in stage.runs() if run.job_class in names]


def test_their_limits_and_pauses_hold_before_the_claim(stage: Stage) -> None:
    config = stage.folder / "sidekiq.yml"
    config.write_text(CONFIG)
    jobs = [
        payload(f"{name}{i:06x}", name, seconds)
        for name, seconds in (("OneJob", 0.05), ("OtherOneJob", 0.05), ("RateJob", 0.01))
        for i in range(10)
    ]
    stage.client.lpush("queue:default", *jobs)
    push(stage, "narrow", 30, seconds=0.1)
    push(stage, "held", 20)
    push(stage, "kept", 20)
    stage.client.sadd("sidekiq-pauzer", "held")
    stage.client.set("limit_fetch:pause:kept", 1)
    env = {"TEST_JOURNAL": str(stage.journal)}
    with ExitStack() as stack:
        args = ("-r", APP, "-C", str(config), "-c", "10", "--workers", "1", "-t", "1")
        first, _ = (
            stack.enter_context(
                GokiqFast(*args, redis=stage.redis, log=stage.folder / f"g{i}.log", env=env)
            )
            for i in range(2)
        )
        until(first, lambda: stage.processed() == 60, "all that are not paused have run")

        assert max_in_flight(of(stage, "OneJob", "OtherOneJob")) == 1
        assert max_in_flight(of(stage, "SleepJob")) == 2
        began = sorted(run.start_ms for run in of(stage, "RateJob"))
        assert all(b - a > 1900 for a, b in zip(began, began[4:], strict=False))
        seen = status(stage)
        assert seen["held"]["why"] == "paused by sidekiq-pauzer"
        assert seen["kept"]["why"] == "paused by sidekiq-limit_fetch"
        assert (out(stage, "held"), out(stage, "kept")) == (0, 0)
        assert stage.client.get("limit_fetch:limit:narrow") == b"2"

        stage.client.delete("limit_fetch:pause:kept")
        assert until(first, lambda: out(stage, "kept") == 2, "one runs in each process") < SOON_S
        until(
            first,
            lambda: status(stage)["kept"]["why"] == "limit queue:kept by sidekiq-limit_fetch",
            "who said it shows",
        )
        operate(stage, "limit", "kept", "3", "--per-process")
        assert until(first, lambda: out(stage, "kept") == 6, "operators count more") < SOON_S
        stage.client.srem("sidekiq-pauzer", "held")
        assert until(first, lambda: out(stage, "held") > 0, "it is paused no longer") < SOON_S


def test_a_gem_that_comes_with_new_code_is_obeyed_from_the_switch_on(stage: Stage) -> None:
    news = stage.folder / "news"
    (app := stage.folder / "app.rb").write_text(
        f"load {str(PLAIN)!r}\nrequire {str(PAUZER)!r} if File.exist?({str(news)!r})\n"
    )
    stage.client.sadd("sidekiq-pauzer", "default")
    env = {"TEST_JOURNAL": str(stage.journal)}
    args = ("-r", str(app), "-c", "2", "--workers", "1", "-t", "1")
    log = stage.folder / "log"
    with GokiqFast(*args, redis=stage.redis, log=log, env=env) as server:
        push(stage, "default", 3, seconds=0.01)
        until(server, lambda: stage.processed() == 3, "nobody has heard of the gem's key")

        news.touch()
        server.send_signal(signal.SIGUSR2)
        until(server, lambda: "Reloaded in" in log.read_text(), "the new code is there")
        push(stage, "default", 3, seconds=0.01)
        until(
            server,
            lambda: status(stage)["default"]["why"] == "paused by sidekiq-pauzer",
            "it is paused",
        )
        assert stage.processed() == 3
        stage.client.srem("sidekiq-pauzer", "default")
        assert until(server, lambda: stage.processed() == 6, "it is paused no longer") < SOON_S


GUARDED = """
require "sidekiq"
require "sidekiq/fetch"
module Night
  def queues_cmd = []
end
Sidekiq::BasicFetch.prepend(Night)
"""
KEYED = f"""
load {APP!r}
RateJob.sidekiq_throttle(concurrency: {{limit: 1}}, key_suffix: ->(id) {{ id }})
"""


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        (GUARDED, "Night", "Night in Sidekiq::BasicFetch: changes how Sidekiq fetches jobs"),
        (KEYED, "sidekiq-throttled", "RateJob has a key_suffix that depends on the job"),
    ],
    ids=["an unknown patch", "a limit for each key"],
)
def test_what_cannot_be_obeyed_stops_the_start_unless_it_is_ignored(
    tmp_path: Path, code: str, name: str, said: str
) -> None:
    (app := tmp_path / "app.rb").write_text(code)
    (config := tmp_path / "sidekiq.yml").write_text(f"gokiq:\n  ignore: [{name}]\n")

    line = the_line(start("-r", str(app), TEST_JOURNAL=str(tmp_path)))

    assert said in line
    assert f"gokiq: {{ ignore: [{name}] }}" in line

    ended = start("-r", str(app), "-C", str(config), TEST_JOURNAL=str(tmp_path))

    assert "Redis" in the_line(ended), f"nothing else is wrong with {NO_REDIS}"
    assert f"gokiq: ignored: {name}" in ended.stdout


def test_a_name_to_ignore_that_nothing_has(tmp_path: Path) -> None:
    (app := tmp_path / "app.rb").write_text(GUARDED)
    (config := tmp_path / "sidekiq.yml").write_text("gokiq:\n  ignore: [Nite]\n")

    line = the_line(start("-r", str(app), "-C", str(config)))

    assert line.startswith("gokiq: ignore: Nite: nothing here has that name")
    assert "Night" in line
