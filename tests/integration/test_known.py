"""Commands know what exists: a name that nobody has is refused, with what may have been meant."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.store.broker import OWNERS, lease_key
from gokiq.store.link import RedisLink
from gokiq.store.operators import ASKED, LIMITS, PAUSED, Control

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str]]

SIDEKIQ = "web-1:77:0ccb2d0f20bd"
GOKIQ = "jobs-1:78:0ccb2d0f20be"


def gokiq(server: RedisServer, *words: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "gokiq", *words, "--redis", server.url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def add_sidekiq(client: redis.Redis, *queues: str) -> None:
    """The record of a real Sidekiq, with a job of the first queue at work."""
    client.sadd("processes", SIDEKIQ)
    record = {"info": json.dumps({"queues": queues}), "beat": time.time()}
    client.hset(SIDEKIQ, mapping=record)
    client.hset(f"{SIDEKIQ}:work", "tid", json.dumps({"queue": queues[0], "payload": "{}"}))


@pytest.fixture
def answering(server: RedisServer, client: redis.Redis) -> Run:
    """A gokiq process that answers once for each command that is run with it."""
    client.hset(OWNERS, GOKIQ, "{}")
    client.set(lease_key(GOKIQ), "1")
    state = {"running": 0, "limit": 4, "why": "", "per_s": 0.0}
    names = {"capsule": ["default"], "class": ["ImportJob"], "dependency": ["billing-api"]}
    names["tribe"] = ["of a later version"]
    status = {"slots": 5, "claimed": 0, "workers": 1, "queues": {"mailers": state}, "names": names}

    def run(*words: str) -> tuple[int, str]:
        async def both() -> tuple[int, str]:
            link = RedisLink(RedisAddress(path=str(server.socket)), name="gokiq-test")
            control = Control(link)
            command = asyncio.create_task(asyncio.to_thread(gokiq, server, *words))
            while not command.done():
                if word := client.get(ASKED):
                    assert isinstance(word, bytes)
                    await control.answer(GOKIQ, word.decode(), status)
                await asyncio.sleep(0.01)
            await link.close()
            return await command

        client.delete(ASKED)
        return asyncio.run(both())

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "mailer"), "pause mailer: nobody knows a queue of that name; did you mean mai"),
        (
            ("resume", "mailer"),
            "resume mailer: nobody knows a queue of that name; did you mean mai",
        ),
        (
            ("limit", "InportJob", "10"),
            "nobody knows a class of that name; did you mean ImportJob?",
        ),
        (("limit", "Mailers", "10"), "did you mean queue:mailers? --force does it all the same"),
        (("limit", "dependency:biling-api", "1"), "did you mean billing-api?"),
        (("limit", "Xyz", "1"), "a class of that name; --force does it all the same"),
        (("limit", "mailer"), "did you mean mailers?"),
        (("pause", ""), "pause: a queue has a name; gokiq-fast status shows them"),
        (("pause", "mailers", ""), "pause: a queue has a name"),
    ],
)
def test_what_does_not_exist_is_refused(
    answering: Run, client: redis.Redis, words: tuple[str, ...], said: str
) -> None:
    code, told = answering(*words)

    assert (code, told.count("\n")) == (1, 1), told
    assert said in told
    assert not client.exists(PAUSED, LIMITS)


def test_what_exists_is_set_and_shown_and_what_does_not_with_force(
    answering: Run, client: redis.Redis
) -> None:
    run = answering
    assert run("pause") == (0, "no queue is paused\n")
    assert run("pause", "mailers") == (0, "mailers: paused\n")
    assert run("pause", "later", "--force")[0] == 0
    assert run("pause") == (0, "later: paused\nmailers: paused\n")
    assert run("limit", "ImportJob", "3")[0] == 0
    assert run("limit", "NewJob", "3", "--force")[0] == 0
    assert run("limit", "NewJob") == (
        0,
        "class:NewJob: at most 3 at once in all processes together\n",
    )
    code, told = run("limit", "mailers")
    assert (code, told.splitlines()) == (
        0,
        [
            "queue:mailers: nothing is set; the app's configuration counts",
            f"queue:mailers: at most 4 at once in {GOKIQ} as things are",
        ],
    )
    client.lpush("queue:mailers", json.dumps({"class": "LazyJob", "jid": "1", "args": []}))
    assert run("limit", "LazyJob", "3")[0] == 0
    _, table = run("status")
    assert [line.split()[-1] for line in table.splitlines() if line.startswith("later")] == [
        "paused"
    ]


def test_beside_a_real_sidekiq_it_is_told_what_does_not_bind_it(
    server: RedisServer, client: redis.Redis
) -> None:
    add_sidekiq(client, "mailers", "default")
    client.lpush("queue:mailers", "{}")
    client.lpush("queue:other", "{}")
    client.sadd("queues", "mailers", "other")

    code, told = gokiq(server, "status", "--json")
    lines = {line["queue"]: line for line in json.loads(told)["queues"]}
    assert code == 0
    assert lines["mailers"]["why"] == "Sidekiq runs it"
    assert (lines["mailers"]["running"], lines["mailers"]["sidekiqs"]) == (1, 1)
    assert lines["other"]["why"] == "no process reads it"

    code, told = gokiq(server, "pause", "mailers")
    beside = f"mailers: Sidekiq reads it ({SIDEKIQ}) too, and goes on unless it is Sidekiq Pro"
    assert (code, told) == (0, f"mailers: paused\n{beside}\n")
    _, told = gokiq(server, "status")
    assert "paused, Sidekiq without Pro goes on" in told
    assert f"Sidekiq runs beside: {SIDEKIQ}; limits of gokiq do not bind it" in told
    code, told = gokiq(server, "limit", "mailers", "3")
    assert told.endswith(f"Sidekiq reads it ({SIDEKIQ}) too, and heeds no limit of gokiq\n")


def test_status_says_which_redis_it_asked_and_that_nobody_is_there(
    server: RedisServer, client: redis.Redis
) -> None:
    code, told = gokiq(server, "status")

    assert code == 0
    assert told.endswith(
        f"Redis at unix://{server.socket}?db=0\n"
        "no gokiq-fast is there; is it the app's Redis? --redis URL asks another one\n"
    )


def test_the_record_that_a_dead_process_leaves_is_no_sidekiq(
    server: RedisServer, client: redis.Redis
) -> None:
    client.sadd("processes", GOKIQ)
    record = {"info": json.dumps({"queues": ["mailers"]}), "beat": time.time() - 30}
    client.hset(GOKIQ, mapping=record)
    client.sadd("queues", "mailers")

    _, said = gokiq(server, "status")

    assert "Sidekiq" not in said
    assert "0 processes with 0 workers" in said
