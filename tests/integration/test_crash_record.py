"""The record of crashes stays small enough to be read every few seconds."""

from __future__ import annotations

import asyncio

import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.store.broker import CRASHES, Broker
from gokiq.store.link import RedisLink

MOST = 10_000


def test_jobs_of_one_crash_make_room_for_new_ones_and_suspects_stay(
    server: RedisServer, client: redis.Redis
) -> None:
    suspects = [f"suspect-{i}" for i in range(20)]

    async def scene() -> None:
        link = RedisLink(RedisAddress(path=str(server.socket)), name="x")
        broker = Broker(link, link, identity="x", queues=[], dead_max_jobs=9, dead_timeout_s=9)
        for _ in range(2):
            await broker.note_crash(suspects, alone=False)
        for crash in range(60):
            noted = await broker.note_crash([f"{crash}-{i}" for i in range(250)], alone=False)
            assert [record.crashes for record in noted] == [1] * 250
        await link.close()

    asyncio.run(scene())

    assert MOST / 2 < client.hlen(CRASHES) <= MOST
    assert all(client.hmget(CRASHES, suspects))
    assert all(client.hmget(CRASHES, [f"59-{i}" for i in range(250)]))


def test_jobs_of_one_jid_that_died_together_were_in_one_crash(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> None:
        link = RedisLink(RedisAddress(path=str(server.socket)), name="x")
        broker = Broker(link, link, identity="x", queues=[], dead_max_jobs=9, dead_timeout_s=9)
        for crash in (1, 2):
            noted = await broker.note_crash(["twin", "other", *["twin"] * 11], alone=False)
            assert [record.crashes for record in noted] == [crash] * 13
        await link.close()

    asyncio.run(scene())

    assert client.hget(CRASHES, "twin").startswith(b"2 0 ")
