"""INT stops as TERM does, and a second signal, whenever it comes, changes nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.redis_server import RedisServer

from .stage import Stage, payload

pytestmark = pytest.mark.acceptance

TIMEOUT_S = 2


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with RedisServer() as redis:
        yield Stage(redis, tmp_path)


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, None), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)],
    ids=["INT", "TERM, later TERM", "INT, later TERM"],
)
def test_the_first_signal_starts_the_timeout_and_a_second_does_not_cut_it_short(
    stage: Stage, first: signal.Signals, second: signal.Signals | None
) -> None:
    long = payload("f" * 24, "LongJob", 60)
    stage.client.sadd("queues", "default")
    stage.client.lpush("queue:default", long)
    with stage.gokiq("-c", "1", "--workers", "1", "-t", str(TIMEOUT_S)) as server:
        server.wait_until(lambda: bool(stage.runs()), timeout_s=30, what="the job had started")
        began = time.monotonic()
        server.send_signal(first)
        if second is not None:
            # Two that come at once may be delivered as one.
            server.wait_until(
                lambda: time.monotonic() > began + TIMEOUT_S / 2,
                timeout_s=TIMEOUT_S,
                what="half of the time was over",
            )
            server.send_signal(second)
        assert server.wait(15) == 0

    assert TIMEOUT_S - 0.5 < time.monotonic() - began < TIMEOUT_S + 4
    assert stage.client.lrange("queue:default", 0, -1) == [long]
    assert (stage.journal / "shutdown").read_text() == "f" * 24
    assert stage.client.get("stat:failed") == b"1"
    assert stage.client.exists("retry", "dead") == 0
    assert stage.client.scard("processes") == 0
