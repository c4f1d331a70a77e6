"""What a refusal in the middle of a call, or the end of a worker in the middle of a write, may not
do to claims.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from devtools.null_sidecar import Entry, Judge, NullSidecar, NullWorker, all_well, hello
from devtools.redis_server import RedisServer
from gokiq import core
from gokiq.app.info import RedisAddress, app_info
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.slots import Valve
from gokiq.core import Job, Outcome
from gokiq.errors import ConnectionLost, ReplyError
from gokiq.store.broker import Broker, claims_key
from gokiq.store.link import RedisLink
from gokiq.workers.pool import Fleet

ME = "host:1:cccccccccccc"
LIMIT_S = 30.0
QUEUES = ("good", "bad")
Play = Callable[..., None]


class Stage:
    """The parts under test, running, and how often Redis was asked."""

    def __init__(self, broker: Broker, dispatcher: Dispatcher, sidecar: NullSidecar) -> None:
        self.broker = broker
        self.dispatcher = dispatcher
        self.sidecar = sidecar
        self.calls = 0

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait on a condition; fails after LIMIT_S seconds."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
def play(server: RedisServer, tmp_path: Path) -> Play:
    def run(scene: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
        async def main() -> None:
            async with _stage(server, tmp_path / "s.sock", **options) as running:
                await scene(running)

        asyncio.run(main())

    return run


@asynccontextmanager
async def _stage(
    server: RedisServer,
    path: Path,
    *,
    concurrency: int = 10,
    judge: Judge = all_well,
    capsules: int = 1,
) -> AsyncIterator[Stage]:
    greeting = hello(
        redis=server.socket, concurrency=concurrency, queues=[(name, 0) for name in QUEUES]
    )
    about = greeting["sidekiq"]
    about["capsules"] = [{**about["capsules"][0], "name": str(i)} for i in range(capsules)]
    greeting["slots"] = 50 * capsules
    app = app_info(greeting)
    queues = [route.queue for route in app.routes]
    links = [RedisLink(RedisAddress(path=str(server.socket)), name=name) for name in ("hot", "x")]
    broker = Broker(*links, identity=ME, queues=queues, dead_max_jobs=9999, dead_timeout_s=9999)
    fleet = Fleet(str(path))
    valve = Valve({capsule.name: concurrency for capsule in app.capsules})
    dispatcher = Dispatcher(broker, valve, app, fleet, random.Random(1))
    fleet.on_finished, fleet.on_orphans = dispatcher.finished, dispatcher.give_back
    fleet.on_room = dispatcher.room_changed
    fleet.welcome_all(ME, [{"capsule": r.capsule, "queue": r.queue} for r in app.routes])
    await broker.renew({})
    async with (
        NullSidecar(path, greeting, judge=judge) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        stage = Stage(broker, dispatcher, sidecar)
        real = broker.settle_claim

        async def counted(*args: Any) -> Any:
            stage.calls += 1
            return await real(*args)

        broker.settle_claim = counted  # type: ignore[method-assign, assignment]
        running = [tasks.create_task(part.run()) for part in (dispatcher, fleet)]
        try:
            yield stage
        finally:
            for task in running:
                task.cancel()
    for link in links:
        with contextlib.suppress(ConnectionLost):
            await link.close()


def hold(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
    """Never answer."""
    return []


def push(client: redis.Redis, queue: str, n: int) -> list[bytes]:
    jobs = [b'{"jid":"%d"}' % i for i in range(n)]
    client.lpush(f"queue:{queue}", *jobs)
    return jobs


def test_a_queue_that_is_no_list_neither_strands_nor_multiplies_the_claims_of_the_others(
    play: Play, client: redis.Redis
) -> None:
    jobs = push(client, "good", 8)
    client.set("queue:bad", "no list")

    async def scene(stage: Stage) -> None:
        most = 0

        def done() -> bool:
            nonlocal most
            most = max(most, client.hlen(claims_key(ME, "good")))
            return len(stage.sidecar.seen) >= 8 and not client.exists(claims_key(ME, "good"))

        await stage.until(done)
        assert most <= 3
        assert sorted(payload for *_, payload in stage.sidecar.seen) == sorted(jobs)
        assert client.get("stat:processed") == b"8"
        assert stage.dispatcher.dropped == 0

    play(scene, concurrency=3)


def test_outcomes_that_redis_refuses_are_tried_again_once_a_second(
    play: Play, client: redis.Redis
) -> None:
    push(client, "good", 3)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 3)
        client.config_set("maxmemory", 1)
        try:
            stage.calls = 0
            again = Outcome(1, core.RETRY, 3, score=1.5, payload=b"again")
            stage.sidecar.workers[0].report([again])
            await stage.until(lambda: stage.calls)
            await asyncio.sleep(2.5)  # what is measured is a rate
            assert stage.calls <= 5
        finally:
            client.config_set("maxmemory", 0)
        await stage.until(lambda: client.zcard("retry") == 1)

    play(scene, judge=hold)


def test_outcomes_find_the_master_again_after_theirs_became_a_replica(
    play: Play, client: redis.Redis
) -> None:
    push(client, "good", 3)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 3)
        client.replicaof("127.0.0.1", "1")
        try:
            stage.sidecar.workers[0].report(
                [Outcome(1, core.RETRY, 3, score=1.5, payload=b"again")]
            )
            await stage.until(lambda: stage.dispatcher._must_reconcile)
        finally:
            client.replicaof("NO", "ONE")
        await stage.until(lambda: client.zcard("retry") == 1)

    play(scene, judge=hold)


def test_claims_of_a_call_that_redis_ended_half_way_run_once(
    play: Play, client: redis.Redis
) -> None:
    jobs = push(client, "good", 60)

    async def scene(stage: Stage) -> None:
        real = stage.broker.settle_claim
        calls = 0

        async def ends_half_way(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            answer = await real(*args)
            if calls in (2, 4):
                raise ReplyError("half-way")
            return answer

        stage.broker.settle_claim = ends_half_way  # type: ignore[method-assign, assignment]
        await stage.until(lambda: client.get("stat:processed") == b"60")
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert calls > 4
        assert sorted(payload for *_, payload in stage.sidecar.seen) == sorted(jobs)
        assert not client.exists(claims_key(ME, "good"), "queue:good")
        assert stage.dispatcher.dropped == 0

    play(scene, concurrency=20)


def test_a_redis_that_answers_reads_and_refuses_writes_is_asked_less_and_less(
    play: Play, client: redis.Redis
) -> None:
    push(client, "good", 3)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 3)
        real = stage.broker.raise_epoch

        async def counted() -> bool:
            stage.calls += 1
            return await real()

        stage.broker.raise_epoch = counted  # type: ignore[method-assign]
        client.config_set("min-replicas-to-write", 1)
        try:
            stage.calls = 0
            stage.sidecar.workers[0].report([Outcome(1, core.OK, 1)])
            await asyncio.sleep(3)  # what is measured is a rate
            assert 1 < stage.calls <= 8
        finally:
            client.config_set("min-replicas-to-write", 0)
        await stage.until(lambda: client.get("stat:processed") == b"1")

    play(scene, judge=hold)


def test_the_log_says_why_a_job_that_the_worker_could_not_judge_is_dead(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.lpush("queue:good", b'{"jid":"j1","class":"Odd"}')
    lines: list[str] = []
    log = SimpleNamespace(error=lambda text, *values: lines.append(text % values))
    monkeypatch.setattr("gokiq.claiming.dispatcher.log", log)

    def fail(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
        why = {"error_class": "TooLarge", "error_message": "no frame"}
        return [Outcome(number, core.INTERNAL, 3, **why) for number, *_ in entries]

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: client.zcard("dead"))
        found = [line for line in lines if "jid=j1 class=Odd" in line]
        assert len(found) == 1
        assert "TooLarge: no frame" in found[0]

    play(scene, judge=fail)


def test_a_job_too_large_for_a_frame_is_never_held_as_a_suspect(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gokiq.claiming.dispatcher.MAX_PAYLOAD_BYTES", 100)
    giant = b'{"jid":"giant","args":["%b"]}' % (b"x" * 100)

    async def scene(stage: Stage) -> None:
        screened: list[bytes] = []

        def screen(jobs: list[Job]) -> list[Job]:
            screened.extend(job.payload for job in jobs)
            return jobs

        stage.dispatcher.screen = screen
        client.lpush("queue:good", giant, "small")
        stage.dispatcher.poke()
        await stage.until(lambda: client.zrange("dead", 0, -1) == [giant])
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert screened == [b"small"]

    play(scene)


def test_claims_found_again_in_a_queue_of_two_capsules_are_no_reason_to_claim_more(
    play: Play, client: redis.Redis
) -> None:
    async def scene(stage: Stage) -> None:
        real = stage.broker.settle_claim

        async def loses_the_first(*args: Any) -> Any:
            answer = await real(*args)
            if answer.claims and not stage.sidecar.seen:
                raise ConnectionLost("lost after it was executed")
            return answer

        stage.broker.settle_claim = loses_the_first  # type: ignore[method-assign, assignment]
        push(client, "good", 20)
        stage.dispatcher.poke()
        await stage.until(lambda: len(stage.sidecar.seen) >= 4)
        stage.dispatcher.poke()
        await stage.until(lambda: not stage.dispatcher._wake.is_set())
        assert stage.dispatcher.in_flight == 4
        assert client.hlen(claims_key(ME, "good")) == 4

    play(scene, concurrency=2, capsules=2, judge=hold)
