"""Who is taken for dead, and what of them is adopted, on a real Redis."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from devtools.proxy import Proxy
from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.claiming import adoption as reaper
from gokiq.claiming import lease
from gokiq.claiming.adoption import Reaper, Watch
from gokiq.claiming.lease import Lease
from gokiq.host.identity import new_identity
from gokiq.store import owners
from gokiq.store.broker import LEASES, OWNERS, Broker, Settlement, claims_key, lease_key
from gokiq.store.link import RedisLink
from gokiq.store.owners import Dead, Owners

LIMIT_S = 30.0
ME, PEER = "host:1:dddddddddddd", "host:2:eeeeeeeeeeee"


async def until(condition: Callable[[], Any]) -> None:
    """Wait on a condition; fails after LIMIT_S seconds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)


class Idle:
    """A dispatcher that never loses its lease."""

    def __init__(self) -> None:
        self.lease_lost = asyncio.Event()

    def poke(self) -> None:
        """Nothing."""

    def audit(self) -> None:
        """Nothing."""


class Clock:
    """Monotonic seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """Ourselves, who look, and a peer with one claim."""

    def __init__(self, client: redis.Redis, mine: Broker, peer: Broker) -> None:
        self.client = client
        self.mine = mine
        self.peer = peer
        self.lease = Lease(mine, new_identity(), Idle())  # type: ignore[arg-type]
        self.reaper = Reaper(mine, Idle(), self.lease)  # type: ignore[arg-type]
        self.clock = Clock()
        self.reaper._watch = Watch(self.clock)

    async def look(self, after_s: float, *, renew: bool = False) -> bool:
        """One look so many seconds later, before which the peer renews or not; whether the peer
        still has its claim.
        """
        self.clock.now += after_s
        if renew:
            await self.peer.renew({})
        await self.reaper.look()
        return bool(self.client.hlen(claims_key(PEER, "a")))

    async def is_left_alone(self, looks: int = 10) -> bool:
        """Whether the claim survives so many looks, a quarter of a lease apart."""
        return all([await self.look(reaper.LOOK_S) for _ in range(looks)])


@asynccontextmanager
async def link_to(server: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(RedisAddress(path=str(server.socket)), name="x")
    try:
        yield link
    finally:
        await link.close()


def owner(link: RedisLink, identity: str, **options: Any) -> Broker:
    about = {"queues": ["a"], "dead_max_jobs": 9, "dead_timeout_s": 9, **options}
    return Broker(link, link, identity=identity, **about)


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


@pytest.fixture
def play(server: RedisServer, client: redis.Redis) -> Play:
    def run(scene: Callable[[Scene], Awaitable[None]]) -> None:
        async def main() -> None:
            async with link_to(server) as link, link_to(server) as other:
                stage = Scene(client, owner(link, ME), owner(other, PEER))
                client.lpush("queue:a", "job")
                await stage.lease.first()
                await stage.peer.renew({})
                await stage.peer.settle_claim(Settlement(), [(1, [(0, 1)])])
                await scene(stage)

        asyncio.run(main())

    return run


def test_who_renews_nothing_for_a_lease_is_dead(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        assert await stage.look(0)
        for _ in range(3):
            assert await stage.look(reaper.LOOK_S, renew=True)
        assert await stage.is_left_alone(3)
        assert not await stage.look(reaper.LOOK_S)
        assert stage.client.lrange("queue:a", 0, -1) == [b"job"]
        assert not stage.client.hexists(OWNERS, PEER)
        assert not stage.client.hexists(LEASES, PEER)
        assert not stage.client.exists(lease_key(PEER))

    play(scene)


def test_what_an_eviction_can_take_is_no_sign_of_death(play: Play) -> None:
    """`volatile-*` policies take keys with a TTL, as often as they like."""

    async def scene(stage: Scene) -> None:
        for _ in range(10):
            stage.client.delete(*(k for k in stage.client.scan_iter() if stage.client.ttl(k) >= 0))
            assert await stage.look(reaper.LOOK_S)
            taken = await stage.peer.settle_claim(Settlement(), [])
            assert taken.lease_held
            await stage.peer.renew({})

    play(scene)


@pytest.mark.parametrize("by_s", [-3600, 20, 3600])
def test_a_step_of_rediss_clock_ends_no_life(play: Play, by_s: int) -> None:
    async def scene(stage: Scene) -> None:
        assert await stage.look(0)
        epoch, renewed_us = stage.client.hget(LEASES, PEER).split()
        stage.client.hset(LEASES, PEER, b"%b %d" % (epoch, int(renewed_us) - 1_000_000 * by_s))
        stage.client.delete(lease_key(PEER))
        assert await stage.is_left_alone(4)
        assert await stage.look(reaper.LOOK_S, renew=True)

    play(scene)


def test_who_wakes_from_a_long_pause_gives_the_others_time_to_renew(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        assert await stage.look(0)
        assert await stage.look(10 * reaper.LEASE_S)
        assert await stage.look(reaper.LOOK_S, renew=True)

    play(scene)


def test_while_our_own_lease_is_not_renewed_nobody_is_dead(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.lease.fault = "refused"
        assert await stage.is_left_alone()
        stage.lease.fault = ""
        assert await stage.is_left_alone(3)

    play(scene)


def test_who_starts_watches_for_a_lease_before_it_believes_that_one_is_missing(play: Play) -> None:
    """Redis is back after a long outage, or has lost its leases: the owners renew theirs now."""

    async def scene(stage: Scene) -> None:
        stage.client.delete(LEASES, lease_key(PEER))
        assert await stage.look(0)
        assert await stage.is_left_alone(3)
        assert await stage.look(reaper.LOOK_S, renew=True)
        stage.client.delete(LEASES, lease_key(PEER))
        assert await stage.is_left_alone(4)
        assert not await stage.look(reaper.LOOK_S)

    play(scene)


def test_an_owner_of_a_release_without_leases_in_a_hash_lives_by_its_key(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.client.hdel(LEASES, PEER)
        stage.client.pexpire(lease_key(PEER), 60_000)
        assert await stage.is_left_alone()
        stage.client.delete(lease_key(PEER))
        await stage.is_left_alone(5)
        assert stage.client.llen("queue:a") == 1

    play(scene)


def test_claims_that_no_register_and_no_lease_names_are_found(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.client.delete(OWNERS, LEASES, lease_key(PEER))
        stage.client.hset("gokiq:claims:no identity:a", "1", "not ours to judge")
        await stage.reaper._scan()
        assert await stage.look(0)
        assert await stage.is_left_alone(3)
        assert not await stage.look(reaper.LOOK_S)
        assert stage.client.lrange("queue:a", 0, -1) == [b"job"]

    play(scene)


def test_a_living_owner_whose_register_was_lost_writes_it_again(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.client.delete(OWNERS, LEASES, lease_key(PEER))
        await stage.reaper._scan()
        for _ in range(8):
            assert await stage.look(reaper.LOOK_S, renew=True)
        assert stage.client.hexists(OWNERS, PEER)

    play(scene)


def test_an_owner_that_comes_back_while_it_is_adopted_stays_in_the_register(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        part = stage.reaper._owners
        real = part._adopt

        async def then_it_comes_back(*args: Any) -> Any:
            answer = await real(*args)
            await stage.peer.renew({})
            stage.client.lpush("queue:a", "another")
            await stage.peer.settle_claim(Settlement(), [(2, [(0, 2)])])
            return answer

        part._adopt = then_it_comes_back  # type: ignore[assignment]
        dead = Dead(PEER, (await part.signs())[PEER], proved=False)
        await part.adopt(dead, ["a"])
        assert stage.client.hexists(LEASES, PEER)
        assert stage.client.hexists(OWNERS, PEER)
        assert stage.client.hlen(claims_key(PEER, "a")) == 2

    play(scene)


def test_an_owner_that_is_adopted_claims_nothing_until_it_has_renewed(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        sign = (await stage.reaper._owners.signs())[PEER]
        await stage.reaper._owners.adopt(Dead(PEER, sign, proved=False), ["a"])
        taken = await stage.peer.settle_claim(Settlement(), [(1, [(0, 1)])])
        assert not taken.lease_held
        assert stage.client.llen("queue:a") == 1
        assert not await stage.peer.renew({}), "it must hear that its lease was gone"

    play(scene)


def test_large_jobs_are_adopted_in_small_pieces(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "ADOPT_BYTES", 250_000)
    jobs = [b"%d" % i + b"x" * 100_000 for i in range(20)]

    async def scene(stage: Scene) -> None:
        part = stage.reaper._owners
        stage.client.lpush("queue:b", *jobs)
        big = owner(stage.mine.link, "host:3:ffffffffffff", queues=["b"])
        await big.renew({})
        await big.settle_claim(Settlement(), [(20, [(0, 20)])])
        pieces: list[int] = []
        real = part._adopt

        async def watched(*args: Any) -> Any:
            moved, left = await real(*args)
            pieces.append(len(moved))
            return moved, left

        part._adopt = watched  # type: ignore[assignment]
        await part.adopt(Dead(big.identity, b"", proved=True), ["b"])
        assert stage.client.lrange("queue:b", 0, -1)[::-1] == jobs
        assert max(pieces) == 3

    play(scene)


def test_one_round_trip_shows_what_many_dead_owners_have(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "is_proved_dead", lambda about: "dead" in about)
    names = [f"host:{n}:aaaaaaaaaaaa" for n in range(100, 120)]
    queues = [f"q{n}" for n in range(50)]

    async def scene(stage: Scene) -> None:
        for name in names:
            await owner(stage.mine.link, name, queues=queues).renew({"dead": 1})
        stage.client.hset(claims_key(names[7], "q3"), "1", "job")
        before = stage.client.info("commandstats")
        trips = 0
        real = stage.mine.link.send

        async def counted(*args: Any) -> Any:
            nonlocal trips
            trips += 1
            return await real(*args)

        stage.mine.link.send = counted  # type: ignore[method-assign]
        await stage.reaper.look()
        assert trips <= len(names) + 10  # each is struck by itself
        assert stage.client.lrange("queue:q3", 0, -1) == [b"job"]
        assert not any(stage.client.hexists(OWNERS, name) for name in names)
        assert before

    play(scene)


def test_nothing_that_the_reaper_waits_for_holds_up_the_lease(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adoption hangs on a connection that delivers nothing any more."""
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    monkeypatch.setattr(reaper, "LOOK_S", 0.01)

    async def scene() -> None:
        with Proxy(server.socket) as proxy:
            async with link_to(server) as direct:
                slow = RedisLink(RedisAddress(path=str(proxy.socket)), name="x")
                mine = owner(slow, ME, lease=direct)
                renewing = Lease(mine, new_identity(), Idle())  # type: ignore[arg-type]
                await renewing.first()
                part = Reaper(mine, Idle(), renewing)  # type: ignore[arg-type]
                tasks = [asyncio.create_task(one.run()) for one in (renewing, part)]
                await until(lambda: slow.is_open)
                proxy.partition(to_server=False, to_client=False)
                seen: set[bytes] = set()

                def has_renewed() -> bool:
                    seen.add(client.hget(LEASES, ME))
                    return len(seen) > 10

                began = time.monotonic()
                await until(has_renewed)
                assert time.monotonic() - began < reaper.LEASE_S
                for task in tasks:
                    task.cancel()
                await slow.close()

    asyncio.run(scene())


