"""Payload reading: the compiled code, its plain twin and the json module.

python -m bench.bench_payload --fast -o payload.json; every answer is checked before it is timed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bench.cases import COMPILED, PLAIN, Call, Case, time_cases
from bench.payloads import ONE_STRING, PAYLOADS, stored
from gokiq import _payload, _payload_py

NAMES = ("jid", "class", "wrapped")
EDITS = {"queue": b'"low"', "enqueued_at": b"1795489200000", "retried_at": b"1795489200000"}
#: A message with text of two scripts, quotes and a line end.
MESSAGE = "undefined method 'ship' for \"4711\"\n— “Müller & Söhne”"
#: How many times as fast as json.loads scanning is meant to be.
SCAN_AT_LEAST = 10.0


def cases() -> list[Case]:
    """All that is measured."""
    spliced = ("no-op", "1 KB, ActiveJob", "5 KB, ActiveJob")
    return [
        *(_scan(f"scan, {name}", payload) for name, payload in PAYLOADS.items()),
        _scan("scan, 1 KB in one string", ONE_STRING),
        *(_splice(f"splice, {name}", PAYLOADS[name]) for name in spliced),
        *(_of_all("quote_bytes", name, PAYLOADS[name], _dump_bytes) for name in spliced),
        _of_all("quote", "a message", MESSAGE, _dump),
        _of_all("text", "a jid", b'"b4a577edbccf1d805744efa9"', json.loads),
        _of_all("text", "a message", _dump(MESSAGE), json.loads),
        _of_all("number", "milliseconds", b"1795489135438", json.loads),
        _of_all("number", "seconds", b"1795489135.438", json.loads),
    ]


def _scan(name: str, payload: bytes) -> Case:
    decoded = json.loads(payload)
    for module in (_payload, _payload_py):
        found = [module.text(raw) for raw in module.scan(payload, NAMES)]
        assert found == [decoded.get(field) for field in NAMES], name
    calls: dict[str, Call] = {
        COMPILED: (_payload.scan, payload, NAMES),
        PLAIN: (_payload_py.scan, payload, NAMES),
        # Decoding alone, without looking anything up in what comes of it.
        "json.loads": (json.loads, payload),
    }
    return Case(name, calls, {"json.loads": SCAN_AT_LEAST})


def _splice(name: str, payload: bytes) -> Case:
    assert json.loads(_payload.splice(payload, EDITS)) == json.loads(_recode(payload)), name
    calls: dict[str, Call] = {
        COMPILED: (_payload.splice, payload, EDITS),
        PLAIN: (_payload_py.splice, payload, EDITS),
        "json": (_recode, payload),
    }
    return Case(name, calls)


def _recode(payload: bytes) -> bytes:
    """The way without splicing; it would change the spelling of floats."""
    edits = {name: json.loads(raw) for name, raw in EDITS.items()}
    return stored({**json.loads(payload), **edits})


def _of_all(function: str, name: str, value: Any, peer: Callable[[Any], Any]) -> Case:
    assert getattr(_payload, function)(value) == peer(value), name
    calls: dict[str, Call] = {
        COMPILED: (getattr(_payload, function), value),
        PLAIN: (getattr(_payload_py, function), value),
        "json": (peer, value),
    }
    return Case(f"{function}, {name}", calls)


def _dump(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def _dump_bytes(payload: bytes) -> bytes:
    return _dump(payload.decode())


if __name__ == "__main__":
    time_cases("bench.bench_payload", cases())
