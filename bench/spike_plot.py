"""The picture of the spike: one column for each system, time from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.spike_figures import FOREGROUND_TIMES, Request, Trace, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Requests are put together by so many seconds.
BIN_S = 1.0
#: What is shown of the time before and after the jobs, in seconds.
MARGIN_S = 1.5

#: Colours of a small picture.
COLOURS = 32

_FOREGROUND, _JOBS, _LIMIT = "#c0392b", "#2471a3", "#7f8c8d"
_WAITING, _RETRIES = "#6c3483", "#d68910"


def slowest_by_bin(requests: Sequence[Request], width_s: float) -> list[tuple[float, float]]:
    """Middle of each bin, and the p99 of the requests that were due in it; both in seconds."""
    bins: dict[int, list[float]] = {}
    for request in requests:
        bins.setdefault(int(request.due // width_s), []).append(request.latency)
    return [
        ((number + 0.5) * width_s, percentile(latencies, 99))
        for number, latencies in sorted(bins.items())
    ]


def headline(trace: Trace) -> str:
    """Three lines above a column."""
    if trace.is_drained:
        drained = f"drained in {trace.drained:.0f} s"
    else:
        drained = f"{trace.left:,} jobs left after {trace.drained:.0f} s"
    errors = trace.job_errors + trace.foreground_errors
    p99 = _duration(trace.foreground_p99)
    plural = "" if errors == 1 else "s"
    return f"{trace.label}\n{drained}\np99 {p99}, {errors:,} error{plural}"


def draw(
    traces: Sequence[Trace], unloaded_p99: float, path: Path, *, is_small: bool = False
) -> None:
    """Write the picture as PNG; a small one, for the documentation, has fewer colours too."""
    # Not at the top: it takes a second, and the figures do not need it.
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot
    from PIL import Image

    figure, rows = pyplot.subplots(
        3, len(traces), figsize=(3 * len(traces), 7), sharex="col", sharey="row", squeeze=False
    )
    for column, trace in enumerate(traces):
        latency, database, backlog = rows[0][column], rows[1][column], rows[2][column]
        latency.set_title(headline(trace), fontsize=9)
        _draw_latency(latency, trace, unloaded_p99)
        _draw_database(database, trace)
        _draw_backlog(backlog, trace)
        backlog.set_xlabel("seconds since all jobs were there", fontsize=8)
        backlog.set_xlim(-MARGIN_S, trace.drained + MARGIN_S)
    for row in rows:
        for axes in row:
            axes.grid(alpha=0.25)
            axes.tick_params(labelsize=8)
        # Of the systems that show the same, the last shows all of it.
        row[-1].legend(fontsize=7, loc="best", framealpha=0.8)
    rows[0][0].set_ylabel("foreground, seconds", fontsize=8)
    rows[1][0].set_ylabel("in the database", fontsize=8)
    rows[2][0].set_ylabel("jobs waiting", fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80 if is_small else 110)
    pyplot.close(figure)
    if is_small:
        with Image.open(path) as picture:
            few = picture.convert("RGB").quantize(COLOURS)
        few.save(path, optimize=True)


def _draw_latency(axes: Axes, trace: Trace, unloaded_p99: float) -> None:
    good = [one for one in trace.requests if one.error is None]
    axes.plot(
        [one.due for one in good],
        [one.latency for one in good],
        ".",
        markersize=2,
        color=_FOREGROUND,
        alpha=0.25,
    )
    slow = slowest_by_bin(trace.requests, BIN_S)
    axes.plot(*zip(*slow, strict=True), color=_FOREGROUND, linewidth=1.2, label="p99 by second")
    bound = FOREGROUND_TIMES * unloaded_p99
    axes.axhline(bound, color="black", linestyle="--", linewidth=0.9, label="twice unloaded p99")
    axes.set_yscale("log")


def _draw_database(axes: Axes, trace: Trace) -> None:
    at = [look.at for look in trace.looks]
    connections = [look.connections for look in trace.looks]
    statements = [look.job_statements for look in trace.looks]
    axes.plot(at, connections, color=_LIMIT, linewidth=1, label="connections, all")
    axes.plot(at, statements, color=_JOBS, linewidth=1, label="jobs in a statement")
    if any(one.claimed for one in trace.waiting):
        claimed = [one.claimed for one in trace.waiting]
        at = [one.at for one in trace.waiting]
        axes.plot(at, claimed, color="black", linewidth=0.9, label="claimed by gokiq")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(0, 150)
    axes.set_yticks([0, 5, 10, 20, 50, 100], ["0", "5", "10", "20", "50", "100"])


def _draw_backlog(axes: Axes, trace: Trace) -> None:
    at = [one.at for one in trace.waiting]
    queued = [one.queued for one in trace.waiting]
    retries = [one.retries for one in trace.waiting]
    axes.stackplot(
        at,
        queued,
        retries,
        colors=[_WAITING, _RETRIES],
        labels=["in the queue", "for a retry"],
        alpha=0.8,
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
