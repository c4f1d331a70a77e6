"""Random faults for as long as you like, under a steady load: nothing is lost, and memory, file
descriptors and connections stay flat.

python -m tests.chaos.soak [--minutes N] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devtools.proxy import Proxy
from devtools.redis_jobs import count_connections
from devtools.redis_server import RedisServer

from .faults import FAULTS, Fleet
from .registry import workers
from .runner import WRITES_AT_ONCE
from .stand import Kind, Stand
from .vitals import Series, count_fds, rss_mb

#: Jobs of the load; the dead set must hold those of one chapter.
MIX: tuple[Kind, ...] = (
    ("QuickJob", ("é", 1.5), {}, 50),
    ("SleepJob", (0.05,), {}, 25),
    ("SleepJob", (0.3,), {}, 10),
    ("ThreadJob", (0.02,), {}, 5),
    ("FlakyJob", (), {}, 3),
    ("DoomedJob", (), {"retry": 0}, 2),
    ("DoomedJob", (0.2,), {"retry": False}, 2),
)
#: Jobs a second, pushed so many at once.
RATE, CHUNK = 200, 20
#: The load pauses while more than this wait.
MOST_WAITING = 4000
#: From one fault to the next, seconds.
PAUSE_S = (12.0, 25.0)
#: The books are closed and begun anew so often, seconds.
CHAPTER_S = 300.0
SAMPLE_S = 3.0


class Feeder(threading.Thread):
    """Pushes jobs at a steady rate until told to stop."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(daemon=True)
        self._fleet = fleet
        self._flows = threading.Event()
        self._flows.set()
        self._over = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Thread."""
        try:
            while not self._over.wait(CHUNK / RATE):
                self._push()
        except BaseException as error:
            self.error = error

    def _push(self) -> None:
        with self._fleet.redis_lock:
            stand = self._fleet.stand
            if self._flows.is_set() and stand.client.llen("queue:default") < MOST_WAITING:
                stand.push_many(CHUNK, MIX)

    def hold(self) -> None:
        """Nothing is pushed once this returns."""
        with self._fleet.redis_lock:
            self._flows.clear()

    def resume(self) -> None:
        """Push again."""
        self._flows.set()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()


@dataclass(slots=True)
class Books:
    """Sums over the chapters."""

    jobs: int = 0
    lost: int = 0
    duplicates: int = 0
    allowed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


class Vitals:
    """Samples of the steady server, in a thread of its own."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        root, *its_workers = workers(fleet.steady)
        self._pids = {"orchestrator": [fleet.steady.pid], "root": [root], "worker": its_workers}
        self.series = {
            "orchestrator_mb": Series(4, 0.08),
            "root_mb": Series(4, 0.05),
            # Ruby's heap is flat at once; malloc fills an arena for each thread for 100,000 jobs.
            "worker_mb": Series(12, 0.10),
            "orchestrator_fds": Series(3, 0.1),
            "worker_fds": Series(3, 0.1),
            "connections": Series(6, 0.3),
        }

    def sample(self) -> None:
        """One of each."""
        at_s = time.monotonic()
        for kind, pids in self._pids.items():
            self.series[f"{kind}_mb"].add(at_s, rss_mb(pids))
        self.series["orchestrator_fds"].add(at_s, count_fds(self._fleet.steady.pid))
        self.series["worker_fds"].add(at_s, max(count_fds(pid) for pid in self._pids["worker"]))
        with self._fleet.redis_lock:
            connections = count_connections(self._fleet.stand.client)
        self.series["connections"].add(at_s, connections)

    @property
    def replaced(self) -> int:
        """How many of the processes that it began with are gone: nothing has killed one."""
        return sum(not rss_mb([pid]) for pids in self._pids.values() for pid in pids)

    def __str__(self) -> str:
        return ", ".join(f"{name} {one.values[-1]:.0f}" for name, one in self.series.items())


