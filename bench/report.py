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
    " Of several settings of Sidekiq a short run of each finds the best, which alone is compared."
)
#: Cores used by others from which on a reader is warned.
BUSY_CORES = 0.15
#: The table's columns, below it.
LEGEND = (
    "Ruby, Python, Redis: µs of CPU per job. commands: Redis commands per job, those of scripts"
    " included. links: connections to Redis. MB: resident sets, shared pages counted in each."
)


@dataclass(frozen=True, slots=True)
class Trial:
    """A short run of a setting, to find the best."""

    settings: Mapping[str, int]
    jobs: int
    jobs_per_s: float


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one system in one setting, in order; `ideal_per_s` is the most there can be."""

    system: str
    label: str
    settings: Mapping[str, int]
    runs: list[Run]
    ideal_per_s: float | None = None

    @property
    def jobs_per_s(self) -> float:
        """The median."""
        return statistics.median(run.jobs_per_s for run in self.runs)

    @property
    def cpu_us_per_job(self) -> float:
        """The median of all CPU that a job costs: Ruby, Python and Redis."""
        return statistics.median(sum(run.cpu_us_per_job.values()) for run in self.runs)

    def summary(self) -> dict[str, Any]:
        """Medians of every figure, then the runs."""
        runs = self.runs
        groups = runs[0].cpu_us_per_job
        ideal = self.ideal_per_s
        return {
            "label": self.label,
            "settings": dict(self.settings),
            "jobs": runs[0].jobs,
            "jobs_per_s": round(self.jobs_per_s, 1),
            "ideal_per_s": ideal,
            "part_of_ideal": None if ideal is None else round(self.jobs_per_s / ideal, 4),
            "whole_cpu_us_per_job": round(self.cpu_us_per_job, 2),
            "cpu_us_per_job": {
                group: round(statistics.median(run.cpu_us_per_job[group] for run in runs), 2)
                for group in groups
            },
            "redis_commands_per_job": round(
                statistics.median(run.redis_commands_per_job for run in runs), 3
            ),
            "redis_connections": max(run.redis_connections for run in runs),
            "rss_mb": round(statistics.median(run.rss_mb for run in runs), 1),
            "pss_mb": round(statistics.median(run.pss_mb for run in runs), 1),
            "runs": [asdict(run) for run in runs],
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All series of one workload. The best setting of a system is the one that is compared.

    `trials` are the short runs that found Sidekiq's best setting, if there was a choice.
    """

    series: Sequence[Series]
    trials: Sequence[Trial] = ()

    def best(self, system: str) -> Series:
        """The setting of `system` with the highest median rate."""
        of_system = [series for series in self.series if series.system == system]
        return max(of_system, key=lambda series: series.jobs_per_s)

    @property
    def ratio(self) -> float:
        """How many times the rate of Sidekiq's best setting gokiq's best reaches."""
        return self.best("gokiq").jobs_per_s / self.best("sidekiq").jobs_per_s

    @property
    def cpu_part(self) -> float:
        """Which part of the CPU that a job costs with Sidekiq it costs with gokiq."""
        return self.best("gokiq").cpu_us_per_job / self.best("sidekiq").cpu_us_per_job

    @property
    def other_cores(self) -> float:
        """How many cores other processes used at most during a run; see Run.other_cores."""
        return max(run.other_cores for series in self.series for run in series.runs)

    def as_json(self) -> dict[str, Any]:
        """The two settings that are compared, what else was measured, and what was tried."""
        compared = {system: self.best(system) for system in ("sidekiq", "gokiq")}
        return {
            "ratio": round(self.ratio, 2),
            "cpu_part": round(self.cpu_part, 4),
            "other_cores": round(self.other_cores, 2),
            **{system: series.summary() for system, series in compared.items()},
            "others": [one.summary() for one in self.series if one not in compared.values()],
            "trials": [asdict(trial) for trial in self.trials],
        }

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
