"""Frames, commands and backoff, in both implementations."""

from __future__ import annotations

import itertools
import json
import math
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gokiq import _core, _core_py
from gokiq.errors import ProtocolError

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "frames.json").read_text(encoding="utf-8")
)
FROM_WORKER = frozenset({1, 3, 5, 8, 10, 11, 12, 15, 18})
FROM_ORCHESTRATOR = frozenset({2, 4, 6, 7, 8, 9, 12, 13, 14, 16, 17})
ALL_TYPES = FROM_WORKER | FROM_ORCHESTRATOR
VIOLATIONS = {
    "too_long": "the limit is 67108864",
    "unknown_type": "unknown frame type",
    "wrong_direction": "not allowed in this direction",
}
U64 = st.integers(0, 2**64 - 1)
# UTF-8 cannot write surrogates, and a length field of the frame takes 16 bits.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def frame(kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">IBBH", len(body), kind, 0, 0) + body


def outcome_fields(outcome: Any) -> tuple[Any, ...]:
    return (
        outcome.number,
        outcome.status,
        outcome.counts,
        outcome.elapsed_us,
        outcome.score,
        outcome.payload,
        outcome.error_class,
        outcome.error_message,
    )


def pieces(wire: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(wire)]
    return [wire[a:b] for a, b in itertools.pairwise(edges)]


def with_id(entry: dict[str, Any]) -> Any:
    return pytest.param(entry, id=entry["name"])


def vectors(*, error: str | None = None) -> list[Any]:
    return [with_id(entry) for entry in VECTORS if entry.get("error") == error]


def reader_for(core: ModuleType, entry: dict[str, Any]) -> Any:
    return core.FrameReader(FROM_WORKER if entry["direction"] == "R>P" else FROM_ORCHESTRATOR)


@pytest.mark.parametrize("entry", vectors())
def test_vector_is_read(core: ModuleType, entry: dict[str, Any]) -> None:
    reader = reader_for(core, entry)
    wire = bytes.fromhex(entry["hex"])

    frames = reader.feed(wire)

    assert reader.buffered == 0
    if entry.get("skipped"):
        assert frames == []
    else:
        assert frames == [(getattr(core, entry["type"]), wire[8:])]


@pytest.mark.parametrize("entry", [v for v in vectors() if v.values[0]["type"] == "BATCH"])
def test_vector_of_jobs(core: ModuleType, entry: dict[str, Any]) -> None:
    wire = bytes.fromhex(entry["hex"])
    expected = [
        (job["number"], job["route"], job["flags"], bytes.fromhex(job["payload_hex"]))
        for job in entry["decoded"]["jobs"]
    ]

    assert core.decode_batch(wire[8:]) == expected
    if expected and not any(flags for _, _, flags, _ in expected):
        jobs = [core.Job(number, route, payload, 0.0) for number, route, _, payload in expected]
        assert core.encode_batch(jobs) == [wire]


@pytest.mark.parametrize("entry", [v for v in vectors() if v.values[0]["type"] == "PLAIN"])
def test_vector_of_plain_jobs(core: ModuleType, entry: dict[str, Any]) -> None:
    wire = bytes.fromhex(entry["hex"])
    expected = [
        (job["number"], job["route"], bytes.fromhex(job["payload_hex"]))
        for job in entry["decoded"]["jobs"]
    ]

    assert core.decode_plain(wire[8:]) == expected
    if expected:
        jobs = [core.Job(number, route, payload, 0.0) for number, route, payload in expected]
        assert core.encode_batch(jobs) == [wire]


@pytest.mark.parametrize("entry", [v for v in vectors() if v.values[0]["type"] == "DONE"])
def test_vector_of_jobs_that_are_done(core: ModuleType, entry: dict[str, Any]) -> None:
    expected = [(one["number"], one["elapsed_us"]) for one in entry["decoded"]["outcomes"]]
    jobs = [core.Job(number, route % 2, b"{}", 0.0) for route, (number, _) in enumerate(expected)]
    out = {job.number: job for job in jobs}

    well, stranger = core.end_done(bytes.fromhex(entry["hex"])[8:], out)

    assert (out, stranger) == ({}, None)
    assert well == {job.route: [job] for job in jobs}
    assert [(job.number, job.elapsed_us) for job in jobs] == expected


def test_done_stops_at_a_job_that_is_not_out(core: ModuleType) -> None:
    out = {n: core.Job(n, 0, b"{}", 0.0) for n in (1, 3)}
    first, third = out.values()

    well, stranger = core.end_done(struct.pack(">QIQIQI", 1, 0, 2, 0, 3, 0), out)

    assert (well, stranger, out) == ({0: [first]}, 2, {3: third})


