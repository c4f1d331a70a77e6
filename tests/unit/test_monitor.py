"""Datagrams that the sidecar does not send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gokiq.workers.vitals import Monitor

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


def test_a_worker_that_ends_before_it_was_connected_is_forgotten() -> None:
    monitor = Monitor("/nowhere")
    told: list[int] = []
    monitor.on_exit = lambda pid: told.append(pid) is None and pid == 8

    for pid in (7, 8):
        monitor._handle(json.dumps({"event": "beat", "pid": pid, "rss_kb": 300}).encode())
        monitor._handle(json.dumps({"event": "exited", "pid": pid, "signal": 9}).encode())

    # The connection of the other one ends by itself, and says what its memory was.
    assert (told, list(monitor.vitals)) == ([7, 8], [8])
