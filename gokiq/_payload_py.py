"""The plain twin of `_payload.pyx`; what each function promises is written in `_payload.pyi`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from gokiq.errors import PayloadError

_MATCHED_DEPTH = 512
_MAX_DIGITS = 4000
_MISSING = (-1, -1)
_CLOSER = {ord("["): ord("]"), ord("{"): ord("}")}

_SPACES = re.compile(rb"[ \t\r\n]*")
# Possessive: a giant string must not fill a backtracking stack.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TOKEN = re.compile(rb"[0-9+\-.A-Za-z]+")
_BETWEEN = re.compile(rb"[0-9+\-.A-Za-z \t\r\n,:]*+")
_ESCAPE = re.compile(
    rb"\\u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\(.)",
    re.DOTALL,
)
_SHORT = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_SURROGATES = re.compile("[\ud800-\udfff]")


def scan(payload: bytes, names: tuple[str, ...]) -> tuple[bytes | None, ...]:
    spans, _, _ = _walk(payload, names)
    return tuple(
        None if span == _MISSING else payload[slice(*span)]
        for span in (spans[name.encode()] for name in names)
    )


def _walk(payload: bytes, names: Iterable[str]) -> tuple[dict[bytes, tuple[int, int]], int, bool]:
    """Spans of the values by name, the offset of the closing brace, whether there is no member."""
    spans = dict.fromkeys((name.encode() for name in names), _MISSING)
    at = _expect(payload, b"{", _skip_spaces(payload, 0))
    if payload[at : at + 1] == b"}":
        return spans, _close(payload, at), True
    while True:
        key_end = _skip_string(payload, at)
        key = payload[at + 1 : key_end - 1]
        at = _expect(payload, b":", _skip_spaces(payload, key_end))
        end = _skip_value(payload, at)
        if b"\\" in key:
            key = _unescape(key)
        if key in spans:
            spans[key] = (at, end)
        at = _skip_spaces(payload, end)
        if payload[at : at + 1] == b"}":
            return spans, _close(payload, at), False
        at = _expect(payload, b",", at)


def _skip_spaces(payload: bytes, at: int) -> int:
    found = _SPACES.match(payload, at)
    assert found is not None
    return found.end()


def _expect(payload: bytes, sign: bytes, at: int) -> int:
    """Where the next token after this sign starts."""
    if payload[at : at + 1] != sign:
        raise PayloadError(at)
    return _skip_spaces(payload, at + 1)


def _close(payload: bytes, brace: int) -> int:
    rest = _skip_spaces(payload, brace + 1)
    if rest < len(payload):
        raise PayloadError(rest)
    return brace


def _skip_string(payload: bytes, at: int) -> int:
    found = _STRING.match(payload, at)
    if found is None:
        raise PayloadError(len(payload) if payload[at : at + 1] == b'"' else at)
    return found.end()


def _skip_value(payload: bytes, at: int) -> int:
    first = payload[at : at + 1]
    if first == b'"':
        return _skip_string(payload, at)
    if first in (b"[", b"{"):
        return _skip_container(payload, at)
    found = _TOKEN.match(payload, at)
    if found is None:
        raise PayloadError(at)
    return found.end()


def _skip_container(payload: bytes, at: int) -> int:
    closers: list[int] = []
    depth = 0
    while at < len(payload):
        byte = payload[at]
        if byte == 0x22:
            at = _skip_string(payload, at)
        elif byte in _CLOSER:
            if depth < _MATCHED_DEPTH:
                closers.append(_CLOSER[byte])
            depth += 1
            at += 1
        elif byte in _CLOSER.values():
            depth -= 1
            if depth < _MATCHED_DEPTH and closers.pop() != byte:
                raise PayloadError(at)
            at += 1
            if depth == 0:
                return at
        else:
            between = _BETWEEN.match(payload, at)
            assert between is not None
            if between.end() == at:
                raise PayloadError(at)
            at = between.end()
    raise PayloadError(len(payload))


def text(raw: bytes | None) -> str | None:
    if raw is None or not _STRING.fullmatch(raw):
        return None
    return _unescape(raw[1:-1]).decode("utf-8", "replace")


def _unescape(inside: bytes) -> bytes:
    return _ESCAPE.sub(_plain, inside)


def _plain(escape: re.Match[bytes]) -> bytes:
    high, low, code, other = escape.groups()
    if high:
        return (chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))).encode()
    if code:
        return _SURROGATES.sub("\ufffd", chr(int(code, 16))).encode()
    return _SHORT.get(other, other)


def number(raw: bytes | None) -> int | float | None:
    found = _NUMBER.fullmatch(raw) if raw is not None else None
    if raw is None or found is None:
        return None
    is_integer = found.group(1) is None and found.group(2) is None
    return int(raw) if is_integer and len(raw.lstrip(b"-")) <= _MAX_DIGITS else float(raw)


def splice(payload: bytes, edits: dict[str, bytes]) -> bytes:
    spans, brace, is_empty = _walk(payload, edits)
    found = []
    added = []
    for name, value in edits.items():
        span = spans[name.encode()]
        if span == _MISSING:
            added.append(quote(name) + b":" + value)
        else:
            found.append((*span, value))
    parts = []
    done = 0
    for start, stop, value in sorted(found):
        parts += [payload[done:start], value]
        done = stop
    parts.append(payload[done:brace])
    if added and not is_empty:
        parts.append(b",")
    parts += [b",".join(added), payload[brace:]]
    return b"".join(parts)


def quote(s: str) -> bytes:
    return json.dumps(_SURROGATES.sub("\ufffd", s), ensure_ascii=False).encode()


def quote_bytes(b: bytes) -> bytes:
    return quote(b.decode("utf-8", "replace"))
