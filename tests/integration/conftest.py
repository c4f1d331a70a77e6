"""A real Redis for each module, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from devtools.redis_server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    server.client.flushall()
    return server.client
