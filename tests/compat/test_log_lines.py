"""The lines that jobs leave in the log are Sidekiq's, for those who parse them: the same jobs run
under both, and what the app has set for its log counts.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from devtools.gokiq import Server
from devtools.redis_server import RedisServer

from .harness import Stand, Version, assertion, not_applicable

pytestmark = pytest.mark.acceptance

#: What differs from run to run: clocks, processes, and the frames of a backtrace.
MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<time>"),
    (re.compile(r"(\bpid\"?[=:])\d+"), r"\1<pid>"),
    (re.compile(r"(\btid\"?[=:])\"?[0-9a-z]+\"?"), r"\1<tid>"),
    (re.compile(r"(\belapsed\"?[=:|])\d+(\.\d+)?"), r"\1<seconds>"),
    (re.compile(r"/[^\s\"]+:\d+:in `.+'"), "<frames>"),
)
#: Of these, `make test` has the first two.
STYLES = (
    *("default", "json", "plain", "own formatter", "own logger", "warn", "debug"),
    *("own job logger", "bare job logger", "no job logging", "attributes", "heroku"),
)


def jobs(stand: Stand) -> list[bytes]:
    """Every way in which a job's lines can look, all with jids that say what they are."""

    def job(name: str, *args: object, **fields: object) -> bytes:
        return stand.payload("TellingJob", *args, jid=f"job-{name}", **fields)

    wrapper = "Sidekiq::ActiveJob::Wrapper" if stand.version.is_8 else "NobodyKnowsJob"
    return [
        job("plain"),
        job("marked", tags=["a", "b"], bid="B-1", tenant="t 1"),
        job("shown", display_class="Shown"),
        job("debug", log_level="debug"),
        job("warn", log_level="warn"),
        job("fails", "no way", tags=["x"]),
        job("dies", "no way", retry=0),
        job("dropped", "no way", retry=False),
        job("quoted", 'say "no"\n\té'),
        job("wrong-arguments", 1, 2, 3),
        stand.payload(wrapper, jid="job-unknown", wrapped="Some::WrappedJob"),
    ]


@assertion(34, "the lines of jobs are Sidekiq's own, in the style that the app has set")
@pytest.mark.parametrize(
    "style", [s if s in STYLES[:2] else pytest.param(s, marks=pytest.mark.slow) for s in STYLES]
)
def test_the_lines_are_those_of_sidekiq(version: Version, tmp_path: Path, style: str) -> None:
    if style in {"plain", "attributes"} and not version.is_8:
        not_applicable("Sidekiq 7 has no such setting")
    heroku = {"DYNO": "web.1", "LOG_STYLE": "default"}
    env = heroku if style == "heroku" else {"LOG_STYLE": style}
    with ExitStack() as stack:
        servers: list[Server] = []
        stands: list[Stand] = []
        for name in ("sidekiq", "gokiq"):
            redis = stack.enter_context(RedisServer())
            stand = Stand(version, redis, tmp_path / name)
            start = stand.sidekiq if name == "sidekiq" else stand.gokiq
            stand.push(*jobs(stand), stand.payload("JournalJob", jid="job-last"))
            servers.append(stack.enter_context(start("-c", "1", app="logs.rb", env=env)))
            stands.append(stand)
        for stand, server in zip(stands, servers, strict=True):
            stand.wait(server, lambda s=stand: any(r.outcome for r in s.runs()), "the last had run")
        for server in servers:
            assert server.stop() == 0

    theirs, ours = (lines(server) for server in servers)
    assert ours == theirs
    # It is not nothing that is compared.
    assert sum("warning of job-plain" in line for line in theirs) == 1


def lines(server: Server) -> list[str]:
    """What the log says of jobs, in order. Every style names the job; of a backtrace only the first
    line does.
    """
    log = server.log.read_text(errors="replace").split("\n")
    return [masked(line) for line in log if "job-" in line]


def masked(line: str) -> str:
    for pattern, mask in MASKS:
        line = pattern.sub(mask, line)
    return line


def test_json_lines_are_json(stand: Stand) -> None:
    job = stand.payload("TellingJob", tags=["a"], bid="B")
    stand.push(job)
    with stand.gokiq("-c", "1", app="logs.rb", env={"LOG_STYLE": "json"}) as server:
        jid = json.loads(job)["jid"]
        stand.wait(server, lambda: '"msg":"done"' in server.log.read_text(), "it was done")
        log = server.log.read_text().splitlines()

    lines = [json.loads(line) for line in log if jid in line]
    assert [line["msg"] for line in lines] == [
        "start",
        f"info of {jid}",
        f"warning of {jid}",
        "done",
    ]
    for line in lines:
        assert set(line) == {"ts", "pid", "tid", "lvl", "msg", "ctx"}
        assert line["ctx"].items() >= {"class": "TellingJob", "bid": "B", "tags": ["a"]}.items()
    assert isinstance(lines[-1]["ctx"]["elapsed"], float)
