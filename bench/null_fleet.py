"""A sidecar without Ruby, one worker, whose app has many queues: answers every job at once.

python -m bench.null_fleet SOCKET REDIS_SOCKET SLOTS QUEUES MODE
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from bench.answerer import Worker
from devtools.null_sidecar import hello


def queue_names(count: int) -> list[str]:
    """The queues of an app that has so many. Of one length: the answerer wants it of payloads."""
    return ["default", *(f"q{number:06d}" for number in range(1, count))]


def greeting(redis: Path, slots: int, queues: int, mode: str) -> dict[str, Any]:
    """HELLO of that app; with one queue its mode does not count."""
    weight = 0 if mode == "strict" else 1
    names = [(name, weight) for name in queue_names(queues)]
    document = hello(redis=redis, concurrency=slots, queues=names)
    document["sidekiq"]["capsules"][0]["mode"] = mode if queues > 1 else "strict"
    return document


def serve(path: Path, document: dict[str, Any]) -> None:
    """Answer one orchestrator until it leaves."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    connection, _ = listener.accept()
    worker = Worker(connection, document["slots"], 0.0)
    worker.greet(document)
    while worker.readable():
        pass


if __name__ == "__main__":
    _, path, redis, slots, queues, mode = sys.argv
    serve(Path(path), greeting(Path(redis), int(slots), int(queues), mode))
