"""Replies and pushes of one connection, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gokiq.store.stream import RedisStream

#: More than any test takes.
PATIENCE_S = 60.0


class RefusedError(Exception):
    """What Redis refuses."""


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True


def play(scene: Callable[[RedisStream, Wire], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        wire = Wire()
        async with asyncio.timeout(10):
            return await scene(RedisStream(wire, RefusedError), wire)

    return asyncio.run(main())


async def asked(stream: RedisStream, replies: int) -> asyncio.Task[list[Any]]:
    """A request that waits for its replies."""
    task = asyncio.create_task(stream.ask(b"x", replies, PATIENCE_S))
    await asyncio.sleep(0)
    return task


def test_replies_come_in_order_however_they_are_cut() -> None:
    data = b":1\r\n$2\r\nab\r\n*2\r\n#f\r\n_\r\n"

    async def scene(stream: RedisStream, wire: Wire) -> None:
        for size in range(1, len(data) + 1):
            task = await asked(stream, 3)
            for at in range(0, len(data), size):
                assert not task.done()
                stream.data_received(data[at : at + size])
            assert await task == [1, b"ab", [False, None]]
        assert wire.written == [b"x"] * len(data)

    play(scene)


def test_a_refusal_is_raised_once_all_have_answered() -> None:
    async def scene(stream: RedisStream, wire: Wire) -> None:
        task = await asked(stream, 2)
        stream.data_received(b"-ERR no\r\n")
        await asyncio.sleep(0)
        assert not task.done()
        stream.data_received(b":2\r\n")
        with pytest.raises(RefusedError, match="ERR no"):
            await task

        task = await asked(stream, 1)
        stream.data_received(b":3\r\n")
        assert await task == [3]

    play(scene)


def test_a_push_is_no_reply_and_is_kept_for_who_waits_later() -> None:
    async def scene(stream: RedisStream, wire: Wire) -> None:
        task = await asked(stream, 1)
        stream.data_received(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nq\r\n:1\r\n")
        assert await task == [1]
        await stream.next_push(60)

        waits = asyncio.create_task(stream.next_push(60))
        await asyncio.sleep(0)
        assert not waits.done()
        stream.data_received(b">2\r\n$10\r\ninvalidate\r\n_\r\n")
        await waits

    play(scene)


def test_a_wait_for_a_push_ends_in_time() -> None:
    play(lambda stream, wire: stream.next_push(0.001))


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")], ids=["end", "reset"])
def test_a_lost_connection_is_told_to_all_who_wait(error: Exception | None) -> None:
    async def scene(stream: RedisStream, wire: Wire) -> None:
        task = await asked(stream, 1)
        waits = asyncio.create_task(stream.next_push(60))
        await asyncio.sleep(0)
        stream.connection_lost(error)
        for one in (task, waits, stream.ask(b"x", 1, PATIENCE_S), stream.next_push(60)):
            with pytest.raises(ConnectionError, match="reset" if error else "closed by server"):
                await one

    play(scene)


def test_what_is_no_resp_ends_the_connection() -> None:
    async def scene(stream: RedisStream, wire: Wire) -> None:
        task = await asked(stream, 1)
        stream.data_received(b"HTTP/1.1 400 Bad Request\r\n")
        with pytest.raises(ConnectionError, match="Protocol error"):
            await task
        assert wire.is_closed

    play(scene)


def test_a_connection_that_closes_is_asked_nothing() -> None:
    async def scene(stream: RedisStream, wire: Wire) -> None:
        wire.is_closed = True
        with pytest.raises(ConnectionError):
            await stream.ask(b"x", 1, PATIENCE_S)
        assert wire.written == []

    play(scene)


def test_only_silence_ends_the_wait_for_a_reply_not_its_length() -> None:
    async def scene(stream: RedisStream, wire: Wire) -> None:
        task = asyncio.create_task(stream.ask(b"x", 1, 0.25))
        await asyncio.sleep(0)
        wire.unsent = stream._unsent = 10
        for _ in range(10):  # the request leaves slowly
            await asyncio.sleep(0.05)
            wire.unsent -= 1
        for piece in (b"$10\r\n", *(b"%d" % at for at in range(10)), b"\r\n"):
            await asyncio.sleep(0.05)
            stream.data_received(piece)
        assert await task == [b"0123456789"]

        task = asyncio.create_task(stream.ask(b"x", 1, 0.25))
        await asyncio.sleep(0)
        stream.data_received(b"$10\r\n0")
        with pytest.raises(TimeoutError, match=r"no reply within 0\.25 s"):
            await task
        assert wire.is_closed

    play(scene)
