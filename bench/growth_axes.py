"""What grows: the axes, their points, and what is set up at each. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Setup:
    """One point: `backlog` jobs appear, spread evenly over `queues` queues, and the ends of `jobs`
    of them are measured, from the end number `lead` on; so often as there are `windows`.

    `in_flight` slots and `workers` are those of each orchestrator. Without `ruby` a worker that
    answers at once stands in and is not counted. `mode` is Sidekiq's, for more than one queue.
    """

    jobs: int
    backlog: int
    lead: int = 2_000
    job_class: str = "NoopJob"
    args: tuple[str | int, ...] = ("x",)
    in_flight: int = 500
    workers: int = 1
    orchestrators: int = 1
    queues: int = 1
    mode: str = "weighted"
    ruby: bool = True
    windows: int = 3


@dataclass(frozen=True, slots=True)
class Axis:
    """A quantity and the points at which it is looked at.

    `held` is what stays the same; `why` is the reason for a cost that grows or falls along it,
    empty where it should do neither.
    """

    name: str
    title: str
    held: str
    points: Sequence[tuple[int, Setup]]
    why: str = ""


_NOOP = Setup(jobs=20_000, backlog=30_000)
_NULL = Setup(jobs=100_000, backlog=120_000, lead=10_000, ruby=False)


def _waiting(size: int) -> Setup:
    return replace(_NOOP, backlog=size, jobs=min(_NOOP.jobs, size - _NOOP.lead - 2_000))


def _sleeping(in_flight: int, duration_ms: int, jobs: int) -> Setup:
    # The first jobs start in step; after half as many more they no longer end so.
    lead = in_flight + in_flight // 2
    return Setup(
        jobs=jobs,
        backlog=lead + jobs + in_flight,
        lead=lead,
        job_class="SleepJob",
        args=(duration_ms,),
        in_flight=in_flight,
        windows=1,
    )


def _sized(size: int, jobs: int) -> Setup:
    return replace(_NOOP, args=("x" * size,), jobs=jobs, backlog=jobs * 3 // 2, lead=jobs // 5)


_ALL = (
    Axis(
        name="backlog",
        title="jobs waiting in the queue",
        held="no-op jobs, 500 slots, 1 worker",
        points=[(size, _waiting(size)) for size in (10_000, 100_000, 1_000_000)],
    ),
    Axis(
        name="in-flight",
        title="jobs of 0.1 s in flight",
        held="1 worker; ten times the jobs in flight are ten times the rate",
        points=[(n, _sleeping(n, 100, min(50 * n, 20_000))) for n in (10, 100, 1_000, 10_000)],
        why="Jobs that end together share one call to Redis, one frame and one turn of each loop."
        " Ten jobs of 0.1 s end one by one, so each pays for all of that alone.",
    ),
    Axis(
        name="in-flight-same-rate",
        title="jobs in flight, 2,500 of them a second",
        held="1 worker; jobs sleep the longer, the more are in flight",
        points=[(n, _sleeping(n, n * 2 // 5, 10_000)) for n in (10, 100, 1_000, 10_000)],
        why="With fewer than 17 slots nothing is gathered, so that no slot stays idle: each job"
        " that ends is settled by a call of its own. Of 10,000 fibers Ruby's garbage collector has"
        " as many stacks to mark.",
    ),
    Axis(
        name="payload",
        title="bytes of arguments",
        held="no-op jobs, 500 slots, 1 worker",
        points=[
            (size, _sized(size, jobs))
            for size, jobs in ((100, 20_000), (1_000, 20_000), (10_000, 8_000), (100_000, 2_500))
        ],
        why="Each byte is copied by Redis, its socket, Python, our socket and Ruby, and parsed once"
        " as JSON: the cost follows the bytes.",
    ),
    Axis(
        name="queues",
        title="queues with weights, jobs in all of them",
        held="no-op jobs, 500 slots, no Ruby",
        points=[(n, replace(_NULL, queues=n)) for n in (1, 10, 50, 200)],
        why="A call for 500 jobs draws up to 50 queues by weight and asks each of them; three"
        " commands and one more when its jobs have ended are shared by 10 jobs instead of 500. And"
        " all 200 follow in the call, for what the drawn ones might not have.",
    ),
    Axis(
        name="queues-waiting",
        title="queues with weights, 2,500 jobs a second",
        held="jobs that sleep 0.4 s, 1,000 in flight, 1 worker",
        points=[(n, replace(_sleeping(1_000, 400, 7_500), queues=n)) for n in (1, 50, 200)],
        why="A call names all 200 queues and asks one for each job that it claims, but claims only"
        " some fifteen jobs.",
    ),
    Axis(
        name="orchestrators",
        title="orchestrators on one Redis",
        held="no-op jobs from one queue, 500 slots each, no Ruby",
        points=[
            (n, replace(_NULL, orchestrators=n, jobs=150_000, backlog=180_000))
            for n in (1, 2, 4, 8)
        ],
        why="Where there are more processes than cores they take turns, and each finds its caches"
        " cold. Redis itself pays the same for a job, whoever claims it.",
    ),
    Axis(
        name="workers",
        title="workers of one orchestrator",
        held="no-op jobs, 500 slots for each worker",
        points=[
            (n, replace(_NOOP, workers=n, in_flight=500 * n, jobs=40_000, backlog=60_000))
            for n in (1, 2, 4, 8)
        ],
        why="Where there are more processes than cores they take turns, and each finds its caches"
        " cold.",
    ),
)

#: Jobs in one push of the client, at each of which pushing is measured, and jobs pushed.
PUSHES = ((1, 5_000), (10, 20_000), (100, 50_000), (1_000, 50_000))

#: Every axis by its name.
AXES = {axis.name: axis for axis in _ALL}
