"""Everything that the fuzzer has found worth keeping holds, and giants that it does not make."""

from __future__ import annotations

import random
import struct

import pytest

from tests.fuzz.inputs import kept
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.unit

MB = 1_000_000


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept(target: str) -> None:
    inputs = kept(target)
    assert inputs
    for data in inputs:
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_with_a_bit_changed(target: str) -> None:
    rng = random.Random(1)
    for data in kept(target):
        if data:
            at = rng.randrange(len(data))
            TARGETS[target](data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
            TARGETS[target](data[:at])


@pytest.mark.parametrize(
    "data",
    [
        b'{"queue":"' + b"x" * 20 * MB + b'","jid":"1"}',
        b'{"args":["' + b'\\"' * 10 * MB + b'"]}',
        b'{"args":[' + b"{}," * MB + b"0]}",
        b'{"at":' + b"[" * MB + b"]" * MB + b"}",
        b'{"at":' + b"[" * 2 * MB,
        b'{"jid":"' + b"\x00\xff" * 10 * MB + b'"}',
        b"{" + b",".join(b'"jid":%d' % n for n in range(MB // 5)) + b"}",
        b'{"at":' + b"9" * 20 * MB + b"}",
        b" " * 20 * MB + b"{}",
        b"{" * 20 * MB,
    ],
    ids=["text", "escapes", "list", "deep", "open", "bytes", "twice", "digits", "blanks", "braces"],
)
def test_giant_payloads(data: bytes) -> None:
    TARGETS["payload"](data)


@pytest.mark.parametrize("kind", [1, 4, 5, 15, 200])
def test_giant_frames(kind: int) -> None:
    body = random.Random(kind).randbytes(20 * MB)
    frame = struct.pack(">IBBH", len(body), kind, 0, 0) + body

    TARGETS["frames"](frame * 2)


@pytest.mark.parametrize("length", [0, 1, 2**16, 64 << 20, (64 << 20) + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("kind", [0, 4, 5, 16, 127, 128, 255])
def test_lengths_that_lie(length: int, kind: int) -> None:
    for body in (b"", b"x", b"\x00" * 100):
        TARGETS["frames"](struct.pack(">IBBH", length, kind, 0, 0) + body)
