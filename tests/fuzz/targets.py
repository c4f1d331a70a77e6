"""What must hold of any bytes whatever: each target takes one input and raises when it does not.

The compiled modules are compared with their plain twins, with `json` and with hiredis. A target
decides by its input alone, so that a file of the corpus is the input as it came over the wire.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import hiredis

from devtools.null_sidecar import hello as hello_of_an_app
from gokiq import _core, _core_py, _payload, _payload_py
from gokiq.app.info import app_info, parse_hello
from gokiq.app.job import describe
from gokiq.errors import GokiqError, ProtocolError
from gokiq.sidekiq.promotion import decode_promoted, encode_promoted, needs_client, promoted
from gokiq.workers.vitals import Monitor
from tests.fuzz.shape import shape

Target = Callable[[bytes], None]

#: An aggregate of RESP that announces a million elements or more.
MANY_ELEMENTS = re.compile(rb"[*%~>|][0-9]{7,}")
#: A HELLO in which everything is right.
HELLO = hello_of_an_app(redis=Path("/redis.sock"))

FROM_WORKER = frozenset({1, 3, 5, 8, 10, 11, 12, 15, 18})
FROM_ORCHESTRATOR = frozenset({2, 4, 6, 7, 8, 9, 12, 13, 14, 16, 17})
#: What the orchestrator looks for in payloads, and names that JSON must escape.
NAMES = ("queue", "jid", "at", "class", "wrapped", "retry_count", "é", 'a"b', "")


def same(call: Callable[[Any], Any], one: Any, other: Any) -> Any:
    """What `call` makes of both implementations: an equal value, or errors of one type and text."""
    first, second = attempt(lambda: call(one)), attempt(lambda: call(other))
    assert first == second, f"{first!r:.500} is not {second!r:.500}"
    return first


def attempt(call: Callable[[], Any]) -> Any:
    """Its value, or ("raised", type, text) of an error that is promised."""
    try:
        return call()
    except (GokiqError, OverflowError, ValueError) as error:
        return ("raised", type(error).__name__, str(error))


def is_error(value: Any) -> bool:
    return isinstance(value, tuple) and value[:1] == ("raised",)


# Payloads


def payload(data: bytes) -> None:
    """A job's JSON: the same spans in both scanners, the values that `json` finds, bytes kept."""
    found = same(lambda module: module.scan(data, NAMES), _payload, _payload_py)
    known = json_object(data)
    if known is not None:
        assert not is_error(found), f"refused: {found}"
        for name, raw in zip(NAMES, found, strict=True):
            assert (raw is None) == (name not in known), name
            if raw is not None:
                assert repr(loaded(raw)) == repr(known[name]), name
    edits = {"jid": b'"new"', "é": b"[1]", 'a"b': b"{}", "queue": b'"q"'}
    spliced = same(lambda module: module.splice(data, edits), _payload, _payload_py)
    assert is_error(spliced) == is_error(found)
    if not is_error(found):
        is_kept(data, spliced, found, edits)
    for take in (describe, needs_client):
        attempt(lambda take=take: take(data))  # type: ignore[misc]
    push = attempt(lambda: promoted(data, now=1.5, uses_ms=len(data) % 2 == 0))
    assert is_error(push) == is_error(found)


def is_kept(
    before: bytes, after: bytes, found: tuple[bytes | None, ...], edits: dict[str, bytes]
) -> None:
    """What was edited has its new value, nothing else has changed, and an edit can be undone."""
    again = _payload.scan(after, NAMES)
    for name, old, new in zip(NAMES, found, again, strict=True):
        assert new == edits.get(name, old), name
    if all(found[NAMES.index(name)] is not None for name in edits):
        undone = {name: found[NAMES.index(name)] or b"" for name in edits}
        assert _payload.splice(after, undone) == before


