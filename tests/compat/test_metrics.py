"""Metrics in the encoding of the app's Sidekiq, for its Metrics tab (checklist 89 to 94)."""

from __future__ import annotations

import bisect
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from .harness import Stand, Version, assertion
from .life import said

pytestmark = pytest.mark.acceptance

#: Upper bounds of the histogram's buckets, ms. Source: sidekiq lib/sidekiq/metrics/shared.rb.
BOUNDS_MS = (20, 30, 45, 65, 100, 150, 225, 335, 500, 750, 1100, 1700, 2500, 3800, 5750)
BUCKETS = 26
MINUTE_TTL_S = 28_800
TEN_MINUTES_TTL_S = 259_200


@dataclass(frozen=True)
class Keys:
    """Where the metrics of one minute are."""

    minute: str
    ten_minutes: str | None
    histogram: str


def keys(version: Version, at: datetime, job_class: str) -> Keys:
    """By the rules of the version; 8 pads no hours but minutes, 7 pads the histogram's hours."""
    if version.is_8:
        minute = f"j|{at:%y%m%d}|{at.hour}:{at:%M}"
        return Keys(minute, minute[:-1], f"h|{job_class}-{at.day}-{at.hour}:{at.minute}")
    minute = f"j|{at:%Y%m%d}|{at.hour}:{at.minute}"
    return Keys(minute, None, f"{job_class}-{at:%d-%H}:{at.minute}")


@pytest.fixture(scope="module")
def ended(shared: Stand) -> Stand:
    """A success of 120 ms, a failure and an ActiveJob have run; the process has ended since."""
    shared.push(shared.payload("MeasuredJob"), shared.payload("UnmeasuredJob"))
    with shared.gokiq(app="active_job.rb") as server:
        shared.ask(ENQUEUE_ACTIVE_JOB)
        shared.wait(server, lambda: shared.int("stat:processed") == 3, "all were done")
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
    return shared


ENQUEUE_ACTIVE_JOB = """
require "active_job"
ActiveJob::Base.queue_adapter = :sidekiq
ActiveJob::Base.logger = nil
class GreetingJob < ActiveJob::Base; end
GreetingJob.perform_later("you")
nil
"""


def recent(version: Version, job_class: str) -> list[Keys]:
    """The keys of this minute and of some before, latest first."""
    now = datetime.now(UTC)
    return [keys(version, now - timedelta(minutes=back), job_class) for back in range(5)]


def written(stand: Stand, job_class: str) -> Keys:
    """The keys of the minute in which the class's metrics were written: this or an earlier one."""
    for found in recent(stand.version, job_class):
        if stand.client.hexists(found.minute, f"{job_class}|p"):
            return found
    raise AssertionError(f"no metrics of {job_class}; there is {sorted(stand.client.keys('j|*'))}")


def fields(stand: Stand, key: str, job_class: str) -> dict[str, int]:
    """The counters of one class."""
    found = stand.client.hgetall(key).items()
    parts = {name.decode(): int(value) for name, value in found}
    prefix = f"{job_class}|"
    return {k.removeprefix(prefix): v for k, v in parts.items() if k.startswith(prefix)}


def histogram(stand: Stand, key: str) -> list[int]:
    """All buckets."""
    reads = [part for i in range(BUCKETS) for part in ("GET", "u16", f"#{i}")]
    counts: list[int] = stand.client.execute_command("BITFIELD", key, *reads)
    return counts


@assertion(89, "a success of 120 ms: the minute's hash has its time and its count, and no failure")
def test_a_success_is_counted_with_its_time(ended: Stand) -> None:
    found = fields(ended, written(ended, "MeasuredJob").minute, "MeasuredJob")
    assert set(found) == {"ms", "p"}
    assert found["p"] == 1
    assert 120 <= found["ms"] < 1000


@assertion(90, "it is in the right bucket of the histogram")
def test_a_success_is_in_the_histogram(ended: Stand) -> None:
    found = written(ended, "MeasuredJob")
    # On a quiet machine 120 ms and a little: the fifth bucket, up to 150 ms.
    took_ms = fields(ended, found.minute, "MeasuredJob")["ms"]
    expected = [0] * BUCKETS
    expected[bisect.bisect_right(BOUNDS_MS, took_ms)] = 1
    assert histogram(ended, found.histogram) == expected
    assert expected.index(1) >= 5


@assertion(91, "a failure is counted, without a time")
def test_a_failure_has_no_time(ended: Stand) -> None:
    found = written(ended, "UnmeasuredJob")
    assert fields(ended, found.minute, "UnmeasuredJob") == {"p": 1, "f": 1}
    assert not ended.client.exists(found.histogram)


@assertion(92, "the gem's own query finds the class")
def test_the_query_finds_it(ended: Stand) -> None:
    ended.ask('require "sidekiq/metrics/query"')
    spans = ["minutes: 60", "hours: 24"] if ended.version.is_8 else ["minutes: 60"]
    for span in spans:
        totals = ended.ask(
            f"Sidekiq::Metrics::Query.new.top_jobs({span}).job_results.transform_values(&:totals)"
        )
        assert totals["MeasuredJob"]["p"] == 1
        assert totals["MeasuredJob"]["ms"] >= 120
        assert totals["UnmeasuredJob"] == {"p": 1, "f": 1}
        counts = ended.ask(
            f'Sidekiq::Metrics::Query.new.for_job("MeasuredJob", {span})'
            '.job_results["MeasuredJob"].hist.values.flatten.sum'
        )
        assert counts == (1 if span.startswith("minutes") else 0)


@assertion(93, "they live for eight hours, those of ten minutes for three days")
def test_they_expire(ended: Stand) -> None:
    found = written(ended, "MeasuredJob")
    for key in (found.minute, found.histogram):
        assert MINUTE_TTL_S - 300 < ended.client.ttl(key) <= MINUTE_TTL_S
    if found.ten_minutes:
        assert fields(ended, found.ten_minutes, "MeasuredJob")["p"] == 1
        assert TEN_MINUTES_TTL_S - 300 < ended.client.ttl(found.ten_minutes) <= TEN_MINUTES_TTL_S
    # Nothing else is written: Sidekiq 7 has the minutes alone.
    known = {key for its in recent(ended.version, "") for key in (its.minute, its.ten_minutes)}
    assert {key.decode() for key in ended.client.keys("j|*")} <= known


@assertion(94, "a job of ActiveJob counts under its own class")
def test_an_active_job_counts_under_its_class(ended: Stand) -> None:
    assert [name for _, name, _ in said(ended, "greeted")] == ["you"]
    found = written(ended, "GreetingJob")
    assert fields(ended, found.minute, "GreetingJob")["p"] == 1
    names = {name.decode() for name in ended.client.hkeys(found.minute)}
    assert not [name for name in names if "Wrapper" in name]
