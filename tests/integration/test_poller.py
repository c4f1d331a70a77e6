"""Due members on a real Redis: none lost, none promoted twice, the app's client asked if needed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from devtools.null_sidecar import NullSidecar, NullWorker, hello
from devtools.redis_server import RedisServer
from gokiq import core
from gokiq.app.info import RedisAddress, app_info
from gokiq.errors import ExecutorUnavailable
from gokiq.sidekiq.poller import LEASE_S, ClientPush, Poller
from gokiq.sidekiq.promotion import encode_promoted
from gokiq.store.broker import Broker
from gokiq.store.link import RedisLink
from gokiq.store.push import Fate, Push
from gokiq.workers.pool import Fleet

LIMIT_S = 20.0
Play = Callable[..., Any]


def job(jid: str, **fields: object) -> bytes:
    more = "".join(f',"{key}":{value}' for key, value in fields.items())
    return f'{{"class":"A","args":[],"queue":"q","retry":true,"jid":"{jid}"{more}}}'.encode()


def nobody(members: list[bytes]) -> Any:
    raise AssertionError("the client was asked")


@pytest.fixture
def play(server: RedisServer) -> Play:
    """Run a poller to the end of one pass, or `scene` with it."""

    def run(
        client_push: ClientPush = nobody,
        *,
        client: str = "stock",
        has_app_client: bool = False,
        scene: Callable[[Poller], Any] = lambda poller: poller.promote_due(),
    ) -> Any:
        async def main() -> Any:
            link = RedisLink(RedisAddress(path=str(server.socket)), name="link")
            broker = Broker(
                link, link, identity="me", queues=["q"], dead_max_jobs=9, dead_timeout_s=9
            )
            app = app_info(hello(redis=server.socket) | {"client": client})
            poller = Poller(
                broker,
                app,
                random.Random(1),
                lambda: None,
                client_push,
                has_app_client=lambda: has_app_client,
            )
            try:
                async with asyncio.timeout(LIMIT_S):
                    return await scene(poller)
            finally:
                await link.close()

        return asyncio.run(main())

    return run


def test_a_spike_of_due_jobs_is_promoted_whole_and_holds_redis_up_never_for_long(
    play: Play, client: redis.Redis
) -> None:
    for base in range(0, 20_000, 1000):
        client.zadd("schedule", {job(f"{base + i}"): 1.0 for i in range(1000)})
    client.config_set("slowlog-log-slower-than", "20000")
    client.slowlog_reset()

    assert play() == 20_000

    assert client.llen("queue:q") == 20_000
    assert not client.exists("schedule")
    assert client.slowlog_get() == []


def test_what_is_no_job_is_kept_in_the_dead_set_and_its_neighbours_move(
    play: Play, client: redis.Redis
) -> None:
    client.zadd("retry", {b"{bad": 1.0, b"\xff\xfe": 1.0, job("good"): 2.0})

    assert play() == 3

    assert client.llen("queue:q") == 1
    assert set(client.zrange("dead", 0, -1)) == {b"{bad", b"\xff\xfe"}
    assert all(abs(score - client.time()[0]) < 5 for _, score in client.zscan_iter("dead"))


def test_a_queue_that_is_no_list_holds_up_its_own_jobs_alone(
    play: Play, client: redis.Redis
) -> None:
    client.set("queue:q", "what is this?")
    other = job("other").replace(b'"queue":"q"', b'"queue":"r"')
    client.zadd("retry", {job("stuck"): 1.0, other: 2.0})
    client.zadd("schedule", {other + b" ": 1.0})

    assert play() == 2

    assert client.llen("queue:r") == 2
    [(kept, score)] = client.zrange("retry", 0, -1, withscores=True)
    assert kept == job("stuck")
    assert 50 < score - client.time()[0] <= 61


def test_a_stock_app_is_asked_only_about_jobs_that_name_a_time(
    play: Play, client: redis.Redis
) -> None:
    client.zadd("schedule", {job("plain"): 1.0, job("timed", at=5e9): 1.0})
    asked: list[bytes] = []

    async def client_push(members: list[bytes]) -> list[Push]:
        asked.extend(members)
        return [Push(Fate.SCHEDULE, score=5e9, payload=job("timed"))]

    assert play(client_push) == 2

    assert asked == [job("timed", at=5e9)]
    assert client.zrange("schedule", 0, -1, withscores=True) == [(job("timed"), 5e9)]
    assert client.llen("queue:q") == 1


@pytest.mark.parametrize("comment", [b"/* x */", b"// x\n"])
def test_a_job_with_a_comment_is_for_ruby_to_judge(
    play: Play, client: redis.Redis, comment: bytes
) -> None:
    members = {
        comment + job("before"),
        job("after") + comment,
        job("inside").replace(b":[]", b":[" + comment + b"]"),
        job("between").replace(b",", comment + b",", 1),
    }
    client.zadd("schedule", dict.fromkeys(members, 1.0))
    asked: list[bytes] = []

    async def client_push(members: list[bytes]) -> list[Push]:
        asked.extend(members)
        return [Push(Fate.ENQUEUE, "q", payload=b"without it") for _ in members]

    assert play(client_push) == 4

    assert set(asked) == members
    assert client.lrange("queue:q", 0, -1) == [b"without it"] * 4
    assert not client.exists("dead")


@pytest.mark.parametrize("since", ["boot", "later"])
def test_an_app_with_client_middleware_is_asked_about_every_job_and_obeyed(
    play: Play, client: redis.Redis, since: str
) -> None:
    said_in_hello = since == "boot"
    client.zadd("retry", {job(name): 1.0 for name in ("a", "b", "c", "d")})

    async def client_push(members: list[bytes]) -> list[Push]:
        # While it is asked, the jobs are in the set and nobody else's.
        assert client.zcard("retry") == 4
        assert client.zcount("retry", "-inf", client.time()[0]) == 0
        fates = {
            job("a"): Push(Fate.ENQUEUE, "other", payload=b"a, changed"),
            job("b"): Push(Fate.DROP),
            job("c"): Push(Fate.DEAD, payload=b"ArgumentError: no args"),
            job("d"): Push(Fate.KEEP, payload=b"RuntimeError: no room"),
        }
        return [fates[member] for member in members]

    known: dict[str, Any] = {"client": "app"} if said_in_hello else {"has_app_client": True}
    assert play(client_push, **known) == 3

    assert client.lrange("queue:other", 0, -1) == [b"a, changed"]
    assert client.zrange("dead", 0, -1) == [job("c")]
    [(kept, score)] = client.zrange("retry", 0, -1, withscores=True)
    assert kept == job("d")
    assert 0 < score - client.time()[0] <= LEASE_S + 1


def test_a_job_that_the_client_cannot_judge_does_not_keep_the_poller_busy(
    play: Play, client: redis.Redis
) -> None:
    client.zadd("retry", {job("a", at=1): 1.0})

    async def client_push(members: list[bytes]) -> list[Push]:
        return [Push(Fate.KEEP, payload=b"RuntimeError: no room")]

    assert play(client_push) == 0
    assert client.zrange("retry", 0, -1) == [job("a", at=1)]


def test_nothing_is_lost_when_no_worker_answers(play: Play, client: redis.Redis) -> None:
    client.zadd("retry", {job("a"): 1.0})

    async def client_push(members: list[bytes]) -> list[Push]:
        raise ExecutorUnavailable("worker 1 is gone")

    with pytest.raises(ExecutorUnavailable):
        play(client_push, client="app")
    assert client.zrange("retry", 0, -1) == [job("a")]


def test_two_pollers_promote_each_job_once(play: Play, client: redis.Redis) -> None:
    client.zadd("retry", {job(f"{i}"): 1.0 for i in range(1000)})

    async def client_push(members: list[bytes]) -> list[Push]:
        await asyncio.sleep(0)
        return [Push(Fate.ENQUEUE, "q", payload=member) for member in members]

    async def both(poller: Poller) -> list[int]:
        return await asyncio.gather(poller.promote_due(), poller.promote_due())

    assert sum(play(client_push, client="app", scene=both)) == 1000
    assert client.llen("queue:q") == len(set(client.lrange("queue:q", 0, -1))) == 1000


def test_when_quiet_it_ends_what_is_under_way_and_no_more(play: Play, client: redis.Redis) -> None:
    client.zadd("retry", {job(f"{i}"): 1.0 for i in range(1000)})
    pollers: list[Poller] = []

    async def client_push(members: list[bytes]) -> list[Push]:
        pollers[0].quiet()
        return [Push(Fate.ENQUEUE, "q", payload=member) for member in members]

    async def run(poller: Poller) -> None:
        pollers.append(poller)
        await poller.run()

    play(client_push, client="app", scene=run)

    # Nothing is left hidden under a lease.
    assert client.llen("queue:q") == 1000 - client.zcount("retry", "-inf", client.time()[0])
    assert 0 < client.llen("queue:q") < 1000


class PromotingWorker(NullWorker):
    """Answers PROMOTE, or drops dead."""

    def _handle(self, kind: int, body: bytes) -> None:
        super()._handle(kind, body)
        if kind == core.PROMOTE:
            token = int.from_bytes(body[:4], "big")
            if body.endswith(b"die"):
                assert self.transport is not None
                self.transport.abort()
            else:
                self.send(
                    core.encode_frame(core.PROMOTED, encode_promoted(token, [Push(Fate.DROP)]))
                )


def test_a_worker_answers_or_its_death_is_told(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devtools.null_sidecar.NullWorker", PromotingWorker)

    async def main() -> None:
        path = tmp_path / "s.sock"
        fleet = Fleet(str(path))
        fleet.welcome_all("me", [])
        with pytest.raises(ExecutorUnavailable, match="no worker is ready"):
            await fleet.client_push([b"early"])
        async with NullSidecar(path, hello(redis=server.socket)), asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(fleet.run())
            await fleet.served.wait()
            assert await fleet.client_push([b"member"]) == [Push(Fate.DROP)]
            with pytest.raises(ExecutorUnavailable, match="worker 1 is gone"):
                await fleet.client_push([b"die"])
            connecting.cancel()

    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await main()

    asyncio.run(bounded())