PLAIN_PAYLOAD = (
    b'{"retry":true,"queue":"default","class":"NoopJob","args":[1,"a]\\"[",{"x":[2]}],'
    b'"jid":"b4a577edbccf1d805744efa9","created_at":1700000000.5,"enqueued_at":1700000000001}'
)


def is_plain(core: ModuleType, payload: bytes) -> bool:
    ((kind, _),) = core.FrameReader(ALL_TYPES).feed(
        core.encode_batch([core.Job(1, 0, payload, 0.0)])[0]
    )
    return bool(kind == core.PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"true", b"5"),
        (b"true", b"false"),
        (b"true", b"null"),
        (b'"queue":"default",', b""),
        (b"NoopJob", b"A" * 255),
        (b"b4a577edbccf1d805744efa9", b""),
        (b'[1,"a]\\"[",{"x":[2]}]', b"[" * 50 + b"]" * 50),
        (b'[1,"a]\\"[",{"x":[2]}]', b"[not, quite: JSON]"),
        (b'[1,"a]\\"[",{"x":[2]}]', b'["\\\\","]","\\\\\\"]","\\n\\"","\\"\\"",""]'),
    ],
)
def test_payload_is_plain(core: ModuleType, old: bytes, new: bytes) -> None:
    assert is_plain(core, PLAIN_PAYLOAD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"retry":true', b'"tags":["a"]'),
        (b'"retry":true', b'"log_level":"debug"'),
        (b'"retry":true', b'"retry":[1]'),
        (b'"retry":true', b'"retry":05'),
        (b'"retry":true', b'"retry":-5'),
        (b'"retry":true', b'"retry":1.'),
        (b'"retry":true', b'"retry":"5"'),
        (b'"retry":true', b'"retry":true,"retry":false'),
        (b'"retry":true', b'"retry": true'),
        (b'{"retry"', b' {"retry"'),
        (b'"class":"NoopJob",', b""),
        (b"NoopJob", b""),
        (b"NoopJob", b"A" * 256),
        (b"NoopJob", b"No\\u006fp"),
        (b"NoopJob", b"No\x7fop"),
        (b"NoopJob", "Nöp".encode()),
        (b'"jid":"b4a577edbccf1d805744efa9",', b""),
        (b"b4a577edbccf1d805744efa9", b"x" * 256),
        (b'"b4a577edbccf1d805744efa9"', b"5"),
        (b'[1,"a]\\"[",{"x":[2]}]', b'{"a":1}'),
        (b'[1,"a]\\"[",{"x":[2]}]', b"[" * 51 + b"]" * 51),
        (b'[1,"a]\\"[",{"x":[2]}]', b"[1"),
        (b'[1,"a]\\"[",{"x":[2]}]', b"[1/*]*/]"),
        (b'[1,"a]\\"[",{"x":[2]}]', b'[1,"]'),
        (b'[1,"a]\\"[",{"x":[2]}]', b'["\\"]'),
        (b"001}", b'001,"args":["\\'),
        (b'"default",', b'"default"{'),
        (b"001}", b"001},"),
        (b"001}", b"001"),
        (b"[1,", b'["' + b"x" * 1_000_000 + b'",'),
    ],
)
def test_payload_is_not_plain(core: ModuleType, old: bytes, new: bytes) -> None:
    payload = PLAIN_PAYLOAD.replace(old, new, 1)

    assert payload != PLAIN_PAYLOAD
    assert not is_plain(core, payload)


def test_plain_jobs_travel_beside_others_in_order(core: ModuleType) -> None:
    payloads = [PLAIN_PAYLOAD, PLAIN_PAYLOAD, b"{}", PLAIN_PAYLOAD]
    jobs = [core.Job(n, 0, payload, 0.0) for n, payload in enumerate(payloads)]

    frames = core.FrameReader(ALL_TYPES).feed(b"".join(core.encode_batch(jobs)))

    assert [kind for kind, _ in frames] == [core.PLAIN, core.BATCH, core.PLAIN]
    assert [job[0] for job in core.decode_plain(frames[0][1])] == [0, 1]
    assert [job[0] for job in core.decode_plain(frames[2][1])] == [3]


def test_plain_jobs_are_cut(core: ModuleType) -> None:
    jobs = [core.Job(n, 0, PLAIN_PAYLOAD, 0.0) for n in range(5)]
    room = 4 + 2 * (32 + len(PLAIN_PAYLOAD))

    frames = core.encode_batch(jobs, max_bytes=room)

    assert [len(core.decode_plain(frame[8:])) for frame in frames] == [2, 2, 1]
    assert len(frames[0]) == 8 + room
    assert len(core.encode_batch(jobs, max_bytes=room - 1)) == 5


