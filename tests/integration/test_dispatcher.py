"""The loop on a real Redis and a sidecar without Ruby: nothing lost, nothing doubled, never more
than the slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from devtools.null_sidecar import Entry, Judge, NullSidecar, NullWorker, all_well, hello
from devtools.redis_server import RedisServer
from gokiq import core
from gokiq.app.info import RedisAddress, app_info
from gokiq.claiming.dispatcher import Dispatcher, linger_s
from gokiq.claiming.queue_watch import Waker
from gokiq.claiming.slots import Valve
from gokiq.core import Outcome
from gokiq.errors import ConnectionLost
from gokiq.limits.target import Rules
from gokiq.store.broker import CLAIM_BYTES, Broker, claims_key
from gokiq.store.link import RedisLink
from gokiq.workers.pool import Fleet

ME = "host:1:bbbbbbbbbbbb"
LIMIT_S = 20.0


class Stage:
    """The parts under test, running."""

    def __init__(
        self, client: redis.Redis, broker: Broker, dispatcher: Dispatcher, sidecar: NullSidecar
    ) -> None:
        self.client = client
        self.broker = broker
        self.dispatcher = dispatcher
        self.sidecar = sidecar

    def payloads(self) -> list[bytes]:
        """What the workers have seen, in order."""
        return [payload for _, _, _, payload in self.sidecar.seen]

    def is_done(self) -> bool:
        """Nothing in the queue, nothing claimed."""
        return not self.client.exists("queue:default", claims_key(ME, "default"))

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait on a condition; fails after LIMIT_S seconds."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture
def play(server: RedisServer, client: redis.Redis, tmp_path: Path) -> Callable[..., None]:
    def run(scene: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
        async def main() -> None:
            async with stage(server, tmp_path / "s.sock", **options) as running:
                await scene(running)

        asyncio.run(main())

    return run


@asynccontextmanager
async def stage(
    server: RedisServer,
    path: Path,
    *,
    concurrency: int = 10,
    judge: Judge = all_well,
    workers: int = 1,
    routes: Sequence[str] = ("default",),
    others: Sequence[dict[str, Any]] = (),
    credit: int = 0,
) -> AsyncIterator[Stage]:
    greeting = hello(redis=server.socket, concurrency=concurrency)
    greeting["sidekiq"]["capsules"] += others
    greeting["slots"] = credit or concurrency
    app = app_info(greeting)
    links = [
        RedisLink(RedisAddress(path=str(server.socket)), name=name)
        for name in ("hot", "link", "wake")
    ]
    broker = Broker(
        links[0],
        links[1],
        identity=ME,
        queues=[route.queue for route in app.routes],
        dead_max_jobs=10_000,
        dead_timeout_s=10_000,
    )
    fleet = Fleet(str(path))
    valve = Valve({capsule.name: capsule.concurrency for capsule in app.capsules})
    dispatcher = Dispatcher(broker, valve, app, fleet, random.Random(1))
    fleet.on_finished, fleet.on_orphans = dispatcher.finished, dispatcher.give_back
    fleet.on_room = dispatcher.room_changed
    fleet.welcome_all(ME, [{"capsule": "default", "queue": queue} for queue in routes])
    await broker.renew({})
    parts = (dispatcher, fleet, Waker(links[2], dispatcher))
    async with (
        NullSidecar(path, greeting, judge=judge, workers=workers) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        running = [tasks.create_task(part.run()) for part in parts]
        try:
            yield Stage(server.client, broker, dispatcher, sidecar)
        finally:
            for task in running:
                task.cancel()
    for link in links:
        with contextlib.suppress(ConnectionLost):
            await link.close()


def hold(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
    """Never answer."""
    return []


def push(client: redis.Redis, n: int) -> list[bytes]:
    jobs = [b'{"jid":"%d"}' % i for i in range(n)]
    client.lpush("queue:default", *jobs)
    return jobs


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_runs_once_and_nothing_is_left(
    play: Any, client: redis.Redis, workers: int
) -> None:
    jobs = push(client, 5000)

    async def scene(stage: Stage) -> None:
        await stage.until(stage.is_done)
        assert sorted(stage.payloads()) == sorted(jobs)
        assert client.get("stat:processed") == b"5000"
        await stage.until(lambda: stage.dispatcher.in_flight == 0)

    play(scene, workers=workers, concurrency=100)


def test_outcomes_wait_for_others_only_until_a_quarter_of_the_jobs_has_ended(
    play: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gokiq.claiming.dispatcher.linger_s", lambda run_s: 10 * LIMIT_S)
    push(client, 2000)

    def by_quarters(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
        for at in range(0, len(entries), 25):
            worker.report(all_well(worker, entries[at : at + 25]))
        return []

    async def scene(stage: Stage) -> None:
        await stage.until(stage.is_done)

    play(scene, concurrency=100, judge=by_quarters)


@pytest.mark.parametrize(
    ("run_s", "linger"),
    [(0.0, 0.002), (0.000_9, 0.002), (0.001, 0.001), (0.2, 0.002), (0.5, 0.005), (60.0, 0.005)],
)
def test_outcomes_of_long_jobs_may_wait_for_a_hundredth_of_their_time(
    run_s: float, linger: float
) -> None:
    assert linger_s(run_s) == pytest.approx(linger)


def test_one_slot_runs_jobs_in_the_order_of_their_push(play: Any, client: redis.Redis) -> None:
    jobs = push(client, 200)

    async def scene(stage: Stage) -> None:
        await stage.until(stage.is_done)
        assert stage.payloads() == jobs

    play(scene, concurrency=1)


def test_never_more_jobs_out_of_the_queue_than_slots(play: Any, client: redis.Redis) -> None:
    push(client, 50)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 7)
        stage.dispatcher.poke()
        await stage.until(lambda: not stage.dispatcher._wake.is_set())
        assert client.llen("queue:default") == 43
        assert client.hlen(claims_key(ME, "default")) == 7
        stage.sidecar.workers[0].report([Outcome(1, core.OK, 1)])
        await stage.until(lambda: len(stage.sidecar.seen) == 8)
        assert client.llen("queue:default") == 42

    play(scene, concurrency=7, judge=hold)


def test_a_claim_takes_fewer_jobs_when_they_are_large(play: Any, client: redis.Redis) -> None:
    jobs = [b'{"jid":"%d","args":["%s"]}' % (i, b"x" * 100_000) for i in range(200)]
    client.lpush("queue:default", *jobs)
    claims: list[list[bytes]] = []

    async def scene(stage: Stage) -> None:
        settle_claim = stage.broker.settle_claim

        async def watched(*args: Any) -> Any:
            taken = await settle_claim(*args)
            claims.append([payload for _, payloads in taken.claims for payload in payloads])
            return taken

        stage.broker.settle_claim = watched  # type: ignore[method-assign]
        await stage.until(stage.is_done)
        assert sorted(stage.payloads()) == sorted(jobs)
        # The first one, too; and all are taken although nobody says that there are more.
        assert max(sum(map(len, claim)) for claim in claims) <= CLAIM_BYTES

    play(scene, concurrency=200)


def test_a_claim_fills_all_slots_when_jobs_are_small(play: Any, client: redis.Redis) -> None:
    push(client, 2000)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 1000)
        assert stage.dispatcher.in_flight == 1000

    play(scene, concurrency=1000, judge=hold)


def test_jobs_claimed_by_rules_that_have_changed_meanwhile_go_back(
    play: Any, client: redis.Redis, server: RedisServer
) -> None:
    jobs = push(client, 20)
    client.lpush("queue:added", "new")

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 5)
        claim = stage.broker.settle_claim

        async def then_reload(*args: Any) -> Any:
            taken = await claim(*args)
            if taken.claims and stage.broker.settle_claim is not claim:
                stage.broker.settle_claim = claim  # type: ignore[method-assign]
                app = app_info(hello(redis=server.socket, queues=[("added", 0)], concurrency=3))
                before = app_info(hello(redis=server.socket))
                stage.broker.reloaded(["default", "added"], dead_max_jobs=9, dead_timeout_s=9)
                stage.dispatcher.reloaded(app.following(before), Rules(), {})
            return taken

        stage.broker.settle_claim = then_reload  # type: ignore[method-assign]
        worker = stage.sidecar.workers[0]
        worker.report([Outcome(number, core.OK, 1) for number in (1, 2)])
        await stage.until(lambda: client.llen("queue:default") == 15)
        assert client.lrange("queue:default", 0, -1) == jobs[:4:-1]
        # More are out than there are slots now: the new queue waits for room.
        worker.report([Outcome(3, core.OK, 1)])
        await stage.until(lambda: stage.payloads() == [*jobs[:5], b"new"])
        worker.report([Outcome(4, core.OK, 1), Outcome(5, core.OK, 1)])
        await stage.until(lambda: client.get("stat:processed") == b"5")
        assert client.hlen(claims_key(ME, "default")) == 0

    play(scene, concurrency=5, judge=hold, routes=["default", "added"])


def test_a_job_pushed_to_an_idle_system_is_seen_without_polling(
    play: Any, client: redis.Redis
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.until(
            lambda: any(
                b"tracking" in str(c).encode() or "t" in c["flags"] for c in client.client_list()
            )
        )
        for i in range(20):
            client.lpush("queue:default", f"job {i}")
            async with asyncio.timeout(1.0):  # the safety net polls every 2 s
                await stage.until(lambda i=i: len(stage.sidecar.seen) == i + 1)  # type: ignore[misc]

    play(scene)


def test_jobs_of_a_dead_worker_go_back_in_order_and_run_again(
    play: Any, client: redis.Redis
) -> None:
    jobs = push(client, 20)
    died: list[bytes] = []

    def die_once(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
        if died:
            return all_well(worker, entries)
        died.extend(payload for _, _, _, payload in entries)
        worker.transport.abort()  # type: ignore[union-attr]
        return []

    async def scene(stage: Stage) -> None:
        await stage.until(stage.is_done)
        assert sorted(stage.payloads()) == sorted(jobs + died)
        again = [payload for payload in stage.payloads()[len(died) :] if payload in died]
        assert again == died
        assert client.get("stat:processed") == b"20"
        assert client.get("stat:failed") is None

    play(scene, judge=die_once, workers=2, concurrency=5)


@pytest.mark.parametrize(
    "frame",
    [
        core.encode_frame(core.RESULTS, core.encode_results([Outcome(999, core.OK, 1)])),
        b"\xff\xff\xff\xff\x05\x00\x00\x00",
        b"\x00\x00\x00\x00\x63\x00\x00\x00",
        core.encode_frame(core.RESULTS, b"\x00" * 5),
    ],
    ids=["unknown number", "oversized", "unknown type", "truncated entry"],
)
def test_a_worker_that_breaks_the_protocol_is_dropped_and_its_jobs_run_elsewhere(
    play: Any, client: redis.Redis, frame: bytes
) -> None:
    jobs = push(client, 3)

    broken: list[bytes] = []

    def break_once(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
        if broken:
            return all_well(worker, entries)
        broken.extend(payload for _, _, _, payload in entries)
        worker.send(frame)
        return []

    async def scene(stage: Stage) -> None:
        await stage.until(stage.is_done)
        assert sorted(stage.payloads()) == sorted(jobs + broken)
        assert client.get("stat:processed") == b"3"

    play(scene, judge=break_once, workers=2, concurrency=3)


def test_quiet_claims_nothing_more_but_settles_what_runs(play: Any, client: redis.Redis) -> None:
    push(client, 9)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 4)
        stage.dispatcher.quiet()
        stage.sidecar.workers[0].report([Outcome(n, core.OK, 1) for n in range(1, 5)])
        await stage.dispatcher.settled()
        stage.dispatcher.poke()
        client.lpush("queue:default", "more")
        await stage.until(lambda: not client.exists(claims_key(ME, "default")))
        assert client.llen("queue:default") == 6
        assert len(stage.sidecar.seen) == 4

    play(scene, concurrency=4, judge=hold)


def test_jobs_of_a_claim_that_is_answered_while_we_drain_go_back(
    play: Any, client: redis.Redis
) -> None:
    jobs = push(client, 9)

    async def scene(stage: Stage) -> None:
        real = stage.broker.settle_claim

        async def late(*args: Any) -> Any:
            answer = await real(*args)
            if answer.claims:
                stage.dispatcher.quiet()
                stage.dispatcher.drain()
            return answer

        stage.broker.settle_claim = late  # type: ignore[method-assign]
        stage.dispatcher.poke()
        async with asyncio.timeout(LIMIT_S):
            await stage.until(lambda: stage.dispatcher._is_draining)
            await stage.dispatcher.settled()
        assert client.lrange("queue:default", 0, -1)[::-1] == jobs
        assert stage.payloads() == []

    play(scene, concurrency=4)


def test_a_job_too_large_for_a_frame_goes_to_dead_and_the_others_run(
    play: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gokiq.claiming.dispatcher.MAX_PAYLOAD_BYTES", 1000)
    giant = b'{"jid":"giant","args":["%b"]}' % (b"x" * 1000)
    client.lpush("queue:default", giant, "small")

    async def scene(stage: Stage) -> None:
        await stage.until(stage.is_done)
        assert client.zrange("dead", 0, -1) == [giant]
        assert stage.payloads() == [b"small"]
        assert client.get("stat:processed") == b"1"

    play(scene)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_reply_loses_and_doubles_nothing(play: Any, client: redis.Redis, lost: str) -> None:
    jobs = push(client, 300)

    async def scene(stage: Stage) -> None:
        real = stage.broker.settle_claim
        calls = 0

        async def flaky(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 5 == 3 and lost == "before":
                raise ConnectionLost("lost before it was executed")
            answer = await real(*args)
            if calls % 5 == 3:
                raise ConnectionLost("lost after it was executed")
            return answer

        stage.broker.settle_claim = flaky  # type: ignore[method-assign]
        await stage.until(stage.is_done)
        assert sorted(stage.payloads()) == sorted(jobs)
        assert calls > 5
        assert client.get("stat:processed") == b"300"
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert stage.dispatcher.dropped == 0

    play(scene, concurrency=20)


def test_a_claim_that_was_adopted_before_its_reply_was_read_does_not_run(
    play: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We were paused for longer than a lease between the two."""
    monkeypatch.setattr("gokiq.claiming.dispatcher.STALE_S", 0.2)
    jobs = push(client, 5)

    async def scene(stage: Stage) -> None:
        real = stage.broker.settle_claim
        adopted: list[bytes] = []

        async def paused(*args: Any) -> Any:
            answer = await real(*args)
            if answer.claims and not adopted:
                adopted.extend(client.hmget(claims_key(ME, "default"), 1, 2))
                client.hdel(claims_key(ME, "default"), 1, 2)
                await asyncio.sleep(0.3)  # the pause
            return answer

        stage.broker.settle_claim = paused  # type: ignore[method-assign]
        stage.dispatcher.poke()
        await stage.until(lambda: client.get("stat:processed") == b"3")
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert sorted(stage.payloads() + adopted) == sorted(jobs)
        assert len(adopted) == 2

    play(scene, concurrency=5)


