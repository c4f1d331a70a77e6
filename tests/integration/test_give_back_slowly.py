"""`give-back` where looking through Redis takes longer than a lease."""

from __future__ import annotations

import asyncio

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.claiming import adoption as reaper
from gokiq.commands import give_back
from gokiq.store.broker import claims_key
from gokiq.store.link import RedisLink
from gokiq.store.owners import Owners

PEER = "host:2:eeeeeeeeeeee"


def test_the_time_to_find_all_claims_is_not_taken_from_the_time_to_watch_their_owners(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass through many millions of keys, for example."""
    client.hset(claims_key(PEER, "a"), "1", "stranded")
    for module in (give_back, reaper):
        monkeypatch.setattr(module, "LEASE_S", 0.4)
        monkeypatch.setattr(module, "LOOK_S", 0.1)
    scan = Owners.scan

    async def slow(
        self: Owners, cursor: int, identity: str = ""
    ) -> tuple[int, list[tuple[str, str]]]:
        await asyncio.sleep(1.0)
        return await scan(self, cursor, identity)

    monkeypatch.setattr(Owners, "scan", slow)

    async def main() -> int:
        link = RedisLink(RedisAddress(path=str(server.socket)), name="give-back")
        try:
            return await give_back._give_back(link)
        finally:
            await link.close()

    assert asyncio.run(main()) == 0
    assert client.lrange("queue:a", 0, -1) == [b"stranded"]
