"""Whoever changes a method of Sidekiq's server classes is called for the same jobs, in the same
order, under Sidekiq and here: one change at a time, chosen by a seed. Every method is tried in one
process by sidecar/test/gokiq/sidecar/patched_test.rb; here the servers are real.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from devtools.gokiq import Server
from devtools.programs import ROOT
from devtools.redis_server import RedisServer

from .harness import V7, Stand, Version

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

#: Another one: PATCH_SEED=7 pytest tests/compat/test_patched.py
SEED = int(os.environ.get("PATCH_SEED", "1"))
#: Changes that are tried in `make test`; `make compat` tries more.
FEW, MANY = 4, 20

METHODS = {
    "Sidekiq::Processor": ("dispatch", "stats", "profile", "execute_job", "handle_exception"),
    "Sidekiq::JobRetry": ("global", "local", "process_retry", "delay_for", "exception_message"),
    "Sidekiq::JobLogger": ("call", "prepare", "elapsed"),
    "Sidekiq::Middleware::Chain": ("invoke", "traverse", "retrieve", "empty?"),
    "Sidekiq::Middleware::Entry": ("make_new",),
    "Sidekiq::Metrics::Middleware": ("call",),
    "Sidekiq::Metrics::ExecutionTracker": ("track", "track_time"),
    "Sidekiq::Metrics::Histogram": ("record_time",),
    "Sidekiq::Job::InterruptHandler": ("call",),
    "Sidekiq::Processor::Counter": ("incr",),
    "Sidekiq::Processor::SharedWorkState": ("set", "delete"),
    "Logger": ("add", "info", "format_message"),
}


@dataclass(frozen=True, slots=True)
class Patch:
    """What is changed: how (prepend, alias, refine), when (boot, startup, a job), under which level
    of the log.
    """

    owner: str
    method: str
    way: str
    moment: str
    level: str

    def __str__(self) -> str:
        what = f"{self.owner}#{self.method}, {self.way}"
        return f"{what}, at {self.moment}, {self.level}"

    def variable(self) -> str:
        """For patched.rb."""
        fields = {"class": self.owner, "method": self.method, "way": self.way}
        return json.dumps(fields | {"moment": self.moment, "level": self.level})


def patches(seed: int, count: int) -> Iterator[Patch]:
    """The same for the same seed; every class is met before one is met again."""
    rng = random.Random(seed)
    owners: list[str] = []
    for _ in range(count):
        owners = owners or rng.sample(list(METHODS), len(METHODS))
        owner = owners.pop()
        yield Patch(
            owner,
            rng.choice(METHODS[owner]),
            rng.choice(("prepend", "prepend", "alias", "alias", "refine")),
            rng.choice(("boot", "startup", "job")),
            rng.choice(("INFO", "WARN")),
        )


def notes(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1] if path.exists() else []


def run_jobs(stand: Stand, server: Server, path: Path, *, patches_late: bool) -> list[str]:
    """One job that changes Sidekiq if that is when, one that ends well, one that fails, one that
    ends it; what was noted of them.
    """
    ways = ["patch" if patches_late else "well", "well", "raise", "well"]
    for number, way in enumerate(ways):
        jid = f"{number:024x}"
        stand.push(stand.payload("PatchedJob", way, jid=jid))
        done = f"{number} performed"
        if way == "raise":
            stand.wait(server, lambda: stand.client.zcard("retry"), "it had failed")
        else:
            stand.wait(server, lambda done=done: done in notes(path), "it had run")
        stand.wait(
            server,
            lambda: not stand.client.exists("queue:default", *stand.client.keys("gokiq:claims:*")),
            "it was settled",
        )
    # What a job changes counts from the next one on.
    return [note for note in notes(path) if not (patches_late and note.startswith("0 "))]


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(patch, id=str(patch), marks=[pytest.mark.slow] if number >= FEW else [])
        for number, patch in enumerate(patches(SEED, MANY))
    ],
)
def test_whoever_is_called_under_sidekiq_is_called_here(
    version: Version, tmp_path: Path, patch: Patch
) -> None:
    sides: dict[str, tuple[Stand, Server, Path]] = {}
    with ExitStack() as stack:
        for name in ("sidekiq", "gokiq"):
            stand = Stand(version, stack.enter_context(RedisServer()), tmp_path)
            path = tmp_path / f"notes-{name}"
            env = {"PATCH": patch.variable(), "TEST_NOTES": str(path)}
            start = stand.sidekiq if name == "sidekiq" else stand.gokiq
            server = start("-c", "1", "-q", "default", app="patched.rb", name=name, env=env)
            sides[name] = (stand, stack.enter_context(server), path)
        told = {
            name: run_jobs(*side, patches_late=patch.moment == "job")
            for name, side in sides.items()
        }

    assert told["gokiq"] == told["sidekiq"]


def test_every_method_is_tried_with_sidekiq_7_too() -> None:
    """Those of Sidekiq 8 are among the sidecar's own tests."""
    test = ROOT / "sidecar/test/gokiq/sidecar/patched_test.rb"
    argv = [str(V7.ruby), "-I", "sidecar/lib", "-I", "sidecar/test", str(test)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
