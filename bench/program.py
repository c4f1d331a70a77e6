"""What the programs of the benchmarks share: how they end, and where their figures go."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from redis.exceptions import RedisError

from devtools.failure import DevError
from devtools.programs import ROOT

#: Where the figures go unless told otherwise.
OUT = ROOT / "tmp" / "bench"
#: Exit code when a run failed.
EXIT_FAILED = 1
#: A shell's exit code for a program that a signal ended, less the signal's number.
EXIT_SIGNAL = 128
#: What a measurement may end in: each of them says its cause in one line.
FAILURES = (DevError, OSError, RedisError)


class Stopped(KeyboardInterrupt):
    """A signal asked the benchmark to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run_program(action: Callable[[], int | None]) -> int:
    """Call `action` and return its exit code, 0 for None; a failure or a signal is one line."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        return action() or 0
    except Stopped as stopped:
        print("bench: stopped; nothing is left running", file=sys.stderr)
        return EXIT_SIGNAL + stopped.number
    except FAILURES as error:
        print(f"bench: {error}", file=sys.stderr)
        return EXIT_FAILED


def write_record(
    folder: Path, name: str, module: str, argv: Sequence[str], figures: Mapping[str, Any]
) -> Path:
    """Write `figures` to NAME.json, with what they are, when and by which command.

    The command is told without `--out`, which changes no figure.
    """
    said = list(argv)
    if "--out" in said:
        place = said.index("--out")
        del said[place : place + 2]
    record = {
        "workload": name,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(("python -m", module, *said)),
        **figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option that says where figures and logs go."""
    parser.add_argument(
        "--out", default=str(OUT), metavar="DIR", help="where the figures go (tmp/bench)"
    )


def positive(text: str) -> int:
    """A number above 0. Raises ValueError for another."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


# argparse names the type in its error message.
positive.__name__ = "positive number"


def _stop(number: int, _frame: FrameType | None) -> None:
    # Once is enough: what follows is the clean-up, which nothing should cut short.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)