def test_without_lease_nothing_is_claimed_until_it_is_renewed(
    play: Any, client: redis.Redis
) -> None:
    async def scene(stage: Stage) -> None:
        client.hdel("gokiq:leases", ME)
        push(client, 3)
        await asyncio.wait_for(stage.dispatcher.lease_lost.wait(), LIMIT_S)
        assert client.llen("queue:default") == 3
        await stage.broker.renew({})
        await stage.until(stage.is_done)

    play(scene)


def test_clients_killed_by_the_server_come_back(play: Any, client: redis.Redis) -> None:
    async def scene(stage: Stage) -> None:
        jobs = []
        for _ in range(4):
            jobs += push(client, 100)
            client.client_kill_filter(_type="normal", skipme=True)
            await stage.until(stage.is_done)
        assert sorted(stage.payloads()) == sorted(jobs)

    play(scene)


def test_capsules_share_the_credit_when_it_is_below_their_slots(
    play: Any, client: redis.Redis
) -> None:
    other = {"name": "other", "concurrency": 20, "mode": "strict", "queues": [["b", 0]]}

    async def scene(stage: Stage) -> None:
        def seen(route: int) -> int:
            return sum(one[1] == route for one in stage.sidecar.seen)

        client.lpush("queue:default", *(f"{{}}{i}" for i in range(3000)))
        client.lpush("queue:b", *(f"{{}}{i}" for i in range(3000)))
        stage.dispatcher.poke()
        await stage.until(lambda: seen(0) + seen(1) > 2000)
        assert min(seen(0), seen(1)) > 500
        # One that has no jobs leaves its part to the other.
        await stage.until(lambda: not client.exists("queue:default", "queue:b"))
        client.lpush("queue:b", *(f"{{}}{i}" for i in range(200)))
        stage.dispatcher.poke()
        await stage.until(lambda: not client.exists("queue:b"))

    play(scene, concurrency=20, others=[other], credit=10, routes=["default", "b"])
