"""Scanning and splicing payloads, strings and numbers, in both implementations."""

from __future__ import annotations

import json
import math
import re
import time
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gokiq import _payload, _payload_py
from gokiq.errors import PayloadError

ACTIVE_JOB = (
    b'{"retry":true,"queue":"default","wrapped":"Orders::ShipJob","args":[{"job_class":'
    b'"Orders::ShipJob","job_id":"4d0a2c4e-5b8a","queue_name":"default","priority":null,'
    b'"arguments":[{"_aj_globalid":"gid://shop/Order/1"},{"a":[1,-2.5e3,{"b":"}]\\"{["}],'
    b'"_aj_symbol_keys":["a"]}],"executions":0,"exception_executions":{},"locale":"en"}],'
    b'"class":"Sidekiq::ActiveJob::Wrapper","jid":"b4a577edbccf1d805744efa9",'
    b'"created_at":1795489135438,"error_message":"b\xc3\xb6\xc3\xb6m","enqueued_at":1795489135439}'
)
SURROGATES = re.compile("[\ud800-\udfff]")
# Names are written in UTF-8, which has no surrogates.
NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4),
    max_leaves=12,
)
STYLE = st.fixed_dictionaries(
    {"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 0, 3])}
)
RAW = st.builds(lambda value: json.dumps(value).encode(), VALUE)


def dumped(value: Any, style: dict[str, Any]) -> bytes:
    # "surrogatepass": random text may hold surrogates; the scanners do not look at them.
    return json.dumps(value, **style).encode("utf-8", "surrogatepass")


def loaded(raw: bytes) -> Any:
    # As text: of bytes json would guess the encoding.
    return json.loads(raw.decode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("payload_bytes", "expected"),
    [
        (b'{"a":1}', b"1"),
        (b'{"a":"x"}', b'"x"'),
        (b'{"a":null,"b":2}', b"null"),
        (b' \t\r\n{ "a" \n:\t-1.5e+3 , "b":1 } \n', b"-1.5e+3"),
        (b'{"a":{"a":1},"b":{"a":2}}', b'{"a":1}'),
        (b'{"b":{"a":2}}', None),
        (b'{"b":"\\"a\\":1"}', None),
        (b'{"b":["}","{",{"]":"["}],"a":[]}', b"[]"),
        (b'{"b":"\\\\","a":"\\\\\\""}', b'"\\\\\\""'),
        (b'{"a":1,"b":2,"a":3}', b"3"),
        (b'{"a":1,"\\u0061":2}', b"2"),
        (b'{"\\u0061":1,"a":2}', b"2"),
        (b'{"a\\u0000":1}', None),
        (b'{"a\x00":1,"a":"\x00"}', b'"\x00"'),
        (b'{"aa":1,"":2}', None),
        (b'{"a":"\xff\xfe"}', b'"\xff\xfe"'),
        (b'{"a":NaN}', b"NaN"),
        (b'{"a":01.e}', b"01.e"),
        (b'{"a":[1 2]}', b"[1 2]"),
        (b"{}", None),
        (b" { } ", None),
        (b'{"b":"' + b"x" * 100 + b'\\"' + b"y" * 100 + b'","a":7}', b"7"),
    ],
    ids=[
        "number",
        "string",
        "null",
        "spaces",
        "object",
        "nested-only",
        "inside-a-string",
        "brackets-in-strings",
        "backslashes",
        "duplicate",
        "duplicate-escaped-last",
        "duplicate-escaped-first",
        "escaped-nul-in-name",
        "nul",
        "other-names",
        "invalid-utf8",
        "nan",
        "odd-number",
        "odd-array",
        "empty",
        "empty-with-spaces",
        "long-string",
    ],
)
def test_scan(payload: ModuleType, payload_bytes: bytes, expected: bytes | None) -> None:
    assert payload.scan(payload_bytes, ("a",)) == (expected,)


def test_scan_answers_in_the_order_of_the_names(payload: ModuleType) -> None:
    assert payload.scan(ACTIVE_JOB, ("jid", "nothing", "class", "wrapped", "jid")) == (
        b'"b4a577edbccf1d805744efa9"',
        None,
        b'"Sidekiq::ActiveJob::Wrapper"',
        b'"Orders::ShipJob"',
        b'"b4a577edbccf1d805744efa9"',
    )


@pytest.mark.parametrize("name", ["\\u0061", 'a"b', "a\nb", "é", "😀", ""])
def test_scan_finds_names_that_json_escapes(payload: ModuleType, name: str) -> None:
    for ascii_only in (True, False):
        text = json.dumps({"x": 0, name: 1}, ensure_ascii=ascii_only).encode()
        assert payload.scan(text, (name,)) == (b"1",)


def test_scan_takes_any_number_of_names(payload: ModuleType) -> None:
    names = tuple(f"name{n}" for n in range(100))
    text = json.dumps({name: n for n, name in enumerate(names)}).encode()

    assert payload.scan(text, names) == tuple(b"%d" % n for n in range(100))
    assert payload.scan(text, ()) == ()


@pytest.mark.parametrize(
    ("payload_bytes", "offset"),
    [
        (b"", 0),
        (b"  ", 2),
        (b"[]", 0),
        (b'"x"', 0),
        (b"null", 0),
        (b"\xef\xbb\xbf{}", 0),
        (b"{", 1),
        (b"{1:2}", 1),
        (b"{,}", 1),
        (b'{"a', 3),
        (b'{"a"', 4),
        (b'{"a"}', 4),
        (b'{"a":', 5),
        (b'{"a":}', 5),
        (b'{"a":,', 5),
        (b'{"a":1', 6),
        (b'{"a":1,', 7),
        (b'{"a":1,}', 7),
        (b'{"a":1 "b":2}', 7),
        (b'{"a":1:2}', 6),
        (b'{"a":"x', 7),
        (b'{"a":"x\\"', 9),
        (b'{"a":"x\\', 8),
        (b'{"a":[', 6),
        (b'{"a":["x', 8),
        (b'{"a":[}', 6),
        (b'{"a":[},"b":1}', 6),
        (b'{"a":[{]}}', 7),
        (b'{"a":1]', 6),
        (b"{}}", 2),
        (b"{}\x00", 2),
        (b"{} x", 3),
        (b"{}{}", 2),
        (b'{"a":/* } */1}', 5),
        (b'{"a":[/* ] */1]}', 6),
        (b"{'a':1}", 1),
        (b'{"a":[\xff]}', 6),
        (b'{"a":[\x00]}', 6),
    ],
    ids=repr,
)
def test_what_is_no_object_is_refused_where_that_shows(
    payload: ModuleType, payload_bytes: bytes, offset: int
) -> None:
    for broken in (
        lambda: payload.scan(payload_bytes, ("a",)),
        lambda: payload.splice(payload_bytes, {"a": b"1"}),
    ):
        with pytest.raises(PayloadError, match=f"at byte {offset};") as caught:
            broken()
        assert caught.value.offset == offset


def test_every_beginning_of_a_payload_is_refused(payload: ModuleType) -> None:
    for end in range(len(ACTIVE_JOB)):
        with pytest.raises(PayloadError) as caught:
            payload.scan(ACTIVE_JOB[:end], ("jid",))
        assert caught.value.offset == end


@pytest.mark.parametrize("padding", range(40))
def test_a_quote_is_found_at_every_distance(payload: ModuleType, padding: int) -> None:
    for inside in (b"", b'\\"', b"\\\\", b'\\\\\\"', b"\xff"):
        value = b'"' + b"x" * padding + inside + b'"'
        assert payload.scan(b'{"v":%b}' % value, ("v",)) == (value,)
        assert payload.scan(b'{"x":[%b],"v":1}' % value, ("v",)) == (b"1",)


@pytest.mark.parametrize("padding", range(140))
def test_backslashes_escape_across_the_blocks_that_are_read_at_once(
    payload: ModuleType, padding: int
) -> None:
    for run in range(1, 70):
        # An even run escapes nothing but itself: the quote behind it ends the string.
        value = b'"\\n' + b"x" * padding + b"\\" * run + (b'""' if run % 2 else b'"')
        assert payload.scan(b'{"v":%b,"w":"%b"}' % (value, b"y" * 70), ("v",)) == (value,)
        with pytest.raises(PayloadError):
            payload.scan(b'{"v":%b' % value[:-1], ("v",))


@given(st.text('\\"x', min_size=60, max_size=300).map(str.encode))
def test_long_strings_of_escapes_end_alike(text: bytes) -> None:
    whole = b'{"a":"' + text + b'","jid":1}'
    assert outcome(_payload, whole) == outcome(_payload_py, whole)


@given(st.dictionaries(NAME, VALUE, max_size=8), STYLE)
def test_scan_agrees_with_json(
    payload: ModuleType, job: dict[str, Any], style: dict[str, Any]
) -> None:
    text = dumped(job, style)

    found = payload.scan(text, (*job, "a name that is not there"))

    assert [loaded(raw) for raw in found[:-1]] == [*job.values()]
    assert found[-1] is None or "a name that is not there" in job


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "\\u0061"]), VALUE), min_size=1), STYLE)
def test_of_duplicates_the_last_one_counts(
    payload: ModuleType, members: list[tuple[str, Any]], style: dict[str, Any]
) -> None:
    text = b"{%b}" % b",".join(
        b'"%b":%b' % (name.encode(), dumped(value, style)) for name, value in members
    )

    found = dict(zip("ab", payload.scan(text, ("a", "b")), strict=True))

    assert {name: loaded(raw) for name, raw in found.items() if raw is not None} == loaded(text)


