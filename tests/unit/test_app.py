"""What a sidecar says of itself, when it says something else than it should."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from devtools.null_sidecar import hello
from gokiq.app import app_info, parse_hello
from gokiq.errors import ProtocolError

VALUES = [None, True, -1, 1e999, "", "x", "\ud800", [], [[]], [None], [["a"]], {}, {"a": 1}]


def body(**changes: Any) -> bytes:
    return json.dumps(hello(redis=Path("/redis.sock")) | changes).encode()


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("key", [*hello(redis=Path("/redis.sock")), "labels", "logger_level"])
def test_any_value_of_any_key_is_taken_or_refused(key: str, value: Any) -> None:
    with contextlib.suppress(ProtocolError):
        app_info(parse_hello(body(**{key: value})))


@pytest.mark.parametrize("key", ["pid", "ppid"])
@pytest.mark.parametrize("value", ["x", 1.5, 1e999, [], {}, -1, True], ids=repr)
def test_a_process_that_is_no_process_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ProtocolError, match=f"HELLO has the {key} "):
        parse_hello(body(**{key: value}))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"protocol":' + b"1" * 5000 + b"}"]
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="HELLO"):
        parse_hello(text)
