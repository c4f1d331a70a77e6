"""Jobs that fail: what is written to `retry` and when, and who is told (checklist 36 to 61)."""

from __future__ import annotations

import base64
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion
from .life import said

pytestmark = pytest.mark.acceptance

#: How long a retry waits at first, seconds; how far chance may spread it.
FIRST_S, SPREAD_S = 15, 10
#: What was pushed long ago.
PUSHED_S = 1_600_000_000.125


@pytest.fixture(scope="module")
def server(shared: Stand) -> Iterator[Server]:
    with shared.gokiq("-c", "5", "-q", "default", "-q", "low", app="failing.rb") as server:
        server.wait_ready()
        yield server


class Failing:
    """Pushes jobs and finds what has become of them, by jid."""

    def __init__(self, stand: Stand, server: Server) -> None:
        self.stand = stand
        self.server = server

    def push(self, job_class: str, *args: object, **fields: object) -> str:
        """Its jid; it is on its way."""
        job = self.stand.payload(job_class, *args, **fields)
        self.stand.push(job)
        return str(json.loads(job)["jid"])

    def find(self, key: str, jid: str) -> tuple[bytes, float] | None:
        members: list[Any] = self.stand.client.zrange(key, 0, -1, withscores=True)
        found = [(member, score) for member, score in members if jid.encode() in member]
        assert len(found) < 2, found
        return found[0] if found else None

    def wait_raw(self, key: str, jid: str) -> tuple[bytes, float]:
        """Its bytes in a sorted set and its score, once it is there."""
        self.stand.wait(self.server, lambda: self.find(key, jid), f"{jid} had come to {key}")
        found = self.find(key, jid)
        assert found
        return found

    def wait(self, key: str, jid: str) -> tuple[dict[str, Any], float]:
        raw, score = self.wait_raw(key, jid)
        return json.loads(raw), score

    def wait_said(self, *start: object) -> list[Any]:
        self.stand.wait(self.server, lambda: said(self.stand, *start), f"{start} was noted")
        return said(self.stand, *start)[0]

    def try_again(self, jid: str) -> None:
        """Its retry is due since a second."""
        raw, _ = self.wait_raw("retry", jid)
        self.stand.client.zadd("retry", {raw: 1.0}, xx=True)

    def runs(self, jid: str) -> int:
        return sum(run.jid == jid for run in self.stand.runs())

    def is_nowhere(self, jid: str) -> bool:
        """It has left every key of Redis, ours included."""
        client = self.stand.client
        readers: dict[bytes, Callable[[bytes], list[bytes]]] = {
            b"list": lambda key: client.lrange(key, 0, -1),
            b"zset": lambda key: client.zrange(key, 0, -1),
            b"hash": client.hvals,
        }
        return not any(
            jid.encode() in value
            for key in client.keys("*")
            for value in readers.get(client.type(key), lambda _: [])(key)
        )

    def wait_nowhere(self, jid: str) -> None:
        self.stand.wait(self.server, lambda: self.is_nowhere(jid), f"{jid} was nowhere in Redis")

    def seconds(self, clock: float) -> float:
        """A clock of a payload, in seconds; fails when its unit is not that of the version."""
        assert isinstance(clock, int if self.stand.version.is_8 else float), clock
        return clock / 1000 if self.stand.version.is_8 else clock

    def pushed(self) -> float | int:
        """PUSHED_S, as this version writes it."""
        return int(PUSHED_S * 1000) if self.stand.version.is_8 else PUSHED_S

    def failed(self, count: int) -> dict[str, object]:
        """Fields of a job that has failed `count` times."""
        fields: dict[str, object] = {"error_class": "E", "error_message": "e"}
        fields |= {"retry_count": count - 1, "failed_at": self.pushed()}
        return fields | ({"retried_at": self.pushed()} if count > 1 else {})

    def delay_s(self, job: dict[str, Any], score: float) -> float:
        """From its failure to its next try."""
        return score - self.seconds(job.get("retried_at") or job["failed_at"])


@pytest.fixture
def failing(shared: Stand, server: Server) -> Failing:
    return Failing(shared, server)


