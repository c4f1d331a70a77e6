"""Owners of other versions on one Redis: what they have written is read as far as it goes, and no
claim is lost because of the rest.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.claiming import adoption as reaper
from gokiq.claiming.adoption import Reaper, Watch
from gokiq.commands import give_back
from gokiq.host.identity import new_identity
from gokiq.store.broker import LEASE_S, OWNERS, Broker, claims_key, lease_key
from gokiq.store.link import RedisLink

OTHER = "shop[1]*:4711:0ccb2d0f20bd"
NAMESAKE = "shop1x:4711:0ccb2d0f20bd"
QUEUES = ["default", "mail:eu"]
HERE = new_identity().about()

#: What another version may have written into the register.
ENTRIES = {
    "more than ours": json.dumps(
        {**HERE, "version": "9.0.0", "host": "away", "pid": 1 << 30, "queues": QUEUES, "shard": 3}
    ),
    "queues alone": json.dumps({"queues": QUEUES}),
    "other types": json.dumps({"queues": QUEUES, "pid": "4711", "start_ticks": None, "boot_id": 7}),
    "no queues": json.dumps({"version": "9.0.0", "routes": [["default", "default"]]}),
    "queues of another kind": json.dumps({"queues": {"default": 1}}),
    "queues that are no names": json.dumps({"queues": [1, None]}),
    "no object": json.dumps(["default"]),
    "no JSON": "v2 default mail:eu",
    "nothing": "",
}


class Idle:
    """A dispatcher and a lease with which nothing is wrong."""

    fault = ""

    def poke(self) -> None:
        """Nothing."""


def register(client: redis.Redis, entry: str) -> None:
    client.hset(OWNERS, OTHER, entry)
    for i, queue in enumerate(QUEUES):
        client.hset(claims_key(OTHER, queue), str(i), f'{{"jid":"{queue}"}}')
    client.hset(claims_key(NAMESAKE, "default"), "1", "{}")


def with_link(server: RedisServer, work: Callable[[RedisLink], Awaitable[object]]) -> None:
    async def scene() -> None:
        link = RedisLink(RedisAddress(path=str(server.socket)), name="x")
        try:
            await work(link)
        finally:
            await link.close()

    asyncio.run(scene())


async def look(link: RedisLink) -> None:
    """Looks of the reaper until it has looked for a lease's time."""
    broker = Broker(
        link, link, identity=new_identity().name, queues=["x"], dead_max_jobs=9, dead_timeout_s=9
    )
    part = Reaper(broker, Idle(), Idle())  # type: ignore[arg-type]
    part._watch = Watch(itertools.count(step=LEASE_S / 2).__next__)
    for _ in range(3):
        await part.look()


def assert_adopted(client: redis.Redis) -> None:
    for queue in QUEUES:
        assert client.lrange(f"queue:{queue}", 0, -1) == [f'{{"jid":"{queue}"}}'.encode()]
        assert not client.exists(claims_key(OTHER, queue))
    assert not client.hexists(OWNERS, OTHER)
    assert client.hlen(claims_key(NAMESAKE, "default")) == 1


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_the_claims_of_a_dead_owner_are_adopted_whatever_its_entry(
    server: RedisServer, client: redis.Redis, entry: str
) -> None:
    register(client, entry)

    with_link(server, look)

    assert_adopted(client)


@pytest.mark.parametrize("entry", [e for n, e in ENTRIES.items() if n != "more than ours"])
def test_an_owner_with_a_lease_is_left_alone_whatever_its_entry(
    server: RedisServer, client: redis.Redis, entry: str
) -> None:
    register(client, entry)
    client.set(lease_key(OTHER), "9.0.0", ex=30)

    with_link(server, look)

    assert [client.hlen(claims_key(OTHER, queue)) for queue in QUEUES] == [1, 1]
    assert client.hexists(OWNERS, OTHER)


def test_giving_back_reads_them_as_well(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(client, ENTRIES["no queues"])
    client.set(lease_key(NAMESAKE), "1", ex=30)
    client.hset(OWNERS, NAMESAKE, "{}")
    monkeypatch.setattr(reaper, "LEASE_S", 0.0)

    with_link(server, give_back._give_back)

    assert_adopted(client)