@pytest.mark.parametrize("entry", [v for v in vectors() if v.values[0]["type"] == "RESULTS"])
def test_vector_of_outcomes(core: ModuleType, entry: dict[str, Any]) -> None:
    wire = bytes.fromhex(entry["hex"])
    expected = [
        core.Outcome(payload=bytes.fromhex(outcome.pop("payload_hex")), **outcome)
        for outcome in (dict(outcome) for outcome in entry["decoded"]["outcomes"])
    ]

    outcomes = core.decode_results(wire[8:])

    assert [*map(outcome_fields, outcomes)] == [*map(outcome_fields, expected)]
    if "reserved" not in entry["name"]:
        assert core.encode_frame(core.RESULTS, core.encode_results(expected)) == wire


@pytest.mark.parametrize("entry", [v for v in vectors() if v.values[0]["type"] == "INTERRUPT"])
def test_vector_of_interrupts(core: ModuleType, entry: dict[str, Any]) -> None:
    frames = [
        core.encode_interrupts([item["number"]], hard=item["mode"] == 1)
        for item in entry["decoded"]["entries"]
    ]

    assert frame(core.INTERRUPT, b"".join(f[8:] for f in frames)) == bytes.fromhex(entry["hex"])


@pytest.mark.parametrize("entry", vectors(error="incomplete"))
def test_vector_is_incomplete(core: ModuleType, entry: dict[str, Any]) -> None:
    reader = reader_for(core, entry)
    wire = bytes.fromhex(entry["hex"])

    assert reader.feed(wire) == []
    assert reader.buffered == len(wire)


@pytest.mark.parametrize("entry", [case for error in VIOLATIONS for case in vectors(error=error)])
def test_vector_is_a_violation(core: ModuleType, entry: dict[str, Any]) -> None:
    reader = reader_for(core, entry)

    with pytest.raises(ProtocolError, match=VIOLATIONS[entry["error"]]):
        reader.feed(bytes.fromhex(entry["hex"]))


@pytest.mark.parametrize("entry", vectors(error="bad_body"))
def test_vector_with_a_bad_body(core: ModuleType, entry: dict[str, Any]) -> None:
    ((kind, body),) = reader_for(core, entry).feed(bytes.fromhex(entry["hex"]))

    # The other bodies are JSON or one number: their readers are tested where they live.
    if kind == core.BATCH:
        with pytest.raises(ProtocolError, match="BATCH breaks off"):
            core.decode_batch(body)
    if kind == core.PLAIN:
        with pytest.raises(ProtocolError, match="PLAIN breaks off"):
            core.decode_plain(body)
    if kind == core.DONE:
        with pytest.raises(ProtocolError, match="DONE breaks off"):
            core.end_done(body, {7: core.Job(7, 0, b"{}", 0.0)})
    if kind == core.RESULTS:
        with pytest.raises(ProtocolError, match="RESULTS"):
            core.decode_results(body)


def test_header_alone_is_refused_before_the_body_arrives(core: ModuleType) -> None:
    reader = core.FrameReader(FROM_WORKER)

    with pytest.raises(ProtocolError):
        reader.feed(struct.pack(">IBBH", 1000, core.BATCH, 0, 0))


def test_a_refused_stream_stays_refused(core: ModuleType) -> None:
    reader = core.FrameReader(FROM_WORKER)

    for piece in (frame(99), frame(core.PONG), b""):
        with pytest.raises(ProtocolError, match="unknown frame type 99"):
            reader.feed(piece)


def test_optional_frames_are_skipped_between_others(core: ModuleType) -> None:
    reader = core.FrameReader(FROM_WORKER)
    wire = frame(200, b"x" * 100) + frame(core.PONG, b"1") + frame(128) + frame(core.GOODBYE)

    frames = [got for byte in wire for got in reader.feed(bytes([byte]))]

    assert frames == [(core.PONG, b"1"), (core.GOODBYE, b"")]


def test_what_is_buffered_counts_the_header(core: ModuleType) -> None:
    reader = core.FrameReader(FROM_WORKER)
    seen = []

    for piece in pieces(frame(core.PONG, b"12345678"), [3, 8, 8, 12]):
        reader.feed(piece)
        seen.append(reader.buffered)

    assert seen == [3, 8, 8, 12, 0]


def test_optional_frame_that_breaks_off_is_seen_at_the_end(core: ModuleType) -> None:
    reader = core.FrameReader(FROM_WORKER)

    reader.feed(frame(255, b"12345678")[:-1])

    assert reader.buffered == 15


def test_a_body_keeps_its_bytes_while_later_ones_arrive(core: ModuleType) -> None:
    reader = core.FrameReader(FROM_WORKER)
    (first,) = reader.feed(frame(core.RESULTS, b"a" * 50)[:20]) or reader.feed(b"a" * 38)

    reader.feed(frame(core.RESULTS, b"b" * 50)[:40])

    assert first == (core.RESULTS, b"a" * 50)


