"""The workloads: which jobs, how many, and how each system is set up for them by default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs of one kind. `args` follow the job's index; `app` is loaded by every system.

    `threads` are the settings of Sidekiq to choose the best of, `concurrency` is gokiq's; both
    give way to `--in-flight`.
    """

    name: str
    summary: str
    job_class: str
    args: tuple[str | int, ...]
    jobs: int
    warmup_jobs: int
    threads: tuple[int, ...]
    concurrency: int
    app: str = "./bench/ruby/app.rb"


_ALL = (
    Workload(
        name="noop",
        summary="jobs that do nothing",
        job_class="NoopJob",
        args=(),
        jobs=100_000,
        warmup_jobs=5_000,
        threads=(5, 10, 25),
        concurrency=500,
    ),
    Workload(
        name="sleep",
        summary="jobs that sleep 0.1 s, with 1 KB of arguments",
        job_class="SleepJob",
        args=(100, "x" * 1000),
        jobs=10_000,
        warmup_jobs=1_000,
        threads=(500,),
        concurrency=500,
    ),
)

#: Every workload by its name.
WORKLOADS = {workload.name: workload for workload in _ALL}