def json_object(data: bytes) -> dict[str, Any] | None:
    """What `json` reads; None when it is no object, or nested too deeply to tell."""
    try:
        value = loaded(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def loaded(data: bytes) -> Any:
    """As text that keeps invalid bytes; numbers stay as they are spelled."""
    text = data.decode("utf-8", "surrogateescape")
    return json.loads(text, parse_int=str, parse_float=str)


def strings(data: bytes) -> None:
    """Values of fields: the same text and number in both, those that `json` reads."""
    text = same(lambda module: module.text(data), _payload, _payload_py)
    number = same(lambda module: repr(module.number(data)), _payload, _payload_py)
    quoted = same(lambda module: module.quote_bytes(data), _payload, _payload_py)
    assert json.loads(quoted) == data.decode("utf-8", "replace")
    assert _payload.text(quoted) == data.decode("utf-8", "replace")
    try:
        # NaN and Infinity are Python's own.
        known = json.loads(data.decode(), parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return
    is_text = data[:1] == data[-1:] == b'"'
    if isinstance(known, str) and is_text and known.isprintable():
        assert text == known.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(known, int | float) and not isinstance(known, bool):
        spelled = data.decode()
        is_bare = spelled == spelled.strip()
        assert number in ((repr(known), repr(float(spelled))) if is_bare else ("None",))


# Frames


def frames(data: bytes) -> None:
    """A stream from either side, whole and cut anywhere: the same frames, the same verdict."""
    rng = random.Random(zlib.crc32(data))
    for allowed in (FROM_WORKER, FROM_ORCHESTRATOR):
        whole = same(lambda module: fed(module, allowed, [data]), _core, _core_py)  # noqa: B023
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        cut = same(lambda module: fed(module, allowed, pieces), _core, _core_py)  # noqa: B023
        assert cut[1:] == whole[1:]
        # Frames before a violation in the same piece are lost with the connection.
        assert cut[0][: len(whole[0])] == whole[0]
        for kind, body in cut[0]:
            read_body(kind, body)


def fed(module: ModuleType, allowed: frozenset[int], pieces: list[bytes]) -> tuple[Any, ...]:
    """(frames, bytes that wait, the error and what comes after it)"""
    reader = module.FrameReader(allowed)
    whole: list[tuple[int, bytes]] = []
    for piece in pieces:
        try:
            whole += reader.feed(piece)
        except ProtocolError as error:
            return whole, 0, [str(error), attempt(lambda: reader.feed(b"x"))]
    return whole, reader.buffered, None


def read_body(kind: int, body: bytes) -> None:
    readers = {1: hello, 4: batch, 5: results, 15: promotions, 17: plain, 18: done}
    if kind in readers:
        readers[kind](body)


def results(data: bytes) -> None:
    """RESULTS: the same outcomes in both, and what both write is read back as it was."""
    found = same(lambda module: fields(module.decode_results(data)), _core, _core_py)
    ended = same(lambda module: ends(module, data), _core, _core_py)
    assert is_error(ended) == is_error(found)
    if is_error(found):
        return
    written = same(
        lambda module: module.encode_results(module.decode_results(data)), _core, _core_py
    )
    if not is_error(written):
        assert fields(_core.decode_results(written)) == fields(_core_py.decode_results(written))
        assert len(_core.decode_results(written)) == len(found)


def ends(module: ModuleType, data: bytes) -> tuple[Any, ...]:
    """Which jobs end when those are out whose numbers are odd."""
    out = {
        one.number: module.Job(one.number, one.status, b"", 0.0)
        for one in module.decode_results(data)
        if one.number % 2
    }
    well, special, stranger = module.end_jobs(data, out)
    listed = [(route, [(job.number, job.elapsed_us) for job in well[route]]) for route in well]
    return listed, fields([outcome for _, outcome in special]), stranger, sorted(out)


def fields(outcomes: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (
            one.number,
            one.status,
            one.counts,
            one.elapsed_us,
            struct.pack(">d", one.score),
            one.payload,
            one.error_class,
            one.error_message,
        )
        for one in outcomes
    ]


def batch(data: bytes) -> None:
    """BATCH: the same jobs in both, and the same frames when they are sent on."""
    found = same(lambda module: module.decode_batch(data), _core, _core_py)
    if is_error(found):
        return

    def sent(module: ModuleType) -> list[bytes]:
        jobs = [module.Job(number, route, text, 0.0) for number, route, _, text in found]
        return module.encode_batch(jobs, 64)  # type: ignore[no-any-return]

    assert jobs_of(same(sent, _core, _core_py)) == [job[:2] + job[3:] for job in found]
    numbers = [job[0] for job in found]
    same(lambda module: module.encode_interrupts(numbers, hard=True), _core, _core_py)


def jobs_of(frames: list[bytes]) -> list[tuple[Any, ...]]:
    """Number, route and payload of the jobs in these BATCH and PLAIN frames."""
    jobs: list[tuple[Any, ...]] = []
    for frame in frames:
        if frame[4] == _core.PLAIN:
            jobs += _core.decode_plain(frame[8:])
        else:
            jobs += [job[:2] + job[3:] for job in _core.decode_batch(frame[8:])]
    return jobs


def plain(data: bytes) -> None:
    """PLAIN: the same jobs in both, which are sent on as they came; a payload, as it is, is plain
    for both or for neither.
    """

    def sent(module: ModuleType, jobs: list[tuple[int, int, bytes]]) -> list[bytes]:
        return module.encode_batch([module.Job(*job, 0.0) for job in jobs], 64)  # type: ignore[no-any-return]

    same(lambda module: sent(module, [(1, 2, data)]), _core, _core_py)
    found = same(lambda module: module.decode_plain(data), _core, _core_py)
    if not is_error(found):
        assert jobs_of(same(lambda module: sent(module, found), _core, _core_py)) == found


def done(data: bytes) -> None:
    """DONE: the same jobs have ended in both, when those are out whose numbers are odd."""

    def ended(module: ModuleType) -> tuple[Any, ...]:
        numbers = [n for (n,) in struct.iter_unpack(">Q4x", data[: len(data) // 12 * 12])]
        out = {n: module.Job(n, n % 7, b"", 0.0) for n in numbers if n % 2}
        well, stranger = module.end_done(data, out)
        listed = [(route, [(job.number, job.elapsed_us) for job in well[route]]) for route in well]
        return listed, stranger, sorted(out)

    same(ended, _core, _core_py)


def promotions(data: bytes) -> None:
    """PROMOTED: read and written back byte for byte, or a ProtocolError."""
    found = attempt(lambda: decode_promoted(data))
    if is_error(found):
        assert found[1] == "ProtocolError", found
    else:
        # A NaN of another kind is the only thing that may differ.
        assert len(encode_promoted(*found)) == len(data)
        assert repr(decode_promoted(encode_promoted(*found))) == repr(found)


def hello(data: bytes) -> None:
    """HELLO: an AppInfo or a ProtocolError, whatever it says as a whole or in any one place."""
    read_hello(data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    for at in HELLO_PLACES:
        read_hello(json.dumps(replaced(HELLO, at, value)).encode())


def read_hello(body: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        about = parse_hello(body)
        assert isinstance(about.get("pid") or 0, int)
        assert isinstance(about.get("ppid") or 0, int)
        app_info(about)


def monitor(data: bytes) -> None:
    """A datagram of the monitor socket: taken or passed over, and the next one is read."""
    monitor = Monitor("/nowhere")
    monitor._handle(data)
    monitor._handle(b'{"event":"beat","pid":1,"rss_kb":2}')
    assert monitor.vitals[1].rss_kb == 2


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside this one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, ...]] = []
    for key, part in inner:
        found.append((*at, key))
        if isinstance(part, dict | list):
            found += places(part, (*at, key))
    return found


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with the value at this path set to `new`."""
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], new)
    return copy


# Redis


def commands(data: bytes) -> None:
    """Arguments of any bytes: hiredis reads back what was packed, the same from both."""
    arguments = as_arguments(data)
    packed = same(lambda module: module.pack_command(arguments), _core, _core_py)
    if is_error(packed):
        return
    assert parsed(packed) == [
        [one if isinstance(one, bytes) else str(one).encode() for one in arguments]
    ]
    two = [arguments, arguments]
    assert same(lambda module: module.pack_commands(two), _core, _core_py) == packed * 2


def as_arguments(data: bytes) -> list[Any]:
    """Cut at each 0xFF; the first byte of a part says what it becomes."""
    made: list[Any] = []
    for part in data.split(b"\xff"):
        kind, rest = part[:1], part[1:]
        if kind == b"i":
            made.append(int.from_bytes(rest[:12], "big", signed=True))
        elif kind == b"f" and len(rest) >= 8:
            made.append(struct.unpack(">d", rest[:8])[0])
        elif kind == b"s":
            made.append(rest.decode("utf-8", "surrogateescape"))
        else:
            made.append(part)
    return made


def replies(data: bytes) -> None:
    """What Redis might say: hiredis takes it whole and cut to the same end, and raises only what
    the link translates. It makes room for as many elements as a reply announces: not for too many.
    """
    if MANY_ELEMENTS.search(data):
        return
    middle = zlib.crc32(data) % (len(data) + 1)
    whole = replied([data])
    assert repr(whole) == repr(replied([data[:middle], data[middle:]]))
    assert "?" not in shape(whole)


def parsed(wire: bytes) -> list[Any]:
    reader = hiredis.Reader()
    reader.feed(wire)
    values = []
    while (value := reader.gets()) is not False:
        values.append(value)
    return values


def replied(pieces: list[bytes]) -> list[Any]:
    nothing = object()
    reader = hiredis.Reader(notEnoughData=nothing)
    values: list[Any] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (value := reader.gets()) is not nothing:
                values.append(value)
        except (hiredis.ProtocolError, TypeError):  # a map by lists, which Redis does not send
            return [*values, "broken"]
    return values


HELLO_PLACES = places(HELLO)
TARGETS: dict[str, Target] = {
    "payload": payload,
    "strings": strings,
    "frames": frames,
    "results": results,
    "batch": batch,
    "plain": plain,
    "done": done,
    "promotions": promotions,
    "hello": hello,
    "monitor": monitor,
    "commands": commands,
    "replies": replies,
}
