"""A Redis that is full (`maxmemory`, `noeviction`): who lives keeps its lease, and nobody adopts
from the living.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.claiming import lease
from gokiq.claiming.lease import Lease
from gokiq.host.identity import new_identity
from gokiq.store.broker import LEASES, OWNERS, Broker, lease_key
from gokiq.store.link import RedisLink

ME = "host:1:dddddddddddd"
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

    def audit(self) -> None:
        """Nothing."""


def test_a_lease_is_renewed_while_redis_is_full(server: RedisServer, client: redis.Redis) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            await mine.renew(ABOUT)
            client.pexpire(lease_key(ME), 3000)
            before = client.hget(LEASES, ME)
            client.config_set("maxmemory", 1)
            try:
                assert await mine.renew(ABOUT)
            finally:
                client.config_set("maxmemory", 0)
            assert client.pttl(lease_key(ME)) > 3000
            assert client.hget(LEASES, ME) > before

    asyncio.run(scene())


def test_a_lease_that_has_run_out_is_taken_again_while_redis_is_full(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            await mine.renew(ABOUT)
            client.delete(lease_key(ME), LEASES)
            client.config_set("maxmemory", 1)
            try:
                assert not await mine.renew(ABOUT), "it had run out, and that must be said"
                assert client.exists(lease_key(ME), LEASES) == 2
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


def test_a_refused_renewal_is_tried_again_within_a_second(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> None:
        async with owner(server, ME) as mine:
            part = Lease(mine, new_identity(), Idle())  # type: ignore[arg-type]
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
            client.delete(LEASES)
            async with asyncio.timeout(lease.RENEW_S):
                while part.fault:
                    await asyncio.sleep(0.01)
            assert client.hexists(LEASES, ME)
            running.cancel()

    asyncio.run(scene())
