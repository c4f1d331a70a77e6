"""The stand of the spike: PostgreSQL, Redis, the web application's requests, and one system at a
time that meets the backlog.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from bench.backlog import Backlog, Probe
from bench.slots import Slots
from bench.spike_figures import Look, Request, Trace, Waiting
from bench.systems import GokiqSystem, System
from bench.workloads import Workload
from devtools.child import Child
from devtools.gokiq import Server
from devtools.postgres import PostgresServer
from devtools.programs import ROOT
from devtools.redis_jobs import count_claims
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script

#: Where the jobs, the requests and the database are.
FOLDER = ROOT / "bench" / "ruby" / "spike"
#: Connections that the database allows, some of them to its owner only.
MAX_CONNECTIONS = 100
#: Rows that statements meet at.
ACCOUNTS = 500
#: What a statement takes alone, in milliseconds.
COST_MS = 5.0
#: How much slower each pair of statements makes it: best are 1/sqrt of that, 10, at once.
COHERENCY = 0.01
#: Foreground requests a second, and the connections of their pool.
RATE, WEB_CONNECTIONS = 50, 20
#: Jobs that each system runs before, so that it is warm and has met the database.
WARMUP_JOBS = 50
#: Requests go on for so long before and after the jobs, in seconds.
CALM_S = 2.0
#: How much slower jobs may become under the adaptive limit: less than the requests may.
TOLERANCE = 1.5
#: How often the backlog is looked at, in seconds.
LOOK_S = 0.05
#: Time that the web application may take to connect, and to end its requests, in seconds.
WEB_TIMEOUT_S = 60.0
#: Time that the warm-up may take, in seconds.
WARMUP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """How many jobs come at once, and how long they are waited for, in seconds."""

    jobs: int
    patience_s: float


class StaticSystem(GokiqSystem):
    """`gokiq-fast` with as many slots as its limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(1, limit)

    @property
    def label(self) -> str:
        """As in "gokiq, limit 8"."""
        return f"gokiq, limit {self.in_flight}"


class AdaptiveSystem(GokiqSystem):
    """`gokiq-fast` with more slots than the database takes, and an adaptive limit for the queue."""

    def __init__(self, concurrency: int, config: Path) -> None:
        super().__init__(1, concurrency)
        self._config = config

    @property
    def label(self) -> str:
        """Without the number of slots, which says nothing here."""
        return "gokiq, adaptive"

    def make_server(
        self, app: str, redis: RedisServer, log: Path, env: Mapping[str, str]
    ) -> Server:
        """With a configuration file of its own."""
        self._config.parent.mkdir(parents=True, exist_ok=True)
        limit = {"min": 2, "max": self.in_flight, "tolerance": TOLERANCE}
        adaptive = {"queues": {"default": limit}}
        # JSON is YAML.
        text = json.dumps({"gokiq": {"adaptive": adaptive}})
        self._config.write_text(text + "\n", encoding="utf-8")
        server = super().make_server(app, redis, log, env)
        server.argv += ["-C", str(self._config)]
        return server