def outcome(module: ModuleType, text: bytes) -> Any:
    try:
        return module.scan(text, ("jid", "class", "args", "a"))
    except PayloadError as error:
        return error.offset


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: b"{" + b))
def test_random_bytes_are_refused_alike(text: bytes) -> None:
    assert outcome(_payload, text) == outcome(_payload_py, text)


@given(st.text('{}[]":,\\ux01a \n', max_size=40).map(str.encode))
def test_random_structure_is_judged_alike(text: bytes) -> None:
    for candidate in (text, b'{"a":' + text + b"}"):
        assert outcome(_payload, candidate) == outcome(_payload_py, candidate)


@given(st.data())
def test_damaged_payloads_are_judged_alike_and_valid_ones_read(data: st.DataObject) -> None:
    text = bytearray(ACTIVE_JOB)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 3))
        text[at : at + length] = data.draw(
            st.binary(max_size=2) | st.text('{}[]":,\\', max_size=2).map(str.encode)
        )

    found = outcome(_payload, bytes(text))

    assert found == outcome(_payload_py, bytes(text))
    try:
        expected = json.loads(text.decode("utf-8", "replace"))
    except ValueError:
        return
    for name, raw in zip(("jid", "class", "args", "a"), found, strict=True):
        assert (raw is not None) == (name in expected)
        if raw is not None:
            assert json.loads(raw.decode("utf-8", "replace")) == expected[name]


