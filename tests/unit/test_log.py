"""Lines look like Sidekiq's, so that its parsers go on working."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from types import SimpleNamespace

import pytest

from gokiq.log import SidekiqFormatter, Style, configure, get_logger

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
PID = f"pid={os.getpid()}"


def line(style: Style, level: str = "INFO", *, major: int = 8) -> str:
    record = SimpleNamespace(name="gokiq.poller", levelname=level, msg="moved %d jöbs", args=(3,))
    return SidekiqFormatter(style, major=major).format(record)


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("DEBUG", r"\x1b\[1;32mDEBUG\x1b\[0m"),
        ("INFO", r"\x1b\[1;34mINFO \x1b\[0m"),
        ("WARNING", r"\x1b\[1;33mWARN \x1b\[0m"),
        ("ERROR", r"\x1b\[1;31mERROR\x1b\[0m"),
        ("CRITICAL", r"\x1b\[1;35mFATAL\x1b\[0m"),
    ],
)
def test_a_pretty_line_has_sidekiqs_parts_and_colours(level: str, written: str) -> None:
    form = rf"{written} {TIME} {PID} tid=poller: moved 3 jöbs"
    assert re.fullmatch(form, line(Style.PRETTY, level))


@pytest.mark.parametrize(
    ("style", "major", "form"),
    [
        (Style.PLAIN, 8, rf"WARN {TIME} {PID} tid=poller: moved 3 jöbs"),
        (Style.WITHOUT_TIMESTAMP, 8, rf"\x1b\S+WARN \x1b\[0m {PID} tid=poller: moved 3 jöbs"),
        (Style.PRETTY, 7, rf"{TIME} {PID} tid=poller WARN: moved 3 jöbs"),
        (Style.WITHOUT_TIMESTAMP, 7, rf"{PID} tid=poller WARN: moved 3 jöbs"),
    ],
    ids=["plain", "without a time", "pretty 7", "without a time 7"],
)
def test_other_styles_and_versions(style: Style, major: int, form: str) -> None:
    assert re.fullmatch(form, line(style, "WARNING", major=major))


@pytest.mark.parametrize("major", [7, 8])
def test_a_json_line_is_one_object_with_sidekiqs_keys(major: int) -> None:
    fields = json.loads(line(Style.JSON, "WARNING", major=major))

    assert re.fullmatch(TIME, fields.pop("ts"))
    expected = {"pid": os.getpid(), "tid": "poller", "lvl": "WARN", "msg": "moved 3 jöbs"}
    assert fields == expected


def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stdout", full)
        configure()
        get_logger("poller").error("lost")
        with contextlib.suppress(OSError):
            full.close()
        get_logger("poller").error("lost, too")
