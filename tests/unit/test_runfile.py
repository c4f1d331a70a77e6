"""How a running process is found."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from gokiq import runfile
from gokiq.identity import start_ticks
from gokiq.runfile import Run


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def folder(temporary: Path, name: str) -> Path:
    made = temporary / f"{runfile.PREFIX}{name}"
    made.mkdir()
    return made


def test_those_that_run_are_found(temporary: Path) -> None:
    ticks = start_ticks(os.getpid()) or 0
    mine = Run(os.getpid(), ticks, "/shop", asked=3, done=2, error="no")
    runfile.write(here := folder(temporary, "a"), mine)
    runfile.write(folder(temporary, "b"), Run(os.getpid(), ticks + 1, "/pid/given/again"))
    runfile.write(folder(temporary, "c"), Run(1 << 30, 1, "/gone"))

    assert runfile.find() == [(here, mine)]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"pid": 1}', '{"odd": 1}', "7"])
def test_what_is_no_record_is_passed_over(temporary: Path, text: str) -> None:
    (folder(temporary, "a") / runfile.NAME).write_text(text)
    folder(temporary, "empty")
    (temporary / f"{runfile.PREFIX}file").touch()

    assert runfile.find() == []
