"""The pictures of the report: how gokiq stands to Sidekiq, what a job costs, how long it waits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: The figures of each row by its name.
Records = Mapping[str, Mapping[str, Any]]

#: Each system has one colour in all pictures; peers share the third.
COLOURS = {"sidekiq": "#b1283a", "gokiq": "#1f6f8b"}
PEER_COLOUR = "#9aa3b2"
#: Who uses CPU, from the left.
GROUPS = {"ruby": "#b1283a", "python": "#e0a526", "redis": "#5b6b7a"}

# Behind figures that lines would cross.
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
_COLUMNS = 3
_DPI = 130


def draw_all(records: Records, targets: Mapping[str, float], folder: Path) -> dict[Path, str]:
    """Draw what there are figures for; the files and what each shows. `targets` are ratios."""
    compared = {
        name: record for name, record in records.items() if "gokiq" in record and "ratio" in record
    }
    pictures: dict[Path, str] = {}
    if compared:
        pictures[folder / "ratios.png"] = "Rate of gokiq, times Sidekiq's at its best setting"
        _save(_draw_ratios(compared, targets), folder / "ratios.png")
        pictures[folder / "rates.png"] = "Jobs per second"
        _save(_draw_rates(compared), folder / "rates.png")
        pictures[folder / "cpu.png"] = "CPU per job"
        _save(_draw_cpu(compared), folder / "cpu.png")
    if "sidekiq" in records.get("latency", {}):
        pictures[folder / "latency.png"] = "From push to perform"
        _save(_draw_latency(records["latency"]), folder / "latency.png")
    return pictures


def _draw_ratios(compared: Records, targets: Mapping[str, float]) -> Figure:
    names = list(compared)
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(names) + 1.2), layout="constrained")
    ratios = [compared[name]["ratio"] for name in names]
    axes.barh(names, ratios, color=COLOURS["gokiq"], height=0.6)
    for place, (name, ratio) in enumerate(zip(names, ratios, strict=True)):
        target = targets.get(name)
        _label(axes, ratio, place, f"{ratio:.2f}", size=10)
        if target is not None:
            axes.plot([target] * 2, [place - 0.4, place + 0.4], color="#1f2430", lw=2)
            # Below its line: beside it the bar's own figure may stand.
            axes.text(target, place - 0.42, f"{target:g}", ha="center", va="bottom", fontsize=8)
    axes.axvline(1, color=COLOURS["sidekiq"], lw=1.5, ls="--")
    axes.set_xlim(0, max([*ratios, *targets.values()]) * 1.12)
    axes.invert_yaxis()
    axes.set_xlabel("times the jobs/s of Sidekiq at its best setting (dashed); strokes are targets")
    _clean(axes)
    return figure


def _draw_rates(compared: Records) -> Figure:
    rows = math.ceil(len(compared) / _COLUMNS)
    figure, grid = plt.subplots(
        rows, _COLUMNS, figsize=(11, 1.9 * rows), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(compared) :]:
        axes.axis("off")
    for axes, (name, record) in zip(grid.flat, compared.items(), strict=False):
        bars = _systems(record)
        labels = [label for label, _, _ in bars]
        rates = [rate for _, rate, _ in bars]
        axes.barh(labels, rates, color=[colour for _, _, colour in bars], height=0.65)
        for place, rate in enumerate(rates):
            _label(axes, rate, place, f"{rate:,.0f}", size=8)
        ideal = record["gokiq"].get("ideal_per_s")
        if ideal and ideal < 2 * max(rates):
            axes.axvline(ideal, color="#1f2430", lw=1, ls=":")
        axes.set_xlim(
            0, max([*rates, *([ideal] if ideal and ideal < 2 * max(rates) else [])]) * 1.3
        )
        axes.invert_yaxis()
        axes.set_title(f"{name}, jobs/s", fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(plt.MaxNLocator(3))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        _clean(axes)
    return figure


def _draw_cpu(compared: Records) -> Figure:
    rows = math.ceil(len(compared) / _COLUMNS)
    figure, grid = plt.subplots(
        rows, _COLUMNS, figsize=(11, 1.7 * rows + 0.5), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(compared) :]:
        axes.axis("off")
    for axes, (name, record) in zip(grid.flat, compared.items(), strict=False):
        systems = ("sidekiq", "gokiq")
        left = [0.0, 0.0]
        for group, colour in GROUPS.items():
            widths = [record[system]["cpu_us_per_job"][group] for system in systems]
            label = group.capitalize()
            axes.barh(
                ["Sidekiq", "gokiq"], widths, left=left, color=colour, height=0.6, label=label
            )
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for place, whole in enumerate(left):
            _label(axes, whole, place, f"{whole:,.1f}", size=8)
        axes.set_xlim(0, max(left) * 1.25)
        axes.invert_yaxis()
        axes.set_title(f"{name}, µs of CPU a job", fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(plt.MaxNLocator(4))
        _clean(axes)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw_latency(record: Mapping[str, Any]) -> Figure:
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    for system in ("sidekiq", "gokiq"):
        seen = record[system]
        curve: Sequence[float] = seen["curve_ms"]
        shares = [step / (len(curve) - 1) * 100 for step in range(len(curve))]
        label = f"{seen['label']}: p50 {seen['p50_ms']:.2f} ms, p99 {seen['p99_ms']:.2f} ms"
        axes.plot(curve, shares, color=COLOURS[system], lw=2, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("milliseconds from push to perform")
    axes.set_ylabel("% of jobs")
    axes.grid(axis="both", which="major", color="#dfe2e8")
    axes.legend(loc="lower right", frameon=False)
    _clean(axes)
    return figure


def _systems(record: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    """Label, rate and colour of all that a row has measured, Sidekiq first."""
    ours = [(one, COLOURS["sidekiq"]) for one in (*record["others"], record["sidekiq"])]
    peers = [(one, PEER_COLOUR) for one in record.get("peers", {}).values()]
    all_of_them = [*ours, (record["gokiq"], COLOURS["gokiq"]), *peers]
    return [
        (one["label"].replace(", ", "\n", 1), one["jobs_per_s"], colour)
        for one, colour in all_of_them
    ]


def _label(axes: Axes, value: float, place: int, text: str, *, size: int) -> None:
    """A figure beside the end of its bar."""
    axes.annotate(
        text,
        (value, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=size,
        bbox=_PAPER,
    )


def _clean(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)
