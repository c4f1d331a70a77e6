"""Frames and Redis commands: the compiled code, its plain twin and, for commands, hiredis.

python bench/bench_core.py --fast -o core.json; every answer is checked before it is timed.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import hiredis
import pyperf

from gokiq import _core, _core_py

JOBS = 100
PAYLOAD = b'{"class":"HardJob","args":[1],"jid":"b4a577edbccf1d805744efa9","pad":"%b"}' % (
    b"x" * 930
)
FAILED = {
    "status": _core.RETRY,
    "counts": 3,
    "elapsed_us": 1500,
    "score": 1795489135.438,
    "payload": PAYLOAD,
    "error_class": "RuntimeError",
    "error_message": "the other side did not answer",
}
CLAIM = ["EVALSHA", "6b1bf486c81ceb7edf3c093f4e2b2f6cb1bf486c", 3, b"queue:default", b"claims"]
COMMAND = [*CLAIM, *(n if n % 2 else PAYLOAD[:200] for n in range(1000))]
PIPELINE = [("HINCRBY", f"j|20261124|12:{n}", "HardJob|ms", 1500 + n) for n in range(100)]


def cases(core: ModuleType) -> dict[str, tuple[Any, ...]]:
    """A function and its arguments for each thing that is measured."""
    jobs = [core.Job(n, 0, PAYLOAD, 0.0) for n in range(JOBS)]
    well = [core.Outcome(n, core.OK, 1, 1500) for n in range(JOBS)]
    failed = [core.Outcome(n, **FAILED) for n in range(JOBS)]
    stream = core.encode_frame(core.RESULTS, core.encode_results(well[:4])) * JOBS
    return {
        "pack_command, 1005 arguments": (core.pack_command, COMMAND),
        "pack_commands, 100 of 4": (core.pack_commands, PIPELINE),
        "encode_batch, 100 jobs of 1 KB": (core.encode_batch, jobs),
        "encode_interrupts, 100": (core.encode_interrupts, range(JOBS), True),
        "encode_results, 100 well": (core.encode_results, well),
        "decode_results, 100 well": (core.decode_results, core.encode_results(well)),
        "decode_results, 100 failed": (core.decode_results, core.encode_results(failed)),
        "decode_batch, 100 jobs of 1 KB": (core.decode_batch, core.encode_batch(jobs)[0][8:]),
        "feed, 100 frames in one piece": (feed, core, stream, len(stream)),
        "feed, 100 frames in 1000-byte pieces": (feed, core, stream, 1000),
    }


def feed(core: ModuleType, stream: bytes, size: int) -> list[tuple[int, bytes]]:
    """What a new reader makes of the stream, fed in pieces of this size."""
    reader = core.FrameReader(frozenset({core.RESULTS}))
    frames = []
    for at in range(0, len(stream), size):
        frames += reader.feed(stream[at : at + size])
    return frames


def comparable(answer: Any) -> Any:
    """Outcomes of the two implementations are of different classes."""
    names = ("number", "status", "counts", "elapsed_us", "score", "payload", "error_message")
    if isinstance(answer, list) and hasattr(answer[0], "status"):
        return [[getattr(outcome, name) for name in names] for outcome in answer]
    return answer


def main() -> None:
    """Check that all agree, then time each."""
    compiled, plain = cases(_core), cases(_core_py)
    for name, (function, *args) in compiled.items():
        twin, *twin_args = plain[name]
        assert comparable(function(*args)) == comparable(twin(*twin_args)), name
    packed = b"".join(map(hiredis.pack_command, PIPELINE))
    assert _core.pack_command(COMMAND) == hiredis.pack_command(tuple(COMMAND))
    assert _core.pack_commands(PIPELINE) == packed

    runner = pyperf.Runner()
    for label, chosen in (("cython", compiled), ("pure", plain)):
        for name, (function, *args) in chosen.items():
            runner.bench_func(f"{name}: {label}", function, *args)
    runner.bench_func("pack_command, 1005 arguments: hiredis", hiredis.pack_command, tuple(COMMAND))


if __name__ == "__main__":
    main()