@assertion(36, "first failure: retry_count 0, failed_at, no retried_at")
@assertion(37, "and due in 15 to 25 seconds")
@assertion(40, "failed_at in the unit of the version")
def test_the_first_failure(failing: Failing) -> None:
    jid = failing.push("RaisingJob", "no way")
    job, score = failing.wait("retry", jid)

    assert (job["retry_count"], job["error_class"]) == (0, "ArgumentError")
    assert job["error_message"] == "no way"
    assert abs(failing.seconds(job["failed_at"]) - time.time()) < 30
    assert "retried_at" not in job
    assert FIRST_S <= failing.delay_s(job, score) < FIRST_S + SPREAD_S
    api = f'Sidekiq::RetrySet.new.find_job("{jid}")'
    assert failing.stand.ask(f'j = {api}; [j.error?, j["retry_count"]]') == [True, 0]
    assert abs(failing.stand.ask(f"{api}.at.to_f") - score) < 0.001


@assertion(38, "second failure: retry_count 1, retried_at set, failed_at unchanged")
def test_the_second_failure(failing: Failing) -> None:
    jid = failing.push("RaisingJob")
    first, _ = failing.wait("retry", jid)
    failing.try_again(jid)
    failing.stand.wait(failing.server, lambda: failing.runs(jid) == 2, "it had run again")
    second, score = failing.wait("retry", jid)

    assert second["retry_count"] == 1
    assert second["failed_at"] == first["failed_at"]
    assert failing.seconds(second["retried_at"]) > failing.seconds(first["failed_at"])
    spread_s = 2 * SPREAD_S
    assert FIRST_S + 1 <= failing.delay_s(second, score) < FIRST_S + 1 + spread_s


@assertion(39, "count 3: due in 96 to 136 seconds, spread as the version spreads")
def test_the_fourth_failure_is_spread(failing: Failing) -> None:
    jids = [failing.push("RaisingJob", "spread", **failing.failed(3)) for _ in range(300)]
    client = failing.stand.client

    def found() -> list[tuple[dict[str, Any], float]]:
        raws: list[Any] = client.zrange("retry", 0, -1, withscores=True)
        jobs = [(json.loads(raw), score) for raw, score in raws]
        return [(job, score) for job, score in jobs if job["jid"] in jids]

    failing.stand.wait(failing.server, lambda: len(found()) == 300, "all had failed")
    jobs = found()
    assert {job["retry_count"] for job, _ in jobs} == {3}
    # The two looks at the clock are less than a second apart; the job's is in milliseconds.
    spread = {int(failing.delay_s(job, score) + 1e-4) - (3**4 + FIRST_S) for job, score in jobs}
    # 300 draws leave out one of 10 values with a chance of 2e-13.
    if failing.stand.version.is_8:
        assert spread <= set(range(40))
        assert {second % 4 for second in spread} == {0, 1, 2, 3}
        assert min(spread) < 4
        assert max(spread) >= 36
    else:
        assert spread == set(range(0, 40, 4))


@assertion(41, "retry: false: neither in retry nor in dead, death handlers called")
def test_a_job_without_retries_is_dropped(failing: Failing) -> None:
    jid = failing.push("RaisingJob", retry=False)
    told = failing.wait_said("death", jid)
    failing.wait_nowhere(jid)

    assert told[2] == "ArgumentError"
    # As it was pushed: nothing is written into it.
    assert "error_class" not in told[3]
    failing.wait_said("death", jid)
    assert len(said(failing.stand, "death", jid)) == 1
    assert len(said(failing.stand, "error", jid)) == 1


@assertion(42, "retry: 0: dead after one run")
def test_no_retries(failing: Failing) -> None:
    jid = failing.push("RaisingJob", retry=0)
    job, score = failing.wait("dead", jid)

    assert job["retry_count"] == 0
    assert abs(score - time.time()) < 30
    assert failing.runs(jid) == 1
    assert failing.find("retry", jid) is None
    assert failing.wait_said("death", jid)[4] == 0


