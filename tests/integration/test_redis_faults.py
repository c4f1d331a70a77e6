"""Each way in which Redis can be sick, under the loop: outcomes wait, no more of them than slots,
and are applied once; nothing new is claimed meanwhile; work goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import redis

from devtools.null_sidecar import Entry, NullSidecar, NullWorker, hello
from devtools.proxy import Proxy
from devtools.redis_server import RedisServer
from gokiq import core
from gokiq.app.info import RedisAddress, app_info
from gokiq.claiming import dispatcher
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.lease import Lease
from gokiq.claiming.queue_watch import Waker
from gokiq.claiming.slots import Valve
from gokiq.core import Outcome
from gokiq.host.identity import new_identity
from gokiq.store.broker import Broker, claims_key
from gokiq.store.link import RedisLink
from gokiq.workers.pool import Fleet

ME = "host:1:bbbbbbbbbbbb"
LIMIT_S = 60.0
SLOTS = 20
JOBS = 300


class Scene:
    """The parts under test behind a proxy, and a worker that ends jobs when it is told to."""

    def __init__(self, server: RedisServer, proxy: Proxy, dispatcher: Dispatcher) -> None:
        self.server = server
        self.proxy = proxy
        self.dispatcher = dispatcher
        self.jobs = [b'{"jid":"%d"}' % i for i in range(JOBS)]
        self.seen: list[bytes] = []
        self._worker: NullWorker | None = None
        self._open: list[int] = []
        self._hold_from = math.inf
        self._ended = 0

    @property
    def client(self) -> redis.Redis:
        return self.server.client

    def judge(self, worker: NullWorker, entries: list[Entry]) -> Iterable[Outcome]:
        """End the jobs at once, or hold them. Every third one is to be retried."""
        self._worker = worker
        self.seen += [payload for *_, payload in entries]
        numbers = [number for number, *_ in entries]
        if len(self.seen) <= self._hold_from:
            return self._outcomes(numbers)
        self._open += numbers
        return []

    def _outcomes(self, numbers: list[int]) -> list[Outcome]:
        self._ended += len(numbers)
        return [
            Outcome(n, core.OK, 1)
            if n % 3
            else Outcome(n, core.RETRY, 3, score=9e9, payload=b"retry %d" % n)
            for n in numbers
        ]

    def hold(self) -> None:
        """Jobs that come from now on do not end."""
        self._hold_from = 0

    def end_all(self) -> None:
        """End what is open, and what comes from now on."""
        assert self._worker is not None
        self._hold_from = math.inf
        numbers, self._open = self._open, []
        self._worker.report(self._outcomes(numbers))

    async def middle(self) -> None:
        """Wait until all slots are busy with jobs that do not end, in the middle of the load."""
        self._hold_from = min(self._hold_from, JOBS // 4)
        await self.until(lambda: len(self._open) == SLOTS)

    async def all_wait(self) -> None:
        """End all that runs; with Redis sick every outcome waits, and none more is there."""
        self.end_all()
        await self.until(lambda: self.dispatcher.fault)
        await self.until(lambda: self.dispatcher.waiting == SLOTS)
        assert self.dispatcher.in_flight == SLOTS

    async def finish(self) -> None:
        """Wait for the end of the load; everything ran once and is booked once."""
        await self.until(lambda: self._left() == 0)
        await self.until(lambda: self.dispatcher.in_flight == 0)
        assert sorted(self.seen) == sorted(self.jobs)
        assert self._ended == len(self.jobs)
        retries = self.client.zcard("retry")
        assert retries == sum(n % 3 == 0 for n in self._numbers())
        assert self.client.get("stat:processed") == b"%d" % len(self.jobs)
        assert self.client.get("stat:failed") == b"%d" % retries
        assert self.dispatcher.dropped == 0
        await self.until(lambda: not self.dispatcher.fault)

    def _numbers(self) -> list[int]:
        return [int(member.split()[1]) for member in self.client.zrange("retry", 0, -1)]

    def _left(self) -> int:
        try:
            return int(
                self.client.llen("queue:default") + self.client.hlen(claims_key(ME, "default"))
            )
        except redis.RedisError:
            return -1

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.01)


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


@pytest.fixture
def private() -> Iterator[RedisServer]:
    """A server that a test may break for good."""
    with RedisServer(appendonly=True) as running:
        yield running


@pytest.fixture
def play(private: RedisServer, tmp_path: Path) -> Play:
    def run(scene: Callable[[Scene], Awaitable[None]]) -> None:
        async def main() -> None:
            with Proxy(private.socket) as proxy:
                async with parts(private, proxy, tmp_path / "s.sock") as running:
                    running.client.lpush("queue:default", *running.jobs)
                    await scene(running)
                    await running.finish()

        asyncio.run(main())

    return run


@asynccontextmanager
async def parts(server: RedisServer, proxy: Proxy, path: Path) -> AsyncIterator[Scene]:
    greeting = hello(redis=server.socket, concurrency=SLOTS)
    address = RedisAddress(path=str(proxy.socket))
    links = [RedisLink(address, name=name) for name in ("hot", "link", "wake")]
    broker = Broker(
        *links[:2], identity=ME, queues=["default"], dead_max_jobs=10_000, dead_timeout_s=10_000
    )
    fleet = Fleet(str(path))
    valve = Valve({"default": SLOTS})
    dispatcher = Dispatcher(broker, valve, app_info(greeting), fleet, random.Random(1))
    fleet.on_finished, fleet.on_orphans = dispatcher.finished, dispatcher.give_back
    fleet.on_room = dispatcher.room_changed
    fleet.welcome_all(ME, [{"capsule": "default", "queue": "default"}])
    lease = Lease(broker, new_identity(), dispatcher)
    await lease.first()
    scene = Scene(server, proxy, dispatcher)
    async with (
        NullSidecar(path, greeting, judge=scene.judge),
        asyncio.TaskGroup() as tasks,
    ):
        loops = (dispatcher, fleet, Waker(links[2], dispatcher), lease)
        running = [tasks.create_task(part.run()) for part in loops]
        try:
            yield scene
        finally:
            for task in running:
                task.cancel()
    for link in links:
        with contextlib.suppress(Exception):
            await link.close()


def test_restart(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.server.kill()
        await stage.all_wait()
        await asyncio.to_thread(stage.server.start)

    play(scene)


def test_loading(play: Play, private: RedisServer) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        # Something to load, slowly; the server answers meanwhile.
        pipe = stage.client.pipeline()
        for i in range(20_000):
            pipe.set(f"filler:{i}", "x" * 100)
        pipe.execute()
        stage.server.kill()
        stage.server._child.argv += ["--key-load-delay", "300"]
        stage.server._child.argv += ["--loading-process-events-interval-bytes", "1024"]
        stage.end_all()
        starting = asyncio.create_task(asyncio.to_thread(stage.server.start))
        await stage.until(lambda: "loading" in stage.dispatcher.fault.lower())
        await starting

    play(scene)


def test_read_only(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        def connections() -> set[str]:
            return {one["id"] for one in stage.client.client_list() if one["name"] == "hot"}

        def received() -> int:
            return int(stage.client.info("stats")["total_connections_received"])

        await stage.middle()
        before, count = connections(), received()
        stage.client.replicaof("127.0.0.1", "1")  # nobody is there
        await stage.all_wait()
        assert "read only" in stage.dispatcher.fault
        # The name may lead to another server meanwhile. A new connection may be gone again at once.
        await stage.until(lambda: received() > count and not connections() & before)
        stage.client.replicaof("NO", "ONE")

    play(scene)


def test_full(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[str] = []
    refusals = 0
    real = Dispatcher._complain

    def counted(self: Dispatcher, refusal: str, what: str) -> None:
        nonlocal refusals
        refusals += 1
        real(self, refusal, what)

    monkeypatch.setattr(Dispatcher, "_complain", counted)
    log = Mock(error=lambda text, *args: complaints.append(text % args))
    monkeypatch.setattr(dispatcher, "log", log)

    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.client.config_set("maxmemory", 1)
        # Those that only release their claim are taken; retries wait.
        numbers, stage._open = stage._open, []
        assert stage._worker is not None
        retries = [n for n in numbers if n % 3 == 0]
        stage._worker.report(stage._outcomes(retries))
        await stage.until(lambda: stage.dispatcher.waiting == len(retries))
        await stage.until(lambda: refusals > 2)
        assert "maxmemory" in stage.dispatcher.fault
        assert len(complaints) == 1, "the same thing is said once a minute"
        stage._worker.report(stage._outcomes([n for n in numbers if n % 3]))
        stage.client.config_set("maxmemory", 0)
        await stage.until(lambda: len(stage._open) == SLOTS)
        stage.end_all()

    play(scene)


def test_paused_clients(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.client.execute_command("CLIENT", "PAUSE", "7000", "ALL")
        await stage.all_wait()

    play(scene)


def test_a_partition_in_either_direction(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        for directions in ({"to_server": True}, {"to_client": True}):
            await stage.middle()
            stage.proxy.partition(**directions)
            stage.end_all()
            await stage.until(lambda: stage.dispatcher.fault)
            assert stage.dispatcher.in_flight <= SLOTS
            stage.proxy.heal()
            stage.hold()

        stage.end_all()

    play(scene)


def test_connections_refused(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.proxy.refuse()
        await stage.all_wait()
        stage.proxy.heal()

    play(scene)


def test_clients_killed_again_and_again(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        for _ in range(10):
            before = len(stage.seen)
            stage.client.client_kill_filter(_type="normal", skipme=True)
            await stage.until(lambda at=before: len(stage.seen) > at or len(stage.seen) == JOBS)

    play(scene)


def test_scripts_forgotten(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.client.script_flush()
        stage.end_all()
        await stage.until(lambda: len(stage.seen) == JOBS)
        assert stage.dispatcher.outage_s == 0

    play(scene)


def test_slow(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        stage.proxy.delay(0.2)
        await stage.until(lambda: len(stage.seen) == JOBS)
        assert stage.dispatcher.outage_s == 0, "slow is not away"
        stage.proxy.heal()

    play(scene)


def test_large_jobs_over_a_slow_line(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gokiq.store.link.REPLY_TIMEOUT_S", 0.7)

    async def scene(stage: Scene) -> None:
        stage.proxy.throttle(4_000_000)
        more = [b'{"jid":"large %d","args":["%b"]}' % (i, b"x" * 1_500_000) for i in range(8)]
        stage.jobs += more
        stage.client.rpush("queue:default", *more)
        await stage.until(lambda: len(stage.seen) == len(stage.jobs))
        assert stage.dispatcher.outage_s == 0, "slow is not away"

    play(scene)


def test_the_reply_of_a_settlement_is_lost(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        lost = stage.proxy.lost
        stage.dispatcher.quiet()
        stage.proxy.lose_reply(b"EVALSHA")
        settled = asyncio.create_task(stage.dispatcher.settled())
        stage.end_all()
        await stage.until(lambda: stage.proxy.lost > lost)
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        await asyncio.wait_for(settled, LIMIT_S)  # a stop waits no longer than it must
        stage.dispatcher._is_quiet = False
        stage.dispatcher.poke()

    play(scene)


def test_the_reply_of_a_claim_is_lost(play: Play) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.end_all()
        await stage.until(lambda: len(stage.seen) == JOBS)
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        lost = stage.proxy.lost
        stage.proxy.lose_reply(b"EVALSHA")
        more = [b'{"jid":"more %d"}' % i for i in range(10)]
        stage.jobs += more
        stage.client.lpush("queue:default", *more)
        await stage.until(lambda: stage.proxy.lost > lost)

    play(scene)


def test_a_claim_that_comes_after_its_owner_gave_it_up_claims_nothing(play: Play) -> None:
    """The network held it back: nobody would know of those jobs."""

    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.hold()
        stage.proxy.keep_request(b"EVALSHA")
        worker = stage._worker
        assert worker is not None
        numbers, stage._open = stage._open, []
        worker.report(stage._outcomes(numbers))
        await stage.until(lambda: stage.dispatcher.fault)
        await stage.until(lambda: len(stage._open) == SLOTS)  # given up; another call went through
        waiting = stage.client.llen("queue:default")
        stage.proxy.deliver_late()
        await stage.until(lambda: stage.proxy.delivered_late)
        assert stage.client.llen("queue:default") == waiting
        assert stage.client.hlen(claims_key(ME, "default")) == SLOTS
        stage.end_all()

    play(scene)


def test_attempts_to_connect_are_spread_at_random(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(stage: Scene) -> None:
        await stage.middle()
        stage.proxy.refuse()
        await stage.all_wait()
        pauses: set[float] = set()
        real = asyncio.sleep

        async def noted(seconds: float, *args: Any) -> Any:
            pauses.add(seconds)
            return await real(seconds, *args)

        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", noted)
            await stage.until(lambda: len(pauses) > 8)  # the test's own is one
        assert not pauses & {*(0.05 * 2**n for n in range(7)), 0.25, 0.5, 1.0, 2.5, 5.0}
        stage.proxy.heal()

    play(scene)