@pytest.mark.parametrize(
    ("inside", "depth"),
    [(b"[", 100_000), (b'{"a":', 100_000), (b"[", 512), (b"[", 513)],
    ids=["arrays", "objects", "matched", "counted"],
)
def test_deep_nesting_is_walked_without_recursion(
    payload: ModuleType, inside: bytes, depth: int
) -> None:
    value = inside * depth + b"1" + {b"[": b"]", b"{": b"}"}[inside[:1]] * depth

    assert payload.scan(b'{"x":%b,"jid":2}' % value, ("jid",)) == (b"2",)
    with pytest.raises(PayloadError):
        payload.scan(b'{"x":%b,"jid":2}' % value[:-1], ("jid",))


def test_brackets_are_matched_by_kind_up_to_512_levels(payload: ModuleType) -> None:
    with pytest.raises(PayloadError) as caught:
        payload.scan(b'{"x":%b}' % (b"[" * 512 + b"}" + b"]" * 511), ())

    assert caught.value.offset == 5 + 512


@pytest.mark.parametrize(
    ("opening", "piece", "closing"),
    [
        (b'{"x":"', b"x" * 64, b'"'),
        (b'{"x":"', b'\\"', b'"'),
        (b'{"x":"', b"\\\\", b'"'),
        (b'{"x":["', b'","', b'"]'),
        (b'{"x":[', b'{"a":[1,null]},', b"1]"),
        (b'{"x":1', b',"b":{"a":1}', b""),
        (b'{"x":1', b',"\\u0061":"\\n"', b""),
    ],
    ids=["plain", "quotes", "backslashes", "strings", "objects", "members", "escaped-names"],
)
def test_giant_payload_takes_linear_time(
    impl: str, payload: ModuleType, opening: bytes, piece: bytes, closing: bytes
) -> None:
    is_slow = impl == "_py" and len(piece) < 64
    count = (1 << 20 if is_slow else 20 << 20) // len(piece)
    text = opening + piece * count + closing + b',"jid":"j"}'
    began = time.process_time()

    assert payload.scan(text, ("jid",)) == (b'"j"',)
    assert len(payload.splice(text, {"jid": b"1", "new": b"2"})) == len(text) - 2 + 8

    # Quadratic, it would take hours.
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        (b'{"a":1,"b":2}', {"a": b'"x"'}, b'{"a":"x","b":2}'),
        (b'{"a":1,"b":2}', {"b": b"3", "a": b"4"}, b'{"a":4,"b":3}'),
        (b'{"a":1}', {"b": b"2", "c": b"3"}, b'{"a":1,"b":2,"c":3}'),
        (b'{"a":1}', {"b": b"2", "a": b"3"}, b'{"a":3,"b":2}'),
        (b"{}", {"a": b"1"}, b'{"a":1}'),
        (b"{}", {"a": b"1", "b": b"2"}, b'{"a":1,"b":2}'),
        (b" { } ", {"a": b"1"}, b' { "a":1} '),
        (b'{ "a" : 1 }\n', {"a": b"2", "b": b"3"}, b'{ "a" : 2 ,"b":3}\n'),
        (b'{"a":1,"a":2,"b":0}', {"a": b"3"}, b'{"a":1,"a":3,"b":0}'),
        (b'{"\\u0061":1}', {"a": b"2"}, b'{"\\u0061":2}'),
        (b'{"x":{"a":1}}', {"a": b"2"}, b'{"x":{"a":1},"a":2}'),
        (b'{"x":1}', {'q"\n': b"2"}, b'{"x":1,"q\\"\\n":2}'),
        (b'{"x":1.0e5,"y":"\xc3\xa9\\u00e9"}', {}, b'{"x":1.0e5,"y":"\xc3\xa9\\u00e9"}'),
    ],
    ids=[
        "replace",
        "replace-in-any-order",
        "append",
        "both",
        "empty-object",
        "empty-object-two",
        "empty-with-spaces",
        "spaces",
        "duplicate",
        "escaped-name",
        "nested-is-left-alone",
        "name-is-quoted",
        "nothing",
    ],
)
def test_splice(payload: ModuleType, before: bytes, edits: dict[str, bytes], after: bytes) -> None:
    assert payload.splice(before, edits) == after