@given(
    st.lists(
        st.tuples(st.sampled_from([*sorted(ALL_TYPES), 128, 255]), st.binary(max_size=40)),
        max_size=8,
    ),
    st.data(),
)
def test_any_split_of_the_wire_gives_the_same_frames(
    core: ModuleType, frames: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    wire = b"".join(frame(kind, body) for kind, body in frames)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=12))
    reader = core.FrameReader(ALL_TYPES)

    got = [each for piece in pieces(wire, cuts) for each in reader.feed(piece)]

    assert got == [(kind, body) for kind, body in frames if kind <= 127]
    assert reader.buffered == 0


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_both_readers_agree_on_random_bytes(chunks: list[bytes]) -> None:
    readers = [_core.FrameReader(ALL_TYPES), _core_py.FrameReader(ALL_TYPES)]

    for chunk in chunks:
        got = []
        for reader in readers:
            try:
                got.append((reader.feed(chunk), reader.buffered))
            except ProtocolError as error:
                got.append((str(error), reader.buffered))
        assert got[0] == got[1]


def test_a_large_frame_in_small_pieces_takes_linear_time(core: ModuleType) -> None:
    body = b"x" * (20 << 20)
    wire = frame(core.RESULTS, body)
    reader = core.FrameReader(FROM_WORKER)
    began = time.process_time()

    frames = []
    for at in range(0, len(wire), 16_384):
        frames += reader.feed(wire[at : at + 16_384])

    assert frames == [(core.RESULTS, body)]
    # Copying what is there on each piece would move 13 GB.
    assert time.process_time() - began < 1.0


def test_allowed_must_be_a_set_of_small_numbers(core: ModuleType) -> None:
    reader = core.FrameReader(frozenset({-1, 0, 5, 127, 128, 1000}))

    assert reader.feed(frame(0) + frame(127) + frame(128) + frame(5)) == [
        (0, b""),
        (127, b""),
        (5, b""),
    ]


def test_job_shows_what_it_was_given(core: ModuleType) -> None:
    job = core.Job(number=2**64 - 1, route=0xFFFF, payload=b"{}", claimed_at=1.5)

    assert (job.number, job.route, job.payload, job.claimed_at) == (
        2**64 - 1,
        0xFFFF,
        b"{}",
        1.5,
    )


@pytest.mark.parametrize("attribute", ["number", "route", "payload", "claimed_at"])
def test_job_cannot_be_changed(core: ModuleType, attribute: str) -> None:
    with pytest.raises(AttributeError):
        setattr(core.Job(1, 2, b"{}", 3.0), attribute, 4)


def test_neither_job_nor_outcome_shows_its_payload(core: ModuleType) -> None:
    job = core.Job(7, 0, b'"secret"', 0.0)
    outcome = core.Outcome(7, core.RETRY, 3, 1, 2.0, b'"secret"', "KeyError", "secret")

    assert "number=7" in repr(job)
    assert "KeyError" in repr(outcome)
    assert "secret" not in repr(job) + repr(outcome)


@pytest.mark.parametrize(
    ("number", "route"),
    [(-1, 0), (2**64, 0), (0, -1), (0, 0x10000)],
    ids=["number-1", "number2**64", "route-1", "route2**16"],
)
def test_job_refuses_numbers_that_do_not_fit(core: ModuleType, number: int, route: int) -> None:
    with pytest.raises(OverflowError):
        core.Job(number, route, b"", 0.0)


@pytest.mark.parametrize("payload", [None, "{}", bytearray(b"{}")])
def test_job_refuses_a_payload_that_is_not_bytes(core: ModuleType, payload: object) -> None:
    with pytest.raises(TypeError):
        core.Job(1, 0, payload, 0.0)


def test_batch_of_nothing_is_no_frame(core: ModuleType) -> None:
    assert core.encode_batch([]) == []


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([10, 10, 10], [3]),
        ([84, 84], [1, 1]),
        ([34, 34], [2]),
        ([10, 500, 10], [1, 1, 1]),
        ([500, 10, 10], [1, 2]),
        ([0] * 13, [6, 6, 1]),
    ],
    ids=["together", "full", "just", "giant-between", "giant-first", "empty"],
)
def test_batch_is_cut(core: ModuleType, sizes: list[int], expected: list[int]) -> None:
    jobs = [core.Job(n, 0, b"x" * size, 0.0) for n, size in enumerate(sizes)]

    frames = core.encode_batch(jobs, max_bytes=100)

    decoded = [core.decode_batch(whole[8:]) for whole in frames]
    assert [len(entries) for entries in decoded] == expected
    assert [number for entries in decoded for number, *_ in entries] == [*range(len(sizes))]


