"""Claims under limits: real Redis, dispatchers of several owners, workers that never answer unless
they are told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from devtools.null_sidecar import Entry, Judge, NullSidecar, NullWorker, all_well, hello
from devtools.redis_server import RedisServer
from gokiq import core
from gokiq.app.info import RedisAddress, app_info
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.queue_watch import Waker
from gokiq.claiming.slots import Valve
from gokiq.core import Outcome
from gokiq.errors import ConnectionLost
from gokiq.limits.dependency import Dependency
from gokiq.limits.guards import permits_key
from gokiq.limits.rate import Rate
from gokiq.limits.target import TOTAL, Rules, Target, capsule, dependency, queue
from gokiq.store.broker import LEASES, Broker, claims_key, lease_key
from gokiq.store.link import RedisLink
from gokiq.workers.pool import Fleet

LIMIT_S = 30.0
#: How soon a limit that is set must show.
SOON_S = 1.0


class Owner:
    """One orchestrator's claim path, and the workers that it gives jobs to."""

    def __init__(self, name: str, dispatcher: Dispatcher, sidecar: NullSidecar, broker: Broker):
        self.name = name
        self.dispatcher = dispatcher
        self.sidecar = sidecar
        self.broker = broker
        self.parts: list[asyncio.Task[None]] = []

    def end(self, count: int) -> None:
        """Its oldest jobs end well."""
        numbers = sorted(
            number for worker in self.dispatcher._fleet.workers for number in worker.open
        )
        if numbers:
            self.sidecar.workers[0].report([Outcome(n, core.OK, 1, 1000) for n in numbers[:count]])

    def die(self) -> None:
        """As by SIGKILL: nobody settles any more."""
        for part in self.parts:
            part.cancel()


