"""The workloads: which jobs, how many, and how each system is set up for them by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: A run of Sidekiq whose jobs wait is not longer than this at its ideal rate, in seconds.
WAITING_RUN_S = 3.0
#: Jobs of a run that only chooses a setting: this part of those of a measured one.
TRIAL_PART = 8


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs of one kind. `args` follow the job's index (`warmup_args` those of a warm-up job, if
    they differ); `app` is loaded by every system.

    `threads` are the settings of Sidekiq, `concurrency` is gokiq's; both give way to
    `--in-flight`. Of several `threads` the best is found first, by a short run of each, unless
    `shows_all`. `processes` are Sidekiq's, `workers` gokiq's. `wait_ms` is how long a job waits,
    0 for jobs that do not. `needs` names a service of bench/services.py.
    """

    name: str
    summary: str
    job_class: str
    jobs: int
    warmup_jobs: int
    threads: tuple[int, ...]
    concurrency: int
    args: tuple[str | int, ...] = ()
    warmup_args: tuple[str | int, ...] | None = None
    app: str = "./bench/ruby/app.rb"
    env: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    workers: int = 1
    wait_ms: int = 0
    shows_all: bool = False
    needs: str = ""

    @property
    def log_level(self) -> str:
        """Of both systems."""
        return self.env.get("BENCH_LOG_LEVEL", "WARN")

    def ideal_per_s(self, in_flight: int) -> float | None:
        """The rate of so many jobs at once if nothing but their waiting took time."""
        return in_flight * 1000 / self.wait_ms if self.wait_ms else None

    def jobs_for(self, in_flight: int, jobs: int) -> int:
        """How many of `jobs` a system with so many at once is given: a slow one gets fewer."""
        ideal = self.ideal_per_s(in_flight)
        return jobs if ideal is None else min(jobs, round(ideal * WAITING_RUN_S))


_ALL = (
    Workload(
        name="noop",
        summary="jobs that do nothing",
        job_class="NoopJob",
        jobs=200_000,
        warmup_jobs=5_000,
        threads=(5, 10, 25),
        concurrency=500,
    ),
    Workload(
        name="noop-info",
        summary="jobs that do nothing, with the lines of their start and end in the log",
        job_class="NoopJob",
        jobs=60_000,
        warmup_jobs=5_000,
        threads=(5, 10),
        concurrency=500,
        env={"BENCH_LOG_LEVEL": "INFO"},
    ),
    Workload(
        name="rails",
        summary="Sidekiq::Jobs that do nothing, in a Rails app",
        job_class="PlainJob",
        app="./bench/ruby/rails",
        jobs=40_000,
        warmup_jobs=2_000,
        threads=(5, 10),
        concurrency=500,
    ),
    Workload(
        name="activejob",
        summary="ActiveJobs that do nothing, in a Rails app",
        job_class="ActiveNoopJob",
        app="./bench/ruby/rails",
        jobs=15_000,
        warmup_jobs=2_000,
        threads=(5, 10),
        concurrency=500,
    ),
    Workload(
        name="sleep",
        summary="jobs that sleep 0.1 s, with 1 KB of arguments",
        job_class="SleepJob",
        args=(100, "x" * 1000),
        jobs=25_000,
        warmup_jobs=1_000,
        threads=(500,),
        concurrency=500,
        wait_ms=100,
    ),
    Workload(
        name="sleep-5000",
        summary="jobs that sleep 0.1 s, with 1 KB of arguments, 5,000 at once",
        job_class="SleepJob",
        args=(100, "x" * 1000),
        jobs=80_000,
        warmup_jobs=10_000,
        threads=(500, 1000),
        concurrency=5_000,
        workers=2,
        wait_ms=100,
    ),
    Workload(
        name="sleep-5kb",
        summary="jobs that sleep 0.1 s, with 5 KB of arguments",
        job_class="SleepJob",
        args=(100, "x" * 5000),
        jobs=20_000,
        warmup_jobs=1_000,
        threads=(10, 50),
        shows_all=True,
        concurrency=500,
        wait_ms=100,
    ),
    Workload(
        name="cpu",
        summary="jobs that compute for 1 ms, two Ruby processes each",
        job_class="BusyJob",
        args=(1,),
        jobs=5_000,
        warmup_jobs=500,
        threads=(1, 5),
        concurrency=100,
        processes=2,
        workers=2,
    ),
    Workload(
        name="http",
        summary="jobs that GET a page which takes 50 ms (Net::HTTP), over 50 connections",
        job_class="HttpJob",
        app="./bench/ruby/http.rb",
        jobs=3_000,
        warmup_jobs=500,
        threads=(50,),
        concurrency=50,
        wait_ms=50,
        needs="http",
    ),
    Workload(
        name="postgres",
        summary="jobs that SELECT pg_sleep(0.05), over a pool of 20 connections",
        job_class="PostgresJob",
        app="./bench/ruby/postgres.rb",
        jobs=1_500,
        warmup_jobs=200,
        threads=(20,),
        concurrency=20,
        wait_ms=50,
        needs="postgres",
    ),
)

#: Every workload by its name.
WORKLOADS = {workload.name: workload for workload in _ALL}
