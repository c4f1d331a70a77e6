"""What is said of a Redis that may evict jobs, and of one whose clock is not ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.store import server as redis_info
from gokiq.store.link import RedisLink
from gokiq.store.server import RedisWatch


class Said:
    """Stands in for the log."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda text, *args: self.lines.append((level, text % args))

    def take(self, level: str) -> list[str]:
        """What came at this level since the last time."""
        lines, self.lines = self.lines, []
        return [text for at, text in lines if at == level]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    instead = Said()
    monkeypatch.setattr(redis_info, "log", instead)
    return instead


@asynccontextmanager
async def watch(server: RedisServer) -> AsyncIterator[RedisWatch]:
    link = RedisLink(RedisAddress(path=str(server.socket)), name="x")
    try:
        yield RedisWatch(link)
    finally:
        await link.close()


def test_a_policy_that_is_changed_while_we_run_is_warned_of_once(
    server: RedisServer, client: redis.Redis, said: Said
) -> None:
    async def scene() -> None:
        async with watch(server) as part:
            await part.look()
            assert said.take("warning") == []
            assert not part.may_evict
            client.config_set("maxmemory-policy", "allkeys-lru")
            try:
                await part.look()
                [line] = said.take("warning")
                assert "may evict your jobs: maxmemory-policy is 'allkeys-lru'" in line
                assert part.may_evict
                await part.look()
                assert said.take("warning") == []
            finally:
                client.config_set("maxmemory-policy", "noeviction")
            await part.look()
            assert "evicts no jobs any more" in said.take("info")[0]

    asyncio.run(scene())


@pytest.mark.parametrize("off_s", [-3600.0, -1.5, 1.5, 3600.0])
def test_a_clock_that_differs_is_warned_of_once_with_both_times(
    server: RedisServer,
    client: redis.Redis,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
    off_s: float,
) -> None:
    async def scene() -> None:
        async with watch(server) as part:
            await part.look()
            assert said.take("warning") == []
            shifted = SimpleNamespace(time=lambda: time.time() - off_s)
            monkeypatch.setattr(redis_info, "time", shifted)
            await part.look()
            [line] = said.take("warning")
            assert line.startswith(f"The clocks differ by {off_s:.1f} s: Redis has 20")
            assert part.skew_s == pytest.approx(off_s, abs=0.5)
            await part.look()
            assert said.take("warning") == []
            monkeypatch.undo()

    asyncio.run(scene())


def test_a_slow_answer_is_no_skew(
    server: RedisServer, client: redis.Redis, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been given at any moment since the question."""
    times = iter([time.time() - 4.0, time.time()])
    monkeypatch.setattr(redis_info, "time", SimpleNamespace(time=lambda: next(times)))

    async def scene() -> None:
        async with watch(server) as part:
            await part.look()
            assert said.take("warning") == []

    asyncio.run(scene())


@pytest.mark.parametrize("hidden", ["info", "time"])
def test_a_service_that_hides_one_thing_is_asked_for_the_other(
    server: RedisServer, client: redis.Redis, said: Said, hidden: str
) -> None:
    async def scene() -> None:
        async with watch(server) as part:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.execute_command("ACL", "SETUSER", "default", f"-{hidden}")
            try:
                await part.look()
            finally:
                client.execute_command("ACL", "SETUSER", "default", f"+{hidden}")
                client.config_set("maxmemory-policy", "noeviction")
            assert part.may_evict == (hidden != "info")
            assert (part.skew_s is None) == (hidden == "time")

    asyncio.run(scene())


def test_it_goes_on_looking_after_an_outage(
    server: RedisServer, client: redis.Redis, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_info, "LOOK_S", 0.02)

    async def scene() -> None:
        async with watch(server) as part:
            running = asyncio.create_task(part.run())
            async with asyncio.timeout(30):
                while part.skew_s is None:
                    await asyncio.sleep(0.01)
                for _ in range(3):
                    part.skew_s = None
                    client.client_kill_filter(_type="normal", skipme=True)
                    while part.skew_s is None:
                        await asyncio.sleep(0.01)
            running.cancel()

    asyncio.run(scene())
