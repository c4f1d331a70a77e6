"""The words at the end: what was proved, the figures and what they mean, what to try next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.failure import short_path
from examples.demo.report import Report

#: Rows of the comparison: the words and how to find the figure.
_ROWS = (
    ("concurrency", "concurrency"),
    ("jobs/s", "jobs_per_s"),
    ("latency p50, ms", "latency_ms.p50"),
    ("latency p99, ms", "latency_ms.p99"),
    ("jobs at once, most", "max_in_flight"),
    ("Redis connections", "redis_connections"),
    ("memory, MB", "rss_mb"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the summary: what, the figure, and what the figure means."""

    label: str
    figure: str
    meaning: str


def describe(report: Report) -> list[Line]:
    """The summary: every figure with its definition."""
    latency = report.latency_ms
    once = f"all {report.retried:,} that failed" if report.retried else "none failed, so none"
    lines = [
        Line(
            "done",
            f"{report.succeeded:,} of {report.enqueued:,} jobs",
            "counted by jid, from a journal that the jobs write",
        ),
        Line("retried", f"{report.retried:,}", f"{once} were run again, {report.executed:,} runs"),
        Line(
            "throughput",
            f"{report.jobs_per_s:,} jobs/s",
            f"the {report.backlog:,} jobs that waited at the start, in {report.backlog_s:.1f} s",
        ),
        Line(
            "latency",
            f"{_ms(latency.p50)} (p99 {_ms(latency.p99)})",
            f"push to start of perform, {report.paced:,} no-ops one at a time, server idle",
        ),
        Line("at once", f"{report.max_in_flight:,} jobs", "the most that were in perform together"),
        Line(
            "Redis",
            f"{report.redis_connections} connections",
            "the most that the server had open",
        ),
        Line(
            "memory",
            f"{report.rss_mb:,} MB",
            f"resident, {report.rss_mb_ruby:,} MB of it Ruby; shared pages count in each process",
        ),
        Line(
            "versions",
            f"Sidekiq {report.sidekiq}",
            ""
            if report.server == "sidekiq"
            else f"Falcon {report.falcon or 'not installed, not needed'}",
        ),
    ]
    if report.strays or report.left_in_redis:
        meaning = f"jobs; {report.strays} ran or are there though nobody pushed them"
        lines.append(Line("left over", f"{report.left_in_redis} in Redis", meaning))
    return lines


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """A table of two reports, as they are in their files, on the same jobs."""
    lines = [f"  {'the same jobs':<20}{'gokiq-fast':>12}{'sidekiq':>12}"]
    for label, path in _ROWS:
        lines.append(f"  {label:<20}{_cell(ours, path):>12}{_cell(theirs, path):>12}")
    return lines


def command(*options: str) -> str:
    """How to run the demo again with `options`, from here."""
    python = short_path(Path(sys.executable))
    return shlex.join([python, "-m", "examples.demo", *options])


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:,.{1 if value < 10 else 0}f} ms"


def _cell(report: Mapping[str, Any], path: str) -> str:
    value: Any = report
    for key in path.split("."):
        value = value[key]
    return f"{value:,}" if value is not None else "?"
