"""What operators set reaches every process at once: tracked, or soon where Redis tracks nothing."""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from devtools.redis_server import RedisServer
from gokiq.app.info import RedisAddress
from gokiq.limits import gems
from gokiq.limits.gems import Gems
from gokiq.limits.target import Rules, Scope, queue
from gokiq.log import Style, configure, flush
from gokiq.store.link import RedisLink
from gokiq.store.operators import CHANGES, LIMITS, PAUSED, Control, ControlWatch

LIMIT_S = 30.0
#: How soon a change is known at the latest.
SOON_S = 1.0


class Watched:
    """A watch that runs, and what it was told."""

    def __init__(self, address: RedisAddress) -> None:
        self.link = RedisLink(address, name="gokiq-limits")
        self.other = RedisLink(address, name="gokiq-other")
        self.control = Control(self.other)
        self.rules = self.theirs = Rules()
        self.gems = gems.NONE
        self.asked: list[str] = []
        self.watch = ControlWatch(self.link, self._ruled, self._ask, lambda: self.gems)

    def _ruled(self, rules: Rules, theirs: Rules) -> None:
        self.rules, self.theirs = rules, theirs

    async def _ask(self, word: str) -> None:
        self.asked.append(word)
        await self.control.answer("me", word, {"slots": 5})

    async def until(self, condition: Callable[[], Any]) -> float:
        began = time.monotonic()
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)
        return time.monotonic() - began


@pytest.fixture
def play(server: RedisServer, client: redis.Redis) -> Callable[..., None]:
    def run(scene: Callable[[Watched], Awaitable[None]], of: Gems = gems.NONE) -> None:
        async def main() -> None:
            watched = Watched(RedisAddress(path=str(server.socket)))
            watched.gems = of
            await watched.watch.first()
            task = asyncio.create_task(watched.watch.run())
            try:
                await scene(watched)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                for link in (watched.link, watched.other):
                    await link.close()

        asyncio.run(main())

    return run


def tracks(client: redis.Redis) -> bool:
    return any("t" in one["flags"] for one in client.client_list())


def test_a_limit_and_a_pause_are_known_at_once_and_so_is_their_end(
    play: Any, client: redis.Redis
) -> None:
    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        control = watched.control
        for _ in range(3):
            await control.limit(Scope.CLUSTER, queue("mailers"), "10")
            await watched.until(lambda: watched.rules.cluster == {queue("mailers"): 10})
            assert await control.pause("low")
            assert not await control.pause("low")
            await watched.until(lambda: watched.rules.paused == {"low"})
            await control.limit(Scope.CLUSTER, queue("mailers"), None)
            await watched.until(lambda: not watched.rules.cluster)
            assert await control.resume("low")
            assert not await control.resume("low")
            took = await watched.until(lambda: not watched.rules)
            assert took < SOON_S
        assert client.keys("*") == [b"gokiq:changes"]

    play(scene)


def test_what_is_set_before_we_start_is_known_before_anything_is_claimed(
    server: RedisServer, client: redis.Redis
) -> None:
    client.sadd(PAUSED, "low")
    client.hset(LIMITS, "process:queue:a", "3")

    async def main() -> None:
        watched = Watched(RedisAddress(path=str(server.socket)))
        await watched.watch.first()
        assert watched.rules == Rules({queue("a"): 3}, paused=frozenset({"low"}))
        await watched.link.close()

    asyncio.run(main())


def test_an_idle_watch_sends_less_than_a_command_a_second(play: Any, client: redis.Redis) -> None:
    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))

        def sent() -> int:
            stats = client.info("commandstats")
            return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("hgetall",))

        await watched.until(lambda: sent() > 0)
        before = sent()
        await asyncio.sleep(2.0)
        assert sent() - before <= 1

    play(scene)


def test_a_question_is_answered_once(play: Any, client: redis.Redis) -> None:
    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        await watched.control.ask("one")
        await watched.until(lambda: watched.asked == ["one"])
        await watched.control.limit(Scope.RATE, queue("a"), "5/s")
        await watched.until(lambda: watched.rules.rates)
        answers = await watched.control.answers(["me", "nobody"], "one")
        assert answers == {"me": {"asked": "one", "slots": 5}}
        assert await watched.control.answers(["me"], "two") == {}
        assert watched.asked == ["one"]

    play(scene)


