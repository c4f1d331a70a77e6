"""Datagrams that the sidecar does not send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gokiq.monitor import Monitor

VALUES = [None, True, -1, 1e999, "", "x", [], [[]], [None], ["a", "b"], {}, {"a": 1}]


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"1", b'"event"', b"{}", b"[" * 8192])
def test_what_is_no_message_is_passed_over(data: bytes) -> None:
    monitor = Monitor("/nowhere")

    monitor._handle(data)

    assert (monitor.vitals, monitor.boot_failures) == ({}, {})


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("key", ["pid", "busy", "lag_ms", "rss_kb", "stalled", "deadline", "event"])
@pytest.mark.parametrize("event", ["beat", "exited", "exiting", "boot_failed"])
def test_any_value_of_any_key_is_taken_or_passed_over(event: str, key: str, value: Any) -> None:
    monitor = Monitor("/nowhere")
    beat = {"event": "beat", "pid": 7, "busy": 1, "lag_ms": 2.0, "rss_kb": 300, "stalled": None}

    monitor._handle(json.dumps({"event": event, "pid": 7, key: value}).encode())
    monitor._handle(json.dumps(beat).encode())

    assert monitor.vitals[7].rss_kb == 300
