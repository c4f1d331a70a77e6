"""The same jobs in SAQ. usage: saq_app.py push CLASS COUNT | saq_app.py work CONCURRENCY

As in bench/ruby/app.rb a job notes its end in its slot of $BENCH_SLOTS. Runs in a virtual
environment of its own (script/peers).
"""

import asyncio
import mmap
import os
import sys
import time

from redis.asyncio import Redis
from saq import Worker
from saq.queue.redis import RedisQueue


def queue():
    """On the benchmark's Redis."""
    return RedisQueue(Redis(unix_socket_path=os.environ["BENCH_REDIS"], max_connections=2000))


async def push(name, count):
    """All jobs, without keeping their results."""
    jobs = queue()
    text = {"ms": 100, "text": "x" * 1000} if name == "sleep" else {}
    for first in range(0, count, 200):
        indexes = range(first, min(first + 200, count))
        await asyncio.gather(*(jobs.enqueue(name, index=i, ttl=-1, **text) for i in indexes))
    await jobs.disconnect()


def work(concurrency):
    """Run jobs until a signal."""
    with open(os.environ["BENCH_SLOTS"], "r+b") as file:
        slots = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    async def noop(_context, *, index):
        slots[index] = time.monotonic_ns()

    async def sleep(_context, *, index, ms, text):
        await asyncio.sleep(ms / 1000)
        slots[index] = time.monotonic_ns()

    functions = [("noop", noop), ("sleep", sleep)]
    asyncio.run(Worker(queue(), functions, concurrency=concurrency).start())


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "push":
        asyncio.run(push(rest[0], int(rest[1])))
    else:
        work(int(rest[0]))
