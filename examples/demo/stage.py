"""One run of the demo: Redis, the client, the server, the wait, the evidence."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from redis import RedisError
from rich.console import Console

from devtools.child import Child
from devtools.failure import DevError
from devtools.gokiq import GokiqFast, Server, ServerInfo, Sidekiq
from devtools.journal import Journal, read_journal
from devtools.programs import ROOT
from devtools.redis_jobs import find_jobs
from devtools.redis_server import RedisServer
from devtools.ruby import ruby_script
from examples.demo.display import make_display
from examples.demo.plan import Plan, read_pushed
from examples.demo.report import Evidence
from examples.demo.watch import Peaks, Sample, Watcher

#: Time that the client may take to load the application and push everything, in seconds.
PUSH_TIMEOUT_S = 60.0
#: Nothing happened for so long, in seconds: the demo gives up. A retry is due after 10 s at most,
#: and Sidekiq looks for due jobs every 5 s on average, the first time after 10 to 15 s.
STALL_S = 40.0
#: Pause between two looks, in seconds.
TICK_S = 0.1

_FOLDER = Path("examples/demo")


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: the plan, which server, its options, and the folder for logs and journal."""

    plan: Plan
    server: str
    options: tuple[str, ...]
    folder: Path


class Stage:
    """Runs an order from an empty folder to the evidence."""

    def __init__(self, order: Order, console: Console) -> None:
        self._order = order
        self._console = console
        self._jids = order.folder / "jids"
        self._journal = order.folder / "journal"

    def run(self) -> Evidence:
        """Run it; nothing is left running. Raises DevError, says the log to read."""
        shutil.rmtree(self._order.folder, ignore_errors=True)
        self._journal.mkdir(parents=True)
        with RedisServer(log=self._log("redis")) as redis:
            try:
                return self._run_beside(redis)
            except RedisError as error:
                raise DevError(f"Redis failed: {error}", log=redis.log) from error

    def _run_beside(self, redis: RedisServer) -> Evidence:
        version = redis.info("server")["redis_version"]
        self._say(f"Redis {version}, private, on a Unix socket")
        with self._client(redis) as client:
            self._push(client)
            with self._server(redis) as server:
                info = self._wait_ready(server)
                peaks = self._watch(redis, client, server)
                server.stop()
        return Evidence(
            pushed=read_pushed(self._jids),
            paced=self._order.plan.paced,
            events=read_journal(self._journal),
            places=find_jobs(redis.client),
            peaks=peaks,
            server=info,
        )

    def _client(self, redis: RedisServer) -> Child:
        return ruby_script(
            ROOT / _FOLDER / "enqueue.rb",
            json.dumps(self._order.plan.counts()),
            self._jids,
            log=self._log("enqueue"),
            env={"REDIS_URL": redis.url, "DEMO_JOURNAL": str(self._journal)},
            takes_input=True,
        )

    def _server(self, redis: RedisServer) -> Server:
        kind = GokiqFast if self._order.server == "gokiq" else Sidekiq
        return kind(
            *self._order.options,
            "-r",
            f"./{_FOLDER / 'app.rb'}",
            redis=redis,
            log=self._log("server"),
            # Redis's folder goes away even when the server is killed, and its leavings with it.
            env={"DEMO_JOURNAL": str(self._journal), "TMPDIR": str(redis.folder)},
        )

    def _push(self, client: Child) -> None:
        began = time.monotonic()
        client.wait_until(
            lambda: "pushed" in client.tail(),
            timeout_s=PUSH_TIMEOUT_S,
            what="everything was pushed",
        )
        plan = self._order.plan
        took_s = time.monotonic() - began
        self._say(f"{plan.total - plan.paced:,} jobs pushed by Sidekiq's client in {took_s:.1f} s")

    def _wait_ready(self, server: Server) -> ServerInfo:
        began = time.monotonic()
        info = server.wait_ready()
        took_s = time.monotonic() - began
        what = " ".join([server.name, *self._order.options])
        self._say(f"{what}: ready in {took_s:.1f} s\n")
        return info

    def _watch(self, redis: RedisServer, client: Child, server: Server) -> Peaks:
        plan = self._order.plan
        watcher = Watcher(Journal(self._journal), redis, server)
        is_paced = False
        with make_display(self._console, plan) as display:
            while True:
                sample = watcher.sample()
                display.show(sample, _waiting_for(plan, sample, is_paced))
                if not is_paced and watcher.done >= plan.total - plan.paced:
                    client.write_line("go")
                    is_paced = True
                if watcher.done >= plan.total and not client.is_running:
                    return watcher.peaks
                self._check_alive(watcher, client, server)
                time.sleep(TICK_S)

    def _check_alive(self, watcher: Watcher, client: Child, server: Server) -> None:
        if not server.is_running:
            raise server.early_end("in the middle")
        if not client.is_running and client.exit_code != 0:
            raise client.early_end("in the middle")
        if time.monotonic() - watcher.last_event_at > STALL_S:
            missing = self._order.plan.total - watcher.done
            raise server.failure(f"has done nothing for {STALL_S:.0f} s, {missing} jobs to do")

    def _log(self, name: str) -> Path:
        return self._order.folder / f"{name}.log"

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", highlight=False, soft_wrap=True)


def _waiting_for(plan: Plan, sample: Sample, is_paced: bool) -> str:
    if is_paced:
        return "one job at a time, to measure latency"
    later = {kind.job_class for kind in plan.kinds if kind.name in ("flaky", "scheduled")}
    now = sum(kind.count for kind in plan.kinds if kind.job_class not in later) - plan.paced
    done = sum(count for job_class, count in sample.done.items() if job_class not in later)
    if done < now:
        return "working off the backlog"
    return "waiting for the schedule and for retries (Sidekiq's own delay, 1 to 10 s)"