class Stage:
    """Several owners on one Redis."""

    def __init__(self, client: redis.Redis, owners: list[Owner], queues: Sequence[str]) -> None:
        self.client = client
        self.owners = owners
        self.queues = queues

    @property
    def dispatcher(self) -> Dispatcher:
        return self.owners[0].dispatcher

    def out(self, name: str) -> int:
        """Jobs of a queue that are claimed."""
        return sum(int(self.client.hlen(claims_key(o.name, name))) for o in self.owners)

    def limit(self, rules: Rules, needs: dict[Target, Any] | None = None) -> None:
        """For all owners, as operators do it."""
        for owner in self.owners:
            owner.dispatcher.limit(rules, needs or {})

    async def until(self, condition: Callable[[], Any]) -> float:
        """Wait on a condition; how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def settled(self, seconds: float = 0.3) -> None:
        """Until nothing has been claimed or settled for a while."""
        calls, since = -1, time.monotonic()
        while time.monotonic() - since < seconds:
            now = self.client.info("commandstats").get("cmdstat_hset", {}).get("calls", 0)
            if now != calls:
                calls, since = now, time.monotonic()
            await asyncio.sleep(0.02)


def hold(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
    """Never answer."""
    return []


def job(name: str, number: int) -> bytes:
    return b'{"jid":"%d","class":"%b"}' % (number, name.encode())


def push(client: redis.Redis, name: str, count: int, job_class: str = "PlainJob") -> list[bytes]:
    jobs = [job(job_class, i) for i in range(count)]
    client.lpush(f"queue:{name}", *jobs)
    return jobs


@pytest.fixture
def play(server: RedisServer, client: redis.Redis, tmp_path: Path) -> Callable[..., None]:
    def run(scene: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
        async def main() -> None:
            async with stage(server, tmp_path, **options) as running:
                await scene(running)

        asyncio.run(main())

    return run


@asynccontextmanager
async def stage(
    server: RedisServer,
    folder: Path,
    *,
    owners: int = 1,
    rules: Rules | None = None,
    needs: Callable[[], dict[Target, Any]] = dict,
    concurrency: int = 20,
    judge: Judge = hold,
    queues: Sequence[str] = ("a", "b"),
) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(
                _owner(
                    server,
                    folder / f"{i}.sock",
                    f"host:{i}:x",
                    concurrency,
                    judge,
                    queues,
                    lambda dispatcher: dispatcher.limit(rules or Rules(), needs(), is_first=True),
                )
            )
            for i in range(owners)
        ]
        yield Stage(server.client, running, queues)


@asynccontextmanager
async def _owner(
    server: RedisServer,
    path: Path,
    me: str,
    concurrency: int,
    judge: Judge,
    queues: Sequence[str],
    rule: Callable[[Dispatcher], None],
) -> AsyncIterator[Owner]:
    greeting = hello(redis=server.socket, concurrency=concurrency, queues=[(q, 0) for q in queues])
    app = app_info(greeting)
    address = RedisAddress(path=str(server.socket))
    links = [RedisLink(address, name=name) for name in ("hot", "link", "wake")]
    hot, link, wake = links
    broker = Broker(
        hot, link, identity=me, queues=list(queues), dead_max_jobs=10_000, dead_timeout_s=10_000
    )
    fleet = Fleet(str(path))
    dispatcher = Dispatcher(broker, Valve({"default": concurrency}), app, fleet, random.Random(1))
    rule(dispatcher)
    fleet.on_finished, fleet.on_orphans = dispatcher.finished, dispatcher.give_back
    fleet.on_room = dispatcher.room_changed
    fleet.welcome_all(me, [{"capsule": "default", "queue": q} for q in queues])
    await broker.renew({})
    async with NullSidecar(path, greeting, judge=judge) as sidecar:
        owner = Owner(me, dispatcher, sidecar, broker)
        parts = (dispatcher, fleet, Waker(wake, dispatcher))
        owner.parts = [asyncio.create_task(part.run()) for part in parts]
        try:
            yield owner
        finally:
            for task in owner.parts:
                task.cancel()
            ended = await asyncio.gather(*owner.parts, return_exceptions=True)
            failed = [e for e in ended if e and not isinstance(e, asyncio.CancelledError)]
            for one in links:
                with contextlib.suppress(ConnectionLost):
                    await one.close()
            assert not failed, failed


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules({queue("a"): 3}), (3, 17)),
        (Rules({queue("a"): 3, queue("b"): 2}), (3, 2)),
        (Rules({TOTAL: 5}), (5, 0)),
        (Rules({capsule("default"): 4, queue("a"): 3}), (3, 1)),
        (Rules({queue("a"): 0}), (0, 20)),
        (Rules(paused=frozenset({"a"})), (0, 20)),
        (Rules({dependency("db"): 4}, dependencies={queue("a"): "db", queue("b"): "db"}), (4, 0)),
        (Rules(cluster={queue("a"): 3}), (3, 17)),
        (Rules(cluster={queue("a"): 3, TOTAL: 5}), (3, 2)),
        (Rules(rates={queue("a"): Rate(2, 3600.0, 4)}), (4, 16)),
        (Rules(rates={queue("a"): Rate(6, 86_400.0, is_window=True)}), (6, 14)),
        (Rules(rates={queue("a"): Rate(6, 86_400.0, is_sliding=True)}), (6, 14)),
    ],
    ids=str,
)
def test_no_more_is_claimed_than_the_rules_admit(
    play: Any, client: redis.Redis, rules: Rules, expected: tuple[int, int]
) -> None:
    push(client, "a", 50)
    push(client, "b", 50)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: (stage.out("a"), stage.out("b")) == expected)
        await stage.settled()
        assert (stage.out("a"), stage.out("b")) == expected
        assert client.llen("queue:a") == 50 - expected[0]

    play(scene, rules=rules)


@pytest.mark.parametrize(
    "rules",
    [Rules({queue("a"): 3}), Rules(cluster={queue("a"): 3}), Rules({TOTAL: 3}, {TOTAL: 4})],
    ids=str,
)
def test_a_job_that_ends_makes_room_for_the_next(
    play: Any, client: redis.Redis, rules: Rules
) -> None:
    jobs = push(client, "a", 30)

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        for done in range(0, 30, 3):
            await stage.until(lambda done=done: len(owner.sidecar.seen) == min(done + 3, 30))  # type: ignore[misc]
            assert stage.out("a") == 3
            owner.end(3)
        await stage.until(lambda: stage.out("a") == 0)
        assert [payload for _, _, _, payload in owner.sidecar.seen] == jobs
        assert client.keys("gokiq:permits:*") == []

    play(scene, rules=rules)


def test_a_job_that_comes_to_an_empty_queue_beside_a_full_one_is_claimed_at_once(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 30)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.out("a") == 3)
        for count in range(1, 6):
            await stage.until(stage.dispatcher.starving.is_set)
            push(client, "b", 1)
            took = await stage.until(lambda count=count: stage.out("b") == count)  # type: ignore[misc]
            assert took < SOON_S
        assert stage.out("a") == 3

    play(scene, rules=Rules({queue("a"): 3}))


def test_nobody_asks_redis_while_all_queues_are_at_their_limit(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 30)
    push(client, "b", 30)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.out("a") == 3)
        await stage.settled()
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        for _ in range(50):
            push(client, "a", 1)
            await asyncio.sleep(0.01)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 1

    play(scene, rules=Rules({queue("a"): 3}, paused=frozenset({"b"})))


def test_limits_that_are_set_raised_and_lifted_show_at_once(play: Any, client: redis.Redis) -> None:
    push(client, "a", 100)

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        await stage.until(lambda: stage.out("a") == 20)
        stage.limit(Rules({queue("a"): 5}))
        owner.end(16)
        await stage.until(lambda: stage.out("a") == 5)
        await stage.settled()
        assert stage.out("a") == 5
        for rules, expected in [
            (Rules({queue("a"): 7}), 7),
            (Rules(cluster={queue("a"): 9}), 9),
            (Rules(), 20),
        ]:
            stage.limit(rules)
            took = await stage.until(lambda expected=expected: stage.out("a") == expected)  # type: ignore[misc]
            assert took < SOON_S
        stage.limit(Rules(paused=frozenset({"a"})))
        owner.end(20)
        await stage.until(lambda: stage.out("a") == 0)
        stage.limit(Rules())
        assert await stage.until(lambda: stage.out("a") == 20) < SOON_S
        assert client.keys("gokiq:permits:*") == []

    play(scene)


def test_a_limit_for_all_holds_over_four_owners_and_is_used_to_the_full(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 400)
    most = 0

    async def scene(stage: Stage) -> None:
        nonlocal most
        rng = random.Random(5)
        while client.get("stat:processed") != b"400":
            async with asyncio.timeout(LIMIT_S):
                out = stage.out("a")
                most = max(most, out)
                assert out <= 7
                rng.choice(stage.owners).end(rng.randrange(1, 4))
                await asyncio.sleep(0.001)
        assert most == 7
        assert client.keys("gokiq:permits:*") == []

    play(scene, owners=4, rules=Rules(cluster={queue("a"): 7}))


def test_what_a_dead_owner_held_is_free_once_its_lease_is_gone_and_not_before(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 50)

    async def scene(stage: Stage) -> None:
        first, second = stage.owners
        await stage.until(lambda: stage.out("a") == 6)
        held = int(client.hlen(claims_key(first.name, "a")))
        while not held:  # the other one was faster
            second.end(1)
            await asyncio.sleep(0.01)
            held = int(client.hlen(claims_key(first.name, "a")))
        await stage.until(lambda: stage.out("a") == 6)
        first.die()
        held = int(client.hlen(claims_key(first.name, "a")))
        await stage.settled()
        assert stage.out("a") == 6
        assert client.hlen(permits_key(queue("a"))) == 2 - (held == 6)
        client.hdel(LEASES, first.name)
        client.delete(lease_key(first.name))
        await stage.until(lambda: int(client.hlen(claims_key(second.name, "a"))) == 6)
        assert client.hkeys(permits_key(queue("a"))) == [second.name.encode()]

    play(scene, owners=2, rules=Rules(cluster={queue("a"): 6}))


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_reply_neither_leaks_nor_doubles_a_permit(
    play: Any, client: redis.Redis, lost: str
) -> None:
    push(client, "a", 60)

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        real = owner.broker.settle_claim
        calls = 0

        async def flaky(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 4 == 2 and lost == "before":
                raise ConnectionLost("lost before it was executed")
            answer = await real(*args)
            if calls % 4 == 2:
                raise ConnectionLost("lost after it was executed")
            return answer

        owner.broker.settle_claim = flaky  # type: ignore[method-assign]
        while client.get("stat:processed") != b"60":
            async with asyncio.timeout(LIMIT_S):
                assert stage.out("a") <= 4
                owner.end(2)
                await asyncio.sleep(0.005)
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert client.keys("gokiq:permits:*") == []

    play(scene, rules=Rules(cluster={queue("a"): 4}))


def test_a_rate_lets_jobs_start_at_its_pace_over_all_owners(play: Any, client: redis.Redis) -> None:
    push(client, "a", 200)

    async def scene(stage: Stage) -> None:
        client.config_resetstat()
        began = time.monotonic()
        await stage.until(lambda: client.llen("queue:a") <= 170)
        took = time.monotonic() - began
        # 5 at once, then 25 at 50 a second; a loaded machine may be later, never earlier.
        assert took >= 24 / 50
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert calls < 400

    play(scene, owners=2, judge=all_well, rules=Rules(rates={queue("a"): Rate(50, 1.0, 5)}))


def test_a_sliding_rate_starts_no_more_in_any_stretch_of_time(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 60)

    async def scene(stage: Stage) -> None:
        began: list[float] = []
        left = 60

        def look() -> bool:
            nonlocal left
            now = time.monotonic()
            left, before = client.llen("queue:a"), left
            began.extend([now] * (before - left))
            return left == 0

        await stage.until(look)
        # What starts at the end of one stretch counts at the begin of the next.
        assert all(b - a > 0.4 - 0.05 for a, b in zip(began, began[8:], strict=False))
        assert began[-1] - began[0] < 60 / 8 * 0.4 + 5
        assert client.llen("gokiq:starts:queue:a") <= 8
        await stage.until(lambda: not client.exists("gokiq:starts:queue:a"))

    rate = Rate(8, 0.4, is_sliding=True)
    play(scene, owners=2, judge=all_well, rules=Rules(rates={queue("a"): rate}))


@pytest.mark.parametrize(
    "rate",
    [
        Rate(2, 200.0, 4),
        Rate(4, 1000.0, is_window=True),
        Rate(4, 1000.0, is_sliding=True),
    ],
    ids=str,
)
def test_the_claim_wakes_when_the_next_token_comes(
    play: Any, client: redis.Redis, rate: Rate
) -> None:
    push(client, "a", 20)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.out("a") == 4)
        await stage.until(lambda: stage.dispatcher.gate.retry_at is not None)
        retry_at = stage.dispatcher.gate.retry_at
        assert retry_at is not None
        wait_s = retry_at - time.monotonic()
        if rate.is_window:
            seconds, micros = client.time()
            off_s = (seconds + micros / 1e6 + wait_s) % rate.per_s
            assert min(off_s, rate.per_s - off_s) < SOON_S
        elif rate.is_sliding:
            assert 980 < wait_s <= 1000  # so long after the first has started
        else:
            assert 80 < wait_s <= 100  # so long after the first of four tokens was taken

    play(scene, rules=Rules(rates={queue("a"): rate}))


def test_a_window_starts_anew_and_is_woken_for(play: Any, client: redis.Redis) -> None:
    push(client, "a", 12)

    async def scene(stage: Stage) -> None:
        took = await stage.until(lambda: client.get("stat:processed") == b"12")
        assert took < 12 / 4 * 0.5 + SOON_S + 2

    play(scene, judge=all_well, rules=Rules(rates={queue("a"): Rate(4, 0.5, is_window=True)}))


def test_the_limit_of_a_dependency_moves_with_what_its_jobs_say(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 500)

    def needs() -> dict[Target, Any]:
        settings = {"min": 2, "max": 12}
        return {queue("a"): Dependency.from_settings("a", settings, rng=random.Random(1))}

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        need = stage.dispatcher.gate._needs[queue("a")]
        await stage.until(lambda: stage.out("a") == 2)
        while client.get("stat:processed") != b"500":
            async with asyncio.timeout(LIMIT_S):
                owner.end(5)
                await asyncio.sleep(0.002)
        assert need.limit == 12
        assert need.in_flight == 0  # type: ignore[attr-defined]

    play(scene, needs=needs)


def test_an_open_breaker_leaves_jobs_in_their_queue_and_probes(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 200)
    sick = True

    def judge(worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
        if not sick:
            return all_well(worker, entries)
        return [
            Outcome(number, core.DEAD, 3, 10, 1.0, b"", "Net::ReadTimeout", "away")
            for number, _, _, _ in entries
        ]

    def needs() -> dict[Target, Any]:
        breaker = {"volume": 5, "pause": 0.2, "longest_pause": 0.3, "probes": 1}
        settings = {"adaptive": False, "breaker": breaker}
        return {queue("a"): Dependency.from_settings("a", settings, rng=random.Random(1))}

    async def scene(stage: Stage) -> None:
        nonlocal sick
        need = stage.dispatcher.gate._needs[queue("a")]
        await stage.until(lambda: need.blocked_by == "breaker")
        left = int(client.llen("queue:a"))
        assert left > 100
        await stage.until(lambda: client.llen("queue:a") < left)  # a probe
        assert client.llen("queue:a") >= left - 3
        sick = False
        await stage.until(lambda: not client.exists("queue:a"))

    play(scene, needs=needs, judge=judge)


def test_jobs_that_run_here_count_although_their_claims_were_adopted(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 20)

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        await stage.until(lambda: len(owner.sidecar.seen) == 3)
        await stage.settled()
        client.delete(claims_key(owner.name, "a"))
        owner.dispatcher.audit()
        await stage.until(lambda: owner.dispatcher.reconciler.gone == 3)
        stage.dispatcher.poke()
        await stage.settled()
        assert len(owner.sidecar.seen) == 3

        owner.end(3)
        await stage.until(lambda: len(owner.sidecar.seen) == 6)
        await stage.settled()
        assert len(owner.sidecar.seen) == 6

    play(scene, rules=Rules({queue("a"): 3}))
