"""Leases that ran out although their owners live, and parts that are away for a moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from devtools.null_sidecar import hello
from devtools.redis_server import RedisServer
from gokiq import config, reaper, supervisor
from gokiq.app import RedisAddress, app_info
from gokiq.broker import OWNERS, Broker, Settlement, claims_key, lease_key
from gokiq.heartbeat import Heartbeat, Sources
from gokiq.identity import new_identity, start_ticks
from gokiq.monitor import Monitor
from gokiq.redis_link import RedisLink

LIMIT_S = 30.0
ME, PEER = "host:1:dddddddddddd", "host:2:eeeeeeeeeeee"


async def until(condition: Callable[[], Any]) -> None:
    """Wait on a condition; fails after LIMIT_S seconds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)


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


def test_leases_that_ran_out_while_redis_refused_writes_are_not_believed_at_once(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "LEASE_S", 1.0)  # Redis is older than that
    monkeypatch.setattr(reaper, "SETTLE_IN_S", 0.0)
    monkeypatch.setattr(reaper, "RENEW_S", 0.05)
    monkeypatch.setattr(reaper, "ADOPT_S", 0.05)
    client.lpush("queue:a", "job")

    async def scene() -> None:
        async with owner(server, PEER) as peer, owner(server, ME) as mine:
            await peer.renew({})
            await peer.settle_claim(Settlement(), [(1, [(0, 1)])])
            monkeypatch.setattr(reaper, "uptime_s", _long_up)
            part = reaper.Reaper(mine, new_identity(), Idle())  # type: ignore[arg-type]
            await part.first()
            monkeypatch.setattr(reaper, "LEASE_S", LIMIT_S)
            rounds = 0
            real = mine.owners

            async def owners() -> Any:
                nonlocal rounds
                rounds += 1
                return await real()

            monkeypatch.setattr(mine, "owners", owners)
            running = asyncio.create_task(part.run())
            client.execute_command("ACL", "SETUSER", "default", "-pexpire")
            try:
                client.delete(lease_key(PEER), lease_key(ME))
                at = rounds
                await until(lambda: not client.exists(lease_key(ME)) and rounds == at)
                await asyncio.sleep(1.5)  # a renewal is refused meanwhile
            finally:
                client.execute_command("ACL", "SETUSER", "default", "+pexpire")
            at = rounds
            await until(lambda: client.exists(lease_key(ME)) and rounds >= at + 3)
            running.cancel()
            assert client.hlen(claims_key(PEER, "a")) == 1

    asyncio.run(scene())


async def _long_up(link: RedisLink) -> float:
    return 1e6


def test_an_owner_that_comes_back_while_it_is_adopted_stays_in_the_register(
    server: RedisServer, client: redis.Redis
) -> None:
    client.lpush("queue:a", "1", "2")

    async def scene() -> None:
        async with owner(server, PEER) as peer, owner(server, ME) as mine:
            await peer.renew({})
            await peer.settle_claim(Settlement(), [(1, [(0, 1)])])
            client.delete(lease_key(PEER))
            real = mine._adopt

            async def then_it_comes_back(*args: Any) -> Any:
                answer = await real(*args)
                await peer.renew({})
                await peer.settle_claim(Settlement(), [(2, [(0, 2)])])
                return answer

            mine._adopt = then_it_comes_back  # type: ignore[assignment]
            await mine.adopt(PEER, ["a"], proved=False)
            assert client.exists(lease_key(PEER))
            assert client.hexists(OWNERS, PEER)
            assert client.hlen(claims_key(PEER, "a")) == 2

    asyncio.run(scene())


def test_a_root_that_cannot_be_started_again_at_once_is_tried_again(tmp_path: Path) -> None:
    ruby, socket = tmp_path / "ruby", tmp_path / "m.sock"
    arguments = config_arguments()
    marker = tmp_path / "second"

    async def scene() -> None:
        monitor = Monitor(str(socket))
        part = supervisor.Supervisor(
            config.from_arguments(arguments(ruby=str(ruby), require=__file__), {}),
            monitor,
            socket_path="unused",
            identity="me",
            next_path=lambda: "unused too",
        )
        write(ruby, 'rm -- "$0"; exit 1')
        await part.start()
        part.has_served = True
        running = asyncio.create_task(part.run())
        await until(lambda: not ruby.exists())
        await asyncio.sleep(1)  # it is missed meanwhile
        assert not running.done()
        write(ruby, f"touch {marker}; exec sleep 60")
        await until(marker.exists)
        part.terminate()
        await part.stop(0.0)
        running.cancel()

    asyncio.run(scene())


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)


def config_arguments() -> Callable[..., Any]:
    from gokiq import cli

    def parse(**options: str) -> Any:
        return cli.parser().parse_args([part for k, v in options.items() for part in (f"--{k}", v)])

    return parse


def test_what_is_no_text_among_the_signals_is_passed_over(
    server: RedisServer, client: redis.Redis
) -> None:
    async def scene() -> list[str]:
        heard: list[str] = []
        async with owner(server, ME) as mine:
            sources = Sources(list, int, bool, heard.append, lambda: None)
            identity = new_identity()
            client.rpush(f"{identity.name}-signals", b"\xff")
            app = app_info(hello(redis=server.socket))
            beat = Heartbeat(mine, app, identity, sources)
            await beat.beat()
            client.delete(f"{identity.name}-signals")
            client.set(f"{identity.name}-signals", "no list")
            await beat.beat()
        return heard

    assert len(asyncio.run(scene())) == 1


def test_the_start_of_a_process_is_known_whatever_its_name() -> None:
    found = []

    def named() -> None:
        me = threading.get_native_id()
        Path(f"/proc/self/task/{me}/comm").write_bytes(b"caf\xc3")
        found.append(start_ticks(me))

    thread = threading.Thread(target=named)
    thread.start()
    thread.join()
    assert len(found) == 1
    assert found[0] is not None
