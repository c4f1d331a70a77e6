"""Leases that ran out although their owners live, and parts that are away for a moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import redis

from devtools.null_sidecar import hello
from devtools.redis_server import RedisServer
from gokiq import config
from gokiq.app.info import RedisAddress, app_info
from gokiq.host.identity import new_identity, start_ticks
from gokiq.sidekiq.heartbeat import Heartbeat, Sources
from gokiq.store.broker import Broker
from gokiq.store.link import RedisLink
from gokiq.workers import supervisor
from gokiq.workers.vitals import Monitor

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
    from gokiq.commands import main as cli

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