def test_splice_takes_any_number_of_edits(payload: ModuleType) -> None:
    edits = {f"name{n}": b"%d" % n for n in range(100)}

    assert json.loads(payload.splice(b'{"name7":0}', edits)) == {f"name{n}": n for n in range(100)}


@pytest.mark.parametrize("value", [1, "1", None])
def test_splice_takes_raw_bytes_only(payload: ModuleType, value: Any) -> None:
    for name in ("a", "b"):
        with pytest.raises(TypeError):
            payload.splice(b'{"a":1}', {name: value})


@given(st.dictionaries(NAME, VALUE), st.dictionaries(NAME, RAW), STYLE, st.data())
def test_splice_changes_only_the_named_fields(
    payload: ModuleType,
    job: dict[str, Any],
    edits: dict[str, bytes],
    style: dict[str, Any],
    data: st.DataObject,
) -> None:
    text = dumped(job, style)
    if job:
        for name in data.draw(st.lists(st.sampled_from([*job]))):
            edits[name] = data.draw(RAW)

    edited = payload.splice(text, edits)

    assert loaded(edited) == {**job, **{name: json.loads(raw) for name, raw in edits.items()}}
    assert payload.scan(edited, tuple(edits)) == tuple(edits.values())
    # Put back what was there: all other bytes must be the old ones.
    kept = dict(zip(job, payload.scan(text, tuple(job)), strict=True))
    if edits.keys() <= job.keys():
        assert payload.splice(edited, {name: kept[name] for name in edits}) == text
    if not edits.keys() & job.keys():
        brace = text.rindex(b"}")
        assert edited[:brace] == text[:brace]
        assert edited.endswith(text[brace:])


