"""`python -m bench.peers`: BullMQ and SAQ on the no-op and the sleep row, for the report."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.measure import await_ends
from bench.program import add_out, positive, run_program, write_record
from bench.slots import Slots
from devtools.child import Child
from devtools.failure import DevError
from devtools.programs import ROOT
from devtools.redis_server import RedisServer

#: Where script/peers puts them.
HOME = ROOT / ".dev" / "peers"
#: How it was measured.
METHOD = (
    "The peer's own client pushes all jobs, then one worker process starts; from the first job's"
    " end, less what it waits, to the last one's. Medians of the runs. Peers are used as their"
    " documentation shows, not tuned."
)
#: Time that pushing may take, in seconds.
PUSH_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A system, and the command that takes `push CLASS COUNT` or `work CONCURRENCY`."""

    name: str
    title: str
    command: tuple[str | Path, ...]

    @property
    def is_installed(self) -> bool:
        """Whether script/peers has been there."""
        return self.command[0] != "" and Path(self.command[0]).exists()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job: how many, how many at once, how long each waits."""

    name: str
    jobs: int
    concurrency: int
    wait_ms: int


PEERS = (
    Peer("bullmq", "BullMQ", (shutil.which("node") or "", ROOT / "bench" / "peers" / "bullmq.cjs")),
    Peer("saq", "SAQ", (HOME / "venv" / "bin" / "python", ROOT / "bench" / "peers" / "saq_app.py")),
)
KINDS = (Kind("noop", 10_000, 100, 0), Kind("sleep", 5_000, 500, 100))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is installed and write peers.json; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--runs", type=positive, default=3, metavar="N", help="of each (3)")
    add_out(parser)
    options = parser.parse_args(argv)
    folder = Path(options.out).resolve()
    console = Console(highlight=False)
    return run_program(lambda: run(options.runs, folder, console=console, argv=argv))


def run(runs: int, out: Path, *, console: Console, argv: Sequence[str] = ()) -> None:
    """Every installed peer on both kinds of job. Raises DevError when none is installed."""
    installed = [peer for peer in PEERS if peer.is_installed and (HOME / "node").exists()]
    if not installed:
        raise DevError("no peer is installed", advice="Run script/peers")
    figures: dict[str, Any] = {"method": METHOD}
    for kind in KINDS:
        figures[kind.name] = {}
        for peer in installed:
            rates = [_measure(peer, kind, out / "peers" / f"{peer.name}.log") for _ in range(runs)]
            rate = round(statistics.median(rates), 1)
            label = f"{peer.title}, {kind.concurrency} at once"
            figures[kind.name][peer.name] = {
                "label": label,
                "jobs": kind.jobs,
                "jobs_per_s": rate,
                "runs": [round(one, 1) for one in rates],
            }
            console.print(f"  {kind.name:<6} {label:<28} {rate:>9,.0f} jobs/s")
    write_record(out, "peers", "bench.peers", argv, figures)


def _measure(peer: Peer, kind: Kind, log: Path) -> float:
    log.unlink(missing_ok=True)
    with (
        RedisServer() as redis,
        tempfile.TemporaryDirectory(prefix="gokiq-bench-") as temporary,
        Slots(Path(temporary, "slots"), kind.jobs) as ends,
    ):
        env = {
            "BENCH_REDIS": str(redis.socket),
            "BENCH_SLOTS": str(ends.path),
            "NODE_PATH": str(HOME / "node" / "node_modules"),
        }
        push = [*peer.command, "push", kind.name, str(kind.jobs)]
        with Child(push, log=log, env=env, name=peer.title) as client:
            if client.wait(PUSH_TIMEOUT_S) != 0:
                raise client.failure("failed to push the jobs")
        work = [*peer.command, "work", str(kind.concurrency)]
        with Child(work, log=log, env=env, name=peer.title) as server:
            await_ends(server, ends, 0, kind.jobs)
        noted = ends.ends_ns(0, kind.jobs)
        return kind.jobs / ((max(noted) - min(noted)) / 1e9 + kind.wait_ms / 1000)


if __name__ == "__main__":
    sys.exit(main())
