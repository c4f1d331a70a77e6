"""From runs to a report: medians, the best setting, the ratio; as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from bench.measure import Run

#: How it was measured, for the JSON and below the table.
METHOD = (
    "Timed from the instant the whole backlog is in the queue of a warm, idle system to the last"
    " job's end, as jobs note it; same jobs, Redis, Ruby and application, in turns; medians."
)
#: Cores used by others from which on a reader is warned.
BUSY_CORES = 0.15
#: The table's columns, below it.
LEGEND = (
    "Ruby, Python, Redis: µs of CPU per job. commands: Redis commands per job, those of scripts"
    " included. links: connections to Redis. MB: resident sets, shared pages counted in each."
)


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one system in one setting, in order."""

    system: str
    label: str
    settings: Mapping[str, int]
    runs: list[Run]

    @property
    def jobs_per_s(self) -> float:
        """The median."""
        return statistics.median(run.jobs_per_s for run in self.runs)

    def summary(self) -> dict[str, Any]:
        """Medians of every figure, then the runs."""
        runs = self.runs
        groups = runs[0].cpu_us_per_job
        return {
            "label": self.label,
            "settings": dict(self.settings),
            "jobs_per_s": round(self.jobs_per_s, 1),
            "cpu_us_per_job": {
                group: round(statistics.median(run.cpu_us_per_job[group] for run in runs), 2)
                for group in groups
            },
            "redis_commands_per_job": round(
                statistics.median(run.redis_commands_per_job for run in runs), 3
            ),
            "redis_connections": max(run.redis_connections for run in runs),
            "rss_mb": round(statistics.median(run.rss_mb for run in runs), 1),
            "runs": [asdict(run) for run in runs],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All series of one workload. The best setting of a system is the one that is compared."""

    series: Sequence[Series]

    def best(self, system: str) -> Series:
        """The setting of `system` with the highest median rate."""
        return max(self._of(system), key=lambda series: series.jobs_per_s)

    @property
    def ratio(self) -> float:
        """How many times the rate of Sidekiq's best setting gokiq's best reaches."""
        return self.best("gokiq").jobs_per_s / self.best("sidekiq").jobs_per_s

    @property
    def other_cores(self) -> float:
        """How many cores other processes used at most during a run; see Run.other_cores."""
        return max(run.other_cores for series in self.series for run in series.runs)

    def as_json(self) -> dict[str, Any]:
        """Each system with its best setting, and the rates of the settings that were tried."""
        report: dict[str, Any] = {
            "ratio": round(self.ratio, 2),
            "other_cores": round(self.other_cores, 2),
        }
        for system in ("sidekiq", "gokiq"):
            report[system] = self.best(system).summary()
            report[system]["tried"] = [
                {**series.settings, "jobs_per_s": round(series.jobs_per_s, 1)}
                for series in self._of(system)
            ]
        return report

    def as_table(self, *, is_plain: bool) -> Table:
        """A row per setting, the compared ones in bold; 80 columns hold it."""
        table = Table(
            box=None if is_plain else box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
        )
        table.add_column("system", no_wrap=True)
        for title in ("jobs/s", "ratio", "Ruby", "Python", "Redis", "commands", "links", "MB"):
            table.add_column(title, justify="right", no_wrap=True)
        compared = (self.best("sidekiq"), self.best("gokiq"))
        for series in self.series:
            is_compared = any(series is one for one in compared)
            table.add_row(*self._cells(series), style="bold" if is_compared else "dim")
        return table

    def _of(self, system: str) -> list[Series]:
        return [series for series in self.series if series.system == system]

    def _cells(self, series: Series) -> list[str]:
        figures = series.summary()
        cpu = figures["cpu_us_per_job"]
        return [
            series.label,
            f"{series.jobs_per_s:,.0f}",
            f"{series.jobs_per_s / self.best('sidekiq').jobs_per_s:.2f}",
            f"{cpu['ruby']:.1f}",
            f"{cpu['python']:.1f}" if cpu["python"] else "",
            f"{cpu['redis']:.1f}",
            f"{figures['redis_commands_per_job']:.2f}",
            f"{figures['redis_connections']}",
            f"{figures['rss_mb']:.0f}",
        ]