@given(st.dictionaries(NAME, VALUE), st.dictionaries(NAME, RAW), STYLE)
def test_both_implementations_splice_alike(
    job: dict[str, Any], edits: dict[str, bytes], style: dict[str, Any]
) -> None:
    text = dumped(job, style)

    assert _payload.splice(text, edits) == _payload_py.splice(text, edits)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        (b'""', ""),
        (b'"abc"', "abc"),
        (b'"\xc3\xa9\xf0\x9f\x98\x80"', "é😀"),
        (b'"\\u00e9\\u00E9\\ud83d\\ude00"', "éé😀"),
        (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
        (b'"\\u0000\x00\\u007f\\u07ff\\u0800\\uffff"', "\0\0\x7f\u07ff\u0800\uffff"),
        (b'"\\ud83d"', "\ufffd"),
        (b'"\\ude00\\ud83d"', "\ufffd\ufffd"),
        (b'"\\ud83dx\\ude00"', "\ufffdx\ufffd"),
        (b'"\\ud83d\\ud83d\\ude00"', "\ufffd😀"),
        (b'"\\udbff\\udfff\\ud800\\udc00"', "\U0010ffff\U00010000"),
        (b'"\\ud83d\\n"', "\ufffd\n"),
        (b'"a\xffb\xe2\x82"', "a\ufffdb\ufffd"),
        (b'"a\xffb\\n\xe2\x82"', "a\ufffdb\n\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\\q\\u12"', "qu12"),
        (b'"\\u12g4\\u+123"', "u12g4u+123"),
        (b'"\\\xc3\xa9"', "é"),
        (b"", None),
        (b'"', None),
        (b'"a', None),
        (b'"\\"', None),
        (b'"a"b"', None),
        (b' "a"', None),
        (b"12", None),
        (b"null", None),
        (b"[]", None),
    ],
    ids=repr,
)
def test_text(payload: ModuleType, raw: bytes | None, expected: str | None) -> None:
    assert payload.text(raw) == expected


PIECES = ["\\ud83d", "\\uDE00", "\\u00e9", "\\n", "\\\\", '\\"', "a", "é", "ud83d", "\\u2028"]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_text_reads_escapes_as_json_does(payload: ModuleType, inside: str) -> None:
    raw = f'"{inside}"'

    assert payload.text(raw.encode()) == SURROGATES.sub("\ufffd", json.loads(raw))


@given(st.binary(max_size=30) | st.text('u\\"d8eD0', max_size=30).map(str.encode))
def test_both_implementations_read_random_strings_alike(inside: bytes) -> None:
    for raw in (inside, b'"%b"' % inside):
        assert _payload.text(raw) == _payload_py.text(raw)


# Spelled by JSON.generate of Ruby's json 2.7.2.
RUBY_SPELLING = [
    ('"\\/', b'"\\"\\\\/"'),
    ("\b\f\n\r\t", b'"\\b\\f\\n\\r\\t"'),
    ("\x00\x01\x0b\x0e\x1b\x1f", b'"\\u0000\\u0001\\u000b\\u000e\\u001b\\u001f"'),
    ("\x7f\x80\x9f", b'"\x7f\xc2\x80\xc2\x9f"'),
    ("<>&'\u2028\u2029\ufeff", b'"<>&\'\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf"'),
    ("é😀", b'"\xc3\xa9\xf0\x9f\x98\x80"'),
    ("", b'""'),
]


