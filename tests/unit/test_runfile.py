"""How a running process is found."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from gokiq.commands import main as cli
from gokiq.config import from_arguments
from gokiq.host import runfile
from gokiq.host.identity import start_ticks
from gokiq.host.runfile import Run
from gokiq.runner import Runner


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


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="no systemd-tmpfiles here")
def test_what_clears_old_files_away_leaves_the_folder_of_a_living_process(temporary: Path) -> None:
    rules = temporary / "rules.conf"
    inside = temporary / "tmp"
    (inside / "gokiq-a").mkdir(parents=True)
    (inside / "gokiq-a" / runfile.NAME).touch()
    rules.write_text(f"d {inside} - - - 0\n")

    def clear_away() -> None:
        command = ["systemd-tmpfiles", "--clean", str(rules)]
        subprocess.run(command, check=True, capture_output=True)

    lock = runfile.hold(inside / "gokiq-a")
    clear_away()
    assert (inside / "gokiq-a" / runfile.NAME).exists()
    os.close(lock)
    clear_away()
    assert not (inside / "gokiq-a").exists()


def test_the_folder_of_a_process_is_locked_while_it_lives(temporary: Path) -> None:
    (app := temporary / "app.rb").touch()
    config = from_arguments(cli.parser().parse_args(["-r", str(app)]), {})

    async def made() -> Runner:
        return Runner(config)

    runner = asyncio.run(made())
    [private] = temporary.glob(f"{runfile.PREFIX}*")
    descriptor = os.open(private, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
        os.close(runner._lock)


def test_folders_of_the_dead_are_removed_and_no_others(temporary: Path) -> None:
    gone = Run(1 << 30, 1, "/gone")
    ticks = start_ticks(os.getpid()) or 0
    runfile.write(dead := folder(temporary, "dead"), gone)
    (dead / "sidecar-2.sock").touch()
    runfile.write(locked := folder(temporary, "locked"), gone)
    runfile.write(odd := folder(temporary, "odd"), gone)
    (odd / "letters").touch()
    runfile.write(living := folder(temporary, "living"), Run(os.getpid(), ticks, "/shop"))
    young, old = folder(temporary, "young"), folder(temporary, "old")
    os.utime(old, (0, 0))
    (temporary / f"{runfile.PREFIX}link").symlink_to(old)
    lock = runfile.hold(locked)
    try:
        runfile.sweep()
    finally:
        os.close(lock)

    left = {path for path in temporary.iterdir() if path.is_dir() and not path.is_symlink()}
    assert left == {locked, odd, living, young}