@assertion(43, "retry: 2: three runs, then dead")
def test_two_retries(failing: Failing) -> None:
    jid = failing.push("RaisingJob", retry=2)
    for run in (1, 2):
        failing.stand.wait(failing.server, lambda run=run: failing.runs(jid) == run, f"run {run}")
        failing.try_again(jid)
    job, _ = failing.wait("dead", jid)

    assert failing.runs(jid) == 3
    assert job["retry_count"] == 2
    assert failing.find("retry", jid) is None
    failing.wait_said("death", jid)
    assert len(said(failing.stand, "death", jid)) == 1
    assert len(said(failing.stand, "error", jid)) == 3


@assertion(44, 'retry: "3" counts as 25')
def test_a_text_as_retry(failing: Failing) -> None:
    one, other = (
        failing.push("RaisingJob", retry="3", **failing.failed(count)) for count in (24, 25)
    )
    assert failing.wait("retry", one)[0]["retry_count"] == 24
    assert failing.wait("dead", other)[0]["retry_count"] == 25


@assertion(45, "retry_queue: in the payload, and where the retry goes")
def test_retry_queue(failing: Failing) -> None:
    jid = failing.push("RaisingJob", retry_queue="waiting")
    assert failing.wait("retry", jid)[0]["queue"] == "waiting"
    failing.try_again(jid)
    stand = failing.stand
    stand.wait(failing.server, lambda: stand.client.llen("queue:waiting"), "it was in its queue")

    [job] = [json.loads(raw) for raw in stand.client.lrange("queue:waiting", 0, -1)]
    assert (job["jid"], job["queue"]) == (jid, "waiting")
    assert stand.client.sismember("queues", "waiting")


@assertion(45, "without retry_queue: the queue that it came from, whatever it says")
def test_the_queue_of_a_retry_is_the_one_that_it_came_from(failing: Failing) -> None:
    job = failing.stand.payload("RaisingJob", queue="elsewhere")
    failing.stand.push(job, queue="low")
    assert failing.wait("retry", json.loads(job)["jid"])[0]["queue"] == "low"


@assertion(46, "a payload without retry gets that of its class")
def test_retry_of_the_class(failing: Failing) -> None:
    jid = failing.push("FiveTimesJob", retry=None)
    job, _ = failing.wait("retry", jid)
    assert job["retry"] == 5


@assertion(47, "backtrace: 3: compressed, and readable by the API")
def test_backtrace(failing: Failing) -> None:
    jid = failing.push("RaisingJob", backtrace=3)
    job, _ = failing.wait("retry", jid)

    lines = json.loads(zlib.decompress(base64.b64decode(job["error_backtrace"], validate=True)))
    assert len(lines) == 3
    assert "jobs/retry.rb" in lines[0]
    api = f'Sidekiq::RetrySet.new.find_job("{jid}").error_backtrace'
    assert failing.stand.ask(api) == lines


@assertion(48, "an invalid message is repaired, a long one cut at 10,000 characters")
def test_error_messages(failing: Failing) -> None:
    invalid, huge = (failing.push("RaisingJob", way) for way in ("invalid", "huge"))
    assert failing.wait("retry", invalid)[0]["error_message"] == "caf\ufffd \ufffd!"
    assert failing.wait("retry", huge)[0]["error_message"] == "é" * 10_000


@assertion(49, "sidekiq_retry_in: 120 seconds and a little more, or the default")
def test_retry_in(failing: Failing) -> None:
    own = {way: failing.push("RetryInJob", way) for way in ("120", "text", "120.9")}
    default = {
        way: failing.push("RetryInJob", way)
        for way in ("nil", "zero", "negative", "default", "odd")
    }
    for least, jids in ((120, own), (FIRST_S, default)):
        for way, jid in jids.items():
            job, score = failing.wait("retry", jid)
            assert least <= failing.delay_s(job, score) < least + SPREAD_S + 0.5, way
            assert said(failing.stand, "retry in", jid) == [["retry in", jid, 0, way, 0]]


@assertion(50, ":kill: dead, exhausted block and death handlers called")
def test_kill(failing: Failing) -> None:
    jid = failing.push("RetryInJob", "kill")
    job, _ = failing.wait("dead", jid)
    assert job["retry_count"] == 0
    assert said(failing.stand, "exhausted", jid) == [["exhausted", jid, "ArgumentError", "kill"]]
    failing.wait_said("death", jid)
    assert len(said(failing.stand, "death", jid)) == 1