@pytest.mark.parametrize(("plain", "expected"), RUBY_SPELLING, ids=repr)
def test_quote_spells_as_ruby_does(payload: ModuleType, plain: str, expected: bytes) -> None:
    assert payload.quote(plain) == expected
    assert payload.quote_bytes(plain.encode()) == expected


def test_quote_replaces_surrogates(payload: ModuleType) -> None:
    assert payload.quote("a\ud800\udc00b\n") == b'"a\xef\xbf\xbd\xef\xbf\xbdb\\n"'


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\xff", "\ufffd"),
        (b"a\xe2\x82z", "a\ufffdz"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"\x80\n", "\ufffd\n"),
    ],
    ids=repr,
)
def test_quote_bytes_replaces_invalid_utf8(payload: ModuleType, raw: bytes, expected: str) -> None:
    assert json.loads(payload.quote_bytes(raw)) == expected


@given(st.text())
def test_quoted_text_comes_back(payload: ModuleType, plain: str) -> None:
    quoted = payload.quote(plain)

    assert payload.text(quoted) == json.loads(quoted) == SURROGATES.sub("\ufffd", plain)


@given(st.binary())
def test_quoted_bytes_come_back(payload: ModuleType, raw: bytes) -> None:
    quoted = payload.quote_bytes(raw)

    assert payload.text(quoted) == json.loads(quoted) == raw.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        (b"0", 0),
        (b"-0", 0),
        (b"12", 12),
        (b"-12", -12),
        (b"1" * 30, int("1" * 30)),
        (b"1.5", 1.5),
        (b"-0.0", -0.0),
        (b"1e3", 1000.0),
        (b"1E+3", 1000.0),
        (b"1.5e-3", 0.0015),
        (b"1e400", math.inf),
        (b"1" * 4000, int("1" * 4000)),
        (b"1" * 5000, math.inf),
        (b"-" + b"1" * 5000, -math.inf),
        (b"", None),
        (b"-", None),
        (b"+1", None),
        (b"01", None),
        (b"-01", None),
        (b".5", None),
        (b"1.", None),
        (b"1e", None),
        (b"1e+", None),
        (b"1_0", None),
        (b" 1", None),
        (b"1 ", None),
        (b"1\n", None),
        (b"1x", None),
        (b"1.5x", None),
        (b"\xd9\xa1", None),
        (b"NaN", None),
        (b"Infinity", None),
        (b"true", None),
        (b'"1"', None),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_number(payload: ModuleType, raw: bytes | None, expected: float | None) -> None:
    found = payload.number(raw)

    assert (found, type(found)) == (expected, type(expected))


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_number_reads_what_json_writes(payload: ModuleType, value: float) -> None:
    found = payload.number(json.dumps(value).encode())

    assert (found, type(found)) == (value, type(value))


@given(st.text("0123456789+-.eE", max_size=10).map(str.encode))
def test_both_implementations_read_random_numbers_alike(raw: bytes) -> None:
    assert repr(_payload.number(raw)) == repr(_payload_py.number(raw))


@pytest.mark.parametrize(
    "call",
    [
        lambda payload: payload.scan(None, ("a",)),
        lambda payload: payload.scan("{}", ("a",)),
        lambda payload: payload.scan(b"{}", (b"a",)),
        lambda payload: payload.scan(b"{}", (None,)),
        lambda payload: payload.splice(None, {}),
        lambda payload: payload.quote(None),
        lambda payload: payload.quote_bytes(None),
    ],
    ids=["none", "str", "bytes-name", "none-name", "splice", "quote", "quote-bytes"],
)
def test_wrong_types_never_crash(payload: ModuleType, call: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        call(payload)


def test_both_implementations_offer_the_same_names() -> None:
    from gokiq import payload

    for name in payload.__all__:
        assert callable(getattr(_payload, name))
        assert callable(getattr(_payload_py, name))