def test_default_cut_is_about_one_mebibyte(core: ModuleType) -> None:
    jobs = [core.Job(n, 0, b"x" * 100_000, 0.0) for n in range(25)]

    frames = core.encode_batch(jobs)

    assert [len(core.decode_batch(whole[8:])) for whole in frames] == [10, 10, 5]


def test_job_that_just_fits_travels_alone(core: ModuleType) -> None:
    payload = b"x" * (core.MAX_BODY_BYTES - 16)
    jobs = [core.Job(1, 0, b"{}", 0.0), core.Job(2, 0, payload, 0.0), core.Job(3, 0, b"{}", 0.0)]

    frames = core.encode_batch(jobs, max_bytes=1 << 40)

    assert [len(whole) for whole in frames] == [8 + 18, 8 + core.MAX_BODY_BYTES, 8 + 18]
    ((kind, body),) = core.FrameReader(FROM_ORCHESTRATOR).feed(frames[1])
    assert (kind, len(body)) == (core.BATCH, core.MAX_BODY_BYTES)


def test_job_that_does_not_fit_is_refused_by_number(core: ModuleType) -> None:
    job = core.Job(77, 0, b"x" * (core.MAX_BODY_BYTES - 15), 0.0)

    with pytest.raises(ProtocolError, match="job number 77 has 67108849 bytes"):
        core.encode_batch([job])


def test_batch_takes_jobs_only(core: ModuleType) -> None:
    with pytest.raises((TypeError, AttributeError)):
        core.encode_batch([None])


@given(
    st.lists(st.tuples(U64, st.integers(0, 0xFFFF), st.binary(max_size=80))),
    st.integers(0, 300),
)
def test_jobs_come_back_from_their_frames(
    core: ModuleType, jobs: list[tuple[int, int, bytes]], max_bytes: int
) -> None:
    frames = core.encode_batch([core.Job(*job, 0.0) for job in jobs], max_bytes)

    read = core.FrameReader(frozenset({core.BATCH})).feed(b"".join(frames))
    decoded = [entry for _, body in read for entry in core.decode_batch(body)]
    assert [(number, route, payload) for number, route, _, payload in decoded] == jobs


def test_outcome_has_defaults(core: ModuleType) -> None:
    assert outcome_fields(core.Outcome(5, core.OK)) == (5, 0, 0, 0, 0.0, b"", "", "")


@pytest.mark.parametrize(
    "fields",
    [(-1, 0), (2**64, 0), (0, 256), (0, -1), (0, 0, 256), (0, 0, 0, 2**64)],
    ids=str,
)
def test_outcome_refuses_numbers_that_do_not_fit(core: ModuleType, fields: tuple[int, ...]) -> None:
    with pytest.raises(OverflowError):
        core.Outcome(*fields)


@pytest.mark.parametrize("field", ["payload", "error_class", "error_message"])
def test_outcome_refuses_none(core: ModuleType, field: str) -> None:
    with pytest.raises(TypeError):
        core.Outcome(1, 0, **{field: None})


OUTCOMES = st.lists(
    st.tuples(
        U64,
        st.integers(0, 7),
        st.integers(0, 255),
        U64,
        st.floats(allow_nan=False),
        st.binary(max_size=60),
        TEXT,
        TEXT,
    )
)


@given(OUTCOMES)
def test_outcomes_come_back_from_their_body(
    core: ModuleType, outcomes: list[tuple[Any, ...]]
) -> None:
    body = core.encode_results(iter([core.Outcome(*fields) for fields in outcomes]))

    assert [*map(outcome_fields, core.decode_results(body))] == outcomes


@given(OUTCOMES)
def test_both_implementations_write_the_same_outcomes(outcomes: list[tuple[Any, ...]]) -> None:
    compiled = _core.encode_results(_core.Outcome(*fields) for fields in outcomes)

    assert compiled == _core_py.encode_results(_core_py.Outcome(*fields) for fields in outcomes)