@assertion(50, ":discard: nowhere; death handlers are called by Sidekiq 8 alone")
def test_discard(failing: Failing) -> None:
    jid = failing.push("RetryInJob", "discard")
    failing.wait_said("error", jid)
    failing.wait_nowhere(jid)

    deaths = said(failing.stand, "death", jid)
    assert len(deaths) == (1 if failing.stand.version.is_8 else 0)
    assert all("discarded_at" in keys for _, _, _, keys, _ in deaths)
    assert said(failing.stand, "exhausted", jid) == []


@assertion(51, "sidekiq_retry_in that raises: the default delay, and error handlers called")
def test_retry_in_that_raises(failing: Failing) -> None:
    jid = failing.push("RetryInJob", "raise")
    job, score = failing.wait("retry", jid)
    assert FIRST_S <= failing.delay_s(job, score) < FIRST_S + SPREAD_S + 0.5
    assert job["error_class"] == "ArgumentError"
    failing.wait_said("error", jid)
    contexts = [
        note[3]
        for note in said(failing.stand, "error", None, "IOError")
        if "sidekiq_retry_in" in note[3] and "RetryInJob" in note[3]
    ]
    assert len(contexts) == 1


@assertion(52, "the exhausted block: what it changes is in dead, :discard keeps the job out of it")
def test_exhausted(failing: Failing) -> None:
    mutate, discard, broken = (
        failing.push("ExhaustedJob", way, retry=0) for way in ("mutate", "discard", "raise")
    )
    job, _ = failing.wait("dead", mutate)
    assert (job["last"], job["args"]) == ("é", ["mutated"])
    failing.wait("dead", broken)
    errors = said(failing.stand, "error", broken, "IOError")
    assert [note[3] for note in errors] == ["Error calling retries_exhausted"]
    failing.wait_said("error", discard)
    failing.wait_nowhere(discard)
    for jid in (mutate, discard, broken):
        assert len(said(failing.stand, "exhausted", jid)) == 1


@assertion(53, "dead: false: not in dead, death handlers run")
def test_dead_false(failing: Failing) -> None:
    jid = failing.push("RaisingJob", retry=0, dead=False)
    _, _, _, keys, _ = failing.wait_said("death", jid)
    failing.wait_nowhere(jid)
    assert ("discarded_at" in keys) == failing.stand.version.is_8


@assertion(54, "retry_for: dead when it is over; in Sidekiq 8 the count does not matter")
def test_retry_for(failing: Failing) -> None:
    over = failing.push("RaisingJob", retry_for=3600, **failing.failed(1))
    many = failing.push("RaisingJob", retry_for=10**9, **failing.failed(50))
    fresh = failing.push("RaisingJob", retry_for=3600)

    assert failing.wait("dead", over)[0]["retry_count"] == 1
    assert failing.wait("retry", fresh)[0]["retry_count"] == 0
    key = "retry" if failing.stand.version.is_8 else "dead"
    assert failing.wait(key, many)[0]["retry_count"] == 50


@assertion(55, "what middleware changes is not in the retry")
def test_middleware_does_not_leak(failing: Failing) -> None:
    jid = failing.push("RaisingJob", "way", mutate=True)
    job, _ = failing.wait("retry", jid)
    assert (job["args"], job["retry"]) == (["way"], True)
    assert "added" not in job
    # The handlers are told what the job was when it ran.
    told = failing.wait_said("error", jid)
    assert told[5]["args"] == ["way", "mutated"]


