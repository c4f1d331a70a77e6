"""Jobs that end well: what they are given, what the log says (checklist 30 to 35 and 98)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion
from .life import said, wait_said

pytestmark = pytest.mark.acceptance

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: The app's classes, as a process knows them that only pushes jobs.
CLIENT = """
    require "active_job"
    require "active_support/current_attributes"
    require "sidekiq/middleware/current_attributes"
    require "sidekiq/middleware/i18n"
    ActiveJob::Base.queue_adapter = :sidekiq
    ActiveJob::Base.logger = nil
    I18n.available_locales = %i[en de fr]
    class Current < ActiveSupport::CurrentAttributes
        attribute :user
    end
    class ProvidedJob < ActiveJob::Base; end
    class RetryOnJob < ActiveJob::Base; end
    Sidekiq::CurrentAttributes.persist("Current")
    nil
"""


@pytest.fixture(scope="module")
def server(shared: Stand) -> Iterator[Server]:
    with shared.gokiq("-c", "30", app="success.rb") as server:
        server.wait_ready()
        yield server


def push(stand: Stand, job_class: str, *args: object, **fields: object) -> str:
    """Its jid."""
    job = stand.payload(job_class, *args, **fields)
    stand.push(job)
    return str(json.loads(job)["jid"])


def log_of(server: Server, text: str) -> list[str]:
    """The lines of the log that have `text` in them, without colours."""
    lines = _COLOUR.sub("", server.log.read_text(errors="replace")).split("\n")
    return [line for line in lines if text in line]


@assertion(30, "perform is given integers of any size and floats as they were pushed")
def test_arguments_come_as_they_are(shared: Stand, server: Server) -> None:
    numbers = [2**64 + 1, -(2**200), 0.1, 1e-7, 1.0, -0.0, 1e20, 2**53 + 1]
    jid = push(shared, "ArgumentsJob", *numbers, "é\u2028", None, {"a": [True]})
    shown = wait_said(shared, server, "arguments", jid)[2]

    expected = shared.ask(f"JSON.parse({json.dumps(json.dumps(numbers))}).inspect[1..-2]")
    assert str(2**64 + 1) in expected
    assert shown.startswith(f"[{expected}, ")
    assert shown.endswith('{"a"=>[true]}]')


@assertion(31, "args: null and no args: perform without arguments")
def test_no_arguments(shared: Stand, server: Server) -> None:
    null = shared.payload("NoArgumentsJob").replace(b'"args":[]', b'"args":null')
    missing = shared.payload("NoArgumentsJob", args=None)
    assert b"null" in null
    shared.push(null, missing)
    for job in (null, missing):
        assert wait_said(shared, server, "arguments", json.loads(job)["jid"])[2] == "none"


@assertion(32, "the job knows its jid, whatever it is")
def test_jid(shared: Stand, server: Server) -> None:
    for jid in ("0123456789abcdef01234567", "order/17 é"):
        push(shared, "NoArgumentsJob", jid=jid)
        wait_said(shared, server, "arguments", jid)


@assertion(32, "an ActiveJob's provider_job_id is the jid")
def test_provider_job_id(shared: Stand, server: Server) -> None:
    shared.ask(CLIENT)
    jid, job_id = shared.ask(
        'job = ProvidedJob.perform_later("é"); [job.provider_job_id, job.job_id]'
    )
    assert wait_said(shared, server, "provided", jid) == ["provided", jid, job_id, "é", 1]


@assertion(33, 'log_level: "debug" is for that job alone, whatever runs beside it')
def test_log_level_of_a_job(shared: Stand, server: Server) -> None:
    levels: list[object] = ["debug", None] * 8 + ["warn", 0]
    jids = [push(shared, "LoggingJob", log_level=level) for level in levels]
    for jid in jids:
        wait_said(shared, server, "logged", jid)
    shared.wait(
        server,
        lambda: all(
            log_of(server, f"jid={jid}") for jid in jids if levels[jids.index(jid)] != "warn"
        ),
        "all had logged",
    )

    for jid, level in zip(jids, levels, strict=True):
        debug, info = (len(log_of(server, f"by {jid} at {name}")) for name in ("debug", "info"))
        assert debug == (2 if level in ("debug", 0) else 0), level
        assert info == (0 if level == "warn" else 1), level


@assertion(34, "the log has start and done of a job, with jid, class and elapsed seconds")
def test_job_lines(shared: Stand, server: Server) -> None:
    jid = push(shared, "SleepJob", 0.1, tags=["a", "b"], bid="B1")
    shared.wait(server, lambda: len(log_of(server, f"jid={jid}")) == 2, "both lines were there")

    names = ("jid", "class") if shared.version.is_8 else ("class", "jid")
    values = {"jid": jid, "class": "SleepJob"}
    job = " ".join(f"{name}={values[name]}" for name in names) + " bid=B1 tags=a,b"
    clock = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    process = r"pid=\d+ tid=[0-9a-z]+"
    start, done = log_of(server, f"jid={jid}")
    if shared.version.is_8:
        assert re.fullmatch(rf"INFO  {clock} {process} {job}: start", start)
        found = re.fullmatch(rf"INFO  {clock} {process} {job} elapsed=(\d\.\d{{1,3}}): done", done)
    else:
        assert re.fullmatch(rf"{clock} {process} {job} INFO: start", start)
        found = re.fullmatch(rf"{clock} {process} {job} elapsed=(\d\.\d{{1,3}}) INFO: done", done)
    assert found
    assert 0.1 <= float(found[1]) < 3


@assertion(34, "an ActiveJob's class is its own")
def test_job_lines_of_active_job(shared: Stand, server: Server) -> None:
    shared.ask(CLIENT)
    jid = shared.ask('ProvidedJob.perform_later("x").provider_job_id')
    shared.wait(server, lambda: len(log_of(server, f"jid={jid}")) == 2, "both lines were there")
    assert all(" class=ProvidedJob" in line for line in log_of(server, f"jid={jid}"))


@assertion(35, "attributes and locale are inside perform what they were where it was pushed")
def test_attributes_and_locale(shared: Stand, server: Server) -> None:
    shared.ask(CLIENT)
    locales = ("de", "fr", "en")
    jids = shared.ask(
        """
        40.times.map do |index|
            Current.set(user: "user #{index}") do
                I18n.with_locale(%i[de fr en][index % 3]) do
                    args = [0.05 * (index % 4), *(true if index < 6)]
                    Sidekiq::Client.push("class" => "SurroundedJob", "args" => args)
                end
            end
        end
        """
    )
    bare = push(shared, "SurroundedJob", 0.05)
    for index, jid in enumerate(jids):
        surroundings = [f"user {index}", locales[index % 3]]
        note = wait_said(shared, server, "surrounded", jid)
        assert note[2:] == [surroundings, surroundings]
    assert wait_said(shared, server, "surrounded", bare)[2:] == [[None, "en"], [None, "en"]]

    # What a job pushes is surrounded as the job was.
    shared.wait(server, lambda: len(said(shared, "surrounded")) == 40 + 1 + 6, "all had run")
    children = [n for n in said(shared, "surrounded") if n[1] not in {*jids, bare}]
    found = sorted((note[2] for note in children), key=str)
    assert found == [[f"user {index}", locales[index % 3]] for index in range(6)]


@assertion(98, "ActiveJob's retry_on: a new jid in schedule, a success for Sidekiq")
def test_retry_on_is_a_success(shared: Stand, server: Server) -> None:
    shared.ask(CLIENT)
    stats = "s = Sidekiq::Stats.new; [s.processed, s.failed]"
    shared.wait(server, lambda: shared.client.llen("queue:default") == 0, "all had been taken")
    processed, failed = _settled(shared, server, stats)
    jid, job_id = shared.ask(
        'job = RetryOnJob.perform_later("retry on"); [job.provider_job_id, job.job_id]'
    )
    discarded = shared.ask('RetryOnJob.perform_later("discard on").provider_job_id')
    assert wait_said(shared, server, "tried", jid) == ["tried", jid, job_id, 1]
    wait_said(shared, server, "tried", discarded)

    job, _ = shared.wait_job(server, "schedule")
    assert job["jid"] != jid
    assert job["wrapped"] == "RetryOnJob"
    assert (job["args"][0]["job_id"], job["args"][0]["executions"]) == (job_id, 1)
    shared.wait(server, lambda: shared.ask(stats)[0] == processed + 2, "both were counted")
    assert shared.ask(stats)[1] == failed
    assert (shared.client.zcard("retry"), shared.client.zcard("dead")) == (0, 0)


def _settled(stand: Stand, server: Server, stats: str) -> list[int]:
    """The counters when nothing runs any more."""
    stand.wait(server, lambda: not stand.client.keys("gokiq:claims:*"), "nothing ran")
    found: list[int] = stand.ask(stats)
    return found
