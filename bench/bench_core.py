"""Frames and Redis commands: the compiled code, its plain twin and, for commands, hiredis.

python -m bench.bench_core --fast -o core.json; every answer is checked before it is timed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import hiredis

from bench.cases import COMPILED, PLAIN, Call, Case, time_cases
from bench.payloads import NOOP, PAYLOADS
from gokiq import _core, _core_py

JOBS = 100
FAILED = {
    "status": _core.RETRY,
    "counts": 3,
    "elapsed_us": 1500,
    "score": 1795489135.438,
    "payload": PAYLOADS["1 KB"],
    "error_class": "RuntimeError",
    "error_message": "the other side did not answer",
}
SCRIPT = ["EVALSHA", "6b1bf486c81ceb7edf3c093f4e2b2f6cb1bf486c", 3, b"queue:default", b"claims"]
#: A call that settles and claims, with the numbers of many outcomes; one with few; metrics.
LONG_COMMAND = [*SCRIPT, *(n if n % 2 else NOOP for n in range(1000))]
SHORT_COMMAND = [*SCRIPT, 4711, 4712, 4713, "1795489135.438"]
PIPELINE = [("HINCRBY", f"j|20261124|12:{n}", "HardJob|ms", 1500 + n) for n in range(100)]
#: How many times as fast as their plain twins frames and commands are meant to be built.
BUILT_AT_LEAST = 5.0
BUILDERS = ("encode_", "pack_")


def cases() -> list[Case]:
    """All that is measured."""
    peers = {
        "pack_command, 1005 arguments": _hiredis(LONG_COMMAND),
        "pack_command, 9 arguments": _hiredis(SHORT_COMMAND),
    }
    compiled, plain = _calls(_core), _calls(_core_py)
    return [
        Case(
            name,
            {COMPILED: call, PLAIN: plain[name], **peers.get(name, {})},
            {PLAIN: BUILT_AT_LEAST} if name.startswith(BUILDERS) else {},
        )
        for name, call in compiled.items()
    ]


def _calls(core: ModuleType) -> dict[str, Call]:
    """A function and its arguments for each thing that is measured."""
    small = [core.Job(n, 0, NOOP, 0.0) for n in range(JOBS)]
    out = _open(core, small)
    large = [core.Job(n, 0, PAYLOADS["1 KB"], 0.0) for n in range(JOBS)]
    well = [core.Outcome(n, core.OK, 1, 1500) for n in range(JOBS)]
    failed = [core.Outcome(n, **FAILED) for n in range(JOBS)]
    mixed = core.encode_results([*well[: JOBS - 5], *failed[-5:]])
    stream = core.encode_frame(core.RESULTS, core.encode_results(well[:4])) * JOBS
    done = b"".join(struct.pack(">QI", n, 1500) for n in range(JOBS))
    return {
        "pack_command, 1005 arguments": (core.pack_command, LONG_COMMAND),
        "pack_command, 9 arguments": (core.pack_command, SHORT_COMMAND),
        "pack_commands, 100 of 4": (core.pack_commands, PIPELINE),
        "encode_frame, 100 bytes": (core.encode_frame, core.BEAT, b"x" * 100),
        "encode_batch, 1 no-op": (core.encode_batch, small[:1]),
        "encode_batch, 100 no-ops": (core.encode_batch, small),
        "encode_batch, 100 of 1 KB": (core.encode_batch, large),
        "encode_interrupts, 100": (core.encode_interrupts, range(JOBS), True),
        "encode_results, 100 well": (core.encode_results, well),
        "encode_results, 100 failed": (core.encode_results, failed),
        "decode_results, 1 well": (core.decode_results, core.encode_results(well[:1])),
        "decode_results, 100 well": (core.decode_results, core.encode_results(well)),
        "decode_results, 100 failed": (core.decode_results, core.encode_results(failed)),
        "decode_batch, 100 of 1 KB": (core.decode_batch, core.encode_batch(large)[0][8:]),
        "make_jobs, 100 no-ops": (core.make_jobs, 4711, 3, [NOOP] * JOBS, 1234.5, 1 << 20),
        "open_jobs, 100": (_open, core, small),
        "end_jobs, 100 well": (_end, core.end_jobs, core.encode_results(well), out),
        "end_jobs, 95 well, 5 failed": (_end, core.end_jobs, mixed, out),
        "end_done, 100": (_end, core.end_done, done, out),
        "decode_plain, 100 no-ops": (core.decode_plain, core.encode_batch(small)[0][8:]),
        "FrameReader, 100 frames in one piece": (_feed, core, stream, len(stream)),
        "FrameReader, 100 frames in 1000-byte pieces": (_feed, core, stream, 1000),
        "Job": (core.Job, 4711, 3, NOOP, 1234.5),
        "Outcome": (core.Outcome, 4711, core.OK, 1, 1500),
        "backoff_s": (core.backoff_s, 3, 0.5),
    }


def _hiredis(command: list[Any]) -> dict[str, Call]:
    assert hiredis.pack_command(tuple(command)) == _core.pack_command(command)
    return {"hiredis": (hiredis.pack_command, tuple(command))}


def _open(core: ModuleType, jobs: list[Any]) -> dict[int, Any]:
    out: dict[int, Any] = {}
    core.open_jobs(jobs, out)
    return out


def _end(function: Callable[..., Any], body: bytes, out: dict[int, Any]) -> Any:
    """What ends of the jobs that are out; copying these is a part of what is measured."""
    return function(body, out.copy())


def _feed(core: ModuleType, stream: bytes, size: int) -> list[tuple[int, bytes]]:
    """What a new reader makes of the stream, fed in pieces of this size."""
    reader = core.FrameReader(frozenset({core.RESULTS}))
    frames: list[Any] = []
    for at in range(0, len(stream), size):
        frames += reader.feed(stream[at : at + size])
    return frames


if __name__ == "__main__":
    time_cases("bench.bench_core", cases())
