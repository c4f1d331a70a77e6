"""The pictures: CPU per job by who used it. One for each curve, with the rate, and one of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

from bench.growth_report import FLAT, GROUPS

mpl.use("Agg")

from matplotlib import pyplot as plt

_COLOURS = {"ruby": "#c0504d", "python": "#4f81bd", "redis": "#d9a441"}
_BAR = 0.62
_DPI = 110


def draw(name: str, curve: Mapping[str, Any], folder: Path) -> None:
    """Write growth-NAME.png."""
    figure, (cost, rate) = plt.subplots(
        2, 1, figsize=(7.2, 5.2), height_ratios=(3, 1.4), layout="constrained", sharex=True
    )
    _draw_cost(cost, curve)
    cost.set_ylabel("µs of CPU per job")
    cost.set_title(f"{curve['title']}\n", fontsize=12, loc="left")
    cost.text(0, 1.02, curve["held"], transform=cost.transAxes, fontsize=9, color="#555555")
    cost.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    points = curve["points"]
    places = range(len(points))
    rate.plot(places, [point["jobs_per_s"] for point in points], "o-", color="#444444", ms=4)
    rate.margins(y=0.15)
    rate.set_ylim(bottom=0)
    rate.set_ylabel("jobs/s")
    rate.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    labels = [f"{point['x']:,}\n{point['jobs_per_call']:,.0f} jobs a call" for point in points]
    rate.set_xticks(places, labels)
    rate.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / f"growth-{name}.png", dpi=_DPI)
    plt.close(figure)


def draw_all(curves: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write one picture of all curves, without the rates."""
    columns = 3
    rows = -(-len(curves) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(10, 2.6 * rows), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(curves) :]:
        axes.set_axis_off()
    for axes, curve in zip(grid.flat, curves.values(), strict=False):
        _draw_cost(axes, curve)
        axes.set_title(curve["title"], fontsize=9.5, loc="left")
        points = curve["points"]
        axes.set_xticks(range(len(points)), [f"{point['x']:,}" for point in points], fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
    handles, labels = next(iter(grid.flat)).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.suptitle("µs of CPU per job", fontsize=11, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _draw_cost(axes: Axes, curve: Mapping[str, Any]) -> None:
    points = curve["points"]
    places = range(len(points))
    low = min(point["whole_us_per_job"] for point in points)
    axes.axhspan(low, FLAT * low, color="#888888", alpha=0.15, lw=0, label="within 20 %")
    floor = [0.0] * len(points)
    for group in GROUPS:
        shares = [point["cpu_us_per_job"][group] for point in points]
        if any(shares):
            axes.bar(places, shares, _BAR, floor, color=_COLOURS[group], label=group.capitalize())
            floor = [below + share for below, share in zip(floor, shares, strict=True)]
    for place, point in zip(places, points, strict=True):
        whole = point["whole_us_per_job"]
        axes.annotate(
            f"{whole:,.1f}" if whole < 100 else f"{whole:,.0f}",
            (place, floor[place]),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
        )
    axes.margins(y=0.14)
    axes.spines[["top", "right"]].set_visible(False)
