"""Payloads before the JSON of the app's own Ruby: what it takes for a job, gokiq reads alike."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtools.programs import find_program
from gokiq import core
from gokiq.errors import PayloadError
from gokiq.payload import scan, splice
from gokiq.sidekiq.promotion import needs_client
from tests.fuzz.inputs import kept
from tests.fuzz.targets import FROM_ORCHESTRATOR, fed

pytestmark = pytest.mark.integration

NAMES = ("queue", "jid", "at", "class", "wrapped", "retry_count", "é", 'a"b')
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))


class Judge:
    """A Ruby that answers one payload after another."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [find_program("ruby"), Path(__file__).with_name("verdict.rb"), *NAMES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def __call__(self, payload: bytes) -> None:
        """Raises AssertionError when Ruby takes for a job what gokiq does not, or reads another."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        found: tuple[bytes | None, ...] | None
        try:
            found = scan(payload, NAMES)
            fields = [payload, splice(payload, {"jid": b'"new"'}), *found]
        except PayloadError:
            found, fields = None, [payload]
        line = ",".join("-" if field is None else field.hex() for field in fields)
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        verdict = self._process.stdout.readline().decode().strip()
        if found is None:
            assert verdict != "object" or is_for_ruby(payload), payload
        else:
            assert verdict in ("object", "refused"), (verdict, payload)


def is_for_ruby(payload: bytes) -> bool:
    """Whether a worker is asked about it when it is due: Ruby's JSON skips comments."""
    try:
        return needs_client(payload)
    except PayloadError:
        return False


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as one:
        yield one


def test_what_is_kept(judge: Judge) -> None:
    found = os.environ.get("FUZZ_INPUTS")
    more = [path.read_bytes() for path in Path(found).iterdir()] if found else []
    for payload in [*kept("payload"), *kept("hello"), *more]:
        judge(payload)


def test_streams_are_cut_alike() -> None:
    rng = random.Random(1)
    streams = kept("frames")
    for stream in kept("frames"):
        for _ in range(3):
            changed = bytearray(stream or b"\x00")
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
            streams.append(bytes(changed))
    ruby = subprocess.run(
        [find_program("ruby"), Path(__file__).with_name("frames.rb")],
        input="".join(f"{stream.hex()}\n" for stream in streams),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [json.loads(line) for line in ruby.stdout.splitlines()]

    assert len(answers) == len(streams) > 200
    for stream, (frames, waiting) in zip(streams, answers, strict=True):
        expected, left, error = fed(core, FROM_ORCHESTRATOR, [stream])
        if error is not None:
            assert waiting is None, stream
        else:
            assert waiting == (left > 0), stream
            assert frames == [[kind, body.hex()] for kind, body in expected], stream


KEY = st.sampled_from([*NAMES, "args", "\x00", "\ud83d\ude00"]) | st.text(max_size=6)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**310)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=8,
)
#: Whole members, so that names come twice.
MEMBERS = st.lists(st.tuples(KEY, VALUE), max_size=8)
#: What is put anywhere into a payload.
MISCHIEF = st.sampled_from(
    [
        *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\udc00", b"\\u0000"),
        *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"'", b"-", b".5", b"\\u12", b"/*x*/"),
        *(b"NaN", b"-Infinity", b"true", b"1e999", b"0" * 400, b"[" * 99, b"[" * 101, b"\v", b"\n"),
    ]
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    ascii_only = draw(st.booleans())

    def dumped(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    members = [dumped(key) + b":" + dumped(value) for key, value in draw(MEMBERS)]
    payload = b"{" + b",".join(members) + b"}"
    for piece in draw(st.lists(MISCHIEF, max_size=2)):
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + piece + payload[at + draw(st.integers(0, 2)) :]
    return payload[: draw(st.none() | st.integers(0, len(payload)))]


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(payload=payloads())
def test_what_is_made_up(judge: Judge, payload: bytes) -> None:
    judge(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"queue":"' + b"x" * 20_000_000 + b'"}',
        b'{"queue":"' + b"\\\\" * 1_000_000 + b'","jid":"1"}',
        b'{"args":[' + b"1," * 1_000_000 + b'1],"jid":"1"}',
        b'{"at":' + b"7" * 100_000 + b"}",
        b'{"args":' + b"[" * 98 + b"]" * 98 + b"}",
        b'{"args":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
        b"{" + b",".join(b'"jid":"%d"' % n for n in range(100_000)) + b"}",
        b'{"queue":"' + b"\xff" * 5_000_000 + b'"}',
        b" " * 20_000_000 + b"{}",
    ],
    ids=["text", "backslashes", "list", "digits", "deep", "too-deep", "twice", "bytes", "blanks"],
)
def test_giants(judge: Judge, payload: bytes) -> None:
    judge(payload)
