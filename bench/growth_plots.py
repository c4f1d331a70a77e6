"""The pictures: one curve each, CPU per job by who used it above, the rate below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.growth_report import FLAT, GROUPS

mpl.use("Agg")

from matplotlib import pyplot as plt

_COLOURS = {"ruby": "#c0504d", "python": "#4f81bd", "redis": "#d9a441"}
_INCHES = (7.2, 5.2)
_BAR = 0.62


def draw(name: str, curve: Mapping[str, Any], folder: Path) -> Path:
    """Write growth-NAME.png; returns where it is."""
    points = curve["points"]
    places = range(len(points))
    wholes = [point["whole_us_per_job"] for point in points]
    figure, (cost, rate) = plt.subplots(
        2, 1, figsize=_INCHES, height_ratios=(3, 1.4), layout="constrained", sharex=True
    )
    low = min(wholes)
    cost.axhspan(low, FLAT * low, color="#888888", alpha=0.15, lw=0, label="within 20 %")
    floor = [0.0] * len(points)
    for group in GROUPS:
        shares = [point["cpu_us_per_job"][group] for point in points]
        if any(shares):
            cost.bar(places, shares, _BAR, floor, color=_COLOURS[group], label=group.capitalize())
            floor = [below + share for below, share in zip(floor, shares, strict=True)]
    for place, point in zip(places, points, strict=True):
        whole = point["whole_us_per_job"]
        label = f"{whole:,.1f}" if whole < 100 else f"{whole:,.0f}"
        cost.annotate(label, (place, floor[place]), (0, 3), textcoords="offset points", ha="center")
    cost.margins(y=0.12)
    cost.set_ylabel("µs of CPU per job")
    cost.set_title(f"{curve['title']}\n", fontsize=12, loc="left")
    cost.text(0, 1.02, curve["held"], transform=cost.transAxes, fontsize=9, color="#555555")
    cost.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    rate.plot(places, [point["jobs_per_s"] for point in points], "o-", color="#444444", ms=4)
    rate.margins(y=0.15)
    rate.set_ylim(bottom=0)
    rate.set_ylabel("jobs/s")
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    rate.set_xticks(places, [_tick(point) for point in points])
    for axes in (cost, rate):
        axes.spines[["top", "right"]].set_visible(False)
    path = folder / f"growth-{name}.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _tick(point: Mapping[str, Any]) -> str:
    return f"{point['x']:,}\n{point['jobs_per_call']:,.0f} jobs a call"