def test_a_renewal_that_hangs_is_given_up_for_another_connection(
    server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    monkeypatch.setattr(lease, "PATIENCE_S", 0.2)
    monkeypatch.setattr(lease, "AGAIN_S", 0.05)

    async def scene() -> None:
        with Proxy(server.socket) as proxy:
            slow = RedisLink(RedisAddress(path=str(proxy.socket)), name="x")
            part = Lease(owner(slow, ME), new_identity(), Idle())  # type: ignore[arg-type]
            await part.first()
            task = asyncio.create_task(part.run())
            proxy.partition(to_server=False, to_client=False)
            await until(lambda: part.fault)
            assert "no reply within 0.2 s" in part.fault
            proxy.partition(to_server=True, to_client=True)  # the old one has lost bytes for good
            await until(lambda: not part.fault)
            task.cancel()
            await slow.close()

    asyncio.run(scene())


def test_a_late_renewal_does_not_lower_the_epoch(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.peer.raise_epoch()
        stage.peer._epoch -= 1
        await stage.peer.renew({})
        assert stage.client.hget(LEASES, PEER).split()[0] == b"2"

    play(scene)


def test_the_list_of_who_lives_goes_by_rediss_clock(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.client.hset(LEASES, "gone", b"1 1000")
        stage.client.hset(OWNERS, "old", "{}")
        stage.client.set(lease_key("old"), "1", ex=30)
        stage.client.hset(OWNERS, "registered", "{}")
        assert set(await Owners(stage.mine.link).living()) == {ME, PEER, "old"}

    play(scene)


def test_the_watch_counts_for_each_owner_by_itself() -> None:
    watch = Watch(itertools.count(step=reaper.LEASE_S / 2).__next__)

    assert watch.look({"a": b"1", "b": b"1"}) == set()
    assert watch.look({"a": b"1", "b": b"2"}) == set()
    assert watch.look({"a": b"1", "b": b"2", "c": b""}) == {"a"}
    watch.forget()
    assert watch.look({"a": b"1", "b": b"2", "c": b""}) == set()
