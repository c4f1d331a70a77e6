"""One stand per test, for each version of Sidekiq."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.redis_server import RedisServer

from .harness import V7, V8, Stand, Version


@pytest.fixture(scope="session", params=[V8, V7], ids=lambda version: version.name)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture
def stand(version: Version, tmp_path: Path) -> Iterator[Stand]:
    """A fresh Redis; nothing runs yet."""
    with RedisServer() as redis:
        stand = Stand(version, redis, tmp_path)
        yield stand
        stand.close()


@pytest.fixture(scope="module")
def shared(version: Version, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A stand for all tests of a module: for those that can share one server."""
    with RedisServer() as redis:
        stand = Stand(version, redis, tmp_path_factory.mktemp("shared"))
        yield stand
        stand.close()
