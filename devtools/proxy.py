"""A proxy on loopback in front of a Unix socket, for what networks do: delay, lose, cut, refuse."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

#: Bytes read at once.
CHUNK_BYTES = 65_536


class Proxy:
    """Forwards every connection to `upstream`, until told otherwise.

    Runs on a thread of its own; every method may be called from any thread and has taken effect
    when it returns.
    """

    def __init__(self, upstream: Path, *, seed: int = 1) -> None:
        self.socket = Path(tempfile.gettempdir(), f"gokiq-proxy-{secrets.token_hex(4)}.sock")
        self.url = f"unix://{self.socket}"
        self._upstream = upstream
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self.latency_s = 0.0
        self.jitter_s = 0.0
        self.bytes_per_s = 0.0
        self.accepts = True
        self.to_server = True
        self.to_client = True
        #: Requests whose reply was lost on purpose.
        self.lost = 0
        self._lose: bytes | None = None
        self._keep: bytes | None = None
        self._released = asyncio.Event()
        #: Requests that were kept, and of them those that were delivered late.
        self.kept = 0
        self.delivered_late = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.socket.unlink(missing_ok=True)

    def delay(self, latency_s: float, jitter_s: float = 0.0) -> None:
        """Each chunk, in either direction, arrives so much later; order is kept."""
        self.latency_s, self.jitter_s = latency_s, jitter_s

    def throttle(self, bytes_per_s: float) -> None:
        """Each direction of a connection carries no more than this; 0: as much as it can."""
        self.bytes_per_s = bytes_per_s

    def partition(self, *, to_server: bool = False, to_client: bool = False) -> None:
        """What is sent in a direction that is False is lost; connections stay open."""
        self.to_server, self.to_client = to_server, to_client

    def heal(self) -> None:
        """Forward again. Connections that have lost bytes are cut, as TCP would end them."""
        self.to_server = self.to_client = self.accepts = True
        self.delay(0.0)
        self.throttle(0)
        self.cut(only_broken=True)

    def cut(self, *, only_broken: bool = False) -> None:
        """End every connection, or those that have lost bytes."""

        async def end() -> None:
            for pair in list(self._pairs):
                if not only_broken or pair.has_lost:
                    pair.close()

        self._run(end)

    def refuse(self) -> None:
        """End every connection, and each new one at once."""
        self.accepts = False
        self.cut()

    def lead_to(self, upstream: Path) -> None:
        """New connections go there; those that are open stay where they are."""
        self._upstream = upstream

    def lose_reply(self, to: bytes) -> None:
        """Deliver the next request that has these bytes in it; swallow its reply and cut."""
        self._lose = to

    def keep_request(self, to: bytes) -> None:
        """Keep the next request that has these bytes in it, whatever becomes of its sender."""
        self._keep = to

    def deliver_late(self) -> None:
        """Deliver what was kept. It has been executed when `delivered_late` says so."""
        self._loop.call_soon_threadsafe(self._released.set)

    def _run(self, coroutine: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine(), self._loop).result(10)  # type: ignore[arg-type]

    async def _start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, str(self.socket))

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for pair in list(self._pairs):
            pair.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepts:
            writer.close()
            return
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self._upstream))
        except OSError:
            writer.close()
            return
        pair = _Pair(writer, up_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._pump(reader, up_writer, pair, is_request=True),
                self._pump(up_reader, writer, pair, is_request=False),
            )
        finally:
            pair.close()
            self._pairs.discard(pair)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: _Pair,
        *,
        is_request: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(CHUNK_BYTES):
                if self.latency_s or self.jitter_s:
                    jitter = self._rng.random() * self.jitter_s
                    due = max(due, loop.time() + self.latency_s + jitter)
                    await asyncio.sleep(due - loop.time())
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
                if not (self.to_server if is_request else self.to_client):
                    pair.has_lost = True
                    continue
                if is_request and self._keep and self._keep in data:
                    self._keep = None
                    self.kept += 1
                    pair.is_late = True
                    await self._released.wait()
                if is_request and self._lose and self._lose in data:
                    self._lose = None
                    pair.loses_reply = True
                elif not is_request and pair.is_late:
                    self.delivered_late += 1
                    break
                elif not is_request and pair.loses_reply:
                    self.lost += 1
                    break
                writer.write(data)
                await writer.drain()
        if not (is_request and pair.is_late):  # there is a reply to come, though to nobody
            pair.close()


class _Pair:
    """The two ends of one forwarded connection."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)
        self.has_lost = False
        self.loses_reply = False
        self.is_late = False

    def close(self) -> None:
        for end in self._ends:
            end.close()
