"""What the suite is measured against, row by row, and whether a row's figures meet it. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.growth_report import FLAT

#: The figures of each row by its name, as its JSON has them.
Records = Mapping[str, Mapping[str, Any]]
#: Takes one figure out of them. Raises KeyError where it was not measured.
Reader = Callable[[Records], float]


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of a row. `bound` is a number, or a figure itself, or None: reported only.

    `form` is a format specification of `str.format`, with the unit.
    """

    what: str
    read: Reader
    bound: float | Reader | None = None
    is_least: bool = True
    is_strict: bool = False
    form: str = "{:.1f}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; `name` is what limits.toml calls it."""

    name: str
    title: str
    checks: Sequence[Check]


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out of a check. `target` is empty where nothing is asked; `is_met` is None then,
    and where a reason is known and accepted.
    """

    what: str
    target: str
    reached: str
    is_met: bool | None
    is_measured: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out of a row; `reason` says why something was not met, or not measured."""

    name: str
    title: str
    findings: Sequence[Finding]
    reason: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether all is met that is asked; None where nothing is asked."""
        asked = [one.is_met for one in self.findings if one.target]
        return all(met is not False for met in asked) if asked else None


def judge(records: Records, limits: Mapping[str, str]) -> list[Verdict]:
    """Every row, in order. `limits` are reasons by a row's name."""
    return [*(_judge(row, records, limits) for row in ROWS), _judge_growth(records, limits)]


def read_limits(path: Path) -> dict[str, str]:
    """Reasons by a row's name, from a TOML file of `name = "reason"`. Raises OSError."""
    return {name: str(reason) for name, reason in tomllib.loads(path.read_text("utf-8")).items()}


def _judge(row: Row, records: Records, limits: Mapping[str, str]) -> Verdict:
    findings = [_find(check, records) for check in row.checks]
    return Verdict(row.name, row.title, findings, _reason(row.name, findings, records, limits))


def _judge_growth(records: Records, limits: Mapping[str, str]) -> Verdict:
    """A finding for each axis; an axis that is not flat brings its reason along."""
    record = records.get("growth", {})
    axes = record.get("axes", {})
    findings = [
        Finding(
            axis["title"],
            f"≤ {FLAT:.2f}, or the reason",
            f"{axis['growth']:.2f}",
            True if axis["is_flat"] else None if axis["why"] else False,
            is_measured=True,
        )
        for axis in axes.values()
    ] or [Finding("cost of a job along six axes", f"≤ {FLAT:.2f}", "not measured", False, False)]
    whys = [
        f"{axis['title']}: {axis['why']}"
        for axis in axes.values()
        if axis["why"] and not axis["is_flat"]
    ]
    reason = _reason("growth", findings, records, limits)
    return Verdict(
        "growth",
        "cost of a job as things grow, dearest ÷ cheapest: flat, or the reason",
        findings,
        "; ".join(filter(None, [*whys, reason])),
    )


def _reason(
    name: str, findings: Sequence[Finding], records: Records, limits: Mapping[str, str]
) -> str:
    """Why a row is not met or not complete: what failed, and what is known about it."""
    if all(one.is_measured and one.is_met is not False for one in findings):
        return ""
    said = [str(records.get(name, {}).get(key, "")) for key in ("failed", "misses")]
    return "; ".join(filter(None, [*said, limits.get(name, "")]))


def _find(check: Check, records: Records) -> Finding:
    sign = {(True, False): "≥ ", (False, False): "≤ ", (True, True): "> ", (False, True): "< "}
    bound = check.bound
    target = ""
    is_met = None
    try:
        limit = bound(records) if callable(bound) else bound
    except KeyError:
        limit = None
    if limit is not None:
        target = sign[check.is_least, check.is_strict] + check.form.format(limit)
    elif bound is not None:
        target = "not measured"
    try:
        figure = check.read(records)
    except KeyError:
        # What is asked and cannot be shown is not met.
        return Finding(check.what, target, "not measured", False if target else None, False)
    if limit is not None:
        is_met = figure >= limit if check.is_least else figure <= limit
        is_met = is_met and not (check.is_strict and figure == limit)
    elif target:
        is_met = False
    return Finding(check.what, target, check.form.format(figure), is_met, True)


def _at(*path: str) -> Reader:
    """The figure at this path, the row's name first."""

    def read(records: Records) -> float:
        place: Any = records
        for key in path:
            place = place[key]
        if place is None:
            raise KeyError(path)
        return float(place)

    return read


def _ratio_to_threads(name: str, threads: int) -> Reader:
    """gokiq's rate over that of Sidekiq with so many threads, the best or another."""

    def read(records: Records) -> float:
        record = records[name]
        for one in (record["sidekiq"], *record["others"]):
            if one["settings"].get("threads") == threads:
                return float(record["gokiq"]["jobs_per_s"]) / float(one["jobs_per_s"])
        raise KeyError(threads)

    return read


def _most_connections(records: Records) -> float:
    """Of gokiq in any row that ran without a service of its own: jobs open none."""
    seen = [
        record["gokiq"]["redis_connections"]
        for record in records.values()
        if "redis_connections" in record.get("gokiq", {})
    ]
    if not seen:
        raise KeyError("redis_connections")
    return float(max(seen))


def _least_ratio(other: str) -> Reader:
    """How many times as fast as `other` the compiled code is in its worst case."""
    return lambda records: min(map(float, records["micro"]["times"][other].values()))