class Stand:
    """A context manager; its logs are in `logs`."""

    def __init__(self, jobs: int, logs: Path) -> None:
        self._jobs = jobs
        self._logs = logs
        self._runs = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            enter = stack.enter_context
            self.redis = enter(RedisServer())
            settings = {"spike.cost_ms": str(COST_MS), "spike.coherency": str(COHERENCY)}
            self.postgres = enter(
                PostgresServer(max_connections=MAX_CONNECTIONS, settings=settings)
            )
            schema = (FOLDER / "schema.sql").read_text(encoding="utf-8")
            self.postgres.execute(schema.replace(":accounts", str(ACCOUNTS)))
            workload = Workload(
                name="spike",
                summary="jobs that change a row in a database that is slow when busy",
                job_class="ChargeJob",
                jobs=self._jobs,
                warmup_jobs=WARMUP_JOBS,
                threads=(),
                concurrency=0,
                args=(ACCOUNTS,),
                app="./bench/ruby/spike/app.rb",
            )
            self._backlog = Backlog(workload, self._jobs, self.redis)
            self._backlog.push(self._logs / "push.log")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def version(self) -> str:
        """PostgreSQL's."""
        return self.postgres.execute("SHOW server_version")[0][0]

    def unloaded(self, seconds: float) -> Trace:
        """Only the web application."""
        with self._web("unloaded") as web:
            began = time.monotonic()
            time.sleep(seconds)
            web.end()
        trace = Trace("no jobs", 0, 0, seconds)
        return web.add_to(trace, began)

    def run(self, system: System, load: Load) -> Trace:
        """The system meets the backlog. Raises DevError when it does not start or run."""
        self._runs += 1
        name = f"{self._runs}-{system.label.replace(', ', '-').replace(' ', '-')}"
        env = {
            "BENCH_SLOTS": str(self.redis.folder / "slots"),
            "SPIKE_POSTGRES_URL": self._url("app"),
            "SPIKE_POOL": str(system.in_flight),
        }
        log = self._logs / f"{name}.log"
        log.unlink(missing_ok=True)
        self._backlog.clear(load.jobs)
        app = self._backlog.workload.app
        slots = Slots(Path(env["BENCH_SLOTS"]), WARMUP_JOBS + load.jobs)
        with slots as ends, self._web(name) as web, ExitStack() as stack:
            server = stack.enter_context(system.running(app, self.redis, log, env))
            self._backlog.offer_warmup()
            server.wait_until(
                lambda: ends.are_taken(WARMUP_JOBS),
                timeout_s=WARMUP_TIMEOUT_S,
                what="it had run the jobs of the warm-up",
            )
            time.sleep(CALM_S)
            failed_before = self._failed()
            began = time.monotonic()
            self._backlog.offer(Probe(self.redis.client))
            waiting = list(self._watch(server, ends, began, load))
            left = load.jobs - ends.count_taken(WARMUP_JOBS, ends.count)
            given_up = time.monotonic() - began
            job_errors = self._failed() - failed_before
            stack.close()
            time.sleep(CALM_S)
            web.end()
            last_end = ends.last_end_ns(WARMUP_JOBS, ends.count) / 1e9
        drained = given_up if left else last_end - began
        setting = system.in_flight
        trace = Trace(system.label, setting, load.jobs, drained, left, job_errors, waiting=waiting)
        return web.add_to(trace, began)

    def _watch(self, server: Server, ends: Slots, began: float, load: Load) -> Iterator[Waiting]:
        client = self.redis.client
        while True:
            at = time.monotonic() - began
            with client.pipeline(transaction=False) as pipe:
                pipe.llen("queue:default")
                pipe.zcard("retry")
                queued, retries = pipe.execute()
            yield Waiting(at, queued, retries, count_claims(client))
            if ends.are_taken(ends.count) or at > load.patience_s:
                return
            if not server.is_running:
                raise server.early_end("while jobs were left")
            time.sleep(LOOK_S)

    def _failed(self) -> int:
        failed = self.redis.client.get("stat:failed")
        return int(failed) if isinstance(failed, bytes) else 0

    @contextmanager
    def _web(self, name: str) -> Iterator[_Web]:
        output = self._logs / f"{name}-web.jsonl"
        arguments = (self._url("app"), self.postgres.url, RATE, WEB_CONNECTIONS, ACCOUNTS, output)
        log = self._logs / f"{name}-web.log"
        log.unlink(missing_ok=True)
        child = ruby_script(
            FOLDER / "web.rb", *(str(part) for part in arguments), log=log, takes_input=True
        )
        with child:
            child.wait_until(
                lambda: "ready" in log.read_text(encoding="utf-8"),
                timeout_s=WEB_TIMEOUT_S,
                what="it had connected to the database",
            )
            yield _Web(child, output)

    def _url(self, user: str) -> str:
        return self.postgres.url.replace("user=postgres", f"user={user}")


class _Web:
    """The running web application, and what it saw."""

    def __init__(self, child: Child, output: Path) -> None:
        self._child = child
        self._output = output

    def end(self) -> None:
        """No more requests; wait for those that run. Raises DevError when that fails."""
        self._child.write_line("end")
        if self._child.wait(WEB_TIMEOUT_S) != 0:
            raise self._child.failure("failed")

    def add_to(self, trace: Trace, began: float) -> Trace:
        """The trace with the requests and the connections, in seconds since `began`."""
        requests: list[Request] = []
        looks: list[Look] = []
        for line in self._output.read_text(encoding="utf-8").splitlines():
            kind, at, *rest = json.loads(line)
            if kind == "look":
                looks.append(Look(at - began, *rest))
            else:
                end, error = rest
                requests.append(Request(at - began, end - at, error))
        requests.sort(key=lambda request: request.due)
        return replace(trace, requests=requests, looks=looks)


def settings() -> dict[str, Any]:
    """How the stand is set, for the report."""
    return {
        "max_connections": MAX_CONNECTIONS,
        "accounts": ACCOUNTS,
        "statement_ms_alone": COST_MS,
        "coherency": COHERENCY,
        "foreground_requests_per_s": RATE,
        "foreground_connections": WEB_CONNECTIONS,
        "warmup_jobs": WARMUP_JOBS,
        "tolerance": TOLERANCE,
    }
