"""The live display: bars on a terminal, a plain line each second elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from examples.demo.plan import Plan
from examples.demo.watch import Sample

#: Pause between two plain lines, in seconds.
PLAIN_PAUSE_S = 1.0


class Display(Protocol):
    """Shows samples while its block lasts. `now` says in words what the demo waits for."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture on the screen."""

    def show(self, sample: Sample, now: str) -> None:
        """Show a sample, or keep it back when the last one is too recent."""


def make_display(console: Console, plan: Plan) -> Display:
    """The display that suits where the output goes."""
    return BarDisplay(console, plan) if console.is_terminal else PlainDisplay(console, plan)


class BarDisplay:
    """A bar for each kind and a line of figures, drawn in place."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._plan = plan
        self._started_at = time.monotonic()
        self._bars = Progress(
            TextColumn("  {task.description:<17}"),
            BarColumn(bar_width=36, complete_style="cyan", finished_style="green"),
            TextColumn("{task.completed:>6,.0f} of {task.total:>6,.0f}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {
            kind.job_class: self._bars.add_task(kind.label, total=kind.count) for kind in plan.kinds
        }
        self._figures = Text()
        self._now = Text()
        self._live = Live(console=console, refresh_per_second=5, get_renderable=self._picture)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._now = Text()
        self._live.stop()

    def show(self, sample: Sample, now: str) -> None:
        """Update the picture; it is drawn a few times a second."""
        for job_class, task in self._tasks.items():
            self._bars.update(task, completed=sample.done.get(job_class, 0))
        elapsed_s = time.monotonic() - self._started_at
        self._figures = Text.assemble("\n  ", (figures(sample), "bold"), f" · {elapsed_s:.0f} s")
        self._now = Text(f"  {now}", style="dim")

    def _picture(self) -> Group:
        return Group(self._bars, self._figures, self._now)


class PlainDisplay:
    """A line each second, for logs and pipes."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._plan = plan
        self._started_at = time.monotonic()
        self._shown_at = float("-inf")
        self._last: tuple[Sample, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._last is not None and kind is None:
            self._print(*self._last)

    def show(self, sample: Sample, now: str) -> None:
        """Print the sample, once a second."""
        self._last = (sample, now)
        if time.monotonic() - self._shown_at >= PLAIN_PAUSE_S:
            self._shown_at = time.monotonic()
            self._print(sample, now)

    def _print(self, sample: Sample, now: str) -> None:
        elapsed_s = time.monotonic() - self._started_at
        done = sum(sample.done.values())
        progress = f"{elapsed_s:5.1f} s · {done:6,} of {self._plan.total:,} done"
        line = f"  {progress} · {figures(sample)} · {now}"
        self._console.print(line, soft_wrap=True, highlight=False)


def figures(sample: Sample) -> str:
    """The figures of a sample in one line."""
    return (
        f"{sample.jobs_per_s:6,.0f} jobs/s · {sample.in_flight:4} in flight · "
        f"sidecar {sample.sidecar_mb:.0f} MB · {sample.connections} Redis connections"
    )