def _ratio(name: str, bound: float | None = None) -> Check:
    return Check("jobs/s, times Sidekiq's", _at(name, "ratio"), bound, form="{:.2f}")


#: The table of the issue that asked for the suite, in its order.
ROWS: Sequence[Row] = (
    Row(
        "noop",
        "no-op, plain Ruby, 200,000 jobs, one worker against one Sidekiq process",
        (
            _ratio("noop", 12),
            Check(
                "CPU of a job, part of Sidekiq's",
                _at("noop", "cpu_part"),
                1 / 8,
                is_least=False,
                form="{:.3f}",
            ),
        ),
    ),
    Row("noop-info", "no-op at INFO, start and done lines in both logs", (_ratio("noop-info", 8),)),
    Row("rails", "no-op Sidekiq::Job in a Rails app, one Ruby process each", (_ratio("rails", 3),)),
    Row(
        "activejob",
        "no-op ActiveJob in a Rails app, one Ruby process each",
        (_ratio("activejob", 1.7),),
    ),
    Row(
        "sleep",
        "sleep 0.1 s, 1 KB, 500 in flight",
        (
            Check(
                "part of the ideal 5,000/s",
                _at("sleep", "gokiq", "part_of_ideal"),
                0.95,
                form="{:.1%}",
            ),
            Check("jobs/s", _at("sleep", "gokiq", "jobs_per_s"), form="{:,.0f}"),
            _ratio("sleep"),
        ),
    ),
    Row(
        "sleep-5000",
        "sleep 0.1 s, 1 KB, 5,000 in flight",
        (
            Check("jobs/s", _at("sleep-5000", "gokiq", "jobs_per_s"), 15_000, form="{:,.0f}"),
            _ratio("sleep-5000"),
        ),
    ),
    Row(
        "sleep-5kb",
        "sleep 0.1 s, 5 KB, 20,000 jobs, 500 in flight",
        (
            Check("jobs/s", _at("sleep-5kb", "gokiq", "jobs_per_s"), form="{:,.0f}"),
            Check("times Sidekiq with 10 threads", _ratio_to_threads("sleep-5kb", 10)),
            Check("times Sidekiq with 50 threads", _ratio_to_threads("sleep-5kb", 50)),
        ),
    ),
    Row(
        "distance",
        "Redis 1 ms away, no-op",
        (
            Check(
                "part of gokiq's rate beside Redis",
                _at("distance", "part_of_near"),
                0.9,
                form="{:.0%}",
            ),
            Check(
                "part of that through the same proxy",
                _at("distance", "part_of_proxy"),
                form="{:.0%}",
            ),
        ),
    ),
    Row("cpu", "1 ms of CPU, two workers against two Sidekiq processes", (_ratio("cpu", 1),)),
    Row("http", "HTTP, 50 ms, 50 connections", (_ratio("http"),)),
    Row("postgres", "PostgreSQL, 50 ms, pool of 20", (_ratio("postgres"),)),
    Row(
        "latency",
        "push to perform, 100 jobs/s, idle system",
        tuple(
            Check(
                f"{share}, Sidekiq's as target",
                _at("latency", "gokiq", f"{share}_ms"),
                _at("latency", "sidekiq", f"{share}_ms"),
                is_least=False,
                is_strict=True,
                form="{:.2f} ms",
            )
            for share in ("p50", "p99")
        ),
    ),
    Row(
        "redis",
        "Redis, no-op jobs; connections in any row",
        (
            Check(
                "CPU of a job",
                _at("noop", "gokiq", "cpu_us_per_job", "redis"),
                4,
                is_least=False,
                form="{:.1f} µs",
            ),
            Check(
                "commands of a job",
                _at("noop", "gokiq", "redis_commands_per_job"),
                0.1,
                is_least=False,
                form="{:.3f}",
            ),
            Check("connections", _most_connections, 4, is_least=False, form="{:.0f}"),
        ),
    ),
    Row(
        "orchestrator",
        "the orchestrator alone, workers that answer at once",
        (
            Check(
                "CPU of a job",
                _at("orchestrator", "cpu_us_per_job", "python"),
                4,
                is_least=False,
                form="{:.1f} µs",
            ),
            Check("jobs/s", _at("orchestrator", "jobs_per_s"), 250_000, form="{:,.0f}"),
        ),
    ),
    Row(
        "memory",
        "10,000 sleeping jobs in flight",
        (
            Check("in flight", _at("memory", "in_flight"), 10_000, form="{:,.0f}"),
            Check("a job", _at("memory", "kb_per_job"), 20, is_least=False, form="{:.1f} KB"),
            Check("in all", _at("memory", "mb"), 320, is_least=False, form="{:.0f} MB"),
        ),
    ),
    Row(
        "idle",
        "idle",
        (
            Check(
                "of a core",
                _at("idle", "gokiq", "cpu_percent"),
                0.5,
                is_least=False,
                form="{:.2f} %",
            ),
            Check(
                "Redis commands/s",
                _at("idle", "gokiq", "redis_commands_per_s"),
                5,
                is_least=False,
            ),
        ),
    ),
    Row(
        "micro",
        "compiled functions",
        (
            Check("_payload.scan, times json.loads, least", _least_ratio("json.loads"), 10),
            Check(
                "frame and RESP builders, times their plain twins, least", _least_ratio("plain"), 5
            ),
        ),
    ),
)
