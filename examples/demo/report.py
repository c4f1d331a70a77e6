"""tmp/demo.json: the figures of a run, computed from the journal, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from devtools.gokiq import ServerInfo
from devtools.journal import (
    Event,
    Run,
    Verdict,
    check,
    find_runs,
    max_in_flight,
    percentile,
)
from devtools.redis_jobs import Places
from examples.demo.plan import Pushed, split_paced
from examples.demo.watch import Peaks


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a finished run left: the client's list, the journal, Redis, the highest figures."""

    pushed: Sequence[Pushed]
    paced: int
    events: Sequence[Event]
    places: Places
    peaks: Peaks
    server: ServerInfo


@dataclass(frozen=True, slots=True)
class Settings:
    """What was run and how."""

    server: str
    concurrency: int
    scale: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from just before the push to the start of `perform`; None without a job."""

    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The keys of demo.json, in their order."""

    enqueued: int
    executed: int
    succeeded: int
    retried: int
    dead: int
    lost: int
    duplicates: int
    jobs_per_s: int
    latency_ms: Latency
    max_in_flight: int
    redis_connections: int
    workers: int
    rss_mb: int
    falcon: str | None
    sidekiq: str | None
    wall_s: float
    # Beyond what was asked for: what the figures above are made of.
    backlog: int
    backlog_s: float
    paced: int
    strays: int
    left_in_redis: int
    rss_mb_ruby: int
    server: str
    concurrency: int
    scale: float

    @property
    def is_clean(self) -> bool:
        """Whether every job was done exactly once and Redis holds none."""
        findings = (self.lost, self.duplicates, self.strays, self.dead, self.left_in_redis)
        return self.succeeded == self.enqueued and not any(findings)

    def as_json(self) -> dict[str, Any]:
        """For json.dumps."""
        return asdict(self)


def make_report(evidence: Evidence, settings: Settings, wall_s: float) -> Report:
    """Compute the figures of a run that is over."""
    held = evidence.places.all()
    verdict = check([job.jid for job in evidence.pushed], evidence.events, held)
    runs = find_runs(evidence.events)
    at_once, paced = split_paced(evidence.pushed, evidence.paced)
    waiting = {job.jid for job in at_once if job.kind != "scheduled"}
    backlog, backlog_s = _first_runs(runs, waiting)
    return Report(
        **_counts(verdict),
        retried=_count_retried(runs),
        dead=len(evidence.places.dead),
        jobs_per_s=round(backlog / backlog_s) if backlog_s else 0,
        latency_ms=_latency(runs, paced),
        max_in_flight=max_in_flight(runs),
        redis_connections=evidence.peaks.connections,
        workers=evidence.server.workers,
        rss_mb=round(evidence.peaks.rss_mb),
        falcon=evidence.server.falcon,
        sidekiq=evidence.server.sidekiq,
        wall_s=round(wall_s, 1),
        backlog=backlog,
        backlog_s=round(backlog_s, 3),
        paced=evidence.paced,
        left_in_redis=len(held) - len(evidence.places.dead),
        rss_mb_ruby=round(evidence.peaks.sidecar_mb),
        server=settings.server,
        concurrency=settings.concurrency,
        scale=settings.scale,
    )


def _counts(verdict: Verdict) -> dict[str, int]:
    return {
        "enqueued": verdict.enqueued,
        "executed": verdict.executed,
        "succeeded": verdict.succeeded,
        "lost": len(verdict.lost),
        "duplicates": len(verdict.duplicates),
        "strays": len(verdict.strays),
    }


def _count_retried(runs: Sequence[Run]) -> int:
    failed: set[str] = set()
    retried: set[str] = set()
    for run in runs:
        if run.jid in failed:
            retried.add(run.jid)
        if run.outcome == "fail":
            failed.add(run.jid)
    return len(retried)


def _first_runs(runs: Sequence[Run], jids: set[str]) -> tuple[int, float]:
    """How many of `jids` have run, and the seconds from the first start to the last first end."""
    first: dict[str, Run] = {}
    for run in runs:
        if run.jid in jids:
            first.setdefault(run.jid, run)
    ends = [run.end_ms for run in first.values() if run.end_ms is not None]
    if not ends:
        return 0, 0.0
    return len(first), (max(ends) - min(run.start_ms for run in first.values())) / 1000


def _latency(runs: Sequence[Run], paced: Sequence[Pushed]) -> Latency:
    starts: dict[str, float] = {}
    for run in runs:
        starts.setdefault(run.jid, run.start_ms)
    waits = [starts[job.jid] - job.at_ms for job in paced if job.jid in starts]
    p50, p99 = percentile(waits, 0.5), percentile(waits, 0.99)
    return Latency(
        p50=None if p50 is None else round(p50, 2),
        p99=None if p99 is None else round(p99, 2),
    )