class Soak:
    """One run."""

    def __init__(self, fleet: Fleet, minutes: float) -> None:
        self._fleet = fleet
        self._stand = fleet.stand
        self._end = time.monotonic() + 60 * minutes
        self._feeder = Feeder(fleet)
        self._vitals = Vitals(fleet)
        self._books = Books()
        self._over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def run(self) -> dict[str, object]:
        """The results, as tmp/soak.json has them."""
        began = time.monotonic()
        self._feeder.start()
        self._sampler.start()
        try:
            while time.monotonic() < self._end and not self._books.notes:
                self._chapter(min(time.monotonic() + CHAPTER_S, self._end))
        finally:
            self._feeder.stop()
            self._over.set()
            self._sampler.join()
        return self._results(time.monotonic() - began)

    def _chapter(self, until: float) -> None:
        pending: list[object] = []
        while not pending and time.monotonic() < until:
            pause_s = self._fleet.rng.uniform(*PAUSE_S)
            time.sleep(max(0.0, min(pause_s, until - time.monotonic())))  # the rate of faults
            if time.monotonic() < until:
                self._fault()
            pending = [*self._books.notes, *filter(None, [self._feeder.error])]
        self._feeder.hold()
        if self._feeder.error is not None:
            self._books.notes.append(f"the load stopped: {self._feeder.error!r}")
        self._close()
        self._feeder.resume()

    def _fault(self) -> None:
        fault = self._fleet.rng.choice(FAULTS)
        self._books.faults[fault.__name__] += 1
        try:
            fault(self._fleet)
            self._fleet.go_on()
        except Exception as error:
            self._books.notes.append(f"{fault.__name__}: {type(error).__name__}: {error}")

    def _close(self) -> None:
        """Judge what was pushed since the last time."""
        books, stand = self._books, self._stand
        with self._fleet.redis_lock:
            try:
                stand.finish(self._fleet.steady)
            except Exception as error:
                books.notes.append(f"what was pushed does not end: {error}")
            findings = stand.findings()
            books.jobs += len(stand.pushed)
            books.lost += len(findings.lost)
            books.duplicates += len(findings.duplicates)
            books.allowed += stand.allowed
            if not findings.holds:
                books.notes.append(str(findings))
            stand.forget()

    def _sample(self) -> None:
        last = time.monotonic()
        try:
            while not self._over.wait(SAMPLE_S):
                self._vitals.sample()
                if time.monotonic() - last >= 60:
                    last = time.monotonic()
                    print(f"{time.strftime('%H:%M:%S')} {self._line()}", flush=True)
        except Exception as error:
            self._books.notes.append(f"what it uses cannot be told: {error!r}")

    def _line(self) -> str:
        books = self._books
        return (
            f"{self._fleet.processed()} processed, {books.faults.total()} faults, "
            f"{books.jobs} judged, {books.lost} lost, "
            f"{books.duplicates} twice of {books.allowed} allowed; {self._vitals}"
        )

    def _results(self, took_s: float) -> dict[str, object]:
        books = self._books
        notes = [*books.notes]
        trends = {}
        for name, one in self._vitals.series.items():
            try:
                trends[name] = one.trend()
            except ValueError as error:
                notes.append(f"{name}: {error}")
        if self._vitals.replaced:
            notes.append(f"{self._vitals.replaced} processes of the steady server are gone")
        for name, trend in trends.items():
            if not trend.is_flat:
                notes.append(f"{name} grows from {trend.first} to {trend.last}")
        return {
            "seed": self._stand.seed,
            "seconds": round(took_s),
            "jobs": books.jobs,
            "lost": books.lost,
            "duplicates": books.duplicates,
            "duplicates_allowed": books.allowed,
            "faults": dict(books.faults),
            "trends": {name: asdict(trend) for name, trend in trends.items()},
            "ok": not notes,
            "note": "; ".join(notes),
        }


def soak(minutes: float, seed: int, sabotage: str = "") -> dict[str, object]:
    """From an empty Redis to the results; `sabotage` is one of sabotage.py."""
    folder = Path(tempfile.mkdtemp(prefix="gokiq-soak-"))
    with (
        RedisServer(appendonly=True, settings=WRITES_AT_ONCE) as redis,
        Proxy(redis.socket, seed=seed) as proxy,
    ):
        fleet = Fleet(Stand(redis, proxy, folder, seed, sabotage))
        try:
            fleet.start()
            results = Soak(fleet, minutes).run()
            codes = fleet.stop()
        finally:
            fleet.stop()
    if codes != [0, 0]:
        results |= {"ok": False, "note": f"{results['note']}; exit codes {codes}"}
    if results["ok"]:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs are in {folder}")
    return results


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1, help="of the load and of the faults")
    parser.add_argument("--json", type=Path, default=Path("tmp/soak.json"), metavar="PATH")
    arguments = parser.parse_args()
    results = soak(arguments.minutes, arguments.seed)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))
    sys.exit(0 if results["ok"] else 1)


if __name__ == "__main__":
    main()
