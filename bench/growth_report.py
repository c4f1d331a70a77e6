"""From windows to curves: medians, how flat each is, the tables of docs/scaling*.md. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.growth_axes import Axis

#: A curve is flat while its dearest point costs at most so many times its cheapest.
FLAT = 1.2
#: How much of its core a single-threaded part should use at most.
BUSY = 0.7
#: Who uses CPU, in the order of the pictures.
GROUPS = ("ruby", "python", "redis")
# Jobs of which the table of capacity is made: name, axis, point. A push of _BULK jobs brings them.
_KINDS = (
    ("no-op", "backlog", 100_000),
    ("no-op, 1 KB", "payload", 1_000),
    ("no-op, 10 KB", "payload", 10_000),
    ("0.1 s, 10,000 in flight", "in-flight", 10_000),
)
_BULK = 100


@dataclass(frozen=True, slots=True)
class Window:
    """What the ends of `jobs` jobs in a row took; CPU in µs per job.

    `jobs_per_call` counts the calls of the script that settles and claims.
    """

    jobs: int
    seconds: float
    cpu_us_per_job: Mapping[str, float]
    redis_commands_per_job: float
    jobs_per_call: float

    @property
    def whole_us(self) -> float:
        """CPU of all processes, µs per job."""
        return sum(self.cpu_us_per_job.values())


def summarise(windows: Sequence[Window]) -> dict[str, Any]:
    """One point: the median of each figure, and the whole cost of each window."""

    def median(figures: Sequence[float], digits: int) -> float:
        return round(statistics.median(figures), digits)

    return {
        "jobs": sum(window.jobs for window in windows),
        "jobs_per_s": median([w.jobs / w.seconds for w in windows], 0),
        "cpu_us_per_job": {
            group: median([w.cpu_us_per_job[group] for w in windows], 2) for group in GROUPS
        },
        "whole_us_per_job": median([w.whole_us for w in windows], 2),
        "windows_us_per_job": [round(w.whole_us, 2) for w in windows],
        "redis_commands_per_job": median([w.redis_commands_per_job for w in windows], 3),
        "jobs_per_call": median([w.jobs_per_call for w in windows], 1),
    }


def describe(axis: Axis, windows: Mapping[int, Sequence[Window]]) -> dict[str, Any]:
    """A curve: its points in order, how much the cost changes along it, and why."""
    points = [{"x": x, **summarise(seen)} for x, seen in windows.items()]
    grown = growth([point["whole_us_per_job"] for point in points])
    return {
        "title": axis.title,
        "held": axis.held,
        "points": points,
        "growth": round(grown, 2),
        "is_flat": grown <= FLAT,
        "why": axis.why,
    }


def growth(costs: Sequence[float]) -> float:
    """How many times the cheapest cost the dearest is."""
    return max(costs) / min(costs)


def verdict(curve: Mapping[str, Any]) -> str:
    """Whether a curve is flat; if not, the reason."""
    if curve["is_flat"]:
        return "flat"
    return curve["why"] or "not flat, and no reason is known"


def tables(report: Mapping[str, Any]) -> str:
    """The curves, all their points, what pushes cost and what follows for capacity, in Markdown."""
    curves = report["axes"].values()
    lines = [
        "| what grows | from … to | dearest ÷ cheapest | verdict |",
        "|---|---|--:|---|",
    ]
    for curve in curves:
        ends = f"{curve['points'][0]['x']:,} … {curve['points'][-1]['x']:,}"
        lines.append(f"| {curve['title']} | {ends} | {curve['growth']:.2f} | {verdict(curve)} |")
    for curve in curves:
        lines += [
            "",
            f"{curve['title'][0].upper()}{curve['title'][1:]} ({curve['held']}):",
            "",
            "| | Ruby | Python | Redis | whole µs a job | jobs/s | jobs a call | commands a job |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|",
            *(_row(point) for point in curve["points"]),
        ]
    return "\n".join(lines)


def capacity(report: Mapping[str, Any]) -> str:
    """What one core carries, and how many cores a million jobs a second take, in Markdown. Raises
    ValueError when the report is one of some curves only.
    """
    if not report["pushes"]:
        raise ValueError("growth.json is of some axes only; run python -m bench.growth without any")
    kinds = [(name, _point(report, axis, x)["cpu_us_per_job"]) for name, axis, x in _KINDS]
    push_us = next(push["redis"] for push in report["pushes"] if push["x"] == _BULK)
    costs: list[tuple[str, str, list[float]]] = [
        ("a worker (Ruby)", "workers", [cpu["ruby"] for _, cpu in kinds]),
        ("an orchestrator (Python)", "orchestrators", [cpu["python"] for _, cpu in kinds]),
        (
            f"a Redis, pushes of {_BULK} small jobs included",
            "Redis servers",
            [cpu["redis"] + push_us for _, cpu in kinds],
        ),
    ]
    head = "".join(f" {name} |" for name, _ in kinds)
    rule = "|---|" + "--:|" * len(kinds)
    lines = [f"| jobs/s of one core as |{head}", rule]
    for title, _, each in costs:
        lines.append(f"| {title} |" + "".join(f" {_rounded(1e6 / us)} |" for us in each))
    lines += ["", f"| a million jobs a second take |{head}", rule]
    for _, title, each in costs:
        cells = (f" {us:,.1f} cores: {math.ceil(us / BUSY)} |" for us in each)
        lines.append(f"| {title} |" + "".join(cells))
    return "\n".join(lines)


def push_table(report: Mapping[str, Any]) -> str:
    """What pushing costs, in Markdown."""
    lines = ["| jobs in one push | client, µs a job | Redis, µs a job |", "|--:|--:|--:|"]
    lines += [
        f"| {push['x']:,} | {push['ruby']:,.1f} | {push['redis']:,.1f} |"
        for push in report["pushes"]
    ]
    return "\n".join(lines)


def _point(report: Mapping[str, Any], axis: str, x: int) -> Mapping[str, Any]:
    points: Sequence[Mapping[str, Any]] = report["axes"][axis]["points"]
    return next(point for point in points if point["x"] == x)


def _rounded(number: float) -> str:
    """Two digits that count, for a figure that is a guide."""
    return f"{float(f'{number:.2g}'):,.0f}"


def _row(point: Mapping[str, Any]) -> str:
    cpu = point["cpu_us_per_job"]
    cells = [
        f"{point['x']:,}",
        *(f"{cpu[group]:,.1f}" if cpu[group] else "" for group in GROUPS),
        f"{point['whole_us_per_job']:,.1f}",
        f"{point['jobs_per_s']:,.0f}",
        f"{point['jobs_per_call']:,.1f}",
        f"{point['redis_commands_per_job']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def with_part(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks of this name. Raises ValueError when it has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, has_begin, rest = page.partition(begin)
    _, has_end, tail = rest.partition(end)
    if not (has_begin and has_end):
        raise ValueError(f"the page lacks the marks {begin} and {end}")
    return f"{head}{begin}\n{text}\n{end}{tail}"


def parts_of(report: Mapping[str, Any]) -> dict[str, str]:
    """All that the pages show of a report, by the name of its marks. Raises ValueError when it is
    of some curves only.
    """
    machine = report["machine"]
    made = (
        f"Measured {report['date'][:10]} by `{report['command']}`: {machine['cores']} cores of"
        f" {machine['cpu']}, Ruby {machine['ruby']} (YJIT {machine['yjit']}), Python"
        f" {machine['python']}, Redis {machine['redis']}, Sidekiq {machine['sidekiq']}."
    )
    return {
        "made": made,
        "capacity": capacity(report),
        "pushes": push_table(report),
        "growth": tables(report),
    }


def with_parts(page: str, parts: Mapping[str, str]) -> str:
    """The page with these parts between their marks. Raises ValueError when it lacks any."""
    for name, text in parts.items():
        page = with_part(page, name, text)
    return page
