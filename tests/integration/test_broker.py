"""Every verb of the broker on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.core import DEAD, DISCARDED, INTERNAL, REFUSED, RETRY, SHUTDOWN, Job, Outcome
from gokiq.errors import ReplyError
from gokiq.store.broker import CLAIM_BYTES, LEASES, Broker, Move, Settlement, claims_key, lease_key
from gokiq.store.link import RedisLink
from gokiq.store.owners import NO_SIGN, Dead, Owners
from gokiq.store.push import Fate, Push

ME = "host:1:aaaaaaaaaaaa"
ROUTES = ["a", "b", "a"]  # route 2: a second capsule that reads queue a
NOW = 1_800_000_000.0

Play = Callable[[Broker], Awaitable[Any]]


@pytest.fixture
def play(server: RedisServer, client: redis.Redis) -> Callable[[Play], Any]:
    """Run a coroutine with a broker that holds its lease."""

    def run(scene: Play) -> Any:
        async def main() -> Any:
            address = RedisAddress(path=str(server.socket))
            links = [RedisLink(address, name=name) for name in ("hot", "link")]
            broker = Broker(
                *links,
                identity=ME,
                queues=ROUTES,
                dead_max_jobs=5,
                dead_timeout_s=100,
                clock=lambda: NOW,
            )
            await broker.renew({"pid": 1})
            try:
                return await scene(broker)
            finally:
                for link in links:
                    await link.close()

        return asyncio.run(main())

    return run


def settle(*pairs: tuple[int, Outcome]) -> Settlement:
    settlement = Settlement()
    for route, outcome in pairs:
        settlement.add(route, outcome)
    return settlement


def well(*numbers: int) -> Settlement:
    """Jobs of queue a that ended well."""
    settlement = Settlement()
    settlement.add_well(0, [Job(number, 0, b"", 0.0) for number in numbers])
    return settlement


def lose_lease(client: redis.Redis) -> None:
    client.hdel(LEASES, ME)
    client.delete(lease_key(ME))


async def sign_of(broker: Broker) -> bytes:
    return (await Owners(broker.link).signs())[ME]


async def adopt(broker: Broker, sign: bytes) -> list[str]:
    """As a peer does that has seen this sign of life for too long."""
    return (await Owners(broker.link).adopt(Dead(ME, sign, proved=False), ["a", "b"]))[0]


async def claim(
    broker: Broker, want: int, plan: list[tuple[int, int]]
) -> list[tuple[int, list[bytes]]]:
    return (await broker.settle_claim(Settlement(), [(want, plan)])).claims


def test_claim_takes_the_oldest_first_and_leaves_the_rest(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1", "2", "3", "4")

    claims = play(lambda broker: claim(broker, 3, [(0, 3)]))

    assert claims == [(0, [b"1", b"2", b"3"])]
    assert client.lrange("queue:a", 0, -1) == [b"4"]
    assert client.hgetall(claims_key(ME, "a")) == {b"1": b"1", b"2": b"2", b"3": b"3"}


def test_claim_follows_the_plan_and_never_exceeds_what_it_wants(
    play: Any, client: redis.Redis
) -> None:
    client.lpush("queue:a", *"123456")
    client.lpush("queue:b", *"xyz")

    claims = play(lambda broker: claim(broker, 6, [(0, 2), (1, 9), (0, 9)]))

    assert claims == [(0, [b"1", b"2"]), (1, [b"x", b"y", b"z"]), (0, [b"3"])]
    assert client.llen("queue:a") == 3


def test_large_claims_pass_the_limit_of_one_unpack(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", *(str(i) for i in range(7000)))

    claims = play(lambda broker: claim(broker, 6500, [(0, 6500)]))

    assert claims[0][1] == [str(i).encode() for i in range(6500)]
    assert client.hlen(claims_key(ME, "a")) == 6500
    assert client.llen("queue:a") == 500


def test_a_claim_is_bounded_by_bytes_from_the_first_on(play: Any, client: redis.Redis) -> None:
    large = [b"%d" % i + b"x" * 1_500_000 for i in range(5)]
    giant = b"y" * (CLAIM_BYTES + 1)
    client.lpush("queue:a", *large, giant, "small")
    client.lpush("queue:b", "low")

    async def scene(broker: Broker) -> None:
        for expected in (large[:2], large[2:4], large[4:], [giant], [b"small"]):
            wish = (100, [(0, 50), (1, 50)])
            taken = await broker.settle_claim(Settlement(), [wish])
            assert taken.claims[0] == (0, expected)
            # The queue behind has its turn only once this one is empty.
            is_last = expected == [b"small"]
            assert taken.cut == (frozenset() if is_last else {0})
            assert taken.claims[1:] == ([(1, [b"low"])] if is_last else [])

    play(scene)


def test_each_capsule_has_its_own_bytes(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", *(b"%d" % i + b"x" * 3_000_000 for i in range(5)))
    client.lpush("queue:b", *(str(i) for i in range(100)))

    async def scene(broker: Broker) -> None:
        taken = await broker.settle_claim(Settlement(), [(10, [(0, 10)]), (90, [(1, 90)])])
        assert taken.cut == {0}
        assert [(route, len(jobs)) for route, jobs in taken.claims] == [(0, 1), (1, 90)]

    play(scene)


def test_numbers_never_repeat(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1", "2")

    async def scene(broker: Broker) -> list[int]:
        firsts = []
        for _ in range(3):
            taken = await broker.settle_claim(Settlement(), [(10, [(0, 1)])])
            firsts.append(taken.first_number)
        return firsts

    assert play(scene) == [1, 11, 21]


def test_without_a_lease_nothing_is_claimed(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1")

    async def scene(broker: Broker) -> Any:
        lose_lease(client)
        return await broker.settle_claim(Settlement(), [(1, [(0, 1)])])

    taken = play(scene)

    assert not taken.lease_held
    assert taken.claims == []
    assert client.llen("queue:a") == 1


def settle_after_claim(play: Any, outcomes: Settlement, want: int = 9) -> Any:
    async def scene(broker: Broker) -> Any:
        await broker.settle_claim(Settlement(), [(want, [(0, want)])])
        return await broker.settle_claim(outcomes, [])

    return play(scene)


def test_success_releases_the_claim_and_counts(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1", "2")

    taken = settle_after_claim(play, well(1, 2))

    assert taken.dropped == 0
    assert client.exists(claims_key(ME, "a")) == 0
    assert client.get("stat:processed") == b"2"
    assert client.get("stat:failed") is None
    day = list(client.keys("stat:processed:*"))
    assert day == [b"stat:processed:2027-01-15"]
    assert client.get(day[0]) == b"2"
    assert 157_679_000 < client.ttl(day[0]) <= 157_680_000


def test_retry_stores_the_given_payload_at_the_given_score(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1")

    settle_after_claim(
        play, settle((0, Outcome(1, RETRY, counts=3, score=1795489135.4380949, payload=b"again")))
    )

    assert client.zrange("retry", 0, -1, withscores=True) == [(b"again", 1795489135.4380949)]
    assert client.exists(claims_key(ME, "a")) == 0
    assert (client.get("stat:processed"), client.get("stat:failed")) == (b"1", b"1")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_score_that_is_no_time_becomes_now(play: Any, client: redis.Redis, score: float) -> None:
    client.lpush("queue:a", "1")

    settle_after_claim(
        play, settle((0, Outcome(1, RETRY, counts=3, score=score, payload=b"again")))
    )

    assert client.zrange("retry", 0, -1, withscores=True) == [(b"again", NOW)]


@pytest.mark.parametrize(("status", "counts"), [(DEAD, 3), (INTERNAL, 0)], ids=["dead", "internal"])
def test_an_empty_payload_sends_the_jobs_own_bytes_to_dead(
    play: Any, client: redis.Redis, status: int, counts: int
) -> None:
    client.lpush("queue:a", b"{bad\xff\x00")

    settle_after_claim(play, settle((0, Outcome(1, status, counts=counts, score=NOW))))

    assert client.zrange("dead", 0, -1) == [b"{bad\xff\x00"]
    assert client.get("stat:failed") == (b"1" if counts else None)


def test_the_dead_set_is_trimmed_by_age_and_rank_as_sidekiq_does(
    play: Any, client: redis.Redis
) -> None:
    client.zadd("dead", {"old": NOW - 101, "a": NOW - 4, "b": NOW - 3, "c": NOW - 2, "d": NOW - 1})
    client.lpush("queue:a", "1")

    settle_after_claim(play, settle((0, Outcome(1, DEAD, counts=3, score=NOW, payload=b"new"))))

    # dead_max_jobs is 5 here; Sidekiq's trim leaves one less (sidekiq-compat 5.7)
    assert client.zrange("dead", 0, -1) == [b"b", b"c", b"d", b"new"]


@pytest.mark.parametrize(
    ("status", "processed"), [(SHUTDOWN, b"1"), (REFUSED, None)], ids=["shutdown", "refused"]
)
def test_given_back_jobs_return_to_the_tail_in_order(
    play: Any, client: redis.Redis, status: int, processed: bytes | None
) -> None:
    client.lpush("queue:a", "1", "2", "3")
    counts = 3 if status == SHUTDOWN else 0
    outcomes = settle(*[(0, Outcome(n, status, counts=counts)) for n in (1, 2)])

    settle_after_claim(play, outcomes, want=2)

    assert client.lrange("queue:a", 0, -1) == [b"3", b"2", b"1"]
    assert client.get("stat:processed") == (processed and b"2")


def test_discarded_jobs_leave_nothing_but_their_counts(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1")

    settle_after_claim(play, settle((0, Outcome(1, DISCARDED, counts=3))))

    assert client.keys("gokiq:claims:*") == []
    assert client.exists("retry", "dead", "queue:a") == 0
    assert client.get("stat:failed") == b"1"


def test_an_outcome_is_applied_once_only(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1", "2")
    outcomes = well(1)
    outcomes.add(0, Outcome(2, RETRY, counts=3, score=1.5, payload=b"again"))

    async def scene(broker: Broker) -> list[int]:
        await broker.settle_claim(Settlement(), [(2, [(0, 2)])])
        return [(await broker.settle_claim(outcomes, [])).dropped for _ in range(2)]

    assert play(scene) == [0, 2]
    assert client.zcard("retry") == 1
    assert client.get("stat:processed") == b"2"


def test_outcomes_of_adopted_claims_are_fenced_off(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1")

    async def scene(broker: Broker) -> Any:
        await broker.settle_claim(Settlement(), [(1, [(0, 1)])])
        lose_lease(client)
        assert len(await adopt(broker, await sign_of(broker))) == 1
        return await broker.settle_claim(
            settle((0, Outcome(1, RETRY, counts=3, score=1.0, payload=b"x"))), []
        )

    assert play(scene).dropped == 1
    assert client.exists("retry") == 0
    assert client.lrange("queue:a", 0, -1) == [b"1"]
    assert client.exists("stat:processed") == 0


def test_when_memory_is_full_no_job_is_in_no_place(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1", "2")

    async def scene(broker: Broker) -> list[Any]:
        await broker.settle_claim(Settlement(), [(1, [(0, 1)])])
        client.config_set("maxmemory", 1)
        try:
            outcome = settle((0, Outcome(1, RETRY, counts=3, score=1.0, payload=b"again")))
            full = await broker.settle_claim(outcome, [(1, [(0, 1)])])
        finally:
            client.config_set("maxmemory", 0)
        kept = (client.hgetall(claims_key(ME, "a")), client.lrange("queue:a", 0, -1))
        await broker.settle_claim(outcome, [])
        return [full, kept]

    full, kept = play(scene)

    assert "OOM" in full.refusal
    assert full.unwritten == {1}
    assert full.claims == []
    assert kept == ({b"1": b"1"}, [b"2"])
    assert client.zrange("retry", 0, -1) == [b"again"]


def test_a_claim_that_cannot_be_written_stays_in_its_queue(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", *(str(i) for i in range(30)))

    async def scene(broker: Broker) -> Any:
        client.config_set("maxmemory", 1)
        try:
            return await broker.settle_claim(Settlement(), [(10, [(0, 10)])])
        finally:
            client.config_set("maxmemory", 0)

    taken = play(scene)

    assert "OOM" in taken.refusal
    assert taken.claims == []
    assert client.llen("queue:a") == 30
    assert client.keys("gokiq:claims:*") == []


def test_adoption_keeps_the_order_and_strikes_the_owner(play: Any, client: redis.Redis) -> None:
    jobs = [str(i).encode() for i in range(1234)]
    client.lpush("queue:a", *jobs)
    client.lpush("queue:b", "x")

    async def scene(broker: Broker) -> int:
        await broker.settle_claim(Settlement(), [(2000, [(0, 1200), (1, 5)])])
        lose_lease(client)
        return len(await adopt(broker, await sign_of(broker)))

    assert play(scene) == 1201
    assert client.lrange("queue:a", 0, -1)[::-1] == jobs
    assert client.lrange("queue:b", 0, -1) == [b"x"]
    assert client.exists("gokiq:owners") == 0


def test_a_living_owner_is_not_adopted(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1")

    async def scene(broker: Broker) -> int:
        await broker.settle_claim(Settlement(), [(1, [(0, 1)])])
        return len(await adopt(broker, NO_SIGN))

    assert play(scene) == 0
    assert client.hlen(claims_key(ME, "a")) == 1
    assert client.hexists("gokiq:owners", ME)


def test_held_claims_tell_number_route_and_payload(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1")
    client.lpush("queue:b", "x")

    async def scene(broker: Broker) -> Any:
        await broker.settle_claim(Settlement(), [(2, [(0, 1), (1, 1)])])
        held = await broker.held_numbers()
        return held, [one async for piece in broker.claims(held) for one in piece]

    assert play(scene) == ({1: 0, 2: 1}, [(1, 0, b"1"), (2, 1, b"x")])


def test_lost_scripts_are_loaded_again(play: Any, client: redis.Redis) -> None:
    client.lpush("queue:a", "1", "2")

    async def scene(broker: Broker) -> Any:
        await claim(broker, 1, [(0, 1)])
        client.script_flush()
        return await claim(broker, 1, [(0, 1)])

    assert play(scene) == [(0, [b"2"])]


def test_promotion_moves_each_member_once_and_registers_its_queue(
    play: Any, client: redis.Redis
) -> None:
    client.zadd("schedule", {"m1": 1.0, "m2": 2.0, "later": 9_999_999_999.0})

    async def scene(broker: Broker) -> Any:
        now, members = await broker.due("schedule")
        moves = [
            Move(member, Push(Fate.ENQUEUE, queue="mail", payload=b"payload-" + member))
            for member in members
        ]
        return now, [await broker.promote("schedule", moves) for _ in range(2)]

    now, moved = play(scene)

    assert moved == [2, 0]
    assert abs(now - client.time()[0]) < 2
    assert client.lrange("queue:mail", 0, -1) == [b"payload-m2", b"payload-m1"]
    assert client.smembers("queues") == {b"mail"}
    assert client.zrange("schedule", 0, -1) == [b"later"]


def test_due_members_with_a_lease_are_nobody_elses_until_it_ends(
    play: Any, client: redis.Redis
) -> None:
    client.zadd("retry", {"m1": 1.0, "m2": 2.0})

    async def scene(broker: Broker) -> Any:
        now, members = await broker.due("retry", 60)
        return now, members, (await broker.due("retry"))[1]

    now, leased, due = play(scene)

    assert (leased, due) == ([b"m1", b"m2"], [])
    assert client.zscore("retry", "m1") == pytest.approx(now + 60, abs=0.001)
    assert client.zscore("retry", "m2") == pytest.approx(now + 60, abs=0.001)


def test_what_a_client_has_decided_is_done_to_each_member(play: Any, client: redis.Redis) -> None:
    client.zadd("schedule", {"dropped": 1.0, "later": 1.0, "moved": 1.0, "bad": 1.0, "same": 1.0})

    async def scene(broker: Broker) -> Any:
        moves = [
            Move(b"dropped", Push(Fate.DROP)),
            Move(b"later", Push(Fate.SCHEDULE, score=5e9, payload=b"later again")),
            Move(b"same", Push(Fate.SCHEDULE, score=6e9, payload=b"same")),
            Move(b"bad", Push(Fate.DEAD, score=7.0, payload=b"why")),
        ]
        return await broker.promote("schedule", moves)

    assert play(scene) == 4
    assert client.zrange("schedule", 0, -1, withscores=True) == [
        (b"moved", 1.0),
        (b"later again", 5e9),
        (b"same", 6e9),
    ]
    assert client.zrange("dead", 0, -1, withscores=True) == [(b"bad", 7.0)]


def test_a_member_stays_when_redis_has_no_room_for_its_job(play: Any, client: redis.Redis) -> None:
    client.zadd("retry", {"m": 1.0})

    async def scene(broker: Broker) -> Any:
        client.config_set("maxmemory", "1")
        with pytest.raises(ReplyError, match="maxmemory"):
            await broker.promote("retry", [Move(b"m", Push(Fate.ENQUEUE, "q", payload=b"p"))])

    try:
        play(scene)
    finally:
        client.config_set("maxmemory", "0")

    assert client.zrange("retry", 0, -1) == [b"m"]
    assert not client.exists("queue:q")
