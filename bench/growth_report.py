"""From windows to curves: medians, how flat each is, the tables of docs/scaling.md. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.growth_axes import Axis

#: A curve is flat while its dearest point costs at most so many times its cheapest.
FLAT = 1.2
#: Who uses CPU, in the order of the pictures.
GROUPS = ("ruby", "python", "redis")
#: Between these lines of a page stand the tables.
BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"


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
    """The curves and all their points, in Markdown."""
    curves = report["axes"].values()
    lines = [
        "| what grows | from … to | dearest ÷ cheapest | verdict |",
        "|---|---|---|---|",
    ]
    for curve in curves:
        ends = f"{curve['points'][0]['x']:,} … {curve['points'][-1]['x']:,}"
        lines.append(f"| {curve['title']} | {ends} | {curve['growth']:.2f} | {verdict(curve)} |")
    for curve in curves:
        lines += [
            "",
            f"{curve['title'].capitalize()} ({curve['held']}):",
            "",
            "| | Ruby | Python | Redis | whole µs a job | jobs/s | jobs a call | commands a job |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|",
            *(_row(point) for point in curve["points"]),
        ]
    return "\n".join(lines)


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


def with_tables(page: str, text: str) -> str:
    """The page with `text` between its two marks. Raises ValueError when they are not there."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{head}{begin}\n{text}\n{end}{tail}"
