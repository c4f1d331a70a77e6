"""What the spike showed: percentiles, the best static limit, the verdict. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: How many times its unloaded p99 the foreground may take.
FOREGROUND_TIMES = 2.0
#: How many times the best static limit's time the adaptive one may take to drain.
DRAIN_TIMES = 1.15
#: A request that failed counts as one that took this long, in seconds; the client gives up then.
FAILED_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """A foreground request: when it was due and how long it took from then on, in seconds."""

    due: float
    took: float
    error: str | None = None

    @property
    def latency(self) -> float:
        """Seconds that it counts as."""
        return self.took if self.error is None else max(self.took, FAILED_S)


@dataclass(frozen=True, slots=True)
class Look:
    """Who was connected at that moment: all clients, the jobs, and the jobs in a statement."""

    at: float
    connections: int
    job_connections: int
    job_statements: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Jobs that waited at that moment: in their queue, and for their next attempt; and those that
    gokiq had claimed, which are as many as its limit while others wait.
    """

    at: float
    queued: int
    retries: int
    claimed: int


@dataclass(frozen=True, slots=True)
class Trace:
    """One system's run; times in seconds since all jobs were there. `left` jobs were not done when
    it was given up.
    """

    label: str
    setting: int
    jobs: int
    drained: float
    left: int = 0
    job_errors: int = 0
    requests: Sequence[Request] = ()
    looks: Sequence[Look] = ()
    waiting: Sequence[Waiting] = ()

    @property
    def is_drained(self) -> bool:
        """Whether every job was done."""
        return self.left == 0

    @property
    def met(self) -> list[Request]:
        """The requests that were due while there were jobs."""
        return [one for one in self.requests if 0 <= one.due <= self.drained]

    @property
    def foreground_p99(self) -> float:
        """Seconds."""
        return percentile((one.latency for one in self.met), 99)

    @property
    def foreground_errors(self) -> int:
        """Requests that failed."""
        return sum(1 for one in self.met if one.error)

    def figures(self) -> dict[str, Any]:
        """For the report; `drain_s` is how long was waited where jobs were left."""
        return {
            "label": self.label,
            "setting": self.setting,
            "jobs": self.jobs,
            "jobs_left": self.left,
            "drain_s": round(self.drained, 2),
            "foreground_p50_ms": _ms(percentile((one.latency for one in self.met), 50)),
            "foreground_p99_ms": _ms(self.foreground_p99),
            "errors": self.job_errors + self.foreground_errors,
            "job_errors": self.job_errors,
            "foreground_errors": self.foreground_errors,
            "foreground_requests": len(self.met),
            "connections": max((look.connections for look in self.looks), default=0),
            "job_connections": max((look.job_connections for look in self.looks), default=0),
        }

    def as_json(self) -> dict[str, Any]:
        """All of it; `from_json` makes it again."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trace:
        """The trace that `as_json` told of."""
        return cls(
            **{
                **value,
                "requests": [Request(**one) for one in value["requests"]],
                "looks": [Look(**one) for one in value["looks"]],
                "waiting": [Waiting(**one) for one in value["waiting"]],
            }
        )


def percentile(values: Iterable[float], percent: float) -> float:
    """By the nearest rank: a value that occurs. NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def by_drain(traces: Iterable[Trace], unloaded_p99: float) -> list[Trace]:
    """Static limits, best first: those that keep the foreground's p99 by their time to drain, then
    the others by the p99.
    """

    def rank(trace: Trace) -> tuple[bool, float]:
        keeps = keeps_foreground(trace, unloaded_p99)
        return (not keeps, trace.drained if keeps else trace.foreground_p99)

    return sorted(traces, key=rank)


def keeps_foreground(trace: Trace, unloaded_p99: float) -> bool:
    """Whether the foreground's p99 stayed within what it may take, and all jobs were done."""
    return trace.is_drained and trace.foreground_p99 <= FOREGROUND_TIMES * unloaded_p99


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the adaptive limit did what it is for."""

    foreground_times: float
    drain_times: float

    @classmethod
    def of(cls, adaptive: Trace, static: Trace, unloaded_p99: float) -> Verdict:
        """The adaptive limit beside the best static one."""
        drained = adaptive.drained if adaptive.is_drained else math.inf
        return cls(adaptive.foreground_p99 / unloaded_p99, drained / static.drained)

    @property
    def is_met(self) -> bool:
        """Both bounds hold."""
        return self.foreground_times <= FOREGROUND_TIMES and self.drain_times <= DRAIN_TIMES

    def as_json(self) -> dict[str, Any]:
        """With the bounds."""
        return {
            "is_met": self.is_met,
            "foreground_times": round(self.foreground_times, 2),
            "foreground_times_allowed": FOREGROUND_TIMES,
            "drain_times": round(self.drain_times, 2) if math.isfinite(self.drain_times) else None,
            "drain_times_allowed": DRAIN_TIMES,
        }


def _ms(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds * 1000, 2)