def test_it_looks_now_and_then_where_tracking_is_not_allowed(
    play: Any, client: redis.Redis
) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-client|tracking")
    try:

        async def scene(watched: Watched) -> None:
            await watched.control.pause("low")
            await watched.until(lambda: watched.rules.paused)

        play(scene)
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+client|tracking")


def test_an_account_that_may_not_read_them_goes_without(
    server: RedisServer, client: redis.Redis
) -> None:
    client.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "~queue:*", "+@all")
    try:

        async def main() -> None:
            address = RedisAddress(path=str(server.socket), username="narrow", password="secret")
            watched = Watched(address)
            await watched.watch.first()
            assert not watched.rules
            await watched.link.close()

        asyncio.run(main())
    finally:
        client.execute_command("ACL", "DELUSER", "narrow")


def test_a_connection_that_was_cut_comes_back_with_what_was_set_meanwhile(
    play: Any, client: redis.Redis
) -> None:
    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        client.sadd(PAUSED, "low")
        client.client_kill_filter(_type="normal", skipme=True)
        await watched.until(lambda: watched.rules.paused)
        client.srem(PAUSED, "low")
        await watched.until(lambda: not watched.rules.paused)

    play(scene)


def test_what_operators_change_is_a_line_with_who(
    play: Any, client: redis.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(style=Style.PLAIN)
    me = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"

    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        control = watched.control
        await control.limit(Scope.CLUSTER, queue("mailers"), "10")
        await watched.until(lambda: watched.rules.cluster)
        await control.limit(Scope.PROCESS, queue("low"), "none")
        await watched.until(lambda: watched.rules.process)
        await control.limit(Scope.RATE, queue("sms"), "10/s")
        await watched.until(lambda: watched.rules.rates)
        await control.pause("low")
        await watched.until(lambda: watched.rules.paused)
        await control.limit(Scope.CLUSTER, queue("mailers"), None)
        await watched.until(lambda: not watched.rules.cluster)
        await control.resume("low")
        await watched.until(lambda: not watched.rules.paused)
        client.delete(CHANGES)
        client.sadd(PAUSED, "low")
        await watched.until(lambda: watched.rules.paused)

    play(scene)
    flush()
    lines = capfd.readouterr().out.splitlines()
    assert [line.partition("tid=control: ")[2] for line in lines if "tid=control" in line] == [
        f"queue:mailers: at most 10 at once in all processes together: set by {me}",
        f"queue:low: no limit (process): set by {me}",
        f"queue:sms: 10/s in all processes together: set by {me}",
        f"queue:low is paused, no more of its jobs are claimed: set by {me}",
        f"queue:mailers: as the app's configuration says (cluster): set by {me}",
        f"queue:low is resumed: set by {me}",
        "queue:low is paused, no more of its jobs are claimed: set by somebody",
    ]


GEMS = Gems(
    {
        "sidekiq-pauzer": {"paused": "sidekiq-pauzer"},
        "sidekiq-limit_fetch": {"live": "limit_fetch", "cluster": {"queues": {"a": 2, "b": 3}}},
    },
    ["a", "b"],
)


def test_what_gems_set_is_known_at_once_and_so_is_its_end(play: Any, client: redis.Redis) -> None:
    client.set("limit_fetch:limit:b", 9)

    async def scene(watched: Watched) -> None:
        assert watched.theirs.cluster == {queue("a"): 2, queue("b"): 9}, "what is there counts"
        await watched.until(lambda: tracks(client))
        for _ in range(2):
            client.sadd("sidekiq-pauzer", "a")
            await watched.until(lambda: watched.theirs.paused_by == {"a": "sidekiq-pauzer"})
            client.srem("sidekiq-pauzer", "a")
            client.set("limit_fetch:pause:b", 1)
            await watched.until(lambda: watched.theirs.paused_by == {"b": "sidekiq-limit_fetch"})
            client.delete("limit_fetch:pause:b")
            client.set("limit_fetch:limit:a", 5)
            await watched.until(lambda: watched.theirs.cluster.get(queue("a")) == 5)
            client.delete("limit_fetch:limit:a")
            await watched.until(lambda: queue("a") not in watched.theirs.cluster)
            client.set("limit_fetch:process_limit:a", 4)
            await watched.until(lambda: watched.theirs.process == {queue("a"): 4})
            client.delete("limit_fetch:process_limit:a")
            assert await watched.until(lambda: not watched.theirs.process) < SOON_S
        assert not watched.rules

    play(scene, GEMS)


def test_a_pause_that_ends_by_itself_ends_here_too(play: Any, client: redis.Redis) -> None:
    # So many more that Redis, which looks at some of them now and then, tells of it late.
    with client.pipeline(transaction=False) as pipeline:
        for i in range(20_000):
            pipeline.set(f"other:{i}", 1, ex=3600)
        pipeline.execute()

    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        client.psetex("limit_fetch:pause:a", 700, 1)
        await watched.until(lambda: watched.theirs.paused)
        took = await watched.until(lambda: not watched.theirs.paused)
        assert took < 0.7 + SOON_S

    play(scene, GEMS)


def test_gems_of_another_app_are_looked_at_at_once(play: Any, client: redis.Redis) -> None:
    client.sadd("sidekiq-pauzer", "a")

    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        assert not watched.theirs
        watched.gems = GEMS
        watched.watch.look_soon()
        await watched.until(lambda: watched.theirs.paused == {"a"})
        client.srem("sidekiq-pauzer", "a")
        assert await watched.until(lambda: not watched.theirs.paused) < SOON_S

    play(scene)


def test_what_the_gems_of_the_old_app_said_does_not_count_for_the_new_one(
    play: Any, client: redis.Redis
) -> None:
    """The app is another one when Redis answers."""
    client.sadd("old", "a")
    client.sadd("new", "b")

    async def scene(watched: Watched) -> None:
        told: list[Rules] = []
        watch = watched.watch
        real, ruled = watch._control.orders, watch._on_rules

        def noted(rules: Rules, theirs: Rules) -> None:
            if watched.gems is not old:
                told.append(theirs)
            ruled(rules, theirs)

        async def slow(**options: Any) -> Any:
            answer = await real(**options)
            if options["of"] is old:
                watched.gems = Gems({"p": {"paused": "new"}}, ["a", "b"])
                watch.look_soon()
            return answer

        watch._on_rules = noted
        watch._control.orders = slow  # type: ignore[method-assign]
        await watched.until(lambda: tracks(client))
        client.sadd(PAUSED, "c")
        await watched.until(lambda: watched.rules.paused == {"c"} and "b" in watched.theirs.paused)
        assert {theirs.paused for theirs in told} == {frozenset({"b"})}

    old = Gems({"p": {"paused": "old"}}, ["a", "b"])
    play(scene, old)


def test_what_gems_change_is_a_line_and_a_queue_that_holds_up_others_is_named_once(
    play: Any, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    told: list[str] = []
    log = SimpleNamespace(
        warning=lambda text, *of: said.append(text % of),
        info=lambda text, *of: told.append(text % of),
    )
    monkeypatch.setattr("gokiq.store.operators.log", log)

    async def scene(watched: Watched) -> None:
        await watched.until(lambda: tracks(client))
        for seen in range(1, 3):
            client.set("limit_fetch:block:a", 1)
            client.sadd("sidekiq-pauzer", f"q{seen}")
            await watched.until(lambda seen=seen: len(watched.theirs.paused) == seen)
            await watched.until(lambda seen=seen: told[-1].startswith(f"queue:q{seen} is paused"))
        assert said == ["sidekiq-limit_fetch: limit_fetch:block:a holds up no queue here"]
        assert told[-1].endswith(": set by sidekiq-pauzer or sidekiq-limit_fetch")

    play(scene, GEMS)
