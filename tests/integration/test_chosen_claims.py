"""Claims of chosen jobs: limits of classes, with dispatchers of several owners
on a real Redis.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
import redis
from test_claim_limits import LIMIT_S, Stage, job, play, push

from gokiq.app.job import kind_of
from gokiq.errors import ConnectionLost
from gokiq.limits.rate import Rate
from gokiq.limits.target import Rules, dependency, job_class, queue
from gokiq.store.broker import claims_key

__all__ = ["play"]  # the fixture

ROUNDS = 4


def out(stage: Stage, kind: str, name: str = "a") -> int:
    """Claimed jobs of a class."""
    claimed = [
        payload
        for one in stage.owners
        for payload in stage.client.hvals(claims_key(one.name, name))
    ]
    return sum(kind_of(payload) == kind for payload in claimed)


@pytest.mark.parametrize(
    ("rules", "slow"),
    [
        (Rules({job_class("Slow"): 2}), 2),
        (Rules({job_class("Slow"): 0}), 0),
        (Rules(cluster={job_class("Slow"): 3}), 3),
        (Rules(rates={job_class("Slow"): Rate(4, 3600.0, 4)}), 4),
        (Rules(rates={job_class("Slow"): Rate(5, 86_400.0, is_window=True)}), 5),
        (Rules({dependency("db"): 3}, dependencies={job_class("Slow"): "db"}), 3),
    ],
    ids=str,
)
def test_jobs_behind_those_of_a_limited_class_are_claimed(
    play: Any, client: redis.Redis, rules: Rules, slow: int
) -> None:
    push(client, "a", 300, "Slow")
    push(client, "a", 40, "Fast")

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: (out(stage, "Slow"), out(stage, "Fast")) == (slow, 20 - slow))
        await stage.settled()
        assert (out(stage, "Slow"), out(stage, "Fast")) == (slow, 20 - slow)
        left = [kind_of(payload) for payload in client.lrange("queue:a", 0, -1)]
        assert Counter(left) == {"Slow": 300 - slow, "Fast": 20 + slow}

    play(scene, rules=rules)


def test_a_job_that_ends_makes_room_for_the_next_of_its_class(
    play: Any, client: redis.Redis
) -> None:
    jobs = push(client, "a", 30, "Slow")

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        for done in range(0, 30, 3):
            await stage.until(lambda done=done: len(owner.sidecar.seen) == done + 3)  # type: ignore[misc]
            await stage.settled(0.05)
            assert out(stage, "Slow") == 3
            owner.end(3)
        await stage.until(lambda: stage.out("a") == 0)
        assert [payload for _, _, _, payload in owner.sidecar.seen] == jobs

    play(scene, rules=Rules({job_class("Slow"): 3}))


def test_what_all_may_not_have_together_counts_for_class_and_queue(
    play: Any, client: redis.Redis
) -> None:
    """One dependency, of a class and of the queue that it is in: each job counts once."""
    push(client, "a", 30, "Slow")
    rules = Rules({dependency("db"): 6}, dependencies={job_class("Slow"): "db", queue("a"): "db"})

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.out("a") == 6)
        await stage.settled()
        assert stage.out("a") == 6

    play(scene, rules=rules)


def test_nobody_asks_redis_while_no_job_passes(play: Any, client: redis.Redis) -> None:
    push(client, "a", 1500, "Slow")

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: out(stage, "Slow") == 3)
        await stage.settled()
        before = client.info("stats")["total_commands_processed"]
        asked = 0
        for _ in range(50):
            push(client, "a", 1, "Slow")
            await asyncio.sleep(0.01)
            asked += 2  # our own push and info
        assert client.info("stats")["total_commands_processed"] - before <= asked + 10

    play(scene, rules=Rules({job_class("Slow"): 3}, paused=frozenset({"b"})))


def test_a_job_that_passes_is_claimed_at_once_although_others_wait(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 30, "Slow")

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: out(stage, "Slow") == 3)
        for count in range(1, 6):
            await stage.until(stage.dispatcher.starving.is_set)
            push(client, "a", 1, "Fast")
            took = await stage.until(lambda count=count: out(stage, "Fast") == count)  # type: ignore[misc]
            assert took < 1.0

    play(scene, rules=Rules({job_class("Slow"): 3}))


@pytest.mark.parametrize(
    "rules", [Rules(), Rules({queue("a"): 9}), Rules({job_class("Slow"): 9})], ids=str
)
def test_a_job_that_comes_while_a_claim_is_under_way_is_claimed_at_once(
    play: Any, client: redis.Redis, rules: Rules
) -> None:
    """Redis has looked already, and we have not yet heard what it found."""

    async def scene(stage: Stage) -> None:
        await stage.until(stage.dispatcher.starving.is_set)
        await stage.settled()
        owner = stage.owners[0]
        real = owner.broker.settle_claim
        late = [job("Fast", 100 + i) for i in range(6)]

        async def slow(*args: Any) -> Any:
            answer = await real(*args)
            if late:
                client.lpush("queue:a", late.pop())
                await asyncio.sleep(0.05)  # the waker hears of it before we do of the claim
            return answer

        owner.broker.settle_claim = slow  # type: ignore[method-assign]
        push(client, "a", 1)
        assert await stage.until(lambda: stage.out("a") == 7) < 1.0

    play(scene, rules=rules)


def test_a_limit_of_a_class_that_is_set_and_lifted_shows_at_once(
    play: Any, client: redis.Redis
) -> None:
    push(client, "a", 200, "Slow")

    async def scene(stage: Stage) -> None:
        owner = stage.owners[0]
        await stage.until(lambda: out(stage, "Slow") == 20)
        stage.limit(Rules({job_class("Slow"): 5}))
        owner.end(18)
        await stage.until(lambda: out(stage, "Slow") == 5)
        stage.limit(Rules())
        assert await stage.until(lambda: out(stage, "Slow") == 20) < 1.0

    play(scene)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Rules({job_class("Slow"): 5}), Rules()),
        (Rules(cluster={job_class("Slow"): 5}), Rules()),
        (Rules({job_class("Slow"): 5}), Rules({queue("a"): 20})),
        (Rules(), Rules({job_class("Slow"): 20})),
    ],
    ids=str,
)
def test_a_limit_of_a_class_may_change_while_a_claim_is_under_way(
    play: Any, client: redis.Redis, before: Rules, after: Rules
) -> None:
    """Jobs were chosen by the limit, and it is gone when we hear what became of them."""

    async def scene(stage: Stage) -> None:
        await stage.until(stage.dispatcher.starving.is_set)
        owner = stage.owners[0]
        real = owner.broker.settle_claim
        changed = False

        async def slow(*args: Any) -> Any:
            nonlocal changed
            answer = await real(*args)
            if not changed and stage.out("a"):
                changed = True
                stage.limit(after)
            return answer

        owner.broker.settle_claim = slow  # type: ignore[method-assign]
        push(client, "a", 200, "Slow")
        await stage.until(lambda: changed or owner.parts[0].done())
        await stage.until(lambda: out(stage, "Slow") == 20 or owner.parts[0].done())
        assert out(stage, "Slow") == 20

    play(scene, rules=before)


def test_a_limit_for_all_of_a_class_holds_over_three_owners(play: Any, client: redis.Redis) -> None:
    for _ in range(40):
        push(client, "a", 5, "Slow")
        push(client, "a", 5, "Fast")

    async def scene(stage: Stage) -> None:
        rng = random.Random(5)
        most = 0
        async with asyncio.timeout(2 * LIMIT_S):
            while client.get("stat:processed") != b"400":
                slow = out(stage, "Slow")
                assert slow <= 4
                most = max(most, slow)
                rng.choice(stage.owners).end(rng.randrange(1, 4))
                await asyncio.sleep(0.001)
        assert most == 4
        assert client.keys("gokiq:permits:*") == []

    play(scene, owners=3, rules=Rules(cluster={job_class("Slow"): 4}))


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_reply_loses_no_chosen_job(play: Any, client: redis.Redis, lost: str) -> None:
    for _ in range(20):
        push(client, "a", 2, "Slow")
        push(client, "a", 1, "Fast")

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
        async with asyncio.timeout(2 * LIMIT_S):
            while client.get("stat:processed") != b"60":
                assert out(stage, "Slow") <= 4
                owner.end(2)
                await asyncio.sleep(0.005)
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert client.llen("queue:a") == 0

    play(scene, rules=Rules({job_class("Slow"): 4}))


def test_broken_payloads_pass_a_queue_with_limited_classes(play: Any, client: redis.Redis) -> None:
    broken = [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"{}", b"123"]
    client.lpush("queue:a", *broken)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: stage.out("a") == len(broken))

    play(scene, rules=Rules({job_class("Slow"): 0}))
