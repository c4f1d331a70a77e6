"""A Redis that is full (`maxmemory`, `noeviction`): who lives keeps its lease, and nobody adopts
from the living.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq import reaper
from gokiq.app import RedisAddress
from gokiq.broker import OWNERS, Broker, Settlement, claims_key, lease_key
from gokiq.identity import new_identity
from gokiq.reaper import Reaper
from gokiq.redis_link import RedisLink

ME, PEER = "host:1:dddddddddddd", "host:2:eeeeeeeeeeee"
ABOUT = {"hostname": "elsewhere"}


@asynccontextmanager
async def owner(server: RedisServer, identity: str) -> AsyncIterator[Broker]:
    link = RedisLink(RedisAddress(path=str(server.socket)), name="x")
    try:
        yield Broker(link, link, identity=identity, queues=["a"], dead_max_jobs=9, dead_timeout_s=9)
    finally:
        await link.close()


class Idle:
    """A dispatcher that never loses its lease."""

    def __init__(self) -> None:
        self.lease_lost = asyncio.Event()

    def poke(self) -> None:
        """Nothing."""


def test_a_lease_is_renewed_while_redis_is_full(server: RedisServer, client: redis.Redis) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            await mine.renew(ABOUT)
            client.pexpire(lease_key(ME), 3000)
            client.config_set("maxmemory", 1)
            try:
                assert await mine.renew(ABOUT)
            finally:
                client.config_set("maxmemory", 0)
            assert client.pttl(lease_key(ME)) > 3000

    asyncio.run(scene())


def test_a_lease_that_has_run_out_is_taken_again_while_redis_is_full(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            await mine.renew(ABOUT)
            client.delete(lease_key(ME))
            client.config_set("maxmemory", 1)
            try:
                assert not await mine.renew(ABOUT), "it had run out, and that must be said"
                assert client.exists(lease_key(ME))
            finally:
                client.config_set("maxmemory", 0)

    asyncio.run(scene())


def test_a_changed_entry_of_the_register_is_written(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            await mine.renew(ABOUT)
            await mine.renew({"hostname": "moved"})
            assert b"moved" in client.hget(OWNERS, ME)

    asyncio.run(scene())


def test_who_starts_does_not_believe_at_once_that_a_lease_is_missing(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is back after an outage that was longer than a lease: the owners renew theirs now."""
    client.lpush("queue:a", "job")

    async def long_up(link: RedisLink) -> float:
        return 1e6

    monkeypatch.setattr(reaper, "uptime_s", long_up)
    monkeypatch.setattr(reaper, "SETTLE_IN_S", 1.0)
    monkeypatch.setattr(reaper, "ADOPT_S", 0.05)
    monkeypatch.setattr(reaper, "RENEW_S", 0.05)

    async def scene() -> None:
        async with owner(server, PEER) as peer, owner(server, ME) as mine:
            await peer.renew(ABOUT)
            await peer.settle_claim(Settlement(), [(1, [(0, 1)])])
            client.delete(lease_key(PEER))
            part = Reaper(mine, new_identity(), Idle())  # type: ignore[arg-type]
            await part.first()
            assert client.hlen(claims_key(PEER, "a")) == 1
            running = asyncio.create_task(part.run())
            async with asyncio.timeout(30):
                while client.hlen(claims_key(PEER, "a")):
                    await asyncio.sleep(0.01)
            running.cancel()
            assert client.llen("queue:a") == 1

    asyncio.run(scene())


def test_a_refused_renewal_is_tried_again_within_a_second(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            part = Reaper(mine, new_identity(), Idle())  # type: ignore[arg-type]
            await part.first()
            part._dispatcher.lease_lost.set()
            client.execute_command("ACL", "SETUSER", "default", "-pexpire")
            try:
                running = asyncio.create_task(part.run())
                async with asyncio.timeout(30):
                    while not part.fault:
                        await asyncio.sleep(0.01)
                assert "pexpire" in part.fault
            finally:
                client.execute_command("ACL", "SETUSER", "default", "+pexpire")
            client.delete(lease_key(ME))
            async with asyncio.timeout(reaper.RENEW_S):
                while part.fault:
                    await asyncio.sleep(0.01)
            assert client.exists(lease_key(ME))
            running.cancel()

    asyncio.run(scene())
