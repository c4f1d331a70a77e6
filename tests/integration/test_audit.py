"""Books that agree: what Redis holds for us and what we know of, compared now and then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from devtools.null_sidecar import Entry, Judge, NullSidecar, NullWorker, all_well, hello
from devtools.redis_server import RedisServer
from gokiq import core
from gokiq.app.info import RedisAddress, app_info
from gokiq.claiming import lease as lease_module
from gokiq.claiming import reconcile
from gokiq.claiming.dispatcher import Dispatcher
from gokiq.claiming.lease import Lease
from gokiq.claiming.slots import Valve
from gokiq.core import Job, Outcome
from gokiq.errors import ConnectionLost
from gokiq.host.identity import new_identity
from gokiq.store import broker as broker_module
from gokiq.store.broker import LEASES, Broker, claims_key
from gokiq.store.link import RedisLink
from gokiq.workers.pool import Fleet

ME = "host:1:cccccccccccc"
KEY = claims_key(ME, "default")
LIMIT_S = 30.0


class Stage:
    """The parts under test, running."""

    def __init__(self, broker: Broker, dispatcher: Dispatcher, sidecar: NullSidecar) -> None:
        self.broker = broker
        self.dispatcher = dispatcher
        self.sidecar = sidecar
        self.lines: list[str] = []

    @property
    def found(self) -> tuple[int, int]:
        """What audits have found."""
        return self.dispatcher.reconciler.unknown, self.dispatcher.reconciler.gone

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait on a condition; fails after LIMIT_S seconds."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def audit(self) -> None:
        """One audit, from its begin to its end."""
        ended = asyncio.Event()
        real = self.dispatcher.reconciler.audit

        async def noted() -> None:
            await real()
            ended.set()

        self.dispatcher.reconciler.audit = noted  # type: ignore[method-assign]
        self.dispatcher.audit()
        async with asyncio.timeout(LIMIT_S):
            await ended.wait()
        self.dispatcher.reconciler.audit = real  # type: ignore[method-assign]


Play = Callable[..., None]


@pytest.fixture
def play(server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    def run(
        scene: Callable[[Stage], Awaitable[None]], *, judge: Judge = all_well, slots: int = 10
    ) -> None:
        async def main() -> None:
            greeting = hello(redis=server.socket, concurrency=slots)
            app = app_info(greeting)
            links = [RedisLink(RedisAddress(path=str(server.socket)), name=n) for n in "ab"]
            broker = Broker(
                *links, identity=ME, queues=["default"], dead_max_jobs=99, dead_timeout_s=99
            )
            fleet = Fleet(str(tmp_path / "s.sock"))
            dispatcher = Dispatcher(broker, Valve({"default": slots}), app, fleet, random.Random(1))
            fleet.on_finished, fleet.on_orphans = dispatcher.finished, dispatcher.give_back
            fleet.on_room = dispatcher.room_changed
            fleet.welcome_all(ME, [{"capsule": "default", "queue": "default"}])
            await broker.renew({})
            async with (
                NullSidecar(tmp_path / "s.sock", greeting, judge=judge) as sidecar,
                asyncio.TaskGroup() as tasks,
            ):
                stage = Stage(broker, dispatcher, sidecar)
                log = type("Log", (), {})()
                log.info = log.warning = lambda text, *values: stage.lines.append(text % values)
                monkeypatch.setattr(reconcile, "log", log)
                running = [tasks.create_task(part.run()) for part in (dispatcher, fleet)]
                try:
                    await scene(stage)
                finally:
                    for task in running:
                        task.cancel()
            for link in links:
                await link.close()

        asyncio.run(main())

    return run


def hold(worker: NullWorker, entries: list[Entry]) -> list[Outcome]:
    """Never answer."""
    return []


def test_an_audit_runs_claims_of_ours_that_nobody_knows_once(
    play: Play, client: redis.Redis
) -> None:
    client.lpush("queue:default", "known")

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: client.get("stat:processed") == b"1")
        client.hset(KEY, mapping={"900": "stray 1", "901": "stray 2"})
        await stage.audit()
        await stage.until(lambda: not client.exists(KEY))
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        await stage.audit()
        seen = [payload for _, _, _, payload in stage.sidecar.seen]
        assert seen == [b"known", b"stray 1", b"stray 2"]
        assert stage.found == (2, 0)
        [line] = stage.lines
        assert "Redis held 2 claims of ours that we did not know of" in line

    play(scene)


def test_an_audit_of_books_that_agree_says_nothing_while_jobs_come_and_go(
    play: Play, client: redis.Redis
) -> None:
    client.lpush("queue:default", *(f"job {i}" for i in range(5000)))

    async def scene(stage: Stage) -> None:
        audits = 0
        while client.get("stat:processed") != b"5000":
            await stage.audit()
            audits += 1
        assert audits > 3
        assert stage.found == (0, 0)
        assert stage.lines == []
        assert len(stage.sidecar.seen) == 5000

    play(scene)


def test_an_audit_forgets_what_is_gone_and_says_so_once(play: Play, client: redis.Redis) -> None:
    client.lpush("queue:default", *(f"job {i}" for i in range(4)))

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 4)
        # Claimed, and no worker had room for it yet.
        unsent = Job(5, 0, b"job 5", 0.0)
        client.hset(KEY, "5", "job 5")
        stage.dispatcher._take(0, 1)
        stage.dispatcher._unsent.append(unsent)
        client.hdel(KEY, "1", "5")  # as a peer does that adopts
        stage.dispatcher._fleet.assign = list  # type: ignore[assignment, method-assign]
        await stage.audit()
        await stage.audit()
        assert stage.dispatcher._unsent == []
        assert stage.found == (0, 2)
        assert len(stage.lines) == 1
        assert stage.dispatcher.in_flight == 4
        stage.sidecar.workers[0].report([Outcome(n, core.OK, 1) for n in (1, 2, 3, 4)])
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        assert stage.dispatcher.dropped == 1
        assert client.get("stat:processed") == b"3"

    play(scene, judge=hold, slots=5)


def test_what_was_adopted_while_the_lease_was_gone_is_not_sent_once_it_is_back(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.05)

    async def scene(stage: Stage) -> None:
        stage.dispatcher._fleet.assign = list  # type: ignore[assignment, method-assign]
        client.lpush("queue:default", "adopted")
        await stage.until(lambda: client.hlen(KEY) == 1)
        client.delete(KEY)  # as a peer does that adopts
        client.hdel(LEASES, ME)
        lease = Lease(stage.broker, new_identity(), stage.dispatcher)
        renewing = asyncio.create_task(lease.run())
        await stage.until(lambda: stage.dispatcher.in_flight == 0)
        renewing.cancel()
        assert stage.dispatcher._unsent == []

    play(scene)


def test_after_a_loss_payloads_come_for_unknown_claims_alone_and_in_pieces(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "FETCH_BYTES", 250_000)
    known = [b"known %d" % i + b"x" * 100_000 for i in range(5)]
    client.lpush("queue:default", *known)

    async def scene(stage: Stage) -> None:
        await stage.until(lambda: len(stage.sidecar.seen) == 5)
        strays = {str(900 + i): b"stray %d" % i + b"x" * 100_000 for i in range(5)}
        client.hset(KEY, mapping=strays)  # type: ignore[arg-type]
        pieces: list[int] = []
        real = stage.broker._payloads

        async def watched(wanted: Any) -> Any:
            found = await real(wanted)
            pieces.append(len(found))
            return found

        stage.broker._payloads = watched  # type: ignore[method-assign]
        stage.dispatcher._must_reconcile = True
        stage.dispatcher._wake.set()
        await stage.until(lambda: len(stage.sidecar.seen) == 10)
        assert pieces == [2, 2, 1]
        assert [payload for *_, payload in stage.sidecar.seen[5:]] == list(strays.values())
        assert stage.found == (0, 0), "a loss that we know of is nothing for an audit"

    play(scene, judge=hold)


def test_what_was_fetched_before_the_connection_was_lost_again_is_not_fetched_twice(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it comes to an end, however often it is interrupted."""
    monkeypatch.setattr(broker_module, "FETCH_BYTES", 1)

    async def scene(stage: Stage) -> None:
        client.hset(KEY, mapping={str(900 + i): f"stray {i}" for i in range(4)})
        real = stage.broker._payloads
        asked: list[int] = []

        async def cut(wanted: Any) -> Any:
            asked.extend(number for number, *_ in wanted)
            if len(asked) % 2 == 0:
                await stage.broker._hot.close()
                raise ConnectionLost("cut")
            return await real(wanted)

        stage.broker._payloads = cut  # type: ignore[method-assign]
        stage.dispatcher._must_reconcile = True
        stage.dispatcher._wake.set()
        await stage.until(lambda: client.get("stat:processed") == b"4")
        assert sorted(payload for *_, payload in stage.sidecar.seen) == [
            b"stray %d" % i for i in range(4)
        ]
        assert asked == [900, 901, 901, 902, 902, 903, 903]

    play(scene)


def test_audits_come_by_themselves(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "AUDIT_S", 0.05)

    async def scene(stage: Stage) -> None:
        running = asyncio.create_task(stage.dispatcher.reconciler.run(stage.dispatcher.audit))
        client.hset(KEY, "900", "stray")
        await stage.until(lambda: client.get("stat:processed") == b"1")
        assert stage.found == (1, 0)
        running.cancel()

    play(scene)
