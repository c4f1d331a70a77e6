"""A Redis that is there and does not let us in, or is not there: the cause once, and what to do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from devtools.redis_server import RedisServer
from gokiq.errors import ConnectionLost
from gokiq.store.link import RedisLink
from gokiq.store.url import address_from_url

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        redis.client.config_set("requirepass", "s3cret")
        redis.client.execute_command("AUTH", "s3cret")
        yield redis


def why_not(url: str) -> tuple[str, str]:
    """What is raised, and the next step."""

    async def ping() -> tuple[str, str]:
        link = RedisLink(address_from_url(url), name="gokiq-test")
        try:
            with pytest.raises(ConnectionLost) as raised:
                await link.call("PING")
        finally:
            await link.close()
        return str(raised.value), raised.value.next_step("REDIS_URL")

    return asyncio.run(ping())


@pytest.mark.parametrize(
    ("secret", "db", "said", "step"),
    [
        ("", "0", "wants a password, and none is given", "correct the password in REDIS_URL"),
        (":wr0ng@", "0", "refuses the password", "correct user and password in REDIS_URL"),
        ("bob:s3cret@", "0", "refuses the password of user bob", "correct user and password in "),
        (":s3cret@", "99", "has no database 99", "correct the database's number in REDIS_URL"),
    ],
    ids=["no password", "wrong password", "no such user", "no such database"],
)
def test_who_is_turned_away_hears_why_and_what_to_do(
    guarded: RedisServer, secret: str, db: str, said: str, step: str
) -> None:
    text, next_step = why_not(f"unix://{secret}{guarded.socket}?db={db}")

    assert text.partition(": ")[0] == f"Redis at unix://{guarded.socket}?db={db} {said}"
    assert next_step.startswith(step)
    assert "s3cret" not in text + next_step


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("redis://127.0.0.1:1/0", "connection refused"),
        ("unix:///nowhere/redis.sock?db=0", "no such file or directory"),
    ],
)
def test_a_redis_that_is_not_there_is_named_once(url: str, cause: str) -> None:
    text, next_step = why_not(url)

    assert text == f"Redis at {url} does not answer: {cause}"
    assert next_step == "start Redis or correct REDIS_URL"


def test_a_database_that_is_not_there_is_named_where_no_password_is_wanted(
    server: RedisServer,
) -> None:
    text, next_step = why_not(f"unix://{server.socket}?db=99")

    assert text == f"Redis at unix://{server.socket}?db=99 has no database 99"
    assert next_step == "correct the database's number in REDIS_URL"


def test_commands_say_it_in_one_line_with_where_the_address_stands(guarded: RedisServer) -> None:
    env = {**os.environ, "REDIS_URL": f"unix://{guarded.socket}"}
    ended = subprocess.run(
        [sys.executable, "-m", "gokiq", "status"], env=env, capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        f"gokiq-fast: Redis at unix://{guarded.socket}?db=0 wants a password, and none is given; "
        "correct the password in REDIS_URL\n"
    )
