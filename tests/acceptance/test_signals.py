"""INT stops as TERM does, and a second signal, whenever it comes, changes nothing."""

from __future__ import annotations

import re
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


def test_a_dump_names_the_jobs_and_none_of_their_arguments(stage: Stage) -> None:
    plain = payload("a" * 24, "SleepJob", 300.5)
    mail = payload("b" * 24, "SleepJob", 300.5, wrapped="MailJob", queue="mailers")
    broken = b'{"class":"SleepJob","args":[300.5],"jid":7,"queue":"default"}'
    stage.client.lpush("queue:default", plain, broken)
    stage.client.lpush("queue:mailers", mail)
    args = ("-c", "5", "--workers", "1", "-t", "1", "-q", "default", "-q", "mailers")
    with stage.gokiq(*args) as server:
        server.wait_until(lambda: len(stage.runs()) == 3, timeout_s=30, what="the jobs had started")
        server.send_signal(signal.SIGTTIN)

        def told() -> list[str]:
            return re.findall(r"Job (jid=.*)", server.log.read_text())

        server.wait_until(lambda: len(told()) == 3, timeout_s=30, what="they were told")

        assert sorted(re.sub(r"age=\d+\.\d s", "age=…", line) for line in told()) == [
            "jid=? class=SleepJob queue=default age=…",
            f"jid={'a' * 24} class=SleepJob queue=default age=…",
            f"jid={'b' * 24} class=MailJob queue=mailers age=…",
        ]
        log = server.log.read_text()
        assert "300.5" not in log
        ours = [line for line in log.splitlines() if "tid=main" in line and "WARN" in line]
        assert len(ours) == 1
        assert "TTIN: 3 jobs are out at 1 workers" in ours[0]
