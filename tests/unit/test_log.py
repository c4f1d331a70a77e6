"""Lines look like Sidekiq's, so that its parsers go on working."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gokiq import log
from gokiq.log import Named, SidekiqFormatter, Style, configure, flush, get_logger

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
        flush()
        with contextlib.suppress(OSError):
            full.close()
        get_logger("poller").error("lost, too")


def test_lines_keep_their_order_over_a_change_of_style(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        for at, style in enumerate([Style.PLAIN, Style.JSON] * 50):
            configure(style=style)
            get_logger("poller").info("line %d jöb", at)
        flush()

    assert re.findall(r"line (\d+) jöb", path.read_text()) == [str(at) for at in range(100)]


def test_a_reader_that_stops_reading_stops_nobody_and_is_told_what_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as pipe:
        monkeypatch.setattr(sys, "stdout", stream)
        configure(style=Style.PLAIN)
        for at in range(30_000):
            get_logger("poller").info("line %05d %s", at, "x" * 100)
        spool = log._spool
        assert spool is not None
        spool[1].flush(0.01)
        assert spool[1].dropped > 10_000

        kept = missed = 0
        while kept + missed < 30_000:
            line = pipe.readline()
            if told := re.search(rb"WARN .* tid=log: (\d+) lines were dropped", line):
                missed += int(told[1])
            else:
                assert int(line.split()[-2]) == kept + missed, "each gap is told where it is"
                kept += 1
        assert missed == spool[1].dropped
        get_logger("poller").info("and on")
        assert b"and on" in pipe.readline()


def test_a_reader_that_stops_reading_does_not_hold_up_the_end(tmp_path: Path) -> None:
    program = """
import sys
from gokiq.log import configure, get_logger
configure()
for _ in range(5000):
    get_logger("x").info("y" * 100)
raise RuntimeError("how it ended")
"""
    reading, writing = os.pipe()
    errors = tmp_path / "errors"
    try:
        with errors.open("w") as stderr:
            subprocess.run(
                [sys.executable, "-c", program],
                stdout=writing,
                stderr=stderr,
                timeout=30,
                check=False,
            )
    finally:
        os.close(reading)
        os.close(writing)
    assert "RuntimeError: how it ended" in errors.read_text()


def test_the_last_lines_are_written_before_the_process_ends() -> None:
    program = """
from gokiq.log import configure, get_logger
configure()
for at in range(500):
    get_logger("x").info("line %d", at)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert len(done.stdout.splitlines()) == 500
    assert b"line 499" in done.stdout


def test_a_json_line_has_what_it_names_as_fields_as_sidekiqs_has() -> None:
    name = Named(jid="a" * 24, **{"class": "HelloJob"})
    record = SimpleNamespace(name="gokiq.x", levelname="INFO", msg="%s runs %s", args=(name, "on"))
    plain = SidekiqFormatter(Style.PLAIN).format(record)
    fields = json.loads(SidekiqFormatter(Style.JSON).format(record))

    assert plain.endswith(f"tid=x: jid={'a' * 24} class=HelloJob runs on")
    assert fields["ctx"] == {"jid": "a" * 24, "class": "HelloJob"}
    assert fields["msg"].endswith("class=HelloJob runs on")


@pytest.mark.parametrize("style", [Style.PLAIN, Style.JSON])
def test_an_exception_is_told_and_so_are_lines_of_libraries(
    capfd: pytest.CaptureFixture[str], style: Style
) -> None:
    configure(style=style)
    try:
        raise ValueError("how it was")
    except ValueError as error:
        get_logger("main").error("oh", exc_info=True)
        asyncio_logger = logging.getLogger("asyncio")
        asyncio_logger.error("Task exception was never retrieved", exc_info=error)
    asyncio_logger.info("unheard")
    flush()
    told = capfd.readouterr().out

    assert told.count("ValueError: how it was") == 2
    assert "unheard" not in told
    if style is Style.JSON:
        lines = [json.loads(one) for one in told.splitlines()]
        assert [one["tid"] for one in lines] == ["main", "asyncio"]
    else:
        assert re.search(rf"ERROR {TIME} {PID} tid=asyncio: Task exception was never", told)
