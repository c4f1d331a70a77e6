"""Lines look like Sidekiq's, so that its parsers go on working."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest

from gokiq.log import SidekiqFormatter


def record(level: str, message: str, *args: object) -> SimpleNamespace:
    return SimpleNamespace(name="gokiq.poller", levelname=level, msg=message, args=args)


@pytest.mark.parametrize(
    ("level", "written"), [("INFO", "INFO "), ("WARNING", "WARN "), ("ERROR", "ERROR")]
)
def test_a_line_has_sidekiqs_parts(level: str, written: str) -> None:
    line = SidekiqFormatter().format(record(level, "moved %d jobs", 3))

    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"{written} {form} pid={os.getpid()} tid=poller: moved 3 jobs", line)


def test_on_heroku_the_platform_writes_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNO", "worker.1")

    line = SidekiqFormatter().format(record("INFO", "100 % done"))

    assert line == f"INFO  pid={os.getpid()} tid=poller: 100 % done"