@given(OUTCOMES.filter(len), st.data())
def test_results_cut_anywhere_inside_an_entry_are_refused(
    core: ModuleType, outcomes: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    whole = [core.encode_results([core.Outcome(*fields)]) for fields in outcomes]
    last = data.draw(st.integers(1, len(whole[-1]) - 1))

    with pytest.raises(ProtocolError, match=f"breaks off after {len(whole) - 1} entries"):
        core.decode_results(b"".join(whole[:-1]) + whole[-1][:last])


def decoded(module: ModuleType, name: str, body: bytes) -> Any:
    """What this decoder makes of a body, in a form that compares; a refusal is its text."""
    try:
        entries = getattr(module, name)(body)
    except ProtocolError as error:
        return str(error)
    # By repr, for NaN differs from itself.
    return repr([e if isinstance(e, tuple) else outcome_fields(e) for e in entries])


@given(st.binary(max_size=120))
@pytest.mark.parametrize("name", ["decode_results", "decode_batch"])
def test_both_implementations_agree_on_random_bodies(name: str, body: bytes) -> None:
    assert decoded(_core, name, body) == decoded(_core_py, name, body)


@given(OUTCOMES.filter(len), st.data())
def test_both_implementations_agree_on_damaged_results(
    outcomes: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    body = bytearray(_core.encode_results(_core.Outcome(*fields) for fields in outcomes))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    assert decoded(_core, "decode_results", bytes(body)) == decoded(
        _core_py, "decode_results", bytes(body)
    )


def test_jobs_are_made_in_order_and_too_large_ones_set_apart(core: ModuleType) -> None:
    jobs, giants = core.make_jobs(7, 3, [b"ab", b"abcd", b"abc"], 1.5, 3)

    seen = [(job.number, job.route, job.payload, job.claimed_at, job.elapsed_us) for job in jobs]
    assert seen == [(7, 3, b"ab", 1.5, 0), (9, 3, b"abc", 1.5, 0)]
    assert [(job.number, job.payload) for job in giants] == [(8, b"abcd")]


@pytest.mark.parametrize("bad", [None, "text", bytearray(b"x")], ids=["none", "str", "bytearray"])
def test_a_job_is_made_of_bytes_alone(core: ModuleType, bad: object) -> None:
    with pytest.raises(TypeError):
        core.make_jobs(1, 0, [b"{}", bad], 0.0, 10)


def test_a_jobs_route_must_fit_the_frame(core: ModuleType) -> None:
    with pytest.raises(OverflowError):
        core.make_jobs(1, 65_536, [b"{}"], 0.0, 10)


def jobs_out(core: ModuleType, routes: dict[int, int]) -> dict[int, Any]:
    """Jobs that are out, by number."""
    out: dict[int, Any] = {}
    core.open_jobs([core.Job(number, route, b"", 0.0) for number, route in routes.items()], out)
    return out


def test_jobs_that_end_are_no_longer_out(core: ModuleType) -> None:
    out = jobs_out(core, {1: 0, 2: 1, 3: 0, 4: 0, 5: 0})
    outcomes = [
        core.Outcome(1, core.OK, 1, elapsed_us=11),
        core.Outcome(2, core.OK, 1, elapsed_us=12),
        core.Outcome(4, core.RETRY, 3, elapsed_us=14, payload=b"again"),
        core.Outcome(3, core.OK, 1, elapsed_us=13),
    ]

    well, special, stranger = core.end_jobs(core.encode_results(outcomes), out)

    assert {route: [(job.number, job.elapsed_us) for job in well[route]] for route in well} == {
        0: [(1, 11), (3, 13)],
        1: [(2, 12)],
    }
    assert [(job.number, job.elapsed_us, o.status, o.payload) for job, o in special] == [
        (4, 14, core.RETRY, b"again")
    ]
    assert stranger is None
    assert list(out) == [5]


@pytest.mark.parametrize(
    "fields",
    [{"counts": 0}, {"counts": 3}, {"score": 1.5}, {"error_class": "E"}, {"status": 3}],
    ids=str,
)
def test_only_what_says_no_more_than_processed_ended_well(
    core: ModuleType, fields: dict[str, Any]
) -> None:
    outcome = core.Outcome(1, **{"status": core.OK, "counts": 1, **fields})

    well, special, _ = core.end_jobs(core.encode_results([outcome]), jobs_out(core, {1: 0}))

    assert well == {}
    assert outcome_fields(special[0][1]) == outcome_fields(outcome)


def test_jobs_end_up_to_the_first_that_is_not_out(core: ModuleType) -> None:
    out = jobs_out(core, {1: 0, 3: 0})
    body = core.encode_results([core.Outcome(number, core.OK, 1) for number in (1, 2, 3)])

    well, special, stranger = core.end_jobs(body, out)

    assert [job.number for job in well[0]] == [1]
    assert (special, stranger, list(out)) == ([], 2, [3])


def test_a_body_that_is_wrong_ends_no_job(core: ModuleType) -> None:
    out = jobs_out(core, {1: 0, 2: 0})
    whole = core.encode_results([core.Outcome(1, core.OK, 1)])

    for bad in (whole[:-1], struct.pack(">QBBHIQ", 2, 8, 0, 0, 0, 0)):
        with pytest.raises(ProtocolError):
            core.end_jobs(whole + bad, out)

    assert sorted(out) == [1, 2]


def ends(core: ModuleType, body: bytes) -> Any:
    """What comes of a body when 64 jobs are out, in a form that compares."""
    out = jobs_out(core, {number: number % 3 for number in range(64)})
    try:
        well, special, stranger = core.end_jobs(body, out)
    except ProtocolError as error:
        return str(error), sorted(out)
    return (
        {route: [(job.number, job.elapsed_us) for job in well[route]] for route in well},
        repr([(job.number, job.elapsed_us, outcome_fields(o)) for job, o in special]),
        stranger,
        sorted(out),
    )


SMALL = OUTCOMES.map(lambda outcomes: [(fields[0] % 64, *fields[1:]) for fields in outcomes])
PLAIN = st.lists(st.tuples(st.integers(0, 63), st.just(0), st.just(1), U64))


@given(SMALL | PLAIN, st.data())
def test_both_implementations_end_the_same_jobs(
    outcomes: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    body = bytearray(_core.encode_results(_core.Outcome(*fields) for fields in outcomes))
    for _ in range(data.draw(st.integers(0, 2)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    assert ends(_core, bytes(body)) == ends(_core_py, bytes(body))


def test_a_job_among_the_arguments_stands_for_its_number(core: ModuleType) -> None:
    numbers = [0, 7, 2**64 - 1]

    wire = core.pack_command(["HDEL", *(core.Job(number, 0, b"x", 0.0) for number in numbers)])

    assert wire == core.pack_command(["HDEL", *map(str, numbers)])


def test_invalid_utf8_in_a_text_is_replaced(core: ModuleType) -> None:
    detail = struct.pack(">dIH3sH2s", 0.0, 0, 3, b"a\xffb", 2, b"\xe2\x82")
    body = struct.pack(">QBBHIQ", 1, 2, 0, 0, len(detail), 0) + detail

    (outcome,) = core.decode_results(body)

    assert (outcome.error_class, outcome.error_message) == ("a\ufffdb", "\ufffd")


@pytest.mark.parametrize("field", ["error_class", "error_message"])
def test_text_too_long_for_its_length_is_refused(core: ModuleType, field: str) -> None:
    core.encode_results([core.Outcome(1, 0, **{field: "x" * 65_535})])

    with pytest.raises(ProtocolError, match="job number 9 "):
        core.encode_results([core.Outcome(9, 0, **{field: "x" * 65_536})])


def test_encode_results_takes_outcomes_only(core: ModuleType) -> None:
    with pytest.raises((TypeError, AttributeError)):
        core.encode_results([None])


@pytest.mark.parametrize(
    ("args", "wire"),
    [
        ((7,), "0000000007000000"),
        ((9, b"12345678"), "0000000809000000" + b"12345678".hex()),
        ((255, b""), "00000000ff000000"),
    ],
    ids=["empty", "body", "highest-type"],
)
def test_encode_frame(core: ModuleType, args: tuple[Any, ...], wire: str) -> None:
    assert core.encode_frame(*args).hex() == wire


@pytest.mark.parametrize("kind", [-1, 256])
def test_type_of_a_frame_is_one_byte(core: ModuleType, kind: int) -> None:
    with pytest.raises(OverflowError):
        core.encode_frame(kind)


def test_frame_over_the_limit_is_refused(core: ModuleType) -> None:
    body = bytes(core.MAX_BODY_BYTES + 1)

    with pytest.raises(ProtocolError, match="67108865 bytes is over the limit"):
        core.encode_frame(core.RESULTS, body)


@pytest.mark.parametrize("hard", [False, True])
def test_interrupts(core: ModuleType, hard: bool) -> None:
    wire = core.encode_interrupts(iter([1, 2**64 - 1]), hard)

    mode = b"\x01" if hard else b"\x00"
    assert wire == frame(6, b"\0" * 7 + b"\x01" + mode + b"\xff" * 8 + mode)


def test_interrupt_numbers_must_fit(core: ModuleType) -> None:
    with pytest.raises(OverflowError):
        core.encode_interrupts([-1], True)


class Name(str):
    __slots__ = ()


class Half(float):
    def __repr__(self) -> str:
        return "half"


@pytest.mark.parametrize(
    ("args", "wire"),
    [
        (["PING"], b"*1\r\n$4\r\nPING\r\n"),
        (("GET", b"a\r\n\0"), b"*2\r\n$3\r\nGET\r\n$4\r\na\r\n\0\r\n"),
        (["", b""], b"*2\r\n$0\r\n\r\n$0\r\n\r\n"),
        (["é😀"], b"*1\r\n$6\r\n\xc3\xa9\xf0\x9f\x98\x80\r\n"),
        ([0, -1, 10, 99], b"*4\r\n$1\r\n0\r\n$2\r\n-1\r\n$2\r\n10\r\n$2\r\n99\r\n"),
        ([2**63 - 1], b"*1\r\n$19\r\n9223372036854775807\r\n"),
        ([-(2**63)], b"*1\r\n$20\r\n-9223372036854775808\r\n"),
        ([2**64], b"*1\r\n$20\r\n18446744073709551616\r\n"),
        ([0.1, 1e20, 5.0], b"*3\r\n$3\r\n0.1\r\n$5\r\n1e+20\r\n$3\r\n5.0\r\n"),
        ([math.inf, -math.inf], b"*2\r\n$3\r\ninf\r\n$4\r\n-inf\r\n"),
        ([Name("n"), Half(0.5)], b"*2\r\n$1\r\nn\r\n$3\r\n0.5\r\n"),
    ],
    ids=[
        "word",
        "bytes",
        "empty",
        "utf-8",
        "integers",
        "highest",
        "lowest",
        "large",
        "floats",
        "infinite",
        "subclasses",
    ],
)
def test_pack_command(core: ModuleType, args: Any, wire: bytes) -> None:
    assert core.pack_command(args) == wire


@pytest.mark.parametrize(
    ("bad", "name"),
    [(None, "NoneType"), (True, "bool"), (bytearray(b"x"), "bytearray"), (["x"], "list")],
    ids=["none", "bool", "bytearray", "list"],
)
def test_argument_of_another_type_is_named(core: ModuleType, bad: object, name: str) -> None:
    with pytest.raises(TypeError, match=f"argument 2 of 'HSET' is a {name}; give bytes, str"):
        core.pack_command(["HSET", "key", bad])


@pytest.mark.parametrize("args", ["PING", b"PING"])
def test_a_single_text_is_no_command(core: ModuleType, args: Any) -> None:
    with pytest.raises(TypeError, match="a sequence of arguments"):
        core.pack_command(args)


@pytest.mark.parametrize("args", [[], ["\ud800"]], ids=["empty", "surrogate"])
def test_command_that_cannot_be_sent(core: ModuleType, args: Any) -> None:
    with pytest.raises(ValueError, match=r"without arguments|surrogates"):
        core.pack_command(args)


ARGUMENT = (
    st.binary(max_size=40) | TEXT | st.integers() | st.integers(-(2**63), 2**63 - 1) | st.floats()
)
COMMANDS = st.lists(st.lists(ARGUMENT, min_size=1, max_size=12), max_size=5)


def spelled(arg: Any) -> bytes:
    if isinstance(arg, bytes):
        return arg
    return (arg if isinstance(arg, str) else repr(arg)).encode()


@given(COMMANDS)
def test_pipeline_is_its_commands_in_order(core: ModuleType, commands: list[list[Any]]) -> None:
    expected = b""
    for args in commands:
        expected += b"*%d\r\n" % len(args)
        for data in map(spelled, args):
            expected += b"$%d\r\n" % len(data) + data + b"\r\n"

    assert core.pack_commands(commands) == expected
    assert b"".join(core.pack_command(tuple(args)) for args in commands) == expected


def test_thousands_of_arguments_of_all_sizes(core: ModuleType) -> None:
    args = [b"x" * (n % 700) for n in range(20_000)]

    wire = core.pack_command(args)

    assert wire == b"*20000\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in args)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((0, 0.0), 0.05),
        ((0, 0.5), 0.075),
        ((3, 0.0), 0.4),
        ((50, 0.0), 2.5),
        ((10**6, 0.0), 2.5),
        ((2, 0.0, 1.0, 60.0), 2.0),
        ((9, 0.0, 1.0, 60.0), 30.0),
    ],
    ids=["first", "jitter", "doubled", "capped", "no-overflow", "base", "cap"],
)
def test_backoff(core: ModuleType, args: tuple[Any, ...], expected: float) -> None:
    assert core.backoff_s(*args) == pytest.approx(expected)


@given(
    st.integers(0, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.001, 10),
    st.floats(0.01, 1000),
)
def test_backoff_stays_between_half_of_its_bound_and_the_bound(
    core: ModuleType, attempt: int, jitter: float, base: float, cap: float
) -> None:
    bound = min(cap, base * 2.0 ** min(attempt, 100))

    assert bound / 2 <= core.backoff_s(attempt, jitter, base, cap) <= bound


def test_both_implementations_offer_the_same_names() -> None:
    from gokiq import core

    for name in core.__all__:
        compiled, plain = getattr(_core, name), getattr(_core_py, name)
        assert compiled == plain or callable(compiled)


def test_constants_are_plain_integers(core: ModuleType) -> None:
    assert {type(core.BATCH), type(core.OK), type(core.MAX_BODY_BYTES)} == {int}
    assert (core.HELLO, core.ERROR, core.OK, core.INTERNAL) == (1, 12, 0, 7)
