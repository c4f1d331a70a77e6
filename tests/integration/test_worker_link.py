"""The orchestrator's end of a worker connection when the worker ends in the middle of a write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devtools.null_sidecar import hello
from gokiq import core
from gokiq.core import Job, Outcome
from gokiq.errors import ExecutorUnavailable
from gokiq.sidekiq.promotion import encode_promoted
from gokiq.store.push import Fate, Push
from gokiq.workers.connection import PARTING_S, Kind, Role
from gokiq.workers.pool import Fleet

LIMIT_S = 20.0


class Stage:
    """A fleet with one greeted worker, whose end of the connection is a plain socket here."""

    def __init__(self, fleet: Fleet, worker: socket.socket, listener: socket.socket) -> None:
        self.fleet = fleet
        self._listener = listener
        self.worker = worker
        self.ended: list[int] = []
        self.orphans: list[int] = []
        self.crashed: list[int] = []
        self.solo_ended: list[int] = []
        fleet.on_finished = lambda ended: self.ended.extend(job.number for job in ended.jobs())
        fleet.on_orphans = lambda jobs: self.orphans.extend(job.number for job in jobs)
        fleet.on_crash = lambda _, jobs: self.crashed.extend(job.number for job in jobs)
        fleet.on_solo = lambda jobs: self.solo_ended.extend(job.number for job in jobs)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)

    async def another(self, **about: Any) -> socket.socket:
        """One worker more."""
        worker, _ = await asyncio.to_thread(self._listener.accept)
        greet(worker, **about)
        count = self.fleet.ready_count + 1
        await self.until(lambda: self.fleet.ready_count == count)
        return worker

    def results(self, *outcomes: Outcome) -> None:
        self.worker.sendall(core.encode_frame(core.RESULTS, core.encode_results(outcomes)))


@asynccontextmanager
async def stage(path: Path, **greeting: Any) -> AsyncIterator[Stage]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    fleet = Fleet(str(path))
    fleet.welcome_all("me", [{"capsule": "default", "queue": "default"}])
    if greeting.get("solo"):
        fleet.ask_for(Role.SOLO)
    running = asyncio.create_task(fleet.run())
    worker, _ = await asyncio.to_thread(listener.accept)
    try:
        greet(worker, **greeting)
        ready = Stage(fleet, worker, listener)
        await ready.until(lambda: fleet.ready_count == 1)
        yield ready
    finally:
        running.cancel()
        fleet.close()
        listener.close()
        worker.close()
        await asyncio.sleep(0)


def greet(worker: socket.socket, **about: Any) -> None:
    greeting = json.dumps(hello(redis=Path("/none")) | about).encode()
    worker.sendall(core.encode_frame(core.HELLO, greeting))
    worker.sendall(core.encode_frame(core.READY, struct.pack(">I", 10)))


def jobs(*numbers: int) -> list[Job]:
    return [Job(n, 0, b"{}", 0.0) for n in numbers]


def test_outcomes_that_a_dead_worker_had_sent_count_although_a_write_to_it_fails_first(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            assert at.fleet.assign(jobs(1, 2, 3)) == []
            at.results(Outcome(1, core.OK, 1), Outcome(2, core.OK, 1))
            at.worker.close()
            # The worker's death has not been seen yet, and more is written to it:
            assert at.fleet.assign(jobs(4)) == []
            await at.until(lambda: not at.fleet.workers)
            assert at.ended == [1, 2]
            assert at.crashed == [3, 4]

    asyncio.run(scene())


def test_a_worker_that_said_goodbye_has_not_died_although_a_write_to_it_fails_first(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            at.worker.sendall(core.encode_frame(core.GOODBYE))
            at.worker.close()
            assert at.fleet.assign(jobs(1)) == []
            await at.until(lambda: not at.fleet.workers)
            assert (at.crashed, at.orphans) == ([], [1])

    asyncio.run(scene())


def test_a_worker_that_broke_the_protocol_is_given_no_more_jobs(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            # It does not read, so that its connection stays open until it does.
            giant = Job(1, 0, b"x" * 8_000_000, 0.0)
            assert at.fleet.assign([giant]) == []
            at.results(Outcome(99, core.OK, 1))
            await at.until(lambda: at.fleet.room == 0)
            assert [job.number for job in at.fleet.assign(jobs(2))] == [2]

    asyncio.run(scene())


def test_only_suspects_that_ran_to_an_end_are_cleared(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock", solo=True) as at:
            at.fleet.workers[0].send(jobs(1, 2, 3, 4))
            at.results(
                Outcome(1, core.SHUTDOWN, 3),
                Outcome(2, core.REFUSED),
                Outcome(3, core.OK, 1),
                Outcome(4, core.RETRY, 3, score=1.0, payload=b"{}"),
            )
            await at.until(lambda: sorted(at.ended) == [1, 2, 3, 4])
            assert at.solo_ended == [3, 4]

    asyncio.run(scene())


def test_nobody_is_asked_to_fail_a_job_that_the_frame_for_it_cannot_carry(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            giant = Job(1, 0, b"x" * (core.MAX_BODY_BYTES - 16), 0.0)
            assert not at.fleet.fail(giant, Kind.CRASH, "it kills its workers")
            assert not at.fleet.workers[0].open

    asyncio.run(scene())


def test_a_sidecar_that_refuses_our_welcome_is_not_hammered(tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "s.sock"
        greeting = core.encode_frame(core.HELLO, json.dumps(hello(redis=Path("/none"))).encode())
        refusal = core.encode_frame(core.ERROR, b'{"reason":"WELCOME: unknown capsule x"}')
        connections = 0

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            writer.write(greeting)
            await reader.read(1)
            writer.write(refusal)
            writer.close()

        fleet = Fleet(str(path))
        fleet.welcome_all("me", [])
        async with await asyncio.start_unix_server(refuse, str(path)):
            running = asyncio.create_task(fleet.run())
            await asyncio.sleep(2)  # what is measured is a rate
            running.cancel()
            fleet.close()
        assert 2 <= connections <= 20

    asyncio.run(scene())


def test_a_worker_whose_process_is_gone_is_lost_though_a_child_has_the_connection(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            pid = at.fleet.workers[0].pid
            assert at.fleet.assign(jobs(1, 2)) == []
            at.results(Outcome(1, core.OK, 1))
            assert not at.fleet.process_ended(pid + 1)

            assert at.fleet.process_ended(pid)

            await at.until(lambda: not at.fleet.workers)
            assert (at.ended, at.crashed) == ([1], [2])

    asyncio.run(scene())


def read(worker: socket.socket) -> list[int]:
    """Types of the frames that came, as far as they are whole."""
    worker.settimeout(0.05)
    data = b""
    with contextlib.suppress(TimeoutError):
        while piece := worker.recv(1 << 16):
            data += piece
    kinds = []
    while len(data) >= 8:
        size, kind = struct.unpack_from(">IB", data)
        kinds.append(kind)
        data = data[8 + size :]
    return kinds


def test_outcomes_that_are_under_way_count_when_we_close(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            assert at.fleet.assign(jobs(1, 2, 3)) == []
            at.results(Outcome(1, core.OK, 1))
            at.fleet.close()
            assert at.fleet.room == 0
            assert read(at.worker)[-1] == core.BATCH  # and then the end
            at.results(Outcome(2, core.OK, 1))
            at.worker.close()
            await at.until(lambda: not at.fleet.workers)
            assert (at.ended, at.orphans) == ([1, 2], [3])

    asyncio.run(scene())


def test_one_that_does_not_close_its_end_keeps_us_only_for_a_moment(tmp_path: Path) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at:
            # It reads nothing either, so that we cannot even say that we close.
            assert at.fleet.assign([Job(1, 0, b"x" * 8_000_000, 0.0), *jobs(2)]) == []
            at.fleet.close()
            at.fleet.close()
            at.results(Outcome(2, core.OK, 1))
            async with asyncio.timeout(4 * PARTING_S):
                await at.fleet.emptied()
            assert (at.ended, at.orphans) == ([2], [1])

    asyncio.run(scene())


def test_due_jobs_are_judged_by_another_worker_when_one_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gokiq.workers.connection._LOOK_S", 0.01)
    monkeypatch.setattr("gokiq.workers.connection.PROMOTE_STILL_S", 0.1)

    async def scene() -> None:
        async with stage(tmp_path / "s.sock", pid=11) as at:
            still = set()
            at.fleet.stands_still = lambda pid: pid in still
            asking = asyncio.create_task(at.fleet.client_push([b"one"]))
            await asyncio.sleep(0)
            assert core.PROMOTE in await asyncio.to_thread(read, at.worker)
            other = await at.another(pid=12)
            still.add(11)
            assert core.PROMOTE in await asyncio.to_thread(read, other)
            pushes = encode_promoted(1, [Push(Fate.ENQUEUE, "q", payload=b"{}")])
            other.sendall(core.encode_frame(core.PROMOTED, pushes))
            assert [push.queue for push in await asking] == ["q"]

            # Nobody is asked who still owes an answer.
            other.close()
            await at.until(lambda: len(at.fleet.workers) == 1)
            with pytest.raises(ExecutorUnavailable):
                await at.fleet.client_push([b"two"])
            assert core.PROMOTE not in await asyncio.to_thread(read, at.worker)

            # It goes on: it is asked again.
            still.clear()
            at.worker.sendall(core.encode_frame(core.PROMOTED, pushes))
            await at.until(lambda: not at.fleet.workers[0].is_overdue)
            asking = asyncio.create_task(at.fleet.client_push([b"two"]))
            assert core.PROMOTE in await asyncio.to_thread(read, at.worker)
            asking.cancel()

    asyncio.run(scene())


def test_due_jobs_are_judged_where_the_client_is_the_apps(tmp_path: Path) -> None:
    """A startup handler may have run in one worker only, or a job may have added middleware."""

    async def scene() -> None:
        async with stage(tmp_path / "s.sock", pid=11) as at:
            other = await at.another(pid=12)
            assert not at.fleet.has_app_client
            ready = core.encode_frame(core.READY, struct.pack(">IB", 10, 1))
            for worker in (at.worker, other):
                worker.sendall(ready)
                await at.until(lambda: at.fleet.has_app_client)
                asking = asyncio.create_task(at.fleet.client_push([b"one"]))
                assert core.PROMOTE in await asyncio.to_thread(read, worker)
                asking.cancel()
                for link in at.fleet.workers:
                    link.has_app_client = False

    asyncio.run(scene())


def test_a_worker_that_answers_nothing_about_due_jobs_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gokiq.workers.connection._LOOK_S", 0.01)
    monkeypatch.setattr("gokiq.workers.connection.PROMOTE_S", 0.1)

    async def scene() -> None:
        async with stage(tmp_path / "s.sock") as at, asyncio.timeout(LIMIT_S):
            with pytest.raises(ExecutorUnavailable):
                await at.fleet.client_push([b"one"])

    asyncio.run(scene())


def test_a_worker_that_stands_still_gets_only_what_the_others_have_no_room_for(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with stage(tmp_path / "s.sock", pid=11) as at:
            other = await at.another(pid=12)
            loads = lambda: {w.pid: len(w.open) for w in at.fleet.workers}  # noqa: E731
            assert at.fleet.assign(jobs(*range(4))) == []
            assert loads() == {11: 2, 12: 2}

            at.fleet.stands_still = lambda pid: pid == 11
            assert at.fleet.assign(jobs(*range(4, 11))) == []
            assert loads() == {11: 2, 12: 9}
            assert at.fleet.assign(jobs(11, 12, 13)) == []
            assert loads() == {11: 4, 12: 10}

            at.fleet.stands_still = lambda pid: True
            assert [job.number for job in at.fleet.assign(jobs(*range(14, 22)))] == [20, 21]
            other.close()

    asyncio.run(scene())
