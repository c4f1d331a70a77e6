"""Runs scenarios, judges each, and says so in a table and in JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from devtools.proxy import Proxy
from devtools.redis_server import RedisServer

from .checker import Findings
from .registry import Scenario
from .stand import Stand

#: While the log is being synced Redis would answer before it has written, and a kill lose that.
WRITES_AT_ONCE = {"appendfsync": "no"}


@dataclass(frozen=True, slots=True)
class Result:
    """One row of tmp/chaos.json."""

    scenario: str
    seed: int
    jobs: int
    lost: int
    duplicates: int
    duplicates_allowed: int
    recovery_s: float
    ok: bool
    note: str


def run_scenario(scenario: Scenario, seed: int, folder: Path) -> Result:
    """One fault from an empty Redis to the verdict."""
    stand, findings, failure = play(scenario, seed, folder)
    note = "; ".join(filter(None, (failure, str(findings))))
    return Result(
        scenario=scenario.name,
        seed=seed,
        jobs=len(stand.pushed),
        lost=len(findings.lost),
        duplicates=len(findings.duplicates),
        duplicates_allowed=stand.allowed,
        recovery_s=round(stand.recovery_s, 2),
        ok=not note,
        note=note[:500],
    )


def play(
    scenario: Scenario, seed: int, folder: Path, sabotage: str = ""
) -> tuple[Stand, Findings, str]:
    """Run it; returns what it leaves behind, the checker's findings, and why it stopped early, if
    it did. `sabotage` is one of sabotage.py.
    """
    with (
        RedisServer(appendonly=True, settings={**WRITES_AT_ONCE, **scenario.redis}) as redis,
        Proxy(redis.socket, seed=seed) as proxy,
    ):
        stand = Stand(redis, proxy, folder, seed, sabotage)
        stand.push_many(scenario.jobs)
        failure = ""
        with stand.stack:
            try:
                scenario.run(stand)
            except Exception as error:
                # One broken scenario must not hide what the others show.
                where = traceback.extract_tb(error.__traceback__)[-1]
                failure = f"{type(error).__name__} in {where.name}, {where.line}: {error}"
            return stand, stand.findings(), failure


def run_all(scenarios: Sequence[Scenario], seed: int, path: Path) -> bool:
    """Every scenario; prints a line for each, and writes the results. True when all are ok."""
    results: list[Result] = []
    began = time.monotonic()
    print(f"{'scenario':46} {'jobs':>6} {'lost':>4} {'twice':>5} of {'recovery':>8}  s")
    for scenario in scenarios:
        folder = Path(tempfile.mkdtemp(prefix=f"gokiq-chaos-{scenario.name}-"))
        start = time.monotonic()
        result = run_scenario(scenario, seed, folder)
        results.append(result)
        print(
            f"{result.scenario:46} {result.jobs:6} {result.lost:4} {result.duplicates:5} "
            f"of {result.duplicates_allowed:<4} {result.recovery_s:6.2f} "
            f"{time.monotonic() - start:5.0f}  {'ok' if result.ok else 'FAILED: ' + result.note}",
            flush=True,
        )
        if result.ok:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"  its logs are in {folder}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    well = sum(result.ok for result in results)
    print(f"{well} of {len(results)} ok in {time.monotonic() - began:.0f} s, written to {path}")
    return well == len(results)
