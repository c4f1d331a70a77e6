"""Active Record in fibers: connections and transactions are each job's own, and with fewer
connections than slots jobs wait before they start.

With SQLite, or with the database that GOKIQ_TEST_DATABASE names, as in `postgres://me@host/test`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.gokiq import GokiqFast
from devtools.redis_jobs import count_claims
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script
from tests.acceptance.stage import payload
from tests.acceptance.test_health import Probe

pytestmark = pytest.mark.acceptance

APP = Path(__file__).with_name("rails_app")
#: Jobs at once in one worker.
SLOTS = 200


class Yard:
    """The test app with a database of `rows` entries, one worker, 200 slots."""

    def __init__(self, redis: RedisServer, folder: Path, options: str, rows: int = 0) -> None:
        self.redis = redis
        self.client = redis.client
        self._folder = folder
        self._seen = folder / "seen"
        self._count = 0
        database = os.environ.get("GOKIQ_TEST_DATABASE", f"sqlite3:{folder}/test.sqlite3")
        self._env = {
            "DATABASE_URL": f"{database}?{options}",
            "TEST_SEEN": str(self._seen),
            "RAILS_ENV": "test",
        }
        script, log = APP / "make_table.rb", folder / "table.log"
        numbers = [str(rows)] if rows else []
        with ruby_script(script, *numbers, log=log, env=self._env) as table:
            assert table.wait(60) == 0, table.tail()

    def push(self, job_class: str, rows: list[list[object]]) -> None:
        jobs = [
            payload(f"{self._count + i:024x}", job_class, *row, retry=0)
            for i, row in enumerate(rows)
        ]
        self._count += len(jobs)
        self.client.sadd("queues", "default")
        self.client.lpush("queue:default", *jobs)

    def gokiq(self, *args: str) -> GokiqFast:
        args = ("-r", str(APP), "-c", str(SLOTS), "--workers", "1", *args)
        return GokiqFast(*args, redis=self.redis, log=self._folder / "log", env=self._env)

    def lines(self, kind: str) -> list[list[str]]:
        if not self._seen.exists():
            return []
        found = (line.split() for line in self._seen.read_text().splitlines())
        return [words[1:] for words in found if words[0] == kind]

    def processed(self) -> int:
        return int(self.client.get("stat:processed") or 0)

    def failed(self) -> int:
        return int(self.client.get("stat:failed") or 0)

    def finish(self, server: GokiqFast, timeout_s: float = 60) -> None:
        server.wait_until(
            lambda: self.processed() == self._count, timeout_s=timeout_s, what="all jobs had run"
        )


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def test_200_transactions_at_once_share_no_connection(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    yard = Yard(redis_server, tmp_path, "pool=200")
    yard.push("MarkJob", [[number, SLOTS] for number in range(SLOTS)])

    with yard.gokiq() as server:
        yard.finish(server)

    marks = yard.lines("mark")
    assert {inside for _, inside, *_ in marks} == {"200"}
    assert len({connection for *_, connection, _ in marks}) == SLOTS
    assert {number: found for number, *_, found in marks} == {str(n): str(n) for n in range(SLOTS)}
    left = {words[0]: words[1:] for words in yard.lines("left")}
    assert left == {str(n): [] if n % 2 else [str(n)] for n in range(SLOTS)}
    assert yard.failed() == 0


def test_rows_of_an_open_transaction_are_seen_by_nobody_else(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    yard = Yard(redis_server, tmp_path, "pool=200&default_transaction_mode=immediate")
    yard.push("ReadJob", [[100]] * 5)
    yard.push("WriteJob", [[number] for number in range(190)])

    with yard.gokiq() as server:
        yard.finish(server)
        yard.push("ReadJob", [[1]])
        yard.finish(server)

    assert len(yard.lines("wrote")) == 190
    assert {count for [count] in yard.lines("odd")} == {"0"}
    assert yard.failed() == 0


def test_shutdown_rolls_back_the_transaction_that_it_cuts(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    yard = Yard(redis_server, tmp_path, "pool=200")
    yard.push("WriteJob", [[1, 60]])

    with yard.gokiq("-t", "1") as server:
        server.wait_until(lambda: bool(yard.lines("wrote")), timeout_s=60, what="the row was there")
        assert server.stop() == 0
    left = yard.client.lrange("queue:default", 0, -1)
    yard.client.delete("queue:default")
    yard.push("ReadJob", [[1]])
    with yard.gokiq() as server:
        server.wait_until(lambda: bool(yard.lines("odd")), timeout_s=60, what="the rows were read")

    assert len(left) == 1
    assert yard.lines("odd") == [["0"]]


def test_jobs_that_would_wait_for_a_connection_stay_in_redis(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """200 times 0.1 s on 5 connections are 4 s of waiting; more than 1 s is an error."""
    yard = Yard(redis_server, tmp_path, "pool=5&checkout_timeout=1")
    yard.push("HoldJob", [[0, 0.1]] * 200)
    most_claimed = 0

    def is_half_done() -> bool:
        nonlocal most_claimed
        most_claimed = max(most_claimed, count_claims(yard.client))
        return yard.processed() >= 100

    probe = Probe(f"unix:{tmp_path}/health")

    def is_told() -> bool:
        """What metrics say of it, once jobs are held back."""
        if not (tmp_path / "health").exists():
            return False
        seen = {name.partition("{pid")[0]: value for name, value in probe.metrics().items()}
        return (
            seen.get('gokiq_queue_held{queue="default",reason="database pool"}') == 1
            and seen.get("gokiq_worker_database_pool_size") == 5
            and 0 < seen["gokiq_worker_database_pool_used"] <= 5
            and seen["gokiq_worker_database_pool_waiting"] > 0
        )

    with yard.gokiq("--health", probe.address) as server:
        server.wait_until(is_told, timeout_s=60, what="the pool was told as the reason")
        server.wait_until(is_half_done, timeout_s=60, what="half of the jobs had run")
        yard.finish(server)

    assert yard.failed() == 0
    assert len(yard.lines("held")) == 200
    assert most_claimed <= 30
    advice = "database.yml gives 5 connections to each process, a worker runs 200 jobs at once"
    assert advice in server.log.read_text()


def test_jobs_that_need_a_connection_late_do_not_pile_up(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """All 200 at once would wait for up to 4 s."""
    yard = Yard(redis_server, tmp_path, "pool=5&checkout_timeout=2")
    yard.push("HoldJob", [[0.3, 0.1]] * 200)

    with yard.gokiq() as server:
        yard.finish(server)

    assert yard.failed() == 0


def test_a_small_pool_does_not_hold_jobs_that_use_no_database(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """One after another in fives they would take 80 s."""
    yard = Yard(redis_server, tmp_path, "pool=5&checkout_timeout=1")
    yard.push("HoldJob", [[1, 0]] * 400)

    with yard.gokiq() as server:
        server.wait_ready()
        yard.finish(server, timeout_s=25)

    assert yard.failed() == 0


def test_jobs_in_threads_do_not_take_the_place_of_those_in_fibers(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """20 jobs wait for 5 threads; with 5 connections a worker takes few jobs at first."""
    yard = Yard(redis_server, tmp_path, "pool=5")
    yard.push("BesideJob", [[2]] * 20)
    yard.push("HoldJob", [[0, 0.01]] * 50)

    with yard.gokiq() as server:
        server.wait_until(
            lambda: len(yard.lines("held")) == 50, timeout_s=60, what="all fibers' jobs had run"
        )
        beside = len(yard.lines("beside"))
        yard.finish(server)

    assert beside <= 5
    assert len(yard.lines("beside")) == 20


def test_an_iterable_job_goes_on_at_its_cursor_after_a_restart(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    yard = Yard(redis_server, tmp_path, "pool=5", rows=100)
    yard.push("WalkJob", [[]])

    with yard.gokiq() as server:
        server.wait_until(
            lambda: len(yard.lines("step")) >= 20, timeout_s=60, what="20 rows were walked"
        )
        assert server.stop() == 0
    first = len(yard.lines("step"))
    with yard.gokiq() as server:
        server.wait_until(
            lambda: len(yard.lines("step")) >= 100, timeout_s=60, what="all rows were walked"
        )

    starts = [cursor for [cursor] in yard.lines("from")]
    steps = [int(number) for [number] in yard.lines("step")]
    assert first < 100
    assert starts[0] == "nil"
    assert starts[1:] == [str(first + 1)]
    assert steps == list(range(100))
