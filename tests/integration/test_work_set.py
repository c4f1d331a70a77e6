"""The work set on a real Redis: whole while it is small, bounded when jobs are large."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from devtools.null_sidecar import hello
from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress, app_info
from gokiq.core import Job
from gokiq.host.identity import new_identity
from gokiq.sidekiq import work_set
from gokiq.sidekiq.heartbeat import Heartbeat, Sources
from gokiq.store.broker import Broker
from gokiq.store.link import RedisLink

MIB = 1 << 20


def job(number: int, **members: Any) -> Job:
    payload = json.dumps({"class": "A", "jid": f"jid{number}", "queue": "default", **members})
    return Job(number, 0, payload.encode(), time.monotonic())


def large(number: int) -> Job:
    return job(number, args=["x" * MIB], lock_digest=f"digest{number}")


Beat = Callable[[list[Job]], tuple[str, list[float]]]


@pytest.fixture
def beat(server: RedisServer, client: redis.Redis) -> Beat:
    """Beats once; returns our identity and how long the loop stood still each time, seconds."""
    identity = new_identity()

    def run(jobs: list[Job]) -> tuple[str, list[float]]:
        async def main() -> list[float]:
            link = RedisLink(RedisAddress(path=str(server.socket)), name="link")
            app = app_info(hello(redis=server.socket))
            broker = Broker(link, link, identity="me", queues=[], dead_max_jobs=9, dead_timeout_s=9)
            sources = Sources(
                running=lambda: jobs,
                rss_kb=lambda: 1,
                is_quiet=lambda: False,
                on_signal=lambda name: None,
                on_beat=lambda: None,
            )
            pauses = []
            beating = asyncio.create_task(Heartbeat(broker, app, identity, sources).beat())
            while not beating.done():
                began = time.process_time()
                await asyncio.sleep(0)
                pauses.append(time.process_time() - began)
            await beating
            await link.close()
            return pauses

        pauses = asyncio.run(main())
        return identity.name, pauses

    return run


def shown(client: redis.Redis, identity: str) -> dict[str, dict[str, Any]]:
    """By jid, the payloads in the work set."""
    entries = [json.loads(entry) for entry in client.hvals(f"{identity}:work")]
    payloads = [json.loads(entry["payload"]) for entry in entries]
    return {payload["jid"]: payload for payload in payloads}


def test_payloads_of_usual_size_are_shown_whole(beat: Beat, client: redis.Redis) -> None:
    jobs = [job(number, args=["x" * 3000]) for number in range(1000)]

    identity, _ = beat(jobs)

    found = shown(client, identity)
    assert found == {f"jid{one.number}": json.loads(one.payload) for one in jobs}
    assert 0 < client.ttl(f"{identity}:work") <= 60
    assert client.keys("*:work:next") == []
    beat([])
    assert not client.exists(f"{identity}:work")


def test_large_jobs_are_all_shown_but_not_all_their_arguments(
    beat: Beat, client: redis.Redis
) -> None:
    jobs = [large(number) for number in range(300)]

    identity, pauses = beat(jobs)

    found = shown(client, identity)
    assert found.keys() == {f"jid{number}" for number in range(300)}
    assert all(one["lock_digest"] == f"digest{jid[3:]}" for jid, one in found.items())
    whole = [jid for jid, one in found.items() if len(one["args"][0]) == MIB]
    assert sorted(whole) == [f"jid{number}" for number in range(7)]
    assert found["jid299"]["args"] == [f"{len(jobs[299].payload)} bytes, not shown"]
    assert 0 < client.ttl(f"{identity}:work") <= 60
    assert client.keys("*:work:next") == []
    assert max(pauses) < 0.25
    # The next one, of small jobs again, takes its place.
    beat([job(1000, args=[])])
    assert shown(client, identity).keys() == {"jid1000"}


@pytest.mark.parametrize(
    ("payload", "short"),
    [
        (
            {"class": "A", "jid": "1", "args": ["x" * 9000], "retry": True},
            {"class": "A", "jid": "1"},
        ),
        (
            {"class": "J", "wrapped": "W", "jid": "1", "args": [{"arguments": ["x" * 9000]}]},
            {"class": "J", "wrapped": "W", "jid": "1"},
        ),
        ({"class": "A", "jid": "1", "args": [], "cattr": "x" * 9000}, {"class": "A", "jid": "1"}),
    ],
    ids=["plain", "active job", "large beside its arguments"],
)
def test_what_is_cut_off_is_named(payload: dict[str, Any], short: dict[str, Any]) -> None:
    cut = json.loads(work_set.shortened(json.dumps(payload).encode()))

    args = cut["args"][0]["arguments"] if "wrapped" in payload else cut["args"]
    assert "bytes, not shown" in args[0]
    assert {key: cut[key] for key in short} == short
    assert ("retry" in cut) == ("retry" in payload)


@pytest.mark.parametrize("payload", [b"x" * 9000, b"[]", b'{"jid":"%b"}' % (b"x" * 9000)])
def test_what_cannot_be_cut_is_shown_as_an_object(payload: bytes) -> None:
    assert json.loads(work_set.shortened(payload)) == {}


def test_a_piece_is_bounded_by_what_was_read_for_it() -> None:
    pieces = list(work_set.pieces([large(n) for n in range(40)], lambda route: "q", 9.0, 9.0))

    assert len(pieces) == 40
    assert sum(len(piece) for piece in pieces) == 80


def test_numbers_are_written_as_sidekiq_writes_thread_ids() -> None:
    numbers = list(itertools.chain(range(80), [36**5 - 1, 36**5]))

    assert [int(work_set.base36(number), 36) for number in numbers] == numbers
