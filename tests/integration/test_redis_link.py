"""One connection to Redis over a slow, silent or lost line."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from devtools.proxy import Proxy
from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.errors import ConnectionLost
from gokiq.store.link import RedisLink
from gokiq.store.stream import RedisStream

LIMIT_S = 30.0
PATIENCE_S = 1.0
MIB = 1 << 20


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gokiq.store.link.REPLY_TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def proxy(server: RedisServer, client: redis.Redis) -> Iterator[Proxy]:
    with Proxy(server.socket) as running:
        yield running


def link_to(path: Path) -> RedisLink:
    return RedisLink(RedisAddress(path=str(path)), name="gokiq-test")


def read_all(peer: socket.socket) -> int:
    """Bytes that come until the other side closes."""
    received = 0
    while data := peer.recv(MIB):
        received += len(data)
    return received


def test_what_travels_for_longer_than_silence_may_last_arrives(proxy: Proxy) -> None:
    async def scene() -> None:
        link = link_to(proxy.socket)
        value = b"x" * (4 * MIB)
        await link.call("PING")
        proxy.throttle(2 * MIB)
        assert await link.call("SET", "key", value) == b"OK"
        assert await link.call("GET", "key") == value
        assert link.reconnects == 0
        await link.close()

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def test_silence_ends_the_connection(proxy: Proxy) -> None:
    async def scene() -> None:
        link = link_to(proxy.socket)
        await link.call("PING")
        proxy.partition(to_server=True)
        with pytest.raises(ConnectionLost, match="no reply within"):
            await link.call("GET", "key")
        assert not link.is_open
        proxy.heal()
        assert await link.call("PING") == b"PONG"
        await link.close()

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def test_what_was_given_up_is_not_sent_later(proxy: Proxy, tmp_path: Path) -> None:
    async def scene() -> None:
        link = link_to(proxy.socket)
        await link.call("PING")
        assert link._stream is not None
        path = str(tmp_path / "s.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            loop = asyncio.get_running_loop()
            # From now on the other end is one that reads nothing until we have given up.
            transport, _ = await loop.create_unix_connection(lambda: link._stream, path)  # type: ignore[arg-type, return-value]
            peer, _ = listener.accept()
        link._stream._transport = transport
        with pytest.raises(ConnectionLost):
            await link.call("SET", "key", b"x" * (8 * MIB))
        with peer:
            assert await asyncio.to_thread(read_all, peer) < 8 * MIB

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def test_two_that_find_no_connection_open_one(proxy: Proxy, client: redis.Redis) -> None:
    async def scene() -> None:
        link = link_to(proxy.socket)
        proxy.delay(0.01)
        await asyncio.gather(link.next_push(0.01), link.call("PING"), link.next_push(0.01))
        assert sum(one["name"] == "gokiq-test" for one in client.client_list()) == 1
        assert await link.pipeline([]) == []
        await link.close()

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))


def test_a_connection_that_is_given_up_is_reset() -> None:
    """Over TCP what is still in the kernel's buffers is dropped, too."""

    async def scene() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
            peer, _ = listener.accept()
        stream = RedisStream(transport, ConnectionError)
        with pytest.raises(TimeoutError):
            await stream.ask(b"x" * 100, 1, 0.05)
        with peer, pytest.raises(ConnectionResetError):
            await asyncio.to_thread(read_all, peer)

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))
