"""Replies and pushes of one open Redis connection, as hiredis cuts them out of what arrives."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

import hiredis

#: `gets` of hiredis when no reply is whole; False is a reply of RESP3.
_NOTHING = object()
#: While a reply is waited for, we look so often in that time whether anything moves.
_LOOKS = 5
#: Closing sends nothing more (SO_LINGER: on, 0 s).
_AT_ONCE = struct.pack("ii", 1, 0)


class RedisStream(asyncio.Protocol):
    """Takes over a transport on which every reply so far has been read.

    One request at a time: whoever is cancelled while waiting must `abort`. `make_error` turns the
    text of a refusal into an exception.
    """

    def __init__(
        self, transport: asyncio.Transport, make_error: Callable[[str], Exception]
    ) -> None:
        self._transport = transport
        self._reader = hiredis.Reader(
            protocolError=ConnectionError, replyError=make_error, notEnoughData=_NOTHING
        )
        self._replies: list[Any] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        #: When the last bytes moved, and how many of ours were still to be sent then.
        self._moved_at = 0.0
        self._unsent = 0
        self._pushed = asyncio.Event()
        self._end: Exception | None = None
        transport.set_protocol(self)

    async def ask(self, packed: bytes, replies: int, patience_s: float) -> list[Any]:
        """Send RESP bytes and return so many replies. The first refusal among them is raised, once
        all have come; ConnectionError when the connection is, or gets, lost; TimeoutError when for
        `patience_s` no byte has come or gone. Large replies may take longer in all.
        """
        self._check()
        self._replies, self._wanted = [], replies
        self._waiter = self._loop.create_future()
        self._moved_at = self._loop.time()
        self._transport.write(packed)
        self._unsent = self._transport.get_write_buffer_size()
        self._look(patience_s)
        try:
            await self._waiter
        finally:
            self._looking.cancel()
        answers, self._replies = self._replies, []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _look(self, patience_s: float) -> None:
        """End the connection if nothing has moved for so long, else look again."""
        unsent = self._transport.get_write_buffer_size()
        now = self._loop.time()
        if unsent < self._unsent:
            self._moved_at = now
        self._unsent = unsent
        if now - self._moved_at >= patience_s:
            self.abort()
            self._finish(TimeoutError(f"no reply within {patience_s:g} s"))
            return
        self._looking = self._loop.call_later(patience_s / _LOOKS, self._look, patience_s)

    def abort(self) -> None:
        """End the connection; what is still to be sent is never sent."""
        if self._waiter is not None:
            peer = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    async def next_push(self, timeout_s: float) -> None:
        """Wait up to so many seconds for push messages that nobody has waited for yet. Raises
        ConnectionError.
        """
        self._check()
        timeout = asyncio.get_running_loop().call_later(timeout_s, self._pushed.set)
        try:
            await self._pushed.wait()
        finally:
            timeout.cancel()
        self._pushed.clear()
        self._check()

    def _check(self) -> None:
        if self._end is not None:
            raise self._end
        if self._transport.is_closing():
            raise ConnectionError("Connection closed by server.")

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Keep the replies that are whole."""
        self._moved_at = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                if isinstance(reply, hiredis.PushNotification):
                    self._pushed.set()
                else:
                    self._replies.append(reply)
        except ConnectionError as error:
            self._finish(error)
            self._transport.abort()
        if self._waiter is not None and len(self._replies) >= self._wanted:
            self._resolve(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits hears of it."""
        self._finish(exc or ConnectionError("Connection closed by server."))

    def _finish(self, error: Exception) -> None:
        self._end = self._end or error
        self._pushed.set()
        self._resolve(self._end)

    def _resolve(self, error: Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