@assertion(56, "unknown fields and arguments survive retry and dead byte for byte")
def test_unknown_fields_survive(failing: Failing) -> None:
    kept = {
        "bid": "B-1",
        "cattr": {"a": [1, None, {"b": 2.5}]},
        "unique_for": 1.0,
        "big": 2**70,
        "text": 'é\u2028\u007f/<>&\U0001f600"\\\n',
        "lock": {"on_conflict": "log"},
        "at_odds": [-0.0, 1e-7, 0.1],
    }
    jid = failing.push("RaisingJob", "way", 2**64 + 1, "é", 1.5, retry=1, **kept)
    raw, _ = failing.wait_raw("retry", jid)
    for name, value in kept.items():
        shown = json.dumps({name: value}, separators=(",", ":"), ensure_ascii=False)[1:-1]
        # The shortest spelling of a float is Ruby's own.
        expected = shown.replace("1e-07", _ruby_float(failing.stand, 1e-7)).encode()
        assert expected in raw, (expected, raw)
    assert '"args":["way",18446744073709551617,"é",1.5]'.encode() in raw

    failing.try_again(jid)
    dead, _ = failing.wait_raw("dead", jid)
    assert {k: v for k, v in json.loads(dead).items() if k in kept} == kept
    # A look at the bytes: what was stored twice is what was stored once.
    inner = re.compile(rb'"bid":.*?"at_odds":\[[^]]*\]')
    assert inner.search(dead)[0] == inner.search(raw)[0]  # type: ignore[index]


def _ruby_float(stand: Stand, number: float) -> str:
    return str(stand.ask(f"JSON.generate({number!r})"))


@assertion(57, "the API reschedules a retry: it moves, no second one appears")
def test_reschedule(failing: Failing) -> None:
    jid = failing.push("RaisingJob", "é \u2028/", 1.5, 1e20, 1e-5, 2**70, extra={"ü": 1.0})
    failing.wait("retry", jid)
    size = failing.stand.client.zcard("retry")
    at = int(time.time()) + 5000
    failing.stand.ask(f'Sidekiq::RetrySet.new.find_job("{jid}").reschedule({at}); nil')

    assert failing.stand.client.zcard("retry") == size
    assert abs(failing.wait("retry", jid)[1] - at) < 1


@assertion(58, "the API's scan finds a job by what is in its arguments")
def test_scan(failing: Failing) -> None:
    jid = failing.push("RaisingJob", "Zoë Ødegård", tags=["ümlaut"])
    failing.wait("retry", jid)
    for word in ("Zoë Ødegård", "ümlaut"):
        assert failing.stand.ask(f'Sidekiq::RetrySet.new.scan("{word}").map(&:jid)') == [jid]


@assertion(59, "exit in perform: retried as SystemExit, the worker lives on")
def test_exit_is_a_failure(failing: Failing) -> None:
    ways = {"exit": "SystemExit", "exit!": "SystemExit", "throw": "UncaughtThrowError"}
    for way, name in ways.items():
        jid = failing.push("RaisingJob", way)
        assert failing.wait("retry", jid)[0]["error_class"] == name
        assert failing.wait_said("error", jid)[2] == name
    after = failing.push("JournalJob")
    failing.stand.wait(failing.server, lambda: failing.runs(after), "another job had run")
    # All in one worker, the first.
    assert len({run.pid for run in failing.stand.runs()}) == 1


@assertion(60, "an exception of a class without name: error_class is null")
def test_anonymous_exception(failing: Failing) -> None:
    jid = failing.push("RaisingJob", "anonymous")
    job, _ = failing.wait("retry", jid)
    assert job["error_class"] is None
    assert job["error_message"] == "nobody"


@assertion(61, "the error handler: once for each failed try, with context and job; never for Skip")
def test_error_handlers(failing: Failing) -> None:
    skip = failing.push("RaisingJob", "skip")
    handled = failing.push("RaisingJob", "handled")
    cause = failing.push("RaisingJob", "cause", retry=1)
    failing.wait("retry", cause)
    failing.wait_said("error", cause)
    failing.try_again(cause)
    failing.wait("dead", cause)
    failing.wait_nowhere(skip)
    failing.wait_nowhere(handled)
    stand = failing.stand
    stand.wait(failing.server, lambda: len(said(stand, "error", cause)) == 2, "both were told")

    for _, jid, error, context, keys, job in said(stand, "error", cause):
        assert (error, context) == ("ArgumentError", "Job raised exception")
        assert keys[:2] == ["context", "job"]
        assert job["jid"] == jid
    assert len(said(stand, "error", handled)) == 1
    assert said(stand, "error", skip) == []
