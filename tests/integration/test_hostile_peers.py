"""The orchestrator's end of the socket before a peer that is no sidecar, or a broken one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from devtools.null_sidecar import hello
from gokiq import core
from gokiq.core import Job, Outcome
from gokiq.workers.pool import Fleet

pytestmark = pytest.mark.integration

LIMIT_S = 30.0
NOBODY = 65534
HELLO = core.encode_frame(core.HELLO, json.dumps(hello(redis=Path("/none"))).encode())
READY = core.encode_frame(core.READY, struct.pack(">I", 1000))
RESULT = core.encode_results([Outcome(1, core.OK, 1)])


class Stage:
    """A fleet, and the listener that it connects to."""

    def __init__(self, fleet: Fleet, listener: socket.socket) -> None:
        self.fleet = fleet
        self._listener = listener
        self.returned: list[int] = []
        self.ended: list[int] = []
        self.rooms = 0
        fleet.on_finished = lambda ended: self.ended.extend(job.number for job in ended.jobs())
        fleet.on_orphans = lambda jobs: self.returned.extend(job.number for job in jobs)
        fleet.on_crash = lambda _, jobs: self.returned.extend(job.number for job in jobs)
        fleet.on_room = self._on_room

    def _on_room(self) -> None:
        self.rooms += 1

    async def peer(self) -> socket.socket:
        """The next connection, as the peer holds it."""
        return (await asyncio.to_thread(self._listener.accept))[0]

    async def worker(self) -> socket.socket:
        """A peer that has begun as a worker does."""
        peer = await self.peer()
        peer.sendall(HELLO + READY)
        await self.until(lambda: self.fleet.ready_count == 1)
        return peer

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
def path() -> Iterator[Path]:
    """Of a socket, in a folder that other users reach too."""
    with tempfile.TemporaryDirectory(prefix="gokiq-test-") as folder:
        os.chmod(folder, 0o777)
        yield Path(folder, "s.sock")


@asynccontextmanager
async def stage(path: Path) -> AsyncIterator[Stage]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(LIMIT_S)
        async with connecting(path) as fleet:
            yield Stage(fleet, listener)


@asynccontextmanager
async def connecting(path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(str(path))
    fleet.welcome_all("me", [{"capsule": "default", "queue": "default"}])
    running = asyncio.create_task(fleet.run())
    try:
        yield fleet
    finally:
        running.cancel()
        fleet.close()
        await asyncio.sleep(0)


def read_all(peer: socket.socket) -> bytes:
    """What comes until the other side closes."""
    peer.settimeout(LIMIT_S)
    data = b""
    with peer:
        while piece := peer.recv(1 << 20):
            data += piece
    return data


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "announced, the limit is"),
        (b"\xff" * 1000, "announced, the limit is"),
        (struct.pack(">IBBH", 67_108_865, 5, 0, 0), "announced, the limit is"),
        (struct.pack(">IBBH", 0, 99, 0, 0), "unknown frame type 99"),
        (core.encode_frame(core.BATCH), "not allowed in this direction"),
        (core.encode_frame(core.RESULTS, b"x"), "RESULTS breaks off"),
        (core.encode_frame(core.RESULTS, RESULT[:-1]), "RESULTS breaks off"),
        (core.encode_frame(core.RESULTS, RESULT * 2), "a result for job number 1"),
        (core.encode_frame(core.READY, b"xxx"), "READY body has 3 bytes"),
        (core.encode_frame(core.PONG, b""), "PONG body has 0 bytes"),
        (core.encode_frame(core.PROMOTED, b"\x00"), "PROMOTED cannot be read"),
        (HELLO, "not allowed in state ready"),
    ],
)
def test_garbage_of_a_worker_is_answered_with_the_reason_and_its_jobs_come_back(
    path: Path, sent: bytes, reason: str
) -> None:
    async def scene() -> None:
        async with stage(path) as at:
            peer = await at.worker()
            assert at.fleet.assign([Job(n, 0, b"{}", 0.0) for n in (1, 2)]) == []
            peer.sendall(sent)
            said = await asyncio.to_thread(read_all, peer)

            frames = core.FrameReader(frozenset({2, 4, 12})).feed(said)
            assert reason in json.loads(frames[-1][1])["reason"]
            await at.until(lambda: sorted(at.returned + at.ended) == [1, 2])
            # The next one is served as if nothing had been.
            again = await at.worker()
            assert at.fleet.assign([Job(3, 0, b"{}", 0.0)]) == []
            again.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "sent",
    [b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", HELLO[:-1], HELLO[:8], READY, HELLO[:8] + b"x" * 2000]
    + [core.encode_frame(core.HELLO, body) for body in (b"[]", b'{"protocol":1}', b"[" * 9999)]
    + [core.encode_frame(core.HELLO, b'{"protocol":[1],"pid":"x"}')],
)
def test_who_does_not_say_hello_is_no_worker(path: Path, sent: bytes) -> None:
    async def scene() -> None:
        async with stage(path) as at:
            with await at.peer() as peer:
                peer.sendall(sent)
                peer.shutdown(socket.SHUT_WR)
                await asyncio.to_thread(read_all, peer)
            assert at.fleet.workers == []
            (await at.worker()).close()

    asyncio.run(scene())


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 20, 31])
def test_half_a_frame_and_no_more_gives_the_jobs_back(path: Path, cut: int) -> None:
    async def scene() -> None:
        async with stage(path) as at:
            peer = await at.worker()
            assert at.fleet.assign([Job(1, 0, b"{}", 0.0)]) == []
            peer.sendall(core.encode_frame(core.RESULTS, RESULT)[:cut])
            peer.close()
            await at.until(lambda: at.returned == [1])
            assert at.ended == []

    asyncio.run(scene())


def test_a_worker_that_reads_nothing_is_given_no_more_than_it_may_read(path: Path) -> None:
    async def scene() -> None:
        async with stage(path) as at:
            peer = await at.worker()
            number = 0
            while at.fleet.room and number < 200:
                number += 1
                assert at.fleet.assign([Job(number, 0, b"x" * 1_000_000, 0.0)]) == []
            assert number < 20
            # Neither more memory, nor lost: it goes on where it stopped.
            before = at.rooms
            received = 0
            while received < number * 1_000_000:
                received += len(await asyncio.to_thread(peer.recv, 1 << 20))
            await at.until(lambda: at.fleet.room == 1000 - number)
            assert at.rooms > before
            peer.close()

    asyncio.run(scene())


def test_one_that_breaks_the_protocol_and_reads_nothing_does_not_keep_its_jobs(path: Path) -> None:
    async def scene() -> None:
        async with stage(path) as at:
            peer = await at.worker()
            assert at.fleet.assign([Job(1, 0, b"x" * 8_000_000, 0.0)]) == []
            peer.sendall(b"\xff" * 100)
            await at.until(lambda: at.returned == [1])
            peer.close()

    asyncio.run(scene())


def pretend(path: Path, said: int) -> None:
    """As another user, listen there, say what a worker says, and tell `said` what is heard."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.chmod(path, 0o777)
        listener.listen(1)
        os.write(said, b"listening;")
        peer, _ = listener.accept()
        try:
            peer.sendall(HELLO + READY)
            heard = peer.recv(100)
        except OSError:
            heard = b""
        os.write(said, b"%d bytes heard;" % len(heard))


@pytest.fixture
def stranger(path: Path) -> Iterator[int]:
    """A process of another user in the sidecar's place; the end of a pipe with what it tells."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            pretend(path, writing)
        finally:
            os._exit(0)
    os.close(writing)
    yield reading
    os.close(reading)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_a_sidecar_of_another_user_is_refused(path: Path, stranger: int) -> None:
    async def scene() -> None:
        assert await asyncio.to_thread(os.read, stranger, 100) == b"listening;"
        async with connecting(path) as fleet:
            assert await asyncio.to_thread(os.read, stranger, 100) == b"0 bytes heard;"
            assert not fleet.served.is_set()
            assert fleet.workers == []

    asyncio.run(scene())
