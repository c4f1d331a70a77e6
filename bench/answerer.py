"""The worker side of `bench.orchestrator`: answers every job at once, at a cost that hides nothing.

python -m bench.answerer SOCKET REDIS_SOCKET WORKERS SLOTS [SLEEP_S]

All payloads of a BATCH frame must have one length: the numbers are then copied by slices, without a
loop over the jobs, so that the answers take nearly no CPU. PLAIN frames have them in rows anyway.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

from devtools.null_sidecar import hello
from gokiq import core

_HEADER = struct.Struct(">IBxxx")
_SIZE = struct.Struct(">I")
_JOB_BYTES = 16
#: docs/protocol.md: bytes before the rows of PLAIN, of a row, and a row of DONE.
_PLAIN_AT, _PLAIN_BYTES = 4, 32
_DONE_ROW = struct.Struct(">QI")
_OUTCOME = struct.Struct(">QBBxxIQ")
_READ_BYTES = 1_048_576


def answers(body: bytes, elapsed_us: int) -> bytes:
    """The RESULTS frame that ends every job of a BATCH body well. Raises ValueError when its
    payloads differ in length.
    """
    stride = _JOB_BYTES + int(_SIZE.unpack_from(body, 12)[0])
    count, rest = divmod(len(body), stride)
    if rest:
        raise ValueError("the payloads differ in length")
    results = bytearray(_OUTCOME.pack(0, core.OK, 1, 0, elapsed_us) * count)
    for at in range(8):
        results[at :: _OUTCOME.size] = body[at::stride]
    return _HEADER.pack(len(results), core.RESULTS) + results


def plain_answers(body: bytes, elapsed_us: int) -> bytes:
    """The DONE frame that ends every job of a PLAIN body."""
    count = int(_SIZE.unpack_from(body)[0])
    rows = body[_PLAIN_AT : _PLAIN_AT + _PLAIN_BYTES * count]
    done = bytearray(_DONE_ROW.pack(0, elapsed_us) * count)
    for at in range(8):
        done[at :: _DONE_ROW.size] = rows[at::_PLAIN_BYTES]
    return _HEADER.pack(len(done), core.DONE) + done


class Worker:
    """One connection of a worker with so many slots. Every job takes `sleep_s` seconds."""

    def __init__(self, connection: socket.socket, slots: int, sleep_s: float) -> None:
        self._connection = connection
        self._slots = slots
        self._sleep_s = sleep_s
        self._elapsed_us = int(sleep_s * 1e6)
        self._unread = bytearray()
        # When a job ends, the type of the frame that says so, and its entry.
        self._due: list[tuple[float, int, bytes]] = []

    def greet(self, greeting: dict[str, object]) -> None:
        """HELLO."""
        self._send(core.encode_frame(core.HELLO, json.dumps(greeting).encode()))

    def readable(self) -> bool:
        """Answer what has come; False once the orchestrator is gone."""
        data = self._connection.recv(_READ_BYTES)
        self._unread += data
        while len(self._unread) >= _HEADER.size:
            length, kind = _HEADER.unpack_from(self._unread)
            end = _HEADER.size + length
            if len(self._unread) < end:
                break
            body = bytes(self._unread[_HEADER.size : end])
            del self._unread[:end]
            self._handle(kind, body)
        return bool(data)

    def next_due_s(self) -> float | None:
        """Seconds until a job ends; None when none runs."""
        return max(self._due[0][0] - time.monotonic(), 0.0) if self._due else None

    def end_due(self) -> None:
        """Answer for the jobs that have slept."""
        ended: dict[int, list[bytes]] = {}
        while self._due and self._due[0][0] <= time.monotonic():
            _, kind, entry = heapq.heappop(self._due)
            ended.setdefault(kind, []).append(entry)
        for kind, entries in ended.items():
            self._send(core.encode_frame(kind, b"".join(entries)))

    def _answer(self, frame: bytes, entry_bytes: int) -> None:
        if not self._sleep_s:
            self._send(frame)
            return
        # Each job for itself, a tenth more or less, so that they do not end together.
        now = time.monotonic()
        for at in range(core.HEADER_BYTES, len(frame), entry_bytes):
            ends_at = now + self._sleep_s * random.uniform(0.9, 1.1)
            heapq.heappush(self._due, (ends_at, frame[4], frame[at : at + entry_bytes]))

    def _handle(self, kind: int, body: bytes) -> None:
        if kind == core.WELCOME:
            self._send(core.encode_frame(core.READY, _SIZE.pack(self._slots)))
        elif kind == core.BATCH:
            self._answer(answers(body, self._elapsed_us), _OUTCOME.size)
        elif kind == core.PLAIN:
            self._answer(plain_answers(body, self._elapsed_us), _DONE_ROW.size)
        elif kind == core.DRAIN:
            self._send(core.encode_frame(core.GOODBYE))
            self._connection.shutdown(socket.SHUT_WR)

    def _send(self, frame: bytes) -> None:
        # It blocks; the orchestrator never waits for us with its reads.
        self._connection.sendall(frame)


def serve(path: str, redis: Path, workers: int, slots: int, sleep_s: float) -> None:
    """Be a sidecar with so many workers until the orchestrator closes its connections."""
    greeting = hello(redis=redis, concurrency=workers * slots)
    greeting |= {"pid": os.getpid(), "ppid": os.getpid(), "slots": slots}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    selector = selectors.DefaultSelector()
    living: list[Worker] = []
    for _ in range(workers):
        connection, _ = listener.accept()
        worker = Worker(connection, slots, sleep_s)
        selector.register(connection, selectors.EVENT_READ, worker)
        worker.greet(greeting)
        living.append(worker)
    while living:
        waits = [wait for worker in living if (wait := worker.next_due_s()) is not None]
        for key, _ in selector.select(min(waits, default=None)):
            if not key.data.readable():
                selector.unregister(key.fileobj)
                living.remove(key.data)
        for worker in living:
            worker.end_due()


if __name__ == "__main__":
    serve(
        sys.argv[1],
        Path(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
        float(sys.argv[5]) if len(sys.argv) > 5 else 0.0,
    )
