"""What a micro benchmark is: one call of a compiled function, beside what it is compared with."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gokiq import __version__

#: The implementation that the others are compared with, and its twin in plain Python.
COMPILED, PLAIN = "compiled", "plain"

Call = tuple[Callable[..., Any], *tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """An operation: the call of the `compiled` function, of its twin `plain`, and of peers.

    `at_least` is how many times as fast as another the compiled one is meant to be.
    """

    name: str
    calls: Mapping[str, Call]
    at_least: Mapping[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise AssertionError when the twin answers otherwise."""
        compiled, plain = (function(*args) for function, *args in self._twins())
        assert _comparable(compiled) == _comparable(plain), self.name

    def _twins(self) -> tuple[Call, Call]:
        return self.calls[COMPILED], self.calls[PLAIN]


def benchmark_name(case: str, implementation: str) -> str:
    """What pyperf knows the two by together."""
    return f"{case}/{implementation}"


def time_cases(module: str, cases: Sequence[Case]) -> None:
    """Time each implementation of each case, as the pyperf program that `python -m module` is."""
    # Only here: the cases are of use without it.
    import hiredis
    import pyperf

    runner = pyperf.Runner(program_args=("-m", module))
    runner.metadata["gokiq_version"] = __version__
    runner.metadata["hiredis_version"] = hiredis.__version__
    runner.metadata["machine"] = platform.machine()
    for case in cases:
        case.check()
        for implementation, (function, *args) in case.calls.items():
            runner.bench_func(benchmark_name(case.name, implementation), function, *args)


def _comparable(answer: Any) -> Any:
    """Objects of the two implementations are of different classes."""
    if isinstance(answer, dict):
        return {name: _comparable(one) for name, one in answer.items()}
    if isinstance(answer, list | tuple):
        return [_comparable(one) for one in answer]
    for names in (
        ("number", "status", "counts", "elapsed_us", "score", "payload", "error_message"),
        ("number", "route", "payload", "claimed_at"),
    ):
        if hasattr(answer, names[1]):
            return [getattr(answer, name) for name in names]
    return answer
