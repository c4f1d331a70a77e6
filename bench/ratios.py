"""The ratios of the micro suite that have a target, roughly, in seconds; pyperf takes minutes."""

from __future__ import annotations

import timeit
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.cases import COMPILED, Call, Case
from bench.micro import all_cases
from bench.program import write_record

#: How long one timing lasts at least, in seconds, and how many there are of each function.
ROUND_S, ROUNDS = 0.02, 7
#: How it was measured.
METHOD = (
    f"The best of {ROUNDS} timings of {ROUND_S * 1000:.0f} ms, implementations in turns, in one"
    " process, every answer checked before; python -m bench.micro takes the same with pyperf."
)


def run(out: Path, *, console: Console, argv: Sequence[str] = ()) -> None:
    """Time what has a target and write micro.json."""
    console.print("[bold]micro[/bold]: compiled functions beside what they replace")
    times: dict[str, dict[str, float]] = {}
    misses = []
    for case in all_cases():
        if not case.at_least:
            continue
        case.check()
        best = _best_s(case)
        for who, least in case.at_least.items():
            ratio = best[who] / best[COMPILED]
            times.setdefault(who, {})[case.name] = round(ratio, 2)
            if ratio < least:
                misses.append(f"{case.name}: {ratio:.1f} times as fast as {who}")
    for who, ratios in times.items():
        worst = min(ratios, key=lambda name: ratios[name])
        console.print(f"  at least {ratios[worst]:.1f} times as fast as {who} ({worst})")
    figures: dict[str, Any] = {"method": METHOD, "times": times, "misses": "; ".join(misses)}
    write_record(out, "micro", "bench.suite micro", argv, figures)


def _best_s(case: Case) -> dict[str, float]:
    """Seconds of one call of each implementation that matters."""
    calls = {who: case.calls[who] for who in (COMPILED, *case.at_least)}
    numbers = {who: _calls_per_round(call) for who, call in calls.items()}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for who, call in calls.items():
            best[who] = min(best[who], _time(call, numbers[who]) / numbers[who])
    return best


def _calls_per_round(call: Call) -> int:
    number = 1
    while _time(call, number) < ROUND_S:
        number *= 2
    return number


def _time(call: Call, number: int) -> float:
    function, *args = call
    return timeit.timeit(
        "function(*args)", globals={"function": function, "args": args}, number=number
    )
