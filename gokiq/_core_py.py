"""The plain twin of `_core.pyx`; what each function promises is written in `_core.pyi`."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, final

from gokiq.errors import ProtocolError

HELLO: Final = 1
WELCOME: Final = 2
READY: Final = 3
BATCH: Final = 4
RESULTS: Final = 5
INTERRUPT: Final = 6
QUIET: Final = 7
DRAIN: Final = 8
PING: Final = 9
PONG: Final = 10
GOODBYE: Final = 11
ERROR: Final = 12
BEAT: Final = 13
PROMOTE: Final = 14
PROMOTED: Final = 15
FAIL: Final = 16
PLAIN: Final = 17
DONE: Final = 18

OK: Final = 0
RETRY: Final = 1
DEAD: Final = 2
DISCARDED: Final = 3
SKIPPED: Final = 4
SHUTDOWN: Final = 5
REFUSED: Final = 6
INTERNAL: Final = 7

HEADER_BYTES: Final = 8
MAX_BODY_BYTES: Final = 67_108_864

_LAST_REQUIRED_TYPE = 127
_U8, _U16, _U64 = 0xFF, 0xFFFF, 0xFFFF_FFFF_FFFF_FFFF
_HEADER = struct.Struct(">IBxxx")
_JOB = struct.Struct(">QHHI")
_PLAIN = struct.Struct(">QHBBIIIII")
_COUNT = struct.Struct(">I")
_DONE = struct.Struct(">QI")
_OUTCOME = struct.Struct(">QBBxxIQ")
_SCORE = struct.Struct(">dI")
_TEXT = struct.Struct(">H")
_DETAIL_BYTES = _SCORE.size + 2 * _TEXT.size
_INTERRUPT = struct.Struct(">QB")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Job:
    number: int
    route: int
    payload: bytes = field(repr=False)
    claimed_at: float
    elapsed_us: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        _check_bounds((self.number, _U64), (self.route, _U16))
        _check_types((self.payload, bytes))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    number: int
    status: int
    counts: int = 0
    elapsed_us: int = 0
    score: float = 0.0
    payload: bytes = field(default=b"", repr=False)
    error_class: str = ""
    error_message: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        _check_bounds(
            (self.number, _U64), (self.status, _U8), (self.counts, _U8), (self.elapsed_us, _U64)
        )
        _check_types((self.payload, bytes), (self.error_class, str), (self.error_message, str))


def _check_bounds(*numbers: tuple[int, int]) -> None:
    for number, most in numbers:
        if not 0 <= number <= most:
            raise OverflowError(f"{number} is not between 0 and {most}")


def _check_types(*values: tuple[object, type]) -> None:
    for value, kind in values:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


@final
class FrameReader:
    def __init__(self, allowed: frozenset[int]) -> None:
        self._allowed = frozenset(kind for kind in allowed if 0 <= kind <= _LAST_REQUIRED_TYPE)
        self._header = b""
        self._body = bytearray()
        self.buffered = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        frames: list[tuple[int, bytes]] = []
        at = 0
        while True:
            if self.buffered < HEADER_BYTES:
                piece = data[at : at + HEADER_BYTES - self.buffered]
                self._header += piece
                self.buffered += len(piece)
                at += len(piece)
                if self.buffered < HEADER_BYTES:
                    return frames
            length, kind = _HEADER.unpack(self._header)
            self._check(length, kind)
            missing = length + HEADER_BYTES - self.buffered
            piece = data[at : at + missing]
            self.buffered += len(piece)
            at += len(piece)
            if kind <= _LAST_REQUIRED_TYPE:
                self._body += piece
            if len(piece) < missing:
                return frames
            if kind <= _LAST_REQUIRED_TYPE:
                frames.append((kind, bytes(self._body)))
            self._header = b""
            self._body = bytearray()
            self.buffered = 0

    def _check(self, length: int, kind: int) -> None:
        if length > MAX_BODY_BYTES:
            raise ProtocolError(
                f"a frame of {length} bytes announced, the limit is {MAX_BODY_BYTES}; "
                "check that both sides run the same version of gokiq"
            )
        if kind > _LAST_REQUIRED_TYPE or kind in self._allowed:
            return
        if HELLO <= kind <= DONE:
            raise ProtocolError(
                f"frame type {kind} is not allowed in this direction; "
                "check what is connected to the socket"
            )
        raise ProtocolError(
            f"unknown frame type {kind}; check that both sides run the same version of gokiq"
        )


def encode_frame(type: int, body: bytes = b"") -> bytes:  # noqa: A002 - the protocol's word
    _check_bounds((type, _U8))
    if len(body) > MAX_BODY_BYTES:
        raise ProtocolError(
            f"a frame of {len(body)} bytes is over the limit of {MAX_BODY_BYTES}; "
            "cut it into smaller ones"
        )
    return _HEADER.pack(len(body), type) + body


# What a plain payload consists of: docs/protocol.md section 4. Arguments are matched by hand.
_NAME = rb'"[ !#-\[\]-~]*"'
_SCALAR = rb"(?:true|false|null|(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)"
_FIELDS = {
    b"class": re.compile(_NAME),
    b"jid": re.compile(_NAME),
    b"queue": re.compile(_NAME),
    b"retry": re.compile(_SCALAR),
    b"created_at": re.compile(_SCALAR),
    b"enqueued_at": re.compile(_SCALAR),
}
_KEY = re.compile(rb'"(class|jid|args|queue|retry|created_at|enqueued_at)":')
_BRACKET = re.compile(rb'"(?:\\.|[^"\\])*"|["/\[\]{}]', re.DOTALL)
_PLAIN_NAME_BYTES = 255
_PLAIN_PAYLOAD_BYTES = 1_000_000
_PLAIN_DEPTH = 50


def _find_spans(payload: bytes) -> dict[bytes, tuple[int, int]] | None:
    """Where the values of a plain payload are, as `(first, end)`; None if it is not plain."""
    if len(payload) > _PLAIN_PAYLOAD_BYTES or payload[:1] != b"{":
        return None
    spans: dict[bytes, tuple[int, int]] = {}
    at = 0
    while payload[at : at + 1] == (b"," if spans else b"{") and (
        key := _KEY.match(payload, at + 1)
    ):
        if key[1] in spans or (key[1] == b"args" and payload[key.end() : key.end() + 1] != b"["):
            return None
        at = _array_end(payload, key.end()) if key[1] == b"args" else _end(key, payload)
        if at < 0:
            return None
        spans[key[1]] = (key.end(), at)
    if payload[at:] != b"}" or not spans.keys() >= {b"class", b"jid", b"args"}:
        return None
    name, jid = (spans[key][1] - spans[key][0] - 2 for key in (b"class", b"jid"))
    return spans if 0 < name <= _PLAIN_NAME_BYTES and jid <= _PLAIN_NAME_BYTES else None


def _end(key: re.Match[bytes], payload: bytes) -> int:
    value = _FIELDS[key[1]].match(payload, key.end())
    return value.end() if value else -1


def _array_end(payload: bytes, at: int) -> int:
    depth = 0
    for token in _BRACKET.finditer(payload, at):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth > _PLAIN_DEPTH:
                return -1
        elif token[0] in (b"]", b"}"):
            depth -= 1
            if depth == 0:
                return token.end()
        elif len(token[0]) == 1:  # a quotation mark without its partner, or a comment
            return -1
    return -1


def encode_batch(jobs: list[Job], max_bytes: int = 1_048_576) -> list[bytes]:
    max_bytes = min(max_bytes, MAX_BODY_BYTES)
    frames = []
    rows: list[bytes] = []
    payloads: list[bytes] = []
    length = 0
    was_plain = False
    for job in jobs:
        spans = _find_spans(job.payload)
        size = (_JOB if spans is None else _PLAIN).size + len(job.payload)
        if size > MAX_BODY_BYTES:
            raise ProtocolError(
                f"job number {job.number} has {len(job.payload)} bytes, a frame takes "
                f"{MAX_BODY_BYTES - _JOB.size}; it cannot be run: pass a reference to the data"
            )
        is_plain = spans is not None
        if rows and (is_plain != was_plain or length + size > max_bytes):
            frames.append(_jobs_frame(rows, payloads, was_plain))
            rows, payloads, length = [], [], 0
        if not rows:
            length = _COUNT.size if is_plain else 0
        was_plain = is_plain
        rows.append(_row(job, spans))
        payloads.append(job.payload)
        length += size
    if rows:
        frames.append(_jobs_frame(rows, payloads, was_plain))
    return frames


def _row(job: Job, spans: dict[bytes, tuple[int, int]] | None) -> bytes:
    size = len(job.payload)
    if spans is None:
        return _JOB.pack(job.number, job.route, 0, size)
    (name, name_end), (jid, jid_end) = spans[b"class"], spans[b"jid"]
    args, args_end = spans[b"args"]
    names = (name_end - name - 2, jid_end - jid - 2)
    return _PLAIN.pack(
        job.number, job.route, *names, size, name + 1, jid + 1, args, args_end - args
    )


def _jobs_frame(rows: list[bytes], payloads: list[bytes], is_plain: bool) -> bytes:
    if is_plain:
        return encode_frame(PLAIN, b"".join((_COUNT.pack(len(rows)), *rows, *payloads)))
    pairs = zip(rows, payloads, strict=True)
    return encode_frame(BATCH, b"".join(part for pair in pairs for part in pair))


def decode_plain(body: bytes) -> list[tuple[int, int, bytes]]:
    jobs: list[tuple[int, int, bytes]] = []
    count = _COUNT.unpack_from(body)[0] if len(body) >= _COUNT.size else 0
    at = _COUNT.size + count * _PLAIN.size
    if len(body) < _COUNT.size:
        raise _cut_off("PLAIN", 0)
    for index in range(count):
        row = _COUNT.size + index * _PLAIN.size
        size = _PLAIN.unpack_from(body, row)[4] if at <= len(body) else 0
        if at > len(body) or size > len(body) - at:
            raise _cut_off("PLAIN", index)
        jobs.append((*_PLAIN.unpack_from(body, row)[:2], body[at : at + size]))
        at += size
    if at != len(body):
        raise _cut_off("PLAIN", count)
    return jobs


def decode_batch(body: bytes) -> list[tuple[int, int, int, bytes]]:
    jobs: list[tuple[int, int, int, bytes]] = []
    at = 0
    while at < len(body):
        if len(body) - at < _JOB.size:
            raise _cut_off("BATCH", len(jobs))
        number, route, flags, size = _JOB.unpack_from(body, at)
        at += _JOB.size
        if size > len(body) - at:
            raise _cut_off("BATCH", len(jobs))
        jobs.append((number, route, flags, body[at : at + size]))
        at += size
    return jobs


def decode_results(body: bytes) -> list[Outcome]:
    outcomes: list[Outcome] = []
    at = 0
    while at < len(body):
        if len(body) - at < _OUTCOME.size:
            raise _cut_off("RESULTS", len(outcomes))
        number, status, counts, size, elapsed_us = _OUTCOME.unpack_from(body, at)
        if status > INTERNAL:
            raise ProtocolError(
                f"RESULTS has the unknown status {status} for job number {number}; "
                "check that both sides run the same version of gokiq"
            )
        at += _OUTCOME.size
        if size > len(body) - at:
            raise _cut_off("RESULTS", len(outcomes))
        detail = _read_detail(number, body[at : at + size]) if size else ()
        outcomes.append(Outcome(number, status, counts, elapsed_us, *detail))
        at += size
    return outcomes


def make_jobs(
    first_number: int, route: int, payloads: list[bytes], claimed_at: float, max_bytes: int
) -> tuple[list[Job], list[Job]]:
    jobs: list[Job] = []
    giants: list[Job] = []
    for number, payload in enumerate(payloads, first_number):
        job = Job(number, route, payload, claimed_at)
        (giants if len(payload) > max_bytes else jobs).append(job)
    return jobs, giants


def open_jobs(jobs: list[Job], out: dict[int, Job]) -> None:
    for job in jobs:
        out[job.number] = job


def end_jobs(
    body: bytes, out: dict[int, Job]
) -> tuple[dict[int, list[Job]], list[tuple[Job, Outcome]], int | None]:
    well: dict[int, list[Job]] = {}
    special: list[tuple[Job, Outcome]] = []
    at = 0
    for outcome in decode_results(body):
        size = _OUTCOME.unpack_from(body, at)[3]
        at += _OUTCOME.size + size
        job = out.pop(outcome.number, None)
        if job is None:
            return well, special, outcome.number
        object.__setattr__(job, "elapsed_us", outcome.elapsed_us)
        if outcome.status == OK and outcome.counts == 1 and size == 0:
            well.setdefault(job.route, []).append(job)
        else:
            special.append((job, outcome))
    return well, special, None


def end_done(body: bytes, out: dict[int, Job]) -> tuple[dict[int, list[Job]], int | None]:
    well: dict[int, list[Job]] = {}
    if len(body) % _DONE.size:
        raise _cut_off("DONE", len(body) // _DONE.size)
    for number, elapsed_us in _DONE.iter_unpack(body):
        job = out.pop(number, None)
        if job is None:
            return well, number
        object.__setattr__(job, "elapsed_us", elapsed_us)
        well.setdefault(job.route, []).append(job)
    return well, None


def _read_detail(number: int, detail: bytes) -> tuple[float, bytes, str, str]:
    try:
        score, size = _SCORE.unpack_from(detail)
        payload, at = _take(detail, _SCORE.size, size)
        name, at = _take(detail, at + _TEXT.size, *_TEXT.unpack_from(detail, at))
        message, at = _take(detail, at + _TEXT.size, *_TEXT.unpack_from(detail, at))
    except struct.error:
        at = -1
    if at != len(detail):
        raise ProtocolError(
            f"RESULTS has a detail of {len(detail)} bytes for job number {number} "
            "that its texts do not fill exactly; the worker is faulty"
        )
    return score, payload, name.decode("utf-8", "replace"), message.decode("utf-8", "replace")


def _take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    return data[at : at + size], at + size


def _cut_off(frame: str, whole: int) -> ProtocolError:
    return ProtocolError(f"{frame} breaks off after {whole} entries; the sender is faulty")


def encode_results(outcomes: Iterable[Outcome]) -> bytes:
    parts = []
    for outcome in outcomes:
        detail = _detail(outcome)
        parts.append(
            _OUTCOME.pack(
                outcome.number, outcome.status, outcome.counts, len(detail), outcome.elapsed_us
            )
        )
        parts.append(detail)
    return b"".join(parts)


def _detail(outcome: Outcome) -> bytes:
    name, message = outcome.error_class.encode(), outcome.error_message.encode()
    if max(len(name), len(message)) > _U16 or len(outcome.payload) > MAX_BODY_BYTES:
        raise ProtocolError(
            f"the outcome of job number {outcome.number} is too long for a frame; "
            "cut its texts at 1000 bytes"
        )
    if not (outcome.payload or name or message or outcome.score != 0.0):
        return b""
    return b"".join(
        (
            _SCORE.pack(outcome.score, len(outcome.payload)),
            outcome.payload,
            _TEXT.pack(len(name)),
            name,
            _TEXT.pack(len(message)),
            message,
        )
    )


def encode_interrupts(numbers: Iterable[int], hard: bool) -> bytes:
    parts = []
    for number in numbers:
        _check_bounds((number, _U64))
        parts.append(_INTERRUPT.pack(number, bool(hard)))
    return encode_frame(INTERRUPT, b"".join(parts))


def pack_command(args: Sequence[bytes | str | int | float | Job]) -> bytes:
    if isinstance(args, (str, bytes)):
        raise TypeError(f"a command is a sequence of arguments, not one {type(args).__name__}")
    if not args:
        raise ValueError("a command without arguments: Redis would not answer it")
    parts = [b"*%d\r\n" % len(args)]
    for index, arg in enumerate(args):
        data = _bulk(arg, args, index)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _bulk(arg: object, args: Sequence[object], index: int) -> bytes:
    if isinstance(arg, bytes):
        return arg
    if isinstance(arg, Job):
        return b"%d" % arg.number
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, int) and not isinstance(arg, bool):
        return b"%d" % arg
    if isinstance(arg, float):
        return float.__repr__(arg).encode()
    raise TypeError(
        f"argument {index} of {args[0]!r:.40} is a {type(arg).__name__}; "
        "give bytes, str, int or float"
    )


def pack_commands(commands: Iterable[Sequence[bytes | str | int | float | Job]]) -> bytes:
    return b"".join(pack_command(args) for args in commands)


def backoff_s(attempt: int, jitter: float, base: float = 0.1, cap: float = 5.0) -> float:
    # 2**1000 is the largest round power below the end of the double's range; any cap is far lower.
    return min(cap, base * 2.0 ** min(attempt, 1000)) * (0.5 + jitter / 2)
