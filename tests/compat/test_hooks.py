"""What an app hangs into Sidekiq is called here as there: configuration blocks, middleware,
handlers, contexts, profiles (checklist 103 and what users build on).
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion
from .life import said, wait_identity, wait_quiet, wait_said

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def server(shared: Stand) -> Iterator[Server]:
    with shared.gokiq("-c", "30", app="hooks.rb") as server:
        server.wait_ready()
        yield server


def push(stand: Stand, job_class: str, *args: object, **fields: object) -> str:
    """Its jid."""
    job = stand.payload(job_class, *args, **fields)
    stand.push(job)
    return str(json.loads(job)["jid"])


@assertion(103, "Sidekiq.server? is true, configure_client blocks do not run")
def test_the_app_is_loaded_as_a_server(shared: Stand, server: Server) -> None:
    assert said(shared, "server?") == [["server?", True]]
    assert said(shared, "configure") == [["configure", "server"]]


@assertion(103, "jobs can ask Sidekiq::CLI.instance.launcher whether it is stopping")
def test_a_job_knows_its_process(shared: Stand, server: Server) -> None:
    identity = wait_identity(shared, server)
    jid = push(shared, "ProcessJob")
    known = wait_said(shared, server, "process", jid)[2:]
    assert known == [True, False, False, identity, "default", "default", "PONG"]


@assertion(103, "it says so when the process is quiet")
@pytest.mark.parametrize("lane", ["fiber", "thread"])
def test_a_job_sees_that_its_process_is_quiet(stand: Stand, lane: str) -> None:
    jid = push(stand, "UntilQuietJob")
    with stand.gokiq("-c", "2", "--lane", lane, app="hooks.rb") as server:
        wait_said(stand, server, "waits", jid)
        server.send_signal(signal.SIGTSTP)
        assert wait_said(stand, server, "quiet", jid)[2:] == [True, True]


@assertion(103, "a job can make its process quiet, and stop it")
def test_a_job_can_order_its_process_about(stand: Stand) -> None:
    stand.push(stand.payload("LauncherJob", "quiet"))
    with stand.gokiq("-c", "2", "--workers", "2", app="hooks.rb") as server:
        server.wait_ready()
        identity = wait_identity(stand, server)
        wait_quiet(stand, server, identity)
        assert stand.ask("Sidekiq::ProcessSet.new.map(&:stopping?)") == [True]
        assert stand.client.llen("queue:default") == 0

    with stand.gokiq("-c", "2", "--workers", "2", app="hooks.rb", name="again") as server:
        server.wait_ready()
        stand.push(stand.payload("LauncherJob", "stop"))
        assert server.wait(20) == 0
    assert stand.int("stat:processed") == 2


def test_server_middleware_runs_in_order_around_the_job(shared: Stand, server: Server) -> None:
    jid = push(shared, "ValueJob", "value", tags=["a"])
    wait_said(shared, server, "layer", jid, "outer", "left")
    context = {"jid": jid, "class": "ValueJob", "tags": ["a"]}
    left = ["left", said(shared, "layer", jid)[-1][4], True, "PONG"]

    assert [note for note in shared.said() if note[1] == jid] == [
        ["layer", jid, "outer", "in", "ValueJob", "default", context],
        ["layer", jid, "inner", "in", "ValueJob", "default", context],
        ["performed", jid, "value"],
        ["layer", jid, "inner", "out"],
        ["layer", jid, "inner", *left],
        ["layer", jid, "outer", "out"],
        ["layer", jid, "outer", *left],
    ]


def test_middleware_that_does_not_yield_ends_the_job_well(shared: Stand, server: Server) -> None:
    jid = push(shared, "ValueJob", "never", layer="stop inner")
    wait_said(shared, server, "layer", jid, "outer", "left")
    shared.wait(server, lambda: not shared.client.keys("gokiq:claims:*"), "it was settled")
    assert said(shared, "performed", jid) == []
    assert said(shared, "error 3", jid) == []
    assert jid.encode() not in b"".join(shared.client.zrange("retry", 0, -1))


def test_client_middleware_runs_for_what_a_job_pushes(shared: Stand, server: Server) -> None:
    wait_said(shared, server, "parent", push(shared, "ParentJob"))
    for value in ("alone", "bulk 1", "bulk 2"):
        shared.wait(
            server, lambda value=value: value in performed(shared), f"{value} was performed"
        )
    assert not performed(shared) & {"stop inner", "stop outer", "later", "elsewhere"}

    [later] = [job for job, _ in shared.members("schedule") if job["args"] == ["later"]]
    [elsewhere] = map(json.loads, shared.client.lrange("queue:unread", 0, -1))
    for job in (later, elsewhere):
        assert job["stamps"] == ["outer", "inner"]
        passed = [note[2:] for note in said(shared, "stamp", job["jid"])]
        assert passed == [[name, "ValueJob", job["queue"]] for name in ("outer", "inner")]


def performed(stand: Stand) -> set[object]:
    return {note[2] for note in said(stand, "performed")}


def test_every_error_handler_is_called_once_for_an_error(shared: Stand, server: Server) -> None:
    jid = push(shared, "FailingJob", "handled")
    wait_said(shared, server, "error 3", jid)
    arity_2 = 1 if shared.version.is_8 else 2
    shared.wait(server, lambda: len(said(shared, "error 2", jid)) == arity_2, "all had been called")

    assert [note[:4] for note in said(shared, "error 3", jid)] == [
        ["error 3", jid, "handled", "Job raised exception"]
    ]
    # By then the job's context is gone; the configuration is the process's or the capsule's.
    assert said(shared, "error 3", jid)[0][5] == {}
    assert said(shared, "error 3", jid)[0][4] in {"Sidekiq::Config", "Sidekiq::Capsule"}
    assert "a handler of errors fails" in server.log.read_text()


def test_every_death_handler_is_called_once_in_the_context_of_its_job(
    shared: Stand, server: Server
) -> None:
    jid = push(shared, "ContextFailingJob", "dies", retry=0)
    wait_said(shared, server, "error 3", jid, "dies")

    context = {"jid": jid, "class": "ContextFailingJob"}
    assert said(shared, "exhausted", jid) == [["exhausted", jid, context]]
    one, three = said(shared, "death", jid)
    assert (one[2:4], three[2:]) == (["dies", 1], ["dies", 3])
    assert one[4]["jid"] == jid
    broken = said(shared, "error 3", jid, "a handler of deaths fails")
    assert [note[3] for note in broken] == ["Error calling death handler"]


def test_a_context_belongs_to_its_job_alone(shared: Stand, server: Server) -> None:
    jids = [push(shared, "ContextJob", index) for index in range(60)]
    for index, jid in enumerate(jids):
        context = {"jid": jid, "class": "ContextJob", "index": index}
        note = wait_said(shared, server, "context after", jid)
        assert note[2] == context
        [found] = said(shared, "context", jid)
        assert found[2:] == [context, {**context, "inner": index}]


@pytest.mark.parametrize("lane", ["fiber", "thread"])
def test_an_error_made_of_a_shutdown_is_no_failure(stand: Stand, lane: str) -> None:
    job = stand.payload("TranslatingJob")
    jid = json.loads(job)["jid"]
    stand.push(job)
    with stand.gokiq("-c", "1", "-t", "1", "--lane", lane, app="hooks.rb") as server:
        wait_said(stand, server, "translates", jid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0

    assert said(stand, "right", jid) == [["right", jid, "Sidekiq::Shutdown"]]
    assert said(stand, "wrong", jid) == []
    assert said(stand, "error 3") == []
    assert stand.client.lrange("queue:default", 0, -1) == [job]
    assert stand.client.zcard("retry") == 0


def test_a_profiled_job_leaves_its_profile(shared: Stand, server: Server) -> None:
    folder = Path(tempfile.gettempdir())
    jid = push(shared, "SleepJob", 0.05, profile="tok", profiler_options={"mode": "cpu", "x": 1})
    shared.wait(server, lambda: any(run.jid == jid for run in shared.runs()), "it had run")
    key = f"tok-{jid}"
    if not shared.version.is_8:
        # Sidekiq 7 does not know the field.
        shared.wait(server, lambda: not shared.client.keys("gokiq:claims:*"), "it was settled")
        assert not shared.client.exists("profiles", key)
        return

    shared.wait(server, lambda: shared.client.exists(key), "its profile was there")
    record = {name.decode(): value for name, value in shared.client.hgetall(key).items()}
    assert json.loads(zlib.decompress(record["data"], wbits=31)) == {"mode": "cpu", "x": 1}
    assert int(record["size"]) == len(record["data"])
    assert (record["token"], record["type"]) == (b"tok", b"SleepJob")
    assert record["jid"] == jid.encode()
    assert abs(int(record["started_at"]) - time.time()) < 60
    assert 0.05 <= float(record["elapsed"]) < 5
    assert record["filename"].startswith(f"{folder}/tok-SleepJob-{jid}-".encode())
    assert record["filename"].endswith(b".json.gz")
    assert not Path(record["filename"].decode()).exists()
    assert 86_000 < shared.client.ttl(key) <= 86_400
    assert abs(shared.client.zscore("profiles", key) - time.time() - 86_400) < 60
    assert shared.ask("Sidekiq::ProfileSet.new.map(&:jid)") == [jid]


def test_a_profiled_job_that_fails_leaves_none(shared: Stand, server: Server) -> None:
    jid = push(shared, "FailingJob", "profiled", profile="tok")
    wait_said(shared, server, "error 3", jid)
    assert not shared.client.exists(f"tok-{jid}")
    assert not list(Path(tempfile.gettempdir()).glob(f"tok-FailingJob-{jid}-*"))
